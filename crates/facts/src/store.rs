//! The storage of a node: states in an LSM tree on disk, indexes over them in memory.
//!
//! ```text
//! <folder>/store     what kind of store it is
//! <folder>/keys      of an encrypted store: its keys, wrapped
//! <folder>/durable   how many commits were durable
//! <folder>/engine/   the engine's log and tables: live states, history, metadata
//! ```
//!
//! Live states are a log of [`blocks`] of many facts each: a row of the engine for each fact cost more than what was in
//! it. A block has the next number as its row, so that the engine only ever writes at the end and has nothing to merge.
//!
//! A commit is one record of the engine's log. It has the row of [`tally`] with it, which says how many commits there
//! were and what all records add up to; when a store is opened it is compared with what is there and with the mark of
//! what was durable. So a loss that the engine did not notice is noticed here.
//!
//! A full disk refuses commits and nothing else: see [`room`]. Should the engine meet it all the same, it is opened
//! anew, which loses nothing, as all commits were with the operating system. Any other failure of a write is final:
//! what the operating system still shows of a file that it could not write says nothing about the disk.

mod ahead;
mod block;
mod blocks;
mod check;
mod cleaning;
mod commit;
mod encoding;
mod engine;
mod engine_log;
mod entry;
mod error;
mod index;
mod manifest;
mod mark;
mod numbers;
mod opening;
mod ordered;
mod reader;
mod reclaim;
mod record;
mod rewrite;
mod room;
mod settings;
mod syncer;
mod tally;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc};

use self::{
    ahead::Ahead,
    cleaning::Credit,
    engine::{Engine, Space},
    reader::Shared,
    reclaim::Reclaim,
    record::Check,
    room::Room,
    tally::Tally,
};
pub use self::{
    check::{Checked, Finding},
    error::StoreError,
    index::NamespaceSize,
    opening::Loss,
    reader::Reader,
    rewrite::Rewritten,
    settings::Settings,
    syncer::Syncer,
};
use crate::{
    causality::Origin,
    clock::Millis,
    head::Before,
    key::{FactKey, Pattern},
    seal::Nonces,
    state::{Cell, State},
    storage::{Commit, Storage},
};

/// See the module. It is the one writer; readers on other threads have a [`Reader`].
pub struct FactStore {
    settings: Settings,
    shared: Arc<Shared>,
    tally: Tally,
    syncer: Syncer,
    room: Room,
    /// Bytes that were written since the last look at the engine.
    unlooked: u64,
    may_wait: bool,
    nonces: Nonces,
    credit: Credit,
    reclaim: Reclaim,
    ahead: Ahead,
    /// The checks of metadata that was written, as most commits replace the same.
    metadata: HashMap<String, Option<Check>>,
    loss: Option<Loss>,
    rewriting: rewrite::Place,
}

impl fmt::Debug for FactStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactStore")
            .field("folder", &self.settings.folder)
            .field("commits", &self.tally.commits)
            .finish_non_exhaustive()
    }
}

impl FactStore {
    /// Opens the store in a folder, or makes one.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then, but that a torn end of the log is cut off.
    pub fn open(settings: Settings) -> Result<FactStore, StoreError> {
        opening::open(settings)
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(self.shared.clone())
    }

    /// Makes commits durable on another thread.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        self.syncer.clone()
    }

    /// What was lost of the store, found when it was opened. Its node has to go on under a new incarnation.
    #[must_use]
    pub fn loss(&self) -> Option<&Loss> {
        self.loss.as_ref()
    }

    /// Commits since the store was made.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.tally.commits
    }

    /// Has what was written lately put in tables and out of memory, beside the caller. For when little is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rest(&self) -> Result<(), StoreError> {
        self.syncer.is_sound()?;
        self.shared.with_engine(Engine::rest)
    }

    /// Opens the engine anew after it failed, if a full disk may be why. Whether the log then has `expected` commits,
    /// or one less.
    fn reopen(&mut self, error: StoreError, expected: u64) -> Result<bool, StoreError> {
        if !error.is_full() && !self.room.was_short() {
            return Err(self.syncer.fail(error));
        }
        self.metadata.clear();
        let opened = {
            let mut log = self.ahead.hold();
            let mut engine = self.shared.engine.write();
            // Its lock on the folder goes with it.
            *engine = None;
            let folder = opening::engine_folder(&self.settings.folder);
            let first = engine_log::first_new(&folder);
            first.map(|first| log.begin(first)).and_then(|()| Engine::open(&folder, &self.settings)).and_then(
                |opened| {
                    let tally = opened.get(Space::Metadata, tally::ROW)?;
                    *engine = Some(opened);
                    Ok(tally.and_then(|bytes| Tally::from_bytes(&bytes)).unwrap_or_default().commits)
                },
            )
        };
        match opened {
            Ok(found) if found == expected => Ok(true),
            Ok(found) if found.checked_add(1) == Some(expected) => Ok(false),
            Ok(found) => Err(self.syncer.fail(StoreError::CommitsLost { durable: expected, found })),
            Err(error) => Err(self.syncer.fail(error)),
        }
    }
}

impl Storage for FactStore {
    type Error = StoreError;

    fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, StoreError> {
        self.reader().state(key)
    }

    fn before(&self, key: &FactKey) -> Result<Option<Before>, StoreError> {
        let index = self.shared.index.read();
        match index.head(key) {
            Some(Some(head)) => Ok(Some(Before::Head(head))),
            Some(None) => Ok(self.reader().state(key)?.map(Before::State)),
            None => Ok(None),
        }
    }

    fn before_each<'a>(&self, keys: impl Iterator<Item = &'a FactKey>) -> Result<Vec<Option<Before>>, StoreError> {
        let index = self.shared.index.read();
        let mut unread = Vec::new();
        // Nothing else between, so that the processor waits for many of them together.
        let heads = keys.enumerate().map(|(place, key)| {
            let head = index.head(key);
            if let Some(None) = head {
                unread.push((place, key));
            }
            head.flatten().map(Before::Head)
        });
        let mut all: Vec<Option<Before>> = heads.collect();
        drop(index);
        for (place, key) in unread {
            let state = self.reader().state(key)?;
            if let Some(before) = all.get_mut(place) {
                *before = state.map(Before::State);
            }
        }
        Ok(all)
    }

    fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Result<Vec<FactKey>, StoreError> {
        self.reader().keys(pattern, after, limit)
    }

    fn written(&self, origin: &Origin, after: u64, limit: usize) -> Result<Vec<(u64, FactKey)>, StoreError> {
        self.reader().written(origin, after, limit)
    }

    fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Result<Vec<(Millis, FactKey)>, StoreError> {
        self.reader().ending(after, until, limit)
    }

    fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, StoreError> {
        self.reader().lost(key, limit)
    }

    fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader().metadata(name)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.syncer.is_sound()?;
        let changes = commit::each_once(commit);
        let prepared = self.prepare(commit, &changes)?;
        self.write(prepared, &changes)
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.syncer.sync().map(|_| ())
    }
}
