//! Reading records back, file by file, in a window.

use std::{
    fs::File,
    io::{self, Read as _},
};

use crate::{
    AuditError, Hash,
    frame::{self, HEADER_BYTES, Step},
    layout::{Layout, log_name},
    merkle::leaf_hash,
    state::LogFile,
};

const WINDOW_BYTES: usize = 1 << 20;

/// A record as it was read.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub index: u64,
    pub salt: &'a [u8],
    pub payload: &'a [u8],
}

impl Stored<'_> {
    pub fn leaf(&self) -> Hash {
        leaf_hash(&[self.salt, self.payload])
    }
}

/// Reads the records of some log files in order, each file as far as it is said to reach.
#[derive(Debug)]
pub(crate) struct Reader {
    layout: Layout,
    /// Still to read, the next one last.
    files: Vec<LogFile>,
    open: Option<Open>,
    window: Vec<u8>,
    /// What of the window is read.
    at: usize,
    index: u64,
    /// Whether the log may end within a record, because somebody is writing it.
    torn_end: bool,
}

#[derive(Debug)]
struct Open {
    file: io::Take<File>,
    first: u64,
    /// Offset of the window's end.
    offset: u64,
}

impl Reader {
    /// Begins with the first file.
    pub fn open(layout: Layout, files: Vec<LogFile>) -> Result<Reader, AuditError> {
        Reader::begin(layout, files, false)
    }

    fn begin(layout: Layout, mut files: Vec<LogFile>, torn_end: bool) -> Result<Reader, AuditError> {
        files.reverse();
        let mut reader = Reader { layout, files, open: None, window: Vec::new(), at: 0, index: 0, torn_end };
        reader.fill()?;
        Ok(reader)
    }

    /// The files of a journal that no process writes, as far as they reach now.
    pub fn of_folder(layout: Layout) -> Result<Reader, AuditError> {
        let mut files = Vec::new();
        for first in layout.logs()? {
            let path = layout.log(first);
            let bytes = path.metadata().map_err(AuditError::io(&path))?.len();
            files.push(LogFile { first, bytes });
        }
        Reader::begin(layout, files, true)
    }

    /// The next record.
    pub fn next(&mut self) -> Result<Option<Stored<'_>>, AuditError> {
        loop {
            let rest = self.window.get(self.at..).unwrap_or_default();
            // The borrow checker cannot see that a frame returned from here ends the loop, so its length is kept only.
            let length = match frame::read(rest) {
                Step::Frame(frame) => frame.bytes(),
                Step::Short => {
                    if self.fill()? {
                        continue;
                    }
                    return Ok(None);
                }
                Step::BadLength | Step::BadChecksum { .. } => return Err(self.damaged("the record is damaged")),
            };
            let start = self.at;
            self.at += length;
            let index = self.index;
            self.index += 1;
            let bytes = self.window.get(start..start + length);
            return Ok(bytes.and_then(frame::split).map(|frame| Stored {
                index,
                salt: frame.salt,
                payload: frame.payload,
            }));
        }
    }

    /// Reads more of the current file, or begins the next one. `false` at the end of all.
    fn fill(&mut self) -> Result<bool, AuditError> {
        let left = self.window.len() - self.at;
        self.window.copy_within(self.at.., 0);
        self.window.truncate(left);
        self.at = 0;
        if let Some(open) = &mut self.open {
            let wanted = (WINDOW_BYTES.max(left + HEADER_BYTES) * 2).saturating_sub(left) as u64;
            let path = || self.layout.log(open.first);
            let read = (&mut open.file).take(wanted).read_to_end(&mut self.window).map_err(AuditError::io(path()))?;
            open.offset += read as u64;
            if read > 0 {
                return Ok(true);
            }
            if left > 0 && self.torn_end && self.files.is_empty() {
                return Ok(false);
            }
            if left > 0 {
                return Err(self.damaged("the file ends within a record"));
            }
        }
        let Some(next) = self.files.pop() else {
            self.open = None;
            return Ok(false);
        };
        let path = self.layout.log(next.first);
        let file = File::open(&path).map_err(AuditError::io(&path))?.take(next.bytes);
        self.open = Some(Open { file, first: next.first, offset: 0 });
        self.index = next.first;
        Ok(true)
    }

    fn damaged(&self, what: &str) -> AuditError {
        let (first, end) = self.open.as_ref().map_or((0, 0), |open| (open.first, open.offset));
        let offset = end.saturating_sub((self.window.len() - self.at) as u64);
        AuditError::corrupt(log_name(first), Some(offset), format!("record {}: {what}", self.index))
    }
}
