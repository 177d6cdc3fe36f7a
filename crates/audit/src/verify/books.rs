//! What was signed: checkpoints, head, state, and a witness's copy.

use std::{fs, path::Path};

use super::{Report, VerifyOptions};
use crate::{
    Checkpoint, Hash,
    checkpoint::{self, Entry},
    keys,
    layout::{CHECKPOINTS, HEAD, Layout, PUBLIC_KEY, STATE},
    note::NoteVerifier,
    state::{LogFile, State},
};

/// A signed statement on the log's first `size` records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub size: u64,
    pub root: Hash,
    file: String,
    offset: Option<u64>,
}

impl Mark {
    pub fn place(&self) -> String {
        match self.offset {
            Some(offset) => format!("the checkpoint at byte {offset} of `{}`", self.file),
            None => format!("`{}`", self.file),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// By size.
    pub marks: Vec<Mark>,
    /// The log files that the state names.
    pub files: Vec<LogFile>,
    /// Size of the newest entry in `checkpoints`.
    pub newest: u64,
}

/// Reads everything that is signed. What was written last is read first, as a server may be writing meanwhile.
pub(super) fn read(layout: &Layout, options: &VerifyOptions, report: &mut Report) -> Books {
    let mut books = Books::default();
    let Some(verifier) = verifier(layout, options, report) else { return books };
    let state = read_state(layout, &verifier, report);
    let head = read_head(layout, &verifier, report);
    read_checkpoints(layout, &verifier, report, &mut books);
    if let Some(head) = head {
        if head.size > books.newest {
            let what = format!(
                "its end is cut: `{HEAD}` is a checkpoint of {} records, the last one here is of {}",
                head.size, books.newest
            );
            report.fault(CHECKPOINTS, None, None, what);
        }
        books.mark(&head, HEAD, None);
    }
    if let Some((state, root)) = state {
        let checkpoint = Checkpoint { origin: String::new(), size: state.size, root };
        books.mark(&checkpoint, STATE, None);
        books.files = state.files;
    }
    if let Some(path) = &options.witness {
        read_witness(path, &verifier, report, &mut books);
    }
    books.marks.sort_by_key(|mark| mark.size);
    report.signed = books.marks.last().map_or(0, |mark| mark.size);
    for pair in books.marks.windows(2) {
        if let [a, b] = pair
            && a.size == b.size
            && a.root != b.root
        {
            let what = format!("it contradicts {}: both sign {} records, with different roots", a.place(), a.size);
            report.fault(b.file.clone(), b.offset, None, what);
        }
    }
    books
}

impl Books {
    fn mark(&mut self, checkpoint: &Checkpoint, file: &str, offset: Option<u64>) {
        let mark = Mark { size: checkpoint.size, root: checkpoint.root, file: file.to_owned(), offset };
        self.marks.push(mark);
    }
}

/// The key to verify with, under the journal's name.
fn verifier(layout: &Layout, options: &VerifyOptions, report: &mut Report) -> Option<NoteVerifier> {
    let published = keys::published(&layout.public_key());
    match (published, options.key) {
        (Ok(published), None) => Some(published),
        (Ok(published), Some(key)) if *published.key() == key => Some(published),
        (Ok(published), Some(key)) => {
            report.fault(PUBLIC_KEY, None, None, "it is not the key that was given");
            Some(NoteVerifier::new(published.name(), key))
        }
        (Err(error), key) => {
            report.fault(PUBLIC_KEY, None, None, error.to_string());
            // The name stands in every checkpoint too; the signature then covers it.
            let checkpoints = fs::read(layout.checkpoints()).unwrap_or_default();
            let name = checkpoints.split(|byte| *byte == b'\n').next()?;
            Some(NoteVerifier::new(std::str::from_utf8(name).ok()?, key?))
        }
    }
}

fn read_state(layout: &Layout, verifier: &NoteVerifier, report: &mut Report) -> Option<(State, Hash)> {
    let bytes = read_file(&layout.state(), STATE, report)?;
    let state = State::open(&bytes, verifier)
        .and_then(|state| state.frontier().map(|frontier| (state, frontier.root())).ok_or("it contradicts itself"));
    state.map_err(|what| report.fault(STATE, None, None, what)).ok()
}

fn read_head(layout: &Layout, verifier: &NoteVerifier, report: &mut Report) -> Option<Checkpoint> {
    let bytes = read_file(&layout.head(), HEAD, report)?;
    let note = std::str::from_utf8(&bytes).map_err(|_| "it is not text");
    let head = note.and_then(|note| Checkpoint::open(note, verifier));
    head.map_err(|what| report.fault(HEAD, None, None, what)).ok()
}

fn read_checkpoints(layout: &Layout, verifier: &NoteVerifier, report: &mut Report, books: &mut Books) {
    let Some(bytes) = read_file(&layout.checkpoints(), CHECKPOINTS, report) else { return };
    for Entry { offset, checkpoint, .. } in checkpoint::read_all(&bytes, verifier) {
        match checkpoint {
            Ok(checkpoint) => {
                if checkpoint.size < books.newest {
                    let what = format!("it is of {} records and follows one of {}", checkpoint.size, books.newest);
                    report.fault(CHECKPOINTS, Some(offset), None, what);
                }
                books.newest = books.newest.max(checkpoint.size);
                books.mark(&checkpoint, CHECKPOINTS, Some(offset));
                report.checkpoints += 1;
            }
            Err(what) => {
                report.fault(CHECKPOINTS, Some(offset), None, format!("the checkpoint here is damaged: {what}"))
            }
        }
    }
    if books.marks.is_empty() {
        report.fault(CHECKPOINTS, None, None, "it holds no checkpoint");
    }
}

fn read_witness(path: &Path, verifier: &NoteVerifier, report: &mut Report, books: &mut Books) {
    let name = path.display().to_string();
    let Some(mut bytes) = read_file(path, &name, report) else { return };
    if !bytes.ends_with(b"\n\n") {
        bytes.push(b'\n'); // a single note has no separator behind it
    }
    for Entry { offset, checkpoint, .. } in checkpoint::read_all(&bytes, verifier) {
        match checkpoint {
            Ok(checkpoint) => books.mark(&checkpoint, &name, Some(offset)),
            Err(what) => report.fault(&name, Some(offset), None, format!("the checkpoint here is damaged: {what}")),
        }
    }
}

fn read_file(path: &Path, name: &str, report: &mut Report) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.fault(name, None, None, "the file is missing");
            None
        }
        Err(error) => {
            report.fault(name, None, None, error.to_string());
            None
        }
    }
}
