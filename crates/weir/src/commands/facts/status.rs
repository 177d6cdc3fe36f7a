use std::fmt::Write;

use serde_json::{Value, json};
use weir_facts::protocol::Plane;

use super::{Asking, table};
use crate::failure::Failure;

/// A page of text about the node.
pub(super) fn run(asking: &Asking) -> Result<(), Failure> {
    let client = asking.client(Plane::Control)?;
    let (stats, metadata) = (client.ask("stats", &json!({}))?, client.ask("metadata", &json!({}))?);
    table::print(&page(&stats, &metadata))
}

fn page(stats: &Value, metadata: &Value) -> String {
    let mut text = String::new();
    let standing = match (stats["failure"].as_str(), stats["is_serving"].as_bool()) {
        (Some(why), _) => format!("takes no writes: {why}"),
        (None, Some(true)) => "serving".to_owned(),
        (None, _) => "not complete yet".to_owned(),
    };
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Node {}: {standing}", word(&metadata["node"]));
    let _ = writeln!(text, "  weir {}, up {} s", word(&metadata["server_version"]), stats["uptime_s"]);
    let _ = writeln!(
        text,
        "  {} writes here, {} from elsewhere, {} waiting; {} connections; {} bytes on disk",
        stats["local_writes"], stats["remote_writes"], stats["queued"], stats["connections"], stats["store_bytes"]
    );
    let _ = writeln!(
        text,
        "  {} conflicts, {} quarantined, {} divergences, {} alarms, {} expired",
        stats["conflicts"], stats["quarantined"], stats["divergences"], stats["alarms"], stats["expired"]
    );
    text.push('\n');
    let mut rows = vec![["NAMESPACE", "STRATEGY", "FACTS", "DELETIONS"].map(str::to_owned).to_vec()];
    let declared = metadata["namespaces"].as_object().into_iter().flatten().map(|(name, _)| name);
    let filled = stats["namespaces"].as_object().into_iter().flatten().map(|(name, _)| name);
    let names: std::collections::BTreeSet<&String> = declared.chain(filled).collect();
    for name in names {
        let strategy = metadata["namespaces"][name]["strategy"].as_str();
        let strategy = strategy.map_or_else(|| word(&metadata["otherwise"]["strategy"]), str::to_owned);
        let size = |what: &str| stats["namespaces"][name][what].as_u64().unwrap_or(0).to_string();
        rows.push(vec![name.clone(), strategy, size("facts"), size("tombstones")]);
    }
    text.push_str(&table::aligned(&rows));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_declared_and_filled_namespaces() {
        let stats = json!({
            "is_serving": true, "failure": null, "uptime_s": 5, "local_writes": 3, "remote_writes": 0, "queued": 0,
            "connections": 1, "store_bytes": 10, "conflicts": 0, "quarantined": 0, "divergences": 0, "alarms": 0,
            "expired": 0, "namespaces": { "approvals": { "facts": 2, "tombstones": 1 } },
        });
        let metadata = json!({
            "node": "n1", "server_version": "0.1.0", "otherwise": { "strategy": "lww" },
            "namespaces": { "counters": { "strategy": "counter" } },
        });
        let page = page(&stats, &metadata);
        assert!(page.starts_with("Node n1: serving\n"), "{page}");
        let table: Vec<&str> = page.lines().rev().take(2).collect();
        assert_eq!(table, ["counters   counter   0      0", "approvals  lww       2      1"]);
    }
}
