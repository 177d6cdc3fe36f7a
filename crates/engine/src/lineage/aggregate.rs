//! Aggregates and windows: counting declassifies, everything else is computed, and what is computed is left out.

use std::sync::Arc;

use datafusion::{
    common::{Column, DFSchemaRef, Result},
    functions_aggregate::expr_fn::count,
    logical_expr::{
        Aggregate, Expr, LogicalPlan, Projection, Window, WindowFunctionDefinition,
        expr::{AggregateFunctionParams, WindowFunctionParams},
        utils::grouping_set_to_exprlist,
    },
    prelude::lit,
};

use super::{
    expression::null_like,
    node::{Node, Tracer},
    predicate::check_equality,
    refuse::{self, Use},
    scope::Scope,
    source::Lineage,
};

impl Tracer<'_> {
    pub(super) fn aggregate(&mut self, aggregate: Aggregate, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
        let input = self.child(input, outer)?;
        let scope = input.scope(outer);
        let (group_expr, groups_entered) = self.enter_all(group_expr, &scope)?;
        let (aggr_expr, calls_entered) = self.enter_all(aggr_expr, &scope)?;
        let changed = input.changed || groups_entered || calls_entered;

        let mut columns = self.group_columns(&group_expr, &scope)?;
        // Grouping sets add a column that tells them apart.
        columns.resize(schema.fields().len().saturating_sub(aggr_expr.len()), Lineage::default());
        let groups = columns.len();
        for call in &aggr_expr {
            columns.push(self.call(call, &scope)?);
        }
        let hidden = |position: usize| columns.get(groups + position).is_some_and(Lineage::is_restricted);
        let calls = aggr_expr.len();
        let kept: Vec<Expr> = aggr_expr
            .into_iter()
            .enumerate()
            .filter(|(position, _)| !hidden(*position))
            .map(|(_, call)| call)
            .collect();
        let input = Arc::new(input.plan);
        if kept.len() == calls {
            let plan = match changed {
                true => Aggregate::try_new(input, group_expr, kept)?,
                false => Aggregate::try_new_with_schema(input, group_expr, kept, schema)?,
            };
            return Ok(Node { plan: LogicalPlan::Aggregate(plan), columns, changed });
        }
        // Without a group there is one row, which something must still make.
        let kept = if kept.is_empty() && group_expr.is_empty() { vec![count(lit(1_i64))] } else { kept };
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, kept)?);
        let plan = with_nulls(plan, &schema, |position| position >= groups && hidden(position - groups))?;
        Ok(Node { plan, columns, changed: true })
    }

    /// The columns of the group keys. A masked key that other, unmasked keys determine, such as the row's primary key,
    /// makes no groups of its own and passes.
    fn group_columns(&self, group_expr: &[Expr], scope: &Scope<'_>) -> Result<Vec<Lineage>> {
        let keys = grouping_set_to_exprlist(group_expr)?;
        let readings = keys.iter().map(|key| self.read(key, scope)).collect::<Result<Vec<_>>>()?;
        let unmasked = keys.iter().zip(&readings).filter(|(_, reading)| reading.lineage.is_clear());
        let determined = match group_expr {
            [Expr::GroupingSet(_)] => Vec::new(),
            _ => determined_positions(unmasked.map(|(key, _)| *key), scope),
        };
        for (key, reading) in keys.iter().zip(&readings) {
            let position = match key {
                Expr::Column(column) => position_of(column, scope),
                _ => None,
            };
            if !position.is_some_and(|position| determined.contains(&position)) {
                check_equality(&reading.lineage, reading.bare, Use::GroupBy)?;
            }
        }
        Ok(readings.into_iter().map(|reading| reading.lineage).collect())
    }

    pub(super) fn window(&mut self, window: Window, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Window { input, window_expr, schema, .. } = window;
        let input = self.child(input, outer)?;
        let scope = input.scope(outer);
        let (window_expr, entered) = self.enter_all(window_expr, &scope)?;
        let changed = input.changed || entered;
        let carried = window_expr.iter().map(|call| self.call(call, &scope)).collect::<Result<Vec<_>>>()?;
        let calls = window_expr.len();
        let kept: Vec<Expr> = window_expr
            .into_iter()
            .zip(&carried)
            .filter(|(_, lineage)| !lineage.is_restricted())
            .map(|(call, _)| call)
            .collect();
        let inputs = input.columns.len();
        let columns = [input.columns, carried].concat();
        let input = Arc::new(input.plan);
        if kept.len() == calls {
            let plan = match changed {
                true => Window::try_new(kept, input)?,
                false => Window::try_new_with_schema(kept, input, schema)?,
            };
            return Ok(Node { plan: LogicalPlan::Window(plan), columns, changed });
        }
        let plan = match kept.is_empty() {
            true => Arc::unwrap_or_clone(input),
            false => LogicalPlan::Window(Window::try_new(kept, input)?),
        };
        let hidden = |position: usize| position >= inputs && columns.get(position).is_some_and(Lineage::is_restricted);
        let plan = with_nulls(plan, &schema, hidden)?;
        Ok(Node { plan, columns, changed: true })
    }

    /// What the result of an aggregate or window function carries.
    fn call(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Lineage> {
        let mut call = expr;
        while let Expr::Alias(alias) = call {
            call = &alias.expr;
        }
        let (counts, distinct, args) = match call {
            Expr::AggregateFunction(function) => {
                let AggregateFunctionParams { args, filter, order_by, distinct, .. } = &function.params;
                self.check_order(order_by, scope)?;
                self.check_filter(filter.as_deref(), scope)?;
                (function.func.name() == "count", *distinct, args)
            }
            Expr::WindowFunction(function) => {
                let WindowFunctionParams { args, partition_by, order_by, filter, distinct, .. } = &function.params;
                self.check_keys(partition_by, scope, Use::PartitionBy)?;
                self.check_order(order_by, scope)?;
                self.check_filter(filter.as_deref(), scope)?;
                let counts = matches!(&function.fun, WindowFunctionDefinition::AggregateUDF(f) if f.name() == "count");
                (counts, *distinct, args)
            }
            _ => return Err(refuse::ungoverned("an aggregate of an unknown form")),
        };
        let mut carried = Lineage::default();
        let mut declassified = counts;
        for arg in args {
            let reading = self.read(arg, scope)?;
            // Distinct values of two columns, counted together, would tell which of them are equal.
            let is_value = reading.bare && reading.lineage.is_value_of(if distinct { 1 } else { usize::MAX });
            declassified &= is_value || !reading.lineage.is_restricted();
            if counts && distinct {
                check_equality(&reading.lineage, reading.bare, Use::CountDistinct)?;
            }
            carried.compute_with(&reading.lineage);
        }
        Ok(if declassified { Lineage::default() } else { carried })
    }

    fn check_filter(&self, filter: Option<&Expr>, scope: &Scope<'_>) -> Result<()> {
        filter.map_or(Ok(()), |filter| self.check_condition(filter, scope, Use::Filter))
    }
}

