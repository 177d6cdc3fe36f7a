//! What only the store itself can see of its blocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    FactStore, Settings, block,
    engine::{Engine, Space},
};
use crate::{Change, Commit, Dot, FactKey, Hlc, Millis, NodeId, Origin, Stamp, State, Storage, Strategy};

/// A store and what is to be in it.
struct Filled {
    store: FactStore,
    states: BTreeMap<FactKey, Arc<State>>,
    dice: u64,
    seq: u64,
    /// The most that blocks had to what is live, once there was something.
    worst: f64,
}

fn key(number: u64) -> FactKey {
    FactKey::new(&format!("facts.number-{number}")).unwrap()
}

impl Filled {
    fn new(settings: Settings) -> Filled {
        Filled { store: FactStore::open(settings).unwrap(), states: BTreeMap::new(), dice: 1, seq: 0, worst: 0.0 }
    }

    /// Pseudo-random.
    fn below(&mut self, bound: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % bound
    }

    fn put(&mut self, key: &FactKey, length: usize) -> Change {
        self.seq += 1;
        let dot = Dot { origin: Origin { node: NodeId::new("a").unwrap(), incarnation: 1 }, seq: self.seq };
        let now = Millis(1_800_000_000_000 + self.seq);
        let stamp = Stamp { dot, hlc: Hlc::at(now), now, expires_at: None };
        let before = self.states.get(key).cloned();
        let json = format!("\"{}\"", "v".repeat(length));
        let own = before.as_deref().cloned().unwrap_or_default();
        let after = Arc::new(Strategy::Lww.put(&own, json.into(), &stamp).unwrap());
        Change::new(key.clone(), before.map(Into::into), Some(after))
    }

    fn forget(&self, key: &FactKey) -> Change {
        Change::new(key.clone(), self.states.get(key).cloned().map(Into::into), None)
    }

    fn commit(&mut self, changes: Vec<Change>) {
        for change in &changes {
            match change.after() {
                Some(after) => self.states.insert(change.key.clone(), after.clone()),
                None => self.states.remove(&change.key),
            };
        }
        self.store.commit(&Commit { changes, ..Commit::default() }).unwrap();
        let (live, held) = self.space();
        if live > 100_000 {
            self.worst = self.worst.max(held as f64 / live as f64);
        }
    }

    /// Bytes of live facts, and of all facts in the blocks that are there.
    fn space(&self) -> (u64, u64) {
        let index = self.store.shared.index.read();
        let all = index.blocks().iter().map(|(_, block)| u64::from(block.bytes)).sum();
        (index.blocks().live(), all)
    }

    /// That the engine has what the index says, and the index what was committed.
    fn compare(&self) {
        let reader = self.store.reader();
        assert_eq!(reader.count(), self.states.len());
        for (key, state) in &self.states {
            assert_eq!(reader.state(key).unwrap().as_ref(), Some(state), "{key}");
        }
        assert_eq!(reader.check().unwrap().findings, vec![]);
    }

    fn reopened(self) -> Filled {
        let settings = self.store.settings.clone();
        drop(self.store);
        Filled { store: FactStore::open(settings).unwrap(), ..self }
    }
}

/// With buffers so small that tables come soon, and hardly anything that is not live is not worth moving.
fn settings(folder: &tempfile::TempDir) -> Settings {
    let small = Settings { state_cache_bytes: 4 << 10, write_buffer_bytes: 16 << 10, ..Settings::new(folder.path()) };
    Settings { slack_bytes: 4 << 10, ..small }
}

/// Several different numbers below `bound`.
fn numbers(filled: &mut Filled, count: usize, bound: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).map(|_| filled.below(bound)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn what_is_put_over_takes_a_bounded_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    let facts = 20_000;
    for from in (0..facts).step_by(1_000) {
        let changes = (from..from + 1_000).map(|number| filled.put(&key(number), 100)).collect();
        filled.commit(changes);
    }
    for _ in 0..facts * 10 / 500 {
        let changes =
            numbers(&mut filled, 500, facts).into_iter().map(|number| filled.put(&key(number), 100)).collect();
        filled.commit(changes);
    }
    println!("all alike: {:.2}", filled.worst);
    assert!(filled.worst < 2.5, "{}", filled.worst);
    // Half of each block is put over: as bad as it can be.
    for from in (0..facts * 2).step_by(1_000) {
        let changes = (from..from + 1_000).map(|place| filled.put(&key(place * 2 % facts), 100)).collect();
        filled.commit(changes);
    }
    println!("every other: {:.2}", filled.worst);
    assert!(filled.worst < 2.5, "{}", filled.worst);
    // All that stays lies before what is put over, and has to be moved first.
    for _ in 0..facts * 5 / 500 {
        let changes =
            numbers(&mut filled, 500, 2_000).into_iter().map(|number| filled.put(&key(number), 100)).collect();
        filled.commit(changes);
    }
    println!("few of them: {:.2}", filled.worst);
    assert!(filled.worst < 2.5, "{}", filled.worst);
    filled.compare();
    filled = filled.reopened();
    filled.compare();
    let on_disk = table_bytes(&folder.path().join("engine")) as f64 / filled.space().0 as f64;
    println!("on the disk: {on_disk:.2}");
    assert!(on_disk < 2.7, "the engine drops what the log has left behind: {on_disk}");
}

