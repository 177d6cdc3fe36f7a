use std::{borrow::Borrow, hash::Hash};

use ahash::RandomState;
use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;

/// A concurrent map that never holds more than a set number of entries. A full shard is emptied: what it holds can be
/// computed again.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    hasher: RandomState,
    shards: Vec<RwLock<HashMap<K, V, RandomState>>>,
    shard_entries_max: usize,
}

const SHARDS: usize = 16;

impl<K: Hash + Eq, V: Clone> BoundedMap<K, V> {
    pub fn new(entries_max: usize) -> BoundedMap<K, V> {
        let hasher = RandomState::new();
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect();
        BoundedMap { hasher, shards, shard_entries_max: (entries_max / SHARDS).max(1) }
    }

    /// The value of a key, made first where it is missing. The maker runs outside the lock; of two that race, the
    /// first to finish stays.
    pub fn get_or_make<Q, E>(&self, key: &Q, make: impl FnOnce() -> Result<(K, V), E>) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let shard = self.shard(key);
        if let Some(shard) = shard
            && let Some(value) = shard.read().get(key)
        {
            return Ok(value.clone());
        }
        let (made_key, value) = make()?;
        let Some(shard) = shard else { return Ok(value) };
        let mut entries = shard.write();
        if entries.len() >= self.shard_entries_max {
            entries.clear();
        }
        Ok(entries.entry(made_key).or_insert(value).clone())
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> Option<&RwLock<HashMap<K, V, RandomState>>> {
        // The low bits place an entry inside its shard, the high ones choose the shard.
        let shard = usize::try_from(self.hasher.hash_one(key) >> 60).unwrap_or_default();
        self.shards.get(shard % SHARDS)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

/// Lets `(&A, &B)` look up `(A, B)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PairRef<'a, A, B>(pub A, pub &'a B);

impl<A: Eq, B: Eq> Equivalent<(A, B)> for PairRef<'_, A, B> {
    fn equivalent(&self, key: &(A, B)) -> bool {
        self.0 == key.0 && self.1.borrow() == &key.1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn stays_bounded_and_remembers() {
        let map: BoundedMap<u64, u64> = BoundedMap::new(64);
        for key in 0..10_000_u64 {
            let made = map.get_or_make(&key, || Ok::<_, Infallible>((key, key * 2))).unwrap();
            assert_eq!(made, key * 2);
            assert!(map.len() <= 64);
        }
        assert_eq!(map.get_or_make(&9_999, || Ok::<_, Infallible>((9_999, 0))).unwrap(), 19_998);
    }
}
