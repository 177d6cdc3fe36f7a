//! Has the engine drop the tables of what the log has left behind, on a thread of its own: the engine waits for the disk
//! meanwhile, and for merges.
//!
//! Tables are gone at once, and a power failure takes back commits that are not durable. So first all are made durable that
//! left these tables behind: what a shorter history needs is there as long as the history may become as short.

use std::{sync::Arc, thread::JoinHandle};

use crate::store::{StoreError, Syncer, block::Number, reader::Shared};

#[derive(Debug)]
pub(super) struct Reclaim {
    /// Bytes left behind since the last time.
    behind: u64,
    /// For less it is not done.
    at_least: u64,
    thread: Option<JoinHandle<()>>,
}

impl Reclaim {
    pub(super) fn new(at_least: u64) -> Reclaim {
        Reclaim { behind: 0, at_least, thread: None }
    }

    /// The log has left so many bytes behind, and begins with `first` by a commit that the syncer knows of.
    pub(super) fn left(&mut self, bytes: u64, first: Number, shared: &Arc<Shared>, syncer: &Syncer) {
        self.behind = self.behind.saturating_add(bytes);
        if self.behind < self.at_least || self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.behind = 0;
        let (shared, syncer) = (Arc::clone(shared), syncer.clone());
        let dropped = move || -> Result<(), StoreError> {
            syncer.sync()?;
            shared.with_engine(|engine| engine.drop_before(first))
        };
        // What is not dropped, or not now, is dropped the next time.
        let drop_tables = move || drop(dropped());
        self.thread = std::thread::Builder::new().name("facts-reclaim".to_owned()).spawn(drop_tables).ok();
    }
}

impl Drop for Reclaim {
    fn drop(&mut self) {
        // It has the files open.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
