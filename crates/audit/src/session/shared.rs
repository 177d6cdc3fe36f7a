use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;
use weir_model::{Claims, StatementId};

use crate::{
    AuditError, Hash, IntentForm,
    chain::{self, Chained, Link, Who},
    core::Core,
    form::{StatedForms, put_number},
    frame::{self, SALT_BYTES},
    keys,
    log::{Batch, Entry},
    record::{EventBody, OutcomeBody, json},
};

/// Salts drawn from the operating system at once.
const SALTS_AT_ONCE: usize = 64;

/// A session's chain: what it is about, and where it stands.
#[derive(Debug)]
pub(super) struct Shared {
    pub core: Arc<Core>,
    pub session: Uuid,
    who: Arc<Who>,
    pub client: String,
    /// `"org":…,"agent":…`, as every record of a statement says it.
    names: Box<[u8]>,
    state: Mutex<ChainState>,
    /// Size of the log with the newest of the session's records.
    pub end: AtomicU64,
}

#[derive(Debug)]
pub(super) struct ChainState {
    pub links: Links,
    salts: Vec<[u8; SALT_BYTES]>,
    batch: Batch,
}

/// Where the chain stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    /// Records so far.
    pub records: u64,
    /// Leaf of the last record; before the first, the seed's hash.
    last: Hash,
    /// Receipts given out and not yet consumed.
    running: u64,
    /// Why the session ends, once somebody said so.
    closing: Option<&'static str>,
    closed: bool,
    forms: StatedForms,
}

/// Where a chain begins for this process.
pub(super) struct At {
    pub records: u64,
    pub last: Hash,
    pub closed: bool,
}

#[derive(Serialize)]
struct Names<'a> {
    org: &'a str,
    agent: &'a str,
}

impl Shared {
    pub fn new(core: Arc<Core>, session: Uuid, who: Arc<Who>, client: String, at: At) -> Result<Shared, AuditError> {
        let At { records, last, closed } = at;
        let mut names = Vec::new();
        let (org, agent) = (who.org.as_deref().unwrap_or_default(), who.agent.as_deref().unwrap_or_default());
        json(&mut names, &Names { org, agent })?;
        let names = names.get(1..names.len().saturating_sub(1)).unwrap_or_default().into();
        let state = ChainState::at(records, last, closed);
        Ok(Shared { core, session, who, client, names, state, end: AtomicU64::new(0) })
    }

    /// [`Shared::transact`] for what may as well not begin: while the disk is full it leaves no record behind.
    pub fn begin(
        &self,
        write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        self.core.ready()?;
        self.transact(write)
    }

    /// Runs `write` on the chain, then writes what it pushed and what was queued before. Nobody waits for the disk with
    /// the chain's lock in hand.
    pub fn transact(
        &self,
        write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let end = self.enqueue(write)?;
        self.write_to(end)
    }

    /// Runs `write` on the chain and queues what it pushed. The chain's lock is held until then, so that its records lie
    /// in the log in the chain's order.
    pub fn enqueue(
        &self,
        write: impl FnOnce(&Shared, &mut ChainState) -> Result<(), AuditError>,
    ) -> Result<u64, AuditError> {
        let mut state = self.state.lock();
        state.attempt(|state| write(self, state))?;
        let end = self.core.enqueue(&mut state.batch)?;
        self.end.fetch_max(end, Ordering::AcqRel);
        Ok(end)
    }

    pub fn write_to(&self, end: u64) -> Result<(), AuditError> {
        self.core.write_to(end)
    }

    /// Counts a statement that begins.
    pub fn begin_statement(&self) -> Result<(), AuditError> {
        self.core.ready()?;
        self.state.lock().links.running += 1;
        Ok(())
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
    pub fn push(
        &self,
        state: &mut ChainState,
        link: Link,
        event: &str,
        body: &impl Serialize,
    ) -> Result<(), AuditError> {
        let (start, chained) = self.open_record(state, link, event)?;
        put_fields(&mut state.batch.bytes, body)?;
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

    /// What every record of a statement says first.
    fn put_names(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(b",\"time\":");
        put_number(buffer, now());
        buffer.push(b',');
        buffer.extend_from_slice(&self.names);
    }

    fn put_form(&self, state: &mut ChainState, form: &IntentForm) {
        state.links.forms.write(form, self.core.current_file(), &mut state.batch.bytes);
    }

    pub fn push_intent(
        &self,
        state: &mut ChainState,
        statement: StatementId,
        form: &IntentForm,
        credits_estimated: Option<u64>,
    ) -> Result<(), AuditError> {
        let (start, chained) = self.open_record(state, Link::Intent(statement.0), "")?;
        self.put_names(&mut state.batch.bytes);
        self.put_form(state, form);
        if let Some(estimated) = credits_estimated {
            state.batch.bytes.extend_from_slice(b",\"estimated\":");
            put_number(&mut state.batch.bytes, estimated);
        }
        state.batch.bytes.push(b'}');
        self.close_record(state, start, chained)
    }

    /// With the form of a statement whose intent is not recorded: one record for both.
    pub fn push_outcome(
        &self,
        state: &mut ChainState,
        statement: StatementId,
        form: Option<&IntentForm>,
        outcome: &OutcomeBody<'_>,
    ) -> Result<(), AuditError> {
        let link = if form.is_some() { Link::Whole(statement.0) } else { Link::Outcome(statement.0) };
        let (start, chained) = self.open_record(state, link, "")?;
        self.put_names(&mut state.batch.bytes);
        if let Some(form) = form {
            self.put_form(state, form);
        }
        put_fields(&mut state.batch.bytes, outcome)?;
        self.close_record(state, start, chained)
    }

    /// Notes that a statement ended, and ends the session if that was waiting for it.
    pub fn finish_one(&self, state: &mut ChainState) -> Result<(), AuditError> {
        state.links.running = state.links.running.saturating_sub(1);
        match state.links.closing {
            Some(reason) if state.links.running == 0 => self.push_end(state, reason),
            _ => Ok(()),
        }
    }

    pub fn close(&self, reason: &'static str) -> Result<(), AuditError> {
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

    pub fn event_body(&self) -> EventBody<'_> {
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
        let links = Links { records, last, running: 0, closing: None, closed, forms: StatedForms::default() };
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

/// Appends an object's fields, and the closing brace, to a record.
fn put_fields(buffer: &mut Vec<u8>, body: &impl Serialize) -> Result<(), AuditError> {
    let joint = buffer.len();
    json(buffer, body)?;
    if let Some(brace) = buffer.get_mut(joint) {
        *brace = b',';
    }
    Ok(())
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
