use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StringViewArray},
    datatypes::{Int32Type, Int64Type, UInt64Type},
    record_batch::RecordBatch,
};
use weir_model::{Code, ColumnType, ObjectName, OrgName, Refusal};
use weir_store::{Column, Database, RowId, SegmentCache, StoreError, StoreOptions, TableSchema, TableVersion, Version};

/// What the tests' tables hold: `id bigint primary key, note text, n integer not null`.
pub type Rows = BTreeMap<i64, (Option<String>, i32)>;

pub fn schema() -> TableSchema {
    let column = |name: &str, column_type, nullable| Column { name: name.into(), column_type, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::BigInt, false),
        column("note", ColumnType::Text, true),
        column("n", ColumnType::Integer, false),
    ];
    TableSchema::new(columns, vec![0]).unwrap()
}

pub fn name(text: &str) -> ObjectName {
    ObjectName::try_from(text.to_owned()).unwrap()
}

pub fn batch(rows: &Rows) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.keys().copied());
    let notes: StringViewArray = rows.values().map(|(note, _)| note.clone()).collect();
    let numbers = Int32Array::from_iter_values(rows.values().map(|(_, n)| *n));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(notes), Arc::new(numbers)];
    RecordBatch::try_new(schema().arrow().clone(), columns).unwrap()
}

pub fn row(id: i64, n: i32) -> (i64, (Option<String>, i32)) {
    let note = match id % 3 {
        0 => None,
        1 => Some(format!("{n}")),
        _ => Some(format!("a note too long to be kept within a view, number {n}")),
    };
    (id, (note, n))
}

pub fn rows(ids: impl IntoIterator<Item = i64>, n: i32) -> Rows {
    ids.into_iter().map(|id| row(id, n)).collect()
}

/// The same, with the rows' ids.
pub type RowsWithIds = BTreeMap<i64, (RowId, (Option<String>, i32))>;

/// All rows of a table, with their ids, checking that no key is there twice.
pub fn read_with_ids(table: &TableVersion) -> Result<RowsWithIds, StoreError> {
    let mut found = BTreeMap::new();
    let mut count = 0;
    for unit in table.scan_units() {
        for batch in unit.read(&[0, 1, 2], None, true)? {
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let notes = batch.column(1).as_string_view();
            let numbers = batch.column(2).as_primitive::<Int32Type>();
            let row_ids = batch.column(3).as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let note = notes.is_valid(row).then(|| notes.value(row).to_owned());
                let values = (RowId(row_ids.value(row)), (note, numbers.value(row)));
                assert!(found.insert(ids.value(row), values).is_none(), "key {} is there twice", ids.value(row));
                count += 1;
            }
        }
    }
    assert_eq!(count, table.row_count());
    Ok(found)
}

pub fn read(version: &Version, table: &ObjectName) -> Rows {
    let table = version.table(table).unwrap();
    read_with_ids(table).unwrap().into_iter().map(|(id, (_, values))| (id, values)).collect()
}

/// The row ids of keys, by scanning.
pub fn row_ids(version: &Version, table: &ObjectName, keys: &[i64]) -> Vec<RowId> {
    let found = read_with_ids(version.table(table).unwrap()).unwrap();
    keys.iter().filter_map(|key| found.get(key)).map(|(row, _)| *row).collect()
}

/// Options under which nothing flushes by itself and the disk is not waited for.
pub fn quiet() -> StoreOptions {
    StoreOptions {
        fsync: false,
        wal_file_bytes: 1 << 16,
        flush_age: Duration::from_secs(3600),
        ..StoreOptions::default()
    }
}

pub fn try_open(data: &Path, options: StoreOptions) -> Result<Arc<Database>, StoreError> {
    Database::open(data, &OrgName::new("acme").unwrap(), options, SegmentCache::new(64 << 20))
}

pub fn open(data: &Path, options: StoreOptions) -> Arc<Database> {
    try_open(data, options).unwrap()
}

/// A database with an empty table `public.t`.
pub fn with_table(data: &Path, options: StoreOptions) -> Arc<Database> {
    let database = open(data, options);
    let mut transaction = database.begin();
    transaction.create_table(&name("t"), schema()).unwrap();
    database.commit_blocking(transaction).unwrap();
    database
}

pub fn insert(database: &Database, rows: &Rows) -> Result<Arc<Version>, Refusal> {
    let mut transaction = database.begin();
    transaction.insert(&name("t"), batch(rows))?;
    database.commit_blocking(transaction)
}

pub fn delete(database: &Database, keys: &[i64]) {
    let mut transaction = database.begin();
    let doomed = row_ids(transaction.version(), &name("t"), keys);
    assert_eq!(transaction.delete(&name("t"), &doomed).unwrap(), keys.len() as u64);
    database.commit_blocking(transaction).unwrap();
}

pub fn files(data: &Path, kind: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(data.join(kind).join("acme"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

pub fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Option<Code> {
    result.err().map(|refusal| refusal.code())
}
