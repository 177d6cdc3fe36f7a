use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use super::roster::{BROKER_SILENCE_MAX, Peer, Roster};
use crate::{
    causality::NodeId,
    node::{MemberStatus, Replication},
};

/// How a node's replication goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeersStatus {
    pub replication: Replication,
    /// By name: members, and nodes that are known and are none.
    pub peers: Vec<PeerStatus>,
    /// Without a broker, `None`.
    pub broker: Option<BrokerStatus>,
    /// Connections that did not prove who they are, or may not be here.
    pub strangers: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    pub node: NodeId,
    /// `None`: it is no member.
    pub member: Option<MemberStatus>,
    /// Whether the membership thinks that it lives.
    pub is_alive: bool,
    /// Whether there is a link to it.
    pub is_connected: bool,
    /// Whether there is a link from it.
    pub is_linked_from: bool,
    /// Whether it was heard over the broker lately.
    pub is_heard_over_broker: bool,
    /// Where it may be called.
    pub addresses: Vec<String>,
    /// Why the last link to it ended, or could not be made.
    pub last_error: Option<String>,
    pub sent: u64,
    pub received: u64,
    /// Messages to it that found no room, or were too large.
    pub dropped: u64,
    /// Links to it that were made.
    pub links: u64,
    /// Connections from it that were closed for what came by them.
    pub broken: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerStatus {
    pub is_connected: bool,
    /// Connections that were made.
    pub connections: u64,
    pub sent: u64,
    pub received: u64,
    /// Messages that found no room, or were too large.
    pub dropped: u64,
    /// Messages that were not sealed with the plane's key for where they came, or are none.
    pub refused: u64,
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct PeerCounters {
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) links: Counter,
    pub(super) broken: Counter,
}

/// Members, and who else is known.
pub(super) fn peers(replication: &Replication, roster: &Roster) -> Vec<PeerStatus> {
    let members = replication.members.iter().map(|member| member.node.clone());
    let known: BTreeSet<NodeId> = members.chain(roster.all().iter().map(|peer| peer.node.clone())).collect();
    let of = |node: NodeId| {
        let member = replication.members.iter().find(|member| member.node == node).cloned();
        match roster.get(&node) {
            Some(peer) => PeerStatus { member, ..peer.status() },
            None => PeerStatus { member, ..PeerStatus::unknown(node) },
        }
    };
    known.into_iter().map(of).collect()
}

impl PeerStatus {
    fn unknown(node: NodeId) -> PeerStatus {
        PeerStatus {
            node,
            member: None,
            is_alive: false,
            is_connected: false,
            is_linked_from: false,
            is_heard_over_broker: false,
            addresses: Vec::new(),
            last_error: None,
            sent: 0,
            received: 0,
            dropped: 0,
            links: 0,
            broken: 0,
        }
    }
}

impl Peer {
    fn status(&self) -> PeerStatus {
        PeerStatus {
            node: self.node.clone(),
            member: None,
            is_alive: self.is_alive(),
            is_connected: self.queue.is_open(),
            is_linked_from: self.has_incoming(),
            is_heard_over_broker: self.is_heard_over_broker(BROKER_SILENCE_MAX),
            addresses: self.addresses().iter().map(ToString::to_string).collect(),
            last_error: self.last_error(),
            sent: self.counters.sent.get(),
            received: self.counters.received.get(),
            dropped: self.queue.dropped(),
            links: self.counters.links.get(),
            broken: self.counters.broken.get(),
        }
    }
}
