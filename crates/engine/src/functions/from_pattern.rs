//! `to_timestamp`, `to_date` and `to_number`: text read by a pattern, as PostgreSQL reads it outside of its FX mode.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray, StringViewArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Float64Type, TimestampMicrosecondType},
};
use datafusion::logical_expr::{Expr, ScalarUDF};
use weir_model::{
    Code, ColumnType, Refusal,
    text::{
        calendar::{DAY, SECOND, days_from_civil},
        zone::Zone,
    },
};

use super::{
    cast::zone_of,
    number_format,
    patterns::{DAYS, Field, MONTHS, Piece, pieces},
    plain::{Plain, any, exact},
};

/// Its first argument decides what it is: a text read by a pattern, or seconds since 1970.
pub(crate) const TO_TIMESTAMP: &str = "to_timestamp";

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let text = [DataType::Utf8View, DataType::Utf8View];
    vec![
        Plain::new(TO_TIMESTAMP, any(&[1, 2, 3]), |_| Ok(ColumnType::Timestamptz), to_timestamp).function(),
        Plain::new("to_date", exact(&text), |_| Ok(ColumnType::Date), to_date).function(),
        Plain::new("to_number", exact(&text), |_| Ok(ColumnType::NUMERIC_DEFAULT), to_number).function(),
    ]
}

/// Whether a call needs the session's time zone as a third argument.
pub(crate) fn wants_zone(name: &str, arguments: &[Expr]) -> bool {
    name == TO_TIMESTAMP && arguments.len() == 2
}

fn missing() -> Refusal {
    Refusal::new(Code::UndefinedFunction, "function to_timestamp does not take these arguments")
        .hint("write to_timestamp(seconds) or to_timestamp(text, format)")
}

fn to_timestamp(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let instants: PrimitiveArray<TimestampMicrosecondType> = match arguments {
        [seconds] if seconds.data_type().is_numeric() || seconds.data_type().is_null() => {
            let seconds = cast(seconds, &DataType::Float64).map_err(|_| missing())?;
            seconds.as_primitive::<Float64Type>().try_unary(|seconds| {
                let micros = (seconds * 1e6).round_ties_even();
                let fits = micros.is_finite() && micros.abs() < i64::MAX as f64;
                let overflow =
                    || Refusal::new(Code::DatetimeOverflow, format!("timestamp out of range: \"{seconds}\""));
                if fits { Ok(micros as i64) } else { Err(overflow()) }
            })?
        }
        [texts, formats, rest @ ..] => {
            let zone = rest.first().map_or_else(|| Ok(Zone::utc()), zone_of)?;
            let text = |array: &ArrayRef| cast(array, &DataType::Utf8View).map_err(|_| missing());
            let (texts, formats) = (text(texts)?, text(formats)?);
            read_each(texts.as_string_view(), formats.as_string_view(), |found| found.instant(&zone))?
        }
        _ => return Err(missing()),
    };
    Ok(Arc::new(instants.with_timezone("+00:00")))
}

fn to_date(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let [texts, formats] = arguments else { return Err(missing()) };
    let days: PrimitiveArray<Date32Type> =
        read_each(texts.as_string_view(), formats.as_string_view(), |found| found.days())?;
    Ok(Arc::new(days))
}

fn to_number(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let [texts, formats] = arguments else { return Err(missing()) };
    let (texts, formats) = (texts.as_string_view(), formats.as_string_view());
    let numbers = (0..texts.len())
        .map(|row| match texts.is_null(row) || formats.is_null(row) {
            true => Ok(None),
            false => number_format::read(texts.value(row), formats.value(row)).map(Some),
        })
        .collect::<Result<Decimal128Array, Refusal>>()?;
    let ColumnType::Numeric { precision, scale } = ColumnType::NUMERIC_DEFAULT else {
        return Err(Refusal::new(Code::Internal, "numeric has no digits"));
    };
    let numbers = numbers.with_precision_and_scale(precision, scale);
    numbers
        .map(|numbers| Arc::new(numbers) as ArrayRef)
        .map_err(|_| Refusal::new(Code::NumericOutOfRange, "value out of range"))
}

