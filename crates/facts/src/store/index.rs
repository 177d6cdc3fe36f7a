//! What is found by other things than a key's name. It is in memory only and built from the states when a store is
//! opened: so it never disagrees with them after a crash, costs a write no further record, and puts no name of a key
//! in a file. It takes some 200 bytes for each key, the key among them.

use std::{
    collections::{
        BTreeMap, HashMap, HashSet,
        hash_map::Entry::{Occupied, Vacant},
    },
    ops::Bound::{self, Excluded, Included},
};

use crate::{
    causality::Origin,
    clock::Millis,
    head::{Before, Head},
    key::{FactKey, Pattern},
    state::{Body, Cell, State},
    store::{
        StoreError,
        block::{self, Fact, Location, Number},
        blocks::{Block, Blocks},
        encoding::read_state,
        engine::Space,
        entry::{Entry, Origins},
        numbers::Numbers,
        ordered::Ordered,
        record::{Check, Records},
    },
};

#[derive(Debug, Default)]
pub(super) struct Index {
    /// In order.
    keys: Ordered<FactKey>,
    /// Of the same keys: most writes are of keys that are there, and are spared the way through an ordered set.
    entries: HashMap<FactKey, Entry, ahash::RandomState>,
    origins: Origins,
    /// By the last number that the key's state has seen.
    written: BTreeMap<Origin, Numbers>,
    /// Always a key: `None` is a place before all keys to look from.
    ending: Ordered<(Millis, Option<FactKey>)>,
    sizes: BTreeMap<String, NamespaceSize>,
    blocks: Blocks,
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

    fn of_before(before: Option<&Before>) -> NamespaceSize {
        match before {
            Some(Before::Head(Head { is_deletion, .. })) => {
                NamespaceSize { facts: u64::from(!is_deletion), tombstones: u64::from(*is_deletion) }
            }
            Some(Before::State(state)) => NamespaceSize::of(Some(state)),
            None => NamespaceSize::default(),
        }
    }
}

/// What a key comes to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct After<'a> {
    pub(super) state: &'a State,
    pub(super) head: Option<&'a Head>,
    pub(super) location: Location,
}

/// Collects what an index is of, to put it in order at once.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    keys: Vec<FactKey>,
    entries: HashMap<FactKey, Entry, ahash::RandomState>,
    origins: Origins,
    written: BTreeMap<Origin, Vec<(u64, FactKey)>>,
    ending: Vec<(Millis, Option<FactKey>)>,
    sizes: BTreeMap<String, NamespaceSize>,
    blocks: Blocks,
    /// Forgotten by a block that was added.
    forgotten: HashSet<FactKey, ahash::RandomState>,
}

impl IndexBuilder {
    /// A block and what is live in it; the last one first.
    ///
    /// # Errors
    /// It is damaged, and nothing was added.
    pub(super) fn add_record(&mut self, records: &Records, row: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let payload = records.open_block(row, record)?;
        let added = block::number_of(row).and_then(|number| self.add_block(number, Check::of(record), &payload));
        added.ok_or_else(|| records.damaged(Space::Live, row))
    }

    fn add_block(&mut self, number: Number, check: Check, payload: &[u8]) -> Option<()> {
        let mut block = Block { check, bytes: u32::try_from(payload.len()).ok()?, ..Block::default() };
        let (mut live, mut forgotten): (Vec<(FactKey, State, Location)>, _) = (Vec::new(), Vec::new());
        for Fact { location, key, state, .. } in block::facts(number, payload)?.into_iter().rev() {
            let is_here = |earlier: &FactKey| earlier.as_str() == key;
            if self.entries.contains_key(key)
                || self.forgotten.contains(key)
                || live.iter().any(|(earlier, ..)| is_here(earlier))
                || forgotten.iter().any(is_here)
            {
                continue;
            }
            let key = FactKey::new(key).ok()?;
            match state {
                Some(state) => {
                    block.enter(location);
                    live.push((key, read_state(state).ok()?, location));
                }
                None => forgotten.push(key),
            }
        }
        if payload.is_empty() || !self.blocks.push_first(number, block) {
            return None;
        }
        self.forgotten.extend(forgotten);
        live.into_iter().for_each(|(key, state, location)| self.add(key, &state, location));
        Some(())
    }

