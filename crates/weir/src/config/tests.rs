#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::PathBuf, time::Duration};

use super::{Config, Flags, Layers, print};

struct Given {
    file: &'static str,
    environment: &'static [(&'static str, &'static str)],
    flags: Flags,
}

fn gather(given: &Given) -> Result<Layers, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.toml");
    std::fs::write(&path, given.file).unwrap();
    let environment = given.environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Layers::gather(Some(&path), environment, given.flags.clone()).map_err(|mistakes| mistakes.to_string())
}

fn read(given: &Given) -> Result<Config, String> {
    Config::read(&gather(given)?).map_err(|mistakes| mistakes.to_string())
}

fn refused(file: &'static str, environment: &'static [(&'static str, &'static str)]) -> String {
    let text = read(&Given { file, environment, flags: vec![] }).unwrap_err();
    // Without the temporary folder's name.
    let lines = text
        .lines()
        .map(|line| line.rsplit_once("/weir.toml").map_or(line.to_owned(), |(_, rest)| format!("weir.toml{rest}")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn defaults_are_safe_and_as_promised() {
    let config = read(&Given { file: "", environment: &[], flags: vec![] }).unwrap();
    assert_eq!((config.max_concurrent_queries, config.max_full_scans, config.connections_max), (100, 8, 500));
    assert!(config.wal_fsync && config.resource_governor && config.tier_gate);
    assert_eq!(config.policy_startup_timeout.0, Duration::from_secs(30));
    assert_eq!(config.policy_grace.0, Duration::from_secs(300));
    assert!(config.listen.ip().is_loopback() && config.http.ip().is_loopback());
    assert_eq!(config.policies_dir(), PathBuf::from("data/policies"));
    assert!(config.memory_statement_limit.0 < config.memory_limit.0);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let given = Given {
        file: "listen = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:1\"\ndata = \"from-file\"\n[wal]\nfsync = false\n",
        environment: &[
            ("WEIR_LISTEN", "127.0.0.1:2"),
            ("WEIR_HTTP", "127.0.0.1:2"),
            ("OTHER", "x"),
            ("WEIR_FACTS_TOKEN", "x"),
        ],
        flags: vec![("--listen", "listen", "127.0.0.1:3".into())],
    };
    let config = read(&given).unwrap();
    assert_eq!((config.listen.port(), config.http.port()), (3, 2));
    assert_eq!(config.data, PathBuf::from("from-file"));
    assert!(!config.wal_fsync);
}

#[test]
fn mistakes_name_their_place_and_what_was_meant() {
    let check = |file, environment, expected: &str| assert_eq!(refused(file, environment), expected);
    check(
        "\nmax_concurent_queries = 3\n",
        &[],
        "weir.toml:2: no setting is named `max_concurent_queries`\n  hint: did you mean `max_concurrent_queries`?",
    );
    check(
        "[memory]\n\nlimit = \"half\"\n",
        &[],
        "weir.toml:3: `memory.limit` is `half`; expected a size such as 512MiB, or a percentage of memory from 1% \
         to 100%",
    );
    check(
        "",
        &[("WEIR_WAL_FSNC", "true")],
        "WEIR_WAL_FSNC: no setting has this name\n  hint: did you mean `WEIR_WAL_FSYNC`?",
    );
    check("", &[("WEIR_WAL_FSYNC", "yes")], "WEIR_WAL_FSYNC: `wal.fsync` is `yes`; expected true or false");
    check("zzz = 1", &[], "weir.toml:1: no setting is named `zzz`\n  hint: `weir config print` lists every setting");
    check(
        "facts.listn = \"x\"",
        &[],
        "weir.toml:1: no setting is named `facts.listn`\n  hint: did you mean `facts.listen`?",
    );
    check(
        "facts.node = \"a b\"",
        &[],
        "weir.toml:1: `facts.node` is `a b`; expected 1 to 63 letters, digits, `-` and `_`",
    );
    check(
        "facts.users = \"root\"",
        &[],
        "weir.toml:1: `facts.users` is `root`; expected numbers of users such as \"0,1000\"",
    );
    check("listen = [1]", &[], "weir.toml:1: `listen` is neither text, nor number, nor true or false");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = refused("threads = -1\nhttp = \"x\"\n", &[]);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn switches_that_would_make_it_unsafe_do_not_exist() {
    for variable in ["WEIR_POLICY_SYNC_ALLOW_DEGRADED", "WEIR_TENANT_ISOLATION_ENABLED"] {
        let environment: &'static [(&str, &str)] = match variable {
            "WEIR_POLICY_SYNC_ALLOW_DEGRADED" => &[("WEIR_POLICY_SYNC_ALLOW_DEGRADED", "true")],
            _ => &[("WEIR_TENANT_ISOLATION_ENABLED", "false")],
        };
        let text = refused("", environment);
        assert!(text.starts_with(variable) && text.contains("hint: unset it"), "{text}");
    }
    assert!(refused("[policy]\nsync_allow_degraded = true", &[]).contains("there is no degraded mode"));
}

#[test]
fn what_is_printed_reads_back_as_the_same_values() {
    let given = Given {
        file: "data = \"a \\\"quoted\\\" folder\"\n",
        environment: &[("WEIR_MAX_FULL_SCANS", "3"), ("WEIR_JWT_ISSUER", "https://issuer")],
        flags: vec![("--scale", "demo_scale", "0.01".into())],
    };
    let printed = print(&gather(&given).unwrap());
    assert!(printed.contains("max_full_scans = 3  # from WEIR_MAX_FULL_SCANS"), "{printed}");
    assert!(printed.contains("demo_scale = 0.01  # from --scale"), "{printed}");
    let again = Given { file: Box::leak(printed.into_boxed_str()), environment: &[], flags: vec![] };
    assert_eq!(format!("{:?}", read(&given).unwrap()), format!("{:?}", read(&again).unwrap()));
}
