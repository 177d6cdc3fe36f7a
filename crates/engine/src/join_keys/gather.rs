//! Passes the build side of a join through, and notes its keys.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    common::{DataFusionError, Statistics, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryPool},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        execution_plan::{CardinalityEffect, ReplaceChildrenOptions},
        statistics::{ChildStats, StatisticsArgs},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use super::{JoinKeys, KEYS_MAX, set::append_keys};

#[derive(Debug)]
pub(super) struct GatherKeysExec {
    input: Arc<dyn ExecutionPlan>,
    /// Columns of the input, and where their keys go.
    columns: Arc<[(usize, Arc<JoinKeys>)]>,
}

impl GatherKeysExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, columns: Arc<[(usize, Arc<JoinKeys>)]>) -> GatherKeysExec {
        GatherKeysExec { input, columns }
    }

    fn over(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => Ok(Arc::new(GatherKeysExec { input, columns: Arc::clone(&self.columns) })),
            _ => internal_err!("keys are gathered from one input"),
        }
    }
}

impl DisplayAs for GatherKeysExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatherKeys")
    }
}

impl ExecutionPlan for GatherKeysExec {
    fn name(&self) -> &'static str {
        "GatherKeysExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
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
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.over(children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.over(children)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let part = Part::begin(&self.columns, partition, Arc::clone(context.memory_pool()));
        let input = self.input.execute(partition, context)?;
        let stream = futures::stream::unfold((input, part), |(mut input, mut part)| async move {
            let item = input.next().await;
            match &item {
                Some(Ok(batch)) => part.add(batch),
                Some(Err(_)) => part.columns.clear(),
                None => part.finish(),
            }
            item.map(|item| (item, (input, part)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>, DataFusionError> {
        Ok(inputs.first().cloned().unwrap_or_else(|| Arc::new(Statistics::new_unknown(&self.schema()))))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// One partition's keys while it is read. Dropped before its end, it leaves its sets unmade.
struct Part {
    columns: Vec<(usize, Arc<JoinKeys>, Vec<i64>)>,
    pool: Arc<dyn MemoryPool>,
}

impl Part {
    fn begin(columns: &[(usize, Arc<JoinKeys>)], partition: usize, pool: Arc<dyn MemoryPool>) -> Part {
        let begin = |(column, keys): &(usize, Arc<JoinKeys>)| {
            keys.begin(partition);
            (*column, Arc::clone(keys), Vec::new())
        };
        Part { columns: columns.iter().map(begin).collect(), pool }
    }

    fn add(&mut self, batch: &RecordBatch) {
        self.columns.retain_mut(|(column, keys, values)| {
            let known = batch.columns().get(*column).is_some_and(|column| append_keys(column, values));
            known && values.len() <= KEYS_MAX && !keys.is_given_up()
        });
    }

    fn finish(&mut self) {
        for (_, keys, values) in self.columns.drain(..) {
            keys.finish(&values, &self.pool);
        }
    }
}
