use std::collections::BTreeMap;

use crate::{causality::NodeId, replica::Rules, strategy::Strategy};

/// The strategies of namespaces. Has to be the same on all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// By the first part of keys.
    pub strategies: BTreeMap<String, Strategy>,
    /// Of namespaces that are not named.
    pub otherwise: Strategy,
}

impl Rules for Namespaces {
    fn strategy(&self, namespace: &str) -> &Strategy {
        self.strategies.get(namespace).unwrap_or(&self.otherwise)
    }

    fn may_write(&self, _: &NodeId, _: &str) -> bool {
        true
    }
}
