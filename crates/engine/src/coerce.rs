//! Assignment casts: a value on its way into a column or a parameter, with PostgreSQL's rules and errors.
//!
//! Arrow's casts differ where it matters: they cut fractions where PostgreSQL rounds, turn what does not fit into NULL
//! unless told otherwise, know no `varchar(n)`, and check neither uuid nor json.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Float32Type, Float64Type},
    util::display::FormatOptions,
};
use weir_model::{Code, ColumnType, Refusal, Result};
use weir_store::arrow_type;

use crate::{
    types::is_text,
    values::{all_null, intervals},
};

/// Where a value goes, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Context<'a> {
    Column(&'a str),
    /// One-based.
    Parameter(usize),
    Literal,
}

impl Context<'_> {
    fn noted(self, refusal: Refusal) -> Refusal {
        match self {
            Context::Column(name) => refusal.detail(format!("column={name}")),
            Context::Parameter(number) => refusal.detail(format!("parameter=${number}")),
            Context::Literal => refusal,
        }
    }
}

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// Casts to the column's type. Text is parsed as PostgreSQL's input functions would.
///
/// # Errors
/// `datatype_mismatch` where no assignment cast exists, `invalid_text_representation`, `invalid_datetime`,
/// `numeric_out_of_range`, `string_too_long`.
pub(crate) fn to_type(array: &ArrayRef, target: ColumnType, context: Context<'_>) -> Result<ArrayRef> {
    let wanted = arrow_type(target);
    if all_null(array) {
        return Ok(arrow::array::new_null_array(&wanted, array.len()));
    }
    cast(array, target, &wanted).map_err(|refusal| context.noted(refusal))
}

fn cast(array: &ArrayRef, target: ColumnType, wanted: &DataType) -> Result<ArrayRef> {
    if is_text(array.data_type()) {
        return from_text(array, target, wanted);
    }
    if !is_assignable(array.data_type(), target) {
        return Err(Refusal::new(
            Code::DatatypeMismatch,
            format!("a value of type {} cannot be assigned to type {target}", source_name(array.data_type())),
        )
        .hint("write a cast"));
    }
    let rounded = match (array.data_type(), target) {
        (DataType::Float32 | DataType::Float64, ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt) => {
            Some(round_floats(array)?)
        }
        _ => None,
    };
    let source = rounded.as_ref().unwrap_or(array);
    let cast = cast_with_options(source, wanted, &STRICT).map_err(|_| out_of_range(target))?;
    check_length(cast, target)
}

fn source_name(data_type: &DataType) -> String {
    weir_store::column_type_of(&arrow::datatypes::Field::new("", data_type.clone(), true))
        .map_or_else(|| data_type.to_string(), |column_type| column_type.to_string())
}

fn out_of_range(target: ColumnType) -> Refusal {
    match target {
        ColumnType::Numeric { precision, scale } => Refusal::new(Code::NumericOutOfRange, "numeric field overflow")
            .detail(format!("a field with precision {precision}, scale {scale} holds less")),
        other => Refusal::new(Code::NumericOutOfRange, format!("{other} out of range")),
    }
}

/// Half to even, as PostgreSQL's float to integer casts.
fn round_floats(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => Arc::new(
            array.as_primitive::<Float32Type>().unary::<_, Float64Type>(|value| f64::from(value).round_ties_even()),
        ),
        _ => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even)),
    })
}

/// PostgreSQL's assignment casts among our types, from something that is not text.
pub(crate) fn is_assignable(source: &DataType, target: ColumnType) -> bool {
    let number = source.is_numeric();
    match target {
        ColumnType::SmallInt
        | ColumnType::Integer
        | ColumnType::BigInt
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Numeric { .. } => number,
        ColumnType::Boolean => *source == DataType::Boolean,
        ColumnType::Text | ColumnType::Varchar(_) => !source.is_nested(),
        ColumnType::Bytea => matches!(
            source,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        ColumnType::Date => matches!(source, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)),
        ColumnType::Time => matches!(source, DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(_, _)),
        ColumnType::Timestamp | ColumnType::Timestamptz => {
            matches!(source, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _))
        }
        ColumnType::Interval => matches!(source, DataType::Interval(_) | DataType::Duration(_)),
        ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb => false,
    }
}

