use std::sync::Arc;

use weir_model::{Code, Refusal, Result};
use weir_store::{Database, Transaction, Version};

use crate::gates::commit;

/// As ReadyForQuery tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

/// The session's transaction, if one is open.
#[derive(Debug, Default)]
pub(crate) struct Transactions(Option<Open>);

#[derive(Debug)]
struct Open {
    /// Opened by BEGIN; not by a multi-statement text or a pipeline.
    explicit: bool,
    read_only: bool,
    failed: bool,
    /// Made at the first statement that touches tables: that is the version it reads.
    work: Option<(Arc<Database>, Transaction)>,
}

impl Open {
    fn new(explicit: bool, read_only: bool) -> Open {
        Open { explicit, read_only, failed: false, work: None }
    }
}

impl Transactions {
    pub(crate) fn status(&self) -> TransactionStatus {
        match &self.0 {
            Some(open) if open.explicit && open.failed => TransactionStatus::Failed,
            Some(open) if open.explicit => TransactionStatus::Active,
            _ => TransactionStatus::Idle,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// What a failed transaction still takes: only its end.
    pub(crate) fn check_usable(&self) -> Result<()> {
        if self.0.as_ref().is_some_and(|open| open.failed) {
            return Err(Refusal::new(
                Code::FailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            )
            .hint("send ROLLBACK"));
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.0.as_ref().is_some_and(|open| open.read_only) {
            return Err(Refusal::new(Code::ReadOnlyTransaction, "cannot write in a read-only transaction")
                .hint("begin a transaction READ WRITE"));
        }
        Ok(())
    }

    pub(crate) fn set_read_only(&mut self, read_only: bool) -> Result<()> {
        match &mut self.0 {
            Some(open) if !read_only && open.read_only && open.work.is_some() => {
                Err(Refusal::new(Code::ActiveTransaction, "transaction read-write mode must be set before any query"))
            }
            Some(open) => {
                open.read_only = read_only;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.read_only)
    }

    pub(crate) fn begin(&mut self, read_only: bool) {
        match &mut self.0 {
            // A BEGIN inside an implicit transaction makes it explicit, as in PostgreSQL.
            Some(open) => {
                open.explicit = true;
                open.read_only |= read_only;
            }
            None => self.0 = Some(Open::new(true, read_only)),
        }
    }

    pub(crate) fn begin_implicit(&mut self) {
        if self.0.is_none() {
            self.0 = Some(Open::new(false, false));
        }
    }

    pub(crate) async fn end_implicit(&mut self) -> Result<()> {
        match &self.0 {
            Some(open) if !open.explicit => {}
            _ => return Ok(()),
        }
        self.commit().await.map(drop)
    }

    pub(crate) fn fail(&mut self) {
        if let Some(open) = &mut self.0 {
            open.failed = true;
            open.work = None;
        }
    }

    /// Ends the transaction; true when it was committed, false when there was none or it had failed.
    pub(crate) async fn commit(&mut self) -> Result<bool> {
        let Some(open) = self.0.take() else { return Ok(false) };
        if open.failed {
            return Ok(false);
        }
        match open.work {
            Some((database, transaction)) => commit::pass(&database, transaction).await.map(|()| true),
            None => Ok(true),
        }
    }

    pub(crate) fn roll_back(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// The version that the open transaction reads: pinned at its first use.
    pub(crate) fn version(&mut self, database: Option<&Arc<Database>>) -> Option<Arc<Version>> {
        let open = self.0.as_mut()?;
        if open.work.is_none() {
            let database = database?;
            open.work = Some((database.clone(), database.begin()));
        }
        open.work.as_ref().map(|(_, transaction)| transaction.version().clone())
    }

    /// Takes the work out to write into it; a single statement outside any transaction gets one of its own.
    pub(crate) fn take_work(&mut self, database: &Arc<Database>) -> (Transaction, bool) {
        match &mut self.0 {
            Some(open) => {
                // Until the work comes back, what became of it is not known.
                open.failed = true;
                (open.work.take().map_or_else(|| database.begin(), |(_, transaction)| transaction), false)
            }
            None => (database.begin(), true),
        }
    }

    pub(crate) fn put_work(&mut self, database: &Arc<Database>, transaction: Transaction) {
        if let Some(open) = &mut self.0 {
            open.failed = false;
            open.work = Some((database.clone(), transaction));
        }
    }
}
