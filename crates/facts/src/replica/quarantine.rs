//! Writes whose time is far ahead of this node's clock. One wrong clock must neither drag the others along nor make its
//! writes stand above all later ones; and no write may be lost. So they wait until the clock reaches them, or until a
//! person has them written anew.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    causality::{Dot, NodeId, Origin},
    clock::{Hlc, Millis},
    key::FactKey,
    message::Entry,
    replica::{
        Alarm, Effect, Refused, Replica, Written,
        merge::{Merged, Numbers},
        record::{self, LoadError},
    },
    state::{Body, Cell, State},
    storage::{Change, Storage},
    strategy::WriteError,
};

/// What is held together, as it came together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    from: NodeId,
    entries: Vec<Entry>,
    /// How far applied may go meanwhile.
    caps: Vec<(Origin, u64)>,
}

impl Held {
    fn hlc(&self) -> Hlc {
        self.entries.iter().map(|entry| entry.state.hlc()).max().unwrap_or_default()
    }
}

/// Something held, as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFact {
    /// What it is called in [`Replica::restamp`].
    pub number: u64,
    pub from: NodeId,
    /// What came, and was not applied.
    pub entries: Vec<Entry>,
    /// When it is applied.
    pub hlc: Hlc,
}

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    held: Vec<(u64, Held)>,
    last: u64,
    /// Of all that is held.
    keys: HashSet<FactKey>,
}

impl Quarantine {
    pub(super) fn load<S: Storage>(storage: &S) -> Result<Quarantine, LoadError<S::Error>> {
        let numbers: Vec<u64> = record::load(storage, record::HELD)?.unwrap_or_default();
        let mut quarantine = Quarantine::default();
        for number in numbers {
            if let Some(held) = record::load(storage, &record::held(number))? {
                quarantine.held.push((number, held));
            }
            quarantine.last = quarantine.last.max(number);
        }
        quarantine.index();
        Ok(quarantine)
    }

    pub(super) fn caps(&self) -> Vec<(Origin, u64)> {
        self.held.iter().flat_map(|(_, held)| held.caps.clone()).collect()
    }

    pub(super) fn has(&self, key: &FactKey) -> bool {
        self.keys.contains(key)
    }

    /// All that is held of a key, so that what replaced a held write goes with it.
    fn joined(&self, key: &FactKey) -> State {
        let entries = self.held.iter().flat_map(|(_, held)| &held.entries).filter(|entry| entry.key == *key);
        entries.fold(State::default(), |all, entry| all.join(&entry.state).0)
    }

    fn index(&mut self) {
        let entries = self.held.iter().flat_map(|(_, held)| &held.entries);
        self.keys = entries.map(|entry| entry.key.clone()).collect();
    }

    fn numbers(&self) -> Vec<u64> {
        self.held.iter().map(|(number, _)| *number).collect()
    }
}

