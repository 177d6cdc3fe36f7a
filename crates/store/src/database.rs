use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use weir_model::{Code, OrgName, Refusal};

use crate::{
    StoreError, Transaction, Version,
    cache::SegmentCache,
    committer::{self, CommitJob, Job, Queue, Reply},
    error::disk_full,
    files::{FolderLock, Folders, LocalLogStorage, LogStorage, sync_folder},
    flush::{self, FlushState},
    housekeeping,
    recovery::recover,
    shelf::Shelf,
    transaction::Space,
    wal::{LogWriter, encode_record},
};

/// How a database treats its files.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Whether a commit waits until the disk has it. Without, a crash of the machine may lose the last commits, and may
    /// leave a log that reads as damaged.
    pub fsync: bool,
    /// Size of the log's files, filled with zeros ahead of use.
    pub wal_file_bytes: u64,
    /// Rows in memory beyond this are flushed to segment files. Commits wait from four times as much.
    pub flush_bytes: usize,
    /// Commits older than this are flushed.
    pub flush_age: Duration,
    /// Where the log's files come from.
    pub log_storage: Arc<dyn LogStorage>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            fsync: true,
            wal_file_bytes: 64 << 20,
            flush_bytes: 64 << 20,
            flush_age: Duration::from_secs(30),
            log_storage: Arc::new(LocalLogStorage),
        }
    }
}

/// The tables of one org: one current version, a log, segment files.
///
/// Two threads serve it: one commits, one flushes. Dropping it stops them and leaves rows in memory to the log;
/// [`Database::close`] flushes first.
#[derive(Debug)]
pub struct Database {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub folders: Folders,
    pub options: StoreOptions,
    pub version: ArcSwap<Version>,
    pub queue: Queue,
    pub space: Arc<Space>,
    pub files: Shelf,
    pub flushing: FlushState,
    pub hot: HotRows,
    /// What failed.
    poison: Mutex<Option<String>>,
    _lock: FolderLock,
}

/// How many bytes of rows are in memory, since when there is something to flush, and who waits for that to change.
#[derive(Debug, Default)]
pub(crate) struct HotRows {
    pub bytes: AtomicUsize,
    pub since: Mutex<Option<Instant>>,
    /// Commits that wait for a flush.
    room: Notify,
    pub signal: Signal,
}

/// Wakes the flushing thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    pub state: Mutex<SignalState>,
    pub wake: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct SignalState {
    pub wanted: bool,
    pub stopping: bool,
    /// The last flush failed because the disk is full.
    pub disk_full: bool,
}

/// Rows in memory, as a multiple of what starts a flush, at which commits wait.
const ROOM_FACTOR: usize = 4;

impl Database {
    /// Opens an org's database under `data_dir`, making it if it is not there: reads the newest manifest, replays the
    /// log since, and removes what unfinished work left behind.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open; [`StoreError::Corrupted`] when something durable is
    /// damaged or missing, with the file and the place; [`StoreError::Io`].
    pub fn open(
        data_dir: &Path,
        org: &OrgName,
        options: StoreOptions,
        cache: Arc<SegmentCache>,
    ) -> Result<Arc<Database>, StoreError> {
        let started = Instant::now();
        let folders = Folders::create(data_dir, org.as_str())?;
        let lock = FolderLock::take(&folders.wal)?;
        let found = recover(&folders, &cache)?;
        let log = LogWriter::open(&folders.wal, Arc::clone(&options.log_storage), found.next_lsn, options.fsync)?;
        let version = found.version;
        let (tables, elapsed) = (version.tables.len(), started.elapsed());
        tracing::info!(%org, lsn = version.lsn, tables, ?elapsed, "opened a database");
        let space = Space {
            segments: folders.segments.clone(),
            cache,
            next_oid: AtomicU32::new(found.next_oid),
            next_file: AtomicU64::new(found.next_file),
            next_working: AtomicU64::new(1),
        };
        let hot = HotRows::default();
        let shared = Arc::new(Shared {
            folders,
            options,
            version: ArcSwap::from_pointee(Version::initial()),
            queue: Queue::default(),
            space: Arc::new(space),
            files: found.files,
            flushing: FlushState { manifest_lsn: Mutex::new(found.manifest_lsn) },
            hot,
            poison: Mutex::new(None),
            _lock: lock,
        });
        if found.manifest_lsn != Some(version.lsn) {
            shared.note_change();
        }
        shared.publish(version);
        let committing = Arc::clone(&shared);
        let keeping = Arc::clone(&shared);
        let threads = vec![
            spawn("weir-commit", move || committer::run(&committing, log))?,
            spawn("weir-flush", move || housekeeping::run(&keeping))?,
        ];
        Ok(Arc::new(Database { shared, threads: Mutex::new(threads) }))
    }

    /// The latest version.
    #[must_use]
    pub fn version(&self) -> Arc<Version> {
        self.shared.version.load_full()
    }

