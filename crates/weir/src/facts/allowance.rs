use std::time::Instant;

use parking_lot::Mutex;

/// So much at once, and then so much a second: what keeps strangers from filling the journal.
#[derive(Debug)]
pub(super) struct Allowance {
    most: f64,
    per_second: f64,
    left: Mutex<(f64, Instant)>,
}

impl Allowance {
    pub(super) fn new(most: u32, per_second: f64, now: Instant) -> Allowance {
        Allowance { most: f64::from(most), per_second, left: Mutex::new((f64::from(most), now)) }
    }

    /// Whether there is some left, of which one is then taken.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut held = self.left.lock();
        let (left, at) = *held;
        let left = (left + now.saturating_duration_since(at).as_secs_f64() * self.per_second).min(self.most);
        let is_some = left >= 1.0;
        *held = (if is_some { left - 1.0 } else { left }, now.max(at));
        is_some
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_used_up_comes_back_with_time() {
        let begin = Instant::now();
        let allowance = Allowance::new(3, 2.0, begin);
        let taken = |at: Duration| (0..10).filter(|_| allowance.take(begin + at)).count();
        assert_eq!(taken(Duration::ZERO), 3);
        assert_eq!(taken(Duration::from_millis(500)), 1);
        assert_eq!(taken(Duration::from_secs(60)), 3);
        // A clock that was read earlier gives nothing twice.
        assert_eq!(taken(Duration::from_secs(30)), 0);
    }
}
