//! A storage in memory, with what a crash does to a real one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    convert::Infallible,
    ops::Bound,
    sync::Arc,
};

use crate::{
    causality::Origin,
    clock::Millis,
    head::{Before, Head},
    key::{FactKey, Pattern},
    state::{Cell, State},
    storage::{Change, Commit, Storage},
};

/// Lost values kept for each key.
const LOST_MAX: usize = 16;

/// Keeps everything in memory, and nothing beyond the program. For tests, also those of users, and for nodes that hold
/// nothing worth keeping.
#[derive(Debug, Default)]
pub struct Memory {
    states: BTreeMap<FactKey, (Arc<State>, Option<Head>)>,
    written: HashMap<Origin, BTreeMap<u64, BTreeSet<FactKey>>>,
    ending: BTreeMap<Millis, BTreeSet<FactKey>>,
    lost: HashMap<FactKey, VecDeque<Cell>>,
    metadata: BTreeMap<String, Vec<u8>>,
    /// How to undo what was committed since the last persist; the oldest first.
    undo: VecDeque<Undo>,
    keeps_undo: bool,
}

#[derive(Debug)]
struct Undo {
    /// With before and after the other way round.
    changes: Vec<Change>,
    metadata: Vec<(String, Option<Vec<u8>>)>,
    lost: Vec<FactKey>,
}

impl Memory {
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// One that can [`crash`](Memory::crash); it remembers how to undo commits until they are persisted.
    #[must_use]
    pub fn crashable() -> Memory {
        Memory { keeps_undo: true, ..Memory::default() }
    }

    /// Commits that a crash may lose.
    #[must_use]
    pub fn unpersisted(&self) -> usize {
        self.undo.len()
    }

    /// Makes only the first commits since the last persist durable, as a persist does that began after them and ends
    /// after later ones.
    pub fn persist_first(&mut self, commits: usize) {
        self.undo.drain(..commits.min(self.undo.len()));
    }

    /// What is there after a crash that kept the first `kept` commits since the last persist.
    pub fn crash(&mut self, kept: usize) {
        while self.undo.len() > kept {
            let Some(undo) = self.undo.pop_back() else { break };
            undo.changes.iter().rev().for_each(|change| self.change(change));
            undo.metadata.into_iter().for_each(|(name, value)| self.set(name, value));
            for key in undo.lost.iter().rev() {
                self.lost.get_mut(key).and_then(VecDeque::pop_front);
            }
        }
        self.undo.clear();
    }

    fn change(&mut self, change: &Change) {
        for (origin, seq) in change.before.iter().flat_map(Before::seen) {
            if let Some(rows) = self.written.get_mut(origin)
                && let Some(keys) = rows.get_mut(&seq)
            {
                keys.remove(&change.key);
                if keys.is_empty() {
                    rows.remove(&seq);
                }
            }
        }
        for (origin, seq) in change.after().into_iter().flat_map(|state| state.context().iter()) {
            if !self.written.contains_key(origin) {
                self.written.insert(origin.clone(), BTreeMap::new());
            }
            if let Some(rows) = self.written.get_mut(origin) {
                rows.entry(seq).or_default().insert(change.key.clone());
            }
        }
        for time in change.before.iter().flat_map(Before::ends) {
            if let Some(keys) = self.ending.get_mut(&time) {
                keys.remove(&change.key);
                if keys.is_empty() {
                    self.ending.remove(&time);
                }
            }
        }
        for time in change.after().into_iter().flat_map(|state| state.ends()) {
            self.ending.entry(time).or_default().insert(change.key.clone());
        }
        match change.after() {
            Some(state) => self.states.insert(change.key.clone(), (Arc::clone(state), change.head().cloned())),
            None => self.states.remove(&change.key),
        };
    }

    fn set(&mut self, name: String, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.metadata.insert(name, value),
            None => self.metadata.remove(&name),
        };
    }
}

impl Storage for Memory {
    type Error = Infallible;

    fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, Infallible> {
        Ok(self.states.get(key).map(|(state, _)| Arc::clone(state)))
    }

    fn before(&self, key: &FactKey) -> Result<Option<Before>, Infallible> {
        let of = |(state, head): &(Arc<State>, Option<Head>)| match head {
            Some(head) => Before::Head(head.clone()),
            None => Before::State(Arc::clone(state)),
        };
        Ok(self.states.get(key).map(of))
    }

    fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Result<Vec<FactKey>, Infallible> {
        let start = match after {
            Some(key) if key.as_str() >= pattern.start() => Bound::Excluded(key.as_str()),
            _ => Bound::Included(pattern.start()),
        };
        let from_start = self.states.range::<str, _>((start, Bound::Unbounded)).map(|(key, _)| key);
        let matching = from_start.take_while(|key| key.as_str().starts_with(pattern.start()));
        Ok(matching.filter(|key| pattern.matches(key)).take(limit).cloned().collect())
    }

    fn written(&self, origin: &Origin, after: u64, limit: usize) -> Result<Vec<(u64, FactKey)>, Infallible> {
        let Some(rows) = self.written.get(origin) else { return Ok(Vec::new()) };
        let later = rows.range((Bound::Excluded(after), Bound::Unbounded));
        Ok(later.flat_map(|(seq, keys)| keys.iter().map(|key| (*seq, key.clone()))).take(limit).collect())
    }

    fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Result<Vec<(Millis, FactKey)>, Infallible> {
        let (time, key) = after;
        let rest = |keys: &BTreeSet<FactKey>, key: &FactKey| -> Vec<FactKey> {
            keys.range::<FactKey, _>((Bound::Excluded(key), Bound::Unbounded)).take(limit).cloned().collect()
        };
        let begun = key.and_then(|key| Some(rest(self.ending.get(&time).filter(|_| time <= until)?, key)));
        let begun = begun.into_iter().flatten().map(|key| (time, key));
        let times =
            self.ending.range((Bound::Excluded(time), Bound::Unbounded)).take_while(|(time, _)| **time <= until);
        let later = times.flat_map(|(time, keys)| keys.iter().map(|key| (*time, key.clone())));
        Ok(begun.chain(later).take(limit).collect())
    }

    fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, Infallible> {
        Ok(self.lost.get(key).into_iter().flatten().take(limit).cloned().collect())
    }

    fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.metadata.get(name).cloned())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), Infallible> {
        if self.keeps_undo {
            let reverse = |change: &Change| {
                let was = self.states.get(&change.key).map(|(state, _)| Arc::clone(state));
                Change::new(change.key.clone(), change.after().cloned().map(Before::State), was)
            };
            self.undo.push_back(Undo {
                changes: commit.changes.iter().map(reverse).collect(),
                metadata: commit
                    .metadata
                    .iter()
                    .map(|(name, _)| (name.clone(), self.metadata.get(name).cloned()))
                    .collect(),
                lost: commit.lost.iter().map(|(key, _)| key.clone()).collect(),
            });
        }
        commit.changes.iter().for_each(|change| self.change(change));
        for (key, cell) in &commit.lost {
            let cells = self.lost.entry(key.clone()).or_default();
            cells.push_front(cell.clone());
            cells.truncate(LOST_MAX);
        }
        commit.metadata.iter().for_each(|(name, value)| self.set(name.clone(), value.clone()));
        Ok(())
    }

    fn persist(&mut self) -> Result<(), Infallible> {
        self.undo.clear();
        Ok(())
    }
}
