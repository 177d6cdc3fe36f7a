//! What waits to be sent, bounded. A queue never makes anybody wait: what finds no room is dropped and counted, and the
//! replicas ask for it later.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Messages of one kind that wait, at most.
const MESSAGES_MAX: usize = 16_384;

/// What of a queue waits, and in which order it goes.
pub(super) trait Lanes: Default {
    type Item;

    /// About as much as has these bytes; nothing when nothing waits.
    fn take(&mut self, bytes: usize) -> Vec<Self::Item>;
}

/// Lanes while somebody takes from them.
#[derive(Debug)]
pub(super) struct Queue<L> {
    /// `None`: nobody does, and what comes is lost.
    lanes: Mutex<Option<L>>,
    wake: Notify,
    bytes_max: usize,
    dropped: AtomicU64,
}

impl<L: Lanes> Queue<L> {
    /// `bytes_max`: of each lane.
    pub(super) fn new(bytes_max: usize) -> Queue<L> {
        Queue { lanes: Mutex::new(None), wake: Notify::new(), bytes_max, dropped: AtomicU64::new(0) }
    }

    /// Somebody takes from now on.
    pub(super) fn open(&self) {
        self.lanes.lock().get_or_insert_default();
    }

    /// Nobody does: what waits and what comes is lost.
    pub(super) fn close(&self) {
        *self.lanes.lock() = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.lanes.lock().is_some()
    }

    /// What found no room since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// `put` says whether there was room, given the most bytes of a lane.
    pub(super) fn put(&self, put: impl FnOnce(&mut L, usize) -> bool) {
        let mut lanes = self.lanes.lock();
        let Some(open) = lanes.as_mut() else { return };
        let has_room = put(open, self.bytes_max);
        drop(lanes);
        if has_room { self.wake.notify_one() } else { self.count_dropped() }
    }

    /// Waits until there is something, and takes about as much as has these bytes.
    pub(super) async fn take(&self, bytes: usize) -> Vec<L::Item> {
        loop {
            let taken = self.take_now(bytes);
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    pub(super) fn take_now(&self, bytes: usize) -> Vec<L::Item> {
        self.lanes.lock().as_mut().map(|lanes| lanes.take(bytes)).unwrap_or_default()
    }
}

/// Messages of one kind, in order.
#[derive(Debug)]
pub(super) struct Lane<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Lane<T> {
        Lane { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Lane<T> {
    /// One message finds room in an empty lane, however large it is.
    pub(super) fn push(&mut self, message: T, weight: usize, bytes_max: usize) -> bool {
        let is_full = !self.messages.is_empty() && self.bytes + weight > bytes_max;
        if is_full || self.messages.len() >= MESSAGES_MAX {
            return false;
        }
        self.bytes += weight;
        self.messages.push_back((message, weight));
        true
    }

    fn pop(&mut self) -> Option<(T, usize)> {
        let (message, weight) = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(weight);
        Some((message, weight))
    }

    /// In turns, so that neither waits for the end of the other.
    pub(super) fn take_in_turns(first: &mut Lane<T>, second: &mut Lane<T>, bytes: usize) -> Vec<T> {
        let (mut taken, mut weight) = (Vec::new(), 0);
        while weight < bytes {
            let next = [first.pop(), second.pop()];
            if next.iter().all(Option::is_none) {
                break;
            }
            for (message, its_weight) in next.into_iter().flatten() {
                weight += its_weight;
                taken.push(message);
            }
        }
        taken
    }
}
