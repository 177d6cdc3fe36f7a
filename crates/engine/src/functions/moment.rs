//! A date and time of day taken apart, over the whole range of PostgreSQL's timestamps.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType},
};
use weir_model::{
    Code, Refusal,
    text::{
        calendar::{DAY, SECOND, civil_from_days, days_from_civil, split_microseconds},
        zone::Zone,
    },
};

use crate::cast::local_time;

/// What a calendar and a clock show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since 1970-01-01.
    pub days: i32,
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    pub month: u32,
    pub day: u32,
    /// Microseconds since midnight.
    pub clock: i64,
}

impl Moment {
    pub(super) fn of(local: i64) -> Moment {
        let (days, clock) = split_microseconds(local);
        let (year, month, day) = civil_from_days(days);
        Moment { days, year, month, day, clock }
    }

    pub(super) fn hour(self) -> i64 {
        self.clock / (3600 * SECOND)
    }

    pub(super) fn minute(self) -> i64 {
        self.clock / (60 * SECOND) % 60
    }

    /// Microseconds within the minute.
    pub(super) fn seconds(self) -> i64 {
        self.clock % (60 * SECOND)
    }

    /// Sunday is 0.
    pub(super) fn weekday(self) -> u32 {
        (i64::from(self.days) + 4).rem_euclid(7) as u32
    }

    pub(super) fn day_of_year(self) -> u32 {
        let first = days_from_civil(self.year, 1, 1).unwrap_or(self.days);
        (self.days - first + 1).unsigned_abs()
    }

    /// ISO 8601: the year of the week's Thursday, and the week's number.
    pub(super) fn iso_week(self) -> (i64, u32) {
        let monday = self.days - ((i64::from(self.days) + 3).rem_euclid(7) as i32);
        let (year, _, _) = civil_from_days(monday + 3);
        let first = days_from_civil(year, 1, 1).unwrap_or(monday);
        (year, ((monday + 3 - first) / 7 + 1).unsigned_abs())
    }

    /// As PostgreSQL numbers years, which know no year 0.
    pub(super) fn written_year(self) -> i64 {
        if self.year > 0 { self.year } else { self.year - 1 }
    }
}

/// Microseconds of a date and a time of day; None where no timestamp holds it.
pub(super) fn micros_of(year: i64, month: u32, day: u32, clock: i64) -> Option<i64> {
    let days = days_from_civil(year, month, day)?;
    i64::from(days).checked_mul(DAY)?.checked_add(clock)
}

/// The same day of another month, or that month's last.
pub(super) fn add_months(local: i64, months: i32) -> Option<i64> {
    if months == 0 {
        return Some(local);
    }
    let moment = Moment::of(local);
    let total = moment.year * 12 + i64::from(moment.month) - 1 + i64::from(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    (28..=moment.day.max(28)).rev().find_map(|last| micros_of(year, month, moment.day.min(last), moment.clock))
}

pub(super) fn timestamp_out_of_range() -> Refusal {
    Refusal::new(Code::DatetimeOverflow, "timestamp out of range")
}

/// Dates and timestamps as clocks show them.
pub(super) struct Moments<'a> {
    array: &'a ArrayRef,
    zone: Option<Zone>,
}

impl<'a> Moments<'a> {
    /// `zone` is where clocks are read for values that are instants.
    pub(super) fn new(array: &'a ArrayRef, zone: &Zone) -> Moments<'a> {
        let zoned = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
        Moments { array, zone: zoned.then(|| zone.clone()) }
    }

    pub(super) fn is_one(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
    }

    /// Microseconds on the clock.
    ///
    /// # Errors
    /// `datetime_field_overflow` for a date that no timestamp holds.
    pub(super) fn local(&self, row: usize) -> Result<Option<i64>, Refusal> {
        let overflow = timestamp_out_of_range;
        if self.array.is_null(row) {
            return Ok(None);
        }
        match self.array.data_type() {
            DataType::Date32 => {
                let days = self.array.as_primitive::<Date32Type>().value(row);
                i64::from(days).checked_mul(DAY).ok_or_else(overflow).map(Some)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let instant = self.array.as_primitive::<TimestampMicrosecondType>().value(row);
                match &self.zone {
                    Some(zone) => local_time(instant, zone).ok_or_else(overflow).map(Some),
                    None => Ok(Some(instant)),
                }
            }
            _ => Ok(None),
        }
    }

    pub(super) fn moment(&self, row: usize) -> Result<Option<Moment>, Refusal> {
        // A date may lie beyond what timestamps hold.
        if self.array.is_valid(row) && *self.array.data_type() == DataType::Date32 {
            let days = self.array.as_primitive::<Date32Type>().value(row);
            let (year, month, day) = civil_from_days(days);
            return Ok(Some(Moment { days, year, month, day, clock: 0 }));
        }
        Ok(self.local(row)?.map(Moment::of))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::text::datetime_input::read_timestamp;

    use super::*;

    fn at(text: &str) -> i64 {
        read_timestamp(text.as_bytes()).unwrap()
    }

    #[test]
    fn weeks_and_days_of_the_year() {
        let check = |text: &str, weekday: u32, day: u32, week: (i64, u32)| {
            let moment = Moment::of(at(text));
            assert_eq!((moment.weekday(), moment.day_of_year(), moment.iso_week()), (weekday, day, week), "{text}");
        };
        check("2024-05-07", 2, 128, (2024, 19));
        check("2021-01-03", 0, 3, (2020, 53));
        check("2020-12-31", 4, 366, (2020, 53));
        check("0001-01-01", 1, 1, (1, 1));
    }

    #[test]
    fn months_end_where_they_end() {
        let check = |text: &str, months: i32, expected: &str| {
            assert_eq!(add_months(at(text), months), Some(at(expected)), "{text} {months}");
        };
        check("2024-01-31 10:00", 1, "2024-02-29 10:00");
        check("2024-03-31", -1, "2024-02-29");
        check("2023-11-30", 3, "2024-02-29");
        check("2024-05-15", -17, "2022-12-15");
        check("1600-02-29", 12, "1601-02-28");
    }
}