impl<S: Storage> Replica<S> {
    /// What waits for the clock.
    pub fn held(&self) -> impl Iterator<Item = HeldFact> + '_ {
        self.quarantine.held.iter().map(|(number, held)| HeldFact {
            number: *number,
            from: held.from.clone(),
            entries: held.entries.clone(),
            hlc: held.hlc(),
        })
    }

    /// Keeps entries for later, and counts their numbers as seen but not as applied. Without room they stay unseen, to
    /// be asked for again.
    pub(super) fn hold(
        &mut self,
        now: Millis,
        from: &NodeId,
        entries: Vec<Entry>,
        numbers: Option<Numbers<'_>>,
    ) -> Result<(), S::Error> {
        let held = self.to_hold(from, vec![entries]);
        if held.is_empty() && !self.has_room(1) {
            return Ok(());
        }
        self.apply(now, Merged::default(), self.records_with(&held), numbers)?;
        self.note_held(held);
        Ok(())
    }

    pub(super) fn has_room(&self, groups: usize) -> bool {
        self.quarantine.held.len() + groups <= self.config.limits.held
    }

    /// Those of the groups to keep that are new, as far as there is room.
    pub(super) fn to_hold(&self, from: &NodeId, groups: Vec<Vec<Entry>>) -> Vec<Held> {
        let applied = self.progress.applied();
        let mut held = Vec::new();
        for entries in groups {
            let writes = entries.iter().flat_map(|entry| entry.state.context().iter());
            let missing = writes.filter(|(origin, seq)| applied.get(origin) < *seq);
            let caps: Vec<_> = missing.map(|(origin, _)| (origin.clone(), applied.get(origin))).collect();
            let is_held = self.quarantine.held.iter().any(|(_, other)| other.entries == entries);
            if !caps.is_empty() && !is_held && self.has_room(held.len() + 1) {
                held.push(Held { from: from.clone(), entries, caps });
            }
        }
        held
    }

    /// To be committed before [`note_held`](Replica::note_held).
    pub(super) fn records_with(&self, held: &[Held]) -> Vec<record::Record> {
        if held.is_empty() {
            return Vec::new();
        }
        let new = (self.quarantine.last + 1..).zip(held);
        let mut records: Vec<_> =
            new.map(|(number, held)| (record::held(number), Some(record::encode(held)))).collect();
        let mut numbers = self.quarantine.numbers();
        numbers.extend((self.quarantine.last + 1..).take(held.len()));
        records.push((record::HELD.to_owned(), Some(record::encode(&numbers))));
        records
    }

    pub(super) fn note_held(&mut self, held: Vec<Held>) {
        if held.is_empty() {
            return;
        }
        for held in held {
            for entry in &held.entries {
                let alarm = Alarm::Held { from: held.from.clone(), key: entry.key.clone() };
                self.outbox.at_once(Effect::Alarm(alarm));
            }
            self.counts.held += held.entries.len() as u64;
            self.quarantine.last += 1;
            self.quarantine.held.push((self.quarantine.last, held));
        }
        self.quarantine.index();
        self.progress.cap(self.quarantine.caps());
    }

    /// Applies what the clock has reached.
    pub(super) fn release_held(&mut self, now: Millis) -> Result<(), S::Error> {
        for number in self.quarantine.numbers() {
            let Some((_, held)) = self.quarantine.held.iter().find(|(other, _)| *other == number) else { continue };
            if self.is_ahead(now, &held.entries) {
                continue;
            }
            let entries = held.entries.clone();
            self.observe(now, &entries);
            self.counts.released += entries.len() as u64;
            let merged = self.merge(now, entries, None)?;
            let metadata = self.records_without(number);
            self.apply(now, merged, metadata, None)?;
            self.forget_held(number);
        }
        Ok(())
    }

    /// Writes something held anew, as of now and in this node's name, so that it shows without waiting. Nodes where it
    /// already shows with its own time see the version go back.
    ///
    /// # Errors
    /// [`Refused`], for an unknown number as [`Refused::TooMany`]. Counters are not written anew: their shares belong
    /// to the nodes that counted.
    pub fn restamp(&mut self, now: Millis, number: u64) -> Result<Written, Refused<S::Error>> {
        if self.outbox.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        if !self.is_serving() {
            return Err(Refused::Incomplete);
        }
        let Some((_, held)) = self.quarantine.held.iter().find(|(other, _)| *other == number).cloned() else {
            return Err(Refused::TooMany { keys: 0, max: 0 });
        };
        let may_write = |entry: &&Entry| self.rules.may_write(&self.config.node, entry.key.namespace());
        if let Some(foreign) = held.entries.iter().find(|entry| !may_write(entry)) {
            return Err(Refused::Namespace(foreign.key.clone()));
        }
        let latest = now.plus(self.config.ahead_max_ms);
        let hlc = self.clock.tick(now, Hlc::default());
        let mut merged = Merged::default();
        for (seq, Entry { key, .. }) in (self.seq + 1..).zip(held.entries) {
            let state = self.quarantine.joined(&key);
            let before = self.storage.state(&key).map_err(Refused::Storage)?;
            let dot = Dot { origin: self.origin.clone(), seq };
            let (after, lost) = restamped(before.as_deref(), &state, &dot, hlc, latest)
                .map_err(|error| Refused::Write { key: key.clone(), error })?;
            merged.lost.extend(lost.into_iter().map(|cell| (key.clone(), cell)));
            merged.changes.push(Change::new(key, before.map(Into::into), Some(after.into())));
        }
        let records = self.records_without(number);
        let written = self.commit_numbered(now, hlc, merged, records).map_err(Refused::Storage)?;
        self.forget_held(number);
        Ok(written)
    }

    fn records_without(&self, number: u64) -> Vec<record::Record> {
        let mut numbers = self.quarantine.numbers();
        numbers.retain(|other| *other != number);
        vec![(record::held(number), None), (record::HELD.to_owned(), Some(record::encode(&numbers)))]
    }

    fn forget_held(&mut self, number: u64) {
        self.quarantine.held.retain(|(other, _)| *other != number);
        self.quarantine.index();
        self.progress.cap(self.quarantine.caps());
        self.progress_moved = true;
    }
}

/// What is there and what is held as one, with the cells that are ahead as if written now by `dot`; and those that
/// stand behind.
fn restamped(
    own: Option<&State>,
    held: &State,
    dot: &Dot,
    hlc: Hlc,
    latest: Millis,
) -> Result<(State, Vec<Cell>), WriteError> {
    let is_ahead = |cell: &Cell| cell.hlc.millis() > latest;
    if held.cells().iter().filter(|cell| is_ahead(cell)).any(|cell| matches!(cell.body, Body::Count { .. })) {
        return Err(WriteError::IsCounter);
    }
    let (base, _) = own.cloned().unwrap_or_default().join(&held.retaining(|cell| !is_ahead(cell)));
    Ok(with_anew(&base, held.cells().iter().filter(|cell| is_ahead(cell)), dot, hlc))
}

/// The state with these cells as if written by `dot`. As they get one number, shares of a counter become one, and of
/// several values of one part it is the latest; the others are returned.
pub(super) fn with_anew<'a>(
    base: &State,
    cells: impl Iterator<Item = &'a Cell>,
    dot: &Dot,
    hlc: Hlc,
) -> (State, Vec<Cell>) {
    let mut cells: Vec<&Cell> = cells.collect();
    cells.sort_by(|a, b| a.part.cmp(&b.part).then_with(|| b.succession(a)));
    let (mut anew, mut lost) = (base.cells().to_vec(), Vec::new());
    for cell in cells {
        let Some(last) = anew.last_mut().filter(|last| last.dot == *dot && last.part == cell.part) else {
            anew.push(Cell { dot: dot.clone(), hlc, ..cell.clone() });
            continue;
        };
        if !add_share(last, cell) {
            lost.push(cell.clone());
        }
    }
    (State::new(base.context().clone(), anew).with(dot), lost)
}

/// Adds one share of a counter to another; it then ends with the later. `false`: they are no shares.
fn add_share(share: &mut Cell, other: &Cell) -> bool {
    let (Body::Count { added, taken }, Body::Count { added: more, taken: less }) = (&mut share.body, &other.body)
    else {
        return false;
    };
    *added = added.saturating_add(*more);
    *taken = taken.saturating_add(*less);
    share.expires_at = share.expires_at.zip(other.expires_at).map(|(a, b)| a.max(b));
    share.created_at = share.created_at.min(other.created_at);
    true
}
