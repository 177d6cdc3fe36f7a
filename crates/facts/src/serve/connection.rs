//! One connection: what the client sends, step by step.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Peer, Serving, answer,
    dozing::Dozing,
    lane::{Lane, Told},
    outgoing::{Asking, Done, Gone, Outgoing, Outlet},
    output::Output,
    plan::{self, Asked, Plan},
    reads::Left,
    session::Session,
    subscribing::Subscribed,
};
use crate::{
    node::{Applied, NodeError, Work},
    protocol::{
        Answer, Answers, Asks, Call, Connection, Head, Hello, Id, Listener, Message, ProtocolError, Refused, Reply,
        Request, Route, Step,
    },
};

/// What is read at once, at first and at most: more while a client fills it, as large batches do.
const INPUT_BYTES: usize = 8 << 10;
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Bytes that every request in flight counts for, beside its own and those of its answer.
const REQUEST_BYTES: usize = 1 << 10;

/// Bytes of the answer to one entry of a batch, about, without its key.
const OUTCOME_BYTES: usize = 160;

/// How much of a client that was refused is read before it is closed, and how long that may take.
const LINGER_BYTES: usize = 16 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// Pieces of news that wait to be written.
const NEWS_MAX: usize = 4;

/// Between looks whether those who listen still may.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When nothing is due.
const FAR: Duration = Duration::from_secs(86_400);

pub(super) async fn run<S>(serving: &Arc<Serving>, stream: S, listener: Listener, peer: Option<Peer>, lane: Lane)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let (news, news_told) = mpsc::channel(NEWS_MAX);
    let is_stream = Arc::new(AtomicBool::new(false));
    let outgoing = Arc::new(Outgoing::new(writer, Arc::clone(serving)));
    let config = &serving.config;
    let mut output = Output {
        outgoing: Arc::clone(&outgoing),
        news: news_told,
        is_stream: Arc::clone(&is_stream),
        keep_alive: config.keep_alive,
        unread_timeout: config.unread_timeout,
    };
    let in_flight = Arc::new(Semaphore::new(usize::try_from(config.in_flight_bytes).unwrap_or(usize::MAX)));
    let input = Input {
        serving: Arc::clone(serving),
        connection: Connection::new(listener),
        peer,
        session: None,
        outlet: Arc::<Outgoing<_>>::clone(&outgoing),
        lane,
        news,
        is_stream,
        in_flight: Arc::clone(&in_flight),
        subscriptions: HashMap::new(),
        subscribed: 0,
        broken: Arc::new(Notify::new()),
        deadline: Some(Instant::now() + config.handshake_timeout),
    };
    {
        let mut reads = pin!(input.run(&mut reader));
        let mut looks_after = Dozing::new(output.run());
        let ended = poll_fn(|context| {
            if reads.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            // Answers to all that was read are sent together.
            outgoing.send_pushed();
            looks_after.poll(context).map(Some)
        });
        // The client is gone: what it asked for is done, and answered to nobody.
        if let Some(Gone) = ended.await {
            return;
        }
    }
    // The answers that are still to come have their part of the room until they are sent.
    let answered = async {
        tokio::select! {
            biased;
            _ = in_flight.acquire_many(config.in_flight_bytes) => output.end().await,
            Gone = output.run() => {}
        }
    };
    let _ = timeout(config.request_timeout, answered).await;
    linger(&mut reader).await;
}

/// Takes in what a client still sends that was refused: a connection that is closed over its head would take the answer
/// with it.
async fn linger<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut buffer = vec![0; INPUT_BYTES];
    let mut left = LINGER_BYTES;
    let all = async {
        while let Ok(read) = reader.read(&mut buffer).await
            && read > 0
            && read <= left
        {
            left -= read;
        }
    };
    let _ = timeout(LINGER, all).await;
}

pub(super) struct Input {
    pub(super) serving: Arc<Serving>,
    connection: Connection,
    peer: Option<Peer>,
    session: Option<Session>,
    outlet: Arc<dyn Outlet>,
    lane: Lane,
    pub(super) news: mpsc::Sender<Vec<u8>>,
    pub(super) is_stream: Arc<AtomicBool>,
    in_flight: Arc<Semaphore>,
    pub(super) subscriptions: HashMap<String, Subscribed>,
    /// Subscriptions that there were on this connection.
    pub(super) subscribed: u64,
    /// Told when the node can serve a subscription no longer.
    pub(super) broken: Arc<Notify>,
    /// When the client has to have sent what is waited for.
    deadline: Option<Instant>,
}

