//! From a commit to rows of the engine and changes of the index.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

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

/// Commits of so many bytes are a reason to look at the engine: some of its smallest buffers, of which it takes several.
const LOOK_BYTES: u64 = 512 << 10;

/// Names of metadata of which it is known what they have.
const METADATA_MAX: usize = 64;

/// What a commit is to write, and what is so once it is written.
pub(super) struct Prepared {
    rows: Rows,
    bytes: u64,
    pub(super) tally: Tally,
    pub(super) live: Live,
    /// What metadata comes to be.
    metadata: Vec<(String, Option<Check>)>,
}

/// What becomes of the live facts and their blocks, in this order.
#[derive(Default)]
pub(super) struct Live {
    packed: Vec<(Number, Block)>,
    pub(super) moved: Vec<(FactKey, Location)>,
    /// Of the new states that the commit's changes have, in their order.
    locations: Vec<Option<Location>>,
    /// Of the changes.
    bytes: u64,
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
pub(super) fn each_once(commit: &Commit) -> Cow<'_, [Change]> {
    let changes = &commit.changes;
    let mut keys: HashSet<&FactKey, ahash::RandomState> =
        HashSet::with_capacity_and_hasher(changes.len(), ahash::RandomState::default());
    if commit.is_distinct || changes.len() < 2 || changes.iter().all(|change| keys.insert(&change.key)) {
        return Cow::Borrowed(changes);
    }
    let mut places: HashMap<&FactKey, usize> = HashMap::new();
    let mut once: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        let place = *places.entry(&change.key).or_insert(once.len());
        match once.get_mut(place) {
            Some(earlier) => *earlier = change.clone().since(earlier.before.take()),
            None => once.push(change.clone()),
        }
    }
    Cow::Owned(once)
}

impl FactStore {
    /// `changes`: those of the commit, each key once.
    pub(super) fn prepare(&mut self, commit: &Commit, changes: &[Change]) -> Result<Prepared, StoreError> {
        let mut prepared = self.prepared(self.tally);
        // A key that comes and goes in one commit may have lost values in it.
        let forgotten = changes.iter().filter(|change| change.after().is_none());
        let forgotten: Vec<FactKey> = forgotten.map(|change| change.key.clone()).collect();
        self.prepare_live(changes, commit.is_distinct, &mut prepared)?;
        self.prepare_lost(&commit.lost, &forgotten, &mut prepared)?;
        self.prepare_metadata(&commit.metadata, &mut prepared)?;
        Ok(prepared.with_tally())
    }

    pub(super) fn prepared(&self, tally: Tally) -> Prepared {
        let tally = Tally { commits: self.tally.commits.saturating_add(1), ..tally };
        Prepared { rows: Vec::new(), bytes: 0, tally, live: Live::default(), metadata: Vec::new() }
    }

