#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, DictionaryArray, Int32Array, ListArray, StringArray, TimestampMicrosecondArray, UInt64Array},
    datatypes::{Int32Type, Int64Type},
    record_batch::RecordBatch,
};
use bytes::BytesMut;
use proptest::prelude::*;
use weir_model::{Code, ColumnType, Value, ValueType};
use weir_pipeline::Column;

use crate::types::{
    batch::{BatchEncoder, Format, Formats, put_binary, put_text},
    binary, oid, parameter,
    scalar::{Scalar, Source},
    text,
    zone::Zone,
};

fn shown(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn floats_print_as_postgres_prints_them() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (100.0, "100"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (1e20, "1e+20"),
        (1.5e300, "1.5e+300"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.234e-7, "1.234e-07"),
        (123456.789, "123456.789"),
        (0.30000000000000004, "0.30000000000000004"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(shown(|out| text::put_f64(out, value)), expected);
    }
    for (value, expected) in [(1e5_f32, "100000"), (1e6, "1e+06"), (0.1, "0.1"), (16777216.0, "1.6777216e+07")] {
        assert_eq!(shown(|out| text::put_f32(out, value)), expected);
    }
}

#[test]
fn decimals_print_with_their_scale() {
    for (unscaled, scale, expected) in [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (5, 2, "0.05"),
        (-5, 2, "-0.05"),
        (12345, 2, "123.45"),
        (12, -3, "12000"),
        (0, -3, "0"),
        (i128::MAX, 0, "170141183460469231731687303715884105727"),
        (10_i128.pow(37), 38, "0.10000000000000000000000000000000000000"),
        (-(10_i128.pow(38) - 1), 10, "-9999999999999999999999999999.9999999999"),
        (10_i128.pow(20), 1, "10000000000000000000.0"),
    ] {
        assert_eq!(shown(|out| text::put_decimal(out, unscaled, scale)), expected);
    }
}

#[test]
fn times_print_in_iso() {
    let at = |micros, offset| shown(|out| text::put_timestamp(out, micros, offset));
    assert_eq!(at(0, None), "1970-01-01 00:00:00");
    assert_eq!(at(1_500_000, Some(0)), "1970-01-01 00:00:01.5+00");
    assert_eq!(at(-1, None), "1969-12-31 23:59:59.999999");
    assert_eq!(at(0, Some(19_800)), "1970-01-01 05:30:00+05:30");
    assert_eq!(at(0, Some(-12_600)), "1969-12-31 20:30:00-03:30");
    assert_eq!(at(0, Some(1_172)), "1970-01-01 00:19:32+00:19:32");
    assert_eq!(at(-62_198_755_200_000_000, Some(0)), "0002-01-01 00:00:00+00 BC");
    assert_eq!(shown(|out| text::put_date(out, -719_529)), "0002-12-31 BC");
    assert_eq!(shown(|out| text::put_date(out, 2_932_897)), "10000-01-01");
    assert_eq!(shown(|out| text::put_time(out, 86_399_000_010)), "23:59:59.00001");
}

#[test]
fn intervals_print_in_postgres_style() {
    let hour = 3_600_000_000_000;
    for (months, days, nanoseconds, expected) in [
        (0, 0, 0, "00:00:00"),
        (14, 3, 4 * hour + 306_789_000_000, "1 year 2 mons 3 days 04:05:06.789"),
        (-14, 3, 0, "-1 years -2 mons +3 days"),
        (1, 0, -hour, "1 mon -01:00:00"),
        (-1, 0, hour, "-1 mons +01:00:00"),
        (0, 1, 0, "1 day"),
        (0, 0, 100 * hour, "100:00:00"),
    ] {
        assert_eq!(shown(|out| text::put_interval(out, months, days, nanoseconds)), expected);
    }
}

#[test]
fn byteas_and_modifiers() {
    assert_eq!(shown(|out| text::put_bytea(out, &[0, 255, 16])), "\\x00ff10");
    assert_eq!(oid::modifier(ColumnType::Varchar(25).into()), 29);
    assert_eq!(oid::modifier(ColumnType::Numeric { precision: 15, scale: 2 }.into()), (15 << 16) + 2 + 4);
    assert_eq!(oid::modifier(ColumnType::NUMERIC_DEFAULT.into()), -1);
    assert_eq!(oid::parameter_type(1007).unwrap(), Some(ValueType::Array(ColumnType::Integer)));
    assert_eq!(oid::parameter_type(600).unwrap_err().message(), "a parameter of type OID 600 is not supported");
}

fn one(array: ArrayRef, value_type: impl Into<ValueType>) -> Result<String, Code> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap();
    let columns = [Column { name: "c".into(), value_type: value_type.into(), table_oid: 0, attribute: 0 }];
    let zone = Zone::named("Asia/Tokyo").unwrap();
    let encoder = BatchEncoder::new(&batch, &columns, &Formats::AllText, &zone).map_err(|refusal| refusal.code())?;
    let mut out = BytesMut::new();
    match encoder.put_text_field(0, 0, &mut out).map_err(|refusal| refusal.code())? {
        true => Ok(String::from_utf8(out.to_vec()).unwrap()),
        false => Ok("<null>".into()),
    }
}

