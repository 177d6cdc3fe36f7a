use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle, GuardResult},
};

use crate::{
    causality::Origin,
    clock::Millis,
    key::{FactKey, Pattern},
    state::{Body, Cell, Part, State},
    store::{
        StoreError,
        block::{self, Location},
        encoding::read_state,
        engine::{Engine, Space},
        index::{Index, NamespaceSize},
        record::Records,
    },
};

/// Keys found under one lock: between such pieces a writer may go on.
const PIECE: usize = 512;

/// Places of a key that are looked at before the index stays locked.
const LOOKS: usize = 3;

/// `None`: there is nothing of the key.
type Cached = Option<Arc<State>>;
pub(super) type StateCache = Cache<FactKey, Cached, Weight, ahash::RandomState>;

/// Bytes that a cached state takes, about.
#[derive(Debug, Clone)]
pub(super) struct Weight;

impl Weighter<FactKey, Cached> for Weight {
    fn weight(&self, key: &FactKey, state: &Cached) -> u64 {
        const STATE: usize = 128;
        const CELL: usize = 136;
        let text = |cell: &Cell| {
            let body = if let Body::Value(json) = &cell.body { json.len() } else { 0 };
            body + if let Part::Element(id) = &cell.part { id.len() } else { 0 } + CELL
        };
        let state = state.as_ref().map_or(0, |state| STATE + state.cells().iter().map(text).sum::<usize>());
        (state + key.as_str().len() + 96) as u64
    }
}

pub(super) struct Shared {
    pub(super) records: Records,
    /// `None` for good when it could not be opened again after a failure.
    pub(super) engine: RwLock<Option<Engine>>,
    /// Held by a commit from before it is with the engine until it has taken effect: what is in the engine may have more
    /// than the index meanwhile.
    pub(super) commit: Mutex<()>,
    /// Held by a commit while it takes effect. Blocks that it speaks of are there as long as it is locked.
    pub(super) index: RwLock<Index>,
    pub(super) cache: StateCache,
}

impl Shared {
    pub(super) fn new(records: Records, engine: Engine, index: Index, cache_bytes: u64) -> Shared {
        let cache = Cache::with(
            usize::try_from(cache_bytes / 400).unwrap_or(0).max(16),
            cache_bytes,
            Weight,
            ahash::RandomState::default(),
            DefaultLifecycle::default(),
        );
        let (engine, index) = (RwLock::new(Some(engine)), RwLock::new(index));
        Shared { records, engine, commit: Mutex::new(()), index, cache }
    }

