//! Fetching everything from one member: what a joining replica does, and one that missed collected deletions.
//!
//! It asks for all keys in order, in parts. A part says what the member has between two keys, and so also what it has
//! not. Whatever the member had applied when it began, and does not have in a part, is gone; what it had not applied
//! stays, so that writes that never got to anyone are not lost. Those to keys that the member has nothing of are
//! written anew: what was deleted there meanwhile is forgotten, and they have to come after it.
//! Other messages are left aside meanwhile: what they bring is pulled afterwards.

use std::{collections::HashSet, sync::Arc};

use crate::{
    causality::{Dot, NodeId, VersionVector},
    clock::{Hlc, Millis},
    key::{FactKey, Pattern},
    message::{Entry, Fetch, Message, Part},
    replica::{
        Effect, Replica,
        merge::Merged,
        pull::{by_commit, size_of},
        quarantine::with_anew,
        record,
    },
    state::{Body, Cell, State},
    storage::{Change, Storage},
};

/// Nothing is collected for so long after a part was served, in milliseconds: parts of one fetch have to fit.
const LEASE_MS: u64 = 10_000;

#[derive(Debug)]
pub(super) enum Standing {
    Serving,
    Fetching(Option<Session>),
}

#[derive(Debug)]
pub(super) struct Session {
    number: u64,
    from: NodeId,
    asked_at: Millis,
    after: Option<FactKey>,
    /// That came so far.
    keys: u64,
    /// What the member had applied and collected when it began.
    start: Option<(VersionVector, VersionVector)>,
}

impl Standing {
    pub(super) fn joining() -> Standing {
        Standing::Fetching(None)
    }
}

impl<S: Storage> Replica<S> {
    /// While everything is being fetched: from which member, and how many keys came; `None` while it looks for one.
    #[must_use]
    pub fn fetching(&self) -> Option<Option<(&NodeId, u64)>> {
        match &self.standing {
            Standing::Serving => None,
            Standing::Fetching(session) => Some(session.as_ref().map(|session| (&session.from, session.keys))),
        }
    }

    /// Asks again, or another member, when no answer came.
    pub(super) fn continue_fetching(&mut self, now: Millis) {
        let patience = self.config.patience_ms;
        if let Standing::Fetching(Some(session)) = &self.standing
            && (now < session.asked_at || now >= session.asked_at.plus(patience))
        {
            // The next status of a member that serves begins anew.
            self.standing = Standing::Fetching(None);
        }
    }

    pub(super) fn continue_fetching_from(&mut self, now: Millis, from: &NodeId) {
        if !matches!(self.standing, Standing::Fetching(None)) {
            return;
        }
        let number = self.clock.tick(now, Hlc::default()).as_u64();
        let session = Session { number, from: from.clone(), asked_at: now, after: None, keys: 0, start: None };
        self.standing = Standing::Fetching(Some(session));
        self.counts.fetches += 1;
        let fetch = Message::Fetch(Fetch { session: number, after: None });
        self.outbox.at_once(Effect::Send { to: from.clone(), message: fetch });
    }

    pub(super) fn serve_fetch(&mut self, now: Millis, to: &NodeId, fetch: &Fetch) -> Result<(), S::Error> {
        self.sweep.lease_until = now.plus(LEASE_MS);
        let limits = &self.config.limits;
        let keys = self.storage.keys(&Pattern::Every, fetch.after.as_ref(), limits.page_keys + 1)?;
        let (mut entries, mut bytes, mut looked) = (Vec::new(), 0, 0);
        for key in &keys {
            if looked >= limits.page_keys || bytes >= limits.page_bytes {
                break;
            }
            looked += 1;
            let Some(state) = self.storage.state(key)? else { continue };
            bytes += size_of(key, &state);
            entries.push(Entry { key: key.clone(), state: state.as_ref().clone() });
        }
        let is_last = looked == keys.len();
        let part = Part {
            session: fetch.session,
            after: fetch.after.clone(),
            through: looked.checked_sub(1).filter(|_| !is_last).and_then(|at| keys.get(at)).cloned(),
            entries,
            applied: self.progress.applied().clone(),
            collected: self.collected.clone(),
        };
        self.outbox.after_commits(Effect::Send { to: to.clone(), message: Message::Part(part) });
        Ok(())
    }

    pub(super) fn take_part(&mut self, now: Millis, from: &NodeId, part: Part) -> Result<(), S::Error> {
        let Standing::Fetching(Some(session)) = &self.standing else { return Ok(()) };
        if session.number != part.session || session.from != *from || session.after != part.after {
            return Ok(());
        }
        let (floor, collected) = session.start.clone().unwrap_or((part.applied, part.collected.clone()));
        if collected != part.collected {
            // Parts from before and after a collection do not make one picture.
            self.standing = Standing::Fetching(None);
            self.continue_fetching_from(now, from);
            return Ok(());
        }
        let keys = part.entries.len() as u64;
        if !self.take_keys(now, from, part.after, part.through.as_ref(), part.entries, &floor)? {
            // Without room to hold what is ahead it would be lost: later, then.
            self.standing = Standing::Fetching(None);
            return Ok(());
        }
        match part.through {
            Some(through) => self.ask_on(now, through, keys, (floor, collected)),
            None => self.finish_fetching(&floor, &collected)?,
        }
        Ok(())
    }

