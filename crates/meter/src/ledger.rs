use std::sync::Arc;

use ahash::AHashMap;
use weir_model::{Code, Refusal};

use crate::{Credits, Period};

/// What an agent and its org may spend in a period; `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct QuotaLimits {
    pub agent: Option<Credits>,
    pub org: Option<Credits>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub settled: Credits,
    pub reserved: Credits,
    pub statements: u64,
    pub rows: u64,
}

impl Balance {
    /// What a limit leaves to reserve or to charge; `None` is without limit.
    pub fn left(&self, limit: Option<Credits>) -> Option<Credits> {
        limit.map(|limit| limit.minus(self.settled).minus(self.reserved))
    }

    fn affords(&self, amount: Credits, limit: Option<Credits>) -> bool {
        self.left(limit).is_none_or(|left| amount <= left)
    }

    fn charge(&mut self, amount: Credits, rows: u64) {
        self.settled = self.settled.plus(amount);
        self.statements = self.statements.saturating_add(1);
        self.rows = self.rows.saturating_add(rows);
    }
}

/// One org's period: its own balance and its agents'. Plain data; the meter keeps one lock around each.
///
/// INVARIANT: every field of `org` is the sum of that field over `agents`.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub period: Period,
    pub org: Balance,
    pub agents: AHashMap<Arc<str>, Balance>,
}

impl Ledger {
    pub fn new(period: Period) -> Ledger {
        Ledger { period, org: Balance::default(), agents: AHashMap::new() }
    }

    /// Starts a new period when its time has come. What is reserved stays reserved: those statements still run, and
    /// are charged to the period in which they end. A clock that goes back starts nothing.
    pub fn advance(&mut self, unix_seconds: i64) {
        if unix_seconds < self.period.end() {
            return;
        }
        self.period = Period::of(unix_seconds);
        let carry = |balance: &Balance| Balance { reserved: balance.reserved, ..Balance::default() };
        self.org = carry(&self.org);
        self.agents.retain(|_, balance| balance.reserved != Credits::ZERO);
        for balance in self.agents.values_mut() {
            *balance = carry(balance);
        }
    }

    /// Holds `estimate` for an agent and its org, both or neither.
    pub fn reserve(&mut self, agent: &Arc<str>, estimate: Credits, limits: QuotaLimits) -> Result<(), Refusal> {
        let own = self.agents.get(agent).copied().unwrap_or_default();
        if !own.affords(estimate, limits.agent) {
            return Err(self.refusal(estimate, own.left(limits.agent), "agent"));
        }
        if !self.org.affords(estimate, limits.org) {
            return Err(self.refusal(estimate, self.org.left(limits.org), "org"));
        }
        let own = self.agents.entry(Arc::clone(agent)).or_default();
        own.reserved = own.reserved.plus(estimate);
        self.org.reserved = self.org.reserved.plus(estimate);
        Ok(())
    }

    pub fn release(&mut self, agent: &Arc<str>, estimate: Credits) {
        let own = self.agents.entry(Arc::clone(agent)).or_default();
        own.reserved = own.reserved.minus(estimate);
        self.org.reserved = self.org.reserved.minus(estimate);
    }

    /// Turns a reservation into a charge of at most what both balances leave; returns the charge.
    pub fn settle(
        &mut self,
        agent: &Arc<str>,
        estimate: Credits,
        actual: Credits,
        rows: u64,
        limits: QuotaLimits,
    ) -> Credits {
        self.release(agent, estimate);
        let own = self.agents.entry(Arc::clone(agent)).or_default();
        let left = [own.left(limits.agent), self.org.left(limits.org)].into_iter().flatten().min();
        let charge = left.map_or(actual, |left| left.min(actual));
        own.charge(charge, rows);
        self.org.charge(charge, rows);
        charge
    }

    /// Books what an earlier process charged.
    pub fn restore(&mut self, agent: &Arc<str>, amount: Credits, rows: u64) {
        self.agents.entry(Arc::clone(agent)).or_default().charge(amount, rows);
        self.org.charge(amount, rows);
    }

    fn refusal(&self, estimate: Credits, balance: Option<Credits>, scope: &str) -> Refusal {
        let resets = self.period.resets();
        let whose = if scope == "agent" { "this agent" } else { "the organisation" };
        Refusal::new(Code::QuotaExceeded, format!("the statement would exceed the credits left to {whose}"))
            .detail(format_args!("estimate={estimate}"))
            .detail(format_args!("balance={}", balance.unwrap_or_default()))
            .detail(format_args!("scope={scope}"))
            .detail(format_args!("resets={resets}"))
            .hint(format!(
                "Name the columns you need, filter on a key, or LIMIT the rows; or ask an administrator for a larger \
                 quota. Credits are renewed on {resets}."
            ))
    }
}
