use weir_policy::{Diagnostic, Source, directory, run_cases};

use crate::try_compile;

const NAMES: &str = "org = \"acme\"\n[roles.admin]\n[roles.analyst]\n[agents.ann]\nroles = [\"analyst\"]\n";

/// `line:column: message`, and `| hint` where there is one.
fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    let line = |diagnostic: &Diagnostic| {
        let hint = diagnostic.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}:{}: {}{hint}", diagnostic.line, diagnostic.column, diagnostic.message)
    };
    diagnostics.iter().map(line).collect()
}

/// Each expectation is the start of a line of [`lines`].
fn check(file: &str, outcome: Result<weir_policy::BundleBody, Vec<Diagnostic>>, expected: &[&str]) {
    let diagnostics = outcome.expect_err(&format!("no mistake found, expected {expected:?}"));
    assert!(diagnostics.iter().all(|diagnostic| diagnostic.file == format!("acme/{file}")), "{diagnostics:?}");
    let found = lines(&diagnostics);
    let fit =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(fit, "found {found:#?}\nexpected {expected:#?}");
}

#[test]
fn mistakes_in_policy_toml() {
    let check = |text: &str, expected: &[&str]| check("policy.toml", try_compile(text, "", ""), expected);
    check("", &["1:1: missing field `org`"]);
    check("org = ", &["1:"]);
    check("org = \"Acme\"", &["1:7: `Acme` is not a valid name"]);
    check(
        "org = \"acme\"\nstatuss = \"active\"",
        &[
            "2:1: unknown field `statuss`, expected one of `org`, `status`, `tier`, `roles`, `agents`, `quota`, `limits`, `masks`, `ledgers`, `tiers`, `facts` | did you mean `status`?",
        ],
    );
    check(
        "org = \"acme\"\nstatus = \"activ\"",
        &[
            "2:10: unknown variant `activ`, expected one of `active`, `provisioning`, `suspended`, `delinquent`, `cancelled`, `pending_payment` | did you mean `active`?",
        ],
    );
    check("org = \"acme\"\n[limits]\nburts = 3", &["3:1: unknown field `burts`"]);
    check("org = \"acme\"\n[limits]\nburst = -3", &["3:9: invalid value: integer `-3`"]);
    check("org = \"acme\"\norg = \"b\"", &["2:1: duplicate key"]);
    check(
        "org = \"acme\"\n[roles.admin]\n[agents.ann]\nroles = [\n  \"admni\",\n  \"boss\"]",
        &[
            "5:3: role `admni` is not declared | did you mean `admin`?",
            "6:3: role `boss` is not declared | declare it: [roles.boss]",
        ],
    );
    check(
        "org = \"acme\"\n[roles.a]\ninherits = [\"b\"]\n[roles.b]\ninherits = [\"a\"]",
        &["2:2: role `a` inherits itself", "4:2: role `b` inherits itself"],
    );
    check("org = \"acme\"\n[roles.public]", &["2:8: `public` means everybody"]);
    check("org = \"acme\"\n[roles.\"A b\"]", &["2:8: `A b` is not a role's name"]);
    check("org = \"acme\"\n[agents.x]\ncredits = -1", &["3:11: credits are a number"]);
    check(
        "org = \"acme\"\n[agents.x]\nattributes = { \"a\" = 1.5, \"B\" = 1 }",
        &["3:27: `B` is not an attribute's name", "3:22: an attribute is a string, an integer"],
    );
    check("org = \"acme\"\n[quota]\nperiod = \"year\"", &["3:10: unknown variant `year`"]);
    check(
        "org = \"acme\"\n[[masks]]\ntable = \"a.b.c\"\ncolumn = \"x\"\nkind = \"null\"",
        &["3:9: `a.b.c` is not a valid name"],
    );
    check(
        "org = \"acme\"\n[[masks]]\ntable = \"a\"\ncolumn = \"x\"\nkind = \"partial\"",
        &["5:8: a partial mask says how many characters stay | add `show_last = 4`"],
    );
    check(
        "org = \"acme\"\n[[masks]]\ntable = \"a\"\ncolumn = \"x\"\nkind = \"hash\"\nshow_last = 4",
        &["6:13: `show_last` belongs to masks of kind \"partial\""],
    );
    check(
        "org = \"acme\"\n[[masks]]\ntable = \"a\"\ncolumn = \"x\"\nkind = \"null\"\nunless_roles = [\"x\"]",
        &["6:17: role `x` is not declared"],
    );
    check("org = \"acme\"\n[[masks]]\ntable = \"a\"\ncolum = \"x\"\nkind = \"null\"", &["4:1: unknown field `colum`"]);
    check("org = \"acme\"\n[[tiers]]\ntable = \"a\"\ntier = \"gold\"", &["4:8: unknown variant `gold`"]);
}