    fn ask_on(&mut self, now: Millis, through: FactKey, keys: u64, start: (VersionVector, VersionVector)) {
        let Standing::Fetching(Some(session)) = &mut self.standing else { return };
        session.keys += keys;
        session.after = Some(through);
        session.start = Some(start);
        session.asked_at = now;
        let fetch = Message::Fetch(Fetch { session: session.number, after: session.after.clone() });
        let to = session.from.clone();
        self.outbox.at_once(Effect::Send { to, message: fetch });
    }

    /// Makes what is between two keys what the member has there, and what the member does not know. `false`: nothing
    /// was done, as there is no room for what has to be held.
    fn take_keys(
        &mut self,
        now: Millis,
        from: &NodeId,
        after: Option<FactKey>,
        through: Option<&FactKey>,
        entries: Vec<Entry>,
        floor: &VersionVector,
    ) -> Result<bool, S::Error> {
        let theirs: HashSet<FactKey> = entries.iter().map(|entry| entry.key.clone()).collect();
        let (ahead, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| self.is_ahead(now, std::slice::from_ref(entry)));
        if !self.has_room(ahead.len()) {
            return Ok(false);
        }
        let held = self.to_hold(from, by_commit(ahead));
        self.observe(now, &entries);
        self.counts.remote_entries += entries.len() as u64;
        let merged = self.merge(now, entries, Some(floor))?;
        self.apply(now, merged, self.records_with(&held), None)?;
        self.note_held(held);
        let mut after = after;
        loop {
            let own = self.storage.keys(&Pattern::Every, after.as_ref(), self.config.limits.page_keys)?;
            let Some(last) = own.last().cloned() else { return Ok(true) };
            let inside = |key: &&FactKey| through.is_none_or(|through| *key <= through);
            let absent = own.iter().filter(inside).filter(|key| !theirs.contains(*key));
            let mut merged = Merged::default();
            let mut unknown = Vec::new();
            for key in absent {
                merged.changes.extend(self.without_known(now, key, floor)?.map(|(_, change)| change));
                unknown.push(key.clone());
            }
            self.apply(now, merged, Vec::new(), None)?;
            self.write_anew(now, unknown, floor)?;
            if through.is_some_and(|through| last >= *through) {
                return Ok(true);
            }
            after = Some(last);
        }
    }

    /// Of these keys, gives this node's values and shares that the member had not applied new numbers and a new time.
    fn write_anew(&mut self, now: Millis, keys: Vec<FactKey>, floor: &VersionVector) -> Result<(), S::Error> {
        let node = self.config.node.clone();
        let time = self.time(now);
        let is_own = |cell: &Cell| {
            // A share that has ended must not be added to one that has not.
            let stands = match cell.body {
                Body::Value(_) => true,
                Body::Count { .. } => !cell.is_over(time),
                Body::Tombstone => false,
            };
            cell.dot.origin.node == node && stands && !floor.covers(&cell.dot)
        };
        let hlc = self.clock.tick(now, Hlc::default());
        let mut merged = Merged::default();
        for key in keys {
            let Some(before) = self.storage.state(&key)? else { continue };
            if before.cells().iter().any(is_own) {
                let dot = Dot { origin: self.origin.clone(), seq: self.seq + 1 + merged.changes.len() as u64 };
                let others = before.retaining(|cell| !is_own(cell));
                let (after, lost) = with_anew(&others, before.cells().iter().filter(|cell| is_own(cell)), &dot, hlc);
                merged.lost.extend(lost.into_iter().map(|cell| (key.clone(), cell)));
                merged.changes.push(Change::new(key, Some(before.into()), Some(after.into())));
            }
        }
        if merged.changes.is_empty() {
            return Ok(());
        }
        self.commit_numbered(now, hlc, merged, Vec::new()).map(drop)
    }

    /// What becomes of a key that somebody has nothing of who applied all up to `floor`, and what it had; `None` if
    /// nothing changes.
    pub(super) fn without_known(
        &self,
        now: Millis,
        key: &FactKey,
        floor: &VersionVector,
    ) -> Result<Option<(Arc<State>, Change)>, S::Error> {
        let Some(before) = self.storage.state(key)? else { return Ok(None) };
        let remaining: State = before.retaining(|cell| !floor.covers(&cell.dot));
        if remaining.cells().len() == before.cells().len() {
            return Ok(None);
        }
        // What stood behind a deletion does not come forward because the deletion is forgotten.
        let (strategy, time) = (self.rules.strategy(key.namespace()), self.time(now));
        let is_revived = strategy.is_over(&before, time) && !strategy.is_over(&remaining, time);
        let after = (!remaining.cells().is_empty() && !is_revived).then(|| remaining.into());
        let change = Change::new(key.clone(), Some(Arc::clone(&before).into()), after);
        Ok(Some((before, change)))
    }

    fn finish_fetching(&mut self, floor: &VersionVector, collected: &VersionVector) -> Result<(), S::Error> {
        for (origin, seq) in floor.iter() {
            self.progress.note(origin, 1, seq);
        }
        self.collected.join(collected);
        let metadata = vec![
            self.progress_record(),
            (record::COLLECTED.to_owned(), Some(record::encode(&self.collected))),
            (record::FETCHING.to_owned(), None),
        ];
        let commit = crate::Commit { metadata, ..crate::Commit::default() };
        self.storage.commit(&commit)?;
        self.outbox.count_commit();
        self.standing = Standing::Serving;
        Ok(())
    }
}
