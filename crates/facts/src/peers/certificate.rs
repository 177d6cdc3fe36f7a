//! Who a node is to others: a certificate of the plane's own authority, with the plane's and the node's name in it.
//!
//! Each plane has an authority of its own, which vouches for nothing else; so a certificate of any other authority is
//! worth nothing here, whatever it says. A node's name is in a URI among the certificate's names,
//! `weir-facts://<plane>/<node>`, and is compared byte for byte: names of hosts are compared without case and cannot
//! have all characters. One name of a host, the same in all certificates, is there for TLS libraries that ask for one.

mod issue;
mod tls;

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

pub use self::issue::{create_plane_authority, issue_certificate};
pub(super) use self::tls::Tls;
use crate::causality::NodeId;

/// In all certificates of all planes.
const HOST: &str = "weir-facts";
const SCHEME: &str = "weir-facts://";

/// A plane's name: 1 to 63 letters, digits, `-` and `_`. Nodes of one plane replicate the same facts; a tenant's are a
/// plane of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaneName(NodeId);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plane's name is 1 to 63 letters, digits, `-` and `_`; `{0}` is not")]
pub struct InvalidPlaneName(String);

impl PlaneName {
    /// # Errors
    /// [`InvalidPlaneName`].
    pub fn new(text: &str) -> Result<PlaneName, InvalidPlaneName> {
        NodeId::new(text).map(PlaneName).map_err(|_| InvalidPlaneName(text.chars().take(80).collect()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for PlaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no certificate to go by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error("`{}`: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}` may be read by others (mode {mode:o}): it has to be its owner's alone, as after `chmod 600`", .path.display())]
    ReadableByOthers { path: PathBuf, mode: u32 },
    #[error("`{}`: {reason}", .path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("the certificate is that of node `{found}`, and this is node `{expected}`")]
    OtherNode { found: NodeId, expected: NodeId },
    #[error("a certificate cannot be made: {0}")]
    Issue(String),
}

impl CertificateError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
        let path = path.to_owned();
        move |source| CertificateError::File { path, source }
    }

    pub(super) fn unusable(path: &Path, reason: impl fmt::Display) -> CertificateError {
        CertificateError::Unusable { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// A node's certificate with its key, and the authority by which others are judged.
pub struct Credentials {
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    name: NodeName,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads PEM files: the authority's certificate, the node's certificate, and its key, which nobody else may read.
    ///
    /// # Errors
    /// [`CertificateError`], also when the authority does not vouch for the certificate now.
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> Result<Credentials, CertificateError> {
        let roots = read_certificates(authority)?;
        let [root] = <[_; 1]>::try_from(roots)
            .map_err(|roots| CertificateError::unusable(authority, format!("{} certificates, not one", roots.len())))?;
        let chain = read_certificates(certificate)?;
        let key = read_key(key)?;
        let name =
            verify(&root, &chain, UnixTime::now()).map_err(|why| CertificateError::unusable(certificate, why))?;
        Ok(Credentials { authority: root, chain, key, name })
    }

    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.name.node
    }

    #[must_use]
    pub fn plane(&self) -> &PlaneName {
        &self.name.plane
    }
}

/// What a certificate calls its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeName {
    pub(super) plane: PlaneName,
    pub(super) node: NodeId,
}

impl NodeName {
    fn uri(&self) -> String {
        format!("{SCHEME}{}/{}", self.plane, self.node)
    }

    fn parse(uri: &str) -> Option<NodeName> {
        let (plane, node) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        Some(NodeName { plane: PlaneName::new(plane).ok()?, node: NodeId::new(node).ok()? })
    }

    /// The one name in a certificate that was verified before. Several are none: it would not be clear who it is.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<NodeName> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let mut names = certificate.valid_uri_names().filter(|name| name.starts_with(SCHEME));
        let name = names.next()?;
        names.next().is_none().then(|| NodeName::parse(name)).flatten()
    }
}

/// Whose certificate it is, if the authority vouches for it at that time.
fn verify(root: &CertificateDer<'_>, chain: &[CertificateDer<'_>], time: UnixTime) -> Result<NodeName, String> {
    let (leaf, others) = chain.split_first().ok_or("no certificate in the file")?;
    let anchor = webpki::anchor_from_trusted_cert(root).map_err(|error| format!("the authority's: {error}"))?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let certificate = webpki::EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    let usages = [webpki::KeyUsage::client_auth(), webpki::KeyUsage::server_auth()];
    for usage in usages {
        certificate
            .verify_for_usage(algorithms.all, std::slice::from_ref(&anchor), others, time, usage, None, None)
            .map_err(|error| format!("the authority does not vouch for it: {error}"))?;
    }
    NodeName::of(leaf).ok_or_else(|| "it does not have one name of a node in a plane".to_owned())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = fs::read(path).map_err(CertificateError::file(path))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    certificates.map_err(|error| CertificateError::unusable(path, error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = read_private(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| CertificateError::unusable(path, error))
}

fn read_private(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, CertificateError> {
    let mode = fs::metadata(path).map_err(CertificateError::file(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CertificateError::ReadableByOthers { path: path.to_owned(), mode });
    }
    fs::read(path).map(zeroize::Zeroizing::new).map_err(CertificateError::file(path))
}
