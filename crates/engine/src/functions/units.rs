//! `extract`, `date_part` and `date_trunc`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, PrimitiveArray},
    compute::cast,
    datatypes::{
        DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
        TimestampMicrosecondType,
    },
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{
        Expr, ReturnFieldArgs, ScalarUDF,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult},
    },
};
use weir_model::{
    Code, ColumnType, Refusal,
    text::{
        calendar::{DAY, SECOND},
        zone::Zone,
    },
};

use super::{
    cast::zone_of,
    moment::{Moment, Moments, micros_of, timestamp_out_of_range},
    plain::{Plain, any, argument},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.trim().to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "usecond" | "useconds" => Unit::Microseconds,
        "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => Unit::Milliseconds,
        "second" | "seconds" | "s" | "sec" | "secs" => Unit::Second,
        "minute" | "minutes" | "m" | "min" | "mins" => Unit::Minute,
        "hour" | "hours" | "h" | "hr" | "hrs" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "y" | "yr" | "yrs" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "c" | "cent" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "julian" | "j" | "jd" => Unit::Julian,
        "epoch" => Unit::Epoch,
        "timezone" => Unit::Timezone,
        "timezone_hour" | "timezone_h" => Unit::TimezoneHour,
        "timezone_minute" | "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

fn known_unit(name: &str, kind: &str) -> Result<Unit, Refusal> {
    unit(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect::<String>().to_ascii_lowercase();
        Refusal::new(Code::InvalidParameter, format!("unit \"{shown}\" not recognized for type {kind}"))
    })
}

fn no_unit(unit: Unit, kind: &str) -> Refusal {
    let name = format!("{unit:?}").to_ascii_lowercase();
    Refusal::new(Code::Unsupported, format!("unit \"{name}\" not supported for type {kind}"))
}

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Plain::new("date_part", any(&[2, 3]), |_| Ok(ColumnType::Double), date_part).zoned().function(),
        Plain::new("date_trunc", any(&[2, 3]), truncated_type, date_trunc).zoned().function(),
        Plain::new("isfinite", any(&[1]), |_| Ok(ColumnType::Boolean), is_finite).function(),
    ]
}

/// Plans `extract(… FROM …)`.
#[derive(Debug)]
pub(crate) struct Extraction(Arc<ScalarUDF>);

impl Extraction {
    pub(crate) fn new() -> Extraction {
        Extraction(Plain::new("extract", any(&[2, 3]), extracted_type, extract).zoned().function())
    }
}

impl ExprPlanner for Extraction {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        let call = ScalarFunction::new_udf(Arc::clone(&self.0), arguments);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// Digits after the point of a unit.
fn scale(unit: Unit) -> i8 {
    match unit {
        Unit::Second | Unit::Epoch => 6,
        Unit::Milliseconds => 3,
        _ => 0,
    }
}

const EXTRACTED_DIGITS: u8 = 20;

fn extracted_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    let name = arguments.scalar_arguments.first().copied().flatten();
    let unit = name.and_then(|name| name.try_as_str().flatten()).and_then(unit);
    Ok(ColumnType::Numeric { precision: EXTRACTED_DIGITS, scale: unit.map_or(0, scale) })
}

/// The one unit of all rows.
fn unit_of(arguments: &[ArrayRef], kind: &str) -> Result<Option<Unit>, Refusal> {
    let text = text_of(arguments, 0)?;
    let text = text.as_string_view();
    if text.is_empty() || text.is_null(0) {
        return Ok(None);
    }
    let name = text.value(0);
    if text.iter().any(|other| other != Some(name)) {
        return Err(Refusal::unsupported("a unit that differs by row"));
    }
    known_unit(name, kind).map(Some)
}

fn text_of(arguments: &[ArrayRef], place: usize) -> Result<ArrayRef, Refusal> {
    let array = arguments.get(place).ok_or_else(|| Refusal::new(Code::Internal, "an argument is missing"))?;
    cast(array, &DataType::Utf8View).map_err(|_| Refusal::new(Code::InvalidParameter, "a unit is a text"))
}

fn kind_of(array: &ArrayRef) -> &'static str {
    match array.data_type() {
        DataType::Date32 => "date",
        DataType::Time64(_) => "time without time zone",
        DataType::Interval(_) => "interval",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        _ => "timestamp without time zone",
    }
}

