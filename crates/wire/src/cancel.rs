//! Cancel keys: who may stop which session's statement, from another connection.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

/// Raised when a session's statement is to stop. Lowered when the next one starts.
#[derive(Debug, Default)]
pub(crate) struct CancelSignal {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl CancelSignal {
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn lower(&self) {
        self.raised.store(false, Ordering::Release);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Whether it is raised; if not, the task is woken when it will be.
    pub(crate) fn poll_raised(&self, context: &mut Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_raised()
    }
}

struct Entry {
    secret: Box<[u8]>,
    cancel: Box<dyn Fn() + Send + Sync>,
}

/// All sessions that can be cancelled, by process number.
#[derive(Default)]
pub(crate) struct CancelRegistry {
    entries: Mutex<HashMap<i32, Entry>>,
}

impl fmt::Debug for CancelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRegistry").field("sessions", &self.entries.lock().len()).finish()
    }
}

impl CancelRegistry {
    /// Enters a session under its process number; it leaves when the ticket is dropped.
    pub(crate) fn enter(
        self: &Arc<Self>,
        process: i32,
        secret: &[u8],
        cancel: impl Fn() + Send + Sync + 'static,
    ) -> CancelTicket {
        self.entries.lock().insert(process, Entry { secret: secret.into(), cancel: Box::new(cancel) });
        CancelTicket { registry: Arc::clone(self), process }
    }

    /// Cancels what the session runs, if the secret is its own. Secrets are compared in constant time.
    pub(crate) fn cancel(&self, process: i32, secret: &[u8]) -> bool {
        let entries = self.entries.lock();
        let Some(entry) = entries.get(&process) else { return false };
        let matches = bool::from(entry.secret.ct_eq(secret));
        if matches {
            (entry.cancel)();
        }
        matches
    }

    /// Cancels what every session runs.
    pub(crate) fn cancel_all(&self) {
        self.entries.lock().values().for_each(|entry| (entry.cancel)());
    }
}

/// A session's place in the registry.
#[derive(Debug)]
pub(crate) struct CancelTicket {
    registry: Arc<CancelRegistry>,
    process: i32,
}

impl Drop for CancelTicket {
    fn drop(&mut self) {
        self.registry.entries.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels() {
        let registry = Arc::new(CancelRegistry::default());
        let signal = Arc::new(CancelSignal::default());
        let raised = Arc::clone(&signal);
        let ticket = registry.enter(7, b"secret", move || raised.raise());
        for wrong in [&b"secreT"[..], b"", b"secret\0", b"secre"] {
            assert!(!registry.cancel(ticket.process, wrong));
        }
        assert!(!registry.cancel(ticket.process + 1, b"secret") && !signal.is_raised());
        assert!(registry.cancel(ticket.process, b"secret") && signal.is_raised());
        let process = ticket.process;
        drop(ticket);
        assert!(!registry.cancel(process, b"secret"));
    }
}
