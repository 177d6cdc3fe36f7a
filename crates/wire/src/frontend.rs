//! Messages from the client, read in place.
//!
//! A message is decoded from its own frame only, so that nothing it claims can reach into the next one. Text must be
//! UTF-8, counts and lengths must fit the frame, and every byte of it must be accounted for.

use weir_model::{Code, Refusal, Result};

use crate::types::{
    batch::{Format, Formats},
    fault::not_utf8,
};

/// The message types a session understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Flush,
    Sync,
    FunctionCall,
    CopyData,
    CopyDone,
    CopyFail,
    Password,
    Terminate,
}

/// PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`: for messages that only carry a name.
const SMALL_MESSAGE_BYTES: usize = 10_000;

impl Kind {
    pub(crate) fn from_tag(tag: u8) -> Option<Kind> {
        Some(match tag {
            b'Q' => Kind::Query,
            b'P' => Kind::Parse,
            b'B' => Kind::Bind,
            b'D' => Kind::Describe,
            b'E' => Kind::Execute,
            b'C' => Kind::Close,
            b'H' => Kind::Flush,
            b'S' => Kind::Sync,
            b'F' => Kind::FunctionCall,
            b'd' => Kind::CopyData,
            b'c' => Kind::CopyDone,
            b'f' => Kind::CopyFail,
            b'p' => Kind::Password,
            b'X' => Kind::Terminate,
            _ => return None,
        })
    }

    /// The largest length such a message may claim.
    pub(crate) fn length_max(self, message_bytes_max: usize) -> usize {
        match self {
            Kind::Describe
            | Kind::Execute
            | Kind::Close
            | Kind::Flush
            | Kind::Sync
            | Kind::Terminate
            | Kind::CopyDone
            | Kind::CopyFail => SMALL_MESSAGE_BYTES.min(message_bytes_max),
            _ => message_bytes_max,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Statement,
    Portal,
}

#[derive(Debug)]
pub(crate) struct Parse<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) parameter_oids: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a str,
    pub(crate) statement: &'a str,
    parameter_formats: Codes<'a>,
    parameters: &'a [u8],
    pub(crate) parameter_count: usize,
    result_formats: Codes<'a>,
}

/// Format codes, two bytes each.
#[derive(Debug, Clone, Copy)]
struct Codes<'a>(&'a [u8]);

fn violation(what: impl Into<String>) -> Refusal {
    Refusal::new(Code::ProtocolViolation, what)
}

/// Reads a message's fields from the front.
#[derive(Debug)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| violation("insufficient data left in message"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| violation("insufficient data left in message"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn text(&mut self) -> Result<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| violation("invalid string in message"))?;
        let bytes = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(bytes).map_err(|_invalid| not_utf8(bytes))
    }

    fn count(&mut self) -> Result<usize> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }
}

impl<'a> Codes<'a> {
    fn read(fields: &mut Fields<'a>) -> Result<Codes<'a>> {
        let count = fields.count()?;
        let codes = Codes(fields.take(count * 2)?);
        for code in codes.iter() {
            code?;
        }
        Ok(codes)
    }

    fn len(self) -> usize {
        self.0.len() / 2
    }

    fn iter(self) -> impl Iterator<Item = Result<Format>> + use<'a> {
        self.0.chunks_exact(2).map(|code| match code {
            [0, 0] => Ok(Format::Text),
            [0, 1] => Ok(Format::Binary),
            _ => Err(violation("unsupported format code")),
        })
    }
}

pub(crate) fn query(body: &[u8]) -> Result<&str> {
    let mut fields = Fields(body);
    let text = fields.text()?;
    fields.end()?;
    Ok(text)
}

/// A message that is one string: PasswordMessage, CopyFail.
pub(crate) fn one_text(body: &[u8]) -> Result<&str> {
    query(body)
}

pub(crate) fn parse(body: &[u8]) -> Result<Parse<'_>> {
    let mut fields = Fields(body);
    let (name, text) = (fields.text()?, fields.text()?);
    let count = fields.count()?;
    let oids = fields.take(count * 4)?;
    fields.end()?;
    let parameter_oids =
        oids.chunks_exact(4).map(|oid| oid.try_into().map(u32::from_be_bytes).unwrap_or_default()).collect();
    Ok(Parse { name, text, parameter_oids })
}

pub(crate) fn bind(body: &[u8]) -> Result<Bind<'_>> {
    let mut fields = Fields(body);
    let (portal, statement) = (fields.text()?, fields.text()?);
    let parameter_formats = Codes::read(&mut fields)?;
    let parameter_count = fields.count()?;
    let all = fields.0;
    for _ in 0..parameter_count {
        next_parameter(&mut fields)?;
    }
    let parameters = all.get(..all.len() - fields.0.len()).unwrap_or_default();
    let result_formats = Codes::read(&mut fields)?;
    fields.end()?;
    if parameter_formats.len() > 1 && parameter_formats.len() != parameter_count {
        return Err(violation(format!(
            "bind message has {} parameter formats but {parameter_count} parameters",
            parameter_formats.len()
        )));
    }
    Ok(Bind { portal, statement, parameter_formats, parameters, parameter_count, result_formats })
}

