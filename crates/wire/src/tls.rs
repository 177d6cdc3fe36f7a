//! The server's certificate: given as PEM files, or self-signed and kept in the data folder.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// The protocol's name in TLS's ALPN.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// A certificate with its key, checked to belong together.
#[derive(Clone)]
pub struct Certificate {
    pub(crate) config: Arc<ServerConfig>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Why there is no TLS: the server must not start without it.
#[derive(Debug)]
pub struct CertificateError {
    what: &'static str,
    path: PathBuf,
    reason: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.what, self.path.display(), self.reason)
    }
}

impl std::error::Error for CertificateError {}

impl Certificate {
    /// Reads a certificate chain and its private key.
    ///
    /// # Errors
    ///
    /// When a file is missing or not PEM, holds no certificate or key, or the two do not belong together.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Certificate, CertificateError> {
        let broken_chain = |reason: String| CertificateError {
            what: "cannot use the TLS certificate",
            path: chain.to_owned(),
            reason,
        };
        let broken_key =
            |reason: String| CertificateError { what: "cannot use the TLS key", path: key.to_owned(), reason };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| broken_chain(error.to_string()))?;
        if certificates.is_empty() {
            return Err(broken_chain("no certificate in the file".into()));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| broken_key(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken_key(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, secret)
            .map_err(|error| broken_chain(error.to_string()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Certificate { config: Arc::new(config) })
    }

    /// The certificate `tls.crt` with `tls.key` in a folder; made at the first start, for this machine's own names.
    ///
    /// # Errors
    ///
    /// As [`Certificate::from_pem_files`], or when the files cannot be written. What is there is never replaced.
    pub fn self_signed(folder: &Path) -> Result<Certificate, CertificateError> {
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        // The certificate is written last: without it, a key is the rest of an interrupted first start.
        if !chain.exists() {
            make(&chain, &key).map_err(|reason| CertificateError {
                what: "cannot make a TLS certificate in",
                path: folder.to_owned(),
                reason,
            })?;
        }
        Certificate::from_pem_files(&chain, &key)
    }
}

fn make(chain: &Path, key: &Path) -> Result<(), String> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    if let Some(folder) = chain.parent() {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    write_private(key, &made.signing_key.serialize_pem()).map_err(|error| error.to_string())?;
    write_private(chain, &made.cert.pem()).map_err(|error| error.to_string())
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_self_signed_certificate_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        Certificate::self_signed(&keys).unwrap();
        let first = fs::read(keys.join("tls.crt")).unwrap();
        let mode = fs::metadata(keys.join("tls.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Certificate::self_signed(&keys).unwrap();
        assert_eq!(fs::read(keys.join("tls.crt")).unwrap(), first);
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        Certificate::self_signed(folder.path()).unwrap();
        let other = tempfile::tempdir().unwrap();
        Certificate::self_signed(other.path()).unwrap();
        let check = |chain: &Path, key: &Path, named: &Path| {
            let error = Certificate::from_pem_files(chain, key).unwrap_err().to_string();
            assert!(error.contains(named.to_str().unwrap()), "{error}");
        };
        check(&folder.path().join("none.crt"), &key, &folder.path().join("none.crt"));
        check(&chain, &folder.path().join("none.key"), &folder.path().join("none.key"));
        check(&chain, &other.path().join("tls.key"), &chain);
        fs::write(&chain, "-----BEGIN CERTIFICATE-----\nzzz\n-----END CERTIFICATE-----\n").unwrap();
        check(&chain, &key, &chain);
        fs::write(&chain, "").unwrap();
        check(&chain, &key, &chain);
    }
}
