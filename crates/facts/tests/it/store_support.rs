//! What the tests of the store have in common: facts to write, and a model of what a storage is to answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_facts::{
    Cell, Change, Commit, Dot, FactKey, Hlc, Millis, NodeId, Origin, Pattern, Settings, Stamp, State, Storage, Strategy,
};

pub const NOW: Millis = Millis(1_800_000_000_000);

pub fn key(text: &str) -> FactKey {
    FactKey::new(text).unwrap()
}

pub fn origin(node: &str) -> Origin {
    Origin { node: NodeId::new(node).unwrap(), incarnation: 0x1122_3344_5566_7788 }
}

pub fn stamp(node: &str, seq: u64, expires_at: Option<Millis>) -> Stamp {
    let dot = Dot { origin: origin(node), seq };
    Stamp { dot, hlc: Hlc::from_u64(Hlc::at(NOW).as_u64() + seq).unwrap(), now: NOW, expires_at }
}

/// The state of `before` with a value put.
pub fn put(before: Option<&State>, value: &str, stamp: &Stamp) -> Arc<State> {
    let json = serde_json::to_string(value).unwrap();
    let before = before.cloned().unwrap_or_default();
    Arc::new(Strategy::MultiValue.put(&before, json.into(), stamp).unwrap())
}

/// What a storage is to answer, in maps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub states: BTreeMap<FactKey, Arc<State>>,
    pub lost: BTreeMap<FactKey, Vec<Cell>>,
    pub metadata: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// A change of the key from what it is.
    pub fn change(&self, key: &FactKey, after: Option<Arc<State>>) -> Change {
        Change::new(key.clone(), self.states.get(key).cloned().map(Into::into), after)
    }

    pub fn commit(&mut self, commit: &Commit, lost_max: usize) {
        for (key, cell) in &commit.lost {
            let cells = self.lost.entry(key.clone()).or_default();
            cells.push(cell.clone());
            cells.drain(..cells.len().saturating_sub(lost_max));
        }
        for change in &commit.changes {
            match change.after() {
                Some(after) => {
                    self.states.insert(change.key.clone(), after.clone());
                }
                None => {
                    self.states.remove(&change.key);
                }
            }
        }
        // What the commit as a whole forgets has no history.
        self.lost.retain(|key, _| self.states.contains_key(key));
        for (name, value) in &commit.metadata {
            match value {
                Some(value) => self.metadata.insert(name.clone(), value.clone()),
                None => self.metadata.remove(name),
            };
        }
    }

    fn written(&self, origin: &Origin, after: u64) -> Vec<(u64, FactKey)> {
        let seen = |(key, state): (&FactKey, &Arc<State>)| (state.context().get(origin), key.clone());
        let mut found: Vec<_> = self.states.iter().map(seen).filter(|(seq, _)| *seq > after).collect();
        found.sort();
        found
    }

    fn ending(&self, after: (Millis, Option<&FactKey>), until: Millis) -> Vec<(Millis, FactKey)> {
        let ends = |(key, state): (&FactKey, &Arc<State>)| -> Vec<(Millis, FactKey)> {
            state.ends().into_iter().map(|time| (time, key.clone())).collect()
        };
        let is_after = |(time, key): &(Millis, FactKey)| match after.1 {
            Some(after_key) => (*time, key) > (after.0, after_key),
            None => *time > after.0,
        };
        let mut found: Vec<_> = self.states.iter().flat_map(ends).collect();
        found.retain(|row| row.0 <= until && is_after(row));
        found.sort();
        found
    }

    /// Fails unless the storage answers everything as the model does, whole and by pages.
    pub fn compare<S: Storage>(&self, storage: &S, nodes: &[&str], patterns: &[&str]) {
        for (key, state) in &self.states {
            assert_eq!(storage.state(key).unwrap().as_ref(), Some(state), "{key}");
        }
        for pattern in patterns {
            let pattern = Pattern::new(pattern).unwrap();
            let expected: Vec<FactKey> = self.states.keys().filter(|key| pattern.matches(key)).cloned().collect();
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = storage.keys(&pattern, after.as_ref(), 3).unwrap();
                found.extend(page.iter().cloned());
                let Some(last) = page.last() else { break };
                after = Some(last.clone());
            }
            assert_eq!(found, expected, "{pattern}");
        }
        for node in nodes {
            let origin = origin(node);
            for after in [0, 1, 7, u64::MAX] {
                let expected = self.written(&origin, after);
                assert_eq!(storage.written(&origin, after, usize::MAX).unwrap(), expected, "{node} after {after}");
                let some = storage.written(&origin, after, 2).unwrap();
                assert_eq!(some, expected[..expected.len().min(2)]);
            }
        }
        for until in [0, NOW.0, NOW.0 + 3, u64::MAX] {
            let first_key = self.states.keys().next();
            for after in [(Millis(0), None), (NOW, None), (NOW, first_key), (Millis(u64::MAX), None)] {
                let (expected, until) = (self.ending(after, Millis(until)), Millis(until));
                assert_eq!(storage.ending(after, until, usize::MAX).unwrap(), expected, "from {after:?} to {until:?}");
                assert_eq!(storage.ending(after, until, 2).unwrap(), expected[..expected.len().min(2)]);
            }
        }
        for key in self.states.keys() {
            let mut expected = self.lost.get(key).cloned().unwrap_or_default();
            expected.reverse();
            assert_eq!(storage.lost(key, usize::MAX).unwrap(), expected, "lost values of {key}");
            assert_eq!(storage.lost(key, 1).unwrap(), expected[..expected.len().min(1)]);
        }
        for (name, value) in &self.metadata {
            assert_eq!(storage.metadata(name).unwrap().as_ref(), Some(value), "{name}");
        }
    }
}

/// Buffers so small that tables are made of little.
pub fn small(folder: &Path) -> Settings {
    let small = Settings { write_buffer_bytes: 16 << 10, slack_bytes: 4 << 10, ..Settings::new(folder) };
    Settings { lost_max: 3, state_cache_bytes: 64 << 10, ..small }
}

pub fn sealed(folder: &Path) -> Settings {
    Settings { key_file: Some(folder.with_extension("key")), ..small(folder) }
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}
