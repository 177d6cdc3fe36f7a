use std::path::{Path, PathBuf};

use weir_model::{Action, Attributes, Identity, OrgName};
use weir_policy::{OrgStatus, Policy, Priority, Request, RowCommand, RowFilter, compile, directory, test};

use crate::{VALIDITY, identity, noon, object, principal};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/demo")
}

fn load(org: &str) -> Policy {
    let source = directory::read(&demo().join(org)).unwrap();
    Policy::new(compile(&source, VALIDITY).unwrap()).unwrap()
}

#[test]
fn every_demo_org_passes_its_own_examples() {
    let directories = directory::find(&demo()).unwrap();
    let names: Vec<_> = directories.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["acme", "globex"]);
    for directory in directories {
        let report = test(&directory).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        assert!(report.succeeded(), "{report}");
        assert!(report.passed > 0);
    }
}

#[test]
fn acme_has_at_least_fifteen_examples() {
    assert!(test(&demo().join("acme")).unwrap().passed >= 15);
}

#[test]
fn suspended_orgs_do_not_execute() {
    assert_eq!(load("globex").status(), OrgStatus::Suspended);
    assert!(!load("globex").status().may_execute());
    assert!(load("acme").status().may_execute());
}

/// For each TPC-H table: the two desks' filters written out, so that a reader can see one is the other's negation.
#[test]
fn the_two_desks_divide_every_table() {
    let policy = load("acme");
    let americas = "1, 2, 3, 8, 9, 12, 17, 18, 21, 24";
    let expected = [
        ("region", "r_regionkey IN (0, 3, 4)".to_owned(), "r_regionkey IN (1, 2)".to_owned()),
        ("nation", "n_regionkey IN (0, 3, 4)".to_owned(), "n_regionkey IN (1, 2)".to_owned()),
        ("customer", format!("c_nationkey NOT IN ({americas})"), format!("c_nationkey IN ({americas})")),
        ("supplier", format!("s_nationkey NOT IN ({americas})"), format!("s_nationkey IN ({americas})")),
        ("orders", "o_orderkey % 64 < 32".to_owned(), "o_orderkey % 64 >= 32".to_owned()),
        ("lineitem", "l_orderkey % 64 < 32".to_owned(), "l_orderkey % 64 >= 32".to_owned()),
        ("part", "p_partkey % 2 = 0".to_owned(), "p_partkey % 2 <> 0".to_owned()),
        ("partsupp", "ps_partkey % 2 = 0".to_owned(), "ps_partkey % 2 <> 0".to_owned()),
    ];
    let using = |agent: &str, table: &str| match policy.row_filter(
        &principal(&policy, agent),
        &object(table),
        RowCommand::Select,
    ) {
        Ok(RowFilter::Filtered(filtered)) => filtered.using.as_ref().unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    for (table, emea, americas) in expected {
        assert_eq!(using("analyst_eu", table), emea);
        assert_eq!(using("analyst_us", table), americas);
        let admin = policy.row_filter(&principal(&policy, "admin"), &object(table), RowCommand::Select).unwrap();
        assert_eq!(admin, RowFilter::Unrestricted, "{table}");
    }
}

#[test]
fn support_knows_of_nothing_it_may_not_read() {
    let policy = load("acme");
    let support = principal(&policy, "support");
    for (table, known) in
        [("customer", true), ("orders", true), ("part", false), ("partsupp", false), ("weir.audit", false)]
    {
        assert_eq!(policy.may_know(&support, &object(table)), known, "{table}");
    }
    let auditor = principal(&policy, "auditor");
    for (table, known) in [("weir.audit", true), ("weir.usage", true), ("orders", false)] {
        assert_eq!(policy.may_know(&auditor, &object(table)), known, "{table}");
    }
    let operator = principal(&policy, "operator");
    for (table, known) in [("orders", true), ("lineitem", false), ("customer", false), ("weir.audit", false)] {
        assert_eq!(policy.may_know(&operator, &object(table)), known, "{table}");
    }
}

/// The two gates of facts: SQL's and the applications'.
#[test]
fn acme_decides_on_facts() {
    let policy = load("acme");
    let paths: Vec<&str> = policy.decision_paths().collect();
    assert_eq!(
        paths,
        ["api.rate-limit", "api.rate-limit-counted", "prod.access.senior-engineers", "prod.deployment.approval"]
    );
    let admin = principal(&policy, "admin");
    let orders = object("orders");
    let request = Request { action: Action::Update, object: &orders, context: &noon() };
    let decision = policy.decide(&admin, &request);
    assert!(decision.allowed && !decision.volatile, "admin needs no facts: {}", decision.reason);
    let decision = policy.decide(&principal(&policy, "operator"), &request);
    assert!(!decision.allowed && decision.volatile, "{}", decision.reason);
}

#[test]
fn quotas_priorities_ledgers_and_tiers() {
    let policy = load("acme");
    assert_eq!(policy.quota_for("broke").agent, Some(5_000));
    assert_eq!(policy.quota_for("analyst_eu").agent, Some(100_000_000_000));
    assert_eq!(policy.quota_for("analyst_eu").org, Some(1_000_000_000_000));
    for (agent, priority) in [("admin", Priority::High), ("analyst_eu", Priority::High), ("support", Priority::Normal)]
    {
        assert_eq!(policy.priority(&principal(&policy, agent)), priority, "{agent}");
    }
    assert!(policy.is_ledger(&object("decisions")));
    assert!(!policy.is_ledger(&object("orders")));
    assert!(policy.required_tier(&object("decisions")).is_some_and(|tier| tier <= policy.tier()));
    assert_eq!(policy.required_tier(&object("orders")), None);
}

#[test]
fn strangers_are_refused() {
    let policy = load("acme");
    assert!(policy.principal(&identity("nobody", &[], Attributes::new())).is_err());
    assert!(policy.principal(&identity("nobody", &["no-such-role"], Attributes::new())).is_err());
    let other = Identity { org: OrgName::new("globex").unwrap(), ..identity("admin", &["admin"], Attributes::new()) };
    assert!(policy.principal(&other).is_err());
}

/// A file that was cut anywhere, or has a stray character anywhere, is taken or refused with a place inside it.
#[test]
fn damaged_files_never_surprise() {
    let folder = demo().join("acme");
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let files = [text("policy.toml"), text("access.cedar"), text("row_filters.sql")];
    for which in 0..files.len() {
        let lines = u32::try_from(files[which].lines().count()).unwrap();
        let boundaries: Vec<usize> = files[which].char_indices().map(|(at, _)| at).step_by(211).collect();
        for at in boundaries {
            for damage in ["", "\"", "(", ";", "é"] {
                let mut damaged = files.clone();
                let rest = if damage.is_empty() { "" } else { &files[which][at..] };
                damaged[which] = format!("{}{damage}{rest}", &files[which][..at]);
                let Err(diagnostics) = crate::try_compile(&damaged[0], &damaged[1], &damaged[2]) else { continue };
                assert!(!diagnostics.is_empty());
                for diagnostic in diagnostics {
                    assert!(diagnostic.line >= 1 && diagnostic.column >= 1 && !diagnostic.message.is_empty());
                    assert!(diagnostic.line <= lines.max(400), "{diagnostic}");
                }
            }
        }
    }
}
