use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, IntervalMonthDayNanoArray},
    buffer::{Buffer, ScalarBuffer},
    compute::concat,
    datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::{
        metadata::ParquetMetaDataReader,
        reader::{ChunkReader, Length},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    CHUNK_ROWS,
    sketch::{REGISTERS, Sketch},
    statistics::{ColumnSummary, Summary},
    zones::{ColumnZones, has_zones},
};
use crate::{
    StoreError, TableSchema,
    cache::{ChunkKey, SegmentCache},
    columns::decode_rows,
    files,
};

/// Footer keys of what we add to Parquet's own metadata; other readers pass over them.
pub(super) const ZONES_KEY: &str = "weir.zones";
pub(super) const SKETCHES_KEY: &str = "weir.sketches";
pub(super) const CHECKSUMS_KEY: &str = "weir.crc32c";

/// A segment file as manifests and the log name it. Together with the checksums in its footer it lets every byte be
/// checked before it is believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Its name in the segments folder.
    pub file: String,
    pub rows: u32,
    pub bytes: u64,
    /// Where the column data ends and the footer begins.
    pub tail_offset: u64,
    /// CRC-32C of the footer.
    pub tail_crc32c: u32,
    /// As in Delta Lake's protocol: `numRecords`, `minValues`, `maxValues`, `nullCount`.
    pub stats: Arc<serde_json::Value>,
}

/// A file on disk, removed with its last user once nothing durable names it.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    path: PathBuf,
    name: String,
    obsolete: AtomicBool,
}

