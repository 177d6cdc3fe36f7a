//! Every way to alter a journal that was closed, and what `verify` calls it.

use std::{fs, path::Path};

use tempfile::{TempDir, tempdir};
use weir_audit::{Journal, Report, VerifyOptions, verify, verify_with};
use weir_model::SessionId;

use crate::ledger::{copy, forge, forge_leaves, frames, history, logs, options, write_frames};

struct Scene {
    original: TempDir,
    sessions: Vec<SessionId>,
}

impl Scene {
    fn new() -> Scene {
        let original = tempdir().unwrap();
        let sessions = history(original.path());
        let report = verify(original.path(), None);
        assert!(report.is_ok(), "{report}");
        assert!(report.files > 5 && report.checkpoints >= 4 && report.sessions == 4, "{report}");
        assert_eq!((report.intents, report.outcomes, report.sessions_open), (90, 90, 0), "{report}");
        assert_eq!(report.signed, report.records, "{report}");
        Scene { original, sessions }
    }

    /// The report on a copy that was tampered with.
    fn after(&self, tamper: impl FnOnce(&Path)) -> Report {
        let data = tempdir().unwrap();
        copy(self.original.path(), data.path());
        tamper(data.path());
        let report = verify(data.path(), None);
        assert!(!report.is_ok(), "nothing was noticed");
        report
    }

