//! From a commit to rows of the engine and changes of the index.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    key::FactKey,
    state::Cell,
    storage::{Change, Commit},
    store::{
        FactStore, StoreError,
        block::{self, Location, Number, Packed, Packer},
        blocks::{Block, Blocks},
        engine::{Rows, Space},
        index::{After, Index},
        record::Check,
        tally::{self, Tally},
    },
};

/// Blocks that the log leaves behind with one commit at most.
const PASSED_MAX: usize = 10_000;

/// What a commit is to write, and what is so once it is written.
pub(super) struct Prepared {
    rows: Rows,
    bytes: u64,
    pub(super) tally: Tally,
    pub(super) live: Live,
}

/// What becomes of the live facts and their blocks, in this order.
#[derive(Default)]
pub(super) struct Live {
    packed: Vec<(Number, Block)>,
    pub(super) moved: Vec<(FactKey, Location)>,
    changes: Vec<Indexed>,
    /// Of the changes.
    bytes: u64,
}

struct Indexed {
    change: Change,
    /// Of its new state.
    location: Option<Location>,
}

impl Prepared {
    fn put(&mut self, space: Space, row: Vec<u8>, record: Vec<u8>, before: Option<Check>) {
        self.tally.of(space).add(Check::of(&record));
        self.remove(space, before);
        self.push(space, row, Some(record));
    }

    fn remove(&mut self, space: Space, before: Option<Check>) {
        if let Some(before) = before {
            self.tally.of(space).remove(before);
        }
    }

    /// The log begins behind what is not live.
    pub(super) fn pass(&mut self, blocks: &Blocks) {
        let (passed, first) = blocks.passed(PASSED_MAX);
        passed.for_each(|block| self.tally.live.remove(block.check));
        // With no block there is nothing to tell it from but what it was.
        self.tally.first = self.tally.first.max(first);
    }

    /// Blocks at the end of the log.
    pub(super) fn add(&mut self, packer: Packer<'_>) -> Result<(), StoreError> {
        let (packed, next) = packer.finish()?;
        self.tally.block = next;
        for Packed { number, record, block } in packed {
            self.tally.live.add(block.check);
            self.push(Space::Live, block::row_of(number).to_vec(), Some(record));
            self.live.packed.push((number, block));
        }
        Ok(())
    }

    /// Last of all.
    pub(super) fn with_tally(mut self) -> Prepared {
        let tally = self.tally.to_bytes();
        self.push(Space::Metadata, tally::ROW.to_vec(), Some(tally));
        self
    }

    fn push(&mut self, space: Space, row: Vec<u8>, record: Option<Vec<u8>>) {
        self.bytes += (row.len() + record.as_ref().map_or(0, Vec::len) + 16) as u64;
        self.rows.push((space, row, record));
    }
}

/// One change for each key, from what was before the first to what is after the last.
fn each_once(changes: Vec<Change>) -> Vec<Change> {
    let mut keys: HashSet<&FactKey, ahash::RandomState> =
        HashSet::with_capacity_and_hasher(changes.len(), ahash::RandomState::default());
    if changes.len() < 2 || changes.iter().all(|change| keys.insert(&change.key)) {
        return changes;
    }
    let mut places: HashMap<FactKey, usize> = HashMap::new();
    let mut once: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        let place = *places.entry(change.key.clone()).or_insert(once.len());
        match once.get_mut(place) {
            Some(earlier) => *earlier = change.since(earlier.before.take()),
            None => once.push(change),
        }
    }
    once
}

impl FactStore {
    pub(super) fn prepare(&mut self, commit: Commit) -> Result<Prepared, StoreError> {
        let mut prepared = self.prepared(self.tally);
        let changes = if commit.is_distinct { commit.changes } else { each_once(commit.changes) };
        // A key that comes and goes in one commit may have lost values in it.
        let forgotten = changes.iter().filter(|change| change.after().is_none());
        let forgotten: Vec<FactKey> = forgotten.map(|change| change.key.clone()).collect();
        self.prepare_live(changes, &mut prepared)?;
        self.prepare_lost(commit.lost, &forgotten, &mut prepared)?;
        self.prepare_metadata(commit.metadata, &mut prepared)?;
        Ok(prepared.with_tally())
    }

    pub(super) fn prepared(&self, tally: Tally) -> Prepared {
        let tally = Tally { commits: self.tally.commits.saturating_add(1), ..tally };
        Prepared { rows: Vec::new(), bytes: 0, tally, live: Live::default() }
    }

