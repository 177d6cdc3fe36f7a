//! Decisions for applications: an evaluator's policies over this node's facts.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{Serving, cursor};
use crate::{
    protocol::{
        Cursor, Decision, DecisionOf, DecisionOutcome, Decisions, Effect, Encoding, Evaluate, Id, Notification,
        ProtocolError, Reply,
    },
    replica,
};

/// How long a decision waits for this node to have what `min_cursor` asks for. The application waits meanwhile.
const REACH_MAX: Duration = Duration::from_secs(1);

/// Between looks whether it has.
const REACH_EVERY: Duration = Duration::from_millis(1);

/// Most pieces of news that wait to be written, each of which names all policies that changed.
const PIECE_BYTES: usize = 64 << 10;

/// What an application asks of one policy.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// `None`: the socket asks for no token.
    pub app: Option<&'a str>,
    pub policy: &'a str,
    pub context: &'a Map<String, Value>,
    /// On older knowledge than this, in milliseconds, the answer has to be deny.
    pub max_staleness_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub is_allowed: bool,
    pub reason: String,
    /// The [root](Policies::root) of the policies that it was made by.
    pub policy_root: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    #[error("there is no such policy")]
    NotFound,
    /// The question's context is not what the policy needs.
    #[error("the context {0}")]
    Context(String),
    #[error("{0}")]
    Failed(String),
}

/// The policies that an evaluator goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// Of the bundle they are in.
    pub version: u64,
    /// A hash of all of them: with equal policies, facts and context a decision is made again.
    pub root: String,
    /// By path, each with a hash of what it says.
    pub by_path: BTreeMap<String, String>,
}

/// Decides by policies over facts that it reads from this node.
pub trait Evaluator: fmt::Debug + Send + Sync {
    /// Called on the connection's task, so it may compute and must not wait.
    ///
    /// # Errors
    /// [`EvaluateError`].
    fn evaluate(&self, question: &Question<'_>) -> Result<Verdict, EvaluateError>;

    /// The policies that hold now, and their changes.
    fn policies(&self) -> watch::Receiver<Arc<Policies>>;

    /// How old this node's knowledge of others' facts may be, in milliseconds.
    fn staleness_ms(&self) -> u64;
}

impl Serving {
    fn evaluator(&self) -> Result<&dyn Evaluator, ProtocolError> {
        // What cannot be evaluated is not on the surface.
        self.evaluator.as_deref().ok_or(ProtocolError::Internal)
    }

    /// Every policy that is named has to allow; the first that does not gives the reason.
    pub(super) async fn evaluate(&self, app: Option<&str>, asked: &Evaluate) -> Result<Reply, ProtocolError> {
        self.reach(asked).await?;
        self.decide(app, asked).map(Reply::Decision)
    }

    /// Each for itself. They wait for their cursors one after the other, together no longer than one does.
    pub(super) async fn evaluate_batch(
        &self,
        app: Option<&str>,
        asked: Vec<(Id, Evaluate)>,
    ) -> Result<Reply, ProtocolError> {
        let mut results = Vec::with_capacity(asked.len());
        let late = Instant::now() + REACH_MAX;
        for (id, evaluate) in asked {
            let reached = match tokio::time::timeout_at(late, self.reach(&evaluate)).await {
                Ok(reached) => reached,
                Err(_) => Err(behind()),
            };
            let outcome = match reached.and_then(|()| self.decide(app, &evaluate)) {
                Ok(decision) => DecisionOutcome::Made(decision),
                Err(error) => DecisionOutcome::Failed { error },
            };
            results.push(DecisionOf { id, outcome });
            tokio::task::consume_budget().await;
        }
        Ok(Reply::Decisions(Decisions { results }))
    }

