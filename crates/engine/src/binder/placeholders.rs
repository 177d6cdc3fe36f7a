//! Types of `$n`, inferred as PostgreSQL does: from the comparison, cast or column a parameter meets; text otherwise.

use std::{collections::HashMap, ops::ControlFlow};

use arrow::datatypes::FieldRef;
use datafusion::{
    common::{
        DFSchema, DataFusionError,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, expr::Placeholder},
};
use weir_model::{ColumnType, ValueType};
use weir_sql::ast::{self, Visit};

use crate::{
    functions::MEMBER,
    types::{cast_type, output_type, parameter_field},
};

/// One field for each parameter whose type is known.
pub(crate) fn parameter_fields(types: &[Option<ValueType>]) -> Vec<Option<FieldRef>> {
    types.iter().map(|known| known.map(parameter_field)).collect()
}

/// The type a parameter takes from a column: without the length, precision and scale, which belong to the column.
pub(crate) fn parameter_type(column_type: ColumnType) -> ColumnType {
    match column_type {
        ColumnType::Varchar(_) => ColumnType::Text,
        ColumnType::Numeric { scale, .. } => ColumnType::Numeric { precision: 38, scale: scale.max(10) },
        other => other,
    }
}

fn open_type(value_type: ValueType) -> ValueType {
    match value_type {
        ValueType::Scalar(column_type) => ValueType::Scalar(parameter_type(column_type)),
        ValueType::Array(element) => ValueType::Array(parameter_type(element)),
        oid => oid,
    }
}

/// Fills in the types that parameters are cast to where they are written, for what has no plan to tell: the values of an
/// INSERT, and what the catalogs' rewriting leaves out.
pub(crate) fn infer_from_casts(query: &ast::Query, types: &mut [Option<ValueType>]) {
    struct Casts<'a>(&'a mut [Option<ValueType>]);
    impl ast::Visitor for Casts<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
            if let ast::Expr::Cast { expr, data_type, .. } = expr
                && let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(id), .. }) = expr.as_ref()
                && let Some(number) = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok())
                && let Some(known) = number.checked_sub(1).and_then(|place| self.0.get_mut(place))
            {
                *known = known.or_else(|| cast_type(data_type).map(open_type));
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Casts(types));
}

/// Fills in what a plan tells of the parameters that have no type yet.
pub(crate) fn infer(plan: &LogicalPlan, types: &mut [Option<ValueType>]) -> Result<(), DataFusionError> {
    let mut found: HashMap<usize, ValueType> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        let schemas = node.inputs().iter().map(|input| input.schema().as_ref().clone()).reduce(|mut all, next| {
            all.merge(&next);
            all
        });
        if let LogicalPlan::Limit(limit) = node {
            for count in limit.skip.iter().chain(&limit.fetch) {
                if let Expr::Placeholder(Placeholder { id, .. }) = count.as_ref() {
                    note(&mut found, id, ColumnType::BigInt.into());
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                        note(&mut found, id, open_type(output_type(field)));
                    }
                    Expr::Cast(Cast { expr: inner, field }) => {
                        if let Expr::Placeholder(Placeholder { id, field: None }) = inner.as_ref() {
                            note(&mut found, id, open_type(output_type(field)));
                        }
                    }
                    Expr::ScalarFunction(call) if call.name() == MEMBER => {
                        from_member(&call.args, schemas.as_ref(), &mut found);
                    }
                    Expr::ScalarFunction(call) if siblings_agree(call.name()) => {
                        from_siblings(&call.args, schemas.as_ref(), &mut found);
                    }
                    Expr::Case(case) => {
                        if case.expr.is_none() {
                            for (when, _) in &case.when_then_expr {
                                if let Expr::Placeholder(Placeholder { id, field: None }) = when.as_ref() {
                                    note(&mut found, id, ColumnType::Boolean.into());
                                }
                            }
                        }
                        let values: Vec<Expr> = case
                            .when_then_expr
                            .iter()
                            .map(|(_, then)| then.as_ref().clone())
                            .chain(case.else_expr.iter().map(|value| value.as_ref().clone()))
                            .collect();
                        from_siblings(&values, schemas.as_ref(), &mut found);
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    for (index, known) in types.iter_mut().enumerate() {
        if known.is_none() {
            *known = found.get(&(index + 1)).copied();
        }
    }
    Ok(())
}

fn note(found: &mut HashMap<usize, ValueType>, id: &str, value_type: ValueType) {
    if let Some(number) = id.strip_prefix('$').and_then(|digits| digits.parse().ok()) {
        found.entry(number).or_insert(value_type);
    }
}

/// Functions whose arguments have one type.
fn siblings_agree(name: &str) -> bool {
    matches!(name, "coalesce" | "nullif" | "greatest" | "least" | "nvl")
}

/// Of `value = ANY(array)`, the array's type from the value's, or the other way round.
fn from_member(arguments: &[Expr], schema: Option<&DFSchema>, found: &mut HashMap<usize, ValueType>) {
    let ([value, array], Some(schema)) = (arguments, schema) else { return };
    let type_of = |expr: &Expr| expr.to_field(schema).ok().map(|(_, field)| open_type(output_type(&field)));
    match (value, array) {
        (value, Expr::Placeholder(Placeholder { id, field: None })) => {
            if let Some(element) = type_of(value).and_then(ValueType::scalar) {
                note(found, id, ValueType::Array(element));
            }
        }
        (Expr::Placeholder(Placeholder { id, field: None }), array) => {
            if let Some(element) = type_of(array).and_then(ValueType::element) {
                note(found, id, ValueType::Scalar(element));
            }
        }
        _ => {}
    }
}

fn from_siblings(values: &[Expr], schema: Option<&DFSchema>, found: &mut HashMap<usize, ValueType>) {
    let Some(schema) = schema else { return };
    let untyped = |value: &&Expr| matches!(value, Expr::Placeholder(Placeholder { field: None, .. }));
    let known = values.iter().filter(|value| !untyped(value)).find_map(|value| value.to_field(schema).ok());
    let Some((_, field)) = known else { return };
    for value in values.iter().filter(untyped) {
        if let Expr::Placeholder(Placeholder { id, .. }) = value {
            note(found, id, open_type(output_type(&field)));
        }
    }
}
