use std::{convert::Infallible, fmt, sync::Arc};

use arrow::record_batch::RecordBatch;
use tokio_util::task::task_tracker::TaskTrackerToken;
use weir_engine::{Column, Control, CopyTarget, EngineSession};
use weir_model::{Code, Refusal, Result};
use weir_sql::{CopyDirection, CopyOptions, CopyStatement};
use weir_store::{Database, Transaction};

use crate::{
    cancel,
    gates::audit::{Running, Ticket},
    session::{CommandTag, Session},
};

/// A COPY FROM STDIN that takes rows. It must be given to [`CopyIn::finish`] or [`CopyIn::fail`]; dropped instead, its
/// rows are gone, the transaction it ran in is failed, and the statement counts as cancelled.
pub struct CopyIn {
    target: CopyTarget,
    columns: Arc<[Column]>,
    options: CopyOptions,
    relation: String,
    database: Arc<Database>,
    transaction: Transaction,
    /// The transaction is this statement's alone.
    own: bool,
    ticket: Ticket,
    control: Control,
    rows: u64,
    _running: Option<TaskTrackerToken>,
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn").field("relation", &self.relation).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl CopyIn {
    pub(crate) fn begin(
        copy: &CopyStatement,
        running: Running,
        transaction: Transaction,
        own: bool,
        mut ticket: Ticket,
        control: Control,
        engine: &EngineSession,
    ) -> Result<CopyIn> {
        let target = || {
            let CopyDirection::In { columns, .. } = &copy.direction else {
                return Err(Refusal::new(Code::Internal, "not a COPY FROM"));
            };
            let Some((object, _)) = running.objects.first() else {
                return Err(Refusal::unsupported("COPY into a catalog relation"));
            };
            let mut snapshot = running.snapshot.clone();
            snapshot.version = transaction.version().clone();
            let target = engine.copy_target(object, columns, &snapshot, &running.governance)?;
            Ok((target, object.name().to_owned()))
        };
        match target() {
            Ok((target, relation)) => {
                // The client sends when it likes; meanwhile the slot is another's.
                ticket.release_slots();
                Ok(CopyIn {
                    columns: columns_of(&target),
                    target,
                    options: copy.options.clone(),
                    relation,
                    database: running.database,
                    transaction,
                    own,
                    ticket,
                    control,
                    rows: 0,
                    _running: None,
                })
            }
            Err(refusal) => {
                ticket.finish(Err(&refusal), 0)?;
                Err(refusal)
            }
        }
    }

    pub(crate) fn tracked(mut self, token: TaskTrackerToken) -> CopyIn {
        self._running = Some(token);
        self
    }

    /// The columns to send, in order.
    #[must_use]
    pub fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    #[must_use]
    pub fn options(&self) -> &CopyOptions {
        &self.options
    }

    /// The table's name, for error contexts.
    #[must_use]
    pub fn relation(&self) -> &str {
        &self.relation
    }

    /// Takes a batch of the columns' Arrow types (`weir_store::arrow_type`).
    ///
    /// # Errors
    /// A constraint, a row check, the disk; `query_canceled` and `statement_timeout`.
    pub async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if self.control.cancel.is_cancelled() {
            return Err(cancel::cancelled());
        }
        if self.control.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
            return Err(cancel::timed_out());
        }
        self.rows += self.target.insert(&mut self.transaction, &batch)?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// The client sent everything.
    ///
    /// # Errors
    /// What committing says.
    pub async fn finish(self, session: &mut Session) -> Result<CommandTag> {
        let committed = session.put_or_commit(&self.database, self.transaction, self.own).await;
        if committed.is_err() {
            session.note_failure();
        }
        self.ticket.finish(committed.as_ref().copied(), self.rows)?;
        session.durable().await?;
        committed.map(|()| CommandTag(format!("COPY {}", self.rows)))
    }

    /// The client gave up, or its data or a [`CopyIn::push`] failed: the statement fails with `refusal`.
    pub async fn fail(self, session: &mut Session, refusal: Refusal) -> Refusal {
        session.note_failure();
        let recorded = match self.ticket.finish(Err(&refusal), 0) {
            Ok(()) => session.durable().await,
            unrecorded => unrecorded,
        };
        recorded.err().unwrap_or(refusal)
    }

    /// Ends with the reason once the statement must not wait for its client any longer: it was cancelled, or its time
    /// is over.
    pub async fn interrupted(&mut self) -> Refusal {
        cancel::within(&self.control, std::future::pending::<Infallible>())
            .await
            .map_or_else(|why| why, |never| match never {})
    }

    /// What a client's CopyFail means.
    #[must_use]
    pub fn client_gave_up(reason: &str) -> Refusal {
        let reason: String = reason.chars().take(200).collect();
        Refusal::new(Code::QueryCanceled, format!("COPY from stdin failed: {reason}"))
    }
}

fn columns_of(target: &CopyTarget) -> Arc<[Column]> {
    let column = |(name, column_type): &(String, weir_model::ColumnType)| Column {
        name: name.clone(),
        value_type: (*column_type).into(),
        table_oid: 0,
        attribute: 0,
    };
    target.columns().iter().map(column).collect()
}
