//! A journal with some history, and the means to read and rewrite its files as an attacker would.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use weir_audit::{Decision, IntentFields, Journal, JournalOptions, MaskApplied, Outcome, OutcomeFields, SessionChain};
use weir_model::{
    Attributes, Claims, ClientAddress, Code, CredentialId, CredentialKind, Identity, ObjectName, OrgName, SessionId,
    StatementId,
};

pub fn options() -> JournalOptions {
    JournalOptions { file_bytes_max: 8 * 1024, ..JournalOptions::default() }
}

pub fn open(data: &Path) -> Arc<Journal> {
    Journal::open(data, options()).unwrap()
}

pub fn identity(org: &str, agent: &str) -> Identity {
    Identity {
        org: OrgName::new(org).unwrap(),
        agent: agent.into(),
        credential: CredentialId("k1".into()),
        kind: CredentialKind::Agent,
        attributes: Attributes::new(),
        roles: Vec::new(),
        expires_at: None,
    }
}

pub fn session(journal: &Journal, org: &str, agent: &str) -> SessionChain {
    let claims = Claims { application_name: Some("psql".into()), ..Claims::default() };
    journal.session(SessionId::fresh(), &identity(org, agent), &ClientAddress::Local, &claims).unwrap()
}

pub fn done(rows: u64, settled: u64) -> OutcomeFields<'static> {
    OutcomeFields {
        outcome: Outcome::Ok,
        rows,
        elapsed: Duration::from_micros(1_500),
        masks: &[],
        credits_estimated: settled + 500,
        credits_settled: settled,
        credits_uncollected: 0,
        heal_attempts: 0,
    }
}

pub fn refused(code: Code) -> OutcomeFields<'static> {
    OutcomeFields { outcome: Outcome::Refused(code), ..done(0, 0) }
}

/// Gives `use_it` the fields of an ordinary statement.
pub fn with_intent<T>(sql: &str, allowed: bool, use_it: impl FnOnce(&IntentFields<'_>) -> T) -> T {
    let (claims, attributes) = (Claims::default(), Attributes::new());
    let (roles, rules) = (["analyst".to_owned()], [Arc::from("rule-7")]);
    let tables = [ObjectName::new("public", "orders").unwrap()];
    use_it(&IntentFields {
        claims: &claims,
        roles: &roles,
        sql,
        executed: Some("Filter <- Scan orders"),
        fingerprint: Some("5eed"),
        kind: "select",
        tables: &tables,
        confidence: 1.0,
        decision: Some(Decision { allowed, rules: &rules, attributes: &attributes, bundle_version: 3 }),
        credits_estimated: Some(1_500),
    })
}

pub fn statement(chain: &SessionChain, sql: &str, rows: u64, settled: u64) {
    let receipt = with_intent(sql, true, |intent| chain.intent(StatementId::fresh(), intent).unwrap());
    let masks = [MaskApplied { column: "name".into(), mask: "redact".into() }];
    chain.outcome(receipt, &OutcomeFields { masks: &masks, ..done(rows, settled) }).unwrap();
}

/// Three sessions of two orgs, taking turns, in several files and under several checkpoints; closed.
pub fn history(data: &Path) -> Vec<SessionId> {
    let journal = open(data);
    let chains = [session(&journal, "acme", "a"), session(&journal, "acme", "b"), session(&journal, "zeta", "z")];
    for turn in 0..30 {
        for (at, chain) in chains.iter().enumerate() {
            statement(chain, &format!("SELECT {turn} FROM orders WHERE part = {at}"), turn, 1_000);
        }
        if turn % 10 == 9 {
            journal.flush().unwrap();
        }
    }
    for chain in &chains {
        chain.close("client left").unwrap();
    }
    journal.close().unwrap();
    chains.iter().map(SessionChain::session).collect()
}

pub fn copy(from: &Path, to: &Path) {
    for folder in ["audit", "keys"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
}

/// The log files, in order.
pub fn logs(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

/// The frames of a log file.
pub fn frames(file: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(file).unwrap();
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = 24 + u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    frames
}

pub fn write_frames(file: &Path, frames: &[Vec<u8>]) {
    fs::write(file, frames.concat()).unwrap();
}

/// Changes a frame's payload and makes its checksum fit again.
pub fn forge(frame: &mut [u8], from: &str, to: &str) {
    let at = frame.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    frame[at..at + to.len()].copy_from_slice(to.as_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// Writes the `leaves` file anew from the log, as an attacker would who knows the format.
pub fn forge_leaves(data: &Path) {
    let mut leaves = Vec::new();
    for log in logs(data) {
        for frame in frames(&log) {
            leaves.extend_from_slice(weir_audit::merkle::leaf_hash(&[&frame[8..]]).as_bytes());
        }
    }
    fs::write(data.join("audit/leaves"), leaves).unwrap();
}
