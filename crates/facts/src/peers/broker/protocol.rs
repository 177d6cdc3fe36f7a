//! NATS's text: what a server says, line by line, and what it is told.

use serde::{Deserialize, Serialize};

use super::{
    BrokerError,
    server::{Login, ServerAddress},
};

/// Longest line that is taken; a server's greeting lists the others it knows.
pub(super) const LINE_MAX: usize = 64 << 10;

/// What a server says. A message's payload follows its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Info(Info),
    Message { subject: &'a str, bytes: usize },
    Ping,
    Pong,
    Ok,
    Error(&'a str),
}

/// Of a server's greeting, what matters here.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Info {
    pub(super) max_payload: usize,
    #[serde(default)]
    pub(super) tls_required: bool,
    #[serde(default)]
    pub(super) tls_available: bool,
}

/// A line without its end.
pub(super) fn parse(line: &[u8]) -> Result<Said<'_>, BrokerError> {
    let line = str::from_utf8(line).map_err(|_| BrokerError::Protocol("a line that is no text"))?;
    let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    match verb.to_ascii_uppercase().as_str() {
        "MSG" => message(rest),
        "PING" => Ok(Said::Ping),
        "PONG" => Ok(Said::Pong),
        "+OK" => Ok(Said::Ok),
        "-ERR" => Ok(Said::Error(rest.trim_matches('\''))),
        "INFO" => {
            serde_json::from_str(rest).map(Said::Info).map_err(|_| BrokerError::Protocol("a greeting that is none"))
        }
        _ => Err(BrokerError::Protocol("an unknown word")),
    }
}

/// `<subject> <subscription> [reply-to] <bytes>`
fn message(rest: &str) -> Result<Said<'_>, BrokerError> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let (subject, bytes) = match words.as_slice() {
        [subject, _, bytes] | [subject, _, _, bytes] => (*subject, *bytes),
        _ => return Err(BrokerError::Protocol("a message without its length")),
    };
    let bytes = bytes.parse().map_err(|_| BrokerError::Protocol("a message without its length"))?;
    Ok(Said::Message { subject, bytes })
}

#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    /// What this connection publishes does not come back by it.
    echo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
}

pub(super) fn connect(server: &ServerAddress, name: &str, is_tls: bool) -> Result<String, BrokerError> {
    let (user, pass, auth_token) = match &server.login {
        None => (None, None, None),
        Some(Login::Token(token)) => (None, None, Some(token.as_str())),
        Some(Login::Password { user, password }) => (Some(user.as_str()), Some(password.as_str()), None),
    };
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: is_tls,
        name,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        echo: false,
        user,
        pass,
        auth_token,
    };
    let json = serde_json::to_string(&connect).map_err(|_| BrokerError::Protocol("a login that is no text"))?;
    Ok(format!("CONNECT {json}\r\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn lines_are_read() {
        let check =
            |line: &str, expected: Option<Said<'_>>| assert_eq!(parse(line.as_bytes()).ok(), expected, "{line}");
        check("MSG a.b 1 5", Some(Said::Message { subject: "a.b", bytes: 5 }));
        check("msg  a.b\t1 _INBOX.x 5 ", Some(Said::Message { subject: "a.b", bytes: 5 }));
        check("PING", Some(Said::Ping));
        check("pong", Some(Said::Pong));
        check("+OK", Some(Said::Ok));
        check("-ERR 'Authorization Violation'", Some(Said::Error("Authorization Violation")));
        let info = Info { max_payload: 1_048_576, tls_required: true, tls_available: false };
        check(r#"INFO {"server_id":"x","max_payload":1048576,"tls_required":true}"#, Some(Said::Info(info)));
        for wrong in
            ["", "MSG", "MSG a 1", "MSG a 1 x", "MSG a 1 -1", "MSG a 1 2 3 4", "INFO", "INFO {}", "HMSG a 1 2 3"]
        {
            check(wrong, None);
        }
        assert!(parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn a_login_is_told_as_it_was_given() {
        let said = |server: &str| connect(&server.parse().unwrap(), "n0", false).unwrap();
        assert!(!said("nats://h").contains("pass"));
        assert!(said("nats://alice:s%\"1@h").contains(r#""user":"alice","pass":"s%\"1""#));
        assert!(said("nats://token@h").contains(r#""auth_token":"token""#));
    }
}
