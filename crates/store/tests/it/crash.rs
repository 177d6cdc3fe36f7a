//! `kill -9`, for real: another process commits and says so, is killed at some moment, and what it said is there.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use weir_store::StoreOptions;

use crate::support::{batch, name, open, quiet, read, row_ids, rows, schema};

const FOLDER: &str = "WEIR_STORE_CRASH_FOLDER";

fn options() -> StoreOptions {
    StoreOptions { fsync: true, flush_bytes: 16 << 10, flush_age: Duration::from_millis(15), ..quiet() }
}

/// The other process. It inserts keys upwards and deletes every fifth again, and prints each change once acknowledged.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let database = open(folder.as_ref(), options());
    let mut transaction = database.begin();
    if transaction.version().table(&name("t")).is_none() {
        transaction.create_table(&name("t"), schema()).unwrap();
        database.commit_blocking(transaction).unwrap();
    }
    let mut next = read(&database.version(), &name("t")).keys().next_back().map_or(0, |key| key + 1);
    loop {
        let mut transaction = database.begin();
        transaction.insert(&name("t"), batch(&rows([next, next + 1], 1))).unwrap();
        database.commit_blocking(transaction).unwrap();
        println!("+ {next}");
        if next % 10 == 0 {
            let mut transaction = database.begin();
            let doomed = row_ids(transaction.version(), &name("t"), &[next]);
            transaction.delete(&name("t"), &doomed).unwrap();
            database.commit_blocking(transaction).unwrap();
            println!("- {next}");
        }
        next += 2;
    }
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let data = tempfile::tempdir().unwrap();
    let (mut inserted, mut deleted) = (Vec::new(), Vec::new());
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writer", "--nocapture"])
            .env(FOLDER, data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || output.lines().map_while(Result::ok).collect::<Vec<_>>());
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(150 + 67 * round) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            // The last line may be cut: then it is not known to have been acknowledged.
            let number = |text: &str| text.parse::<i64>().ok().filter(|number| number % 2 == 0);
            inserted.extend(line.strip_prefix("+ ").and_then(number));
            deleted.extend(line.strip_prefix("- ").and_then(number));
        }
        let database = open(data.path(), quiet());
        let found =
            database.version().table(&name("t")).map(|_| read(&database.version(), &name("t"))).unwrap_or_default();
        for key in &inserted {
            assert!(found.contains_key(&(key + 1)), "round {round}: row {} is lost", key + 1);
            assert!(found.contains_key(key) || key % 10 == 0, "round {round}: row {key} is lost");
        }
        for key in &deleted {
            assert!(!found.contains_key(key), "round {round}: row {key} is back");
        }
        // Nothing half-written: both rows of a commit are there, unless one was deleted.
        for key in found.keys().filter(|key| *key % 2 == 0) {
            assert!(found.contains_key(&(key + 1)), "round {round}: half of a commit");
        }
    }
    assert!(!inserted.is_empty());
}
