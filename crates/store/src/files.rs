use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use crate::StoreError;

/// An open file of the log. The seam where tests inject short writes, failed syncs and full disks.
pub trait LogFile: Send + fmt::Debug {
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    ///
    /// # Errors
    /// Whatever the system says; part of the bytes may then be in the file.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything written is on stable storage (`fdatasync`).
    ///
    /// # Errors
    /// After one, what the disk holds is unknown: the caller must never write to this log again.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `length`, and gives its room back.
    ///
    /// # Errors
    /// Whatever the system says; the file is then as long as before or as `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Where the log's files come from.
pub trait LogStorage: Send + Sync + fmt::Debug {
    /// Opens a log file, existing or not, for writing. Contents are kept.
    ///
    /// # Errors
    /// Whatever the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

/// The local file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalLogStorage;

impl LogStorage for LocalLogStorage {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        Ok(Box::new(LocalLogFile(file)))
    }
}

#[derive(Debug)]
struct LocalLogFile(File);

impl LogFile for LocalLogFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// The folders of one org's database.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    pub wal: PathBuf,
    pub segments: PathBuf,
    pub manifests: PathBuf,
}

impl Folders {
    pub fn create(data: &Path, org: &str) -> Result<Folders, StoreError> {
        let folder = |kind: &str| {
            let path = data.join(kind).join(org);
            // Rows are nobody else's to read.
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&path).map_err(StoreError::io("create the folder", &path))?;
            sync_folder(&data.join(kind))?;
            Ok::<_, StoreError>(path)
        };
        let folders = Folders { wal: folder("wal")?, segments: folder("segments")?, manifests: folder("manifests")? };
        sync_folder(data)?;
        Ok(folders)
    }
}

/// Makes creations, renames and removals in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync the folder", path))
}

/// Replaces a file as a whole: after a crash it holds the old bytes or the new, never a mix.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(StoreError::io("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The files of a folder whose names end in `.extension`, sorted by name.
pub(crate) fn list(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for item in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let path = item.map_err(StoreError::io("list", folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Removes a file that nothing refers to any more. Failing costs disk space only, so it is logged and passed over.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "could not remove a file that is no longer needed");
    }
}

/// Holds the data folder for one process; released when dropped, or when the process dies however it dies.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "held for its lock, which ends with it")] File);

impl FolderLock {
    pub fn take(folder: &Path) -> Result<FolderLock, StoreError> {
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(fs::TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path, source }),
        }
    }
}
