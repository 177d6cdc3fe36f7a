#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        StringViewArray, TimestampMicrosecondArray,
    },
    compute::concat_batches,
    record_batch::RecordBatch,
};
use bytes::BytesMut;
use proptest::prelude::*;
use weir_model::{Code, ColumnType, Refusal};
use weir_pipeline::{Column, CopyFormat, CopyOptions};
use weir_store::arrow_type;

use crate::{
    copy::{decode::CopyDecoder, encode::CopyEncoder},
    types::{
        batch::{BatchEncoder, Formats},
        zone::Zone,
    },
};

fn text() -> CopyOptions {
    CopyOptions {
        format: CopyFormat::Text,
        delimiter: b'\t',
        null: "\\N".into(),
        header: false,
        quote: b'"',
        escape: b'"',
        force_quote: Vec::new(),
    }
}

fn csv() -> CopyOptions {
    CopyOptions { format: CopyFormat::Csv, delimiter: b',', null: String::new(), ..text() }
}

fn columns(types: &[ColumnType]) -> Arc<[Column]> {
    let column = |(index, column_type): (usize, &ColumnType)| Column {
        name: format!("c{index}"),
        value_type: (*column_type).into(),
        table_oid: 0,
        attribute: 0,
    };
    types.iter().enumerate().map(column).collect()
}

fn decode(types: &[ColumnType], options: &CopyOptions, chunks: &[&[u8]]) -> Result<RecordBatch, Refusal> {
    let mut decoder = CopyDecoder::new(&columns(types), options, "t", Zone::utc())?;
    decoder.worthwhile = 0;
    let mut batches = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(batch) = decoder.next_batch()? {
            batches.push(batch);
        }
    }
    decoder.end();
    while let Some(batch) = decoder.next_batch()? {
        batches.push(batch);
    }
    let schema = crate::copy::columns::schema(&columns(types));
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// Rows as their CSV text with `∅` for NULL.
fn rows(batch: &RecordBatch, types: &[ColumnType]) -> Vec<String> {
    let columns = columns(types);
    let zone = Zone::utc();
    let fields = BatchEncoder::new(batch, &columns, &Formats::AllText, &zone).unwrap();
    let field = |row, column| {
        let mut out = BytesMut::new();
        match fields.put_text_field(row, column, &mut out).unwrap() {
            true => String::from_utf8(out.to_vec()).unwrap(),
            false => "∅".into(),
        }
    };
    (0..batch.num_rows())
        .map(|row| (0..columns.len()).map(|column| field(row, column)).collect::<Vec<_>>().join("|"))
        .collect()
}

