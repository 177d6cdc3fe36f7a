//! `[facts.<name>]` of `policy.toml`, read and checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::{
    bundle::{CountRule, FactRule, Origin},
    diagnostic::{Mistake, Place},
    facts::{Count, KeyTemplate, is_expressible},
    source::POLICY_TOML,
};

/// What a fact has already, whatever its policy counts.
pub(crate) const STATUS: &str = "status";
pub(crate) const VALUE: &str = "value";

const NAME_BYTES_MAX: usize = 63;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactEntry {
    key: Option<Spanned<String>>,
    /// Ends in `.*`.
    keys: Option<Spanned<String>>,
    default: Option<Spanned<toml::Value>>,
    max_staleness_ms: Option<u64>,
    #[serde(default)]
    counts: BTreeMap<Spanned<String>, CountEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountEntry {
    of: Option<String>,
    #[serde(rename = "where", default)]
    matching: BTreeMap<String, Spanned<toml::Value>>,
    distinct: Option<String>,
}

/// Reads the declarations of one file; mistakes are told where they are written.
pub(crate) struct DeclarationReader<'a> {
    pub text: &'a str,
    pub mistakes: &'a mut Vec<Mistake>,
}

impl DeclarationReader<'_> {
    fn mistake<T>(&mut self, at: &Spanned<T>, message: impl Into<String>, hint: Option<String>) {
        self.mistakes.push(Mistake::at(Place::of(self.text, at.span().start), message).hint_opt(hint));
    }

    pub fn facts(&mut self, entries: BTreeMap<Spanned<String>, FactEntry>) -> BTreeMap<String, FactRule> {
        let read = entries.into_iter().filter_map(|(name, entry)| self.fact(name, entry));
        read.collect()
    }

    fn fact(&mut self, name: Spanned<String>, entry: FactEntry) -> Option<(String, FactRule)> {
        if !is_member_name(name.get_ref()) {
            let message = format!("`{}` is not a fact's name: a letter or _, then a-z, 0-9 and _", name.get_ref());
            self.mistake(&name, message, None);
        }
        let line = Place::of(self.text, name.span().start).line;
        let default = entry.default.as_ref().and_then(|default| self.default(default));
        let counts = entry.counts.into_iter().filter_map(|(name, entry)| self.count(name, entry)).collect();
        let key = match (entry.key, entry.keys) {
            (Some(key), None) => self.key(&key, false)?,
            (None, Some(keys)) => {
                if let Some(default) = &entry.default {
                    self.mistake(default, "a default stands for one fact: it belongs to `key`, not to `keys`", None);
                }
                self.key(&keys, true)?
            }
            _ => {
                let hint = Some("`key = \"…\"` for one fact, `keys = \"….*\"` for many".to_owned());
                self.mistake(&name, format!("fact `{}` needs one of `key` and `keys`", name.get_ref()), hint);
                return None;
            }
        };
        let origin = Origin { file: POLICY_TOML.into(), line };
        let max_staleness_ms = entry.max_staleness_ms;
        Some((name.into_inner(), FactRule { key, default, max_staleness_ms, counts, origin }))
    }

    fn key(&mut self, written: &Spanned<String>, many: bool) -> Option<String> {
        match KeyTemplate::parse(written.get_ref()) {
            Err(mistake) => self.mistake(written, mistake.0, mistake.1),
            Ok(template) if template.is_many() && !many => {
                let hint = Some("write `keys = …` for all facts below".to_owned());
                self.mistake(written, "`key` names one fact", hint);
            }
            Ok(template) if many && !template.is_many() => {
                self.mistake(written, "`keys` ends in `.*`", Some("write `key = …` for one fact".to_owned()));
            }
            Ok(template) => {
                let scope = template.scope();
                if !scope.statements && !scope.decisions {
                    let message = "no rule has all these variables: some are of statements alone, others of decisions";
                    let hint =
                        "statements have ${principal.<attribute>}; decisions ${resource} and ${request.<member>}";
                    self.mistake(written, message, Some(hint.to_owned()));
                }
                return Some(written.get_ref().clone());
            }
        }
        None
    }

    fn default(&mut self, written: &Spanned<toml::Value>) -> Option<Value> {
        let Some(value) = json(written.get_ref()) else {
            self.mistake(written, "a default is what JSON has: no dates and no infinite numbers", None);
            return None;
        };
        if let Err(error) = is_expressible(&value) {
            self.mistake(written, format!("the default {error}"), None);
        }
        Some(value)
    }

    fn count(&mut self, name: Spanned<String>, entry: CountEntry) -> Option<(String, CountRule)> {
        if [STATUS, VALUE].contains(&name.get_ref().as_str()) {
            self.mistake(&name, format!("every fact has `{}` already", name.get_ref()), None);
        } else if !is_member_name(name.get_ref()) {
            let message = format!("`{}` is not a count's name: a letter or _, then a-z, 0-9 and _", name.get_ref());
            self.mistake(&name, message, None);
        }
        let mut matching = BTreeMap::new();
        for (member, value) in entry.matching {
            let Some(read) = json(value.get_ref()) else {
                self.mistake(&value, "elements are compared with text, integers or booleans", None);
                return None;
            };
            matching.insert(member, read);
        }
        let rule = CountRule { of: entry.of.unwrap_or_default(), matching, distinct: entry.distinct };
        if let Err(error) = Count::new(&rule) {
            self.mistake(&name, format!("count `{}`: {error}", name.get_ref()), None);
        }
        Some((name.into_inner(), rule))
    }
}

/// What Cedar takes after a dot.
fn is_member_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// TOML as JSON; none for dates and for numbers that JSON lacks.
pub(crate) fn json(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(value) => (*value).into(),
        toml::Value::Float(value) => Value::Number(serde_json::Number::from_f64(*value)?),
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        toml::Value::Table(members) => {
            let members = members.iter().map(|(name, value)| Some((name.clone(), json(value)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}
