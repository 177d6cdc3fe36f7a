//! Networks that are cut while all write: afterwards nothing is lost.

use std::time::Duration;

use tokio::time::sleep;
use weir_facts::{PeersConfig, protocol::Ack};

use crate::peers_support::{Gate, Line, Member, Plane, equal, gated, linked, put, run, until};

async fn cluster(plane: &Plane, count: usize) -> (Vec<Member>, Vec<Gate>) {
    let (first, gate) = gated(plane, "n0", &[]).await;
    let (mut members, mut gates) = (vec![first], vec![gate]);
    for number in 1..count {
        let (member, gate) = gated(plane, &format!("n{number}"), &[gates[0].address]).await;
        members.push(member);
        gates.push(gate);
    }
    linked(&members).await;
    (members, gates)
}

async fn all_write(members: &[Member], round: usize) {
    for number in 0..20 {
        for (at, member) in members.iter().enumerate() {
            member.put(&format!("approvals.r{round}-n{at}-k{number}"), "true").await;
            // All write this one: one of them wins, everywhere the same.
            member.put("approvals.contended", &format!("\"n{at}-{number}\"")).await;
        }
    }
}

fn check_all_there(members: &[Member], rounds: usize) {
    for member in members {
        for round in 0..rounds {
            for at in 0..members.len() {
                for number in 0..20 {
                    let name = format!("approvals.r{round}-n{at}-k{number}");
                    assert_eq!(member.value(&name).as_deref(), Some("true"), "{name}");
                }
            }
        }
    }
    let contended: Vec<_> = members.iter().map(|member| member.value("approvals.contended")).collect();
    assert!(contended.windows(2).all(|pair| pair[0] == pair[1]), "{contended:?}");
}

#[test]
fn what_both_sides_of_a_cut_wrote_is_everywhere_once_it_heals() {
    run(async {
        let plane = Plane::new("acme");
        let (members, gates) = cluster(&plane, 3).await;
        for (round, line) in [Line::Down, Line::Silent].into_iter().enumerate() {
            gates.iter().for_each(|gate| gate.set(line));
            all_write(&members, round).await;
            sleep(Duration::from_secs(if line == Line::Silent { 5 } else { 1 })).await;
            let there = members[1].value(&format!("approvals.r{round}-n0-k0"));
            assert_eq!(there, None, "the network is cut");
            gates.iter().for_each(|gate| gate.set(Line::Up));
            equal(&members).await;
            check_all_there(&members, round + 1);
        }
        let status = members[0].peers.status().await.unwrap();
        assert!(status.peers.iter().all(|peer| peer.links > 1), "{status:?}");
    });
}

/// The second node's line is silent: what waits for it is bounded, and the third hears all at once.
#[test]
fn a_slow_peer_keeps_neither_the_writer_nor_others_waiting() {
    run(async {
        let plane = Plane::new("acme");
        let mut config = PeersConfig::gossip(plane.gossip("n0", &[]));
        config.queue_bytes = 64 << 10;
        let first = Member::start(plane.node_config("n0"), config).await;
        let (slow, gate) = gated(&plane, "n1", &[first.address()]).await;
        let third = plane.start("n2", &[first.address()]).await;
        let members = [first, slow, third];
        linked(&members).await;
        gate.set(Line::Silent);
        let large = format!("\"{}\"", "x".repeat(16 << 10));
        for number in 0..400 {
            members[0].put(&format!("approvals.k{number}"), &large).await;
        }
        until("the third has all", async || members[2].value("approvals.k399").is_some()).await;
        assert_eq!(members[1].value("approvals.k399"), None);
        let replicated = members[0].put_with("approvals.last", "1", Ack::Replicated(1)).await;
        assert!(replicated.is_ok(), "{replicated:?}");
        gate.set(Line::Up);
        equal(&members).await;
        assert_eq!(members[1].value("approvals.k0").as_deref(), Some(large.as_str()));
    });
}

#[test]
fn writes_that_find_no_room_are_counted_and_come_all_the_same() {
    run(async {
        let plane = Plane::new("acme");
        let mut config = PeersConfig::gossip(plane.gossip("n0", &[]));
        config.queue_bytes = 4 << 10;
        let first = Member::start(plane.node_config("n0"), config).await;
        let second = plane.start("n1", &[first.address()]).await;
        let members = [first, second];
        linked(&members).await;
        let value = format!("\"{}\"", "x".repeat(1 << 10));
        // Writes of one key are commits of their own, and are told together when the disk has them.
        let work = |number: usize| weir_facts::Work::All(vec![put(&format!("approvals.k{}", number / 8), &value)]);
        let (told, mut answered) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..2_000 {
            let told = told.clone();
            members[0].node.submit(
                work(number),
                Ack::Durable,
                Box::new(move |outcome| drop(told.send(outcome.map(drop)))),
            );
        }
        for _ in 0..2_000 {
            answered.recv().await.unwrap().unwrap();
        }
        // Other nodes are told of the last of them a moment later.
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let status = members[0].peers.status().await.unwrap();
            if status.peers[0].dropped > 0 {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "{status:?}");
            sleep(Duration::from_millis(10)).await;
        }
        equal(&members).await;
        assert!((0..2_000 / 8).all(|number| members[1].value(&format!("approvals.k{number}")).is_some()));
    });
}
