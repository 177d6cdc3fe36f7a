//! What clients ask for, checked as far as the words alone allow.

mod facts;
mod policies;

use std::sync::Arc;

pub(crate) use self::facts::{checked_ack, checked_ttl, checked_version, value};
use serde_json::{Map, Value};
use smallvec::{SmallVec, smallvec};

use super::{
    Id,
    error::ProtocolError,
    limits::NAME_BYTES_MAX,
    method::{Method, Plane},
    params::{Given, Params, text},
    raw::Objects,
};
use crate::{
    causality::NodeId,
    clock::Hlc,
    json_text::JsonText,
    key::{FactKey, Pattern},
};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Hello,
    Ping,
    Put(Put),
    Get {
        key: FactKey,
    },
    Delete(Delete),
    BatchPut(BatchPut),
    BatchGet {
        keys: Vec<FactKey>,
    },
    Subscribe(Subscribe),
    Unsubscribe {
        subscription: String,
    },
    Transaction(Transaction),
    Query(Query),
    Incr(Incr),
    Evaluate(Evaluate),
    EvaluateBatch(Vec<(Id, Evaluate)>),
    /// Names of policies, `*` for all, or with `.*` at the end for those below.
    SubscribePolicies {
        policies: Vec<String>,
    },
    ListPolicies {
        prefix: String,
        depth: Option<u64>,
        include_metadata: bool,
    },
    GetSubtree {
        path: String,
    },
    GetFeatureFlags,
    Sync,
    /// Keys that begin so.
    List {
        prefix: String,
        /// The last key of the answer before.
        after: Option<FactKey>,
    },
    Stats,
    Metadata,
    Policies,
    UpdatePolicy {
        path: String,
        version: String,
        source: String,
    },
    Peers,
    Repair {
        /// Writes that wait since they came from the future are made anew, as of now.
        restamp: bool,
    },
    RemovePeer {
        node: NodeId,
    },
    RotateKey,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// Once this node's readers see it; a crash may lose it.
    Applied,
    /// Once it is on this node's disk.
    #[default]
    Durable,
    /// Once so many other nodes have it on their disks.
    Replicated(u8),
}

/// A condition on what this node has of a key: the check is local, as another node may be written to meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfVersion {
    /// There is no value; 0 on the wire.
    Absent,
    Is(Hlc),
}

