//! One connection to the broker: from its greeting to its end.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    Broker, BrokerError, CONNECT_MAX, PRESENT_EVERY, SILENCE_MAX,
    parts::{self, HEAD_BYTES, Unfinished},
    protocol::{self, Info, LINE_MAX, Said},
    queue::Addressed,
    sealing::{Opened, SEALED_EXTRA_MAX},
    server::ServerAddress,
};
use crate::peers::outgoing::decode;

/// What a sealed message begins with: a part of a message, or a sign that its sender is there.
const PART: u8 = 1;
const PRESENT: u8 = 2;
/// A broker has to take so much at least.
const PAYLOAD_MIN: usize = 1 << 10;
/// More than any broker takes by default.
const PAYLOAD_MAX: usize = 8 << 20;
const BATCH_BYTES: usize = 256 << 10;
const CHUNK: usize = 64 << 10;
/// Of unfinished messages of all senders.
const UNFINISHED_MESSAGES: usize = 4;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Reader = BufReader<tokio::io::ReadHalf<Box<dyn Stream>>>;
type Writer = tokio::io::WriteHalf<Box<dyn Stream>>;

/// Until it ends.
pub(super) async fn run(broker: &Broker, server: &ServerAddress) -> Result<(), BrokerError> {
    let opened = timeout(CONNECT_MAX, open(broker, server)).await.map_err(|_| BrokerError::TimedOut)??;
    let (mut reader, mut writer, info) = opened;
    let part_bytes = info.max_payload.min(PAYLOAD_MAX);
    if part_bytes < PAYLOAD_MIN {
        return Err(BrokerError::TooSmall(info.max_payload));
    }
    let part_bytes = part_bytes - SEALED_EXTRA_MAX - HEAD_BYTES - 1;
    broker.connections.count();
    *broker.last_error.lock() = None;
    tracing::info!(broker = %server, "connected to the broker");
    broker.queue.open();
    // What either missed while there was no connection it asks for once it knows where the other stands.
    broker.node.announce();
    let owes_pong = AtomicBool::new(false);
    tokio::select! {
        ended = receive(broker, &mut reader, &owes_pong) => ended,
        ended = send(broker, &mut writer, part_bytes, &owes_pong) => ended,
    }
}

/// Greets the broker, says who this is, and subscribes.
async fn open(broker: &Broker, server: &ServerAddress) -> Result<(Reader, Writer, Info), BrokerError> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    stream.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let info = greeting(&mut stream).await?;
    let is_tls = info.tls_required || server.tls_only;
    if is_tls {
        if !info.tls_required && !info.tls_available {
            return Err(BrokerError::NoTls);
        }
        let connector = broker.tls.as_ref().ok_or(BrokerError::NoAuthority)?;
        let name = ServerName::try_from(server.host.clone()).map_err(|_| BrokerError::Protocol("no name of a host"))?;
        stream = Box::new(connector.connect(name, stream).await?);
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let mut text = protocol::connect(server, broker.own.as_str(), is_tls)?;
    for (number, subject) in (1..).zip(broker.sealing.subscribed()) {
        text.push_str(&format!("SUB {subject} {number}\r\n"));
    }
    text.push_str("PING\r\n");
    writer.write_all(text.as_bytes()).await?;
    writer.flush().await?;
    // It answers in order: after this, it knows of the subscriptions.
    let mut line = Vec::new();
    loop {
        match read_line(&mut reader, &mut line).await? {
            Said::Pong => return Ok((reader, writer, info)),
            Said::Error(why) => return Err(BrokerError::Said(why.to_owned())),
            Said::Message { bytes, .. } => drop(read_payload(&mut reader, bytes).await?),
            Said::Info(_) | Said::Ping | Said::Ok => {}
        }
    }
}

/// Byte by byte, as what comes after it may be TLS.
async fn greeting(stream: &mut Box<dyn Stream>) -> Result<Info, BrokerError> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() >= LINE_MAX {
            return Err(BrokerError::Protocol("a line without end"));
        }
        line.push(stream.read_u8().await?);
    }
    match protocol::parse(line.trim_ascii_end())? {
        Said::Info(info) => Ok(info),
        Said::Error(why) => Err(BrokerError::Said(why.to_owned())),
        _ => Err(BrokerError::Protocol("no greeting")),
    }
}

async fn read_line<'a>(reader: &mut Reader, line: &'a mut Vec<u8>) -> Result<Said<'a>, BrokerError> {
    line.clear();
    let silent = |_| BrokerError::Silent(SILENCE_MAX);
    let mut reader = (&mut *reader).take(LINE_MAX as u64);
    timeout(SILENCE_MAX, reader.read_until(b'\n', line)).await.map_err(silent)??;
    match line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")) {
        Some(line) => protocol::parse(line),
        None if line.is_empty() => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        None => Err(BrokerError::Protocol("a line without end")),
    }
}