#[test]
fn mistakes_in_access_cedar() {
    let check = |text: &str, expected: &[&str]| check("access.cedar", try_compile(NAMES, text, ""), expected);
    check("permit (principal, action, resource)", &["1:37: unexpected end of input"]);
    check("\n  permit (principal, actoin, resource);", &["2:22: "]);
    check(
        "permit (principal, action, resource);\n\nforbid (principal, action, resource) when { 1 + };",
        &["3:49: unexpected token `}`"],
    );
    check("permit (principal, action, resource); permt (principal, action, resource);", &["1:39: "]);
    check("permit (principal == ?principal, action, resource);", &["1:"]);
    check(
        "permit (principal in Role::\"analist\", action, resource);",
        &["1:22: role `analist` is not declared in policy.toml | did you mean `analyst`?"],
    );
    check(
        "permit (principal, action, resource)\nwhen { principal in Role::\"boss\" };",
        &["2:21: role `boss` is not declared in policy.toml | known: admin, analyst"],
    );
    check(
        "permit (principal == Agent::\"anne\", action, resource);",
        &["1:22: agent `anne` is not declared in policy.toml | did you mean `ann`?"],
    );
    check(
        "permit (principal, action == Action::\"selekt\", resource);",
        &["1:30: there is no action `selekt` | did you mean `select`?"],
    );
    check(
        "permit (principal, action == Action::\"write\", resource);",
        &["1:20: `write` is a group of actions | write `action in Action::\"write\"`"],
    );
    check(
        "permit (principal in Rolle::\"admin\", action, resource);",
        &["1:22: there is no entity type `Rolle` | did you mean `Role`?"],
    );
    check(
        "permit (principal == Role::\"admin\", action, resource);",
        &["1:9: the principal is always an agent, never a role | write `principal in Role"],
    );
    check("permit (principal is Role, action, resource);", &["1:9: the principal is always an agent, never a `Role`"]);
    check(
        "permit (principal, action, resource == Schema::\"sales\");",
        &["1:28: the resource is always a table | write `resource in Schema::\"sales\"`"],
    );
    check("permit (principal, action, resource in Org::\"other\");", &["1:40: org `other` is not this policy's org"]);
    check(
        "permit (principal, action, resource == Table::\"orders\");",
        &["1:40: `orders` is not a table's full name | write `Table::\"public.orders\"`"],
    );
    check(
        "permit (principal, action, resource == Table::\"public.Orders\");",
        &["1:40: `public.Orders` is not a table's full name | write `Table::\"public.orders\"`"],
    );
    check(
        "permit (principal, action, resource) when { context.hours > 3 };",
        &["1:45: the context has no `hours` | did you mean `hour`?"],
    );
    check(
        "permit (principal, action, resource) when { context has facts };",
        &["1:57: policy.toml declares no facts | declare them there: [facts.<name>]"],
    );
    check(
        "@id(\"x\") permit (principal, action, resource);\n@id(\"x\")\nforbid (principal, action, resource);",
        &["2:1: two rules have the id `x`"],
    );
    check(
        "permit (principal in Role::\"x\", action, resource);\npermit (principal in Role::\"y\", action, resource);",
        &["1:22: role `x`", "2:22: role `y`"],
    );
}

