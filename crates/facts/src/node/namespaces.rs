use std::collections::{BTreeMap, BTreeSet};

use crate::{causality::NodeId, replica::Rules, strategy::Strategy};

/// What holds of namespaces. Has to be the same on all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// By the first part of keys.
    pub strategies: BTreeMap<String, Strategy>,
    /// Of namespaces that are not named.
    pub otherwise: Strategy,
    /// Nodes whose clients alone may write a namespace; of one that is not named, all may. A write of another node is
    /// refused there, and by every node that it is sent to.
    pub nodes: BTreeMap<String, BTreeSet<NodeId>>,
}

impl Rules for Namespaces {
    fn strategy(&self, namespace: &str) -> &Strategy {
        self.strategies.get(namespace).unwrap_or(&self.otherwise)
    }

    fn may_write(&self, node: &NodeId, namespace: &str) -> bool {
        self.nodes.get(namespace).is_none_or(|nodes| nodes.contains(node))
    }
}
