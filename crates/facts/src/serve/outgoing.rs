//! What goes to a connection's client: answers from whichever thread has them, and what the client does not take at once.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use parking_lot::Mutex;
use tokio::{io::AsyncWrite, sync::OwnedSemaphorePermit, time::Instant};

use super::{Answered, Serving, answer, plan::Asked};
use crate::{
    node::{Applied, NodeError},
    protocol::{Answer, Answers, Id, Method, ProtocolError, Reply, Route},
};

/// Bytes after which answers are written before others are put in words, and more than which are not kept for the next.
const WRITTEN_MAX: usize = 256 << 10;

/// A write that was asked for in a frame.
pub(super) struct Done {
    pub(super) id: Id,
    pub(super) route: Route,
    pub(super) asked: Asked,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) asking: Asking,
}

/// A request that was read and is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    method: Method,
    since: Instant,
}

impl Asking {
    pub(super) fn now(method: Method) -> Asking {
        Asking { method, since: Instant::now() }
    }

    pub(super) fn is_answered(self, serving: &Serving, outcome: &Result<Reply, ProtocolError>) {
        let (method, error, took) = (self.method, outcome.as_ref().err(), self.since.elapsed());
        serving.witness.answered(&Answered { method, error, took });
    }
}

/// Where a connection's answers go.
pub(super) trait Outlet: Send + Sync {
    /// They are sent when the connection's task waits next.
    fn push(&self, bytes: Vec<u8>, permit: Option<OwnedSemaphorePermit>);

    /// Whether it is to be flushed, and was not to be before.
    fn answer(&self, done: Done, outcome: Result<Applied, NodeError>) -> bool;

    /// Sends what the client takes at once. Its task does the rest.
    fn flush(&self);
}

/// The client reads no more.
#[derive(Debug)]
pub(super) struct Gone;

/// See the module. Its task [waits](Outgoing::poll_stuck) for it as long as it lasts.
pub(super) struct Outgoing<W> {
    serving: Arc<Serving>,
    inside: Mutex<Inside<W>>,
}

struct Inside<W> {
    writer: W,
    out: Vec<u8>,
    /// Of `out`.
    written: usize,
    /// All that ever came, and of it what was sent.
    pushed: u64,
    sent: u64,
    /// What they take of the connection's bytes in flight is given back when so much was sent.
    permits: VecDeque<(u64, OwnedSemaphorePermit)>,
    /// The writer may hold some back.
    is_unflushed: bool,
    is_reached: bool,
    /// Whether the client does not take what there is, and the connection's task was told.
    is_stuck: bool,
    is_gone: bool,
    said_at: Instant,
    task: Option<Waker>,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub(super) fn new(writer: W, serving: Arc<Serving>) -> Outgoing<W> {
        let inside = Inside {
            writer,
            out: Vec::new(),
            written: 0,
            pushed: 0,
            sent: 0,
            permits: VecDeque::new(),
            is_unflushed: false,
            is_reached: false,
            is_stuck: false,
            is_gone: false,
            said_at: Instant::now(),
            task: None,
        };
        Outgoing { serving, inside: Mutex::new(inside) }
    }

    /// All that came so far, in bytes.
    pub(super) fn pushed(&self) -> u64 {
        self.inside.lock().pushed
    }

    /// When something came last.
    pub(super) fn said_at(&self) -> Instant {
        self.inside.lock().said_at
    }

