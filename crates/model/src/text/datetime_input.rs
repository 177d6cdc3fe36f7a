//! Text to dates, times and timestamps: ISO 8601 as PostgreSQL prints it, and the common variations of it.

use crate::text::{
    calendar::{DAY, SECOND, days_from_civil},
    fault::Fault,
    number_input::trim,
    zone::Zone,
};

/// Reads digits and separators from the front of an input.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    fn eat(&mut self, expected: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == expected => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().take_while(|byte| accept(**byte)).count();
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| byte == b' ');
    }

    /// One to `width_max` digits.
    fn number(&mut self, width_max: usize) -> Result<u32, Fault> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > width_max.min(9) {
            return Err(Fault::Syntax);
        }
        Ok(fold(digits))
    }
}

fn fold(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, byte| value * 10 + u32::from(byte - b'0'))
}

/// A date of exactly `YYYY-MM-DD`, the form of nearly every input.
fn read_plain_date(input: &[u8]) -> Option<Result<i32, Fault>> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = input else { return None };
    if [y1, y2, y3, y4, m1, m2, d1, d2].iter().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let year = fold(&[*y1, *y2, *y3, *y4]);
    if year == 0 {
        return Some(Err(Fault::NoSuchDate));
    }
    Some(days_from_civil(i64::from(year), fold(&[*m1, *m2]), fold(&[*d1, *d2])).ok_or(Fault::NoSuchDate))
}

/// `YYYY-MM-DD`, `YYYY/MM/DD` or `YYYYMMDD`: year, month and day.
fn read_day(cursor: &mut Cursor<'_>) -> Result<(i64, u32, u32), Fault> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    let separator = cursor.peek().filter(|byte| matches!(byte, b'-' | b'/' | b'.'));
    if digits.len() == 8 && separator.is_none() {
        let (year, rest) = digits.split_at_checked(4).ok_or(Fault::Syntax)?;
        let (month, day) = rest.split_at_checked(2).ok_or(Fault::Syntax)?;
        return Ok((i64::from(fold(year)), fold(month), fold(day)));
    }
    // Years are written with four digits at least: `1/2/03` would be a guess.
    if !(4..=7).contains(&digits.len()) {
        return Err(Fault::Syntax);
    }
    let separator = separator.ok_or(Fault::Syntax)?;
    cursor.eat(separator);
    let month = cursor.number(2)?;
    if !cursor.eat(separator) {
        return Err(Fault::Syntax);
    }
    Ok((i64::from(fold(digits)), month, cursor.number(2)?))
}

