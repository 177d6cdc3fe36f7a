//! Verifying a journal from its files alone.

mod align;
mod books;
mod leaves;
mod log_file;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ed25519_dalek::VerifyingKey;

pub use self::report::{Fault, Report};
use self::{
    align::Diverged,
    books::{Books, Mark},
    leaves::Leaves,
    log_file::{Found, Item},
};
use crate::{
    chain::{Chains, Link},
    layout::{LEAVES, Layout, log_name},
    merkle::Frontier,
};

/// How often, and how long apart, the end of the log is looked at again when it ends within a record: a server may be
/// writing it.
const LOOK_AGAIN: (usize, Duration) = (3, Duration::from_millis(20));

/// What a verification knows besides the journal's files.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The key that must have signed. Without one, the published key in `<data>/keys`, which whoever can change the
    /// journal may have changed too.
    pub key: Option<VerifyingKey>,
    /// A checkpoint (or several) of this journal that was kept elsewhere.
    pub witness: Option<PathBuf>,
}

/// Checks every byte of a data folder's journal: the checksums, each session's chain, the Merkle tree against every
/// signed checkpoint. Reads files only; a server may be writing them meanwhile.
#[must_use]
pub fn verify(data: &Path, key: Option<&VerifyingKey>) -> Report {
    verify_with(data, &VerifyOptions { key: key.copied(), witness: None })
}

/// [`verify`] with more to hold the journal to.
#[must_use]
pub fn verify_with(data: &Path, options: &VerifyOptions) -> Report {
    let layout = Layout::new(data);
    let mut report = Report::default();
    let books = books::read(&layout, options, &mut report);
    let leaves = leaves::open(&layout, &books, &mut report);
    let mut walk = Walk {
        layout: &layout,
        marks: &books.marks,
        next_mark: 0,
        mismatch: None,
        leaves,
        report,
        frontier: Frontier::default(),
        chains: Chains::default(),
        breaks: Vec::new(),
        diverged: Vec::new(),
        gaps: Vec::new(),
        missing: 0,
        damaged: false,
    };
    walk.run(&books);
    walk.conclude()
}

/// The way through the log, record by record.
struct Walk<'a> {
    layout: &'a Layout,
    /// What was signed, by size.
    marks: &'a [Mark],
    next_mark: usize,
    /// The first mark that the records do not lead to.
    mismatch: Option<&'a Mark>,
    leaves: Leaves,
    report: Report,
    frontier: Frontier,
    chains: Chains,
    breaks: Vec<Fault>,
    /// Files whose records are not those that the leaves name.
    diverged: Vec<Diverged>,
    /// Files that hold fewer records than the next file's name says, and how many in all.
    gaps: Vec<Fault>,
    missing: u64,
    damaged: bool,
}

