//! Intervals by value.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, DFSchema, DataFusionError,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Aggregate, Between, BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Projection, SortExpr,
        WindowFunctionDefinition,
        expr::{AggregateFunction, InList, NullTreatment},
        utils::{grouping_set_to_exprlist, merge_schema},
    },
};
use weir_model::Refusal;

use crate::{error::external, functions::interval_value, leakproof::is_comparison, rewrite};

pub(super) fn lower(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let schema = merge_schema(&plan.inputs());
    let plan = rewrite::expressions(plan, |expr| expr.transform_up(|part| lower_expr(part, &schema)))?;
    let changed = plan.transformed;
    let node = match plan.data {
        LogicalPlan::Sort(mut sort) if sort.expr.iter().any(|key| is_interval(&key.expr, &schema)) => {
            sort.expr.iter_mut().for_each(|key| by_value(&mut key.expr, &schema));
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::Join(mut join) => {
            let (left, right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
            if !join.on.iter().any(|(one, _)| is_interval(one, &left)) {
                return Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed));
            }
            for (one, two) in &mut join.on {
                by_value(one, &left);
                by_value(two, &right);
            }
            LogicalPlan::Join(join)
        }
        LogicalPlan::Distinct(Distinct::All(input)) if has_interval(input.schema()) => {
            let keys = input.schema().columns().into_iter().map(Expr::Column).collect();
            let aggregate = Aggregate::try_new(input, keys, Vec::new())?;
            let schema = Arc::clone(&aggregate.schema);
            grouped(aggregate, &schema)?
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            distinct.on_expr.iter_mut().for_each(|key| by_value(key, &schema));
            for key in distinct.sort_expr.iter_mut().flatten() {
                by_value(&mut key.expr, &schema);
            }
            return Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(distinct))));
        }
        LogicalPlan::Aggregate(aggregate) => {
            let sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
            let keyed = match sets {
                true => has_interval_key(&aggregate, &schema)?,
                false => aggregate.group_expr.iter().any(|key| is_interval(key, &schema)),
            };
            if !keyed {
                return Ok(Transformed::new_transformed(LogicalPlan::Aggregate(aggregate), changed));
            }
            if sets {
                return Err(external(Refusal::unsupported("grouping sets of intervals")));
            }
            let schema = Arc::clone(&aggregate.schema);
            grouped(aggregate, &schema)?
        }
        other => return Ok(Transformed::new_transformed(other, changed)),
    };
    Ok(Transformed::yes(node))
}

fn has_interval(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Interval(_)))
}

fn has_interval_key(aggregate: &Aggregate, schema: &DFSchema) -> Result<bool, DataFusionError> {
    Ok(grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().any(|key| is_interval(key, schema)))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

fn by_value(expr: &mut Expr, schema: &DFSchema) {
    if is_interval(expr, schema) {
        *expr = interval_value(std::mem::take(expr));
    }
}

fn valued(expr: Expr) -> Box<Expr> {
    Box::new(interval_value(expr))
}

fn lower_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            match is_interval(&left, schema) && is_interval(&right, schema) {
                true => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: valued(*left), op, right: valued(*right) }))
                }
                false => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Between(Between { expr, negated, low, high }) if is_interval(&expr, schema) => {
            Transformed::yes(Expr::Between(Between {
                expr: valued(*expr),
                negated,
                low: valued(*low),
                high: valued(*high),
            }))
        }
        Expr::InList(InList { expr, list, negated }) if is_interval(&expr, schema) => {
            let list = list.into_iter().map(interval_value).collect();
            Transformed::yes(Expr::InList(InList { expr: valued(*expr), list, negated }))
        }
        Expr::AggregateFunction(call) => lower_call(call, schema),
        Expr::WindowFunction(mut call) => {
            let arguments = call.params.args.iter().any(|argument| is_interval(argument, schema));
            let chosen = matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function)
                if matches!(function.name(), "min" | "max") || (function.name() == "count" && call.params.distinct));
            if arguments && chosen {
                return Err(external(Refusal::unsupported("min, max or count(DISTINCT …) of intervals over a window")));
            }
            let keys = call.params.partition_by.iter().chain(call.params.order_by.iter().map(|key| &key.expr));
            let any = keys.into_iter().any(|key| is_interval(key, schema));
            if any
                && call.params.window_frame.units == datafusion::logical_expr::WindowFrameUnits::Range
                && !(call.params.window_frame.start_bound.is_unbounded() || call.params.order_by.is_empty())
            {
                return Err(external(Refusal::unsupported("a RANGE of intervals over a window")));
            }
            call.params.partition_by.iter_mut().for_each(|key| by_value(key, schema));
            call.params.order_by.iter_mut().for_each(|key| by_value(&mut key.expr, schema));
            let call = Expr::WindowFunction(call);
            if any { Transformed::yes(call) } else { Transformed::no(call) }
        }
        other => Transformed::no(other),
    })
}

