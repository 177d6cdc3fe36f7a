//! From what the node did to what the client is told.

use super::{
    cursor,
    plan::{Asked, Entries, Entry, Form},
};
use crate::{
    clock::Hlc,
    key::FactKey,
    node::{Applied, NodeError, Outcomes},
    protocol::{self, Count, Cursor, Deleted, IfVersion, Json, Outcome, Part, ProtocolError, Refusal, Reply, Written},
    replica::Refused,
    store::StoreError,
    strategy::Found,
};

/// How long a client that meets a full queue is to wait, in milliseconds.
const RETRY_AFTER_MS: u64 = 100;

/// Of a node that is fetching everything, in milliseconds.
const RETRY_INCOMPLETE_MS: u64 = 1_000;

pub(super) fn reply(
    asked: Asked,
    outcome: Result<Applied, NodeError>,
    timeout_ms: u64,
) -> Result<Reply, ProtocolError> {
    let Applied { outcomes, seen, count } = outcome.map_err(|error| failed(error, &asked.entries, timeout_ms))?;
    let cursor = seen.and_then(|seen| seen.wire_cursor(cursor::encode));
    if asked.form == Form::Batch {
        return Ok(batch(asked.entries, outcomes, cursor));
    }
    let (Some(entry), Some(outcome)) = (asked.entries.into_iter().next(), outcomes.each().next()) else {
        return Err(ProtocolError::Internal);
    };
    let version = outcome.map_err(|refused| refusal(refused, std::slice::from_ref(&entry)))?;
    match (asked.form, count) {
        (Form::Count, Some(value)) => {
            Ok(Reply::Count(Count { key: entry.key, value, version, updated_at: version.millis() }))
        }
        // It was counted and cannot be read.
        (Form::Count, None) => Err(ProtocolError::Internal),
        (Form::One | Form::Batch, _) => Ok(match done(entry.key, entry.is_delete, version, cursor) {
            Outcome::Deleted(deleted) => Reply::Deleted(deleted),
            Outcome::Written(written) => Reply::Written(written),
            Outcome::Failed { error, .. } => return Err(error),
        }),
    }
}

/// The last entry that was written has the cursor, which covers those before it.
fn batch(entries: Entries, outcomes: Outcomes, cursor: Option<Cursor>) -> Reply {
    let mut results = Vec::with_capacity(entries.len());
    let (mut applied, mut failed, mut last) = (0, 0, None);
    for (place, (entry, outcome)) in entries.into_iter().zip(outcomes.each()).enumerate() {
        results.push(match outcome {
            Ok(version) => {
                applied += 1;
                last = Some(place);
                done(entry.key, entry.is_delete, version, None)
            }
            Err(refused) => {
                failed += 1;
                let error = refusal(refused, std::slice::from_ref(&entry));
                Outcome::Failed { key: entry.key, error }
            }
        });
    }
    match last.and_then(|last| results.get_mut(last)) {
        Some(Outcome::Written(written)) => written.cursor = cursor,
        Some(Outcome::Deleted(deleted)) => deleted.cursor = cursor,
        Some(Outcome::Failed { .. }) | None => {}
    }
    Reply::Batch { results, applied, failed }
}

fn done(key: FactKey, is_delete: bool, version: Hlc, cursor: Option<Cursor>) -> Outcome {
    let at = version.millis();
    if is_delete {
        Outcome::Deleted(Deleted { key, version, tombstone: true, deleted_at: at, cursor })
    } else {
        Outcome::Written(Written { key, version, updated_at: at, cursor })
    }
}

pub(super) fn entry(key: FactKey, found: Found) -> Result<protocol::Entry, ProtocolError> {
    let value = Json::of_text(found.value.text().into_owned())?;
    Ok(protocol::Entry {
        key,
        value,
        version: found.version,
        updated_at: found.version.millis(),
        expires_at: found.expires_at,
        conflicted: found.conflicted,
    })
}

pub(super) fn failed(error: NodeError, entries: &[Entry], timeout_ms: u64) -> ProtocolError {
    match error {
        NodeError::Overloaded => ProtocolError::Overloaded { retry_after_ms: RETRY_AFTER_MS },
        NodeError::Stopped | NodeError::Incomplete => ProtocolError::Overloaded { retry_after_ms: RETRY_INCOMPLETE_MS },
        NodeError::TimedOut | NodeError::NotReplicated { .. } => ProtocolError::Timeout { after_ms: timeout_ms },
        NodeError::NoPeers { .. } => ProtocolError::field("ack", error.to_string()),
        NodeError::Refused(refused) => refusal(refused, entries),
        NodeError::Storage(error) => storage(&error),
        NodeError::Failed { .. } => failure(),
        // Nothing that clients ask for.
        NodeError::StillConnected(_) | NodeError::NoMember(_) => ProtocolError::Internal,
    }
}

fn refusal(refused: Refused<StoreError>, entries: &[Entry]) -> ProtocolError {
    match refused {
        Refused::Write { key, error } => ProtocolError::field("value", format!("of `{key}`: {error}")),
        Refused::Conflict { key, version } => {
            let entry = entries.iter().find(|entry| entry.key == key);
            let expected = entry.and_then(|entry| entry.if_version).map_or(0, IfVersion::as_u64);
            let version = version.map_or(0, Hlc::as_u64);
            ProtocolError::VersionConflict { key: key.to_string(), expected, version }
        }
        Refused::Namespace(key) => {
            let namespace = Some(key.namespace().to_owned());
            ProtocolError::Unauthorized { reason: Refusal::Namespace, namespace }
        }
        Refused::TooLarge { max, unit: "bytes", .. } => ProtocolError::TooLarge { what: Part::Value, max },
        too_large @ Refused::TooLarge { .. } => ProtocolError::field("value", too_large.to_string()),
        Refused::TooMany { max, .. } => ProtocolError::TooLarge { what: Part::Batch, max },
        Refused::Incomplete => ProtocolError::Overloaded { retry_after_ms: RETRY_INCOMPLETE_MS },
        Refused::Storage(error) => storage(&error),
        Refused::Poisoned => failure(),
    }
}

/// What is no client's business, such as names of files, is left to the node's health.
fn storage(error: &StoreError) -> ProtocolError {
    match error {
        StoreError::Full { .. } => ProtocolError::Storage("the disk is full: nothing was written".to_owned()),
        StoreError::Stalled { .. } => ProtocolError::Storage("the disk is too slow: retry later".to_owned()),
        _ => failure(),
    }
}

fn failure() -> ProtocolError {
    ProtocolError::Storage("the node's disk failed: retry at another node until this one is started anew".to_owned())
}
