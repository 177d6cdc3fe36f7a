use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{CredentialId, InvalidName, ObjectName};

/// An organisation: a Postgres database to its clients, the unit of isolation to us.
/// One to 63 bytes of `a-z 0-9 _ -`, first a letter; so it is also a safe folder name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrgName(Arc<str>);

impl OrgName {
    /// # Errors
    /// [`InvalidName`] when the text is not of the form above.
    pub fn new(text: &str) -> Result<OrgName, InvalidName> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-');
        if first && rest && text.len() <= crate::NAME_BYTES_MAX {
            Ok(OrgName(text.into()))
        } else {
            Err(InvalidName::new(text, "an organisation's name is 1 to 63 of a-z, 0-9, _ and -, first a letter"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrgName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<OrgName, InvalidName> {
        OrgName::new(&text)
    }
}

impl From<OrgName> for String {
    fn from(name: OrgName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for OrgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value of a principal's attribute, bound to the credential or the bundle, never to what a session sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

/// As `current_setting` would show it: text, lists joined by commas.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Bool(value) => write!(f, "{value}"),
            AttributeValue::Integer(value) => write!(f, "{value}"),
            AttributeValue::Text(value) => f.write_str(value),
            AttributeValue::List(values) => f.write_str(&values.join(",")),
        }
    }
}

pub type Attributes = BTreeMap<String, AttributeValue>;

/// What kind of credential opened the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// `weir_live_…`
    Live,
    /// `weir_test_…`
    Test,
    /// `weir_agent_…`
    Agent,
    Jwt,
}

/// What a credential proves, before any policy was asked: who this is. Made only by the authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub org: OrgName,
    /// The agent's name in its org, the Postgres role name to clients.
    pub agent: Arc<str>,
    pub credential: CredentialId,
    pub kind: CredentialKind,
    /// Attributes the credential itself carries (key record, JWT claims of a trusted issuer).
    pub attributes: Attributes,
    /// Roles the credential itself carries; they count only where the bundle knows them.
    pub roles: Vec<String>,
    /// Unix seconds after which the credential no longer holds.
    pub expires_at: Option<i64>,
}

/// An identity as the org's current bundle sees it: roles and attributes resolved. Made by the policy gate, anew for
/// each bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub org: OrgName,
    pub agent: Arc<str>,
    /// Sorted, without duplicates.
    pub roles: Vec<String>,
    pub attributes: Attributes,
}

/// What a client says of itself at start-up. Recorded, and grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub application_name: Option<String>,
    pub agent_id: Option<String>,
    pub framework: Option<String>,
    pub request_id: Option<String>,
}

/// Where a client connects from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientAddress {
    Ip(IpAddr),
    /// A Unix socket, or the process itself.
    Local,
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientAddress::Ip(address) => write!(f, "{address}"),
            ClientAddress::Local => f.write_str("local"),
        }
    }
}

impl Principal {
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

/// The default schema of every org.
impl ObjectName {
    pub const DEFAULT_SCHEMA: &'static str = "public";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn org_names_are_safe_folder_names() {
        for good in ["acme", "a", "acme-2", "a_b"] {
            assert!(OrgName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Acme", "1a", "../x", "a/b", "a b", "a.b", &"x".repeat(64)] {
            assert!(OrgName::new(bad).is_err(), "{bad}");
        }
    }
}
