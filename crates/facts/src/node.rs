//! A running node: one thread at a time owns the [`Replica`](crate::Replica) and applies what clients write, another makes
//! it durable, and readers read on their own threads.
//!
//! Invariants:
//! - Nobody waits for the disk but who asked to: the writer goes on applying while a group of commits becomes durable.
//! - What is acknowledged as durable, and what subscribers are told, was made durable before.
//! - What clients can make wait here is bounded, in number and in bytes: what is beyond is refused as overload.
//! - Nothing that reads or subscribes can stop the writer, nor can who carries messages to other nodes.

mod alarms;
mod disk;
mod exchange;
mod freshness;
mod group;
mod hub;
mod job;
mod mailbox;
mod measures;
mod namespaces;
mod opening;
mod plane;
mod reading;
mod replication;
mod subscription;
mod turns;
mod waiting;
mod writer;

use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

pub use self::{
    alarms::Alarms,
    hub::Told,
    job::{Acknowledge, Applied, NodeError, Outcomes, Work},
    measures::Measures,
    namespaces::Namespaces,
    opening::NodeOpenError,
    plane::{MessagePlane, PeerMessage},
    replication::{Agreement, Joining, Lag, MemberStatus, Repaired, Replication},
    subscription::{From, News, Subscription},
};
use self::{
    job::{Command, Job},
    mailbox::Mailbox,
    measures::About,
    turns::Turns,
    waiting::WaitingRoom,
};
use crate::{
    causality::NodeId,
    clock::Millis,
    protocol::{Ack, BATCH_MAX, Cursor as WireCursor},
    replica::{Config, Counts, Cursor, Rules},
    store::{Reader, Settings},
};

/// How a node is kept and bounded.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub store: Settings,
    pub replica: Config,
    pub namespaces: Namespaces,
    /// The other nodes, as far as they are known before they are heard of: nothing is forgotten that one of them may
    /// lack. Used when none are recorded.
    pub members: Vec<NodeId>,
    /// Most requests that wait for the writer.
    pub queue_requests: usize,
    /// Most bytes of keys and values that wait for the writer.
    pub queue_bytes: usize,
    /// Most bytes of other nodes' messages that wait for the writer; those who bring more wait.
    pub delivered_bytes: usize,
    /// Requests that the writer applies before it looks what else there is.
    pub group_max: usize,
    /// How long a request may take before it is answered with a timeout. One that was not begun is then not done; one
    /// that waits for the disk is done, and may be lost in a crash.
    pub request_timeout: Duration,
    /// Between looks at what time brings.
    pub tick: Duration,
    /// Events that wait for one subscriber; one that is further behind is reset and catches up.
    pub subscriber_events: usize,
    /// Bytes of events that wait for one subscriber, about.
    pub subscriber_bytes: usize,
}

impl NodeConfig {
    #[must_use]
    pub fn new(store: Settings, mut replica: Config) -> NodeConfig {
        replica.limits.batch_keys = BATCH_MAX;
        NodeConfig {
            store,
            replica,
            namespaces: Namespaces::default(),
            members: Vec::new(),
            queue_requests: 16_384,
            queue_bytes: 64 << 20,
            delivered_bytes: 8 << 20,
            group_max: 256,
            request_timeout: Duration::from_secs(30),
            tick: Duration::from_millis(100),
            subscriber_events: 4_096,
            subscriber_bytes: 2 << 20,
        }
    }
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it answers readers and takes writes.
    pub is_serving: bool,
    /// Why it takes no writes until it is started anew.
    pub failure: Option<String>,
    /// Requests that wait for the writer.
    pub queued: usize,
    /// Alarms of the replica since the start.
    pub alarms: Alarms,
}

/// What readers see at least, and how it is called on the wire, made when it is first asked for.
#[derive(Debug)]
pub struct Seen {
    pub cursor: Cursor,
    on_the_wire: OnceLock<Option<WireCursor>>,
}

impl Seen {
    fn new(cursor: Cursor) -> Seen {
        Seen { cursor, on_the_wire: OnceLock::new() }
    }

    pub(crate) fn wire_cursor(&self, encode: impl FnOnce(&Cursor) -> Option<WireCursor>) -> Option<WireCursor> {
        self.on_the_wire.get_or_init(|| encode(&self.cursor)).clone()
    }
}

