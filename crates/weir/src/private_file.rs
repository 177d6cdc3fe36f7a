//! Files that only their owner may read, and that are whole or absent: a crash leaves the old or the new one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Makes a folder, and those above it, for its owner alone.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces the file by one with these bytes and mode 0600. When this returns, the new file survives a power loss.
///
/// # Errors
/// Whatever the file system says; then the old file is untouched.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("the path has no folder"))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    // The rename itself is durable only with the folder.
    File::open(folder)?.sync_all()
}

/// Whether others than the owner may read the file.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn is_exposed(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// What tells one state of a file from another without reading it: changes whenever [`replace`] was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified_ns: i128,
}

impl Stamp {
    /// None when there is no such file.
    ///
    /// # Errors
    /// Whatever else the file system says.
    pub fn of(path: &Path) -> io::Result<Option<Stamp>> {
        use std::os::unix::fs::MetadataExt;
        match fs::metadata(path) {
            Ok(about) => Ok(Some(Stamp {
                inode: about.ino(),
                length: about.len(),
                modified_ns: i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn files_are_private_and_replacing_changes_the_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/secret");
        create_folder(path.parent().unwrap()).unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), None);
        replace(&path, b"one").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert!(!is_exposed(&path).unwrap() && !is_exposed(path.parent().unwrap()).unwrap());
        replace(&path, b"two").unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), first);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
