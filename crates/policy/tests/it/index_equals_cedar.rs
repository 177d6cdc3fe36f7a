//! The index is an optimisation: whatever the rules, it answers as Cedar does over all of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision as Answer, Entities, Entity, EntityUid, PolicySet, RestrictedExpression,
};
use proptest::prelude::*;
use serde_json::json;
use weir_model::{Action, AttributeValue, Attributes, ClientAddress, ObjectName, Principal};
use weir_policy::{Policy, Request, RequestContext};

use crate::{identity, object, try_compile, world::World};

const ROLES: usize = 4;
const AGENTS: usize = 3;
const TABLES: [&str; 5] = ["public.a", "public.b", "sales.a", "sales.c", "other.z"];

const CONDITIONS: [&str; 20] = [
    "",
    "when { principal.level > 2 }",
    "when { principal has level && principal.level > 2 }",
    "unless { principal has region && principal.region == \"EU\" }",
    "when { principal in Role::\"r1\" }",
    "when { Role::\"r0\" in Role::\"r2\" }",
    "when { resource in Schema::\"sales\" && action in Action::\"write\" }",
    "when { [Table::\"public.a\", Table::\"sales.c\"].contains(resource) }",
    "when { context.hour < 12 }",
    "when { context has purpose && context.purpose == \"analytics\" }",
    "unless { context.purpose == \"analytics\" }",
    "when { context.client.isInRange(ip(\"10.0.0.0/8\")) }",
    "when { context.client_local || context.statement == \"copy\" }",
    "when { context.now < datetime(\"2026-01-07T00:00:00Z\") && context.weekday != 3 }",
    "when { context.facts.flag.value.on }",
    "unless { context.facts.flag has value && context.facts.flag.value.on }",
    "when { context.facts.flag.all >= 2 }",
    "when { context.facts.flag.status == \"absent\" && context.hour < 12 }",
    "when { principal in Role::\"r1\" || context.facts.level.value > 1 }",
    "unless { principal in Role::\"r2\" && context.facts.level.value > principal.level }",
];

const FACTS: &str = r#"
[facts.flag]
key = "flags.${principal}"
counts = { all = { of = "all" } }
[facts.level]
key = "levels.${resource.name}"
default = 1
"#;

fn facts() -> World {
    World::with(&[
        ("flags.a0", json!({"on": true, "all": [1, 2]})),
        ("flags.a1", json!({"on": false, "all": [1]})),
        ("levels.a", json!(2)),
    ])
}

/// The same as rules should see them, built here on its own.
fn facts_in_cedar(agent: &str, table: &str, there: bool) -> RestrictedExpression {
    let flag = match agent {
        "a0" if there => r#"{status: "present", value: {on: true, all: [1, 2]}, all: 2}"#,
        "a1" if there => r#"{status: "present", value: {on: false, all: [1]}, all: 1}"#,
        _ => r#"{status: "absent", all: 0}"#,
    };
    let level =
        if there && table == "a" { r#"{status: "present", value: 2}"# } else { r#"{status: "absent", value: 1}"# };
    format!("{{flag: {flag}, level: {level}}}").parse().unwrap()
}

fn principal_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Agent".to_owned()),
        (0..ROLES).prop_map(|role| format!("principal in Role::\"r{role}\"")),
        (0..AGENTS).prop_map(|agent| format!("principal == Agent::\"a{agent}\"")),
        (0..AGENTS).prop_map(|agent| format!("principal in Agent::\"a{agent}\"")),
        (0..ROLES).prop_map(|role| format!("principal is Agent in Role::\"r{role}\"")),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    let action = || proptest::sample::select(Action::ALL.to_vec()).prop_map(|action| format!("Action::\"{action}\""));
    let group = proptest::sample::select(vec!["read", "write", "define"]);
    prop_oneof![
        Just("action".to_owned()),
        action().prop_map(|action| format!("action == {action}")),
        group.prop_map(|group| format!("action in Action::\"{group}\"")),
        proptest::collection::vec(action(), 0..3).prop_map(|actions| format!("action in [{}]", actions.join(", "))),
    ]
}

