//! What a node tells of itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Namespaces, Node, NodeError, job::Command};
use crate::{
    causality::Origin,
    key::{FactKey, Pattern},
    replica::{Counts, Cursor},
    store::NamespaceSize,
};

/// What stays as it was at the start.
pub(super) struct About {
    pub(super) origin: Origin,
    pub(super) namespaces: Namespaces,
    /// The store's.
    pub(super) folder: PathBuf,
    pub(super) started: Instant,
}

/// How much a node has, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// By namespace.
    pub sizes: BTreeMap<String, NamespaceSize>,
    /// Since the start, as of a moment ago.
    pub counts: Counts,
    /// Of the store's files.
    pub store_bytes: u64,
}

impl Node {
    /// Looks at the files of the store, so it may wait for the disk.
    #[must_use]
    pub fn measures(&self) -> Measures {
        let shared = &*self.0.shared;
        let counts = shared.counts.lock().clone();
        Measures { sizes: shared.reader.sizes(), counts, store_bytes: file_bytes(&shared.about.folder) }
    }

    /// Under what name its writes go.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.shared.about.origin
    }

    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.0.shared.about.namespaces
    }

    /// Since it was opened.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.shared.about.started.elapsed()
    }

    /// Seals with a new data key from now on, and within some time what is there.
    ///
    /// # Errors
    /// [`NodeError::Storage`] when nothing is sealed here, or the wrapped keys cannot be written.
    pub async fn rotate_key(&self) -> Result<(), NodeError> {
        let (told, answer) = oneshot::channel();
        self.0.shared.mailbox.push(Command::RotateKey(told), 0, true);
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// Data keys that something may be sealed with: one, unless a rotation is not finished; none where nothing is sealed.
    #[must_use]
    pub fn data_keys(&self) -> usize {
        self.0.shared.reader.data_keys()
    }

    /// Waits until all that readers have seen so far is durable, and gives the cursor of that.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn sync(&self) -> Result<Cursor, NodeError> {
        self.barrier().await
    }

    /// Keys of facts that begin with a text, in order, and after which key to go on. It looks at no more than `limit` keys.
    ///
    /// # Errors
    /// See [`Node::get`].
    pub fn keys_with_prefix(
        &self,
        prefix: &str,
        after: Option<&FactKey>,
        limit: usize,
    ) -> Result<(Vec<FactKey>, Option<FactKey>), NodeError> {
        let (mut keys, mut after, mut left) = (Vec::new(), after.cloned(), limit);
        for pattern in self.patterns_with_prefix(prefix) {
            loop {
                let page = self.list(&pattern, after.as_ref(), left.min(PAGE), usize::MAX)?;
                left = left.saturating_sub(PAGE);
                keys.extend(page.facts.into_iter().map(|fact| fact.key).filter(|key| key.as_str().starts_with(prefix)));
                match page.next {
                    Some(next) if left == 0 => return Ok((keys, Some(next))),
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok((keys, None))
    }

    /// Patterns that together match all keys that begin with the prefix, in the order of keys.
    fn patterns_with_prefix(&self, prefix: &str) -> Vec<Pattern> {
        match prefix.rsplit_once('.') {
            Some((path, _)) => Pattern::new(&format!("{path}.*")).into_iter().collect(),
            None if prefix.is_empty() => Pattern::new("*").into_iter().collect(),
            None => {
                let sizes = self.0.shared.reader.sizes();
                let named = sizes.keys().filter(|namespace| namespace.starts_with(prefix));
                named.filter_map(|namespace| Pattern::new(&format!("{namespace}.*")).ok()).collect()
            }
        }
    }
}

/// Keys looked at in one step.
const PAGE: usize = 256;

/// What goes away meanwhile counts for nothing.
fn file_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => file_bytes(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
