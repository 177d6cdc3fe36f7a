use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::text::calendar::SECOND;

/// A session's time zone, or a fixed offset that a literal carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    tz: Tz,
}

impl Zone {
    pub fn utc() -> Zone {
        Zone { name: "UTC".into(), tz: Tz::UTC }
    }

    /// The zone of that name in the IANA database, letter case ignored.
    pub fn named(name: &str) -> Option<Zone> {
        let exact = name.parse().ok();
        let any_case = || TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name));
        Some(Zone { name: name.to_owned(), tz: exact.or_else(any_case)? })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds east of Greenwich at an instant. Outside chrono's years the zone's history is unknown and UTC is meant.
    pub fn offset_at(&self, microseconds_utc: i64) -> i32 {
        if self.tz == Tz::UTC {
            return 0;
        }
        instant(microseconds_utc).map_or(0, |at| self.tz.offset_from_utc_datetime(&at).fix().local_minus_utc())
    }

    /// The instant at which a clock on this zone's wall shows `microseconds`. As in PostgreSQL, a time that occurs
    /// twice means the later (standard) one, and one that is skipped is read with the offset before the jump.
    pub fn to_utc(&self, microseconds: i64) -> Option<i64> {
        if self.tz == Tz::UTC {
            return Some(microseconds);
        }
        let offset = match instant(microseconds) {
            None => 0,
            Some(local) => match self.tz.offset_from_local_datetime(&local) {
                MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(_, offset) => {
                    offset.fix().local_minus_utc()
                }
                MappedLocalTime::None => self.offset_at(microseconds.checked_sub(86_400 * SECOND)?),
            },
        };
        microseconds.checked_sub(i64::from(offset) * SECOND)
    }
}

fn instant(microseconds: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(microseconds.div_euclid(SECOND), 0).map(|at| at.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_and_repeated_hours() {
        let paris = Zone::named("europe/paris").unwrap();
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%F %T").unwrap().and_utc().timestamp_micros();
        assert_eq!(paris.to_utc(at("2024-07-01 12:00:00")), Some(at("2024-07-01 10:00:00")));
        assert_eq!(paris.to_utc(at("2024-03-31 02:30:00")), Some(at("2024-03-31 01:30:00")));
        assert_eq!(paris.to_utc(at("2024-10-27 02:30:00")), Some(at("2024-10-27 01:30:00")));
        assert_eq!(paris.offset_at(at("2024-07-01 10:00:00")), 7200);
        assert_eq!(paris.offset_at(i64::MAX), 0);
        assert_eq!(Zone::named("Nowhere/Else"), None);
    }
}
