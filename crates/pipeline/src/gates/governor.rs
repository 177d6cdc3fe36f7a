use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use weir_model::{Code, Refusal, Result};
use weir_policy::Limits;

use crate::gates::org_status::Standing;

/// The org is within its rate and its share of running statements.
#[derive(Debug)]
pub(crate) struct Paced {
    pub standing: Standing,
    pub share: Share,
}

/// Gate 4. A token bucket and a bound on statements in flight per org, both from the org's policy; without limits
/// there it lets everything through. Refuses with `rate_limit_exceeded`. Costs one short lock.
pub(crate) fn pass(standing: Standing, enabled: bool) -> Result<Paced> {
    let ready = &standing.0.ready;
    let share =
        if enabled { ready.org().governor().enter(ready.policy.limits(), Instant::now())? } else { Share(None) };
    Ok(Paced { standing, share })
}

/// One org's bucket and count.
#[derive(Debug, Default)]
pub(crate) struct Governor(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Tokens left and when that was so; none before the first statement.
    bucket: Option<(f64, Instant)>,
    running: u32,
}

/// A place among the org's running statements, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share(Option<Arc<Mutex<State>>>);

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            let mut state = state.lock();
            state.running = state.running.saturating_sub(1);
        }
    }
}

impl Governor {
    pub(crate) fn enter(&self, limits: &Limits, now: Instant) -> Result<Share> {
        if limits.statements_per_second.is_none() && limits.max_concurrent.is_none() {
            return Ok(Share(None));
        }
        let mut state = self.0.lock();
        if let Some(max) = limits.max_concurrent.filter(|max| state.running >= *max) {
            return Err(Refusal::new(Code::RateLimitExceeded, "too many statements of the organisation run at once")
                .detail(format!("running={}; max_concurrent={max}", state.running))
                .hint("wait for running statements to end, then retry"));
        }
        if let Some(rate) = limits.statements_per_second {
            state.take_token(f64::from(rate), f64::from(limits.burst.unwrap_or(rate).max(1)), now)?;
        }
        state.running += 1;
        drop(state);
        Ok(Share(Some(self.0.clone())))
    }
}

impl State {
    fn take_token(&mut self, rate: f64, burst: f64, now: Instant) -> Result<()> {
        let tokens = match self.bucket {
            Some((tokens, at)) => (tokens + now.saturating_duration_since(at).as_secs_f64() * rate).min(burst),
            None => burst,
        };
        if tokens < 1.0 {
            self.bucket = Some((tokens, now));
            let wait_ms = ((1.0 - tokens) / rate.max(f64::MIN_POSITIVE) * 1_000.0).ceil();
            return Err(Refusal::new(Code::RateLimitExceeded, "the organisation's rate of statements is exceeded")
                .detail(format!("statements_per_second={rate}; burst={burst}; retry_after_ms={wait_ms}"))
                .hint("retry after the time in DETAIL"));
        }
        self.bucket = Some((tokens - 1.0, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(rate: Option<u32>, burst: Option<u32>, max: Option<u32>) -> Limits {
        Limits { statements_per_second: rate, burst, max_concurrent: max, ..Limits::default() }
    }

    #[test]
    fn bucket_refills_with_time_and_never_above_its_size() {
        let governor = Governor::default();
        let limits = limits(Some(10), Some(3), None);
        let start = Instant::now();
        let enter = |ms: u64| governor.enter(&limits, start + Duration::from_millis(ms)).map(drop);
        assert!((0..3).all(|_| enter(0).is_ok()));
        assert_eq!(enter(0).unwrap_err().code(), Code::RateLimitExceeded);
        assert!(enter(100).is_ok());
        assert!(enter(100).is_err());
        assert!((0..3).all(|_| enter(60_000).is_ok()));
        assert!(enter(60_000).is_err());
    }

    #[test]
    fn a_share_comes_back_when_dropped() {
        let governor = Governor::default();
        let limits = limits(None, None, Some(2));
        let now = Instant::now();
        let first = governor.enter(&limits, now).unwrap();
        let _second = governor.enter(&limits, now).unwrap();
        assert_eq!(governor.enter(&limits, now).unwrap_err().code(), Code::RateLimitExceeded);
        drop(first);
        assert!(governor.enter(&limits, now).is_ok());
    }
}
