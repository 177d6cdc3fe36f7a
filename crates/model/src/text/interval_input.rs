//! Text to intervals: PostgreSQL's own form, its verbose form, and ISO 8601.

use crate::text::{fault::Fault, number_input::trim};

const MICRO: i128 = 1_000;
const SECOND: i128 = 1_000_000 * MICRO;
const DAY: i128 = 86_400 * SECOND;

/// Months, days and nanoseconds.
pub type Interval = (i32, i32, i64);

/// Sums in wide integers, narrowed once at the end.
#[derive(Debug, Default)]
struct Sum {
    months: i128,
    days: i128,
    nanoseconds: i128,
}

/// A number with up to nine fractional digits, in billionths.
const ONE: i128 = 1_000_000_000;

impl Sum {
    /// Adds `amount` billionths of a unit; fractions go down to the next smaller field, as in PostgreSQL.
    fn add(&mut self, amount: i128, unit: Unit) {
        match unit {
            Unit::Months(count) => {
                let months = amount * count;
                self.months += months / ONE;
                // A fractional month counts as that part of 30 days.
                self.add(months % ONE * 30, Unit::Days(1));
            }
            Unit::Days(count) => {
                let days = amount * count;
                self.days += days / ONE;
                self.nanoseconds += days % ONE * DAY / ONE;
            }
            Unit::Nanoseconds(count) => self.nanoseconds += amount * count / ONE,
        }
    }

    fn finish(self, negate: bool) -> Result<Interval, Fault> {
        let sign = if negate { -1 } else { 1 };
        // Kept in whole microseconds, the precision of the type.
        let nanoseconds = self.nanoseconds / MICRO * MICRO * sign;
        Ok((
            i32::try_from(self.months * sign).map_err(|_| Fault::OutOfRange)?,
            i32::try_from(self.days * sign).map_err(|_| Fault::OutOfRange)?,
            i64::try_from(nanoseconds).map_err(|_| Fault::OutOfRange)?,
        ))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Months(i128),
    Days(i128),
    Nanoseconds(i128),
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "millennium" | "millennia" | "millenniums" | "mil" | "mils" => Unit::Months(12_000),
        "century" | "centuries" | "cent" | "c" => Unit::Months(1_200),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120),
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Months(12),
        "month" | "months" | "mon" | "mons" => Unit::Months(1),
        "week" | "weeks" | "w" => Unit::Days(7),
        "day" | "days" | "d" => Unit::Days(1),
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Nanoseconds(3600 * SECOND),
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Nanoseconds(60 * SECOND),
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Nanoseconds(SECOND),
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Unit::Nanoseconds(SECOND / 1000),
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Unit::Nanoseconds(MICRO),
        _ => return None,
    })
}

/// Billionths of a number such as `-1.5`, with at most 12 digits before the point.
fn number(text: &str) -> Result<i128, Fault> {
    let (negative, text) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(Fault::Syntax);
    }
    if whole.len() > 12 {
        return Err(Fault::OutOfRange);
    }
    let mut value: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Fault::Syntax)? };
    for index in 0..9 {
        value = value * 10 + fraction.as_bytes().get(index).map_or(0, |byte| i128::from(byte - b'0'));
    }
    Ok(if negative { -value } else { value })
}

pub fn read_interval(input: &[u8]) -> Result<Interval, Fault> {
    let text = std::str::from_utf8(trim(input)).map_err(|_not_ascii| Fault::Syntax)?;
    let mut sum = Sum::default();
    if let Some(iso) = text.strip_prefix(['P', 'p']) {
        read_iso(iso, &mut sum)?;
        return sum.finish(false);
    }
    let mut words = text.strip_prefix('@').unwrap_or(text).split_ascii_whitespace().peekable();
    let mut ago = false;
    let mut any = false;
    while let Some(word) = words.next() {
        if ago {
            return Err(Fault::Syntax);
        }
        if word.eq_ignore_ascii_case("ago") {
            ago = true;
            continue;
        }
        any = true;
        if word.contains(':') {
            sum.nanoseconds += clock(word)?;
            continue;
        }
        // The unit may stand against the number: `5days`.
        let letters = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (amount, name) = word.split_at_checked(letters).ok_or(Fault::Syntax)?;
        let amount = number(amount)?;
        let name = if name.is_empty() {
            match words.peek() {
                Some(next) if unit(next).is_some() => words.next().unwrap_or_default(),
                // A bare number at the end counts seconds.
                None => "seconds",
                Some(_) => return Err(Fault::Syntax),
            }
        } else {
            name
        };
        sum.add(amount, unit(name).ok_or(Fault::Syntax)?);
    }
    if any { sum.finish(ago) } else { Err(Fault::Syntax) }
}

