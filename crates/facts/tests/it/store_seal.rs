//! What an encrypted store's files tell, and what it needs to be opened.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use weir_facts::{Commit, FactStore, SealError, Settings, Storage, StoreError};

use crate::store_support::{Model, files, key, put, sealed, small, stamp};

const SECRETS: [&str; 7] =
    ["approvals", "deploy-9f3a", "relationships", "user-alice", "topsecretvalue", "quarantine-notes", "node_in_berlin"];

/// Facts with telling names and values, in the log and in tables, with some history.
fn fill(store: &mut FactStore, model: &mut Model, from: u64, count: u64) {
    for number in from..from + count {
        let namespace = if number % 2 == 0 { "approvals.deploy-9f3a" } else { "relationships.user-alice" };
        let key = key(&format!("{namespace}-{}", number % 50));
        let stamp = stamp("node_in_berlin", number, None);
        let before = model.states.get(&key).cloned();
        let value = format!("topsecretvalue {}", "topsecretvalue".repeat(10));
        let mut commit = Commit::default();
        commit.changes.push(model.change(&key, Some(put(before.as_deref(), &value, &stamp))));
        commit.lost.extend(before.map(|before| (key, before.cells()[0].clone())));
        commit.metadata.push(("quarantine-notes".to_owned(), Some(b"topsecretvalue".to_vec())));
        model.commit(&commit, 3);
        store.commit(&commit).unwrap();
    }
    store.persist().unwrap();
}

fn told(folder: &Path) -> Vec<&'static str> {
    let contents: Vec<Vec<u8>> = files(folder).iter().map(|path| fs::read(path).unwrap()).collect();
    let names = files(folder).iter().map(|path| path.to_string_lossy().into_owned()).collect::<String>();
    let has = |secret: &&str| {
        let secret = secret.as_bytes();
        contents.iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret))
    };
    SECRETS.into_iter().filter(|secret| has(secret) || names.contains(secret)).collect()
}

#[test]
fn no_file_tells_a_name_or_a_value() {
    let outer = tempfile::tempdir().unwrap();
    for (name, is_sealed) in [("plain", false), ("sealed", true)] {
        let folder = outer.path().join(name);
        let settings = if is_sealed { sealed(&folder) } else { small(&folder) };
        let (mut store, mut model) = (FactStore::open(settings.clone()).unwrap(), Model::default());
        fill(&mut store, &mut model, 1, 400);
        drop(store);
        store = FactStore::open(settings).unwrap();
        fill(&mut store, &mut model, 401, 20);
        let expected = if is_sealed { vec![] } else { SECRETS.to_vec() };
        assert_eq!(told(&folder), expected, "{name}, open");
        drop(store);
        assert_eq!(told(&folder), expected, "{name}, closed");
    }
}

#[test]
fn a_store_opens_with_its_key_alone() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("facts");
    let settings = sealed(&folder);
    let key_file = settings.key_file.clone().unwrap();
    drop(FactStore::open(settings.clone()).unwrap());
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = |settings: &Settings| match FactStore::open(settings.clone()) {
        Err(StoreError::Seal(error)) => error,
        other => panic!("{other:?}"),
    };

    let error = refused(&small(&folder));
    assert!(matches!(error, SealError::KeyNeeded { .. }), "{error}");

    let other = Settings { key_file: Some(outer.path().join("other.key")), ..small(&folder) };
    assert!(matches!(refused(&other), SealError::KeyFileMissing { .. }), "no key is made for a store that has one");
    assert!(!outer.path().join("other.key").exists());
    fs::write(outer.path().join("other.key"), "ab".repeat(32)).unwrap();
    fs::set_permissions(outer.path().join("other.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(&other), SealError::WrongKey { .. }));

    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refused(&settings);
    assert!(error.to_string().contains("may be read by others (mode 644)"), "{error}");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();

    let text = fs::read(&key_file).unwrap();
    fs::write(&key_file, "no key").unwrap();
    assert!(matches!(refused(&settings), SealError::NoKey { .. }));
    fs::write(&key_file, text).unwrap();
    drop(FactStore::open(settings.clone()).unwrap());

    fs::remove_file(folder.join("keys")).unwrap();
    assert!(matches!(refused(&settings), SealError::Keys { .. }));
}

#[test]
fn a_plain_store_is_not_taken_for_an_encrypted_one() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("facts");
    drop(FactStore::open(small(&folder)).unwrap());
    let error = FactStore::open(sealed(&folder)).unwrap_err();
    assert!(matches!(error, StoreError::Seal(SealError::NotEncrypted { .. })), "{error}");
    assert!(!folder.with_extension("key").exists());
}

#[test]
fn a_data_key_is_rotated_between_writes() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("facts");
    let (mut store, mut model) = (FactStore::open(sealed(&folder)).unwrap(), Model::default());
    fill(&mut store, &mut model, 1, 120);
    store.rotate_data_key().unwrap();
    assert_eq!(store.data_keys(), 2);
    let (mut sealed_anew, mut number) = (0, 1_000);
    loop {
        let step = store.rewrite_some(16).unwrap();
        assert!(step.seen <= 16 && step.sealed <= step.seen);
        sealed_anew += step.sealed;
        fill(&mut store, &mut model, number, 1);
        number += 1;
        if number == 1_004 {
            // A start anew begins the pass again and loses nothing.
            drop(store);
            store = FactStore::open(sealed(&folder)).unwrap();
            assert_eq!(store.data_keys(), 2);
        }
        model.compare(&store, &["node_in_berlin"], &["*"]);
        if step.done {
            break;
        }
    }
    assert!(sealed_anew >= 90, "{sealed_anew}");
    assert_eq!(store.data_keys(), 1);
    assert_eq!(store.reader().check().unwrap().findings, vec![]);
    drop(store);
    let store = FactStore::open(sealed(&folder)).unwrap();
    model.compare(&store, &["node_in_berlin"], &["*"]);
    assert_eq!(store.reader().check().unwrap().findings, vec![]);
}

#[test]
fn another_key_file_takes_the_place_of_the_first() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("facts");
    let (mut store, mut model) = (FactStore::open(sealed(&folder)).unwrap(), Model::default());
    fill(&mut store, &mut model, 1, 30);
    let second = outer.path().join("second.key");
    store.change_key_file(&second).unwrap();
    fill(&mut store, &mut model, 31, 30);
    drop(store);
    assert!(matches!(FactStore::open(sealed(&folder)), Err(StoreError::Seal(SealError::WrongKey { .. }))));
    let store = FactStore::open(Settings { key_file: Some(second), ..small(&folder) }).unwrap();
    model.compare(&store, &["node_in_berlin"], &["*"]);
}
