//! The storage engine: an LSM tree for each kind of record, under one log.
//!
//! What it is guarded against: a panic of it is an error here; what it would not survive is looked for before; its back-pressure waits without end for its worker
//! threads, so writers wait here before it comes to that, and not for ever.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserValue,
    compaction::Leveled,
    config::{BlockSizePolicy, BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy},
};

use crate::store::{
    Settings, StoreError,
    block::{self, Number},
    engine_log, manifest,
};

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    Live,
    History,
    Metadata,
}

impl Space {
    pub(super) const ALL: [Space; 3] = [Space::Live, Space::History, Space::Metadata];

    pub(super) fn name(self) -> &'static str {
        match self {
            Space::Live => "live states",
            Space::History => "history",
            Space::Metadata => "metadata",
        }
    }

    /// Stands for it in what records are bound to.
    pub(super) fn tag(self) -> u8 {
        match self {
            Space::Live => 1,
            Space::History => 2,
            Space::Metadata => 3,
        }
    }
}

/// Writers wait for this long.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Logs up to this size are kept; below it the engine refuses to be.
const JOURNALS_BYTES: u64 = 64 << 20;
/// History and metadata change seldom or in place.
const SMALL_BUFFER_BYTES: u64 = 1 << 20;
/// With more, the engine's first worker leaves merges to the others and asks for them again and again, which takes a
/// processor meanwhile. With one, a merge of tables keeps full buffers waiting: so merges are small, and tables of
/// blocks, which come in order, need none.
const WORKERS: usize = 1;
const MERGED_BYTES: u64 = 4 << 20;
/// What the tables are read in: a record is read with all that is in one of these, which is copied and checked as a whole.
const TABLE_BLOCK_BYTES: u32 = 2 << 10;
/// Buffers with less than this are no reason to write tables.
const RESTING_BYTES: u64 = 256 << 10;

pub(super) struct Engine {
    database: Database,
    live: Keyspace,
    history: Keyspace,
    metadata: Keyspace,
}

/// Rows to write, `None` to remove, all at once.
pub(super) type Rows = Vec<(Space, Vec<u8>, Option<Vec<u8>>)>;
pub(super) type Row = (Vec<u8>, UserValue);

impl Engine {
    pub(super) fn open(folder: &Path, settings: &Settings) -> Result<Engine, StoreError> {
        if !folder.exists() {
            Engine::make(folder, settings)?;
        }
        Engine::open_there(folder, settings)
    }

