//! Questions that applications ask, and their answers.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use crate::{
    facts::{FactSource, FactVersion, ReadError, Variable},
    rule_id::RuleId,
};

/// One question of an application: may it do this to that, by the policy at this path?
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// Who asks: the name that its credential proves.
    pub app: &'a str,
    pub path: &'a str,
    pub action: &'a str,
    /// Text, or an object with an `id`, whose members rules read as attributes; null for none.
    pub resource: &'a Value,
    /// An object, or null for none: what rules read as `context.request`.
    pub request: &'a Value,
    pub now_unix_ms: i64,
    /// Without it, a policy that reads facts is unavailable.
    pub facts: Option<&'a dyn FactSource>,
    /// What the asker demands besides what the policy does.
    pub max_staleness_ms: Option<u64>,
}

/// The policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    pub allowed: bool,
    /// Names rules, their files and lines.
    pub reason: Arc<str>,
    /// The permits of an allowed question, the forbids or the failed rules of a refused one.
    pub rules: Arc<[RuleId]>,
    /// The facts that it was made on, by key.
    pub facts: Arc<[FactVersion]>,
    /// How old what is known of the facts may be; none when no fact was read.
    pub staleness_ms: Option<u64>,
}

/// Why there is no answer. Nothing is allowed by one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    #[error("there is no policy `{path}`{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    PolicyNotFound { path: String, hint: Option<String> },
    /// The question lacks what the policy reads of it, or cannot be understood.
    #[error("{0}")]
    BadContext(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("what is known of fact `{fact}` may be {staleness_ms} ms old, and only {max_ms} ms are allowed")]
    Stale { fact: String, staleness_ms: u64, max_ms: u64 },
}

impl From<ReadError> for EvaluationError {
    fn from(error: ReadError) -> EvaluationError {
        match error {
            ReadError::Unavailable(why) => EvaluationError::Unavailable(why),
            ReadError::Stale { fact, staleness_ms, max_ms } => {
                EvaluationError::Stale { fact: fact.as_ref().to_owned(), staleness_ms, max_ms }
            }
        }
    }
}

pub(crate) fn bad(what: impl Into<String>) -> EvaluationError {
    EvaluationError::BadContext(what.into())
}

impl<'a> Evaluation<'a> {
    /// The resource's name; none when it has none.
    pub(crate) fn resource_id(&self) -> Result<Option<Cow<'a, str>>, EvaluationError> {
        match self.resource {
            Value::Null => Ok(None),
            Value::Object(members) => match members.get("id") {
                None | Some(Value::Null) => Ok(None),
                Some(id) => word(id).map(Some).ok_or_else(|| bad("the resource's `id` is no text, integer or boolean")),
            },
            other => word(other).map(Some).ok_or_else(|| bad("the resource is no text and no object")),
        }
    }

    /// What a fact's key may be made of.
    pub(crate) fn variable(&self, variable: &Variable) -> Result<Cow<'a, str>, String> {
        let member = |object: &'a Value, what: &str, name: &str| match object.get(name) {
            None | Some(Value::Null) => Err(format!("the {what} has no `{name}`, which the key is made with")),
            Some(value) => word(value).ok_or_else(|| format!("the {what}'s `{name}` is no text, integer or boolean")),
        };
        match variable {
            Variable::Principal => Ok(self.app.into()),
            Variable::Action => Ok(self.action.into()),
            Variable::Resource => match self.resource_id() {
                Ok(Some(id)) => Ok(id),
                Ok(None) => Err("the resource has no `id`, which the key is made with".into()),
                Err(error) => Err(error.to_string()),
            },
            Variable::ResourceMember(name) => member(self.resource, "resource", name),
            Variable::RequestMember(name) => member(self.request, "request", name),
            Variable::PrincipalAttribute(_) => Err(format!("decisions have no `{}`", variable.written())),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let resource = self.resource_id().ok().flatten();
        let on = resource.map(|resource| format!(" on `{}`", shortened(&resource))).unwrap_or_default();
        format!("`{}`{on} for app `{}`", shortened(self.action), shortened(self.app))
    }
}

/// A value that can stand for a name.
fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string().into()),
        Value::Bool(value) => Some(value.to_string().into()),
        _ => None,
    }
}

/// What others wrote, fit for a line of text.
fn shortened(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
