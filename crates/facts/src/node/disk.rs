//! The thread that makes commits durable: one sync after the other, as long as there is something to sync.
//!
//! A sync has its cost however much it makes durable. So that there are two halves of the clients, one that waits for the
//! disk and one that writes meanwhile, the next sync begins when about half of all that were under way wait; but never much
//! later than it could.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::{replica::PersistMark, store::Syncer};

/// Between the beginnings of two syncs, when there is one to begin: a few times what a good disk takes.
pub(super) const APART_MAX: Duration = Duration::from_micros(500);

/// The persist that comes next. Until it is begun it can be made to cover more, so that the disk need not wait for the
/// writer to hear that the last one has ended.
pub(super) struct NextPersist {
    apart_max: Duration,
    next: Mutex<Next>,
    wake: Condvar,
}

struct Next {
    mark: Option<PersistMark>,
    /// Requests that wait for it.
    waiting: usize,
    /// That are to wait before it begins, unless it is time.
    wanted: usize,
    /// When it is time.
    by: Instant,
    phase: Phase,
    is_last: bool,
}

/// What the disk's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Syncs,
    /// Until it is time, or told.
    Holds,
    /// Until it is told.
    Rests,
}

impl Next {
    fn is_due(&self) -> bool {
        self.is_last || self.mark.is_some() && self.waiting >= self.wanted
    }

    /// The first is worth one.
    fn lacks(&self) -> usize {
        if self.mark.is_some() { self.wanted.saturating_sub(self.waiting) } else { 1 }
    }
}

impl NextPersist {
    /// `apart_max`: between the beginnings of two, when there is one to begin.
    pub(super) fn new(apart_max: Duration) -> NextPersist {
        let next = Next { mark: None, waiting: 0, wanted: 0, by: Instant::now(), phase: Phase::Rests, is_last: false };
        NextPersist { apart_max, next: Mutex::new(next), wake: Condvar::new() }
    }

    /// `waiting`: how many requests wait for it, with all before.
    pub(super) fn put(&self, mark: PersistMark, waiting: usize) {
        let mut next = self.next.lock();
        (next.mark, next.waiting) = (Some(mark), waiting);
        let is_told = next.phase == Phase::Rests || next.phase == Phase::Holds && next.is_due();
        drop(next);
        if is_told {
            self.wake.notify_one();
        }
    }

    /// Unless it was begun.
    pub(super) fn take_back(&self) -> Option<PersistMark> {
        self.next.lock().mark.take()
    }

    /// How many requests more are worth a commit. `None`: any, as the disk is busy.
    pub(super) fn lacks(&self) -> Option<usize> {
        let next = self.next.lock();
        (next.phase != Phase::Syncs).then(|| next.lacks())
    }

    pub(super) fn end(&self) {
        self.next.lock().is_last = true;
        self.wake.notify_one();
    }

    /// Waits for the next one. `None`: there is none any more.
    fn begin(&self) -> Option<PersistMark> {
        let mut next = self.next.lock();
        while !next.is_due() {
            let by = next.by;
            if Instant::now() >= by {
                if next.mark.is_some() {
                    break;
                }
                next.phase = Phase::Rests;
                self.wake.wait(&mut next);
            } else {
                next.phase = Phase::Holds;
                self.wake.wait_until(&mut next, by);
            }
        }
        (next.phase, next.by) = (Phase::Syncs, Instant::now() + self.apart_max);
        next.mark.take()
    }

    /// `under_way`: requests that waited for the one that ended, wait for the next, or are on their way to it; `waiting`: of
    /// these, those that wait for the next. How many more are worth a commit: any, when the disk goes on at once.
    fn ended(&self, under_way: usize, waiting: usize) -> usize {
        let mut next = self.next.lock();
        (next.phase, next.wanted, next.waiting) = (Phase::Holds, wanted(under_way), waiting);
        if next.is_due() { usize::MAX } else { next.lacks() }
    }
}

/// A little more than half, as some are on their way back from the clients.
fn wanted(under_way: usize) -> usize {
    under_way.div_ceil(2).max(under_way * 5 / 8)
}

/// Until the writer is gone.
pub(super) fn make_durable(next: &NextPersist, syncer: &Syncer, shared: &Shared) {
    while let Some(mark) = next.begin() {
        let outcome = syncer.sync().map(|_| ());
        let told = if outcome.is_ok() { shared.waiting.tell_durable(mark.commit()) } else { 0 };
        let (waiting, queued) = (shared.waiting.len(), shared.mailbox.len());
        let enough = next.ended(told + waiting + queued, waiting);
        shared.mailbox.end_persist((mark, outcome), enough);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// What the disk's thread begins, each when it is told to go on.
    fn disk(next: &Arc<NextPersist>) -> (mpsc::Receiver<bool>, mpsc::Sender<(usize, usize)>) {
        let ((begins, begun), (ends, ended)) = (mpsc::channel(), mpsc::channel());
        let next = Arc::clone(next);
        thread::spawn(move || {
            loop {
                let mark = next.begin();
                begins.send(mark.is_some()).unwrap();
                let (Some(_), Ok((under_way, waiting))) = (mark, ended.recv()) else { return };
                next.ended(under_way, waiting);
            }
        });
        (begun, ends)
    }

    fn next() -> Arc<NextPersist> {
        Arc::new(NextPersist::new(Duration::from_secs(1_000)))
    }

    #[test]
    fn the_next_begins_when_half_of_all_wait() {
        let next = next();
        let (begun, ends) = disk(&next);
        next.put(PersistMark::default(), 1);
        assert_eq!(begun.recv_timeout(SOON), Ok(true), "nobody is waited for at first");
        assert_eq!(next.lacks(), None, "the disk is busy");
        next.put(PersistMark::default(), 5);
        ends.send((9, 2)).unwrap();
        while next.lacks() != Some(3) {
            thread::yield_now();
        }
        next.put(next.take_back().unwrap(), 4);
        assert_eq!((begun.try_recv(), next.lacks()), (Err(mpsc::TryRecvError::Empty), Some(1)));
        next.put(PersistMark::default(), 5);
        assert_eq!(begun.recv_timeout(SOON), Ok(true));
        assert!(next.take_back().is_none(), "it was begun");
        ends.send((0, 0)).unwrap();
        next.end();
        assert_eq!(begun.recv_timeout(SOON), Ok(false));
    }

    #[test]
    fn the_first_is_worth_a_commit_and_few_are_not_waited_for_long() {
        let next = Arc::new(NextPersist::new(Duration::from_millis(1)));
        let (begun, ends) = disk(&next);
        for _ in 0..3 {
            next.put(PersistMark::default(), 1);
            assert_eq!(begun.recv_timeout(SOON), Ok(true));
            ends.send((100, 0)).unwrap();
            while next.lacks().is_none() {
                thread::yield_now();
            }
            assert_eq!(next.lacks(), Some(1));
        }
        next.end();
        assert_eq!(begun.recv_timeout(SOON), Ok(false));
    }

    #[test]
    fn what_was_asked_for_is_made_durable_at_the_end() {
        let next = next();
        let (begun, ends) = disk(&next);
        next.put(PersistMark::default(), 1);
        assert_eq!(begun.recv_timeout(SOON), Ok(true));
        next.put(PersistMark::default(), 1);
        ends.send((8, 1)).unwrap();
        next.end();
        assert_eq!(begun.recv_timeout(SOON), Ok(true));
        ends.send((0, 0)).unwrap();
        assert_eq!(begun.recv_timeout(SOON), Ok(false));
    }
}
