//! A connection served by a script: real reading, tokens and grants, and a store that writes versions as it is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::Value;
use weir_facts::{
    Caller, FactKey, Grants, Hlc, Holder, Millis, NamespaceRule, Pattern, Tokens,
    protocol::{
        Answer, Answers, Call, ChangeKind, ChangeNotice, Connection, Count, Cursor, Decision, DecisionOf,
        DecisionOutcome, Decisions, Deleted, Effect, Encoding, Entry, Evaluate, Hello, Id, IfVersion, Json, Listener,
        Lookup, Message, Notification, Operation, Outcome, Plane, ProtocolError, Put, Query, Refusal, Refused, Reply,
        Request, Step, Surface, Written,
    },
};

pub const NOW: Millis = Millis(1_698_765_000_000);

/// Tokens: `deploy` writes approvals, `identity` relationships, `gateway` rate limits; `predicate` reads everything.
pub fn tokens() -> Tokens {
    let mut tokens = Tokens::default();
    for name in ["deploy", "identity", "gateway", "predicate"] {
        tokens.set(Holder::service(name).unwrap(), &format!("ipe_service_{name}_0123456789abcdef")).unwrap();
    }
    tokens.set(Holder::Admin, "ipe_admin_0123456789abcdef").unwrap();
    tokens.set(Holder::app("web").unwrap(), "ipe_app_web_0123456789abcdef").unwrap();
    tokens
}

pub fn grants() -> Grants {
    let names = |list: &[&str]| -> BTreeSet<String> { list.iter().map(|name| (*name).to_owned()).collect() };
    let rule = |pattern: &str, writers: &[&str], readers: &[&str]| NamespaceRule {
        pattern: Pattern::new(pattern).unwrap(),
        writers: names(writers),
        readers: names(readers),
    };
    Grants {
        allowed_writers: None,
        enforce_namespaces: true,
        rules: vec![
            rule("approvals.*", &["deploy"], &["deploy"]),
            rule("relationships.*", &["identity"], &["identity"]),
            rule("rate_limits.*", &["gateway"], &["gateway"]),
            rule("*", &[], &["predicate"]),
        ],
    }
}

pub fn surface(plane: Plane) -> Arc<Surface> {
    let flags: &[(&str, bool)] = match plane {
        Plane::Data => &[("incr", true), ("query", false), ("transaction", true)],
        Plane::Evaluation => &[("policy_versioning", true), ("streaming_enabled", true), ("tree_enumeration", true)],
        Plane::Control => &[],
    };
    Arc::new(Surface {
        plane,
        feature_flags: flags.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect(),
        server_version: "0.1.0".to_owned(),
    })
}

struct Stored {
    json: String,
    version: Hlc,
    updated_at: Millis,
}

#[derive(Default)]
pub struct Store {
    entries: BTreeMap<FactKey, Stored>,
    /// Versions and times of the writes to come.
    pub stamps: VecDeque<(u64, u64)>,
}

impl Store {
    fn stamp(&mut self) -> (Hlc, Millis) {
        let (version, seconds) = self.stamps.pop_front().unwrap_or((1, 1_698_765_000));
        (Hlc::from_u64(version).unwrap(), Millis(seconds * 1_000))
    }

    fn check(&self, key: &FactKey, expected: Option<IfVersion>) -> Result<(), ProtocolError> {
        let version = self.entries.get(key).map_or(0, |stored| stored.version.as_u64());
        match expected.map(IfVersion::as_u64).filter(|expected| *expected != version) {
            Some(expected) => Err(ProtocolError::VersionConflict { key: key.to_string(), expected, version }),
            None => Ok(()),
        }
    }

    fn write(&mut self, put: Put) -> Result<Written, ProtocolError> {
        self.check(&put.key, put.if_version)?;
        let (version, updated_at) = self.stamp();
        let stored = Stored { json: put.value.to_string(), version, updated_at };
        self.entries.insert(put.key.clone(), stored);
        Ok(Written { key: put.key, version, updated_at, cursor: None })
    }

    fn delete(&mut self, key: FactKey) -> Deleted {
        self.entries.remove(&key);
        let (version, deleted_at) = self.stamp();
        Deleted { key, version, tombstone: true, deleted_at, cursor: None }
    }

