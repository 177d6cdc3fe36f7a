//! What applications ask.

use serde_json::{Value, json};
use weir_policy::{Evaluated, Evaluation, EvaluationError, Policy, Source, compile};

use crate::{VALIDITY, WEDNESDAY_NOON_MS, world::World};

const NAMES: &str = r#"
org = "acme"
[facts.deployment]
key = "approvals.${request.deployment_id}"
[facts.deployment.counts]
seniors = { of = "approvers", where = { role = "senior" }, distinct = "user" }
[facts.owner]
key = "owners.${resource}"
[facts.kind]
key = "kinds.${resource.kind}.${principal}.${action}"
max_staleness_ms = 1000
"#;

const DECISIONS: [(&str, &str); 4] = [
    (
        "prod.deploy",
        "@id(\"two\") permit (principal, action, resource) when { context.facts.deployment.seniors >= 2 };",
    ),
    (
        "scoped",
        r#"
        @id("ci") permit (principal == App::"ci", action in [Action::"build", Action::"test"], resource is Resource);
        @id("owner") permit (principal, action == Action::"edit", resource) when { context.facts.owner.value == "ci" };
        @id("secret") forbid (principal, action, resource == Resource::"secret");
        @id("frozen") forbid (principal, action, resource) when { resource has frozen && resource.frozen };
        "#,
    ),
    (
        "asks",
        r#"
        @id("size") permit (principal, action, resource) when { context.request.size < 10 && context.hour == 12 };
        @id("tags") permit (principal, action, resource) when { context.request has tags && context.request.tags.contains("ok") };
        "#,
    ),
    ("kind", "@id(\"kind\") permit (principal, action, resource) when { context.facts.kind.value };"),
];

fn compiled() -> Policy {
    let source = DECISIONS
        .iter()
        .fold(Source::from_text("acme", NAMES, "", ""), |source, (path, text)| source.with_decision(path, text));
    Policy::new(compile(&source, VALIDITY).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))).unwrap()
}

fn ask<'a>(path: &'a str, resource: &'a Value, request: &'a Value, world: &'a World) -> Evaluation<'a> {
    Evaluation {
        app: "ci",
        path,
        action: "edit",
        resource,
        request,
        now_unix_ms: WEDNESDAY_NOON_MS,
        facts: Some(world),
        max_staleness_ms: None,
    }
}

fn show(answer: &Result<Evaluated, EvaluationError>) -> String {
    match answer {
        Ok(answer) => {
            let rules: Vec<&str> = answer.rules.iter().map(|rule| rule.id.as_ref()).collect();
            let allowed = if answer.allowed { "allow" } else { "deny" };
            format!("{allowed} {}", rules.join(" ")).trim_end().to_owned()
        }
        Err(EvaluationError::PolicyNotFound { .. }) => "not found".into(),
        Err(EvaluationError::BadContext(what)) => format!("bad: {what}"),
        Err(EvaluationError::Unavailable(what)) => format!("unavailable: {what}"),
        Err(EvaluationError::Stale { staleness_ms, max_ms, .. }) => format!("stale: {staleness_ms} of {max_ms}"),
    }
}

fn approvals(users: &[&str]) -> Value {
    let approvers: Vec<Value> = users.iter().map(|user| json!({"user": user, "role": "senior"})).collect();
    json!({ "approvers": approvers })
}

#[test]
fn an_approval_flips_the_answer() {
    let policy = compiled();
    let mut world = World::default();
    let request = json!({"deployment_id": "deploy-123"});
    let check = |world: &World, expected: &str| {
        assert_eq!(show(&policy.evaluate(&ask("prod.deploy", &json!("x"), &request, world))), expected);
    };
    check(&world, "deny");
    world.put("approvals.deploy-123", approvals(&["alice", "alice"]));
    check(&world, "deny");
    world.put("approvals.deploy-123", approvals(&["alice", "bob"]));
    check(&world, "allow two");
    world.delete("approvals.deploy-123");
    check(&world, "deny");
    world.put("approvals.deploy-123", approvals(&["alice", "bob"]));
    world.conflict("approvals.deploy-123", true);
    check(&world, "deny two");
    world.conflict("approvals.deploy-123", false);
    world.put("approvals.deploy-123", json!({"approvers": 2}));
    check(&world, "deny two");
}

