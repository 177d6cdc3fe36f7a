//! What goes to a connection's client: answers as they come, and news between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until, timeout},
};

use super::{Answered, Serving, answer, plan::Asked};
use crate::{
    node::{Applied, NodeError},
    protocol::{Answer, Answers, Id, KEEP_ALIVE, Method, ProtocolError, Reply, Route},
};

/// Something to be written; what it takes of the connection's bytes in flight is given back when it was.
pub(super) enum Item {
    Bytes(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// A write that the node has answered.
    Done(Box<Done>, Result<Applied, NodeError>),
}

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

pub(super) struct Output<W> {
    pub(super) writer: W,
    /// Bounded by the permits that they have with them.
    pub(super) answers: mpsc::UnboundedReceiver<Item>,
    pub(super) news: mpsc::Receiver<Vec<u8>>,
    pub(super) is_stream: Arc<AtomicBool>,
    pub(super) keep_alive: Duration,
    pub(super) unread_timeout: Duration,
    pub(super) serving: Arc<Serving>,
}

/// Answers taken at once.
const TAKEN_MAX: usize = 256;

/// Bytes after which answers that were taken are written before the others are put in words.
const WRITTEN_MAX: usize = 256 << 10;

impl<W: AsyncWrite + Unpin> Output<W> {
    /// Until all who may answer are gone, or the client is.
    pub(super) async fn run(mut self) -> Result<(), Gone> {
        let mut items = Vec::new();
        let mut out = Vec::new();
        let mut silent_since = Instant::now();
        let alarm = sleep_until(silent_since + self.keep_alive);
        tokio::pin!(alarm);
        loop {
            tokio::select! {
                biased;
                // What subscribes is answered before its news.
                count = self.answers.recv_many(&mut items, TAKEN_MAX) => {
                    if count == 0 {
                        let _ = timeout(self.unread_timeout, self.writer.shutdown()).await;
                        return Ok(());
                    }
                    self.write_items(&mut items, &mut out).await?;
                }
                Some(bytes) = self.news.recv() => self.write(&bytes).await?,
                () = &mut alarm => {
                    // It was set when the last words before these were written.
                    let due = silent_since + self.keep_alive;
                    if Instant::now() < due {
                        alarm.as_mut().reset(due);
                        continue;
                    }
                    if self.is_stream.load(Ordering::Relaxed) {
                        self.write(KEEP_ALIVE).await?;
                    }
                    alarm.as_mut().reset(Instant::now() + self.keep_alive);
                }
            }
            silent_since = Instant::now();
        }
    }

    async fn write_items(&mut self, items: &mut Vec<Item>, out: &mut Vec<u8>) -> Result<(), Gone> {
        let mut permits = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Bytes(bytes, permit) => {
                    out.extend_from_slice(&bytes);
                    permits.extend(permit);
                }
                Item::Done(done, outcome) => {
                    let Done { id, route, asked, permit, asking } = *done;
                    let outcome = answer::reply(asked, outcome, self.serving.timeout_ms());
                    asking.is_answered(&self.serving, &outcome);
                    route.write(out, Answers::One(Answer { id, outcome }));
                    permits.push(permit);
                }
            }
            if out.len() >= WRITTEN_MAX {
                self.write(out).await?;
                out.clear();
                permits.clear();
            }
        }
        self.write(out).await?;
        // Not kept large for one large answer.
        if out.capacity() > WRITTEN_MAX {
            *out = Vec::new()
        } else {
            out.clear()
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let all = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        match timeout(self.unread_timeout, all).await {
            Ok(Ok(())) => Ok(()),
            // It is gone, or has read nothing for so long that it is as good as gone.
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// The client reads no more.
#[derive(Debug)]
pub(super) struct Gone;
