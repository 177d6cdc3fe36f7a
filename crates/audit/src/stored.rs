//! Records as they are read back, any kind in one type.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::chain;

/// One record's JSON. Absent fields are `None` or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Record<'a> {
    #[serde(borrow)]
    pub record: Cow<'a, str>,
    #[serde(borrow)]
    pub event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub statement: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub session: Cow<'a, str>,
    pub time: u64,
    #[serde(borrow)]
    pub org: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub agent: Option<Cow<'a, str>>,
    /// The number that this record gives what it says of its statement.
    pub form: Option<usize>,
    /// The number of what an earlier record of the session said.
    #[serde(rename = "as")]
    pub as_form: Option<usize>,
    #[serde(borrow)]
    pub client: Option<Cow<'a, str>>,
    pub claims: Claimed,
    pub roles: Vec<String>,
    #[serde(borrow)]
    pub sql: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub executed: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub fingerprint: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub action: Option<Cow<'a, str>>,
    pub tables: Vec<String>,
    pub confidence: Option<f64>,
    pub decision: Option<Decided>,
    #[serde(borrow)]
    pub outcome: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub code: Option<Cow<'a, str>>,
    pub rows: Option<u64>,
    pub elapsed_ns: Option<u64>,
    pub masks: Vec<Masked>,
    pub estimated: Option<u64>,
    pub settled: Option<u64>,
    pub detail: Option<HashMap<String, Value>>,
}

impl Record<'_> {
    pub fn ends_session(&self) -> bool {
        self.event.as_deref().is_some_and(|event| event == chain::CLOSED || event == chain::INTERRUPTED)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Claimed {
    pub application_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Decided {
    pub allowed: bool,
    pub rules: Vec<String>,
    pub bundle: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Masked {
    pub column: String,
    pub mask: String,
}
