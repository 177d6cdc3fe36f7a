//! Statements that end before their end: cancel requests, vanished clients, clients that do not read.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use weir_wire::ServerOptions;

use crate::{
    client::{Client, bind, copy_data, execute, parse, query, sync},
    fake::{Running, options, start},
};

/// Sends a cancel request as a client would, from another connection.
async fn cancel(running: &Running, process: i32, secret: &[u8]) {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let mut packet = Vec::new();
    packet.extend((12 + secret.len() as u32).to_be_bytes());
    packet.extend(80_877_102_u32.to_be_bytes());
    packet.extend(process.to_be_bytes());
    packet.extend(secret);
    stream.write_all(&packet).await.unwrap();
}

async fn eventually(running: &Running, event: &str) {
    for _ in 0..200 {
        if running.fake.events.lock().iter().any(|known| known == event) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no `{event}` in {:?}", running.fake.events.lock());
}

#[tokio::test]
async fn a_cancel_request_ends_statements_and_streams() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    for (text, error) in [
        ("hang", "E ERROR 57014 stopped by the backend"),
        ("hang rows", "E ERROR 57014 stopped by the backend"),
        // The backend's stream does not react: it is dropped.
        ("deaf rows", "E ERROR 57014 canceling statement due to user request"),
    ] {
        client.send(&[query(text)]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let started = Instant::now();
        cancel(&running, client.process, &client.secret.clone()).await;
        let answers = client.until_ready().await;
        assert!(started.elapsed() < Duration::from_millis(200), "{text}: {:?}", started.elapsed());
        assert_eq!(answers[answers.len() - 2..], [error, "Z Idle"], "{text}");
    }
    // The next statement is not touched by it.
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);
}

#[tokio::test]
async fn an_endless_stream_ends_in_the_extended_protocol_too() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    client.send(&[parse("", "endless", &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()]).await;
    client.answers(3).await;
    cancel(&running, client.process, &client.secret.clone()).await;
    let answers = client.until_ready().await;
    let error = &answers[answers.len() - 2];
    assert!(error.starts_with("E ERROR 57014"), "{error}");
    eventually(&running, "rows dropped").await;
}

#[tokio::test]
async fn a_wrong_secret_cancels_nothing() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    client.send(&[query("sleep 200")]).await;
    let mut wrong = client.secret.clone();
    wrong[0] ^= 1;
    cancel(&running, client.process, &wrong).await;
    cancel(&running, client.process + 1, &client.secret.clone()).await;
    cancel(&running, client.process, b"1").await;
    assert_eq!(client.until_ready().await, ["C SLEEP", "Z Idle"]);
    assert!(!running.fake.events.lock().iter().any(|event| event == "cancel"));
}

#[tokio::test]
async fn a_copy_that_waits_for_data_can_be_cancelled() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    client.send(&[query("copy from integer text"), copy_data("1\n")]).await;
    client.answers(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    cancel(&running, client.process, &client.secret.clone()).await;
    assert_eq!(client.until_ready().await, ["E ERROR 57014 canceling statement due to user request", "Z Idle"]);
}

#[tokio::test]
async fn a_vanished_client_stops_its_statement() {
    let running = start(options()).await;
    for text in ["hang", "hang rows", "deaf rows"] {
        let mut client = Client::open(running.address).await;
        client.send(&[query(text)]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.fake.events.lock().clear();
        drop(client);
        eventually(&running, "cancel").await;
        eventually(&running, "disconnect").await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nothing_for_long() {
    let running = start(ServerOptions { write_timeout: Duration::from_millis(300), ..options() }).await;
    let mut client = Client::open(running.address).await;
    client.send(&[query("endless")]).await;
    eventually(&running, "rows dropped").await;
    eventually(&running, "disconnect").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_can_be_cancelled() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    client.send(&[query("endless")]).await;
    // Long enough for the socket's buffers to be full.
    tokio::time::sleep(Duration::from_millis(500)).await;
    cancel(&running, client.process, &client.secret.clone()).await;
    eventually(&running, "rows dropped").await;
    let answers = client.until_ready().await;
    assert!(answers[answers.len() - 2].starts_with("E ERROR 57014"));
}
