use std::{io, path::PathBuf};

use weir_model::{Code, Refusal};

/// Why the journal cannot be opened or written. What a client reads of it is [`AuditError::refusal`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is in use by another process", path.display())]
    Locked { path: PathBuf },
    /// The files contradict each other or their signatures. Opening would bury the evidence, so it is refused.
    #[error("the audit journal is damaged: `{file}`{}: {what}", at(*offset))]
    Corrupt { file: String, offset: Option<u64>, what: String },
    #[error("`{}` {what}", path.display())]
    Key { path: PathBuf, what: &'static str },
    #[error("`{origin}` cannot name a journal: {what}")]
    Origin { origin: String, what: &'static str },
    /// Records wait in memory until there is room for them.
    #[error("no space is left for the audit journal; it goes on when there is")]
    Full,
    /// An earlier write or fsync failed. Nothing is retried: the kernel may have dropped what it could not write.
    #[error("the audit journal stopped after an error: {what}")]
    Poisoned { what: String },
    #[error("the audit journal is closed")]
    Closed,
    #[error("an audit record of {bytes} bytes is larger than the journal takes")]
    TooLarge { bytes: usize },
    #[error("export: {0}")]
    Export(String),
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default()
}

impl AuditError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> AuditError {
        let path = path.into();
        move |source| AuditError::Io { path, source }
    }

    pub(crate) fn corrupt(file: impl Into<String>, offset: Option<u64>, what: impl Into<String>) -> AuditError {
        AuditError::Corrupt { file: file.into(), offset, what: what.into() }
    }

    /// What a client is told: that nothing is answered without a record, and no path or detail of the server.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let hint = match self {
            AuditError::Full => "the server's disk is full; try again when an operator has made room",
            _ => "the audit journal of the server has stopped; an operator finds the cause in its log",
        };
        Refusal::new(Code::AuditUnavailable, "the statement cannot be recorded, so it is not answered").hint(hint)
    }
}

/// Why nothing was appended to a file.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The disk is full, and the file ends where it did before: a later append may find room.
    Full(AuditError),
    /// What the file holds is unknown: nothing may be appended any more.
    Broken(AuditError),
}

impl AppendError {
    /// What a failed write comes to, once `undo` has taken back what it left.
    pub fn of(path: impl Into<PathBuf>, error: io::Error, undo: impl FnOnce() -> io::Result<()>) -> AppendError {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let undone = full && undo().is_ok();
        let error = AuditError::io(path)(error);
        if undone { AppendError::Full(error) } else { AppendError::Broken(error) }
    }
}