fn value_of(arguments: &[ArrayRef]) -> Result<&ArrayRef, Refusal> {
    arguments.get(1).ok_or_else(|| Refusal::new(Code::Internal, "an argument is missing"))
}

fn zone(arguments: &[ArrayRef]) -> Result<Zone, Refusal> {
    arguments.get(2).map_or_else(|| Ok(Zone::utc()), zone_of)
}

fn extract(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let scale = unit_of(arguments, kind_of(value_of(arguments)?))?.map_or(0, scale);
    let unit = 10_i128.pow(6 - u32::from(scale.unsigned_abs()));
    let parts = parts(arguments)?;
    // Everything is counted in millionths.
    let numbers: Decimal128Array = parts.into_iter().map(|part| part.map(|part| part / unit)).collect();
    numbers
        .with_precision_and_scale(EXTRACTED_DIGITS, scale)
        .map(|numbers| Arc::new(numbers) as ArrayRef)
        .map_err(|_| Refusal::new(Code::NumericOutOfRange, "value out of range"))
}

fn date_part(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let parts = parts(arguments)?;
    let numbers: Float64Array = parts.into_iter().map(|part| part.map(|part| part as f64 / 1e6)).collect();
    Ok(Arc::new(numbers))
}

/// The unit's value in each row, in millionths.
fn parts(arguments: &[ArrayRef]) -> Result<Vec<Option<i128>>, Refusal> {
    let array = value_of(arguments)?;
    let kind = kind_of(array);
    if array.data_type().is_null() {
        return Ok(vec![None; array.len()]);
    }
    let Some(unit) = unit_of(arguments, kind)? else { return Ok(vec![None; array.len()]) };
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            intervals.iter().map(|interval| interval.map(|interval| of_interval(interval, unit)).transpose()).collect()
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let clocks = array.as_primitive::<Time64MicrosecondType>();
            clocks.iter().map(|clock| clock.map(|clock| of_clock(clock, unit)).transpose()).collect()
        }
        date_or_time if Moments::is_one(date_or_time) => of_moments(array, unit, &zone(arguments)?, kind),
        other => Err(Refusal::new(Code::UndefinedFunction, format!("extract from {other} does not exist"))
            .hint("add an explicit cast")),
    }
}

const ONE: i128 = 1_000_000;

fn of_moments(array: &ArrayRef, unit: Unit, zone: &Zone, kind: &str) -> Result<Vec<Option<i128>>, Refusal> {
    let zoned = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
    let dated = *array.data_type() == DataType::Date32;
    let moments = Moments::new(array, zone);
    let timed = matches!(unit, Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute | Unit::Hour);
    let of_zone = matches!(unit, Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute);
    if (dated && timed) || (of_zone && !zoned) || (unit == Unit::Julian && !dated) {
        return Err(no_unit(unit, kind));
    }
    let instants = array.as_primitive_opt::<TimestampMicrosecondType>();
    (0..array.len())
        .map(|row| {
            let Some(moment) = moments.moment(row)? else { return Ok(None) };
            let instant = instants.map(|instants| instants.value(row));
            Ok(Some(match unit {
                Unit::Epoch => match instant {
                    Some(instant) => i128::from(instant),
                    None => i128::from(moment.days) * i128::from(DAY),
                },
                Unit::Timezone => i128::from(offset(instant, zone)) * ONE,
                Unit::TimezoneHour => i128::from(offset(instant, zone) / 3600) * ONE,
                Unit::TimezoneMinute => i128::from(offset(instant, zone) / 60 % 60) * ONE,
                unit => of_moment(moment, unit),
            }))
        })
        .collect()
}

fn offset(instant: Option<i64>, zone: &Zone) -> i32 {
    instant.map_or(0, |instant| zone.offset_at(instant))
}

/// Years counted in longer units, none of which has a zeroth but the decade.
fn long_unit(year: i64, length: i64) -> i64 {
    match (length, year > 0) {
        (10, true) => year / 10,
        (10, false) => -((8 - (year - 1)) / 10),
        (_, true) => (year + length - 1) / length,
        (_, false) => -((length - 1 - (year - 1)) / length),
    }
}

