//! Requests that are written as one: a commit has its cost whatever is in it.

use std::{collections::HashSet, time::Instant};

use super::job::{Acknowledge, Command, Job, Work};
use crate::{
    key::FactKey,
    protocol::{Ack, BATCH_MAX},
    replica::WriteFact,
};

/// Bytes of a group, about; one request may have more.
const BYTES_MAX: usize = 1 << 20;

/// Requests that name different keys, so that each sees what it would see alone.
#[derive(Default)]
pub(super) struct Group {
    /// Of all, in order.
    pub(super) writes: Vec<WriteFact>,
    pub(super) asking: Vec<Asking>,
    keys: HashSet<FactKey, ahash::RandomState>,
    bytes: usize,
}

/// Who asked for the next so many writes.
pub(super) struct Asking {
    pub(super) writes: usize,
    pub(super) ack: Ack,
    pub(super) deadline: Instant,
    pub(super) is_in_burst: bool,
    pub(super) done: Acknowledge,
}

impl Group {
    /// With room for so many.
    pub(super) fn of(requests: usize) -> Group {
        Group {
            writes: Vec::with_capacity(requests),
            asking: Vec::with_capacity(requests),
            keys: HashSet::with_capacity_and_hasher(requests, ahash::RandomState::default()),
            bytes: 0,
        }
    }

    /// Gives back what does not go with the others.
    pub(super) fn take(&mut self, command: Command) -> Option<Command> {
        let (writes, bytes) = match &command {
            // What waits for members is refused where there are too few, before it is written.
            Command::Write(Job { ack: Ack::Replicated(_), .. }) => return Some(command),
            Command::Write(Job { work: work @ Work::All(writes), deadline, .. }) if *deadline > Instant::now() => {
                (writes, work.bytes())
            }
            _ => return Some(command),
        };
        let is_full = self.writes.len() + writes.len() > BATCH_MAX || self.bytes + bytes > BYTES_MAX;
        let goes_with_others = !is_full && !writes.iter().any(|write| self.keys.contains(&write.key));
        if writes.is_empty() || !(goes_with_others || self.asking.is_empty()) {
            return Some(command);
        }
        self.bytes += bytes;
        self.keys.extend(writes.iter().map(|write| write.key.clone()));
        if let Command::Write(Job { work: Work::All(writes), ack, deadline, is_in_burst, done }) = command {
            self.asking.push(Asking { writes: writes.len(), ack, deadline, is_in_burst, done });
            self.writes.extend(writes);
        }
        None
    }
}
