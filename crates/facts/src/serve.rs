//! Serves a node's clients: sockets, tokens and time for the [protocol](crate::protocol).
//!
//! Invariants:
//! - Nothing is done for a caller before the grants were asked, for every key that a request names.
//! - A connection holds a bounded number of bytes of requests in flight and of answers that were not read yet; then it
//!   reads no more from its client.
//! - No client waits for another's socket: what a client does not read waits in its own connection.

mod answer;
mod authority;
mod awake;
mod connection;
mod control;
mod cursor;
mod dozing;
mod evaluate;
mod lane;
mod listen;
mod notice;
mod others;
mod outgoing;
mod output;
mod plan;
mod rate;
mod reads;
mod session;
mod socket;
mod subscribing;
mod witness;

use std::{
    collections::BTreeSet,
    io,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, watch},
};

use self::lane::{Ending, Lane, Lanes};
pub use self::{
    authority::{Authority, Rights},
    evaluate::{EvaluateError, Evaluator, Policies, Question, Verdict},
    listen::{ListenError, Sockets},
    witness::{Answered, Peer, Unwitnessed, Witness, WitnessedRefusal, WitnessedRequest},
};
use crate::{
    node::Node,
    peers::Peers,
    protocol::{Listener, Plane, ProtocolError, RefusedHead, Surface, write_refused},
};

/// How clients are served.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Threads that serve facts, and as many that serve decisions: each of the two uses as many processors.
    pub lanes: usize,
    /// Most connections at once, of all listeners together.
    pub connections_max: usize,
    /// Until the first request's head has come, and each later one's that has begun.
    pub handshake_timeout: Duration,
    /// How long a connection may be silent between requests. Streams may for ever.
    pub idle_timeout: Duration,
    /// How long a request's body may take, and a read.
    pub request_timeout: Duration,
    /// How long a client may leave unread what it is sent.
    pub unread_timeout: Duration,
    /// Between signs of life on a stream where nothing happens.
    pub keep_alive: Duration,
    /// Bytes of requests and answers of one connection that are on their way.
    pub in_flight_bytes: u32,
    /// Most bytes of values in an answer. A query that comes to it ends with `next`; a `batch-get` is refused.
    pub answer_bytes_max: usize,
    /// Most subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Requests a minute of one app, over all its connections.
    pub app_requests_per_minute: u32,
    /// The witness is shown every so manieth write; 0: none.
    pub witness_writes_every: u32,
    /// Whether callers need a token. Without, whoever reaches a socket may all that its plane can.
    pub needs_token: bool,
    /// Users whose processes may connect to the Unix sockets. `None`: all whom the files' modes let.
    pub users: Option<BTreeSet<u32>>,
    /// As `hello` says it.
    pub server_version: String,
}

impl Default for ServeConfig {
    fn default() -> ServeConfig {
        ServeConfig {
            lanes: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            connections_max: 1_000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            unread_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            in_flight_bytes: 4 << 20,
            answer_bytes_max: 4 << 20,
            subscriptions_max: 64,
            app_requests_per_minute: 1_000,
            witness_writes_every: 100,
            needs_token: true,
            users: None,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Reads of many values at once, so that their memory is bounded however many clients ask.
const LARGE_READS: usize = 8;

/// Serves one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server(Arc<Serving>);

#[derive(Debug)]
struct Serving {
    node: Node,
    config: ServeConfig,
    authority: Arc<Authority>,
    witness: Arc<dyn Witness>,
    evaluator: Option<Arc<dyn Evaluator>>,
    peers: OnceLock<Arc<Peers>>,
    rate: rate::Rate,
    surfaces: [Arc<Surface>; 3],
    connections: Arc<Semaphore>,
    large_reads: Arc<Semaphore>,
    is_stopping: watch::Sender<bool>,
    lanes: Lanes,
}

impl Serving {
    fn surface(&self, plane: Plane) -> Arc<Surface> {
        let [data, evaluation, control] = &self.surfaces;
        Arc::clone(match plane {
            Plane::Data => data,
            Plane::Evaluation => evaluation,
            Plane::Control => control,
        })
    }
}

impl Server {
    /// Starts the threads that serve. Without an evaluator the evaluation plane decides nothing, and says so.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(
        node: Node,
        config: ServeConfig,
        authority: Arc<Authority>,
        witness: Arc<dyn Witness>,
        evaluator: Option<Arc<dyn Evaluator>>,
    ) -> io::Result<Server> {
        let decides = evaluator.is_some();
        let connections_max = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
        let connections = Arc::new(Semaphore::new(config.connections_max));
        let is_stopping = watch::Sender::new(false);
        let ending =
            Ending { is_stopping: is_stopping.subscribe(), connections: Arc::clone(&connections), connections_max };
        Ok(Server(Arc::new(Serving {
            rate: rate::Rate::new(config.app_requests_per_minute),
            surfaces: Plane::ALL.map(|plane| Arc::new(plan::surface(plane, &config.server_version, decides))),
            connections,
            large_reads: Arc::new(Semaphore::new(LARGE_READS)),
            is_stopping,
            lanes: Lanes::start(config.lanes, &node, &ending)?,
            node,
            config,
            authority,
            witness,
            evaluator,
            peers: OnceLock::new(),
        })))
    }

    /// Whom administrators are told of as the node's peers. Of several calls the first counts.
    pub fn show_peers(&self, peers: Arc<Peers>) {
        let _ = self.0.peers.set(peers);
    }

    /// Makes the planes' sockets, waits for clients on this task's runtime, and serves them on threads of its own until
    /// [`stop`](Server::stop).
    ///
    /// # Errors
    /// [`ListenError`]; no socket is then left.
    pub fn listen(&self, sockets: &Sockets) -> Result<(), ListenError> {
        listen::listen(self, sockets)
    }

    /// Serves one connection to its end. What encrypts it, has done so.
    pub async fn serve<S>(&self, stream: S, listener: Listener, peer: Option<Peer>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(lane) = self.0.lanes.next(listener) else { return };
        let (server, by) = (self.clone(), lane.clone());
        let served = async move { server.serve_by(stream, listener, peer, by).await };
        let _ = lane.runtime.spawn(served).await;
    }

    async fn serve_by<S>(&self, mut stream: S, listener: Listener, peer: Option<Peer>, lane: Lane)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(_permit) = Arc::clone(&self.0.connections).try_acquire_owned() else {
            let mut out = Vec::new();
            write_refused(&mut out, &RefusedHead::from(ProtocolError::Overloaded { retry_after_ms: 1_000 }));
            // Whoever does not read it has to do without.
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(&out)).await;
            return;
        };
        connection::run(&self.0, stream, listener, peer, lane).await;
    }

    /// Accepts and reads no more, answers what was begun, and closes all connections within about five seconds.
    pub async fn stop(&self) {
        self.0.is_stopping.send_replace(true);
        self.0.lanes.end().await;
    }
}
