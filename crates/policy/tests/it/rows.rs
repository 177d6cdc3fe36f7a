use weir_model::{AttributeValue, Attributes, Code};
use weir_policy::{Policy, RowCommand, RowFilter};

use crate::{identity, object, policy, principal};

const NAMES: &str = r#"
org = "acme"
[roles.a]
[roles.b]
[roles.ab]
inherits = ["a", "b"]
[agents.ann]
roles = ["a"]
attributes = { region = "EU's", level = 3, desks = ["x", "y"], none = [] }
[agents.bob]
roles = ["b"]
[agents.both]
roles = ["ab"]
"#;

fn with(sql: &str) -> Policy {
    policy(NAMES, "", sql)
}

/// `open`, `nothing`, or `using [check …]`.
fn show(policy: &Policy, agent: &str, table: &str, command: RowCommand) -> String {
    match policy.row_filter(&principal(policy, agent), &object(table), command).unwrap() {
        RowFilter::Unrestricted => "open".into(),
        RowFilter::Nothing => "nothing".into(),
        RowFilter::Filtered(filtered) => {
            let text =
                |expr: &Option<_>| expr.as_ref().map_or("-".to_owned(), |expr: &sqlparser::ast::Expr| expr.to_string());
            format!("{} | {}", text(&filtered.using), text(&filtered.check))
        }
    }
}

/// Each row: the policies on `t`, then what SELECT, INSERT, UPDATE and DELETE of `ann` (role a) may touch. The
/// expectations are PostgreSQL's documented rules (CREATE POLICY, table "Policies Applied by Command Type").
#[test]
fn policies_combine_as_in_postgresql() {
    let cases: &[(&str, [&str; 4])] = &[
        ("", ["open", "open", "open", "open"]),
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY;", ["nothing", "nothing", "nothing", "nothing"]),
        // FOR ALL: USING stands in for WITH CHECK.
        ("CREATE POLICY p ON t USING (x = 1);", ["x = 1 | -", "- | x = 1", "x = 1 | x = 1", "x = 1 | -"]),
        (
            "CREATE POLICY p ON t USING (x = 1) WITH CHECK (x = 2);",
            ["x = 1 | -", "- | x = 2", "x = 1 | x = 2", "x = 1 | -"],
        ),
        // Only WITH CHECK: nothing is seen, rows may be inserted.
        ("CREATE POLICY p ON t WITH CHECK (x = 2);", ["nothing", "- | x = 2", "nothing", "nothing"]),
        ("CREATE POLICY p ON t USING (true);", ["open", "open", "open", "open"]),
        ("CREATE POLICY p ON t USING (true) WITH CHECK (x = 2);", ["open", "- | x = 2", "- | x = 2", "open"]),
        // One command.
        ("CREATE POLICY p ON t FOR SELECT USING (x = 1);", ["x = 1 | -", "nothing", "nothing", "nothing"]),
        ("CREATE POLICY p ON t FOR INSERT WITH CHECK (x = 1);", ["nothing", "- | x = 1", "nothing", "nothing"]),
        ("CREATE POLICY p ON t FOR UPDATE USING (x = 1);", ["nothing", "nothing", "x = 1 | x = 1", "nothing"]),
        (
            "CREATE POLICY p ON t FOR UPDATE USING (x = 1) WITH CHECK (x = 2);",
            ["nothing", "nothing", "x = 1 | x = 2", "nothing"],
        ),
        ("CREATE POLICY p ON t FOR DELETE USING (x = 1);", ["nothing", "nothing", "nothing", "x = 1 | -"]),
        // Permissive: OR, in the order of names.
        (
            "CREATE POLICY q ON t USING (x = 2); CREATE POLICY p ON t FOR SELECT USING (x = 1);",
            ["(x = 1) OR (x = 2) | -", "- | x = 2", "x = 2 | x = 2", "x = 2 | -"],
        ),
        // Restrictive: AND; alone it opens nothing.
        ("CREATE POLICY r ON t AS RESTRICTIVE USING (x = 3);", ["nothing", "nothing", "nothing", "nothing"]),
        (
            "CREATE POLICY p ON t USING (x = 1); CREATE POLICY r ON t AS RESTRICTIVE FOR SELECT USING (x = 3);",
            ["(x = 3) AND (x = 1) | -", "- | x = 1", "x = 1 | x = 1", "x = 1 | -"],
        ),
        (
            "CREATE POLICY p ON t USING (true); CREATE POLICY r ON t AS RESTRICTIVE USING (x = 3) WITH CHECK (x = 4);",
            ["x = 3 | -", "- | x = 4", "x = 3 | x = 4", "x = 3 | -"],
        ),
        (
            "CREATE POLICY p ON t USING (x = 1); CREATE POLICY q ON t USING (x = 2);
             CREATE POLICY r ON t AS RESTRICTIVE USING (x = 3); CREATE POLICY s ON t AS RESTRICTIVE USING (x = 4);",
            [
                "(x = 3) AND ((x = 4) AND ((x = 1) OR (x = 2))) | -",
                "- | (x = 3) AND ((x = 4) AND ((x = 1) OR (x = 2)))",
                "(x = 3) AND ((x = 4) AND ((x = 1) OR (x = 2))) | (x = 3) AND ((x = 4) AND ((x = 1) OR (x = 2)))",
                "(x = 3) AND ((x = 4) AND ((x = 1) OR (x = 2))) | -",
            ],
        ),
        // Roles: a's own, b's not, PUBLIC's always.
        ("CREATE POLICY p ON t TO b USING (x = 1);", ["nothing", "nothing", "nothing", "nothing"]),
        ("CREATE POLICY p ON t FOR SELECT TO b, a USING (x = 1);", ["x = 1 | -", "nothing", "nothing", "nothing"]),
        ("CREATE POLICY p ON t FOR SELECT TO PUBLIC USING (x = 1);", ["x = 1 | -", "nothing", "nothing", "nothing"]),
        ("CREATE POLICY p ON t FOR SELECT TO b, public USING (x = 1);", ["x = 1 | -", "nothing", "nothing", "nothing"]),
        (
            "CREATE POLICY p ON t FOR SELECT USING (true); CREATE POLICY r ON t AS RESTRICTIVE TO b USING (x = 1);",
            ["open", "nothing", "nothing", "nothing"],
        ),
    ];
    let commands = [RowCommand::Select, RowCommand::Insert, RowCommand::Update, RowCommand::Delete];
    for (sql, expected) in cases {
        let policy = with(sql);
        assert_eq!(commands.map(|command| show(&policy, "ann", "t", command)), *expected, "{sql}");
    }
}

