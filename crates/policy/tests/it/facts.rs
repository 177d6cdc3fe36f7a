//! Facts in rules about statements.

use serde_json::json;
use weir_model::Action;
use weir_policy::{Policy, Request, RequestContext};

use crate::{noon, object, policy, principal, world::World};

const NAMES: &str = r#"
org = "acme"
[roles.admin]
[roles.operator]
[agents.ada]
roles = ["admin"]
[agents.bo]
roles = ["operator"]
attributes = { team = "blue", shift = 7, desks = ["a", "b"], odd = "x.y" }
[agents."b.o"]
roles = ["operator"]
[facts.approval]
key = "approvals.${principal}.${resource.name}"
[facts.approval.counts]
seniors = { of = "approvers", where = { role = "senior" }, distinct = "user" }
[facts.revoked]
key = "revoked.${principal}"
[facts.fresh]
key = "fresh.${principal}"
max_staleness_ms = 1000
[facts.level]
key = "levels.${principal.team}.${principal.shift}.${action}"
default = 1
[facts.teams]
keys = "teams.${principal}.*"
[facts.teams.counts]
all = {}
leads = { where = { lead = true }, distinct = "name" }
[facts.desks]
key = "desks.${principal.desks}"
[facts.odd]
key = "odd.${principal.odd}"
[facts.missing]
key = "missing.${principal.nothing}"
"#;

fn compiled(access: &str) -> Policy {
    policy(NAMES, access, "")
}

fn context(world: &World) -> RequestContext<'_> {
    RequestContext { facts: Some(world), ..noon() }
}

/// `allow rule…` or `deny rule…`, with `~` in front when the context was looked at.
fn show(policy: &Policy, agent: &str, table: &str, context: &RequestContext<'_>) -> String {
    let object = object(table);
    let decision =
        policy.decide(&principal(policy, agent), &Request { action: Action::Update, object: &object, context });
    let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_ref()).collect();
    let volatile = if decision.volatile { "~" } else { "" };
    let answer = if decision.allowed { "allow" } else { "deny" };
    format!("{volatile}{answer} {}", rules.join(" ")).trim_end().to_owned()
}

fn reason(policy: &Policy, agent: &str, table: &str, context: &RequestContext<'_>) -> String {
    let object = object(table);
    let request = Request { action: Action::Update, object: &object, context };
    policy.decide(&principal(policy, agent), &request).reason.to_string()
}

fn seniors(users: &[&str]) -> serde_json::Value {
    let approvers: Vec<_> = users.iter().map(|user| json!({"user": user, "role": "senior"})).collect();
    json!({ "approvers": approvers })
}

const APPROVED: &str = r#"
@id("open") permit (principal in Role::"operator", action, resource);
@id("two") forbid (principal, action in Action::"write", resource)
  unless { principal in Role::"admin" || context.facts.approval.seniors >= 2 };
@id("admin") permit (principal in Role::"admin", action, resource);
"#;

#[test]
fn a_fact_opens_and_closes_a_table() {
    let policy = compiled(APPROVED);
    let mut world = World::default();
    let key = "approvals.bo.orders";
    let check = |world: &World, expected: &str| {
        for _ in 0..2 {
            assert_eq!(show(&policy, "bo", "orders", &context(world)), expected, "{world:?}");
        }
    };
    check(&world, "~deny two");
    world.put(key, seniors(&["alice"]));
    check(&world, "~deny two");
    world.put(key, seniors(&["alice", "bob"]));
    check(&world, "~allow open");
    assert_eq!(show(&policy, "bo", "lineitem", &context(&world)), "~deny two", "an approval is for one table");
    world.copy(key);
    check(&world, "~allow open");
    world.join(key, seniors(&["alice"]));
    check(&world, "~deny two");
    world.join(key, seniors(&["alice", "bob", "carol"]));
    check(&world, "~allow open");
    world.end(key);
    check(&world, "~deny two");
    world.put(key, seniors(&["alice", "bob"]));
    check(&world, "~allow open");
    world.delete(key);
    check(&world, "~deny two");
    world.put(key, seniors(&["alice", "bob"]));
    world.conflict(key, true);
    check(&world, "~deny two");
    world.conflict(key, false);
    check(&world, "~allow open");
    world.down = true;
    check(&world, "~deny two");
    world.down = false;
    check(&world, "~allow open");
}

