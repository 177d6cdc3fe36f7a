//! Encryption, start-up, authentication, limits, and the end of the server.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use weir_wire::{Certificate, ServerOptions, TlsMode};

use crate::{
    client::{Client, password, query, startup},
    fake::{options, start},
};

const ADA: &[(&str, &str)] = &[("user", "ada"), ("database", "acme")];
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];

#[tokio::test]
async fn a_login_is_greeted() {
    let running = start(options()).await;
    let mut client = Client::connect(running.address).await;
    client.send(&[startup(0, ADA)]).await;
    assert_eq!(client.answers(1).await, ["R CleartextPassword"]);
    client.send(&[password("right")]).await;
    assert_eq!(
        client.until_ready().await,
        [
            "R Ok",
            "S server_version=15.13 (Weir 0.1.0)",
            "S TimeZone=UTC",
            "S server_encoding=UTF8",
            "S client_encoding=UTF8",
            "S integer_datetimes=on",
            "S standard_conforming_strings=on",
            "K 4 bytes",
            "Z Idle",
        ]
    );
}

#[tokio::test]
async fn newer_protocols_are_negotiated() {
    let running = start(options()).await;
    for (minor, options, negotiated) in [
        (2, &[][..], None),
        (9999, &[], Some("v NegotiateProtocolVersion { newest_minor_protocol: 196610, unsupported_options: [] }")),
        (
            0,
            &[("_pq_.x", "1")],
            Some("v NegotiateProtocolVersion { newest_minor_protocol: 196608, unsupported_options: [\"_pq_.x\"] }"),
        ),
    ] {
        let mut client = Client::connect(running.address).await;
        client.send(&[startup(minor, &[ADA, options].concat())]).await;
        if let Some(expected) = negotiated {
            assert_eq!(client.answers(1).await, [expected]);
        }
        assert_eq!(client.answers(1).await, ["R CleartextPassword"]);
        client.send(&[password("right")]).await;
        let greeting = client.until_ready().await;
        let key = if minor >= 2 { "K 32 bytes" } else { "K 4 bytes" };
        assert!(greeting.iter().any(|answer| answer == key), "{greeting:?}");
    }
}

#[tokio::test]
async fn settings_and_claims_reach_the_session() {
    let running = start(options()).await;
    let mut client = Client::connect(running.address).await;
    let options = [("options", "-c statement_timeout=5s -c agent_id=a7"), ("DateStyle", "ISO")];
    client.send(&[startup(0, &[ADA, &options].concat()), password("right")]).await;
    assert_eq!(client.until_ready().await.last().unwrap(), "Z Idle");
    assert_eq!(
        *running.fake.events.lock(),
        ["connect 127.0.0.1 agent_id=Some(\"a7\")", "configure DateStyle=ISO", "configure statement_timeout=5s"]
    );
    let mut client = Client::connect(running.address).await;
    client.send(&[startup(0, &[ADA, &[("unknown", "1")]].concat()), password("right")]).await;
    let answers = client.until_closed().await;
    assert_eq!(answers.last().unwrap(), "E FATAL 42704 unrecognized configuration parameter \"unknown\"");
}

#[tokio::test]
async fn every_wrong_credential_gets_the_same_answer() {
    let running = start(options()).await;
    for (user, database, key) in
        [("ada", "acme", "wrong"), ("eve", "acme", "right"), ("ada", "other", "right"), ("ada", "acme", "")]
    {
        let mut client = Client::connect(running.address).await;
        let started = std::time::Instant::now();
        client.send(&[startup(0, &[("user", user), ("database", database)]), password(key)]).await;
        let answers = client.until_closed().await;
        assert_eq!(
            answers,
            [
                "R CleartextPassword".to_owned(),
                format!("E FATAL 28P01 password authentication failed for user \"{user}\"")
            ]
        );
        assert!(started.elapsed() >= Duration::from_millis(20));
    }
    let mut client = Client::connect(running.address).await;
    client.send(&[startup(0, &[("user", "nobody-home")]), password("right")]).await;
    assert_eq!(client.until_closed().await[1], "E FATAL 57P03 no policy is loaded yet");
}

fn with_certificate(folder: &tempfile::TempDir) -> (ServerOptions, Arc<ClientConfig>) {
    let certificate = Certificate::self_signed(folder.path()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path().join("tls.crt")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    (ServerOptions { certificate: Some(certificate), ..options() }, Arc::new(config))
}

/// Logs in over any stream; the first bytes of what comes back.
async fn log_in(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    startup(0, ADA).encode(&mut bytes).unwrap();
    password("right").encode(&mut bytes).unwrap();
    query("select 1").encode(&mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"SELECT 1\0Z\0\0\0\x05I") {
        if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
            break;
        }
    }
    answer
}

