use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::failure::Failure;

/// Held while a process serves a data folder, so that no second one does. The system lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataLock(#[expect(dead_code, reason = "held, not read")] File);

impl DataLock {
    /// # Errors
    /// Another process serves the folder.
    pub fn take(data: &Path) -> Result<DataLock, Failure> {
        let path = data.join("weir.lock");
        let named = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let failure = Failure::new(format!("another weir serves the data folder {}", data.display()));
                return Err(failure.hint("stop it, or give this one a folder of its own with --data"));
            }
            Err(TryLockError::Error(error)) => return Err(named(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(named)?;
        Ok(DataLock(file))
    }
}
