//! From an accepted socket to an authenticated session: encryption, start-up packet, password.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use weir_model::{ClientAddress, Code, Identity, Refusal};

use crate::{
    authenticate::{Authenticator, LoginRequest, uniform},
    cancel::CancelRegistry,
    connection::{Connection, End, Transport},
    frontend::{self, Kind},
    messages, meters,
    server::TlsMode,
    startup::packet::{Packet, StartupParameters},
};

pub(crate) mod options;
pub(crate) mod packet;

/// Longest start-up packet, as in PostgreSQL.
const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest message before a client is authenticated: a token, and room around it.
pub(crate) const UNAUTHENTICATED_BYTES_MAX: usize = 16 * 1024;
/// First byte of a TLS handshake record: a client that starts with TLS at once.
const TLS_HANDSHAKE: u8 = 0x16;

/// What start-up needs to know of the server and the socket.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    pub(crate) tls: Option<&'a TlsAcceptorConfig>,
    pub(crate) tls_mode: TlsMode,
    pub(crate) client: &'a ClientAddress,
    pub(crate) cancels: &'a Arc<CancelRegistry>,
    pub(crate) authenticator: &'a dyn Authenticator,
    pub(crate) failure_delay: Duration,
}

/// A TLS configuration ready to accept.
#[derive(Clone)]
pub(crate) struct TlsAcceptorConfig(pub(crate) Arc<rustls::ServerConfig>);

impl std::fmt::Debug for TlsAcceptorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptorConfig")
    }
}

/// A client that proved who it is.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) identity: Identity,
    pub(crate) parameters: StartupParameters,
}

fn violation(what: &str) -> End {
    End::Fatal(Refusal::new(Code::ProtocolViolation, what))
}

/// Runs start-up to its end. A cancel request is served and ends it with [`End::Terminated`].
pub(crate) async fn admit(connection: &mut Connection, door: &Door<'_>) -> Result<Admitted, End> {
    let mut encrypted = false;
    let (mut asked_tls, mut asked_gss) = (false, false);
    if first_byte(connection).await? == TLS_HANDSHAKE {
        let tls = door.tls.ok_or_else(|| violation("this server does not speak TLS"))?;
        start_tls(connection, tls, true).await?;
        (encrypted, asked_tls) = (true, true);
    }
    loop {
        let body = startup_packet(connection).await?;
        match packet::read(&body).map_err(End::Fatal)? {
            Packet::SslRequest if asked_tls => return Err(violation("a second SSLRequest in one connection")),
            Packet::SslRequest => {
                asked_tls = true;
                encrypted = answer_tls_request(connection, door).await?;
            }
            Packet::GssEncRequest if asked_gss || encrypted => {
                return Err(violation("a GSSENCRequest where none is allowed"));
            }
            Packet::GssEncRequest => {
                asked_gss = true;
                no_injected_bytes(connection)?;
                connection.output.put_u8(b'N');
                connection.flush().await?;
            }
            Packet::Cancel { process, secret } => {
                let matched = door.cancels.cancel(process, secret);
                let matched = if matched { "yes" } else { "no" };
                metrics::counter!(meters::CANCEL_REQUESTS_TOTAL, "matched" => matched).increment(1);
                // libpq takes a close without TLS's own goodbye for a failed cancellation.
                connection.shut_down().await;
                return Err(End::Terminated);
            }
            Packet::Startup(parameters) => return authenticate(connection, door, parameters, encrypted).await,
        }
    }
}

async fn first_byte(connection: &mut Connection) -> Result<u8, End> {
    loop {
        if let Some(byte) = connection.input.first() {
            return Ok(*byte);
        }
        connection.fill().await?;
    }
}

/// One packet of the start-up phase: a length, which counts itself, and that many bytes.
async fn startup_packet(connection: &mut Connection) -> Result<BytesMut, End> {
    loop {
        if let Some(length) = connection.input.first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            if !(8..=STARTUP_BYTES_MAX).contains(&length) {
                return Err(violation("invalid length of startup packet"));
            }
            if connection.input.len() >= length {
                let mut packet = connection.input.split_to(length);
                packet.advance(4);
                return Ok(packet);
            }
        }
        connection.fill().await?;
    }
}

