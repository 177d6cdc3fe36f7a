//! The writer's dealings with other nodes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    NodeError, Shared,
    freshness::Freshness,
    job::{Acknowledge, Applied},
    mailbox::Delivered,
    plane::{MessagePlane, PeerMessage},
    replication::{Agreement, Joining, MemberStatus, Repaired, Replication, lag},
};
use crate::{
    causality::{NodeId, VersionVector},
    clock::Millis,
    message::Message,
    replica::{ReceiveError, Replica, ReplicaError},
    store::{FactStore, StoreError},
};

/// A write that is durable here, and waits for others.
pub(super) struct Replicating {
    pub(super) seq: u64,
    pub(super) deadline: Instant,
    pub(super) applied: Applied,
    pub(super) done: Acknowledge,
}

/// What the writer knows of other nodes beside what the replica does.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    /// Up to which of this origin's writes a member has all on its disk.
    acknowledged: BTreeMap<NodeId, u64>,
    /// By how many members have to have it, in the order of numbers.
    waiting: BTreeMap<u8, VecDeque<Replicating>>,
    waiting_count: usize,
    waiting_max: usize,
    /// When a member's last status came.
    heard: BTreeMap<NodeId, Instant>,
    freshness: Freshness,
    /// What others were told is on this disk.
    told: VersionVector,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, durable: VersionVector, waiting_max: usize) -> Exchange {
        Exchange {
            shared,
            acknowledged: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_count: 0,
            waiting_max,
            heard: BTreeMap::new(),
            freshness: Freshness::default(),
            told: durable,
        }
    }

    fn plane(&self) -> Option<Arc<dyn MessagePlane>> {
        self.shared.plane.read().clone()
    }

    pub(super) fn send(&self, to: &NodeId, message: PeerMessage) {
        if let Some(plane) = self.plane() {
            plane.send(to, message);
        }
    }

    pub(super) fn publish(&self, message: PeerMessage) {
        if let Some(plane) = self.plane() {
            plane.publish(message);
        }
    }

    /// Takes what another node said.
    pub(super) fn take(
        &mut self,
        now: Millis,
        replica: &mut Replica<FactStore>,
        delivered: Delivered,
    ) -> Result<(), StoreError> {
        let Delivered { from, message, .. } = delivered;
        match message {
            PeerMessage::Replica(message) => {
                if let Message::Status(status) = &message {
                    let at = Instant::now();
                    self.heard.insert(from.clone(), at);
                    self.freshness.heard(&from, at, &status.applied);
                    let seq = status.applied.get(replica.origin());
                    self.acknowledge(replica, &from, seq);
                }
                // Refusals are counted by the replica and told as alarms; after a poisoned write nothing matters.
                if let Err(ReceiveError::Replica(ReplicaError::Storage(error))) = replica.receive(now, &from, message) {
                    return Err(error);
                }
            }
            PeerMessage::Durable { origin, through } if origin == *replica.origin() => {
                self.acknowledge(replica, &from, through);
            }
            PeerMessage::Durable { .. } => {}
            PeerMessage::Removed(node) => {
                let is_member = replica.members().contains(&from) && replica.members().contains(&node);
                let is_connected = self.plane().is_some_and(|plane| plane.is_connected(&node));
                if is_member && !is_connected && from != node {
                    tracing::info!(%node, by = %from, "a member was removed");
                    self.forget(replica, &node).or_else(storage_only)?;
                }
            }
        }
        Ok(())
    }

    /// Lets readers know how old what they read may be.
    pub(super) fn tell_freshness(&mut self, replica: &Replica<FactStore>) {
        *self.shared.in_step.lock() = self.freshness.in_step(&replica.members(), replica.applied());
    }

    pub(super) fn admit(&mut self, replica: &mut Replica<FactStore>, node: &NodeId) -> Result<(), NodeError> {
        let is_new = !replica.members().contains(node);
        replica.add_member(node).map_err(failure)?;
        if is_new {
            tracing::info!(%node, "a member was taken in");
            replica.hasten_statuses();
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, replica: &mut Replica<FactStore>, node: &NodeId) -> Result<(), NodeError> {
        if !replica.members().contains(node) {
            return Err(NodeError::NoMember(node.clone()));
        }
        if self.plane().is_some_and(|plane| plane.is_connected(node)) {
            return Err(NodeError::StillConnected(node.clone()));
        }
        self.forget(replica, node).map_err(failure)?;
        self.publish(PeerMessage::Removed(node.clone()));
        Ok(())
    }

    fn forget(&mut self, replica: &mut Replica<FactStore>, node: &NodeId) -> Result<(), ReplicaError<StoreError>> {
        replica.remove_member(node)?;
        self.acknowledged.remove(node);
        self.heard.remove(node);
        self.freshness.forget(node);
        if let Some(plane) = self.plane() {
            plane.forget(node);
        }
        Ok(())
    }

    pub(super) fn repair(&mut self, now: Millis, replica: &mut Replica<FactStore>, restamp: bool) -> Repaired {
        let mut repaired = Repaired { asked: replica.members().len(), ..Repaired::default() };
        let held: Vec<u64> = replica.held().map(|held| held.number).collect();
        for number in held {
            if restamp && replica.restamp(now, number).is_ok() {
                repaired.restamped += 1;
            } else {
                repaired.held += 1;
            }
        }
        replica.hasten_statuses();
        repaired
    }

    /// Tells those who wrote what of theirs has become durable here.
    pub(super) fn tell_durable(&mut self, replica: &Replica<FactStore>) {
        let durable = replica.durable();
        if *durable == self.told {
            return;
        }
        let Some(plane) = self.plane() else { return };
        for (origin, through) in durable.iter() {
            if through > self.told.get(origin) && origin.node != replica.origin().node {
                plane.send(&origin.node, PeerMessage::Durable { origin: origin.clone(), through });
            }
        }
        self.told = durable.clone();
    }

    // === Writes that wait for other nodes ===

    /// Whether a write may wait for so many members.
    pub(super) fn check_wanted(&self, replica: &Replica<FactStore>, wanted: u8) -> Result<(), NodeError> {
        let members = replica.members().len();
        if members < usize::from(wanted) {
            return Err(NodeError::NoPeers { wanted, members });
        }
        if self.waiting_count >= self.waiting_max { Err(NodeError::Overloaded) } else { Ok(()) }
    }

    /// To be called in the order of numbers.
    pub(super) fn await_members(&mut self, wanted: u8, replicating: Replicating) {
        self.waiting.entry(wanted).or_default().push_back(replicating);
        self.waiting_count += 1;
    }

    fn acknowledge(&mut self, replica: &Replica<FactStore>, member: &NodeId, seq: u64) {
        if !replica.members().contains(member) || seq > replica.durable().get(replica.origin()) {
            return;
        }
        let known = self.acknowledged.entry(member.clone()).or_default();
        if seq > *known {
            *known = seq;
        }
    }

    /// Up to which number so many members have all.
    fn reached(&self, wanted: u8) -> u64 {
        let mut numbers: Vec<u64> = self.acknowledged.values().copied().collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        match usize::from(wanted).checked_sub(1) {
            None => u64::MAX,
            Some(at) => numbers.get(at).copied().unwrap_or(0),
        }
    }

    /// Answers those whose writes enough members have. `durable`: of this origin, on this disk.
    pub(super) fn answer_replicated(&mut self, durable: u64) {
        if self.waiting_count == 0 {
            return;
        }
        let reached: Vec<(u8, u64)> = self.waiting.keys().map(|wanted| (*wanted, self.reached(*wanted))).collect();
        for (wanted, reached) in reached {
            let Some(queue) = self.waiting.get_mut(&wanted) else { continue };
            while queue.front().is_some_and(|first| first.seq <= reached.min(durable)) {
                if let Some(first) = queue.pop_front() {
                    self.waiting_count -= 1;
                    (first.done)(Ok(first.applied));
                }
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// Those that waited too long; `None`: all, as the node ends.
    pub(super) fn give_up(&mut self, at: Option<Instant>) {
        let acknowledged: Vec<u64> = self.acknowledged.values().copied().collect();
        for (wanted, queue) in &mut self.waiting {
            while queue.front().is_some_and(|first| at.is_none_or(|at| first.deadline <= at)) {
                let Some(first) = queue.pop_front() else { break };
                self.waiting_count -= 1;
                let have = acknowledged.iter().filter(|seq| **seq >= first.seq).count();
                (first.done)(Err(NodeError::NotReplicated { wanted: *wanted, have }));
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// The disk failed: what waited may be lost here.
    pub(super) fn fail(&mut self, reason: &str) {
        self.waiting_count = 0;
        for replicating in std::mem::take(&mut self.waiting).into_values().flatten() {
            (replicating.done)(Err(NodeError::Failed { reason: reason.to_owned() }));
        }
    }

    // === How it stands ===

    pub(super) fn replication(&self, replica: &Replica<FactStore>) -> Replication {
        let members = replica.members();
        let mut ahead = VersionVector::default();
        members.iter().filter_map(|member| replica.status_of(member)).for_each(|status| ahead.join(&status.applied));
        Replication {
            origin: replica.origin().clone(),
            is_serving: replica.is_serving(),
            joining: replica.fetching().map(|session| match session {
                None => Joining { from: None, keys: 0 },
                Some((from, keys)) => Joining { from: Some(from.clone()), keys },
            }),
            root: replica.root(),
            applied: replica.durable().clone(),
            collected: replica.collected().clone(),
            lag: lag(&ahead, replica.applied()),
            members: members.into_iter().map(|member| self.member(replica, member)).collect(),
            held: replica.held().collect(),
            ended: 0,
            counts: replica.counts().clone(),
            alarms: self.shared.alarms.read(),
        }
    }

    fn member(&self, replica: &Replica<FactStore>, node: NodeId) -> MemberStatus {
        let status = replica.status_of(&node);
        let (epoch, sum) = replica.root();
        let agreement = match status.and_then(|status| Some((&status.applied, status.root?))) {
            Some((applied, root)) if root.epoch == epoch && *applied == *replica.applied() => {
                if root.sum == sum {
                    Agreement::Same
                } else {
                    Agreement::Diverged
                }
            }
            _ => Agreement::Unknown,
        };
        let heard = self.heard.get(&node).map(|at| at.elapsed().as_millis());
        MemberStatus {
            heard_ms: heard.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
            is_serving: status.map(|status| status.serving),
            lag: status.map(|status| lag(replica.durable(), &status.applied)).unwrap_or_default(),
            agreement,
            node,
        }
    }
}

fn failure(error: ReplicaError<StoreError>) -> NodeError {
    match error {
        ReplicaError::Storage(error) => NodeError::Storage(error),
        poisoned @ ReplicaError::Poisoned => NodeError::Failed { reason: poisoned.to_string() },
    }
}

fn storage_only(error: ReplicaError<StoreError>) -> Result<(), StoreError> {
    match error {
        ReplicaError::Storage(error) => Err(error),
        ReplicaError::Poisoned => Ok(()),
    }
}
