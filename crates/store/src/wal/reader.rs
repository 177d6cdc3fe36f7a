use std::{
    fs,
    path::{Path, PathBuf},
};

use super::frame::{ALIGNMENT, Found, Frame};
use crate::{StoreError, files};

pub(super) const EXTENSION: &str = "wal";

/// The files of a log, in order, with the LSN of the first commit of each.
pub(super) fn log_files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for path in files::list(folder, EXTENSION)? {
        let lsn = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let lsn = lsn.ok_or_else(|| StoreError::corrupted(&path, 0, "the name of a log file is not a number"))?;
        found.push((lsn, path));
    }
    Ok(found)
}

/// Where a log ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogContents {
    /// The LSN that the next commit gets.
    pub next_lsn: u64,
    /// A last frame that a crash cut short: the file, and the length to cut it to.
    pub torn: Option<(PathBuf, u64)>,
}

/// A record and where it was found.
#[derive(Debug)]
pub(crate) struct LogRecord<'a> {
    pub lsn: u64,
    /// Of the commit, in microseconds since 1970 UTC.
    pub time: i64,
    pub bytes: &'a [u8],
    pub path: &'a Path,
    /// Of its frame.
    pub offset: u64,
}

/// Hands every record after `lsn` to `replay`, in order.
///
/// # Errors
/// [`StoreError::Corrupted`] where commits are missing or damaged that were durable once; what `replay` returns.
pub(crate) fn read_log(
    folder: &Path,
    lsn: u64,
    mut replay: impl FnMut(LogRecord<'_>) -> Result<(), StoreError>,
) -> Result<LogContents, StoreError> {
    let all = log_files(folder)?;
    // Files that end before the first record wanted are passed over unread.
    let skipped = all.partition_point(|(first, _)| *first <= lsn + 1).saturating_sub(1);
    let wanted = all.get(skipped..).unwrap_or_default();
    let mut contents = LogContents { next_lsn: wanted.first().map_or(lsn + 1, |(first, _)| *first), torn: None };
    if let Some((first, path)) = wanted.first()
        && *first > lsn + 1
    {
        return Err(missing(path, lsn + 1, *first));
    }
    for (index, (first, path)) in wanted.iter().enumerate() {
        if *first != contents.next_lsn {
            return Err(missing(path, contents.next_lsn, *first));
        }
        let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
        let mut file = LogFileReader { path, bytes: &bytes, offset: 0, next_lsn: contents.next_lsn };
        let end = file.read(lsn, &mut replay)?;
        let is_last = index + 1 == wanted.len();
        if let Some(what) = end {
            if !is_last {
                return Err(StoreError::corrupted(path, file.offset as u64, what));
            }
            contents.torn = Some((path.clone(), file.offset as u64));
        }
        if is_last && let Some(later) = file.later_frame() {
            let what = end.unwrap_or("nothing is where a frame should be");
            let what = format!("{what}, and a sound frame follows at byte {later}");
            return Err(StoreError::corrupted(path, file.offset as u64, what));
        }
        contents.next_lsn = file.next_lsn;
    }
    contents.next_lsn = contents.next_lsn.max(lsn + 1);
    Ok(contents)
}

fn missing(path: &Path, from: u64, to: u64) -> StoreError {
    StoreError::corrupted(
        path,
        0,
        format!("the commits {from} to {} before this file are missing", to.saturating_sub(1)),
    )
}

struct LogFileReader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    offset: usize,
    next_lsn: u64,
}

impl<'a> LogFileReader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    /// Stops where sound frames end; says why unless it is a plain end.
    fn read(
        &mut self,
        after: u64,
        replay: &mut impl FnMut(LogRecord<'_>) -> Result<(), StoreError>,
    ) -> Result<Option<&'static str>, StoreError> {
        loop {
            let frame = match Frame::read(self.rest()) {
                Found::Frame(frame) => frame,
                Found::End => return Ok(None),
                Found::Damaged(what) => return Ok(Some(what)),
            };
            let offset = self.offset as u64;
            if frame.first_lsn != self.next_lsn {
                let what = format!("commit {} where {} should be", frame.first_lsn, self.next_lsn);
                return Err(StoreError::corrupted(self.path, offset, what));
            }
            for record in frame.records() {
                let (lsn, bytes) = record.map_err(|what| StoreError::corrupted(self.path, offset, what))?;
                self.next_lsn = lsn + 1;
                if lsn > after {
                    replay(LogRecord { lsn, time: frame.time, bytes, path: self.path, offset })?;
                }
            }
            self.offset += frame.bytes;
        }
    }

    /// Where a sound frame of a later commit lies behind the end.
    fn later_frame(&self) -> Option<usize> {
        const PAGE: usize = 4096;
        let mut offset = (self.offset + 1).next_multiple_of(ALIGNMENT);
        while let Some(rest) = self.bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            if offset.is_multiple_of(PAGE) && rest.iter().take(PAGE).all(|&byte| byte == 0) {
                offset += PAGE;
                continue;
            }
            if let Found::Frame(frame) = Frame::read(rest)
                && frame.first_lsn >= self.next_lsn
            {
                return Some(offset);
            }
            offset += ALIGNMENT;
        }
        None
    }
}
