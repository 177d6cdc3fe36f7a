//! Subscriptions that miss nothing: a cursor says what a subscriber has seen, wherever it saw it, and catching up from
//! it ends at an event after which the live ones go on.
//!
//! Catching up gives the newest durable state of each key that changed, not every change. So a subscriber that is too
//! slow for the live events may be let fall back to catching up, without loss.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    causality::{Origin, VersionVector},
    clock::Millis,
    key::{FactKey, Pattern},
    replica::{CommitNumber, Event, EventNumber, Replica, ReplicaError, merge::kind_of},
    state::State,
    storage::Storage,
};

/// Rows read at a time of what came beyond gaps.
const ROWS_MAX: usize = 512;

/// What a subscriber has seen. Good at every node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The effects of all these writes.
    pub applied: VersionVector,
    /// All ends up to here.
    pub swept: Millis,
}

impl Cursor {
    /// What somebody has seen who has seen both, on whatever nodes.
    pub fn join(&mut self, other: &Cursor) {
        self.applied.join(&other.applied);
        // Of what only the other had seen, no later end was told.
        self.swept = self.swept.min(other.swept);
    }

    /// What a subscriber has seen after an event of the node it is at.
    pub fn advance(&mut self, told: &Cursor) {
        // The node tells no ends of what only the subscriber has seen, elsewhere; and its clock may be the slower one.
        let knows_all = told.applied.covers_all(&self.applied);
        self.swept = if knows_all { told.swept } else { told.swept.min(self.swept) };
        self.applied.join(&told.applied);
    }
}

/// A subscriber that is catching up.
#[derive(Debug, Clone)]
pub struct CatchUp {
    pattern: Pattern,
    cursor: Cursor,
    /// How far the existing keys have been given; `None` when they have.
    existing: Option<Option<FactKey>>,
    /// How far each origin's writes have been given.
    given: BTreeMap<Origin, u64>,
    /// How far the ends were given.
    ended: Option<(Millis, Option<FactKey>)>,
}

/// Some of what a subscriber has to be told.
#[derive(Debug)]
pub enum Caught {
    /// More follows.
    Some(Vec<Event>),
    /// That was all: the live events after this number follow.
    All { events: Vec<Event>, after: EventNumber, cursor: Cursor },
    /// This node has not applied all that the subscriber has seen elsewhere: what it shows would be older. To be asked
    /// again later; if it goes on for long, what the subscriber has seen was lost with a disk, and it has to begin anew.
    Wait,
    /// Deletions that the subscriber has not seen are no longer remembered: it has to forget what it has and begin with
    /// the existing keys.
    Reset,
}

impl CatchUp {
    /// From the beginning: existing keys first.
    #[must_use]
    pub fn existing(pattern: Pattern) -> CatchUp {
        let existing = Some(None);
        CatchUp { pattern, cursor: Cursor::default(), existing, given: BTreeMap::new(), ended: None }
    }

    /// From where the subscriber was.
    #[must_use]
    pub fn since(pattern: Pattern, cursor: Cursor) -> CatchUp {
        CatchUp { pattern, cursor, existing: None, given: BTreeMap::new(), ended: None }
    }
}

