//! Clients that do not keep to the protocol, or mean harm.

use std::time::{Duration, Instant};

use proptest::{
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use weir_wire::ServerOptions;

use crate::{
    client::{Client, bind, execute, parse, password, query, startup, sync},
    fake::{Running, options, start},
};

const SSL: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSS: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];

async fn still_serves(running: &Running) {
    let mut client = Client::open(running.address).await;
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);
}

/// What a stranger gets for these first bytes, up to the end of the connection.
async fn first_bytes(running: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(running.address).await;
    client.send_bytes(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut answer);
    let _reset = tokio::time::timeout(Duration::from_secs(5), read).await.expect("the connection is closed");
    answer
}

#[tokio::test]
async fn broken_first_packets() {
    let running = start(options()).await;
    let huge = [&10_001_u32.to_be_bytes()[..], &[0, 3, 0, 0], &[b'x'; 100]].concat();
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "invalid length of startup packet"),
        (&[0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0], "invalid length of startup packet"),
        (&[0, 0, 0, 0], "invalid length of startup packet"),
        (&[0, 0, 0, 7, 0, 3, 0], "invalid length of startup packet"),
        (&huge, "invalid length of startup packet"),
        (&[0x16, 3, 1, 0, 5], "does not speak TLS"),
        (&[0, 0, 0, 9, 0, 2, 0, 0, 0], "frontend protocol 2.0"),
        (&[SSL, SSL].concat(), "received unencrypted data"),
        (&[GSS, GSS].concat(), "received unencrypted data"),
        (&[&SSL[..], &[0, 0, 0, 9]].concat(), "received unencrypted data"),
    ] {
        let answer = String::from_utf8_lossy(&first_bytes(&running, bytes).await).into_owned();
        assert!(answer.contains(expected), "{bytes:?}: {answer}");
    }
    still_serves(&running).await;
}

#[tokio::test]
async fn encryption_requests_do_not_loop() {
    let running = start(options()).await;
    for (requests, expected) in [
        (&[GSS, GSS][..], "GSSENCRequest"),
        (&[SSL, SSL], "second SSLRequest"),
        (&[GSS, SSL, GSS], "GSSENCRequest"),
        (&[SSL, GSS, SSL], "second SSLRequest"),
    ] {
        let mut client = Client::connect(running.address).await;
        let (last, allowed) = requests.split_last().unwrap();
        for request in allowed {
            client.send_bytes(request).await;
            let mut answer = [0];
            tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut answer).await.unwrap();
            assert_eq!(&answer, b"N");
        }
        client.send_bytes(last).await;
        let answers = client.until_closed().await;
        assert!(answers[0].contains(expected), "{answers:?}");
    }
}

#[tokio::test]
async fn messages_before_the_password_are_small_and_expected() {
    let running = start(options()).await;
    let ada = startup(0, &[("user", "ada"), ("database", "acme")]);
    for (bytes, expected) in [
        (&b"p\x7f\xff\xff\xff"[..], "E FATAL 54000 message is too large"),
        (b"p\0\0\x40\x01", "E FATAL 54000 message is too large"),
        (b"p\xff\xff\xff\xff", "E FATAL 08P01 invalid message length -1"),
        (b"p\0\0\0\x03", "E FATAL 08P01 invalid message length 3"),
        (b"p\0\0\0\x05x", "E FATAL 08P01 invalid string in message"),
        (b"Q\0\0\0\x05\0", "E FATAL 08P01 expected a password message"),
        (b"!\0\0\0\x05\0", "E FATAL 08P01 invalid frontend message type 33"),
    ] {
        let mut client = Client::connect(running.address).await;
        client.send(std::slice::from_ref(&ada)).await;
        client.send_bytes(bytes).await;
        assert_eq!(client.until_closed().await[1], expected, "{bytes:?}");
    }
    let mut client = Client::connect(running.address).await;
    client.send(&[startup(0, &[("user", "ada"), ("replication", "database")])]).await;
    assert_eq!(client.until_closed().await, ["E FATAL 0A000 the replication protocol is not supported"]);
}

