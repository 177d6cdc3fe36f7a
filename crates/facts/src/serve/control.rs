//! What administrators ask of the node.

use serde_json::{Map, Value, json};

use super::{Serving, cursor};
use crate::{
    key::FactKey,
    protocol::{PROTOCOL_VERSION, ProtocolError, Reply},
};

/// Keys looked at for one answer.
const LISTED_MAX: usize = 1_024;

impl Serving {
    /// How much there is, and what happened since the start.
    pub(super) fn stats(&self) -> Reply {
        let (measures, health) = (self.node.measures(), self.node.health());
        let sizes = measures.sizes.iter().map(|(namespace, size)| {
            (namespace.clone(), json!({ "facts": size.facts, "tombstones": size.tombstones }))
        });
        let counts = &measures.counts;
        let connections = self.config.connections_max.saturating_sub(self.connections.available_permits());
        Reply::Other(json!({
            "is_serving": health.is_serving,
            "failure": health.failure,
            "namespaces": sizes.collect::<Map<String, Value>>(),
            "store_bytes": measures.store_bytes,
            "data_keys": self.node.data_keys(),
            "connections": connections,
            "queued": health.queued,
            "alarms": health.alarms.total(),
            "local_writes": counts.local_writes,
            "remote_writes": counts.remote_entries,
            "conflicts": counts.conflicts,
            "quarantined": counts.held.saturating_sub(counts.released),
            "divergences": counts.divergences,
            "expired": counts.expired,
            "collected": counts.collected,
            "uptime_s": self.node.uptime().as_secs(),
        }))
    }

    /// What holds since the start.
    pub(super) fn metadata(&self) -> Reply {
        let (origin, namespaces) = (self.node.origin(), self.node.namespaces());
        let strategies = namespaces.strategies.iter();
        let strategies = strategies.map(|(name, strategy)| (name.clone(), json!({ "strategy": strategy.name() })));
        Reply::Other(json!({
            "node": origin.node.as_str(),
            "incarnation": format!("{:016x}", origin.incarnation),
            "protocol_version": PROTOCOL_VERSION,
            "server_version": self.config.server_version,
            "namespaces": strategies.collect::<Map<String, Value>>(),
            "otherwise": { "strategy": namespaces.otherwise.name() },
        }))
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&FactKey>) -> Result<Reply, ProtocolError> {
        let listed = self.node.keys_with_prefix(prefix, after, LISTED_MAX);
        let (keys, next) = listed.map_err(|error| self.read_failed(error))?;
        let mut answer = json!({ "keys": keys.iter().map(FactKey::as_str).collect::<Vec<_>>() });
        if let (Some(next), Value::Object(members)) = (next, &mut answer) {
            members.insert("next".to_owned(), json!(next.as_str()));
        }
        Ok(Reply::Other(answer))
    }

    /// What is there is sealed anew meanwhile; `stats` tells of one data key once it is.
    pub(super) async fn rotate_key(&self) -> Result<Reply, ProtocolError> {
        self.node.rotate_key().await.map_err(|error| self.read_failed(error))?;
        Ok(Reply::Other(json!({ "status": "rotated", "data_keys": self.node.data_keys() })))
    }

    /// Once all that readers see is on the disk.
    pub(super) async fn sync(&self) -> Result<Reply, ProtocolError> {
        let synced = self.node.sync().await.map_err(|error| self.read_failed(error))?;
        Ok(Reply::Other(json!({ "status": "synced", "cursor": cursor::encode(&synced) })))
    }
}
