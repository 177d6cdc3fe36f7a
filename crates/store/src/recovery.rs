//! Opening: the newest sound manifest, then the log since.

use std::{collections::HashSet, fs::OpenOptions, path::Path, sync::Arc};

use crate::{
    StoreError, TableVersion, Version,
    cache::SegmentCache,
    catalog::CatalogChange,
    columns::decode_rows,
    commit::{Builder, Change, TableChange},
    files::{self, Folders, sync_folder},
    manifest::{self, Manifest},
    segment::{Body, Entry, cold::Cold, hot::Hot},
    shelf::{MANIFESTS_KEPT, Shelf, files_of},
    version::FIRST_OID,
    wal::{LogContents, LogRecord, PieceRecord, PieceRows, Record, read_log},
};

/// What was found on disk.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub version: Version,
    pub manifest_lsn: Option<u64>,
    pub next_lsn: u64,
    pub next_oid: u32,
    pub next_file: u64,
    pub files: Shelf,
}

pub(crate) fn recover(folders: &Folders, cache: &Arc<SegmentCache>) -> Result<Recovered, StoreError> {
    let mut manifests = read_manifests(&folders.manifests)?;
    if manifests.is_empty() {
        // So that the first flush, too, has a manifest before it to fall back to.
        let first = Manifest::of(&Version::initial(), FIRST_OID + 1)?;
        first.write(&folders.manifests)?;
        manifests.push(first);
    }
    let manifest_lsn = manifests.last().map(|manifest| manifest.lsn);
    let shelf = Shelf::default();
    for manifest in &manifests {
        shelf.note_manifest(manifest.lsn, manifest.file_names());
    }
    let mut needed: HashSet<String> = manifests.iter().flat_map(Manifest::file_names).collect();
    let next_oid = manifests.last().map_or(FIRST_OID + 1, |manifest| manifest.next_oid);
    let base = match manifests.into_iter().next_back() {
        None => Version::initial(),
        Some(manifest) => manifest.restore(&folders.segments, cache)?,
    };
    shelf.keep_version(&base);
    let lsn = base.lsn;
    let mut replay = Replay { builder: Builder::new(Arc::new(base)), folders, cache, shelf: &shelf, next_oid };
    let contents = read_log(&folders.wal, lsn, |record| {
        let LogRecord { lsn, path, offset, .. } = record;
        replay.add(&record).map_err(|error| match error {
            ReplayError::Malformed(what) => StoreError::corrupted(path, offset, format!("commit {lsn}: {what}")),
            ReplayError::Store(error) => error,
        })
    })?;
    let next_oid = replay.next_oid;
    let version = replay.builder.finish();
    cut(&contents)?;
    needed.extend(files_of(&version).map(|file| file.name().to_owned()));
    needed.extend(shelf.attached_names());
    let next_file = remove_orphans(&folders.segments, &needed)?;
    Ok(Recovered { version, manifest_lsn, next_lsn: contents.next_lsn, next_oid, next_file, files: shelf })
}

/// The sound ones of the last few manifests, oldest first. A damaged one is set aside under another name.
fn read_manifests(folder: &Path) -> Result<Vec<Manifest>, StoreError> {
    let mut sound = Vec::new();
    let mut damage = None;
    for path in manifest::list(folder)?.iter().rev() {
        if sound.len() == MANIFESTS_KEPT {
            break;
        }
        match Manifest::read(path) {
            Ok(manifest) => sound.insert(0, manifest),
            Err(error @ StoreError::Corrupted { .. }) => {
                tracing::error!(%error, "a manifest is damaged; an older one and the log since then take its place");
                damage.get_or_insert((error, path.clone()));
            }
            Err(error) => return Err(error),
        }
    }
    match damage {
        Some((error, _)) if sound.is_empty() => Err(error),
        Some((_, path)) => {
            let aside = path.with_extension("damaged");
            std::fs::rename(&path, &aside).map_err(StoreError::io("rename", &path))?;
            Ok(sound)
        }
        None => Ok(sound),
    }
}

