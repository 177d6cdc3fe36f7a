//! `to_char` of dates and times, and of numbers.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, TimestampMicrosecondType},
};
use datafusion::logical_expr::ScalarUDF;
use weir_model::{
    Code, ColumnType, Refusal,
    text::{calendar::SECOND, zone::Zone},
};

use super::{
    cast::zone_of,
    moment::{Moment, Moments},
    number_format,
    patterns::{DAYS, Field, Letters, MONTHS, Piece, pieces},
    plain::{Plain, any},
};
use crate::cast::to_text;

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Plain::new("to_char", any(&[2, 3]), |_| Ok(ColumnType::Text), to_char).zoned().function()]
}

fn to_char(arguments: &[ArrayRef]) -> Result<ArrayRef, Refusal> {
    let [values, formats, rest @ ..] = arguments else {
        return Err(Refusal::new(Code::Internal, "to_char takes two arguments"));
    };
    let zone = rest.first().map_or_else(|| Ok(Zone::utc()), zone_of)?;
    let formats =
        cast(formats, &DataType::Utf8View).map_err(|_| Refusal::new(Code::UndefinedFunction, "a format is a text"))?;
    let formats = formats.as_string_view();
    match values.data_type() {
        kind if Moments::is_one(kind) => dates(values, formats, &zone),
        numeric if numeric.is_numeric() => {
            let texts = to_text(values, &zone)?;
            let texts = texts.as_string_view();
            each(formats, |row, format| {
                texts.is_valid(row).then(|| number_format::format(texts.value(row), format)).transpose()
            })
        }
        DataType::Null => Ok(arrow::array::new_null_array(&DataType::Utf8View, values.len())),
        other => Err(Refusal::unsupported(format!("to_char of {other}"))),
    }
}

