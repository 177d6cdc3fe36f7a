//! Policies that applications ask for by path: one path's rules, and their answer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Answer, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, RestrictedExpression,
};
use serde_json::{Map, Value};

use crate::{
    bundle::AccessRule,
    context::{ContextNeeds, hour_of_week, moment},
    decision::{list, number, satisfied},
    decision_rule::{ACTION, APP, DecisionRule, Question, RESOURCE},
    evaluation::{Evaluated, Evaluation, EvaluationError, bad},
    facts::{Asked, Budget, FactIndex, FactNeed, FactNeeds, Readings, project},
    reads::Reads,
    remembered::{Remembered, RememberedAnswers},
    rule_id::RuleId,
};

/// One path's rules, compiled.
#[derive(Debug)]
pub(crate) struct DecisionPolicy {
    path: String,
    rules: Vec<DecisionRule>,
    set: PolicySet,
    needs: ContextNeeds,
    facts: Vec<Arc<FactNeed>>,
    request: Reads,
    resource: Reads,
    types: Types,
    authorizer: Authorizer,
}

#[derive(Debug)]
struct Types {
    app: EntityTypeName,
    action: EntityTypeName,
    resource: EntityTypeName,
}

impl DecisionPolicy {
    /// # Errors
    /// Names the rule that does not load. A signature does not make one good.
    pub fn new(path: &str, rules: &[AccessRule], facts: &FactIndex) -> Result<DecisionPolicy, String> {
        let mut compiled = Vec::with_capacity(rules.len());
        for (number, rule) in rules.iter().enumerate() {
            compiled.push(DecisionRule::new(rule, number, facts).map_err(|mistakes| {
                let what: Vec<String> = mistakes.into_iter().map(|mistake| mistake.message).collect();
                format!("{}: rule `{}`: {}", rule.origin, rule.id, what.join("; "))
            })?);
        }
        let set = PolicySet::from_policies(compiled.iter().map(|rule| rule.policy.clone()));
        let mut policy = DecisionPolicy {
            path: path.to_owned(),
            rules: Vec::new(),
            set: set.map_err(|error| error.to_string())?,
            needs: ContextNeeds::default(),
            facts: Vec::new(),
            request: Reads::default(),
            resource: Reads::default(),
            types: Types::new()?,
            authorizer: Authorizer::new(),
        };
        let mut facts = FactNeeds::default();
        for rule in &compiled {
            policy.needs = policy.needs.union(rule.read.needs);
            facts.union(&rule.read.facts);
            policy.request.union(&rule.read.request);
            policy.resource.union(&rule.read.resource);
        }
        policy.facts = facts.into_needs();
        policy.rules = compiled;
        Ok(policy)
    }

    /// Facts are read each time; the rules run unless they did for the same question and facts that they cannot tell from
    /// these.
    pub fn evaluate(
        &self,
        evaluation: &Evaluation<'_>,
        answers: &RememberedAnswers,
    ) -> Result<Evaluated, EvaluationError> {
        let hour = hour_of_week(evaluation.now_unix_ms, self.needs);
        let remembered = if self.needs.are_repeatable() { answers.get(evaluation, hour) } else { None };
        let asked = match &remembered {
            Some(remembered) => Arc::clone(&remembered.asked),
            None => self.asked(evaluation, &self.question(evaluation)?)?.into(),
        };
        let staleness_ms = evaluation.facts.filter(|_| !asked.is_empty()).map(|facts| facts.staleness_ms());
        let readings = Readings::take(&asked, evaluation.facts, evaluation.max_staleness_ms)?;
        if let Some(remembered) = remembered.filter(|remembered| readings.are_same(&remembered.readings)) {
            return Ok(Evaluated { staleness_ms, ..remembered.evaluated.clone() });
        }
        let evaluated = self.decide(evaluation, &asked, &readings)?;
        if self.needs.are_repeatable() && readings.are_rememberable() {
            answers.keep(evaluation, hour, Remembered { asked, readings, evaluated: evaluated.clone() });
        }
        Ok(Evaluated { staleness_ms, ..evaluated })
    }

    fn decide(
        &self,
        evaluation: &Evaluation<'_>,
        asked: &[Asked],
        readings: &Readings,
    ) -> Result<Evaluated, EvaluationError> {
        let question = self.question(evaluation)?;
        let (allowed, rules, what) = match (!asked.is_empty()).then(|| readings.to_cedar(asked)).transpose() {
            Ok(facts) => self.answer(evaluation, question, facts)?,
            Err(error) => (false, self.readers(&question), format!("refused: {error}")),
        };
        let reason = format!("{} is {what}", evaluation.describe()).into();
        Ok(Evaluated { allowed, reason, rules: rules.into(), facts: readings.versions(), staleness_ms: None })
    }

