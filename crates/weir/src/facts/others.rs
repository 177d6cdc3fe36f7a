//! How other nodes stand, for metrics and the status page.

use std::{fmt::Write, sync::Arc, time::Duration};

use metrics::{describe_gauge, gauge};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_facts::{Agreement, Peers, PeersStatus};

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);

/// As of a moment ago; none before the first look.
pub(super) type Latest = Arc<Mutex<Option<PeersStatus>>>;

/// Looks until the token is cancelled.
pub(super) async fn watch(peers: Arc<Peers>, latest: Latest, until: CancellationToken) {
    describe();
    let looking = async {
        loop {
            // A node that stops tells nothing more.
            if let Ok(status) = peers.status().await {
                measure(&status);
                *latest.lock() = Some(status);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    until.run_until_cancelled(looking).await;
}

fn describe() {
    describe_gauge!("weir_facts_lag_writes", "Writes of an origin that another node has and this one has not");
    describe_gauge!("weir_facts_peer_connected", "Whether a member is connected");
    describe_gauge!("weir_facts_peer_heard_seconds", "Time since a member's last status");
    describe_gauge!("weir_facts_peer_diverged", "Whether a member with the same writes shows something else");
    describe_gauge!("weir_facts_broker_connected", "Whether the NATS broker is connected");
}

#[allow(clippy::cast_precision_loss, reason = "gauges; counts stay far below 2^53")]
fn measure(status: &PeersStatus) {
    for lag in &status.replication.lag {
        gauge!("weir_facts_lag_writes", "origin" => lag.origin.node.to_string()).set(lag.numbers as f64);
    }
    for peer in &status.peers {
        let Some(member) = &peer.member else { continue };
        let name = peer.node.to_string();
        // Those who have caught up are not in the list of lags.
        if !status.replication.lag.iter().any(|lag| lag.origin.node == peer.node) {
            gauge!("weir_facts_lag_writes", "origin" => name.clone()).set(0.0);
        }
        let is_connected = peer.is_connected || peer.is_heard_over_broker;
        gauge!("weir_facts_peer_connected", "node" => name.clone()).set(u8::from(is_connected));
        if let Some(ms) = member.heard_ms {
            gauge!("weir_facts_peer_heard_seconds", "node" => name.clone()).set(ms as f64 / 1_000.0);
        }
        gauge!("weir_facts_peer_diverged", "node" => name).set(u8::from(member.agreement == Agreement::Diverged));
    }
    if let Some(broker) = &status.broker {
        gauge!("weir_facts_broker_connected").set(u8::from(broker.is_connected));
    }
}

pub(super) fn text(status: &PeersStatus) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(joining) = &status.replication.joining {
        let from = joining.from.as_ref().map_or("nobody yet", |node| node.as_str());
        let _ = writeln!(text, "  joining: {} facts so far, from {from}", joining.keys);
    }
    if let Some(broker) = &status.broker {
        let standing = if broker.is_connected { "connected" } else { "not connected" };
        let why = broker.last_error.as_ref().filter(|_| !broker.is_connected);
        let _ = writeln!(text, "  broker {standing}{}", why.map(|why| format!(": {why}")).unwrap_or_default());
    }
    for peer in &status.peers {
        let Some(member) = &peer.member else { continue };
        let is_connected = peer.is_connected || peer.is_heard_over_broker;
        let heard = member.heard_ms.map_or_else(|| "never heard".to_owned(), |ms| format!("heard {ms} ms ago"));
        let missing: u64 = member.lag.iter().map(|lag| lag.numbers).sum();
        let agreement = match member.agreement {
            Agreement::Same => "agrees",
            Agreement::Diverged => "DIVERGED",
            Agreement::Unknown => "not compared",
        };
        let _ = writeln!(
            text,
            "  peer {}: {}, {heard}, lacks {missing} writes, {agreement}",
            peer.node,
            if is_connected { "connected" } else { "away" }
        );
    }
    text
}
