//! Tests of the facts from the outside: of the core in a simulation, of the store against files that are cut, flipped
//! and filled up, of the protocol byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod node_keys;
mod node_writes;
mod peers_broker;
mod peers_broker_support;
mod peers_cuts;
mod peers_hybrid;
mod peers_latecomers;
mod peers_links;
mod peers_refusals;
mod peers_support;
mod protocol_executor;
mod protocol_fuzz;
mod protocol_transcripts;
mod replica;
mod serve_conversations;
mod serve_decisions;
mod serve_load;
mod serve_refusals;
mod serve_support;
mod simulation;
mod store_crash;
mod store_damage;
mod store_full;
mod store_model;
mod store_seal;
mod store_support;
