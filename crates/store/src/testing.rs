//! Tables and rows for tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray,
        TimestampMicrosecondArray,
    },
    compute::kernels::cmp::{gt_eq, lt_eq},
    datatypes::IntervalMonthDayNano,
    record_batch::RecordBatch,
};
use weir_model::ColumnType;

use crate::{Column, TableSchema};

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), column_type, nullable, default: None }
}

/// `id bigint primary key, customer text, amount numeric(12,2)`.
pub(crate) fn orders_schema() -> Arc<TableSchema> {
    let columns = vec![
        column("id", ColumnType::BigInt, false),
        column("customer", ColumnType::Text, true),
        column("amount", ColumnType::Numeric { precision: 12, scale: 2 }, true),
    ];
    Arc::new(TableSchema::new(columns, vec![0]).unwrap())
}

/// Orders `first .. first + count`, their other columns following from the id.
pub(crate) fn orders(first: i64, count: i64) -> RecordBatch {
    orders_of(&(first..first + count).collect::<Vec<_>>())
}

pub(crate) fn orders_of(ids: &[i64]) -> RecordBatch {
    let customers: StringViewArray = ids
        .iter()
        .map(|id| (id % 7 != 0).then(|| if id % 2 == 0 { format!("c{id}") } else { format!("customer number {id}") }))
        .collect();
    let amounts = Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(id * 25)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(customers),
        Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()),
    ];
    RecordBatch::try_new(orders_schema().arrow().clone(), columns).unwrap()
}

pub(crate) fn every_type_schema() -> Arc<TableSchema> {
    let types = [
        ColumnType::Boolean,
        ColumnType::SmallInt,
        ColumnType::Integer,
        ColumnType::BigInt,
        ColumnType::Real,
        ColumnType::Double,
        ColumnType::Numeric { precision: 30, scale: 4 },
        ColumnType::Text,
        ColumnType::Varchar(40),
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
    let columns = types.into_iter().map(|kind| column(&format!("a {kind}"), kind, true)).collect();
    Arc::new(TableSchema::new(columns, vec![]).unwrap())
}

/// Rows with a value or NULL in a column of every type.
pub(crate) fn rows_of_every_type(rows: Range<i32>) -> RecordBatch {
    let some = |modulus: i32| rows.clone().map(move |n| (n % modulus != 0).then_some(n));
    let long = |n: i32| if n % 3 == 0 { format!("{n}") } else { format!("a text long enough to lie apart: {n}") };
    let text = |modulus| Arc::new(some(modulus).map(|n| n.map(long)).collect::<StringViewArray>());
    let interval = |n: i32| IntervalMonthDayNano::new(n, -n, i64::from(n) << 20);
    let wide = |n: Option<i32>| n.map(|n| i64::from(n) * 1_000_003);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(some(5).map(|n| n.map(|n| n % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(some(7).map(|n| n.map(|n| (n % 30_000) as i16)).collect::<Int16Array>()),
        Arc::new(some(3).collect::<Int32Array>()),
        Arc::new(some(9).map(wide).collect::<Int64Array>()),
        Arc::new(some(4).map(|n| n.map(|n| n as f32 / 3.0)).collect::<Float32Array>()),
        Arc::new(some(6).map(|n| n.map(|n| f64::from(n) / -7.0)).collect::<Float64Array>()),
        Arc::new(
            some(8)
                .map(|n| n.map(|n| i128::from(n) << 60))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(30, 4)
                .unwrap(),
        ),
        text(5),
        text(1_000_000),
        Arc::new(some(3).map(|n| n.map(|n| vec![n as u8; (n % 40) as usize])).collect::<BinaryViewArray>()),
        Arc::new(some(5).collect::<Date32Array>()),
        Arc::new(some(6).map(wide).collect::<Time64MicrosecondArray>()),
        Arc::new(some(7).map(wide).collect::<TimestampMicrosecondArray>()),
        Arc::new(some(8).map(wide).collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
        Arc::new(some(9).map(|n| n.map(interval)).collect::<IntervalMonthDayNanoArray>()),
        text(4),
        text(11),
        text(2),
    ];
    RecordBatch::try_new(every_type_schema().arrow().clone(), columns).unwrap()
}

/// Every value that is not null is no less than `min` and no greater than `max`, of one value each.
pub(crate) fn assert_between(values: &ArrayRef, min: &ArrayRef, max: &ArrayRef) {
    use arrow::array::Scalar;
    if values.null_count() == values.len() {
        return;
    }
    assert!(min.is_valid(0) && max.is_valid(0));
    let above = gt_eq(values, &Scalar::new(min)).unwrap();
    let below = lt_eq(values, &Scalar::new(max)).unwrap();
    assert_eq!(above.false_count() + below.false_count(), 0);
}
