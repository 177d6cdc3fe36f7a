//! `to_char(number, format)`: digits (`9`, `0`), point (`.`, `D`), groups (`,`, `G`), sign (`S`, `MI`), `FM`.

use weir_model::Refusal;

/// A number, given as its decimal text, in a format.
///
/// # Errors
/// `unsupported` for the patterns not named above.
pub(super) fn format(number: &str, format: &str) -> Result<String, Refusal> {
    let (fill, pattern) = match format.strip_prefix("FM") {
        Some(pattern) => (false, pattern),
        None => (true, format),
    };
    let pattern = pattern.to_ascii_uppercase().replace('D', ".").replace('G', ",");
    let (signed, pattern) = match (pattern.strip_prefix('S'), pattern.strip_suffix("MI")) {
        (Some(rest), _) => (Sign::Leading, rest.to_owned()),
        (None, Some(rest)) => (Sign::Trailing, rest.to_owned()),
        (None, None) => (Sign::Plain, pattern),
    };
    if let Some(odd) = pattern.chars().find(|c| !matches!(c, '9' | '0' | '.' | ',')) {
        return Err(Refusal::unsupported(format!("to_char of a number with `{odd}`")));
    }
    let (whole, fraction) = pattern.split_once('.').unwrap_or((&pattern, ""));
    let places = fraction.chars().filter(|c| *c != ',').count();
    let (negative, digits, decimals) = rounded(number, places);
    let body = match grouped(&digits, whole, fill) {
        Some(whole) if places > 0 => {
            let kept = if fill { decimals } else { trimmed(&decimals, fraction) };
            format!("{whole}.{kept}")
        }
        Some(whole) => whole,
        // More digits than places.
        None => pattern.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect(),
    };
    Ok(with_sign(body, negative, signed, fill))
}

#[derive(Clone, Copy)]
enum Sign {
    Plain,
    Leading,
    Trailing,
}

fn with_sign(body: String, negative: bool, sign: Sign, fill: bool) -> String {
    match sign {
        Sign::Trailing => format!(
            "{body}{}",
            if negative {
                "-"
            } else if fill {
                " "
            } else {
                ""
            }
        ),
        Sign::Leading | Sign::Plain => {
            let mark = match (negative, sign) {
                (true, _) => "-",
                (false, Sign::Leading) => "+",
                _ if fill => " ",
                _ => "",
            };
            // The sign stands before the first digit, not before the padding.
            let digits = body.trim_start_matches(' ');
            format!("{}{mark}{digits}", " ".repeat(body.len() - digits.len()))
        }
    }
}