impl SegmentFile {
    pub fn new(folder: &Path, name: &str, obsolete: bool) -> Arc<SegmentFile> {
        Arc::new(SegmentFile { path: folder.join(name), name: name.to_owned(), obsolete: AtomicBool::new(obsolete) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether dropping the last reference removes the file.
    pub fn set_obsolete(&self, obsolete: bool) {
        self.obsolete.store(obsolete, Ordering::Release);
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            files::remove(&self.path);
        }
    }
}

/// Rows in a Parquet file, decoded chunk by chunk when asked for.
#[derive(Debug)]
pub(crate) struct Cold {
    number: u64,
    file: Arc<SegmentFile>,
    entry: FileEntry,
    cache: Arc<SegmentCache>,
    footer: OnceLock<Arc<Footer>>,
}

#[derive(Debug)]
struct Footer {
    parquet: ArrowReaderMetadata,
    /// Of each column of each row group, row group by row group.
    checksums: Vec<u32>,
    zones: Vec<Option<Arc<ColumnZones>>>,
    null_counts: Vec<u64>,
    sketches: Vec<Sketch>,
}

/// Numbers segments within the process, for cache keys.
static SEGMENT_NUMBER: AtomicU64 = AtomicU64::new(1);

pub(super) fn next_number() -> u64 {
    SEGMENT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Cold {
    pub fn new(number: u64, file: Arc<SegmentFile>, entry: FileEntry, cache: Arc<SegmentCache>) -> Cold {
        Cold { number, file, entry, cache, footer: OnceLock::new() }
    }

    /// Checks that the file is there and as long as it should be; its contents are checked when they are read.
    pub fn open(folder: &Path, entry: FileEntry, cache: Arc<SegmentCache>) -> Result<Cold, StoreError> {
        let file = SegmentFile::new(folder, &entry.file, false);
        let found = std::fs::metadata(file.path()).map_err(StoreError::io("find", file.path()))?.len();
        if found != entry.bytes {
            let what = format!("the file should have {} bytes and has {found}", entry.bytes);
            return Err(StoreError::corrupted(file.path(), found.min(entry.bytes), what));
        }
        Ok(Cold::new(next_number(), file, entry, cache))
    }

    pub fn rows(&self) -> u32 {
        self.entry.rows
    }

    pub fn file(&self) -> &Arc<SegmentFile> {
        &self.file
    }

    pub fn entry(&self) -> &FileEntry {
        &self.entry
    }

    fn key(&self, column: usize, chunk: usize) -> ChunkKey {
        // Columns are at most 1,600 and chunks at most 16.
        ChunkKey { segment: self.number, column: column as u32, chunk: chunk as u32 }
    }

    pub fn chunk(&self, schema: &TableSchema, column: usize, chunk: usize) -> Result<ArrayRef, StoreError> {
        self.cache.get_or_load(self.key(column, chunk), || self.decode(schema, column, chunk))
    }

    pub fn zones(&self, schema: &TableSchema, column: usize) -> Result<Option<Arc<ColumnZones>>, StoreError> {
        Ok(self.footer(schema)?.zones.get(column).cloned().flatten())
    }

    pub fn summary(&self, schema: &TableSchema) -> Result<Summary, StoreError> {
        let footer = self.footer(schema)?;
        let rows = u64::from(self.entry.rows);
        let columns = footer
            .zones
            .iter()
            .zip(&footer.null_counts)
            .zip(&footer.sketches)
            .map(|((zones, &nulls), sketch)| ColumnSummary::of_zones(zones.as_deref(), nulls, rows, sketch.clone()))
            .collect();
        Ok(Summary { rows, columns })
    }

    fn damaged(&self, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::corrupted(self.file.path(), offset, what)
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let path = self.file.path();
        let mut bytes = vec![0; length];
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged(offset, "the file is cut short"),
            _ => StoreError::Io { action: "read", path: path.to_owned(), source: error },
        })?;
        Ok(bytes.into())
    }

    fn footer(&self, schema: &TableSchema) -> Result<Arc<Footer>, StoreError> {
        if let Some(footer) = self.footer.get() {
            return Ok(Arc::clone(footer));
        }
        let footer = Arc::new(self.read_footer(schema)?);
        Ok(Arc::clone(self.footer.get_or_init(|| footer)))
    }

    fn read_footer(&self, schema: &TableSchema) -> Result<Footer, StoreError> {
        let start = self.entry.tail_offset;
        let length = usize::try_from(self.entry.bytes.saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = self.read(start, length)?;
        if crc32c::crc32c(&bytes) != self.entry.tail_crc32c {
            return Err(self.damaged(start, "the footer's checksum does not fit"));
        }
        let window = Window { start, bytes, file_bytes: self.entry.bytes };
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&window)?;
        let ours = |key: &str| {
            let entries = metadata.file_metadata().key_value_metadata()?;
            let value = entries.iter().find(|entry| entry.key == key)?.value.as_ref()?;
            BASE64_STANDARD.decode(value).ok()
        };
        let missing = |key: &str| self.damaged(start, format!("the footer lacks `{key}`"));
        let zones = ours(ZONES_KEY).ok_or_else(|| missing(ZONES_KEY))?;
        let sketches = ours(SKETCHES_KEY).ok_or_else(|| missing(SKETCHES_KEY))?;
        let checksums = ours(CHECKSUMS_KEY).ok_or_else(|| missing(CHECKSUMS_KEY))?;
        let zones = decode_rows(&zones_schema(schema), &zones).map_err(|what| self.damaged(start, what))?;
        let (zones, null_counts) = unpack_zones(schema, &zones);
        Ok(Footer {
            parquet: ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())?,
            checksums: checksums.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            zones,
            null_counts,
            sketches: sketches.chunks_exact(REGISTERS).filter_map(Sketch::from_bytes).collect(),
        })
    }

    fn decode(&self, schema: &TableSchema, column: usize, chunk: usize) -> Result<ArrayRef, StoreError> {
        let footer = self.footer(schema)?;
        let metadata = footer.parquet.metadata();
        let misuse = || StoreError::Misuse(format!("there is no chunk {chunk} of column {column}"));
        let groups = metadata.row_groups();
        let part = groups.get(chunk).and_then(|group| group.columns().get(column)).ok_or_else(misuse)?;
        let wanted = schema.arrow().fields().get(column).ok_or_else(misuse)?;
        let (start, length) = part.byte_range();
        let bytes = self.read(start, usize::try_from(length).unwrap_or(usize::MAX))?;
        let index = chunk * schema.columns().len() + column;
        if footer.checksums.get(index) != Some(&crc32c::crc32c(&bytes)) {
            let what = format!("the checksum of column \"{}\" does not fit", wanted.name());
            return Err(self.damaged(start, what));
        }
        let window = Window { start, bytes, file_bytes: self.entry.bytes };
        let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), [column]);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(window, footer.parquet.clone())
            .with_row_groups(vec![chunk])
            .with_projection(mask)
            .with_batch_size(CHUNK_ROWS)
            .build()?
            .collect::<Result<Vec<RecordBatch>, ArrowError>>()?;
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
        let array = from_file_form(&concat(&parts)?, wanted.data_type());
        let rows = (self.entry.rows as usize).saturating_sub(chunk * CHUNK_ROWS).min(CHUNK_ROWS);
        if array.len() != rows || array.data_type() != wanted.data_type() {
            return Err(self.damaged(start, format!("column \"{}\" is not what it should be", wanted.name())));
        }
        Ok(array)
    }
}

