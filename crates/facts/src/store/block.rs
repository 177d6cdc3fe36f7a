//! What is in a block: several facts, one after the other, each bound to its block by the one record that they are in.
//!
//! ```text
//! fact   key text, state; each with its length before it. No state: the key is forgotten
//! ```

use crate::{
    key::FactKey,
    seal::Nonces,
    state::State,
    store::{
        StoreError,
        blocks::Block,
        encoding::{Bytes, write_bytes, write_state},
        record::{Check, Records},
    },
};

/// A block has no more, unless it has one fact only. Larger ones cost less to write; a fact that is read is opened with
/// its block.
pub(super) const BLOCK_BYTES: usize = 4 << 10;

/// The number of a block. None comes twice, and what is written later has a greater one.
pub(super) type Number = u64;

/// Facts and notes that a block may have.
pub(super) const FACTS_MAX: u8 = 64;

/// Where a fact is: its block, from which byte of it on with how many, and the how manieth it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Location {
    pub(super) block: Number,
    pub(super) bytes: u32,
    pub(super) at: u16,
    pub(super) place: u8,
}

pub(super) fn row_of(block: Number) -> [u8; 8] {
    block.to_be_bytes()
}

pub(super) fn number_of(row: &[u8]) -> Option<Number> {
    Some(u64::from_be_bytes(row.try_into().ok()?))
}

/// One fact of a block as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fact<'a> {
    pub(super) location: Location,
    pub(super) key: &'a str,
    /// `None`: the key is forgotten.
    pub(super) state: Option<&'a [u8]>,
    /// Key and state.
    pub(super) whole: &'a [u8],
}

/// The facts of a block, in order. `None`: it is none.
pub(super) fn facts(block: Number, payload: &[u8]) -> Option<Vec<Fact<'_>>> {
    let (mut rest, mut facts) = (Bytes(payload), Vec::with_capacity(8));
    while !rest.is_empty() {
        let begin = payload.get(payload.len().checked_sub(rest.0.len())?..)?;
        let (key, state) = (rest.text()?, rest.bytes()?);
        let whole = begin.get(..begin.len().checked_sub(rest.0.len())?)?;
        let at = u16::try_from(payload.len().checked_sub(begin.len())?).ok()?;
        let place = u8::try_from(facts.len()).ok().filter(|place| *place < FACTS_MAX)?;
        let location = Location { block, bytes: u32::try_from(whole.len()).ok()?, at, place };
        facts.push(Fact { location, key, state: (!state.is_empty()).then_some(state), whole });
    }
    Some(facts)
}

/// The state at a place of a block, if it is that key's.
pub(super) fn state_at<'a>(payload: &'a [u8], location: Location, key: &FactKey) -> Option<&'a [u8]> {
    let mut rest = Bytes(payload.get(usize::from(location.at)..)?);
    rest.text().filter(|name| *name == key.as_str())?;
    rest.bytes().filter(|state| !state.is_empty())
}

/// A block that is to be written.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) number: Number,
    pub(super) record: Vec<u8>,
    pub(super) block: Block,
}

/// Packs facts in the order they come into as few blocks as hold them.
pub(super) struct Packer<'a> {
    records: &'a Records,
    nonces: &'a mut Nonces,
    /// Of the block that is being packed.
    number: Number,
    /// Its record, without a fact when there is none yet.
    record: Vec<u8>,
    block: Block,
    count: u8,
    state: Vec<u8>,
    packed: Vec<Packed>,
}

impl<'a> Packer<'a> {
    pub(super) fn new(records: &'a Records, nonces: &'a mut Nonces, number: Number) -> Packer<'a> {
        let (record, state, packed) = (records.begun(), Vec::with_capacity(512), Vec::new());
        Packer { records, nonces, number, record, block: Block::default(), count: 0, state, packed }
    }

    /// Of the block that comes next.
    pub(super) fn number(&self) -> Number {
        self.number
    }

    pub(super) fn put(&mut self, key: &FactKey, state: &State) -> Result<Location, StoreError> {
        self.state.clear();
        write_state(&mut self.state, state);
        let begin = self.record.len();
        write_bytes(&mut self.record, key.as_str().as_bytes());
        write_bytes(&mut self.record, &self.state);
        self.added(begin, true)
    }

    /// A note that the key is forgotten.
    pub(super) fn forget(&mut self, key: &FactKey) -> Result<(), StoreError> {
        let begin = self.record.len();
        write_bytes(&mut self.record, key.as_str().as_bytes());
        write_bytes(&mut self.record, b"");
        self.added(begin, false).map(|_| ())
    }

    /// A fact of another block, as it is there.
    pub(super) fn carry(&mut self, whole: &[u8]) -> Result<Location, StoreError> {
        let begin = self.record.len();
        self.record.extend_from_slice(whole);
        self.added(begin, true)
    }

    /// What the record has from `begin` on is one more: of the next block, if it is too much for this one.
    fn added(&mut self, begin: usize, is_live: bool) -> Result<Location, StoreError> {
        let head = self.records.head_bytes();
        let mut at = begin.saturating_sub(head);
        let bytes = self.record.len().saturating_sub(begin);
        if at > 0 && (at + bytes > BLOCK_BYTES || self.count == FACTS_MAX) {
            let last = self.record.split_off(begin);
            self.close()?;
            self.record.extend_from_slice(&last);
            at = 0;
        }
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        let location =
            Location { block: self.number, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), at, place: self.count };
        if is_live {
            self.block.enter(location);
        }
        self.count += 1;
        Ok(location)
    }

    /// What comes next is of another block than what came last.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        let bytes = self.record.len().saturating_sub(self.records.head_bytes());
        if self.count == 0 {
            return Ok(());
        }
        let mut record = std::mem::replace(&mut self.record, self.records.begun());
        self.records.seal_block(self.number, &mut record, self.nonces)?;
        let block = Block {
            check: Check::of(&record),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..std::mem::take(&mut self.block)
        };
        self.count = 0;
        self.packed.push(Packed { number: self.number, record, block });
        self.number = self.number.saturating_add(1);
        Ok(())
    }

    /// All blocks, and the number of the next.
    pub(super) fn finish(mut self) -> Result<(Vec<Packed>, Number), StoreError> {
        self.close()?;
        Ok((self.packed, self.number))
    }
}
