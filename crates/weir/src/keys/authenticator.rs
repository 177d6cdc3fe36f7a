use std::{fmt, path::Path, sync::Arc};

use tracing::info;
use weir_model::{Attributes, ClientAddress, CredentialId, CredentialKind, Identity, OrgName};

use super::{
    file::{KeyFile, KeyFileError},
    record::{KeyRecord, KeyRequest},
    ring::{KeyChange, KeyRing},
    text::{ApiKey, NoRandomness},
    token::{JwksError, TokenIssuer, TokenSettings},
};
use crate::clock::unix_now;

/// The credential of sessions that this process opens for itself. No key and no token has such an id.
const OWN_CREDENTIAL: &str = "local";

/// What a witness is told of.
#[derive(Debug, Clone)]
pub(crate) enum CredentialEvent<'a> {
    Key(KeyChange),
    /// A login that did not fit; names are as the client gave them.
    Refused {
        user: &'a str,
        database: &'a str,
        client: &'a ClientAddress,
        why: &'a str,
    },
}

pub(crate) type Witness = Box<dyn Fn(CredentialEvent<'_>) + Send + Sync>;

/// Who may come in, and whether those who came in may stay.
pub(crate) struct Credentials {
    ring: KeyRing,
    tokens: Option<TokenIssuer>,
    witness: Witness,
    /// Compared with keys of unknown id, so that a known id answers no slower than an unknown one.
    nobody: KeyRecord,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    #[error(transparent)]
    Tokens(#[from] JwksError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("no name fits an org of its own")]
    Name,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl Credentials {
    /// # Errors
    /// A key file or JWKS file that cannot be used.
    pub fn open(data: &Path, tokens: Option<TokenSettings>, witness: Witness) -> Result<Credentials, CredentialsError> {
        let request = KeyRequest {
            kind: CredentialKind::Agent,
            org: OrgName::new("nobody").map_err(|_| CredentialsError::Name)?,
            agent: String::new(),
            roles: Vec::new(),
            attributes: Attributes::new(),
            expires_at: Some(0),
        };
        Ok(Credentials {
            ring: KeyRing::open(KeyFile::in_data(data))?,
            tokens: tokens.map(TokenIssuer::open).transpose()?,
            nobody: KeyRecord::issue(request, 0)?.1,
            witness,
        })
    }

    /// Takes changed files again: call it several times a second.
    pub fn refresh(&self) {
        for change in self.ring.refresh() {
            (self.witness)(CredentialEvent::Key(change));
        }
        if let Some(tokens) = &self.tokens {
            tokens.refresh();
        }
    }

    /// The identity that a password proves, if it is that of the user and the database named. Every other case is the
    /// same to the client; the log says which it was.
    pub fn authenticate(&self, user: &str, database: &str, password: &str, client: &ClientAddress) -> Option<Identity> {
        self.refresh();
        let proven = if password.starts_with("weir_") { self.by_key(password) } else { self.by_token(password) };
        let named = proven.and_then(|identity| {
            if identity.org.as_str() != database {
                Err("the credential is of another org".to_owned())
            } else if identity.agent.as_ref() != user {
                Err("the credential is of another agent".to_owned())
            } else {
                Ok(identity)
            }
        });
        let told = named.inspect_err(|why| {
            info!(user, database, %client, why, "refused a login");
            (self.witness)(CredentialEvent::Refused { user, database, client, why });
        });
        told.ok()
    }

    fn by_key(&self, password: &str) -> Result<Identity, String> {
        let key = ApiKey::parse(password).map_err(|error| error.to_string())?;
        let found = self.ring.get(key.id());
        let matches = found.as_deref().unwrap_or(&self.nobody).is_of(&key);
        let record = found.filter(|_| matches).ok_or("no such key")?;
        if record.holds(unix_now()) { Ok(record.identity()) } else { Err("the key expired or was revoked".into()) }
    }

    fn by_token(&self, password: &str) -> Result<Identity, String> {
        let tokens = self.tokens.as_ref().ok_or("it is no key, and no issuer of tokens is configured")?;
        tokens.verify(password).map_err(|error| error.to_string())
    }

    /// Whether the credential that opened a session still holds: asked at each of its statements.
    pub fn holds(&self, identity: &Identity) -> bool {
        let now = unix_now();
        if identity.expires_at.is_some_and(|expiry| expiry <= now) {
            return false;
        }
        match identity.kind {
            CredentialKind::Jwt => self.tokens.as_ref().is_some_and(|tokens| tokens.trusts(&identity.credential)),
            _ if identity.credential.0 == OWN_CREDENTIAL => true,
            _ => self.ring.holds(&identity.credential.0, now),
        }
    }
}

/// An identity for work that this process does itself, as an agent of the org and under its policy.
pub(crate) fn own_identity(org: OrgName, agent: &str, roles: Vec<String>) -> Identity {
    Identity {
        org,
        agent: Arc::from(agent),
        credential: CredentialId(OWN_CREDENTIAL.into()),
        kind: CredentialKind::Agent,
        attributes: Attributes::new(),
        roles,
        expires_at: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    struct House {
        folder: tempfile::TempDir,
        credentials: Credentials,
    }

    impl House {
        fn new() -> House {
            let folder = tempfile::tempdir().unwrap();
            let credentials = Credentials::open(folder.path(), None, Box::new(|_| ())).unwrap();
            House { folder, credentials }
        }

        fn issue(&self, agent: &str, expires_at: Option<i64>) -> ApiKey {
            let request = KeyRequest {
                kind: CredentialKind::Live,
                org: OrgName::new("acme").unwrap(),
                agent: agent.into(),
                roles: vec!["analyst".into()],
                attributes: Attributes::new(),
                expires_at,
            };
            let (key, record) = KeyRecord::issue(request, unix_now()).unwrap();
            let file = KeyFile::in_data(self.folder.path());
            file.update(|keys| {
                keys.push(record);
                Ok::<_, KeyFileError>(())
            })
            .unwrap();
            key
        }

        fn login(&self, user: &str, database: &str, password: &str) -> Option<Identity> {
            self.credentials.authenticate(user, database, password, &ClientAddress::Local)
        }
    }

    #[test]
    fn a_key_opens_its_own_org_as_its_own_agent_only() {
        let house = House::new();
        let key = house.issue("reporter", None).text();
        let identity = house.login("reporter", "acme", &key).unwrap();
        assert_eq!(
            (identity.agent.as_ref(), identity.roles.as_slice()),
            ("reporter", ["analyst".to_owned()].as_slice())
        );
        assert!(house.login("admin", "acme", &key).is_none());
        assert!(house.login("reporter", "globex", &key).is_none());
        for wrong in ["", "x", &key.to_uppercase(), &key.replace("live", "test"), "weir_live_a_b", "a.b.c"] {
            assert!(house.login("reporter", "acme", wrong).is_none(), "{wrong}");
        }
        let stranger = ApiKey::generate(CredentialKind::Live).unwrap().text();
        assert!(house.login("reporter", "acme", &stranger).is_none());
    }

    #[test]
    fn a_revoked_key_ends_its_sessions() {
        let house = House::new();
        let key = house.issue("reporter", None);
        let identity = house.login("reporter", "acme", &key.text()).unwrap();
        assert!(house.credentials.holds(&identity));
        KeyFile::in_data(house.folder.path())
            .update(|keys| {
                keys.iter_mut().for_each(|record| record.revoked_at = Some(1));
                Ok::<_, KeyFileError>(())
            })
            .unwrap();
        house.credentials.refresh();
        assert!(!house.credentials.holds(&identity));
        assert!(house.login("reporter", "acme", &key.text()).is_none());
    }

    #[test]
    fn an_expired_key_opens_nothing() {
        let house = House::new();
        let key = house.issue("reporter", Some(unix_now() - 1));
        assert!(house.login("reporter", "acme", &key.text()).is_none());
    }

    #[test]
    fn the_file_holds_no_secret_and_a_broken_one_changes_nothing() {
        let house = House::new();
        let key = house.issue("reporter", None);
        let path = house.folder.path().join("keys/api_keys.json");
        let secret = key.text().rsplit('_').next().unwrap().to_owned();
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&secret));
        let identity = house.login("reporter", "acme", &key.text()).unwrap();
        crate::private_file::replace(&path, b"{").unwrap();
        assert!(house.login("reporter", "acme", &key.text()).is_some());
        assert!(house.credentials.holds(&identity));
    }

    #[test]
    fn the_process_itself_needs_no_key() {
        let house = House::new();
        let own = own_identity(OrgName::new("acme").unwrap(), "admin", vec![]);
        assert!(house.credentials.holds(&own));
    }
}
