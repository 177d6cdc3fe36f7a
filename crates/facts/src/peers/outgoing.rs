//! Messages on their way out: encoded once for all who get them, and queued for each, bounded.
//!
//! What asks and answers has room of its own, so that a flood of writes does not keep a slow peer from ever catching up;
//! of statuses only the newest is kept, and of what became durable the greatest number.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{
    causality::Origin,
    message::{Entry, Message},
    node::PeerMessage,
    peers::queue::{Lane, Lanes, Queue},
    replica::size_of,
};

/// Packets of the membership that wait for one peer, at most.
const PROBES_MAX: usize = 256;

/// A message for one peer or many.
#[derive(Debug)]
pub(super) struct Outgoing {
    message: PeerMessage,
    encoded: OnceLock<Option<Bytes>>,
    /// What it takes, about.
    pub(super) weight: usize,
}

impl Outgoing {
    pub(super) fn new(message: PeerMessage) -> Arc<Outgoing> {
        Arc::new(Outgoing { weight: weight(&message), message, encoded: OnceLock::new() })
    }

    /// Made by whoever needs it first. `None`: it cannot be encoded.
    pub(super) fn encoded(&self) -> Option<Bytes> {
        self.encoded.get_or_init(|| encode(&self.message)).clone()
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self.message, PeerMessage::Replica(Message::Write(_)))
    }
}

pub(super) fn encode(message: &PeerMessage) -> Option<Bytes> {
    rmp_serde::to_vec(message).ok().map(Bytes::from)
}

/// `None`: it is none.
pub(super) fn decode(bytes: &[u8]) -> Option<PeerMessage> {
    rmp_serde::from_slice(bytes).ok()
}

fn weight(message: &PeerMessage) -> usize {
    let entries = |entries: &[Entry]| entries.iter().map(|entry| size_of(&entry.key, &entry.state)).sum::<usize>();
    let vector = |len: usize| len * 64;
    256 + match message {
        PeerMessage::Durable { .. } | PeerMessage::Removed(_) => 0,
        PeerMessage::Replica(message) => match message {
            Message::Write(write) => entries(&write.entries),
            Message::Page(page) => entries(&page.entries),
            Message::Part(part) => entries(&part.entries),
            Message::Repair(repair) => entries(&repair.entries) + 64 * repair.absent.len(),
            Message::Listing(listing) => 64 * listing.keys.len(),
            Message::Buckets { sums, .. } => 18 * sums.len(),
            Message::Status(status) => vector(status.applied.len() + status.collected.len()),
            Message::Pull(pull) => vector(pull.seen.len()),
            Message::Behind { collected } => vector(collected.len()),
            Message::Fetch(_) => 0,
        },
    }
}

/// What a peer gets next.
#[derive(Debug)]
pub(super) enum Item {
    Message(Arc<Outgoing>),
    /// A packet of the membership.
    Membership(Bytes),
}

/// What waits for one peer: writes, and as many bytes again of answers.
pub(super) type PeerQueue = Queue<ForPeer>;

#[derive(Debug, Default)]
pub(super) struct ForPeer {
    status: Option<Arc<Outgoing>>,
    durable: BTreeMap<Origin, u64>,
    probes: VecDeque<Bytes>,
    answers: Lane<Arc<Outgoing>>,
    writes: Lane<Arc<Outgoing>>,
}

impl Lanes for ForPeer {
    type Item = Item;

    fn take(&mut self, bytes: usize) -> Vec<Item> {
        let mut taken: Vec<Item> = self.probes.drain(..).map(Item::Membership).collect();
        let durable = std::mem::take(&mut self.durable).into_iter();
        let durable = durable.map(|(origin, through)| Outgoing::new(PeerMessage::Durable { origin, through }));
        let others = Lane::take_in_turns(&mut self.writes, &mut self.answers, bytes);
        taken.extend(durable.chain(self.status.take()).chain(others).map(Item::Message));
        taken
    }
}

