//! `+` and `-` on dates, times and intervals, as PostgreSQL has them and DataFusion has not.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
        Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{DFSchema, DataFusionError, ScalarValue},
    logical_expr::{
        Cast, Expr, ExprSchemable, Operator, ScalarUDF,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
};
use weir_model::{
    Code, ColumnType, Refusal,
    text::calendar::{DAY, split_microseconds},
};
use weir_sql::ast::BinaryOperator;

use super::{
    cast::zone_of,
    moment::{add_months, timestamp_out_of_range},
    plain::{Plain, any},
};
use crate::{cast::local_time, types::parameter_field};

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Interval,
    Integer,
    /// A quoted literal, which has no type of its own.
    Unknown,
}

fn kind(expr: &Expr, schema: &DFSchema) -> Option<Kind> {
    if matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) {
        return Some(Kind::Unknown);
    }
    Some(match expr.get_type(schema).ok()? {
        DataType::Date32 => Kind::Date,
        DataType::Timestamp(_, None) => Kind::Timestamp,
        DataType::Timestamp(_, Some(_)) => Kind::Timestamptz,
        DataType::Time64(_) => Kind::Time,
        DataType::Interval(_) => Kind::Interval,
        kind if kind.is_integer() => Kind::Integer,
        _ => return None,
    })
}

fn column_type(kind: Kind) -> ColumnType {
    match kind {
        Kind::Date => ColumnType::Date,
        Kind::Timestamp => ColumnType::Timestamp,
        Kind::Timestamptz => ColumnType::Timestamptz,
        Kind::Time => ColumnType::Time,
        Kind::Interval => ColumnType::Interval,
        Kind::Integer => ColumnType::Integer,
        Kind::Unknown => ColumnType::Text,
    }
}

/// Plans the operators as calls.
#[derive(Debug)]
pub(crate) struct CalendarArithmetic {
    functions: Vec<Arc<ScalarUDF>>,
}

impl CalendarArithmetic {
    pub(crate) fn new() -> CalendarArithmetic {
        CalendarArithmetic { functions: all() }
    }

    fn call(&self, name: &str, left: Expr, right: Expr) -> Option<Expr> {
        let function = self.functions.iter().find(|function| function.name() == name)?;
        Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![left, right])))
    }
}

fn to(expr: Expr, column_type: ColumnType) -> Expr {
    Expr::Cast(Cast::new_from_field(Box::new(expr), parameter_field(column_type)))
}

