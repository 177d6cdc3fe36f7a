use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::AuditError;

/// Where the journal's files lie below a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: PathBuf,
}

pub(crate) const LEAVES: &str = "leaves";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const STATE: &str = "state";
pub(crate) const HEAD: &str = "keys/audit.head";
pub(crate) const PUBLIC_KEY: &str = "keys/audit.pub";

impl Layout {
    pub fn new(data: &Path) -> Layout {
        Layout { data: data.to_owned() }
    }

    pub fn audit(&self) -> PathBuf {
        self.data.join("audit")
    }

    pub fn keys(&self) -> PathBuf {
        self.data.join("keys")
    }

    pub fn lock(&self) -> PathBuf {
        self.audit().join("lock")
    }

    /// The leaf hashes of all records up to the newest checkpoint, 32 bytes each: proofs need no record, and `verify`
    /// can tell which record changed.
    pub fn leaves(&self) -> PathBuf {
        self.audit().join(LEAVES)
    }

    /// Every signed checkpoint, one after the other.
    pub fn checkpoints(&self) -> PathBuf {
        self.audit().join(CHECKPOINTS)
    }

    /// A signed cache from which opening goes on instead of reading everything.
    pub fn state(&self) -> PathBuf {
        self.audit().join(STATE)
    }

    /// The newest checkpoint once more, outside the journal's folder: cutting records and checkpoints together shows.
    pub fn head(&self) -> PathBuf {
        self.data.join(HEAD)
    }

    pub fn secret_key(&self) -> PathBuf {
        self.keys().join("audit.ed25519")
    }

    pub fn public_key(&self) -> PathBuf {
        self.data.join(PUBLIC_KEY)
    }

    /// A log file is named by the index of its first record.
    pub fn log(&self, first: u64) -> PathBuf {
        self.audit().join(log_name(first))
    }

    /// The first indexes of all log files, ascending.
    pub fn logs(&self) -> Result<Vec<u64>, AuditError> {
        let folder = self.audit();
        let mut logs = Vec::new();
        for entry in fs::read_dir(&folder).map_err(AuditError::io(&folder))? {
            let name = entry.map_err(AuditError::io(&folder))?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
            if let Some(first) = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
                logs.push(first);
            }
        }
        logs.sort_unstable();
        Ok(logs)
    }
}

pub(crate) fn log_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), AuditError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(AuditError::io(folder))
}

/// Replaces a file so that a reader, also after a crash, finds the old content or the new, whole.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        io::Write::write_all(&mut file, content)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&draft, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// A file's content, or `None` if there is no such file.
pub(crate) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, AuditError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::io(path)(error)),
    }
}
