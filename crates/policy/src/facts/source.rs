use std::{fmt, sync::Arc};

use serde_json::Value;

/// Who knows the facts of one org.
pub trait FactSource: fmt::Debug + Send + Sync {
    /// The fact now. Cheap, microseconds, and without waiting.
    ///
    /// # Errors
    /// When it cannot be told; that a fact is absent is no error.
    fn fact(&self, key: &str) -> Result<FactReading, FactsUnavailable>;

    /// The facts whose keys match a pattern that ends in `.*`, at most `limit` of them.
    ///
    /// # Errors
    /// When they cannot be told, or there are more.
    fn matching(&self, pattern: &str, limit: usize) -> Result<Vec<(String, FactReading)>, FactsUnavailable>;

    /// How old what is known may be, in milliseconds: since all members were last heard in step with this one. 0 where
    /// there are no others.
    fn staleness_ms(&self) -> u64;
}

/// A fact as it was at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FactReading {
    pub version: u64,
    /// None: absent. Shared, so that a reading costs no copy.
    pub value: Option<Arc<Value>>,
    /// Whether it has values that were written without knowledge of each other.
    pub conflicted: bool,
}

impl FactReading {
    /// Whether a rule could not tell the two apart. The version alone does not say: a value that is joined from several
    /// writes changes when an older one arrives or ends.
    pub(crate) fn is_same(&self, other: &FactReading) -> bool {
        let same_value = match (&self.value, &other.value) {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right) || left == right,
            (None, None) => true,
            _ => false,
        };
        self.version == other.version && self.conflicted == other.conflicted && same_value
    }
}

/// Why facts cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FactsUnavailable(pub String);

/// A fact that a decision was made on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FactVersion {
    pub key: Arc<str>,
    pub version: u64,
}
