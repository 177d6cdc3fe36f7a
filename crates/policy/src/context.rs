//! What a decision knows of the moment and the connection, and which of it a rule reads.

use std::collections::BTreeSet;

use cedar_policy::{Context, RestrictedExpression};
use chrono::{DateTime, Datelike, Timelike};
use serde_json::Value;
use weir_model::ClientAddress;

use crate::diagnostic::did_you_mean;

/// The circumstances of one request. Times are UTC.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    pub now_unix_ms: i64,
    pub client: &'a ClientAddress,
    /// The principal's `purpose` attribute.
    pub purpose: Option<&'a str>,
    /// `select`, `copy`, `create_table`, …: the kind of the whole statement.
    pub statement_kind: &'a str,
}

/// What of a context some rules read, to recognise one that was decided before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContextKey {
    hour_of_week: Option<(u32, u32)>,
    client: Option<ClientAddress>,
    purpose: Option<String>,
    statement: Option<String>,
}

/// The attributes of Cedar's `context`, in the order of their bits in [`ContextNeeds`].
const ATTRIBUTES: [&str; 7] = ["now", "hour", "weekday", "client", "client_local", "purpose", "statement"];

/// Which attributes of the context a rule reads, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ContextNeeds(u8);

impl ContextNeeds {
    pub const EVERYTHING: ContextNeeds = ContextNeeds((1 << ATTRIBUTES.len()) - 1);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether answers can be told apart by [`ContextKey`]; those that read the exact time cannot.
    pub fn are_repeatable(self) -> bool {
        !self.has("now")
    }

    pub fn union(self, other: ContextNeeds) -> ContextNeeds {
        ContextNeeds(self.0 | other.0)
    }

    fn has(self, name: &str) -> bool {
        ATTRIBUTES.iter().position(|attribute| *attribute == name).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    pub fn nearest(name: &str) -> Option<String> {
        did_you_mean(name, ATTRIBUTES).or_else(|| Some(format!("known: {}", ATTRIBUTES.join(", "))))
    }

    /// Walks a rule in Cedar's JSON form. `context` other than as `context.x` or `context has x` means everything.
    pub fn collect(&mut self, json: &Value, unknown: &mut BTreeSet<String>) {
        match json {
            Value::Object(fields) => {
                for (operator, operand) in fields {
                    match (operator.as_str(), operand) {
                        ("." | "has", Value::Object(access)) if access.get("left").is_some_and(is_context) => {
                            let name = access.get("attr").and_then(Value::as_str).unwrap_or_default();
                            match ATTRIBUTES.iter().position(|attribute| *attribute == name) {
                                Some(bit) => self.0 |= 1 << bit,
                                None => drop(unknown.insert(name.to_owned())),
                            }
                        }
                        ("Var", Value::String(variable)) if variable == "context" => *self = ContextNeeds::EVERYTHING,
                        _ => self.collect(operand, unknown),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, unknown)),
            _ => {}
        }
    }
}

fn is_context(json: &Value) -> bool {
    json.get("Var").and_then(Value::as_str) == Some("context")
}

impl RequestContext<'_> {
    /// Cedar's context with the needed attributes. `client` is absent on local connections and `purpose` where the
    /// principal has none: a rule that reads an absent attribute without `has` errors, and so denies.
    pub(crate) fn to_cedar(self, needs: ContextNeeds) -> Result<Context, String> {
        let mut pairs: Vec<(&str, RestrictedExpression)> = Vec::with_capacity(ATTRIBUTES.len());
        if needs.has("now") || needs.has("hour") || needs.has("weekday") {
            let now = DateTime::from_timestamp_millis(self.now_unix_ms).ok_or("the time is out of range")?;
            let text = now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            pairs.push(("now", RestrictedExpression::new_datetime(text)));
            pairs.push(("hour", RestrictedExpression::new_long(i64::from(now.hour()))));
            let weekday = now.weekday().num_days_from_sunday();
            pairs.push(("weekday", RestrictedExpression::new_long(i64::from(weekday))));
        }
        if let (true, ClientAddress::Ip(address)) = (needs.has("client"), self.client) {
            pairs.push(("client", RestrictedExpression::new_ip(address.to_canonical().to_string())));
        }
        let local = matches!(self.client, ClientAddress::Local);
        pairs.push(("client_local", RestrictedExpression::new_bool(local)));
        if let (true, Some(purpose)) = (needs.has("purpose"), self.purpose) {
            pairs.push(("purpose", RestrictedExpression::new_string(purpose.to_owned())));
        }
        pairs.push(("statement", RestrictedExpression::new_string(self.statement_kind.to_owned())));
        pairs.retain(|(name, _)| needs.has(name));
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
        Context::from_pairs(pairs).map_err(|error| error.to_string())
    }

    pub(crate) fn key(&self, needs: ContextNeeds) -> ContextKey {
        ContextKey {
            hour_of_week: self.hour_of_week(needs),
            client: needs_client(needs).then(|| self.client.clone()),
            purpose: self.purpose.filter(|_| needs.has("purpose")).map(str::to_owned),
            statement: needs.has("statement").then(|| self.statement_kind.to_owned()),
        }
    }

    /// Whether rules with these needs cannot tell this context from the one of the key.
    pub(crate) fn matches(&self, key: &ContextKey, needs: ContextNeeds) -> bool {
        (!needs_client(needs) || key.client.as_ref() == Some(self.client))
            && (!needs.has("purpose") || key.purpose.as_deref() == self.purpose)
            && (!needs.has("statement") || key.statement.as_deref() == Some(self.statement_kind))
            && key.hour_of_week == self.hour_of_week(needs)
    }

    fn hour_of_week(&self, needs: ContextNeeds) -> Option<(u32, u32)> {
        if !needs.has("hour") && !needs.has("weekday") {
            return None;
        }
        let now = DateTime::from_timestamp_millis(self.now_unix_ms)?;
        Some((now.weekday().num_days_from_sunday(), now.hour()))
    }
}

fn needs_client(needs: ContextNeeds) -> bool {
    needs.has("client") || needs.has("client_local")
}
