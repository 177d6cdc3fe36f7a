//! Appending: many sessions, one file.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    AuditError, Checkpoint,
    books::Books,
    error::AppendError,
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
    /// The first record of the file that grows.
    current_file: AtomicU64,
    /// Held while a group of records is made durable.
    sync: Mutex<()>,
    /// Held by the one who waits for the thread that does it; the others wait for their turn, and find it done.
    turn: tokio::sync::Mutex<()>,
    /// Records that are durable.
    synced: AtomicU64,
    books: Mutex<Books>,
    poison: OnceLock<String>,
    /// The disk is full: what is queued waits for room.
    stalled: AtomicBool,
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
        let (size, current_file) = (log.size(), log.current_file());
        Core {
            layout,
            signer,
            durability,
            queue: Mutex::new(Queue { batch: Batch::default(), next: size, closed: false }),
            writer: Mutex::new(Writer { log, batch: Batch::default() }),
            written: AtomicU64::new(size),
            current_file: AtomicU64::new(current_file),
            sync: Mutex::new(()),
            turn: tokio::sync::Mutex::new(()),
            synced: AtomicU64::new(size),
            books: Mutex::new(books),
            poison: OnceLock::new(),
            stalled: AtomicBool::new(false),
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

    /// The first record of the log file that grows.
    pub fn current_file(&self) -> u64 {
        self.current_file.load(Ordering::Relaxed)
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
        self.queue.lock().closed = true;
        self.check()?;
        self.write_queued(&mut writer)
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
        if self.is_written(end) { Ok(()) } else { self.write_as(self.writer.lock(), end) }
    }

    /// [`Core::write_to`], unless another thread writes just now: `false` says so.
    pub fn try_write_to(&self, end: u64) -> Result<bool, AuditError> {
        if self.is_written(end) {
            return Ok(true);
        }
        let Some(writer) = self.writer.try_lock() else { return Ok(false) };
        self.write_as(writer, end).map(|()| true)
    }

    fn write_as(&self, mut writer: MutexGuard<'_, Writer>, end: u64) -> Result<(), AuditError> {
        if !self.is_written(end) {
            self.check()?;
            self.write_queued(&mut writer)?;
        }
        drop(writer);
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.alarm.flags.lock().dirty = true;
            self.alarm.rings.notify_one();
        }
        Ok(())
    }

    /// Writes everything queued. What finds no room stays queued, in its order: the chains have gone on behind it.
    fn write_queued(&self, writer: &mut Writer) -> Result<(), AuditError> {
        let Writer { log, batch } = writer;
        std::mem::swap(&mut self.queue.lock().batch, batch);
        if let Err(failed) = log.append(batch) {
            let mut queue = self.queue.lock();
            let later = std::mem::replace(&mut queue.batch, std::mem::take(batch));
            queue.batch.push_behind(later);
            drop(queue);
            return Err(self.failed(failed));
        }
        self.written.store(log.size() + batch.entries.len() as u64, Ordering::Release);
        self.current_file.store(log.current_file(), Ordering::Relaxed);
        log.account(batch);
        self.stalled.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether a record would be written. Whoever begins something asks, so that what waits for a full disk does not
    /// grow; once there is room again, this is what finds it.
    pub fn ready(&self) -> Result<(), AuditError> {
        self.check()?;
        if self.stalled.load(Ordering::Acquire) { self.write_queued(&mut self.writer.lock()) } else { Ok(()) }
    }

    /// [`Core::check`], and whether the disk is full.
    pub fn health(&self) -> Result<(), AuditError> {
        self.check()?;
        if self.stalled.load(Ordering::Acquire) { Err(AuditError::Full) } else { Ok(()) }
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
    ///
    /// # Errors
    /// [`AuditError::Full`]: it is to be made again.
    pub fn checkpoint(&self, with_state: bool) -> Result<(), AuditError> {
        self.check()?;
        self.write_checkpoint(with_state).map_err(|failed| match failed {
            // Statements go on as long as their records find room.
            AppendError::Full(_) => AuditError::Full,
            AppendError::Broken(error) => self.poisoned(error),
        })
    }

    fn write_checkpoint(&self, with_state: bool) -> Result<(), AppendError> {
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
            file.sync_data().map_err(AuditError::io(self.layout.audit())).map_err(AppendError::Broken)?;
            self.synced.fetch_max(checkpoint.size, Ordering::AcqRel);
            let note = checkpoint.sign(&self.signer);
            if let Err(failed) = books.append(&self.layout, &leaves, &note) {
                self.writer.lock().log.put_back_unflushed(leaves);
                return Err(failed);
            }
            books.newest = Some((checkpoint, note));
            self.counters.checkpoints.0.increment(1);
        }
        if let Some(state) = state {
            let path = self.layout.state();
            let written = state.sign(&self.signer).map_err(std::io::Error::from);
            let written = written.and_then(|note| layout::replace(&path, note.as_bytes(), false));
            written.map_err(|error| AppendError::of(path, error, || Ok(())))?;
        }
        Ok(())
    }

    pub fn check(&self) -> Result<(), AuditError> {
        match self.poison.get() {
            None => Ok(()),
            Some(what) => Err(AuditError::Poisoned { what: what.clone() }),
        }
    }

    fn failed(&self, failed: AppendError) -> AuditError {
        match failed {
            AppendError::Full(error) => {
                if !self.stalled.swap(true, Ordering::AcqRel) {
                    tracing::error!(%error, "no statement is answered until there is room for the audit journal");
                }
                AuditError::Full
            }
            AppendError::Broken(error) => {
                if self.poison.set(error.to_string()).is_ok() {
                    tracing::error!(%error, "the audit journal stops: no statement is answered until a restart");
                }
                error
            }
        }
    }

    fn poisoned(&self, error: AuditError) -> AuditError {
        self.failed(AppendError::Broken(error))
    }
}

