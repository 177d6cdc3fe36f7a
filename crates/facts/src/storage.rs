//! What a replica keeps, and wherever it keeps it.

use std::sync::Arc;

use crate::{
    causality::Origin,
    clock::Millis,
    head::{Before, Head},
    key::{FactKey, Pattern},
    state::{Cell, State},
};

/// Keeps states, the indexes over them, and what a replica has to remember beside them.
///
/// A commit is seen by the next read and takes effect as a whole; it is durable once a [`persist`](Storage::persist) that
/// began after it has returned. What was not persisted may be lost by a crash, from some commit on, and never a commit
/// before one that is kept.
pub trait Storage {
    type Error: std::error::Error + Send + Sync + 'static;

    /// # Errors
    /// As the implementation says; so for all.
    fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, Self::Error>;

    /// What a write over the key has to know: the head of a plain state, if it is at hand, or the state.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn before(&self, key: &FactKey) -> Result<Option<Before>, Self::Error>;

    /// The same of several keys, in their order.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn before_each<'a>(&self, keys: impl Iterator<Item = &'a FactKey>) -> Result<Vec<Option<Before>>, Self::Error> {
        keys.map(|key| self.before(key)).collect()
    }

    /// Keys that match, in order, after `after`.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Result<Vec<FactKey>, Self::Error>;

    /// Keys whose state has seen writes of `origin` after number `after`, by the last number it has seen: what a replica
    /// that has applied the origin's writes up to `after` lacks of it.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn written(&self, origin: &Origin, after: u64, limit: usize) -> Result<Vec<(u64, FactKey)>, Self::Error>;

    /// Keys with cells that end at `until` or before, by that time and then by key; a key comes once for each of
    /// [`State::ends`]. It begins after the given time, or within it after a key, so that a reader gets past keys that
    /// have ended and cannot be collected yet.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Result<Vec<(Millis, FactKey)>, Self::Error>;

    /// Values that lost against concurrent writes, the newest first.
    ///
    /// # Errors
    /// See [`Storage::state`].
    fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, Self::Error>;

    /// # Errors
    /// See [`Storage::state`].
    fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// # Errors
    /// See [`Storage::state`]; nothing of the commit then took effect.
    fn commit(&mut self, commit: &Commit) -> Result<(), Self::Error>;

    /// Makes what was committed durable.
    ///
    /// # Errors
    /// See [`Storage::state`]. It is final: what was committed before may be lost, and nothing more may be acknowledged.
    fn persist(&mut self) -> Result<(), Self::Error>;
}

/// What changes at once.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub changes: Vec<Change>,
    /// That each key is there once, and that what was before was read from the storage since its last commit. It is
    /// otherwise looked for.
    pub is_distinct: bool,
    /// Values that lost against concurrent writes. The storage keeps a bounded number for each key.
    pub lost: Vec<(FactKey, Cell)>,
    /// `None` removes.
    pub metadata: Vec<(String, Option<Vec<u8>>)>,
}

/// One key's new state. What was before goes with it, so that the indexes follow without a read.
#[derive(Debug, Clone)]
pub struct Change {
    pub key: FactKey,
    pub before: Option<Before>,
    after: Option<Arc<State>>,
    head: Option<Head>,
}

impl Change {
    /// `after`: `None` when nothing of the key is remembered any longer.
    #[must_use]
    pub fn new(key: FactKey, before: Option<Before>, after: Option<Arc<State>>) -> Change {
        let head = after.as_deref().and_then(|after| Head::of(&key, after));
        Change { key, before, after, head }
    }

    #[must_use]
    pub fn after(&self) -> Option<&Arc<State>> {
        self.after.as_ref()
    }

    /// Of the new state, if it is plain.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The same from what was before an earlier change of the key.
    #[must_use]
    pub(crate) fn since(self, before: Option<Before>) -> Change {
        Change { before, ..self }
    }

    pub(crate) fn into_parts(self) -> (FactKey, Option<Before>, Option<Arc<State>>) {
        (self.key, self.before, self.after)
    }
}
