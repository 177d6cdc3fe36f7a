use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatchOptions},
    record_batch::RecordBatch,
};
use roaring::{RoaringBitmap, RoaringTreemap};
use weir_model::{Code, Refusal};

use super::Space;
use crate::{
    CHUNK_ROWS, RowId, SEGMENT_ROWS_MAX, StoreError, TableId, TableSchema, TableVersion,
    commit::{TableChange, by_segment, duplicate_key},
    index::{PrimaryIndex, Run},
    key::{KeyColumn, hash_key},
    segment::{
        BLOCK_ROWS, Body, Entry,
        hot::{Hot, bytes_of, merge_tail, tidy},
        is_live, locate_index,
        write::SegmentWriter,
    },
    table::key_is,
};

/// What a transaction changes in one table.
#[derive(Debug)]
pub(super) struct PendingTable {
    /// As the transaction found it; empty for a table it made.
    table: Arc<TableVersion>,
    space: Arc<Space>,
    is_new: bool,
    truncated: bool,
    /// Committed rows.
    deleted: RoaringTreemap,
    /// New rows, counted from zero.
    pieces: Vec<Entry>,
    keys: Arc<Run>,
    /// Rows and bytes of the pieces still in memory.
    waiting_rows: usize,
    waiting_bytes: usize,
    /// Rows in memory at which they are written to a file. Grows with each file, so that a large load makes few.
    spill_rows: usize,
}

const SPILL_ROWS_MIN: usize = 131_072;
const SPILL_BYTES: usize = 64 << 20;

impl PendingTable {
    pub fn new(table: Arc<TableVersion>, space: Arc<Space>) -> PendingTable {
        PendingTable {
            table,
            space,
            is_new: false,
            truncated: false,
            deleted: RoaringTreemap::new(),
            pieces: Vec::new(),
            keys: Arc::default(),
            waiting_rows: 0,
            waiting_bytes: 0,
            spill_rows: SPILL_ROWS_MIN,
        }
    }

    pub fn new_table(table: Arc<TableVersion>, space: Arc<Space>) -> PendingTable {
        PendingTable { is_new: true, ..PendingTable::new(table, space) }
    }

    pub fn id(&self) -> TableId {
        self.table.id
    }

    pub fn is_empty(&self) -> bool {
        !self.truncated && self.deleted.is_empty() && self.pieces.is_empty()
    }

    fn schema(&self) -> &Arc<TableSchema> {
        &self.table.schema
    }

    fn rows(&self) -> u64 {
        self.pieces.last().map_or(0, Entry::end)
    }

    /// The table as the transaction sees it.
    pub fn working(&self) -> TableVersion {
        let mut table = self.table.fork();
        if self.truncated {
            table.entries.clear();
            table.index = PrimaryIndex::empty(table.next_row);
        }
        for (index, positions) in by_segment(&table.entries, &self.deleted) {
            if let Some(entry) = table.entries.get_mut(index) {
                entry.delete(&positions);
            }
        }
        table.entries.extend(self.pieces.iter().cloned().map(|mut piece| {
            piece.first_row += RowId::PROVISIONAL;
            piece
        }));
        if !self.schema().primary_key().is_empty() {
            table.own_keys = Some(Arc::clone(&self.keys));
        }
        table
    }

    pub fn insert(&mut self, batch: RecordBatch) -> Result<(), Refusal> {
        let batch = self.conform(&batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let pieces_before = self.pieces.len();
        let mut first_row = self.rows();
        let mut start = 0;
        while start < batch.num_rows() {
            let length = (batch.num_rows() - start).min(CHUNK_ROWS);
            let body = Body::hot(self.schema(), Hot::new(batch.slice(start, length)));
            self.pieces.push(Entry { first_row, body, deleted: None });
            first_row += length as u64;
            start += length;
        }
        if !self.schema().primary_key().is_empty()
            && let Err(refusal) = self.add_keys(&batch, first_row - batch.num_rows() as u64)
        {
            self.pieces.truncate(pieces_before);
            return Err(refusal);
        }
        self.waiting_rows += batch.num_rows();
        self.waiting_bytes += bytes_of(&batch);
        // Larger pieces are copied once, when they are written.
        merge_tail(&mut self.pieces, pieces_before, BLOCK_ROWS)?;
        if self.waiting_rows >= self.spill_rows || self.waiting_bytes >= SPILL_BYTES {
            self.spill()?;
        }
        Ok(())
    }

    /// Checks types and nulls, and takes on the table's own schema.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, Refusal> {
        let schema = self.schema();
        if batch.num_columns() != schema.columns().len() {
            return Err(Refusal::new(Code::DatatypeMismatch, "the row does not have the table's number of columns")
                .detail(format!("expected={}", schema.columns().len()))
                .detail(format!("found={}", batch.num_columns())));
        }
        for ((array, field), column) in batch.columns().iter().zip(schema.arrow().fields()).zip(schema.columns()) {
            if array.data_type() != field.data_type() {
                let message = format!(
                    "column \"{}\" is of type {} but the expression is of type {}",
                    column.name,
                    column.column_type,
                    array.data_type()
                );
                return Err(Refusal::new(Code::DatatypeMismatch, message));
            }
            if !column.nullable && array.null_count() > 0 {
                let relation = self.table.name.name();
                let message = format!(
                    "null value in column \"{}\" of relation \"{relation}\" violates not-null constraint",
                    column.name
                );
                return Err(Refusal::new(Code::NotNullViolation, message));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema.arrow()), batch.columns().to_vec(), &options)
            .map_err(StoreError::Arrow)?;
        Ok(tidy(&batch, schema.arrow())?)
    }

