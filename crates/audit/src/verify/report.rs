use std::fmt;

use crate::{Hash, merkle::empty_root};

/// Most faults that a report lists.
pub(crate) const FAULTS_MAX: usize = 100;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub records: u64,
    pub intents: u64,
    pub outcomes: u64,
    /// Records that are both.
    pub whole: u64,
    pub events: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions without an end: of a server that runs, or that died and was not started since.
    pub sessions_open: u64,
    pub checkpoints: u64,
    /// Records that the newest checkpoint vouches for.
    pub signed: u64,
    /// Log files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The Merkle root over all records.
    pub root: Hash,
    /// What is wrong, the first hundred findings.
    pub faults: Vec<Fault>,
    /// Findings beyond those.
    pub faults_more: u64,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    /// Bytes from the file's beginning.
    pub offset: Option<u64>,
    /// Index of the record in the journal.
    pub record: Option<u64>,
    pub what: String,
}

impl Report {
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.faults_more += 1;
        }
    }

    pub(crate) fn fault(
        &mut self,
        file: impl Into<String>,
        offset: Option<u64>,
        record: Option<u64>,
        what: impl Into<String>,
    ) {
        self.push(Fault { file: file.into(), offset, record, what: what.into() });
    }
}

impl Default for Report {
    fn default() -> Report {
        Report {
            records: 0,
            intents: 0,
            outcomes: 0,
            whole: 0,
            events: 0,
            sessions: 0,
            sessions_open: 0,
            checkpoints: 0,
            signed: 0,
            files: 0,
            bytes: 0,
            root: empty_root(),
            faults: Vec::new(),
            faults_more: 0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "records      {} ({} intents, {} outcomes, {} of which are both, {} events)",
            self.records, self.intents, self.outcomes, self.whole, self.events
        )?;
        writeln!(f, "sessions     {} ({} open)", self.sessions, self.sessions_open)?;
        writeln!(f, "files        {} ({} bytes)", self.files, self.bytes)?;
        writeln!(f, "checkpoints  {} (the newest signs {} records)", self.checkpoints, self.signed)?;
        writeln!(f, "root         {}", self.root)?;
        for fault in &self.faults {
            writeln!(f, "FAULT        {fault}")?;
        }
        if self.faults_more > 0 {
            writeln!(f, "FAULT        and {} more", self.faults_more)?;
        }
        f.write_str(if self.is_ok() { "ok" } else { "the journal is not as it was written" })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}