fn from_text(array: &ArrayRef, target: ColumnType, wanted: &DataType) -> Result<ArrayRef> {
    let text = cast_with_options(array, &DataType::Utf8View, &STRICT)
        .map_err(|_| Refusal::new(Code::InvalidByteSequence, "text could not be read"))?;
    let text = text.as_string_view();
    match target {
        ColumnType::Text => Ok(Arc::new(text.clone())),
        ColumnType::Varchar(_) => check_length(Arc::new(text.clone()), target),
        ColumnType::Uuid => map_text(text, |value| canonical_uuid(value).ok_or_else(|| bad_text(target, value))),
        ColumnType::Json | ColumnType::Jsonb => {
            map_text(text, |value| match serde_json::from_str::<serde::de::IgnoredAny>(value) {
                Ok(_) => Ok(value.to_owned()),
                Err(_) => Err(Refusal::new(
                    Code::InvalidTextRepresentation,
                    format!("invalid input syntax for type {target}"),
                )),
            })
        }
        ColumnType::Boolean => {
            let flags = parse_all(text, |value| parse_bool(value).ok_or_else(|| bad_text(target, value)))?;
            Ok(Arc::new(arrow::array::BooleanArray::from(flags)))
        }
        ColumnType::Bytea => {
            let bytes = parse_all(text, |value| parse_bytea(value).ok_or_else(|| bad_text(target, value)))?;
            Ok(Arc::new(bytes.iter().map(Option::as_deref).collect::<arrow::array::BinaryViewArray>()))
        }
        ColumnType::Interval => {
            let parsed = parse_all(text, |value| {
                arrow::compute::kernels::cast_utils::parse_interval_month_day_nano(value)
                    .map_err(|_| datetime_text(target, value))
            })?;
            Ok(intervals(parsed))
        }
        ColumnType::Timestamp | ColumnType::Timestamptz => parse_by_arrow(&iso_timestamps(text), target, wanted),
        _ => parse_by_arrow(text, target, wanted),
    }
}

/// Completes the forms PostgreSQL takes and Arrow does not: no seconds, offsets of two digits, a zone named UTC.
fn iso_timestamps(text: &StringViewArray) -> StringViewArray {
    text.iter().map(|value| value.map(iso_timestamp)).collect()
}

fn iso_timestamp(text: &str) -> String {
    let text = text.trim();
    let text = match text.strip_suffix("UTC").or_else(|| text.strip_suffix("utc")) {
        Some(rest) => format!("{}Z", rest.trim_end()),
        None => text.to_owned(),
    };
    let Some((date, time)) = text.split_once([' ', 'T']) else { return text };
    let (clock, zone) = match time.find(['+', '-', 'Z', 'z']) {
        Some(place) => time.split_at_checked(place).unwrap_or((time, "")),
        None => (time, ""),
    };
    let clock = clock.trim_end();
    let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
    let digits = zone.trim_start_matches(['+', '-']).len();
    let minutes = if digits == 2 && !zone.starts_with(['Z', 'z']) { ":00" } else { "" };
    format!("{date} {clock}{seconds}{zone}{minutes}")
}

/// Numbers, dates and times: Arrow parses; which value failed is found only when one did.
fn parse_by_arrow(text: &StringViewArray, target: ColumnType, wanted: &DataType) -> Result<ArrayRef> {
    let trimmed = trim_all(text);
    let source: ArrayRef = Arc::new(trimmed);
    if let Ok(done) = cast_with_options(&source, wanted, &STRICT) {
        return Ok(done);
    }
    let lax = CastOptions { safe: true, format_options: FormatOptions::new() };
    let attempt = cast_with_options(&source, wanted, &lax)
        .map_err(|_| Refusal::new(Code::DatatypeMismatch, format!("text cannot be read as {target}")))?;
    let failed = (0..text.len()).find(|row| text.is_valid(*row) && attempt.is_null(*row));
    let value = failed.map_or("", |row| text.value(row));
    Err(why_not(value, target))
}

