//! From requests to the node's work.

use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

use crate::{
    causality::NodeId,
    key::FactKey,
    node::{Work, ttl_ms},
    protocol::{
        Ack, BatchPut, Delete, Evaluate, Id, IfVersion, Incr, Method, Operation, Plane, Put, Query, Request, Subscribe,
        Surface, Transaction,
    },
    replica::{self, Precondition, WriteFact},
};

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Plan {
    Hello,
    Pong,
    Flags,
    Get(FactKey),
    BatchGet(Vec<FactKey>),
    Query(Query),
    Write {
        work: Work,
        ack: Ack,
        asked: Asked,
    },
    Subscribe(Subscribe),
    SubscribePolicies(Vec<String>),
    Unsubscribe(String),
    Evaluate(Evaluate),
    EvaluateBatch(Vec<(Id, Evaluate)>),
    ListPolicies {
        prefix: String,
        depth: Option<u64>,
        include_metadata: bool,
    },
    Subtree(String),
    Sync,
    List {
        prefix: String,
        after: Option<FactKey>,
    },
    Stats,
    Metadata,
    Peers,
    Repair {
        restamp: bool,
    },
    RemovePeer(NodeId),
    RotateKey,
    /// The plane cannot do it yet.
    Absent(Method),
}

/// What of a write the answer is to tell.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) form: Form,
    pub(super) entries: Entries,
}

pub(super) type Entries = SmallVec<[Entry; 1]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Batch,
    Count,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: FactKey,
    pub(super) is_delete: bool,
    pub(super) if_version: Option<IfVersion>,
}

/// What is offered. What there is in the protocol and not here yet is switched off, so that it does not exist.
pub(super) fn surface(plane: Plane, server_version: &str, decides: bool) -> Surface {
    let off: &[&str] = match plane {
        Plane::Data => &[],
        Plane::Evaluation if decides => &[],
        Plane::Control if decides => &["policies", "update-policy"],
        Plane::Evaluation => {
            &["evaluate", "evaluate-batch", "subscribe", "unsubscribe", "list-policies", "get-subtree"]
        }
        Plane::Control => &["policies", "update-policy", "list-policies", "get-subtree"],
    };
    let on: &[&str] = match plane {
        Plane::Data => &["incr", "query", "transaction"],
        Plane::Evaluation => &[],
        Plane::Control => &["sync", "list", "stats", "metadata", "peers", "repair", "remove-peer", "rotate-key"],
    };
    let flag = |is_on: bool| move |name: &&str| ((*name).to_owned(), is_on);
    let feature_flags: BTreeMap<String, bool> = off.iter().map(flag(false)).chain(on.iter().map(flag(true))).collect();
    Surface { plane, feature_flags, server_version: server_version.to_owned() }
}

pub(super) fn plan(request: Request) -> Plan {
    let method = request.method();
    match request {
        Request::Hello => Plan::Hello,
        Request::Ping => Plan::Pong,
        Request::GetFeatureFlags => Plan::Flags,
        Request::Get { key } => Plan::Get(key),
        Request::BatchGet { keys } => Plan::BatchGet(keys),
        Request::Query(query) => Plan::Query(query),
        Request::Subscribe(subscribe) => Plan::Subscribe(subscribe),
        Request::Unsubscribe { subscription } => Plan::Unsubscribe(subscription),
        Request::Put(put) => write_one(put.ack, of_put(put)),
        Request::Delete(delete) => write_one(delete.ack, of_delete(delete)),
        Request::BatchPut(BatchPut { entries, atomic, ack }) => {
            let work = if atomic { Work::All } else { Work::Each };
            write_many(ack, work, entries.into_iter().map(of_put))
        }
        Request::Transaction(Transaction { operations, ack }) => {
            let of = |operation| match operation {
                Operation::Put(put) => of_put(put),
                Operation::Delete(delete) => of_delete(delete),
            };
            write_many(ack, Work::All, operations.into_iter().map(of))
        }
        Request::Incr(Incr { key, by, ttl, ack }) => {
            let entries = smallvec![Entry { key: key.clone(), is_delete: false, if_version: None }];
            let operation = replica::Operation::Increment { by, ttl_ms: ttl_ms(ttl) };
            let work = Work::Count(WriteFact { key, operation, precondition: None });
            Plan::Write { work, ack, asked: Asked { form: Form::Count, entries } }
        }
        Request::Evaluate(evaluate) => Plan::Evaluate(evaluate),
        Request::EvaluateBatch(evaluations) => Plan::EvaluateBatch(evaluations),
        Request::SubscribePolicies { policies } => Plan::SubscribePolicies(policies),
        Request::ListPolicies { prefix, depth, include_metadata } => {
            Plan::ListPolicies { prefix, depth, include_metadata }
        }
        Request::GetSubtree { path } => Plan::Subtree(path),
        Request::Sync => Plan::Sync,
        Request::List { prefix, after } => Plan::List { prefix, after },
        Request::Stats => Plan::Stats,
        Request::Metadata => Plan::Metadata,
        Request::Peers => Plan::Peers,
        Request::Repair { restamp } => Plan::Repair { restamp },
        Request::RemovePeer { node } => Plan::RemovePeer(node),
        Request::RotateKey => Plan::RotateKey,
        Request::Policies | Request::UpdatePolicy { .. } => Plan::Absent(method),
    }
}

fn write_one(ack: Ack, (write, entry): (WriteFact, Entry)) -> Plan {
    Plan::Write { work: Work::All(vec![write]), ack, asked: Asked { form: Form::One, entries: smallvec![entry] } }
}

fn write_many(ack: Ack, work: fn(Vec<WriteFact>) -> Work, each: impl Iterator<Item = (WriteFact, Entry)>) -> Plan {
    let (writes, entries) = each.unzip();
    Plan::Write { work: work(writes), ack, asked: Asked { form: Form::Batch, entries } }
}

fn of_put(put: Put) -> (WriteFact, Entry) {
    let operation = replica::Operation::Put { json: put.value, ttl_ms: ttl_ms(put.ttl) };
    of(put.key, operation, put.if_version, false)
}

fn of_delete(delete: Delete) -> (WriteFact, Entry) {
    of(delete.key, replica::Operation::Delete, delete.if_version, true)
}

fn of(
    key: FactKey,
    operation: replica::Operation,
    if_version: Option<IfVersion>,
    is_delete: bool,
) -> (WriteFact, Entry) {
    let precondition = if_version.map(|expected| match expected {
        IfVersion::Absent => Precondition::Absent,
        IfVersion::Is(version) => Precondition::Version(version),
    });
    (WriteFact { key: key.clone(), operation, precondition }, Entry { key, is_delete, if_version })
}
