//! Join keys, told to the scans of the other side (sideways information passing, Beeri and Ramakrishnan 1991).
//!
//! A hash join reads its build side whole before the first row of its probe side. What it read is gathered
//! ([`gather`]) into a set of keys, and the probe side's scans ([`push`]) leave out rows whose key is not in it: they
//! would find no partner. A scan asks the set after its row policy, of rows that the policy let through. Nobody waits
//! for a set: a scan that starts before it is complete passes every row, and the join decides as ever.

mod gather;
mod push;
mod set;

use std::sync::{Arc, OnceLock};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

pub(crate) use self::push::PushJoinKeys;
use self::set::KeySet;
pub(crate) use self::set::is_key_type;

/// More keys than this seldom leave anything out.
const KEYS_MAX: usize = 1 << 20;

/// The keys of one column of a join's build side.
#[derive(Debug)]
pub(crate) struct JoinKeys {
    gathered: Mutex<Gathered>,
    /// There once every partition of the build side was read to its end.
    set: OnceLock<KeySet>,
}

#[derive(Debug, Default)]
struct Gathered {
    values: Vec<i64>,
    /// By partition, whether it was begun.
    begun: Vec<bool>,
    finished: usize,
    /// Too many keys, too little memory, or a partition that was read twice: the set will not be made.
    given_up: bool,
    reservation: Option<MemoryReservation>,
}

impl JoinKeys {
    fn new(partitions: usize) -> JoinKeys {
        let gathered = Gathered { begun: vec![false; partitions], ..Gathered::default() };
        JoinKeys { gathered: Mutex::new(gathered), set: OnceLock::new() }
    }

    pub(crate) fn set(&self) -> Option<&KeySet> {
        self.set.get()
    }

    fn begin(&self, partition: usize) {
        let mut gathered = self.gathered.lock();
        match gathered.begun.get_mut(partition) {
            Some(begun) if !*begun => *begun = true,
            _ => gathered.give_up(),
        }
    }

    fn is_given_up(&self) -> bool {
        self.gathered.lock().given_up
    }

    /// A partition was read to its end, and these are its keys.
    fn finish(&self, keys: &[i64], pool: &Arc<dyn MemoryPool>) {
        let mut gathered = self.gathered.lock();
        if gathered.given_up {
            return;
        }
        if gathered.values.len() + keys.len() > KEYS_MAX || !gathered.reserve(keys.len(), pool) {
            gathered.give_up();
            return;
        }
        gathered.values.extend_from_slice(keys);
        gathered.finished += 1;
        if gathered.finished == gathered.begun.len() {
            let values = std::mem::take(&mut gathered.values);
            // Only the first attempt to set it counts, and there is only one.
            let _ = self.set.set(KeySet::of(&values));
        }
    }
}

impl Gathered {
    /// The set takes no more than the keys themselves do, and both are there for a moment.
    fn reserve(&mut self, keys: usize, pool: &Arc<dyn MemoryPool>) -> bool {
        let reservation = self.reservation.get_or_insert_with(|| MemoryConsumer::new("join keys").register(pool));
        reservation.try_grow(keys * 2 * size_of::<i64>()).is_ok()
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.values = Vec::new();
        self.reservation = None;
    }
}

#[cfg(test)]
mod tests;
