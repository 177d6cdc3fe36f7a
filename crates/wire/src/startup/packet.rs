//! The packets of the start-up phase, which have no type byte.

use weir_model::{Claims, Code, Refusal, Result};

use crate::{startup::options, types::fault::not_utf8};

const PROTOCOL_MAJOR: u16 = 3;
/// The newest minor version spoken: 3.2 has cancel keys longer than four bytes.
pub(crate) const MINOR_MAX: u16 = 2;
const REQUEST: u16 = 1234;
const CANCEL_MINOR: u16 = 5678;
const SSL_MINOR: u16 = 5679;
const GSS_MINOR: u16 = 5680;
/// Longest cancel key of protocol 3.2.
const SECRET_BYTES_MAX: usize = 256;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    SslRequest,
    GssEncRequest,
    Cancel { process: i32, secret: &'a [u8] },
    Startup(StartupParameters),
}

/// What a client asked for at start-up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StartupParameters {
    /// As asked for, which may be newer than [`MINOR_MAX`].
    pub(crate) minor: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) claims: Claims,
    /// Session settings, in order.
    pub(crate) settings: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`): none is known.
    pub(crate) unknown_options: Vec<String>,
}

fn violation(what: impl Into<String>) -> Refusal {
    Refusal::new(Code::ProtocolViolation, what)
}

/// Reads a packet's content after its length.
pub(crate) fn read(body: &[u8]) -> Result<Packet<'_>> {
    let (version, rest) = body.split_first_chunk::<4>().ok_or_else(|| violation("incomplete startup packet"))?;
    let [major_high, major_low, minor_high, minor_low] = *version;
    let (major, minor) = (u16::from_be_bytes([major_high, major_low]), u16::from_be_bytes([minor_high, minor_low]));
    match (major, minor) {
        (REQUEST, SSL_MINOR) if rest.is_empty() => Ok(Packet::SslRequest),
        (REQUEST, GSS_MINOR) if rest.is_empty() => Ok(Packet::GssEncRequest),
        (REQUEST, CANCEL_MINOR) => match rest.split_first_chunk::<4>() {
            Some((process, secret)) if (1..=SECRET_BYTES_MAX).contains(&secret.len()) => {
                Ok(Packet::Cancel { process: i32::from_be_bytes(*process), secret })
            }
            _ => Err(violation("invalid length of cancel request packet")),
        },
        (PROTOCOL_MAJOR, minor) => read_parameters(minor, rest).map(Packet::Startup),
        _ => Err(Refusal::unsupported(format!("frontend protocol {major}.{minor}"))
            .hint("this server speaks protocol 3.0 to 3.2")),
    }
}

/// Pairs of names and values, each ended by NUL, and one NUL more at the very end.
fn read_parameters(minor: u16, bytes: &[u8]) -> Result<StartupParameters> {
    let malformed = || violation("invalid startup packet layout: expected terminator as last byte");
    let pairs = bytes.strip_suffix(b"\0").ok_or_else(malformed)?;
    let mut parameters = StartupParameters { minor, ..StartupParameters::default() };
    let mut database = None;
    let mut settings = Vec::new();
    let mut texts = pairs.split_inclusive(|byte| *byte == 0);
    while let Some(name) = texts.next() {
        let name = text(name).ok_or_else(malformed)??;
        let value = texts.next().and_then(text).ok_or_else(malformed)??;
        match name {
            "" => return Err(malformed()),
            "user" => value.clone_into(&mut parameters.user),
            "database" => database = Some(value.to_owned()),
            "options" => settings.extend(options::parse(value)?),
            "replication" => refuse_replication(value)?,
            name if name.starts_with("_pq_.") => parameters.unknown_options.push(name.to_owned()),
            name => settings.push((name.to_owned(), value.to_owned())),
        }
    }
    if parameters.user.is_empty() {
        return Err(violation("no user name specified in startup packet"));
    }
    parameters.database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| parameters.user.clone());
    for (name, value) in settings {
        apply(&mut parameters, name, value)?;
    }
    Ok(parameters)
}

fn text(bytes: &[u8]) -> Option<Result<&str>> {
    let bytes = bytes.strip_suffix(b"\0")?;
    Some(std::str::from_utf8(bytes).map_err(|_invalid| not_utf8(bytes)))
}

fn refuse_replication(value: &str) -> Result<()> {
    match value.to_ascii_lowercase().as_str() {
        "" | "0" | "f" | "false" | "off" | "n" | "no" => Ok(()),
        _ => Err(Refusal::unsupported("the replication protocol")),
    }
}

/// Claims are recorded, the encoding is checked, everything else is a setting of the session.
fn apply(parameters: &mut StartupParameters, name: String, value: String) -> Result<()> {
    let claims = &mut parameters.claims;
    match name.strip_prefix("weir.").unwrap_or(&name).to_ascii_lowercase().as_str() {
        "application_name" => claims.application_name = Some(value),
        "agent_id" => claims.agent_id = Some(value),
        "framework" => claims.framework = Some(value),
        "request_id" => claims.request_id = Some(value),
        "client_encoding" => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if !["utf8", "unicode", "sqlascii"].contains(&plain.to_ascii_lowercase().as_str()) {
                return Err(
                    Refusal::unsupported(format!("client encoding \"{value}\"")).hint("set client_encoding to UTF8")
                );
            }
        }
        plain if plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) => {
            parameters.settings.push((name, value));
        }
        _ => {
            return Err(Refusal::new(
                Code::UndefinedObject,
                format!("unrecognized configuration parameter \"{}\"", name.escape_debug()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn startup(minor: u16, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = vec![0, 3];
        body.extend(minor.to_be_bytes());
        for (name, value) in pairs {
            body.extend(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        body
    }

    fn parameters(pairs: &[(&str, &str)]) -> Result<StartupParameters> {
        match read(&startup(0, pairs))? {
            Packet::Startup(parameters) => Ok(parameters),
            other => Err(violation(format!("{other:?}"))),
        }
    }

    #[test]
    fn database_defaults_to_the_user() {
        assert_eq!(parameters(&[("user", "ada")]).unwrap().database, "ada");
        assert_eq!(parameters(&[("database", "acme"), ("user", "ada")]).unwrap().database, "acme");
    }

    #[test]
    fn claims_and_settings_part_ways() {
        let read = parameters(&[
            ("user", "ada"),
            ("application_name", "psql"),
            ("options", "-c weir.agent_id=a-7 -c statement_timeout=5s --search-path=a\\ b"),
            ("framework", "langchain"),
            ("client_encoding", "'utf-8'"),
            ("DateStyle", "ISO"),
            ("_pq_.compression", "zstd"),
        ])
        .unwrap();
        assert_eq!(read.claims.application_name.as_deref(), Some("psql"));
        assert_eq!(read.claims.agent_id.as_deref(), Some("a-7"));
        assert_eq!(read.claims.framework.as_deref(), Some("langchain"));
        let settings: Vec<_> = read.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(settings, [("statement_timeout", "5s"), ("search_path", "a b"), ("DateStyle", "ISO")]);
        assert_eq!(read.unknown_options, ["_pq_.compression"]);
    }

    #[test]
    fn refused_packets() {
        let check = |result: Result<StartupParameters>, code| assert_eq!(result.unwrap_err().code(), code);
        check(parameters(&[]), Code::ProtocolViolation);
        check(parameters(&[("user", "a"), ("replication", "database")]), Code::Unsupported);
        check(parameters(&[("user", "a"), ("client_encoding", "LATIN1")]), Code::Unsupported);
        for (body, code) in [
            (&[0, 2, 0, 0, 0][..], Code::Unsupported),
            (&[0, 3], Code::ProtocolViolation),
            (&[0, 3, 0, 0, b'u', b's'], Code::ProtocolViolation),
            (&[0, 3, 0, 0, b'u', 0, 0], Code::ProtocolViolation),
            (&[4, 0xd2, 0x16, 0x2e, 0, 0], Code::ProtocolViolation),
            (&[0, 3, 0, 0, 0xff, 0, 0, 0], Code::InvalidByteSequence),
        ] {
            assert_eq!(read(body).unwrap_err().code(), code, "{body:?}");
        }
        assert!(parameters(&[("user", "a"), ("replication", "false")]).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&body);
            let mut body = body;
            body.splice(0..0, [0, 3, 0, 0]);
            let _ = read(&body);
        }
    }
}
