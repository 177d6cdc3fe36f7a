//! What clients are told: results, errors and notifications, and how they are written.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::{
    encoding::Encoding,
    error::ProtocolError,
    frame::{write_frame, write_json_frame},
    request::Cursor,
    rpc::{Id, Surface},
};
use crate::{
    clock::{Hlc, Millis},
    key::FactKey,
};

/// The version of the protocol that `hello` tells.
pub const PROTOCOL_VERSION: &str = "1.0";

/// A value as JSON.
#[derive(Debug, Clone)]
pub enum Json {
    Value(Value),
    /// Text without spaces, as it is kept.
    Text(Box<RawValue>),
}

impl Json {
    /// # Errors
    /// [`ProtocolError::Internal`]: it is not JSON, or more than a line.
    pub fn of_text(text: String) -> Result<Json, ProtocolError> {
        if text.as_bytes().contains(&b'\n') || text.as_bytes().contains(&b'\r') {
            return Err(ProtocolError::Internal);
        }
        RawValue::from_string(text).map(Json::Text).map_err(|_| ProtocolError::Internal)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Value(value) => value.serialize(serializer),
            Json::Text(text) => text.serialize(serializer),
        }
    }
}

/// A request's result; each has the form that its method's answers have.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Written(Written),
    Deleted(Deleted),
    Entry(Entry),
    /// Of `batch-put` and `transaction`, in the order of the request.
    Batch {
        results: Vec<Outcome>,
        applied: usize,
        failed: usize,
    },
    /// Of `batch-get`, in the order of the request.
    Entries {
        results: Vec<Lookup>,
    },
    /// Of `query`; `next` is where to go on, if there may be more.
    Page {
        results: Vec<Entry>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<FactKey>,
    },
    Count(Count),
    Subscribed {
        subscription: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<Cursor>,
    },
    Unsubscribed {
        subscription: String,
    },
    Decision(Decision),
    Decisions(Decisions),
    Flags {
        flags: BTreeMap<String, bool>,
    },
    Hello(Hello),
    Pong {
        pong: bool,
    },
    /// Of `update-policy`.
    Applied {
        status: &'static str,
        version: String,
    },
    /// Trees of policies, statistics and the like.
    Other(Value),
}

/// Of `put`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    pub key: FactKey,
    pub version: Hlc,
    #[serde(serialize_with = "seconds")]
    pub updated_at: Millis,
    /// After which a reader sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// Of `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    pub key: FactKey,
    pub version: Hlc,
    /// Always true.
    pub tombstone: bool,
    #[serde(serialize_with = "seconds")]
    pub deleted_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// Of `get`.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub key: FactKey,
    pub value: Json,
    pub version: Hlc,
    #[serde(serialize_with = "seconds")]
    pub updated_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_seconds")]
    pub expires_at: Option<Millis>,
    /// Whether writes are in it that did not know of each other.
    #[serde(skip_serializing_if = "is_false")]
    pub conflicted: bool,
}

/// Of `incr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub key: FactKey,
    pub value: i64,
    pub version: Hlc,
    #[serde(serialize_with = "seconds")]
    pub updated_at: Millis,
}

/// What became of one entry or operation.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Written(Written),
    Deleted(Deleted),
    Failed { key: FactKey, error: ProtocolError },
}

/// What was found of one key.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Lookup {
    Found(Entry),
    Missing {
        key: FactKey,
        /// Always `null`.
        value: (),
        /// Always false.
        found: bool,
    },
}

impl Lookup {
    #[must_use]
    pub fn missing(key: FactKey) -> Lookup {
        Lookup::Missing { key, value: (), found: false }
    }
}

/// Of `evaluate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub decision: Effect,
    pub reason: String,
    pub evaluation_time_us: u64,
    /// Of the data that it was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// A hash of the policies that it was made by: with equal policies, data and context it is made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Allow,
    Deny,
}

/// Of `evaluate-batch`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decisions {
    pub results: Vec<DecisionOf>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionOf {
    pub id: Id,
    #[serde(flatten)]
    pub outcome: DecisionOutcome,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DecisionOutcome {
    Made(Decision),
    Failed { error: ProtocolError },
}

/// What a stream begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hello {
    pub protocol_version: &'static str,
    /// Without what is switched off.
    pub capabilities: Vec<&'static str>,
    pub encodings: [&'static str; 2],
    pub server_version: String,
    pub feature_flags: BTreeMap<String, bool>,
}

impl Hello {
    #[must_use]
    pub fn new(surface: &Surface) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            capabilities: surface.plane.capabilities().iter().copied().filter(|name| surface.has(name)).collect(),
            encodings: [Encoding::Json.name(), Encoding::MessagePack.name()],
            server_version: surface.server_version.clone(),
            feature_flags: surface.feature_flags.clone(),
        }
    }
}

pub(super) fn seconds<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.seconds())
}

#[allow(clippy::ref_option, reason = "as serde calls it")]
pub(super) fn maybe_seconds<S: Serializer>(time: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Millis::seconds).serialize(serializer)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: Id,
    pub outcome: Result<Reply, ProtocolError>,
}

/// All that answers one message.
#[derive(Debug, Clone)]
pub enum Answers {
    One(Answer),
    Many(Vec<Answer>),
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: &'a Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Reply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ProtocolError>,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (result, error) = (self.outcome.as_ref().ok(), self.outcome.as_ref().err());
        Response { jsonrpc: "2.0", id: &self.id, result, error }.serialize(serializer)
    }
}

impl Answers {
    /// The JSON text, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Appends it. JSON text cannot fail to be written: names are text and numbers finite.
    fn write_json(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        if plain::write(out, self).is_some() {
            return;
        }
        out.truncate(begin);
        let written = match self {
            Answers::One(answer) => serde_json::to_writer(&mut *out, answer),
            Answers::Many(answers) => serde_json::to_writer(&mut *out, answers),
        };
        if written.is_err() {
            out.truncate(begin);
        }
    }

    /// Appends it as a frame. `frame_id` is that of the frame it answers, which an array is answered under.
    ///
    /// # Errors
    /// [`ProtocolError::Internal`]: a value is not JSON.
    pub fn write_frame(
        &self,
        out: &mut Vec<u8>,
        encoding: Encoding,
        frame_id: Option<&str>,
    ) -> Result<(), ProtocolError> {
        let (event, id) = match self {
            Answers::One(Answer { id, outcome }) => {
                let event = match outcome {
                    Ok(Reply::Decisions(_)) => "result-batch",
                    Ok(_) => "result",
                    Err(_) => "error",
                };
                (event, id.as_line())
            }
            Answers::Many(_) => ("result", frame_id.map(Cow::Borrowed)),
        };
        match encoding {
            Encoding::Json => write_json_frame(out, event, id.as_deref(), |out| self.write_json(out)),
            Encoding::MessagePack => write_frame(out, event, id.as_deref(), encoding, &self.to_json()),
        }
    }
}

/// JSON text cannot fail to be written: names are text and numbers finite.
pub(super) fn json_of(what: &impl Serialize) -> String {
    serde_json::to_string(what).unwrap_or_default()
}

mod plain;
#[cfg(test)]
mod tests;
