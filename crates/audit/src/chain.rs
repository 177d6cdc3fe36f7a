//! The chain of each session: every record holds the hash of the one before it.

use std::{fmt, sync::Arc};

use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Hash;

/// What a record is to its session's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Opened,
    Intent(Uuid),
    Outcome(Uuid),
    /// A statement's intent and outcome in one.
    Whole(Uuid),
    /// An event in the middle of a session.
    Event,
    /// The session's end.
    Closed,
    /// The session's end as the next process writes it, when the one that had it died.
    Interrupted,
}

/// The part of a record that chains are made of. It comes first in every payload, so it reads without a JSON parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chained {
    pub link: Link,
    pub session: Uuid,
    /// Position in the session, from 0.
    pub sequence: u64,
    /// Leaf of the session's record before; of the first record, the session's seed.
    pub previous: Hash,
}

pub(crate) const OPENED: &str = "session_opened";
pub(crate) const CLOSED: &str = "session_closed";
pub(crate) const INTERRUPTED: &str = "session_interrupted";

/// Appends `{"record":…,"session":…,"seq":…,"prev":…` to a payload, without the closing brace. `event` names an event.
pub(crate) fn write(buffer: &mut Vec<u8>, chained: &Chained, event: &str) {
    let mut id = Uuid::encode_buffer();
    buffer.extend_from_slice(b"{\"record\":\"");
    match chained.link {
        Link::Intent(statement) => {
            buffer.extend_from_slice(b"intent\",\"statement\":\"");
            buffer.extend_from_slice(statement.hyphenated().encode_lower(&mut id).as_bytes());
        }
        Link::Outcome(statement) => {
            buffer.extend_from_slice(b"outcome\",\"statement\":\"");
            buffer.extend_from_slice(statement.hyphenated().encode_lower(&mut id).as_bytes());
        }
        Link::Whole(statement) => {
            buffer.extend_from_slice(b"statement\",\"statement\":\"");
            buffer.extend_from_slice(statement.hyphenated().encode_lower(&mut id).as_bytes());
        }
        Link::Opened | Link::Event | Link::Closed | Link::Interrupted => {
            buffer.extend_from_slice(b"event\",\"event\":\"");
            buffer.extend_from_slice(event.as_bytes());
        }
    }
    buffer.extend_from_slice(b"\",\"session\":\"");
    buffer.extend_from_slice(chained.session.hyphenated().encode_lower(&mut id).as_bytes());
    buffer.extend_from_slice(b"\",\"seq\":");
    buffer.extend_from_slice(itoa::Buffer::new().format(chained.sequence).as_bytes());
    buffer.extend_from_slice(b",\"prev\":\"");
    let mut digits = [0; 64];
    if hex::encode_to_slice(chained.previous.as_bytes(), &mut digits).is_ok() {
        buffer.extend_from_slice(&digits);
    }
    buffer.push(b'"');
}

/// Reads what [`write()`] wrote. `None` if the payload is not a record.
pub(crate) fn read(payload: &[u8]) -> Option<Chained> {
    let rest = payload.strip_prefix(b"{\"record\":\"")?;
    let (link, rest) = if let Some(rest) = rest.strip_prefix(b"intent\",\"statement\":\"") {
        let (statement, rest) = take_id(rest)?;
        (Link::Intent(statement), rest)
    } else if let Some(rest) = rest.strip_prefix(b"outcome\",\"statement\":\"") {
        let (statement, rest) = take_id(rest)?;
        (Link::Outcome(statement), rest)
    } else if let Some(rest) = rest.strip_prefix(b"statement\",\"statement\":\"") {
        let (statement, rest) = take_id(rest)?;
        (Link::Whole(statement), rest)
    } else {
        let rest = rest.strip_prefix(b"event\",\"event\":\"")?;
        let (name, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'"')?)?;
        let link = match std::str::from_utf8(name).ok()? {
            OPENED => Link::Opened,
            CLOSED => Link::Closed,
            INTERRUPTED => Link::Interrupted,
            _ => Link::Event,
        };
        (link, rest)
    };
    let (session, rest) = take_id(rest.strip_prefix(b"\",\"session\":\"")?)?;
    let rest = rest.strip_prefix(b"\",\"seq\":")?;
    let (digits, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b',')?)?;
    let sequence = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (previous, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(64)?;
    let previous = Hash::from_hex(previous)?;
    rest.starts_with(b"\"").then_some(Chained { link, session, sequence, previous })
}

fn take_id(bytes: &[u8]) -> Option<(Uuid, &[u8])> {
    let (id, rest) = bytes.split_at_checked(36)?;
    Some((Uuid::try_parse_ascii(id).ok()?, rest))
}

/// The seed that a session's first record holds in place of a previous record's hash.
#[must_use]
pub(crate) fn seed_hash(session: Uuid, seed: &Hash) -> Hash {
    Hash::of(&[session.as_bytes(), seed.as_bytes()])
}

