//! The walk: each node of a plan, its inputs first.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Analyze, Explain, Expr, Extension, Filter, Join, JoinType, Limit, LogicalPlan, Partitioning, Projection,
        Repartition, Sort, Subquery, SubqueryAlias, Unnest, Values,
    },
};

use super::{
    MaskedScans,
    expression::{TracedSubqueries, null_like, null_of},
    predicate::check_any,
    refuse::{self, Use},
    scope::{Part, Scope},
    set,
    source::Lineage,
};
use crate::mask::MaskKey;

/// A traced node: its rewritten plan, and what each of its columns carries.
#[derive(Debug)]
pub(super) struct Node {
    pub plan: LogicalPlan,
    pub columns: Vec<Lineage>,
    /// The plan is not what it was, and schemas above it must be computed anew.
    pub changed: bool,
}

impl Node {
    pub(super) fn part(&self) -> Part<'_> {
        Part { schema: self.plan.schema(), columns: &self.columns }
    }

    pub(super) fn scope<'a>(&'a self, outer: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { parts: vec![self.part()], outer }
    }
}

pub(super) struct Tracer<'a> {
    pub(super) scans: &'a dyn MaskedScans,
    pub(super) key: &'a MaskKey,
    pub(super) subqueries: TracedSubqueries,
    /// Recursive queries being traced, and what their previous rows carry.
    pub(super) work_tables: Vec<(String, Vec<Lineage>)>,
    /// The set operation whose side is traced next, to name the DISTINCT that it is planned as.
    pub(super) set_operation: Option<Use>,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(scans: &'a dyn MaskedScans, key: &'a MaskKey) -> Tracer<'a> {
        Tracer { scans, key, subqueries: TracedSubqueries::new(), work_tables: Vec::new(), set_operation: None }
    }

    /// Traces a plan. The walk goes through DataFusion's own traversal, one node at a time, because that grows the
    /// stack for plans of any depth.
    pub(super) fn node(&mut self, plan: LogicalPlan, outer: Option<&Scope<'_>>) -> Result<Node> {
        let mut traced = None;
        let plan = plan.transform_down(|plan| {
            let node = self.visit(plan, outer)?;
            traced = Some((node.columns, node.changed));
            Ok(Transformed::new(node.plan, true, TreeNodeRecursion::Jump))
        })?;
        match traced {
            Some((columns, changed)) if columns.len() == plan.data.schema().fields().len() => {
                Ok(Node { plan: plan.data, columns, changed })
            }
            _ => Err(refuse::ungoverned(plan.data.display().to_string().split(':').next().unwrap_or("a node"))),
        }
    }

    pub(super) fn child(&mut self, plan: Arc<LogicalPlan>, outer: Option<&Scope<'_>>) -> Result<Node> {
        self.node(Arc::unwrap_or_clone(plan), outer)
    }

    fn visit(&mut self, plan: LogicalPlan, outer: Option<&Scope<'_>>) -> Result<Node> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Extension(extension) if self.scans.is_barrier(extension.node.as_ref()) => {
                self.barrier(extension)
            }
            LogicalPlan::Extension(extension) => self.extension(extension, outer),
            LogicalPlan::Projection(projection) => self.projection(projection, outer),
            LogicalPlan::Filter(filter) => self.filter(filter, outer),
            LogicalPlan::Sort(sort) => self.sort(sort, outer),
            LogicalPlan::Limit(limit) => self.limit(limit, outer),
            LogicalPlan::Repartition(repartition) => self.repartition(repartition, outer),
            LogicalPlan::Subquery(subquery) => self.lateral(subquery, outer),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, outer),
            LogicalPlan::Join(join) => self.join(join, outer),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, outer),
            LogicalPlan::Window(window) => self.window(window, outer),
            LogicalPlan::Union(union) => self.union(union, outer),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct, outer),
            LogicalPlan::RecursiveQuery(query) => self.recursive_query(query, outer),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, outer),
            LogicalPlan::Values(values) => self.values(values, outer),
            LogicalPlan::Explain(explain) => self.explain(explain, outer),
            LogicalPlan::Analyze(analyze) => self.analyze(analyze, outer),
            plan @ (LogicalPlan::EmptyRelation(_) | LogicalPlan::DescribeTable(_)) => Ok(clear(plan, false)),
            plan @ (LogicalPlan::Statement(_) | LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_)) => {
                Err(refuse::ungoverned(plan.display().to_string().split(':').next().unwrap_or("a statement")))
            }
        }
    }

    fn projection(&mut self, projection: Projection, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Projection { expr, input, schema, .. } = projection;
        let input = self.child(input, outer)?;
        let scope = input.scope(outer);
        let (mut exprs, entered) = self.enter_all(expr, &scope)?;
        let mut changed = input.changed || entered;
        let mut columns = Vec::with_capacity(exprs.len());
        for (expr, output) in exprs.iter_mut().zip(schema.iter()) {
            let reading = self.read(expr, &scope)?;
            if reading.must_not_run() {
                *expr = null_like(output)?;
                changed = true;
            }
            columns.push(reading.lineage);
        }
        let input = Arc::new(input.plan);
        let projection = match changed {
            true => Projection::try_new(exprs, input)?,
            false => Projection::try_new_with_schema(exprs, input, schema)?,
        };
        Ok(Node { plan: LogicalPlan::Projection(projection), columns, changed })
    }

    fn filter(&mut self, filter: Filter, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Filter { predicate, input, .. } = filter;
        let used_in = match input.as_ref() {
            LogicalPlan::Aggregate(_) => Use::Having,
            LogicalPlan::Window(_) => Use::Qualify,
            _ => Use::Where,
        };
        let Node { plan, columns, changed } = self.child(input, outer)?;
        let scope = Scope { parts: vec![Part { schema: plan.schema(), columns: &columns }], outer };
        let (predicate, entered) = self.enter(predicate, &scope)?;
        self.check_condition(&predicate, &scope, used_in)?;
        let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
        Ok(Node { plan, columns, changed: changed || entered })
    }

    fn sort(&mut self, sort: Sort, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Sort { mut expr, input, fetch } = sort;
        let Node { plan, columns, mut changed } = self.child(input, outer)?;
        let scope = Scope { parts: vec![Part { schema: plan.schema(), columns: &columns }], outer };
        for sort in &mut expr {
            let (entered, is_new) = self.enter(std::mem::take(&mut sort.expr), &scope)?;
            sort.expr = entered;
            changed |= is_new;
        }
        self.check_order(&expr, &scope)?;
        Ok(Node { plan: LogicalPlan::Sort(Sort { expr, input: Arc::new(plan), fetch }), columns, changed })
    }

    fn limit(&mut self, limit: Limit, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Limit { skip, fetch, input } = limit;
        let Node { plan, columns, mut changed } = self.child(input, outer)?;
        let scope = Scope { parts: vec![Part { schema: plan.schema(), columns: &columns }], outer };
        let mut bound = |bound: Option<Box<Expr>>| {
            let Some(bound) = bound else { return Ok::<_, datafusion::error::DataFusionError>(None) };
            let (bound, is_new) = self.enter(*bound, &scope)?;
            changed |= is_new;
            check_any(&self.read(&bound, &scope)?.lineage, Use::Limit)?;
            Ok(Some(Box::new(bound)))
        };
        let (skip, fetch) = (bound(skip)?, bound(fetch)?);
        Ok(Node { plan: LogicalPlan::Limit(Limit { skip, fetch, input: Arc::new(plan) }), columns, changed })
    }

    fn repartition(&mut self, repartition: Repartition, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Repartition { input, partitioning_scheme } = repartition;
        let Node { plan, columns, changed } = self.child(input, outer)?;
        let scope = Scope { parts: vec![Part { schema: plan.schema(), columns: &columns }], outer };
        match &partitioning_scheme {
            Partitioning::RoundRobinBatch(_) => {}
            Partitioning::Hash(keys, _) | Partitioning::DistributeBy(keys) => {
                self.check_keys(keys, &scope, Use::DistributeBy)?;
            }
            Partitioning::Range(range) => self.check_order(range.ordering(), &scope)?,
        }
        let plan = LogicalPlan::Repartition(Repartition { input: Arc::new(plan), partitioning_scheme });
        Ok(Node { plan, columns, changed })
    }

    /// A lateral subquery: what it names outside itself is the left side of its join, which is its outer scope.
    fn lateral(&mut self, subquery: Subquery, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Subquery { subquery, outer_ref_columns, spans } = subquery;
        let Node { plan, columns, changed } = self.child(subquery, outer)?;
        let outer_ref_columns = if changed { plan.all_out_ref_exprs() } else { outer_ref_columns };
        if outer_ref_columns.is_empty() {
            // What named the outer query is gone: an ordinary join is left, and nothing to decorrelate.
            return Ok(Node { plan, columns, changed: true });
        }
        let plan = LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans });
        Ok(Node { plan, columns, changed })
    }

    fn alias(&mut self, alias: SubqueryAlias, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Node { plan, columns, changed } = self.child(Arc::clone(&alias.input), outer)?;
        let input = Arc::new(plan);
        let alias = match changed {
            true => SubqueryAlias::try_new(input, alias.alias)?,
            false => {
                let mut alias = alias;
                alias.input = input;
                alias
            }
        };
        Ok(Node { plan: LogicalPlan::SubqueryAlias(alias), columns, changed })
    }

    fn join(&mut self, join: Join, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Join { left, right, mut on, mut filter, join_type, join_constraint, schema, null_equality, null_aware } =
            join;
        let set_operation = set::operation_of(join_type, null_equality);
        self.set_operation = set_operation;
        let left = self.child(left, outer)?;
        self.set_operation = None;
        let right = self.child(right, Some(&left.scope(outer)))?;
        let mut changed = left.changed || right.changed;
        let used_in = set_operation.unwrap_or(Use::Join);
        let both = Scope { parts: vec![left.part(), right.part()], outer };
        for (one, two) in &mut on {
            for (side, node) in [(one, &left), (two, &right)] {
                let scope = node.scope(outer);
                let (entered, is_new) = self.enter(std::mem::take(side), &scope)?;
                self.check_key(&entered, &scope, used_in)?;
                *side = entered;
                changed |= is_new;
            }
        }
        if let Some(condition) = filter.take() {
            let (entered, is_new) = self.enter(condition, &both)?;
            self.check_condition(&entered, &both, used_in)?;
            filter = Some(entered);
            changed |= is_new;
        }
        let columns = join_columns(join_type, &left.columns, &right.columns);
        let (left, right) = (Arc::new(left.plan), Arc::new(right.plan));
        let plan = LogicalPlan::Join(Join {
            left,
            right,
            on,
            filter,
            join_type,
            join_constraint,
            schema,
            null_equality,
            null_aware,
        });
        Ok(Node { plan: if changed { plan.recompute_schema()? } else { plan }, columns, changed })
    }

    /// How many rows a list unnests to is told by its length, so that a masked list chooses rows.
    fn unnest(&mut self, unnest: Unnest, outer: Option<&Scope<'_>>) -> Result<Node> {
        let input = self.child(Arc::clone(&unnest.input), outer)?;
        let scope = input.scope(outer);
        for column in &unnest.exec_columns {
            check_any(&scope.column(column)?, Use::Unnest)?;
        }
        let mut columns = Vec::with_capacity(unnest.dependency_indices.len());
        for position in &unnest.dependency_indices {
            columns.push(input.columns.get(*position).cloned().ok_or_else(|| refuse::ungoverned("UNNEST"))?);
        }
        let changed = input.changed;
        let plan = LogicalPlan::Unnest(Unnest { input: Arc::new(input.plan), ..unnest });
        Ok(Node { plan: if changed { plan.recompute_schema()? } else { plan }, columns, changed })
    }

    fn values(&mut self, values: Values, outer: Option<&Scope<'_>>) -> Result<Node> {
        let Values { schema, values } = values;
        let scope = Scope { parts: Vec::new(), outer };
        let mut columns: Option<Vec<Lineage>> = None;
        let mut changed = false;
        let mut rows = Vec::with_capacity(values.len());
        for row in values {
            let (mut row, entered) = self.enter_all(row, &scope)?;
            changed |= entered;
            let mut carried = Vec::with_capacity(row.len());
            for (cell, field) in row.iter_mut().zip(schema.fields()) {
                let reading = self.read(cell, &scope)?;
                if reading.must_not_run() {
                    *cell = null_of(field.data_type())?;
                    changed = true;
                }
                carried.push(reading.lineage);
            }
            columns = Some(set::meet_columns(columns, carried));
            rows.push(row);
        }
        let plan = LogicalPlan::Values(Values { schema, values: rows });
        Ok(Node { plan, columns: columns.unwrap_or_default(), changed })
    }

    /// A node that lineage does not know: everything may come from everything, and may decide by it.
    fn extension(&mut self, extension: Extension, outer: Option<&Scope<'_>>) -> Result<Node> {
        let mut read = Lineage::default();
        let mut inputs = Vec::new();
        let mut changed = false;
        for input in extension.node.inputs() {
            let node = self.node(input.clone(), outer)?;
            node.columns.iter().for_each(|lineage| read.compute_with(lineage));
            changed |= node.changed;
            inputs.push(node.plan);
        }
        if read.is_restricted() {
            return Err(refuse::ungoverned(extension.node.name()));
        }
        let width = extension.node.schema().fields().len();
        let plan = match changed {
            true => {
                let node = extension.node.with_exprs_and_inputs(extension.node.expressions(), inputs)?;
                LogicalPlan::Extension(Extension { node })
            }
            false => LogicalPlan::Extension(extension),
        };
        Ok(Node { plan, columns: vec![read; width], changed })
    }

    fn explain(&mut self, explain: Explain, outer: Option<&Scope<'_>>) -> Result<Node> {
        let node = self.child(Arc::clone(&explain.plan), outer)?;
        Ok(clear(LogicalPlan::Explain(Explain { plan: Arc::new(node.plan), ..explain }), node.changed))
    }

    fn analyze(&mut self, analyze: Analyze, outer: Option<&Scope<'_>>) -> Result<Node> {
        let node = self.child(Arc::clone(&analyze.input), outer)?;
        Ok(clear(LogicalPlan::Analyze(Analyze { input: Arc::new(node.plan), ..analyze }), node.changed))
    }
}

fn clear(plan: LogicalPlan, changed: bool) -> Node {
    let columns = vec![Lineage::default(); plan.schema().fields().len()];
    Node { plan, columns, changed }
}

fn join_columns(join_type: JoinType, left: &[Lineage], right: &[Lineage]) -> Vec<Lineage> {
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => [left, right].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti => left.to_vec(),
        JoinType::RightSemi | JoinType::RightAnti => right.to_vec(),
        JoinType::LeftMark => [left, &[Lineage::default()]].concat(),
        JoinType::RightMark => [right, &[Lineage::default()]].concat(),
    }
}
