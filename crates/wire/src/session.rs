//! One authenticated connection: reads messages, runs them against the backend's session, answers.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use weir_model::{ClientAddress, Code, Refusal};
use weir_pipeline::TransactionStatus;

use crate::{
    backend::{Backend, BackendSession, Canceller},
    cancel::{CancelSignal, CancelTicket},
    connection::{Connection, End, Frame},
    frontend::Kind,
    messages::{self, Severity},
    meters,
    server::{Shared, too_many},
    session::{
        held::{Held, Limits},
        portal::Portal,
        silence::Silence,
        statement::Statement,
    },
    startup::{self, Admitted, Door, TlsAcceptorConfig},
    types::zone::Zone,
};

mod copy;
mod extended;
mod held;
mod portal;
mod rows;
mod silence;
mod simple;
mod statement;

/// A connection that was let through the listener.
pub(crate) struct Entry<'a, B> {
    pub(crate) shared: &'a Shared<B>,
    pub(crate) client: ClientAddress,
    /// Its place among those who have not logged in.
    pub(crate) place: OwnedSemaphorePermit,
}

/// How a message's handling can stop short.
#[derive(Debug)]
enum Stop {
    /// The client reads an error; the session goes on.
    Refused(Refusal),
    End(End),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Stop {
        Stop::End(end)
    }
}

/// Both ways to stop a running statement: the backend's, and the one that ends this side's wait for it.
#[derive(Debug, Clone)]
struct Cancelling<C> {
    canceller: C,
    signal: Arc<CancelSignal>,
}

impl<C: Canceller> Cancelling<C> {
    fn cancel(&self) {
        self.canceller.cancel();
        self.signal.raise();
    }
}

/// How long a session that is alone looks for its client's next message before it sleeps: about what a client on this
/// machine needs to read an answer and ask again. A client that thinks longer costs this much processor time a statement.
const AWAKE: Duration = Duration::from_micros(30);

struct Conversation<S: BackendSession> {
    connection: Connection,
    session: S,
    cancelling: Cancelling<S::Canceller>,
    statements: Held<Statement<S>>,
    portals: Held<Portal<S>>,
    zone: Zone,
    /// Statements since the last Sync (or of this simple query) form one transaction.
    implicit: bool,
    /// After an error in the extended protocol nothing is done until Sync.
    skip_to_sync: bool,
    /// Nothing was received since the last answer.
    just_answered: bool,
    /// The session's own, below the server's: sessions do not meet at its lock.
    draining: CancellationToken,
    /// Registered once, not for each message.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Silence,
    idle_timeout: Option<Duration>,
}

/// Runs a connection from its first byte to its last.
pub(crate) async fn serve<B: Backend>(mut connection: Connection, entry: Entry<'_, B>) {
    let shared = entry.shared;
    let startup = tokio::time::timeout(shared.options.startup_timeout, open(&mut connection, entry));
    let started = tokio::select! {
        started = Box::pin(startup) => started,
        () = shared.draining.cancelled() => Ok(Err(End::Fatal(shutting_down()))),
    };
    let end = match started {
        // Whoever is this slow gets no answer either.
        Err(_elapsed) => return,
        Ok(Err(end)) => end,
        Ok(Ok(opened)) => {
            let (end, returned) = opened.run(connection, shared).await;
            let Some(returned) = returned else { return };
            connection = returned;
            end
        }
    };
    if let End::Fatal(refusal) = end {
        messages::put_refusal(&mut connection.output, &refusal, Severity::Fatal);
        if connection.flush().await.is_ok() {
            connection.shut_down().await;
        }
    }
}

/// A session that was opened and not yet spoken to.
struct Opened<S: BackendSession> {
    session: S,
    cancelling: Cancelling<S::Canceller>,
    _ticket: CancelTicket,
    _place: OwnedSemaphorePermit,
}

