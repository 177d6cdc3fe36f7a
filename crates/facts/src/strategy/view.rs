use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value;

use crate::{
    clock::{Hlc, Millis},
    state::{Body, Cell, Part, State},
    strategy::{Strategy, set},
};

/// What a reader gets of a key that has a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Of a namespace that keeps several values, an array of them when there are several.
    pub value: Shown,
    /// Grows with every change of the key on a node.
    pub version: Hlc,
    pub created_at: Millis,
    pub expires_at: Option<Millis>,
    /// Whether values stand in it that did not know of each other.
    pub conflicted: bool,
}

/// `None`: nothing was written, or it was deleted or is over.
pub type View = Option<Found>;

/// A value as readers get it. It is JSON text without line ends, which most of them pass on unread.
#[derive(Debug, Clone)]
pub enum Shown {
    /// As it was written.
    Text(Arc<str>),
    /// Put together.
    Made(Value),
}

impl Shown {
    fn of(cell: &Cell) -> Option<Shown> {
        let Body::Value(json) = &cell.body else { return None };
        // Clients' values have none; what another program writes may.
        if json.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return serde_json::from_str(json).ok().map(Shown::Made);
        }
        Some(Shown::Text(Arc::clone(json)))
    }

    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Shown::Text(text) => Cow::Borrowed(text),
            Shown::Made(value) => Cow::Owned(value.to_string()),
        }
    }

    #[must_use]
    pub fn into_text(self) -> Arc<str> {
        match self {
            Shown::Text(text) => text,
            Shown::Made(value) => value.to_string().into(),
        }
    }

    /// Null for what is no JSON, which nothing is that was written through a replica.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Shown::Text(text) => serde_json::from_str(text).unwrap_or_default(),
            Shown::Made(value) => value.clone(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Shown) -> bool {
        match (self, other) {
            (Shown::Text(own), Shown::Text(other)) if own == other => true,
            _ => self.to_value() == other.to_value(),
        }
    }
}

impl PartialEq<Value> for Shown {
    fn eq(&self, other: &Value) -> bool {
        self.to_value() == *other
    }
}

impl Cell {
    /// Whether it counts as deleted.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        self.body == Body::Tombstone || self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl Strategy {
    /// Whether the key counts as deleted at `now`; it then does at every later time.
    #[must_use]
    pub fn is_over(&self, state: &State, now: Millis) -> bool {
        let latest_is_over =
            || state.cells().iter().max_by(|a, b| a.succession(b)).is_none_or(|cell| cell.is_over(now));
        match self {
            Strategy::Lww => latest_is_over(),
            Strategy::DenyWins => state.cells().iter().any(|cell| cell.body == Body::Tombstone) || latest_is_over(),
            Strategy::MultiValue | Strategy::OrSet { .. } | Strategy::Counter => {
                state.cells().iter().all(|cell| cell.is_over(now))
            }
        }
    }

