//! The facts on the status page.

use std::{collections::BTreeSet, fmt::Write};

use super::{others, plane::OpenPlane};

pub(super) fn text(open: &OpenPlane) -> String {
    let mut text = String::new();
    let (health, measures) = (open.node.health(), open.node.measures());
    let standing = match (&health.failure, health.is_serving) {
        (Some(why), _) => format!("takes no writes: {why}"),
        (None, true) => "serving".to_owned(),
        (None, false) => "not complete yet".to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  org {}, node {}: {standing}", open.org, open.node_name);
    let _ = writeln!(
        text,
        "  {} requests wait, {} alarms, {} bytes on disk",
        health.queued,
        health.alarms.total(),
        measures.store_bytes
    );
    let strategies = &open.node.namespaces().strategies;
    let names: BTreeSet<&String> = strategies.keys().chain(measures.sizes.keys()).collect();
    for name in names {
        let size = measures.sizes.get(name).copied().unwrap_or_default();
        let strategy = strategies.get(name).unwrap_or(&open.node.namespaces().otherwise).name();
        let _ = writeln!(text, "  {name} ({strategy}): {} facts, {} deletions remembered", size.facts, size.tombstones);
    }
    if let Some(status) = &*open.others.lock() {
        text.push_str(&others::text(status));
    }
    let listening = open.listening.lock();
    if let Some(folder) = &listening.sockets {
        let _ = writeln!(text, "  sockets in {}", folder.display());
    }
    if let Some(address) = listening.tls {
        let _ = writeln!(text, "  TLS on {address}");
    }
    for why in listening.failures.iter().chain(open.files.lock().problems()) {
        let _ = writeln!(text, "  {}", why.replace('\n', "\n  "));
    }
    text
}
