//! Tests of the facts from the outside: of the core in a simulation, of the store against files that are cut, flipped
//! and filled up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod simulation;
mod store_crash;
mod store_damage;
mod store_full;
mod store_model;
mod store_seal;
mod store_support;
