//! Nodes that come late, stay away long, or are removed.

use std::time::Duration;

use tokio::time::sleep;
use weir_facts::{NodeConfig, NodeError, PeersConfig, Work, protocol::Ack};

use crate::peers_support::{Member, Plane, equal, id, linked, put, run, until};

#[test]
fn a_node_that_joins_gets_all_there_is_and_then_what_comes() {
    run(async {
        let plane = Plane::new("acme");
        let mut members = plane.found(2).await;
        for batch in 0..5 {
            let writes = (0..1_000).map(|number| put(&format!("facts.b{batch}-k{number}"), "[1,2,3]")).collect();
            members[batch % 2].node.write(Work::All(writes), Ack::Durable).await.unwrap();
        }
        let seed = members[0].address();
        let late = plane.join("n2", &[seed]).await;
        members.push(late);
        members[0].put("facts.meanwhile", "1").await;
        until("it serves", async || members[2].node.health().is_serving).await;
        equal(&members).await;
        assert_eq!(members[2].value("facts.b4-k999").as_deref(), Some("[1,2,3]"));
        members[2].put("facts.from-the-new-one", "1").await;
        until("the others have it", async || members[1].value("facts.from-the-new-one").is_some()).await;
        let status = members[2].peers.status().await.unwrap();
        assert!(status.replication.counts.fetches >= 1, "{status:?}");
    });
}

#[test]
fn a_node_that_joins_answers_nobody_before_it_has_all() {
    run(async {
        let plane = Plane::new("acme");
        let alone = plane.join("n0", &[]).await;
        assert!(matches!(alone.node.get(&crate::store_support::key("a.b")), Err(NodeError::Incomplete)));
        let refused = alone.put_with("a.b", "1", Ack::Durable).await.unwrap_err();
        assert!(matches!(refused, NodeError::Incomplete), "{refused}");
        let status = alone.peers.status().await.unwrap();
        assert_eq!(status.replication.joining.map(|joining| joining.from), Some(None));
    });
}

/// Of deletions nothing is remembered longer than this.
fn forgetful(mut config: NodeConfig) -> NodeConfig {
    config.replica.grace_ms = 300;
    config.replica.epoch_ms = 1_000;
    config.replica.status_every_ms = 200;
    config
}

async fn start(plane: &Plane, node: &str, seeds: &[std::net::SocketAddr]) -> Member {
    Member::start(forgetful(plane.node_config(node)), PeersConfig::gossip(plane.gossip(node, seeds))).await
}

#[test]
fn deletions_are_remembered_for_a_member_that_is_away_until_it_is_removed() {
    run(async {
        let plane = Plane::new("acme");
        let first = start(&plane, "n0", &[]).await;
        let seed = first.address();
        let mut members = vec![first, start(&plane, "n1", &[seed]).await, start(&plane, "n2", &[seed]).await];
        linked(&members).await;
        members[0].put("approvals.revoked", "1").await;
        members[0].put("approvals.kept", "1").await;
        equal(&members).await;
        members.pop().unwrap().stop().await;
        members[1].delete("approvals.revoked").await;
        equal(&members).await;
        // Passes come every five seconds.
        sleep(Duration::from_secs(6)).await;
        for member in &members {
            let replication = member.node.replication().await.unwrap();
            assert_eq!((replication.counts.collected, replication.ended), (0, 1), "{replication:?}");
        }
        let connected = members[0].node.remove_member(id("n1")).await.unwrap_err();
        assert!(matches!(connected, NodeError::StillConnected(_)), "{connected}");
        let unknown = members[0].node.remove_member(id("n7")).await.unwrap_err();
        assert!(matches!(unknown, NodeError::NoMember(_)), "{unknown}");
        until("the link is known to be gone", async || members[0].node.remove_member(id("n2")).await.is_ok()).await;
        until("both have forgotten the deletion", async || {
            let mut forgotten = 0;
            for member in &members {
                let replication = member.node.replication().await.unwrap();
                forgotten += usize::from(replication.counts.collected == 1 && replication.members.len() == 1);
            }
            forgotten == members.len()
        })
        .await;
        // It comes back with what was deleted, and a write that it made alone.
        let config = forgetful(plane.node_config("n2"));
        let node = weir_facts::Node::open(config.clone()).unwrap();
        node.write(Work::All(vec![put("approvals.alone", "1")]), Ack::Durable).await.unwrap();
        tokio::task::spawn_blocking(move || node.stop().unwrap()).await.unwrap();
        let back = Member::start(config, PeersConfig::gossip(plane.gossip("n2", &[seed]))).await;
        members.push(back);
        equal(&members).await;
        for member in &members {
            assert_eq!(member.value("approvals.revoked"), None, "what was deleted stays so");
            assert_eq!(member.value("approvals.kept").as_deref(), Some("1"));
            assert_eq!(member.value("approvals.alone").as_deref(), Some("1"), "and nothing is lost");
        }
        let replication = members[2].node.replication().await.unwrap();
        assert!(replication.counts.fetches >= 1, "it fetched everything: {replication:?}");
    });
}