impl<S: Storage> Replica<S> {
    /// What a subscriber has seen who has seen everything here.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { applied: self.progress.applied().clone(), swept: self.sweep.swept }
    }

    /// The next of what a subscriber has to be told, about `limit` events of it. What is not durable yet is made so:
    /// the effects that waited for it are to be asked for before the next live event is passed on.
    ///
    /// # Errors
    /// Of the storage.
    pub fn catch_up(
        &mut self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
    ) -> Result<Caught, ReplicaError<S::Error>> {
        if !self.outbox.is_all_persisted() {
            self.persist()?;
        }
        self.catch_up_ahead(now, catching, limit).map(|(caught, _)| caught)
    }

    /// The same without waiting for the disk: what it gives may be told only once the commit is durable, and live events
    /// only after it.
    ///
    /// # Errors
    /// Of the storage; [`ReplicaError::Poisoned`].
    pub fn catch_up_ahead(
        &mut self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
    ) -> Result<(Caught, CommitNumber), ReplicaError<S::Error>> {
        self.check_poison()?;
        let commit = self.last_commit();
        self.give_next(now, catching, limit).map(|caught| (caught, commit))
    }

    fn give_next(
        &mut self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
    ) -> Result<Caught, ReplicaError<S::Error>> {
        let mut events = Vec::new();
        // Another node's clock may be ahead: what ends by this one's is to be told here.
        catching.cursor.swept = catching.cursor.swept.min(self.sweep.swept);
        if catching.existing.is_some() {
            if self.give_existing(now, catching, limit, &mut events)? {
                return Ok(Caught::Some(events));
            }
        } else if !catching.cursor.applied.covers_all(&self.collected) {
            return Ok(Caught::Reset);
        } else if !self.progress.applied().covers_all(&catching.cursor.applied) {
            return Ok(Caught::Wait);
        }
        if self.give_written(now, catching, limit, &mut events)?
            || self.give_ended(now, catching, limit, &mut events)?
        {
            return Ok(Caught::Some(events));
        }
        Ok(Caught::All { events, after: self.outbox.last_event(), cursor: catching.cursor.clone() })
    }

    /// Whether there are more.
    fn give_existing(
        &self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Result<bool, S::Error> {
        let Some(after) = catching.existing.take() else { return Ok(false) };
        if after.is_none() {
            // What changes from now on is given after the keys.
            catching.cursor = self.cursor();
        }
        let keys = self.storage.keys(&catching.pattern, after.as_ref(), limit)?;
        let next = keys.last().filter(|_| keys.len() == limit).cloned();
        for key in keys {
            let Some(state) = self.storage.state(&key)? else { continue };
            if !self.rules.strategy(key.namespace()).is_over(&state, self.time(now)) {
                // To go on from here would miss the keys to come: there is no cursor before the last.
                events.push(self.event(now, key, state, &Arc::new(Cursor::default())));
            }
        }
        catching.existing = next.map(Some);
        Ok(catching.existing.is_some())
    }

    /// Whether there are more.
    fn give_written(
        &self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Result<bool, S::Error> {
        let origins = self.progress.origins();
        for origin in &origins {
            let applied = self.progress.applied().get(origin);
            let after =
                catching.given.get(origin).copied().unwrap_or_default().max(catching.cursor.applied.get(origin));
            let mut rows = self.storage.written(origin, after, limit)?;
            let is_all = rows.len() < limit || rows.last().is_some_and(|(seq, _)| *seq > applied);
            rows.retain(|(seq, _)| *seq <= applied);
            let given = rows.last().map_or(after, |(seq, _)| *seq);
            self.give(now, catching, rows, events)?;
            catching.given.insert(origin.clone(), given);
            if !is_all {
                return Ok(true);
            }
            // Not before: a key that was written twice is given by its later number.
            catching.cursor.applied.advance(origin, applied);
            set_last(events, &catching.cursor);
        }
        // What came beyond a gap no cursor covers. It is given at once, as the gap may close before the next call.
        for origin in &origins {
            let mut after = self.progress.applied().get(origin).max(catching.cursor.applied.get(origin));
            loop {
                let rows = self.storage.written(origin, after, ROWS_MAX)?;
                let Some((last, _)) = rows.last() else { break };
                after = *last;
                self.give(now, catching, rows, events)?;
            }
        }
        Ok(false)
    }

    fn give(
        &self,
        now: Millis,
        catching: &CatchUp,
        rows: Vec<(u64, FactKey)>,
        events: &mut Vec<Event>,
    ) -> Result<(), S::Error> {
        let cursor = Arc::new(catching.cursor.clone());
        for (_, key) in rows.into_iter().filter(|(_, key)| catching.pattern.matches(key)) {
            if let Some(state) = self.storage.state(&key)? {
                events.push(self.event(now, key, state, &cursor));
            }
        }
        Ok(())
    }

    /// Whether there are more.
    fn give_ended(
        &self,
        now: Millis,
        catching: &mut CatchUp,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Result<bool, S::Error> {
        let (time, key) = catching.ended.take().unwrap_or((catching.cursor.swept, None));
        let rows = self.storage.ending((time, key.as_ref()), self.sweep.swept, limit)?;
        let next = rows.last().filter(|_| rows.len() == limit).cloned();
        let cursor = Arc::new(catching.cursor.clone());
        for (_, key) in rows.into_iter().filter(|(_, key)| catching.pattern.matches(key)) {
            if let Some(state) = self.storage.state(&key)? {
                events.push(self.event(now, key, state, &cursor));
            }
        }
        catching.ended = next.map(|(time, key)| (time, Some(key)));
        if catching.ended.is_none() {
            catching.cursor.advance(&self.cursor());
        }
        Ok(catching.ended.is_some())
    }

    fn event(&self, now: Millis, key: FactKey, state: Arc<State>, cursor: &Arc<Cursor>) -> Event {
        let kind = kind_of(self.rules.strategy(key.namespace()), Some(&state), self.time(now));
        let number = self.outbox.last_event();
        Event { kind, key, state: Some(state), number, cursor: Arc::clone(cursor) }
    }
}

/// Who was given the last event has seen all up to the cursor.
fn set_last(events: &mut [Event], cursor: &Cursor) {
    if let Some(event) = events.last_mut() {
        event.cursor = Arc::new(cursor.clone());
    }
}