/// `min` and `max` are the first by value; distinct ones are counted by it.
fn lower_call(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let ordered = call.params.order_by.iter().any(|key| is_interval(&key.expr, schema));
    call.params.order_by.iter_mut().for_each(|key| by_value(&mut key.expr, schema));
    let chosen = call.params.args.first().filter(|argument| is_interval(argument, schema)).cloned();
    match (chosen, call.func.name()) {
        (Some(argument), name @ ("min" | "max")) => {
            call.params.order_by = vec![SortExpr::new(interval_value(argument), name == "min", false)];
            call.params.null_treatment = Some(NullTreatment::IgnoreNulls);
            call.params.distinct = false;
            call.func = first_value_udaf();
            Transformed::yes(Expr::AggregateFunction(call))
        }
        (Some(_), "count") if call.params.distinct => {
            call.params.args.iter_mut().for_each(|argument| by_value(argument, schema));
            Transformed::yes(Expr::AggregateFunction(call))
        }
        _ if ordered => Transformed::yes(Expr::AggregateFunction(call)),
        _ => Transformed::no(Expr::AggregateFunction(call)),
    }
}

/// Groups by worth, and shows one of the intervals that are worth as much.
fn grouped(aggregate: Aggregate, schema: &DFSchema) -> Result<LogicalPlan, DataFusionError> {
    let Aggregate { input, group_expr, mut aggr_expr, .. } = aggregate;
    let from = Arc::clone(input.schema());
    let groups = group_expr.len();
    let calls = aggr_expr.len();
    let mut shown: Vec<Option<String>> = Vec::with_capacity(groups);
    let mut keys = Vec::with_capacity(groups);
    for (place, key) in group_expr.into_iter().enumerate() {
        if !is_interval(&key, &from) {
            keys.push(key);
            shown.push(None);
            continue;
        }
        let name = format!("__weir_interval{place}");
        let mut first = first_value_udaf().call(vec![key.clone()]);
        if let Expr::AggregateFunction(call) = &mut first {
            call.params.order_by = Vec::new();
        }
        aggr_expr.push(first.alias(name.clone()));
        keys.push(interval_value(key).alias(format!("__weir_worth{place}")));
        shown.push(Some(name));
    }
    let inner = Aggregate::try_new(input, keys, aggr_expr)?;
    let columns = inner.schema.columns();
    let outputs = schema.iter().enumerate().map(|(place, (qualifier, field))| {
        let column = match shown.get(place) {
            Some(Some(name)) => Column::from_name(name.clone()),
            _ => columns.get(place).cloned().unwrap_or_else(|| Column::from((qualifier, field))),
        };
        Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
    });
    debug_assert_eq!(schema.fields().len(), groups + calls);
    Ok(LogicalPlan::Projection(Projection::try_new(outputs.collect(), Arc::new(LogicalPlan::Aggregate(inner)))?))
}
