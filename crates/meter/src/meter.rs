use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};
use weir_model::OrgName;

use crate::{
    Account, Credits, Period,
    account::Clock,
    ledger::{Balance, Ledger},
};

/// The balances of every org in the current period. In memory; see [`Meter::restore`].
///
/// One lock per org: statements of different orgs never wait for each other.
pub struct Meter {
    clock: Arc<Clock>,
    orgs: RwLock<AHashMap<OrgName, Arc<Mutex<Ledger>>>>,
}

/// One settled statement as the journal recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledEntry {
    pub org: OrgName,
    pub agent: Arc<str>,
    pub unix_seconds: i64,
    pub credits: Credits,
    pub rows: u64,
}

/// A line of `weir.usage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// `None` is the org as a whole.
    pub agent: Option<Arc<str>>,
    pub period: Period,
    pub statements: u64,
    pub rows: u64,
    pub settled: Credits,
    pub reserved: Credits,
    /// `None` is without limit.
    pub allowance: Option<Credits>,
    /// Allowance less what is settled and reserved.
    pub balance: Option<Credits>,
}

impl Meter {
    /// A meter by the system's clock, with nothing spent.
    #[must_use]
    pub fn new() -> Meter {
        Meter::with_clock(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
        })
    }

    /// A meter by a clock of unix seconds.
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> i64 + Send + Sync + 'static) -> Meter {
        Meter { clock: Arc::new(clock), orgs: RwLock::default() }
    }

    /// The period that the clock is in.
    #[must_use]
    pub fn period(&self) -> Period {
        Period::of((self.clock)())
    }

    /// An org's balances.
    #[must_use]
    pub fn account(&self, org: &OrgName) -> Arc<Account> {
        Arc::new(Account { ledger: self.ledger(org), clock: Arc::clone(&self.clock) })
    }

    /// Books what earlier processes settled. Entries of other periods than the current one are passed over.
    /// Call it once, before the first reservation: it adds, and does not know what it saw before.
    pub fn restore(&self, entries: impl IntoIterator<Item = SettledEntry>) {
        let period = self.period();
        for entry in entries {
            if period.contains(entry.unix_seconds) {
                self.ledger(&entry.org).lock().restore(&entry.agent, entry.credits, entry.rows);
            }
        }
    }

    /// What an org and its agents spent in the current period: the org's line first, then the agents' by name.
    /// Agents that spent and hold nothing have no line. Allowances are the caller's, from the current bundle.
    pub fn usage(
        &self,
        org: &OrgName,
        org_allowance: Option<Credits>,
        agent_allowance: impl Fn(&str) -> Option<Credits>,
    ) -> Vec<UsageRow> {
        let ledger = self.ledger(org);
        let mut ledger = ledger.lock();
        ledger.advance((self.clock)());
        let period = ledger.period;
        let row = |agent: Option<Arc<str>>, balance: &Balance, allowance: Option<Credits>| UsageRow {
            agent,
            period,
            statements: balance.statements,
            rows: balance.rows,
            settled: balance.settled,
            reserved: balance.reserved,
            allowance,
            balance: balance.left(allowance),
        };
        let mut rows = vec![row(None, &ledger.org, org_allowance)];
        rows.extend(
            ledger.agents.iter().map(|(agent, balance)| row(Some(Arc::clone(agent)), balance, agent_allowance(agent))),
        );
        rows.sort_by(|a, b| a.agent.cmp(&b.agent));
        rows
    }

    fn ledger(&self, org: &OrgName) -> Arc<Mutex<Ledger>> {
        if let Some(ledger) = self.orgs.read().get(org) {
            return Arc::clone(ledger);
        }
        let mut orgs = self.orgs.write();
        Arc::clone(orgs.entry(org.clone()).or_insert_with(|| Arc::new(Mutex::new(Ledger::new(self.period())))))
    }
}

impl Default for Meter {
    fn default() -> Meter {
        Meter::new()
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("orgs", &self.orgs.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
