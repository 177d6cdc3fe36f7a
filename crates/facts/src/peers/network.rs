//! Links: each node calls each other one, and sends by the connection it made. What comes by the connections others made
//! is only read. So who sends never waits for who of both calls, and a connection has one owner.
//!
//! The one who is called says every second that it is still there, also while it has no room for messages; so a peer
//! that is slow is told from one that is gone.

mod call;
mod greeting;
mod listen;
mod seed;

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use self::greeting::Hello;
pub(super) use self::{call::keep_calling, listen::listen, seed::keep_asking};
use super::{
    certificate::Tls,
    frame::FrameError,
    membership::{Identity, Input},
    roster::Roster,
    status::Counter,
    tasks::Tasks,
};
use crate::{
    causality::NodeId,
    node::{Node, NodeError},
};

/// Between signs that one is still there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// After so long without any, nobody is there.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// For TLS and the greeting.
const GREETING_MAX: Duration = Duration::from_secs(3);
/// A link is made anew after so long, so that an expired certificate does not stay.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// What all links of a node have in common.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) node: Node,
    /// New links go by the newest certificate.
    pub(super) tls: RwLock<Arc<Tls>>,
    pub(super) identity: Identity,
    pub(super) roster: Arc<Roster>,
    pub(super) membership: mpsc::Sender<Input>,
    pub(super) message_bytes_max: usize,
    /// Who may take part; `None`: whoever has a certificate.
    pub(super) allowed: Option<BTreeSet<NodeId>>,
    pub(super) strangers: Counter,
    pub(super) connections: AtomicU64,
    pub(super) tasks: Arc<Tasks>,
}

impl Network {
    fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.tls.read())
    }

    fn hello(&self, introduces: bool) -> Hello {
        Hello { plane: self.tls().name().plane.to_string(), identity: self.identity.clone(), introduces }
    }
}

/// Why a link ended, or could not be made.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("no address of it is known")]
    NoAddress,
    #[error("it says that it is node `{said}` of plane `{plane}`, and its certificate is that of node `{node}`")]
    OtherName { said: NodeId, plane: String, node: NodeId },
    #[error("node `{found}` is there, not `{expected}`")]
    OtherNode { found: NodeId, expected: NodeId },
    #[error("node `{0}` may not take part")]
    NotAllowed(NodeId),
    #[error("there are too many nodes")]
    TooMany,
    #[error("it sent what is no message")]
    Garbage,
    #[error(transparent)]
    Node(#[from] NodeError),
}
