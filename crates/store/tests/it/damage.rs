//! Bytes on disk that are not what was written.

use std::{fs, path::Path};

use weir_model::Code;
use weir_store::{Database, StoreError, TableSchema};

use crate::support::{batch, code, files, insert, name, open, quiet, read, read_with_ids, rows, try_open, with_table};

/// Ten commits in the log, nothing flushed.
fn with_log(data: &Path) {
    let database = with_table(data, quiet());
    for id in 0..10 {
        insert(&database, &rows([id], 1)).unwrap();
    }
}

fn log_file(data: &Path) -> std::path::PathBuf {
    files(data, "wal", "wal").pop().unwrap()
}

/// Where each frame of a log file begins, and where the last ends.
fn frames(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let mut offsets = vec![0];
    loop {
        let at = *offsets.last().unwrap();
        let Some(header) = bytes.get(at..at + 4) else { return offsets };
        let length = u32::from_le_bytes(header.try_into().unwrap()) as usize;
        if length == 0 {
            return offsets;
        }
        offsets.push((at + 24 + length).next_multiple_of(8));
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_cut_or_garbled_last_write_is_left_out_and_the_log_goes_on() {
    let data = tempfile::tempdir().unwrap();
    with_log(data.path());
    let path = log_file(data.path());
    let whole = fs::read(&path).unwrap();
    let offsets = frames(&path);
    let (last, end) = (offsets[offsets.len() - 2], offsets[offsets.len() - 1]);
    let mut spoiled: Vec<Vec<u8>> = (last..end - 8).step_by(5).map(|length| whole[..length].to_vec()).collect();
    spoiled.extend((last..end - 8).step_by(7).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    }));
    // Only the first sector of the last write reached the disk; zeros follow.
    spoiled.push([&whole[..last + 20], &[0; 4096]].concat());
    for bytes in spoiled {
        for path in files(data.path(), "wal", "wal") {
            fs::remove_file(path).unwrap();
        }
        fs::write(&path, &bytes).unwrap();
        let database = open(data.path(), quiet());
        assert_eq!(read(&database.version(), &name("t")), rows(0..9, 1));
        insert(&database, &rows([77], 1)).unwrap();
        drop(database);
        let database = open(data.path(), quiet());
        assert_eq!(read(&database.version(), &name("t")), rows((0..9).chain([77]), 1));
    }
}

#[test]
fn damage_before_a_sound_write_is_named() {
    let data = tempfile::tempdir().unwrap();
    with_log(data.path());
    let path = log_file(data.path());
    let whole = fs::read(&path).unwrap();
    let offsets = frames(&path);
    for frame in [0, 4, offsets.len() - 3] {
        let bytes = offsets[frame]..offsets[frame + 1];
        for at in [bytes.start, bytes.start + 5, bytes.start + 9, bytes.start + 25] {
            flip(&path, at);
            match try_open(data.path(), quiet()) {
                Err(StoreError::Corrupted { path: named, offset, .. }) => {
                    assert_eq!((named, offset), (path.clone(), bytes.start as u64), "byte {at}");
                }
                other => panic!("byte {at}: {other:?}"),
            }
            fs::write(&path, &whole).unwrap();
        }
        // A whole frame turned to zeros is missed as well.
        let mut zeroed = whole.clone();
        zeroed[bytes.clone()].fill(0);
        fs::write(&path, &zeroed).unwrap();
        assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Corrupted { .. })));
        fs::write(&path, &whole).unwrap();
    }
    open(data.path(), quiet());
}

#[test]
fn a_missing_log_file_is_named() {
    let data = tempfile::tempdir().unwrap();
    with_log(data.path());
    drop(open(data.path(), quiet()));
    let database = open(data.path(), quiet());
    insert(&database, &rows([20], 1)).unwrap();
    drop(database);
    let all = files(data.path(), "wal", "wal");
    assert!(all.len() >= 2, "{all:?}");
    fs::remove_file(&all[0]).unwrap();
    assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Corrupted { .. })));
}

/// Two tables in files, no rows in the log.
fn with_segments(data: &Path) {
    let database = with_table(data, quiet());
    let mut transaction = database.begin();
    transaction.create_table(&name("u"), crate::support::schema()).unwrap();
    transaction.insert(&name("u"), batch(&rows(0..100, 2))).unwrap();
    transaction.insert(&name("t"), batch(&rows(0..3_000, 1))).unwrap();
    database.commit_blocking(transaction).unwrap();
    database.close().unwrap();
}

fn read_fresh(database: &Database) -> Result<crate::support::Rows, StoreError> {
    let version = database.version();
    let table = version.table(&name("t")).unwrap();
    table.statistics()?;
    Ok(read_with_ids(table)?.into_iter().map(|(id, (_, values))| (id, values)).collect())
}

#[test]
fn a_flipped_bit_in_a_segment_never_changes_an_answer_and_harms_no_other_table() {
    let data = tempfile::tempdir().unwrap();
    with_segments(data.path());
    let path = files(data.path(), "segments", "parquet")
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let mut named = 0;
    let step = whole.len() / 60;
    for at in (0..whole.len()).step_by(step) {
        flip(&path, at);
        let database = open(data.path(), quiet());
        match read_fresh(&database) {
            Ok(found) => assert_eq!(found, rows(0..3_000, 1), "byte {at}"),
            Err(StoreError::Corrupted { path: found, .. }) => {
                assert_eq!(found, path);
                named += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
        assert_eq!(read(&database.version(), &name("u")), rows(0..100, 2));
        drop(database);
        fs::write(&path, &whole).unwrap();
    }
    assert!(named >= 58, "{named} of 61 flips were named");
}

#[test]
fn a_cut_or_missing_segment_stops_the_opening() {
    let data = tempfile::tempdir().unwrap();
    with_segments(data.path());
    let path = files(data.path(), "segments", "parquet").remove(0);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Corrupted { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Io { .. })));
    fs::write(&path, &whole).unwrap();
    open(data.path(), quiet());
}

