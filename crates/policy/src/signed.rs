//! A bundle on its way: JWS in compact form (RFC 7515), signed with Ed25519 (RFC 8037).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use weir_model::OrgName;

use crate::{
    bundle::{BUNDLE_SCHEMA, BundleBody},
    key::{BundleKey, VerifyingKey},
    policy::Policy,
};

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "weir-bundle+jws";
/// Longest bundle that is looked at, in bytes of its signed form.
const BUNDLE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How far ahead of ours the signer's clock may be.
const SKEW_SECONDS_MAX: i64 = 60;

/// Why a bundle was not taken. The bundle held before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the bundle is {bytes} bytes long, more than {BUNDLE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("the bundle is malformed: {0}")]
    Malformed(String),
    #[error("the bundle is signed with algorithm `{0}`, not {ALGORITHM}")]
    Algorithm(String),
    #[error("the bundle's type is `{0}`, not {TYPE}")]
    Type(String),
    #[error("the bundle is signed by key {found}, not by {expected}")]
    Key { expected: String, found: String },
    #[error("the bundle's signature does not fit its content")]
    Signature,
    #[error("the bundle has schema {found}; this version reads {BUNDLE_SCHEMA}")]
    Schema { found: u32 },
    #[error("the bundle is for org `{found}`, not `{expected}`")]
    Org { expected: OrgName, found: OrgName },
    #[error("the bundle was issued {seconds} s in the future: check both clocks")]
    FromTheFuture { seconds: i64 },
    #[error("the bundle ended {seconds} s ago")]
    Expired { seconds: i64 },
    #[error("the bundle has version {offered}, older than version {held} which is held")]
    Rollback { held: u64, offered: u64 },
    #[error("the bundle holds a rule that does not load: {0}")]
    Rule(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// # Errors
/// [`BundleError::Malformed`] when the body cannot be written as JSON.
pub fn sign(body: &BundleBody, key: &BundleKey) -> Result<String, BundleError> {
    let header = Header { alg: ALGORITHM.into(), typ: TYPE.into(), kid: key.fingerprint() };
    let malformed = |error: serde_json::Error| BundleError::Malformed(error.to_string());
    let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(malformed)?);
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(body).map_err(malformed)?);
    let message = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    Ok(format!("{message}.{signature}"))
}

/// Takes a bundle only if the size, the key, the signature, the org and the clock fit, its version is not older than
/// the one held, and every rule in it loads. Nothing of the content is read before the signature is checked.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    jws: &str,
    key: &VerifyingKey,
    org: &OrgName,
    now_unix: i64,
    held_version: Option<u64>,
) -> Result<Arc<Policy>, BundleError> {
    let body = open(jws, key)?;
    if body.schema != BUNDLE_SCHEMA {
        return Err(BundleError::Schema { found: body.schema });
    }
    if body.org != *org {
        return Err(BundleError::Org { expected: org.clone(), found: body.org });
    }
    let ahead = body.issued_at.saturating_sub(now_unix);
    if ahead > SKEW_SECONDS_MAX {
        return Err(BundleError::FromTheFuture { seconds: ahead });
    }
    if now_unix >= body.not_after {
        return Err(BundleError::Expired { seconds: now_unix.saturating_sub(body.not_after) });
    }
    match held_version {
        Some(held) if body.version < held => return Err(BundleError::Rollback { held, offered: body.version }),
        _ => {}
    }
    Policy::new(body).map(Arc::new)
}

/// The signed content, once the signature fits.
fn open(jws: &str, key: &VerifyingKey) -> Result<BundleBody, BundleError> {
    if jws.len() > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLarge { bytes: jws.len() });
    }
    let malformed = |what: &str| BundleError::Malformed(what.to_owned());
    let (message, signature) = jws.rsplit_once('.').ok_or_else(|| malformed("not three parts joined by dots"))?;
    let (header, payload) = message.split_once('.').ok_or_else(|| malformed("not three parts joined by dots"))?;
    let decode = |part: &str, name: &str| {
        URL_SAFE_NO_PAD.decode(part).map_err(|error| BundleError::Malformed(format!("{name}: {error}")))
    };
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|error| BundleError::Malformed(format!("header: {error}")))?;
    if header.alg != ALGORITHM {
        return Err(BundleError::Algorithm(shortened(&header.alg)));
    }
    if header.typ != TYPE {
        return Err(BundleError::Type(shortened(&header.typ)));
    }
    if header.kid != key.fingerprint() {
        return Err(BundleError::Key { expected: key.fingerprint(), found: shortened(&header.kid) });
    }
    let signature: [u8; 64] =
        decode(signature, "signature")?.try_into().map_err(|_| malformed("signature: not 64 bytes"))?;
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(BundleError::Signature);
    }
    serde_json::from_slice(&decode(payload, "payload")?)
        .map_err(|error| BundleError::Malformed(format!("payload: {error}")))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
