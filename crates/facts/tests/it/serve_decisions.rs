//! Decisions over real sockets, by an evaluator that reads facts as any would.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use weir_facts::{EvaluateError, Evaluator, FactKey, Node, Policies, Question, ServeConfig, Verdict, protocol::Plane};

use crate::serve_support::{APP, Client, DEPLOY, Running, node_config, post, start, start_evaluating};

/// Allows when a fact `approvals.<context.resource>` has two approvers.
#[derive(Debug)]
struct TwoApprovers {
    node: Node,
    policies: watch::Receiver<Arc<Policies>>,
}

impl Evaluator for TwoApprovers {
    fn evaluate(&self, question: &Question<'_>) -> Result<Verdict, EvaluateError> {
        if !self.policies.borrow().by_path.contains_key(question.policy) {
            return Err(EvaluateError::NotFound);
        }
        let missing = || EvaluateError::Context("has no resource".to_owned());
        let resource = question.context.get("resource").and_then(Value::as_str).ok_or_else(missing)?;
        let key = FactKey::new(&format!("approvals.{resource}"))
            .map_err(|error| EvaluateError::Context(error.to_string()))?;
        let found = self.node.get(&key).map_err(|error| EvaluateError::Failed(error.to_string()))?;
        let approvers =
            found.and_then(|found| found.value.to_value()["approvers"].as_array().map(Vec::len)).unwrap_or(0);
        let app = question.app.unwrap_or("anyone");
        let policy_root = self.policies.borrow().root.clone();
        Ok(Verdict { is_allowed: approvers >= 2, reason: format!("{approvers} approved for {app}"), policy_root })
    }

    fn policies(&self) -> watch::Receiver<Arc<Policies>> {
        self.policies.clone()
    }

    fn staleness_ms(&self) -> u64 {
        0
    }
}

fn policies(version: u64, paths: &[(&str, &str)]) -> Arc<Policies> {
    let by_path: BTreeMap<String, String> =
        paths.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect();
    Arc::new(Policies { version, root: format!("root-{version}"), by_path })
}

fn deciding(folder: &std::path::Path) -> (Running, watch::Sender<Arc<Policies>>) {
    let (set, held) = watch::channel(policies(1, &[("prod.deploy", "a"), ("prod.deploy.canary", "b"), ("dev", "c")]));
    let serve = ServeConfig { app_requests_per_minute: 1_000_000, ..ServeConfig::default() };
    let running = start_evaluating(node_config(folder), serve, folder, |node| {
        Some(Arc::new(TwoApprovers { node: node.clone(), policies: held }))
    });
    (running, set)
}

fn app(running: &Running) -> Client {
    Client::connect(&running.path(Plane::Evaluation), "/eval", APP)
}

fn question(resource: &str) -> Map<String, Value> {
    let question = json!({ "policies": ["prod.deploy"], "context": { "resource": resource, "action": "deploy" } });
    question.as_object().unwrap().clone()
}

#[test]
fn a_second_approval_turns_a_denial_into_leave_at_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let (running, _policies) = deciding(folder.path());
    let (mut service, mut app) = (running.client(DEPLOY), app(&running));
    let one = service.ask("put", &json!({ "key": "approvals.d1", "value": { "approvers": ["alice"] } }));
    assert_eq!(one.code(), 0, "{one:?}");
    let before = app.ask("evaluate", &Value::Object(question("d1")));
    assert_eq!(before.data["result"]["decision"], "deny");
    assert_eq!(before.data["result"]["reason"], "1 approved for web");
    let two = service.ask("put", &json!({ "key": "approvals.d1", "value": { "approvers": ["alice", "bob"] } }));
    let mut asked = question("d1");
    asked.insert("min_cursor".to_owned(), two.data["result"]["cursor"].clone());
    let after = app.ask("evaluate", &Value::Object(asked));
    assert_eq!(after.data["result"]["decision"], "allow", "{after:?}");
    assert_eq!(after.data["result"]["policy_root"], "root-1");
    assert_eq!(after.data["result"]["staleness_ms"], 0);
    assert!(after.data["result"]["evaluation_time_us"].is_u64());
    assert!(after.data["result"]["cursor"].as_str().unwrap().starts_with("c:"));
    running.stop();
}

