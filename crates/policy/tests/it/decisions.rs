use std::net::IpAddr;

use weir_model::{Action, AttributeValue, Attributes, ClientAddress, Code};
use weir_policy::{MaskKind, MaskPredicates, Policy, Request, RequestContext, Tier};

use crate::{WEDNESDAY_NOON_MS, identity, noon, object, policy, principal};

const NAMES: &str = r#"
org = "acme"
[roles.admin]
[roles.analyst]
[roles.senior]
inherits = ["analyst"]
[roles.chief]
inherits = ["senior"]
[roles.guest]
[agents.ada]
roles = ["admin"]
[agents.ann]
roles = ["analyst"]
attributes = { level = 3, region = "EU", desks = ["a", "b"], cleared = true }
[agents.cleo]
roles = ["chief"]
[agents.gus]
roles = ["guest"]
"#;

fn decide(policy: &Policy, agent: &str, action: Action, table: &str) -> String {
    show(policy, agent, action, table, &noon())
}

/// `allow rule…`, `deny rule…`, with `~` in front when the context was looked at.
fn show(policy: &Policy, agent: &str, action: Action, table: &str, context: &RequestContext<'_>) -> String {
    let object = object(table);
    let principal = principal(policy, agent);
    let request = Request { action, object: &object, context };
    let decision = policy.decide(&principal, &request);
    assert_eq!(policy.decide(&principal, &request), decision, "asked again");
    let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_ref()).collect();
    let volatile = if decision.volatile { "~" } else { "" };
    let answer = if decision.allowed { "allow" } else { "deny" };
    format!("{volatile}{answer} {}", rules.join(" ")).trim_end().to_owned()
}

#[test]
fn scopes_choose_the_rules() {
    let policy = policy(
        NAMES,
        r#"
        @id("admin") permit (principal in Role::"admin", action, resource);
        @id("read") permit (principal in Role::"analyst", action in Action::"read", resource in Schema::"sales");
        @id("ann") permit (principal == Agent::"ann", action == Action::"insert", resource == Table::"sales.notes");
        @id("org") permit (principal is Agent in Role::"chief", action == Action::"drop", resource in Org::"acme");
        @id("no-secrets") forbid (principal, action, resource == Table::"sales.secret");
        @id("define") permit (principal in Role::"senior", action in [Action::"define", Action::"select"], resource is Table in Schema::"scratch");
        "#,
        "",
    );
    let check = |agent: &str, action: Action, table: &str, expected: &str| {
        assert_eq!(decide(&policy, agent, action, table), expected, "{agent} {action} {table}");
    };
    check("ada", Action::Drop, "sales.orders", "allow admin");
    check("ada", Action::Select, "sales.secret", "deny no-secrets");
    check("ann", Action::Select, "sales.orders", "allow read");
    check("ann", Action::Select, "public.orders", "deny");
    check("ann", Action::Update, "sales.orders", "deny");
    check("ann", Action::Insert, "sales.notes", "allow ann");
    check("ann", Action::Insert, "sales.orders", "deny");
    check("ann", Action::Select, "sales.secret", "deny no-secrets");
    check("cleo", Action::Select, "sales.orders", "allow read");
    check("cleo", Action::Insert, "sales.notes", "deny");
    check("cleo", Action::Drop, "public.x", "allow org");
    check("cleo", Action::Drop, "scratch.x", "allow org define");
    check("cleo", Action::Select, "scratch.x", "allow define");
    check("gus", Action::Select, "sales.orders", "deny");
}

