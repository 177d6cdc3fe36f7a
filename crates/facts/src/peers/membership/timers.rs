use std::{cmp::Reverse, collections::BinaryHeap};

use foca::Timer;
use tokio::time::Instant;

use super::Identity;

/// What the membership wants to be reminded of, by time and in the order in which it has to hear of it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: BinaryHeap<Reverse<(Instant, Timer<Identity>)>>,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, timer: Timer<Identity>) {
        self.waiting.push(Reverse((at, timer)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer<Identity>> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        self.waiting.pop().map(|Reverse((_, timer))| timer)
    }
}
