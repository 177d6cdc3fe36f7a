use std::path::{Path, PathBuf};

use clap::Subcommand;
use weir_policy::{Diagnostic, Validity, compile, directory};

use super::table;
use crate::failure::Failure;

/// Check and test policy directories.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Compile a policy directory, or each folder in it, and explain every mistake with its place
    Check {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Check, then run the examples of tests.toml
    Test {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

impl Policy {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Policy::Check { directory } => each(&directory, check),
            Policy::Test { directory } => each(&directory, test),
        }
    }
}

/// Does it for every org's directory below `root`, and fails if one of them did.
fn each(root: &Path, act: impl Fn(&Path) -> Result<String, Failure>) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for directory in directory::find(root)? {
        match act(&directory) {
            Ok(line) => table::print(&format!("{}: {line}\n", directory.display()))?,
            Err(failure) => failures.push(failure),
        }
    }
    match Failure::all(failures) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn check(directory: &Path) -> Result<String, Failure> {
    let source = directory::read(directory).map_err(explain)?;
    let body = compile(&source, Validity { version: 1, issued_at: 0, not_after: i64::MAX }).map_err(explain)?;
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    Ok(format!(
        "org {} is {}; {}, {}, {}, {}",
        body.org,
        body.status,
        count(body.roles.len(), "role", "roles"),
        count(body.access.len(), "access rule", "access rules"),
        count(body.row_policies.len(), "row policy", "row policies"),
        count(body.masks.len(), "mask", "masks"),
    ))
}

fn test(directory: &Path) -> Result<String, Failure> {
    let report = weir_policy::test(directory).map_err(explain)?;
    if report.succeeded() { Ok(report.to_string()) } else { Err(Failure::new(report)) }
}

fn explain(diagnostics: Vec<Diagnostic>) -> Failure {
    Failure::new(diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
