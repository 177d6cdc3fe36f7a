use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weir_facts::{Alarm, Counts, Effect, EventKind, FactKey, Hlc, Rules, Start, State, VersionVector, message::Entry};

use super::{
    ledger::{Ledger, brief},
    network::{Network, Weather},
    node::Node,
    random::Random,
    rules::{Namespaces, SECRET},
    subscribers::Subscriber,
};

/// 2027 or so, in milliseconds.
const START: u64 = 1_800_000_000_000;

macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what happened.
        #[derive(Debug, Default, Clone)]
        pub struct Seen { $($(#[$doc])* pub $name: u64,)* }

        impl Seen {
            pub fn add(&mut self, other: &Seen) {
                $(self.$name += other.$name;)*
            }

            /// Adds what a replica counted.
            pub fn count(&mut self, counts: &Counts) {
                self.collected += counts.collected;
                self.expired += counts.expired;
                self.held += counts.held;
                self.released += counts.released;
                self.fetches += counts.fetches;
                self.pulls += counts.pulls;
                self.divergences += counts.divergences;
                self.repaired += counts.repaired;
            }

            pub fn assert_everything_happened(&self) {
                $(assert!(self.$name > 0, "nothing of this happened: {}", stringify!($name));)*
            }
        }
    };
}

seen! {
    // What goes wrong.
    cuts, lost, repeated, reordered, strayed, clock_skews, clock_jumps, clocks_back, crashes, lost_tails, stops, full,
    failed_persists, slowed, newcomers, removals, returns, lost_disks, attacks,
    // What clients and replicas do.
    rounds, writes, acks, judged, conflicting_versions, incomplete, refused_namespaces, refused, caught_up, waits,
    resets, conflicts, collected, expired, held, released, restamped, fetches, pulls, divergences, repaired, reads,
    dead_keys, behind,
}

pub struct World {
    pub seed: u64,
    pub random: Random,
    pub now: u64,
    pub steps: u64,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub rules: Arc<dyn Rules>,
    pub ledger: Ledger,
    pub subscribers: Vec<Subscriber>,
    /// Keys that were gone everywhere, and not written since.
    pub dead: BTreeSet<FactKey>,
    /// Nodes that the others removed.
    pub removed: BTreeSet<usize>,
    /// The last version that a node showed.
    pub versions: BTreeMap<(usize, FactKey), Hlc>,
    pub values: u64,
    pub is_calm: bool,
    pub has_faults: bool,
    pub seen: Seen,
    watched: Option<FactKey>,
    next_client: u64,
    next_fault: u64,
    next_subscriber: u64,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Deliver,
    Tick(usize),
    Persisted(usize),
    Client,
    Fault,
    Subscriber,
}

/// The key to tell of.
pub fn watched() -> Option<FactKey> {
    std::env::var("FACTS_KEY").ok().map(|key| FactKey::new(&key).unwrap())
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let nodes = (0..random.between(2, 5) as usize).map(Node::new).collect();
        let mut world = World {
            seed,
            random,
            now: START,
            steps: 0,
            nodes,
            network: Network::default(),
            rules: Arc::new(Namespaces::new()),
            ledger: Ledger::default(),
            subscribers: ["*", "lww.*", "deny.k1", "pair.*"].map(Subscriber::new).into(),
            dead: BTreeSet::new(),
            removed: BTreeSet::new(),
            versions: BTreeMap::new(),
            values: 0,
            is_calm: false,
            has_faults: false,
            seen: Seen::default(),
            watched: watched(),
            next_client: START,
            next_fault: START,
            next_subscriber: START,
        };
        world.expect_newcomer();
        (0..world.nodes.len()).for_each(|node| world.open(node));
        world
    }

    /// Some of the time one of the nodes is none yet, and is taken in later.
    fn expect_newcomer(&mut self) {
        let last = self.nodes.len() - 1;
        if last > 1 && self.random.per_mille(400) {
            self.nodes[last].start = Start::Joining;
            self.nodes[last].is_outdated = true;
            self.removed.insert(last);
            self.seen.newcomers += 1;
        }
    }

    pub fn seen(&self) -> Seen {
        let mut seen = self.seen.clone();
        self.nodes.iter().filter_map(|node| node.core.as_ref()).for_each(|core| seen.count(core.counts()));
        seen.acks = self.ledger.acked;
        seen.judged = self.ledger.judged;
        let Network { lost, repeated, strayed, slowed, reordered, .. } = self.network;
        (seen.lost, seen.repeated, seen.strayed, seen.slowed, seen.reordered) =
            (lost, repeated, strayed, slowed, reordered);
        seen
    }

    pub fn summary(&self) -> String {
        format!("seed {}: {} nodes, {} steps, {:?}", self.seed, self.nodes.len(), self.steps, self.seen())
    }

    /// Bad weather, then calm, in which all has to come to rest; then what there is is judged.
    pub fn round(&mut self) {
        self.is_calm = false;
        self.has_faults = true;
        let storm = self.random.between(500, 5_000);
        (0..storm).for_each(|_| self.step());
        self.has_faults = false;
        self.calm();
        if !self.removed.is_empty() || self.random.per_mille(200) {
            let fair = self.random.between(500, 5_000);
            (0..fair).for_each(|_| self.step());
            self.stay_away();
        }
        self.network.cut.clear();
        for node in self.removed.clone() {
            self.take_in(node);
        }
        self.is_calm = true;
        self.rest();
        self.judge();
        self.seen.rounds += 1;
    }

    /// Ends every fault. Messages that are under way still come.
    fn calm(&mut self) {
        self.network.cut.clear();
        self.network.slow.clear();
        self.network.weather = Weather { delay_max: 20, ..Weather::default() };
        for node in 0..self.nodes.len() {
            self.nodes[node].offset = self.random.between(0, 200) as i64 - 100;
            self.nodes[node].persist_ms = 5;
            if let Some(core) = &mut self.nodes[node].core {
                core.storage_mut().room = None;
            }
            self.open(node);
        }
        // Whoever was removed stays away while the others go on.
        for node in self.removed.clone() {
            for other in (0..self.nodes.len()).filter(|other| *other != node) {
                self.network.cut.extend([(node, other), (other, node)]);
            }
        }
    }

    /// Nobody writes for so long that what was deleted is collected, while some do not hear of it.
    fn stay_away(&mut self) {
        self.is_calm = true;
        let end = self.now + self.random.between(10_000, 60_000);
        while self.now < end {
            self.step();
        }
    }

    /// Runs until all agree, and a while longer.
    fn rest(&mut self) {
        let (began, mut sane_since) = (self.now, None);
        loop {
            self.step();
            if !self.has_sane_clocks() {
                assert!(self.now < began + 400_000, "I1: clocks do not come to agree");
                sane_since = None;
                continue;
            }
            let since = *sane_since.get_or_insert(self.now);
            if self.agree() && self.are_subscribers_live() {
                break;
            }
            if self.now > since + 40_000 {
                self.fail_to_agree();
            }
        }
        // Some of the time long enough for what is over to be collected.
        let more = if self.random.per_mille(500) { 45_000 } else { 3_000 };
        let end = self.now + more;
        while self.now < end || !self.agree() {
            self.step();
            assert!(self.now < end + 60_000, "I1: what agreed comes apart");
        }
    }

    pub fn step(&mut self) {
        self.steps += 1;
        let (at, next) = self.next();
        self.now = self.now.max(at);
        match next {
            Next::Deliver => self.deliver(),
            Next::Tick(node) => self.tick(node),
            Next::Persisted(node) => self.persisted(node),
            Next::Client => {
                self.client();
                self.next_client = self.now + self.random.between(1, 60);
            }
            Next::Fault => {
                self.fault();
                self.next_fault = self.now + self.random.between(10, 1_500);
            }
            Next::Subscriber => {
                let number = self.random.index(self.subscribers.len());
                self.subscriber(number);
                self.next_subscriber = self.now + self.random.between(1, 200);
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].hears_at <= self.now {
                self.nodes[node].hears_at = u64::MAX;
                self.settle_members(node);
            }
            self.flush(node);
            if self.nodes[node].persisting.is_none() {
                let now = self.now;
                self.nodes[node].begin_persist(now);
            }
        }
    }

    fn next(&self) -> (u64, Next) {
        let mut next = (self.next_subscriber, Next::Subscriber);
        let mut offer = |at: Option<u64>, what: Next| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, what);
            }
        };
        offer(self.network.next_at(), Next::Deliver);
        offer((!self.is_calm).then_some(self.next_client), Next::Client);
        offer(self.has_faults.then_some(self.next_fault), Next::Fault);
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.core.is_some()) {
            offer(Some(node.next_tick), Next::Tick(index));
            offer(node.persisting.as_ref().map(|(at, ..)| *at), Next::Persisted(index));
        }
        next
    }

    fn deliver(&mut self) {
        let Some((from, to, message)) = self.network.pop() else { return };
        let name = self.nodes[from].name.clone();
        let clock = self.nodes[to].clock(self.now);
        if let Some(core) = &mut self.nodes[to].core {
            // What is refused has no effect; what matters of it comes again.
            let _ = core.receive(clock, &name, message);
        }
    }

    fn tick(&mut self, node: usize) {
        self.nodes[node].next_tick = self.now + self.random.between(150, 350);
        let clock = self.nodes[node].clock(self.now);
        let Some(core) = &mut self.nodes[node].core else { return };
        if let Err(weir_facts::ReplicaError::Poisoned) = core.tick(clock) {
            self.crash(node);
            self.open(node);
        }
        self.restamp(node);
    }

    /// A person has something held written anew.
    fn restamp(&mut self, node: usize) {
        if !self.random.per_mille(20) || self.is_calm {
            return;
        }
        let clock = self.nodes[node].clock(self.now);
        let Some(core) = &mut self.nodes[node].core else { return };
        let may = |entry: &Entry| matches!(entry.key.namespace(), "lww" | "many" | SECRET);
        let Some(held) = core.held().find(|held| held.entries.iter().all(may)) else { return };
        if core.restamp(clock, held.number).is_ok() {
            self.seen.restamped += 1;
            for entry in held.entries {
                let may_write = self.rules.may_write(&self.nodes[node].name, entry.key.namespace());
                assert!(may_write, "I7: n{node} wrote {} anew", entry.key);
                self.dead.remove(&entry.key);
                self.ledger.restamped.insert(entry.key);
            }
        }
    }

    fn persisted(&mut self, node: usize) {
        let fails = self.has_faults && self.random.per_mille(2);
        if self.nodes[node].end_persist(fails) {
            self.seen.failed_persists += 1;
        }
    }

    /// Does what a replica wants done.
    pub fn flush(&mut self, at: usize) {
        for effect in self.nodes[at].effects() {
            match effect {
                Effect::Send { to, message } => {
                    let to = self.nodes.iter().position(|node| node.name == to).unwrap();
                    self.network.send(self.now, at, to, &message, &mut self.random);
                }
                Effect::Publish(message) => {
                    let members = self.nodes[at].core.as_ref().map(|core| core.members()).unwrap_or_default();
                    for to in 0..self.nodes.len() {
                        if members.contains(&self.nodes[to].name) {
                            self.network.send(self.now, at, to, &message, &mut self.random);
                        }
                    }
                }
                Effect::Durable(commit) => self.acknowledge(at, commit),
                Effect::Event(event) => {
                    self.trace(&event.key, || {
                        let state = event.state.as_deref().map(brief).unwrap_or_default();
                        format!("n{at} tells {:?}: {state}", event.kind)
                    });
                    if let EventKind::Conflict { lost } = &event.kind {
                        let state = State::new(VersionVector::default(), vec![lost.clone()]);
                        let dots = self.ledger.dots(&event.key, &state);
                        self.ledger.lost.extend(dots);
                        self.seen.conflicts += 1;
                    }
                    self.check_event(at, &event);
                    self.subscribers.iter_mut().for_each(|subscriber| subscriber.live_event(at, &event));
                }
                Effect::Alarm(alarm) => self.alarm(at, alarm),
            }
        }
    }

    /// What happens to the key that is being watched.
    pub fn trace(&self, key: &FactKey, what: impl Fn() -> String) {
        if self.watched.as_ref() == Some(key) {
            println!("{} {key}: {}", self.now, what());
        }
    }

    fn acknowledge(&mut self, at: usize, commit: weir_facts::CommitNumber) {
        let waiting = std::mem::take(&mut self.nodes[at].waiting);
        let (done, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(number, _)| *number <= commit);
        self.nodes[at].waiting = waiting;
        done.into_iter().flat_map(|(_, numbers)| numbers).for_each(|number| self.ledger.ack(number));
    }

    fn alarm(&mut self, at: usize, alarm: Alarm) {
        match alarm {
            Alarm::ReusedDot { key, dot } => panic!("one number for two writes: {dot} of {key}"),
            Alarm::Refused { .. } => self.seen.refused += 1,
            Alarm::Behind { .. } => self.seen.behind += 1,
            Alarm::Held { from, key } => self.trace(&key, || format!("n{at} holds what is from {from}")),
            Alarm::Diverged { .. } => {}
        }
    }
}