/// What the writer and the readers have in common.
struct Shared {
    rules: Arc<dyn Rules>,
    reader: Reader,
    mailbox: Mailbox,
    turns: Turns,
    waiting: WaitingRoom,
    /// The time of the replica's clock, in milliseconds since 1970.
    clock: AtomicU64,
    is_serving: AtomicBool,
    /// All of it shows to readers.
    seen: RwLock<Arc<Seen>>,
    in_step: Mutex<freshness::InStep>,
    alarms: alarms::AlarmCounters,
    /// Who carries messages to other nodes.
    plane: RwLock<Option<Arc<dyn MessagePlane>>>,
    failure: Mutex<Option<String>>,
    about: About,
    /// As of the writer's last look at the time.
    counts: Mutex<Counts>,
    request_timeout: Duration,
    subscriber_events: usize,
    subscriber_bytes: usize,
    /// Counts subscriptions, to tell them apart.
    subscriptions: AtomicU64,
}

impl Shared {
    fn fail(&self, reason: impl fmt::Display) {
        self.failure.lock().get_or_insert_with(|| reason.to_string());
    }

    /// Nothing is taken any more.
    fn close(&self) {
        self.is_serving.store(false, Ordering::Release);
        self.mailbox.close();
    }
}

/// A handle to a running node, cheap to clone. The node stops when [`stop`](Node::stop) is called, or soon after the
/// last handle is gone.
#[derive(Clone)]
pub struct Node(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.mailbox.close();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the store and begins to serve.
    ///
    /// # Errors
    /// [`NodeOpenError`].
    pub fn open(config: NodeConfig) -> Result<Node, NodeOpenError> {
        let (shared, threads) = opening::open(config)?;
        Ok(Node(Arc::new(Handle { shared, threads: Mutex::new(threads) })))
    }

    /// Hands work to the writer in the order of the calls, and has `done` called once with what came of it, on whichever
    /// thread knows it, so it must not wait for anything.
    pub fn submit(&self, work: Work, ack: Ack, done: Acknowledge) {
        self.push(work, ack, done, false);
    }

    /// As [`submit`](Node::submit), but the writer may leave it until [`end_burst`](Node::end_burst), so that what comes at
    /// once is written at once. The caller ends a burst after it, and another soon after `done` was called.
    pub(crate) fn submit_in_burst(&self, work: Work, ack: Ack, done: Acknowledge) {
        self.push(work, ack, done, true);
    }

    /// Writes what was asked for, if nobody else does.
    pub(crate) fn end_burst(&self) {
        self.0.shared.turns.take_some(&self.0.shared);
    }

    fn push(&self, work: Work, ack: Ack, done: Acknowledge, is_in_burst: bool) {
        let deadline = Instant::now() + self.0.shared.request_timeout;
        let bytes = work.bytes();
        self.0.shared.mailbox.push(Command::Write(Job { work, ack, deadline, is_in_burst, done }), bytes, !is_in_burst);
    }

    /// Writes, and waits until it is acknowledged.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn write(&self, work: Work, ack: Ack) -> Result<Applied, NodeError> {
        let (told, answer) = oneshot::channel();
        self.submit(work, ack, Box::new(move |outcome| drop(told.send(outcome))));
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// Whether it answers readers and takes writes.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.0.shared.is_serving.load(Ordering::Acquire)
    }

    /// What readers see at least.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.0.shared.seen.read())
    }

    /// How old this node's knowledge of other nodes' facts may be, in milliseconds: since it was last in step with every
    /// member. 0 where there are no others.
    #[must_use]
    pub fn staleness_ms(&self) -> u64 {
        self.0.shared.in_step.lock().staleness_ms(Instant::now())
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &*self.0.shared;
        Health {
            is_serving: self.is_serving(),
            failure: shared.failure.lock().clone(),
            queued: shared.mailbox.len(),
            alarms: shared.alarms.read(),
        }
    }

    /// Takes no more work, finishes what waits, and marks the store as stopped cleanly. Blocks until then.
    ///
    /// # Errors
    /// [`NodeError::Failed`]: the store could not be marked; the node goes on under another name.
    pub fn stop(&self) -> Result<(), NodeError> {
        self.0.shared.mailbox.close();
        let threads = std::mem::take(&mut *self.0.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                self.0.shared.fail("a thread of the node ended unexpectedly");
            }
        }
        match &*self.0.shared.failure.lock() {
            None => Ok(()),
            Some(reason) => Err(NodeError::Failed { reason: reason.clone() }),
        }
    }
}

/// This machine's clock.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// From seconds of the wire.
pub(crate) fn ttl_ms(seconds: Option<u64>) -> Option<NonZeroU64> {
    seconds.and_then(|seconds| NonZeroU64::new(seconds.saturating_mul(1_000)))
}
