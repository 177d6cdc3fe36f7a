//! One rule of `decisions/<path>.cedar`, checked.
//!
//! Such rules speak of what an application names: `App::"…"` does `Action::"…"` to `Resource::"…"`. This policy knows
//! no list of those, so the types are checked, and the names are not.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, PrincipalConstraint, ResourceConstraint};

use crate::{
    bundle::AccessRule,
    cedar_text::{self, ContextReads, RuleMistake},
    context::OF_DECISIONS,
    diagnostic::{Mistake, Place, did_you_mean},
    facts::{FactIndex, Scope},
    rule_id::RuleId,
};

pub(crate) const APP: &str = "App";
pub(crate) const ACTION: &str = "Action";
pub(crate) const RESOURCE: &str = "Resource";
const TYPES: [&str; 3] = [APP, ACTION, RESOURCE];

#[derive(Debug)]
pub(crate) struct DecisionRule {
    pub id: RuleId,
    pub policy: cedar_policy::Policy,
    pub scope: RuleScope,
    pub read: ContextReads,
}

/// What a rule's scope demands; none: nothing.
#[derive(Debug)]
pub(crate) struct RuleScope {
    principal: Option<EntityUid>,
    actions: Option<Vec<EntityUid>>,
    resource: Option<EntityUid>,
}

/// Who, what, and to what.
#[derive(Debug)]
pub(crate) struct Question {
    pub app: EntityUid,
    pub action: EntityUid,
    pub resource: EntityUid,
}

/// The rules of one file. A file without a rule was surely meant to have some.
pub(crate) fn read(text: &str, file: &str, facts: &FactIndex) -> Result<Vec<AccessRule>, Vec<Mistake>> {
    let rules = cedar_text::read(text, file, |rule, number| {
        DecisionRule::new(rule, number, facts).map(|compiled| compiled.policy)
    })?;
    if rules.is_empty() {
        let mistake = Mistake::at(Place::START, "the file has no rule");
        return Err(vec![mistake.hint("remove the file: a path without rules does not exist")]);
    }
    Ok(rules)
}

impl DecisionRule {
    pub fn new(rule: &AccessRule, number: usize, facts: &FactIndex) -> Result<DecisionRule, Vec<RuleMistake>> {
        let policy = cedar_text::parse(&rule.text, number)?;
        let mut checks = Checks { text: &rule.text, mistakes: Vec::new() };
        for literal in policy.entity_literals() {
            checks.literal(&literal);
        }
        let scope = checks.scope(&policy);
        let asked_in = Scope { statements: false, decisions: true };
        let read = match ContextReads::of(&policy, &rule.text, OF_DECISIONS, facts, asked_in) {
            Ok(read) => Some(read),
            Err(mistakes) => {
                checks.mistakes.extend(mistakes);
                None
            }
        };
        if read.as_ref().is_some_and(|read| read.whole) {
            checks.mistakes.push(checks.at("context", "`context` is not used as a whole"));
        }
        match read {
            Some(read) if checks.mistakes.is_empty() => {
                let id = RuleId { id: Arc::clone(&rule.id), origin: rule.origin.clone() };
                Ok(DecisionRule { id, policy, scope, read })
            }
            _ => Err(checks.mistakes),
        }
    }
}

struct Checks<'a> {
    text: &'a str,
    mistakes: Vec<RuleMistake>,
}

impl Checks<'_> {
    fn at(&self, needle: &str, message: impl Into<String>) -> RuleMistake {
        RuleMistake { offset: self.text.find(needle).unwrap_or(0), message: message.into(), hint: None }
    }

    fn literal(&mut self, uid: &EntityUid) {
        let entity_type = uid.type_name().to_string();
        if !TYPES.contains(&entity_type.as_str()) {
            let hint = did_you_mean(&entity_type, TYPES).or_else(|| Some(format!("known: {}", TYPES.join(", "))));
            let mistake =
                self.at(&format!("{entity_type}::"), format!("there is no entity type `{entity_type}` in decisions"));
            self.mistakes.push(RuleMistake { hint, ..mistake });
        }
    }

    /// A scope that asks for another type than the one that is always there could never match.
    fn scope(&mut self, policy: &cedar_policy::Policy) -> RuleScope {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => None,
            PrincipalConstraint::Is(name) => self.only("principal", APP, &name, None),
            PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) => {
                self.only("principal", APP, &uid.type_name().clone(), Some(uid))
            }
            PrincipalConstraint::IsIn(name, uid) => {
                self.only("principal", APP, &name, None);
                self.only("principal", APP, &uid.type_name().clone(), Some(uid))
            }
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::In(uids) => Some(uids),
            ActionConstraint::Eq(uid) => Some(vec![uid]),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => None,
            ResourceConstraint::Is(name) => self.only("resource", RESOURCE, &name, None),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => {
                self.only("resource", RESOURCE, &uid.type_name().clone(), Some(uid))
            }
            ResourceConstraint::IsIn(name, uid) => {
                self.only("resource", RESOURCE, &name, None);
                self.only("resource", RESOURCE, &uid.type_name().clone(), Some(uid))
            }
        };
        RuleScope { principal, actions, resource }
    }

    fn only(&mut self, what: &str, always: &str, found: &EntityTypeName, uid: Option<EntityUid>) -> Option<EntityUid> {
        let found = found.to_string();
        // A literal of an unknown type is a mistake already.
        let told = uid.is_some() && !TYPES.contains(&found.as_str());
        if found != always && !told {
            let mistake = self.at(what, format!("the {what} of a decision is always `{always}`, never `{found}`"));
            self.mistakes.push(mistake);
        }
        uid
    }
}

impl RuleScope {
    pub fn matches(&self, question: &Question) -> bool {
        self.principal.as_ref().is_none_or(|app| *app == question.app)
            && self.actions.as_ref().is_none_or(|actions| actions.contains(&question.action))
            && self.resource.as_ref().is_none_or(|resource| *resource == question.resource)
    }
}
