//! Casts with PostgreSQL's rules, of whole arrays.
//!
//! Arrow's own differ where it matters: they cut fractions where PostgreSQL rounds, go through binary fractions on the
//! way to decimal ones, print and read dates, intervals and floats in other forms, and know neither a session's time
//! zone nor `varchar(n)`, uuid and json.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, IntervalMonthDayNanoArray,
        PrimitiveArray, StringViewArray, StringViewBuilder,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
        TimestampMicrosecondType, i256,
    },
    util::display::FormatOptions,
};
use bytes::BytesMut;
use weir_model::{
    Code, ColumnType, Refusal, Result,
    text::{
        calendar::{DAY, split_microseconds},
        datetime_input::{read_date, read_time, read_timestamp, read_timestamptz},
        fault::Fault,
        interval_input::read_interval,
        number_input::{read_decimal, read_f32, read_f64, read_integer},
        output,
        zone::Zone,
    },
};
use weir_store::arrow_type;

use crate::{
    text_input::{canonical_uuid, parse_bool, parse_bytea},
    types::is_text,
    values::all_null,
};

/// How a cast came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Written as a cast: a text too long for its type is cut.
    Explicit,
    /// On the way into a column or a parameter: it is an error.
    Assignment,
}

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// Converts an array to the type; `zone` is the session's.
///
/// # Errors
/// `numeric_out_of_range`, `invalid_text_representation`, `invalid_datetime`, `datetime_field_overflow`,
/// `string_too_long`.
pub(crate) fn convert(array: &ArrayRef, target: ColumnType, zone: &Zone, purpose: Purpose) -> Result<ArrayRef> {
    let wanted = arrow_type(target);
    if all_null(array) {
        return Ok(arrow::array::new_null_array(&wanted, array.len()));
    }
    if *array.data_type() == wanted && !is_text(&wanted) {
        return Ok(Arc::clone(array));
    }
    if is_text(array.data_type()) {
        return from_text(array, target, zone, purpose);
    }
    if let DataType::Timestamp(unit, tz) = array.data_type()
        && *unit != TimeUnit::Microsecond
    {
        let micros = by_arrow(array, &DataType::Timestamp(TimeUnit::Microsecond, tz.clone()), target)?;
        return convert(&micros, target, zone, purpose);
    }
    match (array.data_type(), target) {
        (DataType::Float32 | DataType::Float64, _) => from_float(array, target),
        (DataType::Decimal128(..) | DataType::Decimal256(..), ColumnType::SmallInt) => {
            from_decimal::<Int16Type>(array, target)
        }
        (DataType::Decimal128(..) | DataType::Decimal256(..), ColumnType::Integer) => {
            from_decimal::<Int32Type>(array, target)
        }
        (DataType::Decimal128(..) | DataType::Decimal256(..), ColumnType::BigInt) => {
            from_decimal::<Int64Type>(array, target)
        }
        (_, ColumnType::Text | ColumnType::Varchar(_)) => within_length(to_text(array, zone)?, target, purpose),
        (DataType::Timestamp(_, tz), _) => from_timestamp(array, tz.is_some(), target, zone),
        (DataType::Date32, ColumnType::Timestamp | ColumnType::Timestamptz) => from_date(array, target, zone),
        (DataType::Time64(TimeUnit::Microsecond), ColumnType::Interval) => {
            let clocks = array.as_primitive::<Time64MicrosecondType>();
            let intervals: IntervalMonthDayNanoArray =
                clocks.unary(|clock| IntervalMonthDayNano::new(0, 0, clock * 1000));
            Ok(Arc::new(intervals))
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), ColumnType::Time) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let clocks: PrimitiveArray<Time64MicrosecondType> =
                intervals.unary(|interval| (interval.nanoseconds / 1000).rem_euclid(DAY));
            Ok(Arc::new(clocks))
        }
        _ => by_arrow(array, &wanted, target),
    }
}

fn by_arrow(array: &ArrayRef, wanted: &DataType, target: ColumnType) -> Result<ArrayRef> {
    cast_with_options(array, wanted, &STRICT).map_err(|_| out_of_range(target))
}

pub(crate) fn out_of_range(target: ColumnType) -> Refusal {
    match target {
        ColumnType::Numeric { precision, scale } => Refusal::new(Code::NumericOutOfRange, "numeric field overflow")
            .detail(format!("a field with precision {precision}, scale {scale} holds less")),
        ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz => {
            Refusal::new(Code::DatetimeOverflow, format!("{} out of range", short(target)))
        }
        other => Refusal::new(Code::NumericOutOfRange, format!("{other} out of range")),
    }
}

fn short(target: ColumnType) -> &'static str {
    if target == ColumnType::Date { "date" } else { "timestamp" }
}

// Numbers

