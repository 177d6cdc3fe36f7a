//! What a node knows of one key, and how two such states become one.
//!
//! A state is a causal context and the cells that no write it has seen replaced. States form a join semilattice: joining
//! is commutative, associative and idempotent whatever the strategy, which only decides what a local write does to a
//! state ([`strategy`](crate::strategy)) and what a reader sees of it. So nodes that have seen the same writes have the
//! same state, and a state may be sent, repeated and reordered at will.
//!
//! This is the dotted version vector set of Almeida, Baquero, Gonçalves, Preguiça and Fonte (2014), with parts so that
//! the elements of a set and the shares of a counter are cells of their own.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    causality::{Dot, VersionVector},
    clock::{Hlc, Millis},
};

/// What a cell is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The whole value, or what is left of it beside its elements.
    Whole,
    /// The element of a set that has this id.
    Element(Arc<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Body {
    /// JSON text.
    Value(Arc<str>),
    /// An origin's share of a counter: what it added and what it took away.
    Count { added: u64, taken: u64 },
    /// A deletion.
    Tombstone,
}

/// What one write left of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    pub dot: Dot,
    pub part: Part,
    pub hlc: Hlc,
    /// When the key came to be, as the writer knew.
    pub created_at: Millis,
    /// From then on the cell counts as deleted.
    pub expires_at: Option<Millis>,
    pub body: Body,
}

impl Cell {
    /// Orders concurrent writes for those who need one winner: by time, a deletion before a value, then by what cannot
    /// be equal unless the cells are.
    pub(crate) fn succession(&self, other: &Cell) -> Ordering {
        let is_tombstone = |cell: &Cell| cell.body == Body::Tombstone;
        self.hlc
            .cmp(&other.hlc)
            .then_with(|| is_tombstone(self).cmp(&is_tombstone(other)))
            .then_with(|| self.dot.cmp(&other.dot))
            .then_with(|| self.cmp(other))
    }

    /// The [digest](State::digest) of a state that shows this cell alone.
    #[must_use]
    pub(crate) fn digest(&self, key: &str) -> [u8; 16] {
        digest(key, std::iter::once(self))
    }

    pub(crate) fn place(&self) -> (&Dot, &Part) {
        (&self.dot, &self.part)
    }

    /// From when on it counts as deleted: a deletion from the time it was made.
    #[must_use]
    pub fn ends_at(&self) -> Option<Millis> {
        match self.body {
            Body::Tombstone => Some(self.hlc.millis()),
            Body::Value(_) | Body::Count { .. } => self.expires_at,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    context: VersionVector,
    /// By dot and part; each once.
    cells: Vec<Cell>,
}

/// Two different writes under one number: a node's log lost its end unnoticed, or a node was copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write {0} has two contents: its node was copied, or lost the end of its log unnoticed")]
pub struct ReusedDot(pub Dot);

impl State {
    /// A state of cells that `context` covers. Later cells at the place of earlier ones are left out.
    #[must_use]
    pub fn new(mut context: VersionVector, mut cells: Vec<Cell>) -> State {
        cells.sort_by(|a, b| a.place().cmp(&b.place()));
        cells.dedup_by(|later, earlier| later.place() == earlier.place());
        cells.iter().for_each(|cell| context.advance(&cell.dot.origin, cell.dot.seq));
        State { context, cells }
    }

    /// The same, having seen the write too: it may have left no cell of its own.
    #[must_use]
    pub(crate) fn with(mut self, dot: &Dot) -> State {
        self.context.advance(&dot.origin, dot.seq);
        self
    }

    #[must_use]
    pub fn context(&self) -> &VersionVector {
        &self.context
    }

    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The greatest time of its cells.
    #[must_use]
    pub fn hlc(&self) -> Hlc {
        self.cells.iter().map(|cell| cell.hlc).max().unwrap_or_default()
    }

    /// Whether values stand in it that did not know of each other.
    #[must_use]
    pub fn is_conflicted(&self, now: Millis) -> bool {
        let mut wholes = self.cells.iter().filter(|cell| cell.part == Part::Whole && !cell.is_over(now));
        wholes.next().is_some() && wholes.next().is_some()
    }

    /// The least state that has seen what either has: a cell stays unless the other side has seen its write and no
    /// longer has the cell. Dots found to be used twice are told; of their cells the greater stays, on every node.
    pub fn join(&self, other: &State) -> (State, Vec<ReusedDot>) {
        let mut reused = Vec::new();
        let mut cells = Vec::with_capacity(self.cells.len().max(other.cells.len()));
        let (mut left, mut right) = (self.cells.iter().peekable(), other.cells.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.place().cmp(&b.place()),
            };
            match order {
                Ordering::Less => cells.extend(left.next().filter(|cell| !other.context.covers(&cell.dot)).cloned()),
                Ordering::Greater => cells.extend(right.next().filter(|cell| !self.context.covers(&cell.dot)).cloned()),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (left.next(), right.next()) {
                        if a != b {
                            reused.push(ReusedDot(a.dot.clone()));
                        }
                        cells.push(a.max(b).clone());
                    }
                }
            }
        }
        let mut context = self.context.clone();
        context.join(&other.context);
        (State { context, cells }, reused)
    }

