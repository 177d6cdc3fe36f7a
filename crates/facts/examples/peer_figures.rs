//! Figures of nodes that replicate, in one process, over real sockets with real certificates, each with its own store that
//! syncs to the disk.
//!
//! ```text
//! peer_figures latency <gossip|pubsub|hybrid> <peers> <writes> [nats://host:port]   a broker has to run for the last two
//! peer_figures join <facts>
//! ```
//! `latency`: how long after its acknowledgement a write shows on all peers. `join`: how long a new node takes to have all
//! facts of another, and what it does to a client that writes meanwhile. Each prints one line of JSON.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement fails by panicking"
)]

use std::time::{Duration, Instant, SystemTime};

use weir_facts::{
    Config, Credentials, FactKey, GossipConfig, JsonText, Node, NodeConfig, NodeId, Operation, Peers, PeersConfig,
    PlaneKey, PlaneName, PubSubConfig, Settings, Start, Work, WriteFact, create_plane_authority, issue_certificate,
    protocol::Ack,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOOK_EVERY: Duration = Duration::from_micros(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.as_slice() {
        ["latency", mode, peers, writes, rest @ ..] => {
            let broker = rest.first().copied().unwrap_or("nats://127.0.0.1:4222");
            runtime.block_on(latency(mode, peers.parse().unwrap(), writes.parse().unwrap(), broker));
        }
        ["join", facts] => runtime.block_on(join(facts.parse().unwrap())),
        other => panic!("latency or join, not {other:?}"),
    }
}

/// A plane on this machine, and where its nodes live.
struct Plane {
    folder: tempfile::TempDir,
    name: PlaneName,
    broker: String,
}

type Member = (Node, Peers);

impl Plane {
    fn new(broker: &str) -> Plane {
        let folder = tempfile::tempdir_in(".").unwrap();
        let name = PlaneName::new("measured").unwrap();
        create_plane_authority(&folder.path().join("authority"), &name).unwrap();
        PlaneKey::create(&folder.path().join("plane.key")).unwrap();
        Plane { folder, name, broker: broker.to_owned() }
    }

    async fn member(&self, mode: &str, number: usize, start: Start, seed: Option<&Member>) -> Member {
        let node = NodeId::new(&format!("n{number}")).unwrap();
        let (authority, home) = (self.folder.path().join("authority"), self.folder.path().join(node.as_str()));
        let store = Settings { room_kept: 0, ..Settings::new(home.join("facts")) };
        let day = Duration::from_secs(86_400);
        let (chain, secret) = issue_certificate(&authority, &self.name, &node, SystemTime::now(), day, &home).unwrap();
        let seed = seed.and_then(|(_, peers)| peers.listening());
        let gossip = GossipConfig {
            credentials: Credentials::read(&authority.join("ca.crt"), &chain, &secret).unwrap(),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            seeds: seed.iter().map(ToString::to_string).collect(),
        };
        let pubsub = PubSubConfig {
            plane: self.name.clone(),
            keys: vec![PlaneKey::read(&self.folder.path().join("plane.key")).unwrap()],
            servers: vec![self.broker.parse().unwrap()],
            authority: None,
        };
        let config = match mode {
            "gossip" => PeersConfig::gossip(gossip),
            "pubsub" => PeersConfig::pubsub(pubsub),
            "hybrid" => PeersConfig::hybrid(gossip, pubsub),
            other => panic!("no mode `{other}`"),
        };
        let node = Node::open(NodeConfig::new(store, Config { start, ..Config::new(node) })).unwrap();
        (node.clone(), Peers::start(node, config).await.unwrap())
    }
}

fn put(number: usize) -> WriteFact {
    let key = FactKey::new(&format!("approvals.deploy-{number}")).unwrap();
    let json = JsonText::new("{\"approvers\":[\"alice\",\"bob\"],\"required\":2}").unwrap();
    WriteFact { key, operation: Operation::Put { json, ttl_ms: None }, precondition: None }
}

async fn stop(members: Vec<Member>) {
    for (node, peers) in members {
        peers.stop();
        drop(peers);
        tokio::task::spawn_blocking(move || node.stop().unwrap()).await.unwrap();
    }
}

/// Milliseconds at some shares of the times.
fn quantiles(times: &mut [Duration]) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.99, 1.0].map(|share| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3)
}

async fn latency(mode: &str, peers: usize, writes: usize, broker: &str) {
    let plane = Plane::new(broker);
    let mut members: Vec<Member> = Vec::new();
    for number in 0..=peers {
        let member = plane.member(mode, number, Start::Founding, members.first()).await;
        members.push(member);
    }
    for (node, _) in &members {
        while node.replication().await.unwrap().members.iter().filter(|member| member.heard_ms.is_some()).count()
            < peers
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Until a broker knows all of them, links carry what it would.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let others: Vec<Node> = members.iter().skip(1).map(|(node, _)| node.clone()).collect();
    let (mut acknowledged, mut visible) = (Vec::new(), Vec::new());
    for number in 0..writes {
        let write = put(number);
        let key = write.key.clone();
        let began = Instant::now();
        members[0].0.write(Work::All(vec![write]), Ack::Durable).await.unwrap();
        acknowledged.push(began.elapsed());
        let began = Instant::now();
        while !others.iter().all(|node| node.get(&key).unwrap().is_some()) {
            std::thread::sleep(LOOK_EVERY);
        }
        visible.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ([ack_p50, ack_p99, _], [p50, p99, max]) = (quantiles(&mut acknowledged), quantiles(&mut visible));
    println!(
        "{{\"acknowledged_p50_ms\":{ack_p50:.3},\"acknowledged_p99_ms\":{ack_p99:.3},\"visible_p50_ms\":{p50:.3},\
         \"visible_p99_ms\":{p99:.3},\"visible_max_ms\":{max:.3}}}"
    );
    stop(members).await;
}

async fn join(facts: usize) {
    let plane = Plane::new("nats://127.0.0.1:4222");
    let first = plane.member("gossip", 0, Start::Founding, None).await;
    for from in (0..facts).step_by(1_000) {
        let writes = (from..facts.min(from + 1_000)).map(put).collect();
        first.0.write(Work::All(writes), Ack::Applied).await.unwrap();
    }
    let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
    let writer = first.0.clone();
    let writing = tokio::spawn(async move {
        let (mut times, mut number) = (Vec::new(), 0);
        while is_done.try_recv().is_err() {
            let began = Instant::now();
            writer.write(Work::All(vec![put(number % facts)]), Ack::Durable).await.unwrap();
            times.push(began.elapsed());
            number += 7;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times
    });
    let began = Instant::now();
    let second = plane.member("gossip", 1, Start::Joining, Some(&first)).await;
    while !second.0.is_serving() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let joined = began.elapsed().as_secs_f64();
    done.send(()).unwrap();
    let [p50, p99, max] = quantiles(&mut writing.await.unwrap());
    while first.0.replication().await.unwrap().root != second.0.replication().await.unwrap().root {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let equal = began.elapsed().as_secs_f64();
    println!(
        "{{\"facts\":{facts},\"joined_s\":{joined:.2},\"equal_s\":{equal:.2},\"put_meanwhile_p50_ms\":{p50:.3},\
         \"put_meanwhile_p99_ms\":{p99:.3},\"put_meanwhile_max_ms\":{max:.3}}}"
    );
    stop(vec![first, second]).await;
}
