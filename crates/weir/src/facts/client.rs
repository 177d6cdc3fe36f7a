//! Asks the facts of a running Weir, over the sockets in its data folder.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use weir_facts::protocol::Plane;

use crate::failure::Failure;

/// Longest answer, in bytes: more than a node gives.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Longest line of a stream, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Longer than a node takes for a request.
const PATIENCE: Duration = Duration::from_secs(90);
/// Streams show a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// A client of one plane. Every request has a connection of its own.
pub(crate) struct FactsClient {
    socket: PathBuf,
    token: String,
}

impl FactsClient {
    /// `sockets`: their folder.
    pub fn new(sockets: &Path, plane: Plane, token: String) -> FactsClient {
        FactsClient { socket: sockets.join(format!("{}.sock", plane.path())), token }
    }

    /// A request's result.
    ///
    /// # Errors
    /// What the node answers, or that there is none.
    pub fn ask(&self, method: &str, params: &Value) -> Result<Value, Failure> {
        let stream = self.send(method, params, "application/json", PATIENCE)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(|error| self.broken(&error))?;
        let answer = String::from_utf8_lossy(&answer);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        result_of(self.json(body)?)
    }

    /// Tells of changes of facts until `tell` fails or the node ends it.
    ///
    /// # Errors
    /// As [`FactsClient::ask`], and those of `tell`.
    pub fn subscribe(
        &self,
        params: &Value,
        mut tell: impl FnMut(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stream = self.send("subscribe", params, "text/event-stream", SILENCE)?;
        let mut lines = BufReader::new(stream);
        let (mut line, mut is_head, mut head) = (Vec::new(), true, String::new());
        loop {
            line.clear();
            lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| self.broken(&error))?;
            let text = String::from_utf8_lossy(&line);
            if text.is_empty() {
                // Of a refusal the body is no stream and has no end of line.
                return if head.contains("text/event-stream") { Ok(()) } else { Err(self.closed()) };
            }
            let text = text.trim_end_matches(['\r', '\n']);
            if is_head {
                is_head = !text.is_empty();
                head.push_str(text);
                if !is_head && !head.contains("text/event-stream") {
                    let mut body = String::new();
                    lines
                        .by_ref()
                        .take(LINE_BYTES_MAX)
                        .read_to_string(&mut body)
                        .map_err(|error| self.broken(&error))?;
                    return result_of(self.json(&body)?).map(drop);
                }
            } else if let Some(data) = text.strip_prefix("data:") {
                let message = self.json(data.trim_start())?;
                if message["method"] == "notification" {
                    tell(&message["params"])?;
                } else if !message["error"].is_null() {
                    return result_of(message).map(drop);
                }
            }
        }
    }

    fn send(&self, method: &str, params: &Value, accept: &str, patience: Duration) -> Result<UnixStream, Failure> {
        let unreachable = |error: io::Error| {
            Failure::new(format!("cannot reach the facts at {}: {error}", self.socket.display()))
                .hint("name the folder that `weir up` serves with --data, and see `weir facts status`")
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(unreachable)?;
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nAccept: \
             {accept}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.token,
            body.len()
        );
        stream.set_read_timeout(Some(patience)).map_err(unreachable)?;
        stream.set_write_timeout(Some(patience)).map_err(unreachable)?;
        match stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())) {
            // It may have answered before it had read all.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.broken(&error)),
            _ => Ok(stream),
        }
    }

    fn json(&self, text: &str) -> Result<Value, Failure> {
        serde_json::from_str(text).map_err(|_| self.closed())
    }

    fn closed(&self) -> Failure {
        Failure::new(format!("{} ended the connection without an answer", self.socket.display()))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        Failure::new(format!("the connection to {} broke: {error}", self.socket.display()))
    }
}

fn result_of(mut answer: Value) -> Result<Value, Failure> {
    let error = answer["error"].take();
    if error.is_null() {
        return Ok(answer["result"].take());
    }
    let message = error["message"].as_str().unwrap_or("error");
    let text = match &error["data"] {
        Value::Null => format!("{message} ({})", error["code"]),
        data => format!("{message} ({}): {data}", error["code"]),
    };
    let failure = Failure::new(text);
    let is_refused = error["code"] == -32003;
    Err(match error["data"]["reason"].as_str() {
        Some("token_kind") => failure.hint(
            "facts are written with a service's token: `weir facts token issue --kind service --name NAME`, then --token \
             or WEIR_FACTS_TOKEN",
        ),
        Some("token") => failure.hint("`weir facts token list` shows the tokens that hold"),
        _ if is_refused => failure.hint("namespaces.toml in the data folder says who writes and who reads"),
        _ => failure,
    })
}
