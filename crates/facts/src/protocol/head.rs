//! The head of an HTTP/1.1 request, and what it asks for.
//!
//! Weir reads it itself: after `Upgrade: ipe/1.0` the RFC answers 200 instead of 101, and then frames go both ways, which
//! HTTP servers take for a malformed second request. Bodies have a length; those sent in chunks are refused with 411, as
//! every client can say how long a message of at most 1 MiB is.

mod shorthand;

use std::fmt;

use httparse::{EMPTY_HEADER, Header, Status};

pub use self::shorthand::Shorthand;
use super::{
    encoding::Encoding,
    error::{Part, ProtocolError},
    limits::{FRAME_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX},
    method::Plane,
    request::{Cursor, Subscribe},
};

/// What a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// A plane's own socket: whatever the path, it is that plane.
    Socket(Plane),
    /// One listener for all planes: the path names the plane.
    Shared,
}

/// What a request's head says.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub plane: Plane,
    pub asks: Asks,
    pub bearer: Option<Bearer>,
    /// How the answer is to be written; in a stream each answer is written as its request was.
    pub answer: Encoding,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection stays open after the answer. Streams end with it.
    pub is_kept_alive: bool,
}

/// What a request is.
#[derive(Debug, Clone, PartialEq)]
pub enum Asks {
    /// The rest of the connection is frames, both ways.
    Stream(Stream),
    Post(Post),
    /// `PUT`, `GET` or `DELETE /data/<key>`; a value has `body_bytes`.
    Shorthand {
        shorthand: Shorthand,
        body: Encoding,
        body_bytes: usize,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// `Last-Event-ID`: where subscriptions of this stream go on that do not say.
    pub after: Option<Cursor>,
    /// `GET /data?pattern=approvals.*`: what a browser's event source subscribes to.
    pub subscribe: Option<Subscribe>,
}

/// A POST with one message, or with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    pub body_bytes: usize,
    pub body: Encoding,
    /// `Content-Type: text/event-stream`: the body is frames.
    pub is_framed: bool,
    /// `Accept: text/event-stream`, or the body is frames: the answer is `hello` and a frame for each message.
    pub answers_framed: bool,
}

/// A token as presented. It is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    #[must_use]
    pub fn new(text: &str) -> Bearer {
        Bearer(text.to_owned())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

/// A request that is refused before it is read; the connection is closed after the answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("HTTP {status}: {error}")]
pub struct RefusedHead {
    pub status: u16,
    pub error: ProtocolError,
}

fn refused(status: u16, detail: impl Into<String>) -> RefusedHead {
    RefusedHead { status, error: ProtocolError::InvalidRequest(detail.into()) }
}

/// Where in `bytes` a head ends, having looked at the first `seen` before: with its empty line.
///
/// # Errors
/// 431 when it is too long, whether it ends or not.
pub fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, RefusedHead> {
    // The end may have begun in what was seen.
    let from = seen.saturating_sub(3);
    let ends = |at: &usize| {
        let upto = bytes.get(..=*at).unwrap_or_default();
        upto.ends_with(b"\n\n") || upto.ends_with(b"\n\r\n")
    };
    let end = (from..bytes.len().min(HEAD_BYTES_MAX)).find(ends).map(|at| at + 1);
    if end.is_none() && bytes.len() > HEAD_BYTES_MAX {
        return Err(refused(431, format!("the head of a request is at most {HEAD_BYTES_MAX} bytes")));
    }
    Ok(end)
}

/// Reads a whole head.
///
/// # Errors
/// [`RefusedHead`], with the HTTP status of the answer.
pub fn read(bytes: &[u8], listener: Listener) -> Result<Head, RefusedHead> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(end)) if end == bytes.len() => {}
        Ok(_) => return Err(refused(400, "the head of the request does not end where its empty line is")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(refused(431, format!("a request has at most {HEADERS_MAX} headers")));
        }
        Err(error) => return Err(refused(400, format!("not an HTTP/1.1 request: {error}"))),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(refused(400, "not an HTTP/1.1 request"));
    };
    let fields = Fields(request.headers);
    let target = Target::new(target);
    let (plane, key) = target.plane(listener)?;
    let framing = Framing::read(&fields)?;
    let accepts_events = fields.lists("accept", "text/event-stream");
    let asks = match (method, key) {
        ("GET", None) => stream(&fields, &target, plane, accepts_events)?,
        ("POST", _) => post(&fields, framing, accepts_events)?,
        (_, Some(key)) if plane == Plane::Data => {
            let shorthand = shorthand::read(method, key, &target, &fields)?;
            Asks::Shorthand { shorthand, body: framing.encoding(), body_bytes: framing.bytes.unwrap_or(0) }
        }
        ("GET" | "PUT" | "DELETE", _) => return Err(not_found()),
        _ => return Err(refused(405, "the methods are GET, POST, PUT and DELETE")),
    };
    Ok(Head {
        plane,
        bearer: bearer(&fields)?,
        answer: if fields.lists("accept", "application/msgpack") { Encoding::MessagePack } else { Encoding::Json },
        expects_continue: fields.lists("expect", "100-continue") && framing.bytes.is_some_and(|bytes| bytes > 0),
        is_kept_alive: minor == 1
            && !fields.lists("connection", "close")
            && !matches!(asks, Asks::Stream(_) | Asks::Post(Post { answers_framed: true, .. })),
        asks,
    })
}

