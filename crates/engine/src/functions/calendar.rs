//! `to_char` and `age` as PostgreSQL has them.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoBuilder, StringViewArray, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, Months, NaiveDateTime, Timelike};
use datafusion::{
    common::DataFusionError,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use weir_model::{Code, Refusal};

use super::number_format;
use crate::{error::external, types::is_text};

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::new_from_impl(ToChar { signature: Signature::any(2, Volatility::Immutable) })),
        Arc::new(ScalarUDF::new_from_impl(Age { signature: Signature::any(2, Volatility::Immutable) })),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Age {
    signature: Signature,
}

/// Timestamps, dates and text that reads as either, without their zone, which is UTC.
fn moments(array: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    Ok(cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?)
}

fn moment(array: &dyn Array, row: usize) -> Option<NaiveDateTime> {
    let array = array.as_primitive::<TimestampMicrosecondType>();
    let micros = array.is_valid(row).then(|| array.value(row))?;
    DateTime::from_timestamp_micros(micros).map(|moment| moment.naive_utc())
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [values, formats] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("to_char takes two arguments".into()));
        };
        let formats = cast(formats, &DataType::Utf8View)?;
        let formats = formats.as_string_view();
        let array: ArrayRef = match values.data_type() {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
                let moments = moments(values)?;
                each(formats, |row, format| moment(&moments, row).map(|moment| date_text(moment, format)).transpose())?
            }
            numeric if numeric.is_numeric() => {
                let texts = cast(values, &DataType::Utf8View)?;
                let texts = texts.as_string_view();
                each(formats, |row, format| {
                    texts.is_valid(row).then(|| number_format::format(texts.value(row), format)).transpose()
                })?
            }
            DataType::Null => arrow::array::new_null_array(&DataType::Utf8View, values.len()),
            other => return Err(external(Refusal::unsupported(format!("to_char of {other}")))),
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn each(
    formats: &StringViewArray,
    one: impl Fn(usize, &str) -> Result<Option<String>, Refusal>,
) -> Result<ArrayRef, DataFusionError> {
    let mut out = StringViewBuilder::with_capacity(formats.len());
    for (row, format) in formats.iter().enumerate() {
        match format {
            None => out.append_null(),
            Some(format) => out.append_option(one(row, format).map_err(external)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Longest pattern first: the first that fits is the one meant.
const PATTERNS: [&str; 41] = [
    "HH24", "HH12", "YYYY", "Y,YYY", "IYYY", "MONTH", "Month", "month", "SSSS", "A.M.", "P.M.", "a.m.", "p.m.", "DDD",
    "Day", "DAY", "day", "Mon", "MON", "mon", "YYY", "HH", "MI", "SS", "MS", "US", "AM", "PM", "am", "pm", "YY", "MM",
    "DD", "Dy", "DY", "dy", "IW", "WW", "TZ", "D", "Q",
];

fn date_text(moment: NaiveDateTime, format: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(format.len() + 8);
    let mut rest = format;
    'next: while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (literal, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            out.push_str(literal);
            rest = after;
            continue;
        }
        let (fill, body) = match rest.strip_prefix("FM") {
            Some(body) => (false, body),
            None => (true, rest),
        };
        for pattern in PATTERNS {
            if let Some(after) = body.strip_prefix(pattern) {
                field(&mut out, moment, pattern, fill);
                rest = match after.strip_prefix("TH") {
                    Some(_) => return Err(Refusal::unsupported("to_char with TH")),
                    None => after,
                };
                continue 'next;
            }
        }
        let mut characters = rest.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    Ok(out)
}

fn field(out: &mut String, moment: NaiveDateTime, pattern: &str, fill: bool) {
    let hour12 = (moment.hour() + 11) % 12 + 1;
    let month = MONTHS.get(moment.month0() as usize).copied().unwrap_or_default();
    let day = DAYS.get(moment.weekday().num_days_from_monday() as usize).copied().unwrap_or_default();
    let short = |name: &str| name.chars().take(3).collect::<String>();
    let padded = |name: &str| if fill { format!("{name:<9}") } else { name.to_owned() };
    let (number, width) = match pattern {
        "HH24" => (i64::from(moment.hour()), 2),
        "HH12" | "HH" => (i64::from(hour12), 2),
        "MI" => (i64::from(moment.minute()), 2),
        "SS" => (i64::from(moment.second()), 2),
        "MS" => (i64::from(moment.nanosecond() / 1_000_000), 3),
        "US" => (i64::from(moment.nanosecond() / 1_000), 6),
        "SSSS" => (i64::from(moment.num_seconds_from_midnight()), 1),
        "YYYY" => (i64::from(moment.year()), 4),
        "YYY" => (i64::from(moment.year().rem_euclid(1000)), 3),
        "YY" => (i64::from(moment.year().rem_euclid(100)), 2),
        "IYYY" => (i64::from(moment.iso_week().year()), 4),
        "MM" => (i64::from(moment.month()), 2),
        "DD" => (i64::from(moment.day()), 2),
        "DDD" => (i64::from(moment.ordinal()), 3),
        "D" => (i64::from(moment.weekday().number_from_sunday()), 1),
        "Q" => (i64::from(moment.month0() / 3 + 1), 1),
        "IW" => (i64::from(moment.iso_week().week()), 2),
        "WW" => (i64::from(moment.ordinal0() / 7 + 1), 2),
        _ => {
            out.push_str(&match pattern {
                "Y,YYY" => format!("{},{:03}", moment.year() / 1000, moment.year() % 1000),
                "MONTH" => padded(&month.to_uppercase()),
                "Month" => padded(month),
                "month" => padded(&month.to_lowercase()),
                "MON" => short(month).to_uppercase(),
                "Mon" => short(month),
                "mon" => short(month).to_lowercase(),
                "DAY" => padded(&day.to_uppercase()),
                "Day" => padded(day),
                "day" => padded(&day.to_lowercase()),
                "DY" => short(day).to_uppercase(),
                "Dy" => short(day),
                "dy" => short(day).to_lowercase(),
                "AM" | "PM" => if moment.hour() < 12 { "AM" } else { "PM" }.to_owned(),
                "am" | "pm" => if moment.hour() < 12 { "am" } else { "pm" }.to_owned(),
                "A.M." | "P.M." => if moment.hour() < 12 { "A.M." } else { "P.M." }.to_owned(),
                "a.m." | "p.m." => if moment.hour() < 12 { "a.m." } else { "p.m." }.to_owned(),
                "TZ" => "UTC".to_owned(),
                other => other.to_owned(),
            });
            return;
        }
    };
    let width = if fill { width } else { 0 };
    // A String takes what is written to it.
    let _ = write!(out, "{number:0width$}");
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [later, earlier] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("age takes two arguments".into()));
        };
        for side in [later, earlier] {
            let kind = side.data_type();
            if !(kind.is_temporal() || is_text(kind) || kind.is_null()) {
                return Err(external(Refusal::new(
                    Code::UndefinedFunction,
                    format!("function age({kind}) does not exist"),
                )));
            }
        }
        let (later, earlier) = (moments(later)?, moments(earlier)?);
        let mut out = IntervalMonthDayNanoBuilder::with_capacity(later.len());
        for row in 0..later.len() {
            out.append_option(match (moment(&later, row), moment(&earlier, row)) {
                (Some(later), Some(earlier)) => between(later, earlier),
                _ => None,
            });
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

/// Whole months first, then what is left: years and months as a person counts them.
fn between(later: NaiveDateTime, earlier: NaiveDateTime) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        let positive = between(earlier, later)?;
        return Some(IntervalMonthDayNano::new(-positive.months, -positive.days, -positive.nanoseconds));
    }
    let mut months = (later.year() - earlier.year()) * 12 + later.month() as i32 - earlier.month() as i32;
    let shifted = |months: i32| earlier.checked_add_months(Months::new(u32::try_from(months).ok()?));
    if shifted(months)? > later {
        months -= 1;
    }
    let rest = later - shifted(months)?;
    let days = i32::try_from(rest.num_days()).ok()?;
    let nanoseconds = (rest - chrono::Duration::days(i64::from(days))).num_nanoseconds()?;
    Some(IntervalMonthDayNano::new(months, days, nanoseconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn patterns_are_postgresql_s() {
        let moment = NaiveDateTime::parse_from_str("2024-05-07 14:03:09.012345", "%Y-%m-%d %H:%M:%S%.f").unwrap();
        let check = |format: &str, expected: &str| assert_eq!(date_text(moment, format).unwrap(), expected, "{format}");
        check("YYYY-MM-DD HH24:MI:SS.MS", "2024-05-07 14:03:09.012");
        check("FMDD.FMMM.YY HH12:MI AM", "7.5.24 02:03 PM");
        check("Day, DD Mon YYYY", "Tuesday  , 07 May 2024");
        check("FMMonth \"of\" YYYY Q DDD D", "May of 2024 2 128 3");
        check("IYYY-IW", "2024-19");
    }

    #[test]
    fn ages_count_months_then_days() {
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
        let check = |later: &str, earlier: &str, expected: (i32, i32, i64)| {
            let found = between(at(later), at(earlier)).unwrap();
            assert_eq!((found.months, found.days, found.nanoseconds), expected, "{later} {earlier}");
        };
        check("2024-03-01 00:00", "2024-01-15 00:00", (1, 15, 0));
        check("2024-01-15 00:00", "2024-03-01 00:00", (-1, -15, 0));
        check("2001-04-10 12:00", "1957-06-13 00:00", (525, 28, 43_200_000_000_000));
    }
}
