//! COPY's text format: fields between delimiters, backslash escapes, a marker for NULL.

use crate::copy::decode::{Field, LineFault};

/// Where the record that starts at the front of `input` ends (the position of its newline), looking from `from` on.
/// `Err` says from where to look again when more has come.
pub(super) fn find_end(input: &[u8], from: usize) -> Result<usize, usize> {
    let mut at = from;
    loop {
        let Some(rest) = input.get(at..) else { return Err(at) };
        match rest.iter().position(|byte| matches!(byte, b'\n' | b'\\')) {
            None => return Err(input.len()),
            Some(offset) if rest.get(offset) == Some(&b'\n') => return Ok(at + offset),
            // A backslash takes the next byte with it, a newline too.
            Some(offset) if offset + 1 < rest.len() => at += offset + 2,
            Some(offset) => return Err(at + offset),
        }
    }
}

/// Takes the first field off a record: its value, and what follows its delimiter.
pub(super) fn next_field<'a: 's, 's>(
    record: &'a [u8],
    delimiter: u8,
    null: &[u8],
    scratch: &'s mut Vec<u8>,
) -> Result<(Field<'s>, Option<&'a [u8]>), LineFault> {
    let mut at = 0;
    let mut escaped = false;
    let end = loop {
        let Some(rest) = record.get(at..) else { break record.len() };
        match rest.iter().position(|byte| *byte == delimiter || matches!(byte, b'\\' | b'\r')) {
            None => break record.len(),
            Some(offset) => match rest.get(offset) {
                Some(b'\\') => {
                    escaped = true;
                    at += offset + 2;
                }
                Some(b'\r') if delimiter != b'\r' => return Err(LineFault::CarriageReturn),
                _ => break at + offset,
            },
        }
    };
    let raw = record.get(..end).unwrap_or(record);
    let next = record.get(end..).and_then(|rest| rest.split_first()).map(|(_, rest)| rest);
    // NULL is recognised before escapes are read: `\N` is one, `\\N` is not.
    let field = if raw == null {
        Field::Null
    } else if escaped {
        unescape(raw, scratch);
        Field::Value(scratch)
    } else {
        Field::Value(raw)
    };
    Ok((field, next))
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(escape) = bytes.next() else {
            out.push(b'\\');
            break;
        };
        out.push(match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    match bytes.next_if(|digit| matches!(digit, b'0'..=b'7')) {
                        Some(digit) => value = value * 8 + u32::from(digit - b'0'),
                        None => break,
                    }
                }
                // As PostgreSQL: what exceeds a byte is cut.
                (value & 0xff) as u8
            }
            b'x' => {
                let mut digit = || {
                    let digit = bytes.next_if(u8::is_ascii_hexdigit)?;
                    char::from(digit).to_digit(16)
                };
                match (digit(), digit()) {
                    (None, _) => b'x',
                    (Some(low), None) => low as u8,
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                }
            }
            other => other,
        });
    }
}
