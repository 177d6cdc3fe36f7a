use serde::{Deserialize, Serialize};

use crate::Credits;

/// Rows that a statement may return before they cost, and the step they cost by.
const ROWS_STEP: u64 = 10_000;

/// How a statement reaches its rows, the dearest of its tables deciding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scan {
    /// It reads no table.
    #[default]
    None,
    /// Every table that it reads has a condition on an indexed column.
    Indexed,
    /// Some table is read whole: no condition on an indexed column.
    Full,
    /// Some table is read whole, and the catalog has no statistics on it.
    FullWithoutStatistics,
}

/// What the cost of a statement depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CostInputs {
    /// Tables and views that the statement names; one that is named twice counts twice, as it is read twice.
    pub tables: u32,
    pub scan: Scan,
    /// Whether an output list holds `*`.
    pub select_star: bool,
    /// Rows that the statement is expected to return, where statistics tell.
    pub rows_expected: Option<u64>,
}

/// Credits for each factor. The defaults are the published price list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Every statement.
    pub base: Credits,
    /// Each table after the first.
    pub additional_table: Credits,
    /// A statement that reads some table whole; once per statement.
    pub full_scan: Credits,
    /// The same where there are no statistics: less, because the table may be small, not nothing, because it may not.
    pub full_scan_without_statistics: Credits,
    pub select_star: Credits,
    /// Each started 10,000 rows above the first 10,000: 10,000 rows cost nothing, 10,001 to 20,000 cost one step.
    pub ten_thousand_rows: Credits,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            base: Credits(1_000),
            additional_table: Credits(500),
            full_scan: Credits(2_000),
            full_scan_without_statistics: Credits(1_000),
            select_star: Credits(1_000),
            ten_thousand_rows: Credits(1_000),
        }
    }
}

impl Weights {
    /// The cost as foreseen: conservative where it can be, without a charge for rows where nothing tells their number.
    #[must_use]
    pub fn estimate(&self, inputs: &CostInputs) -> Credits {
        self.cost(inputs, inputs.rows_expected.unwrap_or(0))
    }

    /// The cost by the same formula with the rows that were returned.
    #[must_use]
    pub fn settle(&self, inputs: &CostInputs, rows: u64) -> Credits {
        self.cost(inputs, rows)
    }

    fn cost(&self, inputs: &CostInputs, rows: u64) -> Credits {
        let scan = match inputs.scan {
            Scan::None | Scan::Indexed => Credits::ZERO,
            Scan::Full => self.full_scan,
            Scan::FullWithoutStatistics => self.full_scan_without_statistics,
        };
        let star = if inputs.select_star { self.select_star } else { Credits::ZERO };
        self.base
            .plus(self.additional_table.times(u64::from(inputs.tables.saturating_sub(1))))
            .plus(scan)
            .plus(star)
            .plus(self.ten_thousand_rows.times(rows.saturating_sub(ROWS_STEP).div_ceil(ROWS_STEP)))
    }
}

/// [`Weights::estimate`] with the default weights.
#[must_use]
pub fn estimate(inputs: &CostInputs) -> Credits {
    Weights::default().estimate(inputs)
}

/// [`Weights::settle`] with the default weights.
#[must_use]
pub fn settle(inputs: &CostInputs, rows: u64) -> Credits {
    Weights::default().settle(inputs, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_list() {
        let check = |tables, scan, select_star, rows_expected, expected: &str| {
            let inputs = CostInputs { tables, scan, select_star, rows_expected };
            assert_eq!(estimate(&inputs).to_string(), expected, "{inputs:?}");
        };
        check(0, Scan::None, false, None, "1.0");
        check(1, Scan::Indexed, false, Some(1), "1.0");
        check(2, Scan::Indexed, false, Some(1), "1.5");
        check(4, Scan::Full, false, Some(1), "4.5");
        check(1, Scan::Full, true, Some(1), "4.0");
        check(1, Scan::FullWithoutStatistics, false, None, "2.0");
        check(1, Scan::Indexed, false, Some(10_000), "1.0");
        check(1, Scan::Indexed, false, Some(10_001), "2.0");
        check(1, Scan::Indexed, false, Some(20_000), "2.0");
        check(1, Scan::Indexed, false, Some(20_001), "3.0");
        check(1, Scan::Full, true, Some(1_000_000), "103.0");
    }

    #[test]
    fn settling_counts_the_rows_that_came() {
        let inputs = CostInputs { tables: 1, scan: Scan::Full, select_star: false, rows_expected: Some(50_000) };
        assert_eq!(estimate(&inputs).to_string(), "7.0");
        assert_eq!(settle(&inputs, 3).to_string(), "3.0");
        assert_eq!(settle(&inputs, 60_001).to_string(), "9.0");
        assert_eq!(settle(&inputs, u64::MAX), Weights::default().settle(&inputs, u64::MAX));
    }
}
