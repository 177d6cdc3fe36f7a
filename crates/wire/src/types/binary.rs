//! PostgreSQL's send functions for the types whose binary form is not just their bytes.

use bytes::{BufMut, BytesMut};

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;

/// `numeric`: base-10000 digits, weight of the first one, sign, display scale.
pub(crate) fn put_numeric(out: &mut BytesMut, unscaled: i128, scale: i8) {
    let display_scale = u16::from(scale.max(0).unsigned_abs());
    // Group boundaries lie at the decimal point: pad the fraction to whole groups of four digits.
    let fraction_groups = usize::from(display_scale.div_ceil(4));
    let padding = fraction_groups * 4 - usize::from(display_scale);
    // At most 39 digits and 3 of padding: 12 groups, and up to 32 zero groups for a negative scale.
    let mut groups = [0_u16; 44];
    let mut count = 0;
    let mut rest = unscaled.unsigned_abs();
    let mut push = |group: u16| {
        if let Some(slot) = groups.get_mut(count) {
            *slot = group;
            count += 1;
        }
    };
    if scale < 0 {
        let zeros = usize::from(scale.unsigned_abs());
        for _ in 0..zeros / 4 {
            push(0);
        }
        let shift = 10_u128.pow((zeros % 4) as u32);
        let head = 10_000 / shift;
        push(((rest % head) * shift) as u16);
        rest /= head;
    } else if padding > 0 {
        let shift = 10_u128.pow(padding as u32);
        let head = 10_000 / shift;
        push(((rest % head) * shift) as u16);
        rest /= head;
    }
    while rest > 0 {
        push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    // Least significant first so far; leading and trailing zero groups are not sent.
    let written = groups.get(..count).unwrap_or_default();
    let trailing = written.iter().take_while(|group| **group == 0).count();
    let leading = written.iter().rev().take_while(|group| **group == 0).count();
    let significant = written.get(trailing..count.saturating_sub(leading).max(trailing)).unwrap_or_default();
    let weight = if significant.is_empty() { 0 } else { (count - leading) as i16 - 1 - fraction_groups as i16 };
    out.put_u16(significant.len() as u16);
    out.put_i16(weight);
    out.put_u16(if unscaled < 0 { NEGATIVE } else { POSITIVE });
    out.put_u16(display_scale);
    for group in significant.iter().rev() {
        out.put_u16(*group);
    }
}

/// Reads what [`put_numeric`] writes: unscaled value and scale. `None` when it is malformed, not finite, or does not
/// fit 38 digits.
pub(crate) fn read_numeric(bytes: &[u8]) -> Option<(i128, i8)> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (count, weight, sign, display_scale) = (word(0)?, word(2)? as i16, word(4)?, word(6)?);
    if bytes.len() != 8 + 2 * usize::from(count) || !matches!(sign, POSITIVE | NEGATIVE) || display_scale > 0x3FFF {
        return None;
    }
    // The value is the sum of group × 10000^(weight - index), and it is wanted in units of 10^-scale.
    let scale = i32::from(display_scale.min(38));
    let mut unscaled: i128 = 0;
    for index in 0..usize::from(count) {
        let group = i128::from(word(8 + 2 * index)?);
        if group > 9_999 {
            return None;
        }
        let exponent = 4 * (i32::from(weight) - index as i32) + scale;
        let term = match u32::try_from(exponent) {
            _ if group == 0 => 0,
            Ok(exponent) => group.checked_mul(10_i128.checked_pow(exponent)?)?,
            // Digits beyond the display scale do not occur in what PostgreSQL sends: nothing is rounded silently.
            Err(_) => {
                let unit = 10_i128.checked_pow(exponent.unsigned_abs())?;
                (group % unit == 0).then_some(group / unit)?
            }
        };
        unscaled = unscaled.checked_add(term)?;
    }
    if unscaled >= 10_i128.pow(38) {
        return None;
    }
    Some((if sign == NEGATIVE { -unscaled } else { unscaled }, scale as i8))
}

/// NaN and the infinities, which no numeric here can hold.
pub(crate) fn is_special_numeric(bytes: &[u8]) -> bool {
    matches!(bytes.get(4..6), Some([0xc0 | 0xd0 | 0xf0, 0]))
}

/// The 16 bytes of a UUID's text; `None` when it is none.
pub(crate) fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    let mut nibbles = 0_usize;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            // A hyphen may follow each group of four digits.
            b'-' if nibbles > 0 && nibbles < 32 && nibbles.is_multiple_of(4) => continue,
            _ => return None,
        };
        let slot = bytes.get_mut(nibbles / 2)?;
        *slot = (*slot << 4) | digit;
        nibbles += 1;
    }
    (nibbles == 32).then_some(bytes)
}

/// Canonical lower-case text of a UUID.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}
