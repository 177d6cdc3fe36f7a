//! Nodes that are linked: what is written at one is everywhere, and acknowledged as it was asked for.

use std::time::Duration;

use weir_facts::{Agreement, NodeConfig, NodeError, PeersConfig, protocol::Ack};

use crate::peers_support::{Member, Plane, equal, id, linked, run, until};

#[test]
fn what_is_written_at_one_shows_at_all() {
    run(async {
        let plane = Plane::new("acme");
        let members = plane.found(4).await;
        for (number, member) in members.iter().enumerate() {
            member.put(&format!("approvals.from-{number}"), "{\"by\":\"alice\"}").await;
        }
        for member in &members {
            for number in 0..4 {
                let name = format!("approvals.from-{number}");
                until("it shows", async || member.value(&name).is_some()).await;
            }
        }
        members[2].delete("approvals.from-0").await;
        for member in &members {
            until("it is gone", async || member.value("approvals.from-0").is_none()).await;
        }
        equal(&members).await;
    });
}

/// Only the first is known to the others, which find each other.
#[test]
fn status_tells_of_each_peer() {
    run(async {
        let plane = Plane::new("acme");
        let members = plane.found(3).await;
        members[1].put("approvals.a", "1").await;
        equal(&members).await;
        until("all were heard of and agree", async || {
            let status = members[0].peers.status().await.unwrap();
            let members = status.peers.iter().filter_map(|peer| peer.member.as_ref());
            members.filter(|member| member.agreement == Agreement::Same && member.heard_ms.is_some()).count() == 2
        })
        .await;
        let status = members[0].peers.status().await.unwrap();
        assert_eq!(status.replication.lag, []);
        assert!(status.replication.is_serving && status.replication.joining.is_none());
        for peer in &status.peers {
            let member = peer.member.as_ref().unwrap();
            assert_eq!((member.is_serving, peer.last_error.as_deref()), (Some(true), None), "{peer:?}");
            assert!(peer.sent > 0 && peer.received > 0 && peer.links > 0 && peer.dropped == 0, "{peer:?}");
            assert_eq!(member.lag, []);
        }
    });
}

#[test]
fn a_replicated_write_waits_for_as_many_nodes_as_it_names() {
    run(async {
        let plane = Plane::new("acme");
        let members = plane.found(3).await;
        for wanted in [1, 2] {
            let name = format!("approvals.for-{wanted}");
            members[0].put_with(&name, "1", Ack::Replicated(wanted)).await.unwrap();
            let elsewhere = members[1..].iter().filter(|member| member.value(&name).is_some()).count();
            assert!(elsewhere >= usize::from(wanted), "{elsewhere} {wanted}");
        }
        let refused = members[0].put_with("approvals.three", "1", Ack::Replicated(3)).await.unwrap_err();
        assert!(matches!(refused, NodeError::NoPeers { wanted: 3, members: 2 }), "{refused}");
        assert_eq!(members[0].value("approvals.three"), None, "nothing was written");
    });
}

#[test]
fn a_replicated_write_that_nobody_confirms_times_out_and_is_told_who_has_it() {
    run(async {
        let plane = Plane::new("acme");
        let config = NodeConfig { request_timeout: Duration::from_millis(700), ..plane.node_config("n0") };
        let first = Member::start(config, PeersConfig::gossip(plane.gossip("n0", &[]))).await;
        let second = plane.start("n1", &[first.address()]).await;
        let members = [first, second];
        linked(&members).await;
        let [first, second] = members;
        first.put_with("approvals.a", "1", Ack::Replicated(1)).await.unwrap();
        second.stop().await;
        let late = first.put_with("approvals.b", "1", Ack::Replicated(1)).await.unwrap_err();
        assert!(matches!(late, NodeError::NotReplicated { wanted: 1, have: 0 }), "{late}");
        assert_eq!(first.value("approvals.b").as_deref(), Some("1"), "it was written here");
    });
}

/// A member that is away stays one, and comes back to what it missed.
#[test]
fn a_node_that_restarts_catches_up() {
    run(async {
        let plane = Plane::new("acme");
        let mut members = plane.found(3).await;
        let seed = members[0].address();
        members.pop().unwrap().stop().await;
        for number in 0..50 {
            members[number % 2].put(&format!("approvals.k{number}"), "1").await;
        }
        let status = members[0].peers.status().await.unwrap();
        assert!(status.peers.iter().any(|peer| peer.node == id("n2") && peer.member.is_some()), "it is still a member");
        members.push(plane.start("n2", &[seed]).await);
        equal(&members).await;
        assert_eq!(members[2].value("approvals.k49").as_deref(), Some("1"));
    });
}
