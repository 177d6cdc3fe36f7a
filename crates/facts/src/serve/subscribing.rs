//! Subscriptions of one connection: to facts, and to policies.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::sleep,
};

use super::{
    connection::{Ended, Input},
    cursor, evaluate,
    notice::Notices,
    outgoing::Asking,
};
use crate::{
    node::{From, NodeError, Subscription},
    protocol::{Answer, Answers, Encoding, Id, ProtocolError, Reply, Request, Route, Subscribe},
    replica,
};

/// About how large a piece of news is.
const NEWS_BYTES: usize = 64 << 10;

/// Ends with the connection, or when its client takes it back.
pub(super) struct Subscribed {
    pub(super) request: Request,
    task: AbortHandle,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Input {
    pub(super) async fn subscribe(
        &mut self,
        id: Id,
        subscribe: Subscribe,
        request: Request,
        route: Route,
        asking: &Asking,
    ) -> Result<(), Ended> {
        let opened = match self.check_room(&route) {
            Ok(encoding) => self.open_subscription(subscribe).await.map(|opened| (opened, encoding)),
            Err(error) => Err(error),
        };
        let (opened, encoding) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.answer_asked(id, Err(error), &route, asking).await,
        };
        let name = self.name_subscription();
        let notices = Notices { node: self.serving.node.clone(), subscription: name.as_str().into(), encoding };
        self.confirm(id, &name, opened.cursor(), &route, asking).await?;
        let task = tokio::spawn(tell(opened, notices, self.news.clone(), Arc::clone(&self.broken)));
        self.keep(name, request, task.abort_handle());
        Ok(())
    }

    pub(super) async fn subscribe_policies(
        &mut self,
        id: Id,
        names: Vec<String>,
        request: Request,
        route: Route,
        asking: &Asking,
    ) -> Result<(), Ended> {
        let opened = self.check_room(&route).and_then(|encoding| Ok((self.serving.watch_policies()?, encoding)));
        let (policies, encoding) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.answer_asked(id, Err(error), &route, asking).await,
        };
        let name = self.name_subscription();
        self.confirm(id, &name, None, &route, asking).await?;
        let task = tokio::spawn(evaluate::tell_policies(policies, names, encoding, self.news.clone()));
        self.keep(name, request, task.abort_handle());
        Ok(())
    }

    /// How news is to be written, if one more may listen.
    fn check_room(&self, route: &Route) -> Result<Encoding, ProtocolError> {
        let Route::Frame { encoding, .. } = route else {
            return Err(ProtocolError::InvalidRequest(
                "`subscribe` needs a stream: connect with `Upgrade: ipe/1.0`, or send `Accept: text/event-stream`"
                    .to_owned(),
            ));
        };
        let max = self.serving.config.subscriptions_max;
        if self.subscriptions.len() >= max {
            let detail = format!("a connection has at most {max} subscriptions: end one, or connect once more");
            return Err(ProtocolError::InvalidRequest(detail));
        }
        Ok(*encoding)
    }

    fn name_subscription(&mut self) -> String {
        self.subscribed += 1;
        format!("s{}", self.subscribed)
    }

    /// The answer, before any news.
    async fn confirm(
        &self,
        id: Id,
        name: &str,
        from: Option<&replica::Cursor>,
        route: &Route,
        asking: &Asking,
    ) -> Result<(), Ended> {
        let reply = Reply::Subscribed { subscription: name.to_owned(), cursor: from.and_then(cursor::encode) };
        self.answer_asked(id, Ok(reply), route, asking).await
    }

    async fn answer_asked(
        &self,
        id: Id,
        outcome: Result<Reply, ProtocolError>,
        route: &Route,
        asking: &Asking,
    ) -> Result<(), Ended> {
        asking.is_answered(&self.serving, &outcome);
        self.answer(route, Answers::One(Answer { id, outcome })).await
    }

    fn keep(&mut self, name: String, request: Request, task: AbortHandle) {
        self.subscriptions.insert(name, Subscribed { request, task });
        self.is_stream.store(true, Ordering::Relaxed);
    }

    async fn open_subscription(&self, subscribe: Subscribe) -> Result<Subscription, ProtocolError> {
        let from = match subscribe.after {
            Some(after) => From::Cursor(
                cursor::decode(&after)
                    .ok_or_else(|| ProtocolError::field("after", "must be a cursor as this service gave it out"))?,
            ),
            None if subscribe.include_existing => From::Existing,
            None => From::Now,
        };
        let opened = self.serving.node.subscribe(subscribe.pattern, from).await;
        opened.map_err(|error| self.serving.read_failed(error))
    }
}

/// Until the connection ends. What it does not read waits here, and the writer does not.
async fn tell(mut subscription: Subscription, notices: Notices, news: mpsc::Sender<Vec<u8>>, broken: Arc<Notify>) {
    loop {
        match subscription.next().await {
            Ok(next) => {
                for frames in notices.frames(next, NEWS_BYTES) {
                    if news.send(frames).await.is_err() {
                        return;
                    }
                }
            }
            Err(NodeError::Overloaded | NodeError::TimedOut | NodeError::Incomplete) => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(_) => return broken.notify_one(),
        }
    }
}