impl Walk<'_> {
    fn run(&mut self, books: &Books) {
        let logs = match self.layout.logs() {
            Ok(logs) => logs,
            Err(error) => return self.report.fault("audit", None, None, error.to_string()),
        };
        let mut firsts: Vec<u64> = logs.iter().copied().chain(books.files.iter().map(|file| file.first)).collect();
        firsts.sort_unstable();
        firsts.dedup();
        if firsts.first() != Some(&0) {
            firsts.insert(0, 0);
        }
        for (at, first) in firsts.iter().enumerate() {
            let next = firsts.get(at + 1).copied();
            if logs.contains(first) {
                self.read_file(*first, next);
            } else {
                let records = match next {
                    Some(next) if next == first + 1 => format!("record {first}"),
                    Some(next) => format!("records {first} to {}", next - 1),
                    None => format!("the records from {first} on"),
                };
                let what = format!("the file is missing, and with it {records}");
                self.report.fault(log_name(*first), None, Some(*first), what);
                self.damaged = true;
            }
        }
        self.report.root = self.frontier.root();
        self.report.sessions_open = self.chains.open().len() as u64;
    }

    fn read_file(&mut self, first: u64, next: Option<u64>) {
        let path = self.layout.log(first);
        let mut found = Found::default();
        for _ in 0..LOOK_AGAIN.0 {
            match fs::read(&path) {
                Ok(bytes) => found = log_file::read(&bytes),
                Err(error) => {
                    self.damaged = true;
                    return self.report.fault(log_name(first), None, None, error.to_string());
                }
            }
            if !found.torn || next.is_some() {
                break;
            }
            thread::sleep(LOOK_AGAIN.1);
        }
        self.report.files += 1;
        self.report.bytes += found.bytes;
        let stored = self.leaves.range(first, next, &mut self.report);
        for (at, item) in found.items.iter().enumerate() {
            self.take(first, at as u64, item);
        }
        self.note_gap(first, found.items.len() as u64, next);
        let same = found.items.iter().zip(&stored).all(|(item, leaf)| item.leaf() == Some(*leaf));
        if !same || stored.len() > found.items.len() || (next.is_some() && stored.len() < found.items.len()) {
            self.diverged.push(Diverged::new(log_name(first), first, &found.items, stored));
        } else {
            self.name_damage(first, &found.items);
        }
    }

    fn note_gap(&mut self, first: u64, records: u64, next: Option<u64>) {
        let expected = next.map_or(records, |next| next - first);
        if records < expected {
            let missing = expected - records;
            let what = format!("{missing} of its {expected} records are missing");
            self.gaps.push(Fault { file: log_name(first), offset: None, record: Some(first), what });
            self.missing += missing;
        }
    }

    /// Names damage that the leaves know nothing of, because it lies behind them.
    fn name_damage(&mut self, first: u64, items: &[Item]) {
        for (at, item) in items.iter().enumerate() {
            if let Item::Damaged { offset, what, .. } = item {
                let index = first + at as u64;
                self.report.fault(log_name(first), Some(*offset), Some(index), format!("record {index} {what}"));
            }
        }
    }

    fn take(&mut self, first: u64, at: u64, item: &Item) {
        let index = first + at;
        self.report.records += 1;
        let Item::Record { offset, leaf, chained } = item else {
            self.damaged = true;
            return;
        };
        match chained.link {
            Link::Intent(_) => self.report.intents += 1,
            Link::Outcome(_) => self.report.outcomes += 1,
            Link::Whole(_) => {
                self.report.intents += 1;
                self.report.outcomes += 1;
                self.report.whole += 1;
            }
            Link::Opened => {
                self.report.events += 1;
                self.report.sessions += 1;
            }
            Link::Event | Link::Closed | Link::Interrupted => self.report.events += 1,
        }
        for broken in self.chains.advance(chained, *leaf, None) {
            if self.breaks.len() < report::FAULTS_MAX {
                let fault = Fault {
                    file: log_name(first),
                    offset: Some(*offset),
                    record: Some(index),
                    what: format!("record {index}: {broken}"),
                };
                self.breaks.push(fault);
            }
        }
        self.frontier.push(*leaf);
        self.hold_to_marks();
    }

    fn hold_to_marks(&mut self) {
        while let Some(mark) = self.marks.get(self.next_mark).filter(|mark| mark.size <= self.frontier.size()) {
            if mark.size == self.frontier.size() && mark.root != self.frontier.root() && self.mismatch.is_none() {
                self.mismatch = Some(mark);
            }
            self.next_mark += 1;
        }
    }

    /// Says what is wrong: by the leaves if the signatures vouch for them, else by what is left.
    fn conclude(mut self) -> Report {
        let behind = self.marks.last().filter(|mark| mark.size > self.frontier.size());
        let sound = self.mismatch.is_none() && behind.is_none() && !self.damaged;
        let diverged = std::mem::take(&mut self.diverged);
        let explained = !sound && self.leaves.hold_to(self.marks);
        if sound {
            for file in &diverged {
                self.blame_leaves(file);
            }
        } else if explained {
            self.blame_log(&diverged);
        } else {
            if let Some(mark) = self.mismatch {
                self.blame_mark(mark);
            }
            for fault in diverged.iter().flat_map(Diverged::damage).chain(std::mem::take(&mut self.gaps)) {
                self.report.push(fault);
            }
            if let Some(mark) = behind {
                self.blame_end(mark);
            }
            self.name_dropped(self.missing);
        }
        // What the leaves explain has breaks of chains as its consequence; behind the leaves they stand for themselves.
        let covered = if explained { self.leaves.count() } else { 0 };
        for fault in std::mem::take(&mut self.breaks) {
            if fault.record.is_some_and(|index| index >= covered) {
                self.report.push(fault);
            }
        }
        self.report
    }

    /// There are fewer records than were signed.
    fn blame_end(&mut self, mark: &Mark) {
        let held = self.frontier.size();
        let what = format!("its end is cut: {} signed {} records, the log holds {held}", mark.place(), mark.size);
        let last = self.layout.logs().ok().and_then(|logs| logs.last().copied()).unwrap_or(0);
        self.report.fault(log_name(last), None, Some(held), what);
    }

    /// The records lead to what was signed, so it is the leaves that changed.
    fn blame_leaves(&mut self, file: &Diverged) {
        for (at, (found, stored)) in file.pairs().enumerate() {
            let index = file.first + at as u64;
            if stored.is_some() && found != stored {
                self.report.fault(
                    LEAVES,
                    Some(index * 32),
                    Some(index),
                    format!("entry {index} is not the hash of record {index}, which is as it was signed"),
                );
            }
        }
    }

    /// The leaves lead to what was signed, so it is the records that changed, and the leaves tell which.
    fn blame_log(&mut self, diverged: &[Diverged]) {
        let explained = align::explain(diverged);
        for fault in explained.faults {
            self.report.push(fault);
        }
        self.name_dropped(explained.removed);
    }

    /// Records are missing, and no session that is left misses one: whole sessions are gone.
    fn name_dropped(&mut self, missing: u64) {
        if missing > 0 && self.breaks.is_empty() && !self.damaged {
            let what = format!(
                "every session that is left is whole: the {missing} missing records were whole sessions that somebody \
                 dropped"
            );
            self.report.fault("audit", None, None, what);
        }
    }

    /// Records and leaves were changed alike, and no longer lead to what was signed.
    fn blame_mark(&mut self, mark: &Mark) {
        let before = self.marks.iter().rev().find(|earlier| earlier.size < mark.size).map_or(0, |earlier| earlier.size);
        let what = format!(
            "the first {} records are not those that {} signed: something changed between record {before} and record {}",
            mark.size,
            mark.place(),
            mark.size - 1
        );
        let logs = self.layout.logs().unwrap_or_default();
        let first = logs.into_iter().rev().find(|first| *first <= before).unwrap_or(0);
        self.report.fault(log_name(first), None, Some(before), what);
    }
}
