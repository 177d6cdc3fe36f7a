use std::{borrow::Borrow, fmt, sync::Arc};

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// First token of keys that nobody may write.
const RESERVED: &str = "_internal";

/// What a fact is called: two or more tokens joined by dots, the first of which is its namespace.
///
/// Keys order by their bytes, so that what shares a prefix lies together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FactKey(SmolStr);

/// Why a text is no key or no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("a key is at most {KEY_BYTES_MAX} bytes; this has {0}")]
    TooLong(usize),
    #[error("a key has a namespace and a name, such as `approvals.deploy-123`")]
    NoNamespace,
    #[error("a key has no empty part between its dots")]
    EmptyToken,
    #[error("a key has letters, digits and `_-=/:@+`, with dots between its parts; this has {0:?}")]
    Character(char),
    #[error("keys that begin with `{RESERVED}` are Weir's own")]
    Reserved,
    #[error("`*` stands for the rest of a key, at the end of a pattern and after a dot, or for every key")]
    Wildcard,
}

impl FactKey {
    /// # Errors
    /// [`InvalidKey`].
    pub fn new(text: &str) -> Result<FactKey, InvalidKey> {
        match check_tokens(text)? {
            1 => Err(InvalidKey::NoNamespace),
            _ => Ok(FactKey(SmolStr::new(text))),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first token.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let end = memchr(b'.', self.0.as_bytes());
        end.and_then(|end| self.0.get(..end)).unwrap_or(&self.0)
    }
}

/// How many tokens there are.
fn check_tokens(text: &str) -> Result<usize, InvalidKey> {
    if text.len() > KEY_BYTES_MAX {
        return Err(InvalidKey::TooLong(text.len()));
    }
    let bytes = text.as_bytes();
    // All are looked at, which is quicker than to stop at one.
    if !bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        let wrong = text.chars().find(|character| !u8::try_from(*character).is_ok_and(is_plain));
        return Err(InvalidKey::Character(wrong.unwrap_or_default()));
    }
    let (mut tokens, mut begin) = (1, 0);
    for dot in memchr_iter(b'.', bytes) {
        if dot == begin {
            return Err(InvalidKey::EmptyToken);
        }
        (tokens, begin) = (tokens + 1, dot + 1);
    }
    if begin == bytes.len() {
        return Err(InvalidKey::EmptyToken);
    }
    if text.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        return Err(InvalidKey::Reserved);
    }
    Ok(tokens)
}

/// Letters, digits and `_-=/:@+`, and the dot between tokens.
fn is_plain(byte: u8) -> bool {
    (b'-'..=b':').contains(&byte) // digits, and `-./:` around them
        | (b'@'..=b'Z').contains(&byte)
        | byte.is_ascii_lowercase()
        | (byte == b'_')
        | (byte == b'=')
        | (byte == b'+')
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for FactKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FactKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<FactKey, InvalidKey> {
        FactKey::new(&text)
    }
}

impl From<FactKey> for String {
    fn from(key: FactKey) -> String {
        key.0.into()
    }
}

/// Which keys: one, all that begin with some tokens (`approvals.*`), or every key (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    Every,
    Exact(FactKey),
    /// With its last dot; something follows it.
    Below(Arc<str>),
}

impl Pattern {
    /// # Errors
    /// [`InvalidKey`].
    pub fn new(text: &str) -> Result<Pattern, InvalidKey> {
        if text == "*" {
            return Ok(Pattern::Every);
        }
        let Some(prefix) = text.strip_suffix(".*") else {
            return match FactKey::new(text) {
                Err(InvalidKey::Character('*')) => Err(InvalidKey::Wildcard),
                key => Ok(Pattern::Exact(key?)),
            };
        };
        match check_tokens(prefix) {
            Err(InvalidKey::Character('*')) => Err(InvalidKey::Wildcard),
            checked => checked.map(|_| Pattern::Below(format!("{prefix}.").into())),
        }
    }

    #[must_use]
    pub fn matches(&self, key: &FactKey) -> bool {
        match self {
            Pattern::Every => true,
            Pattern::Exact(one) => one == key,
            Pattern::Below(prefix) => key.as_str().len() > prefix.len() && key.as_str().starts_with(&**prefix),
        }
    }

