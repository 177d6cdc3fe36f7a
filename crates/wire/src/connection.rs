//! One client's byte stream: whole frames in, buffered messages out.
//!
//! Invariants: the input buffer grows only with bytes that were really received, whatever length a message claims; the
//! output buffer is handed to the socket at 64 KiB, so no result piles up behind a slow reader; a client that stops
//! reading is dropped after the write timeout.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use weir_model::{Code, Refusal};

use crate::{
    budget::{FREE_BYTES, InputShare},
    cancel::CancelSignal,
    frontend::Kind,
    meters::Meters,
    slow_lane::{LARGE_MESSAGE_BYTES, SlowLane},
};

/// Output that triggers a flush.
pub(crate) const FLUSH_BYTES: usize = 64 * 1024;
/// How much is read ahead while a statement runs; beyond it a vanished client shows at the next write.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Buffers larger than this are given back when empty.
const KEEP_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 8 * 1024;
/// As long as a read has so much room, none is made.
const READ_BYTES_MIN: usize = 2 * 1024;
/// Most that one read takes, so that a fast sender gives way.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Most that one write gives, so that a fast reader gives way.
const WRITE_BYTES_MAX: usize = 256 * 1024;
/// Of a message of which so much has come, the rest has its room at once: growing by copying would take longer and
/// longer. Room that was never written to costs no memory.
const WHOLE_ROOM_BYTES: usize = 1 << 20;

pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed it, or the socket failed: nobody is left to tell.
    Closed,
    /// The client said goodbye.
    Terminated,
    /// The client is told, then the connection closes.
    Fatal(Refusal),
}

impl From<io::Error> for End {
    fn from(_error: io::Error) -> End {
        End::Closed
    }
}

/// One whole message.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
}