#[tokio::test]
async fn tls_by_request_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (options, config) = with_certificate(&folder);
    let running = start(ServerOptions { tls_mode: TlsMode::Required, ..options }).await;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(&config));

    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&SSL_REQUEST).await.unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"S");
    let answer = log_in(connector.connect(name.clone(), stream).await.unwrap()).await;
    assert!(answer.starts_with(b"R\0\0\0\x08\0\0\0\x03") && answer.ends_with(b"I"), "{answer:?}");

    let stream = TcpStream::connect(running.address).await.unwrap();
    let answer = log_in(connector.connect(name.clone(), stream).await.unwrap()).await;
    assert!(answer.starts_with(b"R\0\0\0\x08\0\0\0\x03") && answer.ends_with(b"I"), "{answer:?}");

    // At once, but without naming the protocol.
    let mut other = ClientConfig::clone(&config);
    other.alpn_protocols.clear();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(other)).connect(name, stream).await.unwrap();
    let answer = String::from_utf8_lossy(&log_in(stream).await).into_owned();
    assert!(answer.contains("08P01") && !answer.contains("SELECT 1"), "{answer}");
}

#[tokio::test]
async fn a_password_is_not_asked_for_in_clear_text() {
    let folder = tempfile::tempdir().unwrap();
    let (options, _) = with_certificate(&folder);
    let running = start(ServerOptions { tls_mode: TlsMode::Required, ..options }).await;
    let mut client = Client::connect(running.address).await;
    client.send(&[startup(0, ADA)]).await;
    assert_eq!(client.until_closed().await, ["E FATAL 28000 a password is taken over TLS only"]);
}

#[tokio::test]
async fn a_unix_socket_is_safe_enough() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ServerOptions { unix_socket_folder: Some(folder.path().into()), tls_mode: TlsMode::Required, ..options() };
    let running = start(options).await;
    let path = folder.path().join(format!(".s.PGSQL.{}", running.address.port()));
    let answer = log_in(UnixStream::connect(&path).await.unwrap()).await;
    assert!(answer.ends_with(b"I"));
    running.shutdown.cancel();
    running.server.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn connections_are_limited() {
    let running = start(ServerOptions { connections_max: 2, ..options() }).await;
    let first = Client::open(running.address).await;
    let _second = Client::open(running.address).await;
    let mut third = Client::connect(running.address).await;
    third.send(&[startup(0, ADA), password("right")]).await;
    assert_eq!(third.until_closed().await[1], "E FATAL 53300 sorry, too many clients already");
    // A cancel request needs no place, and a place that is given back is free.
    drop(first);
    let mut later = None;
    for _ in 0..50 {
        let mut client = Client::connect(running.address).await;
        client.send(&[startup(0, ADA), password("right")]).await;
        if client.until_ready().await.last().is_some_and(|answer| answer == "Z Idle") {
            later = Some(client);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(later.is_some());
    // Strangers beyond their own limit are told at once.
    let _strangers = [Client::connect(running.address).await, Client::connect(running.address).await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut stranger = Client::connect(running.address).await;
    assert_eq!(stranger.until_closed().await, ["E FATAL 53300 sorry, too many clients already"]);
}

#[tokio::test]
async fn shutdown_finishes_what_runs() {
    let running = start(options()).await;
    let mut idle = Client::open(running.address).await;
    let mut busy = Client::open(running.address).await;
    busy.send(&[query("sleep 300; select 1")]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.shutdown.cancel();
    assert_eq!(idle.until_closed().await, ["E FATAL 57P01 terminating connection: the server is shutting down"]);
    let answers = busy.until_closed().await;
    assert_eq!(answers[..4], ["C SLEEP", "T c0:23/0", "D 1", "C SELECT 1"]);
    assert!(answers[5].starts_with("E FATAL 57P01"));
    running.server.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

/// What a client gets whose statement outlasts the drain.
async fn outlasting(statement: &str) -> Vec<String> {
    let running = start(ServerOptions { drain_timeout: Duration::from_millis(200), ..options() }).await;
    let mut busy = Client::open(running.address).await;
    busy.send(&[query(statement)]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.server).await.unwrap().unwrap();
    busy.until_closed().await
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cancelled_and_its_client_told() {
    let answers = outlasting("hang").await;
    assert_eq!(answers[0], "E ERROR 57014 stopped by the backend");
    assert_eq!(
        answers.last().unwrap(),
        "E FATAL 57P01 terminating connection: the server is shutting down",
        "{answers:?}"
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_what_cannot_be_cancelled() {
    assert_eq!(outlasting("sleep 600000").await, [""; 0]);
}

#[tokio::test]
async fn idle_clients_are_closed() {
    let running = start(ServerOptions { idle_timeout: Some(Duration::from_millis(100)), ..options() }).await;
    let mut client = Client::open(running.address).await;
    assert_eq!(client.until_closed().await, ["E FATAL 57P05 terminating connection due to idle-session timeout"]);
    let mut client = Client::open(running.address).await;
    client.ask(&[query("begin")]).await;
    assert_eq!(
        client.until_closed().await,
        ["E FATAL 25P03 terminating connection due to idle-in-transaction timeout"]
    );
    assert!(running.fake.events.lock().iter().filter(|event| *event == "disconnect").count() == 2);
}