#[test]
fn who_asks_again_is_told_what_is_so_now() {
    let policy = compiled();
    let mut world = World::with(&[("approvals.d1", approvals(&["alice", "bob"]))]);
    let (request, other) = (json!({"deployment_id": "d1", "by": [1]}), json!({"deployment_id": "d2", "by": [1]}));
    let check = |world: &World, resource: &Value, request: &Value, app: &str, expected: &str| {
        let question = Evaluation { app, ..ask("prod.deploy", resource, request, world) };
        // The second time as it is remembered.
        for _ in 0..2 {
            let answer = policy.evaluate(&question);
            assert_eq!(show(&answer), expected);
            assert!(answer.unwrap().reason.contains(&format!("for app `{app}`")));
        }
    };
    check(&world, &json!("x"), &request, "ci", "allow two");
    check(&world, &json!("x"), &other, "ci", "deny");
    check(&world, &json!("y"), &request, "web", "allow two");
    let asked = world.times_asked();
    check(&world, &json!("x"), &request, "ci", "allow two");
    assert_eq!(world.times_asked(), asked + 2, "facts are read each time");
    // The version stays when an older write arrives, and when a fact ends.
    world.join("approvals.d1", approvals(&["alice"]));
    check(&world, &json!("x"), &request, "ci", "deny");
    world.join("approvals.d1", approvals(&["alice", "bob"]));
    check(&world, &json!("x"), &request, "ci", "allow two");
    world.copy("approvals.d1");
    check(&world, &json!("x"), &request, "ci", "allow two");
    world.end("approvals.d1");
    check(&world, &json!("x"), &request, "ci", "deny");
    world.put("approvals.d1", approvals(&["alice", "bob"]));
    world.conflict("approvals.d1", true);
    check(&world, &json!("x"), &request, "ci", "deny two");
}

#[test]
fn what_is_remembered_ends_with_the_hour_that_rules_ask_for() {
    let (policy, world, request) = (compiled(), World::default(), json!({"size": 1}));
    let check = |hours: i64, expected: &str| {
        let now_unix_ms = WEDNESDAY_NOON_MS + hours * 3_600_000;
        let question = Evaluation { now_unix_ms, ..ask("asks", &Value::Null, &request, &world) };
        assert_eq!(show(&policy.evaluate(&question)), expected, "{hours} hours later");
    };
    check(0, "allow size");
    check(1, "deny");
    check(0, "allow size");
    check(24, "allow size");
}

#[test]
fn staleness_and_outages_are_not_remembered_away() {
    let (policy, request) = (compiled(), json!({"deployment_id": "d1"}));
    let mut world = World::with(&[("approvals.d1", approvals(&["alice", "bob"]))]);
    let resource = json!("x");
    let within = |world: &World, max_staleness_ms: Option<u64>| {
        show(&policy.evaluate(&Evaluation { max_staleness_ms, ..ask("prod.deploy", &resource, &request, world) }))
    };
    assert_eq!(within(&world, None), "allow two");
    world.staleness_ms = 7;
    assert_eq!(within(&world, Some(6)), "stale: 7 of 6");
    let answer = policy.evaluate(&ask("prod.deploy", &resource, &request, &world)).unwrap();
    assert_eq!((answer.allowed, answer.staleness_ms), (true, Some(7)));
    assert_eq!(within(&World::down(), None), "unavailable: fact `deployment` (approvals.d1): the store is closed");
}

#[test]
fn answers_say_why_and_on_what() {
    let policy = compiled();
    let world = World::with(&[("approvals.d1", approvals(&["alice", "bob"]))]);
    let request = json!({"deployment_id": "d1"});
    let answer = policy.evaluate(&ask("prod.deploy", &json!({"id": "shop\n"}), &request, &world)).unwrap();
    assert_eq!(
        &*answer.reason,
        "`edit` on `shop\\n` for app `ci` is permitted by `two` (decisions/prod.deploy.cedar:1)"
    );
    let read: Vec<(&str, u64)> = answer.facts.iter().map(|fact| (fact.key.as_ref(), fact.version)).collect();
    assert_eq!((read, answer.staleness_ms), (vec![("approvals.d1", 1)], Some(0)));
    let request = json!({"deployment_id": "d2"});
    let answer = policy.evaluate(&ask("prod.deploy", &Value::Null, &request, &world)).unwrap();
    assert_eq!(&*answer.reason, "`edit` for app `ci` is permitted by no rule of `prod.deploy`");
    let error = policy.evaluate(&ask("prod.deplo", &Value::Null, &request, &world)).unwrap_err();
    assert_eq!(error.to_string(), "there is no policy `prod.deplo`; did you mean `prod.deploy`?");
    assert_eq!(policy.decision_paths().collect::<Vec<_>>(), ["asks", "kind", "prod.deploy", "scoped"]);
}

