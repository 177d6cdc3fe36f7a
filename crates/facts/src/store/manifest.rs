//! Looks at the small files by which the engine finds its tables, before it does: it believes the counts in them, and
//! one wrong bit there makes it ask for more memory than there is, which ends the process.
//!
//! The engine keeps a hash of its list of tables beside the list and does not look at it; so that is done here. A
//! table ends with a list of its sections, after which is where that list begins:
//!
//! ```text
//! current   number of the list, xxh3-128 of it, 0
//! table     sections "TOC!" count … "SFA!" 1 0 xxh3-128 begin length
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::store::{StoreError, encoding::Bytes};

const TRAILER_BYTES: u64 = 38;
/// A table has some ten sections.
const SECTIONS_MAX: u32 = 1_000;

/// # Errors
/// [`StoreError::Unreadable`] for what the engine would not survive; other damage it finds itself.
pub(super) fn look(engine_folder: &Path) -> Result<(), StoreError> {
    for tree in entries(&engine_folder.join("keyspaces"))? {
        if !is_list_sound(&tree).map_err(StoreError::io(&tree))? {
            return Err(StoreError::Unreadable { doing: "opened" });
        }
        for table in entries(&tree.join("tables"))? {
            if !are_sections_sound(&table).map_err(StoreError::io(&table))? {
                return Err(StoreError::Unreadable { doing: "opened" });
            }
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, StoreError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let entries = entries.map_err(StoreError::io(folder))?;
            entries.map(|entry| entry.map(|entry| entry.path()).map_err(StoreError::io(folder))).collect()
        }
    }
}

fn is_list_sound(tree: &Path) -> io::Result<bool> {
    let Some(current) = existing(fs::read(tree.join("current")))? else { return Ok(true) };
    let mut current = Bytes(&current);
    let (Some(number), Some(hash)) =
        (current.array().map(u64::from_le_bytes), current.array().map(u128::from_le_bytes))
    else {
        return Ok(false);
    };
    let list = existing(fs::read(tree.join(format!("v{number}"))))?;
    Ok(list.is_some_and(|list| xxhash_rust::xxh3::xxh3_128(&list) == hash))
}

fn are_sections_sound(table: &Path) -> io::Result<bool> {
    if !table.is_file() {
        return Ok(true);
    }
    let file = File::open(table)?;
    let Some(trailer) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(true) };
    let mut begin = [0; 8];
    file.read_exact_at(&mut begin, trailer + 22)?;
    let mut head = [0; 8];
    if file.read_exact_at(&mut head, u64::from_le_bytes(begin)).is_err() {
        return Ok(true);
    }
    let mut head = Bytes(&head);
    let (magic, count) = (head.array::<4>(), head.array().map(u32::from_le_bytes));
    Ok(magic != Some(*b"TOC!") || count.is_some_and(|count| count <= SECTIONS_MAX))
}

fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
