//! COPY data from the client to record batches.

use std::sync::Arc;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use bytes::{Buf, BytesMut};
use weir_model::{Code, ColumnType, Refusal, Result};
use weir_pipeline::{Column, CopyFormat, CopyOptions};

use crate::{
    copy::{
        columns::{ColumnBuilder, schema, stored_type},
        csv, text,
    },
    types::{
        fault::{Fault, quote},
        zone::Zone,
    },
};

/// Rows of a batch, unless it reaches [`BATCH_BYTES`] of input before.
const BATCH_ROWS: usize = 32_768;
const BATCH_BYTES: usize = 8 << 20;
/// Input that is worth a round of decoding.
const DECODE_BYTES: usize = 64 * 1024;
/// Longest line, in bytes: a record must fit into memory.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A field's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Null,
    Value(&'a [u8]),
}

/// What can be wrong with a line before any value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFault {
    CarriageReturn,
    UnterminatedQuote,
}

/// Decodes COPY data that comes in chunks of any size.
#[derive(Debug)]
pub(crate) struct CopyDecoder {
    columns: Arc<[Column]>,
    relation: String,
    options: CopyOptions,
    schema: SchemaRef,
    zone: Zone,
    builders: Vec<ColumnBuilder>,
    input: BytesMut,
    scan: csv::Scan,
    /// Number of the line that is read now, from 1.
    line: u64,
    line_ends: Option<LineEnd>,
    header: bool,
    rows: usize,
    bytes: usize,
    /// Input that is worth a round of decoding, in bytes.
    pub(super) worthwhile: usize,
    /// No more input comes.
    ended: bool,
    /// The end-of-data marker `\.` was read: the rest is ignored.
    stopped: bool,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    CarriageReturnNewline,
}

impl CopyDecoder {
    /// # Errors
    ///
    /// A COPY without columns is refused.
    pub(crate) fn new(
        columns: &Arc<[Column]>,
        options: &CopyOptions,
        relation: &str,
        zone: Zone,
    ) -> Result<CopyDecoder> {
        if columns.is_empty() {
            return Err(Refusal::unsupported("COPY into no columns"));
        }
        Ok(CopyDecoder {
            schema: schema(columns),
            builders: columns.iter().map(|column| ColumnBuilder::new(stored_type(column))).collect(),
            columns: Arc::clone(columns),
            relation: relation.to_owned(),
            options: options.clone(),
            zone,
            input: BytesMut::new(),
            scan: csv::Scan::default(),
            line: 1,
            line_ends: None,
            header: options.header,
            rows: 0,
            bytes: 0,
            worthwhile: DECODE_BYTES,
            ended: false,
            stopped: false,
            scratch: Vec::new(),
        })
    }

