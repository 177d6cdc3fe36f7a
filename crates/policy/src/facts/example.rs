use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use crate::{
    diagnostic::{Mistake, Place},
    facts::{FactReading, FactSource, FactValue, FactsUnavailable, check_tokens, json},
};

/// The facts of an example in `tests.toml`: those it gives, and no others.
#[derive(Debug, Default)]
pub(crate) struct ExampleFacts {
    values: BTreeMap<String, FactValue>,
    conflicted: BTreeSet<String>,
    staleness_ms: u64,
}

impl ExampleFacts {
    /// # Errors
    /// At the place, in `text`, of what is no key or no fact.
    pub fn read(
        text: &str,
        values: &BTreeMap<Spanned<String>, toml::Value>,
        conflicted: &[Spanned<String>],
        staleness_ms: u64,
    ) -> Result<ExampleFacts, Mistake> {
        for key in values.keys().chain(conflicted) {
            if !check_tokens(key.get_ref()) || !key.get_ref().contains('.') {
                let place = Place::of(text, key.span().start);
                return Err(Mistake::at(place, format!("`{}` is not a fact's key", key.get_ref()))
                    .hint("a whole key in quotes: \"approvals.deploy-123\""));
            }
        }
        let read = values.iter().map(|(key, value)| match json(value) {
            Some(value) => Ok((key.get_ref().clone(), value.into())),
            None => Err(Mistake::at(Place::of(text, key.span().start), "a fact is what JSON has: no dates")),
        });
        Ok(ExampleFacts {
            values: read.collect::<Result<_, Mistake>>()?,
            conflicted: conflicted.iter().map(|key| key.get_ref().clone()).collect(),
            staleness_ms,
        })
    }
}

impl FactSource for ExampleFacts {
    fn fact(&self, key: &str) -> Result<FactReading, FactsUnavailable> {
        let value = self.values.get(key).cloned();
        Ok(FactReading { version: u64::from(value.is_some()), value, conflicted: self.conflicted.contains(key) })
    }

    fn matching(&self, pattern: &str, limit: usize) -> Result<Vec<(String, FactReading)>, FactsUnavailable> {
        let below = pattern.strip_suffix('*').unwrap_or(pattern);
        let keys: BTreeSet<&String> = self.values.keys().chain(&self.conflicted).collect();
        let mut found = Vec::new();
        for key in keys.into_iter().filter(|key| key.starts_with(below)) {
            found.push((key.clone(), self.fact(key)?));
        }
        if found.len() > limit {
            return Err(FactsUnavailable(format!("there are more than {limit} facts below `{pattern}`")));
        }
        Ok(found)
    }

    fn staleness_ms(&self) -> u64 {
        self.staleness_ms
    }
}
