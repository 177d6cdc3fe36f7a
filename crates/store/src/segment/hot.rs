use std::sync::{Arc, OnceLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatchOptions, UInt32Array},
    compute::{concat, take},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use roaring::RoaringBitmap;

use super::{Body, CHUNK_ROWS, Entry, zones::ColumnZones};
use crate::{StoreError, TableSchema};

/// Rows in memory, one batch of the table's schema.
#[derive(Debug)]
pub(crate) struct Hot {
    batch: RecordBatch,
    bytes: usize,
    /// By column, made when first asked for.
    zones: Vec<OnceLock<Option<Arc<ColumnZones>>>>,
}

impl Hot {
    pub fn new(batch: RecordBatch) -> Hot {
        let zones = batch.columns().iter().map(|_| OnceLock::new()).collect();
        Hot { bytes: bytes_of(&batch), batch, zones }
    }

    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn column(&self, column: usize) -> Result<&ArrayRef, StoreError> {
        self.batch.columns().get(column).ok_or_else(|| StoreError::Misuse(format!("there is no column {column}")))
    }

    pub fn chunk(&self, column: usize, chunk: usize) -> Result<ArrayRef, StoreError> {
        let array = self.column(column)?;
        let start = (chunk * CHUNK_ROWS).min(array.len());
        Ok(array.slice(start, CHUNK_ROWS.min(array.len() - start)))
    }

    pub fn zones(&self, schema: &TableSchema, column: usize) -> Option<Arc<ColumnZones>> {
        if self.batch.num_rows() < super::BLOCK_ROWS {
            return None;
        }
        let array = self.batch.columns().get(column)?;
        let column_type = schema.columns().get(column)?.column_type;
        self.zones.get(column)?.get_or_init(|| ColumnZones::of(array, column_type).map(Arc::new)).clone()
    }
}

/// What the rows take, without what their buffers hold besides.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes = |array: &ArrayRef| {
        let variable = match array.data_type() {
            DataType::Utf8View => array.as_string_view().total_buffer_bytes_used(),
            DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used(),
            _ => 0,
        };
        array.len() * width(array.data_type()) + array.len().div_ceil(8) + variable
    };
    batch.columns().iter().map(bytes).sum()
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        DataType::Decimal128(_, _) | DataType::Interval(_) | DataType::Utf8View | DataType::BinaryView => 16,
        other => other.primitive_width().unwrap_or(8),
    }
}

/// Copies arrays that keep much more memory alive than their own rows need: a one-row slice must not pin the batch it
/// was cut from.
pub(crate) fn tidy(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    let columns = batch.columns().iter().map(tidy_array).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Slack that costs less than a copy.
const SLACK_BYTES: usize = 1024;

fn tidy_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let views = matches!(array.data_type(), DataType::Utf8View | DataType::BinaryView);
    let fixed_bytes = array.len() * width(array.data_type()) + array.len().div_ceil(8);
    let view_buffers = if views { variable_capacity(array) } else { 0 };
    let held = array.get_buffer_memory_size().saturating_sub(view_buffers);
    let mut tidied = Arc::clone(array);
    if held > 2 * fixed_bytes + SLACK_BYTES {
        let length =
            u32::try_from(array.len()).map_err(|_| ArrowError::InvalidArgumentError("too many rows".into()))?;
        tidied = take(array, &UInt32Array::from_iter_values(0..length), None)?;
    }
    Ok(if views { collect_views(&tidied) } else { tidied })
}

fn variable_capacity(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().data_buffers().iter().map(|buffer| buffer.capacity()).sum(),
        DataType::BinaryView => array.as_binary_view().data_buffers().iter().map(|buffer| buffer.capacity()).sum(),
        _ => 0,
    }
}

/// Most buffers that a view array keeps before its bytes are gathered into one.
const VIEW_BUFFERS_MAX: usize = 8;

fn collect_views(array: &ArrayRef) -> ArrayRef {
    let capacity = variable_capacity(array);
    match array.data_type() {
        DataType::Utf8View => {
            let views = array.as_string_view();
            let wasteful = capacity > 2 * views.total_buffer_bytes_used() + SLACK_BYTES;
            if wasteful || views.data_buffers().len() > VIEW_BUFFERS_MAX {
                return Arc::new(views.gc());
            }
        }
        DataType::BinaryView => {
            let views = array.as_binary_view();
            let wasteful = capacity > 2 * views.total_buffer_bytes_used() + SLACK_BYTES;
            if wasteful || views.data_buffers().len() > VIEW_BUFFERS_MAX {
                return Arc::new(views.gc());
            }
        }
        _ => {}
    }
    Arc::clone(array)
}

