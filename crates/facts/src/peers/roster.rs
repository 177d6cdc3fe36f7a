//! The nodes this one knows of, and what it knows of the ways to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
};

use super::{outgoing::PeerQueue, status::PeerCounters};
use crate::causality::NodeId;

/// Addresses remembered of a node; the last that worked comes first.
const ADDRESSES_MAX: usize = 4;
/// After so long a node that was heard over the broker may be gone.
pub(super) const BROKER_SILENCE_MAX: Duration = Duration::from_secs(3);
const ADDRESS_BYTES_MAX: usize = 255 + 6;

/// Another node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    /// What waits for the link to it.
    pub(super) queue: PeerQueue,
    /// Wakes who is about to call it.
    pub(super) wake: Notify,
    pub(super) counters: PeerCounters,
    addresses: Mutex<Vec<Arc<str>>>,
    is_alive: AtomicBool,
    /// The connection by which its messages come; each new one ends the one before.
    incoming: Mutex<Option<(u64, AbortHandle)>>,
    /// When it was last heard over the broker, and what time it said that it was.
    broker_heard: Mutex<(Option<Instant>, u64)>,
    is_admitted: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Peer {
    fn new(node: NodeId, queue_bytes: usize) -> Peer {
        Peer {
            node,
            queue: PeerQueue::new(queue_bytes),
            wake: Notify::new(),
            counters: PeerCounters::default(),
            addresses: Mutex::default(),
            is_alive: AtomicBool::new(false),
            incoming: Mutex::default(),
            broker_heard: Mutex::default(),
            is_admitted: AtomicBool::new(false),
            last_error: Mutex::default(),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Relaxed)
    }

    pub(super) fn set_alive(&self, is_alive: bool) {
        if self.is_alive.swap(is_alive, Ordering::Relaxed) != is_alive {
            tracing::info!(node = %self.node, is_alive, "the membership says so");
        }
        if is_alive {
            self.wake.notify_one();
        }
    }

    pub(super) fn addresses(&self) -> Vec<Arc<str>> {
        self.addresses.lock().clone()
    }

    /// Where to look for it first.
    fn add_address(&self, address: &Arc<str>) {
        if address.len() > ADDRESS_BYTES_MAX || address.is_empty() {
            return;
        }
        let mut addresses = self.addresses.lock();
        if addresses.first() == Some(address) {
            return;
        }
        addresses.retain(|known| known != address);
        addresses.insert(0, Arc::clone(address));
        addresses.truncate(ADDRESSES_MAX);
    }

    pub(super) fn set_incoming(&self, number: u64, connection: AbortHandle) {
        if let Some((_, before)) = self.incoming.lock().replace((number, connection)) {
            before.abort();
        }
    }

    pub(super) fn end_incoming(&self, number: u64) {
        self.incoming.lock().take_if(|(current, _)| *current == number);
    }

    pub(super) fn has_incoming(&self) -> bool {
        self.incoming.lock().is_some()
    }

    /// `false`: it was said before.
    pub(super) fn hear_over_broker(&self, at: u64) -> bool {
        let (heard, before) = &mut *self.broker_heard.lock();
        let is_new = at > *before;
        if is_new {
            (*heard, *before) = (Some(Instant::now()), at);
        }
        is_new
    }

    /// There is no connection to the broker.
    pub(super) fn lose_broker(&self) {
        self.broker_heard.lock().0 = None;
    }

    pub(super) fn is_heard_over_broker(&self, within: Duration) -> bool {
        self.broker_heard.lock().0.is_some_and(|at| at.elapsed() < within)
    }

    /// Whether it was taken in as a member since it was found.
    pub(super) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    pub(super) fn set_admitted(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_error(&self, error: Option<String>) {
        *self.last_error.lock() = error;
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Roster {
    own: NodeId,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    peers_max: usize,
    queue_bytes: usize,
    /// Gets each new peer, to keep a link to it.
    found: mpsc::Sender<Arc<Peer>>,
    pub(super) refused: AtomicU64,
}

impl Roster {
    /// With who is told of each peer that is new.
    pub(super) fn new(own: NodeId, peers_max: usize, queue_bytes: usize) -> (Roster, mpsc::Receiver<Arc<Peer>>) {
        let (found, new) = mpsc::channel(peers_max.max(1));
        let refused = AtomicU64::new(0);
        (Roster { own, peers: RwLock::default(), peers_max, queue_bytes, found, refused }, new)
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<Arc<Peer>> {
        self.peers.read().get(node).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.peers.read().values().cloned().collect()
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Arc<Peer>)) {
        self.peers.read().values().for_each(&mut visit);
    }

    /// The peer of this name, and where it may be called. `None`: it is this node, or there are too many.
    pub(super) fn learn(&self, node: &NodeId, address: Option<&Arc<str>>) -> Option<Arc<Peer>> {
        if *node == self.own {
            return None;
        }
        let known = self.get(node);
        let peer = match known {
            Some(peer) => peer,
            None => self.add(node)?,
        };
        if let Some(address) = address {
            peer.add_address(address);
        }
        Some(peer)
    }

    fn add(&self, node: &NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write();
        if let Some(known) = peers.get(node) {
            return Some(Arc::clone(known));
        }
        if peers.len() >= self.peers_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let peer = Arc::new(Peer::new(node.clone(), self.queue_bytes));
        // There is room for all, unless nobody takes them: then nobody calls them either.
        let _ = self.found.try_send(Arc::clone(&peer));
        peers.insert(node.clone(), Arc::clone(&peer));
        Some(peer)
    }

    pub(super) fn forget(&self, node: &NodeId) {
        self.peers.write().remove(node);
    }
}
