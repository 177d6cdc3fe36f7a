//! Joins that compare every pair of rows, or many.
//!
//! DataFusion's operators give way between batches. A join whose filter lets little through may go through billions of
//! pairs before it has a batch, and until then neither yields nor notices that nobody waits for it any more. Here every
//! such join gets two things:
//!
//! - its filter first asks whether the statement was stopped, each time it is evaluated, which is for a few thousand
//!   pairs; so a cancelled statement leaves its thread at once;
//! - it is polled beside the runtime's workers ([`tokio::task::block_in_place`]), so that a statement which is *not*
//!   stopped keeps no other from running.
//!
//! Cross joins have no filter but many batches: they only need to give way between them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{
        DataFusionError, internal_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        coop::{CooperativeExec, cooperative},
        joins::{
            CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
            utils::JoinFilter,
        },
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{
    error::external,
    run::{canceled, timed_out},
};

type Plan = Arc<dyn ExecutionPlan>;

/// When a statement is to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Cancelled too when nobody takes the rows any more.
    pub cancelled: CancellationToken,
    pub deadline: Option<Instant>,
}

impl Stop {
    fn check(&self) -> Result<(), DataFusionError> {
        if self.cancelled.is_cancelled() {
            return Err(external(canceled()));
        }
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(external(timed_out())),
            _ => Ok(()),
        }
    }
}

/// The plan with its long joins stoppable.
pub(crate) fn stoppable(plan: Plan, stop: &Stop) -> Result<Plan, DataFusionError> {
    plan.transform_up(|node| {
        let join = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| until(filter, stop));
            NestedLoopJoinExecBuilder::from(join).with_filter(filter).build().map(aside)?
        } else if node.is::<CrossJoinExec>() {
            Arc::new(CooperativeExec::new(node))
        } else if let Some((join, filter)) = filtered::<HashJoinExec>(&node, HashJoinExec::filter) {
            join.builder().with_filter(Some(until(filter, stop))).build().map(aside)?
        } else if let Some((join, filter)) = filtered::<SortMergeJoinExec>(&node, |join| join.filter().as_ref()) {
            SortMergeJoinExec::try_new(
                Arc::clone(join.left()),
                Arc::clone(join.right()),
                join.on().to_vec(),
                Some(until(filter, stop)),
                join.join_type(),
                join.sort_options().to_vec(),
                join.null_equality(),
            )
            .map(aside)?
        } else {
            return Ok(Transformed::no(node));
        };
        Ok(Transformed::yes(join))
    })
    .map(|done| done.data)
}

fn filtered<'a, J: ExecutionPlan>(
    node: &'a Plan,
    filter: impl FnOnce(&'a J) -> Option<&'a JoinFilter>,
) -> Option<(&'a J, &'a JoinFilter)> {
    let join = node.downcast_ref::<J>()?;
    Some((join, filter(join)?))
}

fn until(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
    let expression = Arc::new(UntilStopped { inner: Arc::clone(filter.expression()), stop: stop.clone() });
    JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

fn aside(join: impl ExecutionPlan) -> Plan {
    let input: Plan = Arc::new(join);
    Arc::new(AsideExec { properties: Arc::clone(input.properties()), input })
}

/// An expression that fails once its statement is to stop.
#[derive(Debug)]
struct UntilStopped {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for UntilStopped {
    fn eq(&self, other: &UntilStopped) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for UntilStopped {}

impl Hash for UntilStopped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for UntilStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for UntilStopped {
    fn data_type(&self, schema: &Schema) -> Result<DataType, DataFusionError> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool, DataFusionError> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        self.stop.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        match <[_; 1]>::try_from(children) {
            Ok([inner]) => Ok(Arc::new(UntilStopped { inner, stop: self.stop.clone() })),
            Err(_) => internal_err!("a join's filter is one expression"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Polls its input beside the runtime's workers.
struct AsideExec {
    input: Plan,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for AsideExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsideExec").field("input", &self.input).finish()
    }
}

impl DisplayAs for AsideExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aside")
    }
}

impl ExecutionPlan for AsideExec {
    fn name(&self) -> &'static str {
        "AsideExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Plan>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Plan, DataFusionError> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(AsideExec { properties: Arc::clone(input.properties()), input })),
            Err(_) => internal_err!("what is polled aside is one plan"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan, DataFusionError> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let mut input = self.input.execute(partition, context)?;
        let aside =
            futures::stream::poll_fn(move |context| tokio::task::block_in_place(|| input.poll_next_unpin(context)));
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(self.schema(), aside))))
    }
}
