use std::{
    fs::{self, File},
    io::{self, Write},
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

/// Why a frame is not in the log.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The disk is full, and the log ends where it did before: later frames may find room.
    Full(StoreError),
    /// What the disk holds of the log is unknown: nothing may be appended any more.
    Broken(StoreError),
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

    /// Makes a frame durable.
    ///
    /// # Errors
    /// After [`AppendError::Broken`] the caller must not append again.
    pub fn append(&mut self, frame: &[u8], first_lsn: u64) -> Result<(), AppendError> {
        let length = frame.len() as u64;
        if self.offset > 0 && self.offset + length > self.prepared && self.folder.join(SPARE).exists() {
            let begun = begin(&self.folder, self.storage.as_ref(), first_lsn).map_err(AppendError::Broken)?;
            (self.path, self.file, self.prepared) = begun;
            self.offset = 0;
        }
        self.file.write_at(self.offset, frame).map_err(|error| self.take_back(error))?;
        if self.sync {
            // Whatever it says: the system may have dropped what it could not write.
            self.file.sync().map_err(StoreError::io("sync", &self.path)).map_err(AppendError::Broken)?;
        }
        self.offset += length;
        Ok(())
    }

    /// Removes what a write left of a frame for which there was no room.
    fn take_back(&mut self, error: io::Error) -> AppendError {
        let error = StoreError::io("write", &self.path)(error);
        if !error.is_disk_full() {
            return AppendError::Broken(error);
        }
        match self.file.truncate(self.offset) {
            Ok(()) => {
                self.prepared = self.prepared.min(self.offset);
                AppendError::Full(error)
            }
            Err(error) => AppendError::Broken(StoreError::io("cut", &self.path)(error)),
        }
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
    write().inspect_err(|_| files::remove(&path)).map_err(StoreError::io("prepare", &path))
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