fn table_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: std::path::PathBuf| match std::fs::metadata(&path).unwrap() {
        folder if folder.is_dir() => table_bytes(&path),
        file if path.to_string_lossy().contains("tables") => file.len(),
        _ => 0,
    };
    entries.map(of).sum()
}

#[test]
fn tables_are_dropped_when_what_replaced_them_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    // Nobody asks for a persist. By commit: with which block the log begins.
    let (mut firsts, mut dropped) = (Vec::new(), 0);
    for _ in 0..600 {
        let changes =
            numbers(&mut filled, 100, 1_000).into_iter().map(|number| filled.put(&key(number), 300)).collect();
        filled.commit(changes);
        firsts.push((filled.store.commits(), filled.store.tally.first));
        let page = filled.store.shared.with_engine(|engine| engine.page(Space::Live, b"", 1)).unwrap();
        let lowest = block::number_of(&page[0].0).unwrap();
        let durable = filled.store.syncer.durable();
        let (commit, _) = firsts.iter().find(|(_, first)| *first >= lowest).unwrap();
        assert!(
            lowest == 0 || durable >= *commit,
            "block {lowest} is the lowest, of commit {commit} and {durable} durable"
        );
        dropped = dropped.max(lowest);
    }
    assert!(dropped > 100, "{dropped}");
    filled.compare();
}

#[test]
fn a_large_fact_among_small_ones_counts_as_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    for round in 0..1_500_u64 {
        let mut changes: Vec<Change> = (0..5).map(|place| filled.put(&key(10 + round * 5 + place), 10)).collect();
        changes.push(filled.put(&key(round % 3), 1_400));
        filled.commit(changes);
    }
    println!("few large ones: {:.2}", filled.worst);
    assert!(filled.worst > 1.0 && filled.worst < 2.5, "{}", filled.worst);
    filled.compare();
}

#[test]
fn what_is_forgotten_leaves_no_note_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    for round in 0..300_u64 {
        let mut changes: Vec<Change> = (0..20).map(|place| filled.put(&key(round * 20 + place), 100)).collect();
        // Most are put over and forgotten, one at a time and together.
        let old: Vec<FactKey> = filled.states.keys().filter(|key| !key.as_str().ends_with('7')).cloned().collect();
        for key in old.iter().take(18) {
            let change = if filled.below(3) == 0 { filled.put(key, 90) } else { filled.forget(key) };
            if round % 2 == 0 {
                filled.commit(vec![change]);
            } else {
                changes.push(change);
            }
        }
        filled.commit(changes);
        if round % 50 == 49 {
            filled = filled.reopened();
            filled.compare();
        }
    }
    let all: Vec<FactKey> = filled.states.keys().cloned().collect();
    let changes = all.iter().map(|key| filled.forget(key)).collect();
    filled.commit(changes);
    filled.commit(vec![]);
    filled.commit(vec![]);
    assert_eq!(filled.space(), (0, 0), "all notes went when there was nothing left to speak of");
    // What the log has left behind is still in the engine, and stays behind.
    filled = filled.reopened();
    filled.commit(vec![]);
    filled = filled.reopened();
    filled.compare();
    let change = filled.put(&key(3), 100);
    filled.commit(vec![change]);
    filled = filled.reopened();
    filled.compare();
    assert_eq!(filled.states.len(), 1);
}

