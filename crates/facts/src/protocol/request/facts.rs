use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Ack, BatchPut, Cursor, Delete, IfVersion, Incr, Operation, Put, Query, Subscribe, Transaction};
use crate::{
    clock::Hlc,
    json_text::JsonText,
    key::{FactKey, Pattern},
    protocol::{
        error::{Part, ProtocolError},
        json,
        limits::{BATCH_MAX, QUERY_LIMIT_DEFAULT, QUERY_LIMIT_MAX, TTL_SECONDS_MAX, VALUE_BYTES_MAX},
        params::{Given, Params, list, number, text},
        raw::Raw,
    },
};

pub(super) fn key(raw: Raw<'_>) -> Result<FactKey, String> {
    FactKey::new(&text(raw)?).map_err(|error| error.to_string())
}

fn pattern(raw: Raw<'_>) -> Result<Pattern, String> {
    Pattern::new(&text(raw)?).map_err(|error| error.to_string())
}

pub(super) fn cursor(raw: Raw<'_>) -> Result<Cursor, String> {
    Cursor::new(&text(raw)?).map_err(|error| error.to_string())
}

pub(crate) fn checked_ttl(seconds: u64) -> Result<u64, String> {
    match seconds {
        1..=TTL_SECONDS_MAX => Ok(seconds),
        0 => Err("must be a whole number of seconds greater than 0".to_owned()),
        _ => Err(format!("must be at most {TTL_SECONDS_MAX} seconds, a hundred years; leave it out to keep the fact")),
    }
}

fn ttl(raw: Raw<'_>) -> Result<u64, String> {
    number(raw).map_err(|_| "must be a whole number of seconds greater than 0".to_owned()).and_then(checked_ttl)
}

pub(crate) fn checked_version(version: u64) -> Result<IfVersion, String> {
    match (version, Hlc::from_u64(version)) {
        (0, _) => Ok(IfVersion::Absent),
        (_, Some(version)) => Ok(IfVersion::Is(version)),
        (_, None) => Err("must be a version as this service gave it out, or 0".to_owned()),
    }
}

fn if_version(raw: Raw<'_>) -> Result<IfVersion, String> {
    checked_version(number(raw)?)
}

pub(crate) fn checked_ack(text: &str) -> Result<Ack, String> {
    let nodes = |number: &str| number.parse().ok().filter(|nodes| *nodes > 0);
    match (text, text.strip_prefix("replicated:").and_then(nodes)) {
        ("applied", _) => Ok(Ack::Applied),
        ("durable", _) => Ok(Ack::Durable),
        (_, Some(nodes)) => Ok(Ack::Replicated(nodes)),
        _ => Err("must be `applied`, `durable`, or `replicated:` and a number of nodes from 1 to 255".to_owned()),
    }
}

fn ack(params: &mut Params<'_>) -> Result<Ack, ProtocolError> {
    Ok(params.optional("ack", |raw| checked_ack(&text(raw)?))?.unwrap_or_default())
}

/// The text of a value as it is kept, when the value was seen to be JSON.
fn value_of(json: Raw<'_>) -> Result<JsonText, ProtocolError> {
    let text = json.get();
    if text.len() <= VALUE_BYTES_MAX && json.is_compact() {
        return Ok(JsonText::written(text));
    }
    value(text)
}

/// The text of a value as it is kept.
pub(crate) fn value(json: &str) -> Result<JsonText, ProtocolError> {
    let compact = json::compact(&mut serde_json::Deserializer::from_str(json));
    let compact = compact.map_err(|error| ProtocolError::Parse(error.to_string()))?;
    if compact.len() > VALUE_BYTES_MAX {
        return Err(ProtocolError::TooLarge { what: Part::Value, max: VALUE_BYTES_MAX });
    }
    Ok(JsonText::written(compact))
}

impl Put {
    fn read(params: &mut Params<'_>) -> Result<Put, ProtocolError> {
        let key = params.required("key", key)?;
        let raw = params.raw("value");
        let raw = raw.ok_or_else(|| ProtocolError::field(params.field("value"), "is missing"))?;
        let value = value_of(raw).map_err(|error| match error {
            // That it is JSON was seen; what is wrong is within it.
            ProtocolError::Parse(detail) => ProtocolError::field(params.field("value"), detail),
            other => other,
        })?;
        let ttl = params.optional("ttl", ttl)?;
        Ok(Put { key, value, ttl, if_version: params.optional("if_version", if_version)?, ack: Ack::default() })
    }

    pub(super) fn read_whole(params: &mut Params<'_>) -> Result<Put, ProtocolError> {
        Ok(Put { ack: ack(params)?, ..Put::read(params)? })
    }
}

impl Delete {
    fn read(params: &mut Params<'_>) -> Result<Delete, ProtocolError> {
        let key = params.required("key", key)?;
        Ok(Delete { key, if_version: params.optional("if_version", if_version)?, ack: Ack::default() })
    }

    pub(super) fn read_whole(params: &mut Params<'_>) -> Result<Delete, ProtocolError> {
        Ok(Delete { ack: ack(params)?, ..Delete::read(params)? })
    }
}

