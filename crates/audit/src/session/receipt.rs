use std::{sync::Arc, time::Instant};

use weir_model::{Refusal, StatementId};

use super::shared::Shared;
use crate::{AuditError, IntentForm, OutcomeFields, record::OutcomeBody};

/// A statement that waits for its outcome. Give it to [`SessionChain::outcome`]; if it is dropped instead, the outcome
/// `abandoned` is recorded.
///
/// [`SessionChain::outcome`]: crate::SessionChain::outcome
#[derive(Debug)]
#[must_use = "dropping a receipt records the statement as abandoned"]
pub struct IntentReceipt {
    chain: Arc<Shared>,
    statement: StatementId,
    since: Instant,
    open: bool,
    intent: Intent,
}

/// How far the intent of a statement is on its way into the journal.
#[derive(Debug)]
enum Intent {
    /// It has no record of its own yet, and none if its outcome comes first: both are one then.
    Unrecorded {
        form: Arc<IntentForm>,
        credits_estimated: Option<u64>,
    },
    /// Its record is one of the first so many of the log.
    Queued(u64),
    Written,
}

impl IntentReceipt {
    pub(super) fn new(
        chain: Arc<Shared>,
        statement: StatementId,
        form: Arc<IntentForm>,
        credits_estimated: Option<u64>,
    ) -> IntentReceipt {
        let intent = Intent::Unrecorded { form, credits_estimated };
        IntentReceipt { chain, statement, since: Instant::now(), open: true, intent }
    }

    #[must_use]
    pub fn statement(&self) -> StatementId {
        self.statement
    }

    /// Writes the intent, unless it is written. Without this it is one record with its outcome.
    ///
    /// # Errors
    /// `audit_unavailable`: nothing of the statement may be seen or take effect.
    pub fn write(&mut self) -> Result<(), Refusal> {
        self.try_write().map_err(|error| error.refusal())
    }

    fn try_write(&mut self) -> Result<(), AuditError> {
        if let Intent::Unrecorded { form, credits_estimated } = &self.intent {
            let queued = self
                .chain
                .enqueue(|shared, state| shared.push_intent(state, self.statement, form, *credits_estimated))?;
            self.intent = Intent::Queued(queued);
        }
        if let Intent::Queued(end) = self.intent {
            self.chain.write_to(end)?;
            self.intent = Intent::Written;
        }
        Ok(())
    }

    /// Queues how the statement ended. Returns the size of the log with that.
    fn end(&mut self, outcome: &OutcomeBody<'_>) -> Result<u64, AuditError> {
        self.open = false;
        let form = match &self.intent {
            Intent::Unrecorded { form, .. } => Some(form.as_ref()),
            Intent::Queued(_) | Intent::Written => None,
        };
        self.chain.enqueue(|shared, state| {
            shared.push_outcome(state, self.statement, form, outcome)?;
            shared.finish_one(state)
        })
    }

    /// [`IntentReceipt::end`], up to the write.
    pub(super) fn queue_outcome(mut self, fields: &OutcomeFields<'_>) -> Result<QueuedOutcome, AuditError> {
        let end = self.end(&OutcomeBody::new(fields))?;
        Ok(QueuedOutcome { chain: Arc::clone(&self.chain), end })
    }
}

impl Drop for IntentReceipt {
    fn drop(&mut self) {
        if self.open {
            let elapsed_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let ended = self.end(&OutcomeBody::abandoned(elapsed_ns));
            if let Err(error) = ended.and_then(|end| self.chain.write_to(end)) {
                tracing::error!(%error, statement = %self.statement, "an abandoned statement is not recorded");
            }
        }
    }
}

/// An outcome that is not written yet. Others that are queued meanwhile are written by the same system call.
#[derive(Debug)]
#[must_use = "the answer may be given when the outcome is written"]
pub struct QueuedOutcome {
    chain: Arc<Shared>,
    end: u64,
}

impl QueuedOutcome {
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub fn write(self) -> Result<(), Refusal> {
        self.chain.write_to(self.end).map_err(|error| error.refusal())
    }

    /// As [`QueuedOutcome::write`], unless another thread writes just now: `false` says so, and waiting for it would
    /// keep this one.
    ///
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub fn try_write(&self) -> Result<bool, Refusal> {
        self.chain.core.try_write_to(self.end).map_err(|error| error.refusal())
    }
}

impl Drop for QueuedOutcome {
    /// A record is never left behind in the queue: a statement that ended is recorded whoever waits for it.
    fn drop(&mut self) {
        if let Err(error) = self.chain.core.write_to(self.end) {
            tracing::error!(%error, "a statement's outcome is not recorded");
        }
    }
}
