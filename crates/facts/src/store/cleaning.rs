//! Getting rid of facts that are no longer live: commits move what is live in the oldest blocks to their own.
//!
//! A commit earns a credit in proportion to its own bytes, the more the greater the share of what is not live, and later
//! ones spend it. So moving takes a bounded part of each commit, and there is never more than about two and a half times
//! what is live: at worst, all that is live lies before what is not, and has to be moved first.

use crate::{
    key::FactKey,
    store::{
        StoreError,
        block::{self, BLOCK_BYTES, Location, Number, Packer},
        blocks::Blocks,
        engine::Space,
        index::Index,
        reader::Shared,
    },
};

/// What commits may still move, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Credit {
    bytes: u64,
    /// A block could not be read: it is left where it is, and all newer ones with it.
    is_stopped: bool,
}

impl Credit {
    /// After a commit of so many bytes.
    pub(super) fn earn(&mut self, own: u64, blocks: &Blocks) {
        let (live, held) = (blocks.live(), blocks.held());
        // From one and a half times what is live on, up to twice the commit's own.
        let excess = held.saturating_mul(4).saturating_sub(live.saturating_mul(6)).min(live.saturating_mul(2));
        match own.saturating_mul(excess).checked_div(live) {
            Some(earned) if excess > 0 => self.bytes = self.bytes.saturating_add(earned),
            _ => self.bytes = 0,
        }
    }

    /// Moves live facts of the oldest blocks, and says to where.
    pub(super) fn spend(
        &mut self,
        shared: &Shared,
        index: &Index,
        packer: &mut Packer<'_>,
    ) -> Result<Vec<(FactKey, Location)>, StoreError> {
        let mut moved = Vec::new();
        // So that facts that came one by one are packed together.
        if self.is_stopped || self.bytes < BLOCK_BYTES as u64 {
            return Ok(moved);
        }
        for (number, block) in index.blocks().iter().filter(|(_, block)| block.live > 0) {
            // To read a block costs a part of what it costs to write it.
            let cost = u64::from(block.live) + u64::from(block.bytes / 4);
            let Some(left) = self.bytes.checked_sub(cost) else { break };
            let Some(payload) = read(shared, number) else {
                self.is_stopped = true;
                break;
            };
            self.bytes = left;
            for fact in block::facts(number, &payload).unwrap_or_default() {
                if let Some(key) = index.key_at(fact.key, fact.location) {
                    moved.push((key.clone(), packer.carry(fact.whole)?));
                }
            }
        }
        packer.close()?;
        Ok(moved)
    }
}

/// `None`: it cannot be read. Whoever asks for one of its facts is told why.
fn read(shared: &Shared, number: Number) -> Option<Vec<u8>> {
    let row = block::row_of(number);
    let record = shared.with_engine(|engine| engine.get(Space::Live, &row)).ok()??;
    let payload = shared.records.open_block(&row, &record).ok()?;
    block::facts(number, &payload).is_some().then_some(payload)
}