enum ReplayError {
    Malformed(String),
    Store(StoreError),
}

struct Replay<'a> {
    builder: Builder,
    folders: &'a Folders,
    cache: &'a Arc<SegmentCache>,
    shelf: &'a Shelf,
    next_oid: u32,
}

impl Replay<'_> {
    fn add(&mut self, logged: &LogRecord<'_>) -> Result<(), ReplayError> {
        let lsn = logged.lsn;
        let record = Record::decode(logged.bytes).map_err(ReplayError::Malformed)?;
        for step in &record.catalog {
            let oid = match step {
                CatalogChange::CreateSchema { oid, .. } => *oid,
                CatalogChange::CreateTable { id, .. } => id.0,
                CatalogChange::CreateView { view, .. } => view.oid,
                _ => continue,
            };
            self.next_oid = self.next_oid.max(oid + 1);
        }
        // The record's own tables come first: its rows may be theirs.
        let catalog = Change { catalog: record.catalog, tables: Vec::new() };
        let refused = |refusal: weir_model::Refusal| ReplayError::Malformed(refusal.message().to_owned());
        self.builder.apply(catalog, lsn).map_err(refused)?;
        let mut tables = Vec::with_capacity(record.tables.len());
        for part in record.tables {
            let table = self.builder.table(part.table);
            let table = table.ok_or_else(|| ReplayError::Malformed(format!("table {} is not known", part.table)))?;
            if part.revision != table.schema.revision() && !part.pieces.is_empty() {
                return Err(ReplayError::Malformed(format!("table {} has another schema", part.table)));
            }
            let pieces = self.pieces(table, part.pieces)?;
            let keys = None;
            tables.push(TableChange {
                table: part.table,
                truncate: part.truncate,
                deleted: part.deleted,
                pieces,
                keys,
            });
        }
        let change = Change { catalog: Vec::new(), tables };
        self.shelf.adopt(&change, lsn);
        self.builder.set_time(logged.time);
        self.builder.apply(change, lsn).map_err(refused)
    }

    fn pieces(&self, table: &TableVersion, records: Vec<PieceRecord<'_>>) -> Result<Vec<Entry>, ReplayError> {
        let mut pieces = Vec::with_capacity(records.len());
        let mut first_row = 0;
        for record in records {
            let body = match record.rows {
                PieceRows::Bytes(bytes) => {
                    let batch = decode_rows(table.schema.arrow(), bytes).map_err(ReplayError::Malformed)?;
                    Body::hot(&table.schema, Hot::new(batch))
                }
                PieceRows::File(entry) => {
                    let cold = Cold::open(&self.folders.segments, entry, Arc::clone(self.cache));
                    Body::cold(&table.schema, cold.map_err(ReplayError::Store)?)
                }
            };
            let entry = Entry { first_row, body, deleted: record.deleted };
            first_row = entry.end();
            pieces.push(entry);
        }
        Ok(pieces)
    }
}

/// Cuts off what a crash left of a frame that nobody was told of, so that later frames do not come after it.
fn cut(contents: &LogContents) -> Result<(), StoreError> {
    let Some((path, length)) = &contents.torn else { return Ok(()) };
    tracing::warn!(path = %path.display(), length, "the log ends in an unfinished write, which is cut off");
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(*length)?;
        file.sync_all()
    };
    cut().map_err(StoreError::io("cut", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes segment files of transactions that did not commit and of flushes that did not finish. Returns a file number
/// that is greater than all in use.
fn remove_orphans(folder: &Path, needed: &HashSet<String>) -> Result<u64, StoreError> {
    let mut next_file = 1;
    for path in files::list(folder, "parquet")? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.rsplit('-').next());
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            next_file = next_file.max(number + 1);
        }
        if !needed.contains(name) {
            files::remove(&path);
        }
    }
    Ok(next_file)
}
