//! The part of a connection's task that looks after what goes to its client: news, signs of life, and what it does not
//! take at once.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWrite,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::outgoing::{Gone, Outgoing, Outlet as _};
use crate::protocol::KEEP_ALIVE;

pub(super) struct Output<W> {
    pub(super) outgoing: Arc<Outgoing<W>>,
    pub(super) news: mpsc::Receiver<Vec<u8>>,
    pub(super) is_stream: Arc<AtomicBool>,
    pub(super) keep_alive: Duration,
    pub(super) unread_timeout: Duration,
}

impl<W: AsyncWrite + Unpin + Send> Output<W> {
    /// Until the client is gone.
    pub(super) async fn run(&mut self) -> Gone {
        let alarm = sleep_until(self.outgoing.said_at() + self.keep_alive);
        tokio::pin!(alarm);
        loop {
            tokio::select! {
                biased;
                stuck = poll_fn(|context| self.outgoing.poll_stuck(context)) => {
                    if stuck.is_err() || self.sent().await.is_err() {
                        return Gone;
                    }
                }
                Some(bytes) = self.news.recv() => self.outgoing.push(bytes, None),
                () = &mut alarm => {
                    // It was set when the last words before these were said.
                    if self.outgoing.said_at() + self.keep_alive <= Instant::now() && self.is_stream.load(Ordering::Relaxed) {
                        self.outgoing.push(KEEP_ALIVE.to_vec(), None);
                    }
                    alarm.as_mut().reset(self.outgoing.said_at() + self.keep_alive);
                }
            }
        }
    }

    /// What there is for a client that did not take it at once.
    async fn sent(&self) -> Result<(), Gone> {
        let until = self.outgoing.pushed();
        let sent = poll_fn(|context| self.outgoing.poll_sent(context, until));
        // It has read nothing for so long that it is as good as gone.
        timeout(self.unread_timeout, sent).await.unwrap_or(Err(Gone))
    }

    /// After the last answer.
    pub(super) async fn end(&self) {
        let ended = async {
            let until = self.outgoing.pushed();
            if poll_fn(|context| self.outgoing.poll_sent(context, until)).await.is_ok() {
                poll_fn(|context| self.outgoing.poll_shutdown(context)).await;
            }
        };
        let _ = timeout(self.unread_timeout, ended).await;
    }
}
