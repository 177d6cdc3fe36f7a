//! Replication between processes: who carries the messages of a [`Node`] to the others.
//!
//! A [`Node`] says what it has to say through a [`MessagePlane`](crate::MessagePlane), and drops what finds no room: its
//! replica asks later for what it missed. So nothing here has to be reliable. What has to hold:
//! - A message is taken as that of the node whose certificate or seal came with it, and of no other.
//! - Neither a slow peer nor one that sends much holds up the writer or other peers: queues to each are bounded, and
//!   what comes waits at its sender.
//! - Whoever was linked once is a member until an operator removes it, whether it is there or not.

mod backoff;
mod broker;
mod certificate;
mod config;
mod frame;
mod membership;
mod network;
mod outgoing;
mod plane;
mod queue;
mod roster;
mod status;
mod tasks;

use std::{
    collections::BTreeSet,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;
use tokio::{net::TcpListener, sync::mpsc};

use self::{
    broker::Broker,
    certificate::Tls,
    membership::Identity,
    network::Network,
    plane::Plane,
    roster::{Peer, Roster},
    status::Counter,
    tasks::Tasks,
};
pub use self::{
    broker::{InvalidServer, ServerAddress},
    certificate::{
        CertificateError, Credentials, InvalidPlaneName, PlaneName, create_plane_authority, issue_certificate,
    },
    config::{GossipConfig, PeersConfig, PubSubConfig},
    status::{BrokerStatus, PeerStatus, PeersStatus},
};
use crate::{
    causality::NodeId,
    node::{Node, NodeError},
};

/// Why nodes are not linked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("`{address}` cannot be listened at: {source}")]
    Listen { address: String, source: io::Error },
    #[error("the system gave no random number: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A node among others. It takes part until [`stop`](Peers::stop) is called or this is dropped.
pub struct Peers {
    node: Node,
    roster: Arc<Roster>,
    network: Option<Arc<Network>>,
    broker: Option<Arc<Broker>>,
    tasks: Arc<Tasks>,
    listening: Option<SocketAddr>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Peers {
    /// Takes part from now on, in the runtime it is called in.
    ///
    /// # Errors
    /// [`PeersError`].
    pub async fn start(node: Node, config: PeersConfig) -> Result<Peers, PeersError> {
        let own = node.replication().await?.origin.node;
        let PeersConfig { gossip, pubsub, allowed, peers_max, queue_bytes, message_bytes_max } = config;
        let (roster, found) = Roster::new(own.clone(), peers_max, queue_bytes);
        let roster = Arc::new(roster);
        let (parts, allowed) = {
            let (node, own, roster) = (node.clone(), own.clone(), Arc::clone(&roster));
            let shared = allowed.clone();
            (broker::Parts { node, own, roster, allowed, queue_bytes, message_bytes_max }, shared)
        };
        let broker = pubsub.map(|pubsub| Broker::new(parts, pubsub)).transpose()?.map(Arc::new);
        let tasks = Arc::new(Tasks::default());
        let mut peers = Peers { node, roster, network: None, broker, tasks, listening: None };
        if let Some(gossip) = gossip {
            peers.link(own, gossip, message_bytes_max, allowed, found).await?;
        }
        let plane = Plane::new(Arc::clone(&peers.roster), peers.broker.clone());
        peers.node.set_plane(Arc::new(plane));
        if let Some(broker) = &peers.broker {
            peers.tasks.spawn(broker::keep_connected(Arc::clone(broker)));
        }
        Ok(peers)
    }

    async fn link(
        &mut self,
        own: NodeId,
        config: GossipConfig,
        message_bytes_max: usize,
        allowed: Option<BTreeSet<NodeId>>,
        found: mpsc::Receiver<Arc<Peer>>,
    ) -> Result<(), PeersError> {
        let tls = Tls::new(&config.credentials)?;
        check_node(&tls, &own)?;
        let failed = |source| PeersError::Listen { address: config.listen.clone(), source };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let listening = listener.local_addr().map_err(failed)?;
        let address = config.advertise.unwrap_or_else(|| listening.to_string());
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let identity = Identity::new(own, address.into(), u64::try_from(started).unwrap_or(u64::MAX));
        let (membership, inputs) = membership::channel();
        let network = Arc::new(Network {
            node: self.node.clone(),
            tls: RwLock::new(Arc::new(tls)),
            identity: identity.clone(),
            roster: Arc::clone(&self.roster),
            membership,
            message_bytes_max,
            allowed,
            strangers: Counter::default(),
            connections: AtomicU64::new(0),
            tasks: Arc::clone(&self.tasks),
        });
        let seed = getrandom::u64().map_err(PeersError::Random)?;
        let tasks = &self.tasks;
        tasks.spawn(membership::run(identity, seed, Arc::downgrade(&self.roster), inputs));
        tasks.spawn(call_found(Arc::clone(&network), found));
        tasks.spawn(network::listen(Arc::clone(&network), listener));
        for seed in config.seeds {
            tasks.spawn(network::keep_asking(Arc::clone(&network), seed.into()));
        }
        self.listening = Some(listening);
        self.network = Some(network);
        Ok(())
    }

    /// Where other nodes are listened to.
    #[must_use]
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// Has new links go by another certificate of this node, as before the old one expires.
    ///
    /// # Errors
    /// [`PeersError::Certificate`].
    pub fn set_credentials(&self, credentials: &Credentials) -> Result<(), PeersError> {
        if let Some(network) = &self.network {
            let tls = Tls::new(credentials)?;
            check_node(&tls, network.identity.node())?;
            *network.tls.write() = Arc::new(tls);
        }
        Ok(())
    }

    /// Takes part no longer. The node goes on by itself.
    pub fn stop(&self) {
        self.node.clear_plane();
        self.tasks.end();
        if let Some(broker) = &self.broker {
            broker.close();
        }
        for peer in self.roster.all() {
            peer.queue.close();
        }
    }

    /// # Errors
    /// Of [`Node::replication`].
    pub async fn status(&self) -> Result<PeersStatus, NodeError> {
        let replication = self.node.replication().await?;
        let strangers = self.network.as_ref().map_or(0, |network| network.strangers.get());
        let broker = self.broker.as_ref().map(|broker| broker.status());
        Ok(PeersStatus { peers: status::peers(&replication, &self.roster), replication, broker, strangers })
    }
}

fn check_node(tls: &Tls, own: &NodeId) -> Result<(), CertificateError> {
    let found = &tls.name().node;
    if found == own {
        return Ok(());
    }
    Err(CertificateError::OtherNode { found: found.clone(), expected: own.clone() })
}

/// Keeps a link to each node that is found.
async fn call_found(network: Arc<Network>, mut found: mpsc::Receiver<Arc<Peer>>) {
    while let Some(peer) = found.recv().await {
        network.tasks.spawn(network::keep_calling(Arc::clone(&network), peer));
    }
}