#[test]
fn names_that_sql_quotes_are_names_in_rules_too() {
    let policy =
        policy(NAMES, r#"permit (principal in Role::"guest", action, resource == Table::"sales.\"Order\"");"#, "");
    assert_eq!(decide(&policy, "gus", Action::Select, "sales.\"Order\""), "allow rule-1");
    assert_eq!(decide(&policy, "gus", Action::Select, "sales.order"), "deny");
}

#[test]
fn attributes_decide_once_and_the_context_each_time() {
    let policy = policy(
        NAMES,
        r#"
        @id("level") permit (principal, action == Action::"select", resource == Table::"public.a")
          when { principal.level > 2 && principal.desks.contains("b") && principal.cleared };
        @id("hours") permit (principal in Role::"analyst", action == Action::"select", resource == Table::"public.b")
          when { context.hour >= 9 && context.hour < 17 && context.weekday != 0 };
        @id("inside") permit (principal, action == Action::"select", resource == Table::"public.c")
          when { context.client_local || context.client.isInRange(ip("10.0.0.0/8")) };
        @id("purpose") forbid (principal, action, resource in Schema::"public")
          when { context has purpose && context.purpose == "marketing" };
        @id("copy") forbid (principal, action, resource == Table::"public.b") when { context.statement == "copy" };
        @id("until") permit (principal, action == Action::"select", resource == Table::"public.d")
          when { context.now < datetime("2026-01-07T12:00:00.001Z") };
        "#,
        "",
    );
    let check = |agent: &str, table: &str, context: &RequestContext<'_>, expected: &str| {
        assert_eq!(show(&policy, agent, Action::Select, table, context), expected, "{agent} {table} {context:?}");
    };
    check("ann", "a", &noon(), "~allow level");
    check("gus", "a", &noon(), "deny level");
    check("ann", "b", &noon(), "~allow hours");
    let hour = 3_600_000;
    for (offset, expected) in [(-4, "~deny"), (-3, "~allow hours"), (4, "~allow hours"), (5, "~deny"), (96, "~deny")] {
        let context = RequestContext { now_unix_ms: WEDNESDAY_NOON_MS + offset * hour, ..noon() };
        check("ann", "b", &context, expected);
    }
    check("ann", "b", &RequestContext { statement_kind: "copy", ..noon() }, "~deny copy");
    check("ann", "a", &RequestContext { purpose: Some("marketing"), ..noon() }, "~deny purpose");
    check("ann", "a", &RequestContext { purpose: Some("analytics"), ..noon() }, "~allow level");
    for (address, expected) in
        [("10.1.2.3", "~allow inside"), ("::ffff:10.1.2.3", "~allow inside"), ("11.1.2.3", "~deny"), ("::1", "~deny")]
    {
        let client = ClientAddress::Ip(address.parse::<IpAddr>().unwrap());
        check("gus", "c", &RequestContext { client: &client, ..noon() }, expected);
    }
    check("gus", "c", &noon(), "~allow inside");
    check("gus", "d", &noon(), "~allow until");
    check("gus", "d", &RequestContext { now_unix_ms: WEDNESDAY_NOON_MS + 1, ..noon() }, "~deny");
}

#[test]
fn a_rule_that_errs_refuses_and_is_named() {
    let policy = policy(
        NAMES,
        r#"
        @id("fine") permit (principal, action == Action::"select", resource in Schema::"public");
        @id("level") permit (principal in Role::"guest", action, resource) when { principal.level > 2 };
        @id("client") permit (principal in Role::"analyst", action, resource) when { context.purpose == "x" };
        "#,
        "",
    );
    assert_eq!(decide(&policy, "ada", Action::Select, "a"), "allow fine");
    assert_eq!(decide(&policy, "gus", Action::Select, "a"), "deny level");
    assert_eq!(decide(&policy, "ann", Action::Select, "a"), "~deny client");
    let object = object("a");
    let request = Request { action: Action::Select, object: &object, context: &noon() };
    let reason = policy.decide(&principal(&policy, "gus"), &request).reason;
    assert!(reason.contains("`level` (access.cedar:3)") && reason.contains("level"), "{reason}");
}

#[test]
fn reasons_name_file_and_line() {
    let policy = policy(
        NAMES,
        "// a comment\npermit (principal in Role::\"analyst\", action, resource);\n\n@id(\"no\")\nforbid (principal, action, resource == Table::\"public.b\");",
        "",
    );
    let reason = |agent: &str, table: &str| {
        let (object, context) = (object(table), noon());
        let request = Request { action: Action::Select, object: &object, context: &context };
        policy.decide(&principal(&policy, agent), &request).reason.to_string()
    };
    assert_eq!(reason("ann", "a"), "select on public.a for agent `ann` is permitted by `rule-2` (access.cedar:2)");
    assert_eq!(reason("ann", "b"), "select on public.b for agent `ann` is forbidden by `no` (access.cedar:4)");
    assert_eq!(reason("gus", "a"), "no rule permits select on public.a for agent `gus`");
}

