use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use weir_model::{Attributes, CredentialId, CredentialKind, Identity, OrgName};

use super::text::{ApiKey, NoRandomness};

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRecord {
    pub id: String,
    pub kind: CredentialKind,
    pub org: OrgName,
    pub agent: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Hexadecimal, 16 bytes.
    salt: String,
    /// Hexadecimal SHA-256 of salt and key.
    hash: String,
    /// Unix seconds.
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// What a new key is for.
#[derive(Debug, Clone)]
pub(crate) struct KeyRequest {
    pub kind: CredentialKind,
    pub org: OrgName,
    pub agent: String,
    pub roles: Vec<String>,
    pub attributes: Attributes,
    pub expires_at: Option<i64>,
}

impl KeyRecord {
    /// A new key and what is kept of it.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn issue(request: KeyRequest, now: i64) -> Result<(ApiKey, KeyRecord), NoRandomness> {
        let key = ApiKey::generate(request.kind)?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt)?;
        let record = KeyRecord {
            id: key.id().to_owned(),
            kind: request.kind,
            org: request.org,
            agent: request.agent,
            roles: request.roles,
            attributes: request.attributes,
            salt: hex::encode(salt),
            hash: hex::encode(key.hash(&salt)),
            created_at: now,
            expires_at: request.expires_at,
            revoked_at: None,
        };
        Ok((key, record))
    }

    /// Whether this is the record of the key: in constant time, whatever differs.
    pub fn is_of(&self, key: &ApiKey) -> bool {
        let salt = hex::decode(&self.salt).unwrap_or_default();
        let kept = hex::decode(&self.hash).unwrap_or_default();
        bool::from(key.hash(&salt).as_slice().ct_eq(&kept)) && self.kind == key.kind()
    }

    /// Neither revoked nor expired.
    pub fn holds(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }

    pub fn identity(&self) -> Identity {
        Identity {
            org: self.org.clone(),
            agent: Arc::from(self.agent.as_str()),
            credential: CredentialId(self.id.clone()),
            kind: self.kind,
            attributes: self.attributes.clone(),
            roles: self.roles.clone(),
            expires_at: self.expires_at,
        }
    }
}