#[test]
fn a_damaged_manifest_is_replaced_by_the_one_before_and_the_log() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    for turn in 0..4 {
        insert(&database, &rows(turn * 10..turn * 10 + 10, 1)).unwrap();
        database.flush().unwrap();
    }
    insert(&database, &rows([99], 1)).unwrap();
    drop(database);
    let expected = rows((0..40).chain([99]), 1);
    let manifests = files(data.path(), "manifests", "json");
    assert_eq!(manifests.len(), 2);
    let length = fs::metadata(&manifests[1]).unwrap().len() as usize;
    for at in (0..length).step_by(length / 20) {
        let copy = copy_of(data.path());
        flip(&files(copy.path(), "manifests", "json")[1], at);
        assert_eq!(read(&open(copy.path(), quiet()).version(), &name("t")), expected, "byte {at}");
        // And once more, now that the damaged one is out of the way.
        assert_eq!(read(&open(copy.path(), quiet()).version(), &name("t")), expected, "byte {at}");
    }
    for path in manifests {
        flip(&path, 30);
    }
    assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Corrupted { .. })));
}

fn copy_of(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for kind in ["wal", "segments", "manifests"] {
        let (from, to) = (data.join(kind).join("acme"), copy.path().join(kind).join("acme"));
        fs::create_dir_all(&to).unwrap();
        for item in fs::read_dir(from).unwrap() {
            let item = item.unwrap();
            fs::copy(item.path(), to.join(item.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn one_process_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let database = open(data.path(), quiet());
    assert!(matches!(try_open(data.path(), quiet()), Err(StoreError::Locked { .. })));
    drop(database);
    open(data.path(), quiet());
}

#[test]
fn what_nothing_names_any_more_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    for turn in 0..6 {
        insert(&database, &rows(turn * 100..turn * 100 + 100, 1)).unwrap();
        database.flush().unwrap();
    }
    let version = database.version();
    let (segments, _) = version.table(&name("t")).unwrap().segment_counts();
    let held = files(data.path(), "segments", "parquet").len();
    // Those of the current version, and at most those of the manifest before.
    assert!(held <= 2 * segments + 1, "{held} files for {segments} segments");
    assert_eq!(files(data.path(), "manifests", "json").len(), 2);
    let mut transaction = database.begin();
    transaction.truncate(&name("t")).unwrap();
    database.commit_blocking(transaction).unwrap();
    for turn in 0..3 {
        insert(&database, &rows([turn], 2)).unwrap();
        database.flush().unwrap();
    }
    // The reader's own files are there as long as it is.
    assert_eq!(read(&version, &name("t")), rows(0..600, 1));
    drop(version);
    assert!(files(data.path(), "segments", "parquet").len() <= 4);
    fs::write(data.path().join("segments/acme/00099999-000000000001.parquet"), b"left by a crash").unwrap();
    drop(database);
    let database = open(data.path(), quiet());
    assert_eq!(read(&database.version(), &name("t")), rows(0..3, 2));
    assert!(files(data.path(), "segments", "parquet").len() <= 4);
}

#[test]
fn a_damaged_segment_does_not_keep_new_rows_from_being_flushed() {
    let data = tempfile::tempdir().unwrap();
    let keyless = TableSchema::new(crate::support::schema().columns().to_vec(), Vec::new()).unwrap();
    let database = with_table(data.path(), quiet());
    let mut transaction = database.begin();
    transaction.create_table(&name("w"), keyless).unwrap();
    transaction.insert(&name("w"), batch(&rows(0..100, 1))).unwrap();
    transaction.insert(&name("t"), batch(&rows(0..100, 1))).unwrap();
    database.commit_blocking(transaction).unwrap();
    database.close().unwrap();
    drop(database);
    for path in files(data.path(), "segments", "parquet") {
        flip(&path, 20);
    }
    let database = open(data.path(), quiet());
    // No key can be said to be new while some cannot be read.
    assert_eq!(code(insert(&database, &rows(200..300, 1))), Some(Code::DataCorrupted));
    let mut transaction = database.begin();
    transaction.insert(&name("w"), batch(&rows(200..300, 1))).unwrap();
    database.commit_blocking(transaction).unwrap();
    database.close().unwrap();
    drop(database);
    let version = open(data.path(), quiet()).version();
    assert!(version.committed_at() > 1_600_000_000_000_000);
    let table = version.table(&name("w")).unwrap();
    assert_eq!((table.row_count(), table.segment_counts()), (200, (2, 0)));
    let [old, new] = table.scan_units().try_into().unwrap();
    assert!(matches!(old.read(&[0, 1, 2], None, false), Err(StoreError::Corrupted { .. })));
    assert_eq!(new.read(&[0, 1, 2], None, false).unwrap(), [batch(&rows(200..300, 1))]);
}