    /// # Errors
    /// The engine is gone.
    pub(super) fn with_engine<T>(&self, work: impl FnOnce(&Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let engine: RwLockReadGuard<'_, Option<Engine>> = self.engine.read();
        match &*engine {
            Some(engine) => work(engine),
            None => Err(StoreError::Failed { reason: "the files could not be opened again".to_owned() }),
        }
    }

    /// `found`, called with the index locked, is told what the key has then.
    fn load<T>(&self, key: &FactKey, found: impl FnOnce(Cached) -> T) -> Result<T, StoreError> {
        // Callers may have the index locked already.
        let mut location = self.index.read_recursive().location(key);
        for _ in 0..LOOKS {
            let state = self.load_from(location, key);
            let index = self.index.read_recursive();
            let now = index.location(key);
            if now == location {
                return state.map(found);
            }
            // Whatever came of it: the block may be gone by now, or its key.
            location = now;
        }
        let index = self.index.read_recursive();
        self.load_from(index.location(key), key).map(found)
    }

    fn load_from(&self, location: Option<Location>, key: &FactKey) -> Result<Cached, StoreError> {
        let Some(location) = location else { return Ok(None) };
        let row = block::row_of(location.block);
        let damaged = || self.records.damaged(Space::Live, &row);
        let record = self.with_engine(|engine| engine.get(Space::Live, &row))?.ok_or_else(damaged)?;
        let payload = self.records.open_block(&row, &record)?;
        let state = block::state_at(&payload, location, key).ok_or_else(damaged)?;
        Ok(Some(Arc::new(read_state(state).map_err(|_| damaged())?)))
    }
}

/// Reads a store from any thread while its owner writes. It is cheap to clone; the store's files stay open as long as
/// there is one.
///
/// Two reads may see different commits. [`states`](Reader::states) sees none half done.
#[derive(Clone)]
pub struct Reader(pub(super) Arc<Shared>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// # Errors
    /// [`StoreError`]: the files could not be read or are damaged. So for all.
    pub fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, StoreError> {
        let shared = &*self.0;
        match shared.cache.get_value_or_guard(key, None) {
            GuardResult::Value(state) => Ok(state),
            // Commits replace what is cached and do not know of what is on its way there: it comes while there is none.
            GuardResult::Guard(guard) => shared.load(key, |state| {
                let _ = guard.insert(state.clone());
                state
            }),
            GuardResult::Timeout => shared.load(key, |state| state),
        }
    }

    /// States of several keys, in their order, as one commit left them.
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn states(&self, keys: &[FactKey]) -> Result<Vec<Option<Arc<State>>>, StoreError> {
        let _none_half_done = self.0.index.read();
        keys.iter().map(|key| self.state(key)).collect()
    }

    /// The same, unless their values have more bytes than `bytes_max`; then `None`.
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn states_within(
        &self,
        keys: &[FactKey],
        bytes_max: usize,
    ) -> Result<Option<Vec<Option<Arc<State>>>>, StoreError> {
        let _none_half_done = self.0.index.read();
        let (mut states, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for key in keys {
            let state = self.state(key)?;
            bytes += state.as_deref().map_or(0, State::value_bytes);
            if bytes > bytes_max {
                return Ok(None);
            }
            states.push(state);
        }
        Ok(Some(states))
    }

    /// See [`Storage::keys`](crate::Storage::keys).
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Result<Vec<FactKey>, StoreError> {
        let mut found: Vec<FactKey> = Vec::new();
        while found.len() < limit {
            let wanted = (limit - found.len()).min(PIECE);
            let piece = self.0.index.read().keys(pattern, found.last().or(after), wanted);
            let is_last = piece.len() < wanted;
            found.extend(piece);
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// See [`Storage::written`](crate::Storage::written).
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn written(&self, origin: &Origin, after: u64, limit: usize) -> Result<Vec<(u64, FactKey)>, StoreError> {
        Ok(self.0.index.read().written(origin, after, limit))
    }

    /// See [`Storage::ending`](crate::Storage::ending).
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Result<Vec<(Millis, FactKey)>, StoreError> {
        Ok(self.0.index.read().ending(after, until, limit))
    }

    /// See [`Storage::lost`](crate::Storage::lost).
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, StoreError> {
        let shared = &*self.0;
        let prefix = shared.records.history_prefix(key);
        let mut cells = Vec::new();
        if limit == 0 {
            return Ok(cells);
        }
        shared.with_engine(|engine| {
            engine.scan(Space::History, &prefix, true, |(row, record)| {
                let (found, cell) = shared.records.read_lost(&row, &record)?;
                if found != *key {
                    return Err(shared.records.damaged(Space::History, &row));
                }
                cells.push(cell);
                Ok(cells.len() < limit)
            })
        })?;
        Ok(cells)
    }

    /// See [`Storage::metadata`](crate::Storage::metadata).
    ///
    /// # Errors
    /// See [`Reader::state`].
    pub fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let shared = &*self.0;
        let row = shared.records.metadata_row(name);
        let record = shared.with_engine(|engine| engine.get(Space::Metadata, &row))?;
        record.map(|record| shared.records.read_metadata(&row, &record)).transpose()
    }

    /// How much each namespace has.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<String, NamespaceSize> {
        self.0.index.read().sizes().clone()
    }

    /// Data keys that records may be sealed with.
    #[must_use]
    pub fn data_keys(&self) -> usize {
        self.0.records.keyring.as_ref().map_or(0, |keyring| keyring.read().data_keys())
    }

    /// Keys that something is remembered of, deletions too.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.index.read().len()
    }
}
