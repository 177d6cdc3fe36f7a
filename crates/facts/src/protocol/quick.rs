//! The quick way to read a message: one pass over text as most clients write it. What has anything unusual (escapes,
//! fractions, white space other than single spaces, deep values, names that come twice or are not known) is left to the
//! general reader, which also says what is wrong.
//!
//! Invariant: what is read here, the general reader reads as the same. A property holds it.

use std::borrow::Cow;

use super::{
    limits::BATCH_MAX,
    raw::{Members, Objects, Raw},
};

/// Of names in the objects around each other, and of objects and arrays around each other.
const NAMES_MAX: usize = 32;
const DEPTH_MAX: usize = 8;

/// Parameters that are long lists of objects. They are taken apart where they stand, as to come back to them is to read
/// most of the message twice.
const LISTS: [&str; 2] = ["entries", "operations"];

/// The members of a request that are read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Envelope<'a> {
    pub(super) jsonrpc: Option<Raw<'a>>,
    pub(super) id: Option<Raw<'a>>,
    pub(super) method: Option<Raw<'a>>,
    pub(super) params: Option<Members<'a>>,
    /// A list among the parameters, which has them as text as well.
    pub(super) objects: Option<Objects<'a>>,
}

/// The members of a request that is an object. `None`: it is for the general reader.
pub(super) fn envelope(text: &str) -> Option<Envelope<'_>> {
    let mut scanner = Scanner::new(text);
    let mut envelope = Envelope::default();
    scanner.each_member(|scanner, name| {
        let place = match name {
            "params" => {
                let (members, objects) = scanner.params()?;
                envelope.objects = objects;
                return envelope.params.replace(members).is_none().then_some(());
            }
            "method" => &mut envelope.method,
            "id" => &mut envelope.id,
            "jsonrpc" => &mut envelope.jsonrpc,
            _ => return None,
        };
        let value = scanner.raw().filter(|raw| !raw.is_null())?;
        place.replace(value).is_none().then_some(())
    })?;
    scanner.is_at_end().then_some(envelope)
}

