//! JSON text as it is kept and sent: without spaces, no name twice in an object, not too deep.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::memchr2;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{error::ProtocolError, limits::DEPTH_MAX, params::first_twice};

/// How much deeper than a request an answer may be: a value lies deeper in a list of entries than it did in a `put`.
const AROUND: usize = 8;

/// Refuses text whose arrays and objects lie too deep in one another; it may be no JSON at all.
pub(crate) fn check_depth(text: &str) -> Result<(), ProtocolError> {
    let (mut depth, mut rest) = (0_usize, text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => behind_string(after),
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(too_deep());
                }
                after
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ => after,
        };
    }
    Ok(())
}

/// What follows a string of which the first quote was read.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    loop {
        let at = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let is_escape = rest.get(at) == Some(&b'\\');
        rest = rest.get(at + 1 + usize::from(is_escape)..).unwrap_or_default();
        if !is_escape {
            return rest;
        }
    }
}

fn too_deep() -> ProtocolError {
    ProtocolError::InvalidRequest(format!("arrays and objects must lie at most {DEPTH_MAX} deep"))
}

/// Without `//` comments, which the RFC's examples have at the ends of lines.
pub(crate) fn without_comments(text: &str) -> Cow<'_, str> {
    if !text.contains("//") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if !in_string && characters.peek() == Some(&'/') => {
                while characters.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        plain.push(character);
    }
    Cow::Owned(plain)
}

/// Writes whatever `from` has as JSON without spaces.
///
/// # Errors
/// Those of `from`, and what JSON does not have: binary, numbers that are none, names that are no text. A name that comes
/// twice in an object is refused, as readers differ on which of the two counts.
pub(crate) fn compact<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let mut out = Vec::new();
    Compact { out: &mut out, names: &mut Vec::new(), depth: 0 }.deserialize(from)?;
    String::from_utf8(out).map_err(D::Error::custom)
}

struct Compact<'a> {
    out: &'a mut Vec<u8>,
    /// Where in `out` the names are of the objects that have begun, the innermost last.
    names: &'a mut Vec<Range<usize>>,
    depth: usize,
}

impl Compact<'_> {
    fn write<E: Error>(self, scalar: &(impl serde::Serialize + ?Sized)) -> Result<(), E> {
        serde_json::to_writer(self.out, scalar).map_err(E::custom)
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        (self.depth < DEPTH_MAX + AROUND).then_some(self.depth + 1).ok_or_else(|| E::custom(too_deep()))
    }
}

impl<'de> DeserializeSeed<'de> for Compact<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Compact<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("JSON has no infinite numbers, and none that is not a number"));
        }
        self.write(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.out.push(b'[');
        let begin = self.out.len();
        loop {
            let before = self.out.len();
            if before > begin {
                self.out.push(b',');
            }
            if seq.next_element_seed(Compact { out: &mut *self.out, names: &mut *self.names, depth })?.is_none() {
                self.out.truncate(before);
                self.out.push(b']');
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.out.push(b'{');
        let outer = self.names.len();
        loop {
            let before = self.out.len();
            if self.names.len() > outer {
                self.out.push(b',');
            }
            let begin = self.out.len();
            if map.next_key_seed(Name(&mut *self.out))?.is_none() {
                self.out.truncate(before);
                break;
            }
            self.names.push(begin..self.out.len());
            self.out.push(b':');
            map.next_value_seed(Compact { out: &mut *self.out, names: &mut *self.names, depth })?;
        }
        self.out.push(b'}');
        let names = self.names.get(outer..).unwrap_or_default().iter();
        if let Some(name) = first_twice(names.map(|range| self.out.get(range.clone()).unwrap_or_default())) {
            let name: String = String::from_utf8_lossy(name).chars().take(80).collect();
            return Err(A::Error::custom(format!("the name {name} is twice in one object")));
        }
        self.names.truncate(outer);
        Ok(())
    }
}

struct Name<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name that is text")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        serde_json::to_writer(self.0, name).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn values_lose_their_spaces_and_nothing_else() {
        let check = |text: &str, expected: &str| {
            assert_eq!(compact(&mut serde_json::Deserializer::from_str(text)).unwrap(), expected);
        };
        check(
            " { \"a\" : [ 1 , -2, 3.5 ,\n true,null, \"x\\n\\u00e4 y\" ] , \"b\":{} } ",
            r#"{"a":[1,-2,3.5,true,null,"x\nä y"],"b":{}}"#,
        );
        check("[]", "[]");
        check("18446744073709551615", "18446744073709551615");
        check("1e2", "100.0");
        check(r#"{"b":1,"a":2}"#, r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn what_readers_would_differ_on_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = compact(&mut serde_json::Deserializer::from_str(text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check(r#"{"a":1,"b":2,"a":3}"#, "twice");
        check(r#"[{"x":{"a":1,"\u0061":2}}]"#, "twice");
        check(r#""\ud800""#, "hex escape");
        check(r#""\ud800\u0061""#, "surrogate");
        check("1e999", "out of range");
        check(&"[".repeat(DEPTH_MAX + AROUND + 1), "at most 64 deep");
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check_depth(&nested(64)), Ok(()));
        assert!(check_depth(&nested(65)).is_err());
        assert_eq!(check_depth(&format!("\"{}\"", nested(65))), Ok(()));
        assert_eq!(check_depth(&format!("\"\\\"{}\"", nested(65))), Ok(()));
        assert_eq!(check_depth(&"[]".repeat(1_000)), Ok(()));
        assert_eq!(check_depth(&"]".repeat(100)), Ok(()));
    }

    #[test]
    fn comments_go_and_addresses_stay() {
        let check = |text: &str, expected: &str| assert_eq!(without_comments(text), expected);
        check("{\"a\": 1 // one\n}", "{\"a\": 1 \n}");
        check(r#"{"a":"http://x"}"#, r#"{"a":"http://x"}"#);
        check(r#"{"a":"\"//x"} // end"#, r#"{"a":"\"//x"} "#);
        check("1/2", "1/2");
    }
}