fn encode(batch: &RecordBatch, types: &[ColumnType], options: &CopyOptions) -> Vec<u8> {
    let columns = columns(types);
    let zone = Zone::utc();
    let fields = BatchEncoder::new(batch, &columns, &Formats::AllText, &zone).unwrap();
    let mut encoder = CopyEncoder::new(options, &columns);
    let mut out = BytesMut::new();
    if options.header {
        encoder.put_header(&columns, &mut out);
    }
    for row in 0..batch.num_rows() {
        encoder.put_row(&fields, row, &mut out).unwrap();
    }
    // The content of the CopyData messages.
    let mut content = Vec::new();
    let mut rest = &out[..];
    while let [b'd', a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        content.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    assert!(rest.is_empty());
    content
}

const TWO_TEXTS: &[ColumnType] = &[ColumnType::Text, ColumnType::Text];

#[test]
fn text_format_rules() {
    let check = |input: &[u8], expected: &[&str]| {
        assert_eq!(rows(&decode(TWO_TEXTS, &text(), &[input]).unwrap(), TWO_TEXTS), expected, "{input:?}");
    };
    check(b"a\tb\n", &["a|b"]);
    check(b"a\tb", &["a|b"]);
    check(b"", &[]);
    check(b"\\N\t\\\\N\n\t\n", &["∅|\\N", "|"]);
    check(b"a\\tb\tc\\nd\n", &["a\tb|c\nd"]);
    check(b"\\x41\\102\\\t\tq\\q\\\n!\n", &["AB\t|qq\n!"]);
    check(b"\\b\\f\\r\\v\t\\x\n", &["\x08\x0c\r\x0b|x"]);
    check(b"a\tb\r\nc\td\r\n", &["a|b", "c|d"]);
    check(b"a\tb\r\nc\td", &["a|b", "c|d"]);
    check(b"a\tb\n\\.\nnot read", &["a|b"]);
    check("grün\tß\n".as_bytes(), &["grün|ß"]);
}

#[test]
fn csv_format_rules() {
    let check = |options: &CopyOptions, input: &[u8], expected: &[&str]| {
        assert_eq!(rows(&decode(TWO_TEXTS, options, &[input]).unwrap(), TWO_TEXTS), expected, "{input:?}");
    };
    check(&csv(), b"a,b\n", &["a|b"]);
    check(&csv(), b",\"\"\n", &["∅|"]);
    check(&csv(), b"\"a,b\",\"c\"\"d\"\n", &["a,b|c\"d"]);
    check(&csv(), b"\"two\nlines\",x\r\n", &["two\nlines|x"]);
    check(&csv(), b"\"a\r\nb\",x\n", &["a\r\nb|x"]);
    check(&csv(), b"ab\"c,d\"e,f\n", &["abc,de|f"]);
    check(&csv(), b"a b , c\n", &["a b | c"]);
    check(&csv(), b"a,b\n\\.\n", &["a|b"]);
    check(&csv(), b"\\N,x\n", &["\\N|x"]);
    let na = CopyOptions { null: "NA".into(), header: true, ..csv() };
    check(&na, b"h1,h2\nNA,\"NA\"\n,x\n", &["∅|NA", "|x"]);
    let escape = CopyOptions { escape: b'\\', ..csv() };
    check(&escape, b"\"a\\\"b\\\\c\\d\",x\n", &["a\"b\\c\\d|x"]);
    let other = CopyOptions { delimiter: b';', quote: b'\'', escape: b'\'', ..csv() };
    check(&other, b"'a;''b';\"c\"\n", &["a;'b|\"c\""]);
}

#[test]
fn broken_data_is_named_with_its_place() {
    let check = |types: &[ColumnType], options: &CopyOptions, input: &[u8], code, message: &str, context: &str| {
        let refusal = decode(types, options, &[input]).unwrap_err();
        assert_eq!((refusal.code(), refusal.message(), refusal.context_line()), (code, message, Some(context)));
    };
    let two = &[ColumnType::Integer, ColumnType::Varchar(3)];
    check(
        two,
        &text(),
        b"1\ta\nabc\tb\n",
        Code::InvalidTextRepresentation,
        "invalid input syntax for type integer: \"abc\"",
        "COPY t, line 2, column c0: \"abc\"",
    );
    check(
        two,
        &text(),
        b"1\tabcd\n",
        Code::StringTooLong,
        "value too long for type character varying(3)",
        "COPY t, line 1, column c1: \"abcd\"",
    );
    check(two, &text(), b"1\ta\tb\n", Code::BadCopyFormat, "extra data after last expected column", "COPY t, line 1");
    check(
        two,
        &text(),
        b"\n1\n",
        Code::InvalidTextRepresentation,
        "invalid input syntax for type integer: \"\"",
        "COPY t, line 1, column c0: \"\"",
    );
    check(two, &text(), b"1\n", Code::BadCopyFormat, "missing data for column \"c1\"", "COPY t, line 1");
    check(
        two,
        &text(),
        b"1\ta\n2\tb\r\n",
        Code::BadCopyFormat,
        "literal carriage return found in data",
        "COPY t, line 2",
    );
    check(two, &text(), b"1\ta\r\n2\tb\n", Code::BadCopyFormat, "literal newline found in data", "COPY t, line 2");
    check(two, &csv(), b"1,\"a\nb\"\n2,\"x", Code::BadCopyFormat, "unterminated CSV quoted field", "COPY t, line 3");
    check(
        two,
        &csv(),
        b"1,\xff\n",
        Code::InvalidByteSequence,
        "invalid byte sequence for encoding \"UTF8\": 0xff",
        "COPY t, line 1, column c1: \"\u{fffd}\"",
    );
    check(
        &[ColumnType::Numeric { precision: 4, scale: 2 }],
        &text(),
        b"99.995\n",
        Code::NumericOutOfRange,
        "numeric field overflow",
        "COPY t, line 1, column c0: \"99.995\"",
    );
    let long = [b"x".repeat(1000), b"\n".to_vec()].concat();
    let refusal = decode(&[ColumnType::Json], &text(), &[&long]).unwrap_err();
    assert!(refusal.context_line().unwrap().len() < 150 && refusal.message().len() < 200);
}

#[test]
fn csv_quotes_what_would_be_read_otherwise() {
    let batch = |values: Vec<Option<&str>>| {
        RecordBatch::try_from_iter_with_nullable([("c0", Arc::new(StringViewArray::from(values)) as ArrayRef, true)])
            .unwrap()
    };
    let values = batch(vec![Some(""), None, Some("a,b"), Some("q\"q"), Some("\\."), Some("x\ny"), Some("plain")]);
    let content = String::from_utf8(encode(&values, &[ColumnType::Text], &csv())).unwrap();
    assert_eq!(content, "\"\"\n\n\"a,b\"\n\"q\"\"q\"\n\"\\.\"\n\"x\ny\"\nplain\n");
    let all = CopyOptions { force_quote: vec!["*".into()], header: true, ..csv() };
    assert_eq!(encode(&batch(vec![Some("a"), None]), &[ColumnType::Text], &all), b"c0\n\"a\"\n\n");
}

#[test]
fn long_input_comes_in_several_batches() {
    let mut decoder = CopyDecoder::new(&columns(&[ColumnType::BigInt]), &text(), "t", Zone::utc()).unwrap();
    let input: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let mut total = 0;
    let mut batches = 0;
    for chunk in input.as_bytes().chunks(10_000) {
        decoder.feed(chunk);
        while let Some(batch) = decoder.next_batch().unwrap() {
            total += batch.num_rows();
            batches += 1;
        }
    }
    decoder.end();
    while let Some(batch) = decoder.next_batch().unwrap() {
        total += batch.num_rows();
        batches += 1;
    }
    assert_eq!((total, batches), (100_000, 4));
}

const MIXED: &[ColumnType] = &[
    ColumnType::Text,
    ColumnType::BigInt,
    ColumnType::Numeric { precision: 15, scale: 2 },
    ColumnType::Double,
    ColumnType::Boolean,
    ColumnType::Date,
    ColumnType::Timestamptz,
    ColumnType::Bytea,
];

type Row =
    (Option<String>, Option<i64>, Option<i64>, Option<f64>, Option<bool>, Option<i32>, Option<i64>, Option<Vec<u8>>);

fn mixed_row() -> impl Strategy<Value = Row> {
    (
        prop::option::of("([a-z,;|\\\\\"'\t\n\rN.é]|NULL|\\\\N){0,8}"),
        prop::option::of(any::<i64>()),
        prop::option::of(-999_999_999_999_999_i64..=999_999_999_999_999),
        prop::option::of(any::<f64>().prop_filter("NaN differs from itself", |f| !f.is_nan())),
        prop::option::of(any::<bool>()),
        prop::option::of(-700_000_i32..10_000_000),
        prop::option::of(-8_000_000_000_000_000_i64..8_000_000_000_000_000),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..10)),
    )
}