fn why_not(value: &str, target: ColumnType) -> Refusal {
    let number = value.trim().parse::<f64>().is_ok();
    match target {
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt
            if number && !value.contains(['.', 'e', 'E', 'n', 'N']) =>
        {
            Refusal::new(Code::NumericOutOfRange, format!("value \"{value}\" is out of range for type {target}"))
        }
        ColumnType::Numeric { .. } if number => out_of_range(target),
        ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz => {
            datetime_text(target, value)
        }
        _ => bad_text(target, value),
    }
}

/// Longest piece of a bad value repeated in a message.
const SHOWN_CHARACTERS: usize = 64;

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

fn bad_text(target: ColumnType, value: &str) -> Refusal {
    let message = format!("invalid input syntax for type {target}: \"{}\"", shown(value));
    Refusal::new(Code::InvalidTextRepresentation, message)
}

fn datetime_text(target: ColumnType, value: &str) -> Refusal {
    Refusal::new(Code::InvalidDatetime, format!("invalid input syntax for type {target}: \"{}\"", shown(value)))
}

fn trim_all(text: &StringViewArray) -> StringViewArray {
    let needs = text.iter().flatten().any(|value| value.trim().len() != value.len());
    if needs { text.iter().map(|value| value.map(str::trim)).collect() } else { text.clone() }
}

