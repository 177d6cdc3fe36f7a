//! Nodes that are linked over real sockets with real certificates, and a network between them that can be cut.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};
use weir_facts::{
    Applied, Config, Credentials, GossipConfig, JsonText, Node, NodeConfig, NodeError, NodeId, Operation, Peers,
    PeersConfig, PlaneName, Settings, Start, Work, WriteFact, create_plane_authority, issue_certificate, protocol::Ack,
};

use crate::store_support::key;

pub const PATIENCE: Duration = Duration::from_secs(30);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub fn plane(name: &str) -> PlaneName {
    PlaneName::new(name).unwrap()
}

/// Runs a test's future where sockets and timers are.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// A plane's authority, and the folders of its nodes.
pub struct Plane {
    pub folder: TempDir,
    pub name: PlaneName,
}

impl Plane {
    pub fn new(name: &str) -> Plane {
        let folder = tempfile::tempdir().unwrap();
        let name = plane(name);
        create_plane_authority(&folder.path().join("authority"), &name).unwrap();
        Plane { folder, name }
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority")
    }

    pub fn credentials(&self, node: &str) -> Credentials {
        self.issue(node, SystemTime::now())
    }

    pub fn issue(&self, node: &str, now: SystemTime) -> Credentials {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let (certificate, key) =
            issue_certificate(&self.authority(), &self.name, &id(node), now, YEAR, folder.path()).unwrap();
        Credentials::read(&self.authority().join("ca.crt"), &certificate, &key).unwrap()
    }

    pub fn node_config(&self, node: &str) -> NodeConfig {
        let store = Settings { room_kept: 0, ..Settings::new(self.folder.path().join(node)) };
        NodeConfig::new(store, Config::new(id(node)))
    }

    pub fn gossip(&self, node: &str, seeds: &[SocketAddr]) -> GossipConfig {
        GossipConfig {
            credentials: self.credentials(node),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            seeds: seeds.iter().map(ToString::to_string).collect(),
        }
    }

    /// A node of this plane that asks at these addresses.
    pub async fn start(&self, node: &str, seeds: &[SocketAddr]) -> Member {
        Member::start(self.node_config(node), PeersConfig::gossip(self.gossip(node, seeds))).await
    }

    pub async fn join(&self, node: &str, seeds: &[SocketAddr]) -> Member {
        let mut config = self.node_config(node);
        config.replica.start = Start::Joining;
        Member::start(config, PeersConfig::gossip(self.gossip(node, seeds))).await
    }

    /// So many nodes, all of which know the first.
    pub async fn found(&self, count: usize) -> Vec<Member> {
        let mut members = vec![self.start("n0", &[]).await];
        for number in 1..count {
            let seed = members[0].address();
            members.push(self.start(&format!("n{number}"), &[seed]).await);
        }
        linked(&members).await;
        members
    }
}

pub struct Member {
    pub node: Node,
    pub peers: Peers,
}

impl Member {
    pub async fn start(node: NodeConfig, peers: PeersConfig) -> Member {
        let node = Node::open(node).unwrap();
        let peers = Peers::start(node.clone(), peers).await.unwrap();
        Member { node, peers }
    }

    pub fn address(&self) -> SocketAddr {
        self.peers.listening().unwrap()
    }

    pub async fn put(&self, name: &str, json: &str) -> Applied {
        self.put_with(name, json, Ack::Durable).await.unwrap()
    }

    pub async fn put_with(&self, name: &str, json: &str, ack: Ack) -> Result<Applied, NodeError> {
        self.node.write(Work::All(vec![put(name, json)]), ack).await
    }

    pub async fn delete(&self, name: &str) {
        let write = WriteFact { key: key(name), operation: Operation::Delete, precondition: None };
        self.node.write(Work::All(vec![write]), Ack::Durable).await.unwrap();
    }

    /// `None` too while it answers no readers.
    pub fn value(&self, name: &str) -> Option<String> {
        self.node.get(&key(name)).ok().flatten().map(|found| found.value.to_string())
    }

    pub async fn root(&self) -> (u64, u128) {
        let (epoch, sum) = self.node.replication().await.unwrap().root;
        (epoch.0, sum)
    }

    pub async fn stop(self) {
        self.peers.stop();
        tokio::task::spawn_blocking(move || self.node.stop().unwrap()).await.unwrap();
    }
}

pub fn put(name: &str, json: &str) -> WriteFact {
    WriteFact {
        key: key(name),
        operation: Operation::Put { json: JsonText::new(json).unwrap(), ttl_ms: None },
        precondition: None,
    }
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "still not so: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Until each has a link to each other and back.
pub async fn linked(members: &[Member]) {
    for member in members {
        until("all are linked", async || {
            let status = member.peers.status().await.unwrap();
            let linked = status.peers.iter().filter(|peer| peer.is_connected && peer.is_linked_from && peer.is_alive);
            linked.count() == members.len() - 1
        })
        .await;
    }
}

/// Until all show the same, at one epoch.
pub async fn equal(members: &[Member]) {
    until("all roots are equal", async || {
        let mut roots = BTreeMap::new();
        for member in members {
            roots.entry(member.root().await).or_insert(0);
        }
        let applied = members[0].node.replication().await.unwrap().applied;
        let mut same = roots.len() == 1;
        for member in members {
            same &= member.node.replication().await.unwrap().applied == applied;
        }
        same
    })
    .await;
}

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Up,
    /// Connections break, and new ones are not taken.
    Down,
    /// Nothing gets through and nobody is told.
    Silent,
}

/// Stands before a node: others call it there.
pub struct Gate {
    pub address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Gate {
    /// To a listener that may come later.
    pub async fn new() -> (Gate, watch::Sender<Option<SocketAddr>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, state) = watch::channel(Line::Up);
        let (target, to) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, to) = (state.clone(), *to.borrow());
                if *state.borrow() != Line::Down
                    && let Some(to) = to
                {
                    tokio::spawn(forward(stream, to, state));
                }
            }
        });
        (Gate { address, line }, target)
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn forward(from: TcpStream, to: SocketAddr, mut line: watch::Receiver<Line>) {
    let Ok(to) = TcpStream::connect(to).await else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let (from, to) = (Arc::new(from), Arc::new(to));
    let ways = [tokio::spawn(pass(from.clone(), to.clone(), line.clone())), tokio::spawn(pass(to, from, line.clone()))];
    let _ = line.wait_for(|line| *line == Line::Down).await;
    ways.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What came while the line was silent is lost, and with it the connection.
async fn pass(from: Arc<TcpStream>, to: Arc<TcpStream>, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(()) = from.readable().await else { return };
        if *line.borrow() == Line::Silent {
            let _ = line.wait_for(|line| *line != Line::Silent).await;
            return;
        }
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let Ok(()) = to.writable().await else { return };
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// A node that others reach only through its gate.
pub async fn gated(plane: &Plane, node: &str, seeds: &[SocketAddr]) -> (Member, Gate) {
    let (gate, target) = Gate::new().await;
    let mut gossip = plane.gossip(node, seeds);
    gossip.advertise = Some(gate.address.to_string());
    let member = Member::start(plane.node_config(node), PeersConfig::gossip(gossip)).await;
    target.send_replace(Some(member.address()));
    (member, gate)
}

pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
