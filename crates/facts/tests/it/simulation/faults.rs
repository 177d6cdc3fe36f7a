//! What goes wrong.

use weir_facts::{
    Body, Cell, Dot, FactKey, Hlc, Millis, Origin, Part, Start, State, Storage, VersionVector,
    message::{Entry, Message, Write},
};

use super::{disk::Disk, ledger::Record, network::Weather, rules::SECRET, world::World};

impl World {
    pub fn fault(&mut self) {
        let node = self.random.index(self.nodes.len());
        match self.random.below(18) {
            0 => self.cut(),
            1 | 2 => self.network.cut.clear(),
            3 => {
                self.network.weather = Weather {
                    lost: self.random.below(400),
                    repeated: self.random.below(300),
                    strayed: self.random.below(10),
                    delay_max: self.random.between(1, 2_000),
                };
            }
            4 => drop(self.network.slow.insert(node)),
            5 => self.network.slow.clear(),
            6 => self.nodes[node].offset = self.random.between(0, 6_000) as i64 - 3_000,
            7 => {
                // Far more than clocks may differ.
                self.nodes[node].offset = self.random.between(0, 120_000) as i64 - 60_000;
                self.seen.clock_jumps += 1;
            }
            8 | 9 => self.crash(node),
            10 => self.stop(node),
            11..=13 => self.open(node),
            14 => {
                let fills = self.random.per_mille(500);
                if let Some(core) = &mut self.nodes[node].core {
                    core.storage_mut().is_full = fills;
                }
            }
            15 => self.nodes[node].persist_ms = self.random.between(1, 400),
            16 => self.change_members(node),
            _ => self.attack(node),
        }
    }

    fn cut(&mut self) {
        let side = self.random.next();
        let one_way = self.random.per_mille(300);
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                let (is_left, is_right) = (side >> a & 1 == 0, side >> b & 1 == 1);
                if is_left && is_right {
                    self.network.cut.insert((a, b));
                    if !one_way {
                        self.network.cut.insert((b, a));
                    }
                }
            }
        }
        self.seen.cuts += 1;
    }

    pub fn crash(&mut self, node: usize) {
        if self.nodes[node].core.is_some() {
            self.flush(node);
            self.count(node);
            self.nodes[node].crash(&mut self.random);
            self.went_down(node);
            self.seen.crashes += 1;
        }
    }

    fn count(&mut self, node: usize) {
        if let Some(core) = &self.nodes[node].core {
            self.seen.count(core.counts());
        }
    }

    fn stop(&mut self, node: usize) {
        if self.nodes[node].core.as_ref().is_some_and(|core| !core.storage().is_full && !core.is_poisoned()) {
            self.flush(node);
            self.count(node);
            self.nodes[node].stop();
            self.went_down(node);
            self.seen.stops += 1;
        }
    }

    pub fn open(&mut self, node: usize) {
        if self.nodes[node].core.is_some() {
            return;
        }
        let members: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let rules = self.rules.clone();
        let now = self.now;
        self.nodes[node].open(now, rules, &members, &mut self.random);
        self.settle_members(node);
    }

    /// One node is removed by force, and some of the time loses its disk; or one that was removed is taken in again.
    fn change_members(&mut self, node: usize) {
        if self.removed.contains(&node) {
            self.take_in(node);
        } else if self.removed.is_empty() && self.nodes.len() > 2 {
            self.removed.insert(node);
            self.nodes[node].is_outdated = true;
            self.unshared(node).into_iter().for_each(|number| self.ledger.records[number].is_outdated = true);
            (0..self.nodes.len()).for_each(|other| self.settle_members(other));
            self.seen.removals += 1;
            let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != node);
            let are_complete =
                others.into_iter().all(|(_, other)| other.core.as_ref().is_some_and(|core| core.is_serving()));
            if are_complete && self.random.per_mille(600) {
                self.lose_disk(node);
            }
        }
    }

    pub fn take_in(&mut self, node: usize) {
        self.removed.remove(&node);
        (0..self.nodes.len()).for_each(|other| self.settle_members(other));
    }

    fn lose_disk(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].disk = Some(Disk::new());
        self.nodes[node].start = Start::Joining;
        self.unshared(node).into_iter().for_each(|number| self.ledger.records[number].acked = false);
        self.seen.lost_disks += 1;
    }

    /// Writes of a node that no other has on its disk.
    fn unshared(&self, node: usize) -> Vec<usize> {
        let name = &self.nodes[node].name;
        let others = self.nodes.iter().filter(|other| other.name != *name);
        let disks: Vec<&Disk> =
            others.filter_map(|other| other.core.as_ref().map(|core| core.storage()).or(other.disk.as_ref())).collect();
        let is_shared = |record: &Record| {
            let has = |disk: &&Disk| {
                disk.state(&record.key).unwrap().is_some_and(|state| state.context().covers(&record.dot))
            };
            disks.iter().any(has)
        };
        let records = self.ledger.records.iter().enumerate();
        let unshared = records.filter(|(_, record)| record.dot.origin.node == *name && !is_shared(record));
        unshared.map(|(number, _)| number).collect()
    }

    /// Tells a node who the members are. The one that was removed does not hear of it.
    pub fn settle_members(&mut self, at: usize) {
        let removed = self.removed.clone();
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let Some(core) = &mut self.nodes[at].core else { return };
        let was_full = std::mem::take(&mut core.storage_mut().is_full);
        for (index, name) in names.iter().enumerate() {
            if index != at && !removed.contains(&at) {
                let changed = if removed.contains(&index) { core.remove_member(name) } else { core.add_member(name) };
                assert!(changed.is_ok() || matches!(changed, Err(weir_facts::ReplicaError::Poisoned)));
            }
        }
        core.storage_mut().is_full = was_full;
    }

    /// A node sends what it may not write, or what no node sends.
    fn attack(&mut self, from: usize) {
        let to = self.random.index(self.nodes.len());
        let origin = Origin { node: self.nodes[from].name.clone(), incarnation: 0xbad };
        let cell = |seq| Cell {
            dot: Dot { origin: origin.clone(), seq },
            part: Part::Whole,
            hlc: Hlc::at(Millis(self.now)),
            created_at: Millis(self.now),
            expires_at: None,
            body: Body::Value("\"evil\"".into()),
        };
        let secret = FactKey::new(&format!("{SECRET}.k")).unwrap();
        let message = |key: &FactKey, first, state| {
            Message::Write(Write { origin: origin.clone(), first, entries: vec![Entry { key: key.clone(), state }] })
        };
        let open = FactKey::new("lww.evil").unwrap();
        let bad = match self.random.below(4) {
            0 if from != 0 => message(&secret, 1, State::new(VersionVector::default(), vec![cell(1)])),
            1 => message(&open, 0, State::new(VersionVector::default(), vec![cell(0)])),
            2 => message(&open, 7, State::new(VersionVector::default(), vec![cell(1)])),
            _ => message(&open, 1, State::default()),
        };
        if from != to {
            let now = self.now;
            self.network.send(now, from, to, &bad, &mut self.random);
            self.seen.attacks += 1;
        }
    }
}