    fn entry(&self, key: &FactKey) -> Option<Entry> {
        self.entries.get(key).map(|stored| Entry {
            key: key.clone(),
            value: Json::of_text(stored.json.clone()).unwrap(),
            version: stored.version,
            updated_at: stored.updated_at,
            expires_at: None,
            conflicted: false,
        })
    }

    fn query(&self, query: &Query) -> Reply {
        let fits = |key: &FactKey| {
            let value: Value = serde_json::from_str(&self.entries[key].json).unwrap();
            query.pattern.matches(key) && query.filter.iter().all(|(name, wanted)| value.get(name) == Some(wanted))
        };
        let keys = self.entries.keys().filter(|key| fits(key)).take(query.limit);
        Reply::Page { results: keys.filter_map(|key| self.entry(key)).collect(), next: None }
    }

    pub fn execute(&mut self, surface: &Surface, request: Request) -> Result<Reply, ProtocolError> {
        Ok(match request {
            Request::Hello => Reply::Hello(Hello::new(surface)),
            Request::Ping => Reply::Pong { pong: true },
            Request::Put(put) => Reply::Written(self.write(put)?),
            Request::Get { key } => {
                Reply::Entry(self.entry(&key).ok_or_else(|| ProtocolError::KeyNotFound { key: key.to_string() })?)
            }
            Request::Delete(delete) => Reply::Deleted(self.delete(delete.key)),
            Request::BatchPut(batch) => {
                let outcome = |put: Put| {
                    let key = put.key.clone();
                    self.write(put).map_or_else(|error| Outcome::Failed { key, error }, Outcome::Written)
                };
                let results: Vec<Outcome> = batch.entries.into_iter().map(outcome).collect();
                let failed = results.iter().filter(|outcome| matches!(outcome, Outcome::Failed { .. })).count();
                Reply::Batch { applied: results.len() - failed, results, failed }
            }
            Request::BatchGet { keys } => {
                let lookup = |key: FactKey| self.entry(&key).map_or_else(|| Lookup::missing(key), Lookup::Found);
                Reply::Entries { results: keys.into_iter().map(lookup).collect() }
            }
            Request::Transaction(transaction) => {
                let outcome = |operation| match operation {
                    Operation::Put(put) => Outcome::Written(self.write(put).unwrap()),
                    Operation::Delete(delete) => Outcome::Deleted(self.delete(delete.key)),
                };
                let results: Vec<Outcome> = transaction.operations.into_iter().map(outcome).collect();
                Reply::Batch { applied: results.len(), results, failed: 0 }
            }
            Request::Query(query) => self.query(&query),
            Request::Incr(incr) => {
                let (version, updated_at) = self.stamp();
                Reply::Count(Count { key: incr.key, value: incr.by, version, updated_at })
            }
            Request::Subscribe(subscribe) => {
                let cursor = subscribe.after.or_else(|| Cursor::new("c:n1:7").ok());
                Reply::Subscribed { subscription: "s1".to_owned(), cursor }
            }
            Request::SubscribePolicies { .. } => Reply::Subscribed { subscription: "s1".to_owned(), cursor: None },
            Request::Unsubscribe { subscription } => Reply::Unsubscribed { subscription },
            Request::Evaluate(evaluate) => Reply::Decision(decide(&evaluate)?),
            Request::EvaluateBatch(evaluations) => {
                let of = |(id, evaluate): (Id, Evaluate)| {
                    let outcome =
                        decide(&evaluate).map_or_else(|error| DecisionOutcome::Failed { error }, DecisionOutcome::Made);
                    DecisionOf { id, outcome }
                };
                Reply::Decisions(Decisions { results: evaluations.into_iter().map(of).collect() })
            }
            Request::GetFeatureFlags => Reply::Flags { flags: surface.feature_flags.clone() },
            Request::UpdatePolicy { version, .. } => Reply::Applied { status: "applied", version },
            Request::ListPolicies { prefix, .. } => Reply::Other(serde_json::json!({ "root": prefix, "children": [] })),
            Request::GetSubtree { path } => {
                Reply::Other(serde_json::json!({ "path": path, "type": "directory", "children": [] }))
            }
            Request::Sync
            | Request::List { .. }
            | Request::Stats
            | Request::Metadata
            | Request::Policies
            | Request::Peers
            | Request::Repair { .. }
            | Request::RotateKey
            | Request::RemovePeer { .. } => Reply::Other(serde_json::json!({})),
        })
    }
}

