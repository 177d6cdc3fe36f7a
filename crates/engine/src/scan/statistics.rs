//! What the planner is told of a scan, to order joins and size their sides.
//!
//! Only a scan that hides and filters nothing gives an exact number of rows; everything else is an estimate, which no
//! rule answers a query from.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{ColumnStatistics, ScalarValue, Statistics, stats::Precision},
    logical_expr::{BinaryExpr, Expr, Operator},
};
use weir_store::TableStatistics;

use super::{Scan, Source, filter::conjuncts};
use crate::leakproof::column_of;

/// Part of the rows that a filter passes when nothing is known of it.
const UNKNOWN_SELECTIVITY: f64 = 0.2;
/// For a comparison by less or greater without bounds, as PostgreSQL assumes.
const RANGE_SELECTIVITY: f64 = 0.33;
/// Bytes of a text value, without its share of a buffer.
const TEXT_BYTES: usize = 24;

pub(super) fn estimate(scan: &Scan, schema: &Schema) -> Statistics {
    match &scan.source {
        Source::Table { table, .. } => match table.statistics() {
            Ok(known) => of_table(scan, schema, &known),
            Err(_) => Statistics::new_unknown(schema),
        },
        Source::Batches(batches) => {
            let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
            plain(scan, schema, rows)
        }
        Source::Series(series) => plain(scan, schema, usize::try_from(series.len()).unwrap_or(usize::MAX)),
    }
}

fn plain(scan: &Scan, schema: &Schema, rows: usize) -> Statistics {
    let exact = scan.compiled.is_empty() && !scan.hides_rows && scan.fetch.is_none();
    Statistics {
        num_rows: if exact { Precision::Exact(rows) } else { Precision::Inexact(rows) },
        total_byte_size: Precision::Inexact(rows.saturating_mul(row_bytes(schema))),
        column_statistics: Statistics::unknown_column(schema),
    }
}

fn of_table(scan: &Scan, schema: &Schema, known: &TableStatistics) -> Statistics {
    let total = usize::try_from(known.row_count).unwrap_or(usize::MAX);
    let selectivity: f64 =
        conjuncts(&scan.filters).into_iter().map(|conjunct| selectivity(conjunct, scan, known)).product();
    let mut rows = total as f64 * selectivity;
    if let Some(fetch) = scan.fetch {
        rows = rows.min(fetch as f64);
    }
    let rows = rows.ceil() as usize;
    let exact = scan.compiled.is_empty() && !scan.hides_rows && scan.fetch.is_none();
    let column_statistics = scan
        .projection
        .iter()
        .map(|index| match known.columns.get(*index) {
            Some(column) => ColumnStatistics {
                null_count: inexact(usize::try_from(column.null_count).ok().map(|nulls| nulls.min(rows))),
                min_value: inexact(first(column.min.as_ref())),
                max_value: inexact(first(column.max.as_ref())),
                distinct_count: inexact(
                    column.distinct.and_then(|count| usize::try_from(count).ok()).map(|count| count.min(rows.max(1))),
                ),
                ..ColumnStatistics::new_unknown()
            },
            None => ColumnStatistics::new_unknown(),
        })
        .collect();
    Statistics {
        num_rows: if exact { Precision::Exact(total) } else { Precision::Inexact(rows) },
        total_byte_size: Precision::Inexact(rows.saturating_mul(row_bytes(schema))),
        column_statistics,
    }
}

fn inexact<T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd>(value: Option<T>) -> Precision<T> {
    value.map_or(Precision::Absent, Precision::Inexact)
}

fn first(array: Option<&ArrayRef>) -> Option<ScalarValue> {
    ScalarValue::try_from_array(array?, 0).ok().filter(|value| !value.is_null())
}

fn row_bytes(schema: &Schema) -> usize {
    schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Boolean => 1,
            other => other.primitive_width().unwrap_or(TEXT_BYTES),
        })
        .sum()
}

