//! What is measured: a node's data plane, and what one would use instead, all by the same program.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::unix::Unix;

/// Tells connections' inboxes apart.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A server, and how it is spoken to.
#[derive(Debug, Clone)]
pub enum Peer {
    /// The data plane at a socket, with a token that may write `approvals.*`.
    Facts { socket: String, token: String },
    /// Redis at a socket.
    Redis { socket: String },
    /// A key-value bucket of NATS JetStream at an address, with files.
    Nats { address: String },
}

impl Peer {
    /// From `redis:<socket>`, `nats:<address>` or the data plane's `<socket>`.
    pub fn of(text: &str, token: &str) -> Peer {
        match text.split_once(':') {
            Some(("redis", socket)) => Peer::Redis { socket: socket.to_owned() },
            Some(("nats", address)) => Peer::Nats { address: address.to_owned() },
            _ => Peer::Facts { socket: text.to_owned(), token: token.to_owned() },
        }
    }

    /// `inbox`: of the connection, for NATS.
    pub fn put(&self, inbox: u64, out: &mut String, id: u64, key: u64) {
        match self {
            Peer::Facts { .. } => {
                write!(out, "event: put\nid: {id}\ndata: {{\"method\":\"put\",\"params\":").unwrap();
                entry(out, key, id);
                out.push_str("}\n\n");
            }
            Peer::Redis { .. } => {
                out.push_str("*3\r\n$3\r\nSET\r\n");
                argument(out, &name(key));
                argument(out, &value(id));
            }
            Peer::Nats { .. } => publish(out, inbox, &format!("$KV.bench.{}", name(key)), &value(id)),
        }
    }

    pub fn get(&self, out: &mut String, id: u64, key: u64) {
        match self {
            Peer::Facts { .. } => {
                let name = name(key);
                writeln!(out, "event: get\nid: {id}\ndata: {{\"method\":\"get\",\"params\":{{\"key\":\"{name}\"}}}}\n")
                    .unwrap();
            }
            Peer::Redis { .. } => {
                out.push_str("*2\r\n$3\r\nGET\r\n");
                argument(out, &name(key));
            }
            Peer::Nats { .. } => panic!("no reads of NATS"),
        }
    }

    /// Of the evaluation plane.
    pub fn evaluate(out: &mut String, id: u64, key: u64) {
        writeln!(
            out,
            "event: evaluate\nid: {id}\ndata: {{\"method\":\"evaluate\",\"params\":{{\"policies\":\
             [\"prod.deployment.approval\"],\"context\":{{\"resource\":\"production\",\"action\":\"deploy\",\
             \"request\":{{\"deployment_id\":\"deploy-{key}\"}}}}}}}}\n"
        )
        .unwrap();
    }

    /// As one request.
    pub fn batch(&self, out: &mut String, id: u64, keys: impl Iterator<Item = u64>) {
        let keys: Vec<u64> = keys.collect();
        match self {
            Peer::Facts { .. } => {
                write!(out, "event: batch-put\nid: {id}\ndata: {{\"method\":\"batch-put\",\"params\":{{\"entries\":[")
                    .unwrap();
                for (place, key) in keys.into_iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    entry(out, key, id);
                }
                out.push_str("]}}\n\n");
            }
            Peer::Redis { .. } => {
                write!(out, "*{}\r\n$4\r\nMSET\r\n", 1 + 2 * keys.len()).unwrap();
                for key in keys {
                    argument(out, &name(key));
                    argument(out, &value(id));
                }
            }
            Peer::Nats { .. } => panic!("no batches of NATS"),
        }
    }

    pub fn subscribe(out: &mut String, id: u64) {
        let name = name(id);
        writeln!(
            out,
            "event: subscribe\nid: {id}\ndata: {{\"method\":\"subscribe\",\"params\":{{\"pattern\":\"{name}\"}}}}\n"
        )
        .unwrap();
    }

    /// The length of the answer that the text begins with, if it is whole, and whether it is one.
    fn answer(&self, text: &[u8]) -> Option<(usize, bool)> {
        match self {
            Peer::Facts { .. } => {
                let end = find(text, b"\n\n")?;
                let frame = &text[..end];
                assert!(find(frame, b"\"error\"").is_none(), "{}", String::from_utf8_lossy(frame));
                Some((end + 2, !frame.starts_with(b":")))
            }
            Peer::Redis { .. } => {
                let end = find(text, b"\r\n")?;
                assert!(text[0] != b'-', "{}", String::from_utf8_lossy(&text[..end]));
                let value: i64 = if text[0] == b'$' { number(&text[1..end]) } else { -1 };
                let whole = end + 2 + usize::try_from(value).map_or(0, |value| value + 2);
                (text.len() >= whole).then_some((whole, true))
            }
            Peer::Nats { .. } => {
                let end = find(text, b"\r\n")?;
                if !text.starts_with(b"MSG") {
                    assert!(text[0] != b'-', "{}", String::from_utf8_lossy(&text[..end]));
                    return Some((end + 2, false));
                }
                let start = 1 + text[..end].iter().rposition(|byte| *byte == b' ').unwrap();
                let whole = end + 2 + usize::try_from(number(&text[start..end])).unwrap() + 2;
                let answer = text.get(end + 2..whole)?;
                assert!(find(answer, b"\"error\"").is_none(), "{}", String::from_utf8_lossy(answer));
                Some((whole, true))
            }
        }
    }
}

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