pub(crate) struct Connection {
    transport: Box<dyn Transport>,
    pub(crate) input: BytesMut,
    pub(crate) output: BytesMut,
    write_timeout: Duration,
    pub(crate) message_bytes_max: usize,
    pub(crate) meters: Meters,
    share: InputShare,
    pub(crate) slow_lane: SlowLane,
    /// Bytes received since others had their turn.
    in_a_row: usize,
    /// The client was seen to close its side.
    closed: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        message_bytes_max: usize,
        write_timeout: Duration,
        share: InputShare,
        slow_lane: SlowLane,
    ) -> Connection {
        Connection {
            transport,
            input: BytesMut::new(),
            output: BytesMut::new(),
            write_timeout,
            message_bytes_max,
            meters: Meters::new(),
            share,
            slow_lane,
            in_a_row: 0,
            closed: false,
        }
    }

    /// Gives the transport up, to wrap it in TLS; both buffers must be empty.
    pub(crate) fn replace_transport(&mut self, transport: Box<dyn Transport>) -> Box<dyn Transport> {
        std::mem::replace(&mut self.transport, transport)
    }

    /// The next whole message in the input buffer, if there is one.
    ///
    /// # Errors
    ///
    /// Unknown message types and lengths out of bounds end the connection: what follows cannot be trusted to be framed.
    pub(crate) fn take_frame(&mut self) -> Result<Option<Frame>, End> {
        // Whatever was taken before is handled by now.
        if self.input.len() <= FREE_BYTES {
            self.share.release();
        }
        let Some((kind, length)) = peek_frame(&self.input, self.message_bytes_max)? else { return Ok(None) };
        if self.input.len() < length + 1 {
            return Ok(None);
        }
        let mut frame = self.input.split_to(length + 1);
        if length > KEEP_BYTES {
            // What follows shares the frame's allocation and would keep it.
            self.input = BytesMut::from(self.input.as_ref());
        }
        frame.advance(5);
        self.meters.message();
        Ok(Some(Frame { kind, body: frame.freeze() }))
    }

    /// Whether the next messages, all received already, are a Sync, or Closes and then a Sync.
    pub(crate) fn sync_follows(&self) -> bool {
        let mut rest: &[u8] = &self.input;
        loop {
            match peek_frame(rest, self.message_bytes_max) {
                Ok(Some((Kind::Sync, length))) => return rest.len() > length,
                Ok(Some((Kind::Close, length))) => match rest.get(length + 1..) {
                    Some(after) => rest = after,
                    None => return false,
                },
                _ => return false,
            }
        }
    }

    /// Whether the next message, as far as it has come, says that it is a long one.
    pub(crate) fn large_follows(&self) -> bool {
        let next = peek_frame(&self.input, self.message_bytes_max);
        matches!(next, Ok(Some((_, length))) if length > LARGE_MESSAGE_BYTES)
    }

    /// Receives more bytes.
    pub(crate) async fn fill(&mut self) -> Result<(), End> {
        self.give_way().await;
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Lets others have their turn after a part of a long message.
    async fn give_way(&mut self) {
        if self.in_a_row >= WRITE_BYTES_MAX {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }

    /// As [`Connection::fill`], but looks again and again for `patience` instead of sleeping; `false` when nothing came.
    ///
    /// Waking a thread that sleeps takes the system longer than a short statement takes us.
    pub(crate) async fn fill_awake(&mut self, patience: Duration) -> Result<bool, End> {
        let until = Instant::now() + patience;
        loop {
            match poll_fn(|context| Poll::Ready(self.poll_fill(context))).await {
                Poll::Ready(filled) => return filled.map(|()| true),
                Poll::Pending if Instant::now() >= until => return Ok(false),
                // Others of this runtime go first.
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
    }

    fn poll_fill(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<(), End>> {
        if self.closed {
            return Poll::Ready(Err(End::Closed));
        }
        if self.input.is_empty() && self.input.capacity() > KEEP_BYTES {
            self.input = BytesMut::new();
        }
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(self.room());
        }
        let mut room = (&mut self.input).limit(READ_BYTES_MAX);
        let read = self.transport.read_buf(&mut room);
        match pin!(read).poll(context) {
            Poll::Pending => {
                self.in_a_row = 0;
                Poll::Pending
            }
            Poll::Ready(Ok(received)) if received > 0 => {
                self.in_a_row += received;
                self.meters.received(received);
                Poll::Ready(self.share.cover(self.input.len()).map_err(End::Fatal))
            }
            Poll::Ready(_) => {
                self.closed = true;
                Poll::Ready(Err(End::Closed))
            }
        }
    }

    /// Room for the next read, in steps that double as bytes really come; then for the rest of a message.
    fn room(&self) -> usize {
        let received = self.input.len();
        match peek_frame(&self.input, self.message_bytes_max) {
            Ok(Some((_, length))) if received >= WHOLE_ROOM_BYTES => {
                (length + 1).saturating_sub(received).max(READ_BYTES)
            }
            _ => READ_BYTES.max(received.min(WHOLE_ROOM_BYTES)),
        }
    }

    /// As [`Connection::fill`]; `false` when `signal` was raised first.
    pub(crate) async fn fill_unless_raised(&mut self, signal: &CancelSignal) -> Result<bool, End> {
        self.give_way().await;
        poll_fn(|context| match self.poll_fill(context) {
            Poll::Ready(filled) => Poll::Ready(filled.map(|()| true)),
            Poll::Pending if signal.poll_raised(context) => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Drives `work` while watching the socket: a client that vanishes cancels it through `on_vanished`, once.
    pub(crate) async fn watch<F: Future>(&mut self, work: F, on_vanished: impl FnOnce()) -> F::Output {
        let mut work = pin!(work);
        let mut on_vanished = Some(on_vanished);
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if self.poll_vanished(context)
                && let Some(on_vanished) = on_vanished.take()
            {
                on_vanished();
                return work.as_mut().poll(context);
            }
            Poll::Pending
        })
        .await
    }

    /// As [`Connection::watch`], but gives `work` up when `signal` was raised and `grace` has passed.
    pub(crate) async fn watch_cancellable<F: Future>(
        &mut self,
        work: F,
        signal: &CancelSignal,
        grace: Duration,
        on_vanished: impl FnOnce(),
    ) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut on_vanished = Some(on_vanished);
        let mut deadline: Option<Pin<Box<tokio::time::Sleep>>> = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if self.poll_vanished(context)
                && let Some(on_vanished) = on_vanished.take()
            {
                on_vanished();
                if let Poll::Ready(output) = work.as_mut().poll(context) {
                    return Poll::Ready(Some(output));
                }
            }
            if deadline.is_none() && signal.poll_raised(context) {
                deadline = Some(Box::pin(tokio::time::sleep(grace)));
            }
            match &mut deadline {
                Some(deadline) => deadline.as_mut().poll(context).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn poll_vanished(&mut self, context: &mut std::task::Context<'_>) -> bool {
        while !self.closed && self.input.len() < READ_AHEAD_BYTES {
            match self.poll_fill(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return true,
            }
        }
        self.closed
    }

    /// Whether the output has grown enough to be sent.
    pub(crate) fn wants_flush(&self) -> bool {
        self.output.len() >= FLUSH_BYTES
    }

    /// Sends the whole output buffer.
    ///
    /// # Errors
    ///
    /// [`End::Closed`] when the socket failed, or took nothing for the write timeout.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        self.flush_unless_raised(None).await.map(drop)
    }

    /// As [`Connection::flush`]; `false` when the client is slow and `signal` was raised before everything was taken.
    pub(crate) async fn flush_unless_raised(&mut self, signal: Option<&CancelSignal>) -> Result<bool, End> {
        let whole = self.output.len();
        while !self.output.is_empty() {
            // Nearly always the socket takes everything at once, and no timer is needed.
            let part = self.output.get(..WRITE_BYTES_MAX).unwrap_or(&self.output);
            let first = poll_fn(|context| Poll::Ready(Pin::new(&mut self.transport).poll_write(context, part)));
            let written = match first.await {
                Poll::Ready(written) => written?,
                Poll::Pending => match self.write_slowly(signal).await? {
                    Some(written) => written,
                    None => return Ok(false),
                },
            };
            if written == 0 {
                self.closed = true;
                return Err(End::Closed);
            }
            self.meters.sent(written);
            if written == self.output.len() {
                self.output.clear();
            } else {
                self.output.advance(written);
                tokio::task::yield_now().await;
            }
        }
        // What was sent in parts no longer counts as capacity.
        if self.output.capacity().max(whole) > KEEP_BYTES {
            self.slow_lane.free(std::mem::take(&mut self.output), whole);
        }
        // A plain socket does nothing here; TLS may hold records back.
        let first = poll_fn(|context| Poll::Ready(Pin::new(&mut self.transport).poll_flush(context)));
        match first.await {
            Poll::Ready(flushed) => flushed?,
            Poll::Pending => match tokio::time::timeout(self.write_timeout, self.transport.flush()).await {
                Ok(flushed) => flushed?,
                Err(_elapsed) => {
                    self.closed = true;
                    return Err(End::Closed);
                }
            },
        }
        Ok(true)
    }

    /// Waits for a client that does not read, until the write timeout; `None` when `signal` was raised.
    async fn write_slowly(&mut self, signal: Option<&CancelSignal>) -> Result<Option<usize>, End> {
        let output = self.output.get(..WRITE_BYTES_MAX).unwrap_or(&self.output);
        let transport = &mut self.transport;
        let write = poll_fn(|context| match Pin::new(&mut *transport).poll_write(context, output) {
            Poll::Ready(written) => Poll::Ready(written.map(Some)),
            Poll::Pending if signal.is_some_and(|signal| signal.poll_raised(context)) => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        });
        match tokio::time::timeout(self.write_timeout, write).await {
            Ok(written) => Ok(written?),
            Err(_elapsed) => {
                self.closed = true;
                Err(End::Closed)
            }
        }
    }

    /// Closes in good order, as far as the client takes part.
    pub(crate) async fn shut_down(&mut self) {
        let _gone_already = tokio::time::timeout(Duration::from_secs(1), self.transport.shutdown()).await;
    }
}

/// Type and claimed length of the next message, checked before anything of it is buffered.
fn peek_frame(input: &[u8], message_bytes_max: usize) -> Result<Option<(Kind, usize)>, End> {
    let Some((tag, rest)) = input.split_first() else { return Ok(None) };
    let kind = Kind::from_tag(*tag).ok_or_else(|| {
        End::Fatal(Refusal::new(Code::ProtocolViolation, format!("invalid frontend message type {tag}")))
    })?;
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let claimed = i32::from_be_bytes(*length);
    let length_max = kind.length_max(message_bytes_max);
    match usize::try_from(claimed) {
        Ok(length) if (4..=length_max).contains(&length) => Ok(Some((kind, length))),
        Ok(length) if length >= 4 => Err(End::Fatal(
            Refusal::new(Code::ProgramLimitExceeded, "message is too large")
                .detail(format!("bytes={length}"))
                .detail(format!("limit={length_max}"))
                .hint("send large values in several statements, or bulk data with COPY"),
        )),
        _ => Err(End::Fatal(Refusal::new(Code::ProtocolViolation, format!("invalid message length {claimed}")))),
    }
}
