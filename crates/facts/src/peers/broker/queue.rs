use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    causality::NodeId,
    peers::outgoing::{Lane, Outgoing},
};

/// To one node, or to all.
pub(super) type Addressed = (Option<NodeId>, Arc<Outgoing>);

/// What waits for the broker, bounded as what waits for a peer.
#[derive(Debug)]
pub(super) struct BrokerQueue {
    inside: Mutex<Inside>,
    wake: Notify,
    bytes_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    is_open: bool,
    writes: Lane<Addressed>,
    others: Lane<Addressed>,
}

impl BrokerQueue {
    pub(super) fn new(bytes_max: usize) -> BrokerQueue {
        BrokerQueue { inside: Mutex::default(), wake: Notify::new(), bytes_max, dropped: AtomicU64::new(0) }
    }

    pub(super) fn open(&self) {
        self.inside.lock().is_open = true;
    }

    pub(super) fn close(&self) {
        *self.inside.lock() = Inside::default();
    }

    pub(super) fn is_open(&self) -> bool {
        self.inside.lock().is_open
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn push(&self, to: Option<NodeId>, message: Arc<Outgoing>) {
        let mut inside = self.inside.lock();
        if !inside.is_open {
            return;
        }
        let weight = message.weight;
        let lane = if message.is_write() { &mut inside.writes } else { &mut inside.others };
        let has_room = lane.push((to, message), weight, self.bytes_max);
        drop(inside);
        if has_room { self.wake.notify_one() } else { self.count_dropped() }
    }

    /// Waits until there is something, and takes about as much as has these bytes.
    pub(super) async fn take(&self, bytes: usize) -> Vec<Addressed> {
        loop {
            let taken = self.inside.lock().take(bytes);
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}

impl Inside {
    fn take(&mut self, bytes: usize) -> Vec<Addressed> {
        let (mut taken, mut weight) = (Vec::new(), 0);
        while weight < bytes {
            let next = [self.writes.pop(), self.others.pop()];
            if next.iter().all(Option::is_none) {
                break;
            }
            for (to, message) in next.into_iter().flatten() {
                weight += message.weight;
                taken.push((to, message));
            }
        }
        taken
    }
}
