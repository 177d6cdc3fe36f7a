//! Nodes that have nothing between them but a NATS server.

use std::time::Duration;

use tokio::time::sleep;
use weir_facts::{NodeConfig, PeersConfig, PubSubConfig, Start, Work, protocol::Ack};

use crate::{
    peers_broker_support::{Broker, plane_key},
    peers_support::{Member, Plane, equal, id, plane, put, run, until},
};

async fn cluster(broker: &Broker, plane: &Plane, count: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 0..count {
        members.push(broker.member(plane, &format!("n{number}")).await);
    }
    acquainted(&members).await;
    members
}

async fn acquainted(members: &[Member]) {
    for member in members {
        until("all know each other", async || {
            let replication = member.node.replication().await.unwrap();
            let heard = replication.members.iter().filter(|member| member.heard_ms.is_some());
            heard.count() == members.len() - 1
        })
        .await;
    }
}

#[test]
fn what_is_written_at_one_shows_at_all() {
    run(async {
        let (broker, plane) = (Broker::start(), Plane::new("acme"));
        let members = cluster(&broker, &plane, 3).await;
        members[0].put_with("approvals.a", "{\"by\":\"alice\"}", Ack::Replicated(2)).await.unwrap();
        for member in &members {
            assert_eq!(member.value("approvals.a").as_deref(), Some("{\"by\":\"alice\"}"));
        }
        members[1].delete("approvals.a").await;
        for member in &members {
            until("it is gone", async || member.value("approvals.a").is_none()).await;
        }
        equal(&members).await;
        let status = members[0].peers.status().await.unwrap().broker.unwrap();
        assert!(status.is_connected && status.sent > 0 && status.received > 0 && status.refused == 0, "{status:?}");
    });
}

#[test]
fn what_all_wrote_while_the_broker_was_dead_is_everywhere_once_it_is_back() {
    run(async {
        let (mut broker, plane) = (Broker::start(), Plane::new("acme"));
        let members = cluster(&broker, &plane, 3).await;
        for round in 0..2 {
            broker.kill();
            for number in 0..30 {
                for (at, member) in members.iter().enumerate() {
                    member.put(&format!("approvals.r{round}-n{at}-k{number}"), "1").await;
                }
            }
            let status = members[0].peers.status().await.unwrap().broker.unwrap();
            assert!(!status.is_connected && status.last_error.is_some(), "{status:?}");
            assert_eq!(members[0].value(&format!("approvals.r{round}-n1-k0")), None);
            broker.restart();
            equal(&members).await;
            for member in &members {
                let names = (0..3).flat_map(|at| (0..30).map(move |number| (at, number)));
                for (at, number) in names {
                    assert!(member.value(&format!("approvals.r{round}-n{at}-k{number}")).is_some());
                }
            }
        }
        let status = members[0].peers.status().await.unwrap().broker.unwrap();
        // On a machine that is busy a connection may fall silent for too long and be made anew.
        assert!(status.is_connected && status.connections >= 3 && status.last_error.is_none(), "{status:?}");
    });
}

/// The broker takes small messages only, so pages and parts of a snapshot are split.
#[test]
fn a_node_that_joins_gets_all_there_is_in_parts() {
    run(async {
        let (broker, plane) = (Broker::with("max_payload: 4096"), Plane::new("acme"));
        let mut members = cluster(&broker, &plane, 2).await;
        let large = format!("\"{}\"", "x".repeat(100 << 10));
        members[0].put("facts.large", &large).await;
        for batch in 0..3 {
            let writes = (0..500).map(|number| put(&format!("facts.b{batch}-k{number}"), "[1,2,3]")).collect();
            members[batch % 2].node.write(Work::All(writes), Ack::Durable).await.unwrap();
        }
        let mut config: NodeConfig = plane.node_config("n2");
        config.replica.start = Start::Joining;
        members.push(Member::start(config, PeersConfig::pubsub(broker.config(&plane))).await);
        equal(&members).await;
        assert_eq!(members[2].value("facts.large").as_deref(), Some(large.as_str()));
        assert_eq!(members[2].value("facts.b2-k499").as_deref(), Some("[1,2,3]"));
    });
}

