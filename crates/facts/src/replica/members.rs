//! Who takes part, and what all of them have applied.

use std::collections::BTreeMap;

use crate::{
    causality::{NodeId, VersionVector},
    clock::{Hlc, Millis},
    message::{Message, Root, Status},
    replica::{Alarm, Effect, Replica, ReplicaError, record, sync::Standing},
    storage::{Commit, Storage},
};

/// The others.
#[derive(Debug, Default)]
pub(super) struct Members {
    nodes: BTreeMap<NodeId, Member>,
    told_at: Millis,
}

#[derive(Debug, Default)]
struct Member {
    latest: Option<Status>,
    /// Whether that covered all that was collected here.
    is_abreast: bool,
    /// A status all of which has been applied here too.
    confirmed: Option<Report>,
    /// One that is to become so.
    waiting: Option<Report>,
}

#[derive(Debug, Clone)]
struct Report {
    at: Hlc,
    applied: VersionVector,
}

/// What no node will be surprised by: up to `applied` every member has applied all, and this one has applied all that
/// any member wrote before it had. Every member's clock has reached `time`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Horizon {
    pub applied: VersionVector,
    pub time: Millis,
}

impl Members {
    pub(super) fn new(names: Vec<NodeId>, own: &NodeId) -> Members {
        let others = names.into_iter().filter(|name| name != own);
        Members { nodes: others.map(|name| (name, Member::default())).collect(), told_at: Millis(0) }
    }

    pub(super) fn names(&self) -> Vec<NodeId> {
        self.nodes.keys().cloned().collect()
    }

    pub(super) fn contains(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn latest(&self, node: &NodeId) -> Option<&Status> {
        self.nodes.get(node)?.latest.as_ref()
    }

    /// Whether a node has not said that it has all that was collected here. What it has may be long deleted.
    pub(super) fn is_behind(&self, node: &NodeId, collected: &VersionVector) -> bool {
        !collected.is_empty() && self.nodes.get(node).is_none_or(|member| !member.is_abreast)
    }

    /// `None`: some member has not said enough yet.
    pub(super) fn horizon(&mut self, durable: &VersionVector, time: Millis) -> Option<Horizon> {
        let mut horizon = Horizon { applied: durable.clone(), time };
        for member in self.nodes.values_mut() {
            member.confirm(durable);
            let confirmed = member.confirmed.as_ref()?;
            horizon.applied = horizon.applied.meet(&confirmed.applied);
            horizon.time = horizon.time.min(confirmed.at.millis());
        }
        Some(horizon)
    }
}

impl Member {
    fn confirm(&mut self, durable: &VersionVector) {
        if self.waiting.as_ref().is_some_and(|report| durable.covers_all(&report.applied)) {
            self.confirmed = self.waiting.take();
        }
    }

    /// `false`: it is an old one.
    fn report(&mut self, status: &Status) -> bool {
        // If the status is late, or of a node that lost its disk, the node is taken to have the less.
        for report in self.confirmed.iter_mut().chain(&mut self.waiting) {
            report.applied = report.applied.meet(&status.applied);
        }
        if self.latest.as_ref().is_some_and(|latest| status.at <= latest.at) {
            return false;
        }
        if self.waiting.is_none() {
            self.waiting = Some(Report { at: status.at, applied: status.applied.clone() });
        }
        self.latest = Some(status.clone());
        true
    }
}

impl<S: Storage> Replica<S> {
    /// Whether there are others.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// The other members.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        self.members.names()
    }

    /// What a member said last.
    #[must_use]
    pub fn status_of(&self, member: &NodeId) -> Option<&Status> {
        self.members.latest(member)
    }

