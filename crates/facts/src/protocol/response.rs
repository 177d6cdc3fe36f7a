//! Answers over plain HTTP.

use super::{
    encoding::Encoding,
    error::{ProtocolError, Refusal},
    head::RefusedHead,
    reply::{Answer, Answers},
    rpc::Id,
};

/// What a stream's handshake is answered with: the frames follow until the connection ends. The RFC has 200 where HTTP
/// has 101, and no more headers than this one.
pub const HANDSHAKE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// What a client is answered that waits before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends the answer to a POST: 200 also for errors, which are in the body.
///
/// # Errors
/// [`ProtocolError::Internal`]: a value is not JSON.
pub fn write_post(
    out: &mut Vec<u8>,
    answers: &Answers,
    encoding: Encoding,
    is_kept_alive: bool,
) -> Result<(), ProtocolError> {
    let json = answers.to_json();
    write(out, 200, encoding, &encoding.from_json(&json)?, is_kept_alive, None);
    Ok(())
}

/// Appends the answer to a request that is one with its HTTP request: the same body, and a status that says as much.
///
/// # Errors
/// As [`write_post`].
pub fn write_shorthand(
    out: &mut Vec<u8>,
    answer: Answer,
    encoding: Encoding,
    is_kept_alive: bool,
) -> Result<(), ProtocolError> {
    let error = answer.outcome.as_ref().err().cloned();
    let json = Answers::One(answer).to_json();
    let status = error.as_ref().map_or(200, ProtocolError::http_status);
    write(out, status, encoding, &encoding.from_json(&json)?, is_kept_alive, error.as_ref());
    Ok(())
}

/// Appends the answer to a request that was not read, or whose token was refused. The connection is closed after it.
pub fn write_refused(out: &mut Vec<u8>, refused: &RefusedHead) {
    let answer = Answers::One(Answer { id: Id::Null, outcome: Err(refused.error.clone()) });
    write(out, refused.status, Encoding::Json, answer.to_json().as_bytes(), false, Some(&refused.error));
}

impl From<ProtocolError> for RefusedHead {
    /// With the HTTP status of the error.
    fn from(error: ProtocolError) -> RefusedHead {
        RefusedHead { status: error.http_status(), error }
    }
}

fn write(
    out: &mut Vec<u8>,
    status: u16,
    encoding: Encoding,
    body: &[u8],
    is_kept_alive: bool,
    error: Option<&ProtocolError>,
) {
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    line(&format!("HTTP/1.1 {status} {}", reason(status)));
    line(&format!("Content-Type: {}", encoding.content_type()));
    line(&format!("Content-Length: {}", body.len()));
    if let Some(milliseconds) = error.and_then(ProtocolError::retry_after_ms) {
        line(&format!("Retry-After: {}", milliseconds.div_ceil(1_000)));
    }
    if matches!(error, Some(ProtocolError::Unauthorized { reason: Refusal::Token, .. })) {
        line("WWW-Authenticate: Bearer");
    }
    if status == 405 {
        line("Allow: GET, POST, PUT, DELETE");
    }
    if !is_kept_alive {
        line("Connection: close");
    }
    line("");
    out.extend_from_slice(body);
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}
