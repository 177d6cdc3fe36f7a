use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::{Array, ArrayRef};
use parking_lot::Mutex;

use crate::StoreError;

/// One column of one row group of one segment file. Segment numbers are unique in the process, so orgs can share a
/// cache without seeing each other's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkKey {
    pub segment: u64,
    pub column: u32,
    pub chunk: u32,
}

/// Decoded columns of cold segments, shared by all databases of the process, limited in bytes; the least recently used
/// leave first. A chunk that many readers miss at once is decoded by one of them.
#[derive(Debug)]
pub struct SegmentCache {
    capacity_bytes: usize,
    state: Mutex<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    meters: Meters,
}

#[derive(Default)]
struct State {
    slots: HashMap<ChunkKey, Slot, ahash::RandomState>,
    /// From the least recently used on.
    order: BTreeMap<u64, ChunkKey>,
    loading: HashMap<ChunkKey, Arc<Mutex<()>>, ahash::RandomState>,
    tick: u64,
    bytes: usize,
}

struct Slot {
    tick: u64,
    bytes: usize,
    array: ArrayRef,
}

struct Meters {
    hits: metrics::Counter,
    misses: metrics::Counter,
    bytes: metrics::Gauge,
}

/// Figures of a cache since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheFigures {
    pub hits: u64,
    pub misses: u64,
    pub bytes: usize,
    pub chunks: usize,
}

/// A slot used within this many touches of now keeps its place: reordering on every point lookup would cost more than
/// it tells.
const TOUCH_SLACK: u64 = 256;

impl SegmentCache {
    /// Publishes `weir_store_cache_{hits,misses}_total` and `weir_store_cache_bytes` to the recorder installed by now.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Arc<SegmentCache> {
        Arc::new(SegmentCache {
            capacity_bytes,
            state: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            meters: Meters {
                hits: metrics::counter!("weir_store_cache_hits_total"),
                misses: metrics::counter!("weir_store_cache_misses_total"),
                bytes: metrics::gauge!("weir_store_cache_bytes"),
            },
        })
    }

    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        let state = self.state.lock();
        CacheFigures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: state.bytes,
            chunks: state.slots.len(),
        }
    }

    pub(crate) fn get_or_load(
        &self,
        key: ChunkKey,
        load: impl FnOnce() -> Result<ArrayRef, StoreError>,
    ) -> Result<ArrayRef, StoreError> {
        let gate = {
            let mut state = self.state.lock();
            if let Some(array) = state.touch(key) {
                self.count_hit();
                return Ok(array);
            }
            Arc::clone(state.loading.entry(key).or_default())
        };
        let turn = gate.lock();
        if let Some(array) = self.state.lock().touch(key) {
            self.count_hit();
            return Ok(array);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.meters.misses.increment(1);
        let loaded = load();
        let mut state = self.state.lock();
        state.loading.remove(&key);
        drop(turn);
        let array = loaded?;
        state.insert(key, Arc::clone(&array), self.capacity_bytes);
        self.publish_bytes(&state);
        Ok(array)
    }

    /// Keeps a chunk that was just written, so that its first reader need not decode it.
    pub(crate) fn admit(&self, key: ChunkKey, array: ArrayRef) {
        let mut state = self.state.lock();
        state.insert(key, array, self.capacity_bytes);
        self.publish_bytes(&state);
    }

    fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.meters.hits.increment(1);
    }

    fn publish_bytes(&self, state: &State) {
        self.meters.bytes.set(state.bytes as f64);
    }
}

impl State {
    fn touch(&mut self, key: ChunkKey) -> Option<ArrayRef> {
        self.tick += 1;
        let slot = self.slots.get_mut(&key)?;
        if self.tick - slot.tick > TOUCH_SLACK {
            self.order.remove(&slot.tick);
            slot.tick = self.tick;
            self.order.insert(slot.tick, key);
        }
        Some(Arc::clone(&slot.array))
    }

    /// A chunk larger than the whole cache is not kept.
    fn insert(&mut self, key: ChunkKey, array: ArrayRef, capacity: usize) {
        let bytes = array.get_array_memory_size();
        if bytes > capacity {
            return;
        }
        self.tick += 1;
        let tick = self.tick;
        if let Some(old) = self.slots.insert(key, Slot { tick, bytes, array }) {
            self.order.remove(&old.tick);
            self.bytes -= old.bytes;
        }
        self.order.insert(tick, key);
        self.bytes += bytes;
        while self.bytes > capacity {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.bytes -= slot.bytes;
            }
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("chunks", &self.slots.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn key(segment: u64) -> ChunkKey {
        ChunkKey { segment, column: 0, chunk: 0 }
    }

    fn chunk(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value; 1000]))
    }

    #[test]
    fn the_least_recently_used_leave_first_and_bytes_stay_under_the_cap() {
        let one = chunk(0).get_array_memory_size();
        let cache = SegmentCache::new(one * 3);
        for segment in 0..10 {
            cache.get_or_load(key(segment), || Ok(chunk(0))).unwrap();
            assert!(cache.figures().bytes <= one * 3);
        }
        assert_eq!(cache.figures(), CacheFigures { hits: 0, misses: 10, bytes: one * 3, chunks: 3 });
        cache.get_or_load(key(9), || Err(StoreError::Closed)).unwrap();
        assert_eq!(cache.figures().hits, 1);
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let cache = SegmentCache::new(1 << 20);
        assert!(cache.get_or_load(key(1), || Err(StoreError::Closed)).is_err());
        assert!(cache.get_or_load(key(1), || Ok(chunk(1))).is_ok());
    }

    #[test]
    fn many_readers_decode_once() {
        let cache = SegmentCache::new(1 << 20);
        let loads = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache
                        .get_or_load(key(1), || {
                            loads.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(std::time::Duration::from_millis(5));
                            Ok(chunk(1))
                        })
                        .unwrap()
                });
            }
        });
        assert_eq!(loads.into_inner(), 1);
    }
}