impl IfVersion {
    #[must_use]
    pub fn as_u64(self) -> u64 {
        match self {
            IfVersion::Absent => 0,
            IfVersion::Is(version) => version.as_u64(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub key: FactKey,
    /// JSON text without spaces, in which no object has a name twice.
    pub value: JsonText,
    /// Seconds from now, at least 1.
    pub ttl: Option<u64>,
    pub if_version: Option<IfVersion>,
    /// In a batch or transaction, that of the whole.
    pub ack: Ack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub key: FactKey,
    pub if_version: Option<IfVersion>,
    /// In a transaction, that of the whole.
    pub ack: Ack,
}

/// No key is in it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPut {
    pub entries: Vec<Put>,
    /// Whether one entry that fails keeps all others from being written.
    pub atomic: bool,
    pub ack: Ack,
}

/// All of it or nothing. No key is in it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub operations: Vec<Operation>,
    pub ack: Ack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Put(Put),
    Delete(Delete),
}

impl Operation {
    #[must_use]
    pub fn key(&self) -> &FactKey {
        match self {
            Operation::Put(put) => &put.key,
            Operation::Delete(delete) => &delete.key,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub pattern: Pattern,
    /// Whether what is there already comes first. Without effect when there is a cursor to go on from.
    pub include_existing: bool,
    pub after: Option<Cursor>,
}

/// Facts whose members of these names have these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub pattern: Pattern,
    pub filter: Map<String, Value>,
    pub limit: usize,
    /// The last key of the answer before.
    pub after: Option<FactKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incr {
    pub key: FactKey,
    pub by: i64,
    /// Seconds from now, at least 1.
    pub ttl: Option<u64>,
    pub ack: Ack,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Evaluate {
    pub policies: Vec<String>,
    pub context: Map<String, Value>,
    /// The decision is to be made on data at least as new.
    pub min_cursor: Option<Cursor>,
    /// Without data as fresh as this, in milliseconds, the decision is deny.
    pub max_staleness_ms: Option<u64>,
}

/// A place in the order of changes, as a node gave it out: `c:` and text that only nodes understand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as this service gave it out: `c:` and more, without spaces")]
pub struct InvalidCursor;

impl Cursor {
    /// # Errors
    /// [`InvalidCursor`].
    pub fn new(text: &str) -> Result<Cursor, InvalidCursor> {
        let is_long_enough = (3..=NAME_BYTES_MAX).contains(&text.len());
        if is_long_enough && text.starts_with("c:") && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Cursor(text.into()))
        } else {
            Err(InvalidCursor)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Request {
    /// # Errors
    /// [`ProtocolError::InvalidParams`], or [`ProtocolError::TooLarge`].
    pub(crate) fn read<'a>(
        plane: Plane,
        method: Method,
        given: Option<Given<'a>>,
        objects: Option<Objects<'a>>,
    ) -> Result<Request, ProtocolError> {
        let mut params = Params::of_request(given, objects)?;
        let read = &mut params;
        let request = match method {
            // An older form of the protocol had clients say what they can.
            Method::Hello => {
                read.raw("capabilities");
                Request::Hello
            }
            Method::Ping => Request::Ping,
            Method::Put | Method::UpdateData => Request::Put(Put::read_whole(read)?),
            Method::Get => Request::Get { key: read.required("key", facts::key)? },
            Method::Delete => Request::Delete(Delete::read_whole(read)?),
            Method::BatchPut => Request::BatchPut(BatchPut::read(read)?),
            Method::BatchGet => Request::BatchGet { keys: facts::keys(read)? },
            Method::Subscribe if plane == Plane::Data => Request::Subscribe(Subscribe::read(read)?),
            Method::Subscribe => Request::SubscribePolicies { policies: policies::names(read)? },
            Method::Unsubscribe => {
                Request::Unsubscribe { subscription: read.required("subscription", policies::name)? }
            }
            Method::Transaction => Request::Transaction(Transaction::read(read)?),
            Method::Query => Request::Query(Query::read(read)?),
            Method::Incr => Request::Incr(Incr::read(read)?),
            Method::Evaluate => Request::Evaluate(Evaluate::read(read)?),
            Method::EvaluateBatch => Request::EvaluateBatch(policies::evaluations(read)?),
            Method::ListPolicies => Request::ListPolicies {
                prefix: read.optional("prefix", policies::name)?.unwrap_or_default(),
                depth: read.optional("depth", super::params::number)?,
                include_metadata: read.flag("include_metadata")?,
            },
            Method::GetSubtree => Request::GetSubtree { path: read.required("path", policies::name)? },
            Method::GetFeatureFlags => Request::GetFeatureFlags,
            Method::Sync => Request::Sync,
            Method::List => Request::List {
                prefix: read.optional("prefix", policies::name)?.unwrap_or_default(),
                after: read.optional("after", facts::key)?,
            },
            Method::Stats => Request::Stats,
            Method::Metadata => Request::Metadata,
            Method::Policies => Request::Policies,
            Method::Peers => Request::Peers,
            Method::Repair => Request::Repair { restamp: read.flag("restamp")? },
            Method::RotateKey => Request::RotateKey,
            Method::RemovePeer => Request::RemovePeer { node: read.required("node", policies::node)? },
            Method::UpdatePolicy => Request::UpdatePolicy {
                path: read.required("path", policies::name)?,
                version: read.required("version", policies::name)?,
                source: read.required("source", text)?.into_owned(),
            },
        };
        params.end()?;
        Ok(request)
    }

    /// Under which name it is allowed or not.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Request::Hello => Method::Hello,
            Request::Ping => Method::Ping,
            Request::Put(_) => Method::Put,
            Request::Get { .. } => Method::Get,
            Request::Delete(_) => Method::Delete,
            Request::BatchPut(_) => Method::BatchPut,
            Request::BatchGet { .. } => Method::BatchGet,
            Request::Subscribe(_) | Request::SubscribePolicies { .. } => Method::Subscribe,
            Request::Unsubscribe { .. } => Method::Unsubscribe,
            Request::Transaction(_) => Method::Transaction,
            Request::Query(_) => Method::Query,
            Request::Incr(_) => Method::Incr,
            Request::Evaluate(_) => Method::Evaluate,
            Request::EvaluateBatch(_) => Method::EvaluateBatch,
            Request::ListPolicies { .. } => Method::ListPolicies,
            Request::GetSubtree { .. } => Method::GetSubtree,
            Request::GetFeatureFlags => Method::GetFeatureFlags,
            Request::Sync => Method::Sync,
            Request::List { .. } => Method::List,
            Request::Stats => Method::Stats,
            Request::Metadata => Method::Metadata,
            Request::Policies => Method::Policies,
            Request::UpdatePolicy { .. } => Method::UpdatePolicy,
            Request::Peers => Method::Peers,
            Request::Repair { .. } => Method::Repair,
            Request::RemovePeer { .. } => Method::RemovePeer,
            Request::RotateKey => Method::RotateKey,
        }
    }

    /// The keys it names, in its order.
    #[must_use]
    pub fn keys(&self) -> SmallVec<[&FactKey; 1]> {
        match self {
            Request::Put(Put { key, .. })
            | Request::Get { key }
            | Request::Delete(Delete { key, .. })
            | Request::Incr(Incr { key, .. }) => smallvec![key],
            Request::BatchPut(batch) => batch.entries.iter().map(|put| &put.key).collect(),
            Request::BatchGet { keys } => keys.iter().collect(),
            Request::Transaction(transaction) => transaction.operations.iter().map(Operation::key).collect(),
            _ => SmallVec::new(),
        }
    }

    /// The pattern of keys it reads.
    #[must_use]
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Request::Subscribe(Subscribe { pattern, .. }) | Request::Query(Query { pattern, .. }) => Some(pattern),
            _ => None,
        }
    }
}
