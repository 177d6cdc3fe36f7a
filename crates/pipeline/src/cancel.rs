use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
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

    /// The control of a statement that begins, cancelled with `stop` too. A cancel that came while the session was idle
    /// does not touch it; rows of earlier statements that still wait for their reader are cancelled with it.
    pub(crate) fn begin(&self, timeout: Option<Duration>, stop: &CancellationToken) -> Control {
        let mut held = self.0.lock();
        let token = match held.as_ref().filter(|token| !token.is_cancelled()) {
            Some(token) => token.clone(),
            None => held.insert(stop.child_token()).clone(),
        };
        drop(held);
        Control { cancel: token, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }
}

/// Waits for `work`, but no longer than the statement may run.
pub(crate) async fn within<T>(control: &Control, work: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::pin!(work);
    if control.cancel.is_cancelled() {
        return Err(cancelled());
    }
    // Nearly always there is nothing to wait for.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return Ok(done);
    }
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
