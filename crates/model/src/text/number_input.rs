//! Text to numbers, from bytes that may not be UTF-8 and without allocation: COPY reads millions of these.

use crate::text::fault::Fault;

/// Strips the white space PostgreSQL's input functions ignore around a value.
pub fn trim(input: &[u8]) -> &[u8] {
    input.trim_ascii()
}

/// A signed decimal integer within `min..=max`.
pub fn read_integer(input: &[u8], min: i64, max: i64) -> Result<i64, Fault> {
    let input = trim(input);
    let (negative, digits) = split_sign(input);
    if digits.is_empty() {
        return Err(Fault::Syntax);
    }
    let mut value: i64 = 0;
    let mut overflow = false;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Fault::Syntax);
        }
        // Counted downwards: i64::MIN has no positive twin.
        match value.checked_mul(10).and_then(|value| value.checked_sub(i64::from(digit))) {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    let value = if negative { Some(value) } else { value.checked_neg() };
    value.filter(|value| !overflow && (min..=max).contains(value)).ok_or(Fault::OutOfRange)
}

fn split_sign(input: &[u8]) -> (bool, &[u8]) {
    match input.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, input),
    }
}

/// A decimal number as it was written: `digits × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

fn read_written(input: &[u8]) -> Result<Written<'_>, Fault> {
    let input = trim(input);
    let (negative, rest) = split_sign(input);
    let whole_length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = rest.split_at_checked(whole_length).ok_or(Fault::Syntax)?;
    let (fraction, rest) = match rest.split_first() {
        Some((b'.', rest)) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.split_at_checked(length).ok_or(Fault::Syntax)?
        }
        _ => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        let special = ["nan", "infinity", "inf"].iter().any(|name| rest.eq_ignore_ascii_case(name.as_bytes()));
        return Err(if special { Fault::Unsupported("a numeric that is NaN or infinite") } else { Fault::Syntax });
    }
    let exponent = match rest.split_first() {
        None => 0,
        Some((b'e' | b'E', digits)) => match read_integer(digits, -100_000, 100_000) {
            // PostgreSQL allows no blanks here, and read_integer trims them.
            Ok(value) if !digits.iter().any(u8::is_ascii_whitespace) => value as i32,
            Err(Fault::OutOfRange) => return Err(Fault::OutOfRange),
            _ => return Err(Fault::Syntax),
        },
        Some(_) => return Err(Fault::Syntax),
    };
    Ok(Written { negative, whole, fraction, exponent })
}

/// Adds digits to an accumulator; `None` beyond 38.
fn accumulate(value: i128, digits: &[u8]) -> Option<i128> {
    if value == 0 && digits.len() <= 18 {
        // The usual case, in one register.
        return Some(digits.iter().fold(0_i64, |value, byte| value * 10 + i64::from(byte - b'0')).into());
    }
    digits.iter().try_fold(value, |value, byte| value.checked_mul(10)?.checked_add(i128::from(byte - b'0')))
}

/// A number exactly as written: unscaled value, precision and scale.
pub fn read_numeric(input: &[u8]) -> Result<(i128, u8, i8), Fault> {
    let written = read_written(input)?;
    let mut value = accumulate(0, written.whole).and_then(|value| accumulate_more(value, written.fraction));
    let mut scale = i32::try_from(written.fraction.len()).map_err(|_huge| Fault::OutOfRange)? - written.exponent;
    if scale < 0 {
        let zeros = 10_i128.checked_pow(scale.unsigned_abs());
        value = if value == Some(0) { value } else { value.and_then(|value| value.checked_mul(zeros?)) };
        scale = 0;
    }
    let value = value.filter(|value| *value < 10_i128.pow(38)).ok_or(Fault::OutOfRange)?;
    if scale > 38 {
        return Err(Fault::OutOfRange);
    }
    let digits = value.checked_ilog10().map_or(1, |log| log + 1).max(scale.unsigned_abs()).max(1);
    Ok((if written.negative { -value } else { value }, digits as u8, scale as i8))
}

fn accumulate_more(value: i128, digits: &[u8]) -> Option<i128> {
    if value == 0 {
        return accumulate(0, digits);
    }
    digits.iter().try_fold(value, |value, byte| value.checked_mul(10)?.checked_add(i128::from(byte - b'0')))
}

/// A number as `numeric(precision, scale)`: rounded half away from zero, as PostgreSQL does.
pub fn read_decimal(input: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    if let Some(value) = read_plain_decimal(input, precision, scale) {
        return Ok(value);
    }
    let written = read_written(input)?;
    let fraction_length = i32::try_from(written.fraction.len()).map_err(|_huge| Fault::OutOfRange)?;
    // Digits to keep: all those before the point after shifting it by `exponent + scale`.
    let keep = written.whole.len() as i64 + i64::from(written.exponent) + i64::from(scale);
    let total = written.whole.len() as i64 + i64::from(fraction_length);
    let mut digits = written.whole.iter().chain(written.fraction).map(|byte| i128::from(byte - b'0'));
    let mut value: i128 = 0;
    for _ in 0..keep.min(total).max(0) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(digits.next().unwrap_or(0)))
            .ok_or(Fault::FieldOverflow)?;
    }
    if keep > total && value != 0 {
        let zeros = u32::try_from(keep - total).ok().and_then(|zeros| 10_i128.checked_pow(zeros));
        value = zeros.and_then(|zeros| value.checked_mul(zeros)).ok_or(Fault::FieldOverflow)?;
    }
    if keep >= 0 && digits.next().is_some_and(|digit| digit >= 5) {
        value = value.checked_add(1).ok_or(Fault::FieldOverflow)?;
    }
    if 10_i128.checked_pow(u32::from(precision)).is_some_and(|limit| value >= limit) {
        return Err(Fault::FieldOverflow);
    }
    Ok(if written.negative { -value } else { value })
}