async fn open<B: Backend>(connection: &mut Connection, entry: Entry<'_, B>) -> Result<Opened<B::Session>, End> {
    let shared = entry.shared;
    let tls = shared.options.certificate.as_ref().map(|certificate| TlsAcceptorConfig(Arc::clone(&certificate.config)));
    let door = Door {
        tls: tls.as_ref(),
        tls_mode: shared.options.tls_mode,
        client: &entry.client,
        cancels: &shared.cancels,
        authenticator: shared.authenticator.as_ref(),
        failure_delay: shared.options.failure_delay,
    };
    let Admitted { identity, parameters } = startup::admit(connection, &door).await?;
    let place = Arc::clone(&shared.sessions).try_acquire_owned().map_err(|_full| {
        metrics::counter!(meters::REFUSED_TOTAL).increment(1);
        End::Fatal(too_many(shared.options.connections_max))
    })?;
    drop(entry.place);
    let mut session =
        shared.backend.connect(identity, parameters.claims, entry.client.clone()).await.map_err(End::Fatal)?;
    for (name, value) in &parameters.settings {
        session.configure(name, value).await.map_err(End::Fatal)?;
    }
    // Four bytes are all that protocol 3.0 has room for.
    let mut secret = vec![0_u8; if parameters.minor >= 2 { 32 } else { 4 }];
    getrandom::fill(&mut secret).map_err(|error| {
        End::Fatal(Refusal::new(Code::Internal, format!("no randomness for a cancel key: {error}")))
    })?;
    let cancelling = Cancelling { canceller: session.canceller(), signal: Arc::default() };
    let ticket = {
        let cancelling = cancelling.clone();
        shared.cancels.enter(session.process_id(), &secret, move || cancelling.cancel())
    };
    let output = &mut connection.output;
    messages::put_authentication_ok(output);
    for (name, value) in greeting(session.reported_parameters()) {
        messages::put_parameter_status(output, name, &value);
    }
    let _told_already = session.take_parameter_changes();
    messages::put_backend_key(output, session.process_id(), &secret);
    messages::put_ready_for_query(output, session.transaction_status());
    connection.flush().await?;
    connection.message_bytes_max = shared.options.message_bytes_max;
    Ok(Opened { session, cancelling, _ticket: ticket, _place: place })
}

/// The backend's parameters, and those that are facts of this protocol's implementation.
fn greeting(mut reported: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let facts = [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
    ];
    for (name, value) in facts {
        if !reported.iter().any(|(known, _)| *known == name) {
            reported.push((name, value.to_owned()));
        }
    }
    reported
}

fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "terminating connection: the server is shutting down")
        .hint("connect again in a moment")
}

impl<S: BackendSession> Opened<S> {
    /// The connection comes back to be closed, unless it was lost.
    async fn run<B>(self, connection: Connection, shared: &Shared<B>) -> (End, Option<Connection>) {
        let slow_lane = connection.slow_lane.clone();
        let draining = shared.draining.child_token();
        let mut conversation = Conversation {
            connection,
            zone: Zone::utc(),
            session: self.session,
            cancelling: self.cancelling,
            statements: Held::new(Limits {
                what: "prepared statements",
                entries: 10_000,
                bytes: shared.options.message_bytes_max,
            }),
            portals: Held::new(Limits { what: "portals", entries: 1_000, bytes: shared.options.message_bytes_max }),
            implicit: false,
            skip_to_sync: false,
            just_answered: false,
            drained: Box::pin(draining.clone().cancelled_owned()),
            draining,
            silence: Silence::default(),
            idle_timeout: shared.options.idle_timeout,
        };
        loop {
            // The session, and with it an open transaction, ends before the client is told.
            if !conversation.is_large() {
                match conversation.step().await {
                    Ok(()) => continue,
                    Err(end) => return (end, Some(conversation.connection)),
                }
            }
            conversation = match slow_lane.run(conversation.while_large()).await {
                None => return (End::Closed, None),
                Some(Err(ended)) => {
                    let (end, connection) = *ended;
                    return (end, Some(connection));
                }
                Some(Ok(conversation)) => conversation,
            };
        }
    }
}

impl<S: BackendSession> Conversation<S> {
    /// Whether its next step may take long by the size of what it is about.
    fn is_large(&self) -> bool {
        self.connection.large_follows()
            || self.statements.holds_large()
            || self.portals.holds_large()
            || self.session.holds_large()
    }

    async fn while_large(mut self) -> Result<Self, Box<(End, Connection)>> {
        while self.is_large() {
            if let Err(end) = self.step().await {
                return Err(Box::new((end, self.connection)));
            }
        }
        Ok(self)
    }

    /// Waits for one message and handles it.
    async fn step(&mut self) -> Result<(), End> {
        let frame = match self.connection.take_frame()? {
            Some(frame) => frame,
            None => return self.wait().await,
        };
        self.handle(frame).await?;
        if self.connection.wants_flush() {
            self.connection.flush().await?;
        }
        Ok(())
    }

