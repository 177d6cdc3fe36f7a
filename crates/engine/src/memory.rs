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
    execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation},
};

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
/// INVARIANT: what it holds of the global budget is what it holds itself; its drop gives back the rest, so a statement
/// that ends in any way leaks nothing.
#[derive(Debug)]
pub(crate) struct StatementPool {
    limit: usize,
    used: AtomicUsize,
    global: Arc<GlobalBudget>,
}

impl StatementPool {
    pub(crate) fn new(limit: usize, global: Arc<GlobalBudget>) -> StatementPool {
        StatementPool { limit, used: AtomicUsize::new(0), global }
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

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.global.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        give(&self.used, shrink);
        give(&self.global.used, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let refuse = |whose: &str, limit: usize| {
            let consumer = reservation.consumer().name();
            DataFusionError::ResourcesExhausted(format!("{consumer} needs {additional} bytes; {whose} limit {limit}"))
        };
        if !take(&self.used, self.limit, additional) {
            return Err(refuse("statement", self.limit));
        }
        if !take(&self.global.used, self.global.limit, additional) {
            give(&self.used, additional);
            return Err(refuse("global", self.global.limit));
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl Drop for StatementPool {
    fn drop(&mut self) {
        give(&self.global.used, self.used.load(Ordering::Relaxed));
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
    use datafusion::execution::memory_pool::MemoryConsumer;

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
}
