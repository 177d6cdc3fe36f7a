use std::sync::Arc;

use weir_facts::{CommitNumber, Config, Effect, Limits, Millis, NodeId, PersistMark, Replica, Rules, Start};

use super::{disk::Disk, random::Random};

pub type Core = Replica<Disk>;

/// One node: a replica, or its disk while it is down.
#[derive(Debug)]
pub struct Node {
    pub name: NodeId,
    pub core: Option<Core>,
    pub disk: Option<Disk>,
    /// What its clock is off by, in milliseconds.
    pub offset: i64,
    pub next_tick: u64,
    /// A persist under way: when it ends, the commits that it makes durable, the mark.
    pub persisting: Option<(u64, usize, PersistMark)>,
    pub persist_ms: u64,
    /// Removed by the others, and perhaps not aware of what they collected.
    pub is_outdated: bool,
    pub start: Start,
    /// When it hears who the members are.
    pub hears_at: u64,
    /// Commits that clients wait for, with the writes' numbers in the ledger.
    pub waiting: Vec<(CommitNumber, Vec<usize>)>,
}

pub fn config(name: &NodeId, start: Start) -> Config {
    Config {
        ahead_max_ms: 10_000,
        grace_ms: 25_000,
        epoch_ms: 4_000,
        patience_ms: 2_000,
        start,
        // Small enough to be met.
        limits: Limits { page_keys: 4, held: 24, ..Limits::default() },
        ..Config::new(name.clone())
    }
}

impl Node {
    pub fn new(index: usize) -> Node {
        Node {
            name: NodeId::new(&format!("n{index}")).unwrap(),
            core: None,
            disk: Some(Disk::new()),
            offset: 0,
            next_tick: 0,
            persisting: None,
            persist_ms: 10,
            is_outdated: false,
            start: Start::Founding,
            hears_at: u64::MAX,
            waiting: Vec::new(),
        }
    }

    pub fn clock(&self, now: u64) -> Millis {
        Millis(now.saturating_add_signed(self.offset))
    }

    pub fn open(&mut self, now: u64, rules: Arc<dyn Rules>, members: &[NodeId], random: &mut Random) {
        let Some(mut disk) = self.disk.take() else { return };
        disk.room = None;
        let clock = self.clock(now);
        let config = config(&self.name, self.start);
        let core = Replica::open(disk, config, rules, members.to_vec(), random.next(), clock).unwrap();
        self.core = Some(core);
        self.next_tick = now + random.between(1, 250);
    }

    /// Loses the end of what was not persisted: so many commits.
    pub fn crash(&mut self, random: &mut Random) -> usize {
        let Some(core) = self.core.take() else { return 0 };
        let mut disk = core.into_storage();
        let unpersisted = disk.memory.unpersisted();
        let kept = random.index(unpersisted + 1);
        disk.memory.crash(kept);
        self.down(disk);
        unpersisted - kept
    }

    pub fn stop(&mut self) {
        let Some(core) = self.core.take() else { return };
        if core.storage().room.is_some() {
            self.core = Some(core);
            return;
        }
        self.down(core.stop().unwrap());
    }

    fn down(&mut self, disk: Disk) {
        self.disk = Some(disk);
        self.persisting = None;
        self.waiting.clear();
    }

    pub fn begin_persist(&mut self, now: u64) {
        let Some(core) = self.core.as_mut().filter(|core| core.needs_persist()) else { return };
        if let Ok(mark) = core.begin_persist() {
            let commits = core.storage().memory.unpersisted();
            self.persisting = Some((now + self.persist_ms, commits, mark));
        }
    }

    /// `true`: the disk failed.
    pub fn end_persist(&mut self, fails: bool) -> bool {
        let Some((_, commits, mark)) = self.persisting.take() else { return false };
        let Some(core) = &mut self.core else { return false };
        if fails {
            core.persist_failed();
            return true;
        }
        core.storage_mut().memory.persist_first(commits);
        core.persisted(mark);
        false
    }

    pub fn effects(&mut self) -> Vec<Effect> {
        self.core.as_mut().map(|core| core.effects().collect()).unwrap_or_default()
    }

    /// Whether what it shows is what a member may show.
    pub fn is_sound(&self) -> bool {
        !self.is_outdated && self.core.as_ref().is_some_and(Replica::is_serving)
    }
}