fn mixed_batch(rows: &[Row]) -> RecordBatch {
    let numbers = Decimal128Array::from(rows.iter().map(|row| row.2.map(i128::from)).collect::<Vec<_>>());
    let instants = TimestampMicrosecondArray::from(rows.iter().map(|row| row.6).collect::<Vec<_>>());
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.0.as_deref()))),
        Arc::new(Int64Array::from(rows.iter().map(|row| row.1).collect::<Vec<_>>())),
        Arc::new(numbers.with_precision_and_scale(15, 2).unwrap()),
        Arc::new(Float64Array::from(rows.iter().map(|row| row.3).collect::<Vec<_>>())),
        Arc::new(BooleanArray::from(rows.iter().map(|row| row.4).collect::<Vec<_>>())),
        Arc::new(Date32Array::from(rows.iter().map(|row| row.5).collect::<Vec<_>>())),
        Arc::new(instants.with_data_type(arrow_type(ColumnType::Timestamptz))),
        Arc::new(BinaryViewArray::from_iter(rows.iter().map(|row| row.7.as_deref()))),
    ];
    RecordBatch::try_new(crate::copy::columns::schema(&columns(MIXED)), arrays).unwrap()
}

fn any_options() -> impl Strategy<Value = CopyOptions> {
    let delimiter = prop::sample::select(vec![b',', b';', b'|', b'\t']);
    let null = prop::sample::select(vec!["", "NULL", "\\N"]);
    (any::<bool>(), delimiter, null, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(is_csv, delimiter, null, header, backslash, force)| {
            let base = if is_csv { csv() } else { text() };
            let escape = if is_csv && backslash { b'\\' } else { b'"' };
            // A text-format NULL marker that a value could spell would make that value NULL, in PostgreSQL too.
            let null = if is_csv { null.to_owned() } else { "\\N".to_owned() };
            CopyOptions {
                delimiter,
                null,
                header,
                escape,
                force_quote: if force { vec!["c0".into()] } else { Vec::new() },
                ..base
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_reads_back(
        values in prop::collection::vec(mixed_row(), 0..20),
        options in any_options(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let batch = mixed_batch(&values);
        let content = encode(&batch, MIXED, &options);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect();
        let read = decode(MIXED, &options, &chunks).unwrap();
        prop_assert_eq!(read, batch, "{:?}", String::from_utf8_lossy(&content));
    }

    #[test]
    fn no_bytes_panic(input in prop::collection::vec(any::<u8>(), 0..300), options in any_options()) {
        let _ = decode(MIXED, &options, &[&input]);
        let _ = decode(TWO_TEXTS, &options, &[&input]);
    }

    #[test]
    fn chunks_do_not_matter(
        input in "[ab\",;\\\\\n\r\t]{0,60}",
        options in any_options(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (left, right) = input.as_bytes().split_at(cut.index(input.len() + 1));
        let whole = decode(TWO_TEXTS, &options, &[input.as_bytes()]);
        prop_assert_eq!(decode(TWO_TEXTS, &options, &[left, right]), whole);
    }
}