const FACTS: &str = r#"
[facts.approval]
key = "approvals.${principal}.${resource.name}"
counts = { seniors = { of = "approvers" } }
[facts.deploy]
key = "approvals.${request.id}"
[facts.team]
key = "teams.${principal.team}"
"#;

#[test]
fn mistakes_in_what_rules_read_of_facts() {
    let names = format!("{NAMES}{FACTS}");
    let check = |condition: &str, expected: &str| {
        let text = format!("permit (principal, action, resource)\nwhen {{ {condition} }};");
        check("access.cedar", try_compile(&names, &text, ""), &[expected]);
    };
    check(
        "context.facts.aproval.status == \"present\"",
        "2:8: fact `aproval` is not declared in policy.toml | did you mean `approval`?",
    );
    check(
        "context.facts.other.status == \"present\"",
        "2:8: fact `other` is not declared in policy.toml | declare it: [facts.other]",
    );
    check(
        "context.facts == {}",
        "2:16: `context.facts` is not used as a whole | read one of them: context.facts.approval,",
    );
    check("context has facts", "2:20: `context.facts` is not used as a whole");
    check(
        "context.facts has approval",
        "2:22: fact `approval` is always there, also when it is absent | ask `context.facts.approval.status == \"present\"`",
    );
    check("context.facts has other", "2:26: fact `other` is not declared");
    check(
        "context.facts.approval == {}",
        "2:8: fact `approval` is not used as a whole | read one of its members: status, value, seniors",
    );
    check("{a: context.facts.approval}.a.seniors > 1", "2:12: fact `approval` is not used as a whole");
    check("context.facts.approval has seniors", "2:31: `seniors` of fact `approval` is always there");
    check("context.facts.approval has status", "2:31: `status` of fact `approval` is always there");
    check("context.facts.approval has approvers", "2:35: fact `approval` has no `approvers`");
    check("context.facts.approval.senior > 1", "2:8: fact `approval` has no `senior` | did you mean `seniors`?");
    check(
        "context.facts.deploy.value",
        "2:8: fact `deploy` cannot be read in rules about statements | its key has ${request.id}, which only decisions have",
    );
    check(
        "(if true then context else context).facts.approval.seniors > 1",
        "2:22: `context` as a whole cannot be used where there are facts",
    );
}

#[test]
fn mistakes_in_declared_facts() {
    let check = |facts: &str, expected: &[&str]| {
        check("policy.toml", try_compile(&format!("org = \"acme\"\n{facts}"), "", ""), expected);
    };
    check("[facts.a]", &["2:8: fact `a` needs one of `key` and `keys`"]);
    check("[facts.a]\nkey = \"a.b\"\nkeys = \"a.*\"", &["2:8: fact `a` needs one of `key` and `keys`"]);
    check("[facts.A]\nkey = \"a.b\"", &["2:8: `A` is not a fact's name"]);
    check("[facts.a-b]\nkey = \"a.b\"", &["2:8: `a-b` is not a fact's name"]);
    check("[facts.a]\nkey = \"a\"", &["3:7: `a` has no namespace"]);
    check("[facts.a]\nkey = \"a.*\"", &["3:7: `key` names one fact | write `keys"]);
    check("[facts.a]\nkeys = \"a.b\"", &["3:8: `keys` ends in `.*` | write `key"]);
    check("[facts.a]\nkey = \"a.${principle}\"", &["3:7: there is no `${principle}` | did you mean `principal`?"]);
    check("[facts.a]\nkey = \"a.${principal.team}.${request.x}\"", &["3:7: no rule has all these variables"]);
    check("[facts.a]\nkey = \"a.b\"\nmax_staleness = 3", &["4:1: unknown field `max_staleness`"]);
    check("[facts.a]\nkey = \"a.b\"\nmax_staleness_ms = -3", &["4:20: invalid value: integer `-3`"]);
    check(
        "[facts.a]\nkey = \"a.b\"\ndefault = 0.12345",
        &["4:11: the default is 0.12345, a number that rules cannot hold"],
    );
    check("[facts.a]\nkey = \"a.b\"\ndefault = 2026-01-07", &["4:11: a default is what JSON has"]);
    check("[facts.a]\nkeys = \"a.b.*\"\ndefault = 0", &["4:11: a default stands for one fact"]);
    check("[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nvalue = {}", &["5:1: every fact has `value` already"]);
    check("[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nB = {}", &["5:1: `B` is not a count's name"]);
    check("[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nb = { off = \"x\" }", &["5:7: unknown field `off`"]);
    check(
        "[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nb = { of = \"x..y\" }",
        &["5:1: count `b`: `x..y` is not a path"],
    );
    check(
        "[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nb = { where = { c = [1] } }",
        &["5:1: count `b`: `c` is compared with text, an integer or a boolean"],
    );
    check(
        "[facts.a]\nkey = \"a.b\"\n[facts.a.counts]\nb = { where = { c = 1.5 } }",
        &["5:1: count `b`: `c` is compared"],
    );
}

