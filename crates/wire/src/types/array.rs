//! Arrays in results: `array_out` and `array_send`.

use arrow::array::{Array, ArrayRef};
use bytes::{BufMut, BytesMut};
use weir_model::ColumnType;

use crate::types::{
    batch::{self, Put, Unencodable, patch_length},
    oid,
    scalar::{Scalar, Source},
    zone::Zone,
};

/// `{1,NULL,"a b"}`, and `{{1,2},{3,4}}` for arrays of arrays.
pub(super) fn put_text(out: &mut BytesMut, items: &ArrayRef, element: ColumnType, zone: &Zone) -> Put {
    lengths(items)?;
    put_braces(out, items, element, zone)
}

fn put_braces(out: &mut BytesMut, items: &ArrayRef, element: ColumnType, zone: &Zone) -> Put {
    let source = Source::new(items.as_ref()).map_err(Unencodable::Unsupported)?;
    out.put_u8(b'{');
    for row in 0..items.len() {
        if row > 0 {
            out.put_u8(b',');
        }
        match source.get(row) {
            Scalar::Null => out.put_slice(b"NULL"),
            Scalar::List(nested) => put_braces(out, &nested, element, zone)?,
            scalar => {
                let at = out.len();
                batch::put_text(out, &scalar, element, zone)?;
                quote_element(out, at);
            }
        }
    }
    out.put_u8(b'}');
    Ok(())
}

/// Quotes the array element that starts at `at`, if it needs it.
fn quote_element(out: &mut BytesMut, at: usize) {
    let element = out.get(at..).unwrap_or_default();
    let special =
        |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 11 | 12);
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"NULL") && !element.iter().any(special) {
        return;
    }
    let element = element.to_vec();
    out.truncate(at);
    out.put_u8(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

/// Number of dimensions, whether there are NULLs, OID of the elements; length and lower bound of each dimension; the
/// elements.
pub(super) fn put_binary(out: &mut BytesMut, items: &ArrayRef, element: ColumnType, zone: &Zone) -> Put {
    let lengths = lengths(items)?;
    // An array without elements has no dimensions.
    let lengths = if lengths.contains(&0) { Vec::new() } else { lengths };
    out.put_i32(lengths.len() as i32);
    let nulls = out.len();
    out.put_i32(0);
    out.put_u32(oid::scalar(element));
    if lengths.is_empty() {
        return Ok(());
    }
    for length in lengths {
        out.put_i32(i32::try_from(length).map_err(|_too_long| Unencodable::TooLong)?);
        out.put_i32(1);
    }
    if put_elements(out, items, element, zone)?
        && let Some(flag) = out.get_mut(nulls + 3)
    {
        *flag = 1;
    }
    Ok(())
}

/// Whether there was a NULL among them.
fn put_elements(out: &mut BytesMut, items: &ArrayRef, element: ColumnType, zone: &Zone) -> Result<bool, Unencodable> {
    let source = Source::new(items.as_ref()).map_err(Unencodable::Unsupported)?;
    let mut nulls = false;
    for row in 0..items.len() {
        match source.get(row) {
            Scalar::Null => {
                nulls = true;
                out.put_i32(-1);
            }
            Scalar::List(nested) => nulls |= put_elements(out, &nested, element, zone)?,
            scalar => {
                let at = out.len();
                out.put_i32(0);
                batch::put_binary(out, &scalar, element, zone)?;
                patch_length(out, at, at + 4)?;
            }
        }
    }
    Ok(nulls)
}

/// The length of each dimension; all parts of one have the same, or it is no array to PostgreSQL.
fn lengths(items: &ArrayRef) -> Result<Vec<usize>, Unencodable> {
    let mut lengths = Vec::new();
    measure(items, 0, &mut lengths)?;
    Ok(lengths)
}

fn measure(items: &ArrayRef, depth: usize, lengths: &mut Vec<usize>) -> Put {
    match lengths.get(depth) {
        None => lengths.push(items.len()),
        Some(known) if *known == items.len() => {}
        Some(_) => return Err(Unencodable::Ragged),
    }
    if !items.data_type().is_nested() {
        return Ok(());
    }
    let source = Source::new(items.as_ref()).map_err(Unencodable::Unsupported)?;
    for row in 0..items.len() {
        match source.get(row) {
            Scalar::List(nested) => measure(&nested, depth + 1, lengths)?,
            _ => return Err(Unencodable::Ragged),
        }
    }
    Ok(())
}