/// The part of the rows that a conjunct passes, with independence assumed.
fn selectivity(expr: &Expr, scan: &Scan, known: &TableStatistics) -> f64 {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            selectivity(left, scan, known) * selectivity(right, scan, known)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (left, right) = (selectivity(left, scan, known), selectivity(right, scan, known));
            left + right - left * right
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(left, *op, right, scan, known),
        Expr::Between(between) => {
            let low = comparison(&between.expr, Operator::GtEq, &between.low, scan, known);
            let high = comparison(&between.expr, Operator::LtEq, &between.high, scan, known);
            negated((low + high - 1.0).max(0.005), between.negated)
        }
        Expr::InList(list) => {
            let one = equality(&list.expr, scan, known);
            negated((one * list.list.len() as f64).min(1.0), list.negated)
        }
        Expr::Not(inner) => 1.0 - selectivity(inner, scan, known),
        Expr::IsNull(inner) => nulls(inner, scan, known),
        Expr::IsNotNull(inner) => 1.0 - nulls(inner, scan, known),
        Expr::Literal(ScalarValue::Boolean(Some(flag)), _) => f64::from(u8::from(*flag)),
        _ => UNKNOWN_SELECTIVITY,
    }
}

fn negated(part: f64, negated: bool) -> f64 {
    if negated { 1.0 - part } else { part }
}

fn column<'a>(expr: &Expr, scan: &Scan, known: &'a TableStatistics) -> Option<&'a weir_store::ColumnStatistics> {
    let index = scan.full_schema.index_of(&column_of(expr)?.name).ok()?;
    known.columns.get(index)
}

fn equality(expr: &Expr, scan: &Scan, known: &TableStatistics) -> f64 {
    match column(expr, scan, known).and_then(|column| column.distinct) {
        Some(distinct) if distinct > 0 => 1.0 / distinct as f64,
        _ => UNKNOWN_SELECTIVITY,
    }
}

fn nulls(expr: &Expr, scan: &Scan, known: &TableStatistics) -> f64 {
    match column(expr, scan, known) {
        Some(column) if known.row_count > 0 => column.null_count as f64 / known.row_count as f64,
        _ => UNKNOWN_SELECTIVITY,
    }
}

fn comparison(left: &Expr, op: Operator, right: &Expr, scan: &Scan, known: &TableStatistics) -> f64 {
    let (side, op, constant) = match (column_of(left), right) {
        (Some(_), Expr::Literal(value, _)) => (left, op, Some(value)),
        (Some(_), _) => (left, op, None),
        (None, _) => match (op.swap(), left) {
            (Some(op), Expr::Literal(value, _)) if column_of(right).is_some() => (right, op, Some(value)),
            _ => return UNKNOWN_SELECTIVITY,
        },
    };
    match op {
        Operator::Eq | Operator::IsNotDistinctFrom => equality(side, scan, known),
        Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equality(side, scan, known),
        Operator::Lt | Operator::LtEq => fraction_below(side, constant, scan, known).unwrap_or(RANGE_SELECTIVITY),
        Operator::Gt | Operator::GtEq => {
            fraction_below(side, constant, scan, known).map_or(RANGE_SELECTIVITY, |part| 1.0 - part)
        }
        _ => UNKNOWN_SELECTIVITY,
    }
}

/// Where a constant lies between a column's bounds, 0 to 1.
fn fraction_below(expr: &Expr, constant: Option<&ScalarValue>, scan: &Scan, known: &TableStatistics) -> Option<f64> {
    let column = column(expr, scan, known)?;
    let low = number(&first(column.min.as_ref())?)?;
    let high = number(&first(column.max.as_ref())?)?;
    let value = number(constant?)?;
    if high <= low {
        return None;
    }
    Some(((value - low) / (high - low)).clamp(0.0, 1.0))
}

fn number(value: &ScalarValue) -> Option<f64> {
    Some(match value {
        ScalarValue::Int16(Some(value)) => f64::from(*value),
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => f64::from(*value),
        ScalarValue::Int64(Some(value))
        | ScalarValue::Time64Microsecond(Some(value))
        | ScalarValue::TimestampMicrosecond(Some(value), _) => *value as f64,
        ScalarValue::Float32(Some(value)) => f64::from(*value),
        ScalarValue::Float64(Some(value)) => *value,
        ScalarValue::Decimal128(Some(unscaled), _, scale) => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
        _ => return None,
    })
}
