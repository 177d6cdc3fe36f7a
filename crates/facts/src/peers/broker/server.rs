use std::{fmt, fs, path::Path, str::FromStr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::peers::certificate::CertificateError;

const PORT: u16 = 4_222;

/// Where a NATS server is and who one is there: `nats://[user:password@]host[:port]` or `nats://token@host`; `tls://`
/// for one that is spoken to over TLS alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls_only: bool,
    pub(super) login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Token(Zeroizing<String>),
    Password { user: String, password: Zeroizing<String> },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a NATS server's address is as `nats://host:4222` or `tls://user:password@host`; {0}")]
pub struct InvalidServer(&'static str);

impl FromStr for ServerAddress {
    type Err = InvalidServer;

    fn from_str(text: &str) -> Result<ServerAddress, InvalidServer> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidServer("this one has no scheme"))?;
        let tls_only = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(InvalidServer("this scheme is neither")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => (Some(login), place),
        };
        let login = login.map(|login| match login.split_once(':') {
            None => Login::Token(Zeroizing::new(login.to_owned())),
            Some((user, password)) => {
                Login::Password { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) }
            }
        });
        let (host, port) = host_and_port(place)?;
        if host.is_empty() || host.contains(['/', '@', ' ', '?']) {
            return Err(InvalidServer("this host is none"));
        }
        Ok(ServerAddress { host: host.to_owned(), port, tls_only, login })
    }
}

fn host_and_port(place: &str) -> Result<(&str, u16), InvalidServer> {
    // Addresses with colons stand in brackets.
    let bracketed = place.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(InvalidServer("this host is none"))?)),
        None => match place.split_once(':') {
            None => (place, None),
            Some((host, port)) => (host, Some(port)),
        },
    };
    match port {
        None => Ok((host, PORT)),
        Some(port) => port.parse().map(|port| (host, port)).map_err(|_| InvalidServer("this port is none")),
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls_only { "tls" } else { "nats" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Judges the broker's certificate by the authorities in a PEM file.
pub(super) fn tls(authority: &Path) -> Result<TlsConnector, CertificateError> {
    let text = fs::read(authority).map_err(CertificateError::file(authority))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| CertificateError::unusable(authority, error))?;
        roots.add(certificate).map_err(|error| CertificateError::unusable(authority, error))?;
    }
    if roots.is_empty() {
        return Err(CertificateError::unusable(authority, "no certificate in the file"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificateError::unusable(authority, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_do_not_show_who_one_is() {
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<ServerAddress>().ok().map(|server| format!("{server:?}"));
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("nats://localhost", Some("nats://localhost:4222"));
        check("nats://localhost:4333/", Some("nats://localhost:4333"));
        check("tls://alice:se:cr@et@broker.example:1", Some("tls://broker.example:1"));
        check("nats://token@10.0.0.1", Some("nats://10.0.0.1:4222"));
        check("nats://[::1]:4333", Some("nats://::1:4333"));
        for wrong in ["", "localhost:4222", "http://localhost", "nats://", "nats://a:b", "nats://a:70000", "nats://a b"]
        {
            check(wrong, None);
        }
        let login = "nats://alice:s:1@host".parse::<ServerAddress>().ok().and_then(|server| server.login);
        assert!(
            login == Some(Login::Password { user: "alice".to_owned(), password: Zeroizing::new("s:1".to_owned()) })
        );
    }
}
