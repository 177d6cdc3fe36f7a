//! Two transactions on one version: the first commits, what becomes of the second.

use weir_model::{Code, ObjectName};
use weir_store::{Database, Transaction};

use crate::support::{batch, code, insert, name, quiet, row_ids, rows, schema, with_table};

type Change = fn(&mut Transaction);

fn table() -> ObjectName {
    name("t")
}

fn delete_1(transaction: &mut Transaction) {
    let doomed = row_ids(transaction.version(), &table(), &[1]);
    transaction.delete(&table(), &doomed).unwrap();
}

fn update_1(transaction: &mut Transaction) {
    delete_1(transaction);
    transaction.insert(&table(), batch(&rows([1], 100))).unwrap();
}

fn delete_2(transaction: &mut Transaction) {
    let doomed = row_ids(transaction.version(), &table(), &[2]);
    transaction.delete(&table(), &doomed).unwrap();
}

fn insert_7(transaction: &mut Transaction) {
    transaction.insert(&table(), batch(&rows([7], 100))).unwrap();
}

fn insert_8(transaction: &mut Transaction) {
    transaction.insert(&table(), batch(&rows([8], 100))).unwrap();
}

fn truncate(transaction: &mut Transaction) {
    transaction.truncate(&table()).unwrap();
}

fn drop_it(transaction: &mut Transaction) {
    transaction.drop_table(&table()).unwrap();
}

fn create_u(transaction: &mut Transaction) {
    transaction.create_table(&name("u"), schema()).unwrap();
}

fn create_in_s(transaction: &mut Transaction) {
    transaction.create_table(&name("s.u"), schema()).unwrap();
}

fn drop_s(transaction: &mut Transaction) {
    transaction.drop_schema("s").unwrap();
}

fn replace_view(transaction: &mut Transaction) {
    transaction.create_view(&name("v"), "select 2", Vec::new(), "admin", true).unwrap();
}

fn prepared(data: &std::path::Path) -> std::sync::Arc<Database> {
    let database = with_table(data, quiet());
    let mut transaction = database.begin();
    transaction.create_schema("s").unwrap();
    transaction.create_view(&name("v"), "select 1", Vec::new(), "admin", false).unwrap();
    transaction.insert(&table(), batch(&rows(0..5, 0))).unwrap();
    database.commit_blocking(transaction).unwrap();
    database
}

const CONFLICT: Option<Code> = Some(Code::SerializationFailure);

#[test]
fn the_first_committer_wins() {
    let cases: &[(Change, Change, Option<Code>)] = &[
        (delete_1, delete_1, CONFLICT),
        (update_1, update_1, CONFLICT),
        (update_1, delete_1, CONFLICT),
        (delete_1, delete_2, None),
        (update_1, delete_2, None),
        (insert_7, insert_7, Some(Code::UniqueViolation)),
        (insert_7, insert_8, None),
        (insert_7, update_1, None),
        (truncate, delete_1, CONFLICT),
        (truncate, insert_7, None),
        (insert_7, truncate, CONFLICT),
        (delete_1, truncate, CONFLICT),
        (drop_it, insert_7, CONFLICT),
        (drop_it, delete_1, CONFLICT),
        (insert_7, drop_it, None),
        (drop_it, drop_it, CONFLICT),
        (create_u, create_u, CONFLICT),
        (create_in_s, drop_s, CONFLICT),
        (drop_s, create_in_s, CONFLICT),
        (replace_view, replace_view, CONFLICT),
        (create_u, insert_7, None),
    ];
    for (case, (first, second, expected)) in cases.iter().enumerate() {
        for flush_between in [false, true] {
            let data = tempfile::tempdir().unwrap();
            let database = prepared(data.path());
            let (mut one, mut two) = (database.begin(), database.begin());
            first(&mut one);
            second(&mut two);
            database.commit_blocking(one).unwrap();
            if flush_between {
                database.flush().unwrap();
            }
            let before = database.version().lsn();
            let outcome = code(database.commit_blocking(two));
            assert_eq!(outcome, *expected, "case {case}, flush {flush_between}");
            assert_eq!(database.version().lsn(), before + u64::from(expected.is_none()), "case {case}");
        }
    }
}

#[test]
fn a_key_deleted_by_a_later_commit_may_be_used_again() {
    let data = tempfile::tempdir().unwrap();
    let database = prepared(data.path());
    let mut late = database.begin();
    insert_7(&mut late);
    insert(&database, &rows([7], 1)).unwrap();
    crate::support::delete(&database, &[7]);
    assert_eq!(code(database.commit_blocking(late)), None);
}

#[test]
fn a_conflict_says_to_try_again() {
    let data = tempfile::tempdir().unwrap();
    let database = prepared(data.path());
    let (mut one, mut two) = (database.begin(), database.begin());
    update_1(&mut one);
    update_1(&mut two);
    database.commit_blocking(one).unwrap();
    let refusal = database.commit_blocking(two).unwrap_err();
    assert_eq!(refusal.sqlstate().0, "40001");
    assert_eq!(refusal.message(), "could not serialize access due to a concurrent update");
    assert_eq!(refusal.hint_line(), Some("retry the transaction"));
}
