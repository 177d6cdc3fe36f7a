use weir_meter::{CostInputs, Credits, Scan, Weights};
use weir_model::{Action, ObjectName};
use weir_sql::{Expected, Shape};
use weir_store::Version;

use crate::{
    facts,
    gates::{isolation::is_reserved, policy::Authorized},
};

/// Rows from which a whole read counts against the slots for full scans.
const LARGE_SCAN_ROWS: u64 = 100_000;

/// What the statement is expected to cost.
#[derive(Debug)]
pub(crate) struct Costed {
    pub authorized: Authorized,
    pub inputs: CostInputs,
    pub estimate: Credits,
    /// Reads a large table whole.
    pub large_scan: bool,
}

/// Gate 11. Estimates credits from the catalog's statistics and the statement's shape, which was read off its tree
/// when it was parsed. What was recorded and what was charged can always be read: `weir.audit` and `weir.usage` are free.
/// Refuses nothing. Costs a look-up per table.
pub(crate) fn pass(authorized: Authorized, weights: &Weights) -> Costed {
    let stated = &authorized.stated;
    let is_free = |object: &ObjectName| is_reserved(object.schema()) && object.schema() != facts::SCHEMA;
    if stated.objects.iter().all(|(object, _)| is_free(object)) {
        return Costed { inputs: CostInputs::default(), estimate: Credits::ZERO, large_scan: false, authorized };
    }
    let shape = stated.statement.shape();
    let reads = stated.objects.iter().filter(|(_, action)| *action == Action::Select);
    let (mut tables, mut scan, mut widest) = (0, Scan::None, 0);
    for (object, _) in reads {
        let whole = whole_read_rows(&stated.version, object, shape);
        scan = if whole.is_some() || scan == Scan::Full { Scan::Full } else { Scan::Indexed };
        widest = widest.max(whole.unwrap_or(1));
        tables += 1;
    }
    let written = stated.objects.len() - tables;
    let inputs = CostInputs {
        tables: u32::try_from(tables.max(written).max(1)).unwrap_or(u32::MAX),
        scan,
        select_star: shape.select_star,
        rows_expected: Some(rows_expected(shape.expected, widest)),
    };
    let (estimate, large_scan) = (weights.estimate(&inputs), widest >= LARGE_SCAN_ROWS);
    Costed { inputs, estimate, large_scan, authorized }
}

/// Rows of the table if it would be read whole, None if its primary key is bound to constants.
fn whole_read_rows(version: &Version, object: &ObjectName, shape: &Shape) -> Option<u64> {
    let Some(table) = version.table(object) else { return Some(0) };
    let schema = table.schema();
    let mut key = schema.primary_key().iter().filter_map(|index| schema.columns().get(*index)).peekable();
    if key.peek().is_some() && key.all(|column| shape.equal_columns.contains(&column.name)) {
        return None;
    }
    Some(table.row_count())
}

/// Conservative: a tenth of the largest table where the text narrows or groups, all of it otherwise.
fn rows_expected(expected: Expected, widest: u64) -> u64 {
    match expected {
        Expected::Nothing => 0,
        Expected::AtMost(rows) => rows.min(widest.max(1)),
        Expected::Some => widest / 10,
        Expected::All => widest,
    }
}