    /// Blocks of what changes, and those that go.
    fn prepare_live(&mut self, changes: Vec<Change>, prepared: &mut Prepared) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let index = shared.index.read();
        prepared.pass(index.blocks());
        let mut packer = Packer::new(&shared.records, &mut self.nonces, prepared.tally.block);
        let values: usize = changes.iter().filter_map(Change::after).map(|after| after.value_bytes()).sum();
        prepared.live.moved = self.credit.spend(values as u64, &shared, &index, &mut packer)?;
        let own = packer.number();
        prepared.live.changes = pack(changes, &index, &mut packer)?;
        prepared.add(packer)?;
        let packed = prepared.live.packed.iter().filter(|(number, _)| *number >= own);
        prepared.live.bytes = packed.map(|(_, block)| u64::from(block.bytes)).sum();
        Ok(())
    }

    /// The history of keys that are forgotten goes with them; of others the oldest values beyond the bound do.
    fn prepare_lost(
        &mut self,
        lost: Vec<(FactKey, Cell)>,
        forgotten: &[FactKey],
        prepared: &mut Prepared,
    ) -> Result<(), StoreError> {
        let mut by_key: BTreeMap<FactKey, (Vec<Cell>, usize)> = BTreeMap::new();
        for (key, cell) in lost {
            by_key.entry(key).or_insert_with(|| (Vec::new(), self.settings.lost_max)).0.push(cell);
        }
        for key in forgotten {
            by_key.insert(key.clone(), (Vec::new(), 0));
        }
        for (key, (mut cells, kept_max)) in by_key {
            cells.drain(..cells.len().saturating_sub(kept_max));
            let prefix = self.shared.records.history_prefix(&key);
            let mut kept = Vec::new();
            self.shared.with_engine(|engine| {
                engine.scan(Space::History, &prefix, false, |(row, record)| {
                    kept.push((row, Check::of(&record)));
                    Ok(true)
                })
            })?;
            let too_many = (kept.len() + cells.len()).saturating_sub(kept_max);
            for (row, check) in kept.into_iter().take(too_many) {
                prepared.remove(Space::History, Some(check));
                prepared.push(Space::History, row, None);
            }
            for cell in cells {
                let mut row = prefix.clone();
                row.extend_from_slice(&prepared.tally.serial.to_be_bytes());
                prepared.tally.serial = prepared.tally.serial.saturating_add(1);
                let record = self.shared.records.lost(&row, &key, &cell, &mut self.nonces)?;
                prepared.put(Space::History, row, record, None);
            }
        }
        Ok(())
    }

    fn prepare_metadata(
        &mut self,
        metadata: Vec<(String, Option<Vec<u8>>)>,
        prepared: &mut Prepared,
    ) -> Result<(), StoreError> {
        for (place, (name, value)) in metadata.iter().enumerate() {
            if metadata.iter().skip(place + 1).any(|(later, _)| later == name) {
                continue;
            }
            let row = self.shared.records.metadata_row(name);
            let before = self.shared.with_engine(|engine| engine.get(Space::Metadata, &row))?;
            let before = before.map(|record| Check::of(&record));
            match value {
                Some(value) => {
                    let record = self.shared.records.metadata(&row, name, value, &mut self.nonces)?;
                    prepared.put(Space::Metadata, row, record, before);
                }
                None if before.is_some() => {
                    prepared.remove(Space::Metadata, before);
                    prepared.push(Space::Metadata, row, None);
                }
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let has_refused = self.room.has_refused();
        self.room.take(prepared.bytes)?;
        let health = self.shared.with_engine(|engine| {
            if has_refused { engine.is_well() } else { Ok(()) }.and_then(|()| engine.wait_for_workers())
        });
        match health {
            Err(error @ StoreError::Engine { .. }) => {
                self.reopen(error, self.tally.commits)?;
            }
            other => other?,
        }
        let shared = self.shared.clone();
        let _under_way = shared.commit.lock();
        // Nobody is led to the new blocks yet.
        if let Err(error) = shared.with_engine(|engine| engine.write(prepared.rows)) {
            // What the engine could not write to the end may yet be whole in its log.
            if !self.reopen(error, prepared.tally.commits)? {
                return Err(self.room.refuse());
            }
        }
        self.tally = prepared.tally;
        self.syncer.committed(self.tally.commits);
        self.take_effect(prepared.live);
        Ok(())
    }

    fn take_effect(&mut self, live: Live) {
        let shared = self.shared.clone();
        let mut index = shared.index.write();
        let Live { packed, moved, changes, bytes } = live;
        let blocks = index.blocks_mut();
        packed.into_iter().for_each(|(number, block)| blocks.push(number, block));
        let behind = blocks.begin_with(self.tally.first);
        moved.into_iter().for_each(|(key, location)| index.relocate(&key, location));
        for Indexed { change, location } in changes {
            let after = change.after().zip(location);
            let after = after.map(|(state, location)| After { state, head: change.head(), location });
            index.change(change.key.clone(), change.before.as_ref(), after);
            let (key, _, after) = change.into_parts();
            // What nobody reads does not take the place of what is read.
            let _ = self.shared.cache.replace(key, after, true);
        }
        self.credit.earn(bytes, index.blocks());
        drop(index);
        self.reclaim.left(behind, self.tally.first, &self.shared, &self.syncer);
    }

    /// Writes rows of history or metadata that change no meaning, as one.
    pub(super) fn write_rows(&mut self, rows: Rows, tally: Tally) -> Result<(), StoreError> {
        let mut prepared = self.prepared(tally);
        for (space, row, record) in rows {
            prepared.push(space, row, record);
        }
        self.write(prepared.with_tally())
    }
}

fn pack(changes: Vec<Change>, index: &Index, packer: &mut Packer<'_>) -> Result<Vec<Indexed>, StoreError> {
    // At once, so that the processor waits for many of them together.
    let stored: Vec<bool> = changes.iter().map(|change| index.location(&change.key).is_some()).collect();
    let mut indexed = Vec::with_capacity(changes.len());
    for (change, is_stored) in changes.into_iter().zip(stored) {
        if is_stored != change.before.is_some() {
            return Err(StoreError::Unfitting { key: change.key.to_string() });
        }
        let location = match change.after() {
            Some(after) => Some(packer.put(&change.key, after)?),
            None => {
                if is_stored {
                    packer.forget(&change.key)?;
                }
                None
            }
        };
        indexed.push(Indexed { change, location });
    }
    Ok(indexed)
}