#[test]
fn questions_that_lack_what_the_policy_reads_have_no_answer() {
    let policy = compiled();
    let world = World::default();
    let check = |path: &str, resource: Value, request: Value, expected: &str| {
        assert_eq!(
            show(&policy.evaluate(&ask(path, &resource, &request, &world))),
            expected,
            "{path} {resource} {request}"
        );
    };
    let no_id = "bad: fact `deployment`: the request has no `deployment_id`, which the key is made with";
    check("prod.deploy", json!(null), json!(null), no_id);
    check("prod.deploy", json!(null), json!({}), no_id);
    check("prod.deploy", json!(null), json!({"deployment_id": null}), no_id);
    check(
        "prod.deploy",
        json!(null),
        json!({"deployment_id": ["x"]}),
        "bad: fact `deployment`: the request's `deployment_id` is no text, integer or boolean",
    );
    check(
        "prod.deploy",
        json!(null),
        json!({"deployment_id": 1.5}),
        "bad: fact `deployment`: the request's `deployment_id` is no text, integer or boolean",
    );
    for id in ["a.b", "*", "", "a b", "x\u{0}"] {
        let answer = policy.evaluate(&ask("prod.deploy", &Value::Null, &json!({"deployment_id": id}), &world));
        assert!(show(&answer).starts_with("bad: fact `deployment`: `${request.deployment_id}` is"), "{answer:?}");
    }
    check("prod.deploy", json!(null), json!({"deployment_id": 7}), "deny");
    check("prod.deploy", json!(null), json!([]), "bad: the request is no object");
    check("prod.deploy", json!([1]), json!({}), "bad: the resource is no text and no object");
    check("prod.deploy", json!({"id": {}}), json!({}), "bad: the resource's `id` is no text, integer or boolean");
    check(
        "asks",
        json!(null),
        json!({"size": 0.123456}),
        "bad: the request in \"size\" is 0.123456, a number that rules cannot hold: integers of 64 bits and four decimals can",
    );
    check("nothing", json!(null), json!(null), "not found");
}

#[test]
fn scopes_choose_the_rules_and_the_facts() {
    let policy = compiled();
    let world = World::with(&[("owners.shop", json!("ci"))]);
    let check = |app: &str, action: &str, resource: Value, expected: &str| {
        let request = Value::Null;
        let question = Evaluation { app, action, ..ask("scoped", &resource, &request, &world) };
        assert_eq!(show(&policy.evaluate(&question)), expected, "{app} {action} {resource}");
    };
    check("ci", "build", json!("shop"), "allow ci");
    check("ci", "build", json!(null), "allow ci");
    check("other", "build", json!("shop"), "deny");
    check("other", "edit", json!("shop"), "allow owner");
    check("other", "edit", json!({"id": "shop", "frozen": false}), "allow owner");
    check("other", "edit", json!({"id": "shop", "frozen": true}), "deny frozen");
    check("other", "edit", json!({"id": "shop", "frozen": null}), "allow owner");
    check("other", "edit", json!({"id": "shop", "frozen": "yes"}), "deny frozen");
    check("ci", "build", json!("secret"), "deny secret");
    // `owner` is not asked about a build, so its fact is not either.
    check("ci", "edit", json!(null), "bad: fact `owner`: the resource has no `id`, which the key is made with");
    check("App::\"ci\"", "build", json!("shop"), "deny");
}

#[test]
fn requests_are_read_as_they_are_sent() {
    let policy = compiled();
    let world = World::down();
    let check = |request: Value, expected: &str| {
        assert_eq!(show(&policy.evaluate(&ask("asks", &Value::Null, &request, &world))), expected, "{request}");
    };
    check(json!({"size": 9}), "allow size");
    check(json!({"size": 10}), "deny");
    check(json!({"size": 10, "tags": ["ok"]}), "allow tags");
    check(json!({"size": "9"}), "deny size");
    check(json!({}), "deny size");
    check(json!({"size": 9, "unread": 0.123456}), "allow size");
}

#[test]
fn what_is_not_known_has_no_answer() {
    let policy = compiled();
    let mut world = World::with(&[("kinds.a.ci.edit", json!(true)), ("approvals.d", approvals(&["a", "b"]))]);
    let (resource, request) = (json!({"kind": "a"}), json!({"deployment_id": "d"}));
    let check = |world: &World, path: &str, bound: Option<u64>, expected: &str| {
        let question = Evaluation { max_staleness_ms: bound, ..ask(path, &resource, &request, world) };
        assert_eq!(show(&policy.evaluate(&question)), expected);
    };
    check(&world, "kind", None, "allow kind");
    world.staleness_ms = 1001;
    check(&world, "kind", None, "stale: 1001 of 1000");
    check(&world, "kind", Some(5000), "stale: 1001 of 1000");
    check(&world, "prod.deploy", None, "allow two");
    check(&world, "prod.deploy", Some(1000), "stale: 1001 of 1000");
    check(&world, "prod.deploy", Some(1001), "allow two");
    world.down = true;
    check(&world, "prod.deploy", None, "unavailable: fact `deployment` (approvals.d): the store is closed");
    let question = Evaluation { facts: None, ..ask("prod.deploy", &resource, &request, &world) };
    assert_eq!(show(&policy.evaluate(&question)), "unavailable: the rules read facts, and there are none here");
}
