//! Whatever is committed, a store answers as maps would, before and after it is opened anew.

use std::sync::Arc;

use proptest::{prelude::*, strategy::Strategy as Generate};
use weir_facts::{Commit, FactStore, Hlc, Millis, Settings, Storage, Strategy as Conflicts};

use crate::store_support::{Model, NOW, key, origin, put, sealed, small, stamp};

const NODES: [&str; 3] = ["a", "b", "node_3"];
const KEYS: [&str; 12] = [
    "approvals.x",
    "approvals.x.y",
    "approvals.xy",
    "approval.x",
    "rate_limits.u",
    "z.z",
    "z.a",
    "z.b",
    "z.c",
    "z.d",
    "z.e",
    "z.f",
];
const PATTERNS: [&str; 7] = ["*", "approvals.*", "approvals.x", "approvals.x.*", "none.*", "none.x", "z.*"];

#[derive(Debug, Clone)]
enum Write {
    Put { key: usize, node: usize, ends_in: Option<u64>, length: usize },
    Delete { key: usize, node: usize },
    Forget { key: usize },
    Lose { key: usize },
    Note { name: usize, value: Option<u8> },
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Write>),
    /// Some keys are put over again and again, among others that stay: blocks of which a part is live, and moves.
    Churn {
        first: usize,
        keys: usize,
        rounds: usize,
        each: usize,
    },
    Persist,
    Reopen,
    Rotate,
    Rewrite,
}

fn write() -> impl Generate<Value = Write> {
    let (key, node) = (0..KEYS.len(), 0..NODES.len());
    prop_oneof![
        6 => (key.clone(), node.clone(), prop::option::of(0..6_u64), prop_oneof![Just(5_usize), 0..3_000_usize])
            .prop_map(|(key, node, ends_in, length)| Write::Put { key, node, ends_in, length }),
        2 => (key.clone(), node).prop_map(|(key, node)| Write::Delete { key, node }),
        1 => key.clone().prop_map(|key| Write::Forget { key }),
        2 => key.prop_map(|key| Write::Lose { key }),
        1 => (0..3_usize, prop::option::of(any::<u8>())).prop_map(|(name, value)| Write::Note { name, value }),
    ]
}

fn step() -> impl Generate<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(write(), 0..6).prop_map(Step::Commit),
        3 => (0..KEYS.len(), 1..KEYS.len(), 1..12_usize, 1..4_usize)
            .prop_map(|(first, keys, rounds, each)| Step::Churn { first, keys, rounds, each }),
        2 => Just(Step::Persist),
        2 => Just(Step::Reopen),
        1 => Just(Step::Rotate),
        2 => Just(Step::Rewrite),
    ]
}

/// The commit of some writes, the later on top of the earlier.
fn commit_of(writes: Vec<Write>, model: &Model, seq: &mut u64) -> Commit {
    let (mut commit, mut states) = (Commit::default(), model.states.clone());
    for write in writes {
        *seq += 1;
        let (key_of, after) = match write {
            Write::Put { key: k, node, ends_in, length } => {
                let stamp = stamp(NODES[node], *seq, ends_in.map(|after| Millis(NOW.0 + after)));
                (key(KEYS[k]), Some(put(states.get(&key(KEYS[k])).map(|s| &**s), &"x".repeat(length), &stamp)))
            }
            Write::Delete { key: k, node } => {
                let before = states.get(&key(KEYS[k])).map(|s| (**s).clone()).unwrap_or_default();
                let after = Conflicts::Lww.delete(&before, &stamp(NODES[node], *seq, None));
                (key(KEYS[k]), Some(Arc::new(after)))
            }
            Write::Forget { key: k } => (key(KEYS[k]), None),
            Write::Lose { key: k } => {
                // Of a key that stays: a forgotten key has no history.
                if let Some(state) = states.get(&key(KEYS[k])) {
                    let mut cell = state.cells()[0].clone();
                    cell.hlc = Hlc::from_u64(*seq).unwrap();
                    commit.lost.push((key(KEYS[k]), cell));
                }
                continue;
            }
            Write::Note { name, value } => {
                commit.metadata.push((format!("note-{name}"), value.map(|value| vec![value; 3])));
                continue;
            }
        };
        let before = states.get(&key_of).cloned();
        match &after {
            Some(after) => states.insert(key_of.clone(), after.clone()),
            None => states.remove(&key_of),
        };
        commit.changes.push(weir_facts::Change::new(key_of, before.map(Into::into), after));
    }
    commit
}