/// Microseconds of `HH:MM[:SS[.ffffff]]`, `HHMMSS`, with an optional AM or PM; `24:00:00` is the end of the day.
fn read_clock(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    let (mut hour, minute, second);
    if cursor.peek() == Some(b':') && (1..=2).contains(&digits.len()) {
        cursor.eat(b':');
        hour = fold(digits);
        minute = cursor.number(2)?;
        second = if cursor.eat(b':') { cursor.number(2)? } else { 0 };
    } else if matches!(digits.len(), 4 | 6) {
        let (head, tail) = digits.split_at_checked(2).ok_or(Fault::Syntax)?;
        let (middle, tail) = tail.split_at_checked(2).ok_or(Fault::Syntax)?;
        (hour, minute, second) = (fold(head), fold(middle), fold(tail));
    } else {
        return Err(Fault::Syntax);
    }
    let fraction = if cursor.eat(b'.') { read_fraction(cursor)? } else { 0 };
    let mut ahead = *cursor;
    ahead.skip_blanks();
    let marker = ahead.take_while(|byte| byte.is_ascii_alphabetic());
    let (am, pm) = (marker.eq_ignore_ascii_case(b"am"), marker.eq_ignore_ascii_case(b"pm"));
    if am || pm {
        *cursor = ahead;
        if !(1..=12).contains(&hour) {
            return Err(Fault::NoSuchDate);
        }
        hour = hour % 12 + if pm { 12 } else { 0 };
    }
    let end_of_day = hour == 24 && minute == 0 && second == 0 && fraction == 0;
    if (hour > 23 && !end_of_day) || minute > 59 || second > 60 {
        return Err(Fault::NoSuchDate);
    }
    Ok((i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * SECOND + fraction)
}

/// Microseconds of the digits after a decimal point, rounded at the seventh.
fn read_fraction(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    let mut value = 0_i64;
    for index in 0..6 {
        value = value * 10 + digits.get(index).map_or(0, |byte| i64::from(byte - b'0'));
    }
    Ok(value + i64::from(digits.get(6).is_some_and(|digit| *digit >= b'5')))
}

/// A zone at the end of a timestamp.
#[derive(Debug)]
enum Written {
    Offset(i64),
    Named(Zone),
}

/// `Z`, `+02`, `-05:30`, `+0530`, `+05:30:15`, or a zone's name.
fn read_zone(cursor: &mut Cursor<'_>) -> Result<Option<Written>, Fault> {
    match cursor.peek() {
        None => Ok(None),
        Some(sign @ (b'+' | b'-')) => {
            cursor.eat(sign);
            let digits = cursor.take_while(|byte| byte.is_ascii_digit());
            let (hours, mut minutes) = match digits.len() {
                1 | 2 => (fold(digits), 0),
                4 => (fold(digits) / 100, fold(digits) % 100),
                _ => return Err(Fault::Syntax),
            };
            let mut seconds = 0;
            if digits.len() < 3 && cursor.eat(b':') {
                minutes = cursor.number(2)?;
                if cursor.eat(b':') {
                    seconds = cursor.number(2)?;
                }
            }
            if hours > 15 || minutes > 59 || seconds > 59 {
                return Err(Fault::OutOfRange);
            }
            let offset = i64::from(hours * 3600 + minutes * 60 + seconds);
            Ok(Some(Written::Offset(if sign == b'-' { -offset } else { offset })))
        }
        Some(_) => {
            let name =
                cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+'));
            if name.eq_ignore_ascii_case(b"z") {
                return Ok(Some(Written::Offset(0)));
            }
            let name = std::str::from_utf8(name).map_err(|_not_ascii| Fault::Syntax)?;
            Ok(Some(Written::Named(Zone::named(name).ok_or(Fault::Syntax)?)))
        }
    }
}

fn eat_before_christ(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    ahead.skip_blanks();
    let found = ahead.take_while(|byte| byte.is_ascii_alphabetic()).eq_ignore_ascii_case(b"bc");
    if found {
        *cursor = ahead;
    }
    found
}

/// Everything a timestamp may consist of.
fn read_whole(input: &[u8]) -> Result<(i32, i64, Option<Written>), Fault> {
    let input = trim(input);
    if input.eq_ignore_ascii_case(b"epoch") {
        return Ok((0, 0, Some(Written::Offset(0))));
    }
    let infinite = input.strip_prefix(b"-").unwrap_or(input);
    if infinite.eq_ignore_ascii_case(b"infinity") || infinite.eq_ignore_ascii_case(b"inf") {
        return Err(Fault::Unsupported("an infinite date or timestamp"));
    }
    let mut cursor = Cursor(input);
    let (year, month, day) = read_day(&mut cursor)?;
    let mut before_christ = eat_before_christ(&mut cursor);
    let separated = matches!(cursor.peek(), Some(b' ' | b'T' | b't'));
    if separated && !cursor.eat(b'T') {
        cursor.eat(b't');
        cursor.skip_blanks();
    }
    let clock =
        if separated && cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) { read_clock(&mut cursor)? } else { 0 };
    before_christ |= eat_before_christ(&mut cursor);
    cursor.skip_blanks();
    let zone = read_zone(&mut cursor)?;
    before_christ |= eat_before_christ(&mut cursor);
    if !cursor.0.is_empty() {
        return Err(Fault::Syntax);
    }
    if year == 0 {
        return Err(Fault::NoSuchDate);
    }
    let days = days_from_civil(if before_christ { 1 - year } else { year }, month, day).ok_or(Fault::NoSuchDate)?;
    Ok((days, clock, zone))
}

/// Days since 1970-01-01. A time of day that follows is allowed and ignored.
pub fn read_date(input: &[u8]) -> Result<i32, Fault> {
    match read_plain_date(input) {
        Some(result) => result,
        None => read_whole(input).map(|(days, ..)| days),
    }
}

