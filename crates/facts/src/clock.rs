use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, by somebody's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn plus(self, milliseconds: u64) -> Millis {
        Millis(self.0.saturating_add(milliseconds))
    }

    /// Whole seconds, as the RFC's messages have them.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

/// A hybrid logical clock's time (Kulkarni et al., 2014), and with it a fact's version: milliseconds since 2020-01-01
/// and a counter of twelve bits below them.
///
/// It has 53 bits, so that JSON readers with floating-point numbers keep every one; they last until 2089. A version
/// that replaces another is greater than it, whoever wrote either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

const EPOCH: u64 = 1_577_836_800_000;
const COUNTER_BITS: u32 = 12;

impl Hlc {
    pub const MAX: Hlc = Hlc((1 << 53) - 1);

    /// The first time of a millisecond.
    #[must_use]
    pub fn at(time: Millis) -> Hlc {
        let since = time.0.saturating_sub(EPOCH);
        Hlc(since.saturating_mul(1 << COUNTER_BITS)).min(Hlc::MAX)
    }

    #[must_use]
    pub fn millis(self) -> Millis {
        Millis(EPOCH + (self.0 >> COUNTER_BITS))
    }

    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// `None` above 53 bits.
    #[must_use]
    pub fn from_u64(version: u64) -> Option<Hlc> {
        (version <= Hlc::MAX.0).then_some(Hlc(version))
    }

    #[must_use]
    fn next(self) -> Hlc {
        Hlc(self.0 + 1).min(Hlc::MAX)
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time further ahead of this node's clock than clocks may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time of {} ms is more than {allowed} ms ahead of {} ms here", .seen.0, .now.0)]
pub struct Ahead {
    pub seen: Millis,
    pub now: Millis,
    /// Milliseconds.
    pub allowed: u64,
}

/// One node's hybrid logical clock. What it gives out grows, also when the node's own clock steps back; after a restart
/// it has to be shown the greatest time that was kept.
#[derive(Debug, Clone)]
pub struct Clock {
    last: Hlc,
    ahead_max: u64,
}

impl Clock {
    /// `ahead_max`: how far another node's time may be ahead, in milliseconds.
    #[must_use]
    pub fn new(last: Hlc, ahead_max: u64) -> Clock {
        Clock { last, ahead_max }
    }

    /// The greatest time given out or observed.
    #[must_use]
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// A time after everything seen, and after `above`, which it is to replace.
    pub fn tick(&mut self, now: Millis, above: Hlc) -> Hlc {
        self.last = Hlc::at(now).max(self.last.next()).max(above.next());
        self.last
    }

    /// Takes notice of this node's own clock, so that its time does not go back when that does.
    pub fn reach(&mut self, now: Millis) {
        self.last = self.last.max(Hlc::at(now));
    }

    /// Takes notice of another node's time.
    ///
    /// # Errors
    /// [`Ahead`]; the clock then stays as it was, as one wrong clock would drag every other along.
    pub fn observe(&mut self, seen: Hlc, now: Millis) -> Result<(), Ahead> {
        if seen.millis() > now.plus(self.ahead_max) {
            return Err(Ahead { seen: seen.millis(), now, allowed: self.ahead_max });
        }
        self.last = self.last.max(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    #[test]
    fn a_version_is_exact_as_a_floating_point_number() {
        let far = Hlc::at(Millis(3_700_000_000_000));
        assert!(far < Hlc::MAX);
        #[allow(clippy::cast_precision_loss, reason = "what is tested")]
        let float = Hlc::MAX.as_u64() as f64;
        assert_eq!(float.to_string(), Hlc::MAX.to_string());
        assert_eq!(Hlc::at(NOW).millis(), NOW);
        assert_eq!(Hlc::from_u64(1 << 53), None);
    }

    #[test]
    fn times_grow_when_the_clock_steps_back() {
        let mut clock = Clock::new(Hlc::default(), 1_000);
        let mut last = Hlc::default();
        for now in [NOW, NOW, Millis(NOW.0 - 3_600_000), NOW, NOW.plus(1)] {
            let next = clock.tick(now, Hlc::default());
            assert!(next > last);
            last = next;
        }
        assert_eq!(last, Hlc::at(NOW.plus(1)));
    }

    #[test]
    fn a_write_is_later_than_what_it_replaces() {
        let mut clock = Clock::new(Hlc::default(), 1_000);
        let stored = Hlc::at(NOW.plus(900));
        assert!(clock.tick(NOW, stored) > stored);
    }

    #[test]
    fn a_far_future_is_not_followed() {
        let mut clock = Clock::new(Hlc::at(NOW), 1_000);
        clock.observe(Hlc::at(NOW.plus(1_000)), NOW).unwrap();
        let before = clock.last();
        assert!(clock.observe(Hlc::at(NOW.plus(1_001)), NOW).is_err());
        assert_eq!(clock.last(), before);
    }
}
