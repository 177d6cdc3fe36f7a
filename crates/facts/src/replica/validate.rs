//! What a peer may send.

use std::collections::HashSet;

use serde::de::IgnoredAny;

use crate::{
    causality::{NodeId, VersionVector},
    key::FactKey,
    message::{Entry, Listing, Message, Page, Part, Repair, Status, Write},
    replica::{
        Limits, Rules,
        digest::{BUCKETS, KEYS_LISTED_MAX},
    },
    state::{Body, Cell, Part as CellPart, State},
};

/// Why a message was refused; nothing changed by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{len} {what}, at most {max} are taken")]
    TooLong { what: &'static str, len: usize, max: usize },
    #[error("`{0}` has a state that no writes leave")]
    State(FactKey),
    #[error("`{0}` comes twice")]
    Repeated(FactKey),
    #[error("`{key}` has a write of node `{node}`, which may not write there")]
    Namespace { key: FactKey, node: NodeId },
    #[error("writes of node `{0}` come from another node")]
    Foreign(NodeId),
    #[error("numbers that are none")]
    Numbers,
    #[error("`{0}` is not in its place")]
    Misplaced(FactKey),
}

pub(super) struct Check<'a> {
    pub limits: &'a Limits,
    pub rules: &'a dyn Rules,
    pub from: &'a NodeId,
}

impl Check<'_> {
    pub(super) fn message(&self, message: &Message) -> Result<(), Malformed> {
        match message {
            Message::Write(write) => self.write(write),
            Message::Status(status) => self.status(status),
            Message::Pull(pull) => self.vector(&pull.seen),
            Message::Page(page) => self.page(page),
            Message::Behind { collected } => self.vector(collected),
            Message::Fetch(_) => Ok(()),
            Message::Part(part) => self.part(part),
            Message::Buckets { sums, .. } => bound("sums", sums.len(), BUCKETS),
            Message::Listing(listing) => self.listing(listing),
            Message::Repair(repair) => self.repair(repair),
        }
    }

    fn write(&self, write: &Write) -> Result<(), Malformed> {
        // Others' writes come in answers to what was asked.
        if write.origin.node != *self.from {
            return Err(Malformed::Foreign(write.origin.node.clone()));
        }
        if write.first == 0 || write.entries.is_empty() || write.first.checked_add(write.entries.len() as u64).is_none()
        {
            return Err(Malformed::Numbers);
        }
        self.entries(&write.entries, self.limits.batch_keys)?;
        for (seq, entry) in (write.first..).zip(&write.entries) {
            let is_this = |cell: &Cell| cell.dot.seq == seq && cell.dot.origin == write.origin;
            if entry.state.context().get(&write.origin) != seq || !entry.state.cells().iter().any(is_this) {
                return Err(Malformed::State(entry.key.clone()));
            }
        }
        Ok(())
    }

    fn status(&self, status: &Status) -> Result<(), Malformed> {
        if status.origin.node != *self.from {
            return Err(Malformed::Foreign(status.origin.node.clone()));
        }
        self.vector(&status.applied)?;
        self.vector(&status.collected)
    }

    fn page(&self, page: &Page) -> Result<(), Malformed> {
        if page.last < page.position || page.position < page.after || page.through.is_some_and(|end| end < page.after) {
            return Err(Malformed::Numbers);
        }
        self.entries(&page.entries, self.limits.page_keys + self.limits.batch_keys)
    }

    fn part(&self, part: &Part) -> Result<(), Malformed> {
        self.vector(&part.applied)?;
        self.vector(&part.collected)?;
        self.entries(&part.entries, self.limits.page_keys)?;
        let inside = |key: &FactKey| {
            part.after.as_ref().is_none_or(|after| after < key) && part.through.as_ref().is_none_or(|end| key <= end)
        };
        match part.entries.iter().find(|entry| !inside(&entry.key)) {
            Some(entry) => Err(Malformed::Misplaced(entry.key.clone())),
            None => Ok(()),
        }
    }

    fn listing(&self, listing: &Listing) -> Result<(), Malformed> {
        bound("buckets", listing.buckets.len(), BUCKETS)?;
        bound("keys", listing.keys.len(), KEYS_LISTED_MAX)
    }

    fn repair(&self, repair: &Repair) -> Result<(), Malformed> {
        self.vector(&repair.collected)?;
        bound("keys", repair.absent.len(), KEYS_LISTED_MAX)?;
        self.entries(&repair.entries, KEYS_LISTED_MAX)
    }

    fn vector(&self, vector: &VersionVector) -> Result<(), Malformed> {
        bound("origins", vector.len(), self.limits.origins)
    }

    fn entries(&self, entries: &[Entry], max: usize) -> Result<(), Malformed> {
        bound("keys", entries.len(), max)?;
        let mut keys = HashSet::with_capacity(entries.len());
        for entry in entries {
            if entries.len() > 1 && !keys.insert(&entry.key) {
                return Err(Malformed::Repeated(entry.key.clone()));
            }
            self.state(&entry.key, &entry.state)?;
        }
        Ok(())
    }

    fn state(&self, key: &FactKey, state: &State) -> Result<(), Malformed> {
        bound("cells", state.cells().len(), self.limits.cells)?;
        self.vector(state.context())?;
        if !state.is_well_formed() {
            return Err(Malformed::State(key.clone()));
        }
        for cell in state.cells() {
            if !self.rules.may_write(&cell.dot.origin.node, key.namespace()) {
                return Err(Malformed::Namespace { key: key.clone(), node: cell.dot.origin.node.clone() });
            }
            let id_bytes = match &cell.part {
                CellPart::Element(id) => id.len(),
                CellPart::Whole => 0,
            };
            bound("bytes of an element's id", id_bytes, self.limits.value_bytes)?;
            if let Body::Value(json) = &cell.body {
                bound("bytes of a value", json.len(), self.limits.value_bytes)?;
                serde_json::from_str::<IgnoredAny>(json).map_err(|_| Malformed::State(key.clone()))?;
            }
        }
        Ok(())
    }
}

fn bound(what: &'static str, len: usize, max: usize) -> Result<(), Malformed> {
    if len > max { Err(Malformed::TooLong { what, len, max }) } else { Ok(()) }
}
