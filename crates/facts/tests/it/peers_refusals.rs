//! Those who are not who they should be, and those who send what is no message.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use weir_facts::{Credentials, GossipConfig, PeersConfig, create_plane_authority, issue_certificate};

use crate::peers_support::{Member, Plane, files_of, id, linked, plane, run, until};

/// What a refused stranger leaves: nothing.
async fn check_unchanged(member: &Member, strangers: u64) {
    let status = member.peers.status().await.unwrap();
    assert_eq!(status.peers, [], "nobody was taken in");
    assert!(status.strangers >= strangers, "{} {strangers}", status.strangers);
    assert_eq!(member.value("approvals.a"), None);
    member.put("approvals.own", "1").await;
}

async fn check_refused(stranger: GossipConfig) {
    let home = Plane::new("acme");
    let member = home.start("n0", &[]).await;
    let other = Plane::new("elsewhere");
    let stranger = GossipConfig { seeds: vec![member.address().to_string()], ..stranger };
    let stranger =
        Member::start(other.node_config(stranger.credentials.node().as_str()), PeersConfig::gossip(stranger)).await;
    stranger.put("approvals.a", "1").await;
    until("it was refused", async || member.peers.status().await.unwrap().strangers >= 2).await;
    check_unchanged(&member, 2).await;
    assert_eq!(stranger.value("approvals.own"), None);
    assert!(stranger.peers.status().await.unwrap().peers.is_empty());
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    run(async {
        // The same plane's name and a node's name: it is the authority that counts.
        check_refused(Plane::new("acme").gossip("n1", &[])).await;
    });
}