#[tokio::test]
async fn broken_framing_ends_a_session() {
    let running = start(ServerOptions { message_bytes_max: 1 << 20, ..options() }).await;
    for (bytes, expected) in [
        (&b"Q\xff\xff\xff\xff"[..], "E FATAL 08P01 invalid message length -1"),
        (b"Q\x80\0\0\0", "E FATAL 08P01 invalid message length -2147483648"),
        (b"Q\0\0\0\0", "E FATAL 08P01 invalid message length 0"),
        (b"Q\x7f\xff\xff\xff", "E FATAL 54000 message is too large"),
        (b"Q\0\x10\0\x01", "E FATAL 54000 message is too large"),
        // Sync with a claimed content.
        (b"S\0\x0f\0\0", "E FATAL 54000 message is too large"),
        (b"\0\0\0\0\x04", "E FATAL 08P01 invalid frontend message type 0"),
        (b"p\0\0\0\x05\0", "E FATAL 08P01 unexpected password message"),
    ] {
        let mut client = Client::open(running.address).await;
        client.send_bytes(bytes).await;
        assert_eq!(client.until_closed().await, [expected], "{bytes:?}");
    }
    still_serves(&running).await;
}

#[tokio::test]
async fn broken_content_is_an_ordinary_error() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    for (bytes, expected) in [
        (&b"Q\0\0\0\x0bselect\xff"[..], "E ERROR 08P01 invalid string in message"),
        (b"Q\0\0\0\x0cselect\xff\0", "E ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xff"),
        (b"Q\0\0\0\x0bsel\0ect", "E ERROR 08P01 invalid message format"),
        (b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0", "E ERROR 0A000 the function call protocol is not supported"),
    ] {
        client.send_bytes(bytes).await;
        assert_eq!(client.until_ready().await, [expected, "Z Idle"], "{bytes:?}");
    }
    for bytes in [
        &b"P\0\0\0\x05\0"[..],
        b"P\0\0\0\x0a\0x\0\xff\xff\0",
        b"B\0\0\0\x0c\0\0\0\0\xff\xff\0\0",
        // A parameter of length -2.
        b"B\0\0\0\x10\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0",
        // A parameter that reaches far beyond the message.
        b"B\0\0\0\x10\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0",
        b"D\0\0\0\x06X\0",
        b"E\0\0\0\x05\0",
    ] {
        client.send_bytes(bytes).await;
        // It takes nothing of the next message with it.
        let answers = client.ask(&[sync()]).await;
        assert!(answers.len() == 2 && answers[0].starts_with("E ERROR 08P01"), "{bytes:?}: {answers:?}");
    }
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);
}

#[tokio::test]
async fn sixty_five_thousand_parameters() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    let values = vec![Some(&b"7"[..]); 65_535];
    let answers =
        client.ask(&[parse("", "wide 65535", &[]), bind("", "", &values, &[], &[]), execute("", 0), sync()]).await;
    assert_eq!(answers, ["ParseComplete", "BindComplete", "C WIDE 65535", "Z Idle"]);
    // One more does not fit the count: what arrives is a message whose content does not match it.
    let mut body = b"\0\0\0\0\0\0".to_vec();
    for _ in 0..65_536 {
        body.extend([0, 0, 0, 1, b'7']);
    }
    body.extend([0, 0]);
    let message = [b"B".to_vec(), (body.len() as u32 + 4).to_be_bytes().to_vec(), body].concat();
    client.send_bytes(&message).await;
    let answers = client.ask(&[sync()]).await;
    assert!(answers[0].starts_with("E ERROR 08P01"), "{answers:?}");
}

#[tokio::test]
async fn too_many_names() {
    let running = start(options()).await;
    let mut client = Client::open(running.address).await;
    let mut messages: Vec<_> = (0..10_001).map(|n| parse(&format!("s{n}"), "insert", &[])).collect();
    messages.push(sync());
    let answers = client.ask(&messages).await;
    assert!(answers[10_000].starts_with("E ERROR 54000 too many prepared statements"), "{}", answers[10_000]);
    let mut messages: Vec<_> = (0..1_001).map(|n| bind(&format!("p{n}"), "s0", &[], &[], &[])).collect();
    messages.push(sync());
    let answers = client.ask(&messages).await;
    assert!(answers[1_000].starts_with("E ERROR 54000 too many portals"), "{}", answers[1_000]);
}

