use std::{collections::HashMap, sync::Arc};

use arrow::array::ArrayRef;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use crate::{
    StoreError, TableSchema,
    key::{KeyColumn, hash_key},
    segment::{CHUNK_ROWS, Entry},
};

/// Hashes of keys and the rows that have them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    slots: HashTable<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u64,
    row: u64,
}

impl Run {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn insert(&mut self, hash: u64, row: u64) {
        self.slots.insert_unique(hash, Slot { hash, row }, |slot| slot.hash);
    }

    pub fn rows(&self, hash: u64) -> impl Iterator<Item = u64> {
        self.slots.iter_hash(hash).filter(move |slot| slot.hash == hash).map(|slot| slot.row)
    }

    pub fn remove(&mut self, hash: u64, row: u64) {
        if let Ok(entry) = self.slots.find_entry(hash, |slot| slot.hash == hash && slot.row == row) {
            entry.remove();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.slots.iter().map(|slot| (slot.hash, slot.row))
    }
}

/// Finds rows by primary key: a multimap from the key's hash to every row that has or had it, shared by the versions of
/// a table. It says where to look; whether a row belongs to a version, lives there and really has the key is for
/// [`crate::TableVersion`] to check. So it only grows, apart from keys with very many dead rows.
///
/// INVARIANT: once built, it holds every row below `covered` that any version which uses this index could still see,
/// except for those it says it has dropped ([`Candidates::complete_since`]).
#[derive(Debug)]
pub(crate) struct PrimaryIndex {
    state: RwLock<State>,
    /// One thread reads key columns at a time; held without `state`, so that lookups and commits go on.
    building: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Rows below are indexed. None until somebody needs the index.
    covered: Option<u64>,
    recent: Run,
    /// Each with what to add to its row numbers.
    runs: Vec<(u64, Arc<Run>)>,
    /// Keys of which dead rows were dropped, and the LSN from which on they are dead.
    pruned: HashMap<u64, u64, ahash::RandomState>,
    /// Versions before this LSN may have rows that were gone when the index was built.
    gap_lsn: u64,
}

/// Rows that may have a key.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub rows: Vec<u64>,
    /// For versions from this LSN on, no other row has the key. An older one must look for itself when none fits.
    pub complete_since: u64,
}

/// A run of this many rows is kept as it is instead of being copied.
const RUN_ROWS_MIN: usize = 65_536;
/// The growing run is set aside at this size, so that making room for more never takes long.
const RECENT_ROWS_MAX: usize = 262_144;
/// More rows than this with one key hash: the oldest dead ones are dropped…
const SAME_KEY_ROWS_MAX: usize = 64;
/// …but for the newest, which snapshots in use may still need.
const SAME_KEY_ROWS_KEPT: usize = 32;
/// Each lookup visits every run.
const RUNS_MAX: usize = 8;

impl State {
    fn covers(&self, next_row: u64) -> bool {
        self.covered.is_some_and(|covered| covered >= next_row)
    }

    fn candidates(&self, hash: u64) -> Candidates {
        let mut rows: Vec<u64> = self.recent.rows(hash).collect();
        for (offset, run) in &self.runs {
            rows.extend(run.rows(hash).map(|row| row + offset));
        }
        let pruned = self.pruned.get(&hash).copied().unwrap_or(0);
        Candidates { rows, complete_since: pruned.max(self.gap_lsn) }
    }
}

impl PrimaryIndex {
    /// Of a table that had no rows before.
    pub fn empty(first_row: u64) -> Arc<PrimaryIndex> {
        let state = State { covered: Some(first_row), ..State::default() };
        Arc::new(PrimaryIndex { state: RwLock::new(state), building: Mutex::new(()) })
    }

    /// Built when first needed.
    pub fn unbuilt() -> Arc<PrimaryIndex> {
        Arc::new(PrimaryIndex { state: RwLock::default(), building: Mutex::new(()) })
    }

