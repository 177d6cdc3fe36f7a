//! Table sources: the raw table that a plan scans, and the governed one that name resolution hands out.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{Constraint, Constraints, DataFusionError},
    logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableSource},
};
use weir_model::{ColumnType, ObjectName, Result};
use weir_policy::ColumnMask;

use crate::{functions::Series, types::scalar_type};

/// The hidden column that scans of UPDATE and DELETE targets have last: the row's id, never null.
pub(crate) const ROW_ID: &str = "__weir_row";

/// Names one planning of one statement: a source stamped by another does not pass [`crate::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn fresh() -> Stamp {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Stamp(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whether rows of a table must pass a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// The policy has no row security for the table: every row is visible.
    Unrestricted,
    /// A scan is valid directly below a [`crate::barrier::Barrier`] only.
    Barrier,
}

type MakeBatches = dyn Fn() -> Result<Vec<RecordBatch>> + Send + Sync;

/// Where a raw table's rows come from when its scan is planned.
#[derive(Clone)]
pub(crate) enum Rows {
    /// From the version that the execution's snapshot pins.
    Stored,
    /// From the snapshot's virtual tables.
    Virtual,
    /// Made anew by each execution.
    Computed(Arc<MakeBatches>),
    /// Made as they are read.
    Series(Series),
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rows::Stored => "Stored",
            Rows::Virtual => "Virtual",
            Rows::Computed(_) => "Computed",
            Rows::Series(_) => "Series",
        })
    }
}

/// What a plan's scan reads. It holds no rows and no version: a template with it outlives both.
#[derive(Debug, Clone)]
pub(crate) struct RawTable {
    object: ObjectName,
    schema: SchemaRef,
    masks: Arc<[ColumnMask]>,
    table_oid: u32,
    primary_key: Vec<usize>,
    constraints: Constraints,
    rows: Rows,
    protection: Protection,
    stamp: Stamp,
}

impl RawTable {
    pub(crate) fn new(object: ObjectName, schema: SchemaRef, rows: Rows, stamp: Stamp) -> RawTable {
        RawTable {
            object,
            schema,
            masks: Arc::new([]),
            table_oid: 0,
            primary_key: Vec::new(),
            constraints: Constraints::default(),
            rows,
            protection: Protection::Unrestricted,
            stamp,
        }
    }

    /// Rows made in memory; `batches` runs once per execution. Stamped when the binder takes it.
    pub(crate) fn computed(
        object: ObjectName,
        schema: SchemaRef,
        batches: impl Fn() -> Result<Vec<RecordBatch>> + Send + Sync + 'static,
    ) -> RawTable {
        RawTable::new(object, schema, Rows::Computed(Arc::new(batches)), Stamp(0))
    }

    pub(crate) fn with_key(mut self, primary_key: &[usize]) -> RawTable {
        if !primary_key.is_empty() {
            self.constraints = Constraints::new_unverified(vec![Constraint::PrimaryKey(primary_key.to_vec())]);
        }
        self.primary_key = primary_key.to_vec();
        self
    }

    pub(crate) fn with_masks(mut self, masks: Arc<[ColumnMask]>) -> RawTable {
        self.masks = masks;
        self
    }

    pub(crate) fn with_oid(mut self, table_oid: u32) -> RawTable {
        self.table_oid = table_oid;
        self
    }

    pub(crate) fn stamped(mut self, stamp: Stamp, protection: Protection) -> RawTable {
        self.stamp = stamp;
        self.protection = protection;
        self
    }

    /// Adds the hidden row id as the last column.
    pub(crate) fn with_row_ids(mut self) -> RawTable {
        let mut fields: Vec<Arc<Field>> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ROW_ID, DataType::UInt64, false)));
        self.schema = Arc::new(Schema::new(fields));
        self
    }

    pub(crate) fn object(&self) -> &ObjectName {
        &self.object
    }

    pub(crate) fn masks(&self) -> &Arc<[ColumnMask]> {
        &self.masks
    }

    pub(crate) fn table_oid(&self) -> u32 {
        self.table_oid
    }

    pub(crate) fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    pub(crate) fn has_row_ids(&self) -> bool {
        self.schema.fields().last().is_some_and(|field| field.name() == ROW_ID)
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) fn protection(&self) -> Protection {
        self.protection
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn schema_ref(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn column_type(&self, index: usize) -> ColumnType {
        self.schema.fields().get(index).map_or(ColumnType::Text, |field| scalar_type(field))
    }

    pub(crate) fn is_masked(&self, column: &str) -> bool {
        self.masks.iter().any(|mask| mask.column == column)
    }
}

impl TableSource for RawTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    /// Without row security the scan evaluates the filters itself, before it materialises the other columns. Behind a
    /// barrier only [`crate::leakproof`] decides what goes down.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let answer = match (self.protection, &self.rows) {
            (Protection::Unrestricted, Rows::Stored) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![answer; filters.len()])
    }
}

/// What a name resolves to where the policy has row security: always the whole governed plan, inlined before any
/// optimiser sees it.
pub(crate) struct GovernedTable {
    raw: Arc<RawTable>,
    plan: LogicalPlan,
}

impl GovernedTable {
    pub(crate) fn new(raw: Arc<RawTable>, plan: LogicalPlan) -> GovernedTable {
        GovernedTable { raw, plan }
    }
}

impl fmt::Debug for GovernedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GovernedTable").field(&self.raw.object).finish()
    }
}

impl TableSource for GovernedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.raw.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// A view: its stored query, planned with the invoker's governance.
pub(crate) struct ViewSource {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl ViewSource {
    pub(crate) fn new(plan: LogicalPlan) -> ViewSource {
        ViewSource { schema: Arc::clone(plan.schema().inner()), plan }
    }
}

impl fmt::Debug for ViewSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewSource")
    }
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
