//! What a broker is given: nothing it can read or change.
//!
//! A sealed message begins with a version and the sender's name. What it was sealed with says in addition under which
//! subject it goes, and so to whom; so none passes for one to another node, or from another.

use crate::{causality::NodeId, peers::certificate::PlaneName, seal::PlaneKey};

const VERSION: u8 = 1;
/// What sealing adds, at most: version, length and bytes of the name, nonce and tag.
pub(super) const SEALED_EXTRA_MAX: usize = 2 + 63 + 12 + 16;

#[derive(Debug)]
pub(super) struct Sealing {
    plane: PlaneName,
    own: NodeId,
    /// The first seals.
    keys: Vec<PlaneKey>,
}

/// What was in a sealed message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) from: NodeId,
    pub(super) text: Vec<u8>,
}

impl Sealing {
    pub(super) fn new(plane: &PlaneName, own: NodeId, keys: Vec<PlaneKey>) -> Sealing {
        Sealing { plane: plane.clone(), own, keys }
    }

    /// Of what is told to one node, or to all.
    pub(super) fn subject(&self, to: Option<&NodeId>) -> String {
        match to {
            None => format!("weir.{}.facts.all", self.plane),
            Some(node) => format!("weir.{}.facts.to.{node}", self.plane),
        }
    }

    /// The subjects that concern this node.
    pub(super) fn subscribed(&self) -> [String; 2] {
        [self.subject(None), self.subject(Some(&self.own))]
    }

    /// `None`: there is no key, or the system gave no random number.
    pub(super) fn seal(&self, subject: &str, parts: &[&[u8]]) -> Option<Vec<u8>> {
        let name = self.own.as_str().as_bytes();
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut out = Vec::with_capacity(length + SEALED_EXTRA_MAX);
        out.push(VERSION);
        out.push(u8::try_from(name.len()).ok()?);
        out.extend_from_slice(name);
        let start = out.len();
        parts.iter().for_each(|part| out.extend_from_slice(part));
        self.keys.first()?.seal(&mut out, start, &bound_to(subject, name))?;
        Some(out)
    }

    /// `None`: it was not sealed by a node of this plane for this subject.
    pub(super) fn open(&self, subject: &str, sealed: &[u8]) -> Option<Opened> {
        let (&version, rest) = sealed.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (name, sealed) = rest.split_at_checked(usize::from(length))?;
        let bound_to = bound_to(subject, name);
        let text = self.keys.iter().find_map(|key| key.open(sealed, &bound_to)).filter(|_| version == VERSION)?;
        let from = NodeId::new(str::from_utf8(name).ok()?).ok()?;
        Some(Opened { from, text })
    }
}

fn bound_to(subject: &str, from: &[u8]) -> Vec<u8> {
    // Neither has a zero byte in it.
    [&[VERSION], subject.as_bytes(), &[0], from].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn sealing(folder: &std::path::Path, key: &str, node: &str) -> Sealing {
        let path = folder.join(key);
        let key = PlaneKey::read(&path).or_else(|_| PlaneKey::create(&path)).unwrap();
        Sealing::new(&PlaneName::new("acme").unwrap(), NodeId::new(node).unwrap(), vec![key])
    }

    #[test]
    fn only_the_planes_nodes_read_and_only_what_was_meant_for_the_subject() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (sealing(folder.path(), "k1", "a"), sealing(folder.path(), "k1", "b"));
        let stranger = sealing(folder.path(), "k2", "b");
        let (all, to_b) = (a.subject(None), a.subject(Some(&b.own)));
        assert_eq!((all.as_str(), to_b.as_str()), ("weir.acme.facts.all", "weir.acme.facts.to.b"));
        let sealed = a.seal(&to_b, &[b"some ", b"text"]).unwrap();
        assert!(!sealed.windows(4).any(|bytes| bytes == b"text"));
        let opened = Opened { from: a.own.clone(), text: b"some text".to_vec() };
        assert_eq!(b.open(&to_b, &sealed), Some(opened));
        assert_eq!(b.open(&all, &sealed), None, "it is for another subject");
        assert_eq!(stranger.open(&to_b, &sealed), None, "it has another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(b.open(&to_b, &changed), None, "byte {at} was changed");
            assert_eq!(b.open(&to_b, &sealed[..at]), None);
        }
    }

    #[test]
    fn keys_are_changed_with_an_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let old = sealing(folder.path(), "k1", "a");
        let new = sealing(folder.path(), "k2", "a");
        let mut both = sealing(folder.path(), "k2", "b");
        both.keys.push(PlaneKey::read(&folder.path().join("k1")).unwrap());
        let all = old.subject(None);
        for sealed in [old.seal(&all, &[b"1"]), new.seal(&all, &[b"1"])] {
            assert_eq!(both.open(&all, &sealed.unwrap()).unwrap().text, b"1");
        }
        assert_eq!(old.open(&all, &both.seal(&all, &[b"1"]).unwrap()), None);
    }
}