fn dates(values: &ArrayRef, formats: &StringViewArray, zone: &Zone) -> Result<ArrayRef, Refusal> {
    let zoned = matches!(values.data_type(), DataType::Timestamp(_, Some(_)));
    let instants = values.as_primitive_opt::<TimestampMicrosecondType>();
    let moments = Moments::new(values, zone);
    let mut known: Option<(String, Vec<Piece>)> = None;
    let mut out = StringViewBuilder::with_capacity(formats.len());
    let mut text = String::new();
    for (row, format) in formats.iter().enumerate() {
        let (Some(format), Some(moment)) = (format, moments.moment(row)?) else {
            out.append_null();
            continue;
        };
        if known.as_ref().is_none_or(|(known, _)| known != format) {
            known = Some((format.to_owned(), pieces(format)?));
        }
        let place = match instants {
            Some(instants) if zoned => Some((zone, zone.offset_at(instants.value(row)))),
            _ => None,
        };
        text.clear();
        for piece in known.iter().flat_map(|(_, pieces)| pieces) {
            put(&mut text, moment, piece, place)?;
        }
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

fn each(
    formats: &StringViewArray,
    one: impl Fn(usize, &str) -> Result<Option<String>, Refusal>,
) -> Result<ArrayRef, Refusal> {
    let mut out = StringViewBuilder::with_capacity(formats.len());
    for (row, format) in formats.iter().enumerate() {
        match format {
            None => out.append_null(),
            Some(format) => out.append_option(one(row, format)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn put(out: &mut String, moment: Moment, piece: &Piece, place: Option<(&Zone, i32)>) -> Result<(), Refusal> {
    let (field, letters, bare, ordinal) = match piece {
        Piece::Separator(c) | Piece::Text(c) => {
            out.push(*c);
            return Ok(());
        }
        Piece::Field { field, letters, bare, ordinal } => (*field, *letters, *bare, *ordinal),
    };
    if let Some((number, width)) = number(moment, field) {
        let width = if bare { 0 } else { width };
        // A String takes what is written to it.
        let _ = match number < 0 {
            true => write!(out, "-{:0width$}", number.unsigned_abs()),
            false => write!(out, "{number:0width$}"),
        };
        if let Some(case) = ordinal {
            out.push_str(&in_case(ending(number), case));
        }
        return Ok(());
    }
    put_word(out, moment, field, letters, bare, place)
}

/// The number that a field is, and its digits when filled up with zeros.
fn number(moment: Moment, field: Field) -> Option<(i64, usize)> {
    // Years before Christ are counted back from it.
    let year = if moment.year > 0 { moment.year } else { 1 - moment.year };
    let cut = |year: i64, digits: u8| match digits {
        4 => year,
        digits => year.rem_euclid(10_i64.pow(u32::from(digits))),
    };
    let iso_year = moment.iso_week().0;
    Some(match field {
        Field::Year(digits) => (cut(year, digits), digits.into()),
        Field::IsoYear(digits) => (cut(iso_year, digits), digits.into()),
        Field::Month => (moment.month.into(), 2),
        Field::Day => (moment.day.into(), 2),
        Field::DayOfYear => (moment.day_of_year().into(), 3),
        Field::IsoDayOfYear => {
            let (_, week) = moment.iso_week();
            (i64::from((week - 1) * 7 + (moment.weekday() + 6) % 7 + 1), 3)
        }
        Field::Weekday => (i64::from(moment.weekday()) + 1, 1),
        Field::IsoWeekday => (i64::from((moment.weekday() + 6) % 7 + 1), 1),
        Field::Week => (i64::from((moment.day_of_year() - 1) / 7 + 1), 2),
        Field::WeekOfMonth => (i64::from((moment.day - 1) / 7 + 1), 1),
        Field::IsoWeek => (moment.iso_week().1.into(), 2),
        Field::Quarter => (i64::from((moment.month - 1) / 3 + 1), 1),
        Field::Century if moment.year > 0 => ((moment.year + 99) / 100, 2),
        Field::Century => (-((99 - (moment.year - 1)) / 100), 2),
        Field::Julian => (i64::from(moment.days) + 2_440_588, 1),
        Field::Hour24 => (moment.hour(), 2),
        Field::Hour12 => ((moment.hour() + 11) % 12 + 1, 2),
        Field::Minute => (moment.minute(), 2),
        Field::Second => (moment.seconds() / SECOND, 2),
        Field::Fraction(digits) => {
            (moment.seconds() % SECOND / 10_i64.pow(6 - u32::from(digits.min(6))), digits.into())
        }
        Field::SecondOfDay => (moment.clock / SECOND, 1),
        _ => return None,
    })
}

fn put_word(
    out: &mut String,
    moment: Moment,
    field: Field,
    letters: Letters,
    bare: bool,
    place: Option<(&Zone, i32)>,
) -> Result<(), Refusal> {
    let named = |names: &[&'static str], index: u32| names.get(index as usize).copied().unwrap_or_default();
    let short = |name: &str| name.chars().take(3).collect::<String>();
    let padded = |name: &str| {
        let name = in_case(name, letters);
        if bare { name } else { format!("{name:<9}") }
    };
    let either = |first: bool, one: &str, two: &str| in_case(if first { one } else { two }, letters);
    let morning = moment.hour() < 12;
    out.push_str(&match field {
        Field::MonthName => padded(named(&MONTHS, moment.month - 1)),
        Field::MonthShort => in_case(&short(named(&MONTHS, moment.month - 1)), letters),
        Field::DayName => padded(named(&DAYS, moment.weekday())),
        Field::DayShort => in_case(&short(named(&DAYS, moment.weekday())), letters),
        Field::Meridiem(true) => either(morning, "A.M.", "P.M."),
        Field::Meridiem(false) => either(morning, "AM", "PM"),
        Field::Era(true) => either(moment.year > 0, "A.D.", "B.C."),
        Field::Era(false) => either(moment.year > 0, "AD", "BC"),
        Field::YearComma => format!("{},{:03}", moment.year / 1000, moment.year.rem_euclid(1000)),
        Field::Zone => match place {
            Some((zone, 0)) if zone.name().eq_ignore_ascii_case("utc") => in_case("UTC", letters),
            Some((zone, _)) => {
                return Err(Refusal::unsupported(format!("the pattern TZ in the zone {}", zone.name()))
                    .hint("OF gives the zone's offset"));
            }
            None => String::new(),
        },
        Field::ZoneOffset => {
            let offset = place.map_or(0, |(_, offset)| offset);
            let minutes = offset.unsigned_abs() / 60 % 60;
            let hours = zone_hours(offset);
            if minutes == 0 { hours } else { format!("{hours}:{minutes:02}") }
        }
        Field::ZoneHour => zone_hours(place.map_or(0, |(_, offset)| offset)),
        Field::ZoneMinute => format!("{:02}", place.map_or(0, |(_, offset)| offset).unsigned_abs() / 60 % 60),
        _ => String::new(),
    });
    Ok(())
}

fn zone_hours(offset: i32) -> String {
    format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 3600)
}

fn in_case(text: &str, letters: Letters) -> String {
    match letters {
        Letters::Upper => text.to_uppercase(),
        Letters::Lower => text.to_lowercase(),
        Letters::Capital => text.to_owned(),
    }
}

fn ending(number: i64) -> &'static str {
    match (number.rem_euclid(100), number.rem_euclid(10)) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::text::datetime_input::read_timestamp;

    use super::*;

    #[test]
    fn patterns_are_postgresql_s() {
        let moment = Moment::of(read_timestamp(b"2024-05-07 14:03:09.012345").unwrap());
        let check = |format: &str, expected: &str| {
            let mut text = String::new();
            pieces(format).unwrap().iter().for_each(|piece| put(&mut text, moment, piece, None).unwrap());
            assert_eq!(text, expected, "{format}");
        };
        check("YYYY-MM-DD HH24:MI:SS.MS", "2024-05-07 14:03:09.012");
        check("yyyy-mm-dd hh24:mi:ss", "2024-05-07 14:03:09");
        check("FMDD.FMMM.YY HH12:MI AM", "7.5.24 02:03 PM");
        check("Day, DD Mon YYYY", "Tuesday  , 07 May 2024");
        check("FMMonth \"of\" YYYY Q DDD D", "May of 2024 2 128 3");
        check("IYYY-IW-ID", "2024-19-2");
        check("FMDDth DY", "7th TUE");
    }
}
