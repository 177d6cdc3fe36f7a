use std::{collections::BTreeMap, path::PathBuf};

use sha2::{Digest, Sha256};

pub(crate) const POLICY_TOML: &str = "policy.toml";
pub(crate) const ACCESS_CEDAR: &str = "access.cedar";
pub(crate) const ROW_FILTERS_SQL: &str = "row_filters.sql";
pub(crate) const TESTS_TOML: &str = "tests.toml";
/// The folder of policies that applications ask for, each in a file named by its path.
pub(crate) const DECISIONS: &str = "decisions";
pub(crate) const DECISION_EXTENSION: &str = ".cedar";

/// The file of a path, in the policy directory.
pub(crate) fn decision_file(path: &str) -> String {
    format!("{DECISIONS}/{path}{DECISION_EXTENSION}")
}

/// The files of one org's policy directory as text. Holding it in memory lets everything past the reading be plain
/// functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(crate) directory: PathBuf,
    pub(crate) policy: String,
    pub(crate) access: String,
    pub(crate) row_filters: String,
    /// By path.
    pub(crate) decisions: BTreeMap<String, String>,
    /// `tests.toml`: examples beside the policy, no part of it.
    pub(crate) tests: Option<String>,
}

impl Source {
    /// Whether `row_filters.sql` lost its last word against an earlier source: a file cut short while it is written
    /// would open every table, so a caller takes that for a mistake. A comment is word enough.
    #[must_use]
    pub fn emptied_row_filters(&self, earlier: &Source) -> bool {
        self.row_filters.trim().is_empty() && !earlier.row_filters.trim().is_empty()
    }

    /// A policy from text; `directory` only names it in diagnostics.
    #[must_use]
    pub fn from_text(directory: impl Into<PathBuf>, policy: &str, access: &str, row_filters: &str) -> Source {
        Source {
            directory: directory.into(),
            policy: policy.to_owned(),
            access: access.to_owned(),
            row_filters: row_filters.to_owned(),
            decisions: BTreeMap::new(),
            tests: None,
        }
    }

    /// The same with one more policy that applications ask for.
    #[must_use]
    pub fn with_decision(mut self, path: &str, text: &str) -> Source {
        self.decisions.insert(path.to_owned(), text.to_owned());
        self
    }

    /// The same with examples to run.
    #[must_use]
    pub fn with_tests(mut self, tests: &str) -> Source {
        self.tests = Some(tests.to_owned());
        self
    }

    /// SHA-256, in hexadecimal, of the files that make the policy: two sources with one hash compile to the same rules,
    /// so that an unchanged directory needs no new version. Each file goes in with its length before it, and decisions
    /// with that of their names too.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, text) in
            [(POLICY_TOML, &self.policy), (ACCESS_CEDAR, &self.access), (ROW_FILTERS_SQL, &self.row_filters)]
        {
            hasher.update(name.as_bytes());
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        for (path, text) in &self.decisions {
            for part in [decision_file(path).as_str(), text] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hex::encode(hasher.finalize())
    }

    /// How a diagnostic names one of the files.
    pub(crate) fn path_of(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }
}
