//! Joining what came with what is there, and committing it.

use std::sync::Arc;

use crate::{
    causality::{Dot, Origin, VersionVector},
    clock::Millis,
    head::{Before, Head},
    key::FactKey,
    message::Entry,
    replica::{Alarm, CommitNumber, Effect, Event, EventKind, Replica, record},
    state::{Body, Cell, Part, State},
    storage::{Change, Commit, Storage},
    strategy::Strategy,
};

/// What entries make of what is there; nothing has happened yet.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub changes: Vec<Change>,
    /// See [`Commit::is_distinct`].
    pub is_distinct: bool,
    pub lost: Vec<(FactKey, Cell)>,
    pub reused: Vec<(FactKey, Dot)>,
}

/// An event in the making.
pub(super) type Told = (EventKind, FactKey, Option<Arc<State>>);

/// The numbers of an origin that a commit completes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub origin: &'a Origin,
    pub first: u64,
    pub last: u64,
}

impl<S: Storage> Replica<S> {
    /// Joins entries of different keys with what is there. Under a `floor`, what is there of writes up to it and the
    /// entry no longer has is gone.
    pub(super) fn merge(
        &self,
        now: Millis,
        entries: Vec<Entry>,
        floor: Option<&VersionVector>,
    ) -> Result<Merged, S::Error> {
        let mut merged = Merged::default();
        for Entry { key, state } in entries {
            let before = match self.storage.before(&key)? {
                Some(Before::Head(head)) if floor.is_none() && self.replaces(&key, &head, &state) => {
                    merged.changes.push(Change::new(key, Some(Before::Head(head)), Some(Arc::new(state))));
                    continue;
                }
                Some(Before::Head(_)) => self.storage.state(&key)?,
                Some(Before::State(state)) => Some(state),
                None => None,
            };
            let Some(incoming) = self.without_collected(&key, state, before.as_deref(), now) else { continue };
            let (after, reused) = match (&before, floor) {
                (None, _) => (incoming, Vec::new()),
                (Some(own), None) => own.join(&incoming),
                (Some(own), Some(floor)) => {
                    own.retaining(|cell| !floor.covers(&cell.dot) || incoming.has_place_of(cell)).join(&incoming)
                }
            };
            merged.reused.extend(reused.into_iter().map(|reused| (key.clone(), reused.0)));
            if before.as_deref() == Some(&after) {
                continue;
            }
            let strategy = self.rules.strategy(key.namespace());
            let lost = losers(strategy, before.as_deref(), &after);
            merged.lost.extend(lost.into_iter().map(|cell| (key.clone(), cell)));
            let after = (!after.cells().is_empty()).then(|| Arc::new(after));
            merged.changes.push(Change::new(key, before.map(Before::State), after));
        }
        Ok(merged)
    }

    /// Whether joining the incoming state with what is there leaves the incoming: it has seen the one write that is there
    /// and replaced it. So it is with all that one node writes after the other, and the value there need not be read.
    fn replaces(&self, key: &FactKey, head: &Head, incoming: &State) -> bool {
        let [cell] = incoming.cells() else { return false };
        cell.dot != head.dot
            && incoming.context().covers(&head.dot)
            && !(self.collected.covers(&cell.dot) || self.quarantine.has(key))
    }

    /// What remains of a state when cells are left out that were applied here and are no longer remembered: they were
    /// replaced, and a late message must not bring them back. What has ended stays beside something new, as it may be
    /// what ends that. `None` if nothing remains that is new.
    fn without_collected(&self, key: &FactKey, incoming: State, own: Option<&State>, now: Millis) -> Option<State> {
        if self.collected.is_empty() {
            return Some(incoming);
        }
        // What is held came, but its key does not show it yet.
        let is_held_back = self.quarantine.has(key);
        let applied = self.progress.applied();
        let is_known = |cell: &Cell| self.collected.covers(&cell.dot) && (!is_held_back || applied.covers(&cell.dot));
        if !incoming.cells().iter().any(is_known) {
            return Some(incoming);
        }
        let (time, has_news) = (self.time(now), incoming.cells().iter().any(|cell| !is_known(cell)));
        let ends_news = |cell: &Cell| has_news && cell.is_over(time);
        let is_held = |cell: &Cell| own.is_some_and(|own| own.has_place_of(cell));
        let remaining = incoming.retaining(|cell| !is_known(cell) || is_held(cell) || ends_news(cell));
        (own.is_some() || has_news).then_some(remaining)
    }