/// Who a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    pub org: Option<String>,
    pub agent: Option<String>,
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenChain {
    pub who: Option<Arc<Who>>,
    /// Records so far.
    pub records: u64,
    pub last: Hash,
    /// Statements with an intent and no outcome yet.
    pub running: Vec<Uuid>,
}

/// A break in a session's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Break {
    /// A record with this position was expected, a later one found.
    Missing {
        session: Uuid,
        expected: u64,
        found: u64,
    },
    /// A record comes again, or too late.
    Repeated {
        session: Uuid,
        expected: u64,
        found: u64,
    },
    /// The hash of the session's previous record is another.
    Altered {
        session: Uuid,
        sequence: u64,
    },
    /// The session's first records are missing.
    Headless {
        session: Uuid,
        found: u64,
    },
    OutcomeWithoutIntent {
        session: Uuid,
        statement: Uuid,
    },
    /// The session ended while a statement had no outcome.
    Unfinished {
        session: Uuid,
        statement: Uuid,
    },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Break::Missing { session, expected, found } if found - expected == 1 => {
                write!(f, "session {session}: its record {expected} is missing")
            }
            Break::Missing { session, expected, found } => {
                write!(f, "session {session}: its records {expected} to {} are missing", found - 1)
            }
            Break::Repeated { session, expected, found } => {
                write!(f, "session {session}: its record {found} comes where record {expected} should")
            }
            Break::Altered { session, sequence } => {
                write!(f, "session {session}: its record {sequence} does not continue the one before it")
            }
            Break::Headless { session, found } => {
                write!(f, "session {session}: its beginning is missing, the first record here is {found}")
            }
            Break::OutcomeWithoutIntent { session, statement } => {
                write!(f, "session {session}: statement {statement} has an outcome and no intent")
            }
            Break::Unfinished { session, statement } => {
                write!(f, "session {session}: it ended while statement {statement} had no outcome")
            }
        }
    }
}

/// Every open session's chain, advanced record by record.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    open: AHashMap<Uuid, OpenChain>,
}

impl Chains {
    pub fn resume(open: impl IntoIterator<Item = (Uuid, OpenChain)>) -> Chains {
        Chains { open: open.into_iter().collect() }
    }

    pub fn open(&self) -> &AHashMap<Uuid, OpenChain> {
        &self.open
    }

    /// Takes in the next record of some session. After a break it goes on with what it found.
    pub fn advance(&mut self, chained: &Chained, leaf: Hash, who: Option<&Arc<Who>>) -> Vec<Break> {
        let Chained { session, sequence, .. } = *chained;
        let mut breaks = Vec::new();
        let chain = match self.open.get_mut(&session) {
            Some(chain) => chain,
            None => {
                if chained.link != Link::Opened || sequence != 0 {
                    breaks.push(Break::Headless { session, found: sequence });
                }
                self.open.entry(session).or_insert(OpenChain {
                    who: who.cloned(),
                    records: sequence,
                    last: chained.previous,
                    running: Vec::new(),
                })
            }
        };
        let expected = chain.records;
        if sequence > expected {
            breaks.push(Break::Missing { session, expected, found: sequence });
        } else if sequence < expected {
            breaks.push(Break::Repeated { session, expected, found: sequence });
        } else if chained.previous != chain.last {
            breaks.push(Break::Altered { session, sequence });
        }
        chain.records = sequence + 1;
        chain.last = leaf;
        match chained.link {
            Link::Intent(statement) => chain.running.push(statement),
            Link::Outcome(statement) => match chain.running.iter().position(|running| *running == statement) {
                Some(at) => {
                    chain.running.swap_remove(at);
                }
                None => breaks.push(Break::OutcomeWithoutIntent { session, statement }),
            },
            Link::Opened | Link::Event | Link::Whole(_) => {}
            Link::Closed => {
                let ended = self.open.remove(&session).into_iter().flat_map(|chain| chain.running);
                breaks.extend(ended.map(|statement| Break::Unfinished { session, statement }));
            }
            Link::Interrupted => {
                self.open.remove(&session);
            }
        }
        breaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chained_part_reads_without_a_json_parser_and_with_one() {
        let statement = Uuid::now_v7();
        for (link, event) in [
            (Link::Opened, OPENED),
            (Link::Intent(statement), ""),
            (Link::Outcome(statement), ""),
            (Link::Whole(statement), ""),
            (Link::Event, "key_issued"),
            (Link::Closed, CLOSED),
            (Link::Interrupted, INTERRUPTED),
        ] {
            let chained = Chained { link, session: Uuid::now_v7(), sequence: 41, previous: Hash::of(&[b"x"]) };
            let mut payload = Vec::new();
            write(&mut payload, &chained, event);
            payload.extend_from_slice(b",\"time\":1}");
            assert_eq!(read(&payload), Some(chained));
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
            for length in 0..payload.len() - b",\"time\":1}".len() {
                assert_eq!(read(&payload[..length]), None);
            }
        }
    }
}