    /// Takes a node in: its messages count, and nothing is collected that it has not applied. Every member has to.
    ///
    /// # Errors
    /// Of the storage.
    pub fn add_member(&mut self, node: &NodeId) -> Result<(), ReplicaError<S::Error>> {
        if *node == self.config.node || self.members.contains(node) {
            return Ok(());
        }
        let mut names = self.members.names();
        names.push(node.clone());
        self.record_members(&names)?;
        self.members.nodes.insert(node.clone(), Member::default());
        Ok(())
    }

    /// Forgets a node, whatever state it is in: collection no longer waits for it. If it comes back it has to be added
    /// again, and fetches everything if something was collected meanwhile.
    ///
    /// # Errors
    /// Of the storage.
    pub fn remove_member(&mut self, node: &NodeId) -> Result<(), ReplicaError<S::Error>> {
        if !self.members.contains(node) {
            return Ok(());
        }
        let mut names = self.members.names();
        names.retain(|name| name != node);
        self.record_members(&names)?;
        self.members.nodes.remove(node);
        self.pulls.remove(node);
        Ok(())
    }

    fn record_members(&mut self, names: &[NodeId]) -> Result<(), ReplicaError<S::Error>> {
        self.check_poison()?;
        let metadata = vec![(record::MEMBERS.to_owned(), Some(record::encode(&names)))];
        self.storage.commit(&Commit { metadata, ..Commit::default() })?;
        self.outbox.count_commit();
        Ok(())
    }

    /// Has the next tick tell all members where this node stands, however lately it did.
    pub fn hasten_statuses(&mut self) {
        self.members.told_at = Millis(0);
    }

    pub(super) fn send_statuses(&mut self, now: Millis) {
        let is_due = now < self.members.told_at || now >= self.members.told_at.plus(self.config.status_every_ms);
        if self.members.is_empty() || !is_due {
            return;
        }
        self.members.told_at = now;
        let at = self.clock.tick(now, Hlc::default());
        // Only then do peers with the same vector have to have the same.
        let is_settled = self.is_settled(now) && !self.progress_moved;
        let root = is_settled.then(|| Root { epoch: self.digest.epoch(), sum: self.digest.root() });
        let status = Status {
            origin: self.origin.clone(),
            at,
            applied: self.durable.clone(),
            collected: self.collected.clone(),
            serving: self.is_serving(),
            root,
        };
        for to in self.members.names() {
            self.outbox.at_once(Effect::Send { to, message: Message::Status(status.clone()) });
        }
    }

    pub(super) fn take_status(&mut self, now: Millis, from: &NodeId, status: Status) -> Result<(), S::Error> {
        // A status from the future says nothing wrong, but the clock does not follow it.
        let _ = self.clock.observe(status.at, now);
        let Some(member) = self.members.nodes.get_mut(from) else { return Ok(()) };
        if !member.report(&status) {
            return Ok(());
        }
        member.is_abreast = status.serving && status.applied.covers_all(&self.collected);
        if !status.serving {
            return Ok(());
        }
        if !self.is_serving() {
            self.continue_fetching_from(now, from);
            return Ok(());
        }
        if !self.progress.seen().covers_all(&status.collected) {
            return self.take_behind(now, from, &status.collected);
        }
        if !self.members.is_behind(from, &self.collected) {
            self.pull_from(now, from);
            self.compare_roots(now, from, &status);
        }
        Ok(())
    }

    /// A peer collected what this replica has not seen: what it has may be long deleted.
    pub(super) fn take_behind(
        &mut self,
        now: Millis,
        from: &NodeId,
        collected: &VersionVector,
    ) -> Result<(), S::Error> {
        if self.progress.seen().covers_all(collected) {
            return Ok(());
        }
        let metadata = vec![(record::FETCHING.to_owned(), Some(record::encode(&())))];
        self.storage.commit(&Commit { metadata, ..Commit::default() })?;
        self.outbox.count_commit();
        self.outbox.at_once(Effect::Alarm(Alarm::Behind { of: from.clone() }));
        self.standing = Standing::joining();
        self.continue_fetching_from(now, from);
        Ok(())
    }
}