    pub(super) fn has(&self, key: &FactKey) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn add(&mut self, key: FactKey, state: &State, location: Location) {
        for (origin, seq) in state.context().iter() {
            let entry = (seq, key.clone());
            match self.written.get_mut(origin) {
                Some(numbers) => numbers.push(entry),
                None => {
                    self.written.insert(origin.clone(), vec![entry]);
                }
            }
        }
        self.ending.extend(state.ends().into_iter().map(|time| (time, Some(key.clone()))));
        resize(&mut self.sizes, &key, NamespaceSize::default(), NamespaceSize::of(Some(state)));
        let entry = Entry::new(location, Head::of(&key, state).as_ref(), &mut self.origins);
        self.entries.insert(key.clone(), entry);
        self.keys.push(key);
    }

    pub(super) fn build(self) -> Index {
        let written = self.written.into_iter().map(|(origin, numbers)| (origin, numbers.into_iter().collect()));
        Index {
            keys: self.keys.into_iter().collect(),
            entries: self.entries,
            origins: self.origins,
            written: written.collect(),
            ending: self.ending.into_iter().collect(),
            sizes: self.sizes,
            blocks: self.blocks,
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

    pub(super) fn location(&self, key: &FactKey) -> Option<Location> {
        self.entries.get(key).map(|entry| entry.location)
    }

    /// The key of a live fact.
    pub(super) fn key_at(&self, key: &str, location: Location) -> Option<&FactKey> {
        let (key, entry) = self.entries.get_key_value(key)?;
        (entry.location == location).then_some(key)
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub(super) fn blocks_mut(&mut self) -> &mut Blocks {
        &mut self.blocks
    }

    /// `Some(None)`: the key is there, and its state is read.
    pub(super) fn head(&self, key: &FactKey) -> Option<Option<Head>> {
        self.entries.get(key).map(|entry| entry.head(&self.origins))
    }

    /// By namespace.
    pub(super) fn sizes(&self) -> &BTreeMap<String, NamespaceSize> {
        &self.sizes
    }

    /// One key's state becomes another.
    pub(super) fn change(&mut self, key: &FactKey, before: Option<&Before>, after: Option<After<'_>>) {
        let state = after.map(|after| after.state);
        resize(&mut self.sizes, key, NamespaceSize::of_before(before), NamespaceSize::of(state));
        // One text is kept of a key, however often it is put over.
        let key = match self.entries.entry(key.clone()) {
            Occupied(mut entry) => {
                self.blocks.leave(entry.get().location);
                let key = entry.key().clone();
                match after {
                    Some(After { head, location, .. }) => {
                        *entry.get_mut() = Entry::new(location, head, &mut self.origins)
                    }
                    None => {
                        entry.remove();
                        self.keys.remove(&key);
                    }
                }
                key
            }
            Vacant(entry) => {
                let key = entry.key().clone();
                if let Some(After { head, location, .. }) = after {
                    entry.insert(Entry::new(location, head, &mut self.origins));
                    self.keys.insert(key.clone());
                }
                key
            }
        };
        if let Some(before) = before {
            self.leave(&key, before, state);
        }
        if let Some(state) = state {
            self.enter(&key, before, state);
        }
    }

    fn enter(&mut self, key: &FactKey, before: Option<&Before>, after: &State) {
        for (origin, seq) in after.context().iter() {
            if before.is_some_and(|before| before.seen_of(origin) == seq) {
                continue;
            }
            match self.written.get_mut(origin) {
                Some(numbers) => {
                    numbers.insert(seq, key.clone());
                }
                None => {
                    self.written.entry(origin.clone()).or_default().insert(seq, key.clone());
                }
            }
        }
        for time in after.ends() {
            self.ending.insert((time, Some(key.clone())));
        }
    }

    fn leave(&mut self, key: &FactKey, before: &Before, after: Option<&State>) {
        for (origin, seq) in before.seen() {
            if after.is_some_and(|after| after.context().get(origin) == seq) {
                continue;
            }
            if let Some(numbers) = self.written.get_mut(origin) {
                numbers.remove(seq, key);
                if numbers.is_empty() {
                    self.written.remove(origin);
                }
            }
        }
        for time in before.ends() {
            self.ending.remove(&(time, Some(key.clone())));
        }
    }

    /// The same fact is somewhere else.
    pub(super) fn relocate(&mut self, key: &FactKey, location: Location) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.blocks.leave(entry.location);
            entry.location = location;
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
        numbers.from(first).map(|(number, key)| (number, key.clone())).take(limit).collect()
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

impl PartialEq for Index {
    /// Whatever the origins' numbers are.
    fn eq(&self, other: &Index) -> bool {
        let same = |(key, entry): (&FactKey, &Entry)| {
            other.location(key) == Some(entry.location) && other.head(key) == Some(entry.head(&self.origins))
        };
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(same)
            && self.keys == other.keys
            && self.written == other.written
            && self.ending == other.ending
            && self.sizes == other.sizes
            && self.blocks == other.blocks
    }
}
