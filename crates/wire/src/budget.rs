use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_model::{Code, Refusal, Result};

/// What every connection may buffer of a message without asking.
pub(crate) const FREE_BYTES: usize = 1 << 20;
const UNIT_BYTES: usize = 64 * 1024;

/// Bounds what all connections together hold of long messages, counted as bytes arrive, not as they are claimed.
#[derive(Debug, Clone)]
pub(crate) struct InputBudget(Arc<Semaphore>);

/// One connection's part of the budget.
#[derive(Debug)]
pub(crate) struct InputShare {
    budget: InputBudget,
    held: Option<OwnedSemaphorePermit>,
}

impl InputBudget {
    pub(crate) fn new(bytes: usize) -> InputBudget {
        InputBudget(Arc::new(Semaphore::new((bytes / UNIT_BYTES).min(Semaphore::MAX_PERMITS))))
    }

    pub(crate) fn share(&self) -> InputShare {
        InputShare { budget: self.clone(), held: None }
    }
}

impl InputShare {
    /// Accounts for so many buffered bytes.
    ///
    /// # Errors
    ///
    /// `memory_exceeded` when the others hold the rest.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<()> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(UNIT_BYTES);
        let missing = wanted.saturating_sub(self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let permit = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.budget.0).try_acquire_many_owned(missing).ok())
            .ok_or_else(|| {
                Refusal::new(Code::MemoryExceeded, "too many long messages are in flight")
                    .hint("try again, or send bulk data with COPY")
            })?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }

    /// Gives back what a handled message took.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let budget = InputBudget::new(4 << 20);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.cover(4 << 20).is_ok() && second.cover(2 << 20).is_ok());
        assert_eq!(second.cover(3 << 20).unwrap_err().code(), Code::MemoryExceeded);
        assert!(second.cover(FREE_BYTES).is_ok());
        first.release();
        assert!(second.cover(5 << 20).is_ok() && first.cover(2 << 20).is_err());
        drop(second);
        assert!(first.cover(5 << 20).is_ok());
    }
}
