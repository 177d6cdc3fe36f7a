//! Server-sent events, which here go both ways.
//!
//! A frame is lines `event:`, `id:` and `data:` and an empty line; lines end with CR, LF or both. Several `data` lines
//! are joined by line feeds. Beyond the standard, lines that are no field are taken as more data once data has begun, as
//! the RFCs spread their JSON over lines; a standard reader would ignore them.

use memchr::memchr2;

use super::{
    encoding::Encoding,
    error::{Part, ProtocolError},
    limits::FRAME_BYTES_MAX,
};

/// What idle streams are sent every 15 s.
pub const KEEP_ALIVE: &[u8] = b": ping\n\n";

/// One message as it came, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub event: Option<String>,
    pub id: Option<String>,
    pub data: Vec<u8>,
    pub encoding: FrameEncoding,
    /// Whether data went on in lines without `data:`; such JSON may have `//` comments.
    pub is_spread: bool,
}

/// A frame, not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameView<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) data: &'a [u8],
    pub(super) encoding: FrameEncoding,
    pub(super) is_spread: bool,
}

impl Frame {
    pub(super) fn view(&self) -> FrameView<'_> {
        FrameView { id: self.id.as_deref(), data: &self.data, encoding: self.encoding, is_spread: self.is_spread }
    }
}

/// What a frame's field `data-encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEncoding {
    /// JSON where the field is missing.
    Known(Encoding),
    Unknown,
}

impl Default for FrameEncoding {
    fn default() -> FrameEncoding {
        FrameEncoding::Known(Encoding::Json)
    }
}

/// Finds frames in bytes that come in any pieces. Each byte is looked at once and copied at most twice; no more is kept
/// than the greatest frame and as much again.
#[derive(Debug)]
pub struct FrameParser {
    bytes_max: usize,
    /// The line that has begun; of a comment only its first byte.
    line: Vec<u8>,
    frame: Frame,
    has_data: bool,
    /// Bytes of the frame's whole lines.
    size: usize,
    after_cr: bool,
    is_first_line: bool,
    is_broken: bool,
}

/// Above this a buffer is not kept for the next line, as most connections are idle most of the time.
const LINE_CAPACITY_KEPT: usize = 1024;

impl Default for FrameParser {
    fn default() -> FrameParser {
        FrameParser::new(FRAME_BYTES_MAX)
    }
}

impl FrameParser {
    /// `bytes_max`: of a frame, with the names of its fields and without comments.
    #[must_use]
    pub fn new(bytes_max: usize) -> FrameParser {
        FrameParser {
            bytes_max,
            line: Vec::new(),
            frame: Frame::default(),
            has_data: false,
            size: 0,
            after_cr: false,
            is_first_line: true,
            is_broken: false,
        }
    }

