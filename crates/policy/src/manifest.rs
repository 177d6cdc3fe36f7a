//! `policy.toml`: its shape, and the checks that need no other file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;
use weir_model::{AttributeValue, Attributes, NAME_BYTES_MAX, ObjectName, OrgName};

use crate::{
    bundle::{
        Agent, FactRule, Limits, MaskKind, MaskPredicates, MaskRule, OrgStatus, Origin, Period, Priority, QuotaRule,
        Role, TableRule, Tier, TierRule,
    },
    diagnostic::{Mistake, Place, did_you_mean},
    facts::{DeclarationReader, FactEntry},
    source::POLICY_TOML,
};

/// Roles that go first when statements wait, unless the file says otherwise.
const HIGH_BY_DEFAULT: [&str; 2] = ["admin", "analyst"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    org: Spanned<String>,
    #[serde(default)]
    status: OrgStatus,
    #[serde(default)]
    tier: Tier,
    #[serde(default)]
    roles: BTreeMap<Spanned<String>, RoleEntry>,
    #[serde(default)]
    agents: BTreeMap<Spanned<String>, AgentEntry>,
    #[serde(default)]
    quota: QuotaEntry,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    masks: Vec<Spanned<MaskEntry>>,
    #[serde(default)]
    ledgers: Vec<Spanned<LedgerEntry>>,
    #[serde(default)]
    tiers: Vec<Spanned<TierEntry>>,
    #[serde(default)]
    facts: BTreeMap<Spanned<String>, FactEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    #[serde(default)]
    description: String,
    #[serde(default)]
    inherits: Vec<Spanned<String>>,
    priority: Option<Priority>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentEntry {
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    #[serde(default)]
    attributes: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    credits: Option<Spanned<f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaEntry {
    org_credits: Option<Spanned<f64>>,
    agent_credits: Option<Spanned<f64>>,
    #[serde(default)]
    period: Period,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MaskKindEntry {
    Redact,
    Hash,
    Null,
    Partial,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskEntry {
    table: Spanned<String>,
    column: Spanned<String>,
    kind: Spanned<MaskKindEntry>,
    show_last: Option<Spanned<u32>>,
    #[serde(default)]
    unless_roles: Vec<Spanned<String>>,
    #[serde(default)]
    predicates: MaskPredicates,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerEntry {
    table: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    table: Spanned<String>,
    tier: Tier,
}

/// `policy.toml`, checked.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub org: OrgName,
    pub status: OrgStatus,
    pub tier: Tier,
    pub roles: BTreeMap<String, Role>,
    pub agents: BTreeMap<String, Agent>,
    pub quota: QuotaRule,
    pub limits: Limits,
    pub masks: Vec<MaskRule>,
    pub ledgers: Vec<TableRule>,
    pub tiers: Vec<TierRule>,
    pub facts: BTreeMap<String, FactRule>,
}

/// Reads TOML into `T`; a mistake says where, and names the nearest known key or value.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(Place::START, |span| Place::of(text, span.start));
        let message = error.message().replace('\n', "; ");
        let mut quoted = message.split('`').skip(1).step_by(2);
        let hint = if message.starts_with("unknown ") {
            quoted.next().and_then(|written| did_you_mean(written, quoted))
        } else {
            None
        };
        Mistake::at(place, message.clone()).hint_opt(hint)
    })
}

pub(crate) fn read(text: &str) -> Result<Manifest, Vec<Mistake>> {
    let file: File = parse_toml(text).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader { text, mistakes: Vec::new(), roles: BTreeSet::new() };
    let manifest = reader.manifest(file);
    match manifest {
        Some(manifest) if reader.mistakes.is_empty() => Ok(manifest),
        _ => Err(reader.mistakes),
    }
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
    roles: BTreeSet<String>,
}

impl Reader<'_> {
    fn manifest(&mut self, file: File) -> Option<Manifest> {
        let org = match OrgName::new(file.org.get_ref()) {
            Ok(org) => Some(org),
            Err(invalid) => {
                self.mistake(&file.org, invalid.to_string());
                None
            }
        };
        self.roles = file.roles.keys().map(|name| name.get_ref().clone()).collect();
        let roles = file.roles.into_iter().map(|(name, entry)| self.role(name, entry)).collect();
        let agents = file.agents.into_iter().map(|(name, entry)| self.agent(name, entry)).collect();
        let quota = QuotaRule {
            org_millicredits: self.millicredits(file.quota.org_credits),
            agent_millicredits: self.millicredits(file.quota.agent_credits),
            period: file.quota.period,
        };
        let masks = file.masks.into_iter().filter_map(|entry| self.mask(entry)).collect();
        let ledgers = file.ledgers.into_iter().filter_map(|entry| self.ledger(entry)).collect();
        let tiers = file.tiers.into_iter().filter_map(|entry| self.tier(entry)).collect();
        let facts = DeclarationReader { text: self.text, mistakes: &mut self.mistakes }.facts(file.facts);
        self.inheritance(&roles);
        let (status, tier, limits) = (file.status, file.tier, file.limits);
        org.map(|org| Manifest { org, status, tier, roles, agents, quota, limits, masks, ledgers, tiers, facts })
    }

    fn mistake<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        self.hinted(at, message, None);
    }

    fn hinted<T>(&mut self, at: &Spanned<T>, message: impl Into<String>, hint: Option<String>) {
        self.mistakes.push(Mistake::at(Place::of(self.text, at.span().start), message).hint_opt(hint));
    }

    fn line<T>(&self, at: &Spanned<T>) -> u32 {
        Place::of(self.text, at.span().start).line
    }

    fn role(&mut self, name: Spanned<String>, entry: RoleEntry) -> (String, Role) {
        if name.get_ref().eq_ignore_ascii_case("public") {
            self.mistake(&name, "`public` means everybody in row filters and cannot be a role");
        } else if !is_plain_name(name.get_ref()) {
            self.mistake(&name, format!("`{}` is not a role's name: 1 to 63 of a-z, 0-9, _ and -", name.get_ref()));
        }
        let inherits = self.known_roles(entry.inherits);
        let default =
            if HIGH_BY_DEFAULT.contains(&name.get_ref().as_str()) { Priority::High } else { Priority::Normal };
        let priority = entry.priority.unwrap_or(default);
        (name.into_inner(), Role { description: entry.description, inherits, priority })
    }

    fn agent(&mut self, name: Spanned<String>, entry: AgentEntry) -> (String, Agent) {
        let text = name.get_ref();
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            self.mistake(&name, "an agent's name is 1 to 63 bytes without control characters");
        }
        let roles = self.known_roles(entry.roles);
        let mut attributes = Attributes::new();
        for (key, value) in entry.attributes {
            if !is_plain_name(key.get_ref()) {
                self.mistake(
                    &key,
                    format!("`{}` is not an attribute's name: 1 to 63 of a-z, 0-9, _ and -", key.get_ref()),
                );
            }
            match attribute(value.get_ref()) {
                Some(value) => {
                    attributes.insert(key.into_inner(), value);
                }
                None => self.mistake(&value, "an attribute is a string, an integer, a boolean, or a list of strings"),
            }
        }
        let millicredits = self.millicredits(entry.credits);
        (name.into_inner(), Agent { roles, attributes, millicredits })
    }

    fn known_roles(&mut self, names: Vec<Spanned<String>>) -> Vec<String> {
        let mut known = Vec::with_capacity(names.len());
        for name in names {
            if !self.roles.contains(name.get_ref()) {
                let hint = did_you_mean(name.get_ref(), self.roles.iter().map(String::as_str))
                    .or_else(|| Some(format!("declare it: [roles.{}]", name.get_ref())));
                self.hinted(&name, format!("role `{}` is not declared", name.get_ref()), hint);
            }
            known.push(name.into_inner());
        }
        known
    }

    /// A role must not inherit itself, over whatever way: it says nothing, and is surely not meant.
    fn inheritance(&mut self, roles: &BTreeMap<String, Role>) {
        for name in roles.keys() {
            let mut pending: Vec<&str> = inherited(roles, name).collect();
            let mut seen = BTreeSet::new();
            while let Some(next) = pending.pop() {
                if next == name {
                    let place =
                        self.text.find(&format!("roles.{name}")).map_or(Place::START, |at| Place::of(self.text, at));
                    self.mistakes.push(Mistake::at(place, format!("role `{name}` inherits itself")));
                    break;
                }
                if seen.insert(next) {
                    pending.extend(inherited(roles, next));
                }
            }
        }
    }

    /// Credits are written with up to three decimals, and kept in thousandths.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds are checked just before")]
    fn millicredits(&mut self, credits: Option<Spanned<f64>>) -> Option<u64> {
        let credits = credits?;
        let thousandths = credits.get_ref() * 1000.0;
        if (0.0..=9.0e15).contains(&thousandths) {
            return Some(thousandths.round() as u64);
        }
        self.mistake(&credits, "credits are a number between 0 and 9 000 000 000 000");
        None
    }

    fn table(&mut self, written: &Spanned<String>) -> Option<ObjectName> {
        match ObjectName::try_from(written.get_ref().clone()) {
            Ok(name) => Some(name),
            Err(invalid) => {
                self.hinted(written, invalid.to_string(), Some("write `schema.table`".into()));
                None
            }
        }
    }

    fn mask(&mut self, entry: Spanned<MaskEntry>) -> Option<MaskRule> {
        let origin = self.origin(&entry);
        let entry = entry.into_inner();
        let kind = match (entry.kind.get_ref(), &entry.show_last) {
            (MaskKindEntry::Partial, Some(show_last)) => MaskKind::Partial { show_last: *show_last.get_ref() },
            (MaskKindEntry::Partial, None) => {
                self.hinted(
                    &entry.kind,
                    "a partial mask says how many characters stay",
                    Some("add `show_last = 4`".into()),
                );
                return None;
            }
            (_, Some(show_last)) => {
                self.mistake(show_last, "`show_last` belongs to masks of kind \"partial\"");
                return None;
            }
            (MaskKindEntry::Redact, None) => MaskKind::Redact,
            (MaskKindEntry::Hash, None) => MaskKind::Hash,
            (MaskKindEntry::Null, None) => MaskKind::Null,
        };
        if entry.column.get_ref().is_empty() || entry.column.get_ref().len() > NAME_BYTES_MAX {
            self.mistake(&entry.column, "a column's name is 1 to 63 bytes");
        }
        let unless_roles = self.known_roles(entry.unless_roles);
        let table = self.table(&entry.table)?;
        Some(MaskRule {
            table,
            column: entry.column.into_inner(),
            kind,
            predicates: entry.predicates,
            unless_roles,
            origin,
        })
    }

    fn ledger(&mut self, entry: Spanned<LedgerEntry>) -> Option<TableRule> {
        let origin = self.origin(&entry);
        Some(TableRule { table: self.table(&entry.get_ref().table)?, origin })
    }

    fn tier(&mut self, entry: Spanned<TierEntry>) -> Option<TierRule> {
        let origin = self.origin(&entry);
        Some(TierRule { table: self.table(&entry.get_ref().table)?, tier: entry.get_ref().tier, origin })
    }

    fn origin<T>(&self, at: &Spanned<T>) -> Origin {
        Origin { file: POLICY_TOML.into(), line: self.line(at) }
    }
}

fn inherited<'a>(roles: &'a BTreeMap<String, Role>, name: &str) -> impl Iterator<Item = &'a str> {
    roles.get(name).into_iter().flat_map(|role| role.inherits.iter().map(String::as_str))
}

fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

pub(crate) fn attribute(value: &toml::Value) -> Option<AttributeValue> {
    Some(match value {
        toml::Value::Boolean(value) => AttributeValue::Bool(*value),
        toml::Value::Integer(value) => AttributeValue::Integer(*value),
        toml::Value::String(value) => AttributeValue::Text(value.clone()),
        toml::Value::Array(values) => AttributeValue::List(
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()?,
        ),
        _ => return None,
    })
}
