use std::{fmt, sync::Arc};

use crate::{Account, Credits, QuotaLimits};

/// Credits held for one statement. Settle it when the statement ends; dropping it gives back what it held.
#[must_use = "dropping a reservation releases it"]
pub struct Reservation {
    pub(crate) account: Arc<Account>,
    pub(crate) agent: Arc<str>,
    pub(crate) estimate: Credits,
    pub(crate) limits: QuotaLimits,
    pub(crate) open: bool,
}

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub estimated: Credits,
    /// What was taken from both balances.
    pub charged: Credits,
    /// What the statement cost beyond what the balances could bear. It is recorded and nobody pays it.
    pub uncollected: Credits,
}

impl Reservation {
    #[must_use]
    pub fn estimate(&self) -> Credits {
        self.estimate
    }

    /// Charges what the statement cost and gives back the rest.
    ///
    /// A cost above the estimate is charged too, but only as far as both balances bear it: a balance is never
    /// overspent, not by one milli-credit, so the excess beyond it is reported as [`Settled::uncollected`] for the
    /// journal instead. The limits are those the reservation was made under.
    pub fn settle(mut self, actual: Credits, rows: u64) -> Settled {
        self.open = false;
        let now = (self.account.clock)();
        let mut ledger = self.account.ledger.lock();
        ledger.advance(now);
        let charged = ledger.settle(&self.agent, self.estimate, actual, rows, self.limits);
        Settled { estimated: self.estimate, charged, uncollected: actual.minus(charged) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            self.account.ledger.lock().release(&self.agent, self.estimate);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("agent", &self.agent)
            .field("estimate", &self.estimate)
            .finish_non_exhaustive()
    }
}
