use std::{io, path::PathBuf};

/// Why sealed facts are not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    #[error("the key file {}: {source}", .path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("the key file {} may be read by others (mode {mode:o}): `chmod 600` it and consider the key known", .path.display())]
    ReadableByOthers { path: PathBuf, mode: u32 },
    #[error("the key file {} holds no key: 32 bytes in hexadecimal or base64 are expected", .path.display())]
    NoKey { path: PathBuf },
    #[error("the facts in {} are encrypted and their key file {} is missing: bring it back", .folder.display(), .path.display())]
    KeyFileMissing { folder: PathBuf, path: PathBuf },
    #[error("the key file {} is not the one that the facts in {} were encrypted with", .path.display(), .folder.display())]
    WrongKey { folder: PathBuf, path: PathBuf },
    #[error("the facts in {} are encrypted: give `encryption_key_path`", .folder.display())]
    KeyNeeded { folder: PathBuf },
    #[error("the facts in {} are not encrypted: let the node join anew with an empty folder to have them so", .folder.display())]
    NotEncrypted { folder: PathBuf },
    #[error("the wrapped keys in {} are damaged or missing: bring the file back, or let the node join anew", .path.display())]
    KeysDamaged { path: PathBuf },
    #[error("the file of wrapped keys {}: {source}", .path.display())]
    Keys { path: PathBuf, source: io::Error },
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}