/// A projection that returns the columns of `schema` from `plan`, by name, and typed NULLs for the hidden ones.
fn with_nulls(plan: LogicalPlan, schema: &DFSchemaRef, hidden: impl Fn(usize) -> bool) -> Result<LogicalPlan> {
    let exprs = schema.iter().enumerate().map(|(position, output)| match hidden(position) {
        true => null_like(output),
        false => Ok(Expr::Column(Column::from(output))),
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn position_of(column: &Column, scope: &Scope<'_>) -> Option<usize> {
    scope.parts.first()?.schema.maybe_index_of_column(column)
}

/// The input's columns that have one value for each combination of the keys given.
fn determined_positions<'e>(keys: impl Iterator<Item = &'e Expr>, scope: &Scope<'_>) -> Vec<usize> {
    let Some(part) = scope.parts.first() else { return Vec::new() };
    let keys: Vec<usize> = keys
        .filter_map(|key| match key {
            Expr::Column(column) => position_of(column, scope),
            _ => None,
        })
        .collect();
    let dependencies = part.schema.functional_dependencies().iter();
    let held = dependencies
        .filter(|dependence| !dependence.nullable && dependence.source_indices.iter().all(|key| keys.contains(key)));
    held.flat_map(|dependence| dependence.target_indices.iter().copied()).collect()
}