    /// The next frame, if `input` ends one, taking from `input` what it has read.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`], now and ever after: where the next frame would begin cannot be known safely.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, ProtocolError> {
        loop {
            if self.is_broken {
                return Err(self.too_large());
            }
            if self.after_cr && !input.is_empty() {
                self.after_cr = false;
                *input = input.strip_prefix(b"\n").unwrap_or(input);
            }
            let whole = *input;
            let Some(end) = memchr2(b'\n', b'\r', whole) else {
                *input = &[];
                self.keep(whole)?;
                return Ok(None);
            };
            let (line, rest) = whole.split_at_checked(end).unwrap_or_default();
            let (ending, rest) = rest.split_first().unwrap_or((&b'\n', &[]));
            self.after_cr = *ending == b'\r';
            *input = rest;
            if let Some(frame) = self.end_line(line)? {
                return Ok(Some(frame));
            }
        }
    }

    /// A frame that is whole in `input` and written as most are, without a copy; `None`: it is for [`next`](FrameParser::next),
    /// which finds the same frame.
    pub(super) fn next_whole<'a>(&mut self, input: &mut &'a [u8]) -> Option<FrameView<'a>> {
        let is_between = self.line.is_empty() && self.size == 0 && !self.has_data;
        if !is_between || self.after_cr || self.is_broken {
            return None;
        }
        let (mut rest, mut id, mut data) = (*input, None, None);
        loop {
            let (line, after) = rest.split_at_checked(memchr2(b'\n', b'\r', rest)?)?;
            rest = after.strip_prefix(b"\n")?;
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix(b"data: ") {
                data.replace(value).is_none().then_some(())?;
            } else if let Some(value) = line.strip_prefix(b"id: ").filter(|value| !value.contains(&0)) {
                id.replace(std::str::from_utf8(value).ok()?).is_none().then_some(())?;
            } else if !line.starts_with(b"event: ") {
                return None;
            }
        }
        let data = data.filter(|_| input.len() - rest.len() <= self.bytes_max)?;
        *input = rest;
        self.is_first_line = false;
        Some(FrameView { id, data, encoding: FrameEncoding::default(), is_spread: false })
    }

    /// The frame that has begun, when no more bytes come and the last empty line was left out.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`], as before.
    pub fn finish(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if self.is_broken {
            return Err(self.too_large());
        }
        if !self.line.is_empty() {
            self.end_line(&[])?;
        }
        self.end_line(&[])
    }

    /// Bytes set aside for the frame that has begun.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        self.line.capacity() + self.frame.data.capacity() + text(&self.frame.event) + text(&self.frame.id)
    }

    fn too_large(&self) -> ProtocolError {
        ProtocolError::TooLarge { what: Part::Frame, max: self.bytes_max }
    }

    fn count(&mut self, more: usize) -> Result<(), ProtocolError> {
        if self.size.saturating_add(self.line.len()).saturating_add(more) <= self.bytes_max {
            return Ok(());
        }
        let error = self.too_large();
        *self = FrameParser { is_broken: true, ..FrameParser::new(self.bytes_max) };
        Err(error)
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        match self.line.first().or(piece.first()) {
            Some(b':') => {
                self.line.clear();
                self.line.push(b':');
                Ok(())
            }
            _ => {
                self.count(piece.len())?;
                self.line.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    fn end_line(&mut self, piece: &[u8]) -> Result<Option<Frame>, ProtocolError> {
        if self.line.is_empty() {
            return self.take_line(piece);
        }
        self.keep(piece)?;
        let mut line = std::mem::take(&mut self.line);
        let frame = self.take_line(&line);
        if line.capacity() <= LINE_CAPACITY_KEPT {
            line.clear();
            self.line = line;
        }
        frame
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Frame>, ProtocolError> {
        let line = match std::mem::take(&mut self.is_first_line) {
            true => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            false => line,
        };
        match line.first() {
            None => {
                let frame = std::mem::take(&mut self.frame);
                self.size = 0;
                return Ok(std::mem::take(&mut self.has_data).then_some(frame));
            }
            Some(b':') => return Ok(None),
            Some(_) => {}
        }
        self.count(line.len() + 1)?;
        self.size += line.len() + 1;
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.and_then(|at| line.split_at_checked(at)).unwrap_or((line, b""));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.add_data(value),
            b"event" => self.frame.event = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" if !value.contains(&0) => self.frame.id = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" | b"retry" => {}
            b"data-encoding" => {
                self.frame.encoding = match value {
                    b"msgpack" => FrameEncoding::Known(Encoding::MessagePack),
                    b"json" => FrameEncoding::Known(Encoding::Json),
                    _ => FrameEncoding::Unknown,
                };
            }
            _ if self.has_data => {
                self.frame.is_spread = true;
                self.add_data(line);
            }
            _ => {}
        }
        Ok(None)
    }

    fn add_data(&mut self, line: &[u8]) {
        if std::mem::replace(&mut self.has_data, true) {
            self.frame.data.push(b'\n');
        }
        self.frame.data.extend_from_slice(line);
    }
}

/// Appends a frame. `data` is a line of JSON; an id that cannot be a line is left out.
///
/// # Errors
/// [`ProtocolError::Internal`]: `data` is no JSON, or more than a line.
pub fn write_frame(
    out: &mut Vec<u8>,
    event: &str,
    id: Option<&str>,
    encoding: Encoding,
    data: &str,
) -> Result<(), ProtocolError> {
    let data = encoding.frame_from_json(data)?;
    write_whole(out, event, id, encoding, |out| out.extend_from_slice(data.as_bytes()))
}

/// Appends a frame whose data is written in its place, as JSON.
///
/// # Errors
/// [`ProtocolError::Internal`]: it was more than a line.
pub(super) fn write_json_frame(
    out: &mut Vec<u8>,
    event: &str,
    id: Option<&str>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), ProtocolError> {
    write_whole(out, event, id, Encoding::Json, write)
}

/// Or nothing of it.
fn write_whole(
    out: &mut Vec<u8>,
    event: &str,
    id: Option<&str>,
    encoding: Encoding,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), ProtocolError> {
    let begin = out.len();
    write_fields(out, event, id, encoding);
    out.extend_from_slice(b"data: ");
    let data = out.len();
    write(out);
    if memchr2(b'\n', b'\r', out.get(data..).unwrap_or_default()).is_some() {
        out.truncate(begin);
        return Err(ProtocolError::Internal);
    }
    out.extend_from_slice(b"\n\n");
    Ok(())
}

fn write_fields(out: &mut Vec<u8>, event: &str, id: Option<&str>, encoding: Encoding) {
    let mut field = |name: &[u8], value: &str| {
        out.extend_from_slice(name);
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    field(b"event: ", event);
    if let Some(id) = id.filter(|id| !id.bytes().any(|byte| matches!(byte, b'\n' | b'\r' | b'\0'))) {
        field(b"id: ", id);
    }
    if encoding != Encoding::Json {
        field(b"data-encoding: ", encoding.name());
    }
}

#[cfg(test)]
mod tests;
