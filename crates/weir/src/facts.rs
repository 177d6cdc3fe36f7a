//! The facts of this process: one org's, kept by one node and served on sockets of their own.
//!
//! Invariants:
//! - A mistake of configuration stops the start, a key that does not open the facts too. Any other failure keeps facts
//!   from being served, and SQL is served all the same.
//! - A token file that cannot be taken lets nobody in.
//! - The sockets close before the node stops, and the node before the journal closes.

mod allowance;
mod client;
mod judge;
mod listener;
mod meters;
mod namespaces;
mod naming;
mod opening;
mod others;
mod peers;
mod plane;
mod reading;
mod report;
mod rights;
mod tokens;
mod witness;

pub(crate) use self::{
    client::FactsClient,
    plane::FactsPlane,
    tokens::{TokenFolder, kept_operator_token},
};