    /// Commits, notes what numbers are complete by it, and tells subscribers once it is durable.
    pub(super) fn apply(
        &mut self,
        now: Millis,
        merged: Merged,
        metadata: Vec<record::Record>,
        numbers: Option<Numbers<'_>>,
    ) -> Result<CommitNumber, S::Error> {
        let Merged { changes, is_distinct, lost, reused } = merged;
        let mut number = CommitNumber(self.outbox.commits());
        let commit = Commit { changes, is_distinct, lost, metadata };
        if !commit.changes.is_empty() || !commit.metadata.is_empty() {
            self.storage.commit(&commit)?;
            number = self.outbox.count_commit();
        }
        let Commit { changes, lost, .. } = commit;
        if let Some(Numbers { origin, first, last }) = numbers
            && !self.progress.has(origin, first, last)
        {
            self.progress.note(origin, first, last);
            // Of its own writes the commit itself tells how far they are.
            self.progress_moved |= *origin != self.origin;
            self.changed_at = now;
        }
        for change in &changes {
            let strategy = self.rules.strategy(change.key.namespace());
            self.digest.change(change, strategy);
            if let Some(after) = change.after() {
                self.progress.hear(after.context().iter());
            }
        }
        self.tell(now, changes, lost);
        for (key, dot) in reused {
            self.counts.reused_dots += 1;
            self.outbox.at_once(Effect::Alarm(Alarm::ReusedDot { key, dot }));
        }
        Ok(number)
    }

    fn tell(&mut self, now: Millis, changes: Vec<Change>, lost: Vec<(FactKey, Cell)>) {
        self.counts.conflicts += if changes.is_empty() { 0 } else { lost.len() as u64 };
        if changes.is_empty() || !self.is_heard {
            return;
        }
        let time = self.time(now);
        let mut told = Vec::with_capacity(changes.len());
        for (key, cell) in lost {
            let state = changes.iter().find(|change| change.key == key).and_then(|change| change.after().cloned());
            let kind = EventKind::Conflict { lost: cell };
            told.push((kind, key, state));
        }
        for (key, before, after) in changes.into_iter().map(Change::into_parts) {
            let strategy = self.rules.strategy(key.namespace());
            let is_news = match (&before, &after) {
                (Some(before), Some(after)) => !before.has_cells_of(after),
                // What is forgotten because it is over was told when it ended.
                (Some(before), None) => !before.is_over(strategy, self.sweep.swept),
                (None, _) => true,
            };
            if is_news {
                let kind = kind_of(strategy, after.as_deref(), time);
                told.push((kind, key, after));
            }
        }
        self.tell_together(told);
    }

    /// Tells of what happened at once. Only who was told the last of it has seen all, so only that has the new cursor.
    pub(super) fn tell_together(&mut self, told: Vec<Told>) {
        if !self.is_heard {
            return;
        }
        let mut told = told.into_iter().peekable();
        while let Some((kind, key, state)) = told.next() {
            if told.peek().is_none() {
                self.told = Arc::new(self.cursor());
            }
            let number = self.outbox.count_event();
            let event = Event { kind, key, state, number, cursor: Arc::clone(&self.told) };
            self.outbox.after_commits(Effect::Event(event));
        }
    }
}

/// What a subscriber is told of a key in this state.
pub(super) fn kind_of(strategy: &Strategy, state: Option<&State>, time: Millis) -> EventKind {
    let Some(state) = state else { return EventKind::Delete };
    if !strategy.is_over(state, time) {
        return EventKind::Update;
    }
    let is_deleted = state.cells().iter().any(|cell| cell.body == Body::Tombstone);
    if is_deleted { EventKind::Delete } else { EventKind::Expire }
}

/// Cells that stand behind another since these writes met.
fn losers(strategy: &Strategy, before: Option<&State>, after: &State) -> Vec<Cell> {
    if after.cells().len() < 2 {
        return Vec::new();
    }
    let Some(winner) = strategy.winner(after) else { return Vec::new() };
    let won_before = before.and_then(|before| strategy.winner(before));
    let is_new = |cell: &Cell| {
        before.is_none_or(|before| !before.has_place_of(cell))
            || won_before.is_some_and(|won| won.place() == cell.place())
    };
    let behind = after.cells().iter().filter(|cell| cell.part == Part::Whole && cell.place() != winner.place());
    behind.filter(|cell| is_new(cell)).cloned().collect()
}
