use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_engine::Control;
use weir_model::{Code, Refusal};

/// Stops the statement that a session runs now, its row stream included. Does nothing when the session is idle.
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<Mutex<Option<CancellationToken>>>);

impl Canceller {
    pub fn cancel(&self) {
        if let Some(token) = self.0.lock().as_ref() {
            token.cancel();
        }
    }

    /// A fresh control for a statement that begins, cancelled with `stop` too; an earlier statement's rows can no longer be cancelled by name.
    pub(crate) fn begin(&self, timeout: Option<Duration>, stop: &CancellationToken) -> Control {
        let token = stop.child_token();
        *self.0.lock() = Some(token.clone());
        Control { cancel: token, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }
}

/// Waits for `work`, but no longer than the statement may run.
pub(crate) async fn within<T>(control: &Control, work: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::pin!(work);
    let Some(deadline) = control.deadline else {
        return tokio::select! {
            biased;
            () = control.cancel.cancelled() => Err(cancelled()),
            done = &mut work => Ok(done),
        };
    };
    tokio::select! {
        biased;
        () = control.cancel.cancelled() => Err(cancelled()),
        done = &mut work => Ok(done),
        () = tokio::time::sleep_until(deadline.into()) => Err(timed_out()),
    }
}

pub(crate) fn cancelled() -> Refusal {
    Refusal::new(Code::QueryCanceled, "canceling statement due to user request")
}

pub(crate) fn timed_out() -> Refusal {
    Refusal::new(Code::StatementTimeout, "canceling statement due to statement timeout")
        .hint("raise statement_timeout, or make the statement smaller")
}