/// A list with one element or more, not too many.
pub(super) fn batch<'a, T: Deserialize<'a>>(params: &mut Params<'a>, name: &str) -> Result<Vec<T>, ProtocolError> {
    checked_batch(params.required(name, list)?, params, name)
}

/// As [`batch`], of objects.
pub(super) fn batch_of_objects<'a>(params: &mut Params<'a>, name: &str) -> Result<Vec<Given<'a>>, ProtocolError> {
    checked_batch(params.objects(name)?, params, name)
}

fn checked_batch<T>(elements: Vec<T>, params: &Params<'_>, name: &str) -> Result<Vec<T>, ProtocolError> {
    if elements.len() > BATCH_MAX {
        return Err(ProtocolError::TooLarge { what: Part::Batch, max: BATCH_MAX });
    }
    if elements.is_empty() {
        return Err(ProtocolError::field(params.field(name), "must not be empty"));
    }
    Ok(elements)
}

/// In what order two writes of one key would count, nobody said; so there is only one.
fn refuse_twice<'a>(name: &str, keys: impl ExactSizeIterator<Item = &'a FactKey>) -> Result<(), ProtocolError> {
    let mut seen: HashSet<&FactKey, ahash::RandomState> =
        HashSet::with_capacity_and_hasher(keys.len(), ahash::RandomState::default());
    for (index, key) in keys.enumerate() {
        if !seen.insert(key) {
            return Err(ProtocolError::field(format!("{name}[{index}].key"), "is there twice; send each key once"));
        }
    }
    Ok(())
}

impl BatchPut {
    pub(super) fn read(params: &mut Params<'_>) -> Result<BatchPut, ProtocolError> {
        let (atomic, ack) = (params.flag("atomic")?, ack(params)?);
        let elements = batch_of_objects(params, "entries")?.into_iter().enumerate();
        let entries = elements.map(|(index, given)| {
            let mut entry = Params::of_element(given, "entries", index)?;
            let put = Put { ack, ..Put::read(&mut entry)? };
            entry.end().map(|()| put)
        });
        let entries = entries.collect::<Result<Vec<Put>, ProtocolError>>()?;
        refuse_twice("entries", entries.iter().map(|put| &put.key))?;
        Ok(BatchPut { entries, atomic, ack })
    }
}

impl Transaction {
    pub(super) fn read(params: &mut Params<'_>) -> Result<Transaction, ProtocolError> {
        let ack = ack(params)?;
        let elements = batch_of_objects(params, "operations")?.into_iter().enumerate();
        let operations = elements.map(|(index, given)| {
            let mut entry = Params::of_element(given, "operations", index)?;
            let operation = match &*entry.required("op", text)? {
                "put" => Operation::Put(Put { ack, ..Put::read(&mut entry)? }),
                "delete" => Operation::Delete(Delete { ack, ..Delete::read(&mut entry)? }),
                _ => return Err(ProtocolError::field(entry.field("op"), "must be `put` or `delete`")),
            };
            entry.end().map(|()| operation)
        });
        let operations = operations.collect::<Result<Vec<Operation>, ProtocolError>>()?;
        refuse_twice("operations", operations.iter().map(Operation::key))?;
        Ok(Transaction { operations, ack })
    }
}

/// A key may be asked for twice, and is answered twice.
pub(super) fn keys(params: &mut Params<'_>) -> Result<Vec<FactKey>, ProtocolError> {
    let elements = batch(params, "keys")?.into_iter().enumerate();
    let each = |(index, raw): (usize, &RawValue)| {
        key(raw.into()).map_err(|detail| ProtocolError::field(format!("keys[{index}]"), detail))
    };
    elements.map(each).collect()
}

impl Subscribe {
    pub(super) fn read(params: &mut Params<'_>) -> Result<Subscribe, ProtocolError> {
        Ok(Subscribe {
            pattern: params.required("pattern", pattern)?,
            include_existing: params.flag("include_existing")?,
            after: params.optional("after", cursor)?,
        })
    }
}

impl Query {
    pub(super) fn read(params: &mut Params<'_>) -> Result<Query, ProtocolError> {
        let limit = params.optional("limit", |raw| {
            let limit = number(raw).ok().and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.filter(|limit| (1..=QUERY_LIMIT_MAX).contains(limit));
            limit.ok_or_else(|| format!("must be a number from 1 to {QUERY_LIMIT_MAX}"))
        })?;
        Ok(Query {
            pattern: params.required("pattern", pattern)?,
            filter: params.optional("filter", super::policies::object)?.unwrap_or_default(),
            limit: limit.unwrap_or(QUERY_LIMIT_DEFAULT),
            after: params.optional("after", key)?,
        })
    }
}

impl Incr {
    pub(super) fn read(params: &mut Params<'_>) -> Result<Incr, ProtocolError> {
        // An increment by nothing would be a read, which is granted apart.
        let by = |raw: Raw<'_>| {
            let by = serde_json::from_str(raw.get()).ok().filter(|by| *by != 0);
            by.ok_or_else(|| "must be a whole number of 64 bits, not 0".to_owned())
        };
        Ok(Incr {
            key: params.required("key", key)?,
            by: params.optional("by", by)?.unwrap_or(1),
            ttl: params.optional("ttl", ttl)?,
            ack: ack(params)?,
        })
    }
}