fn of_moment(moment: Moment, unit: Unit) -> i128 {
    let whole = match unit {
        Unit::Microseconds => return i128::from(moment.seconds()) * ONE,
        Unit::Milliseconds => return i128::from(moment.seconds()) * 1000,
        Unit::Second => return i128::from(moment.seconds()),
        Unit::Minute => moment.minute(),
        Unit::Hour => moment.hour(),
        Unit::Day => i64::from(moment.day),
        Unit::Week => i64::from(moment.iso_week().1),
        Unit::Month => i64::from(moment.month),
        Unit::Quarter => i64::from((moment.month - 1) / 3 + 1),
        Unit::Year => moment.written_year(),
        Unit::Decade => long_unit(moment.year, 10),
        Unit::Century => long_unit(moment.year, 100),
        Unit::Millennium => long_unit(moment.year, 1000),
        Unit::Dow => i64::from(moment.weekday()),
        Unit::Isodow => i64::from((moment.weekday() + 6) % 7 + 1),
        Unit::Doy => i64::from(moment.day_of_year()),
        Unit::Isoyear => {
            let year = moment.iso_week().0;
            if year > 0 { year } else { year - 1 }
        }
        Unit::Julian => i64::from(moment.days) + 2_440_588,
        Unit::Epoch | Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute => 0,
    };
    i128::from(whole) * ONE
}

fn of_clock(clock: i64, unit: Unit) -> Result<i128, Refusal> {
    let moment = Moment { days: 0, year: 1970, month: 1, day: 1, clock };
    match unit {
        Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute | Unit::Hour => {
            Ok(of_moment(moment, unit))
        }
        Unit::Epoch => Ok(i128::from(clock)),
        unit => Err(no_unit(unit, "time without time zone")),
    }
}

fn of_interval(interval: IntervalMonthDayNano, unit: Unit) -> Result<i128, Refusal> {
    let micros = interval.nanoseconds / 1000;
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    let whole = match unit {
        Unit::Microseconds => return Ok(i128::from(micros % (60 * SECOND)) * ONE),
        Unit::Milliseconds => return Ok(i128::from(micros % (60 * SECOND)) * 1000),
        Unit::Second => return Ok(i128::from(micros % (60 * SECOND))),
        Unit::Epoch => {
            // A year has 365.25 days here and a month 30.
            let quarter_days = 1461 * years + 120 * months + 4 * i64::from(interval.days);
            return Ok(i128::from(quarter_days) * i128::from(DAY / 4) + i128::from(micros));
        }
        Unit::Minute => micros / (60 * SECOND) % 60,
        Unit::Hour => micros / (3600 * SECOND),
        Unit::Day => i64::from(interval.days),
        Unit::Month => months,
        Unit::Quarter => months / 3 + 1,
        Unit::Year => years,
        Unit::Decade => years / 10,
        Unit::Century => years / 100,
        Unit::Millennium => years / 1000,
        unit => return Err(no_unit(unit, "interval")),
    };
    Ok(i128::from(whole) * ONE)
}

fn truncated_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    Ok(match argument(arguments, 1)? {
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Interval(_) => ColumnType::Interval,
        _ => ColumnType::Timestamptz,
    })
}

