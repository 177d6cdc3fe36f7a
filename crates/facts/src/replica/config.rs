use std::fmt;

use crate::{causality::NodeId, clock::Millis, strategy::Strategy};

/// What a replica is told once.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: NodeId,
    /// How far another node's time may be ahead of this node's clock, in milliseconds; what is further is held.
    pub ahead_max_ms: u64,
    /// Milliseconds between statuses.
    pub status_every_ms: u64,
    /// Deletions and what is over are remembered at least so long, in milliseconds. More than clocks may differ.
    pub grace_ms: u64,
    /// Length of a digest's epoch, in milliseconds. More than messages take.
    pub epoch_ms: u64,
    /// How long an answer to a pull is waited for, in milliseconds.
    pub patience_ms: u64,
    pub start: Start,
    pub limits: Limits,
}

impl Config {
    /// What suits a few nodes near each other.
    #[must_use]
    pub fn new(node: NodeId) -> Config {
        Config {
            node,
            ahead_max_ms: 60_000,
            status_every_ms: 1_000,
            grace_ms: 600_000,
            epoch_ms: 10_000,
            patience_ms: 3_000,
            start: Start::Founding,
            limits: Limits::default(),
        }
    }

    /// The epoch a time is in.
    pub(super) fn epoch_of(&self, time: Millis) -> Millis {
        Millis(time.0 - time.0 % self.epoch_ms.max(1))
    }
}

/// How a replica begins that has nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is complete as it is: the first node, or one of several that begin together.
    Founding,
    /// It fetches everything from a member before it serves.
    Joining,
}

/// Bounds on what clients and peers may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Keys in one commit.
    pub batch_keys: usize,
    /// Bytes of one value's JSON text.
    pub value_bytes: usize,
    /// Cells of one key, and elements of one set.
    pub cells: usize,
    /// Origins in one vector.
    pub origins: usize,
    /// Keys in one page; it may have as many as a batch beyond that, so as not to tear one.
    pub page_keys: usize,
    /// Bytes after which a page ends.
    pub page_bytes: usize,
    /// Writes held in quarantine. Beyond that they are left to be pulled again.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_keys: 1_000,
            value_bytes: 1 << 20,
            cells: 16_384,
            origins: 65_536,
            page_keys: 512,
            page_bytes: 1 << 20,
            held: 10_000,
        }
    }
}

/// What holds in a namespace. Has to be the same on all nodes.
pub trait Rules: fmt::Debug + Send + Sync {
    fn strategy(&self, namespace: &str) -> &Strategy;

    /// Whether writes that were made on this node may be in the namespace.
    fn may_write(&self, node: &NodeId, namespace: &str) -> bool;
}
