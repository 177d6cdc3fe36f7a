use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use std::sync::Arc;
use weir_model::{Code, Value};
use weir_store::{BLOCK_ROWS, CHUNK_ROWS};

use crate::support::{batch, code, files, name, open, quiet, rows, with_table};

const ROWS: i64 = 300_000;

#[test]
fn a_large_insert_goes_to_files_and_comes_back_whole() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let table = name("t");
    let mut transaction = database.begin();
    for start in (0..ROWS).step_by(50_000) {
        transaction.insert(&table, batch(&rows(start..start + 50_000, 7))).unwrap();
    }
    assert!(!files(data.path(), "segments", "parquet").is_empty());
    assert_eq!(transaction.version().table(&table).unwrap().row_count(), ROWS as u64);
    assert_eq!(code(transaction.insert(&table, batch(&rows([123_456], 8)))), Some(Code::UniqueViolation));
    let version = database.commit_blocking(transaction).unwrap();
    check(&version);
    drop(version);
    drop(database);

    let database = open(data.path(), quiet());
    check(&database.version());
    database.flush().unwrap();
    check(&database.version());
    let held = database.version();
    drop(database);
    // Readers outlive the database.
    check(&held);
    let database = open(data.path(), quiet());
    check(&database.version());

    let mut aborted = database.begin();
    aborted.truncate(&table).unwrap();
    aborted.insert(&table, batch(&rows(0..140_000, 9))).unwrap();
    let before = files(data.path(), "segments", "parquet").len();
    drop(aborted);
    assert!(files(data.path(), "segments", "parquet").len() < before, "an aborted insert leaves no file");
}

fn check(version: &weir_store::Version) {
    let table = version.table(&name("t")).unwrap();
    assert_eq!(table.row_count(), ROWS as u64);
    let mut next = 0;
    for unit in table.scan_units() {
        assert!(unit.rows() <= CHUNK_ROWS);
        for batch in unit.read(&[0], None, false).unwrap() {
            assert!(batch.num_rows() <= BLOCK_ROWS);
            for id in batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values() {
                assert_eq!(*id, next);
                next += 1;
            }
        }
    }
    assert_eq!(next, ROWS);
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![0, 65_535, 65_536, 299_999, 300_000, -1]));
    let found = table.lookup_batch(&[keys]).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, true, false, false]);
    let wanted: Vec<_> = found.into_iter().flatten().rev().collect();
    let taken = table.take(&wanted, &[2, 0]).unwrap();
    let ids = taken.column(1).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(ids.values(), &[299_999, 65_536, 65_535, 0]);
    let statistics = table.statistics().unwrap();
    assert_eq!(statistics.columns[0].distinct, Some(ROWS as u64));
    assert_eq!(
        statistics.columns[0].max.as_ref().unwrap().as_primitive::<arrow::datatypes::Int64Type>().value(0),
        ROWS - 1
    );
    assert_eq!(statistics.columns[1].null_count, 100_000);
    assert!(statistics.columns[2].distinct.unwrap() <= 2);
    assert!(statistics.columns[2].min.as_ref().unwrap().is_valid(0));
    assert_eq!(table.lookup(&[Value::Text("x".into())]).unwrap(), None);
}
