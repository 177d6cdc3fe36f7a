use std::sync::Arc;

use super::{
    broker::Broker,
    outgoing::Outgoing,
    roster::{BROKER_SILENCE_MAX, Roster},
};
use crate::{
    causality::NodeId,
    node::{MessagePlane, PeerMessage},
};

/// By which way a message goes.
#[derive(Debug)]
pub(super) struct Plane {
    roster: Arc<Roster>,
    broker: Option<Arc<Broker>>,
}

impl Plane {
    pub(super) fn new(roster: Arc<Roster>, broker: Option<Arc<Broker>>) -> Plane {
        Plane { roster, broker }
    }
}

impl MessagePlane for Plane {
    fn send(&self, to: &NodeId, message: PeerMessage) {
        let linked = self.roster.get(to).filter(|peer| peer.queue.is_open());
        match (linked, &self.broker) {
            (Some(peer), _) => peer.queue.push(Outgoing::new(message)),
            (None, Some(broker)) => broker.send(to, Outgoing::new(message)),
            (None, None) => {}
        }
    }

    /// Over the broker to those who were just heard there, over links to the others.
    fn publish(&self, message: PeerMessage) {
        let message = Outgoing::new(message);
        let broker = self.broker.as_ref().filter(|broker| broker.is_connected());
        if let Some(broker) = broker {
            broker.publish(Arc::clone(&message));
        }
        self.roster.each(|peer| {
            if broker.is_none() || !peer.is_heard_over_broker(BROKER_SILENCE_MAX) {
                peer.queue.push(Arc::clone(&message));
            }
        });
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        let is_here = |peer: &Arc<super::Peer>| {
            peer.queue.is_open() || peer.has_incoming() || peer.is_heard_over_broker(BROKER_SILENCE_MAX)
        };
        self.roster.get(node).is_some_and(|peer| is_here(&peer))
    }

    fn forget(&self, node: &NodeId) {
        self.roster.forget(node);
    }
}
