//! The order of inner joins, from the tables' statistics.
//!
//! DataFusion joins in the order the text names the tables and only chooses which side to build. This rule takes each
//! maximal tree of inner equi-joins, estimates its inputs (`cardinality`), and joins again greedily: of all connected
//! pairs the one with the smallest result first, until one is left (greedy operator ordering, Fegaras 1998). Bushy
//! trees come out where they are smaller. Only the order changes: the same inputs, the same conditions.

mod cardinality;

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{
        Column, DataFusionError, JoinType, NullEquality,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, Filter, Join, JoinConstraint, LogicalPlan, Projection, utils::conjunction},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};
use weir_store::Version;

use self::cardinality::{Estimate, Estimator};

/// Fewer inputs have nothing to order; more than this cost more to order than they save.
const INPUTS: std::ops::RangeInclusive<usize> = 3..=24;

/// Runs in the optimiser's first pass, after filters went down and before columns are pruned.
#[derive(Debug)]
pub(crate) struct JoinOrder {
    version: Arc<Version>,
}

impl JoinOrder {
    pub(crate) fn new(version: Arc<Version>) -> JoinOrder {
        JoinOrder { version }
    }
}

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    /// The rule walks the plan itself: a tree of joins is taken whole, from its top.
    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        self.order(plan)
    }
}

impl JoinOrder {
    fn order(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        let mut graph = Graph::default();
        if matches!(&plan, LogicalPlan::Join(join) if is_reorderable(join)) {
            graph.collect(&plan);
        }
        if !INPUTS.contains(&graph.inputs.len()) || !graph.conditions_are_known() {
            let inputs = plan.map_children(|child| self.order(child))?;
            return inputs.transform_data(|plan| plan.map_subqueries(|subquery| self.order(subquery)));
        }
        let inputs = std::mem::take(&mut graph.inputs).into_iter();
        graph.inputs = inputs.map(|input| self.order(input).map(|done| done.data)).collect::<Result<_, _>>()?;
        match graph.reorder(&Estimator::new(&self.version))? {
            Some(reordered) => Ok(Transformed::yes(with_columns_of(reordered, &plan)?)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

fn is_reorderable(join: &Join) -> bool {
    join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNothing
        && join.join_constraint == JoinConstraint::On
        && !join.on.is_empty()
        && join.on.iter().all(|(left, right)| column(left).is_some() && column(right).is_some())
}

fn column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// Puts the columns back into the order in which the tree gave them.
fn with_columns_of(reordered: LogicalPlan, original: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    if reordered.schema() == original.schema() {
        return Ok(reordered);
    }
    let columns = original.schema().columns().into_iter().map(Expr::Column).collect();
    Projection::try_new(columns, Arc::new(reordered)).map(LogicalPlan::Projection)
}

/// The inputs of a tree of inner joins and the conditions between them.
#[derive(Default)]
struct Graph {
    inputs: Vec<LogicalPlan>,
    equalities: Vec<(Column, Column)>,
    filters: Vec<Expr>,
}

/// A part of the tree that is already joined.
struct Part {
    plan: LogicalPlan,
    estimate: Estimate,
    columns: HashSet<Column>,
}

impl Graph {
    fn collect(&mut self, plan: &LogicalPlan) {
        match plan {
            LogicalPlan::Join(join) if is_reorderable(join) => {
                self.collect(&join.left);
                self.collect(&join.right);
                let pairs = join.on.iter().filter_map(|(left, right)| column(left).zip(column(right)));
                self.equalities.extend(pairs.map(|(left, right)| (left.clone(), right.clone())));
                self.filters.extend(join.filter.clone());
            }
            other => self.inputs.push(other.clone()),
        }
    }

    /// Every condition reads columns of the inputs, and each column belongs to one input alone.
    fn conditions_are_known(&self) -> bool {
        let mut known = HashSet::new();
        let distinct = self.inputs.iter().flat_map(|input| input.schema().columns()).all(|column| known.insert(column));
        distinct
            && self.equalities.iter().all(|(left, right)| known.contains(left) && known.contains(right))
            && self.filters.iter().all(|filter| filter.column_refs().into_iter().all(|column| known.contains(column)))
    }

    /// None when the conditions leave the inputs unconnected, or the order is already the one found.
    fn reorder(self, estimator: &Estimator<'_>) -> Result<Option<LogicalPlan>, DataFusionError> {
        let Graph { inputs, equalities, mut filters } = self;
        let mut parts: Vec<Part> = inputs
            .into_iter()
            .map(|plan| Part {
                estimate: estimator.estimate(&plan),
                columns: plan.schema().columns().into_iter().collect(),
                plan,
            })
            .collect();
        while parts.len() > 1 {
            let Some((left, right)) = cheapest_pair(&parts, &equalities) else { return Ok(None) };
            let later = parts.swap_remove(left.max(right));
            let earlier = parts.swap_remove(left.min(right));
            parts.push(join(earlier, later, &equalities, &mut filters)?);
        }
        let Some(whole) = parts.pop() else { return Ok(None) };
        // A filter over a single input stands here only when it could not go down; it holds over the whole as well.
        Ok(Some(match conjunction(filters) {
            Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(whole.plan))?),
            None => whole.plan,
        }))
    }
}

fn between<'a>(
    left: &'a Part,
    right: &'a Part,
    equalities: &'a [(Column, Column)],
) -> impl Iterator<Item = (Column, Column)> {
    equalities.iter().filter_map(|(one, other)| {
        if left.columns.contains(one) && right.columns.contains(other) {
            Some((one.clone(), other.clone()))
        } else if left.columns.contains(other) && right.columns.contains(one) {
            Some((other.clone(), one.clone()))
        } else {
            None
        }
    })
}

fn cheapest_pair(parts: &[Part], equalities: &[(Column, Column)]) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (i, left) in parts.iter().enumerate() {
        for (j, right) in parts.iter().enumerate().skip(i + 1) {
            let on: Vec<(Column, Column)> = between(left, right, equalities).collect();
            if on.is_empty() {
                continue;
            }
            let rows = left.estimate.joined_rows(&right.estimate, &on);
            // Of equal results, the one whose inputs are smaller.
            let cost = rows + (left.estimate.rows + right.estimate.rows) * 1e-6;
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, i, j));
            }
        }
    }
    best.map(|(_, i, j)| (i, j))
}

/// The smaller part comes left: that side is built.
fn join(
    one: Part,
    other: Part,
    equalities: &[(Column, Column)],
    filters: &mut Vec<Expr>,
) -> Result<Part, DataFusionError> {
    let (left, right) = if one.estimate.rows <= other.estimate.rows { (one, other) } else { (other, one) };
    let on: Vec<(Column, Column)> = between(&left, &right, equalities).collect();
    let estimate = left.estimate.join(&right.estimate, &on);
    let columns: HashSet<Column> = left.columns.union(&right.columns).cloned().collect();
    let (mine, rest): (Vec<Expr>, Vec<Expr>) = std::mem::take(filters)
        .into_iter()
        .partition(|filter| filter.column_refs().into_iter().all(|column| columns.contains(column)));
    *filters = rest;
    let on = on.into_iter().map(|(left, right)| (Expr::Column(left), Expr::Column(right))).collect();
    let plan = Join::try_new(
        Arc::new(left.plan),
        Arc::new(right.plan),
        on,
        conjunction(mine),
        JoinType::Inner,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(Part { plan: LogicalPlan::Join(plan), estimate, columns })
}