/// Nanoseconds of `[-+]H:MM[:SS[.f]]`.
fn clock(word: &str) -> Result<i128, Fault> {
    let (negative, word) = match word.strip_prefix(['-', '+']) {
        Some(rest) => (word.starts_with('-'), rest),
        None => (false, word),
    };
    let mut parts = word.split(':');
    let mut part = |required: bool| match parts.next() {
        Some(text) if !text.starts_with(['-', '+']) => number(text),
        None if !required => Ok(0),
        _ => Err(Fault::Syntax),
    };
    let (hours, minutes, seconds) = (part(true)?, part(true)?, part(false)?);
    if parts.next().is_some() || hours % ONE != 0 || minutes % ONE != 0 {
        return Err(Fault::Syntax);
    }
    if minutes >= 60 * ONE || seconds >= 60 * ONE + ONE {
        return Err(Fault::OutOfRange);
    }
    let total = (hours * 3600 + minutes * 60 + seconds) * SECOND / ONE;
    Ok(if negative { -total } else { total })
}

/// `1Y2M3W4DT5H6M7.8S`, after the `P`.
fn read_iso(text: &str, sum: &mut Sum) -> Result<(), Fault> {
    let mut in_time = false;
    let mut rest = text;
    if rest.is_empty() {
        return Err(Fault::Syntax);
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['T', 't']) {
            if in_time || after.is_empty() {
                return Err(Fault::Syntax);
            }
            in_time = true;
            rest = after;
            continue;
        }
        let letter = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(Fault::Syntax)?;
        let (amount, after) = rest.split_at_checked(letter).ok_or(Fault::Syntax)?;
        let mut letters = after.chars();
        let designator = letters.next().ok_or(Fault::Syntax)?.to_ascii_uppercase();
        rest = letters.as_str();
        let unit = match (designator, in_time) {
            ('Y', false) => Unit::Months(12),
            ('M', false) => Unit::Months(1),
            ('W', false) => Unit::Days(7),
            ('D', false) => Unit::Days(1),
            ('H', true) => Unit::Nanoseconds(3600 * SECOND),
            ('M', true) => Unit::Nanoseconds(60 * SECOND),
            ('S', true) => Unit::Nanoseconds(SECOND),
            _ => return Err(Fault::Syntax),
        };
        sum.add(number(amount)?, unit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let hour = 3_600_000_000_000;
        for (input, expected) in [
            ("1 year 2 mons 3 days 04:05:06.5", Ok((14, 3, 4 * hour + 306_500_000_000))),
            ("-1 years -2 mons +3 days -04:05:06", Ok((-14, 3, -4 * hour - 306_000_000_000))),
            ("@ 1 day 2 hours ago", Ok((0, -1, -2 * hour))),
            ("P1Y2M3DT4H", Ok((14, 3, 4 * hour))),
            ("PT0.5S", Ok((0, 0, 500_000_000))),
            ("1.5 days", Ok((0, 1, 12 * hour))),
            ("0.5 months", Ok((0, 15, 0))),
            ("5days", Ok((0, 5, 0))),
            ("90", Ok((0, 0, 90_000_000_000))),
            ("00:00:00", Ok((0, 0, 0))),
            ("100:00", Ok((0, 0, 100 * hour))),
            ("2 weeks", Ok((0, 14, 0))),
            ("", Err(Fault::Syntax)),
            ("1 fortnight", Err(Fault::Syntax)),
            ("P", Err(Fault::Syntax)),
            ("1:2:3:4", Err(Fault::Syntax)),
            ("999999999 years", Err(Fault::OutOfRange)),
            ("ago", Err(Fault::Syntax)),
        ] {
            assert_eq!(read_interval(input.as_bytes()), expected, "{input}");
        }
    }
}
