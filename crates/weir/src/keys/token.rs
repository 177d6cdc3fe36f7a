use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use parking_lot::Mutex;
use serde::Deserialize;
use tracing::{error, info, warn};
use weir_model::{Attributes, CredentialId, CredentialKind, Identity, OrgName};

use crate::private_file::Stamp;

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest JWKS document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Shortest RSA modulus taken, in bytes (2048 bits).
const RSA_BYTES_MIN: usize = 256;
/// How far an issuer's clock may be off.
const LEEWAY_SECONDS: u64 = 30;

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub(crate) struct TokenSettings {
    pub jwks_file: PathBuf,
    pub issuer: String,
    pub audience: String,
}

/// One trusted issuer: its public keys as the JWKS file last said. Taking a key out of the file ends the sessions that
/// its tokens opened.
pub(crate) struct TokenIssuer {
    settings: TokenSettings,
    keys: ArcSwap<HashMap<String, Trusted>>,
    seen: Mutex<Option<Stamp>>,
}

/// A key with the one algorithm it may be used for: the token's header chooses among keys, never among algorithms.
struct Trusted {
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum JwksError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a JWKS document: {why}")]
    Broken { path: PathBuf, why: String },
    #[error("{path} holds no usable key: EdDSA (Ed25519) or RS256 (2048 bits or more), with a `kid`")]
    NoKey { path: PathBuf },
}

/// Why a token is not taken. For logs: clients are told nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no token, or too long")]
    Form,
    #[error("its key is not among those of the JWKS file")]
    UnknownKey,
    #[error("it is not valid: {0}")]
    Invalid(String),
}

/// Claims read; others are ignored. Where the object `weir` stands, only it is read for org, roles and attributes.
#[derive(Debug, Deserialize)]
struct TokenClaims {
    sub: String,
    exp: i64,
    jti: Option<String>,
    weir: Option<Grant>,
    #[serde(flatten)]
    top: LooseGrant,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    org: OrgName,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
struct LooseGrant {
    org: Option<OrgName>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    attributes: Attributes,
}

impl TokenIssuer {
    /// # Errors
    /// What is wrong with the JWKS file.
    pub fn open(settings: TokenSettings) -> Result<TokenIssuer, JwksError> {
        let path = settings.jwks_file.clone();
        let seen = Stamp::of(&path).map_err(|source| JwksError::Io { path: path.clone(), source })?;
        let keys = load(&path)?;
        Ok(TokenIssuer { settings, keys: ArcSwap::from_pointee(keys), seen: Mutex::new(seen) })
    }

    /// Takes the file again if it changed. A broken one leaves the keys as they were, and is reported; a removed one
    /// leaves none.
    pub fn refresh(&self) {
        let path = &self.settings.jwks_file;
        let mut seen = self.seen.lock();
        let stamp = match Stamp::of(path) {
            Ok(stamp) if stamp == *seen => return,
            Ok(stamp) => stamp,
            Err(error) => return error!(path = %path.display(), %error, "cannot look at the JWKS file"),
        };
        *seen = stamp;
        if stamp.is_none() {
            error!(path = %path.display(), "the JWKS file is gone: no token is taken any more");
            return self.keys.store(Arc::default());
        }
        match load(path) {
            Ok(keys) => {
                info!(keys = keys.len(), "took the changed JWKS file");
                self.keys.store(Arc::new(keys));
            }
            Err(error) => error!(%error, "the JWKS file is broken; the keys stay as they were"),
        }
    }

    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Form);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Form)?;
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let keys = self.keys.load();
        let trusted = keys.get(&kid).ok_or(TokenError::UnknownKey)?;
        let mut validation = Validation::new(trusted.algorithm);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        let claims = jsonwebtoken::decode::<TokenClaims>(token, &trusted.key, &validation)
            .map_err(|error| TokenError::Invalid(error.to_string()))?
            .claims;
        identity(&kid, claims)
    }

    /// Whether the key that signed the credential is still trusted.
    pub fn trusts(&self, credential: &CredentialId) -> bool {
        let kid = credential.0.strip_prefix("jwt:").and_then(|rest| rest.split(':').next());
        kid.is_some_and(|kid| self.keys.load().keys().any(|known| escaped(known) == kid))
    }
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn identity(kid: &str, claims: TokenClaims) -> Result<Identity, TokenError> {
    let (org, roles, attributes) = match claims.weir {
        Some(grant) => (grant.org, grant.roles, grant.attributes),
        None => {
            let org = claims.top.org.ok_or_else(|| TokenError::Invalid("it names no `org`".into()))?;
            (org, claims.top.roles, claims.top.attributes)
        }
    };
    let serial = claims.jti.unwrap_or_else(|| claims.sub.clone());
    Ok(Identity {
        org,
        agent: Arc::from(claims.sub),
        credential: CredentialId(format!("jwt:{}:{serial}", escaped(kid))),
        kind: CredentialKind::Jwt,
        attributes,
        roles,
        expires_at: Some(claims.exp),
    })
}

/// Without colons, so that the parts of a credential's id are told apart.
fn escaped(kid: &str) -> String {
    kid.replace('%', "%25").replace(':', "%3A")
}

fn load(path: &Path) -> Result<HashMap<String, Trusted>, JwksError> {
    let io = |source| JwksError::Io { path: path.to_owned(), source };
    let broken = |why: String| JwksError::Broken { path: path.to_owned(), why };
    if std::fs::metadata(path).map_err(io)?.len() > DOCUMENT_BYTES_MAX {
        return Err(broken("it is longer than 1 MiB".into()));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        let Some(kid) = jwk.common.key_id.clone() else {
            warn!(path = %path.display(), "passed over a key without `kid`");
            continue;
        };
        match trusted(jwk) {
            Ok(key) => {
                if keys.insert(kid.clone(), key).is_some() {
                    return Err(broken(format!("two keys have the kid `{kid}`")));
                }
            }
            Err(why) => warn!(path = %path.display(), kid, why, "passed over a key"),
        }
    }
    if keys.is_empty() { Err(JwksError::NoKey { path: path.to_owned() }) } else { Ok(keys) }
}

fn trusted(jwk: &Jwk) -> Result<Trusted, &'static str> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("it is not for signatures");
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        // Four base64 characters hold three bytes.
        AlgorithmParameters::RSA(key) if key.n.len() / 4 * 3 >= RSA_BYTES_MIN - 3 => Algorithm::RS256,
        AlgorithmParameters::RSA(_) => return Err("it is shorter than 2048 bits"),
        _ => return Err("it is neither Ed25519 nor RSA"),
    };
    let named = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    if named.is_some_and(|named| named != format!("{algorithm:?}")) {
        return Err("its `alg` is neither EdDSA nor RS256");
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "its parameters cannot be read")?;
    Ok(Trusted { algorithm, key })
}

#[cfg(test)]
mod tests;
