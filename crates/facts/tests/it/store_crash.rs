//! A node that is killed at any moment has every commit that was durable, and of the others the first ones.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use weir_facts::{Commit, FactStore, Millis, Settings, Storage, StoreError};

use crate::store_support::{Model, NOW, files, key, put, sealed, small, stamp};

const CHILD: &str = "WEIR_FACTS_CRASH_CHILD";
const KEYS: u64 = 37;
const MANY: u64 = 300;

/// The same of many keys, of which many are forgotten: some that were put over before, so that blocks before have their
/// older states beside others that stay.
fn forgetting(number: u64, model: &Model) -> Commit {
    let mut commit = Commit::default();
    let mut dice = number;
    let mut below = |bound: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % bound
    };
    for part in 0..1 + below(24) {
        // Few are of the second half, which so stays.
        let bound = if below(20) == 0 { MANY } else { MANY / 2 };
        let key = key(&format!("facts.many-{:03}", below(bound)));
        if commit.changes.iter().any(|change| change.key == key) {
            continue;
        }
        let before = model.states.get(&key);
        let after = put(before.map(|state| &**state), &"x".repeat(150), &stamp("a", number * 32 + part, None));
        let is_forgotten = below(4) == 0 && before.is_some();
        commit.changes.push(model.change(&key, (!is_forgotten).then_some(after)));
    }
    commit.metadata.push(("number".to_owned(), Some(number.to_le_bytes().to_vec())));
    commit
}

/// The `number`th commit on top of a model of those before it: it depends on its number alone.
fn changing(number: u64, model: &Model) -> Commit {
    let mut commit = Commit::default();
    for part in 0..=number % 4 {
        let key = key(&format!("facts.k{}", (number * 7 + part * 11) % KEYS));
        let ends = number.is_multiple_of(3).then_some(Millis(NOW.0 + number));
        let before = model.states.get(&key);
        let stamp = stamp("a", number * 8 + part, ends);
        let after = put(before.map(|state| &**state), &format!("{number} {}", "x".repeat(100)), &stamp);
        if let Some(before) = before {
            commit.lost.push((key.clone(), before.cells()[0].clone()));
        }
        let is_forgotten = number.is_multiple_of(23) && before.is_some();
        commit.changes.push(model.change(&key, (!is_forgotten).then_some(after)));
    }
    commit.metadata.push(("number".to_owned(), Some(number.to_le_bytes().to_vec())));
    commit
}

/// What is committed in a folder of that name.
fn commit_for(folder: &Path) -> fn(u64, &Model) -> Commit {
    if folder.to_string_lossy().contains("forgetting") { forgetting } else { changing }
}

fn model_after(commits: u64, commit: fn(u64, &Model) -> Commit) -> Model {
    let mut model = Model::default();
    for number in 1..=commits {
        let commit = commit(number, &model);
        model.commit(&commit, 3);
    }
    model
}

fn settings(folder: &Path, is_sealed: bool) -> Settings {
    if is_sealed { sealed(folder) } else { small(folder) }
}

/// Runs in a process of its own, which is killed.
#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let (is_sealed, commit) = (folder.ends_with("sealed"), commit_for(Path::new(&folder)));
    let mut store = FactStore::open(settings(Path::new(&folder), is_sealed)).unwrap();
    let first = store.commits() + 1;
    let mut model = model_after(store.commits(), commit);
    for number in first.. {
        let commit = commit(number, &model);
        model.commit(&commit, 3);
        store.commit(&commit).unwrap();
        println!("\ncommitted {number}");
        if number.is_multiple_of(40) {
            store.persist().unwrap();
            println!("\ndurable {number}");
        }
    }
}

/// Starts the child, kills it after a while, and gives the last numbers it told: committed and durable.
fn run_and_kill(folder: &Path, after: Duration) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_crash::child", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = std::thread::spawn(move || {
        let (mut committed, mut durable) = (0, 0);
        for line in lines.map_while(Result::ok) {
            let number = |prefix| line.strip_prefix(prefix).and_then(|number| number.parse().ok());
            committed = number("committed ").unwrap_or(committed);
            durable = number("durable ").unwrap_or(durable);
        }
        (committed, durable)
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap()
}

