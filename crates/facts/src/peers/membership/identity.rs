use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::causality::NodeId;

/// A node in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::peers) struct Identity {
    node: NodeId,
    /// Where it says that it listens, as host and port.
    address: Arc<str>,
    /// Greater than in the lives before: the milliseconds when it started, and one more whenever it was thought dead.
    life: u64,
}

impl Identity {
    pub(in crate::peers) fn new(node: NodeId, address: Arc<str>, life: u64) -> Identity {
        Identity { node, address, life }
    }

    pub(in crate::peers) fn node(&self) -> &NodeId {
        &self.node
    }

    pub(in crate::peers) fn address(&self) -> &Arc<str> {
        &self.address
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Identity> {
        Some(Identity { life: self.life.saturating_add(1), ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node.clone()
    }

    fn win_addr_conflict(&self, other: &Identity) -> bool {
        (self.life, &self.address) > (other.life, &other.address)
    }
}
