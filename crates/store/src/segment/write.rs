use std::{fs::File, io::Write, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array},
    compute::concat,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use serde_json::{Map, Value, json};
use weir_model::ColumnType;

use super::{
    Body, CHUNK_ROWS,
    cold::{
        CHECKSUMS_KEY, Cold, FileEntry, SKETCHES_KEY, SegmentFile, ZONES_KEY, file_schema, next_number, to_file_form,
        zones_schema,
    },
    hot::concat_rows,
    sketch::Sketch,
    statistics::ColumnSummary,
    zones::{ColumnZones, null_counts},
};
use crate::{
    StoreError, TableSchema,
    cache::{ChunkKey, SegmentCache},
    columns::encode_rows,
};

/// Writes a segment file row group by row group, so that memory holds one row group whatever the segment's size.
/// The file is on stable storage when [`SegmentWriter::finish`] returns; its folder is the caller's to sync.
pub(crate) struct SegmentWriter {
    schema: Arc<TableSchema>,
    file: Arc<SegmentFile>,
    output: File,
    parquet: ArrowWriter<Vec<u8>>,
    written: u64,
    rows: usize,
    /// Rows not yet a whole row group.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    checksums: Vec<u8>,
    columns: Vec<ColumnNotes>,
    /// Chunks go there as they are written, so that the next reader decodes nothing.
    cache: Arc<SegmentCache>,
    number: u64,
    chunks: u32,
}

/// What is learnt of a column while it is written.
struct ColumnNotes {
    column_type: ColumnType,
    zones: Vec<ColumnZones>,
    null_counts: Vec<Int64Array>,
    sketch: Sketch,
}

