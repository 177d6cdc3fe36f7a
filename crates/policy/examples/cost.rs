//! What decisions cost: `cargo run --release -p weir-policy --example cost`.
//!
//! Prints nanoseconds a decision, for a statement without facts, with a fact that did not
//! change, with one that did, and for questions of applications. On Linux they are of the processor's time, so that
//! other programs do not count.

use std::{
    error::Error,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use weir_model::{
    Action, Attributes, ClientAddress, CredentialId, CredentialKind, Identity, ObjectName, OrgName, Principal,
};
use weir_policy::{
    Evaluation, FactReading, FactSource, FactValue, FactsUnavailable, Policy, Request, RequestContext, Source,
    Validity, compile,
};

const NAMES: &str = r#"
org = "acme"
[roles.operator]
[agents.bo]
roles = ["operator"]
[facts.approval]
key = "approvals.${principal}.${resource.name}"
[facts.approval.counts]
seniors = { of = "approvers", where = { role = "senior_engineer" }, distinct = "user" }
[facts.deployment]
key = "approvals.${request.id}"
[facts.deployment.counts]
seniors = { of = "approvers", where = { role = "senior_engineer" }, distinct = "user" }
[facts.user]
key = "relationships.user-${request.user}"
"#;

const ACCESS: &str = r#"
permit (principal in Role::"operator", action, resource);
forbid (principal, action, resource == Table::"public.hours") unless { context.hour == 12 };
forbid (principal, action, resource == Table::"public.orders") unless { context.facts.approval.seniors >= 2 };
"#;

const APPROVAL: &str = "permit (principal, action, resource) when { context.facts.deployment.seniors >= 2 };";
const GROUP: &str =
    "permit (principal, action, resource) when { context.facts.user.value.groups.contains(\"senior-engineers\") };";
const REQUEST: &str = "permit (principal, action, resource) when { context.request.size < 10 };";

/// One value under every key; its version grows when it is told to.
#[derive(Debug)]
struct Facts {
    value: Arc<str>,
    version: AtomicU64,
    changes: bool,
}

impl FactSource for Facts {
    fn fact(&self, _key: &str) -> Result<FactReading, FactsUnavailable> {
        let version = self.version.fetch_add(u64::from(self.changes), Ordering::Relaxed);
        Ok(FactReading { version, value: Some(FactValue::from_text(Arc::clone(&self.value))), conflicted: false })
    }

    fn matching(&self, _pattern: &str, _limit: usize) -> Result<Vec<(String, FactReading)>, FactsUnavailable> {
        Ok(Vec::new())
    }

    fn staleness_ms(&self) -> u64 {
        0
    }
}

/// Nanoseconds that this thread ran; elsewhere than on Linux, that went by.
fn now_ns(start: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = text.split_whitespace().next().and_then(|ran| ran.parse::<f64>().ok());
    ran.unwrap_or_else(|| start.elapsed().as_secs_f64() * 1e9)
}

/// The mean over one second. Linux counts the processor's time in steps of a few milliseconds.
fn mean_ns(mut decide: impl FnMut() -> bool) -> f64 {
    const BATCH: u32 = 10_000;
    let began = Instant::now();
    let (start, mut decisions) = (now_ns(began), 0.0);
    loop {
        for _ in 0..BATCH {
            assert!(black_box(decide()));
        }
        decisions += f64::from(BATCH);
        let spent = now_ns(began) - start;
        if spent >= 1e9 {
            return spent / decisions;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::from_text("acme", NAMES, ACCESS, "")
        .with_decision("approval", APPROVAL)
        .with_decision("group", GROUP)
        .with_decision("request", REQUEST);
    let body = compile(&source, Validity { version: 1, issued_at: 0, not_after: i64::MAX })
        .map_err(|mistakes| format!("{mistakes:?}"))?;
    let policy = Policy::new(body)?;
    let principal = policy
        .principal(&Identity {
            org: OrgName::new("acme")?,
            agent: "bo".into(),
            credential: CredentialId("k".into()),
            kind: CredentialKind::Test,
            attributes: Attributes::new(),
            roles: Vec::new(),
            expires_at: None,
        })
        .map_err(|refusal| refusal.message().to_owned())?;
    let value: Arc<str> = json!({
        "deployment_id": "deploy-123",
        "approvers": [
            {"user": "alice", "role": "senior_engineer", "timestamp": 1_698_765_000},
            {"user": "bob", "role": "senior_engineer", "timestamp": 1_698_765_100},
        ],
        "groups": ["engineering", "senior-engineers"],
    })
    .to_string()
    .into();
    let facts = |changes: bool| Facts { value: Arc::clone(&value), version: AtomicU64::new(1), changes };
    statements(&policy, &principal, &facts(false), &facts(true))?;
    questions(&policy, &facts(true));
    Ok(())
}

fn statements(policy: &Policy, principal: &Principal, steady: &Facts, changing: &Facts) -> Result<(), Box<dyn Error>> {
    for (what, table, facts) in [
        ("statement, no condition", "public.other", steady),
        ("statement, hour, as before", "public.hours", steady),
        ("statement, one fact, as before", "public.orders", steady),
        ("statement, one fact, changed", "public.orders", changing),
    ] {
        let object = ObjectName::try_from(table.to_owned()).map_err(|invalid| invalid.to_string())?;
        let context = RequestContext {
            now_unix_ms: 1_767_787_200_000,
            client: &ClientAddress::Local,
            purpose: None,
            statement_kind: "update",
            facts: Some(facts),
        };
        let request = Request { action: Action::Update, object: &object, context: &context };
        println!("{what:32} {:8.0} ns", mean_ns(|| policy.decide(principal, &request).allowed));
    }
    Ok(())
}

fn questions(policy: &Policy, facts: &Facts) {
    let request = json!({"id": "deploy-123", "user": "alice", "size": 7});
    for (what, path) in [
        ("question, no fact", "request"),
        ("question, a fact's set", "group"),
        ("question, a fact's count", "approval"),
    ] {
        let evaluation = Evaluation {
            app: "deployer",
            path,
            action: "deploy",
            resource: &json!("checkout"),
            request: &request,
            now_unix_ms: 1_767_787_200_000,
            facts: Some(facts),
            max_staleness_ms: None,
        };
        println!("{what:32} {:8.0} ns", mean_ns(|| policy.evaluate(&evaluation).is_ok_and(|answer| answer.allowed)));
    }
}