    fn decide(&self, app: Option<&str>, asked: &Evaluate) -> Result<Decision, ProtocolError> {
        let evaluator = self.evaluator()?;
        if asked.policies.is_empty() {
            return Err(ProtocolError::field("policies", "must name at least one policy"));
        }
        if !self.node.is_serving() {
            return Err(super::answer::failed(crate::node::NodeError::Incomplete, &[], self.timeout_ms()));
        }
        let begun = Instant::now();
        // Before facts are read, so that the decision is made on data at least as new.
        let seen = self.node.seen();
        let staleness_ms = evaluator.staleness_ms();
        let mut verdict = None;
        for policy in &asked.policies {
            let max_staleness_ms = asked.max_staleness_ms;
            let question = Question { app, policy, context: &asked.context, max_staleness_ms };
            let next = evaluator.evaluate(&question).map_err(|error| refusal(error, policy))?;
            let is_allowed = next.is_allowed;
            verdict = Some(next);
            if !is_allowed {
                break;
            }
        }
        let Verdict { is_allowed, reason, policy_root } = verdict.ok_or(ProtocolError::Internal)?;
        Ok(Decision {
            decision: if is_allowed { Effect::Allow } else { Effect::Deny },
            reason,
            evaluation_time_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            cursor: seen.wire_cursor(cursor::encode),
            policy_root: Some(policy_root),
            staleness_ms: Some(staleness_ms),
        })
    }

    /// Waits until this node has all that the cursor covers.
    async fn reach(&self, asked: &Evaluate) -> Result<(), ProtocolError> {
        let Some(given) = &asked.min_cursor else { return Ok(()) };
        let wanted = decoded(given)?;
        let reached = async {
            while !self.node.seen().cursor.applied.covers_all(&wanted.applied) {
                sleep(REACH_EVERY).await;
            }
        };
        timeout(REACH_MAX, reached).await.map_err(|_| behind())
    }

    /// Of those below `prefix`, or all: names, or with `include_metadata` each with its hash.
    pub(super) fn list_policies(
        &self,
        prefix: &str,
        depth: Option<u64>,
        include_metadata: bool,
    ) -> Result<Reply, ProtocolError> {
        let policies = self.evaluator()?.policies().borrow().clone();
        let base = if prefix.is_empty() { 0 } else { prefix.split('.').count() };
        let is_near = |path: &str| {
            let most = depth.and_then(|depth| usize::try_from(depth).ok()).map_or(usize::MAX, |depth| base + depth);
            path.split('.').count() <= most
        };
        let listed: Vec<Value> = below(&policies, prefix)
            .filter(|(path, _)| is_near(path))
            .map(|(path, hash)| if include_metadata { json!({ "path": path, "hash": hash }) } else { json!(path) })
            .collect();
        Ok(Reply::Other(json!({ "policies": listed, "version": policies.version.to_string() })))
    }

    pub(super) fn subtree(&self, path: &str) -> Result<Reply, ProtocolError> {
        let policies = self.evaluator()?.policies().borrow().clone();
        let found: Vec<Value> =
            below(&policies, path).map(|(path, hash)| json!({ "path": path, "hash": hash })).collect();
        if found.is_empty() {
            return Err(ProtocolError::PolicyNotFound { path: path.to_owned() });
        }
        Ok(Reply::Other(json!({ "path": path, "policies": found, "root": policies.root })))
    }

