//! From a statement to a template: bound, governed, verified, traced for masks, optimised; with placeholders in place of
//! everything that belongs to one execution.

mod columns;
mod planning;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use weir_model::{ObjectName, ValueType};

pub(crate) use self::planning::{Planning, settling};
use crate::{
    error::Values,
    lookup::KeyLookup,
    mask::{MaskKey, MaskPlan},
    types::Column,
    write::{Change, Insert},
};

/// A statement's plan: reusable, cheap to clone, tied to no version. Each execution binds it to a snapshot anew.
#[derive(Clone)]
pub struct Planned(Arc<Template>);

pub(crate) struct Template {
    pub work: Work,
    /// None where the statement returns no rows.
    pub columns: Option<Arc<[Column]>>,
    pub schema: SchemaRef,
    pub parameters: Vec<ValueType>,
    pub masks: MaskPlan,
    pub key: MaskKey,
    /// Whether error messages may hold values.
    pub values: Values,
    pub estimate: Estimate,
    pub reusable: bool,
    pub canonical: OnceLock<Arc<str>>,
}

pub(crate) enum Work {
    Query(Query),
    /// Lines of "QUERY PLAN".
    Explain(Vec<String>),
    Insert(Insert),
    Change(Change),
}

/// An optimised query.
pub(crate) struct Query {
    pub plan: Arc<LogicalPlan>,
    /// Stored tables it scans.
    pub tables: Vec<ObjectName>,
    pub has_placeholders: bool,
    /// At most one table, no join, series or recursion, and cheap calls only: what it costs is bounded by its table's rows.
    pub is_plain: bool,
    pub lookup: Option<KeyLookup>,
}

/// What the cost gate may know of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows of all tables read, hidden ones too: for admission and billing, never for clients.
    pub rows: Option<u64>,
    /// Scans that no filter narrows.
    pub full_scans: usize,
    pub tables: usize,
}

impl Planned {
    pub(crate) fn new(template: Template) -> Planned {
        Planned(Arc::new(template))
    }

    pub(crate) fn template(&self) -> &Template {
        &self.0
    }

    /// Whether both are one plan, made once.
    #[must_use]
    pub fn is(&self, other: &Planned) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Output columns; None where the statement returns no rows.
    #[must_use]
    pub fn columns(&self) -> Option<&Arc<[Column]>> {
        self.0.columns.as_ref()
    }

    #[must_use]
    pub fn parameters(&self) -> &[ValueType] {
        &self.0.parameters
    }

    #[must_use]
    pub fn masks(&self) -> &MaskPlan {
        &self.0.masks
    }

    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.0.estimate
    }

    /// Whether the plan may be kept for another principal of the same policy class. Plans over the system catalogs hold
    /// for one version and one principal.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.0.reusable
    }

    /// Whether it is a query, and executing it one lookup by primary key: no effect, and at most one row.
    #[must_use]
    pub fn is_key_lookup(&self) -> bool {
        matches!(&self.0.work, Work::Query(query) if query.lookup.is_some())
    }

    /// Whether its rows, to read or to change, are found by primary key.
    #[must_use]
    pub fn finds_by_key(&self) -> bool {
        self.0.query().is_some_and(|query| query.lookup.is_some())
    }

    /// The governed plan as text, for the journal: no values of rows, policy predicates not shown. Made once a plan.
    #[must_use]
    pub fn canonical_text(&self) -> Arc<str> {
        Arc::clone(self.0.canonical.get_or_init(|| self.describe().into()))
    }

    fn describe(&self) -> String {
        match self.0.query() {
            Some(query) => crate::explain::lines(&query.plan).join("\n"),
            None => match &self.0.work {
                Work::Insert(insert) => format!("Insert: {}", insert.object()),
                _ => String::new(),
            },
        }
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned")
            .field("columns", &self.0.columns)
            .field("parameters", &self.0.parameters)
            .field("estimate", &self.0.estimate)
            .finish_non_exhaustive()
    }
}

impl Template {
    /// The query that the statement runs, be it for rows or for a write.
    pub(crate) fn query(&self) -> Option<&Query> {
        match &self.work {
            Work::Query(query) => Some(query),
            Work::Explain(_) => None,
            Work::Insert(insert) => insert.query(),
            Work::Change(change) => Some(change.query()),
        }
    }
}

/// A query on its way to a template.
pub(crate) struct Bound {
    pub plan: LogicalPlan,
    pub parameters: Vec<ValueType>,
}

/// What the optimiser and lineage made of it.
pub(crate) struct Finished {
    pub query: Query,
    pub masks: MaskPlan,
    pub columns: Vec<Column>,
    pub schema: SchemaRef,
    pub values: Values,
    pub estimate: Estimate,
}
