//! Room on the disk. The engine takes no more writes at all once it has met a full disk, also in a worker thread that
//! merges tables; so writes are refused while there is still some room, which the engine then has to itself.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::store::StoreError;

/// How long, and for how many bytes, a look at the disk holds.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_BYTES: u64 = 4 << 20;
/// Tables are merged in such pieces or larger ones.
const SHORT_BYTES: u64 = 4 << 20;
const LATELY: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    kept: u64,
    looked: Option<Instant>,
    since: u64,
    /// When a write was last refused.
    refused: Option<Instant>,
}

impl Room {
    pub(super) fn new(folder: &Path, kept: u64) -> Room {
        Room { folder: folder.to_owned(), kept, looked: None, since: 0, refused: None }
    }

    /// Whether so many bytes may be written. Without room to be kept that is left to the disk.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), StoreError> {
        if self.kept == 0 {
            return Ok(());
        }
        self.since = self.since.saturating_add(bytes);
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) && self.since < LOOK_BYTES.min(self.kept / 4) {
            return Ok(());
        }
        self.looked = None;
        let free = self.free()?;
        if free < self.kept.saturating_add(bytes) {
            self.refused = Some(Instant::now());
            return Err(StoreError::Full { free, kept: self.kept });
        }
        self.looked = Some(Instant::now());
        self.since = 0;
        Ok(())
    }

    /// Whether the disk is or lately was so full that this may be why the engine failed.
    pub(super) fn was_short(&self) -> bool {
        self.refused.is_some_and(|refused| refused.elapsed() < LATELY)
            || self.free().is_ok_and(|free| free < self.kept.max(SHORT_BYTES))
    }

    /// Whether a write was refused since the last one that was not: the engine's own threads may have fared so too.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.is_some() && self.looked.is_none()
    }

    /// The engine met a full disk.
    pub(super) fn refuse(&mut self) -> StoreError {
        self.refused = Some(Instant::now());
        self.looked = None;
        StoreError::Full { free: self.free().unwrap_or(0), kept: self.kept }
    }

    fn free(&self) -> Result<u64, StoreError> {
        let found = rustix::fs::statvfs(&self.folder).map_err(|error| StoreError::io(&self.folder)(error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}
