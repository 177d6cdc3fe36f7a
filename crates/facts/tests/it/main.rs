//! The store of facts, against files that are cut, flipped and filled up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_crash;
mod store_damage;
mod store_full;
mod store_model;
mod store_seal;
mod store_support;
