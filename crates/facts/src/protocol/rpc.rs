//! JSON-RPC 2.0, as leniently as RFC-002's examples need: `jsonrpc` may be left out, the id may be the frame's, and a
//! request without an id is answered too.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

use super::{
    encoding::Encoding,
    error::{Part, ProtocolError},
    frame::{FrameEncoding, FrameView},
    json,
    limits::{ID_BYTES_MAX, REQUESTS_MAX},
    method::{Method, Plane},
    params::{Given, shortened, text},
    quick,
    raw::{Objects, Raw},
    request::Request,
};

/// How a client knows which request an answer is to.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(untagged)]
pub enum Id {
    #[default]
    Null,
    Number(Number),
    Text(String),
}

impl Id {
    pub(crate) fn read(raw: Raw<'_>) -> Result<Id, String> {
        let text = raw.get();
        if text == "null" {
            return Ok(Id::Null);
        }
        let read = || {
            if text.starts_with('"') {
                return serde_json::from_str(text).map(Id::Text).ok();
            }
            serde_json::from_str(text).map(Id::Number).ok()
        };
        match read().filter(|_| text.len() <= ID_BYTES_MAX) {
            Some(id) => Ok(id),
            None => Err(format!("must be text or a number of at most {ID_BYTES_MAX} bytes")),
        }
    }

    fn of_frame(id: Option<&str>) -> Result<Id, ProtocolError> {
        match id {
            None | Some("") => Ok(Id::Null),
            Some(id) if id.len() <= ID_BYTES_MAX => Ok(Id::Text(id.to_owned())),
            Some(_) => Err(ProtocolError::InvalidRequest(format!("an id is at most {ID_BYTES_MAX} bytes"))),
        }
    }

    /// As the `id` of a frame.
    #[must_use]
    pub fn as_line(&self) -> Option<Cow<'_, str>> {
        match self {
            Id::Null => None,
            Id::Number(number) => Some(Cow::Owned(number.to_string())),
            Id::Text(text) => Some(Cow::Borrowed(text)),
        }
    }
}

/// What is to be done, and for which answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub id: Id,
    pub request: Request,
}

/// What is not done, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub id: Id,
    pub error: ProtocolError,
}

/// One message of a client: a request, or an array of them that is answered by an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    One(Result<Call, Refused>),
    Many(Vec<Result<Call, Refused>>),
}

/// What a connection offers: its plane's methods, less those that are switched off.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface {
    pub plane: Plane,
    /// As the flags of `hello` have them; a method whose name is here with `false` does not exist.
    pub feature_flags: BTreeMap<String, bool>,
    /// As `hello` says it.
    pub server_version: String,
}

impl Surface {
    /// Whether what has this name is not switched off.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.feature_flags.get(name) != Some(&false)
    }

    /// # Errors
    /// [`ProtocolError::MethodNotFound`].
    pub fn method(&self, name: &str) -> Result<Method, ProtocolError> {
        let not_found = |hint| ProtocolError::MethodNotFound { method: shortened(name), hint };
        let method = Method::from_name(name).ok_or_else(|| not_found(None))?;
        if !method.planes().contains(&self.plane) {
            return Err(not_found(method.hint(self.plane)));
        }
        if !self.has(name) {
            return Err(not_found(Some("it is switched off")));
        }
        Ok(method)
    }
}

/// Reads the message in a frame.
pub(super) fn read_frame(surface: &Surface, frame: FrameView<'_>) -> Message {
    let id = match Id::of_frame(frame.id) {
        Ok(id) => id,
        Err(error) => return Message::One(Err(Refused { id: Id::Null, error })),
    };
    let text = match frame.encoding {
        FrameEncoding::Known(encoding) => encoding.frame_to_json(frame.data),
        FrameEncoding::Unknown => {
            Err(ProtocolError::InvalidRequest("`data-encoding` must be `json` or `msgpack`".to_owned()))
        }
    };
    match text {
        Ok(text) if frame.is_spread => read(surface, &json::without_comments(&text), id),
        Ok(text) => read(surface, &text, id),
        Err(error) => Message::One(Err(Refused { id, error })),
    }
}

/// Reads the message in the body of a POST.
#[must_use]
pub fn read_body(surface: &Surface, encoding: Encoding, body: &[u8]) -> Message {
    match encoding.to_json(body) {
        Ok(text) => read(surface, &text, Id::Null),
        Err(error) => Message::One(Err(Refused { id: Id::Null, error })),
    }
}

