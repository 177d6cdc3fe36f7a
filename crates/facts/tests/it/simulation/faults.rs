//! What goes wrong.

use weir_facts::{
    Body, Cell, Dot, FactKey, Hlc, Millis, NodeId, Origin, Start, State, Storage, VersionVector,
    message::{Entry, Message, Page, Part, Repair, Write},
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
            6 => {
                self.set_clock(node, 3_000);
                self.seen.clock_skews += 1;
            }
            7 => {
                // Far more than clocks may differ.
                self.set_clock(node, 60_000);
                self.seen.clock_jumps += 1;
            }
            8 | 9 => self.crash(node),
            10 => self.stop(node),
            11..=13 => self.open(node),
            14 => {
                // It may be full in the middle of something.
                let room = self.random.per_mille(500).then(|| self.random.below(8));
                if let Some(core) = &mut self.nodes[node].core {
                    core.storage_mut().room = room;
                }
            }
            15 => self.nodes[node].persist_ms = self.random.between(1, 400),
            16 => self.change_members(node),
            _ => self.attack(node),
        }
    }

    fn set_clock(&mut self, node: usize, off_max: u64) {
        let offset = self.random.between(0, 2 * off_max) as i64 - off_max as i64;
        self.seen.clocks_back += u64::from(offset < self.nodes[node].offset);
        self.nodes[node].offset = offset;
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
            let lost = self.nodes[node].crash(&mut self.random);
            self.seen.lost_tails += u64::from(lost > 0);
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
        if self.nodes[node].core.as_ref().is_some_and(|core| core.storage().room.is_none() && !core.is_poisoned()) {
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

    /// A node is removed by force, and some of the time loses its disk; or one that was removed is taken in again.
    fn change_members(&mut self, node: usize) {
        if self.removed.contains(&node) {
            self.take_in(node);
        } else if self.nodes.len() > 2 * (self.removed.len() + 1) {
            self.removed.insert(node);
            self.nodes[node].is_outdated = true;
            let members: Vec<usize> = (0..self.nodes.len()).filter(|node| !self.removed.contains(node)).collect();
            self.unshared(&members).into_iter().for_each(|number| self.ledger.records[number].is_outdated = true);
            self.announce_members();
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
        self.seen.returns += u64::from(self.removed.remove(&node));
        self.announce_members();
    }

    /// Nodes hear of it one after another.
    fn announce_members(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].hears_at = self.now + self.random.below(4_000);
        }
    }

    fn lose_disk(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].disk = Some(Disk::new());
        self.nodes[node].start = Start::Joining;
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != node).collect();
        self.unshared(&others).into_iter().for_each(|number| self.ledger.records[number].acked = false);
        self.seen.lost_disks += 1;
    }

    /// Writes that none of these nodes has, which have persisted all they have.
    fn unshared(&mut self, nodes: &[usize]) -> Vec<usize> {
        for at in nodes {
            self.nodes[*at].persisting = None;
            if let Some(core) = self.nodes[*at].core.as_mut().filter(|core| !core.is_poisoned()) {
                core.persist().unwrap();
            }
            self.flush(*at);
        }
        let disks = nodes.iter().map(|node| &self.nodes[*node]);
        let disks: Vec<&Disk> =
            disks.filter_map(|node| node.core.as_ref().map(|core| core.storage()).or(node.disk.as_ref())).collect();
        let is_shared = |record: &Record| {
            let has = |state: &State| state.context().covers(&record.dot);
            disks.iter().any(|disk| disk.state(&record.key).unwrap().is_some_and(|state| has(&state)))
        };
        let records = self.ledger.records.iter().enumerate();
        records.filter(|(_, record)| !is_shared(record)).map(|(number, _)| number).collect()
    }

    /// Tells a node who the members are. The one that was removed does not hear of it.
    pub fn settle_members(&mut self, at: usize) {
        let removed = self.removed.clone();
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let Some(core) = &mut self.nodes[at].core else { return };
        let room = core.storage_mut().room.take();
        for (index, name) in names.iter().enumerate() {
            if index != at && !removed.contains(&at) {
                let changed = if removed.contains(&index) { core.remove_member(name) } else { core.add_member(name) };
                assert!(changed.is_ok() || matches!(changed, Err(weir_facts::ReplicaError::Poisoned)));
            }
        }
        core.storage_mut().room = room;
    }

    /// A node sends what it may not write, or what no node sends, by every kind of message that brings writes.
    fn attack(&mut self, from: usize) {
        let to = self.random.index(self.nodes.len());
        let name = &self.nodes[from].name;
        let (origin, foreign) = (forged(name), forged(&self.nodes[to].name));
        let good = |key: &FactKey, seq| Entry {
            key: key.clone(),
            state: State::new(VersionVector::default(), vec![evil(&origin, seq, Millis(self.now))]),
        };
        let [secret, open] = [SECRET, "lww"].map(|namespace| FactKey::new(&format!("{namespace}.evil")).unwrap());
        let write = |origin: &Origin, first, entries| Message::Write(Write { origin: origin.clone(), first, entries });
        let page = |entries| Page { origin: origin.clone(), after: 0, position: 0, last: 1, through: Some(1), entries };
        let none = VersionVector::default;
        let bad = match self.random.below(9) {
            _ if from == to => return,
            0 if from != 0 => write(&origin, 1, vec![good(&secret, 1)]),
            1 if from != 0 => write(&origin, 1, vec![good(&open, 1), good(&secret, 2)]),
            2 if from != 0 => Message::Page(page(vec![good(&secret, 1)])),
            3 if from != 0 => {
                let (entries, absent, collected) = (vec![good(&secret, 1)], vec![open], none());
                Message::Repair(Repair { entries, absent, collected, answer: true })
            }
            4 if from != 0 => Message::Part(Part {
                session: 1,
                after: None,
                through: None,
                entries: vec![good(&secret, 1)],
                applied: none(),
                collected: none(),
            }),
            5 => write(&origin, 0, vec![good(&open, 1)]),
            6 => write(&origin, 7, vec![good(&open, 1)]),
            7 => write(&foreign, 1, vec![good(&open, 1)]),
            _ => write(&origin, 1, vec![Entry { key: open, state: State::default() }]),
        };
        self.network.send(self.now, from, to, &bad, &mut self.random);
        self.seen.attacks += 1;
    }
}

/// Under this number no node writes.
fn forged(node: &NodeId) -> Origin {
    Origin { node: node.clone(), incarnation: 0xbad }
}

fn evil(origin: &Origin, seq: u64, now: Millis) -> Cell {
    Cell {
        dot: Dot { origin: origin.clone(), seq },
        part: weir_facts::Part::Whole,
        hlc: Hlc::at(now),
        created_at: now,
        expires_at: None,
        body: Body::Value("\"evil\"".into()),
    }
}
