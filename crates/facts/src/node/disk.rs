//! The thread that makes commits durable: one sync after the other, as long as there is something to sync.

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::{replica::PersistMark, store::Syncer};

/// The persist that comes next. Until it is begun it can be made to cover more, so that the disk need not wait for the
/// writer to hear that the last one has ended.
#[derive(Default)]
pub(super) struct NextPersist {
    next: Mutex<Next>,
    wake: Condvar,
}

#[derive(Default)]
struct Next {
    mark: Option<PersistMark>,
    is_last: bool,
}

impl NextPersist {
    pub(super) fn put(&self, mark: PersistMark) {
        self.next.lock().mark = Some(mark);
        self.wake.notify_one();
    }

    /// Unless it was begun.
    pub(super) fn take_back(&self) -> Option<PersistMark> {
        self.next.lock().mark.take()
    }

    pub(super) fn end(&self) {
        self.next.lock().is_last = true;
        self.wake.notify_one();
    }

    /// Waits for the next one. `None`: there is none any more.
    fn begin(&self) -> Option<PersistMark> {
        let mut next = self.next.lock();
        while next.mark.is_none() && !next.is_last {
            self.wake.wait(&mut next);
        }
        next.mark.take()
    }
}

/// Until the writer is gone.
pub(super) fn make_durable(next: &NextPersist, syncer: &Syncer, shared: &Shared) {
    while let Some(mark) = next.begin() {
        let outcome = syncer.sync().map(|_| ());
        let (is_durable, commit) = (outcome.is_ok(), mark.commit());
        // Before anybody is told: who comes back at once is to find that the disk is free.
        shared.mailbox.end_persist((mark, outcome));
        let is_followed = is_durable && shared.waiting.tell_durable(commit);
        shared.mailbox.have_told(is_followed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        sync::{Arc, mpsc},
        thread,
        time::Duration,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn what_was_asked_for_is_begun_until_the_end() {
        let next = Arc::new(NextPersist::default());
        let ((begins, begun), (ends, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let of_disk = Arc::clone(&next);
        thread::spawn(move || {
            loop {
                let mark = of_disk.begin();
                begins.send(mark.is_some()).unwrap();
                let (Some(_), Ok(())) = (mark, ended.recv()) else { return };
            }
        });
        let check = |expected: bool| assert_eq!(begun.recv_timeout(SOON), Ok(expected));
        next.put(PersistMark::default());
        check(true);
        assert!(next.take_back().is_none(), "it was begun");
        next.put(PersistMark::default());
        next.put(next.take_back().unwrap());
        ends.send(()).unwrap();
        check(true);
        next.put(PersistMark::default());
        next.end();
        ends.send(()).unwrap();
        check(true);
        ends.send(()).unwrap();
        check(false);
    }
}
