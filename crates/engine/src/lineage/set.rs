//! Set operations, DISTINCT and recursion: where columns meet by position.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, NullEquality, Result},
    logical_expr::{Distinct, DistinctOn, JoinType, LogicalPlan, RecursiveQuery, TableScan, Union},
};

use super::{
    expression::null_like,
    node::{Node, Tracer},
    predicate::check_equality,
    refuse::{self, Use},
    scope::Scope,
    source::Lineage,
};

/// Rounds of a recursive query before lineage gives up: its lattice is a few steps high for each column.
const ROUNDS_MAX: usize = 256;

/// INTERSECT and EXCEPT are planned as joins that take NULLs for equal.
pub(super) fn operation_of(join_type: JoinType, null_equality: NullEquality) -> Option<Use> {
    match (join_type, null_equality) {
        (JoinType::LeftSemi, NullEquality::NullEqualsNull) => Some(Use::Intersect),
        (JoinType::LeftAnti, NullEquality::NullEqualsNull) => Some(Use::Except),
        _ => None,
    }
}

/// What columns carry where rows of two inputs stand under each other.
pub(super) fn meet_columns(met: Option<Vec<Lineage>>, next: Vec<Lineage>) -> Vec<Lineage> {
    let Some(mut met) = met else { return next };
    met.iter_mut().zip(&next).for_each(|(one, two)| one.meet(two));
    met
}

impl Tracer<'_> {
    pub(super) fn union(&mut self, union: Union, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Union { inputs, schema } = union;
        let mut columns = None;
        let mut changed = false;
        let mut plans = Vec::with_capacity(inputs.len());
        for input in inputs {
            let node = self.child(input, outer)?;
            if node.columns.len() != schema.fields().len() {
                return Err(refuse::ungoverned("UNION"));
            }
            columns = Some(meet_columns(columns, node.columns));
            changed |= node.changed;
            plans.push(Arc::new(node.plan));
        }
        let schema = if changed { Arc::new(nullable_where_inputs_are(&schema, &plans)?) } else { schema };
        let plan = LogicalPlan::Union(Union { inputs: plans, schema });
        Ok(Node { plan, columns: columns.unwrap_or_default(), changed })
    }

    pub(super) fn distinct(&mut self, distinct: Distinct, outer: Option<&Scope<'_>>) -> Result<Node> {
        match distinct {
            Distinct::All(input) => {
                let used_in = match (self.set_operation.take(), input.as_ref()) {
                    (Some(operation), _) => operation,
                    (None, LogicalPlan::Union(_)) => Use::Union,
                    (None, _) => Use::Distinct,
                };
                let Node { plan, columns, changed } = self.child(input, outer)?;
                columns.iter().try_for_each(|lineage| check_equality(lineage, true, used_in))?;
                Ok(Node { plan: LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), columns, changed })
            }
            Distinct::On(on) => self.distinct_on(on, outer),
        }
    }

    fn distinct_on(&mut self, distinct: DistinctOn, outer: Option<&Scope<'_>>) -> Result<Node> {
        let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
        let input = self.child(input, outer)?;
        let scope = input.scope(outer);
        let (on_expr, on_entered) = self.enter_all(on_expr, &scope)?;
        let (mut select_expr, select_entered) = self.enter_all(select_expr, &scope)?;
        self.check_keys(&on_expr, &scope, Use::DistinctOn)?;
        let sort_expr = match sort_expr {
            Some(mut order) => {
                for sort in &mut order {
                    sort.expr = self.enter(std::mem::take(&mut sort.expr), &scope)?.0;
                }
                self.check_order(&order, &scope)?;
                Some(order)
            }
            None => None,
        };
        let mut columns = Vec::with_capacity(select_expr.len());
        for (expr, output) in select_expr.iter_mut().zip(schema.iter()) {
            let reading = self.read(expr, &scope)?;
            if reading.must_not_run() {
                *expr = null_like(output)?;
            }
            columns.push(reading.lineage);
        }
        let changed =
            input.changed || on_entered || select_entered || columns.iter().any(|lineage| !lineage.is_clear());
        let plan = DistinctOn::try_new(on_expr, select_expr, sort_expr, Arc::new(input.plan))?;
        Ok(Node { plan: LogicalPlan::Distinct(Distinct::On(plan)), columns, changed })
    }

    /// Traces the recursive term until what its rows carry no longer grows.
    pub(super) fn recursive_query(&mut self, query: RecursiveQuery, outer: Option<&Scope<'_>>) -> Result<Node> {
        let RecursiveQuery { name, static_term, recursive_term, is_distinct, .. } = query;
        let first = self.child(static_term, outer)?;
        let mut columns = first.columns;
        for _ in 0..ROUNDS_MAX {
            self.work_tables.push((name.clone(), columns.clone()));
            let next = self.child(Arc::clone(&recursive_term), outer);
            self.work_tables.pop();
            let next = next?;
            let before = height(&columns);
            columns = meet_columns(Some(columns), next.columns);
            if height(&columns) > before {
                continue;
            }
            if is_distinct {
                columns.iter().try_for_each(|lineage| check_equality(lineage, true, Use::Union))?;
            }
            let changed = first.changed || next.changed;
            let (first, next) = (Arc::new(first.plan), Arc::new(next.plan));
            let plan = LogicalPlan::RecursiveQuery(RecursiveQuery::try_new(name, first, next, is_distinct)?);
            return Ok(Node { plan, columns, changed });
        }
        Err(refuse::ungoverned("a recursive query"))
    }

    /// A recursive query's scan of its own previous rows.
    pub(super) fn work_table_scan(&self, name: &str, scan: TableScan) -> Result<Node> {
        let known = self.work_tables.iter().rev().find(|(known, _)| known == name);
        let Some((_, columns)) = known else { return Err(refuse::ungoverned("a recursive query")) };
        let columns = match &scan.projection {
            None => columns.clone(),
            Some(positions) => {
                let column = |position: &usize| columns.get(*position).cloned();
                let projected: Option<Vec<Lineage>> = positions.iter().map(column).collect();
                projected.ok_or_else(|| refuse::ungoverned("a recursive query"))?
            }
        };
        Ok(Node { plan: LogicalPlan::TableScan(scan), columns, changed: false })
    }
}

fn height(columns: &[Lineage]) -> usize {
    columns.iter().map(Lineage::height).sum()
}

/// A union's schema is settled by analysis; only its nullability may have to follow its inputs.
fn nullable_where_inputs_are(schema: &DFSchema, inputs: &[Arc<LogicalPlan>]) -> Result<DFSchema> {
    let fields = schema.iter().enumerate().map(|(position, (qualifier, field))| {
        let nullable = |input: &Arc<LogicalPlan>| input.schema().fields().get(position).is_none_or(|f| f.is_nullable());
        let nullable = field.is_nullable() || inputs.iter().any(nullable);
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())
}
