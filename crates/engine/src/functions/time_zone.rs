//! `timezone(zone, x)`, which `x AT TIME ZONE zone` is, and `age`.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoBuilder, PrimitiveArray},
    compute::cast,
    datatypes::{DataType, IntervalMonthDayNano, TimestampMicrosecondType},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{ReturnFieldArgs, ScalarUDF},
};
use weir_model::{
    Code, ColumnType, Refusal,
    text::{calendar::DAY, zone::Zone},
};

use super::{
    cast::{zone_named, zone_of},
    moment::{Moment, Moments, add_months, timestamp_out_of_range},
    plain::{Plain, any, argument},
};
use crate::{
    cast::{Purpose, convert, local_time},
    types::is_text,
};

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Plain::new("timezone", any(&[2]), moved_type, moved).function(),
        Plain::new("age", any(&[2, 3]), |_| Ok(ColumnType::Interval), age).zoned().function(),
    ]
}

fn moved_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    match argument(arguments, 1)? {
        DataType::Timestamp(_, Some(_)) => Ok(ColumnType::Timestamp),
        DataType::Timestamp(_, None) | DataType::Null => Ok(ColumnType::Timestamptz),
        kind if is_text(kind) => Ok(ColumnType::Timestamp),
        other => Err(crate::error::external(
            Refusal::unsupported(format!("AT TIME ZONE of {other}")).hint("cast to timestamp or timestamptz first"),
        )),
    }
}

/// A clock's time to an instant, an instant to a clock's time.
fn moved(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let [names, values] = arguments else { return Err(Refusal::new(Code::Internal, "an argument is missing")) };
    let names = cast(names, &DataType::Utf8View)
        .map_err(|_| Refusal::unsupported("a time zone that is not a name").hint("name the zone"))?;
    let names = names.as_string_view();
    let text = is_text(values.data_type());
    let values = match text {
        true => convert(values, ColumnType::Timestamptz, &Zone::utc(), Purpose::Explicit)?,
        false => Arc::clone(values),
    };
    let to_clock = matches!(values.data_type(), DataType::Timestamp(_, Some(_)));
    let Some(instants) = values.as_primitive_opt::<TimestampMicrosecondType>() else {
        return Ok(arrow::array::new_null_array(&weir_store::arrow_type(ColumnType::Timestamptz), values.len()));
    };
    let mut zones: HashMap<&str, Zone> = HashMap::new();
    let mut done = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        if names.is_null(row) || instants.is_null(row) {
            done.push(None);
            continue;
        }
        let name = names.value(row);
        let zone = match zones.get(name) {
            Some(zone) => zone,
            None => zones.entry(name).or_insert(zone_named(name)?),
        };
        let value = instants.value(row);
        let value = if to_clock { local_time(value, zone) } else { zone.to_utc(value) };
        done.push(Some(value.ok_or_else(timestamp_out_of_range)?));
    }
    let done = PrimitiveArray::<TimestampMicrosecondType>::from(done);
    Ok(if to_clock { Arc::new(done) } else { Arc::new(done.with_timezone("+00:00")) })
}

fn age(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let [later, earlier, rest @ ..] = arguments else {
        return Err(Refusal::new(Code::Internal, "an argument is missing"));
    };
    let zone = rest.first().map_or_else(|| Ok(Zone::utc()), zone_of)?;
    let read = |side: &ArrayRef| -> Result<ArrayRef, Refusal> {
        match side.data_type() {
            text if is_text(text) => convert(side, ColumnType::Timestamp, &zone, Purpose::Explicit),
            kind if Moments::is_one(kind) || kind.is_null() => Ok(Arc::clone(side)),
            other => Err(Refusal::new(Code::UndefinedFunction, format!("function age({other}) does not exist"))),
        }
    };
    let (later, earlier) = (read(later)?, read(earlier)?);
    let (later, earlier) = (Moments::new(&later, &zone), Moments::new(&earlier, &zone));
    let rows = arguments.first().map_or(0, |array| array.len());
    let mut out = IntervalMonthDayNanoBuilder::with_capacity(rows);
    for row in 0..rows {
        match (later.local(row)?, earlier.local(row)?) {
            (Some(later), Some(earlier)) => {
                out.append_value(between(later, earlier).ok_or_else(timestamp_out_of_range)?);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Field by field, borrowing days from the earlier one's month: years and months as a person counts them.
fn between(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        let positive = between(earlier, later)?;
        return Some(IntervalMonthDayNano::new(-positive.months, -positive.days, -positive.nanoseconds));
    }
    let (one, two) = (Moment::of(later), Moment::of(earlier));
    let mut months = (one.year - two.year) * 12 + i64::from(one.month) - i64::from(two.month);
    let mut days = i64::from(one.day) - i64::from(two.day);
    let mut clock = one.clock - two.clock;
    if clock < 0 {
        clock += DAY;
        days -= 1;
    }
    if days < 0 {
        let first = earlier - two.clock - (i64::from(two.day) - 1) * DAY;
        days += (add_months(first, 1)? - first) / DAY;
        months -= 1;
    }
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, i32::try_from(days).ok()?, clock.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::text::datetime_input::read_timestamp;

    use super::*;

    #[test]
    fn ages_count_months_then_days() {
        let at = |text: &str| read_timestamp(text.as_bytes()).unwrap();
        let check = |later: &str, earlier: &str, expected: (i32, i32, i64)| {
            let found = between(at(later), at(earlier)).unwrap();
            assert_eq!((found.months, found.days, found.nanoseconds), expected, "{later} {earlier}");
        };
        check("2024-03-01 00:00", "2024-01-15 00:00", (1, 17, 0));
        check("2024-01-15 00:00", "2024-03-01 00:00", (-1, -17, 0));
        check("2001-04-10 12:00", "1957-06-13 00:00", (525, 27, 43_200_000_000_000));
        check("2024-01-01 00:00", "2023-12-31 23:00", (0, 0, 3_600_000_000_000));
    }
}
