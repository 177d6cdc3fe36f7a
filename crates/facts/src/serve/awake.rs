//! A lane stays awake for a moment when it has nothing more to do: its clients are about to ask for more, and the disk about
//! to answer. To put a thread to sleep and to wake it costs more than most requests, and where the processor itself went to
//! sleep, as virtual ones do, some 50 µs. Meanwhile the processor is left to whoever else can use it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::yield_now};

/// About what a good disk takes for a sync.
pub(super) const AWAKE: Duration = Duration::from_micros(200);

/// Of one lane, on whose thread all of it is called.
#[derive(Debug)]
pub(super) struct Awake {
    /// How long.
    time: Duration,
    has_worked: AtomicBool,
    works: Notify,
}

impl Awake {
    /// `time`: how long it stays awake; zero, not at all.
    pub(super) fn new(time: Duration) -> Awake {
        Awake { time, has_worked: AtomicBool::new(false), works: Notify::new() }
    }

    /// To be called with every piece of work.
    pub(super) fn works(&self) {
        if !self.has_worked.swap(true, Ordering::Relaxed) {
            self.works.notify_one();
        }
    }

    /// Calls `after` when all is done that there was to do with a piece of work, and keeps the lane from sleep for a while
    /// afterwards.
    pub(super) async fn stay(&self, after: impl Fn()) {
        loop {
            // Those that were to be polled before come first.
            self.works.notified().await;
            let mut until = Instant::now();
            loop {
                if self.has_worked.swap(false, Ordering::Relaxed) {
                    after();
                    until = Instant::now() + self.time;
                }
                if Instant::now() >= until {
                    break;
                }
                thread::yield_now();
                // What the system has comes first.
                yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::{Arc, atomic::AtomicUsize};

    use tokio::{
        runtime::{Builder, Runtime},
        task::coop::unconstrained,
    };

    use super::*;

    struct Lane {
        runtime: Runtime,
        awake: Arc<Awake>,
        calls: Arc<AtomicUsize>,
        sleeps: Arc<AtomicUsize>,
    }

    fn lane(time: Duration) -> Lane {
        let (awake, [calls, sleeps]) =
            (Arc::new(Awake::new(time)), [0; 2].map(|none| Arc::new(AtomicUsize::new(none))));
        let (staying, called, slept) = (Arc::clone(&awake), Arc::clone(&calls), Arc::clone(&sleeps));
        let count = move |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().on_thread_park(move || count(&slept)).build().unwrap();
        runtime.spawn(unconstrained(async move { staying.stay(|| count(&called)).await }));
        Lane { runtime, awake, calls, sleeps }
    }

    #[test]
    fn all_work_is_followed_once_it_is_done() {
        for time in [Duration::ZERO, AWAKE] {
            let Lane { runtime, awake, calls, .. } = lane(time);
            runtime.block_on(async {
                for round in 1..=20 {
                    // Of two pieces that come together.
                    for _ in 0..2 {
                        let (awake, calls) = (Arc::clone(&awake), Arc::clone(&calls));
                        tokio::spawn(async move {
                            awake.works();
                            assert_eq!(calls.load(Ordering::Relaxed), round - 1);
                        });
                    }
                    while calls.load(Ordering::Relaxed) < round {
                        yield_now().await;
                    }
                }
            });
            assert_eq!(calls.load(Ordering::Relaxed), 20);
        }
    }

    #[test]
    fn a_lane_that_is_never_idle_follows_its_work_too() {
        let Lane { runtime, awake, calls, .. } = lane(AWAKE);
        runtime.block_on(async {
            tokio::spawn(async {
                loop {
                    yield_now().await;
                }
            });
            awake.works();
            let until = Instant::now() + Duration::from_secs(20);
            while calls.load(Ordering::Relaxed) == 0 {
                assert!(Instant::now() < until);
                yield_now().await;
            }
        });
    }

    #[test]
    fn it_sleeps_when_nothing_comes_any_more() {
        let Lane { runtime, awake, sleeps, .. } = lane(Duration::from_secs(1));
        let pause = |millis| tokio::time::sleep(Duration::from_millis(millis));
        runtime.block_on(async {
            pause(1).await;
            awake.works();
            let before = sleeps.load(Ordering::Relaxed);
            pause(20).await;
            assert_eq!(sleeps.load(Ordering::Relaxed), before, "it is awake");
            pause(1_500).await;
            assert!(sleeps.load(Ordering::Relaxed) > before);
        });
    }
}
