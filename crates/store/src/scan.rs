use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatchOptions, UInt64Array},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use roaring::RoaringBitmap;

use crate::{
    ColumnZones, StoreError,
    segment::{BLOCK_ROWS, Body, CHUNK_ROWS, Entry},
    table::project,
};

/// Name of the trailing column of row ids, where they are asked for.
pub const ROW_ID_COLUMN: &str = "__rowid";

/// A run of at most [`CHUNK_ROWS`] rows of one segment. Reading one is synchronous and bound by the processor, or by
/// the disk when the segment is cold and not cached.
#[derive(Debug, Clone)]
pub struct ScanUnit {
    body: Arc<Body>,
    deleted: Option<Arc<RoaringBitmap>>,
    first_row: u64,
    chunk: usize,
    length: usize,
}

/// Zone maps of a unit's blocks of [`BLOCK_ROWS`] rows.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    unit: &'a ScanUnit,
}

impl ScanUnit {
    /// Chunks in which every row is deleted are left out.
    pub(crate) fn of_entry(entry: &Entry) -> impl Iterator<Item = ScanUnit> {
        let rows = entry.body.rows() as usize;
        (0..rows.div_ceil(CHUNK_ROWS)).filter_map(move |chunk| {
            let unit = ScanUnit {
                body: Arc::clone(&entry.body),
                deleted: entry.deleted.clone(),
                first_row: entry.first_row,
                chunk,
                length: (rows - chunk * CHUNK_ROWS).min(CHUNK_ROWS),
            };
            (unit.rows() > 0).then_some(unit)
        })
    }

    fn start(&self) -> usize {
        self.chunk * CHUNK_ROWS
    }

    /// How many of the rows live.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.length - self.deleted_in(0..self.length)
    }

    /// How many of the rows from `range` (counted within the unit) are deleted.
    fn deleted_in(&self, range: Range<usize>) -> usize {
        let Some(deleted) = &self.deleted else { return 0 };
        // Positions fit: a segment holds at most 2^20 rows.
        let from = (self.start() + range.start) as u32;
        let to = (self.start() + range.end) as u32;
        usize::try_from(deleted.range_cardinality(from..to)).unwrap_or(0)
    }

    /// Whether reading needs the disk unless the cache has the columns.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.body.as_cold().is_some()
    }

    /// What is known of the unit's blocks without reading rows.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { unit: self }
    }

    /// The unit's live rows in batches of at most [`BLOCK_ROWS`], one a block, without copying unless rows are deleted.
    /// `selection`, where given, has one entry for each block; blocks that are not selected are passed over. Batches
    /// have the columns of `projection` in that order, and [`ROW_ID_COLUMN`] after them if asked for. Without any
    /// column, batches still have their number of rows.
    ///
    /// # Errors
    /// When a column does not exist, or stored rows cannot be read or are damaged.
    pub fn read(
        &self,
        projection: &[usize],
        selection: Option<&BooleanBuffer>,
        with_row_ids: bool,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let schema = scan_schema(&project(self.body.schema(), projection)?, with_row_ids);
        let wanted: Vec<Range<usize>> = (0..self.blocks().len())
            .filter(|&block| selection.is_none_or(|selected| block < selected.len() && selected.value(block)))
            .map(|block| block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(self.length))
            .filter(|range| self.deleted_in(range.clone()) < range.len())
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let columns = projection
            .iter()
            .map(|&column| self.body.chunk(column, self.chunk))
            .collect::<Result<Vec<ArrayRef>, StoreError>>()?;
        wanted.into_iter().map(|range| self.batch(&schema, &columns, range, with_row_ids)).collect()
    }

    fn batch(
        &self,
        schema: &SchemaRef,
        columns: &[ArrayRef],
        range: Range<usize>,
        with_row_ids: bool,
    ) -> Result<RecordBatch, StoreError> {
        let mut arrays: Vec<ArrayRef> = columns.iter().map(|array| array.slice(range.start, range.len())).collect();
        if with_row_ids {
            let first = self.first_row + (self.start() + range.start) as u64;
            arrays.push(Arc::new(UInt64Array::from_iter_values(first..first + range.len() as u64)));
        }
        let dead = self.deleted_in(range.clone());
        if dead == 0 || arrays.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(range.len() - dead));
            return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?;
        Ok(filter_record_batch(&batch, &self.live(range))?)
    }

    fn live(&self, range: Range<usize>) -> BooleanArray {
        let from = (self.start() + range.start) as u32;
        let to = (self.start() + range.end) as u32;
        let mut live = vec![true; range.len()];
        let dead = self.deleted.iter().flat_map(|deleted| deleted.range(from..to));
        for position in dead {
            if let Some(place) = live.get_mut((position - from) as usize) {
                *place = false;
            }
        }
        BooleanArray::from(live)
    }
}

impl Blocks<'_> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.unit.length.div_ceil(BLOCK_ROWS)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unit.length == 0
    }

    /// Stored rows of a block, deleted ones too: what null counts compare with.
    #[must_use]
    pub fn stored_rows(&self, block: usize) -> usize {
        self.unit.length.saturating_sub(block * BLOCK_ROWS).min(BLOCK_ROWS)
    }

    /// Bounds of a column, one entry for each block; None where there are none to be had cheaply.
    ///
    /// # Errors
    /// When a cold segment's footer cannot be read or is damaged.
    pub fn zones(&self, column: usize) -> Result<Option<ColumnZones>, StoreError> {
        let zones = self.unit.body.zones(column)?;
        Ok(zones.map(|zones| zones.slice(self.unit.start() / BLOCK_ROWS, self.len())))
    }
}

/// The schema of scanned batches.
fn scan_schema(projected: &SchemaRef, with_row_ids: bool) -> SchemaRef {
    if !with_row_ids {
        return Arc::clone(projected);
    }
    let mut fields: Vec<Arc<Field>> = projected.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW_ID_COLUMN, DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
}
