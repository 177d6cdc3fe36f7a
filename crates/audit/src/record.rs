//! What callers tell the journal, and how it becomes a record's JSON.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeSeq};
use weir_model::{Attributes, Claims, ClientAddress, Code, ObjectName, OrgName};

use crate::{AuditError, Hash};

/// Longest SQL text that a record keeps whole. Of a longer one it keeps the front, the length and the SHA-256.
pub const SQL_BYTES_MAX: usize = 16 * 1024;
/// Longest text that a client may put into any other field of a record.
pub(crate) const FIELD_BYTES_MAX: usize = 1024;
/// Most items that a list in a record keeps; `…` stands for the rest.
const ITEMS_MAX: usize = 1_000;

/// What the policy gate decided.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    pub allowed: bool,
    /// Rules that decided, as the bundle names them.
    pub rules: &'a [std::sync::Arc<str>],
    /// The principal's attributes that the rules could see.
    pub attributes: &'a Attributes,
    pub bundle_version: u64,
}

/// A statement before its first effect.
#[derive(Debug, Clone, Copy)]
pub struct IntentFields<'a> {
    pub claims: &'a Claims,
    pub roles: &'a [String],
    /// The text as sent. Not recorded when policy refused the statement.
    pub sql: &'a str,
    /// The governed plan in a canonical text. Not recorded when policy refused the statement.
    pub executed: Option<&'a str>,
    pub fingerprint: Option<&'a str>,
    /// Kind of the statement, `select`.
    pub kind: &'a str,
    pub tables: &'a [ObjectName],
    /// How sure the translation from another dialect is; 1.0 without translation.
    pub confidence: f64,
    /// `None` when the statement did not come as far as the policy gate.
    pub decision: Option<Decision<'a>>,
    pub credits_estimated: Option<u64>,
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// A gate refused it.
    Refused(Code),
    /// It ran and failed.
    Failed(Code),
    Cancelled(Code),
}

/// A mask that was applied to an output column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaskApplied {
    /// The output column's name.
    pub column: String,
    /// `redact`, `hash`, `null`, `partial`.
    pub mask: String,
}

/// A statement after its last row. Credits are milli-credits.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeFields<'a> {
    pub outcome: Outcome,
    pub rows: u64,
    pub elapsed: Duration,
    pub masks: &'a [MaskApplied],
    pub credits_estimated: u64,
    pub credits_settled: u64,
    /// Cost beyond what the balances could bear.
    pub credits_uncollected: u64,
    pub heal_attempts: u32,
}

/// What happens that is no statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    AuthenticationRefused,
    ConnectionRefused,
    BundleAccepted,
    BundleRefused,
    KeyIssued,
    KeyRevoked,
    /// The server works under less protection than it should, by configuration.
    Degraded,
    /// Somebody was refused something by the facts' sockets.
    FactsRefused,
    /// An administrator asked something of the facts' control socket.
    FactsControlled,
    /// A write of facts, one of so many.
    FactsWritten,
    /// How many of the three above came too fast to be recorded one by one.
    FactsSummarised,
    Notice,
}

impl EventKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::AuthenticationRefused => "authentication_refused",
            EventKind::ConnectionRefused => "connection_refused",
            EventKind::BundleAccepted => "bundle_accepted",
            EventKind::BundleRefused => "bundle_refused",
            EventKind::KeyIssued => "key_issued",
            EventKind::KeyRevoked => "key_revoked",
            EventKind::Degraded => "degraded",
            EventKind::FactsRefused => "facts_refused",
            EventKind::FactsControlled => "facts_controlled",
            EventKind::FactsWritten => "facts_written",
            EventKind::FactsSummarised => "facts_summarised",
            EventKind::Notice => "notice",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event. Texts may come from a client that proved nothing; they are cut.
#[derive(Debug, Clone, Copy)]
pub struct EventFields<'a> {
    pub event: EventKind,
    pub org: Option<&'a OrgName>,
    pub agent: Option<&'a str>,
    pub client: Option<&'a ClientAddress>,
    pub code: Option<Code>,
    pub detail: &'a [(&'a str, &'a str)],
}

