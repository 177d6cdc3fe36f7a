//! Where what takes long goes: threads of the lowest priority, few of them.
//!
//! A lane serves many connections, each for some microseconds at a time. Reading, parsing, planning and freeing a text
//! of many megabytes, or writing a value as long, would keep all of a lane's clients waiting.

use std::future::Future;

use tokio::{runtime::Handle, task::JoinError};
use tokio_util::task::AbortOnDropHandle;

/// Messages longer than this are received and handled on the slow lane.
pub(crate) const LARGE_MESSAGE_BYTES: usize = 16 * 1024;
/// A session that holds something of this size stays there.
pub(crate) const LARGE_HELD_BYTES: usize = 64 * 1024;
/// Rows longer than this are written there.
pub(crate) const LARGE_ROW_BYTES: usize = 256 * 1024;
/// Allocations from this size on are given back there: the system takes its time with each page.
const LARGE_FREED_BYTES: usize = 4 << 20;

#[derive(Debug, Clone)]
pub(crate) struct SlowLane(Handle);

impl SlowLane {
    pub(crate) fn new(handle: Handle) -> SlowLane {
        SlowLane(handle)
    }

    /// Runs `work` there; it is aborted when nobody waits for it any more. `None` when the runtime has ended.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let done: Result<T, JoinError> = AbortOnDropHandle::new(self.0.spawn(work)).await;
        match done {
            Ok(done) => Some(done),
            // As if it had happened here.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_ended) => None,
            },
        }
    }

    /// Drops something of about so many bytes.
    pub(crate) fn free<T: Send + 'static>(&self, what: T, bytes: usize) {
        if bytes >= LARGE_FREED_BYTES {
            self.0.spawn(async move { drop(what) });
        }
    }
}
