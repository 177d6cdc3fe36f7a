//! The facts that a policy declares, compiled.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    bundle::FactRule,
    facts::{Budget, Count, KeyTemplate, project},
    reads::Reads,
};

/// A declared fact.
#[derive(Debug)]
pub(crate) struct Fact {
    pub name: Arc<str>,
    pub key: KeyTemplate,
    /// What stands for it when it is absent.
    pub default: Option<Arc<Value>>,
    pub staleness_ms_max: Option<u64>,
    pub counts: BTreeMap<String, Count>,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(crate) struct FactIndex(BTreeMap<String, Arc<Fact>>);

impl FactIndex {
    /// # Errors
    /// Names the first declaration that does not hold. A signature does not make one good.
    pub fn new(rules: &BTreeMap<String, FactRule>) -> Result<FactIndex, String> {
        let facts = rules.iter().map(|(name, rule)| {
            let fact = Fact::new(name, rule).map_err(|error| format!("{}: fact `{name}`: {error}", rule.origin))?;
            Ok((name.clone(), Arc::new(fact)))
        });
        facts.collect::<Result<_, String>>().map(FactIndex)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Fact>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Fact {
    fn new(name: &str, rule: &FactRule) -> Result<Fact, String> {
        let key = KeyTemplate::parse(&rule.key).map_err(|mistake| mistake.0)?;
        if let Some(default) = &rule.default {
            is_expressible(default)?;
        }
        if key.is_many() && rule.default.is_some() {
            return Err("a default stands for one fact, not for many".into());
        }
        let counts = rule.counts.iter().map(|(name, rule)| Ok((name.clone(), Count::new(rule)?)));
        Ok(Fact {
            name: name.into(),
            key,
            default: rule.default.clone().map(Arc::new),
            staleness_ms_max: rule.max_staleness_ms,
            counts: counts.collect::<Result<_, String>>()?,
        })
    }
}

/// Whether rules can hold all of a value.
pub(crate) fn is_expressible(value: &Value) -> Result<(), String> {
    let whole = Reads { whole: true, ..Reads::default() };
    match project(value, &whole, &mut Budget::new())? {
        Some(_) => Ok(()),
        None => Err("is null".into()),
    }
}