#[test]
fn mistakes_in_decisions() {
    let names = format!("{NAMES}{FACTS}");
    let check_at = |path: &str, text: &str, expected: &str| {
        let source = Source::from_text("acme", &names, "", "").with_decision(path, text);
        check(&format!("decisions/{path}.cedar"), weir_policy::compile(&source, crate::VALIDITY), &[expected]);
    };
    let check = |text: &str, expected: &str| check_at("a.b", text, expected);
    check("", "1:1: the file has no rule | remove the file");
    check("// nothing\n", "1:1: the file has no rule");
    check("permit (principal, action, resource)", "1:37: unexpected end of input");
    check(
        "permit (principal in Role::\"admin\", action, resource);",
        "1:22: there is no entity type `Role` in decisions | known: App, Action, Resource",
    );
    check(
        "permit (principal is Agent, action, resource);",
        "1:9: the principal of a decision is always `App`, never `Agent`",
    );
    check(
        "permit (principal == Resource::\"x\", action, resource);",
        "1:9: the principal of a decision is always `App`, never `Resource`",
    );
    check(
        "permit (principal, action, resource in App::\"x\");",
        "1:28: the resource of a decision is always `Resource`, never `App`",
    );
    check(
        "permit (principal, action, resource) when { context.purpose == \"x\" };",
        "1:45: the context has no `purpose` | known: request, facts, now, hour, weekday",
    );
    check("permit (principal, action, resource) when { context == {} };", "1:45: `context`");
    check(
        "permit (principal, action, resource) when { context.facts.team.value };",
        "1:45: fact `team` cannot be read in rules about decisions | its key has ${principal.team}, which only statements have",
    );
    check(
        "permit (principal, action, resource) when { context.facts.deploy.seniors > 1 };",
        "1:45: fact `deploy` has no `seniors`",
    );
    check(
        "@id(\"x\") permit (principal, action, resource);\n@id(\"x\") permit (principal, action, resource);",
        "2:1: two rules have the id `x`",
    );
    check_at("a b", "permit (principal, action, resource);", "1:1: a path has letters");
    check_at("a..b", "permit (principal, action, resource);", "1:1: a path has letters");
}

