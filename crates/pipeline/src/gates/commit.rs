use std::sync::Arc;

use weir_model::Result;
use weir_store::{Database, Transaction};

/// Gate 18. For writes: conflict check, log, fsync, publish, in the store. Refuses with `serialization_failure`,
/// `unique_violation` and what the disk says. Costs one group's fsync; nothing for a transaction that wrote nothing.
pub(crate) async fn pass(database: &Arc<Database>, transaction: Transaction) -> Result<()> {
    if transaction.is_empty() {
        return Ok(());
    }
    database.commit(transaction).await.map(drop)
}
