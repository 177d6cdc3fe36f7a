use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{Version, commit::Change, segment::cold::SegmentFile};

/// Which segment files must stay on disk, and why. A file goes when the current version, the kept manifests and the log
/// since the older of them no longer name it, and then with its last reader.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Arc<SegmentFile>>,
    /// Names of files that commits brought, with the commits' LSNs.
    attached: Vec<(u64, String)>,
    /// The kept manifests, oldest first: LSN and the files named.
    manifests: Vec<(u64, HashSet<String>)>,
}

/// Manifests kept: should the newest be damaged, the one before it and the log since then still tell all.
pub(crate) const MANIFESTS_KEPT: usize = 2;

impl Shelf {
    /// Keeps the files that a commit names.
    pub fn adopt(&self, change: &Change, lsn: u64) {
        let mut cold = change
            .tables
            .iter()
            .flat_map(|table| &table.pieces)
            .filter_map(|piece| piece.body.as_cold())
            .map(|cold| cold.file())
            .peekable();
        if cold.peek().is_none() {
            return;
        }
        let mut state = self.state.lock();
        for file in cold {
            state.keep(file);
            state.attached.push((lsn, file.name().to_owned()));
        }
    }

    /// Keeps the files of a version that a manifest is about to name, or named when the database was opened.
    pub fn keep_version(&self, version: &Version) {
        let mut state = self.state.lock();
        for file in files_of(version) {
            state.keep(file);
        }
    }

    /// Names of the files that commits since the kept manifests brought.
    pub fn attached_names(&self) -> Vec<String> {
        self.state.lock().attached.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Notes a manifest of that version as the newest.
    pub fn note_manifest(&self, lsn: u64, names: HashSet<String>) {
        let mut state = self.state.lock();
        state.manifests.push((lsn, names));
        let surplus = state.manifests.len().saturating_sub(MANIFESTS_KEPT);
        state.manifests.drain(..surplus);
    }

    /// The log before and up to this LSN is not needed any more.
    pub fn oldest_manifest_lsn(&self) -> u64 {
        let state = self.state.lock();
        if state.manifests.len() < MANIFESTS_KEPT {
            return 0;
        }
        state.manifests.first().map_or(0, |(lsn, _)| *lsn)
    }

    /// Lets go of files that nothing durable needs. `current` is the current version.
    pub fn sweep(&self, current: &Version) {
        let mut state = self.state.lock();
        let oldest = state.manifests.first().map_or(0, |(lsn, _)| *lsn);
        state.attached.retain(|(lsn, _)| *lsn > oldest);
        let mut needed: HashSet<String> = files_of(current).map(|file| file.name().to_owned()).collect();
        needed.extend(state.attached.iter().map(|(_, name)| name.clone()));
        needed.extend(state.manifests.iter().flat_map(|(_, names)| names.iter().cloned()));
        state.files.retain(|name, file| {
            let keep = needed.contains(name);
            if !keep {
                file.set_obsolete(true);
            }
            keep
        });
    }
}

impl State {
    fn keep(&mut self, file: &Arc<SegmentFile>) {
        file.set_obsolete(false);
        self.files.insert(file.name().to_owned(), Arc::clone(file));
    }
}

/// The segment files of a version.
pub(crate) fn files_of(version: &Version) -> impl Iterator<Item = &Arc<SegmentFile>> {
    version
        .tables
        .iter()
        .flat_map(|table| &table.entries)
        .filter_map(|entry| entry.body.as_cold())
        .map(|cold| cold.file())
}