#[test]
fn who_shares_the_broker_can_neither_read_nor_forge() {
    run(async {
        let (broker, home) = (Broker::start(), Plane::new("acme"));
        let mut listener = broker.stranger();
        listener.say("SUB > 1\r\n");
        let members = cluster(&broker, &home, 2).await;
        // Another tenant's plane has another key, even if it says to be this one; and one of its own.
        let elsewhere = tempfile::tempdir().unwrap();
        let other = PubSubConfig { keys: vec![plane_key(elsewhere.path())], ..broker.config(&home) };
        let stranger = Plane::new("elsewhere");
        let forger = Member::start(stranger.node_config("n1"), PeersConfig::pubsub(other)).await;
        let tenant = PubSubConfig { plane: plane("other"), ..broker.config(&home) };
        let tenant = Member::start(stranger.node_config("n9"), PeersConfig::pubsub(tenant)).await;
        forger.put("approvals.secretkey", "\"forged\"").await;
        tenant.put("approvals.secretkey", "\"of a tenant\"").await;
        members[0].put("approvals.secretkey", "\"secretvalue\"").await;
        until("it shows", async || members[1].value("approvals.secretkey").is_some()).await;
        let mut seen = 0;
        let mut captured = Vec::new();
        while seen < 20 {
            let (subject, payload) = listener.hear();
            assert!(subject.starts_with("weir."), "{subject}");
            for secret in [&b"secret"[..], b"approvals"] {
                assert!(!payload.windows(secret.len()).any(|bytes| bytes == secret), "{subject} shows it");
            }
            captured.push((subject, payload));
            seen += 1;
        }
        let before = members[1].peers.status().await.unwrap().broker.unwrap().refused;
        // What was sealed is repeated elsewhere, cut, and garbage comes.
        for (subject, payload) in &captured {
            listener.publish("weir.acme.facts.to.n1", payload);
            listener.publish(subject, &payload[..payload.len() / 2]);
            listener.publish("weir.acme.facts.all", b"garbage");
        }
        until("it was refused", async || {
            members[1].peers.status().await.unwrap().broker.unwrap().refused >= before + 40
        })
        .await;
        members[0].put("approvals.after", "1").await;
        until("others go on", async || members[1].value("approvals.after").is_some()).await;
        for member in &members {
            assert_eq!(member.value("approvals.secretkey").as_deref(), Some("\"secretvalue\""));
            assert_eq!(member.node.replication().await.unwrap().members.len(), 1);
        }
        assert_eq!(forger.node.replication().await.unwrap().members, []);
    });
}

#[test]
fn a_broker_that_wants_a_password_and_tls_gets_them() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let lines = format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\nauthorization {{ user: alice, password: \"s3cret\" }}"
        );
        let broker = Broker::in_folder(folder, &lines);
        let home = Plane::new("acme");
        let config = |login: &str, authority: Option<&std::path::Path>| PubSubConfig {
            servers: vec![broker.server("tls", login)],
            authority: authority.map(ToOwned::to_owned),
            ..broker.config(&home)
        };
        for (node, config, why) in [
            ("n7", config("alice:wrong@", Some(&certificate)), "Authorization"),
            ("n8", config("alice:s3cret@", None), "no authority"),
            ("n9", config("alice:s3cret@", Some(&home.authority().join("ca.crt"))), "certificate"),
        ] {
            let refused = Member::start(home.node_config(node), PeersConfig::pubsub(config)).await;
            until(why, async || {
                let status = refused.peers.status().await.unwrap().broker.unwrap();
                status.last_error.is_some_and(|error| error.contains(why))
            })
            .await;
        }
        let mut members = Vec::new();
        for node in ["n0", "n1"] {
            let config = PeersConfig::pubsub(config("alice:s3cret@", Some(&certificate)));
            members.push(Member::start(home.node_config(node), config).await);
        }
        acquainted(&members).await;
        members[0].put("approvals.a", "1").await;
        until("it shows", async || members[1].value("approvals.a").is_some()).await;
    });
}

/// The broker stops, and its connections stay: only that it says nothing tells.
#[test]
fn a_broker_that_falls_silent_is_left_and_found_again() {
    run(async {
        let (broker, home) = (Broker::start(), Plane::new("acme"));
        let members = cluster(&broker, &home, 2).await;
        broker.signal("STOP");
        members[0].put("approvals.a", "1").await;
        until("it was noticed", async || !members[0].peers.status().await.unwrap().broker.unwrap().is_connected).await;
        broker.signal("CONT");
        equal(&members).await;
        assert_eq!(members[1].value("approvals.a").as_deref(), Some("1"));
    });
}

#[test]
fn a_node_that_is_not_on_the_list_is_not_taken_in() {
    run(async {
        let (broker, home) = (Broker::start(), Plane::new("acme"));
        let config = PeersConfig { allowed: Some([id("n1")].into()), ..PeersConfig::pubsub(broker.config(&home)) };
        let first = Member::start(home.node_config("n0"), config).await;
        let other = broker.member(&home, "n2").await;
        other.put("approvals.a", "1").await;
        let listed = broker.member(&home, "n1").await;
        listed.put("approvals.b", "1").await;
        until("it shows", async || first.value("approvals.b").is_some()).await;
        sleep(Duration::from_secs(1)).await;
        let names: Vec<_> = first.node.replication().await.unwrap().members;
        assert_eq!(names.iter().map(|member| member.node.as_str()).collect::<Vec<_>>(), ["n1"]);
    });
}