    /// Receives bytes, as long as the client may be idle.
    async fn wait(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.just_answered)
            && self.session.is_alone()
            && self.connection.fill_awake(AWAKE).await?
        {
            return Ok(());
        }
        let (limit, refusal) = self.silence_limit();
        let Conversation { connection, drained, silence, .. } = self;
        tokio::select! {
            biased;
            filled = connection.fill() => filled,
            () = drained => Err(End::Fatal(shutting_down())),
            refusal = silent(silence, limit, refusal) => Err(End::Fatal(refusal)),
        }
    }

    /// How long the client may be silent now, and what it is told then.
    fn silence_limit(&self) -> (Option<Duration>, fn() -> Refusal) {
        match self.session.transaction_status() {
            TransactionStatus::Idle => (self.idle_timeout, idle),
            _ => (self.session.idle_in_transaction_timeout(), idle_in_transaction),
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), End> {
        if self.skip_to_sync && !matches!(frame.kind, Kind::Sync | Kind::Terminate | Kind::Password) {
            return Ok(());
        }
        let result = match frame.kind {
            Kind::Query => return self.simple_query(&frame.body).await,
            Kind::Sync => return self.sync(&frame.body).await,
            Kind::FunctionCall => {
                self.report(&Refusal::unsupported("the function call protocol").hint("call it in a SELECT"));
                return self.ready().await;
            }
            Kind::Terminate => return Err(End::Terminated),
            Kind::Password => {
                return Err(End::Fatal(Refusal::new(Code::ProtocolViolation, "unexpected password message")));
            }
            // What is left of a COPY that failed on this side.
            Kind::CopyData | Kind::CopyDone | Kind::CopyFail => return Ok(()),
            Kind::Parse => self.parse(&frame.body).await,
            Kind::Bind => self.bind(&frame.body),
            Kind::Describe => self.describe(&frame.body),
            Kind::Execute => self.execute(&frame.body).await,
            Kind::Close => self.close(&frame.body),
            Kind::Flush => self.connection.flush().await.map_err(Stop::End),
        };
        match result {
            Ok(()) => Ok(()),
            Err(Stop::End(end)) => Err(end),
            Err(Stop::Refused(refusal)) => {
                self.report(&refusal);
                self.skip_to_sync = true;
                // As in PostgreSQL: a client may have sent a Flush, which is skipped, and waits before it sends Sync.
                self.connection.flush().await
            }
        }
    }

    /// Sends an error; an open transaction becomes failed.
    fn report(&mut self, refusal: &Refusal) {
        messages::put_refusal(&mut self.connection.output, refusal, Severity::Error);
        self.session.note_failure();
    }

    /// Ends a cycle: changed parameters, ReadyForQuery, and everything buffered goes out in one write.
    async fn ready(&mut self) -> Result<(), End> {
        for (name, value) in self.session.take_parameter_changes() {
            messages::put_parameter_status(&mut self.connection.output, name, &value);
        }
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        messages::put_ready_for_query(&mut self.connection.output, status);
        self.connection.flush().await?;
        self.just_answered = true;
        // What was running is finished, and nothing new starts.
        if self.draining.is_cancelled() { Err(End::Fatal(shutting_down())) } else { Ok(()) }
    }

    /// Opens an implicit transaction, unless one is open.
    fn begin_implicit(&mut self) {
        if !self.implicit && self.session.transaction_status() == TransactionStatus::Idle {
            self.session.begin_implicit();
            self.implicit = true;
        }
    }

    /// As in PostgreSQL, a BEGIN makes of the implicit transaction, with what it did, an explicit one; COMMIT and
    /// ROLLBACK end it.
    fn after_control(&mut self, is_transaction_control: bool) {
        self.implicit &= !is_transaction_control;
    }

    /// Commits the implicit transaction, or rolls it back when one of its statements failed.
    async fn end_implicit(&mut self) -> Result<(), Refusal> {
        if !self.implicit {
            return Ok(());
        }
        self.implicit = false;
        let cancelling = &self.cancelling;
        self.connection.watch(self.session.end_implicit(), || cancelling.cancel()).await
    }

    /// Takes over the session's time zone before values are read or written.
    fn refresh_zone(&mut self) {
        let name = self.session.time_zone();
        if name != self.zone.name() {
            self.zone = Zone::named(name).unwrap_or_else(Zone::utc);
        }
    }
}

/// Ends when the client, heard of just now, has been silent for longer than it may be.
fn silent(
    silence: &mut Silence,
    limit: Option<Duration>,
    refusal: fn() -> Refusal,
) -> impl Future<Output = Refusal> + Send {
    let heard = Instant::now();
    poll_fn(move |context| match limit {
        Some(limit) => silence.poll(heard, limit, context).map(|()| refusal()),
        None => std::task::Poll::Pending,
    })
}

fn idle() -> Refusal {
    Refusal::new(Code::IdleTimeout, "terminating connection due to idle-session timeout")
}

fn idle_in_transaction() -> Refusal {
    Refusal::new(Code::IdleInTransactionTimeout, "terminating connection due to idle-in-transaction timeout")
        .hint("its transaction was rolled back; commit or roll back sooner")
}
