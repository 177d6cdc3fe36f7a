//! Ends of facts: telling of them, and forgetting what is over once no node needs to remember it.

use crate::{
    causality::VersionVector,
    clock::Millis,
    key::FactKey,
    replica::{Replica, merge::Merged, merge::kind_of, record},
    storage::{Change, Storage},
};

/// Rows looked at in one go.
const ROWS_MAX: usize = 512;
/// Milliseconds between two passes over all that has ended.
const PASS_EVERY_MS: u64 = 5_000;

#[derive(Debug)]
pub(super) struct Sweep {
    /// Subscribers were told of ends up to here.
    pub swept: Millis,
    /// Nothing is collected until then.
    pub lease_until: Millis,
    /// Where the pass over all that has ended is.
    position: Option<(Millis, FactKey)>,
    next_pass: Millis,
}

impl Sweep {
    pub(super) fn new(swept: Millis) -> Sweep {
        Sweep { swept, lease_until: Millis(0), position: None, next_pass: Millis(0) }
    }
}

impl<S: Storage> Replica<S> {
    /// Tells subscribers what ended since the last time; and if the clock stepped back, what shows again.
    pub(super) fn sweep_ends(&mut self, now: Millis) -> Result<(), S::Error> {
        let time = self.time(now);
        let (low, high) = (self.sweep.swept.min(time), self.sweep.swept.max(time));
        if low == high {
            return Ok(());
        }
        let keys = self.ended_between(low, high)?;
        let mut told = Vec::new();
        for key in keys {
            let Some(state) = self.storage.state(&key)? else { continue };
            // Deletions were told when they were made.
            if !state.cells().iter().any(|cell| cell.expires_at.is_some_and(|end| low < end && end <= high)) {
                continue;
            }
            let kind = kind_of(self.rules.strategy(key.namespace()), Some(&state), time);
            told.push((kind, key, Some(state)));
        }
        // A crash must not take the time back at which these ended. Without room for it they are told later.
        if !told.is_empty() && self.record_progress().is_err() {
            return Ok(());
        }
        self.sweep.swept = time;
        self.counts.expired += told.len() as u64;
        self.tell_together(told);
        Ok(())
    }

    /// Keys with cells that end after `low` and by `high`, each once.
    pub(super) fn ended_between(&self, low: Millis, high: Millis) -> Result<Vec<FactKey>, S::Error> {
        let (mut keys, mut after) = (std::collections::BTreeSet::new(), (low, None::<FactKey>));
        loop {
            let rows = self.storage.ending((after.0, after.1.as_ref()), high, ROWS_MAX)?;
            let Some((time, last)) = rows.last().cloned() else { break };
            keys.extend(rows.into_iter().map(|(_, key)| key));
            after = (time, Some(last));
        }
        Ok(keys.into_iter().collect())
    }

    /// Looks at some of what has ended, and forgets what everybody knows to be over.
    pub(super) fn collect(&mut self, now: Millis) -> Result<(), S::Error> {
        if !self.is_serving() || now < self.sweep.lease_until {
            return Ok(());
        }
        if self.sweep.position.is_none() && now < self.sweep.next_pass {
            return Ok(());
        }
        let time = self.time(now);
        let Some(horizon) = self.members.horizon(&self.durable, time) else { return Ok(()) };
        let until = Millis(horizon.time.0.saturating_sub(self.config.grace_ms));
        let after = self.sweep.position.as_ref().map_or((Millis(0), None), |(time, key)| (*time, Some(key)));
        let rows = self.storage.ending(after, until, ROWS_MAX)?;
        self.sweep.position = rows.last().cloned();
        if rows.len() < ROWS_MAX {
            self.sweep.position = None;
            self.sweep.next_pass = now.plus(PASS_EVERY_MS);
        }
        let mut merged = Merged::default();
        let mut collected = self.collected.clone();
        let mut keys: Vec<FactKey> = rows.into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            merged.changes.extend(self.collectable(key, until, &horizon.applied, &mut collected)?);
        }
        if merged.changes.is_empty() {
            return Ok(());
        }
        self.counts.collected += merged.changes.len() as u64;
        self.forget(now, merged, collected)
    }

    fn collectable(
        &self,
        key: FactKey,
        until: Millis,
        applied: &VersionVector,
        collected: &mut VersionVector,
    ) -> Result<Option<Change>, S::Error> {
        let Some(state) = self.storage.state(&key)? else { return Ok(None) };
        let is_over = self.rules.strategy(key.namespace()).is_over(&state, until)
            && state.cells().iter().filter_map(crate::Cell::ends_at).max().is_some_and(|end| end <= until);
        if !is_over || !applied.covers_all(state.context()) {
            return Ok(None);
        }
        collected.join(state.context());
        Ok(Some(Change::new(key, Some(state.into()), None)))
    }

    /// Forgets keys, or a part of their contexts, and remembers up to where such are missing. Nobody is told: nothing shows
    /// otherwise than before.
    pub(super) fn forget(&mut self, now: Millis, merged: Merged, collected: VersionVector) -> Result<(), S::Error> {
        let metadata = vec![(record::COLLECTED.to_owned(), Some(record::encode(&collected)))];
        self.apply(now, merged, metadata, None)?;
        self.collected = collected;
        Ok(())
    }
}