    /// Blocks of what changes, and those that go.
    fn prepare_live(&mut self, changes: &[Change], is_known: bool, prepared: &mut Prepared) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let index = shared.index.read();
        prepared.pass(index.blocks());
        let mut packer = Packer::new(&shared.records, &mut self.nonces, prepared.tally.block);
        let values: usize = changes.iter().filter_map(Change::after).map(|after| after.value_bytes()).sum();
        prepared.live.moved = self.credit.spend(values as u64, &shared, &index, &mut packer)?;
        let own = packer.number();
        if !is_known {
            check_fitting(changes, &index)?;
        }
        prepared.live.locations = pack(changes, &mut packer)?;
        prepared.add(packer)?;
        let packed = prepared.live.packed.iter().filter(|(number, _)| *number >= own);
        prepared.live.bytes = packed.map(|(_, block)| u64::from(block.bytes)).sum();
        Ok(())
    }

    /// The history of keys that are forgotten goes with them; of others the oldest values beyond the bound do.
    fn prepare_lost(
        &mut self,
        lost: &[(FactKey, Cell)],
        forgotten: &[FactKey],
        prepared: &mut Prepared,
    ) -> Result<(), StoreError> {
        let mut by_key: BTreeMap<&FactKey, (Vec<&Cell>, usize)> = BTreeMap::new();
        for (key, cell) in lost {
            by_key.entry(key).or_insert_with(|| (Vec::new(), self.settings.lost_max)).0.push(cell);
        }
        for key in forgotten {
            by_key.insert(key, (Vec::new(), 0));
        }
        for (key, (mut cells, kept_max)) in by_key {
            cells.drain(..cells.len().saturating_sub(kept_max));
            let prefix = self.shared.records.history_prefix(key);
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
                let record = self.shared.records.lost(&row, key, cell, &mut self.nonces)?;
                prepared.put(Space::History, row, record, None);
            }
        }
        Ok(())
    }

    fn prepare_metadata(
        &mut self,
        metadata: &[(String, Option<Vec<u8>>)],
        prepared: &mut Prepared,
    ) -> Result<(), StoreError> {
        for (place, (name, value)) in metadata.iter().enumerate() {
            if metadata.iter().skip(place + 1).any(|(later, _)| later == name) {
                continue;
            }
            let row = self.shared.records.metadata_row(name);
            let before = match self.metadata.get(name) {
                Some(known) => *known,
                None => {
                    let record = self.shared.with_engine(|engine| engine.get(Space::Metadata, &row))?;
                    record.map(|record| Check::of(&record))
                }
            };
            match value {
                Some(value) => {
                    let record = self.shared.records.metadata(&row, name, value, &mut self.nonces)?;
                    prepared.metadata.push((name.clone(), Some(Check::of(&record))));
                    prepared.put(Space::Metadata, row, record, before);
                }
                None if before.is_some() => {
                    prepared.metadata.push((name.clone(), None));
                    prepared.remove(Space::Metadata, before);
                    prepared.push(Space::Metadata, row, None);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// `changes`: those that it was prepared of.
    pub(super) fn write(&mut self, prepared: Prepared, changes: &[Change]) -> Result<(), StoreError> {
        let (has_refused, is_to_look) = (self.room.has_refused(), self.is_to_look());
        self.room.take(prepared.bytes)?;
        if is_to_look && self.may_wait {
            self.look(has_refused)?;
        }
        self.unlooked = self.unlooked.saturating_add(prepared.bytes);
        let shared = self.shared.clone();
        let _under_way = shared.commit.lock();
        // Nobody is led to the new blocks yet.
        let written = {
            let _alone = self.ahead.hold();
            shared.with_engine(|engine| engine.write(prepared.rows))
        };
        self.ahead.committed(prepared.bytes);
        if let Err(error) = written {
            // What the engine could not write to the end may yet be whole in its log.
            if !self.reopen(error, prepared.tally.commits)? {
                return Err(self.room.refuse());
            }
        }
        self.tally = prepared.tally;
        self.syncer.committed(self.tally.commits);
        for (name, check) in prepared.metadata {
            if self.metadata.len() < METADATA_MAX || self.metadata.contains_key(&name) {
                self.metadata.insert(name, check);
            }
        }
        self.take_effect(prepared.live, changes);
        Ok(())
    }

    /// Whether the next commit is to look whether the engine can take it, and may have to wait until it can.
    fn is_to_look(&self) -> bool {
        self.unlooked >= LOOK_BYTES || self.room.has_refused()
    }

    /// Whether the next commit would have to wait for somebody else.
    #[must_use]
    pub fn would_wait(&self) -> bool {
        self.is_to_look() || self.shared.commit.is_locked()
    }

    /// Whether commits may wait until the engine can take them. One that may not leaves it to the next that may.
    pub fn let_wait(&mut self, may_wait: bool) {
        self.may_wait = may_wait;
    }

    fn look(&mut self, has_refused: bool) -> Result<(), StoreError> {
        let health = self.shared.with_engine(|engine| {
            if has_refused { engine.is_well() } else { Ok(()) }.and_then(|()| engine.wait_for_workers())
        });
        match health {
            Err(error @ StoreError::Engine { .. }) => {
                self.reopen(error, self.tally.commits)?;
            }
            other => other?,
        }
        self.unlooked = 0;
        Ok(())
    }

    fn take_effect(&mut self, live: Live, changes: &[Change]) {
        let shared = self.shared.clone();
        let mut index = shared.index.write();
        let Live { packed, moved, locations, bytes } = live;
        let blocks = index.blocks_mut();
        packed.into_iter().for_each(|(number, block)| blocks.push(number, block));
        let behind = blocks.begin_with(self.tally.first);
        moved.into_iter().for_each(|(key, location)| index.relocate(&key, location));
        for (change, location) in changes.iter().zip(locations) {
            let after = change.after().zip(location);
            let after = after.map(|(state, location)| After { state, head: change.head(), location });
            index.change(&change.key, change.before.as_ref(), after);
            // What nobody reads does not take the place of what is read.
            let _ = self.shared.cache.replace(change.key.clone(), change.after().cloned(), true);
        }
        self.credit.earn(bytes, index.blocks());
        drop(index);
        self.reclaim.left(behind, self.tally.first, &self.shared, &self.syncer);
    }

    /// Writes rows of history or metadata that change no meaning, as one.
    pub(super) fn write_rows(&mut self, rows: Rows, tally: Tally) -> Result<(), StoreError> {
        // They may be among the rows.
        self.metadata.clear();
        let mut prepared = self.prepared(tally);
        for (space, row, record) in rows {
            prepared.push(space, row, record);
        }
        self.write(prepared.with_tally(), &[])
    }
}

/// Whether what was before is what there is.
fn check_fitting(changes: &[Change], index: &Index) -> Result<(), StoreError> {
    match changes.iter().find(|change| index.location(&change.key).is_some() != change.before.is_some()) {
        Some(change) => Err(StoreError::Unfitting { key: change.key.to_string() }),
        None => Ok(()),
    }
}

fn pack(changes: &[Change], packer: &mut Packer<'_>) -> Result<Vec<Option<Location>>, StoreError> {
    let mut locations = Vec::with_capacity(changes.len());
    for change in changes {
        locations.push(match change.after() {
            Some(after) => Some(packer.put(&change.key, after)?),
            None => {
                if change.before.is_some() {
                    packer.forget(&change.key)?;
                }
                None
            }
        });
    }
    Ok(locations)
}
