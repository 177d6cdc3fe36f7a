//! COPY's CSV format: quoted fields may hold delimiters and newlines.

use crate::copy::decode::{Field, LineFault};

/// How far a record has been looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) at: usize,
    quoted: bool,
    /// Inside quotes, the byte before was an escape character that is not the quote itself.
    escaped: bool,
    /// Newlines inside quotes so far.
    pub(super) newlines: u64,
}

/// The position of the newline that ends the record at the front of `input`; `None` when more must come, and `scan`
/// remembers how far it was read.
pub(super) fn find_end(input: &[u8], scan: &mut Scan, quote: u8, escape: u8) -> Option<usize> {
    let rest = input.get(scan.at..)?;
    for (offset, byte) in rest.iter().enumerate() {
        let byte = *byte;
        if scan.escaped {
            scan.escaped = false;
        } else if scan.quoted && byte == escape && escape != quote {
            scan.escaped = true;
        } else if byte == quote {
            // A doubled quote closes and opens again, which is the same as nothing.
            scan.quoted = !scan.quoted;
        } else if byte == b'\n' {
            if !scan.quoted {
                return Some(scan.at + offset);
            }
            scan.newlines += 1;
        }
    }
    scan.at = input.len();
    None
}

/// Takes the first field off a record: its value, and what follows its delimiter.
pub(super) fn next_field<'a: 's, 's>(
    record: &'a [u8],
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: &[u8],
    scratch: &'s mut Vec<u8>,
) -> Result<(Field<'s>, Option<&'a [u8]>), LineFault> {
    let special = record.iter().position(|byte| *byte == delimiter || *byte == quote || *byte == b'\r');
    let Some(at) = special else {
        return Ok((plain(record, null), None));
    };
    let (head, tail) = record.split_at_checked(at).unwrap_or((record, &[]));
    match tail.split_first() {
        Some((byte, rest)) if *byte == delimiter => Ok((plain(head, null), Some(rest))),
        Some((b'\r', _)) if quote != b'\r' => Err(LineFault::CarriageReturn),
        _ => quoted_field(head, tail, delimiter, quote, escape, scratch),
    }
}

fn plain<'a>(raw: &'a [u8], null: &[u8]) -> Field<'a> {
    if raw == null { Field::Null } else { Field::Value(raw) }
}

/// A field with quotes in it, which is never NULL. Quotes may open and close anywhere, as in PostgreSQL.
fn quoted_field<'a, 's>(
    head: &[u8],
    tail: &'a [u8],
    delimiter: u8,
    quote: u8,
    escape: u8,
    scratch: &'s mut Vec<u8>,
) -> Result<(Field<'s>, Option<&'a [u8]>), LineFault> {
    scratch.clear();
    scratch.extend_from_slice(head);
    let mut rest = tail;
    let mut quoted = false;
    while let Some((byte, after)) = rest.split_first() {
        if quoted {
            let next = after.first().copied();
            if *byte == escape && (next == Some(quote) || (next == Some(escape) && escape != quote)) {
                scratch.extend(next);
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            if *byte == quote {
                quoted = false;
            } else {
                scratch.push(*byte);
            }
        } else if *byte == delimiter {
            return Ok((Field::Value(scratch), Some(after)));
        } else if *byte == quote {
            quoted = true;
        } else if *byte == b'\r' {
            return Err(LineFault::CarriageReturn);
        } else {
            scratch.push(*byte);
        }
        rest = after;
    }
    if quoted { Err(LineFault::UnterminatedQuote) } else { Ok((Field::Value(scratch), None)) }
}
