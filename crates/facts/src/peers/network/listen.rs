//! Connections that others make: who proves who it is is heard.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use super::{AGE_MAX, GREETING_MAX, HEARTBEAT_EVERY, LinkError, Network, SILENCE_MAX, greeting::greet};
use crate::peers::{
    frame::{self, FrameError, HEARTBEAT, MEMBERSHIP, MESSAGE},
    membership::Input,
    outgoing::decode,
    roster::Peer,
};

/// Connections that have not yet proved who they are. Each has a few seconds for it.
const STRANGERS_MAX: usize = 64;
const READ_AT_ONCE: usize = 64 << 10;
/// After the system could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Until the peers end.
pub(in crate::peers) async fn listen(network: Arc<Network>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of another node could not be taken");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Those who come when there are too many are not even asked.
        let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else {
            network.strangers.count();
            continue;
        };
        network.tasks.spawn(answer(Arc::clone(&network), stream, place));
    }
}

async fn answer(network: Arc<Network>, stream: TcpStream, place: OwnedSemaphorePermit) {
    let from = stream.peer_addr().ok();
    let greeted = timeout(GREETING_MAX, greeted(&network, stream)).await.unwrap_or(Err(LinkError::TimedOut));
    drop(place);
    match greeted {
        Ok(None) => {}
        Ok(Some((stream, peer))) => {
            let number = network.connections.fetch_add(1, Ordering::Relaxed);
            let serving = serve(Arc::clone(&network), stream, Arc::clone(&peer), number);
            let task = network.tasks.spawn(serving);
            peer.set_incoming(number, task);
            peer.wake.notify_one();
        }
        Err(error) => {
            network.strangers.count();
            tracing::warn!(?from, %error, "a connection is refused");
        }
    }
}

/// `None`: the other wanted to know who is here.
async fn greeted(network: &Network, stream: TcpStream) -> Result<Option<(TlsStream<TcpStream>, Arc<Peer>)>, LinkError> {
    stream.set_nodelay(true)?;
    let (mut stream, name) = network.tls().accept(stream).await?;
    let hello = greet(network, &mut stream, &name, false).await?;
    let peer = network.roster.learn(&name.node, Some(hello.identity.address())).ok_or(LinkError::TooMany)?;
    if hello.introduces {
        stream.shutdown().await?;
        return Ok(None);
    }
    network.node.admit(name.node).await?;
    Ok(Some((stream, peer)))
}

async fn serve(network: Arc<Network>, stream: TlsStream<TcpStream>, peer: Arc<Peer>, number: u64) {
    let (reader, writer) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = receive(&network, &peer, reader) => ended,
        ended = beat(writer) => ended,
        () = sleep(AGE_MAX + GREETING_MAX) => Ok(()),
    };
    peer.end_incoming(number);
    match ended {
        Err(error @ (LinkError::Garbage | LinkError::Frame(FrameError::TooLarge { .. }))) => {
            peer.counters.broken.count();
            tracing::warn!(node = %peer.node, %error, "a connection is closed");
        }
        ended => tracing::debug!(node = %peer.node, ?ended, "a connection ended"),
    }
}

/// A message that finds no room at the node keeps those behind it, and at last the peer, waiting.
async fn receive(network: &Network, peer: &Peer, reader: impl AsyncRead + Unpin) -> Result<(), LinkError> {
    let mut reader = BufReader::with_capacity(READ_AT_ONCE, reader);
    loop {
        let frame = frame::read(&mut reader, network.message_bytes_max, SILENCE_MAX).await?;
        match frame.kind {
            MESSAGE => {
                let message = decode(&frame.body).ok_or(LinkError::Garbage)?;
                peer.counters.received.count();
                network.node.deliver(peer.node.clone(), message, frame.body.len()).await?;
            }
            MEMBERSHIP => {
                let input = Input::Packet { from: peer.node.clone(), packet: frame.body.into() };
                // What finds no room is lost, as packets may be.
                let _ = network.membership.try_send(input);
            }
            _ => return Err(LinkError::Garbage),
        }
    }
}

async fn beat(mut writer: impl AsyncWrite + Unpin) -> Result<(), LinkError> {
    loop {
        writer.write_all(&HEARTBEAT).await?;
        writer.flush().await?;
        sleep(HEARTBEAT_EVERY).await;
    }
}