    /// The cell that stands when one has to; `None` for strategies under which all do.
    #[must_use]
    pub(crate) fn winner<'a>(&self, state: &'a State) -> Option<&'a Cell> {
        let deletions = || state.cells().iter().filter(|cell| cell.body == Body::Tombstone);
        let latest = || state.cells().iter().max_by(|a, b| a.succession(b));
        match self {
            Strategy::Lww => latest(),
            Strategy::DenyWins => deletions().max_by(|a, b| a.succession(b)).or_else(latest),
            Strategy::MultiValue | Strategy::OrSet { .. } | Strategy::Counter => None,
        }
    }

    /// When what a reader sees at `now` came to be, as [`view`](Strategy::view) tells it.
    pub(crate) fn shown_since(&self, state: &State, now: Millis) -> Option<Millis> {
        match self {
            // Without building the value.
            Strategy::Lww | Strategy::DenyWins if self.is_over(state, now) => None,
            Strategy::Lww | Strategy::DenyWins => {
                state.cells().iter().max_by(|a, b| a.succession(b)).map(|cell| cell.created_at)
            }
            Strategy::MultiValue | Strategy::OrSet { .. } | Strategy::Counter => {
                self.view(state, now).map(|found| found.created_at)
            }
        }
    }

    /// What a reader sees at `now`.
    #[must_use]
    pub fn view(&self, state: &State, now: Millis) -> View {
        let holding = || state.cells().iter().filter(|cell| !cell.is_over(now));
        let (value, cells): (Shown, Vec<&Cell>) = match self {
            Strategy::Lww => latest(state, now)?,
            // A deletion was not replaced by anyone who saw it, so it stands.
            Strategy::DenyWins if state.cells().iter().any(|cell| cell.body == Body::Tombstone) => return None,
            Strategy::DenyWins => latest(state, now)?,
            Strategy::MultiValue => several(holding().collect())?,
            Strategy::OrSet { path, .. } => {
                let (wholes, elements): (Vec<_>, Vec<_>) = holding().partition(|cell| cell.part == Part::Whole);
                set_of(wholes, elements, path)?
            }
            Strategy::Counter => total(holding().collect())?,
        };
        Some(Found {
            value,
            version: state.hlc(),
            created_at: cells.iter().map(|cell| cell.created_at).min()?,
            // The value stays as long as any part of it does.
            expires_at: cells
                .iter()
                .map(|cell| cell.expires_at)
                .try_fold(Millis(0), |most, next| Some(most.max(next?))),
            conflicted: state.is_conflicted(now) && *self != Strategy::Counter,
        })
    }
}

/// The cell that succeeds all others; when that is over, the key is, as the older ones were replaced by it.
fn latest(state: &State, now: Millis) -> Option<(Shown, Vec<&Cell>)> {
    let cell = state.cells().iter().max_by(|a, b| a.succession(b)).filter(|cell| !cell.is_over(now))?;
    Some((Shown::of(cell)?, vec![cell]))
}

fn several(cells: Vec<&Cell>) -> Option<(Shown, Vec<&Cell>)> {
    let value = match cells.as_slice() {
        [] => return None,
        [one] => Shown::of(one)?,
        // By dot, so in the same order everywhere.
        many => Shown::Made(many.iter().filter_map(|cell| value_of(cell)).collect()),
    };
    Some((value, cells))
}

fn set_of<'a>(wholes: Vec<&'a Cell>, elements: Vec<&'a Cell>, path: &[String]) -> Option<(Shown, Vec<&'a Cell>)> {
    // Of two cells of one element, added without knowing of each other, the later counts.
    let mut chosen: Vec<&Cell> = Vec::with_capacity(elements.len());
    for cell in elements {
        match chosen.iter_mut().find(|other| other.part == cell.part) {
            Some(other) if other.succession(cell).is_lt() => *other = cell,
            Some(_) => {}
            None => chosen.push(cell),
        }
    }
    let whole = wholes.into_iter().max_by(|a, b| a.succession(b));
    if whole.is_none() && chosen.is_empty() {
        return None;
    }
    chosen.sort_by(|a, b| a.hlc.cmp(&b.hlc).then_with(|| a.part.cmp(&b.part)));
    let texts: Vec<&str> = chosen.iter().filter_map(|cell| json_of(cell)).collect();
    let value = Shown::Made(set::put_together(whole.and_then(json_of), path, &texts));
    Some((value, whole.into_iter().chain(chosen).collect()))
}

fn total(cells: Vec<&Cell>) -> Option<(Shown, Vec<&Cell>)> {
    let share = |cell: &&Cell| match cell.body {
        Body::Count { added, taken } => Some(i128::from(added) - i128::from(taken)),
        _ => None,
    };
    let sum: i128 = cells.iter().filter_map(share).sum();
    let bounded = i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
    (!cells.is_empty()).then(|| (Shown::Made(bounded.into()), cells))
}

fn json_of(cell: &Cell) -> Option<&str> {
    match &cell.body {
        Body::Value(json) => Some(json),
        Body::Count { .. } | Body::Tombstone => None,
    }
}

fn value_of(cell: &Cell) -> Option<Value> {
    serde_json::from_str(json_of(cell)?).ok()
}
