//! PostgreSQL's output functions, written without allocation.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

use crate::text::calendar::{SECOND, civil_from_days, split_microseconds};

const TEN_TO_19: u128 = 10_000_000_000_000_000_000;

pub fn put_u64(out: &mut BytesMut, value: u64) {
    put_padded(out, value, 1);
}

/// Decimal digits with leading zeros up to `width`.
pub fn put_padded(out: &mut BytesMut, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut length = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    let start = digits.len() - length.max(width.min(digits.len()));
    out.put_slice(digits.get(start..).unwrap_or_default());
}

pub fn put_i64(out: &mut BytesMut, value: i64) {
    if value < 0 {
        out.put_u8(b'-');
    }
    put_u64(out, value.unsigned_abs());
}

fn put_u128(out: &mut BytesMut, value: u128, width: usize) {
    if let Ok(small) = u64::try_from(value) {
        for _ in 20..width {
            out.put_u8(b'0');
        }
        return put_padded(out, small, width.min(20));
    }
    put_u128(out, value / TEN_TO_19, width.saturating_sub(19));
    put_padded(out, (value % TEN_TO_19) as u64, 19);
}

/// `unscaled / 10^scale` with exactly `scale` fractional digits.
pub fn put_decimal(out: &mut BytesMut, unscaled: i128, scale: i8) {
    if unscaled < 0 {
        out.put_u8(b'-');
    }
    let value = unscaled.unsigned_abs();
    let Ok(digits) = u32::try_from(scale) else {
        put_u128(out, value, 1);
        if value != 0 {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    };
    if digits == 0 {
        return put_u128(out, value, 1);
    }
    if let (Ok(value), Some(unit)) = (u64::try_from(value), 10_u64.checked_pow(digits)) {
        put_u64(out, value / unit);
        out.put_u8(b'.');
        return put_padded(out, value % unit, digits as usize);
    }
    match 10_u128.checked_pow(digits) {
        Some(unit) => {
            put_u128(out, value / unit, 1);
            out.put_u8(b'.');
            put_u128(out, value % unit, digits as usize);
        }
        None => {
            out.put_slice(b"0.");
            put_u128(out, value, digits as usize);
        }
    }
}

/// A small buffer on the stack that `write!` can fill.
struct Scratch {
    bytes: [u8; 32],
    length: usize,
}

impl std::fmt::Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { bytes: [0; 32], length: 0 }
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The shortest digits that read back to the same double, as PostgreSQL 12 and later print them.
pub fn put_f64(out: &mut BytesMut, value: f64) {
    if put_special_float(out, value.is_nan(), value.is_infinite(), value.is_sign_negative()) {
        return;
    }
    let mut scratch = Scratch::new();
    // The shortest form of a double has at most 17 digits: it always fits.
    let _fits = write!(scratch, "{value:e}");
    put_scientific(out, scratch.text(), 15);
}

/// As [`put_f64`], for single precision.
pub fn put_f32(out: &mut BytesMut, value: f32) {
    if put_special_float(out, value.is_nan(), value.is_infinite(), value.is_sign_negative()) {
        return;
    }
    let mut scratch = Scratch::new();
    let _fits = write!(scratch, "{value:e}");
    put_scientific(out, scratch.text(), 6);
}

fn put_special_float(out: &mut BytesMut, nan: bool, infinite: bool, negative: bool) -> bool {
    match (nan, infinite, negative) {
        (true, ..) => out.put_slice(b"NaN"),
        (_, true, false) => out.put_slice(b"Infinity"),
        (_, true, true) => out.put_slice(b"-Infinity"),
        _ => return false,
    }
    true
}

/// Lays `-d.ddde±x` out as PostgreSQL does: plain for exponents in -4..`plain_below`, else with a signed exponent of
/// two digits at least.
fn put_scientific(out: &mut BytesMut, text: &[u8], plain_below: i32) {
    let negative = text.first() == Some(&b'-');
    let text = if negative { text.get(1..).unwrap_or_default() } else { text };
    let mut halves = text.splitn(2, |byte| *byte == b'e');
    let mantissa = halves.next().unwrap_or_default();
    let exponent: i32 =
        halves.next().and_then(|half| std::str::from_utf8(half).ok()).and_then(|half| half.parse().ok()).unwrap_or(0);
    let whole = mantissa.first().copied().unwrap_or(b'0');
    let fraction = mantissa.get(2..).unwrap_or_default();
    if negative {
        out.put_u8(b'-');
    }
    if !(-4..plain_below).contains(&exponent) {
        out.put_u8(whole);
        if !fraction.is_empty() {
            out.put_u8(b'.');
            out.put_slice(fraction);
        }
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        return put_padded(out, u64::from(exponent.unsigned_abs()), 2);
    }
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (exponent.unsigned_abs() - 1) as usize);
        out.put_u8(whole);
        out.put_slice(fraction);
        return;
    }
    out.put_u8(whole);
    let shift = exponent.unsigned_abs() as usize;
    match fraction.split_at_checked(shift) {
        Some((left, right)) => {
            out.put_slice(left);
            if !right.is_empty() {
                out.put_u8(b'.');
                out.put_slice(right);
            }
        }
        None => {
            out.put_slice(fraction);
            out.put_bytes(b'0', shift - fraction.len());
        }
    }
}