/// Part of a file, addressed as the whole.
#[derive(Debug)]
struct Window {
    start: u64,
    bytes: Bytes,
    file_bytes: u64,
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let length = (self.start + self.bytes.len() as u64).saturating_sub(start);
        Ok(self.get_bytes(start, usize::try_from(length).unwrap_or(usize::MAX))?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| Some((from, from.checked_add(length)?)))
            .filter(|(_, to)| *to <= self.bytes.len())
            .map(|(from, to)| self.bytes.slice(from..to))
            .ok_or_else(|| ParquetError::EOF("a part of the file outside the one read is referred to".into()))
    }
}

/// The schema of a file: as the table's, but for intervals, which Parquet cannot hold with nanoseconds. They are kept
/// as 16 bytes: months and days (`i32`), nanoseconds (`i64`), little endian.
pub(super) fn file_schema(schema: &TableSchema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .arrow()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Interval(_) => field.as_ref().clone().with_data_type(DataType::FixedSizeBinary(INTERVAL_BYTES)),
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

const INTERVAL_BYTES: i32 = 16;

pub(super) fn to_file_form(array: &ArrayRef) -> ArrayRef {
    if !matches!(array.data_type(), DataType::Interval(IntervalUnit::MonthDayNano)) {
        return Arc::clone(array);
    }
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let values = Buffer::from(intervals.values().inner().as_slice());
    Arc::new(FixedSizeBinaryArray::new(INTERVAL_BYTES, values, intervals.nulls().cloned()))
}

fn from_file_form(array: &ArrayRef, wanted: &DataType) -> ArrayRef {
    match (array.as_any().downcast_ref::<FixedSizeBinaryArray>(), wanted) {
        (Some(bytes), DataType::Interval(_)) if bytes.value_length() == INTERVAL_BYTES => {
            let values = ScalarBuffer::new(Buffer::from(bytes.value_data()), 0, bytes.len());
            Arc::new(IntervalMonthDayNanoArray::new(values, bytes.nulls().cloned()))
        }
        _ => Arc::clone(array),
    }
}

/// The layout of a file's zones, one row a block: for each column its null counts, and its bounds if it has zones.
pub(super) fn zones_schema(schema: &TableSchema) -> SchemaRef {
    let mut fields = Vec::new();
    for column in schema.columns() {
        fields.push(Field::new("nulls", DataType::Int64, false));
        if has_zones(column.column_type) {
            let data_type = crate::arrow_type(column.column_type);
            fields.push(Field::new("min", data_type.clone(), true));
            fields.push(Field::new("max", data_type, true));
        }
    }
    Arc::new(Schema::new(fields))
}

type UnpackedZones = (Vec<Option<Arc<ColumnZones>>>, Vec<u64>);

/// `batch` has the layout of [`zones_schema`].
fn unpack_zones(schema: &TableSchema, batch: &RecordBatch) -> UnpackedZones {
    let mut arrays = batch.columns().iter().cloned();
    let mut zones = Vec::new();
    let mut null_counts = Vec::new();
    for column in schema.columns() {
        let null_count: Int64Array = arrays
            .next()
            .and_then(|array| array.as_primitive_opt().cloned())
            .unwrap_or_else(|| Int64Array::from(vec![0; batch.num_rows()]));
        null_counts.push(null_count.values().iter().map(|&nulls| u64::try_from(nulls).unwrap_or(0)).sum());
        let bounds = has_zones(column.column_type).then(|| arrays.next().zip(arrays.next())).flatten();
        zones.push(bounds.map(|(min, max)| Arc::new(ColumnZones { min, max, null_count })));
    }
    (zones, null_counts)
}
