//! A client's connection from its first byte to its last, as bytes in and bytes out. Who the client is, and what becomes
//! of its requests, others decide.

use std::sync::Arc;

use super::{
    encoding::Encoding,
    error::ProtocolError,
    frame::{FrameEncoding, FrameParser, FrameView},
    head::{self, Asks, Head, Listener, Post, RefusedHead, Shorthand},
    limits::HEAD_BYTES_MAX,
    reply::{Answer, Answers, Hello},
    request::{Cursor, Request},
    response::{CONTINUE, HANDSHAKE, write_post, write_refused, write_shorthand},
    rpc::{Call, Id, Message, Refused, Surface, read_body, read_frame},
};

/// What comes of the bytes that a client sent.
#[derive(Debug)]
pub enum Step {
    /// A request begins: say with [`accept`](Connection::accept) or [`refuse`](Connection::refuse) how it goes on. On a
    /// connection that stays open each request has a head, and a token, of its own.
    Opened(Head),
    /// Something to do, and how to answer. Answers in frames may come in any order, others in that of the messages.
    Message(Message, Route),
    /// No more is read: close when all answers are written.
    End,
}

/// How a message is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// In a frame; `id`: of an answer to many requests.
    Frame { encoding: Encoding, id: Option<String> },
    /// As the response to a POST.
    Post { encoding: Encoding, is_kept_alive: bool },
    /// As the response to `PUT`, `GET` or `DELETE /data/<key>`.
    Shorthand { encoding: Encoding, is_kept_alive: bool },
}

impl Route {
    /// Appends the answers.
    pub fn write(&self, out: &mut Vec<u8>, answers: Answers) {
        let begin = out.len();
        if self.try_write(out, answers).is_err() {
            // A value turned out not to be JSON, which no client is to blame for.
            out.truncate(begin);
            let internal = Answers::One(Answer { id: Id::Null, outcome: Err(ProtocolError::Internal) });
            // An error without data is always JSON.
            let _ = self.try_write(out, internal);
        }
    }