/// An authority that vouches for two planes: the name in the certificate counts.
#[test]
fn a_certificate_of_another_plane_is_refused() {
    run(async {
        let home = Plane::new("acme");
        let member = home.start("n0", &[]).await;
        let folder = tempfile::tempdir().unwrap();
        let error = issue_certificate(
            &home.authority(),
            &plane("other"),
            &id("n1"),
            SystemTime::now(),
            Duration::from_secs(3_600),
            folder.path(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("ca.crt"), "{error}");
        assert_eq!(files_of(folder.path()).len(), 0, "nothing is made that is worth nothing");
        let stranger = raw_certificate(&home, "weir-facts://other/n1");
        let refused = talk(&home, &member, stranger).await;
        assert!(refused.is_none(), "it was answered");
        check_unchanged(&member, 1).await;
    });
}

#[test]
fn a_node_that_says_another_name_than_its_certificate_is_refused() {
    run(async {
        let home = Plane::new("acme");
        let member = home.start("n0", &[]).await;
        let mut stream = talk(&home, &member, raw_certificate(&home, "weir-facts://acme/n1")).await.unwrap();
        // A greeting in the name of another node.
        let hello = rmp_serde::to_vec(&("acme", ("n2", "127.0.0.1:1", 1_u64), false)).unwrap();
        send(&mut stream, 1, &hello).await;
        assert_eq!(rest(&mut stream).await, 0, "the connection ends");
        check_unchanged(&member, 1).await;
    });
}

#[test]
fn an_expired_certificate_is_refused() {
    run(async {
        let home = Plane::new("acme");
        let member = home.start("n0", &[]).await;
        let folder = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(7_200);
        let hour = Duration::from_secs(3_600);
        // The authority of the test is older than this certificate has to be.
        let made = issue_certificate(&home.authority(), &home.name, &id("n1"), long_ago, hour, folder.path());
        let text = made.err().map(|error| error.to_string()).unwrap_or_default();
        let stranger = raw_certificate_valid(&home, "weir-facts://acme/n1", long_ago, hour);
        assert!(talk(&home, &member, stranger).await.is_none(), "{text}");
        check_unchanged(&member, 1).await;
    });
}

#[test]
fn clear_text_is_refused() {
    run(async {
        let home = Plane::new("acme");
        let member = home.start("n0", &[]).await;
        for text in [&b"GET /data HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 4096], b"\x00\x00\x00\x05\x01abcd"] {
            let mut stream = TcpStream::connect(member.address()).await.unwrap();
            stream.write_all(text).await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
            // An alert of TLS at most.
            assert!(answer.len() < 64, "{answer:?}");
        }
        until("all were counted", async || member.peers.status().await.unwrap().strangers >= 4).await;
        check_unchanged(&member, 4).await;
    });
}

#[test]
fn a_node_that_is_not_on_the_list_is_refused() {
    run(async {
        let home = Plane::new("acme");
        let config = PeersConfig { allowed: Some([id("n2")].into()), ..PeersConfig::gossip(home.gossip("n0", &[])) };
        let member = Member::start(home.node_config("n0"), config).await;
        let other = home.start("n1", &[member.address()]).await;
        until("it was refused", async || member.peers.status().await.unwrap().strangers >= 1).await;
        check_unchanged(&member, 1).await;
        let listed = home.start("n2", &[member.address()]).await;
        linked(&[member, listed]).await;
        drop(other);
    });
}

/// Others go on undisturbed while a member sends garbage.
#[test]
fn frames_that_are_none_end_the_connection_and_change_nothing() {
    run(async {
        let home = Plane::new("acme");
        let members = home.found(2).await;
        let garbage: [(u8, Vec<u8>); 5] = [
            (2, b"\xc1\xff no message".to_vec()),
            (2, Vec::new()),
            (9, b"of no kind".to_vec()),
            (1, b"a greeting again".to_vec()),
            (2, vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (kind, body) in garbage {
            let mut stream = greeted(&home, &members[0], "n7").await;
            send(&mut stream, kind, &body).await;
            rest(&mut stream).await;
        }
        // Longer than any message may be; nothing of it has to come.
        let mut stream = greeted(&home, &members[0], "n7").await;
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        rest(&mut stream).await;
        // Packets of the membership that are none, or in another's name, are left aside.
        let mut stream = greeted(&home, &members[0], "n7").await;
        send(&mut stream, 3, b"garbage").await;
        until("it was counted", async || {
            let status = members[0].peers.status().await.unwrap();
            status.peers.iter().any(|peer| peer.node == id("n7") && peer.broken == 6)
        })
        .await;
        members[1].put("approvals.a", "1").await;
        until("others go on", async || members[0].value("approvals.a").is_some()).await;
    });
}

#[test]
fn keys_of_a_plane_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (authority, name) = (folder.path().join("authority"), plane("acme"));
    create_plane_authority(&authority, &name).unwrap();
    let (certificate, key) = issue_certificate(
        &authority,
        &name,
        &id("n1"),
        SystemTime::now(),
        Duration::from_secs(3_600),
        &folder.path().join("n1"),
    )
    .unwrap();
    for path in files_of(&authority).into_iter().chain(files_of(&folder.path().join("n1"))) {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
    assert!(create_plane_authority(&authority, &name).is_err(), "an authority is not written over");
    let root = authority.join("ca.crt");
    assert_eq!(Credentials::read(&root, &certificate, &key).unwrap().node(), &id("n1"));
    let swapped = Credentials::read(&root, &root, &key).unwrap_err();
    assert!(swapped.to_string().contains("ca.crt"), "{swapped}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = Credentials::read(&root, &certificate, &key).unwrap_err();
    assert!(open.to_string().contains("640"), "{open}");
}

#[test]
fn a_node_does_not_start_with_another_nodes_certificate() {
    run(async {
        let home = Plane::new("acme");
        let node = weir_facts::Node::open(home.node_config("n0")).unwrap();
        let error = weir_facts::Peers::start(node, PeersConfig::gossip(home.gossip("n1", &[]))).await.unwrap_err();
        assert!(error.to_string().contains("`n1`"), "{error}");
    });
}

// === A client of the links that says what it likes ===

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn raw_certificate(home: &Plane, uri: &str) -> Chain {
    raw_certificate_valid(home, uri, SystemTime::now(), Duration::from_secs(3_600))
}

/// By the plane's authority, with whatever name.
fn raw_certificate_valid(home: &Plane, uri: &str, now: SystemTime, valid: Duration) -> Chain {
    let key = std::fs::read_to_string(home.authority().join("ca.key")).unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority.distinguished_name.push(rcgen::DnType::CommonName, format!("weir facts: {}", home.name));
    let issuer = rcgen::Issuer::new(authority, rcgen::KeyPair::from_pem(&key).unwrap());
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["weir-facts".to_owned()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + valid).into();
    let made = params.signed_by(&own, &issuer).unwrap();
    (vec![made.der().clone()], PrivateKeyDer::try_from(own.serialize_der()).unwrap())
}

/// `None`: it was refused before it could say a word.
async fn talk(home: &Plane, member: &Member, (chain, key): Chain) -> Option<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    // Whoever is there is believed: it is this side that is judged.
    let authority = CertificateDer::from_pem_file(home.authority().join("ca.crt")).unwrap();
    roots.add(authority).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"weir-facts/1".to_vec()];
    let stream = TcpStream::connect(member.address()).await.unwrap();
    let name = ServerName::try_from("weir-facts").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    // In TLS 1.3 the one who calls hears of its refusal with the first bytes.
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(stream)
}

async fn greeted(home: &Plane, member: &Member, node: &str) -> TlsStream<TcpStream> {
    let mut stream =
        talk(home, member, raw_certificate(home, &format!("weir-facts://{}/{node}", home.name))).await.unwrap();
    let hello = rmp_serde::to_vec(&(home.name.as_str(), (node, "127.0.0.1:1", 1_u64), false)).unwrap();
    send(&mut stream, 1, &hello).await;
    stream
}

async fn send(stream: &mut TlsStream<TcpStream>, kind: u8, body: &[u8]) {
    let length = u32::try_from(body.len() + 1).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    stream.write_all(&[kind]).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.flush().await.unwrap();
}

/// What still comes, beside signs of life.
async fn rest(stream: &mut TlsStream<TcpStream>) -> usize {
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection does not end");
    answer.iter().filter(|byte| **byte != 0).count()
}
