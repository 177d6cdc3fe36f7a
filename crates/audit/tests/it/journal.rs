//! Writing from many threads, and reading back.

use std::{collections::BTreeMap, io::Cursor, sync::Arc, thread, time::Duration};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::tempdir;
use weir_audit::{
    Durability, EventFields, EventKind, ExportFilter, ExportFormat, Hash, Journal, JournalOptions, export, merkle,
    schema, verify,
};
use weir_model::{Code, OrgName, StatementId};

use crate::ledger::{done, history, open, options, refused, session, statement, with_intent};

#[test]
fn many_threads_append_and_every_record_is_there_once() {
    for durability in [Durability::Group, Durability::Strict] {
        let data = tempdir().unwrap();
        let journal = Journal::open(data.path(), JournalOptions { durability, ..options() }).unwrap();
        let each = if durability == Durability::Strict { 20 } else { 300 };
        thread::scope(|scope| {
            for agent in 0..8 {
                let journal = &journal;
                scope.spawn(move || {
                    let chain = session(journal, "acme", &format!("agent-{agent}"));
                    (0..each).for_each(|n| statement(&chain, &format!("SELECT {n}"), n, 1));
                });
            }
        });
        journal.close().unwrap();
        let report = verify(data.path(), None);
        assert!(report.is_ok(), "{report}");
        assert_eq!(
            (report.intents, report.outcomes, report.sessions, report.sessions_open),
            (8 * each, 8 * each, 9, 0)
        );
    }
}

#[test]
fn one_session_may_be_used_by_many_threads() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| statement(&chain, "SELECT 1", 1, 1)));
        }
    });
    drop(chain);
    journal.close().unwrap();
    let report = verify(data.path(), None);
    assert!(report.is_ok() && report.outcomes == 400, "{report}");
}

#[test]
fn a_dropped_receipt_is_an_abandoned_statement_and_the_session_ends_after_it() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    let receipt = with_intent("SELECT 1", true, |intent| chain.intent(StatementId::fresh(), intent).unwrap());
    chain.close("client left").unwrap();
    chain.close("twice").unwrap();
    assert!(
        with_intent("SELECT 2", true, |intent| chain.intent(StatementId::fresh(), intent)).is_ok(),
        "the session has not ended yet"
    );
    drop(receipt);
    let late = with_intent("SELECT 3", true, |intent| chain.intent(StatementId::fresh(), intent)).unwrap_err();
    assert_eq!(late.code(), Code::AuditUnavailable);
    journal.close().unwrap();
    let report = verify(data.path(), None);
    assert!(report.is_ok() && report.sessions_open == 0, "{report}");
    let outcomes: Vec<String> = column(&rows(&journal, None), "outcome").into_iter().flatten().collect();
    assert_eq!(outcomes, ["abandoned", "abandoned"]);
}

#[test]
fn a_statement_whose_intent_is_not_written_is_one_record_with_its_outcome() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    let form = Arc::new(with_intent("SELECT 1", true, |intent| chain.form(intent).unwrap()));
    let queue = |journal: &Journal| {
        let before = journal.size();
        let receipt = chain.queue(StatementId::fresh(), &form, Some(7)).unwrap();
        assert_eq!(journal.size(), before, "nothing is written yet");
        receipt
    };
    let before = journal.size();
    chain.outcome(queue(&journal), &done(1, 7)).unwrap();
    assert_eq!(journal.size(), before + 1);
    let mut receipt = queue(&journal);
    for _ in 0..2 {
        receipt.write().unwrap();
        assert_eq!(journal.size(), before + 2);
    }
    drop(receipt);
    assert_eq!(journal.size(), before + 3);
    let other = queue(&journal);
    chain.event(&EventFields::new(EventKind::Notice)).unwrap();
    assert_eq!(journal.size(), before + 4);
    drop(other);
    drop(chain);
    journal.close().unwrap();
    let report = verify(data.path(), None);
    assert!(report.is_ok() && (report.intents, report.outcomes) == (3, 3), "{report}");
    let outcomes: Vec<String> = column(&rows(&journal, None), "outcome").into_iter().flatten().collect();
    assert_eq!(outcomes, ["ok", "abandoned", "abandoned"]);
}

#[test]
fn a_closed_journal_refuses() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    journal.close().unwrap();
    let refusal = with_intent("SELECT 1", true, |intent| chain.intent(StatementId::fresh(), intent)).unwrap_err();
    assert_eq!((refusal.code(), refusal.sqlstate().0), (Code::AuditUnavailable, "58030"));
    assert!(journal.event(&EventFields::new(EventKind::KeyIssued)).is_err());
}

pub fn rows(journal: &Journal, org: Option<&str>) -> Vec<RecordBatch> {
    let org = org.map(|org| OrgName::new(org).unwrap());
    journal.scan(org.as_ref()).unwrap().collect::<Result<_, _>>().unwrap()
}

pub fn column(batches: &[RecordBatch], name: &str) -> Vec<Option<String>> {
    let texts = |batch: &RecordBatch| {
        let column = batch.column_by_name(name).unwrap().clone();
        let column = column.as_string_view().clone();
        (0..column.len()).map(|row| column.is_valid(row).then(|| column.value(row).to_owned())).collect::<Vec<_>>()
    };
    batches.iter().flat_map(texts).collect()
}

