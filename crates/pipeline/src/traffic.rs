//! Whether sessions answer at the same time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Answers of different sessions within this time are given together.
const TOGETHER: Duration = Duration::from_millis(1);

/// Who answered last, and when it last was another one. A hint to be cheap, kept without locks: nothing depends on it
/// but how fast an answer comes.
#[derive(Debug)]
pub(crate) struct Traffic {
    since: Instant,
    /// A session's process id.
    last: AtomicU64,
    /// When `last` became another one, in nanoseconds.
    changed: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic { since: Instant::now(), last: AtomicU64::new(u64::MAX), changed: AtomicU64::new(0) }
    }
}

impl Traffic {
    /// Notes that a session answers now; whether others do, too.
    pub(crate) fn is_shared(&self, session: i32, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        let session = u64::from(session.unsigned_abs());
        let last = self.last.load(Ordering::Relaxed);
        if last != session {
            self.last.store(session, Ordering::Relaxed);
            if last == u64::MAX {
                return false;
            }
            self.changed.store(now, Ordering::Relaxed);
            return true;
        }
        let changed = self.changed.load(Ordering::Relaxed);
        changed != 0 && Duration::from_nanos(now.saturating_sub(changed)) < TOGETHER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_alone_until_another_answers_and_again_a_while_later() {
        let traffic = Traffic::default();
        let at = |us: u64| traffic.since + Duration::from_micros(us);
        assert!(!traffic.is_shared(1, at(0)) && !traffic.is_shared(1, at(50)));
        assert!(traffic.is_shared(2, at(100)));
        assert!(traffic.is_shared(2, at(150)) && traffic.is_shared(1, at(160)));
        assert!(traffic.is_shared(1, at(1_000)) && !traffic.is_shared(1, at(1_200)));
    }
}