#[test]
fn every_policy_that_is_named_has_to_allow_and_to_exist() {
    let folder = tempfile::tempdir().unwrap();
    let (running, _policies) = deciding(folder.path());
    let mut app = app(&running);
    let mut check = |params: Value, code: i64| assert_eq!(app.ask("evaluate", &params).code(), code, "{params}");
    check(json!({ "policies": ["prod.deploy", "nope"], "context": { "resource": "d1" } }), 0);
    check(json!({ "policies": ["nope"], "context": { "resource": "d1" } }), -32000);
    check(json!({ "policies": [], "context": {} }), -32602);
    check(json!({ "policies": ["prod.deploy"], "context": {} }), -32602);
    check(json!({ "policies": ["prod.deploy"], "context": { "resource": "a b" } }), -32602);
    check(json!({ "policies": ["prod.deploy"], "context": { "resource": "d1" }, "min_cursor": "c:zzz" }), -32602);
    running.stop();
}

#[test]
fn a_cursor_that_is_not_reached_ends_in_a_timeout_and_no_decision() {
    let folder = tempfile::tempdir().unwrap();
    let (running, _policies) = deciding(folder.path());
    let elsewhere = {
        let folder = tempfile::tempdir().unwrap();
        let other = start(folder.path());
        let put = other.client(DEPLOY).ask("put", &json!({ "key": "approvals.d1", "value": 1 }));
        other.stop();
        put.data["result"]["cursor"].clone()
    };
    let mut asked = question("d1");
    asked.insert("min_cursor".to_owned(), elsewhere);
    assert_eq!(app(&running).ask("evaluate", &Value::Object(asked)).code(), -32008);
    running.stop();
}

#[test]
fn a_batch_is_answered_one_by_one_and_by_post_too() {
    let folder = tempfile::tempdir().unwrap();
    let (running, _policies) = deciding(folder.path());
    running.client(DEPLOY).ask("put", &json!({ "key": "approvals.d2", "value": { "approvers": [1, 2] } }));
    let one = |id: &str, policy: &str| json!({ "id": id, "policies": [policy], "context": { "resource": "d2" } });
    let params = json!({ "evaluations": [one("e1", "prod.deploy"), one("e2", "nope"), one("e3", "dev")] });
    let (status, answer) =
        post(&running.path(Plane::Evaluation), APP, &json!({ "method": "evaluate-batch", "params": params }));
    assert_eq!(status, 200);
    let results = &answer["result"]["results"];
    assert_eq!(results[0]["decision"], "allow", "{answer}");
    assert_eq!(results[1]["error"]["code"], -32000);
    assert_eq!((&results[2]["id"], &results[2]["decision"]), (&json!("e3"), &json!("allow")));
    running.stop();
}

#[test]
fn policies_are_listed_and_their_changes_told() {
    let folder = tempfile::tempdir().unwrap();
    let (running, set) = deciding(folder.path());
    let mut app = app(&running);
    assert!(app.hello["params"]["capabilities"].as_array().unwrap().contains(&json!("evaluate")), "{}", app.hello);
    let listed = app.ask("list-policies", &json!({ "prefix": "prod" }));
    assert_eq!(listed.data["result"]["policies"], json!(["prod.deploy", "prod.deploy.canary"]));
    let near = app.ask("list-policies", &json!({ "prefix": "prod", "depth": 1, "include_metadata": true }));
    assert_eq!(near.data["result"]["policies"], json!([{ "path": "prod.deploy", "hash": "a" }]));
    assert_eq!(app.ask("get-subtree", &json!({ "path": "nope" })).code(), -32000);
    let tree = app.ask("get-subtree", &json!({ "path": "prod.deploy" }));
    assert_eq!(tree.data["result"]["policies"].as_array().unwrap().len(), 2);
    let subscribed = app.ask("subscribe", &json!({ "policies": ["prod.*"] }));
    assert_eq!(subscribed.data["result"]["subscription"], "s1", "{subscribed:?}");
    set.send_replace(policies(2, &[("prod.deploy", "a2"), ("dev", "c2")]));
    let told = [app.frame(), app.frame()];
    assert!(told.iter().all(|frame| frame.event == "policy-updated" && frame.params()["version"] == "2"), "{told:?}");
    let paths: Vec<&Value> = told.iter().map(|frame| &frame.params()["policy"]).collect();
    assert_eq!(paths, [&json!("prod.deploy.canary"), &json!("prod.deploy")]);
    assert_eq!(app.ask("unsubscribe", &json!({ "subscription": "s1" })).code(), 0);
    running.stop();
}

#[test]
fn without_an_evaluator_nothing_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut app = app(&running);
    assert_eq!(app.ask("evaluate", &Value::Object(question("d1"))).code(), -32601);
    assert_eq!(app.ask("list-policies", &json!({})).code(), -32601);
    running.stop();
}
