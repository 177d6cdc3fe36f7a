//! What a person should hear of: counted by kind, and written to the log, seldom enough that nobody can fill it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::replica::Alarm;

/// Between two lines about alarms of one kind.
const LOGGED_EVERY: Duration = Duration::from_secs(10);
const KINDS: usize = 5;

/// How many alarms of each kind there were since the start; see [`Alarm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarms {
    pub reused_dots: u64,
    pub held: u64,
    pub refused: u64,
    pub behind: u64,
    pub diverged: u64,
}

impl Alarms {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reused_dots + self.held + self.refused + self.behind + self.diverged
    }
}

#[derive(Debug, Default)]
pub(super) struct AlarmCounters([AtomicU64; KINDS]);

fn kind_of(alarm: &Alarm) -> usize {
    match alarm {
        Alarm::ReusedDot { .. } => 0,
        Alarm::Held { .. } => 1,
        Alarm::Refused { .. } => 2,
        Alarm::Behind { .. } => 3,
        Alarm::Diverged { .. } => 4,
    }
}

impl AlarmCounters {
    fn count(&self, kind: usize) {
        if let Some(counter) = self.0.get(kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Alarms {
        let [reused_dots, held, refused, behind, diverged] =
            self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Alarms { reused_dots, held, refused, behind, diverged }
    }
}

/// The writer's side.
#[derive(Debug, Default)]
pub(super) struct AlarmLog {
    /// When a line was last written, and how many alarms came since, by kind.
    lines: [(Option<Instant>, u64); KINDS],
}

impl AlarmLog {
    pub(super) fn take(&mut self, counters: &AlarmCounters, alarm: &Alarm) {
        let kind = kind_of(alarm);
        counters.count(kind);
        let Some((logged_at, unlogged)) = self.lines.get_mut(kind) else { return };
        if logged_at.is_some_and(|at| at.elapsed() < LOGGED_EVERY) {
            *unlogged += 1;
            return;
        }
        let more = std::mem::take(unlogged);
        *logged_at = Some(Instant::now());
        match alarm {
            Alarm::ReusedDot { key, dot } => {
                tracing::error!(%key, %dot, more, "one number was given to two writes: a node was copied or lost its end");
            }
            Alarm::Held { from, key } => {
                tracing::warn!(%from, %key, more, "a write from the future is held until the clock reaches it");
            }
            Alarm::Refused { from, reason } => tracing::warn!(%from, %reason, more, "a peer's message is refused"),
            Alarm::Behind { of } => {
                tracing::warn!(%of, more, "deletions were collected that this node has not seen: it fetches all facts");
            }
            Alarm::Diverged { from } => {
                tracing::error!(%from, more, "a peer that has the same writes shows something else: it is being repaired");
            }
        }
    }
}