fn read(surface: &Surface, text: &str, frame_id: Id) -> Message {
    if let Some(envelope) = quick::envelope(text) {
        return Message::One(read_one(surface, Envelope::from(envelope), frame_id));
    }
    if let Err(error) = json::check_depth(text) {
        return Message::One(Err(Refused { id: frame_id, error }));
    }
    if !text.trim_start().starts_with('[') {
        return Message::One(read_general(surface, text, frame_id));
    }
    match elements(text) {
        // The frame's id cannot be that of each.
        Ok(each) => Message::Many(each.into_iter().map(|raw| read_general(surface, raw.get(), Id::Null)).collect()),
        Err(error) => Message::One(Err(Refused { id: frame_id, error })),
    }
}

fn elements(text: &str) -> Result<Vec<&RawValue>, ProtocolError> {
    let each: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| ProtocolError::Parse(error.to_string()))?;
    match each.len() {
        0 => Err(ProtocolError::InvalidRequest("the array of requests is empty".to_owned())),
        1..=REQUESTS_MAX => Ok(each),
        _ => Err(ProtocolError::TooLarge { what: Part::Requests, max: REQUESTS_MAX }),
    }
}

struct Envelope<'a> {
    jsonrpc: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    method: Option<Raw<'a>>,
    params: Option<Given<'a>>,
    objects: Option<Objects<'a>>,
}

#[derive(Deserialize)]
struct General<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<Given<'a>>,
}

impl<'a> From<General<'a>> for Envelope<'a> {
    fn from(General { jsonrpc, id, method, params }: General<'a>) -> Envelope<'a> {
        let [jsonrpc, id, method] = [jsonrpc, id, method].map(|raw| raw.map(Raw::from));
        Envelope { jsonrpc, id, method, params, objects: None }
    }
}

impl<'a> From<quick::Envelope<'a>> for Envelope<'a> {
    fn from(quick::Envelope { jsonrpc, id, method, params, objects }: quick::Envelope<'a>) -> Envelope<'a> {
        Envelope { jsonrpc, id, method, params: params.map(Given::Object), objects }
    }
}

fn read_general(surface: &Surface, text: &str, frame_id: Id) -> Result<Call, Refused> {
    match envelope(text) {
        Ok(envelope) => read_one(surface, envelope.into(), frame_id),
        Err(error) => Err(Refused { id: frame_id, error }),
    }
}

fn read_one(surface: &Surface, envelope: Envelope<'_>, frame_id: Id) -> Result<Call, Refused> {
    let id = match envelope.id.map(Id::read) {
        None | Some(Ok(Id::Null)) => frame_id,
        Some(Ok(id)) => id,
        Some(Err(detail)) => {
            let error = ProtocolError::InvalidRequest(format!("`id` {detail}"));
            return Err(Refused { id: frame_id, error });
        }
    };
    match request(surface, envelope) {
        Ok(request) => Ok(Call { id, request }),
        Err(error) => Err(Refused { id, error }),
    }
}

fn envelope(text: &str) -> Result<General<'_>, ProtocolError> {
    let is_object = text.trim_start().starts_with('{');
    let parsed: Result<General<'_>, serde_json::Error> = serde_json::from_str(text);
    match parsed {
        Ok(envelope) if is_object => Ok(envelope),
        Err(error) if !error.is_data() => Err(ProtocolError::Parse(error.to_string())),
        Err(error) if is_object => Err(ProtocolError::InvalidRequest(error.to_string())),
        _ => {
            Err(ProtocolError::InvalidRequest("a request is an object with a `method`, or an array of such".to_owned()))
        }
    }
}

fn request(surface: &Surface, envelope: Envelope<'_>) -> Result<Request, ProtocolError> {
    let invalid = |detail: &str| ProtocolError::InvalidRequest(detail.to_owned());
    if envelope.jsonrpc.is_some_and(|version| version.get() != r#""2.0""#) {
        return Err(invalid("`jsonrpc` must be \"2.0\", or left out"));
    }
    let name = envelope.method.ok_or_else(|| invalid("`method` is missing"))?;
    let name = text(name).map_err(|_| invalid("`method` must be text"))?;
    let method = surface.method(&name)?;
    Request::read(surface.plane, method, envelope.params, envelope.objects)
}

#[cfg(test)]
mod tests;