/// Microseconds since midnight.
pub fn read_time(input: &[u8]) -> Result<i64, Fault> {
    let mut cursor = Cursor(trim(input));
    let time = read_clock(&mut cursor)?;
    if cursor.0.is_empty() { Ok(time) } else { Err(Fault::Syntax) }
}

/// Microseconds since 1970 of the clock as written; a zone is allowed and ignored, as in PostgreSQL.
pub fn read_timestamp(input: &[u8]) -> Result<i64, Fault> {
    let (days, clock, _zone) = read_whole(input)?;
    in_microseconds(days, clock)
}

/// Microseconds since 1970 UTC; `session` is the zone of a text that names none.
pub fn read_timestamptz(input: &[u8], session: &Zone) -> Result<i64, Fault> {
    let (days, clock, zone) = read_whole(input)?;
    let local = in_microseconds(days, clock)?;
    match zone {
        Some(Written::Offset(seconds)) => local.checked_sub(seconds * SECOND),
        Some(Written::Named(zone)) => zone.to_utc(local),
        None => session.to_utc(local),
    }
    .ok_or(Fault::OutOfRange)
}

fn in_microseconds(days: i32, clock: i64) -> Result<i64, Fault> {
    i64::from(days).checked_mul(DAY).and_then(|value| value.checked_add(clock)).ok_or(Fault::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 43_200 * SECOND;

    #[test]
    fn dates() {
        for (input, expected) in [
            ("1970-01-01", Ok(0)),
            ("2000-01-01", Ok(10_957)),
            ("20000101", Ok(10_957)),
            ("2000/1/1", Ok(10_957)),
            (" 2000-01-01 23:59 ", Ok(10_957)),
            ("2000-01-01T00:00:00Z", Ok(10_957)),
            ("0001-01-01 BC", Ok(-719_528)),
            ("2023-02-29", Err(Fault::NoSuchDate)),
            ("0000-01-01", Err(Fault::NoSuchDate)),
            ("2000-1", Err(Fault::Syntax)),
            ("01/02/03", Err(Fault::Syntax)),
            ("", Err(Fault::Syntax)),
            ("infinity", Err(Fault::Unsupported("an infinite date or timestamp"))),
            ("2000-01-01x", Err(Fault::Syntax)),
        ] {
            assert_eq!(read_date(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn times() {
        for (input, expected) in [
            ("12:00", Ok(NOON)),
            ("12:00:00.5", Ok(NOON + 500_000)),
            ("12:00:00.1234567", Ok(NOON + 123_457)),
            ("120000", Ok(NOON)),
            ("12:00 PM", Ok(NOON)),
            ("12:00 am", Ok(0)),
            ("24:00:00", Ok(2 * NOON)),
            ("24:00:01", Err(Fault::NoSuchDate)),
            ("12:60", Err(Fault::NoSuchDate)),
            ("12", Err(Fault::Syntax)),
            ("noon", Err(Fault::Syntax)),
        ] {
            assert_eq!(read_time(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn timestamps_with_zones() {
        let tokyo = Zone::named("Asia/Tokyo").unwrap();
        let hour = 3600 * SECOND;
        for (input, expected) in [
            ("1970-01-01 12:00:00", Ok(NOON - 9 * hour)),
            ("1970-01-01 12:00:00+00", Ok(NOON)),
            ("1970-01-01T12:00:00Z", Ok(NOON)),
            ("1970-01-01 12:00:00 UTC", Ok(NOON)),
            ("1970-01-01 12:00:00-05:30", Ok(NOON + 5 * hour + hour / 2)),
            ("1970-01-01 12:00:00+0530", Ok(NOON - 5 * hour - hour / 2)),
            ("1970-01-01 12:00 Europe/Paris", Ok(NOON - hour)),
            ("1970-01-01", Ok(-9 * hour)),
            ("epoch", Ok(0)),
            ("1970-01-01 12:00 Mars/Base", Err(Fault::Syntax)),
            ("1970-01-01 12:00+99", Err(Fault::OutOfRange)),
        ] {
            assert_eq!(read_timestamptz(input.as_bytes(), &tokyo), expected, "{input}");
        }
        assert_eq!(read_timestamp(b"1970-01-01 12:00:00+05"), Ok(NOON));
        assert_eq!(read_timestamp(b"5000000-01-01 00:00"), Err(Fault::OutOfRange));
    }
}
