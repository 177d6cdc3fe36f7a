//! What a caller gives with a statement: whose it is, what it may touch, of which instant, and how long it may run.

use std::{collections::HashMap, fmt, sync::Arc, time::Instant};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use tokio_util::sync::CancellationToken;
use weir_model::{Action, ObjectName, Principal, Result};
use weir_policy::{ColumnMask, PolicyClass, RowFilter};
use weir_store::Version;

use crate::mask::MaskKey;

/// What a statement may touch, resolved from the policy for exactly this principal, bundle and statement.
pub struct Governance {
    pub principal: Arc<Principal>,
    pub bundle_version: u64,
    pub class: PolicyClass,
    pub mask_key: MaskKey,
    /// An object absent here does not exist for the statement.
    pub objects: HashMap<ObjectName, ObjectGovernance>,
    /// What catalogs may show.
    pub visible: Arc<dyn Fn(&ObjectName) -> bool + Send + Sync>,
    /// The owner that catalogs show.
    pub admin_role: Arc<str>,
}

impl fmt::Debug for Governance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governance")
            .field("agent", &self.principal.agent)
            .field("bundle_version", &self.bundle_version)
            .field("objects", &self.objects.keys())
            .finish_non_exhaustive()
    }
}

/// What a statement may do to one object.
#[derive(Debug, Clone)]
pub struct ObjectGovernance {
    pub actions: Vec<Action>,
    pub select: RowFilter,
    pub insert: RowFilter,
    pub update: RowFilter,
    pub delete: RowFilter,
    pub masks: Arc<[ColumnMask]>,
}

impl ObjectGovernance {
    pub(crate) fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }
}

/// Names and rows of one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub version: Arc<Version>,
    pub virtuals: Arc<dyn VirtualTables>,
    pub search_path: Arc<[String]>,
}

/// Tables that are not stored: `weir.audit`, `weir.usage`.
pub trait VirtualTables: fmt::Debug + Send + Sync {
    fn schema(&self, name: &ObjectName) -> Option<SchemaRef>;

    /// All rows, with exactly the schema above.
    ///
    /// # Errors
    /// When they cannot be read.
    fn batches(&self, name: &ObjectName) -> Result<Vec<RecordBatch>>;

    fn names(&self) -> Vec<ObjectName>;
}

/// No virtual tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVirtualTables;

impl VirtualTables for NoVirtualTables {
    fn schema(&self, _name: &ObjectName) -> Option<SchemaRef> {
        None
    }

    fn batches(&self, _name: &ObjectName) -> Result<Vec<RecordBatch>> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<ObjectName> {
        Vec::new()
    }
}

/// What a session says of itself in `current_user`, `current_database()` and `pg_backend_pid()`.
#[derive(Debug, Clone)]
pub struct SessionIdentity {
    pub user: Arc<str>,
    pub database: Arc<str>,
    /// The process id that the wire gave the client.
    pub backend_pid: i32,
    pub session_id: String,
}

/// How a run ends early.
#[derive(Debug, Clone, Default)]
pub struct Control {
    pub cancel: CancellationToken,
    pub deadline: Option<Instant>,
}