    /// Cedar's answer, the rules behind it, and both in words.
    fn answer(
        &self,
        evaluation: &Evaluation<'_>,
        question: Question,
        facts: Option<RestrictedExpression>,
    ) -> Result<(bool, Vec<RuleId>, String), EvaluationError> {
        let (request, entities) = self.request(evaluation, question, facts)?;
        let response = self.authorizer.is_authorized(&request, &self.set, &entities);
        let mut errors = response.diagnostics().errors().peekable();
        if let Some(AuthorizationError::PolicyEvaluationError(first)) = errors.peek() {
            let message = first.inner().to_string();
            let erring = errors.map(|AuthorizationError::PolicyEvaluationError(error)| number(error.policy_id()));
            let rules = self.ids(erring.collect());
            let what = format!("refused by an error in {}: {message}", list(&rules));
            return Ok((false, rules, what));
        }
        let rules = self.ids(satisfied(&response));
        let what = match response.decision() {
            Answer::Allow => format!("permitted by {}", list(&rules)),
            Answer::Deny if rules.is_empty() => format!("permitted by no rule of `{}`", self.path),
            Answer::Deny => format!("forbidden by {}", list(&rules)),
        };
        Ok((response.decision() == Answer::Allow, rules, what))
    }

    fn question(&self, evaluation: &Evaluation<'_>) -> Result<Question, EvaluationError> {
        let id = evaluation.resource_id()?.unwrap_or_default();
        if !matches!(evaluation.request, Value::Null | Value::Object(_)) {
            return Err(bad("the request is no object"));
        }
        let uid =
            |kind: &EntityTypeName, name: &str| EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name));
        Ok(Question {
            app: uid(&self.types.app, evaluation.app),
            action: uid(&self.types.action, evaluation.action),
            resource: uid(&self.types.resource, &id),
        })
    }

    /// The facts that rules read whose scope fits, with their keys.
    fn asked(&self, evaluation: &Evaluation<'_>, question: &Question) -> Result<Vec<Asked>, EvaluationError> {
        let mut asked = Vec::new();
        for need in &self.facts {
            let name = &need.fact.name;
            if !self.rules.iter().any(|rule| rule.read.facts.reads(name) && rule.scope.matches(question)) {
                continue;
            }
            let key = need.fact.key.resolve(|variable| evaluation.variable(variable));
            let key = key.map_err(|error| bad(format!("fact `{name}`: {error}")))?;
            asked.push(Asked { need: Arc::clone(need), key: key.into() });
        }
        Ok(asked)
    }

    fn request(
        &self,
        evaluation: &Evaluation<'_>,
        question: Question,
        facts: Option<RestrictedExpression>,
    ) -> Result<(cedar_policy::Request, Entities), EvaluationError> {
        let mut budget = Budget::new();
        let mut pairs: Vec<(&'static str, RestrictedExpression)> = Vec::with_capacity(5);
        moment(evaluation.now_unix_ms, self.needs, &mut pairs).map_err(bad)?;
        pairs.extend(facts.map(|facts| ("facts", facts)));
        if !self.request.is_empty() {
            let empty = Value::Object(Map::new());
            let request = if evaluation.request.is_null() { &empty } else { evaluation.request };
            let made =
                project(request, &self.request, &mut budget).map_err(|error| bad(format!("the request {error}")))?;
            pairs.extend(made.map(|made| ("request", made)));
        }
        let context = Context::from_pairs(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)))
            .map_err(|error| bad(error.to_string()))?;
        let entities = self.entities(evaluation.resource, &question.resource, &mut budget)?;
        let request = cedar_policy::Request::new(question.app, question.action, question.resource, context, None)
            .map_err(|error| bad(error.to_string()))?;
        Ok((request, entities))
    }

    /// The resource with the attributes that are read. Nothing else has any.
    fn entities(&self, resource: &Value, uid: &EntityUid, budget: &mut Budget) -> Result<Entities, EvaluationError> {
        let Value::Object(members) = resource else { return Ok(Entities::empty()) };
        let mut attributes = HashMap::new();
        for (name, reads) in &self.resource.members {
            let Some(value) = members.get(name) else { continue };
            let made =
                project(value, reads, budget).map_err(|error| bad(format!("the resource's `{name}` {error}")))?;
            attributes.extend(made.map(|made| (name.clone(), made)));
        }
        if attributes.is_empty() {
            return Ok(Entities::empty());
        }
        let entity = Entity::new(uid.clone(), attributes, HashSet::new());
        let entity = entity.map_err(|error| bad(error.to_string()))?;
        Entities::from_entities([entity], None).map_err(|error| bad(error.to_string()))
    }

    fn readers(&self, question: &Question) -> Vec<RuleId> {
        let readers = self.rules.iter().filter(|rule| !rule.read.facts.is_empty() && rule.scope.matches(question));
        readers.map(|rule| rule.id.clone()).collect()
    }

    fn ids(&self, mut numbers: Vec<u32>) -> Vec<RuleId> {
        numbers.sort_unstable();
        let rule = |number: u32| self.rules.get(usize::try_from(number).ok()?);
        numbers.into_iter().filter_map(rule).map(|rule| rule.id.clone()).collect()
    }
}

impl Types {
    fn new() -> Result<Types, String> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|error| error.to_string());
        Ok(Types { app: name(APP)?, action: name(ACTION)?, resource: name(RESOURCE)? })
    }
}
