//! What an opening journal finds, and what it makes of it.
//!
//! A process that died leaves at most a torn last record, a torn last checkpoint, and leaves and a state that are
//! behind. Everything else is damage, and refused: a journal that repaired itself would bury the evidence.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::Arc,
};

use serde::Deserialize;

use crate::{
    AuditError, Checkpoint, Hash,
    books::Books,
    chain::{self, Chains, Link, Who},
    checkpoint,
    frame::{self, Step},
    layout::{self, CHECKPOINTS, HEAD, LEAVES, Layout, log_name},
    log::Standing,
    merkle::Frontier,
    note::NoteVerifier,
    state::{LogFile, State},
};

/// How much of the `checkpoints` file's end is read for its last note.
const CHECKPOINTS_TAIL: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Recovered {
    pub standing: Standing,
    pub books: Books,
    /// The last record's beginning, cut from this file.
    pub cut: Option<Cut>,
    /// Why the whole log was read, if it was.
    pub read_whole: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Cut {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

pub(crate) fn recover(layout: &Layout, verifier: &NoteVerifier) -> Result<Recovered, AuditError> {
    let (checkpoints, newest) = open_checkpoints(layout, verifier)?;
    let state = read_state(layout, verifier);
    let logs = layout.logs()?;
    let signed = newest.as_ref().map(|(checkpoint, _)| checkpoint);
    let read_whole = match &state {
        Err(why) if !logs.is_empty() => Some(*why),
        _ => None,
    };
    let mut scan = Scan::from(layout, state.ok(), signed)?;
    scan.run(&logs)?;
    let Scan { finished, current, frontier, chains, new_leaves, base, cut, .. } = scan;
    let leaves = open_leaves(layout, base, &new_leaves)?;
    if let Some(cut) = &cut {
        let path = layout.audit().join(&cut.file);
        let shorten = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(cut.offset)?;
            file.sync_all()
        };
        shorten().map_err(AuditError::io(&path))?;
    }
    let standing = Standing { finished, current, frontier, chains };
    Ok(Recovered { standing, books: Books { leaves, checkpoints, newest }, cut, read_whole })
}

type Newest = Option<(Checkpoint, String)>;

/// Opens the `checkpoints` file behind its last whole note, and holds that to the head.
fn open_checkpoints(layout: &Layout, verifier: &NoteVerifier) -> Result<(File, Newest), AuditError> {
    let path = layout.checkpoints();
    let mut file =
        OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(AuditError::io(&path))?;
    let length = file.metadata().map_err(AuditError::io(&path))?.len();
    let start = length.saturating_sub(CHECKPOINTS_TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut tail)).map_err(AuditError::io(&path))?;
    let mut entries: Vec<_> = checkpoint::read_all(&tail, verifier).collect();
    if start > 0 && !entries.is_empty() {
        entries.remove(0); // it began before the tail
    }
    if let Some(torn) = entries.pop_if(|entry| entry.checkpoint.is_err()) {
        file.set_len(start + torn.offset).and_then(|()| file.sync_all()).map_err(AuditError::io(&path))?;
    }
    let mut newest = None;
    let count = entries.len();
    for entry in entries {
        let offset = Some(start + entry.offset);
        let checkpoint = entry.checkpoint.map_err(|what| AuditError::corrupt(CHECKPOINTS, offset, what))?;
        newest = Some((checkpoint, entry.offset as usize..entry.end as usize));
    }
    let note = |range| tail.get(range).map(String::from_utf8_lossy).unwrap_or_default().trim_end().to_owned() + "\n";
    let newest: Newest = newest.map(|(checkpoint, range)| (checkpoint, note(range)));
    hold_to_head(layout, verifier, newest.as_ref().map(|(checkpoint, _)| checkpoint), count)?;
    Ok((file, newest))
}