impl EventFields<'_> {
    #[must_use]
    pub fn new(event: EventKind) -> EventFields<'static> {
        EventFields { event, org: None, agent: None, client: None, code: None, detail: &[] }
    }
}

// The JSON forms. Each is written behind the chained part (`chain::write`), so each must have at least one field.

/// Of an intent, what is the same each time the statement runs, without whose it is.
#[derive(Serialize)]
pub(crate) struct IntentBody<'a> {
    pub client: &'a str,
    #[serde(serialize_with = "claims", skip_serializing_if = "no_claims")]
    pub claims: &'a Claims,
    #[serde(serialize_with = "texts", skip_serializing_if = "<[_]>::is_empty")]
    pub roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<&'a str>,
    /// Only where the text was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_sha256: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_sha256: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<&'a str>,
    pub action: &'a str,
    #[serde(serialize_with = "texts", skip_serializing_if = "<[_]>::is_empty")]
    pub tables: &'a [ObjectName],
    pub confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionBody<'a>>,
}

#[derive(Serialize)]
pub(crate) struct DecisionBody<'a> {
    pub allowed: bool,
    #[serde(serialize_with = "texts", skip_serializing_if = "<[_]>::is_empty")]
    pub rules: &'a [std::sync::Arc<str>],
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: &'a Attributes,
    pub bundle: u64,
}

/// How a statement ended.
#[derive(Serialize)]
pub(crate) struct OutcomeBody<'a> {
    pub outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    pub rows: u64,
    pub elapsed_ns: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub masks: &'a [MaskApplied],
    pub estimated: u64,
    pub settled: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub uncollected: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub heal: u64,
}

#[derive(Serialize)]
pub(crate) struct EventBody<'a> {
    pub time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    #[serde(serialize_with = "claims", skip_serializing_if = "no_claims")]
    pub claims: &'a Claims,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(serialize_with = "details", skip_serializing_if = "<[_]>::is_empty")]
    pub detail: &'a [(&'a str, &'a str)],
    /// Of a session's end: how many records the session has, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Of a session's beginning: what its chain starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Hash>,
}

pub(crate) fn json(buffer: &mut Vec<u8>, body: &impl Serialize) -> Result<(), AuditError> {
    serde_json::to_writer(buffer, body)
        .map_err(|error| AuditError::Io { path: "an audit record".into(), source: error.into() })
}

impl<'a> IntentBody<'a> {
    pub fn new(client: &'a str, fields: &IntentFields<'a>) -> IntentBody<'a> {
        let told = fields.decision.is_none_or(|decision| decision.allowed);
        let sql = Kept::of(fields.sql);
        let executed = fields.executed.map(Kept::of);
        IntentBody {
            client,
            claims: fields.claims,
            roles: fields.roles,
            sql: told.then_some(sql.text),
            sql_bytes: sql.bytes.filter(|_| told),
            sql_sha256: sql.sha256.filter(|_| told),
            executed: executed.as_ref().filter(|_| told).map(|executed| executed.text),
            executed_bytes: executed.as_ref().filter(|_| told).and_then(|executed| executed.bytes),
            executed_sha256: executed.as_ref().filter(|_| told).and_then(|executed| executed.sha256),
            fingerprint: fields.fingerprint,
            action: fields.kind,
            tables: fields.tables,
            confidence: fields.confidence,
            decision: fields.decision.map(|decision| DecisionBody {
                allowed: decision.allowed,
                rules: decision.rules,
                attributes: decision.attributes,
                bundle: decision.bundle_version,
            }),
        }
    }
}