/// Sign, digits before and after the point, rounded half away from zero.
fn rounded(number: &str, places: usize) -> (bool, String, String) {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let plain = if number.contains(['e', 'E']) {
        number.parse::<f64>().map_or_else(|_| number.to_owned(), |value| format!("{value:.20}"))
    } else {
        number.to_owned()
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(places).collect();
    let mut digits: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    if fraction.as_bytes().get(places).is_some_and(|next| *next >= b'5') {
        let mut carry = true;
        for digit in digits.iter_mut().rev() {
            if carry {
                carry = *digit == b'9';
                *digit = if carry { b'0' } else { *digit + 1 };
            }
        }
        if carry {
            digits.insert(0, b'1');
        }
    }
    let text: String = digits.into_iter().map(char::from).collect();
    let (whole, decimals) = text.split_at_checked(text.len().saturating_sub(places)).unwrap_or((&text, ""));
    let whole = whole.trim_start_matches('0');
    let zero = whole.is_empty() && decimals.bytes().all(|digit| digit == b'0');
    (negative && !zero, whole.to_owned(), decimals.to_owned())
}

/// The digits before the point at their places; None where there are more digits than places.
fn grouped(digits: &str, pattern: &str, fill: bool) -> Option<String> {
    let places = pattern.chars().filter(|c| *c != ',').count();
    if digits.len() > places {
        return None;
    }
    let first_zero = pattern.chars().filter(|c| *c != ',').position(|c| c == '0').unwrap_or(places);
    let mut out = String::with_capacity(pattern.len());
    let mut place = 0;
    let mut started = false;
    for mark in pattern.chars() {
        if mark == ',' {
            if started {
                out.push(',');
            } else if fill {
                out.push(' ');
            }
            continue;
        }
        let digit = (place + digits.len()).checked_sub(places).and_then(|index| digits.chars().nth(index));
        match digit {
            Some(digit) => {
                started = true;
                out.push(digit);
            }
            None if place >= first_zero => {
                started = true;
                out.push('0');
            }
            None if fill => out.push(' '),
            None => {}
        }
        place += 1;
    }
    Some(out)
}

/// Without filling, zeros at the end stay only where the pattern says `0`.
fn trimmed(decimals: &str, pattern: &str) -> String {
    let needed = pattern.chars().filter(|c| *c != ',').collect::<String>().rfind('0').map_or(0, |last| last + 1);
    let end = decimals.trim_end_matches('0').len().max(needed);
    decimals.chars().take(end).collect()
}

/// Scale of what is read.
const READ_SCALE: u8 = 10;

/// A text in a format, as the unscaled value of `numeric(38, 10)`: digits at the places of `9` and `0`, signs where they
/// stand, group marks left out.
///
/// # Errors
/// `unsupported` for the patterns that [`format()`] has not; `invalid_text_representation` without a digit.
pub(super) fn read(text: &str, format: &str) -> Result<i128, Refusal> {
    let upper = format.to_ascii_uppercase();
    let pattern = upper.strip_prefix("FM").unwrap_or(&upper).replace("MI", "S").replace("PL", "S").replace("SG", "S");
    let mut characters = text.trim_start().chars().peekable();
    let mut number = String::new();
    let mut negative = false;
    for mark in pattern.chars() {
        if let Some(sign) = characters.next_if(|c| matches!(c, '-' | '+')) {
            negative |= sign == '-';
        }
        match mark {
            '9' | '0' => number.extend(characters.next_if(|c| c.is_ascii_digit() || *c == '.')),
            '.' | 'D' => number.extend(characters.next_if_eq(&'.')),
            ',' | 'G' => {
                characters.next_if_eq(&',');
            }
            'S' => {}
            ' ' => {
                characters.next_if_eq(&' ');
            }
            odd => return Err(Refusal::unsupported(format!("to_number with `{odd}`"))),
        }
    }
    negative |= characters.next_if_eq(&'-').is_some();
    let value = weir_model::text::number_input::read_decimal(number.as_bytes(), 38, READ_SCALE as i8);
    let value = value.map_err(|fault| fault.refusal(weir_model::ColumnType::NUMERIC_DEFAULT, text.as_bytes()))?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn formats_are_postgresql_s() {
        let check = |number: &str, pattern: &str, expected: &str| {
            assert_eq!(format(number, pattern).unwrap(), expected, "{number} {pattern}");
        };
        check("125", "999", " 125");
        check("-125", "999", "-125");
        check("1234567.891", "9,999,999.99", " 1,234,567.89");
        check("12.5", "FM999.00", "12.50");
        check("12.5", "FM999.99", "12.5");
        check("5", "000", " 005");
        check("1234", "999", " ###");
        check("0.5", "0.9", " 0.5");
        check("-7", "S99", " -7");
        check("7", "99MI", " 7 ");
        check("12", "99999", "    12");
        assert!(format("1", "RN").is_err());
    }

    #[test]
    fn numbers_are_read_where_the_format_has_places() {
        let check = |text: &str, format: &str, expected: i128| {
            assert_eq!(read(text, format), Ok(expected * 1_000_000_000), "{text} {format}");
        };
        check("12,454.8-", "99G999D9S", -124_548);
        check("-34.5", "S99D9", -345);
        check("1234", "9999", 12_340);
        check("1,234", "9,999", 12_340);
        assert!(read("x", "9").is_err());
    }
}
