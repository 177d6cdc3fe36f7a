use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{CertificateError, Credentials, HOST, NodeName};

/// The protocol's name and version in TLS's ALPN.
const ALPN: &[u8] = b"weir-facts/1";

/// TLS 1.3 with certificates on both sides. Sessions are not resumed: each connection proves anew who it is.
pub(in crate::peers) struct Tls {
    name: NodeName,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    host: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    pub(in crate::peers) fn new(credentials: &Credentials) -> Result<Tls, CertificateError> {
        let failed = |error: &dyn fmt::Display| CertificateError::Issue(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(credentials.authority.clone()).map_err(|error| failed(&error))?;
        let roots = Arc::new(roots);
        let (chain, key) = (&credentials.chain, &credentials.key);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| failed(&error))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| failed(&error))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| failed(&error))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Tls {
            name: credentials.name.clone(),
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            host: ServerName::try_from(HOST).map_err(|error| failed(&error))?,
        })
    }

    /// What this node's certificate calls it.
    pub(in crate::peers) fn name(&self) -> &NodeName {
        &self.name
    }

    /// As the one who called; with what the other's certificate calls it.
    pub(in crate::peers) async fn connect(
        &self,
        stream: TcpStream,
    ) -> io::Result<(client::TlsStream<TcpStream>, NodeName)> {
        let stream = self.connector.connect(self.host.clone(), stream).await?;
        let (_, session) = stream.get_ref();
        let name = self.peer(session.alpn_protocol(), session.peer_certificates())?;
        Ok((stream, name))
    }

    /// As the one who was called.
    pub(in crate::peers) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(server::TlsStream<TcpStream>, NodeName)> {
        let stream = self.acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let name = self.peer(session.alpn_protocol(), session.peer_certificates())?;
        Ok((stream, name))
    }

    fn peer(&self, protocol: Option<&[u8]>, chain: Option<&[CertificateDer<'_>]>) -> io::Result<NodeName> {
        if protocol != Some(ALPN) {
            return Err(refused("it speaks another protocol"));
        }
        let name = chain.and_then(<[_]>::first).and_then(NodeName::of);
        let name = name.ok_or_else(|| refused("its certificate does not have one name of a node"))?;
        if name.plane != self.name.plane {
            return Err(refused("its certificate is one of another plane"));
        }
        if name.node == self.name.node {
            return Err(refused("it has this node's own name: it is this node, or a copy of it"));
        }
        Ok(name)
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
