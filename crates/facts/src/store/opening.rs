//! Opening a store: which kind it is, what is in it, and whether that is all.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::{
    seal::{KeyFile, Keyring, Nonces, SealError},
    store::{
        FactStore, Settings, StoreError,
        ahead::Ahead,
        block::{self, Number},
        cleaning::Credit,
        engine::{Engine, Rows, Space},
        engine_log,
        index::{Index, IndexBuilder},
        mark::Mark,
        reader::Shared,
        reclaim::Reclaim,
        record::{Check, Records},
        rewrite,
        room::Room,
        syncer::Syncer,
        tally::{self, Sum, Tally},
    },
};

const KIND_FILE: &str = "store";
const VERSION: u32 = 2;

/// What kind of store a folder has.
#[derive(Serialize, Deserialize)]
struct Kind {
    version: u32,
    encrypted: bool,
}

/// What was lost of a store that was opened all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Durable commits that are missing.
    pub commits: u64,
    /// Damaged records, which were removed.
    pub records: usize,
    /// Whether what is there is not what the commits add up to.
    pub incomplete: bool,
}

pub(super) fn engine_folder(folder: &Path) -> PathBuf {
    folder.join("engine")
}

pub(super) fn open(settings: Settings) -> Result<FactStore, StoreError> {
    let folder = &settings.folder;
    fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
    let records = Records { keyring: keyring(&settings)?.map(RwLock::new) };
    let first_log = engine_log::first_new(&engine_folder(folder))?;
    let engine = Engine::open(&engine_folder(folder), &settings)?;
    let (mark, durable) = Mark::open(folder)?;
    let found = Found::read(&engine, &records, settings.accept_loss)?;
    let loss = found.loss(durable);
    if loss.is_some() && !settings.accept_loss {
        return Err(found.refusal(durable));
    }
    let tally = match &loss {
        None => found.tally.unwrap_or_default(),
        Some(_) => mend(&engine, &found, durable)?,
    };
    let shared = Arc::new(Shared::new(records, engine, found.index, settings.state_cache_bytes));
    let room = Room::new(folder, settings.room_kept);
    let rewriting = rewrite::Place::default();
    let nonces = Nonces::new();
    // The engine made its log durable when it was opened, but for what was mended since.
    let syncer = Syncer::new(engine_folder(folder), mark, tally.commits.min(durable));
    syncer.committed(tally.commits);
    if loss.is_some() {
        syncer.sync()?;
    }
    let credit = Credit::new(settings.slack_bytes);
    let reclaim = Reclaim::new(settings.write_buffer_bytes.saturating_mul(2));
    let ahead = Ahead::new(&engine_folder(folder), first_log);
    Ok(FactStore {
        settings,
        shared,
        tally,
        syncer,
        room,
        unlooked: u64::MAX,
        may_wait: true,
        nonces,
        credit,
        reclaim,
        ahead,
        metadata: HashMap::new(),
        loss,
        rewriting,
    })
}

