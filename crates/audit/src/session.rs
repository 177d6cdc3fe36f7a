mod receipt;
mod shared;

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;
use weir_model::{Claims, ClientAddress, Identity, Refusal, SessionId, StatementId};

pub use self::receipt::{IntentReceipt, QueuedOutcome};
use self::shared::{At, Shared};
use crate::{
    AuditError, EventFields, Hash, IntentFields, IntentForm, OutcomeFields,
    chain::{self, Link, Who},
    core::Core,
    keys,
    record::{EventBody, FIELD_BYTES_MAX, OutcomeBody, cut},
};

/// One session's chain of records. Clones share it. When the last clone and the last open receipt are gone, the
/// session's end is recorded.
///
/// Calls block for as long as a write to the page cache takes. What they wrote is as durable as the journal promises
/// once [`SessionChain::durable`] says so.
#[derive(Debug, Clone)]
pub struct SessionChain(Arc<Shared>);

/// Who opens a chain, and with which words.
pub(crate) struct Opening<'a> {
    pub session: SessionId,
    pub who: Who,
    pub client: String,
    pub claims: &'a Claims,
    pub detail: &'a [(&'a str, &'a str)],
}

impl<'a> Opening<'a> {
    pub fn of_client(
        session: SessionId,
        identity: &Identity,
        client: &ClientAddress,
        claims: &'a Claims,
        detail: &'a [(&'a str, &'a str)],
    ) -> Opening<'a> {
        let who = Who { org: Some(identity.org.to_string()), agent: Some(identity.agent.to_string()) };
        Opening { session, who, client: client.to_string(), claims, detail }
    }
}

impl SessionChain {
    pub(crate) fn open(core: Arc<Core>, opening: Opening<'_>) -> Result<SessionChain, AuditError> {
        let Opening { session: SessionId(session), who, client, claims, detail } = opening;
        let mut seed = [0; 32];
        keys::random(&mut seed).map_err(AuditError::io("the system's random generator"))?;
        let seed = Hash::from_bytes(seed);
        let at = At { records: 0, last: chain::seed_hash(session, &seed), closed: false };
        let shared = Shared::new(core, session, Arc::new(who), client, at)?;
        shared.begin(|shared, state| {
            let body = EventBody { claims, detail, seed: Some(seed), ..shared.event_body() };
            shared.push(state, Link::Opened, chain::OPENED, &body)
        })?;
        Ok(SessionChain(Arc::new(shared)))
    }

