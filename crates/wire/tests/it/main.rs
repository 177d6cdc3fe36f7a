//! The protocol over real sockets, against a scripted backend: conversations as data, hostile bytes, a real driver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod client;
mod conversations;
mod driver;
mod fake;
mod fake_values;
mod hostile;
mod login;
mod slow_lane;
mod stopping;
