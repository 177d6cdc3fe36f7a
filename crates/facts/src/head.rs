//! What a write over a key has to know of it, without its value.
//!
//! Most keys have one value, which all later writes replace. So that such a write does not wait for a disk, a storage
//! keeps the heads of these keys at hand; the value behind one is read when somebody asks for it.

use std::sync::Arc;

use crate::{
    causality::{Dot, Origin},
    clock::{Hlc, Millis},
    key::FactKey,
    state::{Body, Cell, Part, State},
    strategy::Strategy,
};

/// All of a plain state but its value: one of one cell, whole, that has seen no other write than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub dot: Dot,
    pub hlc: Hlc,
    pub created_at: Millis,
    pub expires_at: Option<Millis>,
    /// Of a tombstone rather than of a value.
    pub is_deletion: bool,
    /// The state's [digest](State::digest) while it is not over.
    pub hash: [u8; 16],
}

impl Head {
    /// `None`: the state is not plain.
    #[must_use]
    pub fn of(key: &FactKey, state: &State) -> Option<Head> {
        let [cell] = state.cells() else { return None };
        let mut seen = state.context().iter();
        let is_plain = cell.part == Part::Whole
            && seen.next() == Some((&cell.dot.origin, cell.dot.seq))
            && seen.next().is_none()
            && matches!(cell.body, Body::Value(_) | Body::Tombstone);
        is_plain.then(|| Head {
            dot: cell.dot.clone(),
            hlc: cell.hlc,
            created_at: cell.created_at,
            expires_at: cell.expires_at,
            is_deletion: cell.body == Body::Tombstone,
            hash: cell.digest(key.as_str()),
        })
    }

    /// Whether the key counts as deleted at `now`, whatever the strategy: it has no other cell.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        self.is_deletion || self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    fn ends_at(&self) -> Option<Millis> {
        if self.is_deletion { Some(self.hlc.millis()) } else { self.expires_at }
    }
}

/// What a key had before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    State(Arc<State>),
    Head(Head),
}

impl From<Arc<State>> for Before {
    fn from(state: Arc<State>) -> Before {
        Before::State(state)
    }
}

impl Before {
    fn parts(&self) -> (Option<&State>, Option<&Head>) {
        match self {
            Before::State(state) => (Some(state), None),
            Before::Head(head) => (None, Some(head)),
        }
    }

    /// Of each origin the last of its writes that was seen.
    pub fn seen(&self) -> impl Iterator<Item = (&Origin, u64)> {
        let (state, head) = self.parts();
        let of_state = state.into_iter().flat_map(|state| state.context().iter());
        of_state.chain(head.map(|head| (&head.dot.origin, head.dot.seq)))
    }

    /// The last write of an origin that was seen; 0 for none.
    #[must_use]
    pub fn seen_of(&self, origin: &Origin) -> u64 {
        match self {
            Before::State(state) => state.context().get(origin),
            Before::Head(head) if head.dot.origin == *origin => head.dot.seq,
            Before::Head(_) => 0,
        }
    }

    /// As [`State::ends`].
    pub fn ends(&self) -> impl Iterator<Item = Millis> {
        let (state, head) = self.parts();
        state.into_iter().flat_map(State::ends).chain(head.and_then(Head::ends_at))
    }

    #[must_use]
    pub fn hlc(&self) -> Hlc {
        match self {
            Before::State(state) => state.hlc(),
            Before::Head(head) => head.hlc,
        }
    }

    /// As [`Strategy::is_over`].
    #[must_use]
    pub fn is_over(&self, strategy: &Strategy, now: Millis) -> bool {
        match self {
            Before::State(state) => strategy.is_over(state, now),
            Before::Head(head) => head.is_over(now),
        }
    }

    /// Whether `after` has the same cells. Two of one number are the same, as far as a head can tell.
    #[must_use]
    pub(crate) fn has_cells_of(&self, after: &State) -> bool {
        match (self, after.cells()) {
            (Before::State(state), cells) => state.cells() == cells,
            (Before::Head(head), [Cell { dot, part: Part::Whole, .. }]) => *dot == head.dot,
            (Before::Head(_), _) => false,
        }
    }
}
