//! What peers send.

use crate::{
    causality::NodeId,
    clock::Millis,
    message::{Entry, Message, Write},
    replica::{Alarm, Effect, Malformed, Replica, ReplicaError, merge::Numbers, validate::Check},
    storage::Storage,
};

/// Why a message had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError<E> {
    #[error("`{0}` is no member")]
    NotAMember(NodeId),
    #[error("the message is refused: {0}")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Replica(#[from] ReplicaError<E>),
}

impl<S: Storage> Replica<S> {
    /// Takes a message that a node sent. It may come late, twice, and in any order.
    ///
    /// # Errors
    /// [`ReceiveError`]; the message then had no effect, and if it matters what it says is asked for later.
    pub fn receive(&mut self, now: Millis, from: &NodeId, message: Message) -> Result<(), ReceiveError<S::Error>> {
        self.check_poison()?;
        if !self.members.contains(from) {
            self.counts.refused += 1;
            return Err(ReceiveError::NotAMember(from.clone()));
        }
        let check = Check { limits: &self.config.limits, rules: &*self.rules, from };
        if let Err(reason) = check.message(&message) {
            self.counts.refused += 1;
            let alarm = Alarm::Refused { from: from.clone(), reason: reason.clone() };
            self.outbox.at_once(Effect::Alarm(alarm));
            return Err(reason.into());
        }
        let taken = match message {
            Message::Status(status) => self.take_status(now, from, status),
            Message::Part(part) => self.take_part(now, from, part),
            // It is not to say anything of what it has, and what it is told it fetches anyway.
            _ if !self.is_serving() => Ok(()),
            Message::Pull(pull) => self.serve_pull(from, &pull),
            Message::Fetch(fetch) => self.serve_fetch(now, from, &fetch),
            // It will fetch everything, and then what it has is asked for.
            _ if self.members.is_behind(from, &self.collected) => Ok(()),
            Message::Write(write) => self.take_write(now, from, write),
            Message::Page(page) => self.take_page(now, from, page),
            Message::Behind { collected } => self.take_behind(now, from, &collected),
            Message::Buckets { epoch, sums } => self.serve_buckets(from, epoch, &sums),
            Message::Listing(listing) => self.take_listing(from, &listing),
            Message::Repair(repair) => self.take_repair(now, from, repair),
        };
        taken.map_err(|error| ReceiveError::Replica(ReplicaError::Storage(error)))
    }

    fn take_write(&mut self, now: Millis, from: &NodeId, write: Write) -> Result<(), S::Error> {
        let Write { origin, first, entries } = write;
        let last = first + entries.len() as u64 - 1;
        if self.progress.has(&origin, first, last) {
            return Ok(());
        }
        let numbers = Numbers { origin: &origin, first, last };
        if self.is_ahead(now, &entries) {
            return self.hold(now, from, entries, Some(numbers)).map(drop);
        }
        self.observe(now, &entries);
        self.counts.remote_entries += entries.len() as u64;
        let merged = self.merge(now, entries, None)?;
        self.apply(now, merged, Vec::new(), Some(numbers))?;
        Ok(())
    }

    /// Whether some entry's time is further ahead than it may be.
    pub(super) fn is_ahead(&self, now: Millis, entries: &[Entry]) -> bool {
        let latest = entries.iter().map(|entry| entry.state.hlc()).max().unwrap_or_default();
        self.clock.clone().observe(latest, now).is_err()
    }

    /// Follows the times of entries that are not ahead.
    pub(super) fn observe(&mut self, now: Millis, entries: &[Entry]) {
        let latest = entries.iter().map(|entry| entry.state.hlc()).max().unwrap_or_default();
        // Those ahead were sorted out before; the clock would not follow them.
        let _ = self.clock.observe(latest, now);
    }
}
