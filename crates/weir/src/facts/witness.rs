//! What the facts' sockets are asked and refuse, for the journal. It is told by tasks that must not wait, and written by a
//! thread of its own.
//!
//! Names of keys are not written: the journal has a key's namespace and the SHA-256 of the key, by which who knows a key
//! finds what became of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tracing::error;
use weir_audit::{EventFields, EventKind, Journal};
use weir_facts::{Answered, Caller, FactKey, Peer, Witness, WitnessedRefusal, WitnessedRequest, protocol::Plane};
use weir_model::{ClientAddress, OrgName};

use super::{allowance::Allowance, meters::Meters, rights::TokenChange};

/// Events that wait for the journal; what is beyond is counted.
const WAITING_MAX: usize = 4_096;
/// Refusals that are recorded one by one: so many at once, and a second.
const REFUSALS: (u32, f64) = (100, 1.0);
/// Samples of writes that are.
const WRITES: (u32, f64) = (100, 10.0);
/// Between counts of what was not.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct JournalWitness {
    told: SyncSender<Told>,
    refusals: Allowance,
    writes: Allowance,
    beyond: Arc<Beyond>,
    meters: Meters,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Events that are counted and not recorded one by one.
#[derive(Debug, Default)]
struct Beyond {
    refusals: AtomicU64,
    controls: AtomicU64,
    writes: AtomicU64,
}

enum Told {
    Event(Box<Seen>),
    End,
}