fn keyring(settings: &Settings) -> Result<Option<Keyring>, StoreError> {
    let folder = &settings.folder;
    let path = folder.join(KIND_FILE);
    let kind = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        text => {
            let text = text.map_err(StoreError::io(&path))?;
            let kind: Kind = serde_json::from_slice(&text)
                .map_err(|error| StoreError::io(&path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            if kind.version > VERSION {
                return Err(StoreError::Version(format!("version {}; this reads {VERSION}", kind.version)));
            }
            if kind.version < VERSION {
                return Err(StoreError::Outdated { version: kind.version, reads: VERSION });
            }
            Some(kind)
        }
    };
    let keyring = match (&settings.key_file, kind) {
        (None, Some(Kind { encrypted: true, .. })) => {
            return Err(SealError::KeyNeeded { folder: folder.clone() }.into());
        }
        (Some(_), Some(Kind { encrypted: false, .. })) => {
            return Err(SealError::NotEncrypted { folder: folder.clone() }.into());
        }
        (None, Some(_)) => return Ok(None),
        (Some(key), Some(_)) => return Ok(Some(Keyring::open(folder, existing_key(folder, key)?)?)),
        (None, None) => None,
        // A first start that was cut short may have left wrapped keys.
        (Some(key), None) if Keyring::is_in(folder) => Some(Keyring::open(folder, existing_key(folder, key)?)?),
        (Some(key), None) => {
            let key = KeyFile::read(key)?.map_or_else(|| KeyFile::create(key), Ok)?;
            Some(Keyring::create(folder, key)?)
        }
    };
    // Last, so that a store that says it is encrypted has its keys.
    let kind = Kind { version: VERSION, encrypted: keyring.is_some() };
    write_kind(folder, &path, &kind).map_err(StoreError::io(&path))?;
    Ok(keyring)
}

fn existing_key(folder: &Path, path: &Path) -> Result<KeyFile, SealError> {
    let missing = || SealError::KeyFileMissing { folder: folder.to_owned(), path: path.to_owned() };
    KeyFile::read(path)?.ok_or_else(missing)
}

fn write_kind(folder: &Path, path: &Path, kind: &Kind) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec(kind)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

/// What is in the engine.
struct Found {
    /// `None`: there is none, or it is damaged.
    tally: Option<Tally>,
    index: Index,
    live: Sum,
    damaged: Vec<Vec<u8>>,
    history: Sum,
    metadata: Sum,
    serial: u64,
    /// The number of the next block.
    block: Number,
    rows: u64,
}

impl Found {
    /// With `all`, damaged records are counted where they would otherwise end it, and what only a mended tally needs is
    /// read too.
    fn read(engine: &Engine, records: &Records, all: bool) -> Result<Found, StoreError> {
        let row = engine.get(Space::Metadata, tally::ROW)?;
        let tally = row.as_ref().and_then(|bytes| Tally::from_bytes(bytes));
        let mut index = IndexBuilder::default();
        let mut found = Found {
            tally,
            index: Index::default(),
            live: Sum::default(),
            damaged: Vec::new(),
            history: Sum::default(),
            metadata: Sum::default(),
            serial: 0,
            block: 0,
            rows: u64::from(row.is_some()),
        };
        let first = block::row_of(tally.map_or(0, |tally| tally.first));
        engine.scan_back(Space::Live, &first, |(row, record)| {
            found.rows += 1;
            found.block = found.block.max(block::number_of(&row).map_or(0, |number| number.saturating_add(1)));
            match index.add_record(records, &row, &record) {
                Ok(()) => found.live.add(Check::of(&record)),
                Err(_) if all => found.damaged.push(row),
                Err(error) => return Err(error),
            }
            Ok(true)
        })?;
        found.index = index.build();
        if all {
            found.read_rest(engine)?;
        }
        Ok(found)
    }

    fn read_rest(&mut self, engine: &Engine) -> Result<(), StoreError> {
        engine.scan(Space::History, b"", false, |(row, record)| {
            self.history.add(Check::of(&record));
            let serial = row.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            self.serial = self.serial.max(serial.saturating_add(1));
            Ok(true)
        })?;
        engine.scan(Space::Metadata, &[super::record::NAMED], false, |(_, record)| {
            self.metadata.add(Check::of(&record));
            Ok(true)
        })
    }

    fn is_complete(&self) -> bool {
        match self.tally {
            Some(tally) => tally.live == self.live,
            None => self.rows == 0,
        }
    }

    fn commits(&self) -> u64 {
        self.tally.map_or(0, |tally| tally.commits)
    }

    fn loss(&self, durable: u64) -> Option<Loss> {
        let commits = durable.saturating_sub(self.commits());
        let loss = Loss { commits, records: self.damaged.len(), incomplete: !self.is_complete() };
        (loss != Loss { commits: 0, records: 0, incomplete: false }).then_some(loss)
    }

    fn refusal(&self, durable: u64) -> StoreError {
        if durable > self.commits() {
            return StoreError::CommitsLost { durable, found: self.commits() };
        }
        StoreError::Incomplete { what: if self.tally.is_some() { "their sum" } else { "there is no sum" } }
    }
}

/// Takes what is there for what was committed.
fn mend(engine: &Engine, found: &Found, durable: u64) -> Result<Tally, StoreError> {
    let before = found.tally.unwrap_or_default();
    let tally = Tally {
        commits: before.commits.max(durable).saturating_add(1),
        serial: before.serial.max(found.serial),
        first: before.first,
        block: before.block.max(found.block),
        live: found.live,
        history: found.history,
        metadata: found.metadata,
    };
    let mut rows: Rows = found.damaged.iter().map(|row| (Space::Live, row.clone(), None)).collect();
    rows.push((Space::Metadata, tally::ROW.to_vec(), Some(tally.to_bytes())));
    engine.write(rows)?;
    Ok(tally)
}
