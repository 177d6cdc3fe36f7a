//! What single transactions may do, and what they are told otherwise.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, StringViewArray},
    record_batch::RecordBatch,
};
use weir_model::{Code, ColumnType};
use weir_store::{FIRST_OID, RowId};

use crate::support::{batch, code, name, open, quiet, read, row_ids, rows, schema, with_table};

#[test]
fn a_new_database_has_the_schema_public_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let version = open(data.path(), quiet()).version();
    assert_eq!(version.schemas().collect::<Vec<_>>(), [("public", FIRST_OID)]);
    assert_eq!((version.tables().count(), version.views().count()), (0, 0));
}

#[test]
fn refusals_name_what_is_wrong_and_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let mut transaction = database.begin();
    let table = name("t");
    assert_eq!(code(transaction.insert(&name("nowhere"), batch(&rows([1], 1)))), Some(Code::UndefinedTable));
    assert_eq!(code(transaction.create_table(&table, schema())), Some(Code::DuplicateTable));
    assert_eq!(code(transaction.create_table(&name("s.t"), schema())), Some(Code::UndefinedSchema));
    assert_eq!(code(transaction.create_schema("public")), Some(Code::DuplicateSchema));
    assert_eq!(code(transaction.drop_schema("public")), Some(Code::DependentObjects));
    assert_eq!(code(transaction.drop_table(&name("nowhere"))), Some(Code::UndefinedTable));
    assert_eq!(code(transaction.drop_view(&table)), Some(Code::WrongObjectType));
    assert_eq!(code(transaction.delete(&table, &[RowId(7)])), Some(Code::Internal));
    let narrow = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert_eq!(code(transaction.insert(&table, narrow)), Some(Code::DatatypeMismatch));
    assert!(transaction.is_empty());
    assert!(Arc::ptr_eq(transaction.version(), transaction.base()));
}

#[test]
fn nulls_and_duplicate_keys_are_refused_as_postgresql_does() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int64Array::from(vec![1, 2]))),
        ("b", Arc::new(StringViewArray::from(vec!["x", "y"]))),
        ("c", Arc::new(Int32Array::from(vec![Some(1), None]))),
    ];
    let mut transaction = database.begin();
    let refusal = transaction.insert(&name("t"), RecordBatch::try_from_iter(columns).unwrap()).unwrap_err();
    assert_eq!(refusal.message(), "null value in column \"n\" of relation \"t\" violates not-null constraint");
    let twice =
        arrow::compute::concat_batches(schema().arrow(), &[batch(&rows([5], 1)), batch(&rows([5], 2))]).unwrap();
    let refusal = transaction.insert(&name("t"), twice).unwrap_err();
    assert_eq!(refusal.message(), "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(refusal.detail_line(), "code=unique_violation; constraint=t_pkey");
    // The refused batch left no key behind.
    transaction.insert(&name("t"), batch(&rows([5], 3))).unwrap();
    assert_eq!(code(transaction.insert(&name("t"), batch(&rows([4, 5], 4)))), Some(Code::UniqueViolation));
    transaction.insert(&name("t"), batch(&rows([4], 5))).unwrap();
    let version = database.commit_blocking(transaction).unwrap();
    assert_eq!(read(&version, &name("t")).keys().copied().collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_elses() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let mut mine = database.begin();
    mine.insert(&name("t"), batch(&rows([1, 2], 1))).unwrap();
    let own = row_ids(mine.version(), &name("t"), &[1]);
    assert!(own[0].0 >= RowId::PROVISIONAL);
    assert_eq!(mine.delete(&name("t"), &[own[0], own[0]]).unwrap(), 1);
    crate::support::insert(&database, &rows([9], 1)).unwrap();
    assert_eq!(read(mine.version(), &name("t")).keys().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(read(&database.version(), &name("t")).keys().copied().collect::<Vec<_>>(), [9]);
    let version = database.commit_blocking(mine).unwrap();
    assert_eq!(read(&version, &name("t")).keys().copied().collect::<Vec<_>>(), [2, 9]);
}

#[test]
fn catalog_changes_are_transactional_durable_and_keep_their_oids() {
    let data = tempfile::tempdir().unwrap();
    let database = open(data.path(), quiet());
    let mut transaction = database.begin();
    let before = transaction.version().catalog_version();
    let schema_oid = transaction.create_schema("s").unwrap();
    let id = transaction.create_table(&name("s.t"), schema()).unwrap();
    transaction.insert(&name("s.t"), batch(&rows([1], 1))).unwrap();
    let columns = vec![("id".to_owned(), ColumnType::BigInt)];
    let view = transaction.create_view(&name("s.v"), "select id from s.t", columns.clone(), "admin", false).unwrap();
    assert_ne!(transaction.version().catalog_version(), before);
    assert_eq!(
        code(transaction.create_view(&name("s.v"), "x", columns.clone(), "admin", false)),
        Some(Code::DuplicateTable)
    );
    assert_eq!(transaction.create_view(&name("s.v"), "select 1", columns, "admin", true).unwrap(), view);
    assert!(!database.version().has_schema("s"));
    database.commit_blocking(transaction).unwrap();
    let mut database = database;
    for reopen in [false, true, true] {
        if reopen {
            database.close().unwrap();
            drop(database);
            database = open(data.path(), quiet());
        }
        let version = database.version();
        assert_eq!(version.schemas().find(|(name, _)| *name == "s"), Some(("s", schema_oid)));
        assert_eq!(version.table(&name("s.t")).unwrap().id(), id);
        assert_eq!(version.view(&name("s.v")).unwrap().sql, "select 1");
        assert_eq!(read(&version, &name("s.t")), rows([1], 1));
    }
}

#[test]
fn dropping_and_making_again_gives_an_empty_table_with_another_id() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    let old = crate::support::insert(&database, &rows(0..10, 1)).unwrap();
    let mut transaction = database.begin();
    transaction.drop_table(&name("t")).unwrap();
    assert!(transaction.version().table(&name("t")).is_none());
    let id = transaction.create_table(&name("t"), schema()).unwrap();
    transaction.insert(&name("t"), batch(&rows([3], 2))).unwrap();
    let new = database.commit_blocking(transaction).unwrap();
    assert_ne!(old.table(&name("t")).unwrap().id(), id);
    assert_eq!(read(&new, &name("t")), rows([3], 2));
    // The old version is as it was.
    assert_eq!(read(&old, &name("t")), rows(0..10, 1));
}
