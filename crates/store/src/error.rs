use std::{
    io,
    path::{Path, PathBuf},
};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use weir_model::{Code, Refusal};

/// What can go wrong below the tables. Paths and system errors are for the log; a client reads the [`Refusal`] made
/// from it, which names a damaged file but no folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("could not {action} `{}`: {source}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Bytes on disk are not what was written there.
    #[error("`{}` is damaged at byte {offset}: {what}", .path.display())]
    Corrupted { path: PathBuf, offset: u64, what: String },
    #[error("`{}` is in use by another process", .path.display())]
    Locked { path: PathBuf },
    /// A write or sync of the log failed earlier; what is on disk since then is unknown, so nothing more is written.
    #[error("the log failed earlier and takes no more writes until a restart: {what}")]
    Poisoned { what: String },
    #[error("the database is closed")]
    Closed,
    /// The caller named a row that the version does not hold.
    #[error("row {0} is not in this version of the table")]
    NoSuchRow(u64),
    /// The caller broke a rule of the interface: a bug, not bad input.
    #[error("{0}")]
    Misuse(String),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

impl StoreError {
    /// For `map_err`: names what was tried, and where.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { action, path, source }
    }

    pub(crate) fn corrupted(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Corrupted { path: path.to_owned(), offset, what: what.into() }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            StoreError::Io { source, .. } => is_full(source),
            StoreError::Arrow(ArrowError::IoError(_, source)) => is_full(source),
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Nothing of the statement was kept, and nothing is lost: with room again everything goes on.
pub(crate) fn disk_full() -> Refusal {
    Refusal::new(Code::DiskFull, "no space is left for the database's files")
        .hint("free space on the data folder's disk, then try again")
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        tracing::error!(%error, "the store failed");
        if error.is_disk_full() {
            return disk_full();
        }
        match &error {
            StoreError::Corrupted { path, offset, what } => {
                let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                Refusal::new(Code::DataCorrupted, "stored data is damaged")
                    .detail(format!("file={file}"))
                    .detail(format!("offset={offset}"))
                    .detail(what)
                    .hint("restore the file from a backup; other tables stay readable")
            }
            StoreError::Closed => Refusal::new(Code::ShuttingDown, "the database is shutting down"),
            StoreError::Poisoned { .. } => {
                Refusal::new(Code::StorageFailed, "the log failed; the database is read-only until a restart")
                    .hint("check the disk, then restart")
            }
            StoreError::Io { .. } | StoreError::Locked { .. } => {
                Refusal::new(Code::StorageFailed, "the database's files could not be read or written")
                    .hint("see the server's log for the file and the system's error")
            }
            StoreError::NoSuchRow(_) | StoreError::Misuse(_) | StoreError::Arrow(_) | StoreError::Parquet(_) => {
                Refusal::new(Code::Internal, "the store could not carry out the operation")
                    .hint("see the server's log, and report it")
            }
        }
    }
}
