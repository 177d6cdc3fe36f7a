//! End to end: the real binary, real sockets, real folders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod architecture;
mod audit;
mod command_line;
mod demo;
mod durability;
mod facts;
mod http;
mod keys;
mod lifecycle;
mod policy;
mod server;
mod tokens;
