use std::collections::BTreeSet;

use super::certificate::Credentials;
use crate::causality::NodeId;

/// How a node takes part: over links, over a broker, or both.
#[derive(Debug)]
pub struct PeersConfig {
    pub gossip: Option<GossipConfig>,
    /// Most other nodes that are known.
    pub peers_max: usize,
    /// Bytes of writes that wait for one peer, and as many of answers, about. What is beyond is dropped, and asked for
    /// later.
    pub queue_bytes: usize,
    /// Of one message. It has to have room for a page of a replica, its limits say how large, and one key's state more.
    pub message_bytes_max: usize,
}

impl PeersConfig {
    /// Links alone, without a broker.
    #[must_use]
    pub fn gossip(config: GossipConfig) -> PeersConfig {
        PeersConfig { gossip: Some(config), ..PeersConfig::alone() }
    }

    fn alone() -> PeersConfig {
        PeersConfig { gossip: None, peers_max: 256, queue_bytes: 4 << 20, message_bytes_max: 16 << 20 }
    }
}

/// Links between nodes.
#[derive(Debug)]
pub struct GossipConfig {
    pub credentials: Credentials,
    /// Host and port.
    pub listen: String,
    /// Where other nodes call this one, as host and port; where it listens, if that is not said.
    pub advertise: Option<String>,
    /// Where to ask for other nodes, as hosts and ports. This node may be among them.
    pub seeds: Vec<String>,
    /// The nodes that may take part; `None`: all that have a certificate of the plane. To shut a node out whose
    /// certificate is still valid, name the others.
    pub allowed: Option<BTreeSet<NodeId>>,
}
