//! `access.cedar`: one rule at a time, checked against the names the policy declares.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, Effect, EntityUid, PrincipalConstraint, ResourceConstraint};
use weir_model::{Action, ObjectName};

use crate::{
    bundle::{AccessRule, BundleBody},
    cedar_text::{self, ContextReads, RuleMistake},
    context::OF_STATEMENTS,
    diagnostic::{Mistake, did_you_mean},
    facts::{FactIndex, Scope},
    rule_id::RuleId,
    source::ACCESS_CEDAR,
    world::{ACTION, AGENT, GROUPS, ORG, ROLE, SCHEMA, TABLE, TYPES},
};

/// A set of actions, one bit for each of [`Action::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActionSet(u8);

impl ActionSet {
    pub const EVERY: ActionSet = ActionSet((1 << Action::ALL.len()) - 1);

    pub fn of(actions: impl IntoIterator<Item = Action>) -> ActionSet {
        ActionSet(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u8))
    }

    pub fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PrincipalScope {
    Any,
    Agent(String),
    Role(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ResourceScope {
    Any,
    Schema(String),
    Table(ObjectName),
}

/// One rule, ready to be indexed and run.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub id: RuleId,
    /// Its id in Cedar is its place in the bundle, as decimal text.
    pub policy: cedar_policy::Policy,
    pub forbid: bool,
    pub principal: PrincipalScope,
    pub actions: ActionSet,
    pub resource: ResourceScope,
    /// Whether it has `when` or `unless`.
    pub conditional: bool,
    /// What it reads of the request's context; a rule that reads nothing gives one answer per principal and object.
    pub read: ContextReads,
}

/// The rules of the file, each checked. `body` gives the names that rules may use.
pub(crate) fn read(text: &str, body: &BundleBody, facts: &FactIndex) -> Result<Vec<AccessRule>, Vec<Mistake>> {
    cedar_text::read(text, ACCESS_CEDAR, |rule, number| {
        compile_rule(rule, number, body, facts).map(|compiled| compiled.policy)
    })
}

/// Parses one rule and checks that every name in it exists and that its scope can match at all.
pub(crate) fn compile_rule(
    rule: &AccessRule,
    index: usize,
    body: &BundleBody,
    facts: &FactIndex,
) -> Result<CompiledRule, Vec<RuleMistake>> {
    let policy = cedar_text::parse(&rule.text, index)?;
    let mut checks = Checks { text: &rule.text, body, mistakes: Vec::new() };
    for literal in policy.entity_literals() {
        checks.literal(&literal);
    }
    let principal = checks.principal(policy.principal_constraint());
    let actions = checks.actions(policy.action_constraint());
    let resource = checks.resource(policy.resource_constraint());
    let conditional = policy.has_non_scope_constraint();
    let read = checks.context(&policy, facts);
    if !checks.mistakes.is_empty() {
        return Err(checks.mistakes);
    }
    let (Some(principal), Some(actions), Some(resource), Some(read)) = (principal, actions, resource, read) else {
        return Err(vec![RuleMistake { offset: 0, message: "the rule's scope can never match".into(), hint: None }]);
    };
    let forbid = policy.effect() == Effect::Forbid;
    let id = RuleId { id: Arc::clone(&rule.id), origin: rule.origin.clone() };
    Ok(CompiledRule { id, policy, forbid, principal, actions, resource, conditional, read })
}

struct Checks<'a> {
    text: &'a str,
    body: &'a BundleBody,
    mistakes: Vec<RuleMistake>,
}

