//! Files with a wrong byte: an error, or the right facts; never others.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use weir_facts::{Commit, FactKey, FactStore, Pattern, Settings, State, Storage, StoreError};

use crate::store_support::{Model, copy, files, key, put, sealed, small, stamp};

/// A store with tables and a log, durable and closed, and what is in it.
fn build(settings: &Settings) -> Model {
    let mut store = FactStore::open(settings.clone()).unwrap();
    let mut model = Model::default();
    for number in 1..=300_u64 {
        let key = key(&format!("facts.k{}", number % 90));
        let after = put(
            model.states.get(&key).map(|state| &**state),
            &format!("{number} {}", "v".repeat(150)),
            &stamp("a", number, None),
        );
        let commit = Commit { changes: vec![model.change(&key, Some(after))], ..Commit::default() };
        model.commit(&commit, 3);
        store.commit(&commit).unwrap();
    }
    store.persist().unwrap();
    drop(store);
    drop(FactStore::open(settings.clone()).unwrap());
    model
}

/// Everything the store has, unless it says that something is wrong.
fn read_all(settings: &Settings) -> Result<BTreeMap<FactKey, Arc<State>>, StoreError> {
    let store = FactStore::open(settings.clone())?;
    let mut states = BTreeMap::new();
    for key in store.keys(&Pattern::Every, None, usize::MAX)? {
        if let Some(state) = store.state(&key)? {
            states.insert(key, state);
        }
    }
    Ok(states)
}

fn flipped(name: &str, settings: fn(&Path) -> Settings) {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join(name);
    let model = build(&settings(&whole));
    assert!(files(&whole).iter().any(|path| path.to_string_lossy().contains("tables")), "{:?}", files(&whole));
    let (mut refused, mut right) = (0, 0);
    let mut places = Vec::new();
    // More of them for a long look.
    let steps = std::env::var("WEIR_FACTS_DAMAGE_STEPS").map_or(14, |steps| steps.parse().unwrap());
    for file in files(&whole) {
        let length = std::fs::metadata(&file).unwrap().len();
        let step = (length / steps).max(1);
        places.extend((0..length).step_by(usize::try_from(step).unwrap()).map(|at| (file.clone(), at)));
    }
    for (number, (file, at)) in places.into_iter().enumerate() {
        let damaged = folder.path().join(format!("{name}-{number}"));
        copy(&whole, &damaged);
        let mut settings = settings(&damaged);
        settings.key_file = settings.key_file.map(|_| whole.with_extension("key"));
        let path = damaged.join(file.strip_prefix(&whole).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = usize::try_from(at).unwrap();
        bytes[at] ^= 1 << (number % 8);
        std::fs::write(&path, bytes).unwrap();
        match read_all(&settings) {
            Ok(states) => {
                assert_eq!(states, model.states, "byte {at} of {}", file.display());
                right += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
        std::fs::remove_dir_all(&damaged).unwrap();
    }
    println!("{refused} refused, {right} right");
    assert!(refused > 20, "{refused} refused, {right} right");
}

#[test]
fn a_wrong_byte_is_told_or_does_not_matter() {
    flipped("plain", small);
}

#[test]
fn a_wrong_byte_of_an_encrypted_store_is_told_or_does_not_matter() {
    flipped("sealed", sealed);
}

#[test]
fn a_store_of_another_version_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    drop(FactStore::open(small(folder.path())).unwrap());
    let refused = |version: u32| {
        let kind = format!("{{\"version\":{version},\"encrypted\":false}}");
        std::fs::write(folder.path().join("store"), kind).unwrap();
        FactStore::open(small(folder.path())).unwrap_err().to_string()
    };
    assert_eq!(refused(3), "the folder of the facts was made by a newer version (version 3; this reads 2)");
    assert_eq!(
        refused(1),
        "the folder of the facts was made by an older version (version 1; this reads 2): move it away and let the node \
         join anew, or start with no facts"
    );
}

#[test]
fn a_lost_table_or_log_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    build(&small(&whole));
    let is_data =
        |path: &Path| path.to_string_lossy().contains("tables") || path.extension().is_some_and(|e| e == "jnl");
    let data: Vec<_> = files(&whole).into_iter().filter(|path| is_data(path)).collect();
    for (number, file) in data.iter().enumerate() {
        let damaged = folder.path().join(format!("{number}"));
        copy(&whole, &damaged);
        std::fs::remove_file(damaged.join(file.strip_prefix(&whole).unwrap())).unwrap();
        let opened = read_all(&small(&damaged));
        let is_empty = std::fs::metadata(file).unwrap().len() == 0;
        assert!(opened.is_err() || is_empty, "{} is gone and nobody noticed", file.display());
    }
}