#[test]
fn holders_of_several_roles_see_what_each_sees() {
    let policy = with("CREATE POLICY p ON t TO a USING (x = 1); CREATE POLICY q ON t TO b USING (x = 2);");
    for (agent, expected) in [("ann", "x = 1 | -"), ("bob", "x = 2 | -"), ("both", "(x = 1) OR (x = 2) | -")] {
        assert_eq!(show(&policy, agent, "t", RowCommand::Select), expected, "{agent}");
    }
    let rules = policy.row_policies(&principal(&policy, "both"), &object("t"), RowCommand::Select);
    let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["`p` (row_filters.sql:1)", "`q` (row_filters.sql:1)"]);
}

#[test]
fn names_fold_and_qualify() {
    let policy = with("CREATE POLICY p ON Sales.T USING (T.X = 1 AND sales.t.\"Y\" = 2 AND \"order\" = 3);");
    assert_eq!(show(&policy, "ann", "sales.t", RowCommand::Select), "x = 1 AND \"Y\" = 2 AND \"order\" = 3 | -");
    assert_eq!(show(&policy, "ann", "public.t", RowCommand::Select), "open");
    let RowFilter::Filtered(filtered) =
        policy.row_filter(&principal(&policy, "ann"), &object("sales.t"), RowCommand::Select).unwrap()
    else {
        panic!("not filtered");
    };
    assert_eq!(filtered.columns.iter().map(String::as_str).collect::<Vec<_>>(), ["Y", "order", "x"]);
}