    /// A fresh index of the live rows of a version; only that version and later ones may use it.
    pub fn of_live_rows(schema: &TableSchema, entries: &[Entry], next_row: u64) -> Result<PrimaryIndex, StoreError> {
        let run = read_keys(schema, entries, 0, true)?;
        let state = State { covered: Some(next_row), runs: vec![(0, Arc::new(run))], ..State::default() };
        Ok(PrimaryIndex { state: RwLock::new(state), building: Mutex::new(()) })
    }

    pub fn candidates(&self, hash: u64) -> Candidates {
        self.state.read().candidates(hash)
    }

    /// None when rows below `next_row` are not indexed yet: [`PrimaryIndex::ensure`] comes first.
    pub fn covering_candidates(&self, hash: u64, next_row: u64) -> Option<Candidates> {
        let state = self.state.read();
        state.covers(next_row).then(|| state.candidates(hash))
    }

    /// Entries held, for deciding when a rebuild pays.
    pub fn len(&self) -> usize {
        let state = self.state.read();
        state.recent.len() + state.runs.iter().map(|(_, run)| run.len()).sum::<usize>()
    }

    /// Reads the key columns of rows not indexed yet. Cheap when there are none.
    pub fn ensure(&self, schema: &TableSchema, entries: &[Entry], next_row: u64, lsn: u64) -> Result<(), StoreError> {
        if self.state.read().covers(next_row) {
            return Ok(());
        }
        let _turn = self.building.lock();
        loop {
            let before = {
                let state = self.state.read();
                if state.covers(next_row) {
                    return Ok(());
                }
                state.covered
            };
            let from = before.unwrap_or(0);
            let run = read_keys(schema, entries, from, false)?;
            let mut state = self.state.write();
            // A commit may have added rows meanwhile; then the rest is smaller.
            if state.covered == before {
                if (run.len() as u64) < next_row - from {
                    state.gap_lsn = state.gap_lsn.max(lsn);
                }
                state.covered = Some(next_row);
                if run.len() >= RUN_ROWS_MIN {
                    state.runs.push((0, Arc::new(run)));
                } else {
                    run.iter().for_each(|(hash, row)| state.recent.insert(hash, row));
                }
            }
        }
    }

    /// Adds the `rows` rows of a commit that start at `first_row`, unless the index is not built or lags behind, in
    /// which case it stays so. `dead` says of rows committed before whether they are deleted as of `lsn`.
    pub fn extend(&self, first_row: u64, rows: u64, keys: &Arc<Run>, lsn: u64, dead: impl Fn(u64) -> bool) {
        let mut state = self.state.write();
        if state.covered != Some(first_row) {
            return;
        }
        state.covered = Some(first_row + rows);
        if keys.len() >= RUN_ROWS_MIN {
            state.runs.push((first_row, Arc::clone(keys)));
            return;
        }
        for (hash, row) in keys.iter() {
            state.recent.insert(hash, first_row + row);
            if state.recent.rows(hash).nth(SAME_KEY_ROWS_MAX).is_some() {
                state.prune(hash, lsn, &dead);
            }
        }
        if state.recent.len() >= RECENT_ROWS_MAX {
            let full = std::mem::take(&mut state.recent);
            state.runs.push((0, Arc::new(full)));
        }
    }

    /// Merges small runs where there are many. For a background thread: the copying is done without a lock.
    pub fn merge_runs(&self) {
        loop {
            let mut runs = self.state.read().runs.clone();
            if runs.len() <= RUNS_MAX {
                return;
            }
            runs.sort_by_key(|(_, run)| run.len());
            let [left, right, ..] = runs.as_slice() else { return };
            let mut slots = HashTable::with_capacity(left.1.len() + right.1.len());
            for (offset, run) in [left, right] {
                for (hash, row) in run.iter() {
                    slots.insert_unique(hash, Slot { hash, row: row + offset }, |slot| slot.hash);
                }
            }
            let mut state = self.state.write();
            state.runs.retain(|(_, run)| !Arc::ptr_eq(run, &left.1) && !Arc::ptr_eq(run, &right.1));
            state.runs.push((0, Arc::new(Run { slots })));
        }
    }
}