fn run(steps: Vec<Step>, settings: &Settings) {
    let mut store = FactStore::open(settings.clone()).unwrap();
    let (mut model, mut seq) = (Model::default(), 0);
    for step in steps {
        match step {
            Step::Commit(writes) => {
                let commit = commit_of(writes, &model, &mut seq);
                model.commit(&commit, settings.lost_max);
                store.commit(&commit).unwrap();
            }
            Step::Churn { first, keys, rounds, each } => {
                for round in 0..rounds {
                    let put = |place| {
                        let key = (first + (round * each + place) % keys) % KEYS.len();
                        Write::Put { key, node: 0, ends_in: None, length: 400 }
                    };
                    let commit = commit_of((0..each).map(put).collect(), &model, &mut seq);
                    model.commit(&commit, settings.lost_max);
                    store.commit(&commit).unwrap();
                }
            }
            Step::Persist => store.persist().unwrap(),
            Step::Reopen => {
                drop(store);
                store = FactStore::open(settings.clone()).unwrap();
                assert_eq!(store.loss(), None);
            }
            Step::Rotate if settings.key_file.is_some() => store.rotate_data_key().unwrap(),
            Step::Rewrite if settings.key_file.is_some() => {
                store.rewrite_some(2).unwrap();
            }
            Step::Rotate | Step::Rewrite => {}
        }
        model.compare(&store, &NODES, &PATTERNS);
        for absent in KEYS.iter().map(|text| key(text)).filter(|key| !model.states.contains_key(key)) {
            assert_eq!(store.state(&absent).unwrap(), None);
            assert!(store.lost(&absent, 9).unwrap().is_empty(), "what is forgotten has no history");
        }
        let checked = store.reader().check().unwrap();
        assert_eq!((checked.findings, checked.states), (vec![], model.states.len() as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_answers_as_maps_would(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        run(steps, &small(&folder.path().join("facts")));
    }

    #[test]
    fn an_encrypted_store_answers_as_maps_would(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        run(steps, &sealed(&folder.path().join("facts")));
    }
}

#[test]
fn a_change_that_does_not_begin_with_what_is_stored_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FactStore::open(small(folder.path())).unwrap();
    let model = Model::default();
    let state = put(None, "v", &stamp("a", 1, None));
    let mut unfitting = model.change(&key("a.b"), Some(state.clone()));
    unfitting.before = Some(state.into());
    let error = store.commit(&Commit { changes: vec![unfitting], ..Commit::default() }).unwrap_err();
    assert_eq!(error.to_string(), "a change of a.b does not begin with what is stored");
    assert_eq!((store.state(&key("a.b")).unwrap(), store.commits()), (None, 0));
}

#[test]
fn one_process_at_a_time_has_a_store_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = FactStore::open(small(folder.path())).unwrap();
    let error = FactStore::open(small(folder.path())).unwrap_err();
    assert_eq!(error.to_string(), "another process has the facts open");
    drop(store);
    FactStore::open(small(folder.path())).unwrap();
}

#[test]
fn readers_on_other_threads_see_whole_commits_that_never_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FactStore::open(small(folder.path())).unwrap();
    let keys: Vec<_> = (0..40).map(|number| key(&format!("pairs.k{number}"))).collect();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (reader, keys, is_done) = (store.reader(), &keys, &is_done);
            scope.spawn(move || {
                let seq = |state: &Option<Arc<weir_facts::State>>| {
                    state.as_ref().map_or(0, |state| state.context().get(&origin("a")))
                };
                let mut last = 0;
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    let seqs: Vec<u64> = reader.states(keys).unwrap().iter().map(seq).collect();
                    assert!(seqs.iter().all(|one| *one == seqs[0]), "half a commit: {seqs:?}");
                    assert!(seqs[0] >= last, "went back from {last} to {}", seqs[0]);
                    last = seqs[0];
                    let single = seq(&reader.state(&keys[7]).unwrap());
                    assert!(single >= last);
                    assert!(reader.keys(&weir_facts::Pattern::Every, None, 100).unwrap().len() % 40 == 0);
                }
            });
        }
        let mut model = Model::default();
        for number in 1..=600 {
            let after = put(None, &"v".repeat(200), &stamp("a", number, None));
            let changes = keys.iter().map(|key| model.change(key, Some(after.clone()))).collect();
            let commit = Commit { changes, ..Commit::default() };
            model.commit(&commit, 0);
            store.commit(&commit).unwrap();
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        model.compare(&store, &["a"], &["*"]);
    });
}