#[test]
fn mistakes_in_row_filters() {
    let check = |text: &str, expected: &[&str]| check("row_filters.sql", try_compile(NAMES, "", text), expected);
    check("CREATE POLICY p ON t USING (x = );", &["1:33: Expected: an expression, found: )"]);
    check("\nCREATE POLICY p ON\n  t USING (x = 1", &["3:17: Expected: ), found: EOF"]);
    check("CREATE POLICY p ON t USING (x = 1) CREATE POLICY q ON t USING (x = 1);", &["1:36: unexpected `CREATE`"]);
    check("CREATE POLICY p ON t USING ('x);", &["1:29: Unterminated string literal"]);
    check("SELECT 1;", &["1:1: only CREATE POLICY and ALTER TABLE … ENABLE ROW LEVEL SECURITY belong here"]);
    check(
        "\n ALTER TABLE t DISABLE ROW LEVEL SECURITY;",
        &["2:2: only ENABLE and FORCE ROW LEVEL SECURITY are supported"],
    );
    check("CREATE POLICY p ON t FOR INSERT USING (true);", &["1:15: only WITH CHECK expression allowed for INSERT"]);
    check(
        "CREATE POLICY p ON t FOR SELECT WITH CHECK (true);",
        &["1:15: WITH CHECK cannot be applied to SELECT or DELETE"],
    );
    check(
        "CREATE POLICY p ON t FOR DELETE USING (true) WITH CHECK (true);",
        &["1:15: WITH CHECK cannot be applied to SELECT or DELETE"],
    );
    check(
        "CREATE POLICY p ON t USING (true);\nCREATE POLICY p ON t USING (true);",
        &["2:15: policy `p` for table public.t already exists, on line 1"],
    );
    check(
        "CREATE POLICY p ON t TO analist, boss USING (true);",
        &[
            "1:25: role `analist` is not declared in policy.toml | did you mean `analyst`?",
            "1:34: role `boss` is not declared in policy.toml",
        ],
    );
    check(
        "CREATE POLICY p ON t TO ann USING (true);",
        &["1:25: role `ann` is not declared in policy.toml | `ann` is an agent"],
    );
    check("CREATE POLICY p ON t TO CURRENT_USER USING (true);", &["1:1: `TO CURRENT_USER` is not supported"]);
    check("CREATE POLICY p ON a.b.c USING (true);", &["1:1: `a.b.c` is not a table's name | write `schema.table`"]);
    let filter = |expr: &str, expected: &str| check(&format!("CREATE POLICY p ON t\nUSING (\n{expr});"), &[expected]);
    filter("x IN (SELECT y FROM u)", "3:1: a subquery in a row filter is not supported");
    filter("EXISTS (SELECT 1)", "3:");
    filter("x = (SELECT 1)", "3:");
    filter("x = count(y)", "3:5: aggregate `count` in a row filter is not supported");
    filter("x = row_number() OVER ()", "3:5: window function `row_number` in a row filter is not supported");
    filter("x < now()", "3:5: function `now`, which answers differently each time, in a row filter is not supported");
    filter("x < current_date", "3:5: function `current_date`, which answers differently each time,");
    filter("random() < 0.5", "3:1: function `random`");
    filter("pg_sleep(10) IS NULL", "3:1: function `pg_sleep` in a row filter is not supported | supported: abs");
    filter("lower(DISTINCT x) = 'a'", "3:1: function `lower` in a row filter is not supported");
    filter("x = $1", "3:5: a parameter in a row filter is not supported");
    filter("u.x = 1", "3:1: `u.x` is not a column of public.t");
    filter("x ~ 'a'", "3:1: operator `~` in a row filter is not supported");
    filter("x::regclass = 'a'", "3:1: a cast to");
    filter("x = current_setting('app.user')", "3:5: `current_setting` in a row filter takes `'agent.<attribute>'`");
    filter("x = current_setting(y)", "3:5: `current_setting` in a row filter takes");
    filter("x = current_setting('agent.')", "3:5: `current_setting` in a row filter takes");
    filter("x = ANY (ARRAY[1])", "3:1: this use of ANY in a row filter is not supported");
    filter("x = current_role", "3:5: `current_role` is not a column | write `current_user`");
    filter(&vec!["x = 1"; 300].join(" OR "), "1:1: the filter is nested deeper than 256");
}

#[test]
fn mistakes_in_several_files_come_together() {
    let diagnostics = try_compile(NAMES, "permit", "SELECT").unwrap_err();
    let files: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.file.as_str()).collect();
    assert_eq!(files, ["acme/access.cedar", "acme/row_filters.sql"]);
}

#[test]
fn a_diagnostic_reads_like_a_compiler_s() {
    let diagnostics = try_compile("org = \"acme\"\nstatus = \"activ\"", "", "").unwrap_err();
    let text = diagnostics[0].to_string();
    assert!(text.starts_with("acme/policy.toml:2:10: unknown variant `activ`"), "{text}");
    assert!(text.ends_with("\n  hint: did you mean `active`?"), "{text}");
}

