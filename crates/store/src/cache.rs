use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::StoreError;

/// One column of one row group of one segment file. Segment numbers are unique in the process, so orgs can share a
/// cache without seeing each other's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkKey {
    pub segment: u64,
    pub column: u32,
    pub chunk: u32,
}

/// Decoded columns of cold segments, shared by all databases of the process, limited in bytes. What is used once, as by
/// a scan, leaves before what is used again. A chunk that many readers miss at once is decoded by one of them.
pub struct SegmentCache {
    chunks: Cache<ChunkKey, ArrayRef, Bytes, ahash::RandomState>,
    meters: Meters,
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<ChunkKey, ArrayRef> for Bytes {
    fn weight(&self, _key: &ChunkKey, array: &ArrayRef) -> u64 {
        array.get_array_memory_size() as u64
    }
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
    pub bytes: u64,
    pub chunks: usize,
}

/// About what a chunk takes, for the cache to size its own tables by.
const CHUNK_BYTES: usize = 64 * 1024;

impl SegmentCache {
    /// Publishes `weir_store_cache_{hits,misses}_total` and `weir_store_cache_bytes` to the recorder installed by now.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Arc<SegmentCache> {
        let chunks = Cache::with(
            capacity_bytes.div_ceil(CHUNK_BYTES),
            capacity_bytes as u64,
            Bytes,
            ahash::RandomState::default(),
            DefaultLifecycle::default(),
        );
        Arc::new(SegmentCache {
            chunks,
            meters: Meters {
                hits: metrics::counter!("weir_store_cache_hits_total"),
                misses: metrics::counter!("weir_store_cache_misses_total"),
                bytes: metrics::gauge!("weir_store_cache_bytes"),
            },
        })
    }

    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            hits: self.chunks.hits(),
            misses: self.chunks.misses(),
            bytes: self.chunks.weight(),
            chunks: self.chunks.len(),
        }
    }

    /// Brings the metrics up to date: counting each hit twice would cost a look-up more than the hit.
    pub(crate) fn publish(&self) {
        let figures = self.figures();
        self.meters.hits.absolute(figures.hits);
        self.meters.misses.absolute(figures.misses);
        self.meters.bytes.set(figures.bytes as f64);
    }

    pub(crate) fn get_or_load(
        &self,
        key: ChunkKey,
        load: impl FnOnce() -> Result<ArrayRef, StoreError>,
    ) -> Result<ArrayRef, StoreError> {
        self.chunks.get_or_insert_with(&key, load)
    }

    /// Keeps a chunk that was just written, so that its first reader need not decode it.
    pub(crate) fn admit(&self, key: ChunkKey, array: ArrayRef) {
        self.chunks.insert(key, array);
    }
}

impl std::fmt::Debug for SegmentCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SegmentCache").field(&self.figures()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::Int64Type,
    };

    use super::*;

    fn key(segment: u64) -> ChunkKey {
        ChunkKey { segment, column: 0, chunk: 0 }
    }

    fn chunk(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value; 1000]))
    }

    #[test]
    fn what_is_used_again_outlives_a_scan_and_bytes_stay_under_the_cap() {
        let one = chunk(0).get_array_memory_size();
        let cache = SegmentCache::new(one * 8);
        let mut loads = 0;
        for segment in 1..1000 {
            let hot = cache.get_or_load(key(0), || {
                loads += 1;
                Ok(chunk(7))
            });
            assert_eq!(hot.unwrap().as_primitive::<Int64Type>().value(0), 7);
            cache.get_or_load(key(segment), || Ok(chunk(0))).unwrap();
            assert!(cache.figures().bytes <= one as u64 * 8);
        }
        assert_eq!(loads, 1);
        let figures = cache.figures();
        assert!(figures.hits >= 998 && figures.misses >= 1000 && figures.chunks > 1, "{figures:?}");
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