#[test]
fn what_no_rule_could_open_is_not_known() {
    let policy = policy(
        NAMES,
        r#"
        permit (principal in Role::"analyst", action == Action::"insert", resource == Table::"public.inbox");
        permit (principal in Role::"analyst", action == Action::"select", resource == Table::"public.night")
          when { context.hour < 6 };
        permit (principal in Role::"analyst", action, resource == Table::"public.secret");
        forbid (principal, action, resource == Table::"public.secret");
        permit (principal, action, resource == Table::"public.eu") when { principal has region && principal.region == "EU" };
        permit (principal, action, resource == Table::"public.us") when { principal has region && principal.region == "US" };
        "#,
        "",
    );
    let check = |agent: &str, table: &str, known: bool| {
        assert_eq!(policy.may_know(&principal(&policy, agent), &object(table)), known, "{agent} {table}");
    };
    check("ann", "inbox", true);
    check("ann", "night", true);
    check("ann", "secret", false);
    check("ann", "eu", true);
    check("ann", "us", false);
    check("ann", "nothing", false);
    check("gus", "eu", false);
    check("gus", "inbox", false);
}

#[test]
fn principals_are_bundle_and_credential_together() {
    let policy = policy(NAMES, "", "");
    let text = |value: &str| AttributeValue::Text(value.to_owned());
    let carried = Attributes::from([("region".into(), text("US")), ("team".into(), text("blue"))]);
    let ann = policy.principal(&identity("ann", &["chief", "unknown"], carried)).unwrap();
    assert_eq!(ann.roles, ["analyst", "chief", "senior"]);
    assert_eq!(ann.attributes["region"], text("EU"), "the bundle's value holds");
    assert_eq!(ann.attributes["team"], text("blue"));
    let guest = policy.principal(&identity("stranger", &["guest"], Attributes::new())).unwrap();
    assert_eq!(guest.roles, ["guest"]);
    let refused = policy.principal(&identity("stranger", &["unknown"], Attributes::new())).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

/// Two principals of one name with other attributes or roles never share an answer.
#[test]
fn answers_are_remembered_for_the_whole_principal() {
    let policy = policy(
        NAMES,
        r#"permit (principal, action, resource) when { principal has region && principal.region == "EU" };"#,
        "",
    );
    let object = object("a");
    let request = Request { action: Action::Select, object: &object, context: &noon() };
    let ann = principal(&policy, "ann");
    let mut elsewhere = ann.clone();
    elsewhere.attributes.insert("region".into(), AttributeValue::Text("US".into()));
    for _ in 0..3 {
        assert!(policy.decide(&ann, &request).allowed);
        assert!(!policy.decide(&elsewhere, &request).allowed);
    }
}

#[test]
fn masks_spare_the_roles_named_and_their_heirs() {
    let text = format!(
        "{NAMES}\n{}",
        r#"
        [[masks]]
        table = "people"
        column = "phone"
        kind = "partial"
        show_last = 4
        unless_roles = ["analyst"]
        [[masks]]
        table = "people"
        column = "phone"
        kind = "redact"
        predicates = "any"
        unless_roles = ["analyst", "guest"]
        [[masks]]
        table = "public.people"
        column = "email"
        kind = "hash"
        predicates = "equality"
        [[tiers]]
        table = "people"
        tier = "enterprise"
        "#
    );
    let policy = policy(&text, "", "");
    let check = |agent: &str, expected: &[(&str, MaskKind, MaskPredicates)]| {
        let masks = policy.masks(&principal(&policy, agent), &object("people"));
        let found: Vec<_> = masks.iter().map(|mask| (mask.column.as_str(), mask.kind, mask.predicates)).collect();
        assert_eq!(found, expected, "{agent}");
    };
    let email = ("email", MaskKind::Hash, MaskPredicates::Equality);
    check("ann", &[email]);
    check("cleo", &[email]);
    check("gus", &[email, ("phone", MaskKind::Partial { show_last: 4 }, MaskPredicates::Refuse)]);
    check("ada", &[email, ("phone", MaskKind::Redact, MaskPredicates::Refuse)]);
    assert!(policy.masks(&principal(&policy, "ada"), &object("orders")).is_empty());
    assert_eq!(policy.required_tier(&object("people")), Some(Tier::Enterprise));
    assert!(policy.tier() < Tier::Enterprise);
}