impl ExprPlanner for CalendarArithmetic {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        let minus = match expr.op {
            BinaryOperator::Plus => false,
            BinaryOperator::Minus => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (Some(left), Some(right)) = (kind(&expr.left, schema), kind(&expr.right, schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let left_first = rank(left) <= rank(right) || minus;
        let RawBinaryExpr { op, left: one, right: two } = expr;
        let (one, two, kinds) = if left_first { (one, two, (left, right)) } else { (two, one, (right, left)) };
        let (one, two, kinds) = settled(one, two, kinds, minus);
        let (one, two, name) = match operation(kinds.0, kinds.1, minus) {
            Some(Operation { name, cast }) => match cast {
                Some(cast) => (to(one, cast), to(two, cast), name),
                None => (one, two, name),
            },
            // As it came.
            None => {
                let (left, right) = if left_first { (one, two) } else { (two, one) };
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
        };
        match self.call(name, one, two) {
            Some(call) => Ok(PlannerResult::Planned(call)),
            None => Err(DataFusionError::Internal(format!("{name} is missing"))),
        }
    }
}

/// Addition commutes: the operand of the greater weight comes first.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Timestamptz => 0,
        Kind::Timestamp => 1,
        Kind::Date => 2,
        Kind::Time => 3,
        Kind::Interval => 4,
        Kind::Integer => 5,
        Kind::Unknown => 6,
    }
}

/// A quoted literal takes the other operand's type where such an operator exists, else it is an interval.
fn settled(one: Expr, two: Expr, kinds: (Kind, Kind), minus: bool) -> (Expr, Expr, (Kind, Kind)) {
    let guess = |other: Kind| match other {
        Kind::Interval | Kind::Integer => other,
        other if minus => other,
        _ => Kind::Interval,
    };
    match kinds {
        (Kind::Unknown, Kind::Unknown | Kind::Integer) | (Kind::Integer, Kind::Unknown) => (one, two, kinds),
        (Kind::Unknown, other) => {
            let known = guess(other);
            (to(one, column_type(known)), two, (known, other))
        }
        (other, Kind::Unknown) => {
            let known = guess(other);
            (one, to(two, column_type(known)), (other, known))
        }
        _ => (one, two, kinds),
    }
}

struct Operation {
    name: &'static str,
    /// What both operands become first.
    cast: Option<ColumnType>,
}

fn operation(left: Kind, right: Kind, minus: bool) -> Option<Operation> {
    use Kind::{Date, Integer, Interval, Time, Timestamp, Timestamptz};
    let plain = |name| Some(Operation { name, cast: None });
    let after = |name, cast| Some(Operation { name, cast: Some(cast) });
    match (left, right, minus) {
        (Date, Integer, false) => plain("weir_date_plus"),
        (Date, Integer, true) => plain("weir_date_minus"),
        (Date, Date, true) => plain("weir_days_between"),
        (Date, Interval, false) => plain(DATE_PLUS_INTERVAL),
        (Date, Interval, true) => plain(DATE_MINUS_INTERVAL),
        (Timestamp | Timestamptz, Interval, false) => plain("weir_timestamp_plus"),
        (Timestamp | Timestamptz, Interval, true) => plain("weir_timestamp_minus"),
        (Date, Time, false) => plain("weir_date_and_time"),
        (Timestamp, Timestamp, true) | (Timestamptz, Timestamptz, true) => plain("weir_time_between"),
        (Timestamp, Date, true) | (Date, Timestamp, true) => after("weir_time_between", ColumnType::Timestamp),
        (Timestamptz, Date | Timestamp, true) | (Date | Timestamp, Timestamptz, true) => {
            after("weir_time_between", ColumnType::Timestamptz)
        }
        (Time, Interval, false) => plain("weir_time_plus"),
        (Time, Interval, true) => plain("weir_time_minus"),
        (Time, Time, true) => plain("weir_clock_between"),
        (Interval, Interval, false) => plain("weir_interval_plus"),
        (Interval, Interval, true) => plain("weir_interval_minus"),
        _ => None,
    }
}

const DATE_PLUS_INTERVAL: &str = "weir_date_plus_interval";
const DATE_MINUS_INTERVAL: &str = "weir_date_minus_interval";

/// A date plus or minus whole days or months, as a date: what it equals where it is compared with dates.
pub(crate) fn as_date(expr: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let op = match call.func.name() {
        DATE_PLUS_INTERVAL => Operator::Plus,
        DATE_MINUS_INTERVAL => Operator::Minus,
        _ => return None,
    };
    let [date, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)] = call.args.as_slice() else {
        return None;
    };
    let interval_literal = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(*interval)), None);
    (interval.nanoseconds == 0).then(|| {
        Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(
            Box::new(date.clone()),
            op,
            Box::new(interval_literal),
        ))
    })
}

fn all() -> Vec<Arc<ScalarUDF>> {
    let make = |name, returns, run| Plain::new(name, any(&[2, 3]), returns, run).zoned().function();
    vec![
        make("weir_date_plus", |_| Ok(ColumnType::Date), |a| date_days(a, 1)),
        make("weir_date_minus", |_| Ok(ColumnType::Date), |a| date_days(a, -1)),
        make("weir_days_between", |_| Ok(ColumnType::Integer), days_between),
        make(DATE_PLUS_INTERVAL, |_| Ok(ColumnType::Timestamp), |a| date_interval(a, 1)),
        make(DATE_MINUS_INTERVAL, |_| Ok(ColumnType::Timestamp), |a| date_interval(a, -1)),
        make("weir_timestamp_plus", same_timestamp, |a| timestamp_interval(a, 1)),
        make("weir_timestamp_minus", same_timestamp, |a| timestamp_interval(a, -1)),
        make("weir_date_and_time", |_| Ok(ColumnType::Timestamp), date_and_time),
        make("weir_time_between", |_| Ok(ColumnType::Interval), time_between),
        make("weir_time_plus", |_| Ok(ColumnType::Time), |a| clock_interval(a, 1)),
        make("weir_time_minus", |_| Ok(ColumnType::Time), |a| clock_interval(a, -1)),
        make("weir_clock_between", |_| Ok(ColumnType::Interval), clock_between),
        make("weir_interval_plus", |_| Ok(ColumnType::Interval), |a| intervals(a, 1)),
        make("weir_interval_minus", |_| Ok(ColumnType::Interval), |a| intervals(a, -1)),
    ]
}

fn same_timestamp(arguments: &datafusion::logical_expr::ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    Ok(match super::plain::argument(arguments, 0)? {
        DataType::Timestamp(_, Some(_)) => ColumnType::Timestamptz,
        _ => ColumnType::Timestamp,
    })
}

