use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// So short that what a healed network lets through is used at once; a call costs a packet.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits between calls, each twice the one before up to a second, and by chance up to half shorter, so that nodes that
/// lost each other at once do not call at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        // Without randomness, without spread.
        let share = getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX));
        wait.mul_f64(1.0 - share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_no_further() {
        let mut backoff = Backoff::default();
        let mut longest = FIRST;
        for _ in 0..20 {
            let wait = backoff.next();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} {longest:?}");
            longest = (longest * 2).min(LONGEST);
        }
    }
}