#[cfg(test)]
mod tests {
    use weir_model::{
        Attributes, Claims, ClientAddress, Code, CredentialId, CredentialKind, Identity, OrgName, Refusal, SessionId,
        StatementId,
    };

    use super::*;
    use crate::{
        AuditError, EventFields, EventKind, IntentFields, IntentReceipt, Journal, JournalOptions, Outcome,
        OutcomeFields, SessionChain, verify,
    };

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

    fn open(journal: &Journal) -> Result<SessionChain, Refusal> {
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

    fn intent(chain: &SessionChain) -> Result<IntentReceipt, Refusal> {
        let fields = IntentFields {
            claims: &Claims::default(),
            roles: &[],
            sql: "SELECT 1",
            executed: None,
            fingerprint: None,
            kind: "SELECT",
            tables: &[],
            confidence: 1.0,
            decision: None,
            credits_estimated: None,
        };
        chain.intent(StatementId::fresh(), &fields)
    }

    fn outcome(chain: &SessionChain, receipt: IntentReceipt) -> Result<(), Refusal> {
        let fields = OutcomeFields {
            outcome: Outcome::Ok,
            rows: 1,
            elapsed: std::time::Duration::ZERO,
            masks: &[],
            credits_estimated: 0,
            credits_settled: 0,
            credits_uncollected: 0,
            heal_attempts: 0,
        };
        chain.outcome(receipt, &fields)
    }

    #[test]
    fn a_full_disk_refuses_statements_until_there_is_room_and_loses_no_record() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
        let chain = open(&journal).unwrap();
        let full = |full| journal.core().writer.lock().log.full = full;
        for _ in 0..3 {
            let running = intent(&chain).unwrap();
            full(true);
            let refused = outcome(&chain, running).unwrap_err();
            assert_eq!((refused.code(), refused.sqlstate().0), (Code::AuditUnavailable, "58030"));
            assert!(matches!(journal.health(), Err(AuditError::Full)));
            let size = journal.size();
            for _ in 0..100 {
                assert!(intent(&chain).is_err() && open(&journal).is_err());
            }
            assert!(journal.core().queue.lock().batch.entries.len() < 3, "what waits grows");
            assert_eq!(journal.size(), size);
            full(false);
            let next = intent(&chain).unwrap();
            outcome(&chain, next).unwrap();
            assert!(journal.health().is_ok());
        }
        drop(chain);
        journal.close().unwrap();
        drop(journal);
        let report = verify(data.path(), None);
        assert!(report.is_ok() && report.sessions_open == 0, "{report}");
        Journal::open(data.path(), JournalOptions::default()).unwrap().close().unwrap();
    }

    #[test]
    fn with_room_again_what_waited_is_written_without_a_statement() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
        let chain = open(&journal).unwrap();
        journal.core().writer.lock().log.full = true;
        assert!(chain.event(&EventFields::new(EventKind::Notice)).is_err());
        journal.core().writer.lock().log.full = false;
        let waited = std::time::Instant::now();
        while journal.health().is_err() {
            assert!(waited.elapsed().as_secs() < 20, "nobody tries again");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
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