type Done = Result<ArrayRef, Refusal>;

fn typed(arguments: &[ArrayRef], place: usize, wanted: &DataType) -> Done {
    let array = arguments.get(place).ok_or_else(|| Refusal::new(Code::Internal, "an operand is missing"))?;
    cast(array, wanted).map_err(|_| Refusal::new(Code::Internal, "an operand of another type"))
}

/// Row by row; NULL where either is.
fn both<L, R, O>(
    left: &ArrayRef,
    right: &ArrayRef,
    one: impl Fn(L::Native, R::Native) -> Result<O::Native, Refusal>,
) -> Result<PrimitiveArray<O>, Refusal>
where
    L: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (left, right) = (left.as_primitive::<L>(), right.as_primitive::<R>());
    (0..left.len())
        .map(|row| match left.is_null(row) || right.is_null(row) {
            true => Ok(None),
            false => one(left.value(row), right.value(row)).map(Some),
        })
        .collect()
}

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const CLOCK: DataType = DataType::Time64(TimeUnit::Microsecond);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

fn date_out_of_range() -> Refusal {
    Refusal::new(Code::DatetimeOverflow, "date out of range")
}

fn date_days(arguments: &[ArrayRef], sign: i64) -> Done {
    let (dates, days) = (typed(arguments, 0, &DataType::Date32)?, typed(arguments, 1, &DataType::Int64)?);
    let sum = both::<Date32Type, Int64Type, Date32Type>(&dates, &days, |date, days| {
        let sum = days.checked_mul(sign).and_then(|days| days.checked_add(date.into()));
        sum.and_then(|sum| i32::try_from(sum).ok()).ok_or_else(date_out_of_range)
    })?;
    Ok(Arc::new(sum))
}

fn days_between(arguments: &[ArrayRef]) -> Done {
    let (later, earlier) = (typed(arguments, 0, &DataType::Date32)?, typed(arguments, 1, &DataType::Date32)?);
    let days = both::<Date32Type, Date32Type, Int32Type>(&later, &earlier, |later, earlier| {
        later.checked_sub(earlier).ok_or_else(date_out_of_range)
    })?;
    Ok(Arc::new(days))
}

fn signed(interval: IntervalMonthDayNano, sign: i32) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano::new(
        interval.months.checked_mul(sign)?,
        interval.days.checked_mul(sign)?,
        interval.nanoseconds.checked_mul(sign.into())?,
    ))
}

/// Months, then days, then time, on a clock without a zone.
fn shifted(local: i64, interval: IntervalMonthDayNano) -> Option<i64> {
    let days = i64::from(interval.days).checked_mul(DAY)?;
    add_months(local, interval.months)?.checked_add(days)?.checked_add(interval.nanoseconds / 1000)
}

fn date_interval(arguments: &[ArrayRef], sign: i32) -> Done {
    let (dates, intervals) = (typed(arguments, 0, &DataType::Date32)?, typed(arguments, 1, &INTERVAL)?);
    let sum = both::<Date32Type, IntervalMonthDayNanoType, TimestampMicrosecondType>(
        &dates,
        &intervals,
        |date, interval| {
            let local = i64::from(date).checked_mul(DAY);
            let interval = signed(interval, sign);
            local.and_then(|local| shifted(local, interval?)).ok_or_else(timestamp_out_of_range)
        },
    )?;
    Ok(Arc::new(sum))
}

/// In a zone, months and days are those of its calendar, and time is time that passes.
fn timestamp_interval(arguments: &[ArrayRef], sign: i32) -> Done {
    let zoned = matches!(arguments.first().map(|array| array.data_type()), Some(DataType::Timestamp(_, Some(_))));
    let zone = match arguments.get(2) {
        Some(zone) if zoned => Some(zone_of(zone)?),
        _ => None,
    };
    let (instants, intervals) = (typed(arguments, 0, &MICROS)?, typed(arguments, 1, &INTERVAL)?);
    let add = |instant: i64, interval: IntervalMonthDayNano| -> Option<i64> {
        let interval = signed(interval, sign)?;
        let Some(zone) = &zone else { return shifted(instant, interval) };
        let time = interval.nanoseconds / 1000;
        if interval.months == 0 && interval.days == 0 {
            return instant.checked_add(time);
        }
        let calendar = IntervalMonthDayNano::new(interval.months, interval.days, 0);
        zone.to_utc(shifted(local_time(instant, zone)?, calendar)?)?.checked_add(time)
    };
    let sum = both::<TimestampMicrosecondType, IntervalMonthDayNanoType, TimestampMicrosecondType>(
        &instants,
        &intervals,
        |instant, interval| add(instant, interval).ok_or_else(timestamp_out_of_range),
    )?;
    Ok(if zoned { Arc::new(sum.with_timezone("+00:00")) } else { Arc::new(sum) })
}