    /// Bytes of its values' JSON texts.
    #[must_use]
    pub(crate) fn value_bytes(&self) -> usize {
        let json = |cell: &Cell| if let Body::Value(json) = &cell.body { json.len() } else { 0 };
        self.cells.iter().map(json).sum()
    }

    /// When its cells end, each time once: the rows it has in [`Storage::ending`](crate::Storage::ending).
    #[must_use]
    pub fn ends(&self) -> BTreeSet<Millis> {
        self.cells.iter().filter_map(Cell::ends_at).collect()
    }

    /// Whether it is one that writes can have left: cells in order, each once, all seen by the context. States made
    /// here are; what comes from elsewhere is to be asked.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let ordered = self.cells.iter().zip(self.cells.iter().skip(1)).all(|(a, b)| a.place() < b.place());
        let possible = |cell: &Cell| self.context.covers(&cell.dot) && cell.dot.seq > 0 && cell.hlc <= Hlc::MAX;
        ordered && !self.cells.is_empty() && self.cells.iter().all(possible)
    }

    /// Whether it has this very cell's place.
    #[must_use]
    pub(crate) fn has_place_of(&self, cell: &Cell) -> bool {
        self.cells.binary_search_by(|own| own.place().cmp(&cell.place())).is_ok()
    }

    /// The same with only some cells; it still has seen the writes of the others.
    #[must_use]
    pub(crate) fn retaining(&self, keep: impl Fn(&Cell) -> bool) -> State {
        State { context: self.context.clone(), cells: self.cells.iter().filter(|cell| keep(cell)).cloned().collect() }
    }

    /// The same cells, having seen what `context` covers, and their own writes.
    #[must_use]
    pub(crate) fn with_context(&self, context: VersionVector) -> State {
        State::new(context, self.cells.clone())
    }

    /// A hash of the cells that have not ended at `at`, equal on nodes where readers are to see the same. The context
    /// has no part in it, nor have cells that ended: nodes may differ in what they remember of writes that are gone.
    #[must_use]
    pub fn digest(&self, key: &str, at: Millis) -> [u8; 16] {
        let showing = self.cells.iter().filter(|cell| !cell.is_over(at));
        digest(key, showing)
    }
}

/// Every part whose length varies has its length before it, so that no two things have the same bytes. Nodes whose states
/// differ compare it, which authenticated each other: it has to tell apart what happens, and no more.
fn digest<'a>(key: &str, cells: impl Iterator<Item = &'a Cell>) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(512);
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    text(&mut bytes, key);
    for cell in cells {
        text(&mut bytes, cell.dot.origin.node.as_str());
        match &cell.part {
            Part::Whole => bytes.push(b'w'),
            Part::Element(id) => {
                bytes.push(b'e');
                text(&mut bytes, id);
            }
        }
        let expires_at = cell.expires_at.map_or(u64::MAX, |time| time.0);
        for number in [cell.dot.origin.incarnation, cell.dot.seq, cell.hlc.as_u64(), cell.created_at.0, expires_at] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        match &cell.body {
            Body::Value(json) => {
                bytes.push(b'v');
                text(&mut bytes, json);
            }
            Body::Count { added, taken } => {
                bytes.push(b'c');
                bytes.extend_from_slice(&added.to_le_bytes());
                bytes.extend_from_slice(&taken.to_le_bytes());
            }
            Body::Tombstone => bytes.push(b't'),
        }
    }
    xxh3_128(&bytes).to_le_bytes()
}
