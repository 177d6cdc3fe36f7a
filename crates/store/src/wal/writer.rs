use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::reader::{EXTENSION, log_files};
use crate::{
    StoreError,
    files::{self, LogFile, LogStorage, sync_folder},
};

/// Appends frames. Files are filled with zeros before they are used, because overwriting syncs about twice as fast as
/// growing; while no such file is ready, the current one grows.
#[derive(Debug)]
pub(crate) struct LogWriter {
    folder: PathBuf,
    storage: Arc<dyn LogStorage>,
    file: Box<dyn LogFile>,
    path: PathBuf,
    offset: u64,
    /// How far the file is filled with zeros.
    prepared: u64,
    sync: bool,
}

const SPARE: &str = "spare.ready";
const SPARE_UNFINISHED: &str = "spare.tmp";

impl LogWriter {
    /// Begins a file at the log's end.
    pub fn open(
        folder: &Path,
        storage: Arc<dyn LogStorage>,
        next_lsn: u64,
        sync: bool,
    ) -> Result<LogWriter, StoreError> {
        let (path, file, prepared) = begin(folder, storage.as_ref(), next_lsn)?;
        Ok(LogWriter { folder: folder.to_owned(), storage, file, path, offset: 0, prepared, sync })
    }

    /// Makes a frame durable. After an error the log's end is unknown: the caller must not append again.
    pub fn append(&mut self, frame: &[u8], first_lsn: u64) -> Result<(), StoreError> {
        let length = frame.len() as u64;
        if self.offset > 0 && self.offset + length > self.prepared && self.folder.join(SPARE).exists() {
            let (path, file, prepared) = begin(&self.folder, self.storage.as_ref(), first_lsn)?;
            (self.path, self.file, self.prepared, self.offset) = (path, file, prepared, 0);
        }
        self.file.write_at(self.offset, frame).map_err(StoreError::io("write", &self.path))?;
        if self.sync {
            self.file.sync().map_err(StoreError::io("sync", &self.path))?;
        }
        self.offset += length;
        Ok(())
    }
}

type Begun = (PathBuf, Box<dyn LogFile>, u64);

/// Opens the file of that first LSN: the one already there, which holds nothing, else the spare, else a new one.
fn begin(folder: &Path, storage: &dyn LogStorage, first_lsn: u64) -> Result<Begun, StoreError> {
    let path = folder.join(format!("{first_lsn:020}.{EXTENSION}"));
    let spare = folder.join(SPARE);
    if !path.exists() && spare.exists() {
        fs::rename(&spare, &path).map_err(StoreError::io("rename", &spare))?;
    }
    let file = storage.open(&path).map_err(StoreError::io("open", &path))?;
    let prepared = fs::metadata(&path).map_err(StoreError::io("find", &path))?.len();
    sync_folder(folder)?;
    Ok((path, file, prepared))
}

/// Makes a file of zeros ready for the log to go on in. For a background thread.
pub(crate) fn prepare_spare(folder: &Path, bytes: u64) -> Result<(), StoreError> {
    const PIECE: usize = 1 << 20;
    let ready = folder.join(SPARE);
    if ready.exists() {
        return Ok(());
    }
    let path = folder.join(SPARE_UNFINISHED);
    let write = || {
        let mut file = File::create(&path)?;
        let zeros = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE as u64);
            file.write_all(zeros.get(..usize::try_from(piece).unwrap_or(PIECE)).unwrap_or_default())?;
            left -= piece;
        }
        file.sync_all()?;
        fs::rename(&path, &ready)
    };
    write().map_err(StoreError::io("prepare", &path))
}

/// Removes the files that hold no commit after `lsn`. The last file always stays.
pub(crate) fn remove_before(folder: &Path, lsn: u64) -> Result<(), StoreError> {
    let all = log_files(folder)?;
    for ((_, path), (next_first, _)) in all.iter().zip(all.iter().skip(1)) {
        if *next_first <= lsn + 1 {
            files::remove(path);
        }
    }
    Ok(())
}
