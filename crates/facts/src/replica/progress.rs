use std::collections::{BTreeMap, BTreeSet};

use crate::causality::{Origin, VersionVector};

/// Runs of numbers remembered of one origin beyond a gap. What is forgotten is pulled again.
const RUNS_MAX: usize = 4_096;

/// Which writes have come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Of each origin all up to a number: applied, or held in quarantine.
    seen: VersionVector,
    /// What came beyond a gap: first and last numbers of runs that do not touch.
    beyond: BTreeMap<Origin, BTreeMap<u64, u64>>,
    /// As `seen`, less what the caps keep back.
    applied: VersionVector,
    /// Applied may not pass these, as something above is held.
    caps: Vec<(Origin, u64)>,
    /// Those that some key's state has seen. A page that completes nothing brings states of more than numbers tell.
    heard: BTreeSet<Origin>,
}

impl Progress {
    pub(super) fn new(seen: VersionVector, caps: Vec<(Origin, u64)>) -> Progress {
        let mut progress = Progress { applied: seen.clone(), seen, ..Progress::default() };
        progress.cap(caps);
        progress
    }

    pub(super) fn seen(&self) -> &VersionVector {
        &self.seen
    }

    pub(super) fn applied(&self) -> &VersionVector {
        &self.applied
    }

    /// Those of which anything has come.
    pub(super) fn origins(&self) -> BTreeSet<Origin> {
        self.seen.iter().map(|(origin, _)| origin).chain(&self.heard).cloned().collect()
    }

    /// Takes note of whose writes a state has seen.
    pub(super) fn hear<'a>(&mut self, seen: impl Iterator<Item = (&'a Origin, u64)>) {
        for (origin, _) in seen {
            if !self.heard.contains(origin) {
                self.heard.insert(origin.clone());
            }
        }
    }

    /// Whether no gap is open.
    pub(super) fn is_whole(&self) -> bool {
        self.beyond.is_empty()
    }

    pub(super) fn is_capped(&self) -> bool {
        !self.caps.is_empty()
    }

    pub(super) fn cap(&mut self, caps: Vec<(Origin, u64)>) {
        self.applied = capped(&self.seen, &caps);
        self.caps = caps;
    }

    /// Whether all of these were noted before.
    pub(super) fn has(&self, origin: &Origin, first: u64, last: u64) -> bool {
        let in_run = |runs: &BTreeMap<u64, u64>| runs.range(..=first).next_back().is_some_and(|(_, end)| *end >= last);
        self.seen.get(origin) >= last || self.beyond.get(origin).is_some_and(in_run)
    }

    pub(super) fn note(&mut self, origin: &Origin, first: u64, last: u64) {
        let mut seen = self.seen.get(origin);
        if last <= seen || last < first {
            return;
        }
        if first > seen.saturating_add(1) {
            return self.note_beyond(origin, first, last);
        }
        seen = last;
        if let Some(runs) = self.beyond.get_mut(origin) {
            while let Some(run) = runs.first_entry().filter(|run| *run.key() <= seen.saturating_add(1)) {
                seen = seen.max(run.remove());
            }
            if runs.is_empty() {
                self.beyond.remove(origin);
            }
        }
        self.seen.advance(origin, seen);
        if self.caps.is_empty() {
            self.applied.advance(origin, seen);
        } else {
            self.applied = capped(&self.seen, &self.caps);
        }
    }

    fn note_beyond(&mut self, origin: &Origin, first: u64, last: u64) {
        let runs = self.beyond.entry(origin.clone()).or_default();
        let (mut first, mut last) = (first, last);
        while let Some((&start, &end)) = runs.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            runs.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        runs.insert(first, last);
        if runs.len() > RUNS_MAX {
            runs.pop_last();
        }
    }
}

fn capped(seen: &VersionVector, caps: &[(Origin, u64)]) -> VersionVector {
    let limit = |origin: &Origin| caps.iter().filter(|(of, _)| of == origin).map(|(_, cap)| *cap).min();
    seen.iter().map(|(origin, seq)| (origin.clone(), limit(origin).map_or(seq, |cap| cap.min(seq)))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;
    use crate::causality::NodeId;

    fn origin() -> Origin {
        Origin { node: NodeId::new("a").unwrap(), incarnation: 1 }
    }

    #[test]
    fn what_is_held_is_seen_but_not_applied() {
        let mut progress = Progress::default();
        progress.note(&origin(), 1, 4);
        progress.cap(vec![(origin(), 2)]);
        progress.note(&origin(), 5, 9);
        assert_eq!((progress.seen().get(&origin()), progress.applied().get(&origin())), (9, 2));
        progress.cap(Vec::new());
        assert_eq!(progress.applied().get(&origin()), 9);
    }

    proptest! {
        #[test]
        fn runs_in_any_order_are_what_their_numbers_are(runs in prop::collection::vec((1..60u64, 0..6u64), 0..40)) {
            let mut progress = Progress::default();
            let mut numbers = BTreeSet::new();
            for (first, more) in runs {
                progress.note(&origin(), first, first + more);
                numbers.extend(first..=first + more);
                let contiguous = (1..).take_while(|number| numbers.contains(number)).last().unwrap_or(0);
                prop_assert_eq!(progress.seen().get(&origin()), contiguous);
                prop_assert_eq!(progress.applied(), progress.seen());
                for number in 1..70 {
                    prop_assert_eq!(progress.has(&origin(), number, number), numbers.contains(&number));
                }
            }
        }
    }
}