#[test]
fn arrow_arrays_of_other_shapes() {
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None].into_iter().collect();
    assert_eq!(one(Arc::new(dictionary), ColumnType::Text).as_deref(), Ok("a"));
    let nulls: DictionaryArray<Int32Type> = [None::<&str>].into_iter().collect();
    assert_eq!(one(Arc::new(nulls), ColumnType::Text).as_deref(), Ok("<null>"));
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None, Some(3)])]);
    assert_eq!(one(Arc::new(list), ValueType::Array(ColumnType::BigInt)).as_deref(), Ok("{1,NULL,3}"));
    let mut texts = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    texts.append_value([Some("a b"), Some(""), Some("null"), Some("x\"y\\z"), Some("plain")]);
    assert_eq!(
        one(Arc::new(texts.finish()), ValueType::Array(ColumnType::Text)).as_deref(),
        Ok(r#"{"a b","","null","x\"y\\z",plain}"#)
    );
    assert_eq!(
        one(Arc::new(UInt64Array::from(vec![u64::MAX])), ColumnType::NUMERIC_DEFAULT).as_deref(),
        Ok("18446744073709551615")
    );
    let noon = TimestampMicrosecondArray::from(vec![43_200_000_000]).with_timezone("UTC");
    assert_eq!(one(Arc::new(noon), ColumnType::Timestamptz).as_deref(), Ok("1970-01-01 21:00:00+09"));
    let seconds = arrow::array::TimestampSecondArray::from(vec![i64::MAX]);
    assert_eq!(one(Arc::new(seconds), ColumnType::Timestamp), Err(Code::NumericOutOfRange));
}

#[test]
fn a_row_is_all_or_nothing() {
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("b", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
    ])
    .unwrap();
    let columns: Vec<Column> = ["a", "b"]
        .map(|name| Column { name: name.into(), value_type: ColumnType::Integer.into(), table_oid: 0, attribute: 0 })
        .into();
    let zone = Zone::utc();
    let encoder = BatchEncoder::new(&batch, &columns, &Formats::AllBinary, &zone).unwrap();
    let mut out = BytesMut::from(&b"before"[..]);
    assert_eq!(encoder.put_row(0, &mut out).unwrap_err().code(), Code::Internal);
    assert_eq!(&out[..], b"before");
}

/// Encodes a scalar in both formats and reads each back as a parameter.
fn check_round_trip(scalar: &Scalar<'_>, column_type: ColumnType, expected: &Value) {
    let zone = Zone::named("America/New_York").unwrap();
    for (format, put) in [(Format::Text, put_text as fn(&mut _, &_, _, &_) -> _), (Format::Binary, put_binary)] {
        let mut out = BytesMut::new();
        let result: Result<(), crate::types::batch::Unencodable> = put(&mut out, scalar, column_type, &zone);
        result.unwrap();
        let read = parameter::read(1, column_type.into(), 0, format, &out, &zone).unwrap();
        assert_eq!(&read, expected, "{format:?} {out:?}");
    }
}

