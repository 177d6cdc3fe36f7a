//! Result rows to COPY data, one CopyData message a row.

use bytes::{BufMut, BytesMut};
use weir_model::Result;
use weir_pipeline::{Column, CopyFormat, CopyOptions};

use crate::types::batch::BatchEncoder;

/// Writes rows in the format that a COPY TO asked for.
#[derive(Debug)]
pub(crate) struct CopyEncoder {
    options: CopyOptions,
    /// Columns that are always quoted.
    forced: Vec<bool>,
    /// Which bytes of a value need escaping or quoting.
    special: Box<[bool; 256]>,
    scratch: Vec<u8>,
}

impl CopyEncoder {
    pub(crate) fn new(options: &CopyOptions, columns: &[Column]) -> CopyEncoder {
        let mut special = Box::new([false; 256]);
        let marks: &[u8] = match options.format {
            CopyFormat::Text => &[8, 9, 10, 11, 12, 13, b'\\', options.delimiter],
            CopyFormat::Csv => &[b'\n', b'\r', options.delimiter, options.quote],
        };
        for mark in marks {
            if let Some(slot) = special.get_mut(usize::from(*mark)) {
                *slot = true;
            }
        }
        let forced = |column: &Column| options.force_quote.iter().any(|name| name == "*" || *name == column.name);
        let forced = columns.iter().map(forced).collect();
        CopyEncoder { options: options.clone(), forced, special, scratch: Vec::new() }
    }

    /// Appends a CopyData message with the columns' names.
    pub(crate) fn put_header(&mut self, columns: &[Column], out: &mut BytesMut) {
        let start = begin(out);
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.options.delimiter);
            }
            let at = out.len();
            out.put_slice(column.name.as_bytes());
            self.protect(out, at, columns.len() == 1, false);
        }
        end(out, start);
    }

    /// Appends a CopyData message with one row; on an error nothing is appended.
    pub(crate) fn put_row(&mut self, fields: &BatchEncoder<'_>, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = begin(out);
        for column in 0..fields.width() {
            if column > 0 {
                out.put_u8(self.options.delimiter);
            }
            let at = out.len();
            match fields.put_text_field(row, column, out) {
                Ok(true) => {
                    let forced = self.forced.get(column).copied().unwrap_or(false);
                    self.protect(out, at, fields.width() == 1, forced);
                }
                Ok(false) => out.put_slice(self.options.null.as_bytes()),
                Err(refusal) => {
                    out.truncate(start);
                    return Err(refusal);
                }
            }
        }
        end(out, start);
        Ok(())
    }

    /// Escapes or quotes the value that stands from `at` to the end, if it needs it.
    fn protect(&mut self, out: &mut BytesMut, at: usize, alone: bool, force: bool) {
        let value = out.get(at..).unwrap_or_default();
        let special = |byte: &u8| self.special.get(usize::from(*byte)).copied().unwrap_or(false);
        let marked = value.iter().any(special);
        let quote = match self.options.format {
            CopyFormat::Text => false,
            // The NULL marker, and a lone end-of-data marker, would be read as something else.
            CopyFormat::Csv => force || marked || value == self.options.null.as_bytes() || (alone && value == b"\\."),
        };
        if !marked && !quote {
            return;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(value);
        out.truncate(at);
        if quote {
            out.put_u8(self.options.quote);
            for byte in &self.scratch {
                if *byte == self.options.quote || *byte == self.options.escape {
                    out.put_u8(self.options.escape);
                }
                out.put_u8(*byte);
            }
            out.put_u8(self.options.quote);
            return;
        }
        for byte in &self.scratch {
            let letter = match byte {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                other => *other,
            };
            if self.special.get(usize::from(*byte)).copied().unwrap_or(false) {
                out.put_u8(b'\\');
                out.put_u8(letter);
            } else {
                out.put_u8(*byte);
            }
        }
    }
}

fn begin(out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_u8(b'd');
    out.put_i32(0);
    start
}

fn end(out: &mut BytesMut, start: usize) {
    out.put_u8(b'\n');
    // INVARIANT: a row that was encoded is below 1 GB, so its length fits.
    let length = (out.len() - start - 1) as u32;
    if let Some(slot) = out.get_mut(start + 1..start + 5) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}
