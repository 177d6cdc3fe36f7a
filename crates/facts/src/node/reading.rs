//! Reads, on the caller's thread.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::oneshot;

use super::{Node, NodeError, Shared, job::Command, now};
use crate::{
    clock::Millis,
    key::{FactKey, Pattern},
    replica::{Cursor, Fact, Facts, read},
    state::State,
    strategy::View,
};

impl Shared {
    /// The time readers go by; see [`Replica::time`](crate::Replica::time).
    pub(super) fn time(&self) -> Millis {
        now().max(Millis(self.clock.load(Ordering::Acquire)))
    }

    pub(super) fn check_complete(&self) -> Result<(), NodeError> {
        if self.is_serving.load(Ordering::Acquire) { Ok(()) } else { Err(NodeError::Incomplete) }
    }
}

impl Node {
    /// The time readers go by; see [`Replica::time`](crate::Replica::time).
    #[must_use]
    pub fn time(&self) -> Millis {
        self.0.shared.time()
    }

    /// # Errors
    /// [`NodeError::Incomplete`], [`NodeError::Storage`]; so for all reads.
    pub fn get(&self, key: &FactKey) -> Result<View, NodeError> {
        let shared = &*self.0.shared;
        shared.check_complete()?;
        let state = shared.reader.state(key)?;
        Ok(state.and_then(|state| read::visible(&*shared.rules, shared.time(), key, &state)))
    }

    /// Several keys as one commit left them; `None` when their values have more bytes than `bytes_max`.
    ///
    /// The writer waits meanwhile, so they are to be few.
    ///
    /// # Errors
    /// See [`Node::get`].
    pub fn get_together(&self, keys: &[FactKey], bytes_max: usize) -> Result<Option<Vec<View>>, NodeError> {
        let shared = &*self.0.shared;
        shared.check_complete()?;
        let Some(states) = shared.reader.states_within(keys, bytes_max)? else { return Ok(None) };
        let time = shared.time();
        let view = |(key, state): (&FactKey, Option<_>)| {
            state.and_then(|state: Arc<State>| read::visible(&*shared.rules, time, key, &state))
        };
        Ok(Some(keys.iter().zip(states).map(view).collect()))
    }

    /// Facts that match, by key. It looks at no more than `limit` keys, and ends after the one whose value fills
    /// `bytes_max`.
    ///
    /// # Errors
    /// See [`Node::get`].
    pub fn list(
        &self,
        pattern: &Pattern,
        after: Option<&FactKey>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Facts, NodeError> {
        let shared = &*self.0.shared;
        shared.check_complete()?;
        let keys = shared.reader.keys(pattern, after, limit)?;
        let next = keys.last().filter(|_| keys.len() == limit).cloned();
        let (mut facts, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let Some(state) = shared.reader.state(&key)? else { continue };
            bytes += state.value_bytes();
            let found = read::visible(&*shared.rules, shared.time(), &key, &state);
            let next = (bytes >= bytes_max).then(|| key.clone());
            facts.extend(found.map(|found| Fact { key, found }));
            if next.is_some() {
                return Ok(Facts { facts, next });
            }
        }
        Ok(Facts { facts, next })
    }

    /// What a reader sees of an event's key, as the event left it.
    pub(crate) fn view_of(&self, key: &FactKey, state: &State) -> View {
        read::visible(&*self.0.shared.rules, self.0.shared.time(), key, state)
    }

    /// Waits until all that readers have seen so far is durable, and gives the cursor of that.
    pub(super) async fn barrier(&self) -> Result<Cursor, NodeError> {
        let (told, answer) = oneshot::channel();
        self.0.shared.mailbox.push(Command::Barrier(told), 0, true);
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }
}
