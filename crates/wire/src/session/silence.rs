//! How long a client may be silent.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// One timer for a session's life. To set one anew for each message would cost more than to read the message: it goes
/// on when the client speaks, and is set again only once it ends too early.
#[derive(Debug, Default)]
pub(super) struct Silence {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Ready when `limit` has passed since the client was heard of.
    pub(super) fn poll(&mut self, heard: Instant, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        // As long as the system counts.
        let Some(due) = heard.checked_add(limit) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_silence_is_counted_from_the_last_word_and_by_the_limit_of_the_moment() {
        let mut silence = Silence::default();
        let (long, short) = (Duration::from_millis(300), Duration::from_millis(30));
        let begin = Instant::now();
        // Heard of again and again, for longer than the limit in all.
        for _ in 0..3 {
            tokio::time::sleep(long / 2).await;
            let heard = Instant::now();
            assert!(poll_fn(|context| Poll::Ready(silence.poll(heard, long, context))).await.is_pending());
        }
        assert!(begin.elapsed() > long);
        // A limit that is shorter than the last one, as in a transaction, and the longer one again.
        for limit in [long, short, long, short] {
            let heard = Instant::now();
            assert!(poll_fn(|context| Poll::Ready(silence.poll(heard, long * 2, context))).await.is_pending());
            poll_fn(|context| silence.poll(heard, limit, context)).await;
            assert!(heard.elapsed() >= limit);
        }
        let never = Duration::MAX;
        assert!(poll_fn(|context| Poll::Ready(silence.poll(begin, never, context))).await.is_pending());
    }
}