fn from_float(array: &ArrayRef, target: ColumnType) -> Result<ArrayRef> {
    let single = *array.data_type() == DataType::Float32;
    let wide = |array: &ArrayRef| by_arrow(array, &DataType::Float64, target);
    match target {
        ColumnType::SmallInt => rounded_float::<Int16Type>(&wide(array)?, target),
        ColumnType::Integer => rounded_float::<Int32Type>(&wide(array)?, target),
        ColumnType::BigInt => rounded_float::<Int64Type>(&wide(array)?, target),
        ColumnType::Numeric { precision, scale } => {
            let digits = if single { 6 } else { 15 };
            float_to_decimal(&wide(array)?, digits, precision, scale, target)
        }
        ColumnType::Real if !single => narrowed(array, target),
        ColumnType::Text | ColumnType::Varchar(_) => {
            within_length(to_text(array, &Zone::utc())?, target, Purpose::Explicit)
        }
        _ => by_arrow(array, &arrow_type(target), target),
    }
}

/// Half to even.
fn rounded_float<T>(array: &ArrayRef, target: ColumnType) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let floats = array.as_primitive::<Float64Type>();
    let integers: PrimitiveArray<T> = floats.try_unary(|value| {
        let value = value.round_ties_even();
        // The bounds are exact doubles; the upper one is the first that does not fit.
        let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
        fits.then(|| T::Native::try_from(value as i64).ok()).flatten().ok_or_else(|| out_of_range(target))
    })?;
    Ok(Arc::new(integers))
}

/// Through the shortest decimal of that many digits, as PostgreSQL prints a float on its way to numeric.
fn float_to_decimal(array: &ArrayRef, digits: usize, precision: u8, scale: i8, target: ColumnType) -> Result<ArrayRef> {
    let mut text = String::new();
    let decimals = array
        .as_primitive::<Float64Type>()
        .iter()
        .map(|value| {
            let Some(value) = value else { return Ok(None) };
            if !value.is_finite() {
                return Err(Refusal::unsupported("a numeric that is NaN or infinite"));
            }
            text.clear();
            // A String takes what is written to it.
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{value:.*e}", digits - 1));
            read_decimal(text.as_bytes(), precision, scale).map(Some).map_err(|_| out_of_range(target))
        })
        .collect::<Result<Decimal128Array>>()?;
    let decimals = decimals.with_precision_and_scale(precision, scale).map_err(|_| out_of_range(target))?;
    Ok(Arc::new(decimals))
}

fn narrowed(array: &ArrayRef, target: ColumnType) -> Result<ArrayRef> {
    let floats: Float32Array = array.as_primitive::<Float64Type>().try_unary(|value| {
        let narrow = value as f32;
        let lost = (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0);
        if lost { Err(out_of_range(target)) } else { Ok(narrow) }
    })?;
    Ok(Arc::new(floats))
}

/// Half away from zero.
fn from_decimal<T>(array: &ArrayRef, target: ColumnType) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let fit = |value: i128| T::Native::try_from(value).map_err(|_| out_of_range(target));
    let integers: PrimitiveArray<T> = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = unit128(*scale, target)?;
            array.as_primitive::<Decimal128Type>().try_unary(|value| fit(rounded_quotient(value, unit)))?
        }
        DataType::Decimal256(_, scale) => {
            let power = u32::from(scale.unsigned_abs());
            let unit = i256::from_i128(10).checked_pow(power).ok_or_else(|| out_of_range(target))?;
            array.as_primitive::<Decimal256Type>().try_unary(|value| {
                let (whole, rest) = (value.checked_div(unit), value.checked_rem(unit));
                let (Some(whole), Some(rest)) = (whole, rest) else { return Err(out_of_range(target)) };
                let half = rest.wrapping_abs() >= unit.wrapping_sub(rest.wrapping_abs());
                let away = i128::from(half) * if value.is_negative() { -1 } else { 1 };
                whole.to_i128().and_then(|whole| whole.checked_add(away)).map_or(Err(out_of_range(target)), fit)
            })?
        }
        _ => return by_arrow(array, &T::DATA_TYPE, target),
    };
    Ok(Arc::new(integers))
}

fn unit128(scale: i8, target: ColumnType) -> Result<i128> {
    10_i128.checked_pow(u32::from(scale.unsigned_abs())).ok_or_else(|| out_of_range(target))
}

fn rounded_quotient(value: i128, unit: i128) -> i128 {
    let (whole, rest) = (value / unit, value % unit);
    if rest.abs() >= unit - rest.abs() { whole + value.signum() } else { whole }
}

// Dates and times

