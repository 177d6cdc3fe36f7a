//! Appending: many sessions, one file.

use std::{
    fs::File,
    io::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Condvar, Mutex};

use crate::{
    AuditError, Checkpoint, Hash,
    checkpoint::SEPARATOR,
    journal::Durability,
    layout::{self, Layout},
    log::{Batch, Log},
    note::NoteSigner,
    state::{LogFile, State},
};

/// What sessions and the keeper share.
///
/// An append queues its records; before anyone may see what they tell of, it takes the writer's lock. Whoever gets it
/// first writes everything that is queued with one system call; the others find their records written. Locks are taken in this order only:
/// a chain's, `sync` or `books`, `writer`, `queue`.
#[derive(Debug)]
pub(crate) struct Core {
    layout: Layout,
    signer: NoteSigner,
    durability: Durability,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    /// Records that are written.
    written: AtomicU64,
    /// Held while a group of records is made durable.
    sync: Mutex<()>,
    /// Held by the one who waits for the thread that does it; the others wait for their turn, and find it done.
    turn: tokio::sync::Mutex<()>,
    /// Records that are durable.
    synced: AtomicU64,
    books: Mutex<Books>,
    poison: OnceLock<String>,
    /// Whether something was written since the last fsync began.
    dirty: AtomicBool,
    pub(crate) alarm: Alarm,
    counters: Counters,
}

#[derive(Debug)]
struct Queue {
    batch: Batch,
    /// Records queued since the journal began, so the index of the next one.
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Writer {
    log: Log,
    /// Takes turns with the queue's batch, so that neither is allocated anew.
    batch: Batch,
}

/// The files that checkpoints are written to.
#[derive(Debug)]
pub(crate) struct Books {
    pub leaves: File,
    pub checkpoints: File,
    /// The newest checkpoint, and its note.
    pub newest: Option<(Checkpoint, String)>,
}

/// Wakes the keeper.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    pub flags: Mutex<Flags>,
    pub rings: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub dirty: bool,
    pub stop: bool,
}

#[derive(Debug)]
struct Counters {
    records: CounterHandle,
    bytes: CounterHandle,
    checkpoints: CounterHandle,
}

/// `metrics` handles do not implement `Debug` usefully.
struct CounterHandle(metrics::Counter);

impl std::fmt::Debug for CounterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counter")
    }
}