#[test]
fn directories_are_read_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let messages = || lines(&directory::read(folder.path()).unwrap_err());
    assert!(directory::find(folder.path()).unwrap_err().message.contains("no policy.toml"));
    write("policy.toml", b"org = \"acme\"");
    assert!(messages().iter().all(|line| line.starts_with("1:1: the file is missing")) && messages().len() == 2);
    write("access.cedar", b"");
    write("row_filters.sql", b"\xff");
    assert_eq!(messages(), ["1:1: the file is not UTF-8 text"]);
    write("row_filters.sql", b"");
    let source = directory::read(folder.path()).unwrap();
    assert_eq!(directory::find(folder.path()).unwrap(), [folder.path()]);
    assert!(directory::files(folder.path()).contains(&folder.path().join("row_filters.sql")));
    let hash = source.content_hash();
    write("tests.toml", b"");
    assert_eq!(directory::read(folder.path()).unwrap().content_hash(), hash, "examples are no part of the policy");
    write("access.cedar", b"// more");
    assert_ne!(directory::read(folder.path()).unwrap().content_hash(), hash);
}

#[test]
fn decisions_are_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let decisions = folder.path().join("decisions");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let read = || directory::read(folder.path());
    let refused = || lines(&read().unwrap_err()).join(" ");
    write("policy.toml", b"org = \"acme\"");
    write("access.cedar", b"");
    write("row_filters.sql", b"");
    let without = read().unwrap().content_hash();
    assert!(directory::files(folder.path()).contains(&decisions), "a folder that comes is noticed");
    std::fs::create_dir(&decisions).unwrap();
    assert_eq!(read().unwrap().content_hash(), without);
    write("decisions/a.b.cedar", b"permit (principal, action, resource);");
    write("decisions/.hidden.cedar", b"nonsense");
    write("decisions/a.b.cedar~", b"nonsense");
    let one = read().unwrap();
    assert_ne!(one.content_hash(), without);
    assert_eq!(
        one.content_hash(),
        Source::from_text("", "org = \"acme\"", "", "")
            .with_decision("a.b", "permit (principal, action, resource);")
            .content_hash()
    );
    assert!(directory::files(folder.path()).contains(&decisions.join("a.b.cedar")));
    std::fs::rename(decisions.join("a.b.cedar"), decisions.join("a.c.cedar")).unwrap();
    assert_ne!(read().unwrap().content_hash(), one.content_hash(), "its path is its name");

    write("decisions/a.d.cedr", b"");
    assert_eq!(
        refused(),
        "1:1: this is no decision | a decision is a file `<path>.cedar`, such as prod.deployment.approval.cedar"
    );
    std::fs::remove_file(decisions.join("a.d.cedr")).unwrap();
    std::fs::create_dir(decisions.join("x.cedar")).unwrap();
    assert!(refused().starts_with("1:1: this is no decision"));
    std::fs::remove_dir(decisions.join("x.cedar")).unwrap();
    write("decisions/a.d.cedar", b"\xff");
    assert_eq!(refused(), "1:1: the file is not UTF-8 text");
    write("decisions/a.d.cedar", &vec![b' '; 5 * 1024 * 1024]);
    write("decisions/a.e.cedar", &vec![b' '; 5 * 1024 * 1024]);
    assert!(refused().starts_with("1:1: the decisions are longer than"), "{}", refused());
    write("decisions/a.d.cedar", b"");
    write("decisions/a.e.cedar", b"");
    for number in 0..1_000 {
        write(&format!("decisions/n{number}.cedar"), b"");
    }
    assert_eq!(refused(), "1:1: there are more than 1000 files");
    assert!(directory::files(folder.path()).contains(&decisions));
}