    /// Whether every key that `other` matches is matched too.
    #[must_use]
    pub fn contains(&self, other: &Pattern) -> bool {
        match (self, other) {
            (Pattern::Every, _) => true,
            (_, Pattern::Every) => false,
            (own, Pattern::Exact(key)) => own.matches(key),
            (Pattern::Exact(_), Pattern::Below(_)) => false,
            (Pattern::Below(own), Pattern::Below(other)) => other.starts_with(&**own),
        }
    }

    /// Where the keys it matches begin in the order of keys.
    #[must_use]
    pub fn start(&self) -> &str {
        match self {
            Pattern::Every => "",
            Pattern::Exact(key) => key.as_str(),
            Pattern::Below(prefix) => prefix,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Every => f.write_str("*"),
            Pattern::Exact(key) => write!(f, "{key}"),
            Pattern::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn keys_have_a_namespace_and_plain_characters() {
        for text in ["approvals.deploy-123", "a.b.c", "rate_limits.user@example+1", "x./api/v1:80=y"] {
            assert_eq!(FactKey::new(text).unwrap().as_str(), text);
        }
        let check = |text: &str, expected: InvalidKey| assert_eq!(FactKey::new(text), Err(expected), "{text:?}");
        check("approvals", InvalidKey::NoNamespace);
        check("", InvalidKey::EmptyToken);
        check(".a", InvalidKey::EmptyToken);
        check("a.", InvalidKey::EmptyToken);
        check("a..b", InvalidKey::EmptyToken);
        check("a.b c", InvalidKey::Character(' '));
        check("a.b\n", InvalidKey::Character('\n'));
        check("a.\0", InvalidKey::Character('\0'));
        check("a.ü", InvalidKey::Character('ü'));
        check("a.*", InvalidKey::Character('*'));
        check("a..*", InvalidKey::Character('*'));
        check("_internal", InvalidKey::Reserved);
        check("_internal.x", InvalidKey::Reserved);
        check(&format!("a.{}", "x".repeat(511)), InvalidKey::TooLong(513));
    }

    #[test]
    fn each_character_is_plain_or_is_not() {
        for character in (0..=0x2ff).filter_map(char::from_u32) {
            let expected = character.is_ascii_alphanumeric() || "_-=/:@+.".contains(character);
            let key = FactKey::new(&format!("a.b{character}c"));
            assert_eq!(key.is_ok(), expected, "{character:?}");
            assert!(expected || key == Err(InvalidKey::Character(character)));
        }
    }

    #[test]
    fn patterns_match_whole_tokens() {
        let check = |pattern: &str, key: &str, expected: bool| {
            assert_eq!(
                Pattern::new(pattern).unwrap().matches(&FactKey::new(key).unwrap()),
                expected,
                "{pattern} {key}"
            );
        };
        check("*", "a.b", true);
        check("a.*", "a.b", true);
        check("a.*", "a.b.c", true);
        check("a.*", "ab.c", false);
        check("a.b.*", "a.b", false);
        check("a.b", "a.b", true);
        check("a.b", "a.bc", false);
        for wrong in ["a*", "*.a", "a.*.b", "**", "a.b*"] {
            assert_eq!(Pattern::new(wrong), Err(InvalidKey::Wildcard), "{wrong}");
        }
        assert_eq!(Pattern::new("a"), Err(InvalidKey::NoNamespace));
        assert_eq!(Pattern::new(".*"), Err(InvalidKey::EmptyToken));
    }

    #[test]
    fn a_pattern_contains_what_it_matches() {
        let check = |outer: &str, inner: &str, expected: bool| {
            let [outer_pattern, inner_pattern] = [outer, inner].map(|text| Pattern::new(text).unwrap());
            assert_eq!(outer_pattern.contains(&inner_pattern), expected, "{outer} {inner}");
        };
        check("*", "*", true);
        check("*", "a.*", true);
        check("a.*", "*", false);
        check("a.*", "a.*", true);
        check("a.*", "a.b.*", true);
        check("a.b.*", "a.*", false);
        check("a.*", "a.b", true);
        check("a.b", "a.b", true);
        check("a.b", "a.b.*", false);
    }
}