/// An array in both formats, as a result and read back as a parameter.
fn check_array(array: ArrayRef, element: ColumnType, declared: u32, expected: &[Value]) {
    let zone = Zone::named("America/New_York").unwrap();
    let lists = arrow::array::ListArray::new(
        Arc::new(arrow::datatypes::Field::new_list_field(array.data_type().clone(), true)),
        arrow::buffer::OffsetBuffer::from_lengths([array.len()]),
        array,
        None,
    );
    let batch = RecordBatch::try_from_iter([("c", Arc::new(lists) as ArrayRef)]).unwrap();
    let columns = [Column { name: "c".into(), value_type: ValueType::Array(element), table_oid: 0, attribute: 0 }];
    for (format, formats) in [(Format::Text, Formats::AllText), (Format::Binary, Formats::AllBinary)] {
        let mut out = BytesMut::new();
        BatchEncoder::new(&batch, &columns, &formats, &zone).unwrap().put_row(0, &mut out).unwrap();
        // Behind the message's head, the number of fields and the field's length.
        let read = parameter::read(1, ValueType::Array(element), declared, format, &out[11..], &zone).unwrap();
        assert_eq!(read, Value::Array { element, elements: expected.to_vec() }, "{format:?} {out:?}");
    }
}

#[test]
fn arrays_round_trip() {
    let int = Int32Array::from(vec![Some(1), None, Some(-3)]);
    let expected = [Value::Integer(1), Value::Null(Some(ColumnType::Integer)), Value::Integer(-3)];
    check_array(Arc::new(int), ColumnType::Integer, 1007, &expected);
    check_array(Arc::new(Int32Array::from(Vec::<i32>::new())), ColumnType::Integer, 0, &[]);
    let noon = TimestampMicrosecondArray::from(vec![43_200_000_000]).with_timezone("UTC");
    check_array(Arc::new(noon), ColumnType::Timestamptz, 1185, &[Value::Timestamptz(43_200_000_000)]);
    let id = "2b8f0dd5-3d3c-4c68-9d45-0f0a3f2ab0c1";
    check_array(Arc::new(StringArray::from(vec![id])), ColumnType::Uuid, 2951, &[Value::Text(id.into())]);
    let numeric = arrow::array::Decimal128Array::from(vec![-12_345]).with_precision_and_scale(10, 2).unwrap();
    let expected = [Value::Numeric { unscaled: -12_345, precision: 5, scale: 2 }];
    check_array(Arc::new(numeric), ColumnType::Numeric { precision: 10, scale: 2 }, 1231, &expected);
}

#[test]
fn arrays_of_arrays_have_dimensions() {
    let rows = |rows: [&[i32]; 2]| {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
            rows.map(|row| Some(row.iter().copied().map(Some).collect::<Vec<_>>())),
        );
        let mut all = arrow::array::ListBuilder::new(arrow::array::ListBuilder::new(arrow::array::Int32Builder::new()));
        for row in 0..arrow::array::Array::len(&lists) {
            let values = lists.value(row);
            let values: &Int32Array = arrow::array::AsArray::as_primitive(&values);
            all.values().append_value(values.iter());
        }
        all.append(true);
        Arc::new(all.finish()) as ArrayRef
    };
    let array = ValueType::Array(ColumnType::Integer);
    assert_eq!(one(rows([&[1, 2], &[3, 4]]), array).as_deref(), Ok("{{1,2},{3,4}}"));
    assert_eq!(one(rows([&[1, 2], &[3]]), array), Err(Code::DatatypeMismatch));
    let batch = RecordBatch::try_from_iter([("c", rows([&[1, 2], &[3, 4]]))]).unwrap();
    let columns = [Column { name: "c".into(), value_type: array, table_oid: 0, attribute: 0 }];
    let mut out = BytesMut::new();
    BatchEncoder::new(&batch, &columns, &Formats::AllBinary, &Zone::utc()).unwrap().put_row(0, &mut out).unwrap();
    // Two dimensions, no NULL, elements of int4, both of length 2 from 1 on.
    let head: Vec<i32> = out[11..39].chunks_exact(4).map(|word| i32::from_be_bytes(word.try_into().unwrap())).collect();
    assert_eq!(head, [2, 0, 23, 2, 1, 2, 1]);
}

