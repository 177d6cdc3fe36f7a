//! The invariants.

use std::collections::BTreeSet;

use weir_facts::{Cell, Dot, Event, EventKind, FactKey, Found, Hlc, Millis, Pattern, State, Storage, VersionVector};

use super::{ledger::brief, node::Core, world::World};

impl World {
    fn cores(&self) -> impl Iterator<Item = &Core> {
        self.nodes.iter().filter_map(|node| node.core.as_ref())
    }

    /// A time that is not past for any node.
    fn common_time(&self) -> Millis {
        let clocks = self.nodes.iter().filter_map(|node| Some(node.core.as_ref()?.time(node.clock(self.now))));
        clocks.max().unwrap_or_default()
    }

    /// Whether no replica still lives in the future, or waits for it.
    pub fn has_sane_clocks(&self) -> bool {
        let in_future = |core: &Core| core.time(Millis(self.now)).0 > self.now + 1_000;
        self.cores().all(|core| !in_future(core) && core.held().next().is_none())
    }

    /// I1, while it is coming about.
    pub fn agree(&self) -> bool {
        let mut cores = self.cores();
        let Some(first) = cores.next().filter(|core| core.is_serving() && !core.needs_persist()) else { return false };
        cores.all(|core| {
            core.is_serving()
                && !core.needs_persist()
                && core.applied() == first.applied()
                && core.root() == first.root()
        })
    }

    pub fn fail_to_agree(&self) {
        for (node, core) in self.nodes.iter().zip(self.cores()) {
            println!("{} serves {} as {}: {:?}", node.name, core.is_serving(), core.origin(), core.root());
            println!("  applied {:?}", core.applied());
            println!("  collected {:?}", core.collected());
            println!("  members {:?}, {:?}", core.members(), core.counts());
        }
        for key in self.keys() {
            let views: Vec<_> = (0..self.nodes.len()).map(|node| self.view(node, &key)).collect();
            if views.iter().any(|view| *view != views[0]) {
                println!("{key}");
                for core in self.cores() {
                    let state = core.storage().state(&key).unwrap();
                    println!(
                        "  {}, having seen {:?}",
                        state.as_deref().map(brief).unwrap_or_default(),
                        state.as_deref().map(weir_facts::State::context)
                    );
                }
            }
        }
        panic!("I1: the replicas do not come to agree");
    }

    fn keys(&self) -> BTreeSet<FactKey> {
        self.cores().flat_map(|core| core.storage().keys(&Pattern::Every, None, usize::MAX).unwrap()).collect()
    }

    fn view(&self, node: usize, key: &FactKey) -> Option<Found> {
        let core = self.nodes[node].core.as_ref()?;
        core.get(self.common_time(), key).unwrap_or_default()
    }

