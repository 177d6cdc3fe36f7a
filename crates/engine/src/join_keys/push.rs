//! Where the keys of a join's build side go: down its probe side to the scans that the key column comes from.
//!
//! Every step is one that a filter on the column may take. Columns are followed by their place, never by their name.

use std::sync::Arc;

use datafusion::{
    common::{
        DataFusionError, JoinType, NullEquality,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, aggregates::AggregateExec, coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec, filter::FilterExec, joins::HashJoinExec, projection::ProjectionExec,
        recursive_query::RecursiveQueryExec, repartition::RepartitionExec, replace_children_if_necessary,
        sorts::sort::SortExec,
    },
};

use super::{JoinKeys, gather::GatherKeysExec, is_key_type};
use crate::scan::ScanExec;

type Plan = Arc<dyn ExecutionPlan>;

/// Runs last: the plan's distribution and order are settled, and these nodes change neither.
#[derive(Debug)]
pub(crate) struct PushJoinKeys;

impl PhysicalOptimizerRule for PushJoinKeys {
    fn name(&self) -> &str {
        "push_join_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan, DataFusionError> {
        let joins = plan.exists(|node| Ok(node.is::<HashJoinExec>()))?;
        // A recursive term runs its joins anew with other rows.
        if !joins || plan.exists(|node| Ok(node.is::<RecursiveQueryExec>()))? {
            return Ok(plan);
        }
        plan.transform_up(|node| Ok(gathering(&node)?.map_or_else(|| Transformed::no(node), Transformed::yes))).data()
    }
}

/// The join with keys gathered on its build side, if a scan of its probe side can use them.
fn gathering(node: &Plan) -> Result<Option<Plan>, DataFusionError> {
    let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(None) };
    let drops_unmatched = matches!(
        join.join_type(),
        JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::RightSemi
    );
    if !drops_unmatched || !equality_only(join) {
        return Ok(None);
    }
    let schema = join.left().schema();
    let mut probe = Arc::clone(join.right());
    let mut columns = Vec::new();
    for (left, right) in join.on() {
        let (Some(left), Some(right)) = (place(left), place(right)) else { continue };
        let same = schema.field(left).data_type() == probe.schema().field(right).data_type();
        if !same || !is_key_type(schema.field(left).data_type()) {
            continue;
        }
        let keys = Arc::new(JoinKeys::new(join.left().output_partitioning().partition_count()));
        if let Some(pushed) = push(&probe, right, &keys)? {
            probe = pushed;
            columns.push((left, keys));
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let build: Plan = Arc::new(GatherKeysExec::new(Arc::clone(join.left()), columns.into()));
    replace_children_if_necessary(Arc::clone(node), vec![build, probe]).map(Some)
}

/// NULL equals nothing, not even for a `NOT IN`.
fn equality_only(join: &HashJoinExec) -> bool {
    join.null_equality() == NullEquality::NullEqualsNothing && !join.null_aware
}

fn place(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The plan with the keys of one of its columns at the scans below; None when they reach none.
fn push(plan: &Plan, column: usize, keys: &Arc<JoinKeys>) -> Result<Option<Plan>, DataFusionError> {
    if plan.fetch().is_some() {
        return Ok(None);
    }
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        return Ok(scan.with_keys(column, keys)?.map(|scan| Arc::new(scan) as Plan));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return through_join(plan, join, column, keys);
    }
    let Some(column) = below(plan.as_ref(), column) else { return Ok(None) };
    let [input] = plan.children()[..] else { return Ok(None) };
    match push(input, column, keys)? {
        Some(input) => replace_children_if_necessary(Arc::clone(plan), vec![input]).map(Some),
        None => Ok(None),
    }
}

/// The input's column that an output column is, where a filter on it may run below the node.
fn below(node: &dyn ExecutionPlan, column: usize) -> Option<usize> {
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        return match filter.projection() {
            Some(projection) => projection.get(column).copied(),
            None => Some(column),
        };
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        return place(&projection.expr().get(column)?.expr);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        // Whole groups are left out; a limit on groups would then take others.
        let keys = aggregate.group_expr();
        let plain = keys.is_single() && aggregate.limit_options().is_none();
        return if plain { place(&keys.expr().get(column)?.0) } else { None };
    }
    let passes = node.is::<RepartitionExec>()
        || node.is::<CoalescePartitionsExec>()
        || node.is::<CooperativeExec>()
        || node.is::<SortExec>()
        || node.is::<GatherKeysExec>();
    passes.then_some(column)
}

/// Into the side that the column comes from, and by the join's own equality into the other as well.
fn through_join(
    plan: &Plan,
    join: &HashJoinExec,
    column: usize,
    keys: &Arc<JoinKeys>,
) -> Result<Option<Plan>, DataFusionError> {
    let column = match &join.projection {
        Some(projection) => projection.get(column).copied(),
        None => Some(column),
    };
    let width = join.left().schema().fields().len();
    let side = column.and_then(|column| preserved(*join.join_type(), column, width));
    let Some((from_left, column)) = side.filter(|_| equality_only(join)) else { return Ok(None) };
    let (mut left, mut right) = (None, None);
    let own = if from_left { (&mut left, join.left()) } else { (&mut right, join.right()) };
    *own.0 = push(own.1, column, keys)?;
    let pairs = join.on().iter().filter_map(|(left, right)| place(left).zip(place(right)));
    let mut pairs = pairs.map(|(left, right)| if from_left { (left, right) } else { (right, left) });
    if let Some((_, partner)) = pairs.find(|(mine, _)| *mine == column) {
        let other = if from_left { (&mut right, join.right()) } else { (&mut left, join.left()) };
        *other.0 = push(other.1, partner, keys)?;
    }
    if left.is_none() && right.is_none() {
        return Ok(None);
    }
    let children =
        vec![left.unwrap_or_else(|| Arc::clone(join.left())), right.unwrap_or_else(|| Arc::clone(join.right()))];
    replace_children_if_necessary(Arc::clone(plan), children).map(Some)
}

/// Whether a join's output column comes from its left side, and its place there; None where leaving rows out of that
/// side would make rows.
fn preserved(join_type: JoinType, column: usize, width: usize) -> Option<(bool, usize)> {
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
            if column < width =>
        {
            Some((true, column))
        }
        JoinType::Inner | JoinType::Right => Some((false, column.checked_sub(width)?)),
        JoinType::RightSemi | JoinType::RightAnti => Some((false, column)),
        _ => None,
    }
}