/// A length and that many bytes; -1 is NULL and no other length is negative.
fn next_parameter<'a>(fields: &mut Fields<'a>) -> Result<Option<&'a [u8]>> {
    match i32::from_be_bytes(fields.array()?) {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => fields.take(length).map(Some),
            Err(_negative) => Err(violation(format!("invalid parameter length {length} in bind message"))),
        },
    }
}

impl<'a> Bind<'a> {
    /// Each parameter's format and bytes, `None` for NULL.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Result<(Format, Option<&'a [u8]>)>> + use<'a> {
        let mut fields = Fields(self.parameters);
        let mut formats = self.parameter_formats.iter();
        // No format means text for all, one means that one for all.
        let shared = match self.parameter_formats.len() {
            0 => Some(Format::Text),
            1 => Some(self.parameter_formats.iter().next().and_then(Result::ok).unwrap_or(Format::Text)),
            _ => None,
        };
        (0..self.parameter_count).map(move |_| {
            let format = match shared {
                Some(format) => format,
                None => formats.next().unwrap_or(Ok(Format::Text))?,
            };
            Ok((format, next_parameter(&mut fields)?))
        })
    }

    /// The formats of a result of `columns` columns.
    pub(crate) fn result_formats(&self, columns: usize) -> Result<Formats> {
        let count = self.result_formats.len();
        let mut formats = self.result_formats.iter();
        if count > 1 && count != columns {
            return Err(violation(format!("bind message has {count} result formats but query has {columns} columns")));
        }
        match count {
            0 => Ok(Formats::AllText),
            1 => Ok(match formats.next() {
                Some(Ok(Format::Binary)) => Formats::AllBinary,
                _ => Formats::AllText,
            }),
            _ => Ok(Formats::Each(formats.collect::<Result<_>>()?)),
        }
    }
}

/// Describe and Close: what, and its name.
pub(crate) fn target(body: &[u8]) -> Result<(Target, &str)> {
    let mut fields = Fields(body);
    let target = match fields.take(1)? {
        [b'S'] => Target::Statement,
        [b'P'] => Target::Portal,
        _ => return Err(violation("invalid target of a describe or close message")),
    };
    let name = fields.text()?;
    fields.end()?;
    Ok((target, name))
}

/// Execute: the portal, and how many rows at most; 0 or less is all.
pub(crate) fn execute(body: &[u8]) -> Result<(&str, Option<u64>)> {
    let mut fields = Fields(body);
    let portal = fields.text()?;
    let limit = i32::from_be_bytes(fields.array()?);
    fields.end()?;
    Ok((portal, u64::try_from(limit).ok().filter(|limit| *limit > 0)))
}

/// Messages without content.
pub(crate) fn empty(body: &[u8]) -> Result<()> {
    Fields(body).end()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const GOOD_BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";

    #[test]
    fn bind_reads_back() {
        let bind = bind(GOOD_BIND).unwrap();
        assert_eq!((bind.portal, bind.statement, bind.parameter_count), ("p", "s", 2));
        let parameters: Vec<_> = bind.parameters().map(Result::unwrap).collect();
        assert_eq!(parameters, [(Format::Binary, Some(&b"ab"[..])), (Format::Binary, None)]);
        assert!(matches!(bind.result_formats(7), Ok(Formats::AllBinary)));
    }

    #[test]
    fn every_prefix_of_a_bind_is_refused() {
        for end in 0..GOOD_BIND.len() {
            let error = bind(&GOOD_BIND[..end]).unwrap_err();
            assert_eq!(error.code(), Code::ProtocolViolation, "{end}");
        }
    }

    #[test]
    fn broken_messages() {
        let check = |result: Result<()>, code| assert_eq!(result.unwrap_err().code(), code);
        check(query(b"select 1").map(drop), Code::ProtocolViolation);
        check(query(b"select 1\0x").map(drop), Code::ProtocolViolation);
        check(query(b"select '\xff'\0").map(drop), Code::InvalidByteSequence);
        check(parse(b"\0select\0\xff\xff").map(drop), Code::ProtocolViolation);
        check(bind(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0").map(drop), Code::ProtocolViolation);
        check(bind(b"\0\0\0\x01\0\x02\0\0\0\0").map(drop), Code::ProtocolViolation);
        check(target(b"Xname\0").map(drop), Code::ProtocolViolation);
        check(execute(b"\0\0\0\0").map(drop), Code::ProtocolViolation);
        check(empty(b"\0"), Code::ProtocolViolation);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = query(&body);
            let _ = parse(&body);
            let _ = target(&body);
            let _ = execute(&body);
            if let Ok(bind) = bind(&body) {
                for parameter in bind.parameters() {
                    let _ = parameter;
                }
                let _ = bind.result_formats(3);
            }
        }
    }
}
