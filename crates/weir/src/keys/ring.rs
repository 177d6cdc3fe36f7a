use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tracing::{error, info};

use super::{file::KeyFile, record::KeyRecord};
use crate::private_file::Stamp;

/// The keys as a running server holds them: as the file last said. A file that cannot be read leaves the keys as they
/// were, and is reported.
#[derive(Debug)]
pub(crate) struct KeyRing {
    file: KeyFile,
    keys: ArcSwap<HashMap<String, Arc<KeyRecord>>>,
    seen: Mutex<Option<Stamp>>,
}

impl KeyRing {
    /// # Errors
    /// What is wrong with the file.
    pub fn open(file: KeyFile) -> Result<KeyRing, super::file::KeyFileError> {
        let seen = file.stamp()?;
        let keys = index(file.load()?);
        Ok(KeyRing { file, keys: ArcSwap::from_pointee(keys), seen: Mutex::new(seen) })
    }

    /// Takes the file again if it changed, and says what changed. Costs one `stat` when nothing did.
    pub fn refresh(&self) -> Vec<KeyChange> {
        let mut seen = self.seen.lock();
        let read = self.file.stamp().and_then(|stamp| {
            if stamp == *seen {
                return Ok(Vec::new());
            }
            // Before the reading, so that a broken file is reported once and not at every look.
            *seen = stamp;
            let keys = index(self.file.load()?);
            info!(keys = keys.len(), "took the changed key file");
            let before = self.keys.swap(Arc::new(keys));
            Ok(changes(&before, &self.keys.load()))
        });
        read.unwrap_or_else(|error| {
            error!(%error, "the key file cannot be read; the keys stay as they were");
            Vec::new()
        })
    }

    pub fn get(&self, id: &str) -> Option<Arc<KeyRecord>> {
        self.keys.load().get(id).cloned()
    }

    /// Whether a key is known and holds, without counting a reference: every statement asks.
    pub fn holds(&self, id: &str, now: i64) -> bool {
        self.keys.load().get(id).is_some_and(|record| record.holds(now))
    }
}

/// What became of a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyChange {
    Issued(Arc<KeyRecord>),
    /// Revoked, or gone from the file.
    Revoked(Arc<KeyRecord>),
}

fn changes(before: &HashMap<String, Arc<KeyRecord>>, now: &HashMap<String, Arc<KeyRecord>>) -> Vec<KeyChange> {
    let issued = now.values().filter(|key| !before.contains_key(&key.id)).cloned().map(KeyChange::Issued);
    let lost =
        |key: &&Arc<KeyRecord>| key.revoked_at.is_none() && now.get(&key.id).is_none_or(|now| now.revoked_at.is_some());
    issued.chain(before.values().filter(lost).cloned().map(KeyChange::Revoked)).collect()
}

fn index(keys: Vec<KeyRecord>) -> HashMap<String, Arc<KeyRecord>> {
    keys.into_iter().map(|record| (record.id.clone(), Arc::new(record))).collect()
}