impl Core {
    pub fn new(layout: Layout, signer: NoteSigner, durability: Durability, log: Log, books: Books) -> Core {
        let size = log.size();
        Core {
            layout,
            signer,
            durability,
            queue: Mutex::new(Queue { batch: Batch::default(), next: size, closed: false }),
            writer: Mutex::new(Writer { log, batch: Batch::default() }),
            written: AtomicU64::new(size),
            sync: Mutex::new(()),
            turn: tokio::sync::Mutex::new(()),
            synced: AtomicU64::new(size),
            books: Mutex::new(books),
            poison: OnceLock::new(),
            dirty: AtomicBool::new(false),
            alarm: Alarm::default(),
            counters: Counters {
                records: CounterHandle(metrics::counter!("weir_audit_records_total")),
                bytes: CounterHandle(metrics::counter!("weir_audit_written_bytes_total")),
                checkpoints: CounterHandle(metrics::counter!("weir_audit_checkpoints_total")),
            },
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Records written.
    pub fn size(&self) -> u64 {
        self.writer.lock().log.size()
    }

    /// Every log file with its length, the growing one last.
    pub fn extent(&self) -> Vec<LogFile> {
        self.writer.lock().log.files()
    }

    /// How many log files there are.
    pub fn files(&self) -> usize {
        self.writer.lock().log.file_count()
    }

    /// Records that the newest checkpoint vouches for.
    pub fn signed(&self) -> u64 {
        self.books.lock().newest.as_ref().map_or(0, |(newest, _)| newest.size)
    }

    /// The newest checkpoint's note.
    pub fn newest_checkpoint(&self) -> Option<(Checkpoint, String)> {
        self.books.lock().newest.clone()
    }

    /// Refuses every append from now on. What was queued before is written when this returns, so that nothing is
    /// written later, when another process may have the journal.
    pub fn shut(&self) -> Result<(), AuditError> {
        let mut writer = self.writer.lock();
        let Writer { log, batch } = &mut *writer;
        {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::swap(&mut queue.batch, batch);
        }
        self.check()?;
        if batch.entries.is_empty() {
            return Ok(());
        }
        log.append(batch).map_err(|error| self.poisoned(error))?;
        log.account(batch);
        self.written.store(log.size(), Ordering::Release);
        Ok(())
    }

    /// Queues a chain's records and empties the batch. Returns the size of the log with them.
    pub fn enqueue(&self, batch: &mut Batch) -> Result<u64, AuditError> {
        let (records, bytes) = (batch.entries.len() as u64, batch.bytes.len() as u64);
        if records == 0 {
            return Ok(0);
        }
        self.check()?;
        let end = {
            let mut queue = self.queue.lock();
            if queue.closed {
                batch.clear();
                return Err(AuditError::Closed);
            }
            queue.batch.bytes.extend_from_slice(&batch.bytes);
            queue.batch.entries.append(&mut batch.entries);
            queue.next += records;
            queue.next
        };
        batch.clear();
        self.counters.records.0.increment(records);
        self.counters.bytes.0.increment(bytes);
        Ok(end)
    }

    /// Whether the first `end` records are written.
    pub fn is_written(&self, end: u64) -> bool {
        self.written.load(Ordering::Acquire) >= end
    }

    /// Writes everything queued, unless the first `end` records are written.
    pub fn write_to(&self, end: u64) -> Result<(), AuditError> {
        if self.is_written(end) {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        if !self.is_written(end) {
            self.check()?;
            let Writer { log, batch } = &mut *writer;
            std::mem::swap(&mut self.queue.lock().batch, batch);
            log.append(batch).map_err(|error| self.poisoned(error))?;
            self.written.store(log.size() + batch.entries.len() as u64, Ordering::Release);
            log.account(batch);
        }
        drop(writer);
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.alarm.flags.lock().dirty = true;
            self.alarm.rings.notify_one();
        }
        Ok(())
    }

    /// Waits until the first `end` records, which are written, are as durable as the journal promises at this point.
    /// No thread of the caller's is kept meanwhile.
    pub async fn durable(self: &Arc<Self>, end: u64) -> Result<(), AuditError> {
        let is_durable = || self.durability == Durability::Group || self.synced.load(Ordering::Acquire) >= end;
        if is_durable() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if is_durable() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let syncing = tokio::task::spawn_blocking(move || core.write_to(end).and_then(|()| core.sync_to(end)));
        syncing.await.unwrap_or(Err(AuditError::Closed))
    }

    /// Makes the first `end` records durable. One fsync serves everyone who came while the one before it ran.
    fn sync_to(&self, end: u64) -> Result<(), AuditError> {
        if self.synced.load(Ordering::Acquire) >= end {
            return Ok(());
        }
        let _turn = self.sync.lock();
        if self.synced.load(Ordering::Acquire) >= end { Ok(()) } else { self.sync_file() }
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<(), AuditError> {
        self.dirty.store(false, Ordering::Release);
        self.sync_to(self.size())
    }

    fn sync_file(&self) -> Result<(), AuditError> {
        self.check()?;
        let (file, size) = {
            let writer = self.writer.lock();
            (writer.log.file(), writer.log.size())
        };
        file.sync_data().map_err(AuditError::io(self.layout.audit())).map_err(|error| self.poisoned(error))?;
        self.synced.fetch_max(size, Ordering::AcqRel);
        Ok(())
    }

    /// Signs what the log holds and writes it down, everything it vouches for being durable first: after a crash the
    /// log is never behind its checkpoints, and the checkpoints never behind the head.
    pub fn checkpoint(&self, with_state: bool) -> Result<(), AuditError> {
        self.check()?;
        self.write_checkpoint(with_state).map_err(|error| self.poisoned(error))
    }

    fn write_checkpoint(&self, with_state: bool) -> Result<(), AuditError> {
        let mut books = self.books.lock();
        let (file, frontier, leaves, state) = {
            let mut writer = self.writer.lock();
            let log = &mut writer.log;
            let state = with_state.then(|| State::of(log.frontier(), log.files(), log.chains()));
            (log.file(), log.frontier().clone(), log.take_unflushed(), state)
        };
        let origin = self.signer.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: frontier.size(), root: frontier.root() };
        if books.newest.as_ref().is_none_or(|(newest, _)| newest.size != checkpoint.size) {
            file.sync_data().map_err(AuditError::io(self.layout.audit()))?;
            self.synced.fetch_max(checkpoint.size, Ordering::AcqRel);
            books.append_leaves(&leaves).map_err(AuditError::io(self.layout.leaves()))?;
            let note = checkpoint.sign(&self.signer);
            books.append_checkpoint(&note).map_err(AuditError::io(self.layout.checkpoints()))?;
            layout::replace(&self.layout.head(), note.as_bytes(), true)?;
            books.newest = Some((checkpoint, note));
            self.counters.checkpoints.0.increment(1);
        }
        if let Some(state) = state {
            let note = state
                .sign(&self.signer)
                .map_err(|error| AuditError::Io { path: self.layout.state(), source: error.into() })?;
            layout::replace(&self.layout.state(), note.as_bytes(), false)?;
        }
        Ok(())
    }

    pub fn check(&self) -> Result<(), AuditError> {
        match self.poison.get() {
            None => Ok(()),
            Some(what) => Err(AuditError::Poisoned { what: what.clone() }),
        }
    }

    fn poisoned(&self, error: AuditError) -> AuditError {
        if self.poison.set(error.to_string()).is_ok() {
            tracing::error!(%error, "the audit journal stops: no statement is answered until the server is restarted");
        }
        error
    }
}

impl Books {
    fn append_leaves(&mut self, leaves: &[Hash]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(leaves.len() * 32);
        leaves.iter().for_each(|leaf| bytes.extend_from_slice(leaf.as_bytes()));
        self.leaves.write_all(&bytes)?;
        self.leaves.sync_data()
    }

    fn append_checkpoint(&mut self, note: &str) -> std::io::Result<()> {
        self.checkpoints.write_all(format!("{note}{SEPARATOR}").as_bytes())?;
        self.checkpoints.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use weir_model::{
        Attributes, Claims, ClientAddress, Code, CredentialId, CredentialKind, Identity, OrgName, Refusal, SessionId,
    };

    use super::*;
    use crate::{EventFields, EventKind, Journal, JournalOptions, verify};

    #[tokio::test]
    async fn what_a_session_waited_for_is_durable_in_a_strict_journal() {
        let data = tempfile::tempdir().unwrap();
        let options = JournalOptions { durability: Durability::Strict, ..JournalOptions::default() };
        let journal = Journal::open(data.path(), options).unwrap();
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let chain = open(&journal).unwrap();
                tokio::spawn(async move {
                    for _ in 0..5 {
                        chain.event(&EventFields::new(EventKind::Notice)).unwrap();
                        let written = chain.end();
                        chain.durable().await.unwrap();
                        assert!(chain.core().synced.load(Ordering::Acquire) >= written);
                    }
                })
            })
            .collect();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        // The journal's own beginning; of each session its beginning, five events and its end.
        assert_eq!(journal.size(), 1 + 8 * 7);
    }

    fn open(journal: &Journal) -> Result<crate::SessionChain, Refusal> {
        let identity = Identity {
            org: OrgName::new("acme").unwrap(),
            agent: "a".into(),
            credential: CredentialId("k1".into()),
            kind: CredentialKind::Agent,
            attributes: Attributes::new(),
            roles: Vec::new(),
            expires_at: None,
        };
        journal.session(SessionId::fresh(), &identity, &ClientAddress::Local, &Claims::default())
    }

    #[test]
    fn after_a_failed_write_nothing_is_written_again() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
        let chain = open(&journal).unwrap();
        let event = EventFields::new(EventKind::Notice);
        chain.event(&event).unwrap();
        assert!(journal.health().is_ok());
        journal.core().writer.lock().log.make_unwritable();
        for _ in 0..3 {
            let refusal = chain.event(&event).unwrap_err();
            assert_eq!((refusal.code(), refusal.sqlstate().0), (Code::AuditUnavailable, "58030"));
        }
        assert!(matches!(journal.health(), Err(AuditError::Poisoned { .. })));
        assert!(open(&journal).is_err() && journal.event(&event).is_err() && journal.flush().is_err());
        assert!(journal.close().is_err());
        drop(chain);
        drop(journal);
        // The next process finds what was recorded, and ends what was left open.
        Journal::open(data.path(), JournalOptions::default()).unwrap().close().unwrap();
        let report = verify(data.path(), None);
        assert!(report.is_ok() && report.sessions_open == 0, "{report}");
    }
}
