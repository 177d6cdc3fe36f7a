//! Which blocks there are, and how much of each is live.
//!
//! A block is written once, under a number greater than those of all blocks before. Of a key there may be several facts
//! in several blocks: an older one stays until its block goes. A key that is forgotten is noted as such in a block, as
//! its older facts may stay.
//!
//! **Invariant.** Of all facts and notes of a key in the blocks that are there, the last in the block of the greatest
//! number says what the key has: a fact, its state; a note, nothing. There is none, the key has nothing either. So
//! the blocks alone, read from the newest to the oldest, are the store. After any commit it is so because a commit
//!
//! 1. adds blocks above all others, in which the last of each key is what the key comes to have. It may move a fact there
//!    as it is, before what it changes itself;
//! 2. removes blocks that have no live fact and no note. A key's last fact is live or older than a note, so what is
//!    removed was the last of no key;
//! 3. removes a block that has notes and no live fact only if it is the oldest there is, or all older ones go with it.
//!    What its notes spoke of was in older blocks, and is there no longer.
//!
//! and each commit is written as one or not at all.
//!
//! What is not live goes in time: a block of which nothing is live by removal; others, when there is too much of it, by
//! moving what is live in the oldest blocks to new ones ([`cleaning`](super::cleaning)), so that the oldest is removed. A
//! block goes one commit after its last fact did, as a reader may have looked up that fact just before.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{
    block::{Location, Number},
    record::Check,
};

/// Bytes are those of facts and notes, without what the record adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) check: Check,
    pub(super) bytes: u32,
    /// Of them, those of live facts.
    pub(super) live: u32,
    /// Whether it has a note of a forgotten key.
    pub(super) forgets: bool,
}

impl Block {
    fn is_dead(&self) -> bool {
        self.live == 0 && !self.forgets
    }
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    all: BTreeMap<Number, Block>,
    /// Those without live facts and notes.
    dead: BTreeSet<Number>,
    live: u64,
    /// Bytes of all but the dead ones.
    held: u64,
}

impl Blocks {
    pub(super) fn insert(&mut self, number: Number, block: Block) {
        self.all.insert(number, block);
        self.live += u64::from(block.live);
        if block.is_dead() {
            self.dead.insert(number);
        } else {
            self.held += u64::from(block.bytes);
        }
    }

    /// One of its facts is no longer live.
    pub(super) fn leave(&mut self, location: Location) {
        let Some(block) = self.all.get_mut(&location.block) else { return };
        block.live = block.live.saturating_sub(location.bytes);
        self.live = self.live.saturating_sub(u64::from(location.bytes));
        if block.is_dead() && self.dead.insert(location.block) {
            self.held = self.held.saturating_sub(u64::from(block.bytes));
        }
    }

    pub(super) fn remove(&mut self, number: Number) {
        let Some(block) = self.all.remove(&number) else { return };
        if !self.dead.remove(&number) {
            self.held = self.held.saturating_sub(u64::from(block.bytes));
        }
    }

    /// It has another record of the same facts.
    pub(super) fn renew(&mut self, number: Number, check: Check) {
        if let Some(block) = self.all.get_mut(&number) {
            block.check = check;
        }
    }

    /// The oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Block)> {
        self.all.iter().map(|(number, block)| (*number, block))
    }

    /// Up to `limit` blocks that may be removed as one, with their checks.
    pub(super) fn removable(&self, limit: usize) -> Vec<(Number, Check)> {
        // With none older left, notes speak of nothing.
        let oldest = self.iter().take_while(|(_, block)| block.live == 0).take(limit);
        let mut removable: Vec<(Number, Check)> = oldest.map(|(number, block)| (number, block.check)).collect();
        let after = removable.last().map_or(0, |(number, _)| number.saturating_add(1));
        let dead = self.dead.range(after..).take(limit.saturating_sub(removable.len()));
        removable.extend(dead.filter_map(|number| Some((*number, self.all.get(number)?.check))));
        removable
    }

    /// Bytes of live facts.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of all facts and notes, but of blocks that may be removed.
    pub(super) fn held(&self) -> u64 {
        self.held
    }
}
