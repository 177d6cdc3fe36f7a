//! One log file, read as far as it can be.

use std::thread;

use crate::{
    Hash,
    chain::{self, Chained},
    frame::{self, Step},
};

/// Fewer records than this are not worth a thread.
const RECORDS_PER_THREAD: usize = 4_096;

/// What stands where a record should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Record { offset: u64, leaf: Hash, chained: Chained },
    Damaged { offset: u64, what: &'static str },
}

impl Item {
    pub fn leaf(&self) -> Option<Hash> {
        match self {
            Item::Record { leaf, .. } => Some(*leaf),
            Item::Damaged { .. } => None,
        }
    }

    pub fn offset(&self) -> u64 {
        match self {
            Item::Record { offset, .. } | Item::Damaged { offset, .. } => *offset,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub items: Vec<Item>,
    pub bytes: u64,
    /// Whether the file ends within a record.
    pub torn: bool,
}

pub(super) fn read(bytes: &[u8]) -> Found {
    let whole = starts(bytes).and_then(|starts| read_whole(bytes, &starts));
    match whole {
        Some(items) => Found { items, bytes: bytes.len() as u64, torn: false },
        None => read_damaged(bytes),
    }
}

/// Where each record starts, by the lengths alone. `None` if they do not lead to the file's end.
fn starts(bytes: &[u8]) -> Option<Vec<usize>> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (length, _) = bytes.get(at..)?.split_first_chunk::<4>()?;
        starts.push(at);
        at = at.checked_add(frame::HEADER_BYTES)?.checked_add(u32::from_le_bytes(*length) as usize)?;
    }
    (at == bytes.len()).then_some(starts)
}

/// Reads a file that is whole, its hashes on all processors. `None` if it is not.
fn read_whole(bytes: &[u8], starts: &[usize]) -> Option<Vec<Item>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = starts.len().div_ceil(processors).max(RECORDS_PER_THREAD);
    if starts.len() <= share {
        return read_share(bytes, starts);
    }
    thread::scope(|scope| {
        let readers: Vec<_> = starts.chunks(share).map(|share| scope.spawn(|| read_share(bytes, share))).collect();
        let mut items = Vec::with_capacity(starts.len());
        for reader in readers {
            items.append(&mut reader.join().ok()??);
        }
        Some(items)
    })
}

fn read_share(bytes: &[u8], starts: &[usize]) -> Option<Vec<Item>> {
    starts.iter().map(|start| read_one(bytes, *start).map(|(item, _)| item)).collect()
}

/// The record that starts at `start`, and its length.
fn read_one(bytes: &[u8], start: usize) -> Option<(Item, usize)> {
    let Step::Frame(frame) = frame::read(bytes.get(start..)?) else { return None };
    let chained = chain::read(frame.payload)?;
    Some((Item::Record { offset: start as u64, leaf: frame.leaf(), chained }, frame.bytes()))
}

/// Reads around damage: after bytes that are no record, on with the next that are.
fn read_damaged(bytes: &[u8]) -> Found {
    let mut items = Vec::new();
    let mut torn = false;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((item, length)) = read_one(bytes, at) {
            items.push(item);
            at += length;
            continue;
        }
        let (what, length) = match frame::read(rest) {
            Step::Frame(frame) => ("is not a record of this journal", frame.bytes()),
            Step::BadChecksum { length } if is_boundary(bytes, at + length) => {
                ("is damaged: its bytes do not fit its checksum", length)
            }
            _ => match rest.get(1..).and_then(frame::find) {
                Some(skip) => ("is damaged: its length is wrong", skip + 1),
                None => {
                    torn = true;
                    ("is torn: the file ends within it; the next start of the server cuts it off", rest.len())
                }
            },
        };
        items.push(Item::Damaged { offset: at as u64, what });
        at += length;
    }
    Found { items, bytes: bytes.len() as u64, torn }
}

fn is_boundary(bytes: &[u8], at: usize) -> bool {
    at == bytes.len() || bytes.get(at..).is_some_and(|rest| matches!(frame::read(rest), Step::Frame(_)))
}
