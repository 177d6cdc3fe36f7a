use std::sync::Arc;

use crate::{
    causality::NodeId,
    peers::{
        outgoing::Outgoing,
        queue::{Lane, Lanes, Queue},
    },
};

/// To one node, or to all.
pub(super) type Addressed = (Option<NodeId>, Arc<Outgoing>);

/// What waits for the broker, bounded as what waits for a peer.
pub(super) type BrokerQueue = Queue<ForBroker>;

#[derive(Debug, Default)]
pub(in crate::peers) struct ForBroker {
    writes: Lane<Addressed>,
    others: Lane<Addressed>,
}

impl Lanes for ForBroker {
    type Item = Addressed;

    fn take(&mut self, bytes: usize) -> Vec<Addressed> {
        Lane::take_in_turns(&mut self.writes, &mut self.others, bytes)
    }
}

impl BrokerQueue {
    pub(super) fn push(&self, to: Option<NodeId>, message: Arc<Outgoing>) {
        self.put(|lanes, bytes_max| {
            let weight = message.weight;
            let lane = if message.is_write() { &mut lanes.writes } else { &mut lanes.others };
            lane.push((to, message), weight, bytes_max)
        });
    }
}
