//! Output columns: their types, and the table column each one is, where it is one.

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{Column as PlanColumn, DFSchema},
    logical_expr::{Cast, Distinct, Expr, ExprSchemable, LogicalPlan},
};
use weir_model::{ColumnType, ValueType};
use weir_store::column_type_of;

use crate::{
    barrier::Barrier,
    governed::RawTable,
    naming::OutputNames,
    types::{Column, output_type},
};

pub(super) fn output_columns(plan: &LogicalPlan, names: &OutputNames) -> Vec<Column> {
    let fields = plan.schema().fields();
    let plain: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let names = names.resolve(&plain);
    fields
        .iter()
        .zip(names)
        .enumerate()
        .map(|(index, (field, name))| {
            let (table_oid, attribute) = origin(plan, index).unwrap_or_default();
            Column { name, value_type: value_type(plan, index, field), table_oid, attribute }
        })
        .collect()
}

/// The type of an output. Lists have no tag, so what of text their elements are (uuid, json) is told by what they were
/// made from.
fn value_type(plan: &LogicalPlan, index: usize, field: &Field) -> ValueType {
    match output_type(field) {
        ValueType::Array(ColumnType::Text) => ValueType::Array(element_type(plan, index).unwrap_or(ColumnType::Text)),
        ValueType::Oid => ValueType::Scalar(ColumnType::BigInt),
        ValueType::OidArray => ValueType::Array(ColumnType::BigInt),
        other => other,
    }
}

fn element_type(plan: &LogicalPlan, index: usize) -> Option<ColumnType> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(index)?;
            match column_of(expr) {
                Some(column) => {
                    element_type(&projection.input, projection.input.schema().index_of_column(column).ok()?)
                }
                None => element_made(expr, projection.input.schema()),
            }
        }
        LogicalPlan::Aggregate(aggregate) => {
            let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
            element_made(aggregate.aggr_expr.get(index.checked_sub(groups)?)?, aggregate.input.schema())
        }
        LogicalPlan::Filter(filter) => element_type(&filter.input, index),
        LogicalPlan::Sort(sort) => element_type(&sort.input, index),
        LogicalPlan::Limit(limit) => element_type(&limit.input, index),
        LogicalPlan::SubqueryAlias(alias) => element_type(&alias.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => element_type(input, index),
        _ => None,
    }
}

fn element_made(expr: &Expr, schema: &DFSchema) -> Option<ColumnType> {
    let element = match expr {
        Expr::Alias(alias) => return element_made(&alias.expr, schema),
        Expr::AggregateFunction(call) if call.func.name() == "array_agg" => call.params.args.first()?,
        Expr::ScalarFunction(call) if call.name() == "make_array" => call.args.first()?,
        _ => return None,
    };
    // The planner's own cast to owned text; a client's to text is another.
    let element = match element {
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Utf8 => expr,
        other => other,
    };
    let (_, field) = element.to_field(schema).ok()?;
    column_type_of(&field).filter(|column_type| column_type.is_textual())
}

/// The table and the one-based attribute whose values an output passes on unchanged.
fn origin(plan: &LogicalPlan, index: usize) -> Option<(u32, i16)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let column = column_of(projection.expr.get(index)?)?;
            origin(&projection.input, projection.input.schema().index_of_column(column).ok()?)
        }
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::Sort(sort) => origin(&sort.input, index),
        LogicalPlan::Limit(limit) => origin(&limit.input, index),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => origin(input, index),
        LogicalPlan::Extension(_) => origin(Barrier::of(plan)?.input(), index),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match index.checked_sub(left) {
                None => origin(&join.left, index),
                Some(right) => origin(&join.right, right),
            }
        }
        LogicalPlan::TableScan(scan) => {
            let raw = scan.source.downcast_ref::<RawTable>()?;
            let place = match &scan.projection {
                Some(columns) => *columns.get(index)?,
                None => index,
            };
            Some((raw.table_oid(), i16::try_from(place + 1).ok()?)).filter(|(oid, _)| *oid != 0)
        }
        _ => None,
    }
}

fn column_of(expr: &Expr) -> Option<&PlanColumn> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        _ => None,
    }
}
