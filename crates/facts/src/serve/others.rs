//! What administrators ask about other nodes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Serving;
use crate::{
    causality::NodeId,
    node::{Agreement, Lag, MemberStatus, NodeError, Replication},
    peers::{BrokerStatus, PeerStatus, PeersStatus},
    protocol::{ProtocolError, Reply},
};

impl Serving {
    /// How this node stands among the others.
    pub(super) async fn peers(&self) -> Result<Reply, ProtocolError> {
        let failed = |error| self.read_failed(error);
        let status = match self.peers.get() {
            Some(peers) => peers.status().await.map_err(failed)?,
            None => {
                let replication = self.node.replication().await.map_err(failed)?;
                let peers = replication.members.iter().map(|member| (member.node.clone(), member)).collect();
                return Ok(Reply::Other(json!({ "node": own(&replication), "peers": members(&peers) })));
            }
        };
        Ok(Reply::Other(all(&status)))
    }

    /// Has digests compared with all members at once; with `restamp` writes that wait since they came from the future are
    /// made anew.
    pub(super) async fn repair(&self, restamp: bool) -> Result<Reply, ProtocolError> {
        let repaired = self.node.repair(restamp).await.map_err(|error| self.read_failed(error))?;
        Ok(Reply::Other(json!({
            "asked": repaired.asked,
            "restamped": repaired.restamped,
            "held": repaired.held,
        })))
    }

    /// Forgets a member that does not come back.
    pub(super) async fn remove_peer(&self, node: NodeId) -> Result<Reply, ProtocolError> {
        match self.node.remove_member(node.clone()).await {
            Ok(()) => Ok(Reply::Other(json!({ "removed": node.as_str() }))),
            Err(error @ (NodeError::NoMember(_) | NodeError::StillConnected(_))) => {
                Err(ProtocolError::field("node", error.to_string()))
            }
            Err(error) => Err(self.read_failed(error)),
        }
    }
}

fn all(status: &PeersStatus) -> Value {
    let peers: Map<String, Value> =
        status.peers.iter().map(|peer| (peer.node.as_str().to_owned(), peer_of(peer))).collect();
    json!({
        "node": own(&status.replication),
        "peers": peers,
        "broker": status.broker.as_ref().map(broker),
        "strangers": status.strangers,
    })
}

fn own(replication: &Replication) -> Value {
    let Replication { origin, root: (epoch, sum), .. } = replication;
    json!({
        "node": origin.node.as_str(),
        "incarnation": format!("{:016x}", origin.incarnation),
        "is_serving": replication.is_serving,
        "joining": replication.joining.as_ref().map(|joining| json!({
            "from": joining.from.as_ref().map(NodeId::as_str),
            "keys": joining.keys,
        })),
        "epoch": epoch.0,
        "root": format!("{sum:032x}"),
        "lag": lag(&replication.lag),
        "held": replication.held.len(),
        "ended": replication.ended,
        "alarms": {
            "reused_dots": replication.alarms.reused_dots,
            "held": replication.alarms.held,
            "refused": replication.alarms.refused,
            "behind": replication.alarms.behind,
            "diverged": replication.alarms.diverged,
        },
    })
}

fn members(peers: &BTreeMap<NodeId, &MemberStatus>) -> Map<String, Value> {
    peers.iter().map(|(node, status)| (node.as_str().to_owned(), json!({ "member": member(status) }))).collect()
}

fn member(status: &MemberStatus) -> Value {
    json!({
        "heard_ms": status.heard_ms,
        "is_serving": status.is_serving,
        "lag": lag(&status.lag),
        "agreement": match status.agreement {
            Agreement::Same => "same",
            Agreement::Diverged => "diverged",
            Agreement::Unknown => "unknown",
        },
    })
}

fn peer_of(peer: &PeerStatus) -> Value {
    json!({
        "member": peer.member.as_ref().map(member),
        "is_alive": peer.is_alive,
        "is_connected": peer.is_connected,
        "is_linked_from": peer.is_linked_from,
        "is_heard_over_broker": peer.is_heard_over_broker,
        "addresses": peer.addresses,
        "last_error": peer.last_error,
        "sent": peer.sent,
        "received": peer.received,
        "dropped": peer.dropped,
        "links": peer.links,
        "broken": peer.broken,
    })
}

fn broker(status: &BrokerStatus) -> Value {
    json!({
        "is_connected": status.is_connected,
        "connections": status.connections,
        "sent": status.sent,
        "received": status.received,
        "dropped": status.dropped,
        "refused": status.refused,
        "last_error": status.last_error,
    })
}

/// By origin's name, how many of its writes are missing.
fn lag(lags: &[Lag]) -> Map<String, Value> {
    let mut by_node: BTreeMap<&str, u64> = BTreeMap::new();
    for Lag { origin, numbers } in lags {
        *by_node.entry(origin.node.as_str()).or_default() += numbers;
    }
    by_node.into_iter().map(|(node, numbers)| (node.to_owned(), json!(numbers))).collect()
}