    fn try_write(&self, out: &mut Vec<u8>, answers: Answers) -> Result<(), ProtocolError> {
        match (self, answers) {
            (Route::Frame { encoding, id }, answers) => answers.write_frame(out, *encoding, id.as_deref()),
            (Route::Shorthand { encoding, is_kept_alive }, Answers::One(answer)) => {
                write_shorthand(out, answer, *encoding, *is_kept_alive)
            }
            (Route::Post { encoding, is_kept_alive } | Route::Shorthand { encoding, is_kept_alive }, answers) => {
                write_post(out, &answers, *encoding, *is_kept_alive)
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    listener: Listener,
    state: State,
    /// Of a head or a body, what has come.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head,
    Deciding(Box<Head>),
    Body {
        surface: Arc<Surface>,
        bytes: usize,
        content: Content,
    },
    Frames(Box<Frames>),
    /// `true`: that it ends is still to be told.
    Ended(bool),
}

#[derive(Debug)]
enum Content {
    Message { encoding: Encoding, route: Route },
    Value { shorthand: Shorthand, encoding: Encoding, route: Route },
}

#[derive(Debug)]
struct Frames {
    surface: Arc<Surface>,
    parser: FrameParser,
    /// Of a POST, the bytes of its body still to come.
    remaining: Option<usize>,
    /// What came with the head.
    first: Option<Request>,
    after: Option<Cursor>,
}

impl Connection {
    #[must_use]
    pub fn new(listener: Listener) -> Connection {
        Connection { listener, state: State::Head, buffer: Vec::new() }
    }

    /// The next step, taking from `input` what was read for it; `None` when there has to be more input. To `out` goes
    /// what the client is told at once.
    pub fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Step> {
        match &mut self.state {
            State::Head => self.read_head(input, out),
            State::Deciding(_) => None,
            State::Body { bytes, .. } => {
                let bytes = *bytes;
                if !self.fill(input, bytes) {
                    return None;
                }
                self.end_body()
            }
            State::Frames(frames) => match frames.next(input) {
                Ok(Some(step)) => Some(step),
                Ok(None) if frames.remaining == Some(0) => self.end(),
                Ok(None) => None,
                Err(error) => {
                    let answer = Answers::One(Answer { id: Id::Null, outcome: Err(error) });
                    Route::Frame { encoding: Encoding::Json, id: None }.write(out, answer);
                    self.end()
                }
            },
            State::Ended(is_to_be_told) => {
                *input = &[];
                std::mem::take(is_to_be_told).then_some(Step::End)
            }
        }
    }

    /// The request whose head was told may go on, and finds these methods. Without a request it does nothing.
    pub fn accept(&mut self, surface: Arc<Surface>, out: &mut Vec<u8>) {
        let State::Deciding(head) = std::mem::replace(&mut self.state, State::Head) else { return };
        let (encoding, is_kept_alive) = (head.answer, head.is_kept_alive);
        if head.expects_continue {
            out.extend_from_slice(CONTINUE);
        }
        let (remaining, first, after) = match head.asks {
            Asks::Stream(stream) => (None, stream.subscribe.map(Request::Subscribe), stream.after),
            Asks::Post(Post { body_bytes, is_framed: true, .. }) => (Some(body_bytes), None, None),
            Asks::Post(Post { body_bytes: bytes, body, answers_framed, .. }) => {
                let route = match answers_framed {
                    true => Route::Frame { encoding, id: None },
                    false => Route::Post { encoding, is_kept_alive },
                };
                if answers_framed {
                    greet(&surface, out);
                }
                let content = Content::Message { encoding: body, route };
                self.state = State::Body { surface, bytes, content };
                return;
            }
            Asks::Shorthand { shorthand, body, body_bytes: bytes } => {
                let route = Route::Shorthand { encoding, is_kept_alive };
                let content = Content::Value { shorthand, encoding: body, route };
                self.state = State::Body { surface, bytes, content };
                return;
            }
        };
        greet(&surface, out);
        let parser = FrameParser::default();
        self.state = State::Frames(Box::new(Frames { surface, parser, remaining, first, after }));
    }

    /// The request whose head was told is refused with the error's HTTP status, and the connection ends.
    pub fn refuse(&mut self, error: ProtocolError, out: &mut Vec<u8>) {
        write_refused(out, &RefusedHead::from(error));
        self.end();
        self.state = State::Ended(true);
    }

    /// Bytes set aside for what has begun and not ended.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let frames = if let State::Frames(frames) = &self.state { frames.parser.buffered() } else { 0 };
        self.buffer.capacity() + frames
    }

    fn end(&mut self) -> Option<Step> {
        self.buffer = Vec::new();
        self.state = State::Ended(false);
        Some(Step::End)
    }

    /// Moves bytes to the buffer until it has so many.
    fn fill(&mut self, input: &mut &[u8], bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.buffer.len()).min(input.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or_default();
        self.buffer.extend_from_slice(taken);
        *input = rest;
        self.buffer.len() >= bytes
    }

    fn read_head(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if self.buffer.is_empty() {
            // Between requests there may be empty lines.
            let begin = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(input.len());
            *input = input.get(begin..).unwrap_or_default();
        }
        let (seen, all) = (self.buffer.len(), *input);
        self.fill(input, HEAD_BYTES_MAX + 1);
        let read = head::find_end(&self.buffer, seen).and_then(|end| {
            let Some(end) = end else { return Ok(None) };
            *input = all.get(end.saturating_sub(seen)..).unwrap_or_default();
            head::read(self.buffer.get(..end).unwrap_or_default(), self.listener).map(Some)
        });
        match read {
            Ok(None) => None,
            Ok(Some(head)) => {
                self.buffer = Vec::new();
                self.state = State::Deciding(Box::new(head.clone()));
                Some(Step::Opened(head))
            }
            Err(refused) => {
                write_refused(out, &refused);
                self.end()
            }
        }
    }

    fn end_body(&mut self) -> Option<Step> {
        let body = std::mem::take(&mut self.buffer);
        let State::Body { surface, content, .. } = std::mem::replace(&mut self.state, State::Head) else { return None };
        let (message, route) = match content {
            Content::Message { encoding, route } => (read_body(&surface, encoding, &body), route),
            Content::Value { shorthand, encoding, route } => {
                let method = shorthand.method();
                let request = surface.method(method.name()).and_then(|_| shorthand.into_request(encoding, &body));
                let call = request.map(|request| Call { id: Id::Null, request });
                (Message::One(call.map_err(|error| Refused { id: Id::Null, error })), route)
            }
        };
        let is_kept_alive = match &route {
            Route::Frame { .. } => false,
            Route::Post { is_kept_alive, .. } | Route::Shorthand { is_kept_alive, .. } => *is_kept_alive,
        };
        if !is_kept_alive {
            self.state = State::Ended(true);
        }
        Some(Step::Message(message, route))
    }
}

/// Of a stream and of a POST that is answered in frames; the response lasts until the connection ends.
fn greet(surface: &Surface, out: &mut Vec<u8>) {
    out.extend_from_slice(HANDSHAKE);
    // What a plane says of itself is always JSON.
    let _ = Hello::new(surface).write_frame(out);
}

impl Frames {
    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, ProtocolError> {
        if let Some(request) = self.first.take() {
            let route = Route::Frame { encoding: Encoding::Json, id: None };
            return Ok(Some(Step::Message(Message::One(Ok(Call { id: Id::Null, request })), route)));
        }
        let frame = match self.remaining {
            None => match self.parser.next_whole(input) {
                Some(frame) => return Ok(Some(self.message(frame))),
                None => self.parser.next(input)?,
            },
            Some(remaining) => {
                let whole = *input;
                let mut body = whole.get(..remaining).unwrap_or(whole);
                let offered = body.len();
                let frame = self.parser.next(&mut body)?;
                let taken = offered - body.len();
                *input = whole.get(taken..).unwrap_or_default();
                self.remaining = Some(remaining - taken);
                if frame.is_none() && remaining == taken { self.parser.finish()? } else { frame }
            }
        };
        Ok(frame.map(|frame| self.message(frame.view())))
    }

    fn message(&self, frame: FrameView<'_>) -> Step {
        let mut message = read_frame(&self.surface, frame);
        if let Message::One(Ok(Call { request: Request::Subscribe(subscribe), .. })) = &mut message {
            subscribe.after = subscribe.after.take().or_else(|| self.after.clone());
        }
        let encoding = match frame.encoding {
            FrameEncoding::Known(encoding) => encoding,
            FrameEncoding::Unknown => Encoding::Json,
        };
        // The answer to one request has the request's own.
        let id = match &message {
            Message::One(_) => None,
            Message::Many(_) => frame.id.map(str::to_owned),
        };
        Step::Message(message, Route::Frame { encoding, id })
    }
}
