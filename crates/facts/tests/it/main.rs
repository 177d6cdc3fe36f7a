#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
//! Facts from the outside.

mod protocol_executor;
mod protocol_fuzz;
mod protocol_transcripts;
