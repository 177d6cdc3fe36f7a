use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Utc};

/// A calendar month in UTC, the time over which a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    /// Unix seconds of its first instant.
    start: i64,
    /// Unix seconds of the next period's first instant.
    end: i64,
}

impl Period {
    /// The month that holds a time. Times outside chrono's calendar (years ±262,000) count as 1970-01.
    #[must_use]
    pub fn of(unix_seconds: i64) -> Period {
        let date = DateTime::<Utc>::from_timestamp(unix_seconds, 0).unwrap_or_default().date_naive();
        let (next_year, next_month) =
            if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
        Period { start: month_start(date.year(), date.month()), end: month_start(next_year, next_month) }
    }

    #[must_use]
    pub fn start(self) -> i64 {
        self.start
    }

    #[must_use]
    pub fn end(self) -> i64 {
        self.end
    }

    #[must_use]
    pub fn contains(self, unix_seconds: i64) -> bool {
        self.start <= unix_seconds && unix_seconds < self.end
    }

    /// The day on which the next period begins, `2026-12-01`.
    #[must_use]
    pub fn resets(self) -> String {
        day(self.end)
    }
}

/// The first day of the month, `2026-11-01`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&day(self.start))
    }
}

fn month_start(year: i32, month: u32) -> i64 {
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default().and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

fn day(unix_seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(unix_seconds, 0).unwrap_or_default().format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_hold_their_first_and_last_second() {
        let check = |unix_seconds, first: &str, resets: &str| {
            let period = Period::of(unix_seconds);
            assert_eq!((period.to_string().as_str(), period.resets().as_str()), (first, resets));
            assert!(period.contains(unix_seconds));
            assert!(!period.contains(period.end()) && Period::of(period.end()).start() == period.end());
        };
        check(0, "1970-01-01", "1970-02-01");
        check(1_709_164_800, "2024-02-01", "2024-03-01"); // a 29th of February
        check(1_798_761_599, "2026-12-01", "2027-01-01"); // the year's last second
        check(1_798_761_600, "2027-01-01", "2027-02-01");
    }
}
