//! Messages that are longer than what a broker takes: they go in parts, in order, and one that lacks a part is lost.

use std::collections::BTreeMap;

use crate::causality::NodeId;

/// Number of the message, of the part, and of parts.
pub(super) const HEAD_BYTES: usize = 8 + 2 + 2;

/// Heads and parts of a message; `None` if there would be too many.
pub(super) fn split(message: u64, bytes: &[u8], part_bytes: usize) -> Option<Vec<([u8; HEAD_BYTES], &[u8])>> {
    let chunks: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(part_bytes.max(1)).collect() };
    let count = u16::try_from(chunks.len()).ok()?;
    Some((0..count).zip(chunks).map(|(at, chunk)| (head(message, at, count), chunk)).collect())
}

fn head(message: u64, at: u16, count: u16) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let bytes = message.to_be_bytes().into_iter().chain(at.to_be_bytes()).chain(count.to_be_bytes());
    head.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    head
}

/// What came so far, of each sender one message: it sends one after the other.
#[derive(Debug)]
pub(super) struct Unfinished {
    messages: BTreeMap<NodeId, Begun>,
    bytes: usize,
    message_bytes_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Begun {
    message: u64,
    next: u16,
    count: u16,
    bytes: Vec<u8>,
}

impl Unfinished {
    /// `bytes_max`: of all messages together.
    pub(super) fn new(message_bytes_max: usize, bytes_max: usize) -> Unfinished {
        Unfinished { messages: BTreeMap::new(), bytes: 0, message_bytes_max, bytes_max }
    }

    /// The whole message, once its last part came. What does not go on where it was is left aside.
    pub(super) fn take(&mut self, from: &NodeId, part: &[u8]) -> Option<Vec<u8>> {
        let (message, rest) = part.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<2>()?;
        let (count, part) = rest.split_first_chunk::<2>()?;
        let (message, at, count) = (u64::from_be_bytes(*message), u16::from_be_bytes(*at), u16::from_be_bytes(*count));
        let begun = self.forget(from).filter(|begun| begun.message == message && begun.count == count);
        let mut begun = match begun {
            _ if at == 0 => Begun { message, next: 0, count, bytes: Vec::new() },
            Some(begun) if begun.next == at => begun,
            _ => return None,
        };
        let length = begun.bytes.len() + part.len();
        if at >= count || length > self.message_bytes_max || self.bytes + length > self.bytes_max {
            return None;
        }
        begun.bytes.extend_from_slice(part);
        begun.next = at + 1;
        if begun.next == count {
            return Some(begun.bytes);
        }
        self.bytes += begun.bytes.len();
        self.messages.insert(from.clone(), begun);
        None
    }

    fn forget(&mut self, from: &NodeId) -> Option<Begun> {
        let begun = self.messages.remove(from)?;
        self.bytes = self.bytes.saturating_sub(begun.bytes.len());
        Some(begun)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn parts(message: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
        split(message, bytes, 4).unwrap().into_iter().map(|(head, part)| [&head, part].concat()).collect()
    }

    #[test]
    fn parts_make_the_message_again() {
        for bytes in [&b""[..], b"abc", b"abcd", b"abcdefghij"] {
            let mut unfinished = Unfinished::new(100, 100);
            let taken: Vec<_> = parts(7, bytes).iter().map(|part| unfinished.take(&node("a"), part)).collect();
            let (last, before) = taken.split_last().unwrap();
            assert_eq!(last.as_deref(), Some(bytes));
            assert!(before.iter().all(Option::is_none));
            assert_eq!(unfinished.bytes, 0);
        }
    }

    #[test]
    fn senders_do_not_mix_and_what_lacks_a_part_is_lost() {
        let mut unfinished = Unfinished::new(100, 100);
        let (one, other) = (parts(1, b"abcdefgh"), parts(1, b"ABCDEFGH"));
        assert_eq!(unfinished.take(&node("a"), &one[0]), None);
        assert_eq!(unfinished.take(&node("b"), &other[0]), None);
        assert_eq!(unfinished.take(&node("a"), &one[1]).as_deref(), Some(&b"abcdefgh"[..]));
        assert_eq!(unfinished.take(&node("b"), &parts(2, b"ABCDEFGH")[1]), None, "it is of another message");
        assert_eq!(unfinished.take(&node("b"), &other[1]), None, "its beginning was given up");
        for garbage in [&b""[..], b"short", &[0; 12], &[0xff; 40]] {
            assert_eq!(unfinished.take(&node("a"), garbage), None);
        }
        assert_eq!(unfinished.bytes, 0);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let mut unfinished = Unfinished::new(10, 14);
        let long = parts(1, b"abcdefghijkl");
        assert!(long.iter().all(|part| unfinished.take(&node("a"), part).is_none()));
        assert_eq!(unfinished.bytes, 0);
        for name in ["a", "b", "c", "d"] {
            unfinished.take(&node(name), &parts(1, b"abcdefgh")[0]);
        }
        assert_eq!((unfinished.messages.len(), unfinished.bytes), (3, 12));
    }
}
