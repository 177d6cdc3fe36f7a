use std::{io, path::PathBuf};

use crate::seal::SealError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("the facts could not be {doing}: {source}")]
    Engine { doing: &'static str, source: fjall::Error },
    /// The storage engine found what it holds impossible.
    #[error(
        "the files of the facts are damaged so that they cannot be {doing}: restore the folder or let the node join anew"
    )]
    Unreadable { doing: &'static str },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("record {row} of the facts' {keyspace} is damaged: let the node join anew, or open it accepting the loss")]
    Damaged { keyspace: &'static str, row: String },
    /// Nothing of the commit took effect.
    #[error("the disk of the facts is full: {free} bytes are free and {kept} are kept free; make room")]
    Full { free: u64, kept: u64 },
    #[error("the facts' writes to tables stand still for {seconds} s: look at the disk and restart the node")]
    Stalled { seconds: u64 },
    /// Final, as [`persist`](crate::Storage::persist) says.
    #[error("the facts take no writes since a failure ({reason}): restart the node")]
    Failed { reason: String },
    #[error(
        "of {durable} commits that were durable, {found} are left: the facts' log is damaged; let the node join anew, or \
         open it accepting the loss"
    )]
    CommitsLost { durable: u64, found: u64 },
    #[error(
        "the facts are not what their commits add up to ({what}): a part of their log or tables is lost; let the node \
         join anew, or open it accepting the loss"
    )]
    Incomplete { what: &'static str },
    #[error("a change of {key} does not begin with what is stored")]
    Unfitting { key: String },
    #[error("the folder of the facts was made by a newer version ({0})")]
    Version(String),
    #[error(
        "the folder of the facts was made by an older version (version {version}; this reads {reads}): move it away and let \
         the node join anew, or start with no facts"
    )]
    Outdated { version: u32, reads: u32 },
    #[error("another process has the facts open")]
    Locked,
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl StoreError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { path, source }
    }

    /// Whether the disk had no room, as far as the error says.
    pub(super) fn is_full(&self) -> bool {
        match self {
            StoreError::Full { .. } => true,
            StoreError::Engine { source: fjall::Error::Io(error), .. } | StoreError::Io { source: error, .. } => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