    pub(super) fn watch_policies(&self) -> Result<PolicyWatch, ProtocolError> {
        Ok(PolicyWatch::begin(self.evaluator()?.policies()))
    }
}

/// Policies as they were when somebody began to listen, and what becomes of them: no change falls between the two.
pub(super) struct PolicyWatch {
    known: Arc<Policies>,
    changes: watch::Receiver<Arc<Policies>>,
}

impl PolicyWatch {
    fn begin(mut changes: watch::Receiver<Arc<Policies>>) -> PolicyWatch {
        let known = Arc::clone(&changes.borrow_and_update());
        PolicyWatch { known, changes }
    }
}

fn decoded(given: &Cursor) -> Result<replica::Cursor, ProtocolError> {
    cursor::decode(given)
        .ok_or_else(|| ProtocolError::field("min_cursor", "must be a cursor as this service gave it out"))
}

fn behind() -> ProtocolError {
    ProtocolError::Timeout { after_ms: u64::try_from(REACH_MAX.as_millis()).unwrap_or(u64::MAX) }
}

fn refusal(error: EvaluateError, policy: &str) -> ProtocolError {
    match error {
        EvaluateError::NotFound => ProtocolError::PolicyNotFound { path: policy.to_owned() },
        EvaluateError::Context(detail) => ProtocolError::field("context", detail),
        EvaluateError::Failed(detail) => ProtocolError::EvaluationFailed(detail),
    }
}

/// The policy of the name and those below it; all below the empty name.
fn below<'a>(policies: &'a Policies, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_below = move |path: &str| {
        prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    policies.by_path.iter().map(|(path, hash)| (path.as_str(), hash.as_str())).filter(move |(path, _)| is_below(path))
}

/// Tells of policies that came, changed or went, until the connection ends. Of several changes while the client does not
/// read only the last is told.
pub(super) async fn tell_policies(
    PolicyWatch { mut known, mut changes }: PolicyWatch,
    names: Vec<String>,
    encoding: Encoding,
    news: mpsc::Sender<Vec<u8>>,
) {
    while changes.changed().await.is_ok() {
        let now = Arc::clone(&changes.borrow_and_update());
        let mut out = Vec::new();
        for policy in changed(&known, &now).filter(|path| names.iter().any(|name| names_path(name, path))) {
            let notice = Notification::PolicyUpdated { policy: policy.clone(), version: now.version.to_string() };
            // A path is a line of text, which a frame always takes.
            let _ = notice.write_frame(&mut out, encoding);
            if out.len() >= PIECE_BYTES && news.send(std::mem::take(&mut out)).await.is_err() {
                return;
            }
        }
        if !out.is_empty() && news.send(out).await.is_err() {
            return;
        }
        known = now;
    }
}

fn changed<'a>(before: &'a Policies, after: &'a Policies) -> impl Iterator<Item = &'a String> {
    let gone = before.by_path.keys().filter(|path| !after.by_path.contains_key(*path));
    let differs = after.by_path.iter().filter(|(path, hash)| before.by_path.get(*path) != Some(hash));
    gone.chain(differs.map(|(path, _)| path))
}

/// `*` names all, `a.*` all below `a`.
fn names_path(name: &str, path: &str) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix) && path.len() > prefix.len(),
        None => name == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_policies_names_what_is_below() {
        let check =
            |name: &str, path: &str, expected: bool| assert_eq!(names_path(name, path), expected, "{name} {path}");
        check("*", "prod.deploy", true);
        check("prod.*", "prod.deploy.approval", true);
        check("prod.*", "production.deploy", false);
        check("prod.*", "prod", false);
        check("prod.deploy", "prod.deploy", true);
        check("prod.deploy", "prod.deploy.approval", false);
    }

    #[test]
    fn what_came_changed_or_went_is_told() {
        let of = |paths: &[(&str, &str)]| Policies {
            by_path: paths.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect(),
            ..Policies::default()
        };
        let (before, after) = (of(&[("a", "1"), ("b", "1"), ("c", "1")]), of(&[("a", "1"), ("b", "2"), ("d", "1")]));
        assert_eq!(changed(&before, &after).collect::<Vec<_>>(), ["c", "b", "d"]);
    }

    #[tokio::test]
    async fn what_changes_before_the_telling_begins_is_told() {
        let policies = watch::Sender::new(Arc::new(Policies::default()));
        let watch = PolicyWatch::begin(policies.subscribe());
        let by_path = BTreeMap::from([("prod.deploy".to_owned(), "1".to_owned())]);
        policies.send_replace(Arc::new(Policies { by_path, ..Policies::default() }));
        let (news, mut told) = mpsc::channel(1);
        tokio::spawn(tell_policies(watch, vec!["prod.*".to_owned()], Encoding::Json, news));
        let bytes = timeout(Duration::from_secs(10), told.recv()).await.ok().flatten().unwrap_or_default();
        assert!(String::from_utf8_lossy(&bytes).contains("prod.deploy"), "nothing was told");
    }
}
