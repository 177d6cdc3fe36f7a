use std::fmt;

use sha2::{Digest, Sha256};
use weir_model::CredentialKind;

const ID_CHARACTERS: usize = 16;
const SECRET_CHARACTERS: usize = 32;
const CHECKSUM_CHARACTERS: usize = 6;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key as its holder has it: `weir_<kind>_<id>_<secret>`.
///
/// The id (80 bits) is public. The secret is 32 characters of 62 (190 bits) and a checksum of all before it (6 more),
/// which tells a mistyped key from a wrong one before anything is looked up, and secret scanners a key from noise.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    kind: CredentialKind,
    id: String,
    /// Without the checksum.
    secret: String,
}

/// Why a text is no API key. For logs: clients are told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyTextError {
    #[error("it does not have the form of a key")]
    Form,
    #[error("its checksum is wrong: a character was lost or changed")]
    Checksum,
}

/// The system's source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness: {0}")]
pub(crate) struct NoRandomness(#[from] getrandom::Error);

impl ApiKey {
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(kind: CredentialKind) -> Result<ApiKey, NoRandomness> {
        Ok(ApiKey { kind, id: random(BASE32, ID_CHARACTERS)?, secret: random(BASE62, SECRET_CHARACTERS)? })
    }

    /// # Errors
    /// [`KeyTextError`].
    pub fn parse(text: &str) -> Result<ApiKey, KeyTextError> {
        let mut parts = text.split('_');
        let (Some("weir"), Some(kind), Some(id), Some(tail), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyTextError::Form);
        };
        let kind = kind_named(kind).ok_or(KeyTextError::Form)?;
        let consists = |text: &str, alphabet: &[u8]| text.bytes().all(|byte| alphabet.contains(&byte));
        let right = id.len() == ID_CHARACTERS
            && consists(id, BASE32)
            && tail.len() == SECRET_CHARACTERS + CHECKSUM_CHARACTERS
            && consists(tail, BASE62);
        let (secret, checksum) =
            tail.split_at_checked(SECRET_CHARACTERS).filter(|_| right).ok_or(KeyTextError::Form)?;
        let key = ApiKey { kind, id: id.to_owned(), secret: secret.to_owned() };
        if key.checksum() == checksum { Ok(key) } else { Err(KeyTextError::Checksum) }
    }

    /// The whole key. Shown once, when it is issued.
    pub fn text(&self) -> String {
        format!("{}{}", self.body(), self.checksum())
    }

    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the key file keeps of the secret. A plain hash: 190 random bits cannot be guessed, whatever the speed.
    pub fn hash(&self, salt: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(salt).chain_update(self.body()).finalize().into()
    }

    fn body(&self) -> String {
        format!("weir_{}_{}_{}", kind_name(self.kind), self.id, self.secret)
    }

    fn checksum(&self) -> String {
        let digest = Sha256::digest(self.body());
        let mut rest = digest.iter().take(4).fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        let mut digits = Vec::with_capacity(CHECKSUM_CHARACTERS);
        for _ in 0..CHECKSUM_CHARACTERS {
            digits.extend(BASE62.get(rest % 62).map(|byte| char::from(*byte)));
            rest /= 62;
        }
        digits.into_iter().rev().collect()
    }
}

/// Never the secret.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey(weir_{}_{}_…)", kind_name(self.kind), self.id)
    }
}

pub(crate) fn kind_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Live => "live",
        CredentialKind::Test => "test",
        CredentialKind::Agent => "agent",
        CredentialKind::Jwt => "jwt",
    }
}

/// The kinds that a key may have.
pub(crate) fn kind_named(name: &str) -> Option<CredentialKind> {
    [CredentialKind::Live, CredentialKind::Test, CredentialKind::Agent]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
}

/// Evenly distributed characters of an alphabet of at most 128.
fn random(alphabet: &[u8], characters: usize) -> Result<String, NoRandomness> {
    // Bytes past the last whole multiple would favour the first characters.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(characters);
    while text.len() < characters {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        let fitting = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        let drawn = fitting.filter_map(|byte| alphabet.get(byte % alphabet.len()));
        text.extend(drawn.take(characters - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn keys_read_back_and_differ() {
        for kind in [CredentialKind::Live, CredentialKind::Test, CredentialKind::Agent] {
            let key = ApiKey::generate(kind).unwrap();
            assert_eq!(ApiKey::parse(&key.text()).unwrap(), key);
            assert_ne!(ApiKey::generate(kind).unwrap(), key);
            assert!(!format!("{key:?}").contains(&key.secret));
        }
    }

    #[test]
    fn every_single_changed_character_is_noticed() {
        let text = ApiKey::generate(CredentialKind::Agent).unwrap().text();
        for at in 0..text.len() {
            for put in ['0', 'a', 'Z', '_'] {
                let changed = format!("{}{put}{}", &text[..at], &text[at + 1..]);
                assert_eq!(ApiKey::parse(&changed).is_ok(), changed == text, "{at} {put}");
            }
            assert!(ApiKey::parse(&text[..at]).is_err());
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "weir", "weir____", "weir_jwt_aaaaaaaaaaaaaaaa_x", "password", "weir_live_é_é"] {
            assert_eq!(ApiKey::parse(text), Err(KeyTextError::Form), "{text}");
        }
    }
}
