//! Getting rid of facts that are no longer live: commits move what is live at the beginning of the log to its end.
//!
//! A commit earns a credit in proportion to its own bytes, the more the greater the share of what is not live, and later
//! ones spend it. So the log is never much longer than two and a half times what is live and some slack: at worst all that is
//! live lies before what is not, and has to be moved first. A small commit does not spend at once what a large one earned.

use crate::{
    key::FactKey,
    store::{
        StoreError,
        block::{self, BLOCK_BYTES, Location, Number, Packer},
        blocks::{Block, Blocks},
        engine::Space,
        index::Index,
        reader::Shared,
    },
};

/// A commit moves so much, and so many times its own.
const SPENT_BYTES: u64 = 256 << 10;
const SPENT_TIMES: u64 = 4;

/// What commits may still move, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    bytes: u64,
    /// So much that is not live is not worth moving anything.
    slack: u64,
    /// A block could not be read: it stays where it is, and all that comes after it.
    is_stopped: bool,
}

impl Credit {
    pub(super) fn new(slack: u64) -> Credit {
        Credit { bytes: 0, slack, is_stopped: false }
    }

    /// After a commit of so many bytes.
    pub(super) fn earn(&mut self, own: u64, blocks: &Blocks) {
        let live = blocks.live().saturating_add(self.slack);
        // From one and three quarters of what is live on, and up to three times the commit's own.
        let excess = blocks.held().saturating_mul(4).saturating_sub(live.saturating_mul(7)).min(live.saturating_mul(3));
        match own.saturating_mul(excess).checked_div(live) {
            Some(earned) if excess > 0 => self.bytes = self.bytes.saturating_add(earned),
            _ => self.bytes = 0,
        }
    }

    /// Moves live facts of the first blocks, and says to where. `own`: about the bytes of the commit itself.
    pub(super) fn spend(
        &mut self,
        own: u64,
        shared: &Shared,
        index: &Index,
        packer: &mut Packer<'_>,
    ) -> Result<Vec<(FactKey, Location)>, StoreError> {
        let mut moved = Vec::new();
        // So that facts that came one by one are packed together.
        if self.is_stopped || self.bytes < BLOCK_BYTES as u64 {
            return Ok(moved);
        }
        let kept = self.bytes.saturating_sub(SPENT_BYTES.max(own.saturating_mul(SPENT_TIMES)));
        for (number, block) in index.blocks().iter().filter(|(_, block)| block.live > 0) {
            // To read a block costs a part of what it costs to write it.
            let cost = u64::from(block.live) + u64::from(block.bytes / 4);
            let Some(left) = self.bytes.checked_sub(cost) else { break };
            if self.bytes <= kept {
                break;
            }
            // Whoever asks for one of its facts is told what is wrong with it.
            let Some(payload) = read(shared, number) else {
                tracing::error!(
                    block = number,
                    "a block of facts cannot be read: no room is given back until a restart"
                );
                self.is_stopped = true;
                break;
            };
            carry(index, (number, block), &payload, packer, &mut moved)?;
            self.bytes = left;
        }
        packer.close()?;
        Ok(moved)
    }
}

fn read(shared: &Shared, number: Number) -> Option<Vec<u8>> {
    let row = block::row_of(number);
    let record = shared.with_engine(|engine| engine.get(Space::Live, &row)).ok()??;
    shared.records.open_block(&row, &record).ok()
}

/// Packs what is live of a block.
pub(super) fn carry(
    index: &Index,
    (number, block): (Number, &Block),
    payload: &[u8],
    packer: &mut Packer<'_>,
    moved: &mut Vec<(FactKey, Location)>,
) -> Result<(), StoreError> {
    let facts = block::facts(number, payload).unwrap_or_default();
    for fact in facts.into_iter().filter(|fact| block.is_live(fact.location)) {
        if let Some(key) = index.key_at(fact.key, fact.location) {
            moved.push((key.clone(), packer.carry(fact.whole)?));
        }
    }
    Ok(())
}
