//! Output columns: their types, and the table column each one is, where it is one.

use datafusion::{
    common::Column as PlanColumn,
    logical_expr::{Distinct, Expr, LogicalPlan},
};

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
            Column { name, column_type: output_type(field), table_oid, attribute }
        })
        .collect()
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
