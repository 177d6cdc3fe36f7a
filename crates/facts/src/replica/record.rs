//! What a replica remembers beside the facts, by name.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    causality::{Origin, VersionVector},
    clock::Hlc,
    storage::Storage,
};

/// The last local write.
pub(super) const OWN: &str = "replica/own";
/// Which writes have come.
pub(super) const PROGRESS: &str = "replica/progress";
pub(super) const COLLECTED: &str = "replica/collected";
pub(super) const MEMBERS: &str = "replica/members";
/// There after a clean stop.
pub(crate) const CLEAN: &str = "replica/clean";
/// There while everything is being fetched.
pub(super) const FETCHING: &str = "replica/fetching";
/// Numbers of the records below.
pub(super) const HELD: &str = "replica/held";

/// A name, and what is recorded under it; `None` removes it.
pub(super) type Record = (String, Option<Vec<u8>>);

pub(super) fn held(number: u64) -> String {
    format!("{HELD}/{number}")
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Own {
    pub origin: Origin,
    pub seq: u64,
    pub hlc: Hlc,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    pub seen: VersionVector,
    pub hlc: Hlc,
}

pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    // The records have string keys and plain members, for which this cannot fail.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError<E> {
    #[error(transparent)]
    Storage(E),
    #[error("the record `{name}` is damaged: {error}")]
    Damaged { name: String, error: serde_json::Error },
}

pub(super) fn load<S: Storage, T: DeserializeOwned>(storage: &S, name: &str) -> Result<Option<T>, LoadError<S::Error>> {
    let Some(bytes) = storage.metadata(name).map_err(LoadError::Storage)? else { return Ok(None) };
    let damaged = |error| LoadError::Damaged { name: name.to_owned(), error };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}