impl State {
    fn prune(&mut self, hash: u64, lsn: u64, dead: &impl Fn(u64) -> bool) {
        let mut rows: Vec<u64> = self.recent.rows(hash).collect();
        rows.sort_unstable();
        rows.truncate(rows.len().saturating_sub(SAME_KEY_ROWS_KEPT));
        for row in rows.into_iter().filter(|&row| dead(row)) {
            self.recent.remove(hash, row);
            self.pruned.insert(hash, lsn);
        }
    }
}

/// Hashes the keys of all rows from `from` on.
fn read_keys(schema: &TableSchema, entries: &[Entry], from: u64, live_only: bool) -> Result<Run, StoreError> {
    let rows: u64 = entries.iter().filter(|entry| entry.end() > from).map(|entry| u64::from(entry.body.rows())).sum();
    let mut run = Run { slots: HashTable::with_capacity(usize::try_from(rows).unwrap_or(0)) };
    let mut key = Vec::new();
    for entry in entries.iter().filter(|entry| entry.end() > from) {
        for chunk in 0..(entry.body.rows() as usize).div_ceil(CHUNK_ROWS) {
            let arrays = schema
                .key_columns()
                .map(|(index, _)| entry.body.chunk(index, chunk))
                .collect::<Result<Vec<ArrayRef>, StoreError>>()?;
            let columns = arrays.iter().map(|array| KeyColumn::of(array)).collect::<Result<Vec<_>, _>>()?;
            let length = arrays.first().map_or(0, |array| array.len());
            for place in 0..length {
                let position = (chunk * CHUNK_ROWS + place) as u32;
                let row = entry.first_row + u64::from(position);
                if row < from || (live_only && !entry.is_live(position)) {
                    continue;
                }
                key.clear();
                columns.iter().for_each(|column| column.encode(place, &mut key));
                run.insert(hash_key(&key), row);
            }
        }
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: impl IntoIterator<Item = (u64, u64)>) -> Arc<Run> {
        let mut run = Run::default();
        rows.into_iter().for_each(|(hash, row)| run.insert(hash, row));
        Arc::new(run)
    }

    #[test]
    fn dead_rows_of_one_key_are_dropped_and_that_is_told() {
        let index = PrimaryIndex::empty(0);
        for row in 0..1_000 {
            index.extend(row, 1, &run([(7, 0)]), row + 1, |old| old < row);
            assert!(index.len() <= SAME_KEY_ROWS_MAX + 1);
        }
        let candidates = index.candidates(7);
        assert!(candidates.rows.contains(&999) && candidates.rows.contains(&980));
        assert!(candidates.complete_since > 900);
        assert_eq!(index.candidates(8).complete_since, 0);
    }

    #[test]
    fn live_rows_are_never_dropped() {
        let index = PrimaryIndex::empty(0);
        for row in 0..500 {
            index.extend(row, 1, &run([(7, 0)]), row + 1, |_| false);
        }
        assert_eq!(index.candidates(7).rows.len(), 500);
    }

    #[test]
    fn large_runs_are_kept_and_merged_when_many() {
        let index = PrimaryIndex::empty(0);
        let rows = RUN_ROWS_MIN as u64;
        let keys = run((0..rows).map(|row| (row % 1_000, row)));
        for turn in 0..10 {
            index.extend(turn * rows, rows, &Arc::new(keys.as_ref().clone()), turn + 1, |_| false);
        }
        let before = index.candidates(17).rows.len();
        index.merge_runs();
        assert!(index.state.read().runs.len() <= RUNS_MAX);
        assert_eq!(index.candidates(17).rows.len(), before);
        assert_eq!(index.len(), 10 * RUN_ROWS_MIN);
    }

    #[test]
    fn an_index_that_lags_stays_so_until_it_is_asked() {
        let index = PrimaryIndex::unbuilt();
        index.extend(0, 1, &run([(7, 0)]), 1, |_| false);
        assert_eq!(index.len(), 0);
        let schema = crate::testing::orders_schema();
        index.ensure(&schema, &[], 1, 1).unwrap();
        index.extend(1, 1, &run([(7, 0)]), 2, |_| false);
        assert_eq!(index.candidates(7).rows, [1]);
        // Row 0 was gone when the index was built: readers older than that must look for themselves.
        assert_eq!(index.candidates(7).complete_since, 1);
    }
}
