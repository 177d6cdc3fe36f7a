use arrow::{
    array::{Array, ArrayRef},
    compute::concat,
    record_batch::RecordBatch,
};

use super::{
    sketch::Sketch,
    zones::{ColumnZones, extremes, has_zones},
};
use crate::TableSchema;

/// What is known of a column over all rows of a table. Bounds and null counts include rows that are deleted but still
/// stored, so they may be too wide, never too narrow.
#[derive(Debug, Clone)]
pub struct ColumnStatistics {
    /// One value of the column's type that none is less than.
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    /// Counts deleted rows too: at most this many live ones are NULL.
    pub null_count: u64,
    /// About how many distinct values; exact for a primary key of one column.
    pub distinct: Option<u64>,
}

/// Exact row count, and bounds for each column.
#[derive(Debug, Clone)]
pub struct TableStatistics {
    pub row_count: u64,
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of one segment.
#[derive(Debug)]
pub(crate) struct Summary {
    pub rows: u64,
    pub columns: Vec<ColumnSummary>,
}

#[derive(Debug)]
pub(crate) struct ColumnSummary {
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub null_count: u64,
    pub sketch: Sketch,
}

impl Summary {
    pub fn of_rows(schema: &TableSchema, batch: &RecordBatch) -> Summary {
        let columns = batch
            .columns()
            .iter()
            .zip(schema.columns())
            .map(|(array, column)| {
                let mut sketch = Sketch::new();
                sketch.add_all(array);
                let bounds =
                    has_zones(column.column_type).then(|| extremes(array.data_type(), 1, |_| array.clone())).flatten();
                let (min, max) = bounds.unzip();
                ColumnSummary {
                    min: min.filter(|value| value.is_valid(0)),
                    max: max.filter(|value| value.is_valid(0)),
                    null_count: array.logical_null_count() as u64,
                    sketch,
                }
            })
            .collect();
        Summary { rows: batch.num_rows() as u64, columns }
    }
}

impl ColumnSummary {
    /// From the zones of a segment of `rows` rows.
    pub fn of_zones(zones: Option<&ColumnZones>, null_count: u64, rows: u64, sketch: Sketch) -> ColumnSummary {
        let (min, max) = match zones {
            Some(zones) if null_count < rows => (
                bound(&zones.min, |index| unknown(zones, &zones.min, index, rows), true),
                bound(&zones.max, |index| unknown(zones, &zones.max, index, rows), false),
            ),
            _ => (None, None),
        };
        ColumnSummary { min, max, null_count, sketch }
    }
}

/// Whether a block's bound is missing although it holds values.
fn unknown(zones: &ColumnZones, bounds: &ArrayRef, block: usize, rows: u64) -> bool {
    let block_rows = (rows - (block * super::BLOCK_ROWS) as u64).min(super::BLOCK_ROWS as u64);
    let nulls = zones.null_count.values().get(block).copied().unwrap_or(0);
    bounds.is_null(block) && u64::try_from(nulls).is_ok_and(|nulls| nulls < block_rows)
}

fn bound(values: &ArrayRef, unknown: impl Fn(usize) -> bool, least: bool) -> Option<ArrayRef> {
    if (0..values.len()).any(unknown) {
        return None;
    }
    let (min, max) = extremes(values.data_type(), 1, |_| values.clone())?;
    Some(if least { min } else { max }).filter(|value| value.is_valid(0))
}

/// Merges the segments' columns into the table's. `rows` counts what is stored, `None` bounds make the result unknown
/// unless the segment holds nothing but nulls.
pub(crate) fn merge_bounds(summaries: &[std::sync::Arc<Summary>], column: usize) -> ColumnStatistics {
    let mut null_count = 0;
    let (mut least, mut greatest) = (Some(Vec::new()), Some(Vec::new()));
    for summary in summaries {
        let Some(known) = summary.columns.get(column) else { continue };
        null_count += known.null_count;
        if known.null_count >= summary.rows {
            continue;
        }
        collect_bound(&mut least, known.min.as_ref());
        collect_bound(&mut greatest, known.max.as_ref());
    }
    ColumnStatistics { min: fold(least, true), max: fold(greatest, false), null_count, distinct: None }
}

fn collect_bound(into: &mut Option<Vec<ArrayRef>>, value: Option<&ArrayRef>) {
    match (into.as_mut(), value) {
        (Some(values), Some(value)) => values.push(value.clone()),
        _ => *into = None,
    }
}

fn fold(values: Option<Vec<ArrayRef>>, least: bool) -> Option<ArrayRef> {
    let values = values.filter(|values| !values.is_empty())?;
    let parts: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    let all = concat(&parts).ok()?;
    bound(&all, |_| false, least)
}