#[tokio::test]
async fn slow_senders_do_not_get_in() {
    let running = start(ServerOptions { startup_timeout: Duration::from_millis(300), ..options() }).await;
    let started = Instant::now();
    // One connection says nothing, one half of a packet, one stops before its password.
    let silent = Client::connect(running.address).await;
    let mut half = Client::connect(running.address).await;
    half.send_bytes(&[0, 0, 0, 40, 0, 3]).await;
    let mut dumb = Client::connect(running.address).await;
    dumb.send(&[startup(0, &[("user", "ada")])]).await;
    for mut client in [silent, half, dumb] {
        client.until_closed().await;
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    still_serves(&running).await;
}

#[tokio::test]
async fn a_message_in_single_bytes() {
    let running = start(options()).await;
    let mut client = Client::connect(running.address).await;
    let mut bytes = bytes::BytesMut::new();
    for message in [startup(0, &[("user", "ada"), ("database", "acme")]), password("right"), query("select 1")] {
        message.encode(&mut bytes).unwrap();
    }
    for byte in &bytes {
        client.send_bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    client.until_ready().await;
    assert_eq!(client.until_ready().await, ["T c0:23/0", "D 1", "C SELECT 1", "Z Idle"]);
}

#[tokio::test]
async fn a_large_claim_costs_no_memory() {
    let running = start(options()).await;
    let mut clients = Vec::new();
    let before = resident_bytes();
    for _ in 0..50 {
        let mut client = Client::open(running.address).await;
        // 63 MiB are announced and never sent.
        client.send_bytes(b"Q\x03\xf0\0\0select").await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(resident_bytes() - before < 50 << 20);
    still_serves(&running).await;
}

#[tokio::test]
async fn long_messages_are_bounded_together() {
    let running = start(ServerOptions { long_messages_bytes_max: 8 << 20, ..options() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(running.address).await;
        // Of 63 MiB announced, four come: twice that fits, three times does not.
        client.send_bytes(b"Q\x03\xf0\0\0").await;
        client.send_bytes(&vec![b' '; 4 << 20]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        clients.push(client);
    }
    let answers = clients.pop().unwrap().until_closed().await;
    assert_eq!(answers, ["E FATAL 53200 too many long messages are in flight"]);
    drop(clients);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = Client::open(running.address).await;
    let long = format!("insert{}", " ".repeat(6 << 20));
    assert_eq!(client.ask(&[query(&long)]).await, ["C INSERT 0 1", "Z Idle"]);
}

fn resident_bytes() -> i64 {
    let pages: i64 = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn random_bytes_never_stop_the_server() {
    let running = start(options()).await;
    let mut runner = TestRunner::deterministic();
    let tags = proptest::sample::select(b"QPBDECHSFdcfpX\0Z".to_vec());
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let framed = (tags, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(tag, body)| {
        let mut message = vec![tag];
        message.extend((body.len() as u32 + 4).to_be_bytes());
        message.extend(body);
        message
    });
    for round in 0..150 {
        let bytes = match round % 3 {
            0 => noise.new_tree(&mut runner).unwrap().current(),
            _ => (0..5).flat_map(|_| framed.new_tree(&mut runner).unwrap().current()).collect(),
        };
        let mut client = match round % 2 {
            0 => Client::open(running.address).await,
            _ => Client::connect(running.address).await,
        };
        client.send_bytes(&bytes).await;
        drop(client);
    }
    still_serves(&running).await;
    assert!(!running.server.is_finished());
}

#[tokio::test]
async fn five_hundred_idle_connections_disturb_nobody() {
    let running = start(ServerOptions { connections_max: 600, ..options() }).await;
    let before = resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(Client::open(running.address).await);
    }
    assert!(resident_bytes() - before < 100 << 20);
    still_serves(&running).await;
}