#[test]
fn session_values_become_literals() {
    let check = |filter: &str, expected: &str| {
        let policy = with(&format!("CREATE POLICY p ON t USING ({filter});"));
        assert_eq!(show(&policy, "ann", "t", RowCommand::Select), format!("{expected} | -"), "{filter}");
    };
    check("owner = current_user", "owner = 'ann'");
    check("owner = CURRENT_USER OR owner = session_user", "owner = 'ann' OR owner = 'ann'");
    check("region = current_setting('agent.region')", "region = 'EU''s'");
    check("level <= current_setting('agent.level')::int", "level <= '3'::INT");
    check("region = current_setting('agent.missing', true)", "region = CAST(NULL AS TEXT)");
    check("d = ANY (string_to_array(current_setting('agent.desks'), ','))", "d IN ('x', 'y')");
    check("lower(d) = ANY (string_to_array(current_setting('agent.region'), ','))", "lower(d) IN ('EU''s')");
    check("d = ANY (string_to_array(current_setting('agent.none'), ','))", "false");
    check(
        "CASE WHEN x IN (1, 2) THEN true ELSE y BETWEEN 1 AND 2 END",
        "CASE WHEN x IN (1, 2) THEN true ELSE y BETWEEN 1 AND 2 END",
    );
}

#[test]
fn a_missing_attribute_refuses_and_drops_no_rule() {
    let policy = with(
        "CREATE POLICY p ON t USING (x = 1);
         CREATE POLICY q ON t FOR SELECT USING (region = current_setting('agent.region'));",
    );
    let refusal = policy.row_filter(&principal(&policy, "bob"), &object("t"), RowCommand::Select).unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert!(refusal.message().contains("`region`"), "{refusal}");
    assert_eq!(show(&policy, "bob", "t", RowCommand::Delete), "x = 1 | -", "other commands do not read it");
    assert!(policy.row_filter(&principal(&policy, "ann"), &object("t"), RowCommand::Select).is_ok());
}

/// An attribute's value is data: nothing in it is SQL again.
#[test]
fn attributes_cannot_inject() {
    let policy = with("CREATE POLICY p ON t USING (region = current_setting('agent.region'));");
    let value = "x' OR 1=1 --";
    let attributes = Attributes::from([("region".into(), AttributeValue::Text(value.into()))]);
    let bob = policy.principal(&identity("bob", &[], attributes)).unwrap();
    let RowFilter::Filtered(filtered) = policy.row_filter(&bob, &object("t"), RowCommand::Select).unwrap() else {
        panic!("not filtered");
    };
    assert_eq!(filtered.using.as_ref().unwrap().to_string(), "region = 'x'' OR 1=1 --'");
}

#[test]
fn plans_are_shared_only_within_a_class() {
    let policy = with(
        "CREATE POLICY p ON t USING (region = current_setting('agent.region'));
         CREATE POLICY q ON u TO a USING (x = 1);",
    );
    let class = |agent: &str, roles: &[&str], region: Option<AttributeValue>, other: i64| {
        let mut attributes = Attributes::from([("other".into(), AttributeValue::Integer(other))]);
        attributes.extend(region.map(|region| ("region".to_owned(), region)));
        policy.policy_class(&policy.principal(&identity(agent, roles, attributes)).unwrap())
    };
    let text = |value: &str| Some(AttributeValue::Text(value.into()));
    let base = class("x", &["a"], text("EU"), 1);
    assert_eq!(base, class("y", &["a"], text("EU"), 2), "neither name nor other attributes are read by a filter");
    assert_ne!(base, class("x", &["b"], text("EU"), 1));
    assert_ne!(base, class("x", &["a"], text("US"), 1));
    assert_ne!(base, class("x", &["a"], None, 1));
    assert_ne!(base, class("x", &["a"], Some(AttributeValue::List(vec!["EU".into()])), 1));
    let named = with("CREATE POLICY p ON t USING (owner = current_user);");
    assert_ne!(named.policy_class(&principal(&named, "ann")), named.policy_class(&principal(&named, "bob")));
}

#[test]
fn a_thousand_policies_stay_shallow() {
    let sql: Vec<String> = (0..1000).map(|n| format!("CREATE POLICY p{n} ON t USING (x = {n});")).collect();
    let shown = show(&with(&sql.join("\n")), "ann", "t", RowCommand::Select);
    let depth = shown.chars().fold((0_i32, 0_i32), |(now, most), c| {
        let now = now + i32::from(c == '(') - i32::from(c == ')');
        (now, most.max(now))
    });
    assert!(depth.1 <= 12, "{}", depth.1);
    assert_eq!(shown.matches("x = ").count(), 1000);
}
