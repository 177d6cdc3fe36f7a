use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use weir_model::{Code, Value};
use weir_store::StoreOptions;

use crate::support::{Rows, batch, insert, name, open, quiet, read, row_ids, rows, with_table};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_row_commits_of_many_tasks_are_all_there_once() {
    let data = tempfile::tempdir().unwrap();
    let options = StoreOptions { flush_bytes: 64 << 10, fsync: true, ..quiet() };
    let database = with_table(data.path(), options.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64_i64 {
        let database = Arc::clone(&database);
        tasks.spawn(async move {
            for turn in 0..20 {
                let mut transaction = database.begin();
                transaction.insert(&name("t"), batch(&rows([task * 20 + turn], 1))).unwrap();
                let version = database.commit(transaction).await.unwrap();
                let key = [Value::BigInt(task * 20 + turn)];
                assert!(version.table(&name("t")).unwrap().lookup(&key).unwrap().is_some());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let version = database.version();
    assert_eq!(read(&version, &name("t")), rows(0..1280, 1));
    assert_eq!(version.lsn(), 1281);
    let (segments, _) = version.table(&name("t")).unwrap().segment_counts();
    assert!(segments <= 40, "{segments} segments");
    drop(version);
    drop(database);
    assert_eq!(read(&open(data.path(), options).version(), &name("t")), rows(0..1280, 1));
}

/// Tasks move amounts between two accounts and retry conflicts; readers see a constant sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_and_no_reader_sees_half_a_commit() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), StoreOptions { flush_age: Duration::from_millis(20), ..quiet() });
    let accounts: Rows = (0..4).map(|id| (id, (None, 100))).collect();
    insert(&database, &accounts).unwrap();
    let moved = Arc::new(AtomicI64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (database, done) = (Arc::clone(&database), Arc::clone(&done));
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let sum: i32 = read(&database.version(), &name("t")).values().map(|(_, n)| n).sum();
                assert_eq!(sum, 400);
            }
        })
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_i64 {
        let (database, moved) = (Arc::clone(&database), Arc::clone(&moved));
        tasks.spawn(async move {
            for turn in 0..25 {
                let (from, to) = ((task + turn) % 4, (task + turn + 1) % 4);
                loop {
                    let mut transaction = database.begin();
                    let seen = read(transaction.version(), &name("t"));
                    let doomed = row_ids(transaction.version(), &name("t"), &[from, to]);
                    transaction.delete(&name("t"), &doomed).unwrap();
                    let new: Rows =
                        [(from, seen[&from].1 - 1), (to, seen[&to].1 + 1)].map(|(id, n)| (id, (None, n))).into();
                    transaction.insert(&name("t"), batch(&new)).unwrap();
                    match database.commit(transaction).await {
                        Ok(_) => break,
                        Err(refusal) => assert_eq!(refusal.code(), Code::SerializationFailure),
                    }
                }
                moved.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert_eq!(moved.load(Ordering::Relaxed), 200);
    // Every task passes an amount around the circle: where it ends is known.
    let expected: i32 = 400;
    assert_eq!(read(&database.version(), &name("t")).values().map(|(_, n)| n).sum::<i32>(), expected);
}

#[test]
fn a_row_changed_very_often_is_still_found_by_old_and_new_readers() {
    let data = tempfile::tempdir().unwrap();
    let database = with_table(data.path(), quiet());
    insert(&database, &rows([1, 2], 0)).unwrap();
    let key = [Value::BigInt(1)];
    let mut snapshots = Vec::new();
    for turn in 1..=300 {
        let mut transaction = database.begin();
        let table = transaction.version().table(&name("t")).unwrap();
        let row = table.lookup(&key).unwrap().unwrap();
        transaction.delete(&name("t"), &[row]).unwrap();
        transaction.insert(&name("t"), batch(&rows([1], turn))).unwrap();
        let version = database.commit_blocking(transaction).unwrap();
        if turn % 50 == 0 {
            snapshots.push((turn, version));
        }
    }
    for (turn, version) in snapshots {
        let table = version.table(&name("t")).unwrap();
        let row = table.lookup(&key).unwrap().unwrap();
        let found = table.take(&[row], &[2]).unwrap();
        assert_eq!(found.column(0).as_ref(), &arrow::array::Int32Array::from(vec![turn]));
        assert_eq!(table.lookup(&[Value::BigInt(3)]).unwrap(), None);
    }
}
