//! The scan: the leaf of every physical plan, and the barrier's physical form.
//!
//! The policy predicate and the filters that may go below it run inside the scan, on the filter columns alone, before
//! any other column is touched. A leaf accepts no filter from above: nothing of the user's, and no dynamic filter of the
//! engine's, can get below the policy. The keys of a join ([`crate::join_keys`]) are asked of the rows that passed all
//! of them. Partitions share the table's units by an atomic counter, so a slow one holds nobody back.

mod filter;
mod probe;
mod reader;
mod statistics;

use std::{fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{DataFusionError, Statistics, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::Expr,
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, expressions::Column},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        coop::cooperative,
        execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType},
        projection::{ProjectionExec, all_alias_free_columns},
        statistics::StatisticsArgs,
        stream::RecordBatchStreamAdapter,
    },
};
use parking_lot::Mutex;
use weir_store::{ScanUnit, TableVersion};

pub(crate) use self::filter::{Conjunct, ScanFilter, conjuncts, is_simple};
use self::{
    probe::KeyProbe,
    reader::{Cursor, Reader},
};
use crate::{
    functions::Series,
    join_keys::{JoinKeys, is_key_type},
};

/// Fewer rows than this are joined sooner than their join's keys are gathered.
const PROBED_ROWS_MIN: usize = 1 << 15;

/// Rows that a scan reads.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Table { table: Arc<TableVersion>, units: Arc<[ScanUnit]> },
    Batches(Arc<[RecordBatch]>),
    Series(Series),
}

impl Source {
    /// Pieces that partitions share out.
    fn pieces(&self) -> usize {
        match self {
            Source::Table { units, .. } => units.len(),
            Source::Batches(batches) => batches.len(),
            Source::Series(_) => 1,
        }
    }
}

/// What to scan; the plan's node is made from it, anew for each change.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub source: Source,
    /// Of the whole source, the row id column last where the scan has one.
    pub full_schema: SchemaRef,
    pub has_row_ids: bool,
    /// Columns of the output, by their place in `full_schema`.
    pub projection: Arc<[usize]>,
    /// Filters as written in the plan; the policy's are added when its barrier is planned.
    pub filters: Vec<Expr>,
    pub compiled: Arc<ScanFilter>,
    /// Joins above that a row must find a partner in.
    pub probes: Vec<KeyProbe>,
    /// Whether a policy hides rows: then no statistic may be exact.
    pub hides_rows: bool,
    pub fetch: Option<usize>,
    pub partitions: usize,
    pub batch_size: usize,
}

pub(crate) struct ScanExec {
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
    runs: Mutex<Runs>,
}

/// One cursor for each time the scan is run: the n-th execution of a partition belongs to the n-th run.
#[derive(Debug, Default)]
struct Runs {
    executed: Vec<usize>,
    cursors: Vec<Arc<Cursor>>,
}

impl ScanExec {
    pub(crate) fn new(scan: Scan) -> Result<ScanExec, DataFusionError> {
        let schema: Schema = scan.full_schema.project(&scan.projection)?;
        let partitions = scan.partitions.clamp(1, scan.source.pieces().max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(ScanExec {
            scan: Arc::new(scan),
            properties: Arc::new(properties),
            runs: Mutex::new(Runs { executed: vec![0; partitions], cursors: Vec::new() }),
        })
    }

    pub(crate) fn scan(&self) -> &Scan {
        &self.scan
    }

    /// The scan without rows whose value in an output column is none of the keys; None where that is not worth asking.
    pub(crate) fn with_keys(&self, column: usize, keys: &Arc<JoinKeys>) -> Result<Option<ScanExec>, DataFusionError> {
        let Source::Table { units, .. } = &self.scan.source else { return Ok(None) };
        let Some(&column) = self.scan.projection.get(column) else { return Ok(None) };
        let row_id = self.scan.has_row_ids && column + 1 == self.scan.full_schema.fields().len();
        let is_key = !row_id && is_key_type(self.scan.full_schema.field(column).data_type());
        if !is_key || units.iter().map(ScanUnit::rows).sum::<usize>() < PROBED_ROWS_MIN {
            return Ok(None);
        }
        let mut scan = self.scan.as_ref().clone();
        scan.probes.push(KeyProbe { column, keys: Arc::clone(keys) });
        ScanExec::new(scan).map(Some)
    }

    fn cursor(&self, partition: usize) -> Result<Arc<Cursor>, DataFusionError> {
        let mut runs = self.runs.lock();
        let Some(executed) = runs.executed.get_mut(partition) else {
            return internal_err!("a scan has no partition {partition}");
        };
        let run = *executed;
        *executed += 1;
        if runs.cursors.len() <= run {
            runs.cursors.resize_with(run + 1, Arc::default);
        }
        runs.cursors.get(run).cloned().ok_or_else(|| DataFusionError::Internal("a scan lost its cursor".into()))
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec").field("projection", &self.scan.projection).finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scan")
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        // Its own filters are nobody's to rewrite.
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(Arc::new(ScanExec::new(self.scan.as_ref().clone())?))
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let reader = Reader::new(Arc::clone(&self.scan), self.schema(), self.cursor(partition)?)?;
        let stream = RecordBatchStreamAdapter::new(self.schema(), futures::stream::iter(reader));
        Ok(Box::pin(cooperative(stream)))
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>, DataFusionError> {
        if arguments.partition().is_some() {
            // Units are shared out as they come: nothing is known of one partition.
            return Ok(Arc::new(Statistics::new_unknown(&self.schema())));
        }
        Ok(Arc::new(statistics::estimate(&self.scan, &self.schema())))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if self.properties.partitioning.partition_count() != 1 {
            return None;
        }
        let scan = Scan { fetch: limit, ..self.scan.as_ref().clone() };
        Some(Arc::new(ScanExec::new(scan).ok()?))
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.fetch
    }

    /// Takes over a projection that only picks columns.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
        if !all_alias_free_columns(projection.expr()) {
            return Ok(None);
        }
        let picked: Option<Arc<[usize]>> = projection
            .expr()
            .iter()
            .map(|item| {
                let column = item.expr.downcast_ref::<Column>()?;
                self.scan.projection.get(column.index()).copied()
            })
            .collect();
        let Some(picked) = picked else { return Ok(None) };
        let scan = Scan { projection: picked, ..self.scan.as_ref().clone() };
        Ok(Some(Arc::new(ScanExec::new(scan)?)))
    }
}