async fn read_payload(reader: &mut Reader, bytes: usize) -> Result<Vec<u8>, BrokerError> {
    if bytes > PAYLOAD_MAX {
        return Err(BrokerError::Protocol("a message that is too long"));
    }
    let mut payload = Vec::with_capacity(bytes.min(CHUNK));
    while payload.len() < bytes + 2 {
        let mut part = (&mut *reader).take((bytes + 2 - payload.len()).min(CHUNK) as u64);
        let read = timeout(SILENCE_MAX, part.read_buf(&mut payload)).await;
        if read.map_err(|_| BrokerError::Silent(SILENCE_MAX))?? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
    payload.truncate(bytes);
    Ok(payload)
}

async fn receive(broker: &Broker, reader: &mut Reader, owes_pong: &AtomicBool) -> Result<(), BrokerError> {
    let mut unfinished =
        Unfinished::new(broker.message_bytes_max, broker.message_bytes_max.saturating_mul(UNFINISHED_MESSAGES));
    let mut line = Vec::new();
    loop {
        let (subject, bytes) = match read_line(reader, &mut line).await? {
            Said::Message { subject, bytes } => (subject.to_owned(), bytes),
            Said::Ping => {
                owes_pong.store(true, Ordering::Relaxed);
                continue;
            }
            Said::Error(why) => return Err(BrokerError::Said(why.to_owned())),
            Said::Info(_) | Said::Pong | Said::Ok => continue,
        };
        let payload = read_payload(reader, bytes).await?;
        match broker.sealing.open(&subject, &payload) {
            Some(opened) if opened.from != broker.own => broker.take(opened, &mut unfinished).await?,
            // Sealed for another plane or subject, changed on the way, or by a copy of this node.
            _ => broker.refused.count(),
        }
    }
}

impl Broker {
    async fn take(&self, opened: Opened, unfinished: &mut Unfinished) -> Result<(), BrokerError> {
        let Opened { from, text } = opened;
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&from)) {
            self.refused.count();
            return Ok(());
        }
        let Some(peer) = self.roster.learn(&from, None) else { return Ok(()) };
        match text.split_first() {
            Some((&PRESENT, at)) => {
                let Some(at) = at.first_chunk::<8>().map(|at| u64::from_be_bytes(*at)) else { return Ok(()) };
                // What a broker repeats makes nobody present.
                if peer.hear_over_broker(at) && !peer.is_admitted() {
                    self.node.admit(from).await?;
                    peer.set_admitted();
                }
            }
            Some((&PART, part)) => {
                let Some(bytes) = unfinished.take(&from, part) else { return Ok(()) };
                let Some(message) = decode(&bytes) else {
                    self.refused.count();
                    return Ok(());
                };
                self.received.count();
                self.node.deliver(from, message, bytes.len()).await?;
            }
            _ => self.refused.count(),
        }
        Ok(())
    }
}

async fn send(
    broker: &Broker,
    writer: &mut Writer,
    part_bytes: usize,
    owes_pong: &AtomicBool,
) -> Result<(), BrokerError> {
    let mut present_at: Option<Instant> = None;
    let mut buffer = Vec::new();
    loop {
        let is_due = present_at.is_none_or(|at| at.elapsed() >= PRESENT_EVERY);
        if is_due {
            present_at = Some(Instant::now());
            present(broker, &mut buffer);
        }
        if owes_pong.swap(false, Ordering::Relaxed) {
            buffer.extend_from_slice(b"PONG\r\n");
        }
        if !buffer.is_empty() {
            writer.write_all(&buffer).await?;
            writer.flush().await?;
            buffer.clear();
            buffer.shrink_to(2 * BATCH_BYTES);
        }
        let Ok(messages) = timeout(PRESENT_EVERY, broker.queue.take(BATCH_BYTES)).await else { continue };
        for message in messages {
            put(broker, &mut buffer, message, part_bytes);
            if buffer.len() >= BATCH_BYTES {
                writer.write_all(&buffer).await?;
                buffer.clear();
            }
        }
    }
}

/// Tells the others and the broker that this node is there; the broker has to answer.
fn present(broker: &Broker, buffer: &mut Vec<u8>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_be_bytes();
    let subject = broker.sealing.subject(None);
    if let Some(sealed) = broker.sealing.seal(&subject, &[&[PRESENT], &at]) {
        publish(buffer, &subject, &sealed);
    }
    buffer.extend_from_slice(b"PING\r\n");
}

fn put(broker: &Broker, buffer: &mut Vec<u8>, (to, message): Addressed, part_bytes: usize) {
    let number = broker.messages.fetch_add(1, Ordering::Relaxed);
    let bytes = message.encoded().filter(|bytes| bytes.len() <= broker.message_bytes_max);
    let Some(parts) = bytes.as_deref().and_then(|bytes| parts::split(number, bytes, part_bytes)) else {
        tracing::warn!("a message is too large to be sent");
        return broker.queue.count_dropped();
    };
    let subject = broker.sealing.subject(to.as_ref());
    for (head, part) in parts {
        match broker.sealing.seal(&subject, &[&[PART], &head, part]) {
            Some(sealed) => publish(buffer, &subject, &sealed),
            None => return broker.queue.count_dropped(),
        }
    }
    broker.sent.count();
}

fn publish(buffer: &mut Vec<u8>, subject: &str, payload: &[u8]) {
    buffer.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    buffer.extend_from_slice(payload);
    buffer.extend_from_slice(b"\r\n");
}
