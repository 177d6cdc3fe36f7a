//! The link to one peer: calling it for as long as it is known, and sending what waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{AGE_MAX, CONNECT_MAX, GREETING_MAX, HEARTBEAT_EVERY, LinkError, Network, SILENCE_MAX, greeting::greet};
use crate::peers::{
    backoff::Backoff,
    frame::{self, FrameError, HEARTBEAT, MEMBERSHIP, MESSAGE},
    membership::Input,
    outgoing::Item,
    roster::Peer,
};

/// Sent in one go, about.
const BATCH_BYTES: usize = 128 << 10;
const BUFFER_KEPT: usize = 1 << 20;
/// A link that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// Until the peer is forgotten.
pub(in crate::peers) async fn keep_calling(network: Arc<Network>, peer: Arc<Peer>) {
    let mut backoff = Backoff::default();
    loop {
        if network.roster.get(&peer.node).is_none_or(|known| !Arc::ptr_eq(&known, &peer)) {
            return;
        }
        let began = Instant::now();
        let ended = link(&network, &peer).await;
        peer.queue.close();
        if began.elapsed() > GOOD {
            backoff = Backoff::default();
        }
        let error = ended.err().map(|error| error.to_string());
        tracing::debug!(node = %peer.node, ?error, "no link");
        peer.set_error(error);
        tokio::select! {
            () = sleep(backoff.next()) => {}
            // It is there.
            () = peer.wake.notified() => {}
        }
    }
}

async fn link(network: &Network, peer: &Peer) -> Result<(), LinkError> {
    let mut failed = LinkError::NoAddress;
    for address in peer.addresses() {
        match connect(&address).await {
            Ok(stream) => return talk(network, peer, stream).await,
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

pub(super) async fn connect(address: &str) -> Result<TcpStream, LinkError> {
    let stream = timeout(CONNECT_MAX, TcpStream::connect(address)).await.map_err(|_| LinkError::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn talk(network: &Network, peer: &Peer, stream: TcpStream) -> Result<(), LinkError> {
    let tls = network.tls();
    let greeting = async {
        let (mut stream, name) = tls.connect(stream).await?;
        let hello = greet(network, &mut stream, &name, false).await?;
        Ok::<_, LinkError>((stream, name.node, hello))
    };
    let (stream, found, hello) = timeout(GREETING_MAX, greeting).await.map_err(|_| LinkError::TimedOut)??;
    if found != peer.node {
        return Err(LinkError::OtherNode { found, expected: peer.node.clone() });
    }
    network.node.admit(found).await?;
    network.roster.learn(&peer.node, Some(hello.identity.address()));
    peer.counters.links.count();
    peer.set_error(None);
    peer.queue.open();
    // What either missed while there was no link it asks for once it knows where the other stands.
    network.node.announce();
    // Without room the membership comes to it by itself.
    let _ = network.membership.try_send(Input::Connected(hello.identity));
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        ended = watch(reader) => ended,
        ended = send(network, peer, writer) => ended,
        () = sleep(AGE_MAX) => Ok(()),
    }
}

/// Nothing comes by this connection but signs that the other is there.
async fn watch(mut reader: impl AsyncRead + Unpin) -> Result<(), LinkError> {
    match frame::read(&mut reader, 0, SILENCE_MAX).await {
        Ok(_) | Err(FrameError::TooLarge { .. }) => Err(LinkError::Garbage),
        Err(error) => Err(error.into()),
    }
}

async fn send(network: &Network, peer: &Peer, mut writer: impl AsyncWrite + Unpin) -> Result<(), LinkError> {
    let mut buffer = Vec::new();
    loop {
        let Ok(items) = timeout(HEARTBEAT_EVERY, peer.queue.take(BATCH_BYTES)).await else {
            writer.write_all(&HEARTBEAT).await?;
            writer.flush().await?;
            continue;
        };
        buffer.shrink_to(BUFFER_KEPT);
        for item in items {
            let (kind, body) = match item {
                Item::Membership(packet) => (MEMBERSHIP, Some(packet)),
                Item::Message(message) => (MESSAGE, message.encoded()),
            };
            let body = body.filter(|body| body.len() <= network.message_bytes_max);
            let Some((head, body)) = body.and_then(|body| Some((frame::head(kind, body.len())?, body))) else {
                tracing::warn!(node = %peer.node, "a message is too large to be sent");
                peer.queue.count_dropped();
                continue;
            };
            buffer.extend_from_slice(&head);
            buffer.extend_from_slice(&body);
            peer.counters.sent.count();
            if buffer.len() >= BATCH_BYTES {
                writer.write_all(&buffer).await?;
                buffer.clear();
            }
        }
        writer.write_all(&buffer).await?;
        buffer.clear();
        writer.flush().await?;
    }
}
