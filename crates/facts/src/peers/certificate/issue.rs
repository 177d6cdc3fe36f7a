//! Making a plane's authority, and certificates of its nodes.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{CertificateError, HOST, NodeName, PlaneName, read_certificates, read_private, verify};
use crate::causality::NodeId;

/// Twenty years.
const AUTHORITY_VALID: Duration = Duration::from_secs(20 * 365 * 86_400);
/// Clocks differ: a new certificate is valid a little before it is made.
const BEFORE: Duration = Duration::from_secs(3_600);

/// Makes a plane's authority in a folder: `ca.crt`, which every node needs, and `ca.key`, with which certificates are
/// made and which belongs on no node. Gives the two paths. What is there is not replaced.
///
/// # Errors
/// [`CertificateError`].
pub fn create_plane_authority(folder: &Path, plane: &PlaneName) -> Result<(PathBuf, PathBuf), CertificateError> {
    let key = KeyPair::generate().map_err(issue)?;
    let mut params = authority_params(plane);
    set_validity(&mut params, SystemTime::now(), AUTHORITY_VALID)?;
    let certificate = params.self_signed(&key).map_err(issue)?;
    make_folder(folder)?;
    let (certificate_path, key_path) = (folder.join("ca.crt"), folder.join("ca.key"));
    write_new(&key_path, &key.serialize_pem())?;
    write_new(&certificate_path, &certificate.pem())?;
    Ok((certificate_path, key_path))
}

/// Makes the certificate of a node in a folder, valid from now on for `valid`: `<node>.crt` and `<node>.key`, whose
/// paths it gives. `authority` is the folder of [`create_plane_authority`]. What is there is not replaced.
///
/// # Errors
/// [`CertificateError`], also when `ca.key` does not belong to `ca.crt` or that is another plane's.
pub fn issue_certificate(
    authority: &Path,
    plane: &PlaneName,
    node: &NodeId,
    now: SystemTime,
    valid: Duration,
    folder: &Path,
) -> Result<(PathBuf, PathBuf), CertificateError> {
    let (root_path, root_key_path) = (authority.join("ca.crt"), authority.join("ca.key"));
    let text = read_private(&root_key_path)?;
    let text = str::from_utf8(&text).map_err(|error| CertificateError::unusable(&root_key_path, error))?;
    let root_key = KeyPair::from_pem(text).map_err(|error| CertificateError::unusable(&root_key_path, error))?;
    let root = read_certificates(&root_path)?;
    let [root] = root.as_slice() else { return Err(CertificateError::unusable(&root_path, "not one certificate")) };
    let name = NodeName { plane: plane.clone(), node: node.clone() };
    let key = KeyPair::generate().map_err(issue)?;
    let mut params = node_params(&name)?;
    set_validity(&mut params, now, valid)?;
    let certificate = params.signed_by(&key, &Issuer::new(authority_params(plane), root_key)).map_err(issue)?;
    check(root, certificate.der(), &name, now).map_err(|why| CertificateError::unusable(&root_path, why))?;
    make_folder(folder)?;
    let (certificate_path, key_path) = (folder.join(format!("{node}.crt")), folder.join(format!("{node}.key")));
    write_new(&key_path, &key.serialize_pem())?;
    write_new(&certificate_path, &certificate.pem())?;
    Ok((certificate_path, key_path))
}

/// What was made is worth nothing unless the authority's own certificate vouches for it.
fn check(root: &CertificateDer<'_>, made: &CertificateDer<'_>, name: &NodeName, now: SystemTime) -> Result<(), String> {
    let time = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    match verify(root, std::slice::from_ref(made), time) {
        Ok(found) if found == *name => Ok(()),
        Ok(_) => Err("the name in the certificate is not the one asked for".to_owned()),
        Err(why) => Err(format!("`ca.key` is not its key, or it is not of this plane: {why}")),
    }
}

fn authority_params(plane: &PlaneName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("weir facts: {plane}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn node_params(name: &NodeName) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).map_err(issue)?;
    params.distinguished_name = named(name.node.as_str());
    params.subject_alt_names.push(SanType::URI(name.uri().as_str().try_into().map_err(issue)?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, valid: Duration) -> Result<(), CertificateError> {
    let times = now.checked_sub(BEFORE).zip(now.checked_add(valid));
    let (from, until) = times.ok_or_else(|| CertificateError::Issue("no such time".to_owned()))?;
    params.not_before = from.into();
    params.not_after = until.into();
    Ok(())
}

fn issue(error: rcgen::Error) -> CertificateError {
    CertificateError::Issue(error.to_string())
}

fn make_folder(folder: &Path) -> Result<(), CertificateError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(CertificateError::file(folder))
}

fn write_new(path: &Path, text: &str) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::File { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
