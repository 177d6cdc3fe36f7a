//! What clients do.

use std::num::NonZeroU64;

use weir_facts::{Dot, FactKey, JsonText, Operation, Precondition, Refused, Storage, WriteFact};

use super::{
    ledger::{Kind, Ledger, Record, elements_of},
    node::Core,
    rules::SECRET,
    world::World,
};

const KEYS: u64 = 6;

fn key(text: &str) -> FactKey {
    FactKey::new(text).unwrap()
}

impl World {
    pub fn client(&mut self) {
        let node = self.random.index(self.nodes.len());
        if self.nodes[node].core.is_none() {
            return;
        }
        match self.random.below(10) {
            0..=2 => self.check_read(node),
            3 => self.write_pair(node),
            4 => self.write_set(node),
            5 => self.write_count(node),
            6 => self.write_many(node),
            _ => {
                let key = self.some_register();
                let (operation, kind) = self.some_operation(node);
                self.write(node, vec![(key, operation, kind)]);
            }
        }
    }

    fn some_register(&mut self) -> FactKey {
        if self.random.per_mille(40) {
            return key(&format!("{SECRET}.k"));
        }
        let namespace = ["lww", "deny", "many"][self.random.index(3)];
        key(&format!("{namespace}.k{}", self.random.below(KEYS)))
    }

    fn next_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    fn some_operation(&mut self, node: usize) -> (Operation, Kind) {
        if self.random.per_mille(250) {
            return (Operation::Delete, Kind::Delete);
        }
        let ttl_ms = if self.random.per_mille(300) { self.random.between(500, 20_000) } else { 0 };
        let value = self.next_value();
        let (ttl_ms, expires_at) = self.end(node, ttl_ms);
        (Operation::Put { json: JsonText::new(value.to_string()).unwrap(), ttl_ms }, Kind::Put { value, expires_at })
    }

    /// Two keys that are always written together.
    fn write_pair(&mut self, node: usize) {
        let pair = self.random.below(3);
        let keys = ["a", "b"].map(|half| key(&format!("pair.{pair}.{half}")));
        let value = self.next_value();
        let is_delete = self.random.per_mille(150);
        let writes = keys.map(|key| {
            if is_delete {
                (key, Operation::Delete, Kind::Delete)
            } else {
                let operation = Operation::Put { json: JsonText::new(value.to_string()).unwrap(), ttl_ms: None };
                (key, operation, Kind::Put { value, expires_at: None })
            }
        });
        self.write(node, writes.into());
    }

    /// Different keys at once.
    fn write_many(&mut self, node: usize) {
        let mut writes: Vec<(FactKey, Operation, Kind)> = Vec::new();
        for _ in 0..self.random.between(2, 6) {
            let key = self.some_register();
            if writes.iter().all(|(other, ..)| *other != key) {
                let (operation, kind) = self.some_operation(node);
                writes.push((key, operation, kind));
            }
        }
        self.write(node, writes);
    }

    /// Counts for good, or in a window of time; now and then begins anew.
    fn write_count(&mut self, node: usize) {
        let is_window = self.random.per_mille(400);
        let key = key(&format!("count.{}{}", if is_window { "w" } else { "k" }, self.random.below(2)));
        if self.random.per_mille(60) {
            return self.write(node, vec![(key, Operation::Delete, Kind::Delete)]);
        }
        let by = self.random.between(1, 12) as i64 - 3;
        let ttl_ms = if is_window { self.random.between(500, 20_000) } else { 0 };
        let (ttl_ms, expires_at) = self.end(node, ttl_ms);
        self.write(node, vec![(key, Operation::Increment { by, ttl_ms }, Kind::Count { by, expires_at })]);
    }

    /// What a write on a node is told of its end, and when that is.
    fn end(&self, node: usize, ttl_ms: u64) -> (Option<NonZeroU64>, Option<u64>) {
        let clock = self.nodes[node].clock(self.now);
        let time = self.nodes[node].core.as_ref().map_or(clock, |core| core.time(clock));
        let ttl = NonZeroU64::new(ttl_ms);
        (ttl, ttl.map(|ttl| time.0 + ttl.get()))
    }

