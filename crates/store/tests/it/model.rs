//! Random histories against a map in memory: the same rows are seen at every step, before and after crashes.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use weir_model::Value;
use weir_store::{Database, Transaction};

use crate::support::{Rows, batch, code, name, open, quiet, read, read_with_ids, row_ids, rows, with_table};

#[derive(Debug, Clone)]
enum Step {
    Insert(BTreeSet<i64>),
    Delete(BTreeSet<i64>),
    Update(BTreeSet<i64>),
    Truncate,
    Commit,
    Abort,
    Flush,
    /// Without closing: what was not committed is lost, what was stays.
    Crash,
    Close,
}

fn keys() -> impl Strategy<Value = BTreeSet<i64>> {
    proptest::collection::btree_set(0_i64..60, 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => keys().prop_map(Step::Insert),
        3 => keys().prop_map(Step::Delete),
        3 => keys().prop_map(Step::Update),
        1 => Just(Step::Truncate),
        6 => Just(Step::Commit),
        1 => Just(Step::Abort),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

struct Run {
    data: tempfile::TempDir,
    database: Option<Arc<Database>>,
    transaction: Option<Transaction>,
    committed: Rows,
    seen: Rows,
    counter: i32,
}

impl Run {
    fn new() -> Run {
        let data = tempfile::tempdir().unwrap();
        let database = with_table(data.path(), quiet());
        let transaction = Some(database.begin());
        Run { data, database: Some(database), transaction, committed: Rows::new(), seen: Rows::new(), counter: 0 }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    fn transaction(&mut self) -> &mut Transaction {
        self.transaction.as_mut().unwrap()
    }

    fn begin(&mut self) {
        self.transaction = Some(self.database().begin());
        self.seen = self.committed.clone();
    }

    fn take(&mut self, step: &Step) {
        let table = name("t");
        self.counter += 1;
        let counter = self.counter;
        match step {
            Step::Insert(keys) => {
                let new = rows(keys.iter().copied(), counter);
                let taken = keys.iter().any(|key| self.seen.contains_key(key));
                let inserted = self.transaction().insert(&table, batch(&new));
                assert_eq!(code(inserted), taken.then_some(weir_model::Code::UniqueViolation));
                if !taken {
                    self.seen.extend(new);
                }
            }
            Step::Delete(keys) => {
                self.delete(keys);
            }
            Step::Update(keys) => {
                let there = self.delete(keys);
                let new = rows(there, counter);
                self.transaction().insert(&table, batch(&new)).unwrap();
                self.seen.extend(new);
            }
            Step::Truncate => {
                self.transaction().truncate(&table).unwrap();
                self.seen.clear();
            }
            Step::Commit => {
                let transaction = self.transaction.take().unwrap();
                let version = self.database().commit_blocking(transaction).unwrap();
                self.committed = self.seen.clone();
                assert_eq!(read(&version, &table), self.committed);
                self.begin();
            }
            Step::Abort => self.begin(),
            Step::Flush => self.database().flush().unwrap(),
            Step::Crash | Step::Close => {
                self.transaction = None;
                if matches!(step, Step::Close) {
                    self.database().close().unwrap();
                }
                self.database = None;
                self.database = Some(open(self.data.path(), quiet()));
                self.begin();
            }
        }
        self.check();
    }

    fn delete(&mut self, keys: &BTreeSet<i64>) -> Vec<i64> {
        let there: Vec<i64> = keys.iter().copied().filter(|key| self.seen.contains_key(key)).collect();
        let doomed = row_ids(self.transaction().version(), &name("t"), &there);
        assert_eq!(self.transaction().delete(&name("t"), &doomed).unwrap(), there.len() as u64);
        there.iter().for_each(|key| drop(self.seen.remove(key)));
        there
    }

    /// What is scanned is what the model holds, and the index says the same as the scan.
    fn check(&mut self) {
        let latest = self.database().version();
        assert_eq!(read(&latest, &name("t")), self.committed);
        let seen = self.seen.clone();
        let working = Arc::clone(self.transaction().version());
        assert_eq!(read(&working, &name("t")), seen);
        let table = working.table(&name("t")).unwrap();
        let scanned = read_with_ids(table).unwrap();
        for key in 0..60 {
            let found = table.lookup(&[Value::BigInt(key)]).unwrap();
            assert_eq!(found, scanned.get(&key).map(|(row, _)| *row), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_read_as_the_model(steps in proptest::collection::vec(step(), 1..40)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
    }
}
