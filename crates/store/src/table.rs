use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use arrow::{
    array::{Array, ArrayRef, RecordBatchOptions},
    compute::interleave,
    datatypes::SchemaRef,
    record_batch::RecordBatch,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use weir_model::{ObjectName, Value};

use crate::{
    ScanUnit, StoreError, TableSchema, TableStatistics,
    index::{PrimaryIndex, Run},
    key::{KeyColumn, encode_value, hash_key},
    segment::{CHUNK_ROWS, Entry, locate, statistics::merge_bounds},
};

/// A row of a table, for as long as it exists: flushing and merging do not change it. Rows that a transaction has
/// inserted and not yet committed have provisional ids, from [`RowId::PROVISIONAL`] on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u64);

impl RowId {
    pub const PROVISIONAL: u64 = 1 << 63;
}

/// A table for as long as it exists, whatever its name; also its OID in `pg_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub u32);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table as one version has it. Immutable; shared by all versions in which it did not change.
///
/// INVARIANT: `entries` are sorted by row and do not overlap; rows below `next_row` that lie in no entry are deleted.
#[derive(Debug)]
pub struct TableVersion {
    pub(crate) id: TableId,
    pub(crate) name: ObjectName,
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) entries: Vec<Entry>,
    /// The id of the next row to be committed.
    pub(crate) next_row: u64,
    /// Of the last commit that changed the table.
    pub(crate) lsn: u64,
    pub(crate) index: Arc<PrimaryIndex>,
    /// Keys of a transaction's own rows, counted from [`RowId::PROVISIONAL`].
    pub(crate) own_keys: Option<Arc<Run>>,
    pub(crate) distinct: Arc<Mutex<DistinctCounts>>,
    pub(crate) statistics: OnceLock<Arc<TableStatistics>>,
}

/// Estimates outlive versions: they cost more than the rest and change slowly.
#[derive(Debug, Default)]
pub(crate) struct DistinctCounts {
    row_count: u64,
    columns: Option<Arc<Vec<u64>>>,
}

impl TableVersion {
    pub(crate) fn empty(id: TableId, name: ObjectName, schema: Arc<TableSchema>, lsn: u64) -> TableVersion {
        TableVersion {
            id,
            name,
            schema,
            entries: Vec::new(),
            next_row: 0,
            lsn,
            index: PrimaryIndex::empty(0),
            own_keys: None,
            distinct: Arc::default(),
            statistics: OnceLock::new(),
        }
    }

    /// A copy to change.
    pub(crate) fn fork(&self) -> TableVersion {
        TableVersion {
            id: self.id,
            name: self.name.clone(),
            schema: Arc::clone(&self.schema),
            entries: self.entries.clone(),
            next_row: self.next_row,
            lsn: self.lsn,
            index: Arc::clone(&self.index),
            own_keys: self.own_keys.clone(),
            distinct: Arc::clone(&self.distinct),
            statistics: OnceLock::new(),
        }
    }

    #[must_use]
    pub fn id(&self) -> TableId {
        self.id
    }

    #[must_use]
    pub fn oid(&self) -> u32 {
        self.id.0
    }

