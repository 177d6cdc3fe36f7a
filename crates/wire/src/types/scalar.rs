//! One value of an Arrow array, read without copying.

use std::borrow::Cow;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
        Decimal128Array, Decimal256Array, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array,
        Float64Array, GenericListArray, Int8Array, Int16Array, Int32Array, Int64Array, IntervalDayTimeArray,
        IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeBinaryArray, LargeStringArray, PrimitiveArray,
        StringArray, StringViewArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    },
    buffer::NullBuffer,
    datatypes::{
        ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, DurationMicrosecondType, DurationMillisecondType,
        DurationNanosecondType, DurationSecondType, IntervalUnit, Time32MillisecondType, Time32SecondType,
        Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};
use weir_model::{Refusal, Result};

/// A value in canonical units: microseconds for times and timestamps, days for dates.
#[derive(Debug, Clone)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Real(f32),
    Double(f64),
    Decimal(i128, i8),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Interval {
        months: i32,
        days: i32,
        nanoseconds: i64,
    },
    List(ArrayRef),
    /// A timestamp that microseconds in 64 bits cannot hold.
    OutOfRange,
}

impl Scalar<'_> {
    /// About how many bytes its content has; of what is short anyway, none.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Scalar::Text(text) => text.len(),
            Scalar::Bytes(bytes) => bytes.len(),
            Scalar::List(items) => items.to_data().get_slice_memory_size().unwrap_or(usize::MAX),
            _ => 0,
        }
    }
}

/// An Arrow array downcast once, from which rows are read.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

