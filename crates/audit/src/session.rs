use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;
use weir_model::{Claims, ClientAddress, Identity, Refusal, SessionId, StatementId};

use crate::{
    AuditError, EventFields, Hash, IntentFields, OutcomeFields,
    chain::{self, Chained, Link, Who},
    core::Core,
    frame::{self, SALT_BYTES},
    keys,
    log::{Batch, Entry},
    record::{EventBody, FIELD_BYTES_MAX, IntentForm, OutcomeBody, cut, json},
};

/// Salts drawn from the operating system at once.
const SALTS_AT_ONCE: usize = 64;

/// One session's chain of records. Clones share it. When the last clone and the last open receipt are gone, the
/// session's end is recorded.
///
/// Calls block for as long as a write to the page cache takes. What they wrote is as durable as the journal promises
/// once [`SessionChain::durable`] says so.
#[derive(Debug, Clone)]
pub struct SessionChain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    session: Uuid,
    who: Arc<Who>,
    client: String,
    state: Mutex<ChainState>,
    /// Size of the log with the newest of the session's records.
    end: AtomicU64,
}

#[derive(Debug)]
struct ChainState {
    links: Links,
    salts: Vec<[u8; SALT_BYTES]>,
    batch: Batch,
}

/// Where the chain stands.
#[derive(Debug, Clone, Copy)]
struct Links {
    /// Records so far.
    records: u64,
    /// Leaf of the last record; before the first, the seed's hash.
    last: Hash,
    /// Receipts given out and not yet consumed.
    running: u64,
    /// Why the session ends, once somebody said so.
    closing: Option<&'static str>,
    closed: bool,
}

/// An intent that waits for its outcome. Give it to [`SessionChain::outcome`]; if it is dropped instead, the outcome
/// `abandoned` is recorded.
#[derive(Debug)]
#[must_use = "dropping a receipt records the statement as abandoned"]
pub struct IntentReceipt {
    chain: Arc<Shared>,
    statement: StatementId,
    since: Instant,
    open: bool,
    written: bool,
}

impl IntentReceipt {
    #[must_use]
    pub fn statement(&self) -> StatementId {
        self.statement
    }

    /// Writes the intent, unless it is written. Without this it is written together with what the session records
    /// next, its own outcome among that.
    ///
    /// # Errors
    /// `audit_unavailable`: nothing of the statement may be seen or take effect.
    pub fn write(&mut self) -> Result<(), Refusal> {
        if !self.written {
            self.chain.transact(|_, _| Ok(())).map_err(|error| error.refusal())?;
            self.written = true;
        }
        Ok(())
    }
}

