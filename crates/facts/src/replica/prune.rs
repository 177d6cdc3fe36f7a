//! Taking origins that write no more out of the causal contexts of keys.
//!
//! A key's context has every origin that ever wrote it, and a node begins a new origin with each unclean start: contexts
//! would grow for ever. What an origin that is no more wrote to a key may be left out of its context when no cell of it is
//! left there and every member has applied all that the context covers: then no member has such a cell either. All that the
//! context covered is then [collected](Replica::collected), as when a deletion is no longer remembered: so a late message
//! that brings an old cell is known, and a node that was away and lacks what replaced it has to fetch everything.

use std::cmp::Ordering;

use crate::{
    causality::{Origin, VersionVector},
    clock::Millis,
    head::Before,
    key::FactKey,
    replica::{Replica, merge::Merged},
    storage::{Change, Storage},
};

/// Keys looked at in one go.
const KEYS_MAX: usize = 256;
/// Milliseconds between two passes over all that ended origins wrote.
const PASS_EVERY_MS: u64 = 60_000;

/// Where the pass over all that ended origins wrote is.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    /// The origin, and after which of its numbers.
    position: Option<(Origin, u64)>,
    next_pass: Millis,
}

impl<S: Storage> Replica<S> {
    /// Whether nothing new comes from it: its node goes on under another name, or is no member.
    fn has_ended(&self, origin: &Origin) -> bool {
        if origin.node == self.config.node {
            return *origin != self.origin;
        }
        match self.members.contains(&origin.node) {
            true => self.members.latest(&origin.node).is_some_and(|status| status.origin != *origin),
            false => true,
        }
    }

    /// Prunes the contexts of some keys.
    pub(super) fn prune(&mut self, now: Millis) -> Result<(), S::Error> {
        let is_between = self.pruning.position.is_none() && now < self.pruning.next_pass;
        if is_between || !self.is_serving() || now < self.sweep.lease_until {
            return Ok(());
        }
        let ended = self.progress.origins().into_iter().filter(|origin| self.has_ended(origin));
        let next = match &self.pruning.position {
            Some((origin, after)) => ended.into_iter().find_map(|other| match other.cmp(origin) {
                Ordering::Less => None,
                // Past its last number comes the next origin.
                Ordering::Equal => (*after < u64::MAX).then_some((other, *after)),
                Ordering::Greater => Some((other, 0)),
            }),
            None => ended.into_iter().next().map(|first| (first, 0)),
        };
        let Some((origin, after)) = next else {
            self.pruning = Pruning { position: None, next_pass: now.plus(PASS_EVERY_MS) };
            return Ok(());
        };
        let rows = self.storage.written(&origin, after, KEYS_MAX)?;
        let reached = if rows.len() < KEYS_MAX { u64::MAX } else { rows.last().map_or(u64::MAX, |(seq, _)| *seq) };
        self.pruning.position = Some((origin, reached));
        self.prune_keys(now, rows.into_iter().map(|(_, key)| key).collect())
    }

    fn prune_keys(&mut self, now: Millis, mut keys: Vec<FactKey>) -> Result<(), S::Error> {
        let time = self.time(now);
        let Some(horizon) = self.members.horizon(&self.durable, time) else { return Ok(()) };
        keys.sort_unstable();
        keys.dedup();
        let (mut merged, mut collected) = (Merged::default(), self.collected.clone());
        for key in keys {
            if let Some((change, seen)) = self.pruned(key, &horizon.applied)? {
                merged.changes.push(change);
                collected.join(&seen);
            }
        }
        if merged.changes.is_empty() {
            return Ok(());
        }
        self.counts.pruned += merged.changes.len() as u64;
        self.forget(now, merged, collected)
    }

    /// The key with a smaller context, and what that was.
    fn pruned(&self, key: FactKey, applied: &VersionVector) -> Result<Option<(Change, VersionVector)>, S::Error> {
        // What is held back has yet to meet all that the context covers. A head's context has its one cell's origin.
        let Some(Before::State(state)) = self.storage.before(&key)?.filter(|_| !self.quarantine.has(&key)) else {
            return Ok(None);
        };
        if !applied.covers_all(state.context()) {
            return Ok(None);
        }
        let is_left_out =
            |origin: &Origin| self.has_ended(origin) && !state.cells().iter().any(|cell| cell.dot.origin == *origin);
        let seen = state.context().clone();
        let kept = seen.iter().filter(|(origin, _)| !is_left_out(origin));
        let context: VersionVector = kept.map(|(origin, seq)| (origin.clone(), seq)).collect();
        if context.len() == seen.len() {
            return Ok(None);
        }
        let after = state.with_context(context);
        Ok(Some((Change::new(key, Some(Before::State(state)), Some(after.into())), seen)))
    }
}
