//! A set in order, for many small things of which most come after all others: runs of a bounded length, so that what
//! comes last fills them, and what comes or goes between moves the rest of one run. Sets of the standard library leave
//! their nodes half empty then and take twice the memory.

use std::{
    borrow::Borrow,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

/// Things in a run at most.
const FULL: usize = 256;
/// A run with fewer joins its neighbour.
const FEW: usize = FULL / 4;
/// Runs that join have no more than this together, so that the next few changes do not part them again.
const JOINED: usize = FULL * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct Ordered<T> {
    /// None is empty.
    runs: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered { runs: Vec::new(), len: 0 }
    }
}

impl<T: Ord> Ordered<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The run that has it if any does.
    fn run_of<Q: Ord + ?Sized>(&self, item: &Q) -> usize
    where
        T: Borrow<Q>,
    {
        let begins_before = |run: &Vec<T>| run.first().is_some_and(|first| first.borrow() <= item);
        self.runs.partition_point(begins_before).saturating_sub(1)
    }

    pub(super) fn insert(&mut self, item: T) {
        let (at, last) = (self.run_of(&item), self.runs.len().saturating_sub(1));
        let Some(run) = self.runs.get_mut(at) else {
            self.len += 1;
            return self.runs.push(vec![item]);
        };
        let Err(place) = run.binary_search(&item) else { return };
        self.len += 1;
        if run.len() < FULL {
            run.insert(place, item);
        } else if at == last && place == FULL {
            let mut next = Vec::with_capacity(FULL);
            next.push(item);
            self.runs.push(next);
        } else {
            let mut upper = run.split_off(FULL / 2);
            match place.checked_sub(FULL / 2) {
                Some(place) => upper.insert(place, item),
                None => run.insert(place, item),
            }
            self.runs.insert(at + 1, upper);
        }
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, item: &Q)
    where
        T: Borrow<Q>,
    {
        let at = self.run_of(item);
        let Some(run) = self.runs.get_mut(at) else { return };
        let Ok(place) = run.binary_search_by(|own| own.borrow().cmp(item)) else { return };
        run.remove(place);
        self.len -= 1;
        if run.len() < FEW {
            run.shrink_to(FEW);
            self.join(at);
        }
    }

    /// Joins a short run with one beside it that has room.
    fn join(&mut self, at: usize) {
        let short = self.runs.get(at).map_or(0, Vec::len);
        if short == 0 {
            self.runs.remove(at);
            return;
        }
        let has_room = |at: usize| self.runs.get(at).is_some_and(|run| run.len() + short <= JOINED);
        let lower = if has_room(at + 1) {
            at
        } else if at.checked_sub(1).is_some_and(has_room) {
            at - 1
        } else {
            return;
        };
        let upper = self.runs.remove(lower + 1);
        if let Some(run) = self.runs.get_mut(lower) {
            run.extend(upper);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().flatten()
    }

    pub(super) fn from<'a, Q: Ord + ?Sized>(&'a self, start: Bound<&Q>) -> impl Iterator<Item = &'a T> + use<'a, T, Q>
    where
        T: Borrow<Q>,
    {
        let at = if let Included(item) | Excluded(item) = start { self.run_of(item) } else { 0 };
        let is_before = |own: &T| match start {
            Included(item) => own.borrow() < item,
            Excluded(item) => own.borrow() <= item,
            Unbounded => false,
        };
        let run = self.runs.get(at).map_or(&[][..], Vec::as_slice);
        let first = run.get(run.partition_point(is_before)..).unwrap_or_default();
        first.iter().chain(self.runs.iter().skip(at + 1).flatten())
    }
}

impl<T: Ord> FromIterator<T> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Ordered<T> {
        let mut all: Vec<T> = items.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        let len = all.len();
        let mut runs = Vec::with_capacity(len.div_ceil(FULL));
        let mut rest = all.into_iter();
        loop {
            let run: Vec<T> = rest.by_ref().take(FULL).collect();
            if run.is_empty() {
                return Ordered { runs, len };
            }
            runs.push(run);
        }
    }
}

impl<T: Ord> PartialEq for Ordered<T> {
    fn eq(&self, other: &Ordered<T>) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Ord> Eq for Ordered<T> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_in_order_fills_the_runs() {
        let mut set = Ordered::default();
        (0..FULL * 3 + 1).for_each(|number| set.insert(number));
        assert_eq!(set.runs.iter().map(Vec::len).collect::<Vec<_>>(), [FULL, FULL, FULL, 1]);
        assert_eq!(set, (0..FULL * 3 + 1).rev().collect());
    }

    #[test]
    fn runs_of_which_little_is_left_join() {
        let mut set: Ordered<usize> = (0..FULL * 40).collect();
        (0..FULL * 40).filter(|number| number % 20 != 0).for_each(|number| set.remove(&number));
        assert_eq!(set.len(), FULL * 2);
        assert!(set.runs.len() < 20, "{} runs", set.runs.len());
        assert!(set.runs.iter().all(|run| run.capacity() <= FULL), "a run takes no more than a full one");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16),
        Remove(u16),
        RemoveFrom(u16, u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = 0..2_000u16;
        prop_oneof![
            6 => number.clone().prop_map(Step::Insert),
            2 => number.clone().prop_map(Step::Remove),
            1 => (number, 0..300u16).prop_map(|(from, count)| Step::RemoveFrom(from, count)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_set(first in prop::collection::vec(0..2_000u16, 0..1_500), steps in prop::collection::vec(step(), 0..400)) {
            let mut set: Ordered<u16> = first.iter().copied().collect();
            let mut expected: BTreeSet<u16> = first.into_iter().collect();
            for step in steps {
                match step {
                    Step::Insert(number) => {
                        set.insert(number);
                        expected.insert(number);
                    }
                    Step::Remove(number) => {
                        set.remove(&number);
                        expected.remove(&number);
                    }
                    Step::RemoveFrom(from, count) => {
                        (from..from + count).for_each(|number| set.remove(&number));
                        expected.retain(|number| !(from..from + count).contains(number));
                    }
                }
                prop_assert!(set.runs.iter().all(|run| !run.is_empty() && run.len() <= FULL));
            }
            prop_assert_eq!(set.len(), expected.len());
            prop_assert!(set.iter().eq(&expected));
            for number in (0..2_001).step_by(37) {
                prop_assert!(set.from(Included(&number)).eq(expected.range(number..)));
                prop_assert!(set.from(Excluded(&number)).eq(expected.range((Excluded(number), Unbounded))));
            }
            prop_assert!(set.from::<u16>(Unbounded).eq(&expected));
        }
    }
}