#[test]
fn broken_arrays_are_refused() {
    let check = |declared: u32, format: Format, input: &[u8], code: Code| {
        let array = ValueType::Array(ColumnType::Integer);
        let refusal = parameter::read(1, array, declared, format, input, &Zone::utc()).unwrap_err();
        assert_eq!(refusal.code(), code, "{input:?}");
    };
    check(0, Format::Text, b"1,2", Code::InvalidTextRepresentation);
    check(0, Format::Text, b"{1,x}", Code::InvalidTextRepresentation);
    check(0, Format::Text, b"{{1}}", Code::Unsupported);
    check(0, Format::Text, b"{\xff}", Code::InvalidByteSequence);
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    check(1007, Format::Binary, &words(&[1, 0, 20, 0, 1]), Code::DatatypeMismatch);
    check(0, Format::Binary, &words(&[2, 0, 23, 1, 1, 1, 1, 4, 7]), Code::Unsupported);
    for broken in [
        &words(&[1, 0])[..],
        &words(&[-1, 0, 23]),
        &words(&[1, 0, 23, i32::MAX, 1]),
        &words(&[1, 0, 23, -1, 1]),
        &words(&[1, 0, 23, 1, 1, 100, 7]),
        &words(&[1, 0, 23, 1, 1, 4, 7, 8]),
        &words(&[0, 0, 23, 1]),
    ] {
        check(0, Format::Binary, broken, Code::InvalidBinaryRepresentation);
    }
}

/// Timestamps that PostgreSQL can hold in both directions.
const TIMESTAMPS: std::ops::Range<i64> = -200_000_000_000_000_000..9_000_000_000_000_000_000;

proptest! {
    #[test]
    fn integers_round_trip(value: i64, small: i16, middle: i32, flag: bool) {
        check_round_trip(&Scalar::Int(value), ColumnType::BigInt, &Value::BigInt(value));
        check_round_trip(&Scalar::Int(small.into()), ColumnType::SmallInt, &Value::SmallInt(small));
        check_round_trip(&Scalar::Int(middle.into()), ColumnType::Integer, &Value::Integer(middle));
        check_round_trip(&Scalar::Bool(flag), ColumnType::Boolean, &Value::Boolean(flag));
    }

    #[test]
    fn floats_round_trip(double: f64, single: f32) {
        // NaN differs from itself.
        prop_assume!(!double.is_nan() && !single.is_nan());
        check_round_trip(&Scalar::Double(double), ColumnType::Double, &Value::Double(double));
        check_round_trip(&Scalar::Real(single), ColumnType::Real, &Value::Real(single));
    }

    #[test]
    fn numerics_round_trip(unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38) {
        let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) as u8;
        let precision = digits.max(scale as u8).max(1);
        let column_type = ColumnType::Numeric { precision: 38, scale };
        let expected = Value::Numeric { unscaled, precision, scale };
        check_round_trip(&Scalar::Decimal(unscaled, scale), column_type, &expected);
    }

    #[test]
    fn small_numerics_round_trip(unscaled in -1_000_000_i128..1_000_000, scale in 0_i8..=12) {
        let mut out = BytesMut::new();
        binary::put_numeric(&mut out, unscaled, scale);
        prop_assert_eq!(binary::read_numeric(&out), Some((unscaled, scale)));
    }

    #[test]
    fn times_round_trip(days in -2_400_000_i32..100_000_000, time in 0_i64..86_400_000_000, timestamp in TIMESTAMPS) {
        check_round_trip(&Scalar::Date(days), ColumnType::Date, &Value::Date(days));
        check_round_trip(&Scalar::Time(time), ColumnType::Time, &Value::Time(time));
        check_round_trip(&Scalar::Timestamp(timestamp), ColumnType::Timestamp, &Value::Timestamp(timestamp));
    }

    #[test]
    fn instants_round_trip(timestamp in -8_000_000_000_000_000_i64..8_000_000_000_000_000) {
        // The hour that occurs twice in autumn is told apart by its offset.
        check_round_trip(&Scalar::Timestamp(timestamp), ColumnType::Timestamptz, &Value::Timestamptz(timestamp));
    }

    #[test]
    fn intervals_round_trip(
        months in -100_000_i32..100_000,
        days: i32,
        micros in -9_000_000_000_000_000_i64..9_000_000_000_000_000,
    ) {
        let nanoseconds = micros * 1000;
        let interval = Scalar::Interval { months, days, nanoseconds };
        check_round_trip(&interval, ColumnType::Interval, &Value::Interval { months, days, nanoseconds });
    }

    #[test]
    fn arrays_of_text_round_trip(values in prop::collection::vec(prop::option::of("[^\0]*"), 0..5)) {
        let element = ColumnType::Text;
        let expected: Vec<Value> =
            values.iter().map(|text| text.clone().map_or(Value::Null(Some(element)), Value::Text)).collect();
        check_array(Arc::new(StringArray::from(values)), element, 1009, &expected);
    }

    #[test]
    fn no_bytes_of_an_array_panic(input in prop::collection::vec(any::<u8>(), 0..60)) {
        for format in [Format::Text, Format::Binary] {
            let _ = parameter::read(1, ValueType::Array(ColumnType::Text), 0, format, &input, &Zone::utc());
        }
    }

    #[test]
    fn texts_and_bytes_round_trip(
        value in "[^\0]*",
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        id: [u8; 16],
    ) {
        check_round_trip(&Scalar::Text(Cow::Borrowed(&value)), ColumnType::Text, &Value::Text(value.clone()));
        check_round_trip(&Scalar::Bytes(&bytes), ColumnType::Bytea, &Value::Bytea(bytes.clone()));
        let id = binary::uuid_text(id);
        check_round_trip(&Scalar::Text(Cow::Borrowed(&id)), ColumnType::Uuid, &Value::Text(id.clone()));
        let json = serde_json::to_string(&value).unwrap();
        check_round_trip(&Scalar::Text(Cow::Borrowed(&json)), ColumnType::Jsonb, &Value::Text(json.clone()));
    }

    #[test]
    fn no_parameter_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        text in "[-+0-9:. TZPYMDe/a-z]{0,30}",
    ) {
        for column_type in ALL {
            for format in [Format::Text, Format::Binary] {
                for input in [&bytes[..], text.as_bytes()] {
                    let _ = parameter::read(1, column_type.into(), 0, format, input, &Zone::utc());
                }
            }
        }
    }
}