#[test]
fn examples_give_facts() {
    let run = |cases: &str| {
        let access = "permit (principal, action, resource) when { context.facts.approval.seniors >= 1 };";
        let deploy = "permit (principal, action, resource) when { context.facts.deploy.value };";
        let source =
            Source::from_text("acme", &format!("{NAMES}{FACTS}"), access, "").with_decision("may.deploy", deploy);
        run_cases(&source.with_tests(cases))
    };
    let statement = "[[case]]\nagent = \"ann\"\naction = \"select\"\ntable = \"t\"\nexpect = \"allow\"\n";
    let decision = "[[decision]]\npath = \"may.deploy\"\nrequest = { id = 7 }\n";
    let check = |cases: &str, passed: usize, failure: &str| {
        let report = run(cases).unwrap();
        assert_eq!(report.passed, passed, "{report}");
        assert!(report.to_string().contains(failure), "{report}");
    };
    check(&format!("{statement}facts = {{ \"approvals.ann.t\" = {{ approvers = [1] }} }}"), 1, "");
    check(statement, 0, "expected Allow, but no rule permits select on public.t for agent `ann`");
    check(&format!("{decision}expect = \"allow\"\nfacts = {{ \"approvals.7\" = true }}"), 1, "");
    check(&format!("{decision}expect = \"deny\"\nfacts = {{ \"approvals.7\" = false }}"), 1, "");
    check(
        &format!("{decision}expect = \"deny\"\nfacts = {{ \"approvals.7\" = true }}"),
        0,
        "expected Deny, but `` for app `` is permitted by `rule-1` (decisions/may.deploy.cedar:1)",
    );
    check(
        "[[decision]]\npath = \"may.deploy\"\nexpect = \"deny\"",
        0,
        "expected Deny, but there is no answer: fact `deploy`: the request has no `id`",
    );
    check("[[decision]]\npath = \"may.deploy\"\nexpect = \"error\"", 1, "");
    let mistakes = |cases: &str| lines(&run(cases).unwrap_err()).join("\n");
    let found = mistakes("[[decision]]\npath = \"may.deplo\"\nexpect = \"deny\"");
    assert_eq!(found, "2:8: there is no policy `may.deplo` | did you mean `may.deploy`?");
    let found = mistakes(&format!("{decision}expect = \"deny\"\n[decision.facts]\napprovals.7 = true"));
    assert!(found.starts_with("6:1: `approvals` is not a fact's key"), "{found}");
}

#[test]
fn examples_report_what_differs_and_where() {
    let run = |cases: &str| {
        let access = "@id(\"read\") permit (principal in Role::\"analyst\", action == Action::\"select\", resource);";
        let filters = "CREATE POLICY p ON t TO analyst USING (x = 1);";
        run_cases(&Source::from_text("acme", NAMES, access, filters).with_tests(cases))
    };
    let case = |fields: &str| format!("\n[[case]]\nagent = \"ann\"\naction = \"select\"\ntable = \"t\"\n{fields}");
    let report = run(&[
        case("expect = \"allow\"\nrule = \"read\"\nfilter_contains = \"x = 1\"\nmasked = []"),
        case("expect = \"deny\""),
        case("expect = \"allow\"\nfilter_contains = \"y\""),
        case("expect = \"allow\"\nfilter_contains = \"\""),
        case("expect = \"allow\"\nmasked = [\"x\"]"),
        case("expect = \"allow\"\nrule = \"other\""),
    ]
    .concat())
    .unwrap();
    assert_eq!((report.passed, report.failures.len()), (1, 5), "{report}");
    let text = report.to_string();
    assert!(
        text.contains(
            "acme/tests.toml:10:1: expected Deny, but select on public.t for agent `ann` is permitted by `read`"
        ),
        "{text}"
    );
    assert!(text.contains("the row filter is `x = 1`, which does not contain `y`"), "{text}");
    let mistakes = |cases: &str| lines(&run(cases).unwrap_err()).join("\n");
    assert!(mistakes(&case("expect = \"maybe\"")).starts_with("6:10: unknown variant `maybe`"));
    assert!(
        mistakes("[[case]]\nagent = \"x\"\naction = \"select\"\ntable = \"t\"\nexpect = \"deny\"")
            .starts_with("2:9: agent `x`")
    );
    assert!(
        mistakes("[[case]]\nagent = \"ann\"\naction = \"look\"\ntable = \"t\"\nexpect = \"deny\"")
            .starts_with("3:10: no such action")
    );
    assert!(mistakes(&case("expect = \"deny\"\nclient = \"somewhere\"")).starts_with("7:10: a client is"));
}