/// The head is written after the checkpoint it copies, so it may be older, never newer.
fn hold_to_head(
    layout: &Layout,
    verifier: &NoteVerifier,
    newest: Option<&Checkpoint>,
    count: usize,
) -> Result<(), AuditError> {
    let Some(head) = layout::read_if_any(&layout.head())? else {
        return if count > 1 { Err(AuditError::corrupt(HEAD, None, "the file is missing")) } else { Ok(()) };
    };
    let head =
        std::str::from_utf8(&head).map_err(|_| "it is not text").and_then(|note| Checkpoint::open(note, verifier));
    let head = head.map_err(|what| AuditError::corrupt(HEAD, None, what))?;
    let size = newest.map_or(0, |newest| newest.size);
    if head.size > size {
        let what =
            format!("its end is cut: the newest checkpoint signed {} records, the last one here {size}", head.size);
        return Err(AuditError::corrupt(CHECKPOINTS, None, what));
    }
    if newest.is_some_and(|newest| newest.size == head.size && newest.root != head.root) {
        return Err(AuditError::corrupt(
            CHECKPOINTS,
            None,
            "the last checkpoint is not the newest one that was signed",
        ));
    }
    Ok(())
}

fn read_state(layout: &Layout, verifier: &NoteVerifier) -> Result<State, &'static str> {
    match fs::read(layout.state()) {
        Ok(bytes) => State::open(&bytes, verifier).map_err(|_| "the state file is damaged"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("the state file is missing"),
        Err(_) => Err("the state file cannot be read"),
    }
}

/// Opens the `leaves` file with the leaves up to `base` as they are, and those that were read behind them.
fn open_leaves(layout: &Layout, base: u64, new: &[Hash]) -> Result<File, AuditError> {
    let path = layout.leaves();
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(AuditError::io(&path))?;
    let length = file.metadata().map_err(AuditError::io(&path))?.len();
    if length < base * 32 {
        let what = format!("its end is cut: it holds {} leaves of {base}", length / 32);
        return Err(AuditError::corrupt(LEAVES, Some(length), what));
    }
    let mut bytes = Vec::with_capacity(new.len() * 32);
    new.iter().for_each(|leaf| bytes.extend_from_slice(leaf.as_bytes()));
    file.set_len(base * 32)
        .and_then(|()| file.write_all(&bytes))
        .and_then(|()| file.sync_all())
        .map_err(AuditError::io(&path))?;
    Ok(file)
}

/// Reads the log from where the state ends to where the log ends.
struct Scan<'a> {
    layout: &'a Layout,
    /// The newest checkpoint: records up to its size are whole, or the log is damaged.
    signed: Option<&'a Checkpoint>,
    finished: Vec<LogFile>,
    current: LogFile,
    frontier: Frontier,
    chains: Chains,
    /// Records before the first that was read.
    base: u64,
    new_leaves: Vec<Hash>,
    cut: Option<Cut>,
}

