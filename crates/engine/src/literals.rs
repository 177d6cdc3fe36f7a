//! Quoted literals take the type of what they are compared with or cast to, as in PostgreSQL, where they have none of
//! their own; and a date plus an interval is a timestamp.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringViewArray},
    datatypes::DataType,
};
use datafusion::{
    common::{
        DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator,
        expr::{AggregateFunction, InList},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};
use weir_model::ColumnType;
use weir_store::arrow_type;

use crate::{
    binder::parameter_type,
    coerce::{self, Context},
    error::external,
    leakproof::is_comparison,
    types::{is_text, scalar_type},
};

#[derive(Debug)]
pub(crate) struct UnknownLiterals;

impl AnalyzerRule for UnknownLiterals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let done = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            let changed = node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|part| resolve(part, &schema))?.update_data(|expr| name.restore(expr)))
            })?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "unknown_literals"
    }
}

pub(crate) fn resolve(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    match expr {
        Expr::Cast(cast) => match cast_literal(&cast)? {
            Some(literal) => Ok(Transformed::yes(literal)),
            None => Ok(Transformed::no(Expr::Cast(cast))),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) => {
            let (left, right) = (date_to_timestamp(left, &right, schema), right);
            let (right, left) = (date_to_timestamp(right, &left, schema), left);
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let new_left = typed(&left, &right, schema)?;
            let new_right = typed(&right, &left, schema)?;
            if new_left.is_none() && new_right.is_none() {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            let left = new_left.map_or(left, Box::new);
            let right = new_right.map_or(right, Box::new);
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::AggregateFunction(call) => Ok(accountable(call, schema)),
        Expr::Between(Between { expr, negated, low, high }) => {
            let low = typed(&low, &expr, schema)?.map_or(low, Box::new);
            let high = typed(&high, &expr, schema)?.map_or(high, Box::new);
            Ok(Transformed::yes(Expr::Between(Between { expr, negated, low, high })))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list = list
                .into_iter()
                .map(|item| Ok(typed(&item, &expr, schema)?.unwrap_or(item)))
                .collect::<Result<Vec<Expr>, DataFusionError>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// `array_agg` of text views: DataFusion counts the views it keeps but not the bytes behind them, so that a statement
/// would pass its memory limit unseen. Of plain text it counts all.
fn accountable(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let owned = |expr: &Expr| match expr.get_type(schema) {
        Ok(DataType::Utf8View) => Some(DataType::Utf8),
        Ok(DataType::BinaryView) => Some(DataType::Binary),
        _ => None,
    };
    let target = call.params.args.first().filter(|_| call.func.name() == "array_agg").and_then(owned);
    match (target, call.params.args.first_mut()) {
        (Some(target), Some(argument)) => {
            *argument = Expr::Cast(Cast::new(Box::new(argument.clone()), target));
            Transformed::yes(Expr::AggregateFunction(call))
        }
        _ => Transformed::no(Expr::AggregateFunction(call)),
    }
}

/// `'text'::type`, read as PostgreSQL reads it; None for what is no such cast.
fn cast_literal(cast: &Cast) -> Result<Option<Expr>, DataFusionError> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = cast.expr.as_ref() else { return Ok(None) };
    let target = scalar_type(&cast.field);
    if arrow_type(target) != *cast.field.data_type() {
        return Ok(None);
    }
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
    let array = coerce::to_type(&array, target, Context::Literal).map_err(external)?;
    let metadata = cast.field.metadata().into();
    Ok(Some(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, Some(metadata))))
}

/// A date beside an interval that is not whole days; DataFusion would keep the date and drop the hours.
fn date_to_timestamp(side: Box<Expr>, other: &Expr, schema: &DFSchema) -> Box<Expr> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    let whole_days = matches!(
        other,
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) if interval.nanoseconds == 0
    );
    let dated = matches!(type_of(&side), Some(DataType::Date32));
    if dated && !whole_days && matches!(type_of(other), Some(DataType::Interval(_))) {
        return Box::new(Expr::Cast(Cast::new(side, arrow_type(ColumnType::Timestamp))));
    }
    side
}

/// The literal with the other side's type; None where it is no untyped literal, or text is what is wanted.
fn typed(literal: &Expr, other: &Expr, schema: &DFSchema) -> Result<Option<Expr>, DataFusionError> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = literal else { return Ok(None) };
    if matches!(other, Expr::Literal(..)) {
        return Ok(None);
    }
    let Ok((_, field)) = other.to_field(schema) else { return Ok(None) };
    let target = match scalar_type(&field) {
        ColumnType::Uuid => ColumnType::Uuid,
        _ if is_text(field.data_type()) || field.data_type().is_null() || field.data_type().is_nested() => {
            return Ok(None);
        }
        column_type => parameter_type(column_type),
    };
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
    let array = coerce::to_type(&array, target, Context::Literal).map_err(external)?;
    Ok(Some(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None)))
}

/// All literals of one expression.
pub(crate) fn resolve_all(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    Ok(expr.transform_up(|part| resolve(part, schema))?.data)
}
