//! Manifests: the state of a database as of one LSN, without its rows, as one file.
//!
//! Two lines of JSON: the manifest, and its CRC-32C. A manifest is written under another name, synced and renamed, so
//! that it is there as a whole or not at all. Segments carry statistics in Delta Lake's layout.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use weir_model::ObjectName;

use crate::{
    StoreError, TableId, TableSchema, TableVersion, Version, View,
    cache::SegmentCache,
    files,
    index::PrimaryIndex,
    segment::{
        Body, Entry,
        cold::{Cold, FileEntry},
    },
    version::{Catalog, Relation},
};

const FORMAT: u32 = 1;
const EXTENSION: &str = "json";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// The last commit that is in it.
    pub lsn: u64,
    /// Of that commit, in microseconds since 1970 UTC.
    time: i64,
    version: u64,
    catalog_version: u64,
    pub next_oid: u32,
    schemas: Vec<SchemaEntry>,
    tables: Vec<TableEntry>,
    views: Vec<View>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SchemaEntry {
    name: String,
    oid: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableEntry {
    id: TableId,
    name: ObjectName,
    schema: TableSchema,
    next_row: u64,
    lsn: u64,
    segments: Vec<SegmentEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SegmentEntry {
    first_row: u64,
    #[serde(flatten)]
    file: FileEntry,
    /// Positions of deleted rows: a roaring bitmap, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Checksum {
    crc32c: u32,
}

impl Manifest {
    /// # Errors
    /// When a segment of the version is still in memory.
    pub fn of(version: &Version, next_oid: u32) -> Result<Manifest, StoreError> {
        Ok(Manifest {
            format: FORMAT,
            lsn: version.lsn,
            time: version.time,
            version: version.id,
            catalog_version: version.catalog_version,
            next_oid,
            schemas: version.schemas().map(|(name, oid)| SchemaEntry { name: name.to_owned(), oid }).collect(),
            tables: version.tables.iter().map(|table| TableEntry::of(table)).collect::<Result<_, _>>()?,
            views: version.views().map(|view| view.as_ref().clone()).collect(),
        })
    }

    pub fn file_names(&self) -> HashSet<String> {
        self.tables.iter().flat_map(|table| &table.segments).map(|segment| segment.file.file.clone()).collect()
    }

    pub fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(format!("{:020}-{:020}.{EXTENSION}", self.lsn, self.version));
        let text = |error: serde_json::Error| StoreError::Misuse(error.to_string());
        let mut bytes = serde_json::to_vec(self).map_err(text)?;
        let checksum = Checksum { crc32c: crc32c::crc32c(&bytes) };
        bytes.push(b'\n');
        bytes.extend(serde_json::to_vec(&checksum).map_err(text)?);
        bytes.push(b'\n');
        files::write_atomically(&path, &bytes)
    }

    pub fn read(path: &Path) -> Result<Manifest, StoreError> {
        let bytes = std::fs::read(path).map_err(StoreError::io("read", path))?;
        let damaged = |offset: usize, what: String| StoreError::corrupted(path, offset as u64, what);
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let (Some(body), Some(checksum)) = (lines.next(), lines.next()) else {
            return Err(damaged(0, "the manifest is cut short".to_owned()));
        };
        let checksum: Checksum =
            serde_json::from_slice(checksum).map_err(|error| damaged(body.len() + 1, error.to_string()))?;
        if crc32c::crc32c(body) != checksum.crc32c {
            return Err(damaged(0, "the manifest's checksum does not fit".to_owned()));
        }
        let manifest: Manifest = serde_json::from_slice(body).map_err(|error| damaged(0, error.to_string()))?;
        if manifest.format != FORMAT {
            let what = format!("manifest format {} is not known to this version of the program", manifest.format);
            return Err(damaged(0, what));
        }
        Ok(manifest)
    }

    /// The version the manifest describes. Segment files must be there with the right length; their contents are
    /// checked when they are read.
    pub fn restore(self, segments: &Path, cache: &Arc<SegmentCache>) -> Result<Version, StoreError> {
        let mut catalog = Catalog::default();
        catalog.schemas.extend(self.schemas.into_iter().map(|schema| (schema.name, schema.oid)));
        let mut tables = Vec::with_capacity(self.tables.len());
        for table in self.tables {
            let table = table.restore(segments, cache)?;
            catalog.relations.insert(table.name.clone(), Relation::Table(table.id));
            catalog.tables.insert(table.id, table.name.clone());
            tables.push(Arc::new(table));
        }
        tables.sort_by_key(|table| table.id);
        for view in self.views {
            catalog.relations.insert(view.name.clone(), Relation::View(Arc::new(view)));
        }
        Ok(Version {
            id: self.version,
            lsn: self.lsn,
            time: self.time,
            catalog_version: self.catalog_version,
            catalog: Arc::new(catalog),
            tables,
        })
    }
}

impl TableEntry {
    fn of(table: &TableVersion) -> Result<TableEntry, StoreError> {
        let segments = table.entries.iter().map(SegmentEntry::of).collect::<Result<_, _>>()?;
        Ok(TableEntry {
            id: table.id,
            name: table.name.clone(),
            schema: table.schema.as_ref().clone(),
            next_row: table.next_row,
            lsn: table.lsn,
            segments,
        })
    }

    fn restore(self, segments: &Path, cache: &Arc<SegmentCache>) -> Result<TableVersion, StoreError> {
        let schema = Arc::new(self.schema);
        let entries = self
            .segments
            .into_iter()
            .map(|segment| segment.restore(&schema, segments, cache))
            .collect::<Result<Vec<_>, _>>()?;
        let mut table = TableVersion::empty(self.id, self.name, schema, self.lsn);
        if !entries.is_empty() {
            table.index = PrimaryIndex::unbuilt();
        } else {
            table.index = PrimaryIndex::empty(self.next_row);
        }
        table.entries = entries;
        table.next_row = self.next_row;
        Ok(table)
    }
}

impl SegmentEntry {
    fn of(entry: &Entry) -> Result<SegmentEntry, StoreError> {
        let cold = entry.body.as_cold();
        let cold = cold.ok_or_else(|| StoreError::Misuse("a manifest cannot hold rows in memory".to_owned()))?;
        let mut bytes = Vec::new();
        if let Some(deleted) = &entry.deleted {
            deleted.serialize_into(&mut bytes).map_err(|error| StoreError::Misuse(error.to_string()))?;
        }
        let deleted = entry.deleted.is_some().then(|| BASE64_STANDARD.encode(&bytes));
        Ok(SegmentEntry { first_row: entry.first_row, file: cold.entry().clone(), deleted })
    }

    fn restore(
        self,
        schema: &Arc<TableSchema>,
        segments: &Path,
        cache: &Arc<SegmentCache>,
    ) -> Result<Entry, StoreError> {
        let unreadable = || StoreError::Misuse("a manifest's deleted rows cannot be read".to_owned());
        let deleted = match self.deleted {
            None => None,
            Some(text) => {
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| unreadable())?;
                Some(Arc::new(RoaringBitmap::deserialize_from(bytes.as_slice()).map_err(|_| unreadable())?))
            }
        };
        let body = Body::cold(schema, Cold::open(segments, self.file, Arc::clone(cache))?);
        Ok(Entry { first_row: self.first_row, body, deleted })
    }
}

/// The manifests of a folder, oldest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    files::list(folder, EXTENSION)
}

/// Removes all but the newest `kept`.
pub(crate) fn prune(folder: &Path, kept: usize) -> Result<(), StoreError> {
    let all = list(folder)?;
    for path in all.iter().take(all.len().saturating_sub(kept)) {
        files::remove(path);
    }
    Ok(())
}