/// Integers of any width share one variant each way of reading them, so that the match in [`Source::get`] stays short.
#[derive(Debug)]
enum Values<'a> {
    Null,
    Bool(&'a BooleanArray),
    I8(&'a Int8Array),
    I16(&'a Int16Array),
    I32(&'a Int32Array),
    I64(&'a Int64Array),
    U8(&'a UInt8Array),
    U16(&'a UInt16Array),
    U32(&'a UInt32Array),
    U64(&'a UInt64Array),
    F16(&'a Float16Array),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Decimal32(&'a PrimitiveArray<Decimal32Type>, i8),
    Decimal64(&'a PrimitiveArray<Decimal64Type>, i8),
    Decimal128(&'a Decimal128Array, i8),
    Decimal256(&'a Decimal256Array, i8),
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    FixedBinary(&'a FixedSizeBinaryArray),
    Date32(&'a Date32Array),
    Date64(&'a Date64Array),
    /// Raw values and the nanoseconds one of them stands for.
    Time32(&'a [i32], i64),
    Time64(&'a [i64], i64),
    Timestamp(&'a [i64], i64),
    Duration(&'a [i64], i64),
    YearMonth(&'a IntervalYearMonthArray),
    DayTime(&'a IntervalDayTimeArray),
    MonthDayNano(&'a IntervalMonthDayNanoArray),
    List(&'a GenericListArray<i32>),
    LargeList(&'a GenericListArray<i64>),
    FixedList(&'a FixedSizeListArray),
    Dictionary {
        keys: Vec<usize>,
        values: Box<Source<'a>>,
    },
}

const NANOS_PER_MICRO: i64 = 1_000;

fn unit_nanoseconds(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => NANOS_PER_MICRO,
        TimeUnit::Nanosecond => 1,
    }
}

fn raw<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> Source<'a> {
    /// # Errors
    ///
    /// Refuses Arrow types that have no SQL type here (unions, maps, structs).
    pub(crate) fn new(array: &'a dyn Array) -> Result<Source<'a>> {
        Ok(Source { values: Values::new(array)?, nulls: array.nulls() })
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> Scalar<'_> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) { Scalar::Null } else { self.values.get(row) }
    }
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array) -> Result<Values<'a>> {
        Ok(match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int8 => Values::I8(array.as_primitive()),
            DataType::Int16 => Values::I16(array.as_primitive()),
            DataType::Int32 => Values::I32(array.as_primitive()),
            DataType::Int64 => Values::I64(array.as_primitive()),
            DataType::UInt8 => Values::U8(array.as_primitive()),
            DataType::UInt16 => Values::U16(array.as_primitive()),
            DataType::UInt32 => Values::U32(array.as_primitive()),
            DataType::UInt64 => Values::U64(array.as_primitive()),
            DataType::Float16 => Values::F16(array.as_primitive()),
            DataType::Float32 => Values::F32(array.as_primitive()),
            DataType::Float64 => Values::F64(array.as_primitive()),
            DataType::Decimal32(_, scale) => Values::Decimal32(array.as_primitive(), *scale),
            DataType::Decimal64(_, scale) => Values::Decimal64(array.as_primitive(), *scale),
            DataType::Decimal128(_, scale) => Values::Decimal128(array.as_primitive(), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(array.as_primitive(), *scale),
            DataType::Utf8 => Values::Utf8(array.as_string()),
            DataType::LargeUtf8 => Values::LargeUtf8(array.as_string()),
            DataType::Utf8View => Values::Utf8View(array.as_string_view()),
            DataType::Binary => Values::Binary(array.as_binary()),
            DataType::LargeBinary => Values::LargeBinary(array.as_binary()),
            DataType::BinaryView => Values::BinaryView(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Values::FixedBinary(array.as_fixed_size_binary()),
            DataType::List(_) => Values::List(array.as_list()),
            DataType::LargeList(_) => Values::LargeList(array.as_list()),
            DataType::FixedSizeList(..) => Values::FixedList(array.as_fixed_size_list()),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let values = Box::new(Source::new(dictionary.values().as_ref())?);
                // An empty dictionary has no keys to normalise: every row is null.
                let empty = dictionary.values().is_empty();
                Values::Dictionary { keys: if empty { Vec::new() } else { dictionary.normalized_keys() }, values }
            }
            _ => Values::temporal(array)?,
        })
    }

    fn temporal(array: &'a dyn Array) -> Result<Values<'a>> {
        let nanoseconds = |unit: &TimeUnit| unit_nanoseconds(*unit);
        Ok(match array.data_type() {
            DataType::Date32 => Values::Date32(array.as_primitive()),
            DataType::Date64 => Values::Date64(array.as_primitive()),
            DataType::Time32(unit @ TimeUnit::Second) => {
                Values::Time32(raw::<Time32SecondType>(array), nanoseconds(unit))
            }
            DataType::Time32(unit) => Values::Time32(raw::<Time32MillisecondType>(array), nanoseconds(unit)),
            DataType::Time64(unit @ TimeUnit::Microsecond) => {
                Values::Time64(raw::<Time64MicrosecondType>(array), nanoseconds(unit))
            }
            DataType::Time64(unit) => Values::Time64(raw::<Time64NanosecondType>(array), nanoseconds(unit)),
            DataType::Timestamp(unit, _) => {
                let values = match unit {
                    TimeUnit::Second => raw::<TimestampSecondType>(array),
                    TimeUnit::Millisecond => raw::<TimestampMillisecondType>(array),
                    TimeUnit::Microsecond => raw::<TimestampMicrosecondType>(array),
                    TimeUnit::Nanosecond => raw::<TimestampNanosecondType>(array),
                };
                Values::Timestamp(values, nanoseconds(unit))
            }
            DataType::Duration(unit) => {
                let values = match unit {
                    TimeUnit::Second => raw::<DurationSecondType>(array),
                    TimeUnit::Millisecond => raw::<DurationMillisecondType>(array),
                    TimeUnit::Microsecond => raw::<DurationMicrosecondType>(array),
                    TimeUnit::Nanosecond => raw::<DurationNanosecondType>(array),
                };
                Values::Duration(values, nanoseconds(unit))
            }
            DataType::Interval(IntervalUnit::YearMonth) => Values::YearMonth(array.as_primitive()),
            DataType::Interval(IntervalUnit::DayTime) => Values::DayTime(array.as_primitive()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Values::MonthDayNano(array.as_primitive()),
            other => {
                return Err(Refusal::unsupported(format!("a result column of type {other}"))
                    .hint("cast it to text in the statement"));
            }
        })
    }

    #[inline]
    fn get(&self, row: usize) -> Scalar<'_> {
        match self {
            Values::Null => Scalar::Null,
            Values::Bool(array) => Scalar::Bool(array.value(row)),
            Values::I8(array) => Scalar::Int(array.value(row).into()),
            Values::I16(array) => Scalar::Int(array.value(row).into()),
            Values::I32(array) => Scalar::Int(array.value(row).into()),
            Values::I64(array) => Scalar::Int(array.value(row)),
            Values::U8(array) => Scalar::Int(array.value(row).into()),
            Values::U16(array) => Scalar::Int(array.value(row).into()),
            Values::U32(array) => Scalar::Int(array.value(row).into()),
            Values::U64(array) => Scalar::Unsigned(array.value(row)),
            Values::F16(array) => Scalar::Real(array.value(row).to_f32()),
            Values::F32(array) => Scalar::Real(array.value(row)),
            Values::F64(array) => Scalar::Double(array.value(row)),
            Values::Decimal32(array, scale) => Scalar::Decimal(array.value(row).into(), *scale),
            Values::Decimal64(array, scale) => Scalar::Decimal(array.value(row).into(), *scale),
            Values::Decimal128(array, scale) => Scalar::Decimal(array.value(row), *scale),
            Values::Decimal256(array, scale) => match array.value(row).to_i128() {
                Some(value) => Scalar::Decimal(value, *scale),
                None => Scalar::Text(Cow::Owned(array.value_as_string(row))),
            },
            Values::Utf8(array) => Scalar::Text(Cow::Borrowed(array.value(row))),
            Values::LargeUtf8(array) => Scalar::Text(Cow::Borrowed(array.value(row))),
            Values::Utf8View(array) => Scalar::Text(Cow::Borrowed(array.value(row))),
            Values::Binary(array) => Scalar::Bytes(array.value(row)),
            Values::LargeBinary(array) => Scalar::Bytes(array.value(row)),
            Values::BinaryView(array) => Scalar::Bytes(array.value(row)),
            Values::FixedBinary(array) => Scalar::Bytes(array.value(row)),
            Values::List(array) => Scalar::List(array.value(row)),
            Values::LargeList(array) => Scalar::List(array.value(row)),
            Values::FixedList(array) => Scalar::List(array.value(row)),
            Values::Dictionary { keys, values } => keys.get(row).map_or(Scalar::Null, |key| values.get(*key)),
            _ => self.get_temporal(row),
        }
    }

    fn get_temporal(&self, row: usize) -> Scalar<'_> {
        let at = |values: &[i64]| values.get(row).copied().unwrap_or_default();
        match self {
            Values::Date32(array) => Scalar::Date(array.value(row)),
            Values::Date64(array) => {
                i32::try_from(array.value(row).div_euclid(86_400_000)).map_or(Scalar::OutOfRange, Scalar::Date)
            }
            Values::Time32(values, unit) => {
                Scalar::Time(i64::from(values.get(row).copied().unwrap_or_default()) * (unit / NANOS_PER_MICRO))
            }
            Values::Time64(values, unit) => scaled(at(values), *unit).map_or(Scalar::OutOfRange, Scalar::Time),
            Values::Timestamp(values, unit) => scaled(at(values), *unit).map_or(Scalar::OutOfRange, Scalar::Timestamp),
            Values::Duration(values, unit) => match at(values).checked_mul(*unit) {
                Some(nanoseconds) => Scalar::Interval { months: 0, days: 0, nanoseconds },
                None => Scalar::OutOfRange,
            },
            Values::YearMonth(array) => Scalar::Interval { months: array.value(row), days: 0, nanoseconds: 0 },
            Values::DayTime(array) => {
                let value = array.value(row);
                let nanoseconds = i64::from(value.milliseconds) * 1_000_000;
                Scalar::Interval { months: 0, days: value.days, nanoseconds }
            }
            Values::MonthDayNano(array) => {
                let value = array.value(row);
                Scalar::Interval { months: value.months, days: value.days, nanoseconds: value.nanoseconds }
            }
            _ => Scalar::Null,
        }
    }
}

/// A count of `unit` nanoseconds in microseconds, rounded down.
fn scaled(value: i64, unit: i64) -> Option<i64> {
    if unit >= NANOS_PER_MICRO {
        value.checked_mul(unit / NANOS_PER_MICRO)
    } else {
        Some(value.div_euclid(NANOS_PER_MICRO / unit))
    }
}
