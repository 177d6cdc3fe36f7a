//! Tokens: whose they are, and what their holders may.
//!
//! `ipe_admin_<random>`, `ipe_service_<name>_<random>` and `ipe_app_<name>_<random>`. The kind decides the plane, and no
//! kind reaches another's: an administrator writes no facts, and a service changes no policy.
//!
//! A file holds the tokens of one holder, one a line, so that an old and a new one are good together while clients
//! change over. A line is a token or `sha256:` and the hexadecimal hash of one, and may end in
//! `expires=<seconds since 1970>`; empty lines and those that begin with `#` are skipped.

mod grants;

use std::{collections::BTreeMap, fmt};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

pub use self::grants::{Caller, Grants, NamespaceRule, Scope};
use crate::{clock::Millis, protocol::Bearer};

/// Fewest characters of a token's random part, where a token is in a file as it is: 95 bits, of letters and digits.
const RANDOM_CHARACTERS_MIN: usize = 16;

const TOKEN_BYTES_MAX: usize = 256;

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    Admin,
    Service(String),
    App(String),
}

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of a service or app is 1 to 63 letters, digits and `-`; `{0}` is not")]
pub struct InvalidHolderName(String);

impl Holder {
    /// # Errors
    /// [`InvalidHolderName`].
    pub fn service(name: &str) -> Result<Holder, InvalidHolderName> {
        checked_name(name).map(Holder::Service)
    }

    /// # Errors
    /// [`InvalidHolderName`].
    pub fn app(name: &str) -> Result<Holder, InvalidHolderName> {
        checked_name(name).map(Holder::App)
    }

    /// Whose token the text says it is; whether it is one is for [`Tokens::verify`] to say.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Holder> {
        let (kind, rest) = token.strip_prefix("ipe_")?.split_once('_')?;
        let (holder, random) = match kind {
            "admin" => (Holder::Admin, rest),
            // Names have no underscore, so the last one is before the random part.
            "service" | "app" => {
                let (name, random) = rest.rsplit_once('_')?;
                let name = checked_name(name).ok()?;
                (if kind == "app" { Holder::App(name) } else { Holder::Service(name) }, random)
            }
            _ => return None,
        };
        let is_random = !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_random && token.len() <= TOKEN_BYTES_MAX).then_some(holder)
    }

    /// A new token of this holder. `random`: of a cryptographic source.
    #[must_use]
    pub fn issue(&self, random: &[u8; 16]) -> Bearer {
        let random = hex::encode(random);
        Bearer::new(&match self {
            Holder::Admin => format!("ipe_admin_{random}"),
            Holder::Service(name) => format!("ipe_service_{name}_{random}"),
            Holder::App(name) => format!("ipe_app_{name}_{random}"),
        })
    }
}

fn checked_name(name: &str) -> Result<String, InvalidHolderName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err(InvalidHolderName(name.chars().take(80).collect()))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Admin => f.write_str("admin"),
            Holder::Service(name) => write!(f, "service {name}"),
            Holder::App(name) => write!(f, "app {name}"),
        }
    }
}

/// The line of a token file that knows a token without telling it.
#[must_use]
pub fn hashed_line(token: &Bearer) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token.expose())))
}

/// Why a token file is none. It never repeats what may be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenFile {
    #[error("line {line}: neither a token nor `sha256:` and 64 hexadecimal digits")]
    NoToken { line: usize },
    #[error("line {line}: a token of somebody else; the file is that of {holder}")]
    OtherHolder { line: usize, holder: Holder },
    #[error("line {line}: the random part of a token has {RANDOM_CHARACTERS_MIN} characters or more")]
    TooShort { line: usize },
    #[error("line {line}: after the token there may be `expires=<seconds since 1970>` and nothing else")]
    Expiry { line: usize },
    #[error("the file has no token")]
    Empty,
}

struct Secret {
    hash: [u8; 32],
    expires_at: Option<Millis>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Secret {
    fn is_good(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// All tokens that are good somewhere.
#[derive(Debug, Default)]
pub struct Tokens(BTreeMap<Holder, Vec<Secret>>);

impl Tokens {
    /// Takes in the text of a holder's file, in place of what the holder had.
    ///
    /// # Errors
    /// [`InvalidTokenFile`]; what the holder had is then left.
    pub fn set(&mut self, holder: Holder, file: &str) -> Result<(), InvalidTokenFile> {
        let lines = file.lines().enumerate().map(|(index, text)| (index + 1, text.trim()));
        let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        let secrets = lines.map(|(line, text)| secret(&holder, line, text));
        let secrets: Vec<Secret> = secrets.collect::<Result<_, _>>()?;
        if secrets.is_empty() {
            return Err(InvalidTokenFile::Empty);
        }
        self.0.insert(holder, secrets);
        Ok(())
    }

    /// Whose token it is, if it is one. How long that takes does not tell how much of a token was right.
    #[must_use]
    pub fn verify(&self, token: &Bearer, now: Millis) -> Option<Holder> {
        let holder = Holder::of_token(token.expose())?;
        let hash = Sha256::digest(token.expose());
        let secrets = self.0.get(&holder)?.iter();
        // All are compared, also after one was right.
        let is_one = secrets.fold(Choice::from(0), |found, secret| {
            found | (secret.hash.ct_eq(&hash) & Choice::from(u8::from(secret.is_good(now))))
        });
        bool::from(is_one).then_some(holder)
    }
}

fn secret(holder: &Holder, line: usize, text: &str) -> Result<Secret, InvalidTokenFile> {
    let mut words = text.split_whitespace();
    let token = words.next().unwrap_or_default();
    let hash = match token.strip_prefix("sha256:") {
        Some(digits) => {
            let mut hash = [0; 32];
            hex::decode_to_slice(digits, &mut hash).map_err(|_| InvalidTokenFile::NoToken { line })?;
            hash
        }
        None => {
            let named = Holder::of_token(token).ok_or(InvalidTokenFile::NoToken { line })?;
            if named != *holder {
                return Err(InvalidTokenFile::OtherHolder { line, holder: holder.clone() });
            }
            let random = token.rsplit('_').next().unwrap_or_default();
            if random.len() < RANDOM_CHARACTERS_MIN {
                return Err(InvalidTokenFile::TooShort { line });
            }
            Sha256::digest(token).into()
        }
    };
    let expires_at = match (words.next(), words.next()) {
        (None, _) => None,
        (Some(word), None) => {
            let seconds = word.strip_prefix("expires=").and_then(|seconds| seconds.parse::<u64>().ok());
            let milliseconds = seconds.and_then(|seconds| seconds.checked_mul(1_000));
            Some(Millis(milliseconds.ok_or(InvalidTokenFile::Expiry { line })?))
        }
        (Some(_), Some(_)) => return Err(InvalidTokenFile::Expiry { line }),
    };
    Ok(Secret { hash, expires_at })
}

#[cfg(test)]
mod tests;