/// No more is read.
pub(super) struct Ended;

impl Input {
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: R) {
        let mut buffer = vec![0; INPUT_BYTES];
        let (mut stopping, broken) = (self.serving.is_stopping.subscribe(), Arc::clone(&self.broken));
        let mut ends = Dozing::new(async move {
            tokio::select! {
                _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
                () = broken.notified() => {}
            }
        });
        let mut look_at = Instant::now() + LOOK_EVERY;
        let (mut alarm, mut alarm_at) = (Dozing::new(sleep_until(look_at)), look_at);
        loop {
            // As a rule what is due moves away with every message. The alarm follows when it goes off.
            let due = self.due(look_at);
            if let Some(due) = due.filter(|due| *due < alarm_at) {
                alarm_at = due;
                alarm.changed().reset(due);
            }
            let read = tokio::select! {
                // What happens seldom comes first, so that nobody who sends without end keeps it from happening.
                biased;
                () = poll_fn(|context| ends.poll(context)) => return,
                () = poll_fn(|context| alarm.poll(context)) => None,
                read = reader.read(&mut buffer) => Some(read.unwrap_or(0)),
            };
            let Some(read) = read else {
                let now = Instant::now();
                if self.deadline.is_some_and(|deadline| deadline <= now) {
                    return;
                }
                if !self.subscriptions.is_empty() && look_at <= now {
                    if !self.may_listen() {
                        return;
                    }
                    look_at = now + LOOK_EVERY;
                }
                alarm_at = self.due(look_at).unwrap_or(now + FAR);
                alarm.changed().reset(alarm_at);
                continue;
            };
            let input = buffer.get(..read).unwrap_or_default();
            self.lane.awake.works();
            if read == 0 || self.take(input).await.is_err() {
                return;
            }
            if read == buffer.len() && read < INPUT_BYTES_MAX {
                buffer.resize(INPUT_BYTES_MAX, 0);
            } else if read < INPUT_BYTES && buffer.len() > INPUT_BYTES {
                buffer = vec![0; INPUT_BYTES];
            }
        }
    }

    /// When something is to be looked at next: the client's deadline, or whether it may still listen.
    fn due(&self, look_at: Instant) -> Option<Instant> {
        let look_at = (!self.subscriptions.is_empty()).then_some(look_at);
        self.deadline.into_iter().chain(look_at).min()
    }

    /// Whether the client may still all that it subscribed to.
    fn may_listen(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        self.subscriptions.values().all(|subscribed| session.still_allows(&self.serving, &subscribed.request))
    }

    async fn take(&mut self, mut input: &[u8]) -> Result<(), Ended> {
        let mut out = Vec::new();
        loop {
            let step = self.connection.step(&mut input, &mut out);
            self.send(&mut out).await?;
            match step {
                None => return Ok(()),
                Some(Step::Opened(head)) => {
                    self.open(&head, &mut out);
                    self.send(&mut out).await?;
                }
                Some(Step::Message(message, route)) => {
                    self.message(message, route).await?;
                    let config = &self.serving.config;
                    if !self.is_stream.load(Ordering::Relaxed) {
                        self.deadline = Some(Instant::now() + config.idle_timeout);
                    }
                }
                // Of a POST that subscribed the answer goes on.
                Some(Step::End) if !self.subscriptions.is_empty() => self.deadline = None,
                Some(Step::End) => return Err(Ended),
            }
        }
    }

    fn open(&mut self, head: &Head, out: &mut Vec<u8>) {
        match Session::open(&self.serving, head, self.peer) {
            Ok(session) => {
                let is_stream = matches!(head.asks, Asks::Stream(_));
                self.is_stream.store(is_stream, Ordering::Relaxed);
                self.deadline = (!is_stream).then(|| Instant::now() + self.serving.config.request_timeout);
                self.connection.accept(Arc::clone(&session.surface), out);
                self.session = Some(session);
            }
            Err(error) => self.connection.refuse(error, out),
        }
    }

    /// Room for so many bytes on their way, once there is.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Ended> {
        let all = self.serving.config.in_flight_bytes;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(all);
        Arc::clone(&self.in_flight).acquire_many_owned(bytes).await.map_err(|_| Ended)
    }

    async fn send(&self, out: &mut Vec<u8>) -> Result<(), Ended> {
        if out.is_empty() {
            return Ok(());
        }
        let room = self.room(out.len()).await?;
        self.outlet.push(std::mem::take(out), Some(room));
        Ok(())
    }

    pub(super) async fn answer(&self, route: &Route, answers: Answers) -> Result<(), Ended> {
        let mut out = Vec::new();
        route.write(&mut out, answers);
        self.send(&mut out).await
    }

    async fn message(&mut self, message: Message, route: Route) -> Result<(), Ended> {
        let mut left = Left(self.serving.config.answer_bytes_max);
        match message {
            Message::One(Err(Refused { id, error })) => {
                self.answer(&route, Answers::One(Answer { id, outcome: Err(error) })).await
            }
            Message::One(Ok(Call { id, request })) => self.call(id, request, route, &mut left).await,
            Message::Many(calls) => {
                let mut begun = Vec::with_capacity(calls.len());
                for call in calls {
                    begun.push(match call {
                        Ok(Call { id, request }) => {
                            let asking = Asking::now(request.method());
                            (id, Some(asking), self.begin(request, &mut left).await)
                        }
                        Err(Refused { id, error }) => (id, None, Begun::Answered(Err(error))),
                    });
                }
                let mut answers = Vec::with_capacity(begun.len());
                for (id, asking, begun) in begun {
                    let outcome = self.finish(begun).await;
                    if let Some(asking) = asking {
                        asking.is_answered(&self.serving, &outcome);
                    }
                    answers.push(Answer { id, outcome });
                }
                self.answer(&route, Answers::Many(answers)).await
            }
        }
    }

    async fn call(&mut self, id: Id, request: Request, route: Route, left: &mut Left) -> Result<(), Ended> {
        let asking = Asking::now(request.method());
        let outcome = match self.plan(request) {
            Err(error) => Err(error),
            // In frames writes follow each other without waiting, and their answers come as they are ready.
            Ok((Plan::Write { work, ack, asked }, _)) if matches!(route, Route::Frame { .. }) => {
                let permit = self.room(cost(&work, &asked)).await?;
                let done = Done { id, route, asked, permit, asking };
                let (to, told) = (Arc::clone(&self.outlet), self.lane.told.clone());
                self.lane.awake.works();
                self.serving.node.submit_in_burst(
                    work,
                    ack,
                    // Nobody is told when the server has ended.
                    Box::new(move |outcome| drop(told.send(Told { to, done, outcome }))),
                );
                return Ok(());
            }
            Ok((Plan::Subscribe(subscribe), Some(request))) => {
                return self.subscribe(id, subscribe, request, route, &asking).await;
            }
            Ok((Plan::SubscribePolicies(names), Some(request))) => {
                return self.subscribe_policies(id, names, request, route, &asking).await;
            }
            Ok((plan, _)) => {
                let begun = self.carry_out(plan, left).await;
                self.finish(begun).await
            }
        };
        asking.is_answered(&self.serving, &outcome);
        self.answer(&route, Answers::One(Answer { id, outcome })).await
    }

    /// What the request comes to, if it may be done. Of subscriptions the request is kept, to be asked for again.
    fn plan(&mut self, request: Request) -> Result<(Plan, Option<Request>), ProtocolError> {
        let session = self.session.as_mut().ok_or(ProtocolError::Internal)?;
        session.allow(&self.serving, &request)?;
        let is_kept = matches!(request, Request::Subscribe(_) | Request::SubscribePolicies { .. });
        let kept = is_kept.then(|| request.clone());
        Ok((plan::plan(request), kept))
    }

    async fn begin(&mut self, request: Request, left: &mut Left) -> Begun {
        match self.plan(request) {
            Ok((plan, _)) => self.carry_out(plan, left).await,
            Err(error) => Begun::Answered(Err(error)),
        }
    }

    async fn carry_out(&mut self, plan: Plan, left: &mut Left) -> Begun {
        let surface = self.session.as_ref().map(|session| Arc::clone(&session.surface));
        Begun::Answered(match (plan, surface) {
            (Plan::Write { work, ack, asked }, _) => {
                let (told, answer) = oneshot::channel();
                self.serving.node.submit(work, ack, Box::new(move |outcome| drop(told.send(outcome))));
                return Begun::Written { asked, answer };
            }
            (Plan::Hello, Some(surface)) => Ok(Reply::Hello(Hello::new(&surface))),
            (Plan::Flags, Some(surface)) => Ok(Reply::Flags { flags: surface.feature_flags.clone() }),
            (Plan::Hello | Plan::Flags, None) => Err(ProtocolError::Internal),
            (Plan::Pong, _) => Ok(Reply::Pong { pong: true }),
            (Plan::Get(key), _) => self.serving.get(key, left),
            (Plan::BatchGet(keys), _) => {
                self.read_much(left, move |serving, left| serving.batch_get(keys, left)).await
            }
            (Plan::Query(query), _) => self.read_much(left, move |serving, left| serving.query(&query, left)).await,
            (Plan::Sync, _) => self.serving.sync().await,
            (Plan::Metadata, _) => Ok(self.serving.metadata()),
            (Plan::Peers, _) => self.serving.peers().await,
            (Plan::Repair { restamp }, _) => self.serving.repair(restamp).await,
            (Plan::RemovePeer(node), _) => self.serving.remove_peer(node).await,
            (Plan::RotateKey, _) => self.serving.rotate_key().await,
            (Plan::Stats, _) => self.read_much(left, |serving, _| Ok(serving.stats())).await,
            (Plan::List { prefix, after }, _) => {
                self.read_much(left, move |serving, _| serving.list(&prefix, after.as_ref())).await
            }
            (Plan::Subscribe(_) | Plan::SubscribePolicies(_), _) => Err(ProtocolError::InvalidRequest(
                "`subscribe` needs a stream, and a message of its own: connect with `Upgrade: ipe/1.0`, or POST it with \
                 `Accept: text/event-stream`"
                    .to_owned(),
            )),
            (Plan::Unsubscribe(subscription), _) => match self.subscriptions.remove(&subscription) {
                Some(_) => Ok(Reply::Unsubscribed { subscription }),
                None => Err(ProtocolError::field("subscription", "is none of this connection")),
            },
            (Plan::Evaluate(asked), _) => self.serving.evaluate(self.app(), &asked).await,
            (Plan::EvaluateBatch(asked), _) => self.serving.evaluate_batch(self.app(), asked).await,
            (Plan::ListPolicies { prefix, depth, include_metadata }, _) => {
                self.serving.list_policies(&prefix, depth, include_metadata)
            }
            (Plan::Subtree(path), _) => self.serving.subtree(&path),
            (Plan::Absent(method), _) => {
                Err(ProtocolError::MethodNotFound { method: method.name().to_owned(), hint: None })
            }
        })
    }

    fn app(&self) -> Option<&str> {
        self.session.as_ref().and_then(Session::app)
    }

    /// On a thread that may wait for the disk, few at a time.
    async fn read_much(
        &self,
        left: &mut Left,
        read: impl FnOnce(&Serving, &mut Left) -> Result<Reply, ProtocolError> + Send + 'static,
    ) -> Result<Reply, ProtocolError> {
        let (serving, bytes) = (Arc::clone(&self.serving), left.0);
        let timed_out = ProtocolError::Timeout { after_ms: serving.timeout_ms() };
        let reading = async move {
            let permit = Arc::clone(&serving.large_reads).acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let mut left = Left(bytes);
                let outcome = read(&serving, &mut left);
                drop(permit);
                (outcome, left.0)
            })
            .await
        };
        match timeout(self.serving.config.request_timeout, reading).await {
            Ok(Ok((outcome, still_left))) => {
                left.0 = still_left;
                outcome
            }
            Ok(Err(_)) => Err(ProtocolError::Internal),
            Err(_) => Err(timed_out),
        }
    }

    async fn finish(&self, begun: Begun) -> Result<Reply, ProtocolError> {
        match begun {
            Begun::Answered(outcome) => outcome,
            Begun::Written { asked, answer } => {
                let limit = self.serving.config.request_timeout + Duration::from_secs(1);
                let outcome = match timeout(limit, answer).await {
                    Ok(outcome) => outcome.unwrap_or(Err(NodeError::Stopped)),
                    Err(_) => Err(NodeError::TimedOut),
                };
                answer::reply(asked, outcome, self.serving.timeout_ms())
            }
        }
    }
}

/// A request that was begun.
enum Begun {
    Answered(Result<Reply, ProtocolError>),
    Written { asked: Asked, answer: oneshot::Receiver<Result<Applied, NodeError>> },
}

fn cost(work: &Work, asked: &Asked) -> usize {
    let answer: usize = asked.entries.iter().map(|entry| OUTCOME_BYTES + entry.key.as_str().len()).sum();
    REQUEST_BYTES + work.bytes() + answer
}
