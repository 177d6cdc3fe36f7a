use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Seek, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::failure::Failure;

const FILE: &str = "weir.lock";

/// Held while a process serves a data folder, so that no second one does. The system lets go of it when the process
/// ends, however it ends. The file says which process it is and, on its second line, where that takes connections.
#[derive(Debug)]
pub(crate) struct DataLock(File);

impl DataLock {
    /// # Errors
    /// Another process serves the folder.
    pub fn take(data: &Path) -> Result<DataLock, Failure> {
        let path = data.join(FILE);
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
    /// Tells whoever reads the file where this process takes connections.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&mut self, address: SocketAddr) -> io::Result<()> {
        self.0.seek(io::SeekFrom::End(0))?;
        writeln!(self.0, "{address}")
    }
}

/// Where the folder is served, or was when it last was.
pub(crate) fn last_address(data: &Path) -> Option<SocketAddr> {
    std::fs::read_to_string(data.join(FILE)).ok()?.lines().nth(1)?.parse().ok()
}
