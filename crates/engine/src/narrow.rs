//! Whole numbers as PostgreSQL types them: a literal that fits is an integer, a rank or a row's number a bigint.
//!
//! DataFusion makes every whole literal a bigint and every number of a window function unsigned.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Cast, Expr, LogicalPlan, Subquery, Union, Values, WindowFunctionDefinition,
        expr::{Exists, InSubquery, SetComparison},
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

use crate::{governed::ROW_ID, rewrite};

#[derive(Debug)]
pub(crate) struct WholeNumbers;

impl AnalyzerRule for WholeNumbers {
    fn name(&self) -> &str {
        "whole_numbers"
    }

    /// A recursive query's columns have the types that its first term had when it was bound.
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let mut recursive = false;
        plan.apply_with_subqueries(|node| {
            recursive |= matches!(node, LogicalPlan::RecursiveQuery(_));
            Ok(if recursive { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if recursive {
            return Ok(plan);
        }
        plan.transform_up_with_subqueries(narrow_node).map(|done| done.data)
    }
}

fn narrow_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    match plan {
        // Counted in bigints.
        LogicalPlan::Limit(_) | LogicalPlan::TableScan(_) => Ok(Transformed::no(plan)),
        LogicalPlan::Values(values) => narrow_values(values),
        LogicalPlan::Union(union) => {
            let same = union.inputs.iter().all(|input| {
                let types = input.schema().fields().iter().zip(union.schema.fields());
                types.into_iter().all(|(input, field)| input.data_type() == field.data_type())
            });
            if same {
                return Ok(Transformed::no(LogicalPlan::Union(union)));
            }
            Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
        }
        plan => {
            let plan = settle_lateral(plan)?;
            let schema = merge_schema(&plan.inputs());
            let narrowed = rewrite::expressions(plan, |expr| narrow(expr, &schema))?;
            // Also where nothing changed: a node above a changed one takes over its types.
            narrowed.map_data(LogicalPlan::recompute_schema)
        }
    }
}

/// A lateral subquery refers to the other side of its join.
fn settle_lateral(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
    let lateral = match join.right.as_ref() {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => matches!(alias.input.as_ref(), LogicalPlan::Subquery(_)),
        _ => false,
    };
    if lateral {
        let mut right = Arc::make_mut(&mut join.right);
        if let LogicalPlan::SubqueryAlias(alias) = right {
            right = Arc::make_mut(&mut alias.input);
        }
        if let LogicalPlan::Subquery(subquery) = right {
            settle_outer(subquery, join.left.schema())?;
        }
    }
    Ok(LogicalPlan::Join(join))
}

/// Arguments of a window function (`lag(x, 1)`) are read as bigints.
fn narrow(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    expr.transform_down(|part| {
        Ok(match part {
            Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match as_integer(value) {
                Some(value) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata)),
                None => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(value)), metadata)),
            },
            Expr::Column(column) if unsigned(&column, schema) => {
                let signed = Expr::Cast(Cast::new(Box::new(Expr::Column(column)), DataType::Int64));
                Transformed::new(signed, true, TreeNodeRecursion::Jump)
            }
            Expr::WindowFunction(call)
                if matches!(call.fun, WindowFunctionDefinition::WindowUDF(_)) || call.fun.name() == "count" =>
            {
                Transformed::new(Expr::WindowFunction(call), false, TreeNodeRecursion::Jump)
            }
            // `count(*)` is known by its bigint.
            Expr::AggregateFunction(call) if matches!(call.func.name(), "nth_value" | "count") => {
                Transformed::new(Expr::AggregateFunction(call), false, TreeNodeRecursion::Jump)
            }
            Expr::ScalarSubquery(mut subquery) => {
                let changed = settle_outer(&mut subquery, schema)?;
                Transformed::new(Expr::ScalarSubquery(subquery), changed, TreeNodeRecursion::Continue)
            }
            Expr::Exists(Exists { mut subquery, negated }) => {
                let changed = settle_outer(&mut subquery, schema)?;
                Transformed::new(Expr::Exists(Exists { subquery, negated }), changed, TreeNodeRecursion::Continue)
            }
            Expr::InSubquery(InSubquery { expr, mut subquery, negated }) => {
                let changed = settle_outer(&mut subquery, schema)?;
                let inner = Expr::InSubquery(InSubquery { expr, subquery, negated });
                Transformed::new(inner, changed, TreeNodeRecursion::Continue)
            }
            Expr::SetComparison(SetComparison { expr, mut subquery, op, quantifier }) => {
                let changed = settle_outer(&mut subquery, schema)?;
                let inner = Expr::SetComparison(SetComparison { expr, subquery, op, quantifier });
                Transformed::new(inner, changed, TreeNodeRecursion::Continue)
            }
            other => Transformed::no(other),
        })
    })
}

/// The integer that a literal is, if it fits.
pub(crate) fn as_integer(value: i64) -> Option<i32> {
    i32::try_from(value).ok()
}

/// Row ids are unsigned on purpose, and never a client's.
fn unsigned(column: &Column, schema: &DFSchema) -> bool {
    column.name != ROW_ID && type_of(column, schema) == Some(&DataType::UInt64)
}

fn type_of<'a>(column: &Column, schema: &'a DFSchema) -> Option<&'a DataType> {
    let index = schema.maybe_index_of_column(column)?;
    schema.fields().get(index).map(|field| field.data_type())
}

/// Gives a subquery's references to the query around it the types that its columns have now.
fn settle_outer(subquery: &mut Subquery, schema: &DFSchema) -> Result<bool, DataFusionError> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let settled = subquery.subquery.as_ref().clone().transform_up_with_subqueries(|node| {
        let changed = rewrite::expressions(node, |expr| {
            expr.transform_up(|part| {
                let Expr::OuterReferenceColumn(field, column) = part else { return Ok(Transformed::no(part)) };
                match type_of(&column, schema) {
                    Some(now) if now != field.data_type() => {
                        let field = Arc::new(field.as_ref().clone().with_data_type(now.clone()));
                        Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
                    }
                    _ => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
                }
            })
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    })?;
    if settled.transformed {
        subquery.outer_ref_columns = settled.data.all_out_ref_exprs();
        subquery.subquery = Arc::new(settled.data);
    }
    Ok(settled.transformed)
}

/// A column of VALUES whose every literal fits.
fn narrow_values(values: Values) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let Values { schema, mut values } = values;
    let fits = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(value), _) => value.is_none_or(|value| as_integer(value).is_some()),
        Expr::Literal(ScalarValue::Null, _) => true,
        _ => false,
    };
    let narrowed: Vec<bool> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(place, field)| {
            *field.data_type() == DataType::Int64 && values.iter().all(|row| row.get(place).is_some_and(fits))
        })
        .collect();
    if !narrowed.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Values(Values { schema, values })));
    }
    for row in &mut values {
        for (cell, _) in row.iter_mut().zip(&narrowed).filter(|(_, narrowed)| **narrowed) {
            if let Expr::Literal(ScalarValue::Int64(value), _) = cell {
                let value = value.and_then(as_integer);
                *cell = Expr::Literal(ScalarValue::Int32(value), None);
            }
        }
    }
    let fields = schema.iter().zip(&narrowed).map(|((qualifier, field), narrowed)| {
        let field = match narrowed {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Int32)),
            false => Arc::clone(field),
        };
        (qualifier.cloned(), field)
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?;
    Ok(Transformed::yes(LogicalPlan::Values(Values { schema: Arc::new(schema), values })))
}
