use arrow::{array::AsArray, buffer::BooleanBuffer, datatypes::Int64Type};
use weir_model::Value;
use weir_store::{BLOCK_ROWS, Database, RowId, StoreError};

use crate::support::{batch, delete, insert, name, quiet, read_with_ids, rows, with_table};

/// 20,000 rows in memory or in a file, of which every row from 8,192 to 16,383 and the row 3 are deleted.
fn prepared(data: &std::path::Path, flushed: bool) -> std::sync::Arc<Database> {
    let database = with_table(data, quiet());
    insert(&database, &rows(0..20_000, 1)).unwrap();
    if flushed {
        database.flush().unwrap();
    }
    let doomed: Vec<i64> = std::iter::once(3).chain(8_192..16_384).collect();
    delete(&database, &doomed);
    database
}

#[test]
fn scans_pass_over_what_is_deleted_or_not_selected() {
    for flushed in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let database = prepared(data.path(), flushed);
        let version = database.version();
        let units = version.table(&name("t")).unwrap().scan_units();
        let [unit] = units.as_slice() else { panic!("one unit expected") };
        assert_eq!((unit.is_cold(), unit.rows(), unit.blocks().len()), (flushed, 20_000 - 8_193, 3));
        let counts = |selection: Option<Vec<bool>>, projection: &[usize]| {
            let selection = selection.map(BooleanBuffer::from);
            let batches = unit.read(projection, selection.as_ref(), false).unwrap();
            batches.iter().map(|batch| (batch.num_rows(), batch.num_columns())).collect::<Vec<_>>()
        };
        assert_eq!(counts(None, &[2, 0]), [(8_191, 2), (3_616, 2)]);
        assert_eq!(counts(None, &[]), [(8_191, 0), (3_616, 0)]);
        assert_eq!(counts(Some(vec![false, true, true]), &[1]), [(3_616, 1)]);
        assert_eq!(counts(Some(vec![false, true, false]), &[1]), []);
        let batches = unit.read(&[0], None, true).unwrap();
        let schema = batches[0].schema();
        assert_eq!(schema.field(1).name(), "__rowid");
        for batch in &batches {
            let ids = batch.column(0).as_primitive::<Int64Type>().values();
            let rows = batch.column(1).as_primitive::<arrow::datatypes::UInt64Type>().values();
            assert!(ids.iter().zip(rows).all(|(id, row)| *id == i64::try_from(*row).unwrap()));
        }
        assert!(unit.read(&[3], None, false).is_err());
    }
}

#[test]
fn zones_bound_every_block_hot_and_cold_alike() {
    let zones = [false, true].map(|flushed| {
        let data = tempfile::tempdir().unwrap();
        let database = prepared(data.path(), flushed);
        let version = database.version();
        let unit = version.table(&name("t")).unwrap().scan_units().remove(0);
        let ids = unit.blocks().zones(0).unwrap().unwrap();
        assert_eq!(ids.min.as_primitive::<Int64Type>().values(), &[0, 8_192, 16_384]);
        assert_eq!(ids.max.as_primitive::<Int64Type>().values(), &[8_191, 16_383, 19_999]);
        assert_eq!(unit.blocks().stored_rows(2), 20_000 - 2 * BLOCK_ROWS);
        (0..3).map(|column| unit.blocks().zones(column).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(zones[0], zones[1]);
}

#[test]
fn taking_keeps_the_order_and_refuses_the_dead() {
    for flushed in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let database = prepared(data.path(), flushed);
        insert(&database, &rows([50_000], 2)).unwrap();
        let version = database.version();
        let table = version.table(&name("t")).unwrap();
        let row = |key: i64| table.lookup(&[Value::BigInt(key)]).unwrap();
        let wanted = [50_000, 5, 19_999, 5].map(|key| row(key).unwrap());
        let taken = table.take(&wanted, &[0]).unwrap();
        assert_eq!(taken.column(0).as_primitive::<Int64Type>().values(), &[50_000, 5, 19_999, 5]);
        assert_eq!(table.take(&[], &[0, 1]).unwrap().num_rows(), 0);
        assert_eq!(table.take(&wanted, &[]).unwrap().num_rows(), 4);
        assert_eq!(row(3), None);
        assert!(matches!(table.take(&[RowId(3)], &[0]), Err(StoreError::NoSuchRow(3))));
        assert!(matches!(table.take(&[RowId(1 << 40)], &[0]), Err(StoreError::NoSuchRow(_))));
    }
}

#[test]
fn the_index_agrees_with_a_scan_after_many_changes() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    for turn in 0..30_i64 {
        insert(&database, &rows(turn * 10..turn * 10 + 10, 1)).unwrap();
        delete(
            &database,
            &[turn * 10 + 3, turn * 7 % (turn * 10 + 1)]
                .into_iter()
                .filter(|key| {
                    database.version().table(&name("t")).unwrap().lookup(&[Value::BigInt(*key)]).unwrap().is_some()
                })
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>(),
        );
        if turn % 11 == 10 {
            database.flush().unwrap();
        }
    }
    let version = database.version();
    let table = version.table(&name("t")).unwrap();
    let scanned = read_with_ids(table).unwrap();
    for key in -5..310 {
        assert_eq!(table.lookup(&[Value::BigInt(key)]).unwrap(), scanned.get(&key).map(|(row, _)| *row), "{key}");
    }
}

#[test]
fn a_flush_changes_no_row_id_and_disturbs_no_transaction() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    for id in 0..200 {
        insert(&database, &rows([id], 1)).unwrap();
    }
    let before = read_with_ids(database.version().table(&name("t")).unwrap()).unwrap();
    let mut open_one = database.begin();
    let doomed: Vec<RowId> = before.values().take(50).map(|(row, _)| *row).collect();
    open_one.delete(&name("t"), &doomed).unwrap();
    open_one.insert(&name("t"), batch(&rows(1_000..1_010, 2))).unwrap();
    database.flush().unwrap();
    let version = database.version();
    assert_eq!(read_with_ids(version.table(&name("t")).unwrap()).unwrap(), before);
    assert_eq!(version.table(&name("t")).unwrap().segment_counts(), (1, 0));
    let after = database.commit_blocking(open_one).unwrap();
    assert_eq!(after.table(&name("t")).unwrap().row_count(), 160);
}