/// One batch of the rows of several, in order.
pub(crate) fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, StoreError> {
    if let [only] = batches {
        return Ok(only.clone());
    }
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for index in 0..schema.fields().len() {
        let parts: Vec<&dyn Array> =
            batches.iter().filter_map(|batch| batch.columns().get(index)).map(AsRef::as_ref).collect();
        columns.push(collect_views(&concat(&parts)?));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Merges hot neighbours at the end of a table, from entry `fresh` on all of them and before it those no larger than
/// what follows them together, so that n rows added one by one lie in O(log n) segments and were copied O(log n) times.
/// Only up to `rows_max` rows, so that no commit pays for a large copy.
pub(crate) fn merge_tail(entries: &mut Vec<Entry>, fresh: usize, rows_max: usize) -> Result<(), StoreError> {
    let mut end = entries.len();
    while end > fresh {
        let start = run_start(entries, fresh, end, rows_max);
        if end - start > 1 {
            let merged = merge(entries.get(start..end).unwrap_or_default())?;
            entries.splice(start..end, [merged]);
        }
        end = start;
    }
    Ok(())
}

/// Where the run of mergeable entries that ends before `end` begins: at its last entry, if that is all.
fn run_start(entries: &[Entry], fresh: usize, end: usize, rows_max: usize) -> usize {
    let mut start = end.saturating_sub(1);
    let Some(last) = entries.get(start).filter(|last| last.body.as_hot().is_some()) else { return start };
    let mut rows = last.body.rows() as usize;
    let mut next_row = last.first_row;
    while let Some(index) = start.checked_sub(1)
        && let Some(entry) = entries.get(index)
    {
        let more = entry.body.rows() as usize;
        let similar = index >= fresh || more < 2 * rows;
        if entry.body.as_hot().is_none() || entry.end() != next_row || !similar || rows + more > rows_max {
            break;
        }
        rows += more;
        next_row = entry.first_row;
        start = index;
    }
    start
}

fn merge(run: &[Entry]) -> Result<Entry, StoreError> {
    let first = run.first().ok_or_else(|| StoreError::Misuse("nothing to merge".into()))?;
    let batches: Vec<RecordBatch> =
        run.iter().filter_map(|entry| entry.body.as_hot()).map(|hot| hot.batch().clone()).collect();
    let batch = concat_rows(first.body.schema().arrow(), &batches)?;
    let deleted = shifted_masks(run, first.first_row);
    let body = Body::hot(first.body.schema(), Hot::new(batch));
    Ok(Entry { first_row: first.first_row, body, deleted })
}

/// The deleted rows of several entries, as positions after `first_row`.
fn shifted_masks(run: &[Entry], first_row: u64) -> Option<Arc<RoaringBitmap>> {
    let mut all = RoaringBitmap::new();
    for entry in run {
        let Some(deleted) = &entry.deleted else { continue };
        let shift = u32::try_from(entry.first_row - first_row).unwrap_or(u32::MAX);
        all.extend(deleted.iter().map(|position| position.saturating_add(shift)));
    }
    (!all.is_empty()).then(|| Arc::new(all))
}

#[cfg(test)]
mod tests {
    use super::{super::locate, *};
    use crate::testing;

    fn entry(first_row: u64, rows: i64) -> Entry {
        let schema = testing::orders_schema();
        let batch = testing::orders(i64::try_from(first_row).unwrap(), rows);
        Entry { first_row, body: Body::hot(&schema, Hot::new(batch)), deleted: None }
    }

    #[test]
    fn single_rows_lie_in_logarithmically_many_segments() {
        let mut entries = Vec::new();
        for row in 0..1000 {
            let fresh = entries.len();
            entries.push(entry(row, 1));
            merge_tail(&mut entries, fresh, CHUNK_ROWS).unwrap();
            assert!(entries.len() <= 11, "{} segments after {row} rows", entries.len());
        }
        let rows: u32 = entries.iter().map(|entry| entry.body.rows()).sum();
        assert_eq!(rows, 1000);
        let (found, position) = locate(&entries, 777).unwrap();
        let ids = found.body.as_hot().unwrap().batch().column(0).as_primitive::<arrow::datatypes::Int64Type>().clone();
        assert_eq!(ids.value(position as usize), 777);
    }

    #[test]
    fn masks_move_with_their_rows() {
        let mut entries = vec![entry(0, 4), entry(4, 4)];
        entries[1].delete(&RoaringBitmap::from_iter([1, 3]));
        merge_tail(&mut entries, 1, CHUNK_ROWS).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].deleted.as_deref(), Some(&RoaringBitmap::from_iter([5, 7])));
    }

    #[test]
    fn a_slice_does_not_pin_its_parent() {
        let large = testing::orders(0, 8192);
        let tidied = tidy(&large.slice(17, 1), &large.schema()).unwrap();
        assert_eq!(tidied, large.slice(17, 1));
        assert!(tidied.get_array_memory_size() < 4096, "{}", tidied.get_array_memory_size());
    }
}