#[test]
fn what_an_admin_may_needs_no_facts() {
    let policy = compiled(APPROVED);
    let world = World::down();
    assert_eq!(show(&policy, "ada", "orders", &context(&world)), "allow admin");
    assert_eq!(show(&policy, "ada", "orders", &noon()), "allow admin");
    let object = object("orders");
    let request = Request { action: Action::Select, object: &object, context: &context(&world) };
    assert!(policy.decide(&principal(&policy, "bo"), &request).allowed, "reading asks for no approval");
    assert_eq!(world.times_asked(), 0);
}

#[test]
fn without_facts_rules_that_read_them_refuse() {
    let policy = compiled(APPROVED);
    assert_eq!(show(&policy, "bo", "orders", &noon()), "~deny two");
    let told = reason(&policy, "bo", "orders", &noon());
    assert!(
        told.ends_with(
            "is refused by an error in `two` (access.cedar:3): the rules read facts, and there are none here"
        ),
        "{told}"
    );
    let down = World::down();
    let told = reason(&policy, "bo", "orders", &context(&down));
    assert!(told.ends_with("fact `approval` (approvals.bo.orders): the store is closed"), "{told}");
}

/// Each way of asking, over each state that a fact can be in: `forbid` may never be passed over for want of knowledge.
#[test]
fn what_is_not_known_never_helps() {
    let states = ["absent", "no", "yes", "malformed", "conflicted", "down"];
    let check = |rule: &str, expected: [bool; 6]| {
        let policy = compiled(&format!("permit (principal, action, resource);\n@id(\"it\") {rule};"));
        for (state, expected) in states.iter().zip(expected) {
            let mut world = World::default();
            match *state {
                "no" => world.put("revoked.bo", json!({"revoked": false, "by": []})),
                "yes" | "conflicted" | "down" => world.put("revoked.bo", json!({"revoked": true, "by": ["x"]})),
                "malformed" => world.put("revoked.bo", json!("yes")),
                _ => {}
            }
            if *state == "conflicted" {
                world.conflict("revoked.bo", true);
            }
            world.down = *state == "down";
            let found = show(&policy, "bo", "t", &context(&world));
            let allowed = if expected { "~allow rule-1" } else { "~deny it" };
            assert_eq!(found, allowed, "{rule} when {state}");
        }
    };
    let f = "context.facts.revoked";
    check(
        &format!("forbid (principal, action, resource) when {{ {f}.value.revoked }}"),
        [false, true, false, false, false, false],
    );
    check(
        &format!("forbid (principal, action, resource) when {{ {f} has value && {f}.value.revoked }}"),
        [true, true, false, false, false, false],
    );
    check(
        &format!(
            "forbid (principal, action, resource) when {{ {f} has value && {f}.value has revoked && {f}.value.revoked }}"
        ),
        [true, true, false, false, false, false],
    );
    check(
        &format!("forbid (principal, action, resource) unless {{ {f}.status == \"absent\" }}"),
        [true, false, false, false, false, false],
    );
    check(
        &format!("forbid (principal, action, resource) when {{ {f}.status == \"present\" && {f}.value.revoked }}"),
        [true, true, false, false, false, false],
    );
    // Who spells out the conflict decides about it.
    check(
        &format!(
            "forbid (principal, action, resource) when {{ {f}.status == \"present\" || {f}.status == \"other\" && \"conflicted\" == \"\" }}"
        ),
        [true, false, false, false, true, false],
    );
    check(
        &format!(
            "forbid (principal, action, resource) when {{ {f}.status == \"conflicted\" || {f} has value && {f}.value.revoked }}"
        ),
        [true, true, false, false, false, false],
    );
}

#[test]
fn one_rule_s_minding_of_a_conflict_is_not_another_s() {
    let policy = compiled(
        r#"
        permit (principal, action, resource);
        @id("minds") forbid (principal, action, resource)
          when { context.facts.revoked.status == "conflicted" && context.hour == 3 };
        @id("does not") forbid (principal, action, resource)
          when { context.facts.revoked has value && context.facts.revoked.value };
        "#,
    );
    let mut world = World::with(&[("revoked.bo", json!(false))]);
    assert_eq!(show(&policy, "bo", "t", &context(&world)), "~allow rule-2");
    world.conflict("revoked.bo", true);
    assert_eq!(show(&policy, "bo", "t", &context(&world)), "~deny minds does not");
}

