//! The meter: what a statement costs, and who may still afford it.
//!
//! A statement is estimated ([`Weights::estimate`]), its estimate is reserved for its agent and its org at once
//! ([`Account::reserve`]), and the real cost is settled against the reservation when it ends ([`Reservation::settle`]).
//!
//! Invariants:
//! - With limits that do not change, `settled + reserved` of an agent or an org never exceeds its limit, not by one
//!   milli-credit, under any interleaving.
//! - Every reservation ends: it is settled, or dropping it gives back what it held.
//! - The meter keeps no log. Balances are folded from the outcomes in the audit journal ([`Meter::restore`]).
//!
//! It is not a billing system: it knows credits and calendar months, not money or invoices.

mod account;
mod cost;
mod credits;
mod ledger;
mod meter;
mod period;
mod reservation;

pub use self::{
    account::Account,
    cost::{CostInputs, Scan, Weights, estimate, settle},
    credits::{Credits, InvalidCredits},
    ledger::QuotaLimits,
    meter::{Meter, SettledEntry, UsageRow},
    period::Period,
    reservation::{Reservation, Settled},
};
