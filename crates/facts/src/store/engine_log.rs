//! The files of the engine's log: numbered, and written one after the other.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::store::StoreError;

pub(super) fn path(engine_folder: &Path, number: u64) -> PathBuf {
    engine_folder.join(format!("{number}.jnl"))
}

/// The number of the newest file. `None`: there is none.
pub(super) fn newest(engine_folder: &Path) -> Result<Option<u64>, StoreError> {
    let files = all(engine_folder).map_err(StoreError::io(engine_folder))?;
    Ok(files.into_iter().max())
}

/// Files from this number on are those that the engine makes when it is opened now, or later.
pub(super) fn first_new(engine_folder: &Path) -> Result<u64, StoreError> {
    if !engine_folder.exists() {
        return Ok(0);
    }
    Ok(newest(engine_folder)?.map_or(0, |newest| newest.saturating_add(1)))
}

/// Removes a log without a record, which the engine makes anew when it is opened.
pub(super) fn remove_empty(engine_folder: &Path) -> Result<(), StoreError> {
    let [number] = *all(engine_folder).map_err(StoreError::io(engine_folder))? else { return Ok(()) };
    let path = path(engine_folder, number);
    if is_zeros(&path).map_err(StoreError::io(&path))? {
        fs::remove_file(&path).map_err(StoreError::io(&path))?;
    }
    Ok(())
}

/// The files' numbers.
pub(super) fn all(engine_folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(engine_folder)? {
        let name = entry?.file_name();
        numbers.extend(
            name.to_str().and_then(|name| name.strip_suffix(".jnl")).and_then(|number| number.parse::<u64>().ok()),
        );
    }
    Ok(numbers)
}

fn is_zeros(path: &Path) -> io::Result<bool> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(true);
        }
        if buffer.iter().take(count).any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
}