fn read_each<T: arrow::array::ArrowPrimitiveType>(
    texts: &StringViewArray,
    formats: &StringViewArray,
    make: impl Fn(&Found) -> Result<T::Native, Refusal>,
) -> Result<PrimitiveArray<T>, Refusal> {
    let mut known: Option<(String, Vec<Piece>)> = None;
    (0..texts.len())
        .map(|row| {
            if texts.is_null(row) || formats.is_null(row) {
                return Ok(None);
            }
            let format = formats.value(row);
            if known.as_ref().is_none_or(|(known, _)| known != format) {
                known = Some((format.to_owned(), pieces(format)?));
            }
            let pieces = known.as_ref().map_or(&[][..], |(_, pieces)| pieces);
            make(&read(texts.value(row), pieces)?).map(Some)
        })
        .collect()
}

/// What a text said.
#[derive(Debug, Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    second_of_day: Option<i64>,
    before_christ: bool,
    zone_hours: Option<i64>,
    zone_minutes: i64,
}

fn overflow() -> Refusal {
    Refusal::new(Code::DatetimeOverflow, "date/time field value out of range")
}

impl Found {
    fn days(&self) -> Result<i32, Refusal> {
        // Without a year it is 1 BC, the calendar's zeroth.
        let year = match (self.year, self.before_christ) {
            (Some(year), true) if year > 0 => 1 - year,
            (Some(year), false) if year < 0 => year + 1,
            (Some(year), _) => year,
            (None, _) => 0,
        };
        if let Some(day_of_year) = self.day_of_year
            && self.month.is_none()
        {
            if self.year.is_none() {
                return Err(Refusal::new(
                    Code::InvalidDatetime,
                    "cannot calculate day of year without year information",
                ));
            }
            let last = if days_from_civil(year, 2, 29).is_some() { 366 } else { 365 };
            let first = days_from_civil(year, 1, 1).ok_or_else(overflow)?;
            return match day_of_year {
                1..=366 if day_of_year <= last => Ok(first + day_of_year as i32 - 1),
                _ => Err(overflow()),
            };
        }
        let part = |value: Option<i64>| u32::try_from(value.unwrap_or(1)).map_err(|_| overflow());
        days_from_civil(year, part(self.month)?, part(self.day)?).ok_or_else(overflow)
    }

    /// Microseconds since midnight.
    fn clock(&self) -> Result<i64, Refusal> {
        if let Some(seconds) = self.second_of_day {
            return match seconds {
                0..86_400 => Ok(seconds * SECOND),
                _ => Err(overflow()),
            };
        }
        let mut hour = self.hour;
        if self.twelve || self.afternoon.is_some() {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(Refusal::new(Code::InvalidDatetime, message)
                    .hint("use the 24-hour clock, or give an hour between 1 and 12"));
            }
            hour = hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 };
        }
        if !(0..24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..60).contains(&self.second) {
            return Err(overflow());
        }
        Ok((hour * 3600 + self.minute * 60 + self.second) * SECOND + self.micros)
    }

    fn instant(&self, zone: &Zone) -> Result<i64, Refusal> {
        let midnight = i64::from(self.days()?).checked_mul(DAY).ok_or_else(overflow)?;
        let local = midnight.checked_add(self.clock()?).ok_or_else(overflow)?;
        match self.zone_hours {
            Some(hours) => {
                let minutes = if hours < 0 { -self.zone_minutes } else { self.zone_minutes };
                local.checked_sub((hours * 60 + minutes) * 60 * SECOND).ok_or_else(overflow)
            }
            None => zone.to_utc(local).ok_or_else(overflow),
        }
    }
}

fn is_separator(c: char) -> bool {
    c.is_ascii() && c > ' ' && !c.is_ascii_alphanumeric()
}

