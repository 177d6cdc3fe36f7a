//! Asks a join's keys of the rows that passed the scan's filters.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::and,
};
use datafusion::common::DataFusionError;

use super::filter::Passing;
use crate::join_keys::JoinKeys;

/// A join's keys, and the column they are asked of, by its place in the source.
#[derive(Debug, Clone)]
pub(crate) struct KeyProbe {
    pub column: usize,
    pub keys: Arc<JoinKeys>,
}

/// Rows after which a probe that leaves hardly any out is asked no more.
const TRIAL_ROWS: usize = 1 << 17;

/// A probe in one reader's use.
#[derive(Debug)]
pub(super) struct Probing {
    probe: KeyProbe,
    asked: usize,
    passed: usize,
}

impl Probing {
    pub(super) fn new(probe: KeyProbe) -> Probing {
        Probing { probe, asked: 0, passed: 0 }
    }

    pub(super) fn column(&self) -> usize {
        self.probe.column
    }

    /// The keys are there, and worth asking.
    pub(super) fn is_active(&self) -> bool {
        let useless = self.asked >= TRIAL_ROWS && self.passed > self.asked / 4 * 3;
        !useless && self.probe.keys.set().is_some()
    }

    /// `batch` has the probe's column alone.
    pub(super) fn narrow(&mut self, batch: &RecordBatch, passing: Passing) -> Result<Passing, DataFusionError> {
        let found = match (self.probe.keys.set(), batch.columns().first()) {
            (Some(set), Some(column)) => set.may_hold(column),
            _ => None,
        };
        let Some(found) = found else { return Ok(passing) };
        let (before, mask) = match passing {
            Passing::None => return Ok(Passing::None),
            Passing::All => (batch.num_rows(), found),
            Passing::Some(mask) => (mask.true_count(), and(&mask, &found)?),
        };
        let after = mask.true_count();
        self.asked += before;
        self.passed += after;
        Ok(passing_of(mask, after))
    }
}

fn passing_of(mask: BooleanArray, count: usize) -> Passing {
    match count {
        0 => Passing::None,
        all if all == mask.len() => Passing::All,
        _ => Passing::Some(mask),
    }
}
