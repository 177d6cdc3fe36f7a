//! The `leaves` file, read beside the log.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use super::{
    Report,
    books::{Books, Mark},
};
use crate::{
    Hash,
    layout::{LEAVES, Layout},
    merkle::Frontier,
};

/// Leaves that are read at once when all are.
const AT_ONCE: u64 = 1 << 15;

/// The leaves as they were when the verification began.
#[derive(Debug)]
pub(super) struct Leaves {
    file: Option<File>,
    count: u64,
}

pub(super) fn open(layout: &Layout, books: &Books, report: &mut Report) -> Leaves {
    let file = match File::open(layout.leaves()) {
        Ok(file) => file,
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            report.fault(LEAVES, None, None, if missing { "the file is missing".into() } else { error.to_string() });
            return Leaves { file: None, count: 0 };
        }
    };
    let length = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let count = length / 32;
    if count < books.newest {
        let what = format!("its end is cut: it holds {count} leaves, the newest checkpoint signs {}", books.newest);
        report.fault(LEAVES, Some(length), None, what);
    }
    Leaves { file: Some(file), count }
}

impl Leaves {
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The leaves from `first` up to `next`, or to the end.
    pub fn range(&mut self, first: u64, next: Option<u64>, report: &mut Report) -> Vec<Hash> {
        let end = next.unwrap_or(self.count).min(self.count);
        match self.read(first, end) {
            Ok(leaves) => leaves,
            Err(error) => {
                report.fault(LEAVES, Some(first * 32), None, error.to_string());
                Vec::new()
            }
        }
    }

    fn read(&mut self, first: u64, end: u64) -> io::Result<Vec<Hash>> {
        let Some(file) = self.file.as_mut().filter(|_| first < end) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from((end - first) * 32).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(first * 32))?;
        file.read_exact(&mut bytes)?;
        let (leaves, _) = bytes.as_chunks::<32>();
        Ok(leaves.iter().map(|leaf| Hash::from_bytes(*leaf)).collect())
    }

    /// Whether the leaves lead to every root that was signed of as many, and at least one root was.
    pub fn hold_to(&mut self, marks: &[Mark]) -> bool {
        let mut frontier = Frontier::default();
        let mut marks = marks.iter().filter(|mark| mark.size > 0).peekable();
        let mut held = false;
        let mut at = 0;
        while at < self.count {
            let end = (at + AT_ONCE).min(self.count);
            let Ok(leaves) = self.read(at, end) else { return false };
            for leaf in leaves {
                frontier.push(leaf);
                while let Some(mark) = marks.next_if(|mark| mark.size <= frontier.size()) {
                    if mark.size == frontier.size() && mark.root != frontier.root() {
                        return false;
                    }
                    held = true;
                }
            }
            at = end;
        }
        held && marks.peek().is_none()
    }
}