impl Checks<'_> {
    fn mistake(&mut self, needle: &str, message: String, hint: Option<String>) {
        let offset = self.text.find(needle).unwrap_or(0);
        self.mistakes.push(RuleMistake { offset, message, hint });
    }

    /// Every entity that a rule names must exist: a misspelt role in a `forbid` would forbid nothing.
    fn literal(&mut self, uid: &EntityUid) {
        let entity_type = uid.type_name().to_string();
        let name: &str = uid.id().unescaped();
        let written = format!("{entity_type}::\"{name}\"");
        let hinted = |known: Vec<&str>| {
            did_you_mean(name, known.iter().copied()).or_else(|| Some(format!("known: {}", known.join(", "))))
        };
        let (message, hint) = match entity_type.as_str() {
            ROLE if !self.body.roles.contains_key(name) => (
                format!("role `{name}` is not declared in policy.toml"),
                hinted(self.body.roles.keys().map(String::as_str).collect()),
            ),
            AGENT if !self.body.agents.contains_key(name) => (
                format!("agent `{name}` is not declared in policy.toml"),
                did_you_mean(name, self.body.agents.keys().map(String::as_str)),
            ),
            ACTION if Action::parse(name).is_none() && !GROUPS.iter().any(|(group, _)| *group == name) => {
                let known =
                    Action::ALL.iter().map(|action| action.as_str()).chain(GROUPS.iter().map(|(group, _)| *group));
                (format!("there is no action `{name}`"), hinted(known.collect()))
            }
            ORG if name != self.body.org.as_str() => {
                (format!("org `{name}` is not this policy's org"), Some(format!("write `Org::\"{}\"`", self.body.org)))
            }
            TABLE => match ObjectName::try_from(name.to_owned()) {
                Ok(table) if table.to_string() == name => return,
                Ok(table) => {
                    (format!("`{name}` is not a table's full name"), Some(format!("write `Table::\"{table}\"`")))
                }
                Err(invalid) => (invalid.to_string(), Some("write `Table::\"schema.table\"`".into())),
            },
            ROLE | AGENT | ACTION | ORG | SCHEMA => return,
            other => (format!("there is no entity type `{other}`"), did_you_mean_type(other)),
        };
        self.mistake(&written, message, hint);
    }

    fn principal(&mut self, constraint: PrincipalConstraint) -> Option<PrincipalScope> {
        let never = |this: &mut Self, what: &str, hint: &str| {
            this.mistake("principal", format!("the principal is always an agent, never {what}"), Some(hint.to_owned()));
            None
        };
        let agents_only = |this: &mut Self, name: &cedar_policy::EntityTypeName| {
            let agent = name.to_string() == AGENT;
            if !agent {
                let message = format!("the principal is always an agent, never a `{name}`");
                this.mistake("principal", message, Some("write `principal is Agent`".into()));
            }
            agent
        };
        match constraint {
            PrincipalConstraint::Any => Some(PrincipalScope::Any),
            PrincipalConstraint::Is(name) => agents_only(self, &name).then_some(PrincipalScope::Any),
            PrincipalConstraint::Eq(uid) => match uid.type_name().to_string().as_str() {
                AGENT => Some(PrincipalScope::Agent(uid.id().unescaped().to_owned())),
                ROLE => never(self, "a role", "write `principal in Role::…` for holders of a role"),
                _ => None,
            },
            PrincipalConstraint::IsIn(name, _) if !agents_only(self, &name) => None,
            PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                let name = uid.id().unescaped().to_owned();
                match uid.type_name().to_string().as_str() {
                    AGENT => Some(PrincipalScope::Agent(name)),
                    ROLE => Some(PrincipalScope::Role(name)),
                    TABLE | SCHEMA | ORG | ACTION => never(self, "in that", "agents are in roles"),
                    _ => None,
                }
            }
        }
    }

    fn actions(&mut self, constraint: ActionConstraint) -> Option<ActionSet> {
        let members = |uid: &EntityUid| -> Vec<Action> {
            let name: &str = uid.id().unescaped();
            let group = GROUPS.iter().find(|(group, _)| *group == name).map(|(_, members)| members.to_vec());
            group.unwrap_or_else(|| Action::parse(name).into_iter().collect())
        };
        match constraint {
            ActionConstraint::Any => Some(ActionSet::EVERY),
            ActionConstraint::In(uids) => Some(ActionSet::of(uids.iter().flat_map(members))),
            ActionConstraint::Eq(uid) => {
                let name: &str = uid.id().unescaped();
                if GROUPS.iter().any(|(group, _)| *group == name) {
                    let hint = Some(format!("write `action in Action::\"{name}\"`"));
                    self.mistake("action", format!("`{name}` is a group of actions"), hint);
                }
                Action::parse(name).map(|action| ActionSet::of([action]))
            }
        }
    }

    fn resource(&mut self, constraint: ResourceConstraint) -> Option<ResourceScope> {
        let tables_only = |this: &mut Self, name: &cedar_policy::EntityTypeName| {
            let table = name.to_string() == TABLE;
            if !table {
                let message = format!("the resource is always a table, never a `{name}`");
                this.mistake("resource", message, Some("write `resource is Table`".into()));
            }
            table
        };
        match constraint {
            ResourceConstraint::Any => Some(ResourceScope::Any),
            ResourceConstraint::Is(name) => tables_only(self, &name).then_some(ResourceScope::Any),
            ResourceConstraint::IsIn(name, _) if !tables_only(self, &name) => None,
            ResourceConstraint::Eq(uid) if uid.type_name().to_string() != TABLE => {
                let message = "the resource is always a table".to_owned();
                self.mistake("resource", message, Some(format!("write `resource in {uid}`")));
                None
            }
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                let name: &str = uid.id().unescaped();
                match uid.type_name().to_string().as_str() {
                    TABLE => ObjectName::try_from(name.to_owned()).ok().map(ResourceScope::Table),
                    SCHEMA => Some(ResourceScope::Schema(name.to_owned())),
                    ORG => Some(ResourceScope::Any),
                    other => {
                        let hint = Some("a table is in its schema and its org".to_owned());
                        self.mistake("resource", format!("a table is never in a `{other}`"), hint);
                        None
                    }
                }
            }
        }
    }

    fn context(&mut self, policy: &cedar_policy::Policy, facts: &FactIndex) -> Option<ContextReads> {
        let asked_in = Scope { statements: true, decisions: false };
        match ContextReads::of(policy, self.text, OF_STATEMENTS, facts, asked_in) {
            Ok(read) => Some(read),
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                None
            }
        }
    }
}

fn did_you_mean_type(written: &str) -> Option<String> {
    did_you_mean(written, TYPES).or_else(|| Some(format!("known: {}", TYPES.join(", "))))
}
