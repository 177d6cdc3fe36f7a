use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    causality::{NodeId, Origin},
    message::Message,
};

/// What one node tells another. Like a replica's messages it may be lost, repeated and reordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    Replica(Message),
    /// The sender has the origin's writes up to this number on its disk. Sent as soon as that is so, to the node that
    /// wrote, which may have somebody waiting for it.
    Durable {
        origin: Origin,
        through: u64,
    },
    /// An operator removed this member.
    Removed(NodeId),
}

/// Who carries messages between nodes. It is called by a node's writer, so it must not wait for anything: what it has no
/// room for is to be dropped, as the replicas ask for what they miss.
pub trait MessagePlane: fmt::Debug + Send + Sync {
    fn send(&self, to: &NodeId, message: PeerMessage);

    /// To every member, by whatever way is fastest.
    fn publish(&self, message: PeerMessage);

    /// Whether messages of this node come now.
    fn is_connected(&self, node: &NodeId) -> bool;

    /// The node is no member any longer.
    fn forget(&self, node: &NodeId);
}
