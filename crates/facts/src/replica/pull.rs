//! Gaps: asking for what others have applied and this replica has not seen, and answering that.

use crate::{
    causality::{NodeId, Origin},
    clock::Millis,
    key::FactKey,
    message::{Entry, Message, Page, Pull},
    replica::{Effect, Replica, merge::Numbers},
    state::{Body, State},
    storage::Storage,
};

/// What is being asked of a member.
#[derive(Debug)]
pub(super) struct Pulling {
    /// When to ask again.
    pub until: Millis,
    /// Of which origin, after which number, and up to where it came.
    range: Option<(Origin, u64, u64)>,
}

impl Pulling {
    /// A question other than for a page.
    pub(super) fn other(until: Millis) -> Pulling {
        Pulling { until, range: None }
    }
}

impl<S: Storage> Replica<S> {
    /// Whether an answer is awaited from a member.
    pub(super) fn is_pulling(&self, now: Millis, from: &NodeId) -> bool {
        let asked_within =
            |pulling: &Pulling| now < pulling.until && pulling.until <= now.plus(self.config.patience_ms);
        self.pulls.get(from).is_some_and(asked_within)
    }

    /// Asks a member to go on, or for the first thing that it has applied and this replica has not seen; one at a time.
    pub(super) fn pull_from(&mut self, now: Millis, from: &NodeId) {
        if self.is_pulling(now, from) {
            return;
        }
        let seen = self.progress.seen();
        let Some(status) = self.members.latest(from) else { return };
        let lacks = |origin: &Origin| status.applied.get(origin) > seen.get(origin);
        let begun = self.pulls.remove(from).and_then(|pulling| pulling.range).filter(|(origin, ..)| lacks(origin));
        let first = || {
            let origin = status.applied.iter().map(|(origin, _)| origin).find(|origin| lacks(origin))?;
            Some((origin.clone(), seen.get(origin), seen.get(origin)))
        };
        let Some((origin, after, position)) = begun.or_else(first) else { return };
        let pull = Pull { seen: seen.clone(), origin: origin.clone(), after, position };
        let until = now.plus(self.config.patience_ms);
        self.pulls.insert(from.clone(), Pulling { until, range: Some((origin, after, position)) });
        self.counts.pulls += 1;
        self.outbox.at_once(Effect::Send { to: from.clone(), message: Message::Pull(pull) });
    }

    pub(super) fn serve_pull(&mut self, to: &NodeId, pull: &Pull) -> Result<(), S::Error> {
        if !pull.seen.covers_all(&self.collected) {
            // What was deleted is not in the page, and the one who asks may still have it.
            let message = Message::Behind { collected: self.collected.clone() };
            self.outbox.at_once(Effect::Send { to: to.clone(), message });
            return Ok(());
        }
        let applied = self.progress.applied().get(&pull.origin);
        if applied <= pull.after {
            return Ok(());
        }
        let (entries, more) = self.page(&pull.origin, pull.position)?;
        self.counts.pages += 1;
        let page = Page {
            origin: pull.origin.clone(),
            after: pull.after,
            position: pull.position,
            last: more.unwrap_or(pull.position),
            through: more.is_none().then_some(applied),
            entries,
        };
        self.outbox.after_commits(Effect::Send { to: to.clone(), message: Message::Page(page) });
        Ok(())
    }

    /// States of what an origin wrote, in order; the last number if there is more.
    fn page(&self, origin: &Origin, after: u64) -> Result<(Vec<Entry>, Option<u64>), S::Error> {
        let limits = &self.config.limits;
        let rows_max = limits.page_keys + limits.batch_keys;
        let rows = self.storage.written(origin, after, rows_max + 1)?;
        let (mut entries, mut bytes, mut last) = (Vec::<Entry>::new(), 0, after);
        for (seq, key) in &rows {
            let Some(state) = self.storage.state(key)? else { continue };
            let is_full = entries.len() >= limits.page_keys || bytes >= limits.page_bytes;
            let previous = entries.last().map(|entry| &entry.state);
            let is_torn = previous.is_some_and(|previous| is_one_commit(origin, (last, previous), (*seq, &state)));
            if entries.len() >= rows_max || (is_full && !is_torn) {
                return Ok((entries, Some(last)));
            }
            bytes += size_of(key, &state);
            entries.push(Entry { key: key.clone(), state: state.as_ref().clone() });
            last = *seq;
        }
        Ok((entries, (rows.len() > rows_max).then_some(last)))
    }

    pub(super) fn take_page(&mut self, now: Millis, from: &NodeId, page: Page) -> Result<(), S::Error> {
        let Page { origin, after, position, last, through, entries } = page;
        let (ahead, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| self.is_ahead(now, std::slice::from_ref(entry)));
        let ahead = by_commit(ahead);
        let has_room = self.has_room(ahead.len());
        let held = if has_room { self.to_hold(from, ahead) } else { Vec::new() };
        self.observe(now, &entries);
        self.counts.remote_entries += entries.len() as u64;
        let merged = self.merge(now, entries, None)?;
        let expected = Some((origin.clone(), after, position));
        let is_next = self.pulls.get(from).is_some_and(|pulling| pulling.range == expected);
        // A page that is not the next one completes nothing; what there is no room to hold is asked for again.
        let completed = through.filter(|_| is_next && has_room);
        let numbers =
            completed.map(|through| Numbers { origin: &origin, first: after.saturating_add(1), last: through });
        self.apply(now, merged, self.records_with(&held), numbers)?;
        self.note_held(held);
        if !is_next || !has_room {
            return Ok(());
        }
        let range = through.is_none().then_some((origin, after, last));
        self.pulls.insert(from.clone(), Pulling { until: now, range });
        self.pull_from(now, from);
        Ok(())
    }
}

/// Whether two writes that follow each other may be of one commit, which a page must not tear: what is left of them has
/// one time, or nothing is left that would tell.
fn is_one_commit(origin: &Origin, (last, previous): (u64, &State), (seq, next): (u64, &State)) -> bool {
    let time_of = |seq: u64, state: &State| {
        state.cells().iter().find(|cell| cell.dot.seq == seq && cell.dot.origin == *origin).map(|cell| cell.hlc)
    };
    let times = (time_of(last, previous), time_of(seq, next));
    seq <= last.saturating_add(1) && !matches!(times, (Some(a), Some(b)) if a != b)
}

/// Neighbours of one time together, as they are of one commit.
pub(super) fn by_commit(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let of_one = |a: &Entry, b: &Entry| a.state.hlc() == b.state.hlc();
    entries.chunk_by(of_one).map(<[Entry]>::to_vec).collect()
}

/// About how many bytes it takes.
pub(crate) fn size_of(key: &FactKey, state: &State) -> usize {
    let cell_bytes = state.cells().iter().map(|cell| match &cell.body {
        Body::Value(json) => json.len() + 128,
        Body::Count { .. } | Body::Tombstone => 128,
    });
    key.as_str().len() + 64 * state.context().len() + cell_bytes.sum::<usize>()
}
