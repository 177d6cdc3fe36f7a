//! The rules of ARCHITECTURE.md that a manifest can break, held against the manifests.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// The storeys of the house, from the top. A crate may depend on crates of lower storeys only.
const STOREYS: &[&[&str]] = &[
    &["weir"],
    &["weir-wire"],
    &["weir-pipeline"],
    &["weir-engine", "weir-facts"],
    &["weir-store", "weir-policy", "weir-sql", "weir-audit", "weir-meter"],
    &["weir-model"],
];

/// Walls: a foreign crate, as its name begins, and the one crate of ours that may name it.
const WALLS: &[(&str, &str)] =
    &[("datafusion", "weir-engine"), ("pgwire", "weir-wire"), ("cedar-", "weir-policy"), ("fjall", "weir-facts")];

/// Foreign crates that are in the build once or not at all: two versions do not understand each other's types.
const ONCE: &[&str] = &["arrow", "parquet", "datafusion", "sqlparser", "pgwire", "cedar-policy", "rustls", "tokio"];

/// A second cryptographic provider in one binary makes rustls panic when it must choose.
const NEVER: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];

/// Crate of ours to what its manifest names, development dependencies included.
type Graph = BTreeMap<String, Vec<String>>;

fn violations(graph: &Graph) -> Vec<String> {
    let storey = |name: &str| STOREYS.iter().position(|storey| storey.contains(&name));
    let mut found = Vec::new();
    for (crate_name, dependencies) in graph {
        let Some(own) = storey(crate_name) else {
            found.push(format!("{crate_name} stands on no storey: add it to the list, and to ARCHITECTURE.md"));
            continue;
        };
        for dependency in dependencies {
            if graph.contains_key(dependency) && storey(dependency).is_some_and(|other| other <= own) {
                found.push(format!("{crate_name} imports {dependency}, which is not below it"));
            }
            for (prefix, keeper) in WALLS {
                if dependency.starts_with(prefix) && crate_name != keeper {
                    found.push(format!("{crate_name} names {dependency}, which only {keeper} may"));
                }
            }
        }
    }
    found
}

fn lock_violations(lock: &str) -> Vec<String> {
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let count = |name: &str| names.iter().filter(|other| **other == name).count();
    let twice = ONCE.iter().filter(|name| count(name) > 1).map(|name| format!("two versions of {name}"));
    let there = NEVER.iter().filter(|name| count(name) > 0).map(|name| format!("{name} is in the build"));
    twice.chain(there).collect()
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read_graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let dependencies =
        |package: &Value| package["dependencies"].as_array().unwrap().iter().map(|each| text(&each["name"])).collect();
    packages.map(|package| (text(&package["name"]), dependencies(package))).collect()
}

#[test]
fn imports_run_downwards_and_walls_stand() {
    let graph = read_graph();
    assert!(graph.len() >= 10, "{graph:?}");
    assert_eq!(violations(&graph), [""; 0]);
}

#[test]
fn the_build_has_one_of_each() {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    assert_eq!(lock_violations(&lock), [""; 0]);
}

#[test]
fn each_broken_rule_is_found() {
    let check = |edges: &[(&str, &[&str])], expected: &str| {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let graph: Graph = edges.iter().map(|(name, list)| ((*name).to_owned(), names(list))).collect();
        let found = violations(&graph).join("; ");
        assert_eq!(found, expected);
    };
    check(&[("weir-store", &["weir-model", "arrow"]), ("weir-model", &["serde"])], "");
    check(&[("weir-model", &["weir-sql"]), ("weir-sql", &[])], "weir-model imports weir-sql, which is not below it");
    check(&[("weir-policy", &["weir-sql"]), ("weir-sql", &[])], "weir-policy imports weir-sql, which is not below it");
    check(
        &[("weir-pipeline", &["weir-wire"]), ("weir-wire", &[])],
        "weir-pipeline imports weir-wire, which is not below it",
    );
    check(
        &[("weir-pipeline", &["datafusion-expr"])],
        "weir-pipeline names datafusion-expr, which only weir-engine may",
    );
    check(&[("weir", &["pgwire"])], "weir names pgwire, which only weir-wire may");
    check(&[("weir-sql", &["cedar-policy"])], "weir-sql names cedar-policy, which only weir-policy may");
    check(&[("weir-extra", &[])], "weir-extra stands on no storey: add it to the list, and to ARCHITECTURE.md");
    check(&[("weir-engine", &["datafusion"]), ("weir-wire", &["pgwire"]), ("weir-policy", &["cedar-policy"])], "");
}

#[test]
fn each_broken_lock_is_found() {
    let check = |lock: &str, expected: &[&str]| assert_eq!(lock_violations(lock), expected);
    check("name = \"arrow\"\nname = \"arrow-schema\"\n", &[]);
    check("name = \"arrow\"\nname = \"arrow\"\n", &["two versions of arrow"]);
    check("name = \"aws-lc-rs\"\n", &["aws-lc-rs is in the build"]);
}
