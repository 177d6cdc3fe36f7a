//! The journal's key pair on disk.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

use crate::{AuditError, layout, note::NoteVerifier};

/// Reads the secret key: one line, the base64 of its 32 bytes. `None` if there is none.
pub(crate) fn load(path: &Path) -> Result<Option<SigningKey>, AuditError> {
    let Some(text) = layout::read_if_any(path)? else { return Ok(None) };
    let malformed = || AuditError::Key { path: path.to_owned(), what: "does not hold an Ed25519 key" };
    let bytes = STANDARD.decode(text.trim_ascii()).map_err(|_| malformed())?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| malformed())?;
    Ok(Some(SigningKey::from_bytes(&bytes)))
}

/// Makes a key and writes it where only its owner reads it.
pub(crate) fn create(path: &Path) -> Result<SigningKey, AuditError> {
    let mut bytes = [0; 32];
    random(&mut bytes).map_err(AuditError::io(path))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> io::Result<()> {
        let mut file = options.open(path)?;
        writeln!(file, "{}", STANDARD.encode(bytes))?;
        file.sync_all()
    };
    write().map_err(AuditError::io(path))?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// Publishes the key that verifies, in the text form of C2SP, and holds an older publication to it.
pub(crate) fn publish(path: &Path, verifier: &NoteVerifier) -> Result<(), AuditError> {
    let vkey = format!("{}\n", verifier.vkey());
    match layout::read_if_any(path)? {
        Some(found) if found == vkey.as_bytes() => Ok(()),
        Some(_) => Err(AuditError::Key { path: path.to_owned(), what: "is not the public key of this journal" }),
        None => layout::replace(path, vkey.as_bytes(), true).map_err(AuditError::io(path)),
    }
}

/// Reads what [`publish`] wrote.
pub(crate) fn published(path: &Path) -> Result<NoteVerifier, AuditError> {
    let text = fs::read_to_string(path).map_err(AuditError::io(path))?;
    text.strip_suffix('\n')
        .and_then(NoteVerifier::from_vkey)
        .ok_or_else(|| AuditError::Key { path: path.to_owned(), what: "does not hold a public key" })
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}
