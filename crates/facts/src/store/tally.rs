//! What the commits of a store add up to. It is written with each of them: a store whose records do not add up to it
//! has lost a part of its log or tables that the engine did not miss.

use crate::store::{block::Number, encoding::Bytes, engine::Space, record::Check};

/// The row of metadata that has it. Names have another first byte.
pub(super) const ROW: &[u8] = b"t";
const PLAIN_BYTES: usize = 10 * 8;

/// Of the records of a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    checks: u64,
}

impl Sum {
    pub(super) fn add(&mut self, check: Check) {
        self.count = self.count.wrapping_add(1);
        self.checks = self.checks.wrapping_add(spread(check));
    }

    pub(super) fn remove(&mut self, check: Check) {
        self.count = self.count.wrapping_sub(1);
        self.checks = self.checks.wrapping_sub(spread(check));
    }
}

/// So that sums of short checks use all bits.
fn spread(check: Check) -> u64 {
    check.0.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Commits so far.
    pub(super) commits: u64,
    /// The number of the next lost value.
    pub(super) serial: u64,
    /// The number of the first block, and of the next.
    pub(super) first: Number,
    pub(super) block: Number,
    pub(super) live: Sum,
    pub(super) history: Sum,
    pub(super) metadata: Sum,
}

impl Tally {
    pub(super) fn of(&mut self, space: Space) -> &mut Sum {
        match space {
            Space::Live => &mut self.live,
            Space::History => &mut self.history,
            Space::Metadata => &mut self.metadata,
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let sums = [self.live, self.history, self.metadata].into_iter().flat_map(|sum| [sum.count, sum.checks]);
        let mut bytes: Vec<u8> = Vec::with_capacity(PLAIN_BYTES + 4);
        [self.commits, self.serial, self.first, self.block]
            .into_iter()
            .chain(sums)
            .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Tally> {
        let (numbers, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(numbers) != u32::from_le_bytes(*crc) || numbers.len() != PLAIN_BYTES {
            return None;
        }
        let mut numbers = Bytes(numbers);
        let mut next = || numbers.array().map(u64::from_le_bytes);
        let (commits, serial, first, block) = (next()?, next()?, next()?, next()?);
        let mut sum = || Some(Sum { count: next()?, checks: next()? });
        Some(Tally { commits, serial, first, block, live: sum()?, history: sum()?, metadata: sum()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_as_written_and_not_otherwise() {
        let mut tally = Tally { commits: 7, serial: 3, first: 5, block: 11, ..Tally::default() };
        tally.live.add(Check(0));
        tally.history.add(Check(5));
        tally.metadata.remove(Check(9));
        let bytes = tally.to_bytes();
        assert_eq!(Tally::from_bytes(&bytes), Some(tally));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Tally::from_bytes(&changed), None, "byte {at}");
            assert_eq!(Tally::from_bytes(&bytes[..at]), None, "the first {at} bytes");
        }
    }

    #[test]
    fn what_is_added_and_removed_is_as_if_never_there() {
        let mut sum = Sum::default();
        sum.add(Check(1));
        let one = sum;
        sum.add(Check(0));
        assert_ne!(sum, one);
        sum.remove(Check(0));
        assert_eq!(sum, one);
    }
}
