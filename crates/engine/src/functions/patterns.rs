//! The patterns of `to_char`, `to_date` and `to_timestamp`: a format taken apart as PostgreSQL takes it.

use weir_model::Refusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Year(u8),
    YearComma,
    IsoYear(u8),
    Month,
    MonthName,
    MonthShort,
    Day,
    DayOfYear,
    DayName,
    DayShort,
    Weekday,
    IsoWeekday,
    IsoDayOfYear,
    Week,
    WeekOfMonth,
    IsoWeek,
    Quarter,
    Century,
    Julian,
    Hour24,
    Hour12,
    Minute,
    Second,
    /// Digits of the fraction.
    Fraction(u8),
    SecondOfDay,
    /// With periods or without.
    Meridiem(bool),
    Era(bool),
    Zone,
    ZoneOffset,
    ZoneHour,
    ZoneMinute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Capital,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Field {
        field: Field,
        letters: Letters,
        /// FM: neither blanks nor zeros fill it up.
        bare: bool,
        /// TH or th: an ordinal's ending.
        ordinal: Option<Letters>,
    },
    Separator(char),
    Text(char),
}

/// Longer ones first where one begins another.
const FIELDS: [(&str, Field); 52] = [
    ("SSSSS", Field::SecondOfDay),
    ("Y,YYY", Field::YearComma),
    ("MONTH", Field::MonthName),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("SSSS", Field::SecondOfDay),
    ("YYYY", Field::Year(4)),
    ("IYYY", Field::IsoYear(4)),
    ("IDDD", Field::IsoDayOfYear),
    ("A.M.", Field::Meridiem(true)),
    ("P.M.", Field::Meridiem(true)),
    ("B.C.", Field::Era(true)),
    ("A.D.", Field::Era(true)),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("MON", Field::MonthShort),
    ("YYY", Field::Year(3)),
    ("IYY", Field::IsoYear(3)),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SS", Field::Second),
    ("MS", Field::Fraction(3)),
    ("US", Field::Fraction(6)),
    ("AM", Field::Meridiem(false)),
    ("PM", Field::Meridiem(false)),
    ("BC", Field::Era(false)),
    ("AD", Field::Era(false)),
    ("YY", Field::Year(2)),
    ("IY", Field::IsoYear(2)),
    ("MM", Field::Month),
    ("DD", Field::Day),
    ("DY", Field::DayShort),
    ("ID", Field::IsoWeekday),
    ("IW", Field::IsoWeek),
    ("WW", Field::Week),
    ("CC", Field::Century),
    ("TZ", Field::Zone),
    ("OF", Field::ZoneOffset),
    ("Y", Field::Year(1)),
    ("I", Field::IsoYear(1)),
    ("W", Field::WeekOfMonth),
    ("D", Field::Weekday),
    ("Q", Field::Quarter),
    ("J", Field::Julian),
];

/// The field that a text begins with, as it is written there, in capitals or small letters throughout.
fn field(text: &str) -> Option<(Field, &str)> {
    FIELDS.iter().find_map(|(name, field)| {
        let written = text.get(..name.len())?;
        if !written.eq_ignore_ascii_case(name) {
            return None;
        }
        let letters = written.bytes().filter(u8::is_ascii_alphabetic);
        let same = |test: fn(&u8) -> bool| letters.clone().all(|letter| test(&letter));
        let capital = matches!(field, Field::MonthName | Field::MonthShort | Field::DayName | Field::DayShort)
            && written.starts_with(|c: char| c.is_ascii_uppercase())
            && written.bytes().skip(1).all(|letter| letter.is_ascii_lowercase());
        (same(u8::is_ascii_uppercase) || same(u8::is_ascii_lowercase) || capital).then_some((*field, written))
    })
}

fn letters(written: &str) -> Letters {
    let mut all = written.chars().filter(char::is_ascii_alphabetic);
    match (all.next(), all.next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && second.is_ascii_lowercase() => Letters::Capital,
        (Some(first), _) if first.is_ascii_lowercase() => Letters::Lower,
        _ => Letters::Upper,
    }
}

/// # Errors
/// `unsupported` for TM, FX and SP.
pub(super) fn pieces(format: &str) -> Result<Vec<Piece>, Refusal> {
    let mut pieces = Vec::new();
    let mut rest = format;
    let mut bare = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = strip_prefix_any(rest, &["FM", "fm"]) {
            bare = true;
            rest = after;
            continue;
        }
        for (odd, name) in [("FX", "FX"), ("TM", "TM")] {
            if rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(odd)) {
                return Err(Refusal::unsupported(format!("the pattern {name}")));
            }
        }
        if let Some((field, written)) = field(rest) {
            rest = rest.get(written.len()..).unwrap_or_default();
            let mut ordinal = None;
            for (mark, case) in [("TH", Letters::Upper), ("th", Letters::Lower)] {
                if let Some(after) = rest.strip_prefix(mark) {
                    ordinal = Some(case);
                    rest = after;
                }
            }
            if strip_prefix_any(rest, &["SP", "sp"]).is_some() {
                return Err(Refusal::unsupported("the pattern SP"));
            }
            pieces.push(Piece::Field { field, letters: letters(written), bare, ordinal });
            bare = false;
            continue;
        }
        bare = false;
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '"' => rest = quoted(rest, &mut pieces),
            '\\' if rest.starts_with('"') => {
                pieces.push(Piece::Text('"'));
                rest = rest.get(1..).unwrap_or_default();
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => pieces.push(Piece::Separator(c)),
            c => pieces.push(Piece::Text(c)),
        }
    }
    Ok(pieces)
}

/// What stands up to the closing quote, as it is; the rest after it.
fn quoted<'a>(text: &'a str, pieces: &mut Vec<Piece>) -> &'a str {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => pieces.extend(characters.next().map(Piece::Text)),
            c => pieces.push(Piece::Text(c)),
        }
    }
    characters.as_str()
}

fn strip_prefix_any<'a>(text: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Sunday.
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_field_is_the_longest_that_fits() {
        let check = |format: &str, expected: &[Field]| {
            let found: Vec<Field> = pieces(format)
                .unwrap()
                .into_iter()
                .filter_map(|piece| match piece {
                    Piece::Field { field, .. } => Some(field),
                    _ => None,
                })
                .collect();
            assert_eq!(found, expected, "{format}");
        };
        check("YYYY-MM-DD", &[Field::Year(4), Field::Month, Field::Day]);
        check(
            "yyyymmddhh24miss",
            &[Field::Year(4), Field::Month, Field::Day, Field::Hour24, Field::Minute, Field::Second],
        );
        check("Month Mon", &[Field::MonthName, Field::MonthShort]);
        check("\"YYYY\"", &[]);
        check("DDD D", &[Field::DayOfYear, Field::Weekday]);
        assert!(pieces("FXYYYY").is_err());
    }
}
