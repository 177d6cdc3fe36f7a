//! Text to the other types: boolean, bytea, uuid, JSON and character types.

use crate::types::{binary, fault::Fault, number_input::trim};

/// PostgreSQL's `boolin`: unique prefixes of true, false, yes, no; on, off; 1, 0.
pub(crate) fn read_bool(input: &[u8]) -> Result<bool, Fault> {
    let input = trim(input);
    if let [b't'] | [b'1'] = input {
        return Ok(true);
    }
    if let [b'f'] | [b'0'] = input {
        return Ok(false);
    }
    let prefix_of = |word: &str, least: usize| {
        input.len() >= least && word.as_bytes().get(..input.len()).is_some_and(|head| head.eq_ignore_ascii_case(input))
    };
    if prefix_of("true", 1) || prefix_of("yes", 1) || prefix_of("on", 2) {
        Ok(true)
    } else if prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) {
        Ok(false)
    } else {
        Err(Fault::Syntax)
    }
}

/// Text without NUL, in UTF-8.
pub(crate) fn read_text(input: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(input).map_err(|_invalid| Fault::NotUtf8)?;
    if input.contains(&0) { Err(Fault::NotUtf8) } else { Ok(text) }
}

/// `varchar(n)`: longer texts are refused, unless all that is too much is blanks, which are cut.
pub(crate) fn read_varchar(input: &[u8], length_max: u32) -> Result<&str, Fault> {
    let text = read_text(input)?;
    let length_max = length_max as usize;
    if text.len() <= length_max {
        return Ok(text);
    }
    match text.char_indices().nth(length_max) {
        None => Ok(text),
        Some((cut, _)) => {
            let (head, tail) = text.split_at_checked(cut).ok_or(Fault::TooLong)?;
            if tail.bytes().all(|byte| byte == b' ') { Ok(head) } else { Err(Fault::TooLong) }
        }
    }
}

/// `\x6869`, or the older escape form (`\\`, `\ooo`).
pub(crate) fn read_bytea(input: &[u8]) -> Result<Vec<u8>, Fault> {
    if let Some(digits) = input.strip_prefix(b"\\x") {
        return read_hex(digits);
    }
    let mut bytes = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..] => {
                bytes.push(((high - b'0') << 6) | ((middle - b'0') << 3) | (low - b'0'));
                rest = after;
            }
            _ => return Err(Fault::Syntax),
        }
    }
    Ok(bytes)
}

fn read_hex(digits: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut high = None;
    for byte in digits {
        let nibble = match char::from(*byte).to_digit(16) {
            Some(nibble) => nibble as u8,
            // White space is allowed between bytes, not inside one.
            None if byte.is_ascii_whitespace() && high.is_none() => continue,
            None => return Err(Fault::Syntax),
        };
        match high.take() {
            None => high = Some(nibble),
            Some(high) => bytes.push((high << 4) | nibble),
        }
    }
    if high.is_some() { Err(Fault::Syntax) } else { Ok(bytes) }
}

/// A UUID's canonical text, from any form PostgreSQL reads: braces, upper case, hyphens after any four digits.
pub(crate) fn read_uuid(input: &[u8]) -> Result<String, Fault> {
    let inner = match input.strip_prefix(b"{") {
        Some(rest) => rest.strip_suffix(b"}").ok_or(Fault::Syntax)?,
        None => input,
    };
    binary::uuid_bytes(inner).map(binary::uuid_text).ok_or(Fault::Syntax)
}

/// JSON is kept as it came; it only has to be JSON.
pub(crate) fn read_json(input: &[u8]) -> Result<&str, Fault> {
    let text = read_text(input)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Fault::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["t", "true", "TRUE", "tr", "y", "yes", "on", "1", " t "] {
            assert_eq!(read_bool(yes.as_bytes()), Ok(true), "{yes}");
        }
        for no in ["f", "false", "n", "no", "of", "off", "0"] {
            assert_eq!(read_bool(no.as_bytes()), Ok(false), "{no}");
        }
        for bad in ["", "o", "2", "truee", "maybe"] {
            assert_eq!(read_bool(bad.as_bytes()), Err(Fault::Syntax), "{bad}");
        }
    }

    #[test]
    fn byteas() {
        assert_eq!(read_bytea(b"\\x00fF 10"), Ok(vec![0, 255, 16]));
        assert_eq!(read_bytea(b"a\\\\b\\001"), Ok(vec![b'a', b'\\', b'b', 1]));
        for bad in [&b"\\x0"[..], b"\\xzz", b"\\9", b"\\", b"\\x0 0"] {
            assert_eq!(read_bytea(bad), Err(Fault::Syntax), "{bad:?}");
        }
    }

    #[test]
    fn uuids_become_canonical() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for form in [
            canonical,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(read_uuid(form.as_bytes()).as_deref(), Ok(canonical), "{form}");
        }
        for bad in ["", "a0eebc99", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"] {
            assert!(read_uuid(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn character_types() {
        assert_eq!(read_varchar("grüß".as_bytes(), 4), Ok("grüß"));
        assert_eq!(read_varchar(b"abc   ", 3), Ok("abc"));
        assert_eq!(read_varchar(b"abcd", 3), Err(Fault::TooLong));
        assert_eq!(read_text(b"a\0b"), Err(Fault::NotUtf8));
        assert_eq!(read_text(&[0xc3, 0x28]), Err(Fault::NotUtf8));
        assert_eq!(read_json(b"{\"a\": [1, 2]}"), Ok("{\"a\": [1, 2]}"));
        assert_eq!(read_json(b"{a}"), Err(Fault::Syntax));
        assert!(read_json("[".repeat(100_000).as_bytes()).is_err());
    }
}
