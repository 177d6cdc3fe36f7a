//! A future that is polled when it was woken, and not whenever its task is: for what happens seldom beside something that
//! happens all the time.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

pub(super) struct Dozing<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// Of the bell.
    rings: Waker,
    /// The task's, as the bell has it.
    task: Option<Waker>,
}

struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.has_rung.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        task.iter().for_each(Waker::wake_by_ref);
    }
}

impl<F: Future> Dozing<F> {
    pub(super) fn new(future: F) -> Dozing<F> {
        // It has to be polled once.
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: Mutex::default() });
        Dozing { future: Box::pin(future), rings: Waker::from(Arc::clone(&bell)), bell, task: None }
    }

    /// What it waits for may be another now.
    pub(super) fn changed(&mut self) -> Pin<&mut F> {
        self.bell.has_rung.store(true, Ordering::Release);
        self.future.as_mut()
    }

    /// Ready as the future is, which must not be polled any more then.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<F::Output> {
        let task = context.waker();
        if !self.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            self.task = Some(task.clone());
            // Who rings from now on wakes this one; who rang before is seen below.
            *self.bell.task.lock() = Some(task.clone());
        }
        if !self.bell.has_rung.load(Ordering::Acquire) || !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.rings))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::{
        sync::Notify,
        time::{Instant, sleep_until, timeout},
    };

    use super::*;

    async fn is_pending<F: Future>(dozing: &mut Dozing<F>) -> bool {
        poll_fn(|context| Poll::Ready(dozing.poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn it_is_polled_once_and_then_when_it_is_woken() {
        let (polls, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, notified) = (Arc::clone(&polls), Arc::clone(&bell));
        let mut dozing = Dozing::new(async move {
            let notified = notified.notified();
            tokio::pin!(notified);
            poll_fn(|context| {
                counted.fetch_add(1, Ordering::Relaxed);
                notified.as_mut().poll(context)
            })
            .await;
        });
        for _ in 0..5 {
            assert!(is_pending(&mut dozing).await);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let task = tokio::spawn(async move {
            poll_fn(|context| dozing.poll(context)).await;
        });
        tokio::task::yield_now().await;
        bell.notify_one();
        timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_was_changed_is_waited_for_anew() {
        let mut alarm = Dozing::new(sleep_until(Instant::now() + Duration::from_secs(1_000)));
        assert!(is_pending(&mut alarm).await);
        alarm.changed().reset(Instant::now() + Duration::from_millis(5));
        timeout(Duration::from_secs(20), poll_fn(|context| alarm.poll(context))).await.unwrap();
        alarm.changed().reset(Instant::now() + Duration::from_secs(1_000));
        assert!(is_pending(&mut alarm).await);
    }
}