struct Seen {
    kind: EventKind,
    client: ClientAddress,
    detail: Vec<(&'static str, String)>,
}

impl JournalWitness {
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(journal: Arc<Journal>, org: OrgName) -> std::io::Result<JournalWitness> {
        let (told, heard) = sync_channel(WAITING_MAX);
        let beyond = Arc::new(Beyond::default());
        let writing = Writing { journal, org, beyond: Arc::clone(&beyond), is_failing: false };
        let thread = thread::Builder::new().name("facts-journal".into()).spawn(move || writing.run(&heard))?;
        let now = Instant::now();
        Ok(JournalWitness {
            told,
            refusals: Allowance::new(REFUSALS.0, REFUSALS.1, now),
            writes: Allowance::new(WRITES.0, WRITES.1, now),
            beyond,
            meters: Meters::new(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A token came or went.
    pub(super) fn token(&self, change: &TokenChange) {
        let (kind, line) = match change {
            TokenChange::Issued(line) => (EventKind::KeyIssued, line),
            TokenChange::Revoked(line) => (EventKind::KeyRevoked, line),
        };
        let detail = vec![("token", line.id.clone()), ("holder", line.holder.to_string())];
        self.tell(kind, None, detail, &self.beyond.controls);
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Waits until all that was seen is in the journal. What is seen later is not.
    pub(super) fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else { return };
        // It ends by itself only in a panic, which joining tells.
        let _ = self.told.send(Told::End);
        if thread.join().is_err() {
            error!("the thread that records what the facts' sockets see ended by a panic");
        }
    }

    fn tell(&self, kind: EventKind, peer: Option<Peer>, detail: Vec<(&'static str, String)>, beyond: &AtomicU64) {
        let client = match peer {
            Some(Peer::Address(address)) => ClientAddress::Ip(address),
            Some(Peer::Process { .. }) | None => ClientAddress::Local,
        };
        let seen = Told::Event(Box::new(Seen { kind, client, detail }));
        if self.told.try_send(seen).is_err() {
            beyond.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Witness for JournalWitness {
    fn refused(&self, refusal: &WitnessedRefusal<'_>) {
        if refusal.method.is_none() {
            self.meters.unconnected();
        }
        if !self.refusals.take(Instant::now()) {
            self.beyond.refusals.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut detail = beginning(refusal.peer, refusal.caller, refusal.plane);
        detail.push(("method", refusal.method.map_or("connect", |method| method.name()).to_owned()));
        of_key(&mut detail, refusal.key);
        detail.push(("error", refusal.error.code().to_string()));
        detail.push(("why", refusal.error.to_string()));
        self.tell(EventKind::FactsRefused, refusal.peer, detail, &self.beyond.refusals);
    }

    fn controlled(&self, request: &WitnessedRequest<'_>) {
        self.tell(EventKind::FactsControlled, request.peer, of_request(request), &self.beyond.controls);
    }

    fn wrote(&self, request: &WitnessedRequest<'_>) {
        if self.writes.take(Instant::now()) {
            self.tell(EventKind::FactsWritten, request.peer, of_request(request), &self.beyond.writes);
        } else {
            self.beyond.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answered(&self, answered: &Answered<'_>) {
        self.meters.answered(answered);
    }
}

fn beginning(peer: Option<Peer>, caller: Option<&Caller>, plane: Plane) -> Vec<(&'static str, String)> {
    let caller = match caller {
        Some(Caller::Holder(holder)) => holder.to_string(),
        Some(Caller::Anyone) => "anyone".to_owned(),
        None => "nobody".to_owned(),
    };
    let mut detail = vec![("caller", caller), ("plane", plane.path().to_owned())];
    if let Some(Peer::Process { user, process }) = peer {
        detail.push(("user", user.to_string()));
        detail.extend(process.map(|process| ("process", process.to_string())));
    }
    detail
}

fn of_request(request: &WitnessedRequest<'_>) -> Vec<(&'static str, String)> {
    let mut detail = beginning(request.peer, Some(request.caller), request.plane);
    detail.push(("method", request.method.name().to_owned()));
    of_key(&mut detail, request.key);
    if request.keys > 1 {
        detail.push(("keys", request.keys.to_string()));
    }
    detail
}

fn of_key(detail: &mut Vec<(&'static str, String)>, key: Option<&FactKey>) {
    if let Some(key) = key {
        detail.push(("namespace", key.namespace().to_owned()));
        detail.push(("key_sha256", hex::encode(Sha256::digest(key.as_str()))));
    }
}

struct Writing {
    journal: Arc<Journal>,
    org: OrgName,
    beyond: Arc<Beyond>,
    /// Whether the last event found no journal, which is told once.
    is_failing: bool,
}

impl Writing {
    fn run(mut self, heard: &Receiver<Told>) {
        let mut summary_at = Instant::now() + SUMMARY_EVERY;
        loop {
            match heard.recv_timeout(summary_at.saturating_duration_since(Instant::now())) {
                Ok(Told::Event(seen)) => {
                    let detail: Vec<(&str, &str)> =
                        seen.detail.iter().map(|(name, text)| (*name, text.as_str())).collect();
                    self.write(seen.kind, &seen.client, &detail);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return self.summarise(),
            }
            if Instant::now() >= summary_at {
                self.summarise();
                summary_at = Instant::now() + SUMMARY_EVERY;
            }
        }
    }

    fn summarise(&mut self) {
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let Beyond { refusals, controls, writes } = &*self.beyond;
        let counts = [("refusals", taken(refusals)), ("controls", taken(controls)), ("writes", taken(writes))];
        let detail: Vec<(&str, String)> =
            counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name, count.to_string())).collect();
        if !detail.is_empty() {
            let detail: Vec<(&str, &str)> = detail.iter().map(|(name, text)| (*name, text.as_str())).collect();
            self.write(EventKind::FactsSummarised, &ClientAddress::Local, &detail);
        }
    }

    fn write(&mut self, kind: EventKind, client: &ClientAddress, detail: &[(&str, &str)]) {
        let fields = EventFields { org: Some(&self.org), client: Some(client), detail, ..EventFields::new(kind) };
        let written = self.journal.event(&fields);
        if let Err(refusal) = &written
            && !self.is_failing
        {
            error!(%refusal, "what the facts' sockets see is not recorded");
        }
        self.is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_audit::{ExportFilter, ExportFormat, JournalOptions, export};
    use weir_facts::{
        Holder,
        protocol::{Method, ProtocolError, Refusal},
    };

    use super::*;

    fn records(data: &std::path::Path, event: &str) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        export(data, &ExportFilter { org: None, since_unix_seconds: None }, ExportFormat::JsonLines, &mut out).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["record"]["event"] == event).collect()
    }

    #[test]
    fn a_flood_is_counted_and_names_of_keys_stay_out() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path(), JournalOptions::default()).unwrap();
        let witness = JournalWitness::start(Arc::clone(&journal), OrgName::new("acme").unwrap()).unwrap();
        let error = ProtocolError::Unauthorized { reason: Refusal::Token, namespace: None };
        let key = FactKey::new("approvals.deploy-secret").unwrap();
        let caller = Caller::Holder(Holder::service("deploy").unwrap());
        for _ in 0..1_000 {
            witness.refused(&WitnessedRefusal {
                peer: Some(Peer::Process { user: 7, process: Some(8) }),
                caller: Some(&caller),
                plane: Plane::Data,
                method: Some(Method::Put),
                key: Some(&key),
                error: &error,
            });
        }
        let request = WitnessedRequest {
            peer: None,
            caller: &Caller::Holder(Holder::Admin),
            plane: Plane::Control,
            method: Method::Stats,
            key: None,
            keys: 0,
        };
        witness.controlled(&request);
        witness.stop();
        witness.stop();
        witness.controlled(&request);
        journal.close().unwrap();
        let refused = records(data.path(), "facts_refused");
        assert!((100..150).contains(&refused.len()), "{}", refused.len());
        assert_eq!(records(data.path(), "facts_controlled").len(), 1);
        let summary = records(data.path(), "facts_summarised");
        assert_eq!(summary.len(), 1);
        let text = refused[0].to_string();
        assert!(text.contains("service deploy") && text.contains("approvals") && text.contains("-32003"), "{text}");
        assert!(!text.contains("deploy-secret"), "{text}");
        assert!(text.contains(&hex::encode(Sha256::digest("approvals.deploy-secret"))), "{text}");
        let more = summary[0].to_string();
        assert!(more.contains(&format!("{}", 1_000 - refused.len())), "{more}");
    }
}