impl PeerQueue {
    pub(super) fn push(&self, message: Arc<Outgoing>) {
        self.put(|lanes, bytes_max| {
            let weight = message.weight;
            match &message.message {
                PeerMessage::Replica(Message::Status(_)) => {
                    lanes.status = Some(message);
                    true
                }
                PeerMessage::Durable { origin, through } => {
                    // Of each origin one, and of origins as many as a vector may have.
                    let known = lanes.durable.entry(origin.clone()).or_default();
                    *known = (*known).max(*through);
                    true
                }
                PeerMessage::Replica(Message::Write(_)) => lanes.writes.push(message, weight, bytes_max),
                PeerMessage::Replica(_) | PeerMessage::Removed(_) => lanes.answers.push(message, weight, bytes_max),
            }
        });
    }

    /// One that finds no room is lost as any datagram may be, and is not counted.
    pub(super) fn push_membership(&self, packet: Bytes) {
        self.put(|lanes, _| {
            if lanes.probes.len() < PROBES_MAX {
                lanes.probes.push_back(packet);
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{
        causality::{NodeId, VersionVector},
        clock::{Hlc, Millis},
        message::{Fetch, Root, Status, Write},
    };

    fn origin(name: &str) -> Origin {
        Origin { node: NodeId::new(name).unwrap(), incarnation: u64::MAX }
    }

    fn write(first: u64) -> PeerMessage {
        PeerMessage::Replica(Message::Write(Write { origin: origin("a"), first, entries: Vec::new() }))
    }

    fn status(at: u64) -> PeerMessage {
        let applied = VersionVector::from_iter([(origin("a"), at)]);
        let root = Some(Root { epoch: Millis(at), sum: u128::MAX - 1 });
        let at = Hlc::from_u64(at).unwrap();
        PeerMessage::Replica(Message::Status(Status {
            origin: origin("a"),
            at,
            applied,
            collected: VersionVector::default(),
            serving: true,
            root,
        }))
    }

    fn taken(queue: &PeerQueue) -> Vec<PeerMessage> {
        let items = queue.take_now(usize::MAX);
        let message = |item| match item {
            Item::Message(outgoing) => decode(&outgoing.encoded().unwrap()).unwrap(),
            Item::Membership(packet) => panic!("{packet:?}"),
        };
        items.into_iter().map(message).collect()
    }

    #[test]
    fn messages_read_back_as_they_were() {
        let sums = PeerMessage::Replica(Message::Buckets { epoch: Millis(7), sums: vec![0, 1, u128::MAX] });
        for message in [write(3), status(9), sums, PeerMessage::Removed(NodeId::new("b").unwrap())] {
            assert_eq!(decode(&encode(&message).unwrap()), Some(message));
        }
        assert_eq!(decode(b"\xc1 garbage"), None);
    }

    #[test]
    fn of_statuses_the_newest_is_kept_and_of_durable_numbers_the_greatest() {
        let queue = PeerQueue::new(1 << 20);
        queue.push(Outgoing::new(status(1)));
        queue.open();
        assert_eq!(taken(&queue), [], "what came before somebody took is lost");
        let durable = |through| PeerMessage::Durable { origin: origin("a"), through };
        for message in [status(2), durable(5), durable(4), status(3)] {
            queue.push(Outgoing::new(message));
        }
        assert_eq!(taken(&queue), [durable(5), status(3)]);
    }

    #[test]
    fn a_flood_of_writes_is_dropped_and_leaves_room_for_answers() {
        let queue = PeerQueue::new(10 * 256);
        queue.open();
        (1..=100).for_each(|first| queue.push(Outgoing::new(write(first))));
        assert_eq!(queue.dropped(), 90);
        let fetch = PeerMessage::Replica(Message::Fetch(Fetch { session: 1, after: None }));
        queue.push(Outgoing::new(fetch.clone()));
        let taken = taken(&queue);
        assert_eq!((taken.len(), &taken[0], &taken[1]), (11, &write(1), &fetch));
        queue.close();
        queue.push(Outgoing::new(write(1)));
        assert_eq!(queue.dropped(), 90, "nobody was there to get it");
    }
}
