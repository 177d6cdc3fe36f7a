use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::record::KeyRecord;
use crate::private_file::{self, Stamp};

const VERSION: u32 = 1;

/// `<data>/keys/api_keys.json`: every key ever issued, revoked ones too. A running server and the command line change
/// it under a lock on a file beside it, and replace it whole.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    keys: Vec<KeyRecord>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("cannot read or write {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a key file: {why}")]
    Broken { path: PathBuf, why: String },
    #[error("{path} can be read by others; make it private: chmod 600 {path}")]
    Exposed { path: PathBuf },
}

impl KeyFile {
    pub fn in_data(data: &Path) -> KeyFile {
        KeyFile { path: data.join("keys").join("api_keys.json") }
    }

    pub fn stamp(&self) -> Result<Option<Stamp>, KeyFileError> {
        Stamp::of(&self.path).map_err(|error| self.io(error))
    }

    /// # Errors
    /// [`KeyFileError`]; a file that does not exist holds no keys.
    pub fn load(&self) -> Result<Vec<KeyRecord>, KeyFileError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io(error)),
        };
        if private_file::is_exposed(&self.path).map_err(|error| self.io(error))? {
            return Err(KeyFileError::Exposed { path: self.path.clone() });
        }
        let broken = |why: String| KeyFileError::Broken { path: self.path.clone(), why };
        let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if contents.version == VERSION {
            Ok(contents.keys)
        } else {
            Err(broken(format!("version {} is not known", contents.version)))
        }
    }

    /// Changes the keys; nobody else changes them meanwhile. Nothing is written when `change` fails.
    ///
    /// # Errors
    /// [`KeyFileError`], or what `change` says.
    pub fn update<T, E: From<KeyFileError>>(
        &self,
        change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _locked = self.lock()?;
        let mut keys = self.load()?;
        let result = change(&mut keys)?;
        let bytes = serde_json::to_vec_pretty(&Contents { version: VERSION, keys })
            .map_err(|error| KeyFileError::Broken { path: self.path.clone(), why: error.to_string() })?;
        private_file::replace(&self.path, &bytes).map_err(|error| self.io(error))?;
        Ok(result)
    }

    /// Held until dropped; waits for whoever holds it.
    fn lock(&self) -> Result<File, KeyFileError> {
        let path = self.path.with_extension("lock");
        let locked = || {
            if let Some(folder) = path.parent() {
                private_file::create_folder(folder)?;
            }
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        locked().map_err(|source| KeyFileError::Io { path: path.clone(), source })
    }

    fn io(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io { path: self.path.clone(), source }
    }
}