fn from_timestamp(array: &ArrayRef, zoned: bool, target: ColumnType, zone: &Zone) -> Result<ArrayRef> {
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    let overflow = || out_of_range(target);
    let local = |value: i64| -> Result<i64> {
        match zoned {
            true => local_time(value, zone).ok_or_else(overflow),
            false => Ok(value),
        }
    };
    Ok(match target {
        ColumnType::Date => {
            let days: PrimitiveArray<Date32Type> =
                micros.try_unary(|value| Ok::<_, Refusal>(split_microseconds(local(value)?).0))?;
            Arc::new(days)
        }
        ColumnType::Time => {
            let times: PrimitiveArray<Time64MicrosecondType> =
                micros.try_unary(|value| Ok::<_, Refusal>(split_microseconds(local(value)?).1))?;
            Arc::new(times)
        }
        ColumnType::Timestamp => {
            let plain: PrimitiveArray<TimestampMicrosecondType> = micros.try_unary(local)?;
            Arc::new(plain.with_timezone_opt(None::<Arc<str>>))
        }
        ColumnType::Timestamptz => {
            let instant = |value: i64| if zoned { Some(value) } else { zone.to_utc(value) };
            let instants: PrimitiveArray<TimestampMicrosecondType> =
                micros.try_unary(|value| instant(value).ok_or_else(overflow))?;
            Arc::new(instants.with_timezone("+00:00"))
        }
        _ => return by_arrow(array, &arrow_type(target), target),
    })
}

/// What a clock in the zone shows at an instant.
pub(crate) fn local_time(instant: i64, zone: &Zone) -> Option<i64> {
    instant.checked_add(i64::from(zone.offset_at(instant)) * 1_000_000)
}

fn from_date(array: &ArrayRef, target: ColumnType, zone: &Zone) -> Result<ArrayRef> {
    let zoned = target == ColumnType::Timestamptz;
    let instants: PrimitiveArray<TimestampMicrosecondType> = array.as_primitive::<Date32Type>().try_unary(|days| {
        let midnight = i64::from(days).checked_mul(DAY);
        let instant = if zoned { midnight.and_then(|midnight| zone.to_utc(midnight)) } else { midnight };
        instant.ok_or_else(|| out_of_range(target))
    })?;
    Ok(if zoned { Arc::new(instants.with_timezone("+00:00")) } else { Arc::new(instants) })
}

// To text

/// The text that a client would see.
pub(crate) fn to_text(array: &ArrayRef, zone: &Zone) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Float32 => print::<Float32Type>(array, output::put_f32),
        DataType::Float64 => print::<Float64Type>(array, output::put_f64),
        DataType::Date32 => print::<Date32Type>(array, output::put_date),
        DataType::Time64(TimeUnit::Microsecond) => print::<Time64MicrosecondType>(array, output::put_time),
        DataType::Timestamp(TimeUnit::Microsecond, tz) => {
            let zoned = tz.is_some();
            print::<TimestampMicrosecondType>(array, |out, value| {
                output::put_timestamp(out, value, zoned.then(|| zone.offset_at(value)));
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => print::<IntervalMonthDayNanoType>(array, |out, value| {
            output::put_interval(out, value.months, value.days, value.nanoseconds);
        }),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = by_arrow(array, &DataType::BinaryView, ColumnType::Bytea)?;
            let bytes = bytes.as_binary_view();
            write_all(bytes.len(), |out, row| {
                bytes.is_valid(row).then(|| output::put_bytea(out, bytes.value(row))).is_some()
            })
        }
        _ => by_arrow(array, &DataType::Utf8View, ColumnType::Text),
    }
}

fn print<T: ArrowPrimitiveType>(array: &ArrayRef, put: impl Fn(&mut BytesMut, T::Native)) -> Result<ArrayRef> {
    let values = array.as_primitive::<T>();
    write_all(values.len(), |out, row| values.is_valid(row).then(|| put(out, values.value(row))).is_some())
}

/// Texts that `put` writes, row by row; it says no for NULL.
fn write_all(rows: usize, put: impl Fn(&mut BytesMut, usize) -> bool) -> Result<ArrayRef> {
    let mut texts = StringViewBuilder::with_capacity(rows);
    let mut out = BytesMut::with_capacity(64);
    for row in 0..rows {
        out.clear();
        match put(&mut out, row) {
            false => texts.append_null(),
            true => match std::str::from_utf8(&out) {
                Ok(text) => texts.append_value(text),
                Err(_) => return Err(Refusal::new(Code::Internal, "a value has no text form")),
            },
        }
    }
    Ok(Arc::new(texts.finish()))
}

// From text

