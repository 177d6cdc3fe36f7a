use std::{
    collections::BTreeMap,
    convert::Infallible,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::{Equivalent, HashMap, HashSet};
use weir_model::{Action, Attributes, Code, Identity, ObjectName, OrgName, Principal, Refusal};

use crate::{
    access::compile_rule,
    bounded_map::{BoundedMap, PairRef},
    bundle::{BundleBody, Limits, OrgStatus, Priority, Quota, Tier},
    decision::{AccessIndex, Decision, Plan, Request},
    decision_policy::DecisionPolicy,
    diagnostic::did_you_mean,
    evaluation::{Evaluated, Evaluation, EvaluationError},
    facts::FactIndex,
    masks::{ColumnMask, MaskIndex},
    misfit::{Misfit, Named, Relation, misfits},
    remembered::RememberedAnswers,
    row_filter::{PolicyClass, RowCommand, RowFilter, RowIndex},
    rule_id::RuleId,
    signed::BundleError,
};

/// Principals, and pairs of principal and object, whose answers are remembered.
const PRINCIPALS_MAX: usize = 4 * 1024;
const OBJECTS_MAX: usize = 16 * 1024;

/// An org's policy, compiled: immutable, shared by sessions, replaced as a whole.
///
/// Answers that depend only on principal and object are remembered, a bounded number of them, so that asking again
/// costs two look-ups. Nothing is remembered across policies.
#[derive(Debug)]
pub struct Policy {
    body: BundleBody,
    access: AccessIndex,
    decisions: BTreeMap<String, DecisionPolicy>,
    answers: RememberedAnswers,
    rows: RowIndex,
    masks: MaskIndex,
    ledgers: HashSet<ObjectName>,
    tiers: HashMap<ObjectName, Tier>,
    principals: BoundedMap<PrincipalKey, Arc<Known>>,
    principal_count: AtomicU64,
    objects: BoundedMap<(u64, ObjectName), Arc<Answers>>,
}

/// A principal that was seen. Numbers are never given twice, so answers of a forgotten principal are never another's.
#[derive(Debug)]
struct Known {
    number: u64,
    class: PolicyClass,
}

#[derive(Debug, Default)]
struct Answers {
    plans: [OnceLock<Plan>; Action::ALL.len()],
    filters: [OnceLock<Result<RowFilter, Refusal>>; RowCommand::COUNT],
    masks: OnceLock<Arc<[ColumnMask]>>,
    may_know: OnceLock<bool>,
}

impl Policy {
    /// Compiles a body as it is, without looking at signature, org or clock: for the checks that need no data plane.
    /// A data plane takes its policy from [`crate::verify`].
    ///
    /// # Errors
    /// [`BundleError::Rule`] names the first rule that does not load.
    pub fn new(body: BundleBody) -> Result<Policy, BundleError> {
        let facts = FactIndex::new(&body.facts).map_err(BundleError::Rule)?;
        let mut rules = Vec::with_capacity(body.access.len());
        for (number, rule) in body.access.iter().enumerate() {
            rules.push(compile_rule(rule, number, &body, &facts).map_err(|mistakes| {
                let what: Vec<String> = mistakes.into_iter().map(|mistake| mistake.message).collect();
                BundleError::Rule(format!("{}: rule `{}`: {}", rule.origin, rule.id, what.join("; ")))
            })?);
        }
        let mut tiers: HashMap<ObjectName, Tier> = HashMap::new();
        for rule in &body.tiers {
            let tier = tiers.entry(rule.table.clone()).or_insert(rule.tier);
            *tier = rule.tier.max(*tier);
        }
        let decisions = body.decisions.iter().map(|(path, rules)| {
            let policy = DecisionPolicy::new(path, rules, &facts).map_err(BundleError::Rule)?;
            Ok((path.clone(), policy))
        });
        Ok(Policy {
            decisions: decisions.collect::<Result<_, BundleError>>()?,
            answers: RememberedAnswers::new(),
            access: AccessIndex::new(rules, &body).map_err(BundleError::Rule)?,
            rows: RowIndex::new(&body).map_err(BundleError::Rule)?,
            masks: MaskIndex::new(&body.masks),
            ledgers: body.ledgers.iter().map(|rule| rule.table.clone()).collect(),
            tiers,
            principals: BoundedMap::new(PRINCIPALS_MAX),
            principal_count: AtomicU64::new(0),
            objects: BoundedMap::new(OBJECTS_MAX),
            body,
        })
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.body.version
    }

    #[must_use]
    pub fn content_hash(&self) -> &str {
        &self.body.content_hash
    }

    #[must_use]
    pub fn org(&self) -> &OrgName {
        &self.body.org
    }

    #[must_use]
    pub fn status(&self) -> OrgStatus {
        self.body.status
    }

    #[must_use]
    pub fn tier(&self) -> Tier {
        self.body.tier
    }

    /// Unix seconds from which this policy no longer holds.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.body.not_after
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.body.limits
    }

    /// The whole bundle, for listings and explanations.
    #[must_use]
    pub fn body(&self) -> &BundleBody {
        &self.body
    }

    #[must_use]
    pub fn quota_for(&self, agent: &str) -> Quota {
        let own = self.body.agents.get(agent).and_then(|agent| agent.millicredits);
        let quota = self.body.quota;
        Quota { agent: own.or(quota.agent_millicredits), org: quota.org_millicredits, period: quota.period }
    }

    /// The highest priority of the principal's roles.
    #[must_use]
    pub fn priority(&self, principal: &Principal) -> Priority {
        let priorities = principal.roles.iter().filter_map(|role| self.body.roles.get(role)).map(|role| role.priority);
        priorities.max().unwrap_or_default()
    }

    /// Who a credential's holder is to this policy: the roles the bundle gives the agent, those of the credential that
    /// the bundle knows, and all they inherit; the credential's attributes under the bundle's.
    ///
    /// # Errors
    /// `org_access_denied` for another org's credential; `permission_denied` for an agent that the bundle does not
    /// know and whose credential carries no role that it knows.
    pub fn principal(&self, identity: &Identity) -> Result<Principal, Refusal> {
        if identity.org != self.body.org {
            return Err(Refusal::new(Code::OrgAccessDenied, "the credential belongs to another organisation"));
        }
        let agent = self.body.agents.get(identity.agent.as_ref());
        let given = agent.into_iter().flat_map(|agent| &agent.roles).chain(&identity.roles);
        let roles = self.body.closed_roles(given.map(String::as_str));
        if agent.is_none() && roles.is_empty() {
            let message = format!("agent `{}` is not known to the policy of `{}`", identity.agent, self.body.org);
            return Err(Refusal::new(Code::PermissionDenied, message)
                .hint("declare the agent in policy.toml, or give its credential a role that the policy declares"));
        }
        let mut attributes: Attributes = identity.attributes.clone();
        attributes.extend(agent.into_iter().flat_map(|agent| agent.attributes.clone()));
        Ok(Principal { org: identity.org.clone(), agent: Arc::clone(&identity.agent), roles, attributes })
    }

    /// Whether a principal may do something to an object. Nothing is allowed that no rule permits; a rule that errs
    /// refuses.
    #[must_use]
    pub fn decide(&self, principal: &Principal, request: &Request<'_>) -> Decision {
        let answers = self.answers(principal, request.object);
        match self.plan(&answers, principal, request.action, request.object) {
            Plan::Settled(decision) => decision.clone(),
            Plan::Volatile(volatile) => self.access.decide(volatile, principal, request),
        }
    }

    /// Answers an application by the policy at a path. Nothing is allowed that no rule there permits; a rule that errs
    /// refuses.
    ///
    /// # Errors
    /// [`EvaluationError`]: there is no answer, and so no permission.
    pub fn evaluate(&self, evaluation: &Evaluation<'_>) -> Result<Evaluated, EvaluationError> {
        let Some(policy) = self.decisions.get(evaluation.path) else {
            let path: String = evaluation.path.chars().take(80).collect();
            let hint = did_you_mean(&path, self.decision_paths());
            return Err(EvaluationError::PolicyNotFound { path, hint });
        };
        policy.evaluate(evaluation, &self.answers)
    }

    /// The paths that [`Policy::evaluate`] knows, sorted.
    pub fn decision_paths(&self) -> impl Iterator<Item = &str> {
        self.decisions.keys().map(String::as_str)
    }

    /// Whether some action on the object is open to the principal in some context. Objects it may not know are absent
    /// from its catalogs and errors.
    #[must_use]
    pub fn may_know(&self, principal: &Principal, object: &ObjectName) -> bool {
        let answers = self.answers(principal, object);
        *answers.may_know.get_or_init(|| {
            Action::ALL.into_iter().any(|action| match self.plan(&answers, principal, action, object) {
                Plan::Settled(decision) => decision.allowed,
                Plan::Volatile(_) => true,
            })
        })
    }

    /// The rows of an object that a command of this principal may touch.
    ///
    /// # Errors
    /// `permission_denied`, naming it, when a filter reads an attribute that the principal does not have.
    pub fn row_filter(
        &self,
        principal: &Principal,
        object: &ObjectName,
        command: RowCommand,
    ) -> Result<RowFilter, Refusal> {
        let answers = self.answers(principal, object);
        match answers.filters.get(command as usize) {
            Some(filter) => filter.get_or_init(|| self.rows.filter(principal, object, command)).clone(),
            None => self.rows.filter(principal, object, command),
        }
    }

    /// The row policies behind [`Policy::row_filter`], by name: also those that let every row pass.
    #[must_use]
    pub fn row_policies(&self, principal: &Principal, object: &ObjectName, command: RowCommand) -> Vec<RuleId> {
        self.rows.applying(principal, object, command)
    }

    /// Whether row security is on for an object.
    #[must_use]
    pub fn has_row_security(&self, object: &ObjectName) -> bool {
        self.rows.is_secured(object)
    }

    /// What plans of this principal may be shared by.
    #[must_use]
    pub fn policy_class(&self, principal: &Principal) -> PolicyClass {
        self.known(principal).class.clone()
    }

    /// The columns of an object that leave it masked for this principal, sorted by name.
    #[must_use]
    pub fn masks(&self, principal: &Principal, object: &ObjectName) -> Arc<[ColumnMask]> {
        let answers = self.answers(principal, object);
        Arc::clone(answers.masks.get_or_init(|| self.masks.masks(principal, object)))
    }

    /// What row filters and masks name that the tables do not have.
    #[must_use]
    pub fn misfits(&self, relation: impl Fn(&ObjectName) -> Relation) -> Vec<Misfit> {
        let masks = self.body.masks.iter().map(|mask| Named {
            table: &mask.table,
            columns: [mask.column.as_str()].into(),
            rule: "mask".to_owned(),
            origin: &mask.origin,
        });
        misfits(self.rows.named().chain(masks), relation)
    }

    /// Whether an object takes INSERT and SELECT only.
    #[must_use]
    pub fn is_ledger(&self, object: &ObjectName) -> bool {
        self.ledgers.contains(object)
    }

    /// The tier an org must have to touch an object; none means any.
    #[must_use]
    pub fn required_tier(&self, object: &ObjectName) -> Option<Tier> {
        self.tiers.get(object).copied()
    }

    fn plan<'a>(&self, answers: &'a Answers, principal: &Principal, action: Action, object: &ObjectName) -> &'a Plan {
        let [select, insert, update, delete, truncate, create, drop] = &answers.plans;
        let slot = match action {
            Action::Select => select,
            Action::Insert => insert,
            Action::Update => update,
            Action::Delete => delete,
            Action::Truncate => truncate,
            Action::Create => create,
            Action::Drop => drop,
        };
        slot.get_or_init(|| self.access.plan(&self.body, principal, action, object))
    }

    fn answers(&self, principal: &Principal, object: &ObjectName) -> Arc<Answers> {
        let number = self.known(principal).number;
        let made = self.objects.get_or_make(&PairRef(number, object), || {
            Ok::<_, Infallible>(((number, object.clone()), Arc::new(Answers::default())))
        });
        match made {
            Ok(answers) => answers,
        }
    }

    fn known(&self, principal: &Principal) -> Arc<Known> {
        let made = self.principals.get_or_make(&PrincipalRef(principal), || {
            let number = self.principal_count.fetch_add(1, Ordering::Relaxed);
            let known = Known { number, class: self.rows.class(principal) };
            Ok::<_, Infallible>((PrincipalKey(principal.clone()), Arc::new(known)))
        });
        match made {
            Ok(known) => known,
        }
    }
}

/// A principal as a key: equal only when agent, roles and attributes all are.
#[derive(Debug, PartialEq, Eq)]
struct PrincipalKey(Principal);

struct PrincipalRef<'a>(&'a Principal);

impl Hash for PrincipalKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        PrincipalRef(&self.0).hash(state);
    }
}

impl Hash for PrincipalRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.org.hash(state);
        self.0.agent.hash(state);
        self.0.roles.hash(state);
        self.0.attributes.hash(state);
    }
}

impl Equivalent<PrincipalKey> for PrincipalRef<'_> {
    fn equivalent(&self, key: &PrincipalKey) -> bool {
        *self.0 == key.0
    }
}