    /// Notes the keys of rows just added at the end, unless one of them is taken; then notes none.
    fn add_keys(&mut self, batch: &RecordBatch, first_row: u64) -> Result<(), Refusal> {
        let schema = Arc::clone(self.schema());
        let columns =
            schema.key_columns().map(|(index, _)| KeyColumn::of(batch.column(index))).collect::<Result<Vec<_>, _>>()?;
        let committed = !self.is_new && !self.truncated && !self.table.entries.is_empty();
        let mut keys = Arc::clone(&self.keys);
        // The only other holder is a working version, which `Transaction` gives up before it changes anything.
        self.keys = Arc::default();
        let noted = Arc::make_mut(&mut keys);
        let mut added: Vec<(u64, u64)> = Vec::with_capacity(batch.num_rows());
        let mut encoded = Vec::new();
        let mut outcome = Ok(());
        for place in 0..batch.num_rows() {
            encoded.clear();
            columns.iter().for_each(|column| column.encode(place, &mut encoded));
            let hash = hash_key(&encoded);
            match self.is_taken(noted, committed, &encoded, hash) {
                Ok(false) => {
                    noted.insert(hash, first_row + place as u64);
                    added.push((hash, first_row + place as u64));
                }
                Ok(true) => outcome = Err(duplicate_key(&self.table.name)),
                Err(error) => outcome = Err(error.into()),
            }
            if outcome.is_err() {
                added.into_iter().for_each(|(hash, row)| noted.remove(hash, row));
                break;
            }
        }
        self.keys = keys;
        outcome
    }

    fn is_taken(&self, own: &Run, committed: bool, encoded: &[u8], hash: u64) -> Result<bool, StoreError> {
        for row in own.rows(hash) {
            if let Some((entry, position)) = crate::segment::locate(&self.pieces, row)
                && entry.is_live(position)
                && key_is(self.schema(), entry, position, encoded)?
            {
                return Ok(true);
            }
        }
        if !committed {
            return Ok(false);
        }
        Ok(self.table.find(encoded, hash)?.is_some_and(|row| !self.deleted.contains(row.0)))
    }

    pub fn delete(&mut self, rows: &[RowId]) -> Result<u64, Refusal> {
        let mut count = 0;
        for row in rows {
            count += u64::from(match row.0.checked_sub(RowId::PROVISIONAL) {
                Some(own) => self.delete_own(own)?,
                None => self.delete_committed(row.0)?,
            });
        }
        Ok(count)
    }

    fn delete_own(&mut self, row: u64) -> Result<bool, StoreError> {
        let entry = locate_index(&self.pieces, row).and_then(|index| self.pieces.get_mut(index));
        let entry = entry.ok_or(StoreError::NoSuchRow(row))?;
        let position = u32::try_from(row - entry.first_row).map_err(|_| StoreError::NoSuchRow(row))?;
        Ok(entry.delete(&RoaringBitmap::from_iter([position])) > 0)
    }

    fn delete_committed(&mut self, row: u64) -> Result<bool, StoreError> {
        if self.truncated || !is_live(&self.table.entries, row) {
            return if row < self.table.next_row && self.truncated {
                Ok(false)
            } else {
                Err(StoreError::NoSuchRow(row))
            };
        }
        Ok(self.deleted.insert(row))
    }

    pub fn truncate(&mut self) {
        self.truncated = !self.is_new;
        self.deleted = RoaringTreemap::new();
        self.pieces = Vec::new();
        self.keys = Arc::default();
        self.waiting_rows = 0;
        self.waiting_bytes = 0;
    }

    /// Writes the rows in memory to segment files.
    fn spill(&mut self) -> Result<(), StoreError> {
        let mut start =
            self.pieces.iter().rposition(|piece| piece.body.as_hot().is_none()).map_or(0, |index| index + 1);
        while let Some(waiting) = self.pieces.get(start..).filter(|waiting| !waiting.is_empty()) {
            let mut rows = 0;
            let fits = waiting.iter().take_while(|piece| {
                rows += piece.body.rows() as usize;
                rows <= SEGMENT_ROWS_MAX
            });
            let count = fits.count().max(1);
            let written = self.write(waiting.get(..count).unwrap_or_default())?;
            self.pieces.splice(start..start + count, [written]);
            start += 1;
        }
        self.waiting_rows = 0;
        self.waiting_bytes = 0;
        self.spill_rows = (self.spill_rows * 2).min(SEGMENT_ROWS_MAX);
        Ok(())
    }

    fn write(&self, pieces: &[Entry]) -> Result<Entry, StoreError> {
        let name = self.space.fresh_file(self.table.id);
        let mut writer = SegmentWriter::create(&self.space.segments, &name, self.schema(), &self.space.cache)?;
        let mut deleted = RoaringBitmap::new();
        let first_row = pieces.first().map_or(0, |piece| piece.first_row);
        for piece in pieces {
            if let Some(hot) = piece.body.as_hot() {
                writer.push(hot.batch().clone())?;
            }
            let shift = u32::try_from(piece.first_row - first_row).unwrap_or(u32::MAX);
            deleted.extend(piece.deleted.iter().flat_map(|mask| mask.iter()).map(|position| position + shift));
        }
        let deleted = (!deleted.is_empty()).then(|| Arc::new(deleted));
        Ok(Entry { first_row, body: writer.finish()?, deleted })
    }

    pub fn into_change(self) -> TableChange {
        let keys = (!self.table.schema.primary_key().is_empty() && !self.pieces.is_empty()).then_some(self.keys);
        TableChange { table: self.table.id, truncate: self.truncated, deleted: self.deleted, pieces: self.pieces, keys }
    }
}