/// The usual `-?d+[.d+]` with at most 18 digits and no more fraction than the scale, in one pass.
fn read_plain_decimal(input: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, rest) = split_sign(input);
    let scale = u32::try_from(scale).ok().filter(|scale| *scale <= 18)?;
    if rest.is_empty() || rest.len() > 18 {
        return None;
    }
    let mut value: i64 = 0;
    let mut point = None;
    for (index, byte) in rest.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(index);
        } else {
            return None;
        }
    }
    let fraction = point.map_or(0, |point| (rest.len() - point - 1) as u32);
    let missing = scale.checked_sub(fraction)?;
    // A lone point is no number.
    if point.is_some() && rest.len() == 1 {
        return None;
    }
    let value = i128::from(value) * i128::from(10_i64.pow(missing));
    if 10_i128.checked_pow(u32::from(precision)).is_some_and(|limit| value >= limit) {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// A double, with PostgreSQL's spellings of the special values.
pub fn read_f64(input: &[u8]) -> Result<f64, Fault> {
    let text = float_text(input)?;
    let value: f64 = text.parse().map_err(|_syntax| Fault::Syntax)?;
    check_float(text, value.is_infinite(), value == 0.0)?;
    Ok(value)
}

pub fn read_f32(input: &[u8]) -> Result<f32, Fault> {
    let text = float_text(input)?;
    let value: f32 = text.parse().map_err(|_syntax| Fault::Syntax)?;
    check_float(text, value.is_infinite(), value == 0.0)?;
    Ok(value)
}

fn float_text(input: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(trim(input)).map_err(|_not_a_number| Fault::Syntax)
}

/// Digits that overflow to infinity or vanish to zero are out of range, not infinity or zero.
fn check_float(text: &str, infinite: bool, zero: bool) -> Result<(), Fault> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let overflow = infinite && text.bytes().any(|byte| byte.is_ascii_digit());
    let underflow = zero && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if overflow || underflow { Err(Fault::OutOfRange) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let check =
            |input: &str, expected| assert_eq!(read_integer(input.as_bytes(), -32768, 32767), expected, "{input}");
        check("0", Ok(0));
        check(" -32768 ", Ok(-32768));
        check("+17", Ok(17));
        check("32768", Err(Fault::OutOfRange));
        check("99999999999999999999999", Err(Fault::OutOfRange));
        for bad in ["", "-", "1.0", "1x", "0x10", "1 2", "--1"] {
            check(bad, Err(Fault::Syntax));
        }
        assert_eq!(read_integer(i64::MIN.to_string().as_bytes(), i64::MIN, i64::MAX), Ok(i64::MIN));
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        let check = |input: &str, expected| assert_eq!(read_decimal(input.as_bytes(), 6, 2), expected, "{input}");
        check("1.5", Ok(150));
        check("-1.005", Ok(-101));
        check("1.004999999999999999999999999999999999999999", Ok(100));
        check("9999.99", Ok(999_999));
        check("9999.995", Err(Fault::FieldOverflow));
        check("10000", Err(Fault::FieldOverflow));
        check("1e3", Ok(100_000));
        check("123456e-5", Ok(123));
        check("5e-3", Ok(1));
        check("4e-3", Ok(0));
        check("1e-99", Ok(0));
        check("0e99", Ok(0));
        check("1e99", Err(Fault::FieldOverflow));
        check(".5", Ok(50));
        check("5.", Ok(500));
        for bad in ["", ".", "-", "1..2", "1e", "e5", "1 2", "abc", "1e 5"] {
            check(bad, Err(Fault::Syntax));
        }
        assert!(matches!(read_decimal(b"NaN", 6, 2), Err(Fault::Unsupported(_))));
    }

    #[test]
    fn numerics_keep_what_was_written() {
        for (input, expected) in [
            ("1.50", Ok((150, 3, 2))),
            ("-0.001", Ok((-1, 3, 3))),
            ("1e3", Ok((1000, 4, 0))),
            ("0", Ok((0, 1, 0))),
            ("12345678901234567890123456789012345678", Ok((12345678901234567890123456789012345678, 38, 0))),
            ("123456789012345678901234567890123456789", Err(Fault::OutOfRange)),
            ("1e-39", Err(Fault::OutOfRange)),
        ] {
            assert_eq!(read_numeric(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn floats() {
        assert_eq!(read_f64(b" 1e400 "), Err(Fault::OutOfRange));
        assert_eq!(read_f64(b"1e-400"), Err(Fault::OutOfRange));
        assert_eq!(read_f64(b"-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(read_f64(b"0e5"), Ok(0.0));
        assert!(read_f64(b"NaN").unwrap().is_nan());
        assert_eq!(read_f32(b"1e39"), Err(Fault::OutOfRange));
        assert_eq!(read_f64(b"0x10"), Err(Fault::Syntax));
    }
}