    #[must_use]
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    #[must_use]
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Exact.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.entries.iter().map(Entry::live_rows).sum()
    }

    /// The LSN of the last commit that changed the table's rows.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Segments, and how many of them are in memory.
    #[must_use]
    pub fn segment_counts(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.iter().filter(|entry| entry.body.as_hot().is_some()).count())
    }

    pub(crate) fn hot_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.body.hot_bytes()).sum()
    }

    /// The table in pieces of at most [`CHUNK_ROWS`] rows, in row order, for readers to share out.
    #[must_use]
    pub fn scan_units(&self) -> Vec<ScanUnit> {
        self.entries.iter().flat_map(ScanUnit::of_entry).collect()
    }

    /// Row count and bounds for planning. Computed once a version; distinct counts are kept until the table has grown
    /// or shrunk by a tenth.
    ///
    /// # Errors
    /// When a cold segment's footer cannot be read or is damaged.
    pub fn statistics(&self) -> Result<Arc<TableStatistics>, StoreError> {
        if let Some(statistics) = self.statistics.get() {
            return Ok(Arc::clone(statistics));
        }
        let summaries = self.entries.iter().map(|entry| entry.body.summary()).collect::<Result<Vec<_>, _>>()?;
        let row_count = self.row_count();
        let distinct = self.distinct_counts(row_count, || {
            (0..self.schema.columns().len())
                .map(|column| {
                    let mut sketches =
                        summaries.iter().filter_map(|summary| summary.columns.get(column)).map(|known| &known.sketch);
                    let Some(first) = sketches.next() else { return 0 };
                    let mut all = first.clone();
                    sketches.for_each(|sketch| all.merge(sketch));
                    all.estimate()
                })
                .collect()
        });
        let sole_key = match self.schema.primary_key() {
            [only] => Some(*only),
            _ => None,
        };
        let columns = (0..self.schema.columns().len())
            .map(|column| {
                let mut known = merge_bounds(&summaries, column);
                let estimate = distinct.get(column).map(|&count| count.min(row_count));
                known.distinct = if sole_key == Some(column) { Some(row_count) } else { estimate };
                known
            })
            .collect();
        let statistics = Arc::new(TableStatistics { row_count, columns });
        Ok(Arc::clone(self.statistics.get_or_init(|| statistics)))
    }

    fn distinct_counts(&self, row_count: u64, compute: impl FnOnce() -> Vec<u64>) -> Arc<Vec<u64>> {
        let mut known = self.distinct.lock();
        if let Some(columns) = &known.columns
            && row_count.abs_diff(known.row_count) <= known.row_count / 10
        {
            return Arc::clone(columns);
        }
        let columns = Arc::new(compute());
        *known = DistinctCounts { row_count, columns: Some(Arc::clone(&columns)) };
        columns
    }

    /// The row with a primary key, given in the key's order. None also where a value is NULL or cannot be a value of
    /// its column.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] when the table has no key or the number of values differs; otherwise when stored rows
    /// cannot be read.
    pub fn lookup(&self, key: &[Value]) -> Result<Option<RowId>, StoreError> {
        self.check_key_width(key.len())?;
        let mut encoded = Vec::with_capacity(32);
        for ((_, column), value) in self.schema.key_columns().zip(key) {
            if !encode_value(column.column_type, value, &mut encoded) {
                return Ok(None);
            }
        }
        self.find(&encoded, hash_key(&encoded))
    }

    /// For each row of the key columns given (of the key's Arrow types, in the key's order), the row that has that key.
    ///
    /// # Errors
    /// As [`TableVersion::lookup`].
    pub fn lookup_batch(&self, keys: &[ArrayRef]) -> Result<Vec<Option<RowId>>, StoreError> {
        self.check_key_width(keys.len())?;
        for ((_, column), array) in self.schema.key_columns().zip(keys) {
            if array.data_type() != &crate::arrow_type(column.column_type) {
                return Err(StoreError::Misuse(format!("key column \"{}\" has another type", column.name)));
            }
        }
        let columns = keys.iter().map(|array| KeyColumn::of(array)).collect::<Result<Vec<_>, _>>()?;
        let rows = keys.iter().map(|array| array.len()).min().unwrap_or(0);
        let mut encoded = Vec::new();
        (0..rows)
            .map(|row| {
                if keys.iter().any(|array| array.is_null(row)) {
                    return Ok(None);
                }
                encoded.clear();
                columns.iter().for_each(|column| column.encode(row, &mut encoded));
                self.find(&encoded, hash_key(&encoded))
            })
            .collect()
    }

    fn check_key_width(&self, width: usize) -> Result<(), StoreError> {
        let expected = self.schema.primary_key().len();
        if expected == 0 || width != expected {
            return Err(StoreError::Misuse(format!("{width} values for a primary key of {expected} columns")));
        }
        Ok(())
    }

    pub(crate) fn find(&self, encoded: &[u8], hash: u64) -> Result<Option<RowId>, StoreError> {
        let candidates = match self.index.covering_candidates(hash, self.next_row) {
            Some(candidates) => candidates,
            None => {
                self.ensure_index()?;
                self.index.candidates(hash)
            }
        };
        let own = self.own_keys.iter().flat_map(|keys| keys.rows(hash)).map(|row| row + RowId::PROVISIONAL);
        for row in candidates.rows.into_iter().chain(own) {
            if self.has_key(row, encoded)? {
                return Ok(Some(RowId(row)));
            }
        }
        if candidates.complete_since > self.lsn { self.scan_for(encoded) } else { Ok(None) }
    }

    pub(crate) fn ensure_index(&self) -> Result<(), StoreError> {
        let committed = self.entries.partition_point(|entry| entry.first_row < RowId::PROVISIONAL);
        let entries = self.entries.get(..committed).unwrap_or_default();
        self.index.ensure(&self.schema, entries, self.next_row, self.lsn)
    }

    /// Whether the row lives in this version and has the key.
    pub(crate) fn has_key(&self, row: u64, encoded: &[u8]) -> Result<bool, StoreError> {
        match locate(&self.entries, row) {
            Some((entry, position)) if entry.is_live(position) => key_is(&self.schema, entry, position, encoded),
            _ => Ok(false),
        }
    }

    /// Reads every key: for snapshots older than what the index still knows of one key.
    fn scan_for(&self, encoded: &[u8]) -> Result<Option<RowId>, StoreError> {
        for entry in &self.entries {
            for position in (0..entry.body.rows()).filter(|&position| entry.is_live(position)) {
                if key_is(&self.schema, entry, position, encoded)? {
                    return Ok(Some(RowId(entry.first_row + u64::from(position))));
                }
            }
        }
        Ok(None)
    }

    /// The row's values, each as an array of one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRow`] for a row that does not live in this version; otherwise when it cannot be read.
    pub fn row(&self, row: RowId, columns: &[usize]) -> Result<Vec<ArrayRef>, StoreError> {
        let (entry, position) = self.place(row)?;
        let cell = |&column: &usize| entry.body.cell(column, position).map(|(array, place)| array.slice(place, 1));
        columns.iter().map(cell).collect()
    }

    /// The rows in the order given, with the projected columns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRow`] for a row that does not live in this version; otherwise when stored rows cannot be
    /// read.
    pub fn take(&self, rows: &[RowId], projection: &[usize]) -> Result<RecordBatch, StoreError> {
        let schema = project(&self.schema, projection)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = match rows {
            [] => schema.fields().iter().map(|field| arrow::array::new_empty_array(field.data_type())).collect(),
            [row] => self.row(*row, projection)?,
            many => self.columns(many, projection)?,
        };
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    fn columns(&self, rows: &[RowId], columns: &[usize]) -> Result<Vec<ArrayRef>, StoreError> {
        let places = rows.iter().map(|row| self.place(*row)).collect::<Result<Vec<_>, _>>()?;
        columns.iter().map(|&column| gather(&places, column)).collect()
    }

    fn place(&self, row: RowId) -> Result<(&Entry, u32), StoreError> {
        let found = locate(&self.entries, row.0).filter(|(entry, position)| entry.is_live(*position));
        found.ok_or(StoreError::NoSuchRow(row.0))
    }
}