fn killed_again_and_again(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join(name);
    let commit = commit_for(&folder);
    let (mut told, mut written) = ((0, 0), 0);
    // Until it came far enough, as a busy machine lets the child wait.
    for round in 0..60_u64 {
        if round >= 6 && written > 200 {
            break;
        }
        // The first moments of a store too.
        let seed = Instant::now().elapsed().as_nanos() as u64 + u64::from(std::process::id());
        let after = Duration::from_millis(40 + round * 60 + seed % 50);
        let (committed, durable) = run_and_kill(&folder, after);
        told = (committed.max(told.0), durable.max(told.1));
        let store = FactStore::open(settings(&folder, name.ends_with("sealed"))).unwrap();
        let kept = store.commits();
        assert!(kept >= told.0, "{kept} commits of {} are left, {} of them durable", told.0, told.1);
        let number = store.metadata("number").unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(number, kept);
        let model = model_after(kept, commit);
        model.compare(&store, &["a"], &["*", "facts.*"]);
        assert_eq!(store.reader().count(), model.states.len(), "what is forgotten does not come back");
        assert_eq!(store.reader().check().unwrap().findings, vec![]);
        written = kept;
    }
    assert!(written > 200, "the child came to {written} commits only");
}

#[test]
fn a_killed_store_has_all_commits() {
    killed_again_and_again("plain");
}

#[test]
fn a_killed_encrypted_store_has_all_commits() {
    killed_again_and_again("sealed");
}

#[test]
fn what_a_killed_store_has_forgotten_does_not_come_back() {
    killed_again_and_again("forgetting");
}

#[test]
fn what_a_killed_encrypted_store_has_forgotten_does_not_come_back() {
    killed_again_and_again("forgetting-sealed");
}

/// What a kill leaves that came while the engine was made: parts of it, beside where it is to be.
#[test]
fn a_store_that_was_killed_while_it_was_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("engine.new");
    std::fs::create_dir_all(beside.join("keyspaces")).unwrap();
    std::fs::write(beside.join("0.jnl"), "").unwrap();
    let store = FactStore::open(settings(folder.path(), false)).unwrap();
    assert_eq!((store.commits(), store.loss()), (0, None));
    assert!(!beside.exists());
}

/// The log cut off anywhere, as by a power cut that kept no more of it: a prefix of the commits is left, and if one
/// that was durable is missing, that is told.
#[test]
fn a_log_that_is_cut_off_leaves_a_prefix_and_what_was_durable_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let plain = |folder: &Path| Settings { write_buffer_bytes: 8 << 20, ..small(folder) };
    let (mut model, durable) = (Model::default(), 60);
    let mut store = FactStore::open(plain(&whole)).unwrap();
    for number in 1..=100 {
        let commit = changing(number, &model);
        model.commit(&commit, 3);
        store.commit(&commit).unwrap();
        if number == durable {
            store.persist().unwrap();
        }
    }
    drop(store);
    // Opened once more, the log is as long as what is in it.
    drop(FactStore::open(plain(&whole)).unwrap());
    let log = files(&whole).into_iter().find(|path| path.extension().is_some_and(|e| e == "jnl")).unwrap();
    let length = std::fs::metadata(&log).unwrap().len();
    let (mut missed, mut kept_all) = (0, 0);
    for part in 0..40 {
        let cut = folder.path().join(format!("cut-{part}"));
        crate::store_support::copy(&whole, &cut);
        let log = cut.join(log.strip_prefix(&whole).unwrap());
        std::fs::File::options().write(true).open(&log).unwrap().set_len(length * part / 40 + part).unwrap();
        match FactStore::open(plain(&cut)) {
            Ok(store) => {
                assert!(store.commits() >= durable);
                kept_all += 1;
                model_after(store.commits(), changing).compare(&store, &["a"], &["*"]);
                assert_eq!(store.reader().check().unwrap().findings, vec![]);
            }
            Err(StoreError::CommitsLost { durable: told, found }) => {
                assert_eq!(told, durable);
                assert!(found < durable);
                missed += 1;
                let accepting = Settings { accept_loss: true, ..plain(&cut) };
                let mut store = FactStore::open(accepting).unwrap();
                assert_eq!(store.loss().unwrap().commits, durable - found);
                model_after(found, changing).compare(&store, &["a"], &["*"]);
                assert_eq!(store.reader().check().unwrap().findings, vec![]);
                store.commit(&Commit::default()).unwrap();
                drop(store);
                assert_eq!(FactStore::open(plain(&cut)).unwrap().loss(), None, "a loss is accepted once");
            }
            Err(error) => panic!("cut at {part}/40: {error}"),
        }
        std::fs::remove_dir_all(&cut).unwrap();
    }
    assert!(missed > 10 && kept_all > 10, "{missed} missed, {kept_all} kept");
}