    /// Reads the set, adds or removes one, and writes it; or deletes all that it read.
    fn write_set(&mut self, node: usize) {
        let key = key(&format!("set.k{}", self.random.below(2)));
        let clock = self.nodes[node].clock(self.now);
        let Some(Ok(found)) = self.nodes[node].core.as_ref().map(|core| core.get(clock, &key)) else { return };
        let mut elements = elements_of(found.as_ref());
        if self.random.per_mille(60) {
            let kind = Kind::Elements { added: Vec::new(), removed: elements.into_iter().collect() };
            return self.write(node, vec![(key, Operation::Delete, kind)]);
        }
        let removes = !elements.is_empty() && (elements.len() > 8 || self.random.per_mille(400));
        let (added, removed) = if removes {
            let at = self.random.index(elements.len());
            (vec![], vec![elements.iter().nth(at).copied().unwrap()])
        } else {
            (vec![self.next_value()], vec![])
        };
        elements.retain(|element| !removed.contains(element));
        elements.extend(&added);
        let json = serde_json::json!({ "members": elements }).to_string();
        let operation = Operation::Put { json: JsonText::new(json).unwrap(), ttl_ms: None };
        self.write(node, vec![(key, operation, Kind::Elements { added, removed })]);
    }

    fn write(&mut self, at: usize, writes: Vec<(FactKey, Operation, Kind)>) {
        let clock = self.nodes[at].clock(self.now);
        let has_condition = writes.len() == 1 && self.random.per_mille(100);
        let is_stale = self.random.per_mille(300);
        let is_outdated = self.nodes[at].is_outdated;
        let is_foreign = writes.iter().any(|(key, ..)| !self.rules.may_write(&self.nodes[at].name, key.namespace()));
        let Some(core) = &mut self.nodes[at].core else { return };
        let mut facts: Vec<WriteFact> = Vec::new();
        for (key, operation, _) in &writes {
            let seen = core.get(clock, key).ok().flatten().map_or(0, |found| found.version.as_u64());
            let expected = if is_stale { seen ^ 1 } else { seen };
            let precondition = Precondition::if_version(expected).filter(|_| has_condition);
            facts.push(WriteFact { key: key.clone(), operation: operation.clone(), precondition });
        }
        let before: Vec<_> = writes.iter().map(|(key, ..)| dots(&self.ledger, core, key)).collect();
        let knew = core.applied().clone();
        let is_full = core.storage().is_full();
        match core.write(clock, &facts) {
            Ok(written) => {
                assert!(!(is_full || has_condition && is_stale), "a write was taken that could not be");
                assert!(!is_foreign, "I7: n{at} took a write to {writes:?}");
                let (origin, last) = written.cursor.iter().next().map(|(origin, seq)| (origin.clone(), seq)).unwrap();
                let first = last + 1 - writes.len() as u64;
                let mut numbers = Vec::new();
                for ((seq, (key, _, kind)), replaced) in (first..).zip(writes).zip(before) {
                    self.dead.remove(&key);
                    let dot = Dot { origin: origin.clone(), seq };
                    let mut knew = knew.clone();
                    knew.join(&replaced.1);
                    let record = Record { key, kind, dot, acked: false, replaced: replaced.0, knew, is_outdated };
                    self.trace(&record.key, || format!("n{at} writes {record}"));
                    numbers.push(self.ledger.add(record));
                }
                self.nodes[at].waiting.push((written.commit, numbers));
                self.seen.writes += 1;
            }
            Err(Refused::Storage(_)) => self.seen.full += 1,
            Err(Refused::Conflict { .. }) => {
                assert!(has_condition && is_stale, "a version that was just read is refused");
                self.seen.conflicting_versions += 1;
            }
            Err(Refused::Namespace(_)) => {
                assert!(is_foreign, "a write was refused that was allowed");
                self.seen.refused_namespaces += 1;
            }
            Err(Refused::Incomplete) => self.seen.incomplete += 1,
            Err(Refused::Poisoned) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// The writes that a node has of a key, and what it knows of it.
fn dots(ledger: &Ledger, core: &Core, key: &FactKey) -> (Vec<Dot>, weir_facts::VersionVector) {
    let state = core.storage().state(key).unwrap();
    let state = state.as_deref().cloned().unwrap_or_default();
    (ledger.dots(key, &state), state.context().clone())
}
