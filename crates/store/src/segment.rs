//! Segments: immutable runs of rows, hot in memory or cold in a Parquet file.

pub(crate) mod cold;
pub(crate) mod hot;
pub(crate) mod sketch;
pub(crate) mod statistics;
pub(crate) mod write;
pub(crate) mod zones;

use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use roaring::RoaringBitmap;

use self::{cold::Cold, hot::Hot, statistics::Summary, zones::ColumnZones};
use crate::{StoreError, TableSchema};

/// Rows that one zone-map entry describes, and the most that one scanned batch holds.
pub const BLOCK_ROWS: usize = 8_192;
/// Rows of a Parquet row group: what is decoded and cached as one, and the most that one scan unit holds.
pub const CHUNK_ROWS: usize = 65_536;
/// Most rows of a segment.
pub const SEGMENT_ROWS_MAX: usize = 1_048_576;

/// The rows of a segment, without their place in the table: shared by every version that holds them.
#[derive(Debug)]
pub(crate) struct Body {
    schema: Arc<TableSchema>,
    rows: u32,
    data: Data,
    summary: OnceLock<Arc<Summary>>,
}

#[derive(Debug)]
enum Data {
    Hot(Hot),
    Cold(Cold),
}

impl Body {
    pub fn hot(schema: &Arc<TableSchema>, hot: Hot) -> Arc<Body> {
        // INVARIANT: a segment holds at most SEGMENT_ROWS_MAX rows, which its makers keep to.
        let rows = u32::try_from(hot.batch().num_rows()).unwrap_or(u32::MAX);
        Arc::new(Body { schema: Arc::clone(schema), rows, data: Data::Hot(hot), summary: OnceLock::new() })
    }

    pub fn cold(schema: &Arc<TableSchema>, cold: Cold) -> Arc<Body> {
        let rows = cold.rows();
        Arc::new(Body { schema: Arc::clone(schema), rows, data: Data::Cold(cold), summary: OnceLock::new() })
    }

    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub fn rows(&self) -> u32 {
        self.rows
    }

    pub fn as_hot(&self) -> Option<&Hot> {
        match &self.data {
            Data::Hot(hot) => Some(hot),
            Data::Cold(_) => None,
        }
    }

    pub fn as_cold(&self) -> Option<&Cold> {
        match &self.data {
            Data::Hot(_) => None,
            Data::Cold(cold) => Some(cold),
        }
    }

    /// Bytes of memory that only this segment holds.
    pub fn hot_bytes(&self) -> usize {
        self.as_hot().map_or(0, Hot::bytes)
    }

    /// The rows `chunk * CHUNK_ROWS ..` of a column, at most [`CHUNK_ROWS`] of them.
    pub fn chunk(&self, column: usize, chunk: usize) -> Result<ArrayRef, StoreError> {
        match &self.data {
            Data::Hot(hot) => hot.chunk(column, chunk),
            Data::Cold(cold) => cold.chunk(&self.schema, column, chunk),
        }
    }

    /// An array that holds the row's value, and the place in it.
    pub fn cell(&self, column: usize, row: u32) -> Result<(ArrayRef, usize), StoreError> {
        let row = row as usize;
        match &self.data {
            Data::Hot(hot) => Ok((Arc::clone(hot.column(column)?), row)),
            Data::Cold(cold) => Ok((cold.chunk(&self.schema, column, row / CHUNK_ROWS)?, row % CHUNK_ROWS)),
        }
    }

    /// Least and greatest value and number of nulls of each block of [`BLOCK_ROWS`]. None for types that have no zones
    /// and for segments smaller than a block, which cost less to read than to skip.
    pub fn zones(&self, column: usize) -> Result<Option<Arc<ColumnZones>>, StoreError> {
        match &self.data {
            Data::Hot(hot) => Ok(hot.zones(&self.schema, column)),
            Data::Cold(cold) => cold.zones(&self.schema, column),
        }
    }

    /// Of all rows, deleted ones too.
    pub fn summary(&self) -> Result<Arc<Summary>, StoreError> {
        if let Some(summary) = self.summary.get() {
            return Ok(Arc::clone(summary));
        }
        let summary = Arc::new(match &self.data {
            Data::Hot(hot) => Summary::of_rows(&self.schema, hot.batch()),
            Data::Cold(cold) => cold.summary(&self.schema)?,
        });
        Ok(Arc::clone(self.summary.get_or_init(|| summary)))
    }
}

/// A segment at its place in one version of a table: its rows are `first_row .. first_row + rows`, without the deleted.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub first_row: u64,
    pub body: Arc<Body>,
    /// Positions within the segment; never empty.
    pub deleted: Option<Arc<RoaringBitmap>>,
}

impl Entry {
    pub fn end(&self) -> u64 {
        self.first_row + u64::from(self.body.rows())
    }

    pub fn deleted_rows(&self) -> u64 {
        self.deleted.as_ref().map_or(0, |deleted| deleted.len())
    }

    pub fn live_rows(&self) -> u64 {
        u64::from(self.body.rows()) - self.deleted_rows()
    }

    pub fn is_live(&self, position: u32) -> bool {
        self.deleted.as_ref().is_none_or(|deleted| !deleted.contains(position))
    }

    /// Adds deleted positions; says how many rows it was that lived.
    pub fn delete(&mut self, positions: &RoaringBitmap) -> u64 {
        let before = self.deleted_rows();
        if positions.is_empty() {
            return 0;
        }
        match &mut self.deleted {
            Some(deleted) => *Arc::make_mut(deleted) |= positions,
            none => *none = Some(Arc::new(positions.clone())),
        }
        self.deleted_rows() - before
    }
}

/// The segment that holds a row, and the row's position in it. Entries are sorted by row and do not overlap.
pub(crate) fn locate(entries: &[Entry], row: u64) -> Option<(&Entry, u32)> {
    let index = locate_index(entries, row)?;
    let entry = entries.get(index)?;
    Some((entry, u32::try_from(row - entry.first_row).ok()?))
}

pub(crate) fn locate_index(entries: &[Entry], row: u64) -> Option<usize> {
    let after = entries.partition_point(|entry| entry.first_row <= row);
    let index = after.checked_sub(1)?;
    entries.get(index).filter(|entry| row < entry.end()).map(|_| index)
}

/// Whether the row exists and is not deleted.
pub(crate) fn is_live(entries: &[Entry], row: u64) -> bool {
    locate(entries, row).is_some_and(|(entry, position)| entry.is_live(position))
}
