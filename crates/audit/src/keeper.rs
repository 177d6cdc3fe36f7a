//! The thread that makes records durable and signs checkpoints.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{AuditError, core::Core, journal::Durability};

/// What [`Durability::Group`] promises, from a write to the end of the fsync that covers it.
const SYNCED_WITHIN: Duration = Duration::from_millis(10);
/// A slow disk has records of at least so long in one fsync.
const SYNC_DELAY_MIN: Duration = Duration::from_millis(2);
/// Between checkpoints while records arrive.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// A checkpoint comes sooner when no record arrives for this long.
const CHECKPOINT_WHEN_QUIET: Duration = Duration::from_millis(100);
/// Between attempts on a full disk.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Between writings of the state while records arrive.
const STATE_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn start(core: Arc<Core>) -> Result<JoinHandle<()>, AuditError> {
    let path = core.layout().audit();
    thread::Builder::new().name("weir-audit".into()).spawn(move || keep(&core)).map_err(AuditError::io(path))
}

fn keep(core: &Core) {
    let mut checkpointed = Instant::now();
    let mut stated = Instant::now();
    let mut files = core.files();
    let mut sync_took = Duration::from_millis(2);
    loop {
        let unvouched = core.size() != core.signed();
        let deadline = unvouched.then(|| (checkpointed + CHECKPOINT_EVERY).min(Instant::now() + CHECKPOINT_WHEN_QUIET));
        let deadline = if core.health().is_err() { Some(Instant::now() + RETRY_EVERY) } else { deadline };
        let (dirty, stop) = wait(core, deadline);
        if dirty && !stop && core.durability() == Durability::Group {
            thread::sleep(sync_delay(sync_took));
        }
        // An error poisons the journal and is logged there; nothing is left to keep then.
        if dirty {
            let began = Instant::now();
            if core.sync().is_err() {
                return;
            }
            sync_took = began.elapsed();
        }
        if core.check().is_err() {
            return;
        }
        // The disk was full; without statements nobody else finds out that it no longer is.
        if core.ready().is_err() && !stop {
            thread::sleep(RETRY_EVERY);
            continue;
        }
        if stop || (unvouched && (!dirty || checkpointed.elapsed() >= CHECKPOINT_EVERY)) {
            // The state names every file, so that a missing one shows.
            let with_state = stop || stated.elapsed() >= STATE_EVERY || core.files() != files;
            match core.checkpoint(with_state) {
                Ok(()) => {}
                Err(AuditError::Full) if !stop => {
                    tracing::debug!("a checkpoint of the audit journal waits for room on the disk");
                    thread::sleep(RETRY_EVERY);
                    continue;
                }
                Err(_) => return,
            }
            checkpointed = Instant::now();
            if with_state {
                (stated, files) = (checkpointed, core.files());
            }
        }
        if stop {
            return;
        }
    }
}

/// Between a write and the fsync that covers it. The write may have come just after the fsync before it began, so
/// that two of them have to fit; a disk that needs longer than it did breaks the promise by that much.
fn sync_delay(sync_took: Duration) -> Duration {
    SYNCED_WITHIN.saturating_sub(2 * sync_took).clamp(SYNC_DELAY_MIN, SYNCED_WITHIN - SYNC_DELAY_MIN)
}

/// Waits for something to do; says whether records were written, and whether to stop.
fn wait(core: &Core, deadline: Option<Instant>) -> (bool, bool) {
    let mut flags = core.alarm.flags.lock();
    while !flags.dirty && !flags.stop {
        match deadline {
            Some(deadline) => {
                if core.alarm.rings.wait_until(&mut flags, deadline).timed_out() {
                    break;
                }
            }
            None => core.alarm.rings.wait(&mut flags),
        }
    }
    (std::mem::take(&mut flags.dirty), flags.stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fsyncs_fit_into_what_is_promised() {
        let check = |took: u64, expected: u64| {
            let delay = sync_delay(Duration::from_micros(took));
            assert_eq!(delay, Duration::from_micros(expected), "an fsync of {took} us");
        };
        check(100, 8_000);
        check(1_500, 7_000);
        check(3_000, 4_000);
        check(4_000, 2_000);
        check(50_000, 2_000);
    }
}
