//! Who may do what to which object: Cedar's answer, with only the rules that can matter run.
//!
//! INVARIANT: an indexed decision allows exactly when Cedar over all rules allows and no rule errs. Scopes are matched
//! here by Cedar's own meaning of `==`, `in` and `is`; a rule whose scope does not match is false before its
//! conditions are looked at, so leaving it out changes neither the answer nor the errors.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use cedar_policy::{AuthorizationError, Authorizer, Context, Decision as Answer, Entities, PolicySet, Response};
use hashbrown::HashMap;
use parking_lot::RwLock;
use weir_model::{Action, AttributeValue, ObjectName, Principal};

use crate::{
    access::{CompiledRule, PrincipalScope, ResourceScope},
    bounded_map::BoundedMap,
    bundle::BundleBody,
    context::{ContextKey, ContextNeeds, RequestContext},
    facts::{Asked, FactNeeds, FactVersion, Readings, Variable},
    rule_id::RuleId,
    world::World,
};

/// One question to the policy.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub action: Action,
    pub object: &'a ObjectName,
    pub context: &'a RequestContext<'a>,
}

/// The policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The rules that decided: the permits of an allowed request, the forbids or the failed rules of a refused one;
    /// none when no rule permits it.
    pub rules: Arc<[RuleId]>,
    /// For the journal and for those entitled to an explanation: names rules, their files and lines.
    pub reason: Arc<str>,
    /// False when the answer holds for this principal, action and object as long as this policy does.
    pub volatile: bool,
    /// The facts that it was made on, by key.
    pub facts: Arc<[FactVersion]>,
}

/// Distinct sets of conditional rules kept ready for Cedar.
const RULE_SETS_MAX: usize = 1024;

/// The rules, found by what their scopes name.
#[derive(Debug)]
pub(crate) struct AccessIndex {
    rules: Vec<CompiledRule>,
    by_scope: HashMap<ResourceScope, HashMap<PrincipalScope, Candidates>>,
    world: World,
    authorizer: Authorizer,
    rule_sets: BoundedMap<Vec<u32>, Arc<PolicySet>>,
}

/// Rule numbers for each of [`Action::ALL`].
type Candidates = [Vec<u32>; Action::ALL.len()];

/// What is left to do for one principal, action and object.
#[derive(Debug)]
pub(crate) enum Plan {
    Settled(Decision),
    Volatile(Box<Volatile>),
}

/// Rules that read the context must run each time. No settled rule forbids, and some rule may permit.
#[derive(Debug)]
pub(crate) struct Volatile {
    /// Rules that permit whatever the context.
    permits: Vec<u32>,
    rules: Arc<PolicySet>,
    needs: ContextNeeds,
    facts: Vec<Asked>,
    /// The rules that read facts, for refusals by what is not known.
    readers: Vec<RuleId>,
    entities: Entities,
    /// The last few contexts and their answers: sessions of one principal come from few places, for few purposes.
    recent: RwLock<VecDeque<Remembered>>,
}

/// An answer, and all that it depends on besides the plan.
#[derive(Debug)]
struct Remembered {
    context: ContextKey,
    facts: Readings,
    decision: Decision,
}

const RECENT_MAX: usize = 8;

