//! Nodes that are linked and have a broker too: either may fail.

use weir_facts::PeersConfig;

use crate::{
    peers_broker_support::Broker,
    peers_support::{Gate, Line, Member, Plane, equal, linked, run, until},
};

async fn cluster(broker: &Broker, plane: &Plane, count: usize) -> (Vec<Member>, Vec<Gate>) {
    let (mut members, mut gates) = (Vec::new(), Vec::<Gate>::new());
    for number in 0..count {
        let (gate, target) = Gate::new().await;
        let seeds: Vec<_> = gates.first().map(|gate| gate.address).into_iter().collect();
        let node = format!("n{number}");
        let mut gossip = plane.gossip(&node, &seeds);
        gossip.advertise = Some(gate.address.to_string());
        let config = PeersConfig::hybrid(gossip, broker.config(plane));
        let member = Member::start(plane.node_config(&node), config).await;
        target.send_replace(Some(member.address()));
        members.push(member);
        gates.push(gate);
    }
    linked(&members).await;
    present(&members).await;
    (members, gates)
}

/// Until all hear each other over the broker.
async fn present(members: &[Member]) {
    for member in members {
        until("all are heard over the broker", async || {
            let status = member.peers.status().await.unwrap();
            status.peers.iter().filter(|peer| peer.is_heard_over_broker).count() == members.len() - 1
        })
        .await;
    }
}

async fn check_spreads(members: &[Member], round: &str) {
    for (at, member) in members.iter().enumerate() {
        let name = format!("approvals.{round}-{at}");
        member.put(&name, "1").await;
        for other in members {
            until("it shows", async || other.value(&name).is_some()).await;
        }
    }
}

#[test]
fn writes_go_over_the_broker_and_over_links_while_it_is_dead() {
    run(async {
        let (mut broker, plane) = (Broker::start(), Plane::new("acme"));
        let (members, _gates) = cluster(&broker, &plane, 3).await;
        let sent = async || members[0].peers.status().await.unwrap().broker.unwrap().sent;
        let before = sent().await;
        check_spreads(&members, "both").await;
        assert!(sent().await > before, "writes go over the broker");
        broker.kill();
        check_spreads(&members, "links").await;
        equal(&members).await;
        broker.restart();
        present(&members).await;
        let before = sent().await;
        check_spreads(&members, "again").await;
        assert!(sent().await > before);
        equal(&members).await;
    });
}

#[test]
fn without_links_all_goes_over_the_broker() {
    run(async {
        let (broker, plane) = (Broker::start(), Plane::new("acme"));
        let (members, gates) = cluster(&broker, &plane, 3).await;
        gates.iter().for_each(|gate| gate.set(Line::Down));
        until("no links are left", async || {
            let mut links = 0;
            for member in &members {
                let status = member.peers.status().await.unwrap();
                links += status.peers.iter().filter(|peer| peer.is_connected).count();
            }
            links == 0
        })
        .await;
        check_spreads(&members, "broker").await;
        equal(&members).await;
    });
}

/// What was written while there was nothing is everywhere once there is one of both again.
#[test]
fn either_way_heals_a_full_cut() {
    run(async {
        let (mut broker, plane) = (Broker::start(), Plane::new("acme"));
        let (members, gates) = cluster(&broker, &plane, 3).await;
        for round in ["broker", "links"] {
            broker.kill();
            gates.iter().for_each(|gate| gate.set(Line::Down));
            for (at, member) in members.iter().enumerate() {
                for number in 0..20 {
                    member.put(&format!("approvals.{round}-n{at}-k{number}"), "1").await;
                }
            }
            match round {
                "broker" => broker.restart(),
                _ => gates.iter().for_each(|gate| gate.set(Line::Up)),
            }
            equal(&members).await;
            for member in &members {
                for at in 0..3 {
                    assert!(member.value(&format!("approvals.{round}-n{at}-k19")).is_some());
                }
            }
        }
    });
}
