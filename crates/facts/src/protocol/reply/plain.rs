//! Answers to writes as most are, put in words without a serializer: the same words, which a test holds.

use super::{Answer, Answers, Outcome, Reply, Written};
use crate::protocol::rpc::Id;

/// Appends the JSON text. `None`: it is for the serializer; what was appended is to be cut off.
pub(super) fn write(out: &mut Vec<u8>, answers: &Answers) -> Option<()> {
    let Answers::One(Answer { id, outcome: Ok(reply) }) = answers else { return None };
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    match id {
        Id::Null => out.extend_from_slice(b"null"),
        Id::Number(number) => serde_json::to_writer(&mut *out, number).ok()?,
        Id::Text(text) => string(out, text)?,
    }
    out.extend_from_slice(br#","result":"#);
    match reply {
        Reply::Written(one) => written(out, one)?,
        Reply::Batch { results, applied, failed } => {
            out.extend_from_slice(br#"{"results":["#);
            for (place, result) in results.iter().enumerate() {
                let Outcome::Written(one) = result else { return None };
                if place > 0 {
                    out.push(b',');
                }
                written(out, one)?;
            }
            out.extend_from_slice(br#"],"applied":"#);
            number(out, *applied as u64);
            out.extend_from_slice(br#","failed":"#);
            number(out, *failed as u64);
            out.push(b'}');
        }
        _ => return None,
    }
    out.push(b'}');
    Some(())
}

fn written(out: &mut Vec<u8>, written: &Written) -> Option<()> {
    let Written { key, version, updated_at, cursor } = written;
    out.extend_from_slice(br#"{"key":"#);
    string(out, key.as_str())?;
    out.extend_from_slice(br#","version":"#);
    number(out, version.as_u64());
    out.extend_from_slice(br#","updated_at":"#);
    number(out, updated_at.seconds());
    if let Some(cursor) = cursor {
        out.extend_from_slice(br#","cursor":"#);
        string(out, cursor.as_str())?;
    }
    out.push(b'}');
    Some(())
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Of characters that need no escape.
fn string(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let is_plain = text
        .bytes()
        .fold(true, |plain, byte| plain & ((b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')));
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    is_plain.then_some(())
}
