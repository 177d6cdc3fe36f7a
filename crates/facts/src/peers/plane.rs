use std::sync::Arc;

use super::{outgoing::Outgoing, roster::Roster};
use crate::{
    causality::NodeId,
    node::{MessagePlane, PeerMessage},
};

/// By which way a message goes.
#[derive(Debug)]
pub(super) struct Plane {
    roster: Arc<Roster>,
}

impl Plane {
    pub(super) fn new(roster: Arc<Roster>) -> Plane {
        Plane { roster }
    }
}

impl MessagePlane for Plane {
    fn send(&self, to: &NodeId, message: PeerMessage) {
        if let Some(peer) = self.roster.get(to) {
            peer.queue.push(Outgoing::new(message));
        }
    }

    fn publish(&self, message: PeerMessage) {
        let message = Outgoing::new(message);
        self.roster.each(|peer| peer.queue.push(Arc::clone(&message)));
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.roster.get(node).is_some_and(|peer| peer.queue.is_open() || peer.has_incoming())
    }

    fn forget(&self, node: &NodeId) {
        self.roster.forget(node);
    }
}