/// A blank or separator of the pattern stands for one in the text, or none; blanks before a field do not matter.
fn read(text: &str, pieces: &[Piece]) -> Result<Found, Refusal> {
    let mut found = Found::default();
    let mut rest = text;
    let mut skipped = 0_i32;
    for (place, piece) in pieces.iter().enumerate() {
        let is_field = matches!(piece, Piece::Field { .. });
        if is_field || place == 0 {
            let trimmed = rest.trim_start();
            skipped += i32::try_from(rest.len() - trimmed.len()).unwrap_or(i32::MAX);
            rest = trimmed;
        }
        if rest.is_empty() {
            break;
        }
        let mut after = rest.chars();
        match piece {
            Piece::Separator(_) => {
                skipped -= 1;
                if after.next().is_some_and(|c| c.is_whitespace() || is_separator(c)) {
                    rest = after.as_str();
                    skipped += 1;
                }
            }
            Piece::Text(_) if skipped > 0 => skipped -= 1,
            Piece::Text(_) => {
                after.next();
                rest = after.as_str();
            }
            Piece::Field { field, bare, ordinal, .. } => {
                let loose = *bare || ordinal.is_some() || !next_is_digits(pieces.get(place + 1));
                rest = read_field(&mut found, *field, loose, rest)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or_default();
                }
                skipped = 0;
            }
        }
    }
    Ok(found)
}

/// Whether what follows is read as digits too, so that a number ends after its own.
fn next_is_digits(next: Option<&Piece>) -> bool {
    matches!(next, Some(Piece::Field { field, .. })
        if !matches!(field, Field::MonthName | Field::MonthShort | Field::DayName | Field::DayShort
            | Field::Meridiem(_) | Field::Era(_) | Field::ZoneHour))
}

fn read_field<'a>(found: &mut Found, field: Field, loose: bool, text: &'a str) -> Result<&'a str, Refusal> {
    let number = |width: usize| digits(text, if loose { usize::MAX } else { width }, field);
    let rest = match field {
        Field::Year(4) => {
            let (value, _, rest) = number(4)?;
            found.year = Some(value);
            rest
        }
        Field::Year(width) => {
            let (value, length, rest) = number(width.into())?;
            found.year = Some(if length < 4 { near_2020(value, length) } else { value });
            rest
        }
        Field::Month => set(&mut found.month, number(2)?),
        Field::Day => set(&mut found.day, number(2)?),
        Field::DayOfYear => set(&mut found.day_of_year, number(3)?),
        Field::SecondOfDay => set(&mut found.second_of_day, number(5)?),
        Field::MonthName | Field::MonthShort => {
            let (index, rest) = named(text, &MONTHS, field)?;
            found.month = Some(index + 1);
            rest
        }
        // Read and not used, as in PostgreSQL.
        Field::DayName | Field::DayShort => named(text, &DAYS, field)?.1,
        Field::Weekday | Field::Quarter => number(1)?.2,
        Field::Hour24 | Field::Hour12 => {
            let (value, _, rest) = number(2)?;
            found.hour = value;
            found.twelve = field == Field::Hour12;
            rest
        }
        Field::Minute => {
            let (value, _, rest) = number(2)?;
            found.minute = value;
            rest
        }
        Field::Second => {
            let (value, _, rest) = number(2)?;
            found.second = value;
            rest
        }
        Field::Fraction(width) => {
            let (value, length, rest) = number(width.into())?;
            let missing = 6_u32.saturating_sub(u32::try_from(length).unwrap_or(6));
            found.micros = value.saturating_mul(10_i64.pow(missing));
            if length > 6 || value < 0 {
                return Err(overflow());
            }
            rest
        }
        Field::Meridiem(_) | Field::Era(_) => return word(found, field, text),
        Field::ZoneHour => {
            let signed = text.starts_with('+') || text.starts_with('-');
            let (value, _, rest) = digits(text, if signed { 3 } else { 2 }, field)?;
            found.zone_hours = Some(value);
            rest
        }
        Field::ZoneMinute => {
            let (value, _, rest) = number(2)?;
            found.zone_minutes = value;
            rest
        }
        _ => return Err(Refusal::unsupported("this pattern for reading dates").hint("use YYYY, MM, DD, HH24, MI, SS")),
    };
    Ok(rest)
}

fn set<'a>(place: &mut Option<i64>, (value, _, rest): (i64, usize, &'a str)) -> &'a str {
    *place = Some(value);
    rest
}