fn decide(evaluate: &Evaluate) -> Result<Decision, ProtocolError> {
    match evaluate.policies.iter().find(|path| path.starts_with("missing")) {
        Some(path) => Err(ProtocolError::PolicyNotFound { path: path.clone() }),
        None => Ok(Decision {
            decision: Effect::Deny,
            reason: "Requires 2 senior engineer approvals".to_owned(),
            evaluation_time_us: 150,
            cursor: None,
            policy_root: None,
            staleness_ms: None,
        }),
    }
}

/// The rules once more, in other words.
fn assert_own_namespace(caller: &Caller, request: &Request) {
    let Caller::Holder(Holder::Service(name)) = caller else { panic!("{caller:?} writes") };
    let namespace = match name.as_str() {
        "deploy" => "approvals.",
        "identity" => "relationships.",
        "gateway" => "rate_limits.",
        other => panic!("{other} writes"),
    };
    assert!(request.keys().iter().all(|key| key.as_str().starts_with(namespace)), "{name}: {request:?}");
}

/// A connection with all that serves it.
pub struct Session {
    connection: Connection,
    tokens: Tokens,
    grants: Grants,
    caller: Caller,
    surface: Arc<Surface>,
    pub store: Store,
    pub is_ended: bool,
}

impl Session {
    pub fn new(listener: Listener) -> Session {
        Session {
            connection: Connection::new(listener),
            tokens: tokens(),
            grants: grants(),
            caller: Caller::Anyone,
            surface: surface(Plane::Data),
            store: Store::default(),
            is_ended: false,
        }
    }

    /// What the client gets for its bytes.
    pub fn receive(&mut self, mut input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(step) = self.connection.step(&mut input, &mut out) {
            match step {
                Step::Opened(head) => {
                    self.surface = surface(head.plane);
                    let holder = head.bearer.and_then(|token| self.tokens.verify(&token, NOW));
                    let nobody = ProtocolError::Unauthorized { reason: Refusal::Token, namespace: None };
                    let caller = holder.map(Caller::Holder).ok_or(nobody);
                    match caller.and_then(|caller| Grants::admit(&caller, head.plane).map(|()| caller)) {
                        Ok(caller) => {
                            self.caller = caller;
                            self.connection.accept(Arc::clone(&self.surface), &mut out);
                        }
                        Err(error) => self.connection.refuse(error, &mut out),
                    }
                }
                Step::Message(message, route) => {
                    let answers = match message {
                        Message::One(one) => Answers::One(self.answer(one)),
                        Message::Many(many) => Answers::Many(many.into_iter().map(|one| self.answer(one)).collect()),
                    };
                    route.write(&mut out, answers);
                }
                Step::End => self.is_ended = true,
            }
        }
        assert!(input.is_empty(), "what was not read would be lost");
        out
    }

    fn answer(&mut self, one: Result<Call, Refused>) -> Answer {
        match one {
            Ok(Call { id, request }) => {
                let allowed = self.grants.authorize(&self.caller, self.surface.plane, &request);
                if allowed.is_ok() && request.method().writes_facts() {
                    assert_own_namespace(&self.caller, &request);
                }
                Answer { id, outcome: allowed.and_then(|()| self.store.execute(&self.surface, request)) }
            }
            Err(Refused { id, error }) => Answer { id, outcome: Err(error) },
        }
    }

    pub fn buffered(&self) -> usize {
        self.connection.buffered()
    }

    /// What a subscriber is told of a key.
    pub fn notify(&self, kind: ChangeKind, key: &str, version: u64, seconds: u64) -> Vec<u8> {
        let key = FactKey::new(key).unwrap();
        let entry = self.store.entry(&key);
        let change = ChangeNotice {
            kind,
            value: entry.map(|entry| entry.value),
            key: Some(key),
            version: Hlc::from_u64(version),
            timestamp: Millis(seconds * 1_000),
            cursor: Cursor::new("c:n1:8").ok(),
            source_instance: None,
            expires_at: None,
            subscription: None,
        };
        let mut out = Vec::new();
        Notification::Change(change).write_frame(&mut out, Encoding::Json).unwrap();
        out
    }
}
