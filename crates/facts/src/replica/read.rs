//! What readers of this node get.

use std::sync::Arc;

use crate::{
    causality::VersionVector,
    clock::Millis,
    key::{FactKey, Pattern},
    replica::{Replica, Rules},
    state::{Cell, State},
    storage::Storage,
    strategy::{Found, View},
};

#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    #[error("this node is not complete yet: it is fetching all facts")]
    Incomplete,
    #[error("the storage failed: {0}")]
    Storage(#[source] E),
}

/// A fact and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub key: FactKey,
    pub found: Found,
}

/// Some of the facts that match a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub facts: Vec<Fact>,
    /// After which key to go on; `None` at the end.
    pub next: Option<FactKey>,
}

/// What readers see of a key at a time of [`Replica::time`], whichever thread they read on.
pub(crate) fn visible(rules: &dyn Rules, time: Millis, key: &FactKey, state: &State) -> View {
    rules.strategy(key.namespace()).view(state, time)
}

impl<S: Storage> Replica<S> {
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, now: Millis, key: &FactKey) -> Result<View, ReadError<S::Error>> {
        self.check_complete()?;
        let state = self.storage.state(key).map_err(ReadError::Storage)?;
        Ok(state.and_then(|state| visible(&*self.rules, self.time(now), key, &state)))
    }

    /// Facts that match, by key. It looks at no more than `limit` keys.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn list(
        &self,
        now: Millis,
        pattern: &Pattern,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<Facts, ReadError<S::Error>> {
        self.check_complete()?;
        let keys = self.storage.keys(pattern, after, limit).map_err(ReadError::Storage)?;
        let next = keys.last().filter(|_| keys.len() == limit).cloned();
        let mut facts = Vec::new();
        for key in keys {
            if let Some(found) = self.get(now, &key)? {
                facts.push(Fact { key, found });
            }
        }
        Ok(Facts { facts, next })
    }

    /// All that is known of a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, ReadError<S::Error>> {
        self.check_complete()?;
        self.storage.state(key).map_err(ReadError::Storage)
    }

    /// What stood behind other writes that did not know of it, the newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, ReadError<S::Error>> {
        self.check_complete()?;
        self.storage.lost(key, limit).map_err(ReadError::Storage)
    }

    /// Whether readers of this node see all writes that a cursor covers.
    #[must_use]
    pub fn has_applied(&self, cursor: &VersionVector) -> bool {
        self.is_serving() && self.applied().covers_all(cursor)
    }

    fn check_complete(&self) -> Result<(), ReadError<S::Error>> {
        if self.is_serving() { Ok(()) } else { Err(ReadError::Incomplete) }
    }
}
