//! Memory accounting: every statement's pool charges its own budget and the process's.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    common::DataFusionError,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};
use parking_lot::Mutex;

/// What all statements together may hold, in bytes.
#[derive(Debug)]
pub(crate) struct GlobalBudget {
    limit: usize,
    used: AtomicUsize,
}

impl GlobalBudget {
    pub(crate) fn new(limit: usize) -> Arc<GlobalBudget> {
        Arc::new(GlobalBudget { limit, used: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One statement's pool.
///
/// When three quarters are taken, consumers that can spill share those evenly, less what the others hold, so that the
/// first sort does not take what the second needs; told no, they spill. The last quarter is for those that cannot.
///
/// INVARIANT: what it holds of the global budget is what it holds itself; its drop gives back the rest, so a statement
/// that ends in any way leaks nothing.
#[derive(Debug)]
pub(crate) struct StatementPool {
    limit: usize,
    held: Mutex<Held>,
    global: Arc<GlobalBudget>,
    /// Counts requests: a plan that makes none for long, and gives no row, has come to a stop.
    requests: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    spilling_consumers: usize,
    by_spilling: usize,
    by_others: usize,
}

impl Held {
    fn total(&self) -> usize {
        self.by_spilling + self.by_others
    }

    fn of(&mut self, can_spill: bool) -> &mut usize {
        if can_spill { &mut self.by_spilling } else { &mut self.by_others }
    }
}

impl StatementPool {
    pub(crate) fn new(limit: usize, global: Arc<GlobalBudget>) -> StatementPool {
        StatementPool { limit, held: Mutex::default(), global, requests: AtomicUsize::new(0) }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Adds `more` unless that would pass `limit`.
fn take(used: &AtomicUsize, limit: usize, more: usize) -> bool {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(more).filter(|sum| *sum <= limit))
        .is_ok()
}

fn give(used: &AtomicUsize, less: usize) {
    // Saturating: a wrapped counter would lock every later statement out.
    let _ = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(less)));
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held.lock().spilling_consumers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut held = self.held.lock();
            held.spilling_consumers = held.spilling_consumers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.held.lock().of(reservation.consumer().can_spill()) += additional;
        self.global.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock();
        let part = held.of(reservation.consumer().can_spill());
        *part = part.saturating_sub(shrink);
        give(&self.global.used, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let consumer = reservation.consumer();
        let refuse = |whose: &str, limit: usize| {
            let name = consumer.name();
            DataFusionError::ResourcesExhausted(format!("{name} needs {additional} bytes; {whose} limit {limit}"))
        };
        let mut held = self.held.lock();
        let total = held.total().saturating_add(additional);
        if total > self.limit {
            return Err(refuse("statement", self.limit));
        }
        // A share is asked for only when memory runs low: most plans that could spill need not.
        let shared = self.limit - self.limit / 4;
        if consumer.can_spill() && total > shared {
            let share = shared.saturating_sub(held.by_others) / held.spilling_consumers.max(1);
            if reservation.size().saturating_add(additional) > share {
                return Err(refuse("share", share));
            }
        }
        if !take(&self.global.used, self.global.limit, additional) {
            return Err(refuse("global", self.global.limit));
        }
        *held.of(consumer.can_spill()) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held.lock().total()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl Drop for StatementPool {
    fn drop(&mut self) {
        give(&self.global.used, self.held.lock().total());
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement({} of {} bytes)", self.reserved(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_statement_charges_itself_and_the_process() {
        let global = GlobalBudget::new(100);
        let first: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(80, Arc::clone(&global)));
        let second: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(80, Arc::clone(&global)));
        let a = MemoryConsumer::new("a").register(&first);
        let b = MemoryConsumer::new("b").register(&second);
        a.try_grow(81).unwrap_err();
        a.try_grow(70).unwrap();
        b.try_grow(40).unwrap_err();
        b.try_grow(30).unwrap();
        assert_eq!(global.used(), 100);
        drop(a);
        drop(b);
        assert_eq!((global.used(), first.reserved(), second.reserved()), (0, 0, 0));
    }

    #[test]
    fn what_spills_shares_what_is_left() {
        let pool: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(100, GlobalBudget::new(1000)));
        let fixed = MemoryConsumer::new("fixed").register(&pool);
        let first = MemoryConsumer::new("first").with_can_spill(true).register(&pool);
        let second = MemoryConsumer::new("second").with_can_spill(true).register(&pool);
        fixed.try_grow(20).unwrap();
        first.try_grow(60).unwrap_err();
        first.try_grow(40).unwrap();
        second.try_grow(15).unwrap();
        second.try_grow(20).unwrap_err();
        second.try_grow(10).unwrap();
        fixed.try_grow(15).unwrap();
        fixed.try_grow(1).unwrap_err();
        drop(second);
        first.try_grow(1).unwrap_err();
    }
}
