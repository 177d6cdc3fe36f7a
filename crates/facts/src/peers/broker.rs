//! Messages over NATS. The broker carries them and keeps nothing: what it loses, replicas ask each other for.
//!
//! What one node tells all is published under `weir.<plane>.facts.all`, what it tells one under
//! `weir.<plane>.facts.to.<node>`. All is sealed with the plane's key for its subject and its sender, so that neither the
//! broker nor another of its users can read or forge it; whoever has the key can speak for any node of the plane. A
//! message longer than the broker takes goes in parts.
//!
//! Core NATS, spoken here: it is a dozen lines of text, and so what waits is bounded and a connection that is dead is
//! noticed. The crate for it would have had every dependency of the engine built with other features.

mod connection;
mod parts;
mod protocol;
mod queue;
mod sealing;
mod server;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;

pub use self::server::{InvalidServer, ServerAddress};
use self::{queue::BrokerQueue, sealing::Sealing};
use super::{
    backoff::Backoff,
    config::PubSubConfig,
    outgoing::Outgoing,
    roster::Roster,
    status::{BrokerStatus, Counter},
};
use crate::{
    causality::NodeId,
    node::{Node, NodeError},
};

/// Between signs that this node is there, to the broker and to other nodes.
const PRESENT_EVERY: Duration = Duration::from_secs(1);
/// A broker that says nothing for so long is not there: it answers every sign.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// A node's dealings with the broker.
pub(super) struct Broker {
    node: Node,
    own: NodeId,
    roster: Arc<Roster>,
    sealing: Sealing,
    servers: Vec<ServerAddress>,
    tls: Option<tokio_rustls::TlsConnector>,
    allowed: Option<BTreeSet<NodeId>>,
    queue: BrokerQueue,
    message_bytes_max: usize,
    /// Numbers messages, to keep their parts together.
    messages: AtomicU64,
    connections: Counter,
    sent: Counter,
    received: Counter,
    refused: Counter,
    last_error: Mutex<Option<String>>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// What a broker needs of the node it is for.
pub(super) struct Parts {
    pub(super) node: Node,
    pub(super) own: NodeId,
    pub(super) roster: Arc<Roster>,
    pub(super) allowed: Option<BTreeSet<NodeId>>,
    pub(super) queue_bytes: usize,
    pub(super) message_bytes_max: usize,
}

/// Why a connection to the broker ended, or was not made.
#[derive(Debug, thiserror::Error)]
enum BrokerError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the broker did not answer in time")]
    TimedOut,
    #[error("the broker said nothing for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the broker says: {0}")]
    Said(String),
    #[error("the broker says what is not NATS: {0}")]
    Protocol(&'static str),
    #[error("the broker takes messages of {0} bytes at most, which is too little")]
    TooSmall(usize),
    #[error("the broker has no TLS, and is to be spoken to over TLS alone")]
    NoTls,
    #[error("the broker wants TLS, and no authority is given to judge its certificate by")]
    NoAuthority,
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Broker {
    pub(super) fn new(parts: Parts, config: PubSubConfig) -> Result<Broker, super::PeersError> {
        let Parts { node, own, roster, allowed, queue_bytes, message_bytes_max } = parts;
        let tls = config.authority.as_deref().map(server::tls).transpose()?;
        Ok(Broker {
            node,
            sealing: Sealing::new(&config.plane, own.clone(), config.keys),
            own,
            roster,
            servers: config.servers,
            tls,
            allowed,
            queue: BrokerQueue::new(queue_bytes),
            message_bytes_max,
            messages: AtomicU64::new(0),
            connections: Counter::default(),
            sent: Counter::default(),
            received: Counter::default(),
            refused: Counter::default(),
            last_error: Mutex::default(),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.queue.is_open()
    }

    pub(super) fn publish(&self, message: Arc<Outgoing>) {
        self.queue.push(None, message);
    }

    pub(super) fn send(&self, to: &NodeId, message: Arc<Outgoing>) {
        self.queue.push(Some(to.clone()), message);
    }

    pub(super) fn status(&self) -> BrokerStatus {
        BrokerStatus {
            is_connected: self.is_connected(),
            connections: self.connections.get(),
            sent: self.sent.get(),
            received: self.received.get(),
            dropped: self.queue.dropped(),
            refused: self.refused.get(),
            last_error: self.last_error.lock().clone(),
        }
    }

    pub(super) fn close(&self) {
        self.queue.close();
    }
}

/// Until the peers end: to one of the servers after the other.
pub(super) async fn keep_connected(broker: Arc<Broker>) {
    let mut backoff = Backoff::default();
    for server in broker.servers.iter().cycle() {
        let before = broker.connections.get();
        let ended = connection::run(&broker, server).await;
        broker.queue.close();
        // Who is there has to be heard anew: until then, links carry what the broker would lose.
        broker.roster.each(|peer| peer.lose_broker());
        if broker.connections.get() > before {
            backoff = Backoff::default();
        }
        if let Err(error) = ended {
            tracing::warn!(broker = %server, %error, "no connection to the broker");
            *broker.last_error.lock() = Some(error.to_string());
        }
        sleep(backoff.next()).await;
    }
}
