//! What policies and SQL read of the facts.

use std::collections::BTreeSet;

use weir_facts::{FactKey, Found, Millis, Node, Pattern};
use weir_pipeline::{FactPage, FactRow, OrgFacts};
use weir_policy::{FactReading, FactSource, FactValue, FactsUnavailable};

/// Keys looked at for one page of a table, and bytes of values after which it ends.
const PAGE_KEYS: usize = 10_000;
const PAGE_BYTES: usize = 8 << 20;

/// Bytes of values that a policy reads by one pattern.
const MATCHING_BYTES_MAX: usize = 4 << 20;

/// One org's facts, as this node knows them.
#[derive(Debug)]
pub(super) struct NodeFacts {
    node: Node,
    namespaces: BTreeSet<String>,
}

impl NodeFacts {
    /// The namespaces are those that are tables.
    pub(super) fn new(node: Node, namespaces: BTreeSet<String>) -> NodeFacts {
        NodeFacts { node, namespaces }
    }
}

impl FactSource for NodeFacts {
    fn fact(&self, key: &str) -> Result<FactReading, FactsUnavailable> {
        let key = FactKey::new(key).map_err(unavailable)?;
        let found = self.node.get(&key).map_err(unavailable)?;
        Ok(found.map_or_else(FactReading::default, reading))
    }

    fn matching(&self, pattern: &str, limit: usize) -> Result<Vec<(String, FactReading)>, FactsUnavailable> {
        let pattern = Pattern::new(pattern).map_err(unavailable)?;
        let page = self.node.list(&pattern, None, limit.saturating_add(1), MATCHING_BYTES_MAX).map_err(unavailable)?;
        // Keys whose facts were deleted count too: what is left of them is looked at each time.
        if page.next.is_some() || page.facts.len() > limit {
            return Err(FactsUnavailable(format!("more than {limit} keys match `{pattern}`, or they are too large")));
        }
        Ok(page.facts.into_iter().map(|fact| (fact.key.to_string(), reading(fact.found))).collect())
    }

    fn staleness_ms(&self) -> u64 {
        self.node.staleness_ms()
    }
}

impl OrgFacts for NodeFacts {
    fn namespaces(&self) -> Vec<String> {
        self.namespaces.iter().cloned().collect()
    }

    fn page(&self, namespace: &str, after: Option<&str>) -> Result<FactPage, FactsUnavailable> {
        let pattern = Pattern::new(&format!("{namespace}.*")).map_err(unavailable)?;
        let after = after.map(FactKey::new).transpose().map_err(unavailable)?;
        let page = self.node.list(&pattern, after.as_ref(), PAGE_KEYS, PAGE_BYTES).map_err(unavailable)?;
        let rows = page.facts.into_iter().map(|fact| row(&fact.key, &fact.found)).collect();
        Ok(FactPage { rows, next: page.next.map(|key| key.to_string()) })
    }
}

fn reading(found: Found) -> FactReading {
    let value = Some(FactValue::from_text(found.value.into_text()));
    FactReading { version: found.version.as_u64(), value, conflicted: found.conflicted }
}

fn row(key: &FactKey, found: &Found) -> FactRow {
    FactRow {
        key: key.to_string(),
        value: found.value.to_string(),
        version: found.version.as_u64(),
        created_at: microseconds(found.created_at),
        updated_at: microseconds(found.version.millis()),
        expires_at: found.expires_at.map(microseconds),
        conflicted: found.conflicted,
    }
}

fn microseconds(time: Millis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX).saturating_mul(1_000)
}

fn unavailable(why: impl std::fmt::Display) -> FactsUnavailable {
    FactsUnavailable(why.to_string())
}
