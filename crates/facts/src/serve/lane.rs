//! Threads that serve connections, each with a runtime of its own: a connection stays on one, so that nothing is handed
//! from thread to thread but what the node's writer has answered, and that many at a time. Decisions have lanes of their
//! own, so that they wait for nobody's writes and reads; those that come over the shared listener have not.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Semaphore, mpsc, oneshot, watch},
    task::coop::unconstrained,
    time::timeout,
};

use super::{
    awake::{AWAKE, Awake},
    outgoing::{Done, Outlet},
};
use crate::{
    node::{Applied, Node, NodeError},
    protocol::{Listener, Plane},
};

/// How long connections may take to end, once they are to.
const END_MAX: Duration = Duration::from_secs(5);

/// How long a thread waits for reads that have begun, once all else has ended.
const READS_END_MAX: Duration = Duration::from_secs(1);

/// Answers taken at once.
const TAKEN_MAX: usize = 256;

/// A write that the node has answered, and whose it is.
pub(super) struct Told {
    pub(super) to: Arc<dyn Outlet>,
    pub(super) done: Done,
    pub(super) outcome: Result<Applied, NodeError>,
}

#[derive(Clone)]
pub(super) struct Lane {
    pub(super) runtime: Handle,
    /// Bounded by the permits of what was asked.
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) awake: Arc<Awake>,
}

/// They end by themselves when the server does.
pub(super) struct Lanes {
    facts: Dealt,
    decisions: Dealt,
    ended: Mutex<Vec<oneshot::Receiver<()>>>,
}

/// Lanes that connections are dealt out to in turn.
#[derive(Default)]
struct Dealt {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

impl Dealt {
    fn next(&self) -> Option<&Lane> {
        let at = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.lanes.len())?;
        self.lanes.get(at)
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (facts, decisions) = (self.facts.lanes.len(), self.decisions.lanes.len());
        f.debug_struct("Lanes").field("facts", &facts).field("decisions", &decisions).finish_non_exhaustive()
    }
}

/// When the threads are to end.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) is_stopping: watch::Receiver<bool>,
    /// Of the connections: all are free when none is left.
    pub(super) connections: Arc<Semaphore>,
    pub(super) connections_max: u32,
}

impl Ending {
    /// Until the server is to stop and its connections have ended, or have had time to.
    pub(super) async fn come(mut self) {
        // Nobody is left who could tell: it is to stop.
        let _ = self.is_stopping.wait_for(|is_stopping| *is_stopping).await;
        let _ = timeout(END_MAX, self.connections.acquire_many(self.connections_max)).await;
    }
}

impl Lanes {
    /// # Errors
    /// The system gives no more threads or files.
    pub(super) fn start(count: usize, node: &Node, ending: &Ending) -> io::Result<Lanes> {
        let mut ended = Vec::new();
        let facts = Lanes::deal(count, node, ending, &mut ended)?;
        let decisions = Lanes::deal(count, node, ending, &mut ended)?;
        Ok(Lanes { facts, decisions, ended: Mutex::new(ended) })
    }

    fn deal(count: usize, node: &Node, ending: &Ending, ended: &mut Vec<oneshot::Receiver<()>>) -> io::Result<Dealt> {
        let mut dealt = Dealt::default();
        // Where there is one processor, whoever is waited for needs it.
        let time =
            if thread::available_parallelism().is_ok_and(|count| count.get() > 1) { AWAKE } else { Duration::ZERO };
        for _ in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let awake = Arc::new(Awake::new(time));
            let (staying, node) = (Arc::clone(&awake), node.clone());
            // What clients sent at once is written at once.
            runtime.spawn(unconstrained(async move { staying.stay(|| node.end_burst()).await }));
            let (told, answered) = mpsc::unbounded_channel();
            let (ends, end) = oneshot::channel();
            let lane = Lane { runtime: runtime.handle().clone(), told, awake };
            dealt.lanes.push(lane.clone());
            ended.push(end);
            let ending = ending.clone();
            thread::Builder::new().name("facts-clients".to_owned()).spawn(move || {
                run(runtime, answered, lane.awake, ending);
                drop(ends);
            })?;
        }
        Ok(dealt)
    }

    /// For one connection more.
    pub(super) fn next(&self, listener: Listener) -> Option<&Lane> {
        match listener {
            Listener::Socket(Plane::Evaluation) => self.decisions.next(),
            Listener::Socket(Plane::Data | Plane::Control) | Listener::Shared => self.facts.next(),
        }
    }

    /// Waits until the threads have ended, and with them all that they served.
    pub(super) async fn end(&self) {
        let ended = std::mem::take(&mut *self.ended.lock());
        for end in ended {
            let _ = timeout(END_MAX + READS_END_MAX * 2, end).await;
        }
    }
}

fn run(runtime: Runtime, answered: mpsc::UnboundedReceiver<Told>, awake: Arc<Awake>, ending: Ending) {
    // Of all connections: how much one has its share of is not for this to count.
    runtime.spawn(unconstrained(tell(answered, awake)));
    runtime.block_on(ending.come());
    runtime.shutdown_timeout(READS_END_MAX);
}

/// Puts answers in words and sends them off, without waking those that asked.
async fn tell(mut answered: mpsc::UnboundedReceiver<Told>, awake: Arc<Awake>) {
    let mut all = Vec::new();
    let mut reached: Vec<Arc<dyn Outlet>> = Vec::new();
    while answered.recv_many(&mut all, TAKEN_MAX).await > 0 {
        awake.works();
        for Told { to, done, outcome } in all.drain(..) {
            if to.answer(done, outcome) {
                reached.push(to);
            }
        }
        reached.drain(..).for_each(|outlet| outlet.flush());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{NodeConfig, NodeId, replica::Config, store::Settings};

    #[test]
    fn decisions_share_no_lane_with_facts() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            NodeConfig::new(Settings::new(folder.path().join("facts")), Config::new(NodeId::new("n1").unwrap()));
        let node = Node::open(config).unwrap();
        let (stops, is_stopping) = watch::channel(false);
        let ending = Ending { is_stopping, connections: Arc::new(Semaphore::new(1)), connections_max: 1 };
        let lanes = Lanes::start(2, &node, &ending).unwrap();
        let dealt = |listener| (0..4).map(|_| lanes.next(listener).unwrap().told.clone()).collect::<Vec<_>>();
        let decisions = dealt(Listener::Socket(Plane::Evaluation));
        assert!(!decisions[0].same_channel(&decisions[1]) && decisions[0].same_channel(&decisions[2]), "in turn");
        for listener in [Listener::Socket(Plane::Data), Listener::Socket(Plane::Control), Listener::Shared] {
            let facts = dealt(listener);
            assert!(!facts.iter().any(|one| decisions.iter().any(|other| one.same_channel(other))), "{listener:?}");
        }
        stops.send_replace(true);
        node.stop().unwrap();
    }
}
