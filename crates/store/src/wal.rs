//! The log: what makes a commit durable.
//!
//! A log is a sequence of files named by the LSN of their first commit. A file is a sequence of frames, each written
//! and synced as one before the next is begun, and after the last of them zeros or nothing. So a damaged last frame is
//! a write that a crash cut short, of which nothing was acknowledged, while a damaged frame with a sound one after it
//! is damage to what was durable.

mod frame;
mod reader;
mod record;
mod writer;

pub(crate) use self::{
    frame::FrameBuilder,
    reader::{LogContents, LogRecord, read_log},
    record::{PieceRecord, PieceRows, Record, encode_record},
    writer::{AppendError, LogWriter, prepare_spare, remove_before},
};
