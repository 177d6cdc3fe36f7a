use std::sync::Arc;

use weir_engine::Snapshot;
use weir_store::Version;

use crate::{gates::quota::Reserved, virtuals::OrgVirtuals};

/// One version of the branch is pinned: schemas, rows and policies of one instant.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub reserved: Reserved,
    pub snapshot: Snapshot,
}

/// Gate 13. Pins the transaction's version, or the newest one outside a transaction. Readers hold it without blocking
/// anyone. Refuses nothing; costs one atomic load.
pub(crate) fn pass(
    reserved: Reserved,
    version: Arc<Version>,
    virtuals: Arc<OrgVirtuals>,
    search_path: Arc<[String]>,
) -> Pinned {
    Pinned { reserved, snapshot: Snapshot { version, virtuals, search_path } }
}