fn not_found() -> RefusedHead {
    refused(404, "nothing is here: the paths are /data, /eval, /control, and /data/<key> on the data plane")
}

/// A GET is a stream when it upgrades or accepts events; on the control plane always, as RFC-002 has it.
fn stream(fields: &Fields<'_>, target: &Target<'_>, plane: Plane, accepts: bool) -> Result<Asks, RefusedHead> {
    let upgrades = fields.lists("upgrade", "ipe/1.0");
    if !upgrades && fields.one("upgrade")?.is_some() {
        return Err(refused(400, "the protocol to upgrade to is ipe/1.0"));
    }
    if !(upgrades || accepts || (plane == Plane::Control && target.names_a_plane())) {
        return Err(not_found());
    }
    let after = match fields.one("last-event-id")? {
        // What is no cursor was the id of an answer, which a browser keeps too: there is nothing to go on from.
        Some(text) => Cursor::new(text).ok(),
        None => None,
    };
    Ok(Asks::Stream(Stream { subscribe: shorthand::subscription(target, plane, after.clone())?, after }))
}

fn post(fields: &Fields<'_>, framing: Framing<'_>, accepts_events: bool) -> Result<Asks, RefusedHead> {
    let Some(body_bytes) = framing.bytes else {
        return Err(refused(411, "a POST says its Content-Length"));
    };
    let is_framed = fields.lists("content-type", "text/event-stream");
    Ok(Asks::Post(Post {
        body_bytes,
        body: framing.encoding(),
        is_framed,
        answers_framed: accepts_events || is_framed,
    }))
}

fn bearer(fields: &Fields<'_>) -> Result<Option<Bearer>, RefusedHead> {
    let Some(text) = fields.one("authorization")? else { return Ok(None) };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(RefusedHead {
            status: 401,
            error: ProtocolError::Unauthorized { reason: super::error::Refusal::Token, namespace: None },
        });
    }
    Ok(Some(Bearer::new(token.trim())))
}

/// How long the body is and what it is in.
#[derive(Debug, Clone, Copy)]
struct Framing<'a> {
    bytes: Option<usize>,
    content_type: Option<&'a str>,
}

impl<'a> Framing<'a> {
    fn read(fields: &Fields<'a>) -> Result<Framing<'a>, RefusedHead> {
        let length = fields.one("content-length")?;
        if fields.one("transfer-encoding")?.is_some() {
            // With both, readers differ on where the next request begins.
            return Err(match length {
                Some(_) => refused(400, "a body has a Content-Length or is sent in chunks, not both"),
                None => refused(411, "bodies sent in chunks are not read: say the Content-Length"),
            });
        }
        if fields.one("content-encoding")?.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(refused(415, "compressed bodies are not read"));
        }
        let content_type = fields.one("content-type")?;
        let Some(length) = length else { return Ok(Framing { bytes: None, content_type }) };
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused(400, "the Content-Length is a number of bytes"));
        }
        match length.parse().ok().filter(|bytes| *bytes <= FRAME_BYTES_MAX) {
            Some(bytes) => Ok(Framing { bytes: Some(bytes), content_type }),
            None => Err(RefusedHead {
                status: 413,
                error: ProtocolError::TooLarge { what: Part::Frame, max: FRAME_BYTES_MAX },
            }),
        }
    }

    /// Whatever is not said to be MessagePack is JSON: `curl -d` says that it sends a form.
    fn encoding(&self) -> Encoding {
        self.content_type.and_then(Encoding::of_content_type).unwrap_or_default()
    }
}

/// The headers.
struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    fn one(&self, name: &str) -> Result<Option<&'a str>, RefusedHead> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(refused(400, format!("the header {name} is there twice")));
        }
        match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(refused(400, format!("the header {name} is not text"))),
        }
    }

    /// Whether the comma-separated list has the item, whatever the case and whatever parameters follow.
    fn lists(&self, name: &str, item: &str) -> bool {
        let mut items = self.all(name).filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|v| v.split(','));
        items.any(|each| each.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(item))
    }
}

/// The path and the query of a request.
struct Target<'a> {
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    fn new(target: &'a str) -> Target<'a> {
        // A proxy's clients send the whole address.
        let path = match target.split_once("://") {
            Some(("http" | "https", rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
            _ => target,
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Target { path, query }
    }

    /// The plane that the first part of the path names, and what follows it.
    fn parts(&self) -> (Option<Plane>, Option<&'a str>) {
        let path = self.path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let plane = Plane::ALL.into_iter().find(|plane| plane.path() == first);
        (plane, rest.filter(|rest| plane.is_some() && !rest.is_empty()))
    }

    fn names_a_plane(&self) -> bool {
        self.parts().0.is_some()
    }

    fn plane(&self, listener: Listener) -> Result<(Plane, Option<&'a str>), RefusedHead> {
        match (listener, self.parts()) {
            (Listener::Shared, (Some(plane), rest)) => Ok((plane, rest)),
            (Listener::Shared, (None, _)) => Err(not_found()),
            (Listener::Socket(own), (Some(plane), _)) if own != plane => {
                Err(refused(404, format!("this socket is that of /{}, not of /{}", own.path(), plane.path())))
            }
            (Listener::Socket(own), (_, rest)) => Ok((own, rest)),
        }
    }
}

#[cfg(test)]
mod tests;
