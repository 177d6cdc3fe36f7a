//! What replicas tell each other. How it travels, and in what encoding, is the business of who carries it.

use serde::{Deserialize, Serialize};

use crate::{
    causality::{Origin, VersionVector},
    clock::{Hlc, Millis},
    key::FactKey,
    state::State,
};

/// A key and all that the sender knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub key: FactKey,
    pub state: State,
}

/// May be lost, repeated, delayed and reordered. The receiver has to know from which node it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// To all, from the node that wrote.
    Write(Write),
    /// To all, every second or so.
    Status(Status),
    /// Asks for what an origin wrote.
    Pull(Pull),
    /// Answers a pull.
    Page(Page),
    /// Answers a pull of a node that lacks deletions that are collected here: it has to fetch everything.
    Behind { collected: VersionVector },
    /// Asks for everything, in parts by the order of keys.
    Fetch(Fetch),
    /// Answers a fetch.
    Part(Part),
    /// To a node whose root differs although both have applied the same.
    Buckets { epoch: Millis, sums: Vec<u128> },
    /// Answers buckets: what is in some of those that differ.
    Listing(Listing),
    /// Answers a listing with the states of keys that differ, and is answered so itself.
    Repair(Repair),
}

/// One commit. Applied as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub origin: Origin,
    /// The number of the first entry; the others follow.
    pub first: u64,
    pub entries: Vec<Entry>,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Under what name the node writes. It writes under no earlier one any more.
    pub origin: Origin,
    /// Grows with each status of a node.
    pub at: Hlc,
    /// What it has applied durably.
    pub applied: VersionVector,
    /// What of that it no longer remembers the deletion of.
    pub collected: VersionVector,
    /// Whether it answers pulls.
    pub serving: bool,
    /// The digest of what was visible at an epoch, when it is one of just what is applied durably.
    pub root: Option<Root>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub epoch: Millis,
    pub sum: u128,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// All that the one who asks has applied or holds.
    pub seen: VersionVector,
    pub origin: Origin,
    /// What is asked for begins after this number.
    pub after: u64,
    /// What has come of it ends with this one.
    pub position: u64,
}

/// The states of keys that the origin wrote with numbers above `after`, by the last such number: those above `position`
/// and up to `last`.
///
/// Only the last page completes anything: a key that the origin wrote twice comes by the later number, so that in
/// earlier pages effects of earlier numbers are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub origin: Origin,
    pub after: u64,
    pub position: u64,
    pub last: u64,
    /// In the last page: all numbers up to this one are complete by it and those before it.
    pub through: Option<u64>,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Of the one who fetches, a new number for each time it begins.
    pub session: u64,
    pub after: Option<FactKey>,
}

/// All keys after `after` and up to `through`; to the end without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub session: u64,
    pub after: Option<FactKey>,
    pub through: Option<FactKey>,
    pub entries: Vec<Entry>,
    pub applied: VersionVector,
    pub collected: VersionVector,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub epoch: Millis,
    pub buckets: Vec<u16>,
    /// All that these buckets have.
    pub keys: Vec<(FactKey, [u8; 16])>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    pub entries: Vec<Entry>,
    /// Keys the sender has nothing of.
    pub absent: Vec<FactKey>,
    /// The sender's: of an absent key, what was written up to here is gone.
    pub collected: VersionVector,
    /// Whether the sender wants the receiver's states of these keys.
    pub answer: bool,
}