impl<'a> OutcomeBody<'a> {
    pub fn new(fields: &OutcomeFields<'a>) -> OutcomeBody<'a> {
        let (outcome, code) = match fields.outcome {
            Outcome::Ok => ("ok", None),
            Outcome::Refused(code) => ("refused", Some(code.as_str())),
            Outcome::Failed(code) => ("failed", Some(code.as_str())),
            Outcome::Cancelled(code) => ("cancelled", Some(code.as_str())),
        };
        OutcomeBody {
            outcome,
            code,
            rows: fields.rows,
            elapsed_ns: u64::try_from(fields.elapsed.as_nanos()).unwrap_or(u64::MAX),
            masks: fields.masks,
            estimated: fields.credits_estimated,
            settled: fields.credits_settled,
            uncollected: fields.credits_uncollected,
            heal: u64::from(fields.heal_attempts),
        }
    }

    /// Of a statement that was dropped without an outcome.
    pub fn abandoned(elapsed_ns: u64) -> OutcomeBody<'a> {
        OutcomeBody {
            outcome: "abandoned",
            code: None,
            rows: 0,
            elapsed_ns,
            masks: &[],
            estimated: 0,
            settled: 0,
            uncollected: 0,
            heal: 0,
        }
    }
}

/// A text as a record keeps it.
struct Kept<'a> {
    text: &'a str,
    bytes: Option<usize>,
    sha256: Option<Hash>,
}

impl Kept<'_> {
    fn of(text: &str) -> Kept<'_> {
        if text.len() <= SQL_BYTES_MAX {
            return Kept { text, bytes: None, sha256: None };
        }
        Kept { text: cut(text, SQL_BYTES_MAX), bytes: Some(text.len()), sha256: Some(Hash::of(&[text.as_bytes()])) }
    }
}

/// The front of a text, at most `bytes_max` bytes of whole characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn no_claims(claims: &Claims) -> bool {
    *claims == Claims::default()
}

fn claims<S: Serializer>(claims: &Claims, serializer: S) -> Result<S::Ok, S::Error> {
    let short = |claim: &Option<String>| claim.as_ref().is_none_or(|claim| claim.len() <= FIELD_BYTES_MAX);
    if short(&claims.application_name)
        && short(&claims.agent_id)
        && short(&claims.framework)
        && short(&claims.request_id)
    {
        return claims.serialize(serializer);
    }
    let cut = |claim: &Option<String>| claim.as_ref().map(|claim| cut(claim, FIELD_BYTES_MAX).to_owned());
    Claims {
        application_name: cut(&claims.application_name),
        agent_id: cut(&claims.agent_id),
        framework: cut(&claims.framework),
        request_id: cut(&claims.request_id),
    }
    .serialize(serializer)
}

fn texts<T: fmt::Display, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for item in items.iter().take(ITEMS_MAX) {
        list.serialize_element(&format_args!("{item}"))?;
    }
    if items.len() > ITEMS_MAX {
        list.serialize_element("…")?;
    }
    list.end()
}

fn details<S: Serializer>(detail: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(detail.iter().map(|(name, value)| (cut(name, 80), cut(value, FIELD_BYTES_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(sql: &str, allowed: bool) -> serde_json::Value {
        let (claims, attributes) = (Claims::default(), Attributes::new());
        let fields = IntentFields {
            claims: &claims,
            roles: &[],
            sql,
            executed: Some("Scan"),
            fingerprint: Some("f00d"),
            kind: "select",
            tables: &[],
            confidence: 1.0,
            decision: Some(Decision { allowed, rules: &[], attributes: &attributes, bundle_version: 3 }),
            credits_estimated: None,
        };
        serde_json::to_value(IntentBody::new("local", &fields)).unwrap()
    }

    #[test]
    fn a_statement_that_policy_refused_keeps_its_fingerprint_only() {
        let refused = intent("SELECT 'secret'", false);
        assert_eq!(refused["fingerprint"], "f00d");
        assert!(refused.get("sql").is_none() && refused.get("executed").is_none());
        assert_eq!(intent("SELECT 'secret'", true)["sql"], "SELECT 'secret'");
        assert!(intent(&"x".repeat(SQL_BYTES_MAX + 1), false).get("sql_sha256").is_none());
    }

    #[test]
    fn a_long_text_keeps_its_front_length_and_hash() {
        let sql = format!("x{}", "é".repeat(SQL_BYTES_MAX));
        let body = intent(&sql, true);
        assert_eq!(body["sql"].as_str().unwrap().len(), SQL_BYTES_MAX - 1);
        assert_eq!(body["sql_bytes"], sql.len());
        assert_eq!(body["sql_sha256"], Hash::of(&[sql.as_bytes()]).to_string());
    }
}
