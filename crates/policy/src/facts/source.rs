use std::{
    fmt,
    sync::{Arc, OnceLock},
};

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

/// A fact's value: JSON text, read when a rule looks into it, so that what was decided before costs no reading.
#[derive(Debug, Clone)]
pub struct FactValue {
    text: Arc<str>,
    json: OnceLock<Option<Arc<Value>>>,
}

impl FactValue {
    #[must_use]
    pub fn from_text(text: Arc<str>) -> FactValue {
        FactValue { text, json: OnceLock::new() }
    }

    /// # Errors
    /// The text is no JSON.
    pub(crate) fn json(&self) -> Result<&Value, String> {
        let json = self.json.get_or_init(|| serde_json::from_str(&self.text).map(Arc::new).ok());
        json.as_deref().ok_or_else(|| "its value is no JSON".to_owned())
    }

    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl From<Value> for FactValue {
    fn from(value: Value) -> FactValue {
        let text = value.to_string().into();
        FactValue { text, json: OnceLock::from(Some(Arc::new(value))) }
    }
}

impl PartialEq for FactValue {
    /// By their texts: two that differ in no more than spaces count as different.
    fn eq(&self, other: &FactValue) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

/// A fact as it was at one moment. Two that are equal no rule can tell apart. The version alone does not say: a value that
/// is joined from several writes changes when an older one arrives or ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FactReading {
    pub version: u64,
    /// None: absent. Shared, so that a reading costs no copy.
    pub value: Option<FactValue>,
    /// Whether it has values that were written without knowledge of each other.
    pub conflicted: bool,
}

impl FactReading {
    /// Bytes of its value's text.
    pub(crate) fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.text().len())
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