/// The members of the objects in an array, as many as a batch may have. `None`: it is for the general reader.
pub(super) fn objects(text: &str) -> Option<Vec<Members<'_>>> {
    let mut scanner = Scanner::new(text);
    let all = scanner.objects()?;
    scanner.is_at_end().then_some(all)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// That were passed.
    spaces: usize,
    depth: usize,
    names: [&'a str; NAMES_MAX],
    named: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), at: 0, spaces: 0, depth: 0, names: [""; NAMES_MAX], named: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    /// At most one.
    fn space(&mut self) {
        self.spaces += usize::from(self.take(b' ').is_some());
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A value that is read later.
    fn raw(&mut self) -> Option<Raw<'a>> {
        let (begin, spaces) = (self.at, self.spaces);
        self.value()?;
        let text = self.text.get(begin..self.at)?;
        Some(Raw::seen(text, spaces == self.spaces))
    }

    /// And of the first list the objects.
    fn params(&mut self) -> Option<(Members<'a>, Option<Objects<'a>>)> {
        let (mut members, mut objects) = (Vec::new(), None);
        self.each_member(|scanner, name| {
            let (begin, spaces) = (scanner.at, scanner.spaces);
            if objects.is_none() && LISTS.contains(&name) && scanner.bytes.get(begin..)?.starts_with(b"[{") {
                objects = Some((name, scanner.objects()?));
            } else {
                scanner.value()?;
            }
            let text = scanner.text.get(begin..scanner.at)?;
            members.push((Cow::Borrowed(name), Raw::seen(text, spaces == scanner.spaces)));
            Some(())
        })?;
        Some((members, objects))
    }

    fn objects(&mut self) -> Option<Vec<Members<'a>>> {
        let mut all = Vec::new();
        self.each_element(|scanner| {
            let members = scanner.members()?;
            let names = || members.iter().map(|(name, _)| name);
            let is_twice = |(at, name)| names().take(at).any(|other| other == name);
            // As in any other object.
            if members.len() > NAMES_MAX || names().enumerate().any(is_twice) {
                return None;
            }
            all.push(members);
            (all.len() <= BATCH_MAX).then_some(())
        })?;
        Some(all)
    }

    fn members(&mut self) -> Option<Members<'a>> {
        let mut members = Vec::new();
        self.each_member(|scanner, name| {
            let value = scanner.raw()?;
            members.push((Cow::Borrowed(name), value));
            Some(())
        })?;
        Some(members)
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.integer(),
            b'{' => self.object(),
            b'[' => self.each_element(Scanner::value),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => None,
        }
    }

    /// With names that are all different.
    fn object(&mut self) -> Option<()> {
        let before = self.named;
        self.each_member(|scanner, name| {
            let named = scanner.named;
            if scanner.names.get(before..named)?.contains(&name) {
                return None;
            }
            *scanner.names.get_mut(named)? = name;
            scanner.named += 1;
            scanner.value()
        })?;
        self.named = before;
        Some(())
    }

    /// `read` is to read the member's value.
    fn each_member(&mut self, mut read: impl FnMut(&mut Scanner<'a>, &'a str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.deeper()?;
        if self.take(b'}').is_none() {
            loop {
                let name = self.string()?;
                self.take(b':')?;
                self.space();
                read(self, name)?;
                if self.take(b',').is_none() {
                    break self.take(b'}')?;
                }
                self.space();
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn each_element(&mut self, mut read: impl FnMut(&mut Scanner<'a>) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        self.deeper()?;
        if self.take(b']').is_none() {
            loop {
                read(self)?;
                if self.take(b',').is_none() {
                    break self.take(b']')?;
                }
                self.space();
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())
    }

    /// Without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let begin = self.at;
        let length = plain_length(self.bytes.get(begin..)?);
        self.at += length;
        self.take(b'"')?;
        self.text.get(begin..begin + length)
    }

    /// A whole number that can be written in one way, and that all readers keep.
    fn integer(&mut self) -> Option<()> {
        let is_negative = self.take(b'-').is_some();
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.bytes.get(begin..self.at)?;
        let is_one_way = match digits {
            [b'0'] => !is_negative,
            [b'1'..=b'9', ..] => digits.len() <= 15,
            _ => false,
        };
        (is_one_way && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(())
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let is_there = self.bytes.get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then_some(())
    }
}

/// How many bytes come before a quote, an escape or a control character. Eight are looked at together: the lowest byte
/// whose highest bit comes to be set is exact (Warren, Hacker's Delight, section 6-1).
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let less_than = |word: u64, byte: u8| word.wrapping_sub(ONES * u64::from(byte)) & !word & HIGHS;
    let is = |word: u64, byte: u8| less_than(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = is(word, b'"') | is(word, b'\\') | less_than(word, b' ');
        if found != 0 {
            return place * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    words.len() * 8 + rest.iter().take_while(|byte| is_plain(byte)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::protocol::json;

    #[test]
    fn what_most_clients_write_is_read_quickly() {
        let check = |text: &str, expected: bool| assert_eq!(envelope(text).is_some(), expected, "{text}");
        for text in [
            "{}",
            r#"{"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"put","params":{"key":"a.b","value":{"x":[1,true,null,"ä"]}}}"#,
            r#"{"jsonrpc": "2.0", "id": "7", "method": "put", "params": {"key": "a.b", "value": {"x": [1, -2]}}}"#,
        ] {
            check(text, true);
        }
        for text in [
            "",
            "[]",
            " {}",
            "{} ",
            "{}x",
            "{,}",
            r#"{"method":"ping",}"#,
            r#"{"method" :"ping"}"#,
            r#"{"method":  "ping"}"#,
            "{\"method\":\n\"ping\"}",
            r#"{"other":1}"#,
            r#"{"id":null}"#,
            r#"{"params":[]}"#,
            r#"{"params":{"a":1.5}}"#,
            r#"{"params":{"a":-0}}"#,
            r#"{"params":{"a":01}}"#,
            r#"{"params":{"a":-}}"#,
            r#"{"params":{"a":1234567890123456}}"#,
            r#"{"params":{"a":"\n"}}"#,
            "{\"params\":{\"a\":\"\n\"}}",
            r#"{"params":{"a":{"b":1,"b":2}}}"#,
            r#"{"params":{"a":tru}}"#,
            r#"{"params":{"a":truefalse}}"#,
            r#"{"params":{"a":[[[[[[[[]]]]]]]]}}"#,
            r#"{"id":1,"id":2}"#,
        ] {
            check(text, false);
        }
    }

    #[test]
    fn no_more_is_kept_of_an_array_than_a_batch_may_have() {
        let objects_of = |count: usize| objects(&format!("[{}]", vec!["{}"; count].join(","))).map(|all| all.len());
        assert_eq!((objects_of(BATCH_MAX), objects_of(BATCH_MAX + 1)), (Some(BATCH_MAX), None));
    }

    #[test]
    fn strings_end_where_the_first_byte_is_that_ends_them() {
        let slow = |bytes: &[u8]| bytes.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=31)).count();
        for end in [b'"', b'\\', 0, 1, 31] {
            for length in 0..20 {
                for before in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![before; 24];
                    assert_eq!(plain_length(&bytes), slow(&bytes));
                    bytes.iter_mut().skip(length).step_by(2).for_each(|byte| *byte = end);
                    assert_eq!(plain_length(&bytes), slow(&bytes), "{bytes:?}");
                }
            }
        }
    }

    /// As the general reader has them.
    fn general(text: &str) -> Option<Vec<(String, Value)>> {
        json::check_depth(text).ok()?;
        let plain = json::compact(&mut serde_json::Deserializer::from_str(text)).ok()?;
        let Value::Object(members) = serde_json::from_str(&plain).ok()? else { return None };
        Some(members.into_iter().collect())
    }

    fn check_raw(raw: Raw<'_>, value: &Value) -> Result<(), TestCaseError> {
        let found: Option<Value> = serde_json::from_str(raw.get()).ok();
        prop_assert_eq!(found.as_ref(), Some(value));
        if raw.is_compact() {
            let written = json::compact(&mut serde_json::Deserializer::from_str(raw.get())).ok();
            prop_assert_eq!(written.as_deref(), Some(raw.get()));
        }
        Ok(())
    }

    fn check_members(found: Members<'_>, expected: &Value) -> Result<(), TestCaseError> {
        prop_assert_eq!(Some(found.len()), expected.as_object().map(serde_json::Map::len));
        for (name, raw) in found {
            check_raw(raw, &expected[&*name])?;
        }
        Ok(())
    }

    fn check(text: &str) -> Result<(), TestCaseError> {
        if let Some(envelope) = envelope(text) {
            let names: Vec<&str> = envelope.params.iter().flatten().map(|(name, _)| &**name).collect();
            // Whose names come twice is for who reads the parameters.
            if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
                return Ok(());
            }
            let Some(members) = general(text) else { return Err(TestCaseError::fail(text.to_owned())) };
            for (name, value) in members {
                let raw = match name.as_str() {
                    "jsonrpc" => envelope.jsonrpc,
                    "id" => envelope.id,
                    "method" => envelope.method,
                    "params" => {
                        check_members(envelope.params.clone().unwrap_or_default(), &value)?;
                        if let Some((name, objects)) = &envelope.objects {
                            let expected = value[*name].as_array().cloned().unwrap_or_default();
                            prop_assert_eq!(objects.len(), expected.len());
                            for (members, value) in objects.iter().zip(&expected) {
                                check_members(members.clone(), value)?;
                            }
                        }
                        continue;
                    }
                    other => return Err(TestCaseError::fail(other.to_owned())),
                };
                prop_assert!(raw.is_some(), "{}", name);
                raw.map_or(Ok(()), |raw| check_raw(raw, &value))?;
            }
        }
        Ok(())
    }

    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?[0-9]{1,17}".prop_map(String::from),
            "-?[0-9]{1,3}[.eE][0-9]{1,3}".prop_map(String::from),
            r#""([ab{}\[,: ä]|\\n|\\"|\\u0061){0,12}""#.prop_map(String::from),
        ];
        let space = || prop_oneof![8 => Just(""), 2 => Just(" "), 1 => Just("  ")];
        scalar.prop_recursive(4, 24, 4, move |inner| {
            let member = (r#""[ab]{0,2}""#, space(), inner.clone())
                .prop_map(|(name, space, value)| format!("{name}:{space}{value}"));
            prop_oneof![
                (prop::collection::vec(inner, 0..4), space())
                    .prop_map(|(all, space)| format!("[{}]", all.join(&format!(",{space}")))),
                (prop::collection::vec(member, 0..4), space())
                    .prop_map(|(all, space)| format!("{{{}}}", all.join(&format!(",{space}")))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_the_general_reader_reads(
            members in prop::collection::vec((prop::sample::select(vec!["id", "method", "params", "jsonrpc", "x"]), json()), 0..4),
            text in r#"\{"params":\{"a":[\[\]{}:,"\\ 0-19.eE\-ntruefals]{0,16}\}\}"#,
        ) {
            let members: Vec<String> = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            check(&format!("{{{}}}", members.join(",")))?;
            check(&text)?;
        }

        #[test]
        fn objects_of_an_array_are_what_the_general_reader_reads(all in prop::collection::vec(json(), 0..4)) {
            let text = format!("[{}]", all.join(","));
            if let Some(found) = objects(&text) {
                let expected: Vec<Value> = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(found.len(), expected.len());
                for (members, value) in found.into_iter().zip(&expected) {
                    check_members(members, value)?;
                }
            }
        }

        #[test]
        fn lists_of_objects_are_taken_apart_where_they_stand(
            all in prop::collection::vec(json(), 1..4),
            name in prop::sample::select(LISTS.to_vec()),
            space in prop::sample::select(vec!["", " "]),
        ) {
            let text = format!("{{\"params\":{{\"a\":1,\"{name}\":[{}]}}}}", all.join(&format!(",{space}")));
            check(&text)?;
            if let Some(found) = envelope(&text) {
                let is_of_objects = all.iter().all(|one| one.starts_with('{'));
                prop_assert!(found.objects.is_some() || !is_of_objects);
            }
        }
    }
}
