//! What this node's own clients write.

use std::{collections::HashMap, num::NonZeroU64, sync::Arc};

use crate::{
    causality::{Dot, VersionVector},
    clock::{Hlc, Millis},
    head::Before,
    json_text::JsonText,
    key::FactKey,
    message::{self, Entry, Message},
    replica::{
        CommitNumber, Effect, Replica,
        merge::{Merged, Numbers},
        record,
    },
    state::State,
    storage::{Change, Storage},
    strategy::{Stamp, Strategy, WriteError},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Put {
        json: JsonText,
        /// Milliseconds until it is over.
        ttl_ms: Option<NonZeroU64>,
    },
    Delete,
    Increment {
        by: i64,
        /// Milliseconds until this node's share is over.
        ttl_ms: Option<NonZeroU64>,
    },
}

/// What has to hold on this node before the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Absent,
    Version(Hlc),
}

impl Precondition {
    /// As clients say it: 0 for a key that must not exist. `None` for what is no version.
    #[must_use]
    pub fn if_version(version: u64) -> Option<Precondition> {
        if version == 0 { Some(Precondition::Absent) } else { Hlc::from_u64(version).map(Precondition::Version) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFact {
    pub key: FactKey,
    pub operation: Operation,
    pub precondition: Option<Precondition>,
}

/// A write that readers of this node see. It is durable, and sent to others, with [`Effect::Durable`] of its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub commit: CommitNumber,
    /// Of all keys of the commit.
    pub version: Hlc,
    /// Covered by nodes that have applied the write.
    pub cursor: VersionVector,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused<E> {
    #[error("`{key}`: {error}")]
    Write { key: FactKey, error: WriteError },
    #[error("`{key}` is at version {}, not at the one expected", .version.map_or(0, Hlc::as_u64))]
    Conflict { key: FactKey, version: Option<Hlc> },
    #[error("this node may not write to `{0}`")]
    Namespace(FactKey),
    #[error("`{key}`: {size} {unit}; at most {max} are taken")]
    TooLarge { key: FactKey, size: usize, max: usize, unit: &'static str },
    #[error("{keys} keys at once; one to {max} are taken")]
    TooMany { keys: usize, max: usize },
    #[error("this node is not complete yet: it is fetching all facts")]
    Incomplete,
    #[error("the storage failed: {0}")]
    Storage(#[source] E),
    #[error("an earlier write to the disk failed, so that nothing more can be acknowledged: start anew")]
    Poisoned,
}

/// A key of a commit in the making.
struct Staged {
    key: FactKey,
    before: Option<Before>,
    /// `None`: no write of the commit has been made yet.
    after: Option<State>,
}

struct Staging {
    /// Each key once.
    staged: Vec<Staged>,
    /// Of each write, which of these it is of.
    places: Vec<usize>,
}

impl<S: Storage> Replica<S> {
    /// Writes all or nothing, under one version; several writes of one key in their order.
    ///
    /// # Errors
    /// [`Refused`]; nothing then changed.
    pub fn write(&mut self, now: Millis, writes: &[WriteFact]) -> Result<Written, Refused<S::Error>> {
        if self.outbox.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        if !self.is_serving() {
            return Err(Refused::Incomplete);
        }
        let max = self.config.limits.batch_keys;
        if writes.is_empty() || writes.len() > max {
            return Err(Refused::TooMany { keys: writes.len(), max });
        }
        let Staging { mut staged, places } = self.stage(now, writes)?;
        let above = staged.iter().filter_map(|staged| Some(staged.before.as_ref()?.hlc())).max().unwrap_or_default();
        let time = self.time(now);
        let hlc = self.clock.tick(now, above);
        for (write, at) in writes.iter().zip(places) {
            let seq = self.seq + 1 + at as u64;
            let Some(staged) = staged.get_mut(at) else { continue };
            let dot = Dot { origin: self.origin.clone(), seq };
            staged.after = Some(self.written(staged, write, Stamp { dot, hlc, now: time, expires_at: None })?);
        }
        let change = |Staged { key, before, after }| Change::new(key, before, after.map(Arc::new));
        let changes = staged.into_iter().map(change).collect();
        let merged = Merged { changes, is_distinct: true, ..Merged::default() };
        self.commit_numbered(now, hlc, merged, Vec::new()).map_err(Refused::Storage)
    }

    /// What is there of the keys, when this node may write them and they are as expected.
    fn stage(&self, now: Millis, writes: &[WriteFact]) -> Result<Staging, Refused<S::Error>> {
        let mut staged: Vec<Staged> = Vec::with_capacity(writes.len());
        let mut places = Vec::with_capacity(writes.len());
        let mut known: HashMap<&FactKey, usize, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(writes.len(), ahash::RandomState::default());
        let keys = || writes.iter().map(|write| &write.key);
        if let Some(key) = keys().find(|key| !self.rules.may_write(&self.config.node, key.namespace())) {
            return Err(Refused::Namespace(key.clone()));
        }
        let befores = if keys().all(|key| self.rules.strategy(key.namespace()).replaces_all()) {
            self.storage.before_each(keys())
        } else {
            keys().map(|key| self.before(key)).collect()
        };
        for (WriteFact { key, precondition, .. }, before) in writes.iter().zip(befores.map_err(Refused::Storage)?) {
            if let Some(expected) = precondition {
                let strategy = self.rules.strategy(key.namespace());
                let visible = before.as_ref().filter(|before| !before.is_over(strategy, self.time(now)));
                let version = visible.map(Before::hlc);
                let expected = match expected {
                    Precondition::Absent => None,
                    Precondition::Version(version) => Some(*version),
                };
                if version != expected {
                    return Err(Refused::Conflict { key: key.clone(), version });
                }
            }
            let place = *known.entry(key).or_insert(staged.len());
            if place == staged.len() {
                staged.push(Staged { key: key.clone(), before, after: None });
            }
            places.push(place);
        }
        Ok(Staging { staged, places })
    }

    fn before(&self, key: &FactKey) -> Result<Option<Before>, S::Error> {
        if self.rules.strategy(key.namespace()).replaces_all() {
            self.storage.before(key)
        } else {
            self.storage.state(key).map(|state| state.map(Before::State))
        }
    }

    fn written(&self, staged: &Staged, write: &WriteFact, mut stamp: Stamp) -> Result<State, Refused<S::Error>> {
        let limits = &self.config.limits;
        let too_large = |size, max, unit| Refused::TooLarge { key: write.key.clone(), size, max, unit };
        let ends = |ttl_ms: &Option<NonZeroU64>| ttl_ms.map(|ttl| stamp.now.plus(ttl.get()));
        let refused = |error| Refused::Write { key: write.key.clone(), error };
        match &write.operation {
            Operation::Put { json, .. } if json.len() > limits.value_bytes => {
                return Err(too_large(json.len(), limits.value_bytes, "bytes"));
            }
            Operation::Put { ttl_ms, .. } | Operation::Increment { ttl_ms, .. } => stamp.expires_at = ends(ttl_ms),
            Operation::Delete => {}
        }
        let strategy = self.rules.strategy(write.key.namespace());
        let after = match (&staged.after, &staged.before) {
            (Some(state), _) => over_state(strategy, state, &write.operation, &stamp),
            (None, Some(Before::State(state))) => over_state(strategy, state, &write.operation, &stamp),
            (None, Some(Before::Head(head))) => match &write.operation {
                Operation::Put { json, .. } => strategy.put_over(head, json.text(), &stamp),
                Operation::Delete => Ok(strategy.delete_over(head, &stamp)),
                Operation::Increment { .. } => Err(WriteError::IsNoCounter),
            },
            (None, None) => over_state(strategy, &State::default(), &write.operation, &stamp),
        };
        let after = after.map_err(refused)?;
        if after.cells().len() > limits.cells {
            return Err(too_large(after.cells().len(), limits.cells, "elements"));
        }
        Ok(after)
    }

    /// Commits changes that this origin's next numbers made, and has them told.
    pub(super) fn commit_numbered(
        &mut self,
        now: Millis,
        hlc: Hlc,
        merged: Merged,
        mut metadata: Vec<record::Record>,
    ) -> Result<Written, S::Error> {
        let (first, last) = (self.seq + 1, self.seq + merged.changes.len() as u64);
        let entry = |change: &Change| {
            let state = change.after().map(|state| State::clone(state));
            state.map(|state| Entry { key: change.key.clone(), state })
        };
        let entries: Vec<Entry> =
            if self.members.is_empty() { Vec::new() } else { merged.changes.iter().filter_map(entry).collect() };
        let origin = self.origin.clone();
        metadata.push(self.own_record(last, hlc));
        let numbers = Numbers { origin: &origin, first, last };
        let commit = self.apply(now, merged, metadata, Some(numbers))?;
        self.seq = last;
        self.counts.local_writes += last + 1 - first;
        if !entries.is_empty() {
            let write = message::Write { origin: origin.clone(), first, entries };
            self.outbox.after_commits(Effect::Publish(Message::Write(write)));
        }
        Ok(Written { commit, version: hlc, cursor: VersionVector::from_iter([(origin, last)]) })
    }
}

fn over_state(strategy: &Strategy, state: &State, operation: &Operation, stamp: &Stamp) -> Result<State, WriteError> {
    match operation {
        Operation::Put { json, .. } => strategy.put(state, json.text(), stamp),
        Operation::Delete => Ok(strategy.delete(state, stamp)),
        Operation::Increment { by, .. } => strategy.add(state, *by, stamp),
    }
}