impl AccessIndex {
    pub fn new(rules: Vec<CompiledRule>, body: &BundleBody) -> Result<AccessIndex, String> {
        let mut by_scope: HashMap<ResourceScope, HashMap<PrincipalScope, Candidates>> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| "there are too many rules".to_owned())?;
            let of_resource = by_scope.entry(rule.resource.clone()).or_default();
            let candidates = of_resource.entry(rule.principal.clone()).or_default();
            for (action, numbers) in Action::ALL.iter().zip(candidates) {
                if rule.actions.contains(*action) {
                    numbers.push(number);
                }
            }
        }
        let (world, authorizer) = (World::new(body)?, Authorizer::new());
        Ok(AccessIndex { rules, by_scope, world, authorizer, rule_sets: BoundedMap::new(RULE_SETS_MAX) })
    }

    /// The rules whose scope matches, in the order of the file.
    fn candidates(&self, principal: &Principal, action: Action, object: &ObjectName) -> Vec<u32> {
        let resources = [
            ResourceScope::Any,
            ResourceScope::Schema(object.schema().to_owned()),
            ResourceScope::Table(object.clone()),
        ];
        let mut principals = vec![PrincipalScope::Any, PrincipalScope::Agent(principal.agent.as_ref().to_owned())];
        principals.extend(principal.roles.iter().map(|role| PrincipalScope::Role(role.clone())));
        let mut found: Vec<u32> = Vec::new();
        for of_resource in resources.iter().filter_map(|resource| self.by_scope.get(resource)) {
            for candidates in principals.iter().filter_map(|principal| of_resource.get(principal)) {
                found.extend(candidates.get(action as usize).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Settles what does not depend on the context.
    pub fn plan(&self, body: &BundleBody, principal: &Principal, action: Action, object: &ObjectName) -> Plan {
        let subject = Subject { principal, action, object };
        let candidates = self.candidates(principal, action, object);
        let numbered = || candidates.iter().filter_map(|number| Some((*number, self.rule(*number)?)));
        let pick = |test: &dyn Fn(&CompiledRule) -> bool| -> Vec<u32> {
            numbered().filter(|(_, rule)| test(rule)).map(|(number, _)| number).collect()
        };
        let forbids = pick(&|rule| rule.forbid && !rule.conditional);
        if !forbids.is_empty() {
            return Plan::Settled(self.forbidden(&subject, &forbids, false));
        }
        if numbered().all(|(_, rule)| rule.forbid) {
            return Plan::Settled(unpermitted(&subject, false));
        }
        let mut permits = pick(&|rule| !rule.forbid && !rule.conditional);
        let conditional = pick(&|rule| rule.conditional);
        if conditional.is_empty() {
            return Plan::Settled(self.outcome(&subject, permits, false));
        }
        let entities = match self.world.entities(body, principal, object) {
            Ok(entities) => entities,
            Err(error) => return Plan::Settled(failed(&subject, &error, Vec::new(), false)),
        };
        let (steady, volatile): (Vec<u32>, Vec<u32>) =
            conditional.into_iter().partition(|number| self.is_steady(*number, &subject, &entities));
        if !steady.is_empty() {
            let answer = self.rule_set(steady).map_err(|error| failed(&subject, &error, Vec::new(), false));
            match answer.and_then(|rules| self.run(&subject, &rules, Context::empty(), &entities, false)) {
                Ok(satisfied) => permits.extend(satisfied),
                Err(refused) => return Plan::Settled(refused),
            }
        }
        let may_permit = |number: &u32| self.rule(*number).is_some_and(|rule| !rule.forbid);
        if volatile.is_empty() || (permits.is_empty() && !volatile.iter().any(may_permit)) {
            return Plan::Settled(self.outcome(&subject, permits, false));
        }
        match self.volatile(&subject, permits, volatile, entities) {
            Ok(volatile) => Plan::Volatile(Box::new(volatile)),
            Err(refused) => Plan::Settled(refused),
        }
    }

    /// Whether a rule answers the same in every context: it reads nothing of it, or what comes before settles it. One
    /// that would read an empty context fails, as long as it does not ask with `has`; so one that does not fail there
    /// read nothing, and will not in any other. `principal in Role::"admin" || context.…` costs an admin no look at
    /// the context, and makes no admin depend on facts.
    fn is_steady(&self, number: u32, subject: &Subject<'_>, entities: &Entities) -> bool {
        let Some(rule) = self.rule(number) else { return false };
        if rule.read.needs.is_empty() {
            return true;
        }
        if rule.read.guarded {
            return false;
        }
        let Ok(request) = self.request(subject, Context::empty()) else { return false };
        let alone = PolicySet::from_policies([rule.policy.clone()]);
        alone.is_ok_and(|alone| {
            self.authorizer.is_authorized(&request, &alone, entities).diagnostics().errors().next().is_none()
        })
    }

    /// What stays to be done each time.
    fn volatile(
        &self,
        subject: &Subject<'_>,
        permits: Vec<u32>,
        numbers: Vec<u32>,
        entities: Entities,
    ) -> Result<Volatile, Decision> {
        let mut needs = ContextNeeds::default();
        let mut facts = FactNeeds::default();
        let mut readers = Vec::new();
        for (number, rule) in numbers.iter().filter_map(|number| Some((*number, self.rule(*number)?))) {
            needs = needs.union(rule.read.needs);
            facts.union(&rule.read.facts);
            if !rule.read.facts.is_empty() {
                readers.push(number);
            }
        }
        let readers = self.ids(&readers);
        let asked = facts.into_needs().into_iter().map(|need| {
            let key = need.fact.key.resolve(|variable| subject.variable(variable));
            match key {
                Ok(key) => Ok(Asked { need, key: key.into() }),
                Err(error) => {
                    let error = format!("fact `{}`: {error}", need.fact.name);
                    Err(failed(subject, &error, readers.clone(), false))
                }
            }
        });
        let facts = asked.collect::<Result<Vec<Asked>, Decision>>()?;
        let rules = self.rule_set(numbers).map_err(|error| failed(subject, &error, Vec::new(), false))?;
        Ok(Volatile { permits, rules, needs, facts, readers, entities, recent: RwLock::default() })
    }

    /// Runs the rules that read the context, unless they just ran for one, and for facts, that they cannot tell from
    /// these.
    pub fn decide(&self, volatile: &Volatile, principal: &Principal, request: &Request<'_>) -> Decision {
        let subject = Subject { principal, action: request.action, object: request.object };
        let facts = match Readings::take(&volatile.facts, request.context.facts, None) {
            Ok(facts) => facts,
            Err(error) => return failed(&subject, &error.to_string(), volatile.readers.clone(), true),
        };
        let needs = volatile.needs;
        if !needs.are_repeatable() || !facts.are_rememberable() {
            return self.evaluate(volatile, &subject, request.context, &facts);
        }
        let same = |remembered: &&Remembered| {
            request.context.matches(&remembered.context, needs) && facts.are_same(&remembered.facts)
        };
        if let Some(remembered) = volatile.recent.read().iter().find(same) {
            return remembered.decision.clone();
        }
        let decision = self.evaluate(volatile, &subject, request.context, &facts);
        let mut recent = volatile.recent.write();
        recent.truncate(RECENT_MAX - 1);
        recent.push_front(Remembered { context: request.context.key(needs), facts, decision: decision.clone() });
        decision
    }

    fn evaluate(
        &self,
        volatile: &Volatile,
        subject: &Subject<'_>,
        context: &RequestContext<'_>,
        facts: &Readings,
    ) -> Decision {
        let read = (!volatile.facts.is_empty()).then(|| facts.to_cedar(&volatile.facts)).transpose();
        let decision = match read {
            Err(error) => failed(subject, &error, volatile.readers.clone(), true),
            Ok(read) => match context.to_cedar(volatile.needs, read) {
                Err(error) => failed(subject, &error, Vec::new(), true),
                Ok(context) => match self.run(subject, &volatile.rules, context, &volatile.entities, true) {
                    Ok(satisfied) => {
                        let permits = volatile.permits.iter().copied().chain(satisfied).collect();
                        self.outcome(subject, permits, true)
                    }
                    Err(refused) => refused,
                },
            },
        };
        Decision { facts: facts.versions(), ..decision }
    }

    /// The permits among the rules that hold, or the refusal when a forbid holds or a rule errs.
    fn run(
        &self,
        subject: &Subject<'_>,
        rules: &PolicySet,
        context: Context,
        entities: &Entities,
        volatile: bool,
    ) -> Result<Vec<u32>, Decision> {
        let request = self.request(subject, context).map_err(|error| failed(subject, &error, Vec::new(), volatile))?;
        let response = self.authorizer.is_authorized(&request, rules, entities);
        let mut errors = response.diagnostics().errors().peekable();
        if let Some(AuthorizationError::PolicyEvaluationError(first)) = errors.peek() {
            let message = first.inner().to_string();
            let erring: Vec<u32> =
                errors.map(|AuthorizationError::PolicyEvaluationError(error)| number(error.policy_id())).collect();
            return Err(failed(subject, &message, self.ids(&erring), volatile));
        }
        let satisfied = satisfied(&response);
        if response.decision() == Answer::Deny && !satisfied.is_empty() {
            return Err(self.forbidden(subject, &satisfied, volatile));
        }
        Ok(satisfied)
    }

    fn request(&self, subject: &Subject<'_>, context: Context) -> Result<cedar_policy::Request, String> {
        let Subject { principal, action, object } = *subject;
        let (agent, action, table) =
            (self.world.agent(&principal.agent), self.world.action(action), self.world.table(object));
        cedar_policy::Request::new(agent, action, table, context, None).map_err(|error| error.to_string())
    }

    fn rule_set(&self, numbers: Vec<u32>) -> Result<Arc<PolicySet>, String> {
        self.rule_sets.get_or_make(&numbers, || {
            let policies = numbers.iter().filter_map(|number| self.rule(*number)).map(|rule| rule.policy.clone());
            let set = PolicySet::from_policies(policies).map_err(|error| error.to_string())?;
            Ok((numbers.clone(), Arc::new(set)))
        })
    }

    fn rule(&self, number: u32) -> Option<&CompiledRule> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    fn ids(&self, numbers: &[u32]) -> Vec<RuleId> {
        numbers.iter().filter_map(|number| self.rule(*number)).map(|rule| rule.id.clone()).collect()
    }

    fn outcome(&self, subject: &Subject<'_>, permits: Vec<u32>, volatile: bool) -> Decision {
        if permits.is_empty() {
            return unpermitted(subject, volatile);
        }
        let mut permits = permits;
        permits.sort_unstable();
        let rules = self.ids(&permits);
        let reason = format!("{} is permitted by {}", subject.describe(), list(&rules)).into();
        Decision { allowed: true, rules: rules.into(), reason, volatile, facts: Arc::default() }
    }

    fn forbidden(&self, subject: &Subject<'_>, forbids: &[u32], volatile: bool) -> Decision {
        let mut forbids = forbids.to_vec();
        forbids.sort_unstable();
        let rules = self.ids(&forbids);
        let reason = format!("{} is forbidden by {}", subject.describe(), list(&rules)).into();
        Decision { allowed: false, rules: rules.into(), reason, volatile, facts: Arc::default() }
    }
}

#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    principal: &'a Principal,
    action: Action,
    object: &'a ObjectName,
}

impl<'a> Subject<'a> {
    fn describe(&self) -> String {
        format!("{} on {} for agent `{}`", self.action, self.object, self.principal.agent)
    }

    /// What a fact's key may be made of.
    fn variable(&self, variable: &Variable) -> Result<Cow<'a, str>, String> {
        match variable {
            Variable::Principal => Ok(Cow::Borrowed(&self.principal.agent)),
            Variable::Action => Ok(self.action.as_str().into()),
            Variable::PrincipalAttribute(name) => match self.principal.attributes.get(name) {
                Some(AttributeValue::List(_)) => Err(format!("`{}` is a list", variable.written())),
                Some(value) => Ok(value.to_string().into()),
                None => Err(format!("the agent has no attribute `{name}`, which the key is made with")),
            },
            Variable::ResourceMember(name) if name == "schema" => Ok(self.object.schema().into()),
            Variable::ResourceMember(name) if name == "name" => Ok(self.object.name().into()),
            Variable::Resource | Variable::ResourceMember(_) | Variable::RequestMember(_) => {
                Err(format!("statements have no `{}`", variable.written()))
            }
        }
    }
}

fn unpermitted(subject: &Subject<'_>, volatile: bool) -> Decision {
    let reason = format!("no rule permits {}", subject.describe()).into();
    Decision { allowed: false, rules: Arc::default(), reason, volatile, facts: Arc::default() }
}

fn failed(subject: &Subject<'_>, error: &str, rules: Vec<RuleId>, volatile: bool) -> Decision {
    let named = if rules.is_empty() { String::new() } else { format!(" in {}", list(&rules)) };
    let reason = format!("{} is refused by an error{named}: {error}", subject.describe()).into();
    Decision { allowed: false, rules: rules.into(), reason, volatile, facts: Arc::default() }
}

pub(crate) fn list(rules: &[RuleId]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn satisfied(response: &Response) -> Vec<u32> {
    response.diagnostics().reason().map(number).collect()
}

/// A rule's id in Cedar is its number.
pub(crate) fn number(id: &cedar_policy::PolicyId) -> u32 {
    AsRef::<str>::as_ref(id).parse().unwrap_or(u32::MAX)
}