/// A whole number of at most `width` characters, how many it took, and the rest.
fn digits(text: &str, width: usize, field: Field) -> Result<(i64, usize, &str), Refusal> {
    let signed = usize::from(text.starts_with(['-', '+']));
    let length = text.bytes().skip(signed).take_while(u8::is_ascii_digit).count() + signed;
    let (written, rest) = text.split_at_checked(length.min(width)).unwrap_or((text, ""));
    match written.parse() {
        Ok(value) => Ok((value, written.len(), rest)),
        Err(_) if length > signed && written.len() > signed => Err(overflow()),
        Err(_) => {
            let shown: String = text.chars().take(8).collect();
            Err(Refusal::new(Code::InvalidDatetime, format!("invalid value \"{shown}\" for \"{field:?}\""))
                .hint("the value must be an integer"))
        }
    }
}

/// The year nearest to 2020 that ends in these digits.
fn near_2020(value: i64, digits: usize) -> i64 {
    match digits {
        1 | 2 if value < 70 => value + 2000,
        1 | 2 if value < 100 => value + 1900,
        3 if value < 520 => value + 2000,
        3 if value < 1000 => value + 1000,
        _ => value,
    }
}

fn named<'a>(text: &'a str, names: &[&str], field: Field) -> Result<(i64, &'a str), Refusal> {
    let full = matches!(field, Field::MonthName | Field::DayName);
    for (index, name) in (0..).zip(names) {
        let name = if full { *name } else { name.get(..3).unwrap_or(name) };
        if text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return Ok((index, text.get(name.len()..).unwrap_or_default()));
        }
    }
    let shown: String = text.chars().take(9).collect();
    Err(Refusal::new(Code::InvalidDatetime, format!("invalid value \"{shown}\" for \"{field:?}\"")))
}

fn word<'a>(found: &mut Found, field: Field, text: &'a str) -> Result<&'a str, Refusal> {
    let (words, length) = match field {
        Field::Meridiem(true) => (["A.M.", "P.M."], 4),
        Field::Meridiem(false) => (["AM", "PM"], 2),
        Field::Era(true) => (["A.D.", "B.C."], 4),
        _ => (["AD", "BC"], 2),
    };
    let start = text.get(..length).unwrap_or(text);
    let Some(index) = words.iter().position(|word| word.eq_ignore_ascii_case(start)) else {
        let shown: String = text.chars().take(length).collect();
        return Err(Refusal::new(
            Code::InvalidDatetime,
            format!("invalid value \"{shown}\" for \"{}\"", words.join(" or ")),
        ));
    };
    match field {
        Field::Meridiem(_) => found.afternoon = Some(index == 1),
        _ => found.before_christ = index == 1,
    }
    Ok(text.get(length..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::text::datetime_input::read_timestamp;

    use super::*;

    #[test]
    fn texts_are_read_as_postgresql_reads_them() {
        let check = |text: &str, format: &str, expected: Result<&str, Code>| {
            let found = pieces(format).and_then(|pieces| read(text, &pieces)?.instant(&Zone::utc()));
            let expected = expected.map(|expected| read_timestamp(expected.as_bytes()).unwrap());
            assert_eq!(found.map_err(|refusal| refusal.code()), expected, "{text} {format}");
        };
        check("2024-05-07 14:03:09", "YYYY-MM-DD HH24:MI:SS", Ok("2024-05-07 14:03:09"));
        check("20240507140309", "YYYYMMDDHH24MISS", Ok("2024-05-07 14:03:09"));
        check("05 Dec 2000", "DD Mon YYYY", Ok("2000-12-05"));
        check("2000    JUN", "YYYY MON", Ok("2000-06-01"));
        check("7/5/24", "DD/MM/YY", Ok("2024-05-07"));
        check("02:03:09 PM", "HH12:MI:SS AM", Ok("0001-01-01 14:03:09 BC"));
        check("2024-128", "YYYY-DDD", Ok("2024-05-07"));
        check("2024-05-07 14:03:09.5", "YYYY-MM-DD HH24:MI:SS.MS", Ok("2024-05-07 14:03:09.5"));
        check("2024-02-30", "YYYY-MM-DD", Err(Code::DatetimeOverflow));
        check("2024-xx", "YYYY-MM", Err(Code::InvalidDatetime));
        check("13 PM", "HH12 AM", Err(Code::InvalidDatetime));
    }
}
