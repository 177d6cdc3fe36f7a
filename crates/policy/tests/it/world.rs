//! Facts that a test changes between decisions.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::Value;
use weir_policy::{FactReading, FactSource, FactValue, FactsUnavailable};

#[derive(Debug, Default)]
pub struct World {
    facts: BTreeMap<String, FactReading>,
    /// The values that were put.
    texts: BTreeMap<String, String>,
    versions: u64,
    pub staleness_ms: u64,
    /// Whether it answers at all.
    pub down: bool,
    /// How often it was asked.
    pub asked: AtomicU64,
}

impl World {
    pub fn with(facts: &[(&str, Value)]) -> World {
        let mut world = World::default();
        facts.iter().for_each(|(key, value)| world.put(key, value.clone()));
        world
    }

    /// One that cannot tell anything.
    pub fn down() -> World {
        World { down: true, ..World::default() }
    }

    pub fn put(&mut self, key: &str, value: Value) {
        self.versions += 1;
        self.texts.insert(key.to_owned(), value.to_string());
        let reading = FactReading { version: self.versions, value: Some(value.into()), conflicted: false };
        self.facts.insert(key.to_owned(), reading);
    }

    /// Changes a value as a late write does that is older than what is there: the version stays.
    pub fn join(&mut self, key: &str, value: Value) {
        self.texts.insert(key.to_owned(), value.to_string());
        self.facts.get_mut(key).unwrap().value = Some(value.into());
    }

    /// The same value, in another place of memory.
    pub fn copy(&mut self, key: &str) {
        let text = self.texts[key].as_str().into();
        self.facts.get_mut(key).unwrap().value = Some(FactValue::from_text(text));
    }

    pub fn delete(&mut self, key: &str) {
        self.versions += 1;
        self.facts.insert(key.to_owned(), FactReading { version: self.versions, value: None, conflicted: false });
    }

    /// Ends by its time to live: nobody wrote.
    pub fn end(&mut self, key: &str) {
        self.facts.get_mut(key).unwrap().value = None;
    }

    pub fn conflict(&mut self, key: &str, conflicted: bool) {
        self.facts.get_mut(key).unwrap().conflicted = conflicted;
    }

    pub fn times_asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl FactSource for World {
    fn fact(&self, key: &str) -> Result<FactReading, FactsUnavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.down {
            return Err(FactsUnavailable("the store is closed".into()));
        }
        Ok(self.facts.get(key).cloned().unwrap_or_default())
    }

    fn matching(&self, pattern: &str, limit: usize) -> Result<Vec<(String, FactReading)>, FactsUnavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.down {
            return Err(FactsUnavailable("the store is closed".into()));
        }
        let below = pattern.strip_suffix('*').unwrap();
        let found = self.facts.iter().rev().filter(|(key, _)| key.starts_with(below));
        // One more than allowed, as a careless source would.
        Ok(found.map(|(key, reading)| (key.clone(), reading.clone())).take(limit + 1).collect())
    }

    fn staleness_ms(&self) -> u64 {
        self.staleness_ms
    }
}