/// Bytes that were sent before the answer to an encryption request could be injected by someone in the middle.
fn no_injected_bytes(connection: &Connection) -> Result<(), End> {
    if connection.input.is_empty() {
        Ok(())
    } else {
        Err(violation("received unencrypted data after an encryption request"))
    }
}

async fn answer_tls_request(connection: &mut Connection, door: &Door<'_>) -> Result<bool, End> {
    no_injected_bytes(connection)?;
    let Some(tls) = door.tls else {
        connection.output.put_u8(b'N');
        connection.flush().await?;
        return Ok(false);
    };
    connection.output.put_u8(b'S');
    connection.flush().await?;
    start_tls(connection, tls, false).await?;
    Ok(true)
}

/// Wraps the socket. A direct start must name the protocol (ALPN `postgresql`), so that no other protocol's client can
/// be tricked into speaking this one.
async fn start_tls(connection: &mut Connection, tls: &TlsAcceptorConfig, direct: bool) -> Result<(), End> {
    let received = connection.input.split().freeze();
    let plain = connection.replace_transport(Box::new(tokio::io::empty()));
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.0));
    let stream = acceptor.accept(Received { received, transport: plain }).await.map_err(|error| {
        tracing::debug!(%error, "TLS handshake failed");
        End::Closed
    })?;
    let protocol_named = stream.get_ref().1.alpn_protocol() == Some(crate::tls::ALPN);
    connection.replace_transport(Box::new(stream));
    if direct && !protocol_named {
        return Err(violation("a direct TLS connection must offer the ALPN protocol \"postgresql\""));
    }
    Ok(())
}

async fn authenticate(
    connection: &mut Connection,
    door: &Door<'_>,
    parameters: StartupParameters,
    encrypted: bool,
) -> Result<Admitted, End> {
    if parameters.minor > packet::MINOR_MAX || !parameters.unknown_options.is_empty() {
        let minor = parameters.minor.min(packet::MINOR_MAX);
        messages::put_negotiate_version(&mut connection.output, minor, parameters.unknown_options.clone());
    }
    let private = match door.client {
        ClientAddress::Local => true,
        ClientAddress::Ip(address) => address.is_loopback() && door.tls_mode == TlsMode::Prefer,
    };
    if !encrypted && !private {
        return Err(End::Fatal(
            Refusal::new(Code::TlsRequired, "a password is taken over TLS only")
                .hint("connect with sslmode=require or stricter"),
        ));
    }
    messages::put_password_request(&mut connection.output);
    connection.flush().await?;
    let frame = loop {
        if let Some(frame) = connection.take_frame()? {
            break frame;
        }
        connection.fill().await?;
    };
    if frame.kind != Kind::Password {
        return Err(violation("expected a password message"));
    }
    let password = frontend::one_text(&frame.body).map_err(End::Fatal)?;
    let asked_at = Instant::now();
    let request = LoginRequest {
        user: &parameters.user,
        database: &parameters.database,
        password,
        client: door.client,
        secure: encrypted || *door.client == ClientAddress::Local,
    };
    match door.authenticator.authenticate(request).await {
        Ok(identity) => Ok(Admitted { identity, parameters }),
        Err(refusal) => {
            metrics::counter!(meters::AUTH_FAILURES_TOTAL, "code" => refusal.code().as_str()).increment(1);
            tracing::info!(client = %door.client, code = %refusal.code(), "authentication failed");
            // Every failure takes the same time, whatever it was that did not fit.
            tokio::time::sleep_until(asked_at + door.failure_delay).await;
            Err(End::Fatal(uniform(refusal, &parameters.user)))
        }
    }
}

/// A transport with bytes that were read from it before.
struct Received {
    received: Bytes,
    transport: Box<dyn Transport>,
}

impl AsyncRead for Received {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.transport).poll_read(context, out);
        }
        let length = self.received.len().min(out.remaining());
        out.put_slice(&self.received.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Received {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
