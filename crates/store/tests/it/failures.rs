//! A disk that fails while the database runs.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use weir_model::{Code, Value};
use weir_store::{LocalLogStorage, LogFile, LogStorage, StoreOptions};

use crate::support::{batch, code, files, insert, name, open, quiet, read, row_ids, rows, with_table};

const SOUND: u8 = 0;
const SYNC_FAILS: u8 = 1;
const SHORT_WRITE: u8 = 2;
const DISK_FULL: u8 = 3;
const DISK_FULL_FOR_GOOD: u8 = 4;

/// A log storage that can be told to fail.
#[derive(Debug, Default)]
struct Faulty {
    fault: Arc<AtomicU8>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn LogFile>,
    fault: Arc<AtomicU8>,
}

impl LogStorage for Faulty {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(FaultyFile { file: LocalLogStorage.open(path)?, fault: Arc::clone(&self.fault) }))
    }
}

impl LogFile for FaultyFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.fault.load(Ordering::Relaxed) {
            SHORT_WRITE => {
                self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::WriteZero.into())
            }
            DISK_FULL | DISK_FULL_FOR_GOOD => {
                self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => self.file.write_at(offset, bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.fault.load(Ordering::Relaxed) {
            SYNC_FAILS => Err(io::Error::other("the device is gone")),
            _ => self.file.sync(),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        match self.fault.load(Ordering::Relaxed) {
            DISK_FULL_FOR_GOOD => Err(io::Error::other("the device is gone")),
            _ => self.file.truncate(length),
        }
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_more_is_committed_until_a_restart() {
    for fault in [SYNC_FAILS, SHORT_WRITE, DISK_FULL_FOR_GOOD] {
        let expected = Code::StorageFailed;
        let data = tempfile::tempdir().unwrap();
        let storage = Arc::new(Faulty::default());
        let switch = Arc::clone(&storage.fault);
        let options = StoreOptions { log_storage: storage, fsync: true, ..quiet() };
        let database = with_table(data.path(), options);
        insert(&database, &rows(0..5, 1)).unwrap();

        switch.store(fault, Ordering::Relaxed);
        assert_eq!(code(insert(&database, &rows([10], 1))), Some(expected));
        // Never retried, even though the disk is well again.
        switch.store(SOUND, Ordering::Relaxed);
        assert_eq!(code(insert(&database, &rows([11], 1))), Some(expected));
        assert_eq!(database.failure().map(|refusal| refusal.code()), Some(expected));
        assert!(database.flush().is_err());
        // Readers go on, and see what was acknowledged.
        assert_eq!(read(&database.version(), &name("t")), rows(0..5, 1));
        assert!(database.close().is_err());
        drop(database);

        let database = open(data.path(), quiet());
        let mut found = read(&database.version(), &name("t"));
        // A commit whose sync failed was refused, but may have reached the disk.
        found.remove(&10);
        assert_eq!(found, rows(0..5, 1), "fault {fault}");
        insert(&database, &rows([12], 1)).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_commits_and_loses_none() {
    let data = tempfile::tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    let switch = Arc::clone(&storage.fault);
    let options = StoreOptions { log_storage: storage, fsync: true, ..quiet() };
    let database = with_table(data.path(), options);
    insert(&database, &rows(0..5, 1)).unwrap();
    let mut committed = rows(0..5, 1);
    for turn in 0..3_i64 {
        switch.store(DISK_FULL, Ordering::Relaxed);
        for key in [100, 101] {
            // Longer than what is committed next: nothing of it may lie behind that.
            assert_eq!(code(insert(&database, &rows(key..key + 50, 1))), Some(Code::DiskFull));
        }
        assert!(database.failure().is_none());
        assert_eq!(read(&database.version(), &name("t")), committed);
        switch.store(SOUND, Ordering::Relaxed);
        let key = 10 + turn;
        insert(&database, &rows([key], 1)).unwrap();
        committed.extend(rows([key], 1));
    }
    drop(database);
    let database = open(data.path(), quiet());
    assert_eq!(read(&database.version(), &name("t")), committed);
    insert(&database, &rows([100], 1)).unwrap();
}

#[test]
fn a_closed_database_commits_nothing() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    insert(&database, &rows(0..5, 1)).unwrap();
    database.close().unwrap();
    assert_eq!(code(insert(&database, &rows([9], 1))), Some(Code::ShuttingDown));
    assert_eq!(read(&database.version(), &name("t")), rows(0..5, 1));
    database.close().unwrap();
    drop(database);
    let database = open(data.path(), quiet());
    assert_eq!(database.version().table(&name("t")).unwrap().segment_counts(), (1, 0));
    assert_eq!(read(&database.version(), &name("t")), rows(0..5, 1));
}

/// Rows in memory stay bounded while commits come faster than flushes, and the log goes on from file to file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_wait_for_flushes_when_memory_runs_full() {
    let data = tempfile::tempdir().unwrap();
    let options = StoreOptions { flush_bytes: 32 << 10, ..quiet() };
    let database = with_table(data.path(), options.clone());
    // Flushes take files of the log away, too.
    let mut log_files = BTreeSet::new();
    for turn in 0..150 {
        let mut transaction = database.begin();
        transaction.insert(&name("t"), batch(&rows(turn * 100..turn * 100 + 100, 1))).unwrap();
        database.commit(transaction).await.unwrap();
        log_files.extend(files(data.path(), "wal", "wal"));
    }
    assert!(log_files.len() > 1, "the log is one file still");
    assert_eq!(read(&database.version(), &name("t")), rows(0..15_000, 1));
    drop(database);
    assert_eq!(read(&open(data.path(), options).version(), &name("t")), rows(0..15_000, 1));
}

/// Keys come and go: the index does not keep what is long gone.
#[test]
fn a_queue_of_keys_is_found_at_every_moment() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let mut held = None;
    for turn in 0..12_i64 {
        let mut transaction = database.begin();
        let gone =
            row_ids(transaction.version(), &name("t"), &((turn - 1) * 10_000..turn * 10_000).collect::<Vec<_>>());
        transaction.delete(&name("t"), &gone).unwrap();
        transaction.insert(&name("t"), batch(&rows(turn * 10_000..(turn + 1) * 10_000, 1))).unwrap();
        let version = database.commit_blocking(transaction).unwrap();
        if turn == 5 {
            held = Some(version);
        }
    }
    let found = |version: &weir_store::Version, key: i64| {
        version.table(&name("t")).unwrap().lookup(&[Value::BigInt(key)]).unwrap().is_some()
    };
    for _ in 0..30 {
        // Meanwhile the index is made anew.
        for key in [110_000, 119_999] {
            assert!(found(&database.version(), key));
            assert!(!found(&database.version(), key - 10_000));
        }
        assert!(found(held.as_ref().unwrap(), 55_555) && !found(held.as_ref().unwrap(), 45_555));
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    insert(&database, &rows([7], 1)).unwrap();
    assert!(found(&database.version(), 7));
    assert_eq!(code(insert(&database, &rows([110_001], 1))), Some(Code::UniqueViolation));
}
