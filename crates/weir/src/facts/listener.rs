//! Facts over TLS: all planes on one address, told apart by the path.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use weir_facts::{Peer, Server, protocol::Listener};

use crate::config::Config;

/// From connecting to being encrypted.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after a failed accept, for example for file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens until the token is cancelled; where it does.
///
/// # Errors
/// Why it does not.
pub(super) async fn start(
    address: SocketAddr,
    chain: &Path,
    key: &Path,
    server: Server,
    config: &Config,
    until: CancellationToken,
) -> Result<SocketAddr, String> {
    let acceptor = acceptor(chain, key)?;
    let listening = |error: std::io::Error| format!("cannot listen on {address} for facts: {error}");
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let bound = listener.local_addr().map_err(listening)?;
    let free = Arc::new(Semaphore::new(config.facts_connections_max.clamp(1, 1_000_000)));
    tokio::spawn(async move {
        tokio::select! {
            () = until.cancelled() => {}
            () = accept(listener, acceptor, server, free) => {}
        }
    });
    Ok(bound)
}

fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let broken = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| broken(chain, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| broken(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, secret)
        .map_err(|error| broken(chain, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: Server, free: Arc<Semaphore>) {
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    serve(stream, peer, acceptor, server).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "the facts' listener cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, server: Server) {
    // Answers are small, and clients wait for them.
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => server.serve(stream, Listener::Shared, Some(Peer::Address(peer.ip().to_canonical()))).await,
        Ok(Err(error)) => debug!(%peer, %error, "no TLS with a client of facts"),
        Err(_) => debug!(%peer, "a client of facts did not begin TLS in time"),
    }
}
