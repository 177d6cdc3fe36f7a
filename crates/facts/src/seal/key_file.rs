//! The file with the key-encryption key.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::seal::SealError;

/// Key bytes that are wiped when they are no longer used.
pub(super) type Secret = Zeroizing<[u8; 32]>;

pub(super) fn random_secret() -> Result<Secret, SealError> {
    let mut secret = Secret::default();
    getrandom::fill(&mut *secret).map_err(SealError::Random)?;
    Ok(secret)
}

/// A key-encryption key and where it is from.
pub(crate) struct KeyFile {
    pub(super) path: PathBuf,
    pub(super) key: Secret,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// `None`: there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<KeyFile>, SealError> {
        let failed = |source| SealError::KeyFile { path: path.to_owned(), source };
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(failed)?,
        };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SealError::ReadableByOthers { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read(path).map_err(failed)?);
        let key = parse(text.trim_ascii()).ok_or_else(|| SealError::NoKey { path: path.to_owned() })?;
        Ok(Some(KeyFile { path: path.to_owned(), key }))
    }

    /// A new key in a new file that its owner alone may read.
    pub(crate) fn create(path: &Path) -> Result<KeyFile, SealError> {
        let failed = |source| SealError::KeyFile { path: path.to_owned(), source };
        let key = random_secret()?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut text = Zeroizing::new(hex::encode(*key));
        text.push('\n');
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        sync_folder_of(path).map_err(failed)?;
        Ok(KeyFile { path: path.to_owned(), key })
    }
}

pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
    }
}

fn parse(text: &[u8]) -> Option<Secret> {
    let mut key = Secret::default();
    if hex::decode_to_slice(text, &mut *key).is_ok() {
        return Some(key);
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    key.copy_from_slice(decoded.get(..32).filter(|_| decoded.len() == 32)?);
    Some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_key_is_written_in_hexadecimal_or_base64() {
        let check = |text: &str, expected: Option<[u8; 32]>| {
            assert_eq!(parse(text.trim().as_bytes()).map(|key| *key), expected, "{text:?}");
        };
        check(&"ab".repeat(32), Some([0xab; 32]));
        check(&"AB".repeat(32), Some([0xab; 32]));
        check("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", Some([0xab; 32]));
        for wrong in ["", "ab", &"ab".repeat(31), &"ab".repeat(33), &"xy".repeat(32), "q6urqw=="] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_key_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/data.key");
        assert!(KeyFile::read(&path).unwrap().is_none());
        let made = KeyFile::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*KeyFile::read(&path).unwrap().unwrap().key, *made.key);
        assert!(KeyFile::create(&path).is_err(), "a key file is not written over");
        for mode in [0o640, 0o604, 0o620, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::read(&path).unwrap_err();
            assert!(matches!(error, SealError::ReadableByOthers { mode: found, .. } if found == mode), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(KeyFile::read(&path).is_ok());
        assert!(!format!("{made:?}").contains(&hex::encode(*made.key)));
    }
}
