//! Text to uuid, boolean and bytea, as PostgreSQL's input functions read it.

/// The forms PostgreSQL reads: any case, braces, hyphens after any four digits. Printed lower case, 8-4-4-4-12.
pub(crate) fn canonical_uuid(text: &str) -> Option<String> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = String::with_capacity(36);
    let mut count = 0;
    let mut hyphen_allowed = false;
    for character in inner.chars() {
        if character == '-' {
            if !hyphen_allowed {
                return None;
            }
            hyphen_allowed = false;
            continue;
        }
        if !character.is_ascii_hexdigit() || count == 32 {
            return None;
        }
        if matches!(count, 8 | 12 | 16 | 20) {
            digits.push('-');
        }
        digits.push(character.to_ascii_lowercase());
        count += 1;
        hyphen_allowed = count % 4 == 0 && count < 32;
    }
    (count == 32).then_some(digits)
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let is_prefix = |word: &str, least: usize| text.len() >= least && word.starts_with(text.as_str());
    if is_prefix("true", 1) || is_prefix("yes", 1) || text == "on" || text == "1" {
        Some(true)
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// `\x` and hexadecimal digits, or the older escape format.
pub(crate) fn parse_bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: String = digits.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return hex::decode(digits).ok();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            first @ b'0'..=b'3' => {
                let second = bytes.next().filter(|b| (b'0'..=b'7').contains(b))?;
                let third = bytes.next().filter(|b| (b'0'..=b'7').contains(b))?;
                out.push((first - b'0') * 64 + (second - b'0') * 8 + (third - b'0'));
            }
            _ => return None,
        }
    }
    Some(out)
}