/// The values of one column at many places.
fn gather(places: &[(&Entry, u32)], column: usize) -> Result<ArrayRef, StoreError> {
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut sources: std::collections::HashMap<(u64, usize), usize> = std::collections::HashMap::new();
    let mut indices = Vec::with_capacity(places.len());
    for (entry, position) in places {
        let (chunk, place) = (*position as usize / CHUNK_ROWS, *position as usize % CHUNK_ROWS);
        let source = match sources.entry((entry.first_row, chunk)) {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(new) => {
                arrays.push(entry.body.chunk(column, chunk)?);
                *new.insert(arrays.len() - 1)
            }
        };
        indices.push((source, place));
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(interleave(&arrays, &indices)?)
}

/// Whether the key columns of a stored row have these bytes.
pub(crate) fn key_is(schema: &TableSchema, entry: &Entry, position: u32, encoded: &[u8]) -> Result<bool, StoreError> {
    let mut found = Vec::with_capacity(encoded.len());
    for (index, _) in schema.key_columns() {
        let (array, place) = entry.body.cell(index, position)?;
        KeyColumn::of(&array)?.encode(place, &mut found);
    }
    Ok(found == encoded)
}

pub(crate) fn project(schema: &TableSchema, projection: &[usize]) -> Result<SchemaRef, StoreError> {
    Ok(Arc::new(schema.arrow().project(projection)?))
}