    /// Sends what there is; ready when the client does not take it all, or is gone.
    pub(super) fn poll_stuck(&self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut inside = self.inside.lock();
        inside.is_known_to(context.waker());
        match inside.poll_send(context) {
            Poll::Ready(Ok(())) => Poll::Pending,
            Poll::Ready(Err(gone)) => Poll::Ready(Err(gone)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Sends what there is; ready when the client has taken so many of all bytes.
    pub(super) fn poll_sent(&self, context: &mut Context<'_>, until: u64) -> Poll<Result<(), Gone>> {
        let mut inside = self.inside.lock();
        inside.is_known_to(context.waker());
        match inside.poll_send(context) {
            Poll::Pending if inside.sent < until || until == inside.pushed => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// Sends what was pushed, as far as the client takes it at once. Its task does the rest.
    pub(super) fn send_pushed(&self) {
        let mut inside = self.inside.lock();
        if inside.is_unflushed {
            inside.send();
        }
    }

    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.inside.lock().writer).poll_shutdown(context).map(|_| ())
    }
}

impl<W: AsyncWrite + Unpin> Inside<W> {
    fn is_known_to(&mut self, task: &Waker) {
        if !self.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            self.task = Some(task.clone());
        }
    }

    fn has(&mut self, more: usize, permit: Option<OwnedSemaphorePermit>) {
        self.pushed += more as u64;
        (self.is_unflushed, self.said_at) = (true, Instant::now());
        let until = self.pushed;
        self.permits.extend(permit.map(|permit| (until, permit)));
    }

    /// Ready when all is sent. Otherwise who waits in `context` is woken when it can go on.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty() && !self.is_gone) {
            match Pin::new(&mut self.writer).poll_write(context, rest) {
                Poll::Ready(Ok(count @ 1..)) => {
                    self.written += count;
                    self.sent += count as u64;
                }
                Poll::Ready(_) => self.is_gone = true,
                Poll::Pending => {
                    self.give_back();
                    self.is_stuck = true;
                    return Poll::Pending;
                }
            }
        }
        self.is_stuck = false;
        self.give_back();
        if self.is_unflushed && !self.is_gone {
            self.is_gone = ready!(Pin::new(&mut self.writer).poll_flush(context)).is_err();
            self.is_unflushed = false;
        }
        Poll::Ready(if self.is_gone { Err(Gone) } else { Ok(()) })
    }

    /// Room of what is sent, in the connection and in memory.
    fn give_back(&mut self) {
        while self.permits.front().is_some_and(|(until, _)| *until <= self.sent || self.is_gone) {
            self.permits.pop_front();
        }
        if self.written == self.out.len() || self.is_gone {
            self.out.clear();
            self.written = 0;
            // Not kept large for one large answer.
            if self.out.capacity() > WRITTEN_MAX {
                self.out = Vec::new();
            }
        } else if self.written > WRITTEN_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// In place of the connection's task, which is woken when there is something for it to wait for: once, as it would
    /// otherwise wake itself without end.
    fn send(&mut self) {
        let Some(task) = self.task.clone().filter(|_| !self.is_stuck) else { return };
        let is_sent = matches!(self.poll_send(&mut Context::from_waker(&task)), Poll::Ready(Ok(())));
        if !is_sent {
            task.wake();
        }
    }

    fn is_much(&self) -> bool {
        self.out.len() - self.written >= WRITTEN_MAX
    }
}

impl<W: AsyncWrite + Unpin + Send> Outlet for Outgoing<W> {
    fn push(&self, bytes: Vec<u8>, permit: Option<OwnedSemaphorePermit>) {
        let mut inside = self.inside.lock();
        if inside.is_gone {
            return;
        }
        inside.has(bytes.len(), permit);
        if inside.out.is_empty() {
            inside.out = bytes;
        } else {
            inside.out.extend_from_slice(&bytes);
        }
        if inside.is_much() {
            inside.send();
        }
    }

    fn answer(&self, done: Done, outcome: Result<Applied, NodeError>) -> bool {
        let Done { id, route, asked, permit, asking } = done;
        let outcome = answer::reply(asked, outcome, self.serving.timeout_ms());
        asking.is_answered(&self.serving, &outcome);
        let mut inside = self.inside.lock();
        if inside.is_gone {
            return false;
        }
        let begin = inside.out.len();
        route.write(&mut inside.out, Answers::One(Answer { id, outcome }));
        let more = inside.out.len() - begin;
        inside.has(more, Some(permit));
        if inside.is_much() {
            inside.send();
        }
        !std::mem::replace(&mut inside.is_reached, true)
    }

    fn flush(&self) {
        let mut inside = self.inside.lock();
        inside.is_reached = false;
        inside.send();
    }
}
