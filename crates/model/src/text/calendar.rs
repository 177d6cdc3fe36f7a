//! The proleptic Gregorian calendar over days since 1970-01-01, for the whole range of PostgreSQL's `date`.

/// Days from 1970-01-01 to 2000-01-01, the origin of PostgreSQL's binary dates.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const POSTGRES_EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;

/// Year (astronomical: 0 is 1 BC), month and day of a day number.
pub fn civil_from_days(days: i32) -> (i64, u32, u32) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Day number of a date; `None` when there is no such day or PostgreSQL's `date` cannot hold it.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> Option<i32> {
    if !(-4_713..=5_874_897).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Splits microseconds since the epoch into a day number and microseconds of that day.
pub fn split_microseconds(microseconds: i64) -> (i32, i64) {
    // INVARIANT: i64::MAX / DAY is about 106 million, well inside i32.
    (microseconds.div_euclid(DAY) as i32, microseconds.rem_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (days, civil) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (POSTGRES_EPOCH_DAYS, (2000, 1, 1)),
            (11_016, (2000, 2, 29)),
            (-719_528, (0, 1, 1)),
            (-2_440_588 + 38, (-4_712, 1, 1)),
        ] {
            assert_eq!(civil_from_days(days), civil, "{days}");
            assert_eq!(days_from_civil(civil.0, civil.1, civil.2), Some(days), "{civil:?}");
        }
    }

    #[test]
    fn days_that_do_not_exist() {
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 13, 1), (2024, 0, 1), (2024, 4, 31), (2024, 1, 0)]
        {
            assert_eq!(days_from_civil(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for days in (-2_400_000..4_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
    }
}