const ALL: [ColumnType; 18] = [
    ColumnType::Boolean,
    ColumnType::SmallInt,
    ColumnType::Integer,
    ColumnType::BigInt,
    ColumnType::Real,
    ColumnType::Double,
    ColumnType::NUMERIC_DEFAULT,
    ColumnType::Text,
    ColumnType::Varchar(3),
    ColumnType::Bytea,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::Timestamp,
    ColumnType::Timestamptz,
    ColumnType::Interval,
    ColumnType::Uuid,
    ColumnType::Json,
    ColumnType::Jsonb,
];

#[test]
fn parameter_errors_name_their_place() {
    let check = |column_type: ColumnType, format, input: &[u8], code, message: &str| {
        let refusal = parameter::read(3, column_type.into(), 0, format, input, &Zone::utc()).unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (code, message));
        assert_eq!(refusal.context_line(), Some("bind parameter $3"));
    };
    let (text, binary) = (Format::Text, Format::Binary);
    check(
        ColumnType::Integer,
        text,
        b"abc",
        Code::InvalidTextRepresentation,
        "invalid input syntax for type integer: \"abc\"",
    );
    check(
        ColumnType::SmallInt,
        text,
        b"40000",
        Code::NumericOutOfRange,
        "value \"40000\" is out of range for type smallint",
    );
    check(
        ColumnType::Date,
        text,
        b"2024-02-30",
        Code::DatetimeOverflow,
        "date/time field value out of range: \"2024-02-30\"",
    );
    check(
        ColumnType::Text,
        text,
        b"a\xff",
        Code::InvalidByteSequence,
        "invalid byte sequence for encoding \"UTF8\": 0xff",
    );
    check(
        ColumnType::BigInt,
        binary,
        b"\0\0\0\x01",
        Code::InvalidBinaryRepresentation,
        "incorrect binary data format for type bigint",
    );
    check(
        ColumnType::Timestamp,
        binary,
        &i64::MAX.to_be_bytes(),
        Code::Unsupported,
        "an infinite date or timestamp is not supported",
    );
    let long = "x".repeat(500);
    let refusal = parameter::read(1, ColumnType::Uuid.into(), 0, text, long.as_bytes(), &Zone::utc()).unwrap_err();
    assert!(refusal.message().len() < 200, "{}", refusal.message());
}

#[test]
fn sources_read_every_row() {
    let array = Int32Array::from(vec![Some(1), None, Some(3)]);
    let source = Source::new(&array).unwrap();
    assert!(matches!(source.get(0), Scalar::Int(1)));
    assert!(matches!(source.get(1), Scalar::Null));
    assert!(matches!(source.get(2), Scalar::Int(3)));
}