fn from_text(array: &ArrayRef, target: ColumnType, zone: &Zone, purpose: Purpose) -> Result<ArrayRef> {
    let text = cast_with_options(array, &DataType::Utf8View, &STRICT)
        .map_err(|_| Refusal::new(Code::InvalidByteSequence, "text could not be read"))?;
    let text = text.as_string_view();
    match target {
        ColumnType::Text | ColumnType::Varchar(_) => within_length(Arc::new(text.clone()), target, purpose),
        ColumnType::Uuid => {
            map_text(text, |value| canonical_uuid(value).ok_or_else(|| bad(Fault::Syntax, target, value)))
        }
        ColumnType::Json | ColumnType::Jsonb => map_text(text, |value| json(value, target)),
        ColumnType::Boolean => {
            let flags = read_all(text, target, |value| parse_bool(value).ok_or(Fault::Syntax))?;
            Ok(Arc::new(arrow::array::BooleanArray::from(flags)))
        }
        ColumnType::Bytea => {
            let bytes = read_all(text, target, |value| parse_bytea(value).ok_or(Fault::Syntax))?;
            Ok(Arc::new(bytes.iter().map(Option::as_deref).collect::<arrow::array::BinaryViewArray>()))
        }
        ColumnType::SmallInt => integers::<Int16Type>(text, target, i16::MIN.into(), i16::MAX.into()),
        ColumnType::Integer => integers::<Int32Type>(text, target, i32::MIN.into(), i32::MAX.into()),
        ColumnType::BigInt => integers::<Int64Type>(text, target, i64::MIN, i64::MAX),
        ColumnType::Real => primitive::<Float32Type>(text, target, read_f32),
        ColumnType::Double => primitive::<Float64Type>(text, target, read_f64),
        ColumnType::Numeric { precision, scale } => {
            let values = read_all(text, target, |value| read_decimal(value.as_bytes(), precision, scale))?;
            let decimals = Decimal128Array::from(values).with_precision_and_scale(precision, scale);
            Ok(Arc::new(decimals.map_err(|_| out_of_range(target))?))
        }
        ColumnType::Date => primitive::<Date32Type>(text, target, read_date),
        ColumnType::Time => primitive::<Time64MicrosecondType>(text, target, read_time),
        ColumnType::Timestamp => primitive::<TimestampMicrosecondType>(text, target, read_timestamp),
        ColumnType::Timestamptz => {
            let instants = read_all(text, target, |value| read_timestamptz(value.as_bytes(), zone))?;
            Ok(Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(instants).with_timezone("+00:00")))
        }
        ColumnType::Interval => {
            let parsed = read_all(text, target, |value| {
                let (months, days, nanoseconds) = read_interval(value.as_bytes())?;
                Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
            })?;
            Ok(Arc::new(IntervalMonthDayNanoArray::from(parsed)))
        }
    }
}

fn bad(fault: Fault, target: ColumnType, value: &str) -> Refusal {
    fault.refusal(target, value.as_bytes())
}

fn json(value: &str, target: ColumnType) -> Result<String> {
    match serde_json::from_str::<serde::de::IgnoredAny>(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err(Refusal::new(Code::InvalidTextRepresentation, format!("invalid input syntax for type {target}"))),
    }
}

fn integers<T>(text: &StringViewArray, target: ColumnType, min: i64, max: i64) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    let read = |value: &[u8]| {
        read_integer(value, min, max).and_then(|value| T::Native::try_from(value).map_err(|_| Fault::OutOfRange))
    };
    primitive::<T>(text, target, read)
}

fn primitive<T: ArrowPrimitiveType>(
    text: &StringViewArray,
    target: ColumnType,
    read: impl Fn(&[u8]) -> Result<T::Native, Fault>,
) -> Result<ArrayRef> {
    let values = read_all(text, target, |value| read(value.as_bytes()))?;
    Ok(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
}

fn read_all<V>(
    text: &StringViewArray,
    target: ColumnType,
    read: impl Fn(&str) -> Result<V, Fault>,
) -> Result<Vec<Option<V>>> {
    text.iter()
        .map(|value| value.map(|value| read(value).map_err(|fault| bad(fault, target, value))).transpose())
        .collect()
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

fn within_length(array: ArrayRef, target: ColumnType, purpose: Purpose) -> Result<ArrayRef> {
    let ColumnType::Varchar(limit) = target else { return Ok(array) };
    let limit = limit as usize;
    let text = array.as_string_view();
    // Bytes are at least as many as characters.
    if text.iter().flatten().all(|value| value.len() <= limit || value.chars().count() <= limit) {
        return Ok(array);
    }
    map_text(text, |value| match value.char_indices().nth(limit) {
        None => Ok(value.to_owned()),
        Some((end, _))
            if purpose == Purpose::Explicit
                // As the standard has it: spaces past the end are cut, anything else is an error.
                || value.get(end..).is_some_and(|rest| rest.chars().all(|c| c == ' ')) =>
        {
            Ok(value.get(..end).unwrap_or_default().to_owned())
        }
        Some(_) => {
            Err(Refusal::new(Code::StringTooLong, format!("value too long for type character varying({limit})")))
        }
    })
}