    /// A transaction on the latest version.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        self.begin_at(self.version())
    }

    /// A transaction on a version of this database that the caller holds.
    #[must_use]
    pub fn begin_at(&self, base: Arc<Version>) -> Transaction {
        Transaction::new(base, Arc::clone(&self.shared.space))
    }

    /// Makes a transaction's changes durable and visible, all or none. Returns a version that has them. A commit once
    /// begun goes through even if its future is dropped. One without changes returns the latest version.
    ///
    /// # Errors
    /// `serialization_failure` when another commit changed the same rows or names first, `unique_violation` when it
    /// brought the same key; `disk_full` while the log finds no room; `storage_failed` when it cannot be written, from
    /// then on for every commit until a restart; `shutting_down`.
    pub async fn commit(&self, transaction: Transaction) -> Result<Arc<Version>, Refusal> {
        if transaction.is_empty() {
            return Ok(self.version());
        }
        self.wait_for_room().await?;
        let (reply, answer) = oneshot::channel();
        self.send(transaction, Reply::Task(reply))?;
        answer.await.map_err(|_| lost())?
    }

    /// [`Database::commit`] for callers that may block their thread.
    ///
    /// # Errors
    /// As there.
    pub fn commit_blocking(&self, transaction: Transaction) -> Result<Arc<Version>, Refusal> {
        if transaction.is_empty() {
            return Ok(self.version());
        }
        if self.shared.is_crowded() {
            self.flush()?;
        }
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(transaction, Reply::Thread(reply))?;
        answer.recv().map_err(|_| lost())?
    }

    fn send(&self, transaction: Transaction, reply: Reply) -> Result<(), Refusal> {
        self.shared.healthy()?;
        let (base, change) = transaction.into_change();
        if change.tables.iter().flat_map(|table| &table.pieces).any(|piece| piece.body.as_cold().is_some()) {
            sync_folder(&self.shared.folders.segments)?;
        }
        let record = encode_record(&change).map_err(|what| Refusal::new(Code::ProgramLimitExceeded, what))?;
        Ok(self.shared.queue.push(Job::Commit(CommitJob { base, change, record, reply }))?)
    }

    /// Holds a commit back while far more rows are in memory than should be, so that memory stays bounded.
    async fn wait_for_room(&self) -> Result<(), Refusal> {
        while self.shared.is_crowded() {
            self.ask_for_flush()?;
            let _ = tokio::time::timeout(Duration::from_millis(50), self.shared.hot.room.notified()).await;
        }
        Ok(())
    }

    fn ask_for_flush(&self) -> Result<(), Refusal> {
        self.shared.healthy()?;
        let mut signal = self.shared.hot.signal.state.lock();
        if signal.disk_full {
            return Err(disk_full());
        }
        signal.wanted = true;
        drop(signal);
        self.shared.hot.signal.wake.notify_all();
        Ok(())
    }

    /// Writes all rows in memory to segment files and a manifest. Blocks the caller until then, nobody else.
    ///
    /// # Errors
    /// When files cannot be written; nothing is lost then, the log still has it.
    pub fn flush(&self) -> Result<(), StoreError> {
        flush::flush(&self.shared)
    }

    /// Why the database takes no more commits, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<Refusal> {
        self.shared.healthy().err()
    }

    /// Refuses further commits, lets those under way finish, flushes, and stops the threads. Readers may go on.
    ///
    /// # Errors
    /// When the last flush fails; the threads are stopped all the same.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.queue.close();
        let flushed = if self.threads.lock().is_empty() { Ok(()) } else { self.flush_settled() };
        self.stop();
        flushed
    }

    /// Flushes until no commit under way comes after.
    fn flush_settled(&self) -> Result<(), StoreError> {
        loop {
            let lsn = self.version().lsn;
            self.flush()?;
            // An empty replacement passes the queue behind every commit that was in it.
            let (reply, done) = mpsc::sync_channel(1);
            self.shared.queue.push(Job::Replace { replacements: Vec::new(), reply })?;
            let version = done.recv().map_err(|_| StoreError::Closed)?;
            if version.lsn == lsn {
                return Ok(());
            }
        }
    }

    fn stop(&self) {
        self.shared.queue.stop();
        self.shared.hot.signal.state.lock().stopping = true;
        self.shared.hot.signal.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store failed");
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Makes a version the current one. Only the committer calls it, so versions follow each other in order.
    pub fn publish(&self, version: Version) -> Arc<Version> {
        let bytes = version.hot_bytes();
        let version = Arc::new(version);
        self.version.store(Arc::clone(&version));
        self.hot.bytes.store(bytes, Ordering::Relaxed);
        metrics::gauge!("weir_store_hot_bytes").set(bytes as f64);
        if bytes > self.options.flush_bytes {
            self.hot.signal.state.lock().wanted = true;
            self.hot.signal.wake.notify_all();
        }
        if !self.is_crowded() {
            self.hot.room.notify_waiters();
        }
        version
    }

    /// There is something that no manifest has.
    pub fn note_change(&self) {
        self.hot.since.lock().get_or_insert_with(Instant::now);
    }

    fn is_crowded(&self) -> bool {
        self.hot.bytes.load(Ordering::Relaxed) > self.options.flush_bytes.saturating_mul(ROOM_FACTOR)
    }

    /// After this no commit succeeds until a restart: what the disk has of the log is not known.
    pub fn poison(&self, what: &str) {
        tracing::error!(what, "the log failed; the database is read-only until a restart");
        self.poison.lock().get_or_insert(what.to_owned());
    }

    pub fn healthy_or_error(&self) -> Result<(), StoreError> {
        match self.poison.lock().clone() {
            None => Ok(()),
            Some(what) => Err(StoreError::Poisoned { what }),
        }
    }

    pub fn healthy(&self) -> Result<(), Refusal> {
        self.healthy_or_error().map_err(Refusal::from)
    }
}

fn lost() -> Refusal {
    Refusal::new(Code::StorageFailed, "the commit was not answered; whether it happened is not known")
        .hint("read back what it should have changed before trying again")
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|source| StoreError::Io {
        action: "start a thread",
        path: name.into(),
        source,
    })
}
