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

    fn is_asked(&self) -> bool {
        self.next.lock().mark.is_some()
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
        if outcome.is_ok() {
            shared.waiting.tell_durable(mark.commit());
        }
        shared.mailbox.end_persist((mark, outcome), next.is_asked());
    }
}
