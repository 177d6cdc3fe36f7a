//! What a decision knows of the moment and the connection, and which of it a rule reads.

use cedar_policy::{Context, RestrictedExpression};
use chrono::{DateTime, Datelike, Timelike};
use weir_model::ClientAddress;

use crate::{diagnostic::did_you_mean, facts::FactSource, reads::Reads};

/// The circumstances of one request. Times are UTC.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'a> {
    pub now_unix_ms: i64,
    pub client: &'a ClientAddress,
    /// The principal's `purpose` attribute.
    pub purpose: Option<&'a str>,
    /// `select`, `copy`, `create_table`, …: the kind of the whole statement.
    pub statement_kind: &'a str,
    /// Without it, rules that read facts refuse.
    pub facts: Option<&'a dyn FactSource>,
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
const ATTRIBUTES: [&str; 8] = ["now", "hour", "weekday", "client", "client_local", "purpose", "statement", "facts"];

/// Which attributes of the context a rule reads, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ContextNeeds(u16);

impl ContextNeeds {
    const EVERYTHING: ContextNeeds = ContextNeeds((1 << ATTRIBUTES.len()) - 1);

    /// `context` other than as `context.x` or `context has x` means everything.
    pub fn of(context: &Reads) -> ContextNeeds {
        if context.whole {
            return ContextNeeds::EVERYTHING;
        }
        let read = (0..).zip(ATTRIBUTES).filter(|(_, attribute)| context.members.contains_key(*attribute));
        ContextNeeds(read.fold(0, |bits, (bit, _)| bits | 1_u16 << bit))
    }

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
}

/// What rules about statements may read of the context.
pub(crate) const OF_STATEMENTS: &[&str] = &ATTRIBUTES;
/// What rules that applications ask for may read of theirs.
pub(crate) const OF_DECISIONS: &[&str] = &["request", "facts", "now", "hour", "weekday"];

pub(crate) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    did_you_mean(name, known.iter().copied()).or_else(|| Some(format!("known: {}", known.join(", "))))
}

/// The context's `now`, `hour` and `weekday`, when one of them is needed.
pub(crate) fn moment(
    now_unix_ms: i64,
    needs: ContextNeeds,
    pairs: &mut Vec<(&'static str, RestrictedExpression)>,
) -> Result<(), String> {
    if needs.has("now") || needs.has("hour") || needs.has("weekday") {
        let now = DateTime::from_timestamp_millis(now_unix_ms).ok_or("the time is out of range")?;
        let text = now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let weekday = now.weekday().num_days_from_sunday();
        let moment = [
            ("now", RestrictedExpression::new_datetime(text)),
            ("hour", RestrictedExpression::new_long(i64::from(now.hour()))),
            ("weekday", RestrictedExpression::new_long(i64::from(weekday))),
        ];
        pairs.extend(moment.into_iter().filter(|(name, _)| needs.has(name)));
    }
    Ok(())
}

impl RequestContext<'_> {
    /// Cedar's context with the needed attributes. `client` is absent on local connections and `purpose` where the
    /// principal has none: a rule that reads an absent attribute without `has` errors, and so denies.
    pub(crate) fn to_cedar(self, needs: ContextNeeds, facts: Option<RestrictedExpression>) -> Result<Context, String> {
        let mut pairs: Vec<(&'static str, RestrictedExpression)> = Vec::with_capacity(ATTRIBUTES.len());
        moment(self.now_unix_ms, needs, &mut pairs)?;
        if let (true, ClientAddress::Ip(address)) = (needs.has("client"), self.client) {
            pairs.push(("client", RestrictedExpression::new_ip(address.to_canonical().to_string())));
        }
        if needs.has("client_local") {
            let local = matches!(self.client, ClientAddress::Local);
            pairs.push(("client_local", RestrictedExpression::new_bool(local)));
        }
        if let (true, Some(purpose)) = (needs.has("purpose"), self.purpose) {
            pairs.push(("purpose", RestrictedExpression::new_string(purpose.to_owned())));
        }
        if needs.has("statement") {
            pairs.push(("statement", RestrictedExpression::new_string(self.statement_kind.to_owned())));
        }
        pairs.extend(facts.map(|facts| ("facts", facts)));
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
        hour_of_week(self.now_unix_ms, needs)
    }
}

/// Weekday, from Sunday, and hour, when one of them is needed.
pub(crate) fn hour_of_week(now_unix_ms: i64, needs: ContextNeeds) -> Option<(u32, u32)> {
    if !needs.has("hour") && !needs.has("weekday") {
        return None;
    }
    let now = DateTime::from_timestamp_millis(now_unix_ms)?;
    Some((now.weekday().num_days_from_sunday(), now.hour()))
}

fn needs_client(needs: ContextNeeds) -> bool {
    needs.has("client") || needs.has("client_local")
}