#[test]
fn a_malformed_fact_refuses_and_is_named() {
    let policy = compiled(APPROVED);
    let check = |value: serde_json::Value, expected: &str| {
        let world = World::with(&[("approvals.bo.orders", value)]);
        assert_eq!(show(&policy, "bo", "orders", &context(&world)), "~deny two");
        let told = reason(&policy, "bo", "orders", &context(&world));
        assert!(told.ends_with(expected), "{told}");
    };
    check(json!({"approvers": "alice, bob"}), "fact `approval` (approvals.bo.orders): its `approvers` is no array");
    check(json!({"approvers": [{"role": "senior"}]}), "has no `user` that is text or a number");
    let policy = compiled(
        "permit (principal, action, resource); @id(\"it\") forbid (principal, action, resource) when { context.facts.revoked has value && context.facts.revoked.value has score && context.facts.revoked.value.score.greaterThan(decimal(\"0.5\")) };",
    );
    let world = World::with(&[("revoked.bo", json!({"score": 0.123456, "other": 0.123456}))]);
    let told = reason(&policy, "bo", "t", &context(&world));
    assert!(told.contains("its value in \"score\" is 0.123456, a number that rules cannot hold"), "{told}");
    let world = World::with(&[("revoked.bo", json!({"score": 0.25, "other": 0.123456}))]);
    assert_eq!(show(&policy, "bo", "t", &context(&world)), "~allow rule-1", "what no rule reads does not matter");
}

#[test]
fn a_stale_source_refuses_also_what_it_allowed_before() {
    let policy = compiled("@id(\"it\") permit (principal, action, resource) when { context.facts.fresh.value };");
    let mut world = World::with(&[("fresh.bo", json!(true))]);
    for (staleness_ms, expected) in
        [(0, "~allow it"), (1000, "~allow it"), (1001, "~deny it"), (u64::MAX, "~deny it"), (5, "~allow it")]
    {
        world.staleness_ms = staleness_ms;
        assert_eq!(show(&policy, "bo", "t", &context(&world)), expected, "{staleness_ms}");
    }
    world.staleness_ms = 1001;
    let told = reason(&policy, "bo", "t", &context(&world));
    assert!(told.ends_with("what is known of fact `fresh` may be 1001 ms old, and only 1000 ms are allowed"), "{told}");
    // A fact without a bound is read however old it is.
    let policy = compiled(APPROVED);
    world.put("approvals.bo.orders", seniors(&["alice", "bob"]));
    assert_eq!(show(&policy, "bo", "orders", &context(&world)), "~allow open");
}

#[test]
fn keys_are_made_of_what_the_decision_is_about() {
    let policy = compiled("@id(\"it\") permit (principal, action, resource) when { context.facts.level.value > 2 };");
    let world = World::with(&[("levels.blue.7.update", json!(3))]);
    assert_eq!(show(&policy, "bo", "t", &context(&world)), "~allow it");
    assert_eq!(show(&policy, "bo", "t", &context(&World::default())), "~deny");
    let object = object("t");
    let request = Request { action: Action::Update, object: &object, context: &context(&world) };
    let decision = policy.decide(&principal(&policy, "bo"), &request);
    let read: Vec<(&str, u64)> = decision.facts.iter().map(|fact| (fact.key.as_ref(), fact.version)).collect();
    assert_eq!(read, [("levels.blue.7.update", 1)]);
}

