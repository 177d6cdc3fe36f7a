//! Decides what applications ask, by the org's policy over its facts.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use weir_facts::{EvaluateError, Evaluator, Policies, Question, Verdict};
use weir_model::OrgName;
use weir_pipeline::DataPlane;
use weir_policy::{AccessRule, Evaluation, EvaluationError, FactSource, Policy};

use super::reading::NodeFacts;
use crate::clock::unix_now_ms;

/// What callers of a socket that asks for no token are called.
const ANYONE: &str = "anyone";

#[derive(Debug)]
pub(super) struct Judge {
    org: OrgName,
    facts: Arc<NodeFacts>,
    /// Given once it stands: the facts are open before it.
    plane: OnceLock<Arc<DataPlane>>,
    policies: watch::Sender<Arc<Policies>>,
}

impl Judge {
    pub(super) fn new(org: OrgName, facts: Arc<NodeFacts>) -> Judge {
        Judge { org, facts, plane: OnceLock::new(), policies: watch::Sender::new(Arc::default()) }
    }

    /// Whose policies it goes by. Of several calls the first counts.
    pub(super) fn judge_by(&self, plane: Arc<DataPlane>) {
        let _ = self.plane.set(plane);
    }

    /// Tells those who listen of the policies that hold now.
    pub(super) fn look(&self) {
        let Some(policy) = self.policy().ok() else { return };
        let is_news = |held: &Arc<Policies>| held.version != policy.version();
        if is_news(&self.policies.borrow()) {
            self.policies.send_replace(Arc::new(policies(&policy)));
        }
    }

    fn policy(&self) -> Result<Arc<Policy>, EvaluateError> {
        let plane = self.plane.get().ok_or_else(|| EvaluateError::Failed("the server is starting".to_owned()))?;
        plane.policy_in_force(&self.org).map_err(|refusal| EvaluateError::Failed(refusal.message().to_owned()))
    }
}

fn policies(policy: &Policy) -> Policies {
    let hashed = |rules: &Vec<AccessRule>| {
        // Rules are plain data, which is always JSON.
        hex::encode(Sha256::digest(serde_json::to_vec(rules).unwrap_or_default()))
    };
    let decisions = policy.body().decisions.iter();
    let by_path: BTreeMap<String, String> = decisions.map(|(path, rules)| (path.clone(), hashed(rules))).collect();
    Policies { version: policy.version(), root: policy.content_hash().to_owned(), by_path }
}

impl Evaluator for Judge {
    fn evaluate(&self, question: &Question<'_>) -> Result<Verdict, EvaluateError> {
        let policy = self.policy()?;
        let action = match question.context.get("action") {
            None | Some(Value::Null) => "",
            Some(Value::String(action)) => action,
            Some(_) => return Err(EvaluateError::Context("has an `action` that is no text".to_owned())),
        };
        let member = |name: &str| question.context.get(name).unwrap_or(&Value::Null);
        let evaluated = policy.evaluate(&Evaluation {
            app: question.app.unwrap_or(ANYONE),
            path: question.policy,
            action,
            resource: member("resource"),
            request: member("request"),
            now_unix_ms: unix_now_ms(),
            facts: Some(&*self.facts as &dyn FactSource),
            max_staleness_ms: question.max_staleness_ms,
        });
        // Of the policy that was asked: by now another may be in force.
        let verdict = |is_allowed, reason: String| {
            Ok(Verdict { is_allowed, reason, policy_root: policy.content_hash().to_owned() })
        };
        match evaluated {
            Ok(evaluated) => verdict(evaluated.allowed, evaluated.reason.to_string()),
            Err(stale @ EvaluationError::Stale { .. }) => verdict(false, stale.to_string()),
            Err(EvaluationError::PolicyNotFound { .. }) => Err(EvaluateError::NotFound),
            Err(EvaluationError::BadContext(why)) => Err(EvaluateError::Context(why)),
            Err(EvaluationError::Unavailable(why)) => Err(EvaluateError::Failed(why)),
        }
    }

    fn policies(&self) -> watch::Receiver<Arc<Policies>> {
        self.policies.subscribe()
    }

    fn staleness_ms(&self) -> u64 {
        self.facts.staleness_ms()
    }
}