impl<'a> Scan<'a> {
    fn from(layout: &'a Layout, state: Option<State>, signed: Option<&'a Checkpoint>) -> Result<Scan<'a>, AuditError> {
        let mut scan = Scan {
            layout,
            signed,
            finished: Vec::new(),
            current: LogFile { first: 0, bytes: 0 },
            frontier: Frontier::default(),
            chains: Chains::default(),
            base: 0,
            new_leaves: Vec::new(),
            cut: None,
        };
        let Some(state) = state else { return Ok(scan) };
        let (Some(frontier), Some((current, finished))) = (state.frontier(), state.files.split_last()) else {
            return Ok(scan);
        };
        (scan.base, scan.frontier) = (frontier.size(), frontier);
        (scan.current, scan.finished) = (*current, finished.to_vec());
        scan.chains = Chains::resume(state.open);
        scan.hold_to_checkpoint()?;
        Ok(scan)
    }

    fn run(&mut self, logs: &[u64]) -> Result<(), AuditError> {
        for file in &self.finished {
            let path = self.layout.log(file.first);
            let length = fs::metadata(&path).map(|metadata| metadata.len()).ok();
            if length != Some(file.bytes) {
                let what = match length {
                    None => "the file is missing".to_owned(),
                    Some(length) => format!("it has {length} bytes of {}", file.bytes),
                };
                return Err(AuditError::corrupt(log_name(file.first), None, what));
            }
        }
        let mut rest: Vec<u64> = logs.iter().copied().filter(|first| *first >= self.current.first).collect();
        if rest.first() != Some(&self.current.first) {
            if self.signed.is_some() || !rest.is_empty() {
                return Err(AuditError::corrupt(log_name(self.current.first), None, "the file is missing"));
            }
            rest = Vec::new();
        }
        for (at, first) in rest.iter().enumerate() {
            if at > 0 {
                if *first != self.frontier.size() {
                    let what = format!("the file is missing; the next one is {}", log_name(*first));
                    return Err(AuditError::corrupt(log_name(self.frontier.size()), None, what));
                }
                self.finished.push(self.current);
                self.current = LogFile { first: *first, bytes: 0 };
            }
            self.read_file(at + 1 == rest.len())?;
        }
        match self.signed {
            Some(signed) if signed.size > self.frontier.size() => {
                let what = format!(
                    "its end is cut: the newest checkpoint signed {} records, the log holds {}",
                    signed.size,
                    self.frontier.size()
                );
                Err(AuditError::corrupt(log_name(self.current.first), Some(self.current.bytes), what))
            }
            _ => Ok(()),
        }
    }

    /// Reads what the current file holds beyond `current.bytes`.
    fn read_file(&mut self, last: bool) -> Result<(), AuditError> {
        let (path, name) = (self.layout.log(self.current.first), log_name(self.current.first));
        let mut bytes = Vec::new();
        let mut file = File::open(&path).map_err(AuditError::io(&path))?;
        let length = file.metadata().map_err(AuditError::io(&path))?.len();
        if length < self.current.bytes {
            let what = format!("its end is cut: it has {length} bytes of {}", self.current.bytes);
            return Err(AuditError::corrupt(name, Some(length), what));
        }
        file.seek(SeekFrom::Start(self.current.bytes))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(AuditError::io(&path))?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Step::Frame(frame) = frame::read(rest) else { break };
            self.take(&frame, &name)?;
            self.current.bytes += frame.bytes() as u64;
            rest = rest.get(frame.bytes()..).unwrap_or_default();
        }
        if rest.is_empty() {
            return Ok(());
        }
        let offset = self.current.bytes;
        let signed = self.signed.map_or(0, |signed| signed.size);
        if !last || self.frontier.size() < signed || frame::find(rest.get(1..).unwrap_or_default()).is_some() {
            let what = format!("record {} is damaged", self.frontier.size());
            return Err(AuditError::corrupt(name, Some(offset), what));
        }
        self.cut = Some(Cut { file: name, offset, bytes: rest.len() as u64 });
        Ok(())
    }

    fn take(&mut self, frame: &frame::Frame<'_>, name: &str) -> Result<(), AuditError> {
        let index = self.frontier.size();
        let corrupt = |what: String| AuditError::corrupt(name, Some(self.current.bytes), what);
        let chained = chain::read(frame.payload).ok_or_else(|| corrupt(format!("record {index} is not a record")))?;
        let leaf = frame.leaf();
        let who = (chained.link == Link::Opened).then(|| who(frame.payload)).flatten().map(Arc::new);
        if let Some(broken) = self.chains.advance(&chained, leaf, who.as_ref()).first() {
            return Err(corrupt(format!("record {index}: {broken}")));
        }
        self.frontier.push(leaf);
        self.new_leaves.push(leaf);
        self.hold_to_checkpoint()
    }

    fn hold_to_checkpoint(&self) -> Result<(), AuditError> {
        match self.signed {
            Some(signed) if signed.size == self.frontier.size() && signed.root != self.frontier.root() => {
                let what = format!("the first {} records are not those that the newest checkpoint signed", signed.size);
                Err(AuditError::corrupt(log_name(self.current.first), None, what))
            }
            _ => Ok(()),
        }
    }
}

fn who(payload: &[u8]) -> Option<Who> {
    #[derive(Deserialize)]
    struct Named {
        org: Option<String>,
        agent: Option<String>,
    }
    let named: Named = serde_json::from_slice(payload).ok()?;
    Some(Who { org: named.org, agent: named.agent })
}