impl Drop for IntentReceipt {
    fn drop(&mut self) {
        if self.open {
            let elapsed_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if let Err(error) = self.chain.abandon(self.statement, elapsed_ns) {
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
        let state = ChainState::at(0, chain::seed_hash(session, &seed), false);
        let shared = Shared { core, session, who: Arc::new(who), client, state, end: AtomicU64::new(0) };
        shared.begin(|shared, state| {
            let body = EventBody { claims, detail, seed: Some(seed), ..shared.event_body() };
            shared.push(state, Link::Opened, chain::OPENED, &body)
        })?;
        Ok(SessionChain(Arc::new(shared)))
    }

    /// Goes on with a chain that an earlier process left, only to end it.
    pub(crate) fn interrupt(core: &Arc<Core>, session: Uuid, left: chain::OpenChain) -> Result<(), AuditError> {
        let state = ChainState::at(left.records, left.last, true);
        let who = left.who.unwrap_or_else(|| Arc::new(Who { org: None, agent: None }));
        let shared =
            Shared { core: Arc::clone(core), session, who, client: "local".into(), state, end: AtomicU64::new(0) };
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
        let mut receipt = self.queue(statement, &self.form(fields)?, fields.credits_estimated)?;
        receipt.write()?;
        Ok(receipt)
    }

    /// What of a statement's intent is the same each time the session runs it.
    ///
    /// # Errors
    /// `audit_unavailable`, when it is too large to record.
    pub fn form(&self, fields: &IntentFields<'_>) -> Result<IntentForm, Refusal> {
        let (org, agent) = self.0.names();
        IntentForm::new((org, agent, &self.0.client), fields).map_err(|error| error.refusal())
    }

    /// Takes a statement's place in the chain. Nothing of it may be seen or take effect before [`IntentReceipt::write`]:
    /// a statement whose rows are at hand saves a write by being written with its outcome.
    ///
    /// # Errors
    /// `audit_unavailable`: the statement must not run.
    pub fn queue(
        &self,
        statement: StatementId,
        form: &IntentForm,
        credits_estimated: Option<u64>,
    ) -> Result<IntentReceipt, Refusal> {
        self.0.queue_intent(statement, form, credits_estimated).map_err(|error| error.refusal())?;
        let chain = Arc::clone(&self.0);
        Ok(IntentReceipt { chain, statement, since: Instant::now(), open: true, written: false })
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
    pub fn queue_outcome(
        &self,
        mut receipt: IntentReceipt,
        fields: &OutcomeFields<'_>,
    ) -> Result<QueuedOutcome, Refusal> {
        receipt.open = false;
        let chain = Arc::clone(&receipt.chain);
        let end = chain
            .enqueue(|shared, state| {
                shared.push_outcome(state, receipt.statement, fields)?;
                shared.finish_one(state)
            })
            .map_err(|error| error.refusal())?;
        Ok(QueuedOutcome { chain, end })
    }

    /// Records a statement that is over before it began, as a refused one is: intent and outcome in one write.
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
        self.0
            .begin(|shared, state| {
                shared.push_intent(state, statement, &form, intent.credits_estimated)?;
                shared.push_outcome(state, statement, outcome)
            })
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

impl Shared {
    /// [`Shared::transact`] for what may as well not begin: while the disk is full it leaves no record behind.
    fn begin(&self, write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>) -> Result<(), AuditError> {
        self.core.ready()?;
        self.transact(write)
    }

    /// Runs `write` on the chain, then writes what it pushed and what was queued before. Nobody waits for the disk with
    /// the chain's lock in hand.
    fn transact(
        &self,
        write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let end = self.enqueue(write)?;
        self.write_to(end)
    }

    /// Runs `write` on the chain and queues what it pushed. The chain's lock is held until then, so that its records lie
    /// in the log in the chain's order.
    fn enqueue(
        &self,
        write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>,
    ) -> Result<u64, AuditError> {
        let mut state = self.state.lock();
        state.attempt(|state| write(self, state))?;
        let end = self.core.enqueue(&mut state.batch)?;
        self.end.fetch_max(end, Ordering::AcqRel);
        Ok(end)
    }

    fn write_to(&self, end: u64) -> Result<(), AuditError> {
        self.core.write_to(end)
    }

    fn queue_intent(
        &self,
        statement: StatementId,
        form: &IntentForm,
        credits_estimated: Option<u64>,
    ) -> Result<(), AuditError> {
        self.core.ready()?;
        self.state.lock().attempt(|state| {
            self.push_intent(state, statement, form, credits_estimated)?;
            state.links.running += 1;
            Ok(())
        })
    }

    /// Begins a record behind the chain's last one: all of it up to the body.
    fn open_record(&self, state: &mut ChainState, link: Link, event: &str) -> Result<(usize, Chained), AuditError> {
        if state.links.closed && link != Link::Interrupted {
            return Err(AuditError::Closed);
        }
        let salt = state.salt()?;
        let chained =
            Chained { link, session: self.session, sequence: state.links.records, previous: state.links.last };
        let buffer = &mut state.batch.bytes;
        let start = buffer.len();
        frame::open(buffer, &salt);
        chain::write(buffer, &chained, event);
        Ok((start, chained))
    }

    /// Encodes a record behind the chain's last one.
    fn push(&self, state: &mut ChainState, link: Link, event: &str, body: &impl Serialize) -> Result<(), AuditError> {
        let (start, chained) = self.open_record(state, link, event)?;
        let buffer = &mut state.batch.bytes;
        let joint = buffer.len();
        json(buffer, body)?;
        if let Some(brace) = buffer.get_mut(joint) {
            *brace = b',';
        }
        self.close_record(state, start, chained)
    }

    /// Completes the record that begins at `start` of the batch.
    fn close_record(&self, state: &mut ChainState, start: usize, chained: Chained) -> Result<(), AuditError> {
        let buffer = &mut state.batch.bytes;
        let bytes = buffer.len() - start;
        let leaf = frame::close(buffer, start).ok_or(AuditError::TooLarge { bytes })?;
        state.batch.entries.push(Entry { chained, leaf, who: Arc::clone(&self.who) });
        state.links.records += 1;
        state.links.last = leaf;
        Ok(())
    }

    fn push_intent(
        &self,
        state: &mut ChainState,
        statement: StatementId,
        form: &IntentForm,
        credits_estimated: Option<u64>,
    ) -> Result<(), AuditError> {
        let (start, chained) = self.open_record(state, Link::Intent(statement.0), "")?;
        form.write(now(), credits_estimated, &mut state.batch.bytes);
        self.close_record(state, start, chained)
    }

    fn push_outcome(
        &self,
        state: &mut ChainState,
        statement: StatementId,
        fields: &OutcomeFields<'_>,
    ) -> Result<(), AuditError> {
        self.push(state, Link::Outcome(statement.0), "", &OutcomeBody::new(now(), self.names(), fields))
    }

    fn abandon(&self, statement: StatementId, elapsed_ns: u64) -> Result<(), AuditError> {
        self.transact(|shared, state| {
            let (org, agent) = shared.names();
            let body = OutcomeBody {
                time: now(),
                org,
                agent,
                outcome: "abandoned",
                code: None,
                rows: 0,
                elapsed_ns,
                masks: &[],
                estimated: 0,
                settled: 0,
                uncollected: 0,
                heal: 0,
            };
            shared.push(state, Link::Outcome(statement.0), "", &body)?;
            shared.finish_one(state)
        })
    }

    /// Notes that a statement ended, and ends the session if that was waiting for it.
    fn finish_one(&self, state: &mut ChainState) -> Result<(), AuditError> {
        state.links.running = state.links.running.saturating_sub(1);
        match state.links.closing {
            Some(reason) if state.links.running == 0 => self.push_end(state, reason),
            _ => Ok(()),
        }
    }

    fn close(&self, reason: &'static str) -> Result<(), AuditError> {
        self.transact(|shared, state| {
            let never_opened = state.links.records == 0;
            if never_opened || state.links.closed || state.links.closing.is_some() {
                return Ok(());
            }
            state.links.closing = Some(reason);
            if state.links.running == 0 { shared.push_end(state, reason) } else { Ok(()) }
        })
    }

    fn push_end(&self, state: &mut ChainState, reason: &'static str) -> Result<(), AuditError> {
        let detail = [("reason", reason)];
        let body = EventBody { records: Some(state.links.records + 1), detail: &detail, ..self.event_body() };
        self.push(state, Link::Closed, chain::CLOSED, &body)?;
        state.links.closed = true;
        Ok(())
    }

    fn names(&self) -> (&str, &str) {
        (self.who.org.as_deref().unwrap_or_default(), self.who.agent.as_deref().unwrap_or_default())
    }

    fn event_body(&self) -> EventBody<'_> {
        static NO_CLAIMS: Claims = Claims { application_name: None, agent_id: None, framework: None, request_id: None };
        EventBody {
            time: now(),
            org: self.who.org.as_deref(),
            agent: self.who.agent.as_deref(),
            client: Some(self.client.as_str()),
            claims: &NO_CLAIMS,
            code: None,
            detail: &[],
            records: None,
            seed: None,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        match self.close("dropped") {
            // The journal was closed first; the next start records the session as interrupted.
            Ok(()) | Err(AuditError::Closed) => {}
            Err(error) => tracing::error!(%error, session = %self.session, "the end of a session is not recorded"),
        }
    }
}

impl ChainState {
    fn at(records: u64, last: Hash, closed: bool) -> Mutex<ChainState> {
        let links = Links { records, last, running: 0, closing: None, closed };
        Mutex::new(ChainState { links, salts: Vec::new(), batch: Batch::default() })
    }

    /// Runs `write`; if it fails, nothing of what it pushed stays.
    fn attempt(&mut self, write: impl FnOnce(&mut ChainState) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let (links, bytes, entries) = (self.links, self.batch.bytes.len(), self.batch.entries.len());
        let done = write(self);
        if done.is_err() {
            self.links = links;
            self.batch.bytes.truncate(bytes);
            self.batch.entries.truncate(entries);
        }
        done
    }

    fn salt(&mut self) -> Result<[u8; SALT_BYTES], AuditError> {
        if let Some(salt) = self.salts.pop() {
            return Ok(salt);
        }
        let mut bytes = [0; SALT_BYTES * SALTS_AT_ONCE];
        keys::random(&mut bytes).map_err(AuditError::io("the system's random generator"))?;
        let (salts, _) = bytes.as_chunks::<SALT_BYTES>();
        self.salts.extend_from_slice(salts);
        self.salts.pop().ok_or(AuditError::Closed)
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
