//! Statements that repeat: recorded by reference, told in full.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arrow::array::RecordBatch;
use serde_json::Value;
use tempfile::tempdir;
use weir_audit::{
    ExportFilter, ExportFormat, IntentForm, Journal, JournalOptions, MaskApplied, OutcomeFields, SessionChain, export,
    verify,
};
use weir_model::StatementId;

use crate::{
    journal::{column, rows},
    ledger::{done, open, session, with_intent},
};

fn lasting(chain: &SessionChain, sql: &str) -> Arc<IntentForm> {
    Arc::new(with_intent(sql, true, |intent| chain.lasting_form(intent).unwrap()))
}

/// Runs a statement; with its intent in a record of its own, or in one with its outcome.
fn run(chain: &SessionChain, form: &Arc<IntentForm>, apart: bool) {
    let mut receipt = chain.queue(StatementId::fresh(), form, Some(1_500)).unwrap();
    if apart {
        receipt.write().unwrap();
    }
    chain.outcome(receipt, &done(1, 1_000)).unwrap();
}

fn lines(data: &std::path::Path, filter: &ExportFilter) -> Vec<Value> {
    let mut text = Vec::new();
    export(data, filter, ExportFormat::JsonLines, &mut text).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["record"].clone()).collect()
}

/// Whether every record that refers to a form comes behind the one that states it; and how many do.
fn references(records: &[Value]) -> usize {
    let mut stated = HashSet::new();
    let mut references = 0;
    for record in records {
        let session = record["session"].as_str().unwrap();
        if let Some(number) = record["form"].as_u64() {
            assert!(record["sql"].is_string() && record["as"].is_null());
            stated.insert((session, number));
        }
        if let Some(number) = record["as"].as_u64() {
            assert!(record["sql"].is_null() && record["org"].is_string());
            assert!(stated.contains(&(session, number)), "{record}");
            references += 1;
        }
    }
    references
}

#[test]
fn what_repeats_is_recorded_once_a_file_and_told_each_time() {
    let data = tempdir().unwrap();
    // Several files.
    let journal = open(data.path());
    let chains = [session(&journal, "acme", "a"), session(&journal, "zeta", "z")];
    let mut expected: HashMap<String, Vec<String>> = HashMap::new();
    let forms: Vec<Vec<(String, Arc<IntentForm>)>> = chains
        .iter()
        .map(|chain| {
            let text = |n| format!("SELECT {n} FROM orders -- {}", chain.session());
            (0..20).map(|n| (text(n), lasting(chain, &text(n)))).collect()
        })
        .collect();
    for turn in 0..300_usize {
        let (chain, forms) = (&chains[turn % 2], &forms[turn % 2]);
        // More forms than have a number at a time, some of them often.
        let (sql, form) = if turn % 5 == 0 { &forms[turn / 5 % 20] } else { &forms[turn % 3] };
        run(chain, form, turn % 7 == 0);
        expected.entry(chain.session().to_string()).or_default().push(sql.clone());
    }
    let told = |batches: &[RecordBatch]| {
        let mut told: HashMap<String, Vec<String>> = HashMap::new();
        let [sessions, kinds, texts] = ["session", "kind", "sql"].map(|name| column(batches, name));
        for ((session, kind), sql) in sessions.into_iter().zip(kinds).zip(texts) {
            if matches!(kind.as_deref(), Some("intent" | "statement")) {
                told.entry(session.unwrap()).or_default().push(sql.expect("every statement has its text"));
            }
        }
        told
    };
    assert_eq!(told(&rows(&journal, None)), expected);
    assert_eq!(told(&rows(&journal, Some("acme"))).len(), 1);
    for first in (0..journal.size()).step_by(13) {
        let batches: Vec<RecordBatch> = journal.scan_from(None, first).unwrap().collect::<Result<_, _>>().unwrap();
        for (session, texts) in told(&batches) {
            assert!(expected[&session].ends_with(&texts), "from record {first}");
        }
    }
    let charged: u64 = journal.settled(0).unwrap().map(|charge| charge.unwrap().milli_credits).sum();
    assert_eq!(charged, 300 * 1_000);
    drop(chains);
    journal.close().unwrap();
    let report = verify(data.path(), None);
    assert!(report.is_ok() && (report.intents, report.outcomes) == (300, 300), "{report}");
    assert!(references(&lines(data.path(), &ExportFilter::default())) > 100);
}

#[test]
fn a_part_that_is_exported_holds_what_its_records_refer_to() {
    let data = tempdir().unwrap();
    let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
    let chain = session(&journal, "acme", "a");
    let forms = ["SELECT 1", "SELECT 2"].map(|sql| lasting(&chain, sql));
    (0..10).for_each(|turn| run(&chain, &forms[turn % 2], false));
    std::thread::sleep(Duration::from_millis(1_100));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (0..5).for_each(|_| run(&chain, &forms[1], false));
    let filter = ExportFilter { since_unix_seconds: Some(i64::try_from(since).unwrap()), ..ExportFilter::default() };
    let records = lines(data.path(), &filter);
    assert_eq!((records.len(), references(&records)), (6, 5), "five, and the one that they refer to");
}

#[test]
fn a_number_that_was_given_again_means_the_newer_form_in_an_export() {
    let data = tempdir().unwrap();
    let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
    let chain = session(&journal, "acme", "a");
    let forms: Vec<_> = (0..17).map(|n| lasting(&chain, &format!("SELECT {n}"))).collect();
    forms[..16].iter().for_each(|form| run(&chain, form, false));
    std::thread::sleep(Duration::from_millis(1_100));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Takes the number of the first.
    (0..3).for_each(|_| run(&chain, &forms[16], false));
    let filter = ExportFilter { since_unix_seconds: Some(i64::try_from(since).unwrap()), ..ExportFilter::default() };
    let records = lines(data.path(), &filter);
    let texts: Vec<_> = records.iter().map(|record| record["sql"].as_str()).collect();
    assert_eq!((texts, references(&records)), (vec![Some("SELECT 16"), None, None], 2));
}

#[test]
fn a_form_whose_record_came_to_nothing_is_stated_again() {
    let data = tempdir().unwrap();
    let journal = open(data.path());
    let chain = session(&journal, "acme", "a");
    let form = lasting(&chain, "SELECT 1");
    let masks = [MaskApplied { column: "x".repeat(2 << 20), mask: "redact".into() }];
    let receipt = chain.queue(StatementId::fresh(), &form, None).unwrap();
    assert!(chain.outcome(receipt, &OutcomeFields { masks: &masks, ..done(1, 1) }).is_err(), "it is too large");
    run(&chain, &form, false);
    run(&chain, &form, false);
    assert_eq!(references(&lines(data.path(), &ExportFilter::default())), 1);
}