    /// Makes an empty engine beside its folder and then gives it its place: the engine itself does not open what it was
    /// making when it was stopped.
    fn make(folder: &Path, settings: &Settings) -> Result<(), StoreError> {
        let beside = folder.with_extension("new");
        match fs::remove_dir_all(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io(&beside)(error)),
            _ => {}
        }
        drop(Engine::open_there(&beside, settings)?);
        engine_log::remove_empty(&beside)?;
        fs::rename(&beside, folder).map_err(StoreError::io(folder))?;
        let parent = folder.parent().unwrap_or(folder);
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(StoreError::io(parent))
    }

    fn open_there(folder: &Path, settings: &Settings) -> Result<Engine, StoreError> {
        let bloom = || {
            let bits = BloomConstructionPolicy::BitsPerKey(10.0);
            FilterPolicy::all(FilterPolicyEntry::Bloom(bits))
        };
        // Filters and indexes of tables are a few bytes for each record, but a filter is one block, of which a small cache
        // would keep few: they stay in memory.
        let options = |bytes| {
            KeyspaceCreateOptions::default()
                .max_memtable_size(bytes)
                .data_block_size_policy(BlockSizePolicy::all(TABLE_BLOCK_BYTES))
                .index_block_pinning_policy(PinningPolicy::all(true))
        };
        let small = || {
            options(SMALL_BUFFER_BYTES)
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(MERGED_BYTES)))
                .filter_policy(bloom())
                .filter_block_pinning_policy(PinningPolicy::all(true))
        };
        manifest::look(folder)?;
        let opened = guarded("opened", || {
            let database = Database::builder(folder)
                .cache_size(settings.block_cache_bytes)
                .max_journaling_size(JOURNALS_BYTES)
                .worker_threads(WORKERS)
                .open()?;
            // A block that is looked for is there, in the one table whose range it is in.
            let live = || options(settings.write_buffer_bytes).filter_policy(FilterPolicy::disabled());
            let live = database.keyspace("live", live)?;
            let history = database.keyspace("history", small)?;
            let metadata = database.keyspace("metadata", small)?;
            Ok(Engine { live, history, metadata, database })
        });
        opened.map_err(|error| match error {
            StoreError::Engine { source: fjall::Error::Locked, .. } => StoreError::Locked,
            error => error,
        })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Live => &self.live,
            Space::History => &self.history,
            Space::Metadata => &self.metadata,
        }
    }

    pub(super) fn get(&self, space: Space, row: &[u8]) -> Result<Option<UserValue>, StoreError> {
        guarded("read", || self.keyspace(space).get(row))
    }

    /// Rows that begin with `prefix`, in order; `visit` says whether to go on.
    pub(super) fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        backwards: bool,
        visit: impl FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut rows = guarded("read", || Ok(self.keyspace(space).prefix(prefix)))?;
        each(|| if backwards { rows.next_back() } else { rows.next() }, visit)
    }

    /// Rows from the last to `first`.
    pub(super) fn scan_back(
        &self,
        space: Space,
        first: &[u8],
        visit: impl FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut rows = guarded("read", || Ok(self.keyspace(space).range(first..)))?;
        each(|| rows.next_back(), visit)
    }

    /// Up to `limit` rows after `after`, in order.
    pub(super) fn page(&self, space: Space, after: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        guarded("read", || {
            let rows = self.keyspace(space).range::<&[u8], _>((Excluded(after), Unbounded)).take(limit);
            rows.map(|row| row.into_inner().map(|(row, record)| (row.to_vec(), record))).collect()
        })
    }

    /// Drops the tables in which there are only live rows before that block.
    pub(super) fn drop_before(&self, block: Number) -> Result<(), StoreError> {
        guarded("dropped", || Ok(self.live.tree.drop_range(..block::row_of(block))?))
    }

    /// Waits until a write does not have to wait inside the engine.
    pub(super) fn wait_for_workers(&self) -> Result<(), StoreError> {
        // The engine stops a writer at four sealed buffers or thirty tables of level 0.
        let is_behind = |keyspace: &Keyspace| keyspace.sealed_memtable_count() >= 2 || keyspace.l0_table_count() >= 20;
        let began = Instant::now();
        while Space::ALL.into_iter().any(|space| is_behind(self.keyspace(space))) {
            if began.elapsed() > STALL_MAX {
                return Err(StoreError::Stalled { seconds: STALL_MAX.as_secs() });
            }
            if began.elapsed() > Duration::from_millis(50) {
                self.is_well()?;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Has the newest records written to tables, which takes them out of memory; the workers do it.
    pub(super) fn rest(&self) -> Result<(), StoreError> {
        guarded("written", || {
            if self.live.tree.active_memtable().size() >= RESTING_BYTES {
                self.live.rotate_memtable()?;
            }
            Ok(())
        })
    }

    /// An engine of which a worker thread has failed takes no writes.
    pub(super) fn is_well(&self) -> Result<(), StoreError> {
        guarded("written", || self.database.persist(PersistMode::Buffer))
    }

    /// Writes rows as one: the log is with the operating system when it returns.
    pub(super) fn write(&self, rows: Rows) -> Result<(), StoreError> {
        guarded("written", || {
            let mut batch =
                OwnedWriteBatch::with_capacity(self.database.clone(), rows.len()).durability(Some(PersistMode::Buffer));
            for (space, row, record) in rows {
                match record {
                    Some(record) => batch.insert(self.keyspace(space), row, record),
                    None => batch.remove(self.keyspace(space), row),
                }
            }
            batch.commit()
        })
    }
}

fn each(
    mut next: impl FnMut() -> Option<fjall::Guard>,
    mut visit: impl FnMut(Row) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    loop {
        let next = guarded("read", || next().map(fjall::Guard::into_inner).transpose())?;
        let Some((row, record)) = next else { return Ok(()) };
        if !visit((row.to_vec(), record))? {
            return Ok(());
        }
    }
}

fn guarded<T>(doing: &'static str, work: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|source| StoreError::Engine { doing, source }),
        Err(_) => Err(StoreError::Unreadable { doing }),
    }
}
