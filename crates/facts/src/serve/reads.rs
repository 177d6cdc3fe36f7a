//! Reads of values, bounded in bytes.

use serde_json::Value;

use super::{Serving, answer};
use crate::{
    key::FactKey,
    node::NodeError,
    protocol::{Json, Lookup, Part, ProtocolError, Query, Reply},
    replica::Fact,
};

/// Keys that are read as one commit left them. A `batch-get` of more is read in such pieces, as the writer waits.
const TOGETHER_MAX: usize = 1_000;

/// Keys that a query looks at before it answers with what it has found, and `next`.
const LOOKED_AT_MAX: usize = 10_000;

const PAGE: usize = 256;

/// Bytes that a request's answers may still have.
pub(super) struct Left(pub(super) usize);

impl Left {
    fn take(&mut self, value: &Json, max: usize) -> Result<(), ProtocolError> {
        let bytes = if let Json::Text(text) = value { text.get().len() } else { 0 };
        self.0 = self.0.checked_sub(bytes).ok_or(ProtocolError::TooLarge { what: Part::Answer, max })?;
        Ok(())
    }
}

impl Serving {
    pub(super) fn get(&self, key: FactKey, left: &mut Left) -> Result<Reply, ProtocolError> {
        match self.node.get(&key).map_err(|error| self.read_failed(error))? {
            Some(found) => {
                let entry = answer::entry(key, found)?;
                left.take(&entry.value, self.config.answer_bytes_max)?;
                Ok(Reply::Entry(entry))
            }
            None => Err(ProtocolError::KeyNotFound { key: key.to_string() }),
        }
    }

    pub(super) fn batch_get(&self, keys: Vec<FactKey>, left: &mut Left) -> Result<Reply, ProtocolError> {
        let max = self.config.answer_bytes_max;
        let mut results = Vec::with_capacity(keys.len());
        for piece in keys.chunks(TOGETHER_MAX) {
            let views = self.node.get_together(piece, left.0).map_err(|error| self.read_failed(error))?;
            let views = views.ok_or(ProtocolError::TooLarge { what: Part::Answer, max })?;
            for (key, view) in piece.iter().zip(views) {
                results.push(match view {
                    Some(found) => {
                        let entry = answer::entry(key.clone(), found)?;
                        left.take(&entry.value, max)?;
                        Lookup::Found(entry)
                    }
                    None => Lookup::missing(key.clone()),
                });
            }
        }
        Ok(Reply::Entries { results })
    }

    pub(super) fn query(&self, query: &Query, left: &mut Left) -> Result<Reply, ProtocolError> {
        let (mut results, mut after, mut looked_at) = (Vec::new(), query.after.clone(), 0);
        while looked_at < LOOKED_AT_MAX {
            let page = self.node.list(&query.pattern, after.as_ref(), PAGE, left.0.max(1));
            let page = page.map_err(|error| self.read_failed(error))?;
            looked_at += PAGE;
            for fact in page.facts {
                if !fits(&fact, query) {
                    continue;
                }
                if results.len() == query.limit {
                    return Ok(Reply::Page { results, next: after });
                }
                let key = fact.key.clone();
                let entry = answer::entry(fact.key, fact.found)?;
                if left.take(&entry.value, self.config.answer_bytes_max).is_err() && !results.is_empty() {
                    return Ok(Reply::Page { results, next: after });
                }
                after = Some(key);
                results.push(entry);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Reply::Page { results, next: None }),
            }
        }
        Ok(Reply::Page { results, next: after })
    }

    pub(super) fn read_failed(&self, error: NodeError) -> ProtocolError {
        answer::failed(error, &[], self.timeout_ms())
    }

    pub(super) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.config.request_timeout.as_millis()).unwrap_or(u64::MAX)
    }
}

fn fits(fact: &Fact, query: &Query) -> bool {
    if query.filter.is_empty() {
        return true;
    }
    let Value::Object(members) = fact.found.value.to_value() else { return false };
    query.filter.iter().all(|(name, wanted)| members.get(name) == Some(wanted))
}
