use std::{collections::BTreeMap, time::Instant};

use parking_lot::Mutex;

use crate::{protocol::ProtocolError, token::Holder};

/// How often apps may ask, each for itself: so many a minute, of which it may save up a minute's.
#[derive(Debug)]
pub(super) struct Rate {
    per_minute: f64,
    /// Of holders of good tokens, so as many as there are token files.
    apps: Mutex<BTreeMap<Holder, (f64, Instant)>>,
}

impl Rate {
    pub(super) fn new(per_minute: u32) -> Rate {
        Rate { per_minute: f64::from(per_minute.max(1)), apps: Mutex::default() }
    }

    /// # Errors
    /// [`ProtocolError::RateLimited`]. Services and administrators are not limited.
    pub(super) fn take(&self, holder: &Holder, now: Instant) -> Result<(), ProtocolError> {
        let Holder::App(_) = holder else { return Ok(()) };
        let mut apps = self.apps.lock();
        let (left, at) = apps.entry(holder.clone()).or_insert((self.per_minute, now));
        let per_ms = self.per_minute / 60_000.0;
        let saved = now.saturating_duration_since(*at).as_secs_f64() * 1_000.0 * per_ms;
        *left = (*left + saved).min(self.per_minute);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a minute")]
        let retry_after_ms = ((1.0 - *left) / per_ms).ceil() as u64;
        Err(ProtocolError::RateLimited { retry_after_ms })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_app_has_a_minutes_worth_and_then_what_comes_in() {
        let (rate, begin) = (Rate::new(60), Instant::now());
        let [web, other] = ["web", "other"].map(|name| Holder::app(name).unwrap());
        for _ in 0..60 {
            rate.take(&web, begin).unwrap();
        }
        let refused = rate.take(&web, begin).unwrap_err();
        assert_eq!(refused, ProtocolError::RateLimited { retry_after_ms: 1_000 });
        rate.take(&other, begin).unwrap();
        rate.take(&web, begin + Duration::from_millis(1_001)).unwrap();
        assert!(rate.take(&web, begin + Duration::from_millis(1_002)).is_err());
        for _ in 0..200 {
            rate.take(&Holder::service("deploy").unwrap(), begin).unwrap();
        }
    }
}
