//! Weir, the program: its command line, its configuration, and the wiring of every room.
//!
//! INVARIANT: nothing here decides what a statement may do. This crate opens files, sockets and clocks and hands them
//! to the rooms that do.

mod clock;
mod commands;
mod config;
mod demo;
mod facts;
mod failure;
mod http;
mod keys;
mod local;
mod private_file;
mod serve;
mod telemetry;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The one cryptographic provider of the process. It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run()
}
