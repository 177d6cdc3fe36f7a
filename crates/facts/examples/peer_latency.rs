//! How long after its acknowledgement a write shows on other nodes: nodes in one process, over real sockets with real
//! certificates, each with its own store that syncs to the disk.
//!
//! `peer_latency <gossip|pubsub|hybrid> <peers> <writes> [nats://host:port]`; a broker has to run for the last two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement fails by panicking"
)]

use std::time::{Duration, Instant, SystemTime};

use weir_facts::{
    Config, Credentials, FactKey, GossipConfig, Node, NodeConfig, NodeId, Operation, Peers, PeersConfig, PlaneKey,
    PlaneName, PubSubConfig, Settings, Work, WriteFact, create_plane_authority, issue_certificate, protocol::Ack,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOOK_EVERY: Duration = Duration::from_micros(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, peers, writes, rest @ ..] = arguments.as_slice() else { panic!("mode, peers and writes are needed") };
    let broker = rest.first().map_or("nats://127.0.0.1:4222", String::as_str);
    let (peers, writes): (usize, usize) = (peers.parse().unwrap(), writes.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(mode, peers, writes, broker));
}

async fn measure(mode: &str, peers: usize, writes: usize, broker: &str) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let plane = PlaneName::new("measured").unwrap();
    let authority = folder.path().join("authority");
    create_plane_authority(&authority, &plane).unwrap();
    let key = folder.path().join("plane.key");
    PlaneKey::create(&key).unwrap();
    let mut members: Vec<(Node, Peers)> = Vec::new();
    for number in 0..=peers {
        let node = NodeId::new(&format!("n{number}")).unwrap();
        let home = folder.path().join(node.as_str());
        let store = Settings { room_kept: 0, ..Settings::new(home.join("facts")) };
        let day = Duration::from_secs(86_400);
        let (chain, secret) = issue_certificate(&authority, &plane, &node, SystemTime::now(), day, &home).unwrap();
        let seed = members.first().and_then(|(_, peers)| peers.listening());
        let gossip = GossipConfig {
            credentials: Credentials::read(&authority.join("ca.crt"), &chain, &secret).unwrap(),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            seeds: seed.iter().map(ToString::to_string).collect(),
        };
        let pubsub = PubSubConfig {
            plane: plane.clone(),
            keys: vec![PlaneKey::read(&key).unwrap()],
            servers: vec![broker.parse().unwrap()],
            authority: None,
        };
        let config = match mode {
            "gossip" => PeersConfig::gossip(gossip),
            "pubsub" => PeersConfig::pubsub(pubsub),
            "hybrid" => PeersConfig::hybrid(gossip, pubsub),
            other => panic!("no mode `{other}`"),
        };
        let node = Node::open(NodeConfig::new(store, Config::new(node))).unwrap();
        members.push((node.clone(), Peers::start(node, config).await.unwrap()));
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
        let key = FactKey::new(&format!("approvals.deploy-{number}")).unwrap();
        let operation =
            Operation::Put { json: "{\"approvers\":[\"alice\",\"bob\"],\"required\":2}".into(), ttl_ms: None };
        let write = WriteFact { key: key.clone(), operation, precondition: None };
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
    for (what, times) in [("acknowledged after", &mut acknowledged), ("visible at all after that", &mut visible)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{mode}, {peers} peers, {writes} writes: {what} p50 {:.3} ms, p90 {:.3}, p99 {:.3}, max {:.3}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    for (node, peers) in members {
        peers.stop();
        drop(peers);
        tokio::task::spawn_blocking(move || node.stop().unwrap()).await.unwrap();
    }
}