    /// What has to hold once all agree.
    pub fn judge(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.settle(node));
        let keys = self.keys();
        for key in &keys {
            let first = self.view(0, key);
            for node in 1..self.nodes.len() {
                // A write that only some got before its node lost its disk may have left versions apart, where several
                // values or shares stand and it has ended; all else is equal.
                let has_winner = !matches!(key.namespace(), "many" | "set" | "count");
                let version = |found: &Found| if has_winner { found.version } else { Hlc::default() };
                let brought = |found: Found| Found { version: version(&found), ..found };
                let (first, view) = (first.clone().map(brought), self.view(node, key).map(brought));
                assert_eq!(first, view, "I1: {key} differs between n0 and n{node}");
            }
            assert!(!self.dead.contains(key) || first.is_none(), "I3: {key} was deleted and shows: {first:?}");
            let end = first.as_ref().and_then(|found| found.expires_at);
            assert!(end.is_none_or(|end| end.0 + 2_000 > self.now), "I4: {key} shows after its end");
        }
        self.judge_namespaces(&keys);
        self.judge_subscribers(&keys);
        self.judge_writes(&keys);
        let dead: Vec<_> = keys.iter().filter(|key| self.view(0, key).is_none()).cloned().collect();
        self.seen.dead_keys += dead.len() as u64;
        self.dead.extend(dead);
        // Their versions went back, as `Replica::restamp` says, on nodes that may not have been read since.
        let restamped = std::mem::take(&mut self.ledger.restamped);
        self.versions.retain(|(_, key), _| !restamped.contains(key));
    }

    /// Has it tell all ends up to now.
    fn settle(&mut self, at: usize) {
        self.nodes[at].is_outdated = false;
        self.nodes[at].persisting = None;
        let time = self.common_time();
        let core = self.nodes[at].core.as_mut().unwrap();
        core.tick(time).unwrap();
        core.persist().unwrap();
        self.flush(at);
    }

    /// I2.
    fn judge_writes(&mut self, keys: &BTreeSet<FactKey>) {
        for core in self.nodes.iter().filter_map(|node| node.core.as_ref()) {
            for key in keys {
                for cell in core.storage().lost(key, usize::MAX).unwrap() {
                    let state = State::new(VersionVector::default(), vec![cell]);
                    let dots = self.ledger.dots(key, &state);
                    self.ledger.lost.extend(dots);
                }
            }
        }
        let mut ledger = std::mem::take(&mut self.ledger);
        let core = self.nodes[0].core.as_ref().unwrap();
        let clock = self.common_time();
        ledger.judge(
            self.now + 1_000,
            |key| core.storage().state(key).unwrap().as_deref().cloned().unwrap_or_default(),
            |key| core.get(clock, key).unwrap(),
        );
        self.ledger = ledger;
    }

    /// I6.
    fn judge_subscribers(&self, keys: &BTreeSet<FactKey>) {
        for subscriber in &self.subscribers {
            for key in keys.iter().chain(subscriber.shown.keys()).filter(|key| subscriber.matches(key)) {
                let view = self.view(0, key);
                let told = subscriber.shown.get(key);
                let strategy = self.rules.strategy(key.namespace());
                let told = told.and_then(|state| strategy.view(state, self.common_time()));
                let (view, told) = (view.map(|found| found.value.to_value()), told.map(|found| found.value.to_value()));
                assert_eq!(view, told, "I6: {key} is not what a subscriber was told: {subscriber:?}");
                assert_eq!(subscriber.shown.contains_key(key), view.is_some(), "I6: {key}: its end was not told");
            }
        }
    }

    /// I7.
    fn judge_namespaces(&self, keys: &BTreeSet<FactKey>) {
        for core in self.cores() {
            for key in keys {
                let state = core.storage().state(key).unwrap();
                for cell in state.iter().flat_map(|state| state.cells()) {
                    let origin = &cell.dot.origin;
                    assert!(self.rules.may_write(&origin.node, key.namespace()), "I7: {key} was written by {origin}");
                    assert!(origin.incarnation != 0xbad, "{key} was forged");
                }
            }
        }
    }

    /// I3 and I7, as soon as they show.
    pub fn check_event(&self, at: usize, event: &Event) {
        let is_update = event.kind == EventKind::Update;
        for Cell { dot: Dot { origin, .. }, .. } in event.state.iter().flat_map(|state| state.cells()) {
            assert!(self.rules.may_write(&origin.node, event.key.namespace()), "I7: {} is told by {origin}", event.key);
        }
        if is_update && self.nodes[at].is_sound() {
            assert!(!self.dead.contains(&event.key), "I3: {} was deleted, and n{at} tells of it: {event:?}", event.key);
        }
    }

    /// Somebody reads, at one node, a key and a pair.
    pub fn check_read(&mut self, at: usize) {
        self.seen.reads += 1;
        let clock = self.nodes[at].clock(self.now);
        let is_sound = self.nodes[at].is_sound();
        let Some(core) = &self.nodes[at].core else { return };
        let pair = self.random.below(3);
        let halves = ["a", "b"].map(|half| FactKey::new(&format!("pair.{pair}.{half}")).unwrap());
        let [a, b] = halves.map(|half| core.get(clock, &half).unwrap_or_default().map(|found| found.value.to_value()));
        assert!(!is_sound || a == b, "a batch shows in part on n{at}: {a:?}, {b:?}");
        let keys = core.storage().keys(&Pattern::Every, None, usize::MAX).unwrap();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.random.index(keys.len())].clone();
        let Some(found) = core.get(clock, &key).unwrap_or_default() else { return };
        assert!(found.expires_at.is_none_or(|end| end > clock), "I4: {key} shows on n{at} after its end: {found:?}");
        if !is_sound {
            return;
        }
        assert!(!self.dead.contains(&key), "I3: {key} was deleted, and n{at} shows it: {found:?}");
        let last = self.versions.insert((at, key.clone()), found.version).unwrap_or_default();
        let may_go_back = self.ledger.restamped.contains(&key);
        assert!(found.version >= last || may_go_back, "I5: {key} went back from {last} to {} on n{at}", found.version);
    }
}
