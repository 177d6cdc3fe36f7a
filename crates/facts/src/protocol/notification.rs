//! What clients are told unasked: `hello`, changes of facts, and updates of policies.

use std::sync::Arc;

use serde::Serialize;

use super::{
    encoding::Encoding,
    error::ProtocolError,
    frame::write_frame,
    reply::{Hello, Json, json_of, maybe_seconds, seconds},
    request::Cursor,
};
use crate::{
    clock::{Hlc, Millis},
    key::FactKey,
};

/// What subscribers are told.
#[derive(Debug, Clone)]
pub enum Notification {
    Change(ChangeNotice),
    PolicyUpdated { policy: String, version: String },
}

/// A change of facts. What does not apply is left out.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeNotice {
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<FactKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Hlc>,
    #[serde(serialize_with = "seconds")]
    pub timestamp: Millis,
    /// Also the `id` of the frame, where browsers look for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_instance: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_seconds")]
    pub expires_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Update,
    Delete,
    Expire,
    /// The value lost against a write that did not know of it, and is kept in the history.
    Conflict,
    /// Changes were left out: read again what matters.
    Reset,
}

#[derive(Serialize)]
struct Notice<'a, T> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a T,
}

impl Hello {
    /// Appends it as a frame, always in JSON: nothing was agreed on yet.
    ///
    /// # Errors
    /// As [`write_frame`].
    pub fn write_frame(&self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let json = json_of(&Notice { jsonrpc: "2.0", method: "hello", params: self });
        write_frame(out, "hello", None, Encoding::Json, &json)
    }
}

impl Notification {
    /// Appends it as a frame.
    ///
    /// # Errors
    /// As [`write_frame`].
    pub fn write_frame(&self, out: &mut Vec<u8>, encoding: Encoding) -> Result<(), ProtocolError> {
        #[derive(Serialize)]
        struct Policy<'a> {
            policy: &'a str,
            version: &'a str,
        }
        match self {
            Notification::Change(change) => {
                let json = json_of(&Notice { jsonrpc: "2.0", method: "notification", params: change });
                let cursor = change.cursor.as_ref().map(Cursor::as_str);
                write_frame(out, "data-changed", cursor, encoding, &json)
            }
            Notification::PolicyUpdated { policy, version } => {
                let params = Policy { policy, version };
                let json = json_of(&Notice { jsonrpc: "2.0", method: "notification", params: &params });
                write_frame(out, "policy-updated", None, encoding, &json)
            }
        }
    }
}
