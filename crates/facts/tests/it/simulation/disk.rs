use std::sync::Arc;

use weir_facts::{Before, Cell, Commit, FactKey, Memory, Millis, Origin, Pattern, State, Storage};

/// A disk that can be full, fail, and lose what was not persisted.
#[derive(Debug)]
pub struct Disk {
    pub memory: Memory,
    /// For how many commits there is room.
    pub room: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("no space left on device")]
pub struct Full;

impl Disk {
    pub fn new() -> Disk {
        Disk { memory: Memory::crashable(), room: None }
    }

    pub fn is_full(&self) -> bool {
        self.room == Some(0)
    }
}

fn sure<T>(result: Result<T, std::convert::Infallible>) -> Result<T, Full> {
    Ok(result.unwrap_or_else(|never| match never {}))
}

impl Storage for Disk {
    type Error = Full;

    fn state(&self, key: &FactKey) -> Result<Option<Arc<State>>, Full> {
        sure(self.memory.state(key))
    }

    fn before(&self, key: &FactKey) -> Result<Option<Before>, Full> {
        sure(self.memory.before(key))
    }

    fn keys(&self, pattern: &Pattern, after: Option<&FactKey>, limit: usize) -> Result<Vec<FactKey>, Full> {
        sure(self.memory.keys(pattern, after, limit))
    }

    fn written(&self, origin: &Origin, after: u64, limit: usize) -> Result<Vec<(u64, FactKey)>, Full> {
        sure(self.memory.written(origin, after, limit))
    }

    fn ending(
        &self,
        after: (Millis, Option<&FactKey>),
        until: Millis,
        limit: usize,
    ) -> Result<Vec<(Millis, FactKey)>, Full> {
        sure(self.memory.ending(after, until, limit))
    }

    fn lost(&self, key: &FactKey, limit: usize) -> Result<Vec<Cell>, Full> {
        sure(self.memory.lost(key, limit))
    }

    fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, Full> {
        sure(self.memory.metadata(name))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), Full> {
        if self.is_full() {
            return Err(Full);
        }
        self.room = self.room.map(|room| room - 1);
        sure(self.memory.commit(commit))
    }

    fn persist(&mut self) -> Result<(), Full> {
        sure(self.memory.persist())
    }
}
