use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::{
    cases::time,
    diagnostic::{Mistake, Place},
    evaluation::{Evaluation, EvaluationError},
    facts::{ExampleFacts, json},
    policy::Policy,
};

/// `[[decision]]`: one example of what an application asks, and what the policy must answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionCase {
    #[serde(default)]
    app: String,
    path: Spanned<String>,
    #[serde(default)]
    action: String,
    resource: Option<Spanned<toml::Value>>,
    request: Option<Spanned<toml::Value>>,
    expect: Expect,
    time: Option<Spanned<toml::value::Datetime>>,
    /// The facts there are, by key; all others are absent.
    #[serde(default)]
    facts: BTreeMap<Spanned<String>, toml::Value>,
    /// Keys whose values are in conflict.
    #[serde(default)]
    conflicted: Vec<Spanned<String>>,
    #[serde(default)]
    staleness_ms: u64,
    /// A rule that must be among those that decided.
    rule: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny,
    /// No answer: the question lacks what the policy reads, or the facts are too old.
    Error,
}

impl DecisionCase {
    /// What differs from the example, if anything does.
    pub fn run(&self, policy: &Policy, text: &str) -> Result<Option<String>, Mistake> {
        let facts = ExampleFacts::read(text, &self.facts, &self.conflicted, self.staleness_ms)?;
        let (resource, request) = (value(self.resource.as_ref(), text)?, value(self.request.as_ref(), text)?);
        let answer = policy.evaluate(&Evaluation {
            app: &self.app,
            path: self.path.get_ref(),
            action: &self.action,
            resource: &resource,
            request: &request,
            now_unix_ms: time(text, self.time.as_ref())?,
            facts: Some(&facts),
            max_staleness_ms: None,
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(EvaluationError::PolicyNotFound { path, hint }) => {
                let place = Place::of(text, self.path.span().start);
                return Err(Mistake::at(place, format!("there is no policy `{path}`")).hint_opt(hint));
            }
            Err(_) if matches!(self.expect, Expect::Error) => return Ok(None),
            Err(error) => return Ok(Some(format!("expected {:?}, but there is no answer: {error}", self.expect))),
        };
        if answer.allowed != matches!(self.expect, Expect::Allow) || matches!(self.expect, Expect::Error) {
            return Ok(Some(format!("expected {:?}, but {}", self.expect, answer.reason)));
        }
        let missing = self.rule.as_ref().filter(|rule| !answer.rules.iter().any(|decided| *decided.id == ***rule));
        Ok(missing.map(|rule| format!("rule `{rule}` did not decide: {}", answer.reason)))
    }
}

fn value(written: Option<&Spanned<toml::Value>>, text: &str) -> Result<Value, Mistake> {
    let Some(written) = written else { return Ok(Value::Null) };
    json(written.get_ref())
        .ok_or_else(|| Mistake::at(Place::of(text, written.span().start), "this is what JSON has: no dates"))
}
