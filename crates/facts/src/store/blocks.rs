//! The live facts as a log of blocks, and how much of each is live.
//!
//! Blocks are written one after the other, each once and under the next number; the tally has the number of the first.
//! What comes before it is no part of the store, whether or not the engine still has it. Of a key there may be several facts
//! in the log, as a newer one leaves older ones where they are. A key that is forgotten is noted as such.
//!
//! **Invariant.** Of all facts and notes of a key in the log, the last says what the key has: a fact, its state; a note,
//! nothing. If there is none, the key has nothing. So the log alone is the store: whatever is read of it from its end on
//! holds for a key that was not met before.
//!
//! After any commit it is so because each commit is written as one or not at all, and
//!
//! 1. adds blocks at the end, in which the last of each key is what the key comes to have. Before what it changes itself
//!    it may move live facts there as they are;
//! 2. moves the beginning past blocks without live facts, and past nothing else. The last fact of a key is live, or
//!    before a note; so what goes was the last of no key, but for notes, of which nothing older is left when they go.
//!
//! What is not live goes when the beginning passes it. If there is too much of it, commits move what is live in the first
//! blocks to the end ([`cleaning`](super::cleaning)). A block goes at the earliest one commit after its last live fact did, as a
//! reader may have looked that up just before.

use std::collections::VecDeque;

use crate::store::{
    block::{Location, Number},
    record::Check,
};

/// Bytes are those of facts and notes, without what the record adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Block {
    pub(super) check: Check,
    /// 0: the block is lost.
    pub(super) bytes: u32,
    /// Of them, those of live facts.
    pub(super) live: u32,
    /// Which facts are live: the first has the lowest bit.
    pub(super) places: u64,
}

impl Block {
    /// One of its facts is live.
    pub(super) fn enter(&mut self, location: Location) {
        self.live = self.live.saturating_add(location.bytes);
        self.places |= bit(location);
    }

    pub(super) fn is_live(&self, location: Location) -> bool {
        self.places & bit(location) != 0
    }
}

fn bit(location: Location) -> u64 {
    1_u64.checked_shl(u32::from(location.place)).unwrap_or(0)
}

/// More numbers in a row are not missing, but wrong.
const GAP_MAX: u64 = 1 << 24;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    first: Number,
    all: VecDeque<Block>,
    live: u64,
    held: u64,
}

impl Blocks {
    fn next(&self) -> Number {
        self.first.saturating_add(self.all.len() as u64)
    }

    fn get_mut(&mut self, number: Number) -> Option<&mut Block> {
        self.all.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// At the end.
    pub(super) fn push(&mut self, number: Number, block: Block) {
        if self.all.is_empty() {
            self.first = number;
        }
        while self.next() < number {
            self.all.push_back(Block::default());
        }
        self.add(block);
        self.all.push_back(block);
    }

    /// At the beginning. Whether it belongs there.
    pub(super) fn push_first(&mut self, number: Number, block: Block) -> bool {
        if self.all.is_empty() {
            self.first = number.saturating_add(1);
        }
        match self.first.checked_sub(number) {
            Some(distance @ 1..GAP_MAX) => (1..distance).for_each(|_| self.all.push_front(Block::default())),
            _ => return false,
        }
        self.first = number;
        self.add(block);
        self.all.push_front(block);
        true
    }

    fn add(&mut self, block: Block) {
        self.live += u64::from(block.live);
        self.held += u64::from(block.bytes);
    }

    /// One of its facts is no longer live.
    pub(super) fn leave(&mut self, location: Location) {
        let Some(block) = self.get_mut(location.block) else { return };
        block.live = block.live.saturating_sub(location.bytes);
        block.places &= !bit(location);
        self.live = self.live.saturating_sub(u64::from(location.bytes));
    }

    /// Up to `limit` blocks before the first that has a live fact, and the number of what comes after them.
    pub(super) fn passed(&self, limit: usize) -> (impl Iterator<Item = &Block>, Number) {
        let dead = self.all.iter().take(limit).take_while(|block| block.live == 0).count();
        (self.all.iter().take(dead).filter(|block| block.bytes > 0), self.first.saturating_add(dead as u64))
    }

    /// The log begins with that block. Gives the bytes that it leaves behind.
    pub(super) fn begin_with(&mut self, number: Number) -> u64 {
        let held = self.held;
        while self.first < number {
            let Some(block) = self.all.pop_front() else { break };
            self.held = self.held.saturating_sub(u64::from(block.bytes));
            self.live = self.live.saturating_sub(u64::from(block.live));
            self.first = self.first.saturating_add(1);
        }
        held.saturating_sub(self.held)
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Block)> {
        (self.first..).zip(&self.all).filter(|(_, block)| block.bytes > 0)
    }

    /// Bytes of live facts.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of all facts and notes.
    pub(super) fn held(&self) -> u64 {
        self.held
    }
}

impl PartialEq for Blocks {
    /// Whatever numbers are missing.
    fn eq(&self, other: &Blocks) -> bool {
        self.iter().eq(other.iter()) && (self.live, self.held) == (other.live, other.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: u32, live: u32) -> Block {
        Block { check: Check(u64::from(bytes)), bytes, live, places: 1 }
    }

    fn at(block: Number, bytes: u32) -> Location {
        Location { block, bytes, ..Location::default() }
    }

    #[test]
    fn the_beginning_passes_what_is_not_live_and_nothing_else() {
        let mut blocks = Blocks::default();
        for (number, live) in [(3, 10), (4, 20), (5, 0), (6, 30)] {
            blocks.push(number, block(50, live));
        }
        assert_eq!((blocks.live(), blocks.held(), blocks.passed(9).1), (60, 200, 3));
        blocks.leave(at(4, 20));
        assert_eq!(blocks.passed(9).1, 3, "what is not live lies behind what is");
        blocks.leave(at(3, 10));
        assert_eq!((blocks.passed(9).0.count(), blocks.passed(9).1), (3, 6));
        blocks.begin_with(6);
        assert_eq!((blocks.live(), blocks.held(), blocks.iter().count()), (30, 50, 1));
        blocks.leave(at(6, 30));
        assert_eq!(blocks.passed(9).1, 7);
        blocks.begin_with(7);
        assert_eq!((blocks.held(), blocks.iter().count()), (0, 0));
    }

    #[test]
    fn lost_blocks_are_told_from_wrong_numbers() {
        let mut blocks = Blocks::default();
        assert!(blocks.push_first(9, block(50, 1)));
        assert!(blocks.push_first(5, block(60, 2)));
        assert!(!blocks.push_first(5, block(60, 2)) && !blocks.push_first(6, block(60, 2)));
        blocks.push(12, block(70, 3));
        assert_eq!(blocks.iter().map(|(number, _)| number).collect::<Vec<_>>(), [5, 9, 12]);
        assert_eq!((blocks.live(), blocks.held()), (6, 180));
        let mut far = Blocks::default();
        assert!(far.push_first(1 << 40, block(50, 1)));
        assert!(!far.push_first(7, block(50, 1)), "so many are not lost");
        assert!(far != blocks);
    }
}
