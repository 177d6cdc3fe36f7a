//! A note, outside the engine, of how many commits were durable. The engine cuts its log off where it finds damage and
//! says nothing; with the note, durable commits that are missing are missed.
//!
//! The note is written after the commits are durable and is not made durable itself: after a power cut it may tell of
//! fewer, never of more.

use std::{fs, os::unix::fs::FileExt, path::Path};

use crate::store::StoreError;

const FILE: &str = "durable";

#[derive(Debug)]
pub(super) struct Mark {
    file: fs::File,
    path: std::path::PathBuf,
}

impl Mark {
    /// The mark, and what it tells: nothing if it is new or was cut short.
    pub(super) fn open(folder: &Path) -> Result<(Mark, u64), StoreError> {
        let path = folder.join(FILE);
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(StoreError::io(&path))?;
        let mut bytes = [0; 12];
        let told = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => parse(bytes).unwrap_or(0),
            Err(_) => 0,
        };
        Ok((Mark { file, path }, told))
    }

    pub(super) fn set(&self, commits: u64) -> Result<(), StoreError> {
        let mut bytes = [0; 12];
        let number = commits.to_le_bytes();
        let check = crc32c::crc32c(&number).to_le_bytes();
        bytes.iter_mut().zip(number.into_iter().chain(check)).for_each(|(to, from)| *to = from);
        self.file.write_all_at(&bytes, 0).map_err(StoreError::io(&self.path))
    }
}

fn parse(bytes: [u8; 12]) -> Option<u64> {
    let (number, check) = bytes.split_first_chunk::<8>()?;
    (crc32c::crc32c(number).to_le_bytes().as_slice() == check).then(|| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_mark_is_kept_and_a_damaged_one_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let told = || Mark::open(folder.path()).unwrap().1;
        assert_eq!(told(), 0);
        Mark::open(folder.path()).unwrap().0.set(u64::MAX - 1).unwrap();
        assert_eq!(told(), u64::MAX - 1);
        let path = folder.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(told(), 0);
        fs::write(&path, &bytes[..5]).unwrap();
        assert_eq!(told(), 0);
    }
}
