//! Columns, options and arrays that the fake backend's scripts speak of.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
        Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray,
        TimestampMicrosecondArray,
    },
    datatypes::IntervalMonthDayNano,
    record_batch::RecordBatch,
};
use weir_model::{ColumnType, Value, ValueType};
use weir_pipeline::{Column, CopyFormat, CopyOptions};

pub fn integer_column() -> Arc<[Column]> {
    columns("integer")
}

/// `integer|text`: columns c0, c1 of these types.
pub fn columns(types: &str) -> Arc<[Column]> {
    let column = |(index, tag): (usize, &str)| Column {
        name: format!("c{index}"),
        value_type: value_type(&tag.replace('_', " ")),
        table_oid: 0,
        attribute: 0,
    };
    types.split('|').enumerate().map(column).collect()
}

pub fn value_type(tag: &str) -> ValueType {
    match tag.strip_suffix("[]") {
        Some(element) => ValueType::Array(ColumnType::from_tag(element).unwrap()),
        None => ValueType::Scalar(ColumnType::from_tag(tag).unwrap()),
    }
}

pub fn copy_options(format: &str) -> CopyOptions {
    let csv = format == "csv";
    CopyOptions {
        format: if csv { CopyFormat::Csv } else { CopyFormat::Text },
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: false,
        quote: b'"',
        escape: b'"',
        force_quote: Vec::new(),
    }
}

pub fn batch(columns: &[Column], arrays: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.iter().zip(arrays).map(|(column, array)| (column.name.clone(), array, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

pub fn array(value: Value) -> ArrayRef {
    match value {
        Value::Null(_) => Arc::new(arrow::array::NullArray::new(1)),
        Value::Boolean(value) => Arc::new(BooleanArray::from(vec![value])),
        Value::SmallInt(value) => Arc::new(Int16Array::from(vec![value])),
        Value::Integer(value) => Arc::new(Int32Array::from(vec![value])),
        Value::BigInt(value) => Arc::new(Int64Array::from(vec![value])),
        Value::Real(value) => Arc::new(Float32Array::from(vec![value])),
        Value::Double(value) => Arc::new(Float64Array::from(vec![value])),
        Value::Numeric { unscaled, precision, scale } => {
            Arc::new(Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale).unwrap())
        }
        Value::Text(value) => Arc::new(StringViewArray::from(vec![value])),
        Value::Bytea(value) => Arc::new(BinaryViewArray::from_iter_values([value])),
        Value::Date(value) => Arc::new(Date32Array::from(vec![value])),
        Value::Time(value) => Arc::new(Time64MicrosecondArray::from(vec![value])),
        Value::Timestamp(value) | Value::Timestamptz(value) => Arc::new(TimestampMicrosecondArray::from(vec![value])),
        Value::Interval { months, days, nanoseconds } => {
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano { months, days, nanoseconds }]))
        }
        Value::Array { element, elements } => {
            let none = arrow::array::new_empty_array(&weir_store::arrow_type(element));
            let arrays: Vec<ArrayRef> = elements
                .into_iter()
                .map(|value| match value {
                    Value::Null(_) => arrow::array::new_null_array(none.data_type(), 1),
                    value => array(value),
                })
                .collect();
            let arrays: Vec<&dyn arrow::array::Array> =
                std::iter::once(&none).chain(&arrays).map(|one| one.as_ref()).collect();
            let values = arrow::compute::concat(&arrays).unwrap();
            let field = Arc::new(arrow::datatypes::Field::new_list_field(values.data_type().clone(), true));
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
            Arc::new(arrow::array::ListArray::new(field, offsets, values, None))
        }
    }
}
