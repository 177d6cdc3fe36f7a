//! From a commit to rows of the engine and changes of the index.

use std::collections::{BTreeMap, hash_map::Entry};

use crate::{
    key::FactKey,
    seal::Nonces,
    state::Cell,
    storage::{Change, Commit},
    store::{
        FactStore, StoreError,
        engine::{Rows, Space},
        index::After,
        record::Check,
        tally::{self, Tally},
    },
};

/// A commit of so many keys is worth a thread more.
const ENCODED_APART: usize = 256;

type Map<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;

/// What a commit is to write, and what is so once it is written.
pub(super) struct Prepared {
    rows: Rows,
    bytes: u64,
    tally: Tally,
    changes: Vec<Indexed>,
}

struct Indexed {
    change: Change,
    check: Check,
}

/// A live row, and its record if there is to be one.
struct Encoded {
    row: Vec<u8>,
    record: Option<Vec<u8>>,
}

impl Prepared {
    fn put(&mut self, space: Space, row: Vec<u8>, record: Vec<u8>, before: Option<Check>) -> Check {
        let check = Check::of(&record);
        self.tally.of(space).add(check);
        self.remove(space, before);
        self.push(space, row, Some(record));
        check
    }

    fn remove(&mut self, space: Space, before: Option<Check>) {
        if let Some(before) = before {
            self.tally.of(space).remove(before);
        }
    }

    fn push(&mut self, space: Space, row: Vec<u8>, record: Option<Vec<u8>>) {
        self.bytes += (row.len() + record.as_ref().map_or(0, Vec::len) + 16) as u64;
        self.rows.push((space, row, record));
    }
}

/// One change for each key, from what was before the first to what is after the last: the engine takes a row once.
fn each_once(changes: Vec<Change>) -> Vec<Change> {
    if changes.len() < 2 {
        return changes;
    }
    let mut places: Map<FactKey, usize> = Map::with_capacity_and_hasher(changes.len(), ahash::RandomState::default());
    let mut once: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        match places.entry(change.key.clone()) {
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push(change);
            }
            Entry::Occupied(place) => {
                if let Some(earlier) = once.get_mut(*place.get()) {
                    *earlier = change.since(earlier.before.take());
                }
            }
        }
    }
    once
}

impl FactStore {
    pub(super) fn prepare(&mut self, commit: Commit) -> Result<Prepared, StoreError> {
        let tally = Tally { commits: self.tally.commits.saturating_add(1), ..self.tally };
        let rows = Vec::with_capacity(commit.changes.len() + commit.metadata.len() + 1);
        let mut prepared = Prepared { rows, bytes: 0, tally, changes: Vec::with_capacity(commit.changes.len()) };
        let mut forgotten = Vec::new();
        let changes = each_once(commit.changes);
        let encoded = self.encode(&changes)?;
        for (change, encoded) in changes.into_iter().zip(encoded) {
            self.prepare_change(change, encoded, &mut prepared, &mut forgotten)?;
        }
        self.prepare_lost(commit.lost, &forgotten, &mut prepared)?;
        self.prepare_metadata(commit.metadata, &mut prepared)?;
        let tally = prepared.tally.to_bytes();
        prepared.push(Space::Metadata, tally::ROW.to_vec(), Some(tally));
        // Neighbours find their places in the engine's buffer sooner; each row is there once.
        prepared
            .rows
            .sort_unstable_by(|(space, row, _), (other_space, other, _)| (space, row).cmp(&(other_space, other)));
        Ok(prepared)
    }

    /// The rows of the changes' keys, and what is to be there: that which takes most of the time and needs nothing but
    /// the change, so half of a large commit is encoded on another thread.
    fn encode(&mut self, changes: &[Change]) -> Result<Vec<Encoded>, StoreError> {
        let (records, nonces) = (&self.shared.records, &mut self.nonces);
        let encode = |changes: &[Change], nonces: &mut Nonces| -> Result<Vec<Encoded>, StoreError> {
            let one = |change: &Change| {
                let row = records.live_row(&change.key);
                let record = match change.after() {
                    Some(after) => Some(records.state(&row, &change.key, after, nonces)?),
                    None => None,
                };
                Ok(Encoded { row, record })
            };
            changes.iter().map(one).collect()
        };
        let half = changes.split_at_checked(changes.len() / 2).filter(|_| changes.len() >= ENCODED_APART);
        let Some((first, second)) = half else { return encode(changes, nonces) };
        std::thread::scope(|scope| {
            let apart = std::thread::Builder::new().spawn_scoped(scope, || encode(second, &mut Nonces::new()));
            let mut encoded = encode(first, nonces)?;
            encoded.extend(match apart.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(second)) => second?,
                // The system had no thread for it.
                Ok(Err(_)) | Err(_) => encode(second, nonces)?,
            });
            Ok(encoded)
        })
    }

    fn prepare_change(
        &mut self,
        change: Change,
        Encoded { row, record }: Encoded,
        prepared: &mut Prepared,
        forgotten: &mut Vec<FactKey>,
    ) -> Result<(), StoreError> {
        let before = self.shared.index.read().check(&change.key);
        if before.is_some() != change.before.is_some() {
            return Err(StoreError::Unfitting { key: change.key.to_string() });
        }
        let check = match record {
            Some(record) => prepared.put(Space::Live, row, record, before),
            None => {
                prepared.remove(Space::Live, before);
                prepared.push(Space::Live, row, None);
                forgotten.push(change.key.clone());
                Check::default()
            }
        };
        prepared.changes.push(Indexed { change, check });
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
        let mut index = shared.index.write();
        if let Err(error) = shared.with_engine(|engine| engine.write(prepared.rows)) {
            // What the engine could not write to the end may yet be whole in its log.
            if !self.reopen(error, prepared.tally.commits)? {
                return Err(self.room.refuse());
            }
        }
        self.tally = prepared.tally;
        self.syncer.committed(self.tally.commits);
        for Indexed { change, check } in prepared.changes {
            let after = change.after().map(|state| After { state, head: change.head(), check });
            index.change(&change.key, change.before.as_ref(), after);
            let (key, _, after) = change.into_parts();
            shared.cache.insert(key, after);
        }
        Ok(())
    }

    /// Writes rows that change no state's meaning, as one.
    pub(super) fn write_rows(
        &mut self,
        rows: Rows,
        tally: Tally,
        renewed: &[(FactKey, Check)],
    ) -> Result<(), StoreError> {
        let mut prepared = Prepared { rows: Vec::new(), bytes: 0, tally, changes: Vec::new() };
        prepared.tally.commits = self.tally.commits.saturating_add(1);
        for (space, row, record) in rows {
            prepared.push(space, row, record);
        }
        let tally = prepared.tally.to_bytes();
        prepared.push(Space::Metadata, tally::ROW.to_vec(), Some(tally));
        self.write(prepared)?;
        let mut index = self.shared.index.write();
        renewed.iter().for_each(|(key, check)| index.renew(key, *check));
        Ok(())
    }
}
