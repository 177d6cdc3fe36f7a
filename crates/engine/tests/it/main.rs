//! Engine, store and parser together, over small tables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod arrays;
mod catalogs;
mod functions;
mod joins;
mod leaks;
mod limits;
mod lookups;
mod parameters;
mod pitfalls;
mod queries;
mod semantics;
mod world;
mod writes;
