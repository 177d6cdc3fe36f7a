use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use weir_model::{Attributes, ObjectName, OrgName};

/// The shape of [`BundleBody`]; a data plane takes no other.
pub const BUNDLE_SCHEMA: u32 = 1;

/// An org's policy in the form that is signed: everything resolved, every rule with the file and line it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleBody {
    pub schema: u32,
    /// Grows with each change of an org's policy; a data plane never goes back.
    pub version: u64,
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds.
    pub not_after: i64,
    pub org: OrgName,
    /// [`crate::Source::content_hash`] of what was compiled.
    pub content_hash: String,
    pub status: OrgStatus,
    pub tier: Tier,
    pub roles: BTreeMap<String, Role>,
    pub agents: BTreeMap<String, Agent>,
    pub quota: QuotaRule,
    pub limits: Limits,
    pub access: Vec<AccessRule>,
    /// Tables whose rows are seen only as row policies allow.
    pub row_security: Vec<ObjectName>,
    pub row_policies: Vec<RowPolicy>,
    pub masks: Vec<MaskRule>,
    pub ledgers: Vec<TableRule>,
    pub tiers: Vec<TierRule>,
    /// What rules may read as `context.facts.<name>`, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, FactRule>,
    /// Policies that applications ask for, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<String, Vec<AccessRule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrgStatus {
    #[default]
    Active,
    Provisioning,
    Suspended,
    Delinquent,
    Cancelled,
    PendingPayment,
}

impl OrgStatus {
    /// Whether an org in this state may run statements.
    #[must_use]
    pub fn may_execute(self) -> bool {
        matches!(self, OrgStatus::Active | OrgStatus::Provisioning)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OrgStatus::Active => "active",
            OrgStatus::Provisioning => "provisioning",
            OrgStatus::Suspended => "suspended",
            OrgStatus::Delinquent => "delinquent",
            OrgStatus::Cancelled => "cancelled",
            OrgStatus::PendingPayment => "pending_payment",
        }
    }
}

impl fmt::Display for OrgStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an org pays for; ordered, a higher one includes the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    #[default]
    Free,
    Growth,
    Enterprise,
}

impl Tier {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Free => "free",
            Tier::Growth => "growth",
            Tier::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who goes first when statements wait for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    #[default]
    Normal,
    High,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Roles that every holder of this one holds too; as written, not closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<String>,
    #[serde(default)]
    pub priority: Priority,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub attributes: Attributes,
    /// This agent's own allowance per period, in milli-credits; none means the org's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicredits: Option<u64>,
}

/// The span after which balances start anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A calendar month, UTC.
    #[default]
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_millicredits: Option<u64>,
    /// For each agent that names no allowance of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_millicredits: Option<u64>,
    #[serde(default)]
    pub period: Period,
}

/// What one agent and its org may spend in a period, in milli-credits; none means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    pub agent: Option<u64>,
    pub org: Option<u64>,
    pub period: Period,
}

/// Bounds on an org's statements; none means that the process's own setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout_ms: Option<u64>,
    /// Most rows that one statement may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// Refill rate of the org's token bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements_per_second: Option<u32>,
    /// Size of the org's token bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Statements of the org in flight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
}

/// Where a rule was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The file's path in the policy directory, without the directory.
    pub file: Arc<str>,
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One `permit` or `forbid`, of `access.cedar` or of a file in `decisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// Its `@id("…")`, or `rule-<line>`.
    pub id: Arc<str>,
    pub origin: Origin,
    /// The rule as written, in Cedar.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowPolicyCommand {
    All,
    Select,
    Insert,
    Update,
    Delete,
}

/// One `CREATE POLICY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowPolicy {
    pub name: Arc<str>,
    pub table: ObjectName,
    /// False for RESTRICTIVE.
    pub permissive: bool,
    pub command: RowPolicyCommand,
    /// Empty for PUBLIC.
    pub roles: Vec<String>,
    /// SQL text, in PostgreSQL's dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRule {
    pub table: ObjectName,
    pub column: String,
    pub kind: MaskKind,
    pub predicates: MaskPredicates,
    /// Holders of one of these see the value itself.
    #[serde(default)]
    pub unless_roles: Vec<String>,
    pub origin: Origin,
}

/// What stands in a masked column's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    /// `***REDACTED***` for text, NULL for other types.
    Redact,
    /// A digest keyed per org: equal values stay equal.
    Hash,
    Null,
    /// Only the last characters.
    Partial {
        show_last: u32,
    },
}

/// What a masked column may do besides being returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPredicates {
    /// Nothing: choosing, ordering, joining or grouping rows by it is refused.
    #[default]
    Refuse,
    /// Predicates see the masked value.
    Masked,
    /// Equality sees the value itself.
    Equality,
    /// Every predicate sees the value itself.
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRule {
    pub table: ObjectName,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRule {
    pub table: ObjectName,
    pub tier: Tier,
    pub origin: Origin,
}

/// A fact that rules may read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactRule {
    /// The key, with variables: `approvals.${principal}.${resource.name}`. One that ends in `.*` stands for all facts
    /// below.
    pub key: String,
    /// What rules read when the fact is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Knowledge older than this refuses the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, CountRule>,
    pub origin: Origin,
}

/// How many elements of a fact's array fit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRule {
    /// The members' names that lead to the array, joined by dots; empty for the value itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// Members of an element, and what they must be: text, integers or booleans.
    #[serde(rename = "where", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, serde_json::Value>,
    /// Elements that are alike in this member count once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
}

impl BundleBody {
    /// The roles given and all they inherit, sorted; roles that the bundle does not know are left out.
    #[must_use]
    pub fn closed_roles<'a>(&self, given: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut held = std::collections::BTreeSet::new();
        let mut pending: Vec<&str> = given.into_iter().collect();
        while let Some(name) = pending.pop() {
            let Some((name, role)) = self.roles.get_key_value(name) else { continue };
            if held.insert(name.clone()) {
                pending.extend(role.inherits.iter().map(String::as_str));
            }
        }
        held.into_iter().collect()
    }
}
