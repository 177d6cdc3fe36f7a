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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;
    use crate::{
        causality::{Dot, NodeId, Origin},
        clock::{Hlc, Millis},
        store::encoding::read_state,
        strategy::{Stamp, Strategy as Conflicts},
    };

    fn state(length: usize) -> State {
        let origin = Origin { node: NodeId::new("a").unwrap(), incarnation: 7 };
        let dot = Dot { origin, seq: 1 };
        let stamp = Stamp { dot, hlc: Hlc::at(Millis(9)), now: Millis(9), expires_at: None };
        Conflicts::Lww.put(&State::default(), format!("\"{}\"", "v".repeat(length)).into(), &stamp).unwrap()
    }

    fn key(number: usize) -> FactKey {
        FactKey::new(&format!("a.{number}")).unwrap()
    }

    /// Packs states of such lengths, none for a note, and looks that each is where it was said to be.
    fn packed(lengths: &[Option<usize>]) -> Vec<Packed> {
        let (records, mut nonces) = (Records { keyring: None }, Nonces::new());
        let mut packer = Packer::new(&records, &mut nonces, 5);
        let locations: Vec<Option<Location>> = (0..)
            .zip(lengths)
            .map(|(number, length)| match length {
                Some(length) => Some(packer.put(&key(number), &state(*length)).unwrap()),
                None => packer.forget(&key(number)).map(|()| None).unwrap(),
            })
            .collect();
        let (packed, next) = packer.finish().unwrap();
        assert_eq!(next, 5 + packed.len() as u64);
        let mut found = Vec::new();
        for (block, number) in packed.iter().zip(5..) {
            assert_eq!(block.number, number);
            let payload = records.open_block(&row_of(number), &block.record).unwrap();
            assert_eq!(payload.len(), block.block.bytes as usize);
            let facts = facts(number, &payload).unwrap();
            assert!(facts.len() == 1 || (payload.len() <= BLOCK_BYTES && facts.len() <= usize::from(FACTS_MAX)));
            for fact in facts {
                let live = fact.state.map(|state| read_state(state).unwrap());
                assert_eq!(block.block.is_live(fact.location), live.is_some());
                let key = FactKey::new(fact.key).unwrap();
                assert_eq!(state_at(&payload, fact.location, &key), fact.state);
                assert_eq!(state_at(&payload, fact.location, &FactKey::new("a.other").unwrap()), None);
                found.push((key, fact.state.map(|_| fact.location), live));
            }
        }
        let expected = (0..).zip(lengths).zip(locations);
        assert!(found.into_iter().eq(expected.map(|((number, length), at)| (key(number), at, length.map(state)))));
        packed
    }

    #[test]
    fn facts_come_in_order_into_as_few_blocks_as_hold_them() {
        assert!(packed(&[]).is_empty());
        assert_eq!(packed(&[Some(10)]).len(), 1);
        assert_eq!(packed(&[None]).len(), 1);
        assert_eq!(packed(&[Some(1_000); 9]).len(), 3);
        assert_eq!(packed(&[Some(10), Some(100_000), Some(10), None]).len(), 3, "a large one has a block of its own");
        assert_eq!(packed(&[None; 130]).len(), 3, "no more than there are places");
    }

    proptest! {
        #[test]
        fn any_facts_are_found_where_they_were_put(
            lengths in prop::collection::vec(prop::option::of(prop_oneof![0..60_usize, 0..6_000_usize]), 0..200)
        ) {
            packed(&lengths);
        }

        #[test]
        fn other_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<u16>()) {
            let _ = facts(1, &bytes);
            let _ = state_at(&bytes, Location { at, ..Location::default() }, &key(1));
        }
    }
}
