use std::sync::Arc;

use crate::{
    causality::{Dot, VersionVector},
    clock::{Hlc, Millis},
    head::Head,
    state::{Body, Cell, Part, State},
    strategy::{NotASet, Strategy, set},
};

/// What a local write is stamped with.
#[derive(Debug, Clone)]
pub struct Stamp {
    pub dot: Dot,
    /// Greater than that of the state written to.
    pub hlc: Hlc,
    /// This node's clock.
    pub now: Millis,
    pub expires_at: Option<Millis>,
}

/// Why a write does not fit its namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the value is not JSON")]
    NotJson,
    #[error(transparent)]
    NotASet(#[from] NotASet),
    #[error("this namespace counts: change the number with `incr`")]
    IsCounter,
    #[error("this namespace does not count: `incr` is for namespaces with the strategy `counter`")]
    IsNoCounter,
    #[error("the number would leave the range of 64-bit integers")]
    CountOverflow,
    #[error("what the key has decides on what it becomes, and was not read")]
    NeedsState,
}

impl Strategy {
    /// Whether a value, and a deletion, stand for all that the key had: what that was need not be known then.
    #[must_use]
    pub fn replaces_all(&self) -> bool {
        matches!(self, Strategy::Lww | Strategy::DenyWins | Strategy::MultiValue)
    }

    /// As [`put`](Strategy::put), over a plain state of which the head is known.
    ///
    /// # Errors
    /// [`WriteError`]. [`WriteError::NeedsState`] of a strategy that does not [replace all](Strategy::replaces_all).
    pub fn put_over(&self, head: &Head, json: Arc<str>, stamp: &Stamp) -> Result<State, WriteError> {
        if !self.replaces_all() {
            return Err(WriteError::NeedsState);
        }
        Ok(over(head, Body::Value(json), stamp))
    }

    /// As [`delete`](Strategy::delete), over a plain state of which the head is known.
    #[must_use]
    pub fn delete_over(&self, head: &Head, stamp: &Stamp) -> State {
        over(head, Body::Tombstone, stamp)
    }

    /// The state after a put of JSON text: it replaces all that `state` has, and of a set the elements that changed.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn put(&self, state: &State, json: Arc<str>, stamp: &Stamp) -> Result<State, WriteError> {
        let created_at = self.created_at(state, stamp);
        let cell = |part, json| stamp.cell(part, Body::Value(json), created_at);
        let cells = match self {
            Strategy::Lww | Strategy::DenyWins | Strategy::MultiValue => vec![cell(Part::Whole, json)],
            Strategy::Counter => return Err(WriteError::IsCounter),
            Strategy::OrSet { path, id } => {
                let (rest, elements) = set::take_apart(&json, path, id.as_deref())?;
                let mut cells = vec![cell(Part::Whole, rest)];
                for (id, json) in elements {
                    let (part, body) = (Part::Element(id), Body::Value(json));
                    let unchanged =
                        |old: &&Cell| old.part == part && old.body == body && old.expires_at == stamp.expires_at;
                    match state.cells().iter().find(unchanged) {
                        Some(old) => cells.push(old.clone()),
                        None => cells.push(stamp.cell(part, body, created_at)),
                    }
                }
                cells
            }
        };
        Ok(State::new(state.context().clone(), cells).with(&stamp.dot))
    }

    /// The state after a deletion of all that `state` has; of what is not there too, so that older writes stay away.
    #[must_use]
    pub fn delete(&self, state: &State, stamp: &Stamp) -> State {
        let tombstone = stamp.cell(Part::Whole, Body::Tombstone, self.created_at(state, stamp));
        State::new(state.context().clone(), vec![tombstone])
    }

    /// The state after a change of the origin's share of a number. An expiry given now holds for the share.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn add(&self, state: &State, by: i64, stamp: &Stamp) -> Result<State, WriteError> {
        if *self != Strategy::Counter {
            return Err(WriteError::IsNoCounter);
        }
        let is_own = |cell: &&Cell| cell.dot.origin == stamp.dot.origin && !cell.is_over(stamp.now);
        let own = state.cells().iter().find_map(|cell| match cell.body {
            Body::Count { added, taken } if is_own(&cell) => Some((added, taken, cell.expires_at)),
            _ => None,
        });
        let (added, taken, expires_at) = own.unwrap_or_default();
        let (more, less) = if by < 0 { (0, by.unsigned_abs()) } else { (by.unsigned_abs(), 0) };
        let within = |total: u64| i64::try_from(total).is_ok().then_some(total).ok_or(WriteError::CountOverflow);
        let sum = |total: u64, change| total.checked_add(change).ok_or(WriteError::CountOverflow).and_then(within);
        let body = Body::Count { added: sum(added, more)?, taken: sum(taken, less)? };
        let mut cell = stamp.cell(Part::Whole, body, self.created_at(state, stamp));
        cell.expires_at = stamp.expires_at.max(expires_at);
        // Of its own earlier cells, and of deletions it saw, nothing is left; the others' shares stay.
        let others = state.cells().iter().filter(|old| {
            old.dot.origin != stamp.dot.origin && matches!(old.body, Body::Count { .. }) && !old.is_over(stamp.now)
        });
        let cells = others.cloned().chain([cell]).collect();
        Ok(State::new(state.context().clone(), cells))
    }

    fn created_at(&self, state: &State, stamp: &Stamp) -> Millis {
        self.shown_since(state, stamp.now).unwrap_or(stamp.now)
    }
}

/// One cell that has seen and replaces the one there.
fn over(head: &Head, body: Body, stamp: &Stamp) -> State {
    let created_at = if head.is_over(stamp.now) { stamp.now } else { head.created_at };
    let context = VersionVector::from_iter([(head.dot.origin.clone(), head.dot.seq)]);
    State::new(context, vec![stamp.cell(Part::Whole, body, created_at)])
}

impl Stamp {
    fn cell(&self, part: Part, body: Body, created_at: Millis) -> Cell {
        Cell { dot: self.dot.clone(), part, hlc: self.hlc, created_at, expires_at: self.expires_at, body }
    }
}