    /// What the first fault says of a copy that was tampered with, and that it says nothing else.
    fn check(&self, expected: &str, tamper: impl FnOnce(&Path)) {
        let report = self.after(tamper);
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        assert!(faults[0].contains(expected), "expected `{expected}`, found {faults:#?}");
        assert_eq!(faults.len(), 1, "{faults:#?}");
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn first_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn one_byte_flipped_in_any_file_is_named_with_its_file() {
    let scene = Scene::new();
    let log = name(&logs(scene.original.path())[2]);
    let last = name(logs(scene.original.path()).last().unwrap());
    let files = [
        (format!("audit/{log}"), 53),
        (format!("audit/{last}"), 53),
        ("audit/leaves".into(), 97),
        ("audit/checkpoints".into(), 29),
        ("audit/state".into(), 41),
        ("keys/audit.head".into(), 7),
        ("keys/audit.pub".into(), 7),
    ];
    for (file, step) in files {
        let length = fs::metadata(scene.original.path().join(&file)).unwrap().len() as usize;
        for at in (0..length).step_by(step).chain([length - 1]) {
            let report = scene.after(|data| {
                let mut bytes = fs::read(data.join(&file)).unwrap();
                bytes[at] ^= 1 << (at % 8);
                fs::write(data.join(&file), bytes).unwrap();
            });
            let named = report.faults.iter().all(|fault| file.ends_with(&fault.file));
            assert!(named, "byte {at} of {file}: {report}");
            assert!(report.faults.len() <= 2, "byte {at} of {file}: {report}");
        }
    }
}

#[test]
fn a_flipped_byte_in_the_log_is_named_with_its_record() {
    let scene = Scene::new();
    let log = logs(scene.original.path())[1].clone();
    let (file, first) = (name(&log), first_of(&log));
    for at in [0, 1, 2, 5, 10, 30, 100] {
        let expected = format!("{file}, byte 0: record {first} is damaged");
        scene.check(&expected, |data| {
            let mut bytes = fs::read(data.join("audit").join(&file)).unwrap();
            bytes[at] ^= 4;
            fs::write(data.join("audit").join(&file), bytes).unwrap();
        });
    }
}

#[test]
fn a_record_altered_with_its_checksum_is_named() {
    let scene = Scene::new();
    let (log, first) = (&logs(scene.original.path())[3], first_of(&logs(scene.original.path())[3]));
    let at = frames(log).iter().position(|frame| String::from_utf8_lossy(frame).contains("SELECT")).unwrap();
    scene.check(&format!("record {} is altered", first + at as u64), |data| {
        let file = data.join("audit").join(name(log));
        let mut frames = frames(&file);
        forge(&mut frames[at], "SELECT", "DELETE");
        write_frames(&file, &frames);
    });
}

#[test]
fn a_removed_record_is_named() {
    let scene = Scene::new();
    let logs = logs(scene.original.path());
    for (log, at) in [(&logs[0], 3), (&logs[2], 0), (logs.last().unwrap(), 1)] {
        let index = first_of(log) + at as u64;
        scene.check(&format!("record {index} is missing"), |data| {
            let file = data.join("audit").join(name(log));
            let mut frames = frames(&file);
            frames.remove(at);
            write_frames(&file, &frames);
        });
    }
}

#[test]
fn a_cut_tail_is_named() {
    let scene = Scene::new();
    let logs = logs(scene.original.path());
    let last = logs.last().unwrap();
    let total = first_of(last) + frames(last).len() as u64;
    scene.check(&format!("its end is cut: record {} is missing", total - 1), |data| {
        let file = data.join("audit").join(name(last));
        let mut frames = frames(&file);
        frames.pop();
        write_frames(&file, &frames);
    });
    let report = scene.after(|data| {
        let file = data.join("audit").join(name(last));
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    });
    assert!(report.to_string().contains(&format!("record {} is torn", total - 1)), "{report}");
}

/// The attacker knows every file of the journal's folder and cuts them to an earlier, properly signed state.
#[test]
fn a_tail_cut_together_with_its_checkpoints_is_named_by_the_head() {
    let scene = Scene::new();
    let roll_back = |data: &Path| {
        let text = fs::read_to_string(data.join("audit/checkpoints")).unwrap();
        let notes: Vec<&str> = text.split_inclusive("\n\n").collect();
        let earlier: String = notes[..4].concat();
        let size: usize = notes[2].split('\n').nth(1).unwrap().parse().unwrap();
        fs::write(data.join("audit/checkpoints"), earlier).unwrap();
        let leaves = fs::read(data.join("audit/leaves")).unwrap();
        fs::write(data.join("audit/leaves"), &leaves[..size * 32]).unwrap();
        for log in logs(data) {
            let first = first_of(&log) as usize;
            if first >= size {
                fs::remove_file(log).unwrap();
            } else {
                let mut frames = frames(&log);
                frames.truncate(size - first);
                write_frames(&log, &frames);
            }
        }
        // An old copy of the state, as the attacker may have kept one.
        fs::remove_file(data.join("audit/state")).unwrap();
    };
    let report = scene.after(roll_back);
    assert!(report.to_string().contains("`keys/audit.head` is a checkpoint of"), "{report}");

    // With the head rolled back too, only a checkpoint that was kept elsewhere tells.
    let witness = scene.original.path().join("keys/audit.head");
    let data = tempdir().unwrap();
    copy(scene.original.path(), data.path());
    roll_back(data.path());
    let text = fs::read_to_string(data.path().join("audit/checkpoints")).unwrap();
    let head = text.split_inclusive("\n\n").skip(2).take(2).collect::<String>();
    fs::write(data.path().join("keys/audit.head"), head.strip_suffix('\n').unwrap()).unwrap();
    let unaware = verify(data.path(), None);
    assert!(unaware.faults.iter().all(|fault| fault.what == "the file is missing"), "{unaware}");
    let aware = verify_with(data.path(), &VerifyOptions { key: None, witness: Some(witness) });
    assert!(aware.to_string().contains("its end is cut: the checkpoint at byte 0 of"), "{aware}");
}

#[test]
fn a_dropped_session_is_named() {
    let scene = Scene::new();
    let id = scene.sessions[1].to_string();
    let of_session = |frame: &Vec<u8>| String::from_utf8_lossy(frame).contains(&id);
    let dropped: usize =
        logs(scene.original.path()).iter().map(|log| frames(log).iter().filter(|f| of_session(f)).count()).sum();
    let drop_it = |data: &Path| {
        for log in logs(data) {
            let mut frames = frames(&log);
            frames.retain(|frame| !of_session(frame));
            write_frames(&log, &frames);
        }
    };
    let report = scene.after(drop_it);
    assert!(report.to_string().contains(&format!("the {dropped} missing records were whole sessions")), "{report}");

    // The attacker drops it from the leaves as well: which records they were is gone, that they were is not.
    let report = scene.after(|data| {
        drop_it(data);
        forge_leaves(data);
    });
    assert!(report.to_string().contains("are not those that the checkpoint at byte"), "{report}");
    assert!(report.to_string().contains("were whole sessions that somebody dropped"), "{report}");
    assert!(report.faults.len() < 20, "{report}");
}

#[test]
fn swapped_records_are_named() {
    let scene = Scene::new();
    let logs = logs(scene.original.path());
    let (a, b) = (first_of(&logs[1]), first_of(&logs[2]));
    for (one, other) in [(0, 1), (0, 4), (2, 3)] {
        scene.check(&format!("records {} and {} are swapped", a + one as u64, a + other as u64), |data| {
            let file = data.join("audit").join(name(&logs[1]));
            let mut frames = frames(&file);
            frames.swap(one, other);
            write_frames(&file, &frames);
        });
    }
    scene.check(&format!("records {} and {} are swapped", a + 1, b + 2), |data| {
        let files = [data.join("audit").join(name(&logs[1])), data.join("audit").join(name(&logs[2]))];
        let mut both = [frames(&files[0]), frames(&files[1])];
        let (one, other) = (both[0][1].clone(), both[1][2].clone());
        both[0][1] = other;
        both[1][2] = one;
        write_frames(&files[0], &both[0]);
        write_frames(&files[1], &both[1]);
    });
}

#[test]
fn a_missing_file_is_named() {
    let scene = Scene::new();
    let logs = logs(scene.original.path());
    for log in [&logs[0], &logs[2], logs.last().unwrap()] {
        let file = name(log);
        scene.check(&format!("{file}: the file is missing, and with it"), |data| {
            fs::remove_file(data.join("audit").join(&file)).unwrap();
        });
    }
    for file in ["audit/leaves", "audit/checkpoints", "audit/state", "keys/audit.head", "keys/audit.pub"] {
        let report = scene.after(|data| fs::remove_file(data.join(file)).unwrap());
        assert!(report.faults.iter().any(|fault| file.ends_with(&fault.file)), "{file}: {report}");
    }
}

#[test]
fn records_and_leaves_forged_alike_are_named_by_checkpoint_and_chain() {
    let scene = Scene::new();
    let log = logs(scene.original.path())[2].clone();
    let at = frames(&log).iter().position(|frame| String::from_utf8_lossy(frame).contains("SELECT")).unwrap();
    let report = scene.after(|data| {
        let file = data.join("audit").join(name(&log));
        let mut frames = frames(&file);
        forge(&mut frames[at], "SELECT", "DELETE");
        write_frames(&file, &frames);
        forge_leaves(data);
    });
    let text = report.to_string();
    assert!(text.contains("something changed between record"), "{text}");
    assert!(text.contains("does not continue the one before it"), "{text}");
}

#[test]
fn a_journal_signed_anew_with_another_key_is_noticed_by_who_knows_the_key() {
    let scene = Scene::new();
    let key = {
        let journal = Journal::open(scene.original.path(), options()).unwrap();
        let key = journal.verifying_key();
        journal.close().unwrap();
        key
    };
    let forged = tempdir().unwrap();
    history(forged.path());
    assert!(verify(forged.path(), None).is_ok());
    assert!(verify(scene.original.path(), Some(&key)).is_ok());
    let report = verify(forged.path(), Some(&key));
    assert!(report.to_string().contains("it is not the key that was given"), "{report}");
    assert!(report.to_string().contains("the journal's key did not sign it"), "{report}");
}

#[test]
fn a_tampered_journal_does_not_open() {
    let scene = Scene::new();
    let check = |tamper: &dyn Fn(&Path)| {
        let data = tempdir().unwrap();
        copy(scene.original.path(), data.path());
        tamper(data.path());
        assert!(Journal::open(data.path(), options()).is_err());
    };
    check(&|data| {
        let log = logs(data).pop().unwrap();
        let mut frames = frames(&log);
        frames.pop();
        write_frames(&log, &frames);
    });
    check(&|data| fs::remove_file(&logs(data)[1]).unwrap());
    check(&|data| fs::remove_file(data.join("audit/checkpoints")).unwrap());
    check(&|data| fs::remove_file(data.join("keys/audit.ed25519")).unwrap());
    check(&|data| {
        fs::remove_file(data.join("audit/state")).unwrap();
        let log = &logs(data)[1];
        let mut bytes = fs::read(log).unwrap();
        bytes[40] ^= 1;
        fs::write(log, bytes).unwrap();
    });
}