    /// Goes on with a chain that an earlier process left, only to end it.
    pub(crate) fn interrupt(core: &Arc<Core>, session: Uuid, left: chain::OpenChain) -> Result<(), AuditError> {
        let at = At { records: left.records, last: left.last, closed: true };
        let who = left.who.unwrap_or_else(|| Arc::new(Who { org: None, agent: None }));
        let shared = Shared::new(Arc::clone(core), session, who, "local".into(), at)?;
        let statements: Vec<String> = left.running.iter().map(Uuid::to_string).collect();
        let unfinished = statements.join(",");
        let detail = [("unfinished", unfinished.as_str())];
        let detail = if statements.is_empty() { [].as_slice() } else { &detail };
        shared.transact(|shared, state| {
            let body = EventBody { records: Some(state.links.records + 1), detail, ..shared.event_body() };
            shared.push(state, Link::Interrupted, chain::INTERRUPTED, &body)
        })
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.0.session)
    }

    /// Waits until what the session wrote so far is as durable as the journal promises: with strict durability on disk,
    /// otherwise at once.
    ///
    /// # Errors
    /// `audit_unavailable`: nothing that depends on the records may be seen or take effect.
    pub async fn durable(&self) -> Result<(), Refusal> {
        self.0.core.durable(self.0.end.load(Ordering::Acquire)).await.map_err(|error| error.refusal())
    }

    #[cfg(test)]
    pub(crate) fn end(&self) -> u64 {
        self.0.end.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }

    /// Records a statement before its first effect or row.
    ///
    /// # Errors
    /// `audit_unavailable`: the statement must not run.
    pub fn intent(&self, statement: StatementId, fields: &IntentFields<'_>) -> Result<IntentReceipt, Refusal> {
        let mut receipt = self.queue(statement, &Arc::new(self.form(fields)?), fields.credits_estimated)?;
        receipt.write()?;
        Ok(receipt)
    }

    /// What of a statement's records is the same each time the session runs it.
    ///
    /// # Errors
    /// `audit_unavailable`, when it is too large to record.
    pub fn form(&self, fields: &IntentFields<'_>) -> Result<IntentForm, Refusal> {
        IntentForm::new(&self.0.client, fields).map_err(|error| error.refusal())
    }

    /// As [`SessionChain::form`], of a statement that will be run again: later records refer to the first.
    ///
    /// # Errors
    /// As there.
    pub fn lasting_form(&self, fields: &IntentFields<'_>) -> Result<IntentForm, Refusal> {
        self.form(fields).map(IntentForm::lasting)
    }

    /// Begins a statement. Nothing of it may be seen or take effect before [`IntentReceipt::write`]: one whose rows are
    /// at hand saves a record by being written with its outcome.
    ///
    /// # Errors
    /// `audit_unavailable`: the statement must not run.
    pub fn queue(
        &self,
        statement: StatementId,
        form: &Arc<IntentForm>,
        credits_estimated: Option<u64>,
    ) -> Result<IntentReceipt, Refusal> {
        self.0.begin_statement().map_err(|error| error.refusal())?;
        Ok(IntentReceipt::new(Arc::clone(&self.0), statement, Arc::clone(form), credits_estimated))
    }

    /// Records how a statement ended. The receipt must be of this chain.
    ///
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub fn outcome(&self, receipt: IntentReceipt, fields: &OutcomeFields<'_>) -> Result<(), Refusal> {
        self.queue_outcome(receipt, fields)?.write()
    }

    /// As [`SessionChain::outcome`], up to the write: until then the answer must not be given.
    ///
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub fn queue_outcome(&self, receipt: IntentReceipt, fields: &OutcomeFields<'_>) -> Result<QueuedOutcome, Refusal> {
        receipt.queue_outcome(fields).map_err(|error| error.refusal())
    }

    /// Records a statement that is over before it began, as a refused one is: intent and outcome are one record.
    ///
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub fn whole(
        &self,
        statement: StatementId,
        intent: &IntentFields<'_>,
        outcome: &OutcomeFields<'_>,
    ) -> Result<(), Refusal> {
        let form = self.form(intent)?;
        let outcome = OutcomeBody::new(outcome);
        self.0
            .begin(|shared, state| shared.push_outcome(state, statement, Some(&form), &outcome))
            .map_err(|error| error.refusal())
    }

    /// Records an event of this session.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn event(&self, fields: &EventFields<'_>) -> Result<(), Refusal> {
        self.try_event(fields).map_err(|error| error.refusal())
    }

    pub(crate) fn try_event(&self, fields: &EventFields<'_>) -> Result<(), AuditError> {
        self.named_event(fields.event.as_str(), fields)
    }

    pub(crate) fn named_event(&self, name: &str, fields: &EventFields<'_>) -> Result<(), AuditError> {
        let client = fields.client.map(ToString::to_string);
        self.0.begin(|shared, state| {
            let own = shared.event_body();
            let body = EventBody {
                org: fields.org.map(|org| org.as_str()).or(own.org),
                agent: fields.agent.map(|agent| cut(agent, FIELD_BYTES_MAX)).or(own.agent),
                client: client.as_deref().or(own.client),
                code: fields.code.map(|code| code.as_str()),
                detail: fields.detail,
                ..own
            };
            shared.push(state, Link::Event, name, &body)
        })
    }

    /// Records the session's end, once; if statements still run, after the last of them. Nothing is recorded in the
    /// session after it.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn close(&self, reason: &'static str) -> Result<(), Refusal> {
        self.try_close(reason).map_err(|error| error.refusal())
    }

    pub(crate) fn try_close(&self, reason: &'static str) -> Result<(), AuditError> {
        self.0.close(reason)
    }
}
