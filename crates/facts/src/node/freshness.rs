//! How old what a node knows of the others may be.

use std::{collections::BTreeMap, time::Instant};

use crate::causality::{NodeId, VersionVector};

/// Since when a node may have missed something of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InStep {
    /// There are no others.
    Alone,
    /// Some member was never in step with it.
    Never,
    /// Then it had all that each member had said.
    Since(Instant),
}

impl InStep {
    /// In milliseconds.
    pub(super) fn staleness_ms(self, now: Instant) -> u64 {
        match self {
            InStep::Alone => 0,
            InStep::Never => u64::MAX,
            InStep::Since(at) => u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// By the times at which statuses came here, so that no other node's clock matters.
#[derive(Debug, Default)]
pub(super) struct Freshness(BTreeMap<NodeId, Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// What a member said it had, and not all of which is here yet.
    waiting: Option<(Instant, VersionVector)>,
    in_step: Option<Instant>,
}

impl Freshness {
    /// A member's status came. Of several that wait the first is kept: the others cover it.
    pub(super) fn heard(&mut self, node: &NodeId, at: Instant, has: &VersionVector) {
        if !self.0.contains_key(node) {
            self.0.insert(node.clone(), Heard::default());
        }
        if let Some(heard) = self.0.get_mut(node) {
            heard.waiting.get_or_insert_with(|| (at, has.clone()));
        }
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// How it stands when all this was applied.
    pub(super) fn in_step(&mut self, members: &[NodeId], applied: &VersionVector) -> InStep {
        let mut oldest = InStep::Alone;
        for member in members {
            let at = self.0.get_mut(member).and_then(|heard| heard.settle(applied));
            oldest = match (oldest, at) {
                (InStep::Never, _) | (_, None) => InStep::Never,
                (InStep::Alone, Some(at)) => InStep::Since(at),
                (InStep::Since(oldest), Some(at)) => InStep::Since(oldest.min(at)),
            };
        }
        oldest
    }
}

impl Heard {
    fn settle(&mut self, applied: &VersionVector) -> Option<Instant> {
        if let Some((at, _)) = self.waiting.take_if(|(_, has)| applied.covers_all(has)) {
            self.in_step = Some(at);
        }
        self.in_step
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;
    use crate::Origin;

    #[test]
    fn a_node_is_in_step_once_it_has_what_each_member_said() {
        let [a, b] = ["a", "b"].map(|name| NodeId::new(name).unwrap());
        let vector =
            |seq| -> VersionVector { [(Origin { node: a.clone(), incarnation: 1 }, seq)].into_iter().collect() };
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut freshness = Freshness::default();
        assert_eq!(freshness.in_step(&[], &vector(0)), InStep::Alone);
        assert_eq!(freshness.in_step(std::slice::from_ref(&a), &vector(0)), InStep::Never);
        freshness.heard(&a, at(10), &vector(5));
        assert_eq!(freshness.in_step(std::slice::from_ref(&a), &vector(4)), InStep::Never);
        freshness.heard(&a, at(20), &vector(6));
        assert_eq!(freshness.in_step(std::slice::from_ref(&a), &vector(5)), InStep::Since(at(10)));
        freshness.heard(&a, at(30), &vector(6));
        assert_eq!(freshness.in_step(&[a.clone(), b.clone()], &vector(6)), InStep::Never);
        freshness.heard(&b, at(40), &vector(0));
        assert_eq!(freshness.in_step(&[a.clone(), b.clone()], &vector(6)), InStep::Since(at(30)));
        freshness.forget(&a);
        assert_eq!(freshness.in_step(std::slice::from_ref(&b), &vector(6)), InStep::Since(at(40)));
        assert_eq!(InStep::Since(at(40)).staleness_ms(at(100)), 60);
        assert_eq!((InStep::Alone.staleness_ms(begin), InStep::Never.staleness_ms(begin)), (0, u64::MAX));
    }
}