/// `\x` and two hexadecimal digits a byte.
pub fn put_bytea(out: &mut BytesMut, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.put_slice(b"\\x");
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.put_u8(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
    }
}

/// `YYYY-MM-DD`; whether the year is before Christ, which goes to the very end of the value.
fn put_day(out: &mut BytesMut, days: i32) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    put_padded(out, if before_christ { 1 - year } else { year }.unsigned_abs(), 4);
    out.put_u8(b'-');
    put_padded(out, u64::from(month), 2);
    out.put_u8(b'-');
    put_padded(out, u64::from(day), 2);
    before_christ
}

pub fn put_date(out: &mut BytesMut, days: i32) {
    if put_day(out, days) {
        out.put_slice(b" BC");
    }
}

/// `HH:MM:SS[.ffffff]` of microseconds since midnight, trailing zeros cut.
pub fn put_time(out: &mut BytesMut, microseconds: i64) {
    let microseconds = microseconds.unsigned_abs();
    let seconds = microseconds / SECOND.unsigned_abs();
    put_padded(out, seconds / 3600, 2);
    out.put_u8(b':');
    put_padded(out, seconds / 60 % 60, 2);
    out.put_u8(b':');
    put_padded(out, seconds % 60, 2);
    put_fraction(out, microseconds % SECOND.unsigned_abs());
}

fn put_fraction(out: &mut BytesMut, mut microseconds: u64) {
    if microseconds == 0 {
        return;
    }
    let mut width = 6;
    while microseconds.is_multiple_of(10) {
        microseconds /= 10;
        width -= 1;
    }
    out.put_u8(b'.');
    put_padded(out, microseconds, width);
}

/// A timestamp in microseconds since 1970; `offset` is the zone's seconds east of Greenwich, `None` without zone.
pub fn put_timestamp(out: &mut BytesMut, microseconds: i64, offset: Option<i32>) {
    let local = microseconds.saturating_add(i64::from(offset.unwrap_or(0)) * SECOND);
    let (days, time) = split_microseconds(local);
    let before_christ = put_day(out, days);
    out.put_u8(b' ');
    put_time(out, time);
    if let Some(offset) = offset {
        out.put_u8(if offset < 0 { b'-' } else { b'+' });
        let seconds = u64::from(offset.unsigned_abs());
        put_padded(out, seconds / 3600, 2);
        if !seconds.is_multiple_of(3600) {
            out.put_u8(b':');
            put_padded(out, seconds / 60 % 60, 2);
        }
        if !seconds.is_multiple_of(60) {
            out.put_u8(b':');
            put_padded(out, seconds % 60, 2);
        }
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// IntervalStyle `postgres`: `1 year 2 mons -3 days +04:05:06.7`.
pub fn put_interval(out: &mut BytesMut, months: i32, days: i32, nanoseconds: i64) {
    let microseconds = nanoseconds / 1000;
    let mut written = false;
    // A sign is spelled out where the part before it was negative.
    let mut after_negative = false;
    for (amount, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if amount == 0 {
            continue;
        }
        if written {
            out.put_u8(b' ');
        }
        if after_negative && amount > 0 {
            out.put_u8(b'+');
        }
        put_i64(out, i64::from(amount));
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if amount != 1 {
            out.put_u8(b's');
        }
        after_negative = amount < 0;
        written = true;
    }
    if microseconds == 0 && written {
        return;
    }
    if written {
        out.put_u8(b' ');
    }
    if microseconds < 0 {
        out.put_u8(b'-');
    } else if after_negative {
        out.put_u8(b'+');
    }
    put_time(out, microseconds);
}
