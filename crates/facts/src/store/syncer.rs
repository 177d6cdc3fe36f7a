use std::{
    fmt,
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::store::{StoreError, engine_log, mark::Mark};

/// Makes commits durable from any thread, while the store's owner goes on committing.
///
/// The engine would hold its log's lock meanwhile and so stop the writer for as long as the disk takes. But a commit is
/// with the operating system when it returns, in the newest file of the log or in one that the engine made durable
/// before it began the next; so it is enough to sync the newest.
#[derive(Clone)]
pub struct Syncer(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    /// The newest file of the log, as far as is known.
    log: Mutex<Option<Log>>,
    mark: Mark,
    /// Commits that are with the operating system, and of these the durable ones.
    committed: AtomicU64,
    durable: AtomicU64,
    /// Why nothing is written any longer.
    failed: Mutex<Option<String>>,
}

struct Log {
    number: u64,
    file: File,
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncer").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

impl Syncer {
    pub(super) fn new(engine_folder: PathBuf, mark: Mark, commits: u64) -> Syncer {
        let [committed, durable] = [commits; 2].map(AtomicU64::new);
        Syncer(Arc::new(Shared {
            folder: engine_folder,
            log: Mutex::new(None),
            mark,
            committed,
            durable,
            failed: Mutex::new(None),
        }))
    }

    /// Makes all commits durable that had returned when this was called, and gives how many commits are durable now, of
    /// all that the store ever had. Callers who wait for each other share one sync.
    ///
    /// # Errors
    /// Final, as [`Storage::persist`](crate::Storage::persist) says.
    pub fn sync(&self) -> Result<u64, StoreError> {
        let wanted = self.0.committed.load(Ordering::Acquire);
        let mut log = self.0.log.lock();
        self.is_sound()?;
        if self.durable() >= wanted {
            return Ok(self.durable());
        }
        let commits = self.0.committed.load(Ordering::Acquire);
        self.sync_newest(&mut log).map_err(|error| self.fail(error))?;
        // The commits are durable whether or not this can be noted.
        let _ = self.0.mark.set(commits);
        self.0.durable.store(commits, Ordering::Release);
        Ok(commits)
    }

    /// Commits that are durable, of all that the store ever had.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }

    fn sync_newest(&self, log: &mut Option<Log>) -> Result<(), StoreError> {
        let mut newest = match log.take() {
            Some(log) => log,
            None => {
                let newest = engine_log::newest(&self.0.folder)?;
                let number = newest.ok_or(StoreError::Unreadable { doing: "made durable" })?;
                Log { number, file: self.open(number)? }
            }
        };
        while let Some(next) = newest.number.checked_add(1).filter(|next| self.path(*next).exists()) {
            newest = Log { number: next, file: self.open(next)? };
        }
        newest.file.sync_data().map_err(StoreError::io(self.path(newest.number)))?;
        *log = Some(newest);
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        engine_log::path(&self.0.folder, number)
    }

    fn open(&self, number: u64) -> Result<File, StoreError> {
        // To be written, as some systems sync nothing through others.
        let path = self.path(number);
        File::options().append(true).open(&path).map_err(StoreError::io(path))
    }

    pub(super) fn committed(&self, commits: u64) {
        self.0.committed.store(commits, Ordering::Release);
    }

    pub(super) fn fail(&self, error: StoreError) -> StoreError {
        self.0.failed.lock().get_or_insert_with(|| error.to_string());
        error
    }

    pub(super) fn is_sound(&self) -> Result<(), StoreError> {
        match &*self.0.failed.lock() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Failed { reason: reason.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::path::Path;

    use super::*;

    fn syncer(folder: &Path) -> Syncer {
        Syncer::new(folder.to_owned(), Mark::open(folder).unwrap().0, 5)
    }

    #[test]
    fn the_newest_log_is_synced_and_what_is_durable_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let syncer = syncer(folder.path());
        assert_eq!(syncer.sync().unwrap(), 5, "nothing was committed, so no log is looked for");
        for (commits, newest) in [(6, 8_u64), (7, 8), (9, 9), (10, 11)] {
            (8..=newest).for_each(|number| std::fs::write(folder.path().join(format!("{number}.jnl")), "").unwrap());
            syncer.committed(commits);
            assert_eq!(syncer.clone().sync().unwrap(), commits);
            assert_eq!(syncer.0.log.lock().as_ref().unwrap().number, newest);
            assert_eq!(Mark::open(folder.path()).unwrap().1, commits);
        }
    }

    #[test]
    fn a_sync_that_fails_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let syncer = syncer(folder.path());
        syncer.committed(6);
        assert!(matches!(syncer.sync(), Err(StoreError::Unreadable { .. })));
        std::fs::write(folder.path().join("0.jnl"), "").unwrap();
        let error = syncer.sync().unwrap_err();
        assert!(error.to_string().contains("take no writes since a failure"), "{error}");
        assert!(syncer.is_sound().is_err());
        assert_eq!(syncer.durable(), 5);
    }
}
