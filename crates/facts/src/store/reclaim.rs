//! Has the engine drop the tables of what the log has left behind, on a thread of its own: the engine waits for the disk
//! meanwhile, and for merges.

use std::{sync::Arc, thread::JoinHandle};

use crate::store::{block::Number, engine::Engine, reader::Shared};

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

    /// The log has left so many bytes behind, and begins with `first`.
    pub(super) fn left(&mut self, bytes: u64, first: Number, shared: &Arc<Shared>) {
        self.behind = self.behind.saturating_add(bytes);
        if self.behind < self.at_least || self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.behind = 0;
        let shared = Arc::clone(shared);
        // What is not dropped, or not now, is dropped the next time.
        let drop_tables = move || drop(shared.with_engine(|engine: &Engine| engine.drop_before(first)));
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
