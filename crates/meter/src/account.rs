use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use weir_model::Refusal;

use crate::{Credits, QuotaLimits, Reservation, ledger::Ledger};

pub(crate) type Clock = dyn Fn() -> i64 + Send + Sync;

/// One org's balances, at hand: whoever reserves often keeps it, and looks no org up.
pub struct Account {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) clock: Arc<Clock>,
}

impl Account {
    /// Holds a statement's estimate for its agent and its org, both or neither.
    ///
    /// # Errors
    /// `quota_exceeded` with estimate, balance, scope and the day of renewal in DETAIL.
    pub fn reserve(
        self: &Arc<Account>,
        agent: &Arc<str>,
        estimate: Credits,
        limits: QuotaLimits,
    ) -> Result<Reservation, Refusal> {
        {
            let now = (self.clock)();
            let mut held = self.ledger.lock();
            held.advance(now);
            held.reserve(agent, estimate, limits)?;
        }
        Ok(Reservation { account: Arc::clone(self), agent: Arc::clone(agent), estimate, limits, open: true })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