    /// Whether a chunk of so many bytes makes a round of decoding worth it.
    pub(crate) fn is_worthwhile(&self, bytes: usize) -> bool {
        self.input.len() + bytes >= self.worthwhile
    }

    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        if !self.stopped {
            self.input.extend_from_slice(chunk);
        }
    }

    /// Says that no more input comes: what is left is the last line.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// The next full batch, or after [`CopyDecoder::end`] the last one. `None` when more input is needed, or none is
    /// left.
    ///
    /// # Errors
    ///
    /// What is wrong with the data, with line and column; after that the decoder is of no more use.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if !self.ended && self.input.len() < self.worthwhile {
            return Ok(None);
        }
        // Taken out while records are borrowed from it.
        let mut input = std::mem::take(&mut self.input);
        let mut start = 0;
        let result = self.decode(&input, &mut start);
        input.advance(start);
        if self.stopped {
            input.clear();
        }
        self.input = input;
        result?;
        let full = self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES;
        if full || (self.ended && self.rows > 0) { self.take().map(Some) } else { Ok(None) }
    }

    /// Decodes records from `start` on, until a batch is full or no whole record is left.
    fn decode(&mut self, input: &[u8], start: &mut usize) -> Result<()> {
        while !self.stopped && self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
            let rest = input.get(*start..).unwrap_or_default();
            let (record, length) = match self.find_end(rest) {
                Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
                None if self.ended && !rest.is_empty() => (rest, rest.len()),
                None if rest.len() > LINE_BYTES_MAX => {
                    return Err(self.located(
                        Refusal::new(Code::ProgramLimitExceeded, "a line of COPY data is too long")
                            .detail(format!("limit={LINE_BYTES_MAX}")),
                        None,
                    ));
                }
                None => return Ok(()),
            };
            let whole_line = length > record.len();
            let record = self.strip_line_end(record, whole_line)?;
            if record == b"\\." {
                self.stopped = true;
            } else if self.header {
                self.header = false;
            } else {
                self.decode_record(record)?;
                self.rows += 1;
                self.bytes += length;
            }
            *start += length;
            self.line += 1 + self.scan.newlines;
            self.scan = csv::Scan::default();
        }
        Ok(())
    }

    fn find_end(&mut self, rest: &[u8]) -> Option<usize> {
        match self.options.format {
            CopyFormat::Csv => csv::find_end(rest, &mut self.scan, self.options.quote, self.options.escape),
            CopyFormat::Text => match text::find_end(rest, self.scan.at) {
                Ok(end) => Some(end),
                Err(from) => {
                    self.scan.at = from;
                    None
                }
            },
        }
    }

    /// Takes a carriage return off the end. The first line decides whether lines end in one; all must agree.
    fn strip_line_end<'a>(&mut self, record: &'a [u8], whole_line: bool) -> Result<&'a [u8]> {
        let stripped = record.strip_suffix(b"\r");
        if !whole_line {
            return Ok(stripped.filter(|_| self.line_ends == Some(LineEnd::CarriageReturnNewline)).unwrap_or(record));
        }
        let expected = *self.line_ends.get_or_insert(match stripped {
            Some(_) => LineEnd::CarriageReturnNewline,
            None => LineEnd::Newline,
        });
        match (expected, stripped) {
            (LineEnd::CarriageReturnNewline, Some(stripped)) => Ok(stripped),
            (LineEnd::CarriageReturnNewline, None) => {
                let what = match self.options.format {
                    CopyFormat::Text => "literal newline found in data",
                    CopyFormat::Csv => "unquoted newline found in data",
                };
                Err(self.located(Refusal::new(Code::BadCopyFormat, what), None))
            }
            (LineEnd::Newline, _) => Ok(record),
        }
    }

    fn decode_record(&mut self, record: &[u8]) -> Result<()> {
        let mut rest = Some(record);
        let options = &self.options;
        for (index, builder) in self.builders.iter_mut().enumerate() {
            let Some(fields) = rest else {
                let name = self.columns.get(index).map_or("", |column| column.name.as_str());
                let missing = Refusal::new(Code::BadCopyFormat, format!("missing data for column \"{name}\""));
                return Err(self.located(missing, None));
            };
            let null = options.null.as_bytes();
            let scratch = &mut self.scratch;
            let taken = match options.format {
                CopyFormat::Text => text::next_field(fields, options.delimiter, null, scratch),
                CopyFormat::Csv => {
                    csv::next_field(fields, options.delimiter, options.quote, options.escape, null, scratch)
                }
            };
            let (field, next) = match taken {
                Ok(taken) => taken,
                Err(fault) => return Err(self.line_refusal(fault)),
            };
            match field {
                Field::Null => builder.append_null(),
                Field::Value(value) => {
                    if let Err(fault) = builder.append(value, &self.zone) {
                        let (column_type, value) = (builder.column_type(), value.to_vec());
                        return Err(self.value_refusal(fault, column_type, index, &value));
                    }
                }
            }
            rest = next;
        }
        if rest.is_some() {
            return Err(self.located(Refusal::new(Code::BadCopyFormat, "extra data after last expected column"), None));
        }
        Ok(())
    }

    fn take(&mut self) -> Result<RecordBatch> {
        self.rows = 0;
        self.bytes = 0;
        let arrays = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Refusal::new(Code::Internal, format!("COPY built an invalid batch: {error}")))
    }

    fn line_refusal(&self, fault: LineFault) -> Refusal {
        let refusal = match (fault, self.options.format) {
            (LineFault::UnterminatedQuote, _) => Refusal::new(Code::BadCopyFormat, "unterminated CSV quoted field"),
            (LineFault::CarriageReturn, CopyFormat::Text) => {
                Refusal::new(Code::BadCopyFormat, "literal carriage return found in data")
                    .hint("use \"\\r\" to represent carriage return")
            }
            (LineFault::CarriageReturn, CopyFormat::Csv) => {
                Refusal::new(Code::BadCopyFormat, "unquoted carriage return found in data")
                    .hint("use quoted CSV field to represent carriage return")
            }
        };
        self.located(refusal, None)
    }

    fn value_refusal(&self, fault: Fault, column_type: ColumnType, column: usize, value: &[u8]) -> Refusal {
        self.located(fault.refusal(column_type, value), Some((column, value)))
    }

    /// Adds `COPY orders, line 7, column o_totalprice: "abc"`.
    fn located(&self, refusal: Refusal, at: Option<(usize, &[u8])>) -> Refusal {
        let mut place = format!("COPY {}, line {}", self.relation, self.line);
        if let Some((column, value)) = at {
            let name = self.columns.get(column).map_or("", |column| column.name.as_str());
            place.push_str(&format!(", column {name}: \"{}\"", quote(value)));
        }
        refusal.context(place)
    }
}