impl SegmentWriter {
    /// The file is removed with its last reference until [`SegmentFile::set_obsolete`] says that it stays.
    pub fn create(
        folder: &Path,
        name: &str,
        schema: &Arc<TableSchema>,
        cache: &Arc<SegmentCache>,
    ) -> Result<SegmentWriter, StoreError> {
        let file = SegmentFile::new(folder, name, true);
        let output = File::create(file.path()).map_err(StoreError::io("create", file.path()))?;
        let properties = WriterProperties::builder()
            .set_created_by("weir".into())
            .set_compression(Compression::LZ4_RAW)
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(CHUNK_ROWS))
            .build();
        let parquet = ArrowWriter::try_new(Vec::new(), file_schema(schema), Some(properties))?;
        let columns = schema
            .columns()
            .iter()
            .map(|column| ColumnNotes {
                column_type: column.column_type,
                zones: Vec::new(),
                null_counts: Vec::new(),
                sketch: Sketch::new(),
            })
            .collect();
        Ok(SegmentWriter {
            schema: Arc::clone(schema),
            file,
            output,
            parquet,
            written: 0,
            rows: 0,
            waiting: Vec::new(),
            waiting_rows: 0,
            checksums: Vec::new(),
            columns,
            cache: Arc::clone(cache),
            number: next_number(),
            chunks: 0,
        })
    }

    pub fn push(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        let mut rest = batch;
        while self.waiting_rows + rest.num_rows() >= CHUNK_ROWS {
            let room = CHUNK_ROWS - self.waiting_rows;
            self.waiting.push(rest.slice(0, room));
            rest = rest.slice(room, rest.num_rows() - room);
            self.write_group()?;
        }
        if rest.num_rows() > 0 {
            self.waiting_rows += rest.num_rows();
            self.waiting.push(rest);
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), StoreError> {
        let batch = concat_rows(self.schema.arrow(), &std::mem::take(&mut self.waiting))?;
        self.waiting_rows = 0;
        self.rows += batch.num_rows();
        for (array, notes) in batch.columns().iter().zip(&mut self.columns) {
            notes.zones.extend(ColumnZones::of(array, notes.column_type));
            notes.null_counts.push(null_counts(array));
            notes.sketch.add_all(array);
        }
        let form: Vec<ArrayRef> = batch.columns().iter().map(to_file_form).collect();
        self.parquet.write(&RecordBatch::try_new(file_schema(&self.schema), form)?)?;
        self.parquet.flush()?;
        for (column, array) in (0..).zip(batch.columns()) {
            let key = ChunkKey { segment: self.number, column, chunk: self.chunks };
            self.cache.admit(key, Arc::clone(array));
        }
        self.chunks += 1;
        self.drain_group()
    }

    /// Moves what Parquet has written to the file, noting the checksum of each column of the last row group.
    fn drain_group(&mut self) -> Result<(), StoreError> {
        let start = self.written;
        let bytes = self.drain()?;
        let groups = self.parquet.flushed_row_groups();
        for column in groups.last().map(|group| group.columns()).unwrap_or_default() {
            let (offset, length) = column.byte_range();
            let part = usize::try_from(offset - start)
                .ok()
                .and_then(|from| bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?))
                .ok_or_else(|| StoreError::Misuse("a column lies outside its row group".into()))?;
            self.checksums.extend_from_slice(&crc32c::crc32c(part).to_le_bytes());
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<u8>, StoreError> {
        self.parquet.sync().map_err(StoreError::io("write", self.file.path()))?;
        let bytes = std::mem::take(self.parquet.inner_mut());
        self.output.write_all(&bytes).map_err(StoreError::io("write", self.file.path()))?;
        self.written += bytes.len() as u64;
        Ok(bytes)
    }

    /// Completes the file and syncs it.
    pub fn finish(mut self) -> Result<Arc<Body>, StoreError> {
        if self.waiting_rows > 0 {
            self.write_group()?;
        }
        let blocks = self.blocks()?;
        let mut sketches = Vec::new();
        for notes in &self.columns {
            sketches.extend_from_slice(notes.sketch.as_bytes());
        }
        let ours =
            [(ZONES_KEY, blocks), (SKETCHES_KEY, sketches), (CHECKSUMS_KEY, std::mem::take(&mut self.checksums))];
        for (key, bytes) in ours {
            self.parquet.append_key_value_metadata(KeyValue::new(key.to_owned(), BASE64_STANDARD.encode(bytes)));
        }
        let stats = Arc::new(self.stats()?);
        let tail_offset = self.written;
        self.parquet.finish()?;
        let tail = self.drain()?;
        self.output.sync_data().map_err(StoreError::io("sync", self.file.path()))?;
        let rows = u32::try_from(self.rows).map_err(|_| StoreError::Misuse("too many rows for a segment".into()))?;
        let entry = FileEntry {
            file: self.file.name().to_owned(),
            rows,
            bytes: self.written,
            tail_offset,
            tail_crc32c: crc32c::crc32c(&tail),
            stats,
        };
        let cold = Cold::new(self.number, self.file, entry, self.cache);
        Ok(Body::cold(&self.schema, cold))
    }

    fn blocks(&self) -> Result<Vec<u8>, StoreError> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for notes in &self.columns {
            let nulls: Vec<&dyn Array> = notes.null_counts.iter().map(|part| part as &dyn Array).collect();
            arrays.push(concat(&nulls)?);
            if let Some((min, max)) = notes.bounds()? {
                arrays.extend([min, max]);
            }
        }
        let batch = RecordBatch::try_new(zones_schema(&self.schema), arrays)?;
        let mut bytes = Vec::new();
        encode_rows(&batch, &mut bytes).map_err(StoreError::Misuse)?;
        Ok(bytes)
    }

    /// In Delta Lake's layout, so that exporting a table there is a transcription.
    fn stats(&self) -> Result<Value, StoreError> {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (notes, column) in self.columns.iter().zip(self.schema.columns()) {
            let null_count: i64 = notes.null_counts.iter().flat_map(|part| part.values().iter()).sum();
            let null_count = u64::try_from(null_count).unwrap_or(0);
            nulls.insert(column.name.clone(), null_count.into());
            let Some((min, max)) = notes.bounds()? else { continue };
            let all = notes.null_counts.iter().map(|part| part as &dyn Array).collect::<Vec<_>>();
            let null_counts = concat(&all)?.to_data().into();
            let zones = ColumnZones { min, max, null_count: null_counts };
            let summary = ColumnSummary::of_zones(Some(&zones), null_count, self.rows as u64, Sketch::new());
            for (bounds, bound) in [(&mut least, summary.min), (&mut greatest, summary.max)] {
                if let Some(value) = bound.and_then(|bound| json_value(&bound)) {
                    bounds.insert(column.name.clone(), value);
                }
            }
        }
        Ok(json!({"numRecords": self.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}))
    }
}

impl ColumnNotes {
    fn bounds(&self) -> Result<Option<(ArrayRef, ArrayRef)>, StoreError> {
        if self.zones.is_empty() {
            return Ok(None);
        }
        let min: Vec<&dyn Array> = self.zones.iter().map(|zones| zones.min.as_ref()).collect();
        let max: Vec<&dyn Array> = self.zones.iter().map(|zones| zones.max.as_ref()).collect();
        Ok(Some((concat(&min)?, concat(&max)?)))
    }
}

/// Numbers as numbers, the rest as text.
fn json_value(bound: &ArrayRef) -> Option<Value> {
    let options = FormatOptions::default().with_display_error(false);
    let text = ArrayFormatter::try_new(bound.as_ref(), &options).ok()?.value(0).try_to_string().ok()?;
    if bound.data_type().is_numeric() || matches!(bound.data_type(), arrow::datatypes::DataType::Boolean) {
        return serde_json::from_str(&text).ok();
    }
    Some(Value::String(text))
}
