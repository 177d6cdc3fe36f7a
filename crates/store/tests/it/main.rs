//! The store from outside: what a commit promises, whatever happens to the process or the files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod bulk;
mod concurrency;
mod conflicts;
mod crash;
mod damage;
mod failures;
mod model;
mod reading;
mod rules;
mod support;
