//! The log's writing end: one file that grows, and what is derived from its records as they go by.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
};

use crate::{
    AuditError, Hash,
    chain::{Chained, Chains, Who},
    error::AppendError,
    layout::{Layout, log_name, sync_folder},
    merkle::Frontier,
    state::LogFile,
};

/// What the log needs to know of a record besides its bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub chained: Chained,
    pub leaf: Hash,
    pub who: Arc<Who>,
}

/// Records that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    pub entries: Vec<Entry>,
}

impl Batch {
    /// Takes in what was queued later.
    pub fn push_behind(&mut self, mut later: Batch) {
        self.bytes.extend_from_slice(&later.bytes);
        self.entries.append(&mut later.entries);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.entries.clear();
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    layout: Layout,
    file: Arc<File>,
    current: LogFile,
    /// Files that no longer grow.
    finished: Vec<LogFile>,
    frontier: Frontier,
    chains: Chains,
    /// Leaves that the `leaves` file does not hold yet.
    unflushed: Vec<Hash>,
    file_bytes_max: u64,
    /// Every write finds the disk full.
    #[cfg(test)]
    pub full: bool,
}

/// Where a log stands when it is opened: what recovery found.
#[derive(Debug)]
pub(crate) struct Standing {
    pub finished: Vec<LogFile>,
    pub current: LogFile,
    pub frontier: Frontier,
    pub chains: Chains,
}

impl Log {
    pub fn open(layout: Layout, standing: Standing, file_bytes_max: u64) -> Result<Log, AuditError> {
        let Standing { finished, current, frontier, chains } = standing;
        let path = layout.log(current.first);
        let file = Arc::new(open_to_append(&path).map_err(AuditError::io(&path))?);
        sync_folder(&layout.audit())?;
        Ok(Log {
            layout,
            file,
            current,
            finished,
            frontier,
            chains,
            unflushed: Vec::new(),
            file_bytes_max,
            #[cfg(test)]
            full: false,
        })
    }

    /// Records written.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The first record of the file that grows.
    pub fn current_file(&self) -> u64 {
        self.current.first
    }

    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Every file with its length, the growing one last.
    pub fn files(&self) -> Vec<LogFile> {
        self.finished.iter().copied().chain([self.current]).collect()
    }

    pub fn file_count(&self) -> usize {
        self.finished.len() + 1
    }

    pub fn take_unflushed(&mut self) -> Vec<Hash> {
        std::mem::take(&mut self.unflushed)
    }

    /// Gives back what was taken and could not be flushed.
    pub fn put_back_unflushed(&mut self, mut leaves: Vec<Hash>) {
        leaves.append(&mut self.unflushed);
        self.unflushed = leaves;
    }

    /// Writes a batch with one system call; [`Log::account`] must follow.
    ///
    /// # Errors
    /// After [`AppendError::Broken`] the log must not be written again.
    pub fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        if self.current.bytes >= self.file_bytes_max {
            self.rotate()?;
        }
        self.write(&batch.bytes).map_err(|error| {
            AppendError::of(self.layout.log(self.current.first), error, || self.file.set_len(self.current.bytes))
        })?;
        self.current.bytes += batch.bytes.len() as u64;
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        #[cfg(test)]
        if self.full {
            (&*self.file).write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        (&*self.file).write_all(bytes)
    }

    /// Takes in what was appended, and empties the batch.
    pub fn account(&mut self, batch: &mut Batch) {
        for entry in &batch.entries {
            self.frontier.push(entry.leaf);
            self.unflushed.push(entry.leaf);
            // The writer makes the links it advances by; a break here would be its own bug and show in `verify`.
            let breaks = self.chains.advance(&entry.chained, entry.leaf, Some(&entry.who));
            debug_assert!(breaks.is_empty(), "{breaks:?}");
        }
        batch.clear();
    }

    /// Makes every later write fail.
    #[cfg(test)]
    pub fn make_unwritable(&mut self) {
        self.file = Arc::new(File::open(self.layout.log(self.current.first)).unwrap());
    }

    /// Begins the next file, the full one being durable first: whatever is in a file that another follows, is whole.
    fn rotate(&mut self) -> Result<(), AppendError> {
        let synced = self.file.sync_data().map_err(AuditError::io(self.layout.log(self.current.first)));
        synced.map_err(AppendError::Broken)?;
        let first = self.size();
        let path = self.layout.log(first);
        let file = open_to_append(&path).map_err(|error| AppendError::of(&path, error, || Ok(())))?;
        sync_folder(&self.layout.audit()).map_err(AppendError::Broken)?;
        self.file = Arc::new(file);
        self.finished.push(self.current);
        self.current = LogFile { first, bytes: 0 };
        tracing::debug!(file = log_name(first), "the audit journal begins a file");
        Ok(())
    }
}

fn open_to_append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
