//! Puts the commit into `weir --version`, where the source is a git checkout or the packager names it.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=WEIR_BUILD_COMMIT");
    // Moves with each commit and checkout; a path that is missing would make every build run this again.
    let log = Path::new("../../.git/logs/HEAD");
    if log.exists() {
        println!("cargo:rerun-if-changed={}", log.display());
    }
    let named = std::env::var("WEIR_BUILD_COMMIT").ok();
    let commit = named.or_else(head).map(|commit| format!(" ({})", commit.trim())).unwrap_or_default();
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rustc-env=WEIR_VERSION={version}{commit}");
}

fn head() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())
        .flatten()
        .filter(|text| !text.trim().is_empty())
}