fn name(key: u64) -> String {
    format!("approvals.deploy-{key}")
}

/// 100 bytes.
fn value(number: u64) -> String {
    format!("{{\"approvers\":[\"alice\",\"bob\"],\"required\":2,\"note\":\"{number:0>48}\"}}")
}

fn entry(out: &mut String, key: u64, number: u64) {
    write!(out, "{{\"key\":\"{}\",\"value\":{}}}", name(key), value(number)).unwrap();
}

fn argument(out: &mut String, text: &str) {
    write!(out, "${}\r\n{text}\r\n", text.len()).unwrap();
}

fn publish(out: &mut String, inbox: u64, subject: &str, text: &str) {
    write!(out, "PUB {subject} _INBOX.{}.{inbox} {}\r\n{text}\r\n", std::process::id(), text.len()).unwrap();
}

/// As `nats kv add` makes a bucket.
const BUCKET: &str = "{\"name\":\"KV_bench\",\"subjects\":[\"$KV.bench.>\"],\"max_msgs_per_subject\":1,\
    \"discard\":\"new\",\"allow_rollup_hdrs\":true,\"deny_delete\":true,\"storage\":\"file\",\"num_replicas\":1,\
    \"allow_direct\":true}";

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == what[0]) {
        if text[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection, and the answers that came.
pub struct Client {
    pub inbox: u64,
    peer: Peer,
    stream: Box<dyn Stream>,
    chunk: Vec<u8>,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(peer: &Peer) -> Client {
        let inbox = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let (stream, greeting): (Box<dyn Stream>, String) = match peer {
            Peer::Facts { socket, token } => (
                Box::new(Unix::connect(socket)),
                format!(
                    "GET /{} HTTP/1.1\r\nHost: ipe\r\nUpgrade: ipe/1.0\r\nAccept: text/event-stream\r\n\
                     Authorization: Bearer {token}\r\n\r\n",
                    if socket.ends_with("eval.sock") { "eval" } else { "data" }
                ),
            ),
            Peer::Redis { socket } => (Box::new(Unix::connect(socket)), "*1\r\n$4\r\nPING\r\n".to_owned()),
            Peer::Nats { address } => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let process = std::process::id();
                let mut greeting = format!("CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.{process}.{inbox} 1\r\n");
                publish(&mut greeting, inbox, "$JS.API.STREAM.CREATE.KV_bench", BUCKET);
                (Box::new(stream), greeting)
            }
        };
        let mut client = Client { inbox, peer: peer.clone(), stream, chunk: vec![0; 1 << 16], read: Vec::new() };
        client.send(&greeting).await;
        while client.answers().await == 0 {}
        client
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads once, and counts the answers that are whole now. One that is an error ends the program.
    pub async fn answers(&mut self) -> u64 {
        let count = self.stream.read(&mut self.chunk).await.unwrap();
        assert!(count > 0, "the server closed the connection");
        self.read.extend_from_slice(&self.chunk[..count]);
        let (mut answers, mut taken) = (0, 0);
        while let Some((length, is_one)) = self.peer.answer(&self.read[taken..]) {
            answers += u64::from(is_one);
            taken += length;
        }
        self.read.drain(..taken);
        answers
    }
}
