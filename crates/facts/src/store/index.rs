//! What is found by other things than a key's name. It is in memory only and built from the states when a store is
//! opened: so it never disagrees with them after a crash, costs a write no further record, and puts no name of a key
//! in a file. It takes some 130 bytes for each key, the key among them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{self, Excluded, Included},
};

use crate::{
    causality::Origin,
    clock::Millis,
    key::{FactKey, Pattern},
    state::{Body, Cell, State},
    store::{ordered::Ordered, record::Check},
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// In order.
    keys: Ordered<FactKey>,
    /// Of the same keys: most writes are of keys that are there, and are spared the way through an ordered set.
    checks: HashMap<FactKey, Check, ahash::RandomState>,
    /// By the last number that the key's state has seen. Always a key: `None` is a place before all keys to look from.
    written: BTreeMap<Origin, Ordered<(u64, Option<FactKey>)>>,
    ending: Ordered<(Millis, Option<FactKey>)>,
    sizes: BTreeMap<String, NamespaceSize>,
}

/// How much a namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceSize {
    /// Keys with a value; such that has ended counts until it is forgotten.
    pub facts: u64,
    /// Keys with a deletion that is remembered.
    pub tombstones: u64,
}

impl NamespaceSize {
    fn of(state: Option<&State>) -> NamespaceSize {
        let cells = state.map(State::cells).unwrap_or_default();
        let is_deletion = |cell: &Cell| cell.body == Body::Tombstone;
        NamespaceSize {
            facts: u64::from(!cells.iter().all(is_deletion)),
            tombstones: u64::from(cells.iter().any(is_deletion)),
        }
    }
}

/// Collects what an index is of, to put it in order at once.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    keys: Vec<FactKey>,
    checks: HashMap<FactKey, Check, ahash::RandomState>,
    written: BTreeMap<Origin, Vec<(u64, Option<FactKey>)>>,
    ending: Vec<(Millis, Option<FactKey>)>,
    sizes: BTreeMap<String, NamespaceSize>,
}

impl IndexBuilder {
    /// `count`: about how many keys there will be.
    pub(super) fn for_count(count: u64) -> IndexBuilder {
        let count = usize::try_from(count).unwrap_or(0).min(1 << 24);
        let checks = HashMap::with_capacity_and_hasher(count, ahash::RandomState::default());
        IndexBuilder { keys: Vec::with_capacity(count), checks, ..IndexBuilder::default() }
    }

    /// Each key once.
    pub(super) fn add(&mut self, key: FactKey, state: &State, check: Check) {
        for (origin, seq) in state.context().iter() {
            let entry = (seq, Some(key.clone()));
            match self.written.get_mut(origin) {
                Some(numbers) => numbers.push(entry),
                None => {
                    self.written.insert(origin.clone(), vec![entry]);
                }
            }
        }
        self.ending.extend(state.ends().into_iter().map(|time| (time, Some(key.clone()))));
        resize(&mut self.sizes, &key, NamespaceSize::default(), NamespaceSize::of(Some(state)));
        self.checks.insert(key.clone(), check);
        self.keys.push(key);
    }

    pub(super) fn build(self) -> Index {
        let written = self.written.into_iter().map(|(origin, numbers)| (origin, numbers.into_iter().collect()));
        Index {
            keys: self.keys.into_iter().collect(),
            checks: self.checks,
            written: written.collect(),
            ending: self.ending.into_iter().collect(),
            sizes: self.sizes,
        }
    }
}

/// One key of the namespace comes to count otherwise.
fn resize(sizes: &mut BTreeMap<String, NamespaceSize>, key: &FactKey, before: NamespaceSize, after: NamespaceSize) {
    if before == after {
        return;
    }
    let namespace = key.namespace();
    if !sizes.contains_key(namespace) {
        sizes.insert(namespace.to_owned(), NamespaceSize::default());
    }
    let Some(size) = sizes.get_mut(namespace) else { return };
    size.facts = (size.facts + after.facts).saturating_sub(before.facts);
    size.tombstones = (size.tombstones + after.tombstones).saturating_sub(before.tombstones);
    if *size == NamespaceSize::default() {
        sizes.remove(namespace);
    }
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn check(&self, key: &FactKey) -> Option<Check> {
        self.checks.get(key).copied()
    }

    /// By namespace.
    pub(super) fn sizes(&self) -> &BTreeMap<String, NamespaceSize> {
        &self.sizes
    }

    /// One key's state becomes another.
    pub(super) fn change(&mut self, key: &FactKey, before: Option<&State>, after: Option<(&State, Check)>) {
        let sizes = (NamespaceSize::of(before), NamespaceSize::of(after.map(|(state, _)| state)));
        resize(&mut self.sizes, key, sizes.0, sizes.1);
        if let Some(before) = before {
            self.leave(key, before, after.map(|(state, _)| state));
        }
        let Some((state, check)) = after else {
            self.keys.remove(key);
            self.checks.remove(key);
            return;
        };
        if self.checks.insert(key.clone(), check).is_none() {
            self.keys.insert(key.clone());
        }
        for (origin, seq) in state.context().iter() {
            if before.is_some_and(|before| before.context().get(origin) == seq) {
                continue;
            }
            match self.written.get_mut(origin) {
                Some(numbers) => {
                    numbers.insert((seq, Some(key.clone())));
                }
                None => {
                    self.written.entry(origin.clone()).or_default().insert((seq, Some(key.clone())));
                }
            }
        }
        for time in state.ends() {
            self.ending.insert((time, Some(key.clone())));
        }
    }

    fn leave(&mut self, key: &FactKey, before: &State, after: Option<&State>) {
        for (origin, seq) in before.context().iter() {
            if after.is_some_and(|after| after.context().get(origin) == seq) {
                continue;
            }
            if let Some(numbers) = self.written.get_mut(origin) {
                numbers.remove(&(seq, Some(key.clone())));
                if numbers.is_empty() {
                    self.written.remove(origin);
                }
            }
        }
        for time in before.ends() {
            self.ending.remove(&(time, Some(key.clone())));
        }
    }

    pub(super) fn renew(&mut self, key: &FactKey, check: Check) {
        if let Some(old) = self.checks.get_mut(key) {
            *old = check;
        }
    }

    pub(super) fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Vec<FactKey> {
        let start: Bound<&str> = match after {
            Some(after) if after.as_str() >= pattern.start() => Excluded(after.as_str()),
            _ => Included(pattern.start()),
        };
        let from = self.keys.from::<str>(start);
        // Keys that match lie together: the first that does not is behind them.
        from.take_while(|key| pattern.matches(key)).take(limit).cloned().collect()
    }

    pub(super) fn written(&self, origin: &Origin, after: u64, limit: usize) -> Vec<(u64, FactKey)> {
        let Some(numbers) = self.written.get(origin) else { return Vec::new() };
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        let start = (first, None);
        let from = numbers.from(Included(&start));
        from.filter_map(|(seq, key)| Some((*seq, key.clone()?))).take(limit).collect()
    }

    pub(super) fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Vec<(Millis, FactKey)> {
        let (time, key) = after;
        let at = match key {
            Some(key) => (time, Some(key.clone())),
            None if time == Millis(u64::MAX) => return Vec::new(),
            None => (time.plus(1), None),
        };
        let start = if key.is_some() { Excluded(&at) } else { Included(&at) };
        let from = self.ending.from(start).take_while(|(time, _)| *time <= until);
        from.filter_map(|(time, key)| Some((*time, key.clone()?))).take(limit).collect()
    }
}