fn parse_all<T>(text: &StringViewArray, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<Option<T>>> {
    text.iter().map(|value| value.map(&parse).transpose()).collect()
}

fn map_text(text: &StringViewArray, map: impl Fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(text.len());
    for value in text {
        match value {
            Some(value) => out.append_value(map(value)?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn check_length(array: ArrayRef, target: ColumnType) -> Result<ArrayRef> {
    let ColumnType::Varchar(limit) = target else { return Ok(array) };
    let limit = limit as usize;
    let text = array.as_string_view();
    // Bytes are at least as many as characters.
    if text.iter().flatten().all(|value| value.len() <= limit || value.chars().count() <= limit) {
        return Ok(array);
    }
    map_text(text, |value| match value.char_indices().nth(limit) {
        None => Ok(value.to_owned()),
        // As the standard has it: spaces past the end are cut, anything else is an error.
        Some((end, _)) if value.get(end..).is_some_and(|rest| rest.chars().all(|c| c == ' ')) => {
            Ok(value.get(..end).unwrap_or_default().to_owned())
        }
        Some(_) => {
            Err(Refusal::new(Code::StringTooLong, format!("value too long for type character varying({limit})")))
        }
    })
}

/// The forms PostgreSQL reads: any case, braces, hyphens after any four digits. Printed lower case, 8-4-4-4-12.
pub(crate) fn canonical_uuid(text: &str) -> Option<String> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = String::with_capacity(36);
    let mut count = 0;
    let mut hyphen_allowed = false;
    for character in inner.chars() {
        if character == '-' {
            if !hyphen_allowed {
                return None;
            }
            hyphen_allowed = false;
            continue;
        }
        if !character.is_ascii_hexdigit() || count == 32 {
            return None;
        }
        if matches!(count, 8 | 12 | 16 | 20) {
            digits.push('-');
        }
        digits.push(character.to_ascii_lowercase());
        count += 1;
        hyphen_allowed = count % 4 == 0 && count < 32;
    }
    (count == 32).then_some(digits)
}

fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let is_prefix = |word: &str, least: usize| text.len() >= least && word.starts_with(text.as_str());
    if is_prefix("true", 1) || is_prefix("yes", 1) || text == "on" || text == "1" {
        Some(true)
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// `\x` and hexadecimal digits, or the older escape format.
fn parse_bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: String = digits.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return hex::decode(digits).ok();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            first @ b'0'..=b'3' => {
                let second = bytes.next().filter(|b| (b'0'..=b'7').contains(b))?;
                let third = bytes.next().filter(|b| (b'0'..=b'7').contains(b))?;
                out.push((first - b'0') * 64 + (second - b'0') * 8 + (third - b'0'));
            }
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use arrow::{
        array::{BooleanArray, Float64Array, Int64Array},
        util::display::array_value_to_string,
    };

    use super::*;

    fn check(source: ArrayRef, target: ColumnType, expected: Result<&str, Code>) {
        let context = Context::Column("c");
        let found = to_type(&source, target, context)
            .map(|array| array_value_to_string(&array, 0).unwrap())
            .map_err(|refusal| refusal.code());
        assert_eq!(found, expected.map(str::to_owned), "{source:?} as {target}");
    }

    fn text(value: &str) -> ArrayRef {
        Arc::new(StringViewArray::from(vec![value]))
    }

    #[test]
    fn text_is_read_as_postgresql_reads_it() {
        check(text(" 42 "), ColumnType::Integer, Ok("42"));
        check(text("x"), ColumnType::Integer, Err(Code::InvalidTextRepresentation));
        check(text("1.5"), ColumnType::Integer, Err(Code::InvalidTextRepresentation));
        check(text("99999999999"), ColumnType::Integer, Err(Code::NumericOutOfRange));
        check(text("yes"), ColumnType::Boolean, Ok("true"));
        check(text("maybe"), ColumnType::Boolean, Err(Code::InvalidTextRepresentation));
        check(text("1.005"), ColumnType::Numeric { precision: 5, scale: 2 }, Ok("1.01"));
        check(text("12345"), ColumnType::Numeric { precision: 4, scale: 2 }, Err(Code::NumericOutOfRange));
        check(text("2024-02-29"), ColumnType::Date, Ok("2024-02-29"));
        check(text("2023-02-29"), ColumnType::Date, Err(Code::InvalidDatetime));
        check(text("2024-01-02 03:04:05.678"), ColumnType::Timestamp, Ok("2024-01-02T03:04:05.678"));
        check(text("2024-01-02 03:04"), ColumnType::Timestamp, Ok("2024-01-02T03:04:00"));
        check(text("2024-01-02T03:04:05+02"), ColumnType::Timestamptz, Ok("2024-01-02T01:04:05Z"));
        check(text("2024-01-02 03:04 UTC"), ColumnType::Timestamptz, Ok("2024-01-02T03:04:00Z"));
        check(text("2024-01-02"), ColumnType::Timestamp, Ok("2024-01-02T00:00:00"));
        check(text("\\x00ff"), ColumnType::Bytea, Ok("00ff"));
        check(text("{\"a\":1}"), ColumnType::Jsonb, Ok("{\"a\":1}"));
        check(text("{a"), ColumnType::Json, Err(Code::InvalidTextRepresentation));
        check(
            text("{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}"),
            ColumnType::Uuid,
            Ok("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        );
        check(text("a0eebc99"), ColumnType::Uuid, Err(Code::InvalidTextRepresentation));
    }

    #[test]
    fn assignment_casts_check_ranges_lengths_and_kinds() {
        let number = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        check(number(7), ColumnType::SmallInt, Ok("7"));
        check(number(70_000), ColumnType::SmallInt, Err(Code::NumericOutOfRange));
        check(number(7), ColumnType::Date, Err(Code::DatatypeMismatch));
        check(number(7), ColumnType::Text, Ok("7"));
        check(Arc::new(BooleanArray::from(vec![true])), ColumnType::Integer, Err(Code::DatatypeMismatch));
        check(Arc::new(Float64Array::from(vec![2.5])), ColumnType::Integer, Ok("2"));
        check(text("héllo"), ColumnType::Varchar(5), Ok("héllo"));
        check(text("hello  "), ColumnType::Varchar(5), Ok("hello"));
        check(text("hello!"), ColumnType::Varchar(5), Err(Code::StringTooLong));
    }
}
