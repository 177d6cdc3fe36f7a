//! A full disk refuses commits and loses nothing. The last test wants a small disk of its own, which
//! `tests/facts-full-disk/run` makes and names in `WEIR_FACTS_SMALL_DISK`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use weir_facts::{Commit, FactStore, Settings, Storage, StoreError};

use crate::store_support::{Model, key, put, small, stamp};

fn commit(model: &Model, number: u64, length: usize) -> Commit {
    let key = key(&format!("facts.k{}", number % 400));
    let before = model.states.get(&key).map(|state| &**state);
    let after = put(before, &"v".repeat(length), &stamp("a", number, None));
    Commit { changes: vec![model.change(&key, Some(after))], ..Commit::default() }
}

#[test]
fn a_disk_without_the_room_that_is_kept_refuses_commits() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FactStore::open(Settings { room_kept: u64::MAX / 2, ..small(folder.path()) }).unwrap();
    for _ in 0..2 {
        let error = store.commit(&commit(&Model::default(), 1, 10)).unwrap_err();
        assert!(matches!(error, StoreError::Full { kept, .. } if kept == u64::MAX / 2), "{error}");
        assert!(store.state(&key("facts.k1")).unwrap().is_none());
        store.persist().unwrap();
    }
}

/// Takes all but `left` bytes of the disk.
fn fill_up(disk: &Path, left: u64) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = fs::File::create(&path).unwrap();
    let piece = vec![1; 64 << 10];
    let free = || {
        let found = rustix::fs::statvfs(disk).unwrap();
        found.f_bavail * found.f_frsize
    };
    while free() > left + piece.len() as u64 && file.write_all(&piece).is_ok() {}
    path
}

/// Commits until it is refused, and gives the error.
fn until_refused(store: &mut FactStore, model: &mut Model, number: &mut u64) -> StoreError {
    loop {
        *number += 1;
        let commit = commit(model, *number, 4_000);
        match store.commit(&commit) {
            Ok(()) => model.commit(&commit, 3),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_small_disk_is_filled_up_and_freed() {
    let Some(disk) = std::env::var_os("WEIR_FACTS_SMALL_DISK").map(PathBuf::from) else { return };
    println!("a disk at {}", disk.display());
    for (name, kept) in [("kept", 8 << 20), ("to-the-brim", 0_u64)] {
        let folder = disk.join(name);
        let settings = Settings { room_kept: kept, write_buffer_bytes: 256 << 10, ..small(&folder) };
        let mut store = FactStore::open(settings.clone()).unwrap();
        let (mut model, mut number) = (Model::default(), 0);
        for round in 0..3 {
            let ballast = fill_up(&disk, kept + (2 << 20));
            for _ in 0..3 {
                let error = until_refused(&mut store, &mut model, &mut number);
                assert!(matches!(error, StoreError::Full { .. }), "{name}, round {round}: {error}");
                model.compare(&store, &["a"], &["*"]);
            }
            fs::remove_file(ballast).unwrap();
            for _ in 0..20 {
                number += 1;
                let commit = commit(&model, number, 4_000);
                store.commit(&commit).unwrap();
                model.commit(&commit, 3);
            }
            store.persist().unwrap();
            model.compare(&store, &["a"], &["*"]);
        }
        drop(store);
        let store = FactStore::open(settings).unwrap();
        model.compare(&store, &["a"], &["*"]);
        assert_eq!(store.reader().check().unwrap().findings, vec![]);
        drop(store);
        fs::remove_dir_all(folder).unwrap();
    }
}