fn resource_scope() -> impl Strategy<Value = String> {
    let table = || proptest::sample::select(TABLES.to_vec());
    prop_oneof![
        Just("resource".to_owned()),
        Just("resource is Table".to_owned()),
        Just("resource in Org::\"acme\"".to_owned()),
        table().prop_map(|table| format!("resource == Table::\"{table}\"")),
        table().prop_map(|table| format!("resource in Table::\"{table}\"")),
        proptest::sample::select(vec!["public", "sales"])
            .prop_map(|schema| format!("resource in Schema::\"{schema}\"")),
        Just("resource is Table in Schema::\"sales\"".to_owned()),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let condition = prop_oneof![2 => Just(""), 3 => proptest::sample::select(CONDITIONS.to_vec())];
    (effect, principal_scope(), action_scope(), resource_scope(), condition).prop_map(
        |(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

/// Role i may inherit roles after it; agents hold roles and may have attributes.
fn names() -> impl Strategy<Value = String> {
    let inherits = proptest::collection::vec(any::<[bool; ROLES]>(), ROLES);
    let agents = proptest::collection::vec(
        (any::<[bool; ROLES]>(), proptest::option::of(0..5_i64), proptest::option::of("(EU|US)")),
        AGENTS,
    );
    (inherits, agents).prop_map(|(inherits, agents)| {
        let chosen = |flags: &[bool; ROLES], after: Option<usize>| -> String {
            let roles = (0..ROLES).filter(|role| flags[*role] && after.is_none_or(|after| *role > after));
            roles.map(|role| format!("\"r{role}\"")).collect::<Vec<_>>().join(", ")
        };
        let mut text = "org = \"acme\"\n".to_owned();
        for (role, flags) in inherits.iter().enumerate() {
            text += &format!("[roles.r{role}]\ninherits = [{}]\n", chosen(flags, Some(role)));
        }
        for (agent, (flags, level, region)) in agents.iter().enumerate() {
            let level = level.map(|level| format!("level = {level}"));
            let region = region.as_ref().map(|region| format!("region = \"{region}\""));
            let attributes = level.into_iter().chain(region).collect::<Vec<_>>().join(", ");
            text += &format!("[agents.a{agent}]\nroles = [{}]\nattributes = {{ {attributes} }}\n", chosen(flags, None));
        }
        text + FACTS
    })
}

fn uid(kind: &str, name: &str) -> EntityUid {
    format!("{kind}::{name:?}").parse().unwrap()
}

/// Cedar's world, built here on its own.
fn entities(policy: &Policy, principal: &Principal, table: &ObjectName) -> Entities {
    let mut entities = Vec::new();
    let groups: [(&str, &[&str]); 3] = [
        ("read", &["select"]),
        ("write", &["insert", "update", "delete", "truncate"]),
        ("define", &["create", "drop"]),
    ];
    for (group, members) in groups {
        for member in members {
            entities.push(Entity::new_no_attrs(uid("Action", member), HashSet::from([uid("Action", group)])));
        }
    }
    for name in &principal.roles {
        let parents = policy.body().roles[name].inherits.iter().map(|role| uid("Role", role)).collect();
        entities.push(Entity::new_no_attrs(uid("Role", name), parents));
    }
    let attributes: HashMap<String, RestrictedExpression> = principal
        .attributes
        .iter()
        .map(|(name, value)| match value {
            AttributeValue::Integer(value) => (name.clone(), RestrictedExpression::new_long(*value)),
            other => (name.clone(), RestrictedExpression::new_string(other.to_string())),
        })
        .collect();
    let held = policy.body().agents[principal.agent.as_ref()].roles.iter().map(|role| uid("Role", role)).collect();
    entities.push(Entity::new(uid("Agent", &principal.agent), attributes, held).unwrap());
    let (schema, org) = (uid("Schema", table.schema()), uid("Org", "acme"));
    entities.push(Entity::new_no_attrs(uid("Table", &table.to_string()), HashSet::from([schema.clone()])));
    entities.push(Entity::new_no_attrs(schema, HashSet::from([org])));
    Entities::from_entities(entities, None).unwrap()
}

struct Moment {
    text: &'static str,
    ms: i64,
    hour: i64,
    weekday: i64,
}

const MOMENTS: [Moment; 3] = [
    Moment { text: "2026-01-06T09:00:00.000Z", ms: 1_767_690_000_000, hour: 9, weekday: 2 },
    Moment { text: "2026-01-06T23:59:59.999Z", ms: 1_767_743_999_999, hour: 23, weekday: 2 },
    Moment { text: "2026-01-07T12:00:00.000Z", ms: 1_767_787_200_000, hour: 12, weekday: 3 },
];

fn context(
    moment: &Moment,
    client: &ClientAddress,
    purpose: Option<&str>,
    statement: &str,
    facts: RestrictedExpression,
) -> Context {
    let mut pairs = vec![
        ("now".to_owned(), RestrictedExpression::new_datetime(moment.text)),
        ("hour".to_owned(), RestrictedExpression::new_long(moment.hour)),
        ("weekday".to_owned(), RestrictedExpression::new_long(moment.weekday)),
        ("client_local".to_owned(), RestrictedExpression::new_bool(*client == ClientAddress::Local)),
        ("statement".to_owned(), RestrictedExpression::new_string(statement.to_owned())),
        ("facts".to_owned(), facts),
    ];
    if let ClientAddress::Ip(address) = client {
        pairs.push(("client".to_owned(), RestrictedExpression::new_ip(address.to_string())));
    }
    pairs.extend(purpose.map(|purpose| ("purpose".to_owned(), RestrictedExpression::new_string(purpose.to_owned()))));
    Context::from_pairs(pairs).unwrap()
}

fn compare(policy: &Policy, everything: &PolicySet) -> Result<(), TestCaseError> {
    let authorizer = Authorizer::new();
    let clients = [ClientAddress::Local, ClientAddress::Ip("10.9.8.7".parse().unwrap())];
    let circumstances =
        [(0, 0, None, "select"), (1, 1, Some("analytics"), "copy"), (2, 1, Some("marketing"), "select")];
    let worlds = [facts(), World::default()];
    for agent in 0..AGENTS {
        let principal = policy.principal(&identity(&format!("a{agent}"), &[], Attributes::new())).unwrap();
        for table in TABLES.map(object) {
            let entities = entities(policy, &principal, &table);
            let known = policy.may_know(&principal, &table);
            for (action, (moment, client, purpose, statement)) in
                Action::ALL.into_iter().flat_map(|action| circumstances.map(|circumstance| (action, circumstance)))
            {
                let (moment, client, there) = (&MOMENTS[moment], &clients[client], moment != 1);
                let facts = facts_in_cedar(&principal.agent, table.name(), there);
                let request = cedar_policy::Request::new(
                    uid("Agent", &principal.agent),
                    uid("Action", action.as_str()),
                    uid("Table", &table.to_string()),
                    context(moment, client, purpose, statement, facts),
                    None,
                );
                let response = authorizer.is_authorized(&request.unwrap(), everything, &entities);
                let erring: BTreeSet<String> = response.diagnostics().errors().map(erring_policy).collect();
                let reasons: BTreeSet<String> = response.diagnostics().reason().map(policy_number).collect();
                let context = RequestContext {
                    now_unix_ms: moment.ms,
                    client,
                    purpose,
                    statement_kind: statement,
                    facts: Some(&worlds[usize::from(!there)]),
                };
                let decision = policy.decide(&principal, &Request { action, object: &table, context: &context });
                let again = policy.decide(&principal, &Request { action, object: &table, context: &context });
                prop_assert_eq!(&decision, &again);
                let rules: BTreeSet<String> = decision.rules.iter().map(|rule| rule.origin.line.to_string()).collect();
                let allowed = response.decision() == Answer::Allow && erring.is_empty();
                prop_assert_eq!(
                    decision.allowed,
                    allowed,
                    "{} {} {}: {}",
                    principal.agent,
                    action,
                    table,
                    decision.reason
                );
                if allowed {
                    prop_assert!(known, "an object that may be touched may be known");
                    prop_assert_eq!(rules, reasons);
                } else {
                    let blamed: BTreeSet<String> = reasons.union(&erring).cloned().collect();
                    let forbidden = response.decision() == Answer::Deny;
                    prop_assert!(rules.is_subset(&blamed), "{:?} not in {:?}", rules, blamed);
                    prop_assert!(forbidden || !erring.is_empty());
                }
            }
        }
    }
    Ok(())
}

fn erring_policy(error: &cedar_policy::AuthorizationError) -> String {
    let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
    policy_number(error.policy_id())
}

fn policy_number(id: &cedar_policy::PolicyId) -> String {
    id.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn indexed_decisions_equal_cedar_s_over_everything(names in names(), rules in proptest::collection::vec(rule(), 0..12)) {
        let body = try_compile(&names, &rules.join("\n"), "");
        let body = body.map_err(|mistakes| TestCaseError::fail(format!("{mistakes:#?}")))?;
        // A rule's line is its name on both sides.
        let policies = body.access.iter().map(|rule| {
            let id = cedar_policy::PolicyId::new(rule.origin.line.to_string());
            cedar_policy::Policy::parse(Some(id), &rule.text).unwrap()
        });
        let everything = PolicySet::from_policies(policies).unwrap();
        compare(&Policy::new(body).unwrap(), &everything)?;
    }
}

/// Ten thousand rules for other roles and tables leave a decision's candidates, and so its cost, as they were.
#[test]
fn ten_thousand_rules_decide_like_ten() {
    let mut names = "org = \"acme\"\n[agents.ann]\nroles = [\"r0\"]\n".to_owned();
    let mut rules = String::new();
    for n in 0..1_000 {
        names += &format!("[roles.r{n}]\n");
        for table in 0..10 {
            rules += &format!(
                "permit (principal in Role::\"r{n}\", action == Action::\"select\", resource == Table::\"public.t{table}\");\n"
            );
        }
    }
    let policy = Policy::new(try_compile(&names, &rules, "").unwrap()).unwrap();
    let ann = policy.principal(&identity("ann", &[], Attributes::new())).unwrap();
    let context = crate::noon();
    for table in 0..10 {
        let object = object(&format!("t{table}"));
        let decision = policy.decide(&ann, &Request { action: Action::Select, object: &object, context: &context });
        assert!(decision.allowed && !decision.volatile);
        assert_eq!(decision.rules.len(), 1);
    }
}
