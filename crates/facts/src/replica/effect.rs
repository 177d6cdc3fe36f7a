use std::{collections::VecDeque, sync::Arc};

use crate::{
    causality::{Dot, NodeId, VersionVector},
    key::FactKey,
    message::Message,
    replica::{Malformed, subscribe::Cursor},
    state::{Cell, State},
};

/// Counts a replica's commits since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitNumber(pub(crate) u64);

/// Counts a replica's events since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventNumber(u64);

/// What the replica wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send {
        to: NodeId,
        message: Message,
    },
    /// To every member, by whatever way is fastest; those who miss it will ask.
    Publish(Message),
    /// Commits up to this one are durable: their writers may be told.
    Durable(CommitNumber),
    Event(Event),
    Alarm(Alarm),
}

/// What subscribers are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    pub key: FactKey,
    /// `None`: nothing of the key is remembered.
    pub state: Option<Arc<State>>,
    pub number: EventNumber,
    /// From where a subscriber who has seen this goes on.
    pub cursor: Arc<Cursor>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    Update,
    Delete,
    Expire,
    /// Two writes did not know of each other, and this one does not show.
    Conflict {
        lost: Cell,
    },
}

/// What a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A node was copied, or lost the end of its log unnoticed.
    ReusedDot { key: FactKey, dot: Dot },
    /// A write's time is far ahead of this node's clock; it is held until the clock reaches it.
    Held { from: NodeId, key: FactKey },
    /// A peer sent what no node sends, or what its origin may not write.
    Refused { from: NodeId, reason: Malformed },
    /// Deletions were collected that this replica has not seen: it fetches everything.
    Behind { of: NodeId },
    /// A peer that has applied the same shows something else. It is being repaired.
    Diverged { from: NodeId },
}

/// What happened since the replica was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub local_writes: u64,
    pub remote_entries: u64,
    pub conflicts: u64,
    pub reused_dots: u64,
    pub refused: u64,
    pub held: u64,
    pub released: u64,
    pub pulls: u64,
    pub pages: u64,
    pub fetches: u64,
    pub divergences: u64,
    pub repaired: u64,
    pub collected: u64,
    pub pruned: u64,
    pub expired: u64,
}

/// A persist that has begun. What was committed before it may be told when it has succeeded.
#[derive(Debug, Clone, Default)]
#[must_use = "what waits is told when the mark comes back"]
pub struct PersistMark {
    pub(super) commit: u64,
    pub(super) applied: VersionVector,
}

impl PersistMark {
    #[must_use]
    pub fn commit(&self) -> CommitNumber {
        CommitNumber(self.commit)
    }
}

/// Effects in the order of the commits they tell of.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    commits: u64,
    persisted: u64,
    events: EventNumber,
    waiting: VecDeque<(u64, Effect)>,
    ready: VecDeque<Effect>,
    is_poisoned: bool,
}

impl Outbox {
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    pub(super) fn count_commit(&mut self) -> CommitNumber {
        self.commits += 1;
        CommitNumber(self.commits)
    }

    pub(super) fn last_event(&self) -> EventNumber {
        self.events
    }

    pub(super) fn count_event(&mut self) -> EventNumber {
        self.events.0 += 1;
        self.events
    }

    pub(super) fn is_all_persisted(&self) -> bool {
        self.commits == self.persisted
    }

    /// After all that was committed before it is durable.
    pub(super) fn after_commits(&mut self, effect: Effect) {
        if self.is_all_persisted() && self.waiting.is_empty() {
            self.ready.push_back(effect);
        } else {
            self.waiting.push_back((self.commits, effect));
        }
    }

    /// Of what does not tell of commits.
    pub(super) fn at_once(&mut self, effect: Effect) {
        self.ready.push_back(effect);
    }

    pub(super) fn release(&mut self, commit: u64) {
        let is_news = commit > self.persisted;
        self.persisted = self.persisted.max(commit);
        while self.waiting.front().is_some_and(|(number, _)| *number <= commit) {
            self.ready.extend(self.waiting.pop_front().map(|(_, effect)| effect));
        }
        if is_news {
            self.ready.push_back(Effect::Durable(CommitNumber(commit)));
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.ready.drain(..)
    }

    pub(super) fn poison(&mut self) {
        self.is_poisoned = true;
        self.waiting.clear();
        self.ready.clear();
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }
}