fn date_trunc(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let array = value_of(arguments)?;
    // A date is read as the instant of its midnight.
    let kind = match array.data_type() {
        DataType::Date32 => "timestamp with time zone",
        _ => kind_of(array),
    };
    let unit = unit_of(arguments, kind)?;
    if let DataType::Interval(IntervalUnit::MonthDayNano) = array.data_type() {
        let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
        let cut: PrimitiveArray<IntervalMonthDayNanoType> = intervals
            .iter()
            .map(|interval| interval.zip(unit).map(|(interval, unit)| cut_interval(interval, unit)).transpose())
            .collect::<Result<_, _>>()?;
        return Ok(Arc::new(cut));
    }
    let zoned = !matches!(array.data_type(), DataType::Timestamp(_, None));
    if !Moments::is_one(array.data_type()) && !array.data_type().is_null() {
        let message = format!("function date_trunc of {} does not exist", array.data_type());
        return Err(Refusal::new(Code::UndefinedFunction, message).hint("add an explicit cast"));
    }
    let zone = zone(arguments)?;
    let moments = Moments::new(array, &zone);
    let cut: PrimitiveArray<TimestampMicrosecondType> = (0..array.len())
        .map(|row| {
            let (Some(local), Some(unit)) = (moments.local(row)?, unit) else { return Ok(None) };
            let cut = cut_moment(local, unit, kind)?.ok_or_else(timestamp_out_of_range)?;
            if zoned { zone.to_utc(cut).ok_or_else(timestamp_out_of_range).map(Some) } else { Ok(Some(cut)) }
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(if zoned { Arc::new(cut.with_timezone("+00:00")) } else { Arc::new(cut) })
}

fn cut_moment(local: i64, unit: Unit, kind: &str) -> Result<Option<i64>, Refusal> {
    let moment = Moment::of(local);
    let first_of = |year: i64, month: u32| micros_of(year, month, 1, 0);
    Ok(match unit {
        Unit::Microseconds => Some(local),
        Unit::Milliseconds => Some(local - local.rem_euclid(1000)),
        Unit::Second => Some(local - local.rem_euclid(SECOND)),
        Unit::Minute => Some(local - local.rem_euclid(60 * SECOND)),
        Unit::Hour => Some(local - local.rem_euclid(3600 * SECOND)),
        Unit::Day => Some(local - moment.clock),
        Unit::Week => {
            let since_monday = i64::from((moment.weekday() + 6) % 7);
            (local - moment.clock).checked_sub(since_monday * DAY)
        }
        Unit::Month => first_of(moment.year, moment.month),
        Unit::Quarter => first_of(moment.year, (moment.month - 1) / 3 * 3 + 1),
        Unit::Year => first_of(moment.year, 1),
        Unit::Decade => first_of(long_unit(moment.year, 10) * 10, 1),
        Unit::Century => first_of(first_year(moment.year, 100), 1),
        Unit::Millennium => first_of(first_year(moment.year, 1000), 1),
        unit => return Err(no_unit(unit, kind)),
    })
}

/// The first year of a century or millennium.
fn first_year(year: i64, length: i64) -> i64 {
    match year > 0 {
        true => long_unit(year, length) * length - (length - 1),
        false => long_unit(year, length) * length + 1,
    }
}

fn cut_interval(interval: IntervalMonthDayNano, unit: Unit) -> Result<IntervalMonthDayNano, Refusal> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let time = |length: i64| nanoseconds - nanoseconds % (length * 1000);
    let whole = |unit: i32| IntervalMonthDayNano::new(months - months % unit, 0, 0);
    Ok(match unit {
        Unit::Microseconds => interval,
        Unit::Milliseconds => IntervalMonthDayNano::new(months, days, time(1000)),
        Unit::Second => IntervalMonthDayNano::new(months, days, time(SECOND)),
        Unit::Minute => IntervalMonthDayNano::new(months, days, time(60 * SECOND)),
        Unit::Hour => IntervalMonthDayNano::new(months, days, time(3600 * SECOND)),
        Unit::Day => IntervalMonthDayNano::new(months, days, 0),
        Unit::Month => whole(1),
        Unit::Quarter => whole(3),
        Unit::Year => whole(12),
        Unit::Decade => whole(120),
        Unit::Century => whole(1200),
        Unit::Millennium => whole(12_000),
        unit => return Err(no_unit(unit, "interval")),
    })
}

/// No infinite dates are kept.
fn is_finite(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let array = arguments.first().ok_or_else(|| Refusal::new(Code::Internal, "an argument is missing"))?;
    let flags: arrow::array::BooleanArray = (0..array.len()).map(|row| array.is_valid(row).then_some(true)).collect();
    Ok(Arc::new(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_before_christ_count_backwards() {
        let check = |year: i64, decade: i64, century: i64, millennium: i64| {
            let found = (long_unit(year, 10), long_unit(year, 100), long_unit(year, 1000));
            assert_eq!(found, (decade, century, millennium), "{year}");
        };
        check(2000, 200, 20, 2);
        check(2001, 200, 21, 3);
        check(1, 0, 1, 1);
        check(0, 0, -1, -1);
        check(-99, -10, -1, -1);
        check(-100, -10, -2, -1);
    }
}
