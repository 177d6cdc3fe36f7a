//! What is kept in memory of each key: where its fact is, and the head of a plain state.

use std::collections::HashMap;

use crate::{
    causality::{Dot, Origin},
    clock::{Hlc, Millis},
    head::Head,
    store::block::Location,
};

/// Origins by small numbers, as many keys have the same.
#[derive(Debug, Default)]
pub(super) struct Origins {
    all: Vec<Origin>,
    numbers: HashMap<Origin, u32, ahash::RandomState>,
}

impl Origins {
    /// `None`: there are too many.
    fn number(&mut self, origin: &Origin) -> Option<u32> {
        if let Some(number) = self.numbers.get(origin) {
            return Some(*number);
        }
        let number = u32::try_from(self.all.len()).ok().filter(|number| number & IS_DELETION == 0)?;
        self.all.push(origin.clone());
        self.numbers.insert(origin.clone(), number);
        Some(number)
    }

    fn get(&self, number: u32) -> Option<&Origin> {
        self.all.get(usize::try_from(number).ok()?)
    }
}

const IS_DELETION: u32 = 1 << 31;
/// Of facts that do not end.
const NEVER: u64 = u64::MAX;

/// 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) location: Location,
    /// 0, which no write has: there is no head.
    seq: u64,
    hlc: u64,
    expires_at: u64,
    hash: [u8; 16],
    /// Milliseconds before `hlc`.
    created_before: u32,
    /// Its number, and whether the head is that of a deletion.
    origin: u32,
}

impl Entry {
    pub(super) fn new(location: Location, head: Option<&Head>, origins: &mut Origins) -> Entry {
        let without =
            Entry { location, seq: 0, hlc: 0, expires_at: NEVER, hash: [0; 16], created_before: 0, origin: 0 };
        head.and_then(|head| without.with(head, origins)).unwrap_or(without)
    }

    /// `None`: the head is one that does not fit, as of a fact that has been rewritten for longer than 49 days.
    fn with(self, head: &Head, origins: &mut Origins) -> Option<Entry> {
        let created_before = u32::try_from(head.hlc.millis().0.checked_sub(head.created_at.0)?).ok()?;
        let expires_at = head.expires_at.map_or(NEVER, |time| time.0);
        if head.expires_at == Some(Millis(NEVER)) {
            return None;
        }
        let number = origins.number(&head.dot.origin)?;
        let origin = if head.is_deletion { number | IS_DELETION } else { number };
        let (seq, hlc, hash) = (head.dot.seq, head.hlc.as_u64(), head.hash);
        Some(Entry { seq, hlc, expires_at, hash, created_before, origin, ..self })
    }

    pub(super) fn head(&self, origins: &Origins) -> Option<Head> {
        if self.seq == 0 {
            return None;
        }
        let hlc = Hlc::from_u64(self.hlc)?;
        Some(Head {
            dot: Dot { origin: origins.get(self.origin & !IS_DELETION)?.clone(), seq: self.seq },
            hlc,
            created_at: Millis(hlc.millis().0.saturating_sub(u64::from(self.created_before))),
            expires_at: (self.expires_at != NEVER).then_some(Millis(self.expires_at)),
            is_deletion: self.origin & IS_DELETION != 0,
            hash: self.hash,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::causality::NodeId;

    const HERE: Location = Location { block: 5, bytes: 6, at: 7, place: 8 };

    #[test]
    fn a_head_is_given_back_as_it_was_or_not_at_all() {
        let mut origins = Origins::default();
        let mut check = |node: &str, created_at: u64, expires_at: Option<u64>, is_deletion: bool, fits: bool| {
            let origin = Origin { node: NodeId::new(node).unwrap(), incarnation: 7 };
            let head = Head {
                dot: Dot { origin, seq: 9 },
                hlc: Hlc::at(Millis(1_800_000_000_000)),
                created_at: Millis(created_at),
                expires_at: expires_at.map(Millis),
                is_deletion,
                hash: [3; 16],
            };
            let entry = Entry::new(HERE, Some(&head), &mut origins);
            assert_eq!((entry.location, entry.head(&origins)), (HERE, fits.then_some(head)));
        };
        check("a", 1_800_000_000_000, None, false, true);
        check("b", 1_799_999_999_000, Some(1_900_000_000_000), false, true);
        check("a", 1_799_000_000_000, None, true, true);
        check("b", 1_700_000_000_000, None, false, false);
        check("b", 1_800_000_000_001, None, false, false);
        check("a", 1_800_000_000_000, Some(u64::MAX), false, false);
        assert_eq!(Entry::new(HERE, None, &mut origins).head(&origins), None);
        assert_eq!((origins.all.len(), size_of::<Entry>()), (2, 64));
    }
}
