use std::{collections::BTreeSet, path::PathBuf};

use super::{
    broker::ServerAddress,
    certificate::{Credentials, PlaneName},
};
use crate::{causality::NodeId, seal::PlaneKey};

/// How a node takes part: over links, over a broker, or both.
#[derive(Debug)]
pub struct PeersConfig {
    pub gossip: Option<GossipConfig>,
    pub pubsub: Option<PubSubConfig>,
    /// The nodes that may take part; `None`: all that have a certificate of the plane, or its key. To shut a node out
    /// whose certificate is still valid, name the others.
    pub allowed: Option<BTreeSet<NodeId>>,
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

    /// A broker alone, without links.
    #[must_use]
    pub fn pubsub(config: PubSubConfig) -> PeersConfig {
        PeersConfig { pubsub: Some(config), ..PeersConfig::alone() }
    }

    /// Writes go over the broker to those who are there, and over links to the others; all else goes over links, and
    /// over the broker where there is none.
    #[must_use]
    pub fn hybrid(gossip: GossipConfig, pubsub: PubSubConfig) -> PeersConfig {
        PeersConfig { gossip: Some(gossip), pubsub: Some(pubsub), ..PeersConfig::alone() }
    }

    fn alone() -> PeersConfig {
        PeersConfig {
            gossip: None,
            pubsub: None,
            allowed: None,
            peers_max: 256,
            queue_bytes: 4 << 20,
            message_bytes_max: 16 << 20,
        }
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
}

/// A NATS broker between nodes.
#[derive(Debug)]
pub struct PubSubConfig {
    pub plane: PlaneName,
    /// What goes over the broker is sealed with the first and opened with any of them, so that they can be changed one
    /// node after the other.
    pub keys: Vec<PlaneKey>,
    /// Tried one after the other.
    pub servers: Vec<ServerAddress>,
    /// Authorities, in a PEM file, by which a broker's certificate is judged; without it, brokers that want TLS are of no
    /// use.
    pub authority: Option<PathBuf>,
}