fn date_and_time(arguments: &[ArrayRef]) -> Done {
    let (dates, clocks) = (typed(arguments, 0, &DataType::Date32)?, typed(arguments, 1, &CLOCK)?);
    let sum = both::<Date32Type, Time64MicrosecondType, TimestampMicrosecondType>(&dates, &clocks, |date, clock| {
        let midnight = i64::from(date).checked_mul(DAY);
        midnight.and_then(|midnight| midnight.checked_add(clock)).ok_or_else(timestamp_out_of_range)
    })?;
    Ok(Arc::new(sum))
}

fn interval_out_of_range() -> Refusal {
    Refusal::new(Code::DatetimeOverflow, "interval out of range")
}

/// Days and what is left of them; no months.
fn time_between(arguments: &[ArrayRef]) -> Done {
    let (later, earlier) = (typed(arguments, 0, &MICROS)?, typed(arguments, 1, &MICROS)?);
    let between = both::<TimestampMicrosecondType, TimestampMicrosecondType, IntervalMonthDayNanoType>(
        &later,
        &earlier,
        |later, earlier| {
            let micros = later.checked_sub(earlier).ok_or_else(interval_out_of_range)?;
            let (days, rest) = match micros < 0 {
                true => {
                    let (days, rest) = split_microseconds(micros.checked_neg().ok_or_else(interval_out_of_range)?);
                    (-days, -rest)
                }
                false => split_microseconds(micros),
            };
            Ok(IntervalMonthDayNano::new(0, days, rest * 1000))
        },
    )?;
    Ok(Arc::new(between))
}

/// Around the clock.
fn clock_interval(arguments: &[ArrayRef], sign: i64) -> Done {
    let (clocks, intervals) = (typed(arguments, 0, &CLOCK)?, typed(arguments, 1, &INTERVAL)?);
    let sum = both::<Time64MicrosecondType, IntervalMonthDayNanoType, Time64MicrosecondType>(
        &clocks,
        &intervals,
        |clock, interval| Ok((clock + sign * (interval.nanoseconds / 1000 % DAY)).rem_euclid(DAY)),
    )?;
    Ok(Arc::new(sum))
}

fn clock_between(arguments: &[ArrayRef]) -> Done {
    let (later, earlier) = (typed(arguments, 0, &CLOCK)?, typed(arguments, 1, &CLOCK)?);
    let between = both::<Time64MicrosecondType, Time64MicrosecondType, IntervalMonthDayNanoType>(
        &later,
        &earlier,
        |later, earlier| Ok(IntervalMonthDayNano::new(0, 0, (later - earlier) * 1000)),
    )?;
    Ok(Arc::new(between))
}

fn intervals(arguments: &[ArrayRef], sign: i32) -> Done {
    let (left, right) = (typed(arguments, 0, &INTERVAL)?, typed(arguments, 1, &INTERVAL)?);
    let sum = both::<IntervalMonthDayNanoType, IntervalMonthDayNanoType, IntervalMonthDayNanoType>(
        &left,
        &right,
        |left, right| {
            let add = || {
                let right = signed(right, sign)?;
                Some(IntervalMonthDayNano::new(
                    left.months.checked_add(right.months)?,
                    left.days.checked_add(right.days)?,
                    left.nanoseconds.checked_add(right.nanoseconds)?,
                ))
            };
            add().ok_or_else(interval_out_of_range)
        },
    )?;
    Ok(Arc::new(sum))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::text::{datetime_input::read_timestamp, interval_input::read_interval};

    use super::*;

    #[test]
    fn months_then_days_then_time() {
        let check = |text: &str, interval: &str, expected: &str| {
            let (months, days, nanoseconds) = read_interval(interval.as_bytes()).unwrap();
            let found =
                shifted(read_timestamp(text.as_bytes()).unwrap(), IntervalMonthDayNano::new(months, days, nanoseconds));
            assert_eq!(found, read_timestamp(expected.as_bytes()).ok(), "{text} {interval}");
        };
        check("2024-01-31", "1 month", "2024-02-29");
        check("2024-01-31", "1 month 1 day", "2024-03-01");
        check("2024-01-31 23:00", "2 hours", "2024-02-01 01:00");
        check("1500-01-01", "-1 year", "1499-01-01");
        check("9999-12-31", "1 day", "10000-01-01");
    }
}
