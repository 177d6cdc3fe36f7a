//! What a process that died leaves behind, and what the next one makes of it.

use std::{fs, io::Write as _, path::Path};

use tempfile::tempdir;
use weir_audit::{AuditError, Journal, verify};
use weir_model::StatementId;

use crate::ledger::{copy, frames, history, logs, open, options, session, statement, with_intent};

/// Every record's JSON.
fn records(data: &Path) -> Vec<serde_json::Value> {
    let frames = logs(data).iter().flat_map(|log| frames(log)).collect::<Vec<_>>();
    frames.iter().map(|frame| serde_json::from_slice(&frame[24..]).unwrap()).collect()
}

/// A copy of a journal's files as they lie while it is open: what `kill -9` leaves.
fn killed(run: impl FnOnce(&Journal)) -> tempfile::TempDir {
    let (alive, dead) = (tempdir().unwrap(), tempdir().unwrap());
    let journal = open(alive.path());
    run(&journal);
    copy(alive.path(), dead.path());
    dead
}

#[test]
fn a_torn_record_is_cut_and_an_event_says_so() {
    let data = killed(|journal| {
        let chain = session(journal, "acme", "a");
        statement(&chain, "SELECT 1", 1, 1_000);
        std::mem::forget(chain);
    });
    let log = logs(data.path()).pop().unwrap();
    let whole = frames(&log);
    for keep in [1, 7, 20, 60] {
        let torn = tempdir().unwrap();
        copy(data.path(), torn.path());
        let file = torn.path().join("audit").join(log.file_name().unwrap());
        let mut bytes = whole.concat();
        bytes.extend_from_slice(&whole[1][..keep]);
        fs::write(&file, bytes).unwrap();
        let report = verify(torn.path(), None);
        assert!(report.to_string().contains("is torn"), "{report}");
        open(torn.path()).close().unwrap();
        let report = verify(torn.path(), None);
        assert!(report.is_ok(), "{report}");
        let cut = records(torn.path()).into_iter().find(|record| record["event"] == "torn_record_cut").unwrap();
        assert_eq!(cut["detail"]["bytes"], keep.to_string());
    }
}

#[test]
fn a_session_that_died_is_ended_by_the_next_process() {
    let mut id = String::new();
    let data = killed(|journal| {
        let chain = session(journal, "acme", "a");
        id = chain.session().to_string();
        statement(&chain, "SELECT 1", 1, 1_000);
        std::mem::forget(with_intent("SELECT 2", true, |intent| chain.intent(StatementId::fresh(), intent).unwrap()));
        std::mem::forget(chain);
    });
    // Reading the whole log finds the same as the state tells.
    fs::remove_file(data.path().join("audit/state")).unwrap();
    open(data.path()).close().unwrap();
    let records = records(data.path());
    let end =
        records.iter().find(|record| record["event"] == "session_interrupted" && record["session"] == *id).unwrap();
    let intent = records.iter().rev().find(|record| record["record"] == "intent").unwrap();
    assert_eq!((&end["org"], &end["agent"], &end["records"]), (&"acme".into(), &"a".into(), &5.into()));
    assert_eq!(end["detail"]["unfinished"], intent["statement"]);
    assert!(records.iter().any(|record| record["event"] == "journal_read_whole"));
    let report = verify(data.path(), None);
    assert!(report.is_ok() && report.sessions_open == 0, "{report}");
    // Opening again finds nothing left to end.
    let before = report.records;
    open(data.path()).close().unwrap();
    assert_eq!(verify(data.path(), None).records, before + 2);
}

#[test]
fn a_journal_goes_on_where_it_was_left_with_and_without_its_state() {
    for without_state in [false, true] {
        let data = tempdir().unwrap();
        history(data.path());
        for _ in 0..3 {
            if without_state {
                fs::remove_file(data.path().join("audit/state")).unwrap();
            }
            let journal = open(data.path());
            statement(&session(&journal, "acme", "a"), "SELECT 1", 1, 1);
            journal.close().unwrap();
            let report = verify(data.path(), None);
            assert!(report.is_ok() && report.sessions_open == 0, "{report}");
        }
    }
}

#[test]
fn a_torn_checkpoint_is_cut() {
    let data = tempdir().unwrap();
    history(data.path());
    let path = data.path().join("audit/checkpoints");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"weir.local/audit\n999\nabc").unwrap();
    open(data.path()).close().unwrap();
    let report = verify(data.path(), None);
    assert!(report.is_ok(), "{report}");
}

#[test]
fn damage_in_the_middle_is_not_repaired() {
    let data = killed(|journal| {
        let chain = session(journal, "acme", "a");
        (0..5).for_each(|_| statement(&chain, "SELECT 1", 1, 1));
        std::mem::forget(chain);
    });
    let log = logs(data.path()).pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let before = bytes.len();
    assert!(matches!(Journal::open(data.path(), options()), Err(AuditError::Corrupt { .. })));
    assert_eq!(fs::read(&log).unwrap().len(), before);
}

#[test]
fn one_process_has_a_journal() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    assert!(matches!(Journal::open(data.path(), options()), Err(AuditError::Locked { .. })));
    drop(journal);
    open(data.path()).close().unwrap();
}

#[test]
fn a_server_may_write_while_the_journal_is_verified() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..3_000).for_each(|_| statement(&chain, "SELECT 1", 1, 1)));
        let mut verified = 0;
        while !writer.is_finished() {
            let report = verify(data.path(), None);
            assert!(report.is_ok(), "{report}");
            verified += 1;
        }
        assert!(verified > 0);
    });
}