#[test]
fn a_key_that_cannot_be_made_refuses() {
    let check = |agent: &str, table: &str, fact: &str, expected: &str| {
        let access = format!(
            "permit (principal, action, resource); @id(\"it\") forbid (principal, action, resource) when {{ context.facts.{fact} has value }};"
        );
        let policy = compiled(&access);
        let world = World::default();
        assert_eq!(show(&policy, agent, table, &context(&world)), "deny it");
        let told = reason(&policy, agent, table, &context(&world));
        assert!(told.ends_with(expected), "{told}");
        assert_eq!(world.times_asked(), 0);
    };
    check("bo", "t", "desks", "fact `desks`: `${principal.desks}` is a list");
    check("bo", "t", "missing", "fact `missing`: the agent has no attribute `nothing`, which the key is made with");
    check(
        "bo",
        "t",
        "odd",
        "fact `odd`: `${principal.odd}` is \"x.y\", which cannot stand in a key: letters, digits and _-=/:@+ can",
    );
    check(
        "b.o",
        "t",
        "approval",
        "`${principal}` is \"b.o\", which cannot stand in a key: letters, digits and _-=/:@+ can",
    );
    check(
        "bo",
        "\"a.b\"",
        "approval",
        "`${resource.name}` is \"a.b\", which cannot stand in a key: letters, digits and _-=/:@+ can",
    );
    check(
        "bo",
        "\"*\"",
        "approval",
        "`${resource.name}` is \"*\", which cannot stand in a key: letters, digits and _-=/:@+ can",
    );
}

#[test]
fn many_facts_below_one_key() {
    let policy = compiled(
        r#"
        @id("all") permit (principal, action, resource == Table::"public.all") when { context.facts.teams.all == 2 };
        @id("leads") permit (principal, action, resource == Table::"public.leads") when { context.facts.teams.leads == 1 };
        @id("set") permit (principal, action, resource == Table::"public.set")
          when { context.facts.teams.value.contains({name: "x", lead: true}) };
        @id("none") permit (principal, action, resource == Table::"public.none") when { context.facts.teams.status == "absent" };
        "#,
    );
    let mut world = World::with(&[
        ("teams.bo.a", json!({"name": "x", "lead": true})),
        ("teams.bo.b", json!({"name": "x", "lead": true})),
        ("teams.ada.c", json!({"name": "y", "lead": true})),
        ("teams.b", json!(1)),
    ]);
    let check = |world: &World, table: &str, expected: &str| {
        assert_eq!(show(&policy, "bo", table, &context(world)), expected, "{table}");
    };
    check(&world, "all", "~allow all");
    check(&world, "leads", "~allow leads");
    check(&world, "set", "~allow set");
    check(&world, "none", "~deny");
    world.end("teams.bo.b");
    check(&world, "all", "~deny");
    world.put("teams.bo.b", json!({"name": "z"}));
    check(&world, "all", "~allow all");
    world.put("teams.bo.c", json!(1));
    check(&world, "all", "~deny");
    world.delete("teams.bo.c");
    check(&world, "all", "~allow all");
    world.conflict("teams.bo.b", true);
    check(&world, "all", "~deny all");
    world.conflict("teams.bo.b", false);
    for number in 0..1_000 {
        world.put(&format!("teams.bo.n{number}"), json!(number));
    }
    let told = reason(&policy, "bo", "all", &context(&world));
    assert!(told.ends_with("fact `teams` (teams.bo.*): there are more than 1000 facts below it"), "{told}");
    for number in 0..1_000 {
        world.delete(&format!("teams.bo.n{number}"));
    }
    let gone = World::default();
    check(&gone, "none", "~allow none");
    check(&gone, "set", "~deny");
}

/// A remembered answer is found again without Cedar, and the facts are asked for all the same.
#[test]
fn answers_are_remembered_with_their_facts() {
    let policy = compiled(APPROVED);
    let mut world = World::with(&[("approvals.bo.orders", seniors(&["alice", "bob"]))]);
    let object = object("orders");
    let bo = principal(&policy, "bo");
    let decide = |world: &World| {
        let context = context(world);
        policy.decide(&bo, &Request { action: Action::Update, object: &object, context: &context })
    };
    let first = decide(&world);
    assert!(std::sync::Arc::ptr_eq(&first.reason, &decide(&world).reason), "made once");
    assert_eq!(world.times_asked(), 2);
    world.put("approvals.bo.orders", seniors(&["alice", "bob"]));
    let second = decide(&world);
    assert!(second.allowed && second.facts != first.facts, "the journal is told the facts as they were");
    world.put("approvals.bo.orders", seniors(&["alice"]));
    assert!(!decide(&world).allowed);
}
