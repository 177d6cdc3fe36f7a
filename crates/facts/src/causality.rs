use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smol_str::SmolStr;

/// A node's name: stable over restarts, one word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(SmolStr);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node's name is 1 to 63 letters, digits, `-` and `_`; `{0}` is not")]
pub struct InvalidNodeId(String);

impl NodeId {
    /// # Errors
    /// [`InvalidNodeId`].
    pub fn new(text: &str) -> Result<NodeId, InvalidNodeId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=63).contains(&text.len()) && text.bytes().all(plain) {
            Ok(NodeId(SmolStr::new(text)))
        } else {
            Err(InvalidNodeId(text.chars().take(80).collect()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;

    fn try_from(text: String) -> Result<NodeId, InvalidNodeId> {
        NodeId::new(&text)
    }
}

impl From<NodeId> for String {
    fn from(node: NodeId) -> String {
        node.0.into()
    }
}

/// A node between two unclean starts. Its writes are numbered without gaps from 1; a node that may have lost the end of
/// its log, or was copied, goes on under a new incarnation, so that no number ever means two writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub node: NodeId,
    /// Random.
    pub incarnation: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{:016x}", self.node, self.incarnation)
    }
}

/// One write: the `seq`th of its origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    pub origin: Origin,
    pub seq: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.seq)
    }
}

/// Of each origin, the writes up to a number.
///
/// Of a whole node it says what was applied; of one key, which writes to that key its state has seen: most keys have
/// one writer, which takes no memory of its own. In the order of origins, so that equal vectors have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Origin, u64)>", into = "Vec<(Origin, u64)>")]
pub struct VersionVector(SmallVec<[(Origin, u64); 1]>);

impl VersionVector {
    fn place(&self, origin: &Origin) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.cmp(origin))
    }

    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.place(origin).ok().and_then(|place| self.0.get(place)).map_or(0, |(_, seq)| *seq)
    }

    #[must_use]
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.origin) >= dot.seq
    }

    /// Whether it covers all that `other` covers.
    #[must_use]
    pub fn covers_all(&self, other: &VersionVector) -> bool {
        other.0.iter().all(|(origin, seq)| self.get(origin) >= *seq)
    }

    /// Covers the origin's writes up to `seq`, and none less than before.
    pub fn advance(&mut self, origin: &Origin, seq: u64) {
        if seq == 0 {
            return;
        }
        match self.place(origin) {
            Ok(place) => {
                if let Some((_, own)) = self.0.get_mut(place) {
                    *own = seq.max(*own);
                }
            }
            Err(place) => self.0.insert(place, (origin.clone(), seq)),
        }
    }

    /// The least that covers both.
    pub fn join(&mut self, other: &VersionVector) {
        other.0.iter().for_each(|(origin, seq)| self.advance(origin, *seq));
    }

    /// The most that both cover.
    #[must_use]
    pub fn meet(&self, other: &VersionVector) -> VersionVector {
        let both = self.0.iter().map(|(origin, seq)| (origin.clone(), other.get(origin).min(*seq)));
        VersionVector(both.filter(|(_, seq)| *seq > 0).collect())
    }

    pub fn forget(&mut self, origin: &Origin) {
        if let Ok(place) = self.place(origin) {
            self.0.remove(place);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Origin, u64)> {
        self.0.iter().map(|(origin, seq)| (origin, *seq))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Origin, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (Origin, u64)>>(pairs: I) -> VersionVector {
        let mut vector = VersionVector::default();
        pairs.into_iter().for_each(|(origin, seq)| vector.advance(&origin, seq));
        vector
    }
}

impl From<Vec<(Origin, u64)>> for VersionVector {
    fn from(pairs: Vec<(Origin, u64)>) -> VersionVector {
        pairs.into_iter().collect()
    }
}

impl From<VersionVector> for Vec<(Origin, u64)> {
    fn from(vector: VersionVector) -> Vec<(Origin, u64)> {
        vector.0.into_vec()
    }
}
