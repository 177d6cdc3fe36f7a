use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use weir_engine::Control;
use weir_model::{Code, Refusal, Result};
use weir_policy::Priority;

use crate::{cancel::within, gates::governor::Paced};

/// A slot among the running statements of the process.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub paced: Paced,
    pub slots: Slots,
}

/// The slots a statement holds, given back when it ends.
#[derive(Debug)]
pub(crate) struct Slots {
    _running: Slot,
    _scan: Option<Slot>,
}

/// Gate 5. Waits for a slot, high priority first; never refuses for load. Refuses with `admission_timeout` only past
/// the wait that the operator set. Costs one short lock when slots are free.
#[derive(Debug)]
pub(crate) struct Admission {
    running: Semaphore,
    scans: Semaphore,
    wait: Option<Duration>,
}

impl Admission {
    pub(crate) fn new(running: usize, scans: usize, wait: Option<Duration>) -> Admission {
        Admission { running: Semaphore::new(running), scans: Semaphore::new(scans), wait }
    }

    pub(crate) async fn pass(&self, paced: Paced, priority: Priority, control: &Control) -> Result<Admitted> {
        let slots = self.slots(priority, control).await?;
        Ok(Admitted { paced, slots })
    }

    /// For a statement that gave its slots up while its client took its time.
    pub(crate) async fn slots(&self, priority: Priority, control: &Control) -> Result<Slots> {
        let running = self.slot(&self.running, priority, control).await?;
        Ok(Slots { _running: running, _scan: None })
    }

    /// A full scan needs a second slot, of which there are fewer. While it waits it gives its first one up, so that
    /// waiting scans never keep small statements from running.
    pub(crate) async fn pass_scan(&self, slots: Slots, priority: Priority, control: &Control) -> Result<Slots> {
        if let Some(scan) = self.scans.try_acquire() {
            return Ok(Slots { _scan: Some(scan), ..slots });
        }
        drop(slots);
        let scan = self.slot(&self.scans, priority, control).await?;
        let running = self.slot(&self.running, priority, control).await?;
        Ok(Slots { _running: running, _scan: Some(scan) })
    }

    async fn slot(&self, semaphore: &Semaphore, priority: Priority, control: &Control) -> Result<Slot> {
        if let Some(slot) = semaphore.try_acquire() {
            return Ok(slot);
        }
        let waiting = semaphore.acquire(priority);
        let Some(wait) = self.wait else { return within(control, waiting).await };
        within(control, tokio::time::timeout(wait, waiting)).await?.map_err(|_| {
            Refusal::new(Code::AdmissionTimeout, "no slot became free in time")
                .detail(format!("waited_ms={}", wait.as_millis()))
                .hint("retry later, or run fewer statements at once")
        })
    }
}

/// A counting semaphore with two queues. A waiter is handed its slot; one that gave up passes it on.
#[derive(Debug)]
struct Semaphore(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    free: usize,
    high: VecDeque<oneshot::Sender<Slot>>,
    normal: VecDeque<oneshot::Sender<Slot>>,
}

#[derive(Debug)]
struct Slot(Option<Arc<Mutex<Queue>>>);

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        loop {
            let waiter = {
                let mut state = queue.lock();
                match state.high.pop_front().or_else(|| state.normal.pop_front()) {
                    Some(waiter) => waiter,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            };
            match waiter.send(Slot(Some(queue.clone()))) {
                Ok(()) => return,
                // The waiter gave up; its slot must not pass itself on while we hold this loop.
                Err(mut returned) => drop(returned.0.take()),
            }
        }
    }
}

impl Semaphore {
    fn new(slots: usize) -> Semaphore {
        Semaphore(Arc::new(Mutex::new(Queue { free: slots.max(1), high: VecDeque::new(), normal: VecDeque::new() })))
    }

    fn try_acquire(&self) -> Option<Slot> {
        let mut state = self.0.lock();
        state.free = state.free.checked_sub(1)?;
        drop(state);
        Some(Slot(Some(self.0.clone())))
    }

    async fn acquire(&self, priority: Priority) -> Slot {
        let waiting = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Slot(Some(self.0.clone()));
            }
            let (sender, waiting) = oneshot::channel();
            match priority {
                Priority::High => state.high.push_back(sender),
                Priority::Normal => state.normal.push_back(sender),
            }
            waiting
        };
        // A sender is only ever dropped by sending, as the queue outlives its waiters.
        waiting.await.unwrap_or(Slot(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn high_priority_goes_first_and_given_up_waits_lose_no_slot() {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = semaphore.try_acquire().unwrap();
        assert!(semaphore.try_acquire().is_none());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, priority) in [("a", Priority::Normal), ("b", Priority::Normal), ("c", Priority::High)] {
            let (semaphore, order) = (semaphore.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let slot = semaphore.acquire(priority).await;
                order.lock().push(name);
                drop(slot);
            }));
            tokio::task::yield_now().await;
        }
        let gave_up = tokio::time::timeout(Duration::from_millis(5), semaphore.acquire(Priority::High)).await;
        assert!(gave_up.is_err());
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), ["c", "a", "b"]);
        assert!(semaphore.try_acquire().is_some());
    }
}
