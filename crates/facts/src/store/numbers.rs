//! Keys by the number of their last write by one origin.
//!
//! Most writes come with the next number and put over a key that was written not long ago. So of the last numbers it is
//! one place each, whether or not a key still has it; of those before, only the ones that keys have. One number is one
//! key's, unless an origin is at odds with itself.

use std::{collections::VecDeque, ops::Bound::Included};

use crate::{key::FactKey, store::ordered::Ordered};

/// Places of the last numbers at least, and for each key at most.
const LAST_MIN: usize = 1 << 10;
const LAST_PER_KEY: usize = 2;

/// Always a key: `None` is a place before all keys to look from.
type Numbered = (u64, Option<FactKey>);

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Of them, the first's number; those before are less.
    first: u64,
    /// The last numbers.
    last: VecDeque<Option<FactKey>>,
    /// Of the last numbers, those that keys have.
    held: usize,
    /// Of the last numbers too, other keys that have the same.
    more: Ordered<Numbered>,
    older: Ordered<Numbered>,
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        self.held + self.more.len() + self.older.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&mut self, number: u64, key: FactKey) {
        let most = LAST_MIN.max(self.len().saturating_mul(LAST_PER_KEY));
        if self.last.is_empty() {
            self.first = self.first.max(number);
        }
        let Some(place) = number.checked_sub(self.first) else { return self.older.insert((number, Some(key))) };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place < self.last.len().saturating_add(most) {
            while self.last.len() <= place {
                self.last.push_back(None);
            }
            match self.last.get_mut(place) {
                Some(Some(held)) if *held != key => self.more.insert((number, Some(key))),
                Some(held) => {
                    self.held += usize::from(held.is_none());
                    *held = Some(key);
                }
                None => {}
            }
        } else {
            // Far from those before.
            while !self.last.is_empty() {
                self.leave_first();
            }
            self.first = number;
            self.last.push_back(Some(key));
            self.held += 1;
        }
        while self.last.len() > most {
            self.leave_first();
        }
    }

    fn leave_first(&mut self) {
        if let Some(Some(key)) = self.last.pop_front() {
            self.held -= 1;
            self.older.insert((self.first, Some(key)));
        }
        loop {
            let same = self.more.iter().next().filter(|(number, _)| *number == self.first).cloned();
            let Some(same) = same else { break };
            self.more.remove(&same);
            self.older.insert(same);
        }
        self.first = self.first.saturating_add(1);
    }

    pub(super) fn remove(&mut self, number: u64, key: &FactKey) {
        let Some(place) = number.checked_sub(self.first) else {
            return self.older.remove(&(number, Some(key.clone())));
        };
        match usize::try_from(place).ok().and_then(|place| self.last.get_mut(place)) {
            Some(held) if held.as_ref() == Some(key) => {
                *held = None;
                self.held -= 1;
            }
            _ if self.more.len() > 0 => self.more.remove(&(number, Some(key.clone()))),
            _ => {}
        }
        while let Some(None) = self.last.front() {
            self.leave_first();
        }
    }

    /// In order.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &FactKey)> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let last = (self.first..).zip(&self.last).skip(skipped);
        let mut last = last.filter_map(|(number, key)| Some((number, key.as_ref()?))).peekable();
        let mut more = rows(&self.more, number).peekable();
        let together = std::iter::from_fn(move || match (last.peek(), more.peek()) {
            (Some(one), Some(other)) if one > other => more.next(),
            (None, _) => more.next(),
            _ => last.next(),
        });
        rows(&self.older, number).chain(together)
    }
}

fn rows(numbers: &Ordered<Numbered>, from: u64) -> impl Iterator<Item = (u64, &FactKey)> {
    numbers.from(Included(&(from, None))).filter_map(|(number, key)| Some((*number, key.as_ref()?)))
}

impl FromIterator<(u64, FactKey)> for Numbers {
    fn from_iter<I: IntoIterator<Item = (u64, FactKey)>>(all: I) -> Numbers {
        let older: Ordered<Numbered> = all.into_iter().map(|(number, key)| (number, Some(key))).collect();
        let first = older.iter().last().map_or(0, |(last, _)| last.saturating_add(1));
        Numbers { first, older, ..Numbers::default() }
    }
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Numbers) -> bool {
        self.from(0).eq(other.from(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u64) -> FactKey {
        FactKey::new(&format!("a.{number}")).unwrap()
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many numbers after the last.
        Next(u64),
        /// Before the last.
        Earlier(u64),
        /// The how manieth key, whose number it loses.
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Next(1)),
            2 => (1..50_u64).prop_map(Step::Next),
            1 => (0..20_000_u64).prop_map(Step::Next),
            2 => (0..3_000_u64).prop_map(Step::Earlier),
            6 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn every_number_has_its_keys_until_they_go(
            first in prop::collection::btree_set(1..2_000_u64, 0..200),
            steps in prop::collection::vec(step(), 0..600),
            looked in prop::collection::vec(0..5_000_u64, 8),
        ) {
            let mut expected: BTreeSet<(u64, FactKey)> = first.iter().map(|number| (*number, key(*number))).collect();
            let mut numbers: Numbers = expected.iter().cloned().collect();
            let (mut last, mut names) = (2_000, 0);
            for step in steps {
                let number = match step {
                    Step::Next(more) => last + more,
                    Step::Earlier(less) => last.saturating_sub(less),
                    Step::Remove(at) => {
                        if let Some(row) = expected.iter().nth(at % expected.len().max(1)).cloned() {
                            numbers.remove(row.0, &row.1);
                            expected.remove(&row);
                        }
                        continue;
                    }
                };
                last = last.max(number);
                names += 1;
                let key = key(names % 50);
                numbers.insert(number, key.clone());
                expected.insert((number, key));
            }
            prop_assert_eq!(numbers.len(), expected.len());
            prop_assert!(numbers.older.iter().all(|(number, _)| *number < numbers.first));
            prop_assert!(numbers.last.len() <= LAST_MIN.max(numbers.len() * LAST_PER_KEY + LAST_MIN));
            for from in looked.into_iter().chain([0, last, last + 1]) {
                let rows = expected.iter().filter(|(number, _)| *number >= from).map(|(number, key)| (*number, key));
                prop_assert!(numbers.from(from).eq(rows));
            }
            let rebuilt: Numbers = expected.into_iter().collect();
            prop_assert!(numbers == rebuilt);
        }
    }

    #[test]
    fn keys_that_are_put_over_again_and_again_take_a_bounded_room() {
        let mut numbers = Numbers::default();
        numbers.insert(1, key(1));
        for number in 2..1_000_000 {
            numbers.insert(number, key(2));
            if number > 2 {
                numbers.remove(number - 1, &key(2));
            }
        }
        assert_eq!(numbers.from(0).map(|(number, _)| number).collect::<Vec<_>>(), [1, 999_999]);
        assert!(numbers.last.len() <= LAST_MIN);
    }
}