#[test]
fn what_is_left_of_a_store_with_a_damaged_block_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    for round in 0..3_u64 {
        let changes = (round * 8..(round + 1) * 8).map(|number| filled.put(&key(number), 300)).collect();
        filled.commit(changes);
    }
    let accepting = Settings { accept_loss: true, ..filled.store.settings.clone() };
    let row = block::row_of(1);
    let shared = filled.store.shared.clone();
    let damage = |engine: &Engine| {
        let mut record = engine.get(Space::Live, &row)?.unwrap().to_vec();
        record[100] ^= 1;
        engine.write(vec![(Space::Live, row.to_vec(), Some(record))])
    };
    shared.with_engine(damage).unwrap();
    let error = filled.store.state(&key(9)).unwrap_err();
    assert!(error.to_string().contains("record block 1 of the facts' live states is damaged"), "{error}");
    assert!(!filled.store.reader().check().unwrap().findings.is_empty());
    drop((filled.store, shared));
    FactStore::open(Settings { accept_loss: false, ..accepting.clone() }).unwrap_err();
    filled.store = FactStore::open(accepting.clone()).unwrap();
    assert_eq!(filled.store.loss().unwrap().records, 1);
    filled.states.retain(|key, _| filled.store.state(key).unwrap().is_some());
    assert_eq!(filled.states.len(), 16);
    filled.compare();
    // The log goes on past the number that is missing, also when its beginning passes it.
    for round in 0..5 {
        filled = filled.reopened();
        assert_eq!(filled.store.loss(), None);
        let changes = (round..24).map(|number| filled.put(&key(number), 300)).collect();
        filled.commit(changes);
        filled.commit(vec![]);
        filled.compare();
    }
}

#[test]
fn a_note_stays_as_long_as_an_older_block_has_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    let first = (0..8).map(|number| filled.put(&key(number), 100)).collect();
    filled.commit(first);
    // Of key 0 there is a fact beside ones that stay, then a newer one alone, then nothing.
    let newer = filled.put(&key(0), 100);
    filled.commit(vec![newer]);
    let change = filled.forget(&key(0));
    filled.commit(vec![change]);
    for number in 10..30 {
        let change = filled.put(&key(number), 100);
        filled.commit(vec![change]);
        filled = filled.reopened();
        filled.compare();
    }
    let blocks = |filled: &Filled| filled.store.shared.index.read().blocks().iter().count();
    assert!(blocks(&filled) > 22);
    let rest = (1..8).map(|number| filled.put(&key(number), 100)).collect();
    filled.commit(rest);
    filled.commit(vec![]);
    assert_eq!(blocks(&filled), 21, "what was before the first live fact went, the note with it");
    filled = filled.reopened();
    filled.compare();
}

#[test]
fn readers_find_every_fact_while_blocks_are_moved() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    let facts = 2_000_u64;
    let changes = (0..facts).map(|number| filled.put(&key(number), 100)).collect();
    filled.commit(changes);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (reader, is_done) = (filled.store.reader(), &is_done);
            scope.spawn(move || {
                let (mut seen, mut dice) = (vec![0; 2_000], thread);
                while !is_done.load(Ordering::Relaxed) {
                    dice = (dice * 31 + 17) % facts;
                    let keys: Vec<FactKey> = (dice..(dice + 3).min(facts)).map(key).collect();
                    let states = if dice % 2 == 0 {
                        reader.states(&keys).unwrap()
                    } else {
                        keys.iter().map(|key| reader.state(key).unwrap()).collect()
                    };
                    for (place, state) in states.into_iter().enumerate() {
                        let seq = state.unwrap().cells()[0].dot.seq;
                        let last = &mut seen[dice as usize + place];
                        assert!(seq >= *last, "went back from {last} to {seq}");
                        *last = seq;
                    }
                }
            });
        }
        for round in 0..600 {
            let numbers = numbers(&mut filled, 1 + round % 200, facts);
            let changes = numbers.into_iter().map(|number| filled.put(&key(number), 100)).collect();
            filled.commit(changes);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(filled.worst > 1.5, "nothing was moved at {}", filled.worst);
    filled.compare();
}

#[test]
fn a_fact_in_a_block_that_is_anothers_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(settings(&folder));
    for number in 0..2 {
        let change = filled.put(&key(number), 100);
        filled.commit(vec![change]);
    }
    let shared = filled.store.shared.clone();
    let other = shared.index.read().location(&key(1)).unwrap();
    shared.index.write().relocate(&key(0), other);
    shared.cache.clear();
    let error = filled.store.state(&key(0)).unwrap_err();
    assert!(error.to_string().contains("block 1"), "{error}");
    assert_ne!(filled.store.reader().check().unwrap().findings, vec![]);
    assert_eq!(block::row_of(other.block), [0, 0, 0, 0, 0, 0, 0, 1]);
}