#[test]
fn an_org_sees_its_own_records_and_an_outcome_tells_the_whole_statement() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let (acme, zeta) = (session(&journal, "acme", "a"), session(&journal, "zeta", "z"));
    statement(&acme, "SELECT 'acme'", 3, 1_500);
    statement(&zeta, "SELECT 'zeta'", 4, 2_500);
    with_intent("SELECT 'secret'", false, |intent| {
        acme.whole(StatementId::fresh(), intent, &refused(Code::PermissionDenied)).unwrap()
    });
    let of_acme = rows(&journal, Some("acme"));
    assert_eq!(of_acme[0].schema(), schema());
    assert!(column(&of_acme, "org").iter().all(|org| org.as_deref() == Some("acme")));
    let lines: Vec<_> = ["kind", "outcome", "code", "sql", "fingerprint", "tables", "masks", "roles", "rules"]
        .map(|name| column(&of_acme, name))
        .into_iter()
        .map(|column| column[2..].iter().map(|text| text.clone().unwrap_or_default()).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines[0], ["outcome", "statement"]);
    assert_eq!(lines[1], ["ok", "refused"]);
    assert_eq!(lines[2], ["", "permission_denied"]);
    assert_eq!(lines[3], ["SELECT 'acme'", ""], "what policy refused leaves no text");
    assert_eq!(lines[4], ["5eed", "5eed"]);
    assert_eq!(lines[5], ["public.orders", "public.orders"]);
    assert_eq!(lines[6], ["name:redact", ""]);
    assert_eq!(lines[7], ["analyst", "analyst"]);
    assert_eq!(lines[8], ["rule-7", "rule-7"]);
    let credits = of_acme[0].column_by_name("credits_settled").unwrap();
    assert_eq!(credits.as_primitive::<arrow::datatypes::Float64Type>().value(2), 1.5);
    assert!(rows(&journal, None).iter().map(RecordBatch::num_rows).sum::<usize>() as u64 == journal.size());
}

#[test]
fn a_scan_may_begin_anywhere() {
    let data = tempdir().unwrap();
    history(data.path());
    let journal = open(data.path());
    for first in [0, 1, 17, 18, 19, 100, journal.size() - 1, journal.size(), u64::MAX] {
        let batches: Vec<RecordBatch> = journal.scan_from(None, first).unwrap().collect::<Result<_, _>>().unwrap();
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        assert_eq!(rows, journal.size().saturating_sub(first));
        if let Some(batch) = batches.first() {
            let index = batch.column_by_name("record").unwrap();
            assert_eq!(index.as_primitive::<arrow::datatypes::Int64Type>().value(0) as u64, first);
        }
    }
}

#[test]
fn charges_fold_to_balances() {
    let data = tempdir().unwrap();
    history(data.path());
    let journal = open(data.path());
    let mut balances = BTreeMap::new();
    for charge in journal.settled(0).unwrap() {
        let charge = charge.unwrap();
        let (credits, rows) = balances.entry((charge.org.to_string(), charge.agent.to_string())).or_insert((0, 0));
        *credits += charge.milli_credits;
        *rows += charge.rows;
    }
    let expected = (30_000, (0..30).sum::<u64>());
    assert_eq!(balances.len(), 3);
    assert!(balances.values().all(|balance| *balance == expected), "{balances:?}");
    assert_eq!(journal.settled(i64::MAX).unwrap().count(), 0);
}

#[test]
fn an_export_holds_what_the_journal_holds() {
    let data = tempdir().unwrap();
    history(data.path());
    let records = verify(data.path(), None).records;
    let mut lines = Vec::new();
    let all = ExportFilter::default();
    assert_eq!(export(data.path(), &all, ExportFormat::JsonLines, &mut lines).unwrap(), records);
    for line in String::from_utf8(lines).unwrap().lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        let (_, record) = line.split_once("\"record\":").unwrap();
        let record = record.strip_suffix('}').unwrap();
        let salt = hex::decode(parsed["salt"].as_str().unwrap()).unwrap();
        let leaf = merkle::leaf_hash(&[&salt, record.as_bytes()]);
        assert_eq!(parsed["leaf"], leaf.to_string(), "anyone can compute a leaf again");
    }
    let zeta = ExportFilter { org: Some(OrgName::new("zeta").unwrap()), since_unix_seconds: None };
    let mut file = Vec::new();
    assert_eq!(export(data.path(), &zeta, ExportFormat::Parquet, &mut file).unwrap(), 62);
    let file = tempfile_of(&file);
    let read: usize = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(read, 62);
    let later = ExportFilter { since_unix_seconds: Some(i64::MAX), ..ExportFilter::default() };
    assert_eq!(export(data.path(), &later, ExportFormat::JsonLines, Cursor::new(Vec::new())).unwrap(), 0);
}

fn tempfile_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

#[test]
fn a_record_is_shown_to_be_in_the_journal() {
    let data = tempdir().unwrap();
    history(data.path());
    let journal = open(data.path());
    for index in [0, 1, 77, journal.size() - 1] {
        let proof = journal.prove(index).unwrap().unwrap();
        let (size, root) = (proof.checkpoint.size, proof.checkpoint.root);
        assert!(merkle::verify_inclusion(&proof.leaf, index, size, &proof.path, &root));
        assert!(!merkle::verify_inclusion(&Hash::of(&[b"x"]), index, size, &proof.path, &root));
        assert!(proof.path.len() * 32 < 1_024);
    }
    assert_eq!(journal.prove(u64::MAX).unwrap(), None);
}

#[test]
fn checkpoints_come_by_themselves() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let size = |journal: &Journal| -> u64 {
        journal.newest_checkpoint().unwrap().split('\n').nth(1).unwrap().parse().unwrap()
    };
    let before = size(&journal);
    statement(&session(&journal, "acme", "a"), "SELECT 1", 1, 1);
    let waited = (0..200).find(|_| {
        thread::sleep(Duration::from_millis(10));
        size(&journal) == journal.size()
    });
    assert!(waited.is_some() && before < journal.size());
}
