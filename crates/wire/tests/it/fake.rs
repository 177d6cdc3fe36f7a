//! A backend whose statements are a small script language of their own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use arrow::{array::Int32Array, record_batch::RecordBatch};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use weir_model::{
    Claims, ClientAddress, Code, ColumnType, CredentialId, CredentialKind, Identity, OrgName, Refusal, Result, Value,
    ValueType,
};
use weir_pipeline::{Column, CommandTag, CopyOptions, TransactionStatus};
use weir_wire::{
    Authenticator, Backend, BackendCopyIn, BackendReply, BackendRows, BackendSession, Canceller, Deallocate,
    LoginRequest, Server, ServerOptions,
};

use crate::fake_values::{array, batch, columns, copy_options, integer_column};

#[derive(Debug, Default)]
pub struct Fake {
    /// What the wire asked of the backend, in order.
    pub events: Arc<Mutex<Vec<String>>>,
    /// What COPY FROM stored.
    pub copied: Arc<Mutex<Vec<RecordBatch>>>,
    processes: AtomicI32,
}

/// Lets in user `ada` with key `right` into database `acme`.
#[derive(Debug)]
struct OneKey;

#[async_trait]
impl Authenticator for OneKey {
    async fn authenticate(&self, request: LoginRequest<'_>) -> Result<Identity> {
        if request.user == "nobody-home" {
            return Err(Refusal::new(Code::ProxyNotReady, "no policy is loaded yet"));
        }
        if (request.user, request.database, request.password) != ("ada", "acme", "right") {
            let code = if request.database == "acme" { Code::AuthenticationFailed } else { Code::UnknownDatabase };
            return Err(Refusal::new(code, "details that nobody may read"));
        }
        Ok(Identity {
            org: OrgName::new("acme").unwrap(),
            agent: "ada".into(),
            credential: CredentialId("k1".into()),
            kind: CredentialKind::Agent,
            attributes: Default::default(),
            roles: Vec::new(),
            expires_at: None,
        })
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub fake: Arc<Fake>,
    pub shutdown: CancellationToken,
    pub server: tokio::task::JoinHandle<()>,
}

pub fn options() -> ServerOptions {
    ServerOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        failure_delay: Duration::from_millis(20),
        ..ServerOptions::default()
    }
}

pub async fn start(options: ServerOptions) -> Running {
    let fake = Arc::new(Fake::default());
    let server = Server::bind(options, Arc::clone(&fake), Arc::new(OneKey)).await.unwrap();
    let address = server.local_address().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.serve(shutdown.clone()));
    Running { address, fake, shutdown, server }
}

impl Backend for Fake {
    type Session = Session;

    async fn connect(self: &Arc<Self>, _identity: Identity, claims: Claims, client: ClientAddress) -> Result<Session> {
        let session = Session {
            process: self.processes.fetch_add(1, Ordering::SeqCst) + 1,
            status: TransactionStatus::Idle,
            implicit: false,
            stop: Arc::default(),
            zone: "UTC".into(),
            changes: Vec::new(),
            events: Arc::clone(&self.events),
            copied: Arc::clone(&self.copied),
            patience: None,
        };
        session.note(format!("connect {client} agent_id={:?}", claims.agent_id));
        Ok(session)
    }
}

#[derive(Debug, Default)]
pub struct Stop {
    raised: AtomicBool,
    notify: Notify,
}

impl Stop {
    async fn wait(&self) {
        while !self.raised.load(Ordering::SeqCst) {
            self.notify.notified().await;
        }
    }
}

#[derive(Clone)]
pub struct StopHandle(Arc<Stop>, Arc<Mutex<Vec<String>>>);

impl Canceller for StopHandle {
    fn cancel(&self) {
        self.1.lock().push("cancel".into());
        self.0.raised.store(true, Ordering::SeqCst);
        self.0.notify.notify_one();
    }
}

pub struct Session {
    process: i32,
    status: TransactionStatus,
    implicit: bool,
    stop: Arc<Stop>,
    zone: String,
    changes: Vec<(&'static str, String)>,
    events: Arc<Mutex<Vec<String>>>,
    copied: Arc<Mutex<Vec<RecordBatch>>>,
    /// How long a COPY waits for its client.
    patience: Option<Duration>,
}

impl Session {
    fn note(&self, event: impl Into<String>) {
        self.events.lock().push(event.into());
    }

    /// Where something large was done.
    fn note_thread(&self, what: &str, bytes: usize) {
        if bytes > 16 * 1024 {
            self.note(format!("{what} on {}", std::thread::current().name().unwrap_or_default()));
        }
    }

    async fn perform(&mut self, text: &str, values: Vec<Value>) -> Result<BackendReply<Session>> {
        self.note_thread(
            "perform",
            text.len()
                + values
                    .iter()
                    .map(|value| match value {
                        Value::Text(text) => text.len(),
                        _ => 0,
                    })
                    .sum::<usize>(),
        );
        self.stop.raised.store(false, Ordering::SeqCst);
        self.note(format!("run {text}"));
        let words: Vec<&str> = text.split_whitespace().collect();
        if self.status == TransactionStatus::Failed && words[0] != "rollback" {
            return Err(Refusal::new(Code::FailedTransaction, "current transaction is aborted"));
        }
        let done = |tag: &str| Ok(BackendReply::Done(CommandTag(tag.into())));
        match words.as_slice() {
            ["begin" | "BEGIN"] | ["START", "TRANSACTION"] => {
                self.status = TransactionStatus::Active;
                done("BEGIN")
            }
            ["commit" | "COMMIT"] => {
                self.status = TransactionStatus::Idle;
                done("COMMIT")
            }
            ["rollback" | "ROLLBACK"] => {
                self.status = TransactionStatus::Idle;
                done("ROLLBACK")
            }
            ["patience", milliseconds] => {
                self.patience = Some(Duration::from_millis(milliseconds.parse().unwrap()));
                done("SET")
            }
            ["block", milliseconds] => {
                std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap()));
                done("BLOCK")
            }
            ["insert"] => done("INSERT 0 1"),
            ["deallocate", "all"] => done("DEALLOCATE ALL"),
            ["deallocate", _] => done("DEALLOCATE"),
            ["fail"] => Err(Refusal::new(Code::UndefinedTable, "relation \"x\" does not exist").hint("make it").at(7)),
            ["zone", zone] => {
                self.zone = (*zone).into();
                self.changes.push(("TimeZone", (*zone).into()));
                done("SET")
            }
            ["sleep", milliseconds] => {
                tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
                done("SLEEP")
            }
            ["hang"] => {
                self.stop.wait().await;
                Err(Refusal::new(Code::QueryCanceled, "stopped by the backend"))
            }
            ["copy", "from", types, format] => Ok(BackendReply::CopyIn(CopyIn {
                columns: columns(types),
                options: copy_options(format),
                rows: 0,
                copied: Arc::clone(&self.copied),
                events: Arc::clone(&self.events),
                patience: self.patience,
            })),
            ["copy", "to", types, format] => Ok(BackendReply::CopyOut {
                options: copy_options(format),
                rows: Box::new(self.rows(columns(types), self.copied.lock().iter().cloned().collect(), After::End)),
            }),
            _ => self.query(&words, values),
        }
    }

    fn query(&self, words: &[&str], values: Vec<Value>) -> Result<BackendReply<Session>> {
        let Some(columns) = output(words) else {
            return Err(Refusal::new(Code::SyntaxError, format!("unknown script {words:?}")));
        };
        let numbers = |count: i32, each: usize| -> VecDeque<RecordBatch> {
            let all: Vec<i32> = (1..=count).collect();
            all.chunks(each).map(|part| batch(&columns, vec![Arc::new(Int32Array::from(part.to_vec()))])).collect()
        };
        let (batches, after) = match words {
            ["select", number] => (
                VecDeque::from([batch(
                    &columns,
                    vec![Arc::new(Int32Array::from(vec![number.parse::<i32>().unwrap()]))],
                )]),
                After::End,
            ),
            ["rows", count] => (numbers(count.parse().unwrap(), 1000), After::End),
            ["rows", count, "by", each] => (numbers(count.parse().unwrap(), each.parse().unwrap()), After::End),
            ["late", "fail"] => (numbers(3, 3), After::Fail),
            ["hang", "rows"] => (numbers(3, 3), After::Hang),
            ["deaf", "rows"] => (numbers(3, 3), After::Deaf),
            ["endless"] => (VecDeque::new(), After::Endless),
            // Announced as two columns, answered with one.
            ["changed"] => {
                let one = integer_column();
                let batches = VecDeque::from([batch(&one, vec![Arc::new(Int32Array::from(vec![1]))])]);
                return Ok(BackendReply::Rows(Box::new(self.rows(one, batches, After::End))));
            }
            ["echo", _] => {
                let arrays = values.into_iter().map(array).collect();
                (VecDeque::from([batch(&columns, arrays)]), After::End)
            }
            _ => return Err(Refusal::new(Code::SyntaxError, format!("unknown script {words:?}"))),
        };
        Ok(BackendReply::Rows(Box::new(self.rows(columns, batches, after))))
    }

    fn rows(&self, columns: Arc<[Column]>, batches: VecDeque<RecordBatch>, after: After) -> Rows {
        Rows { columns, batches, after, stop: Arc::clone(&self.stop), events: Arc::clone(&self.events), ended: false }
    }
}

/// A statement's output columns, known before it runs.
fn output(words: &[&str]) -> Option<Arc<[Column]>> {
    match words {
        ["select", _] | ["rows", ..] | ["late", "fail"] | ["hang" | "deaf", "rows"] | ["endless"] => {
            Some(columns("integer"))
        }
        ["echo", types] => Some(columns(types)),
        ["changed"] => Some(columns("integer|text")),
        _ => None,
    }
}

#[derive(Clone)]
pub struct Prepared {
    text: String,
    parameters: Vec<ValueType>,
    columns: Option<Arc<[Column]>>,
}

impl BackendSession for Session {
    type Canceller = StopHandle;
    type Parsed = String;
    type Prepared = Prepared;
    type Rows = Rows;
    type CopyIn = CopyIn;

    fn process_id(&self) -> i32 {
        self.process
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn canceller(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.stop), Arc::clone(&self.events))
    }

    fn time_zone(&self) -> &str {
        &self.zone
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        Some(Duration::from_millis(300))
    }

    fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        vec![("server_version", "15.13 (Weir 0.1.0)".into()), ("TimeZone", self.zone.clone())]
    }

    fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.changes)
    }

    async fn configure(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "unknown" => Err(Refusal::new(Code::UndefinedObject, "unrecognized configuration parameter \"unknown\"")),
            _ => {
                self.note(format!("configure {name}={value}"));
                Ok(())
            }
        }
    }

    async fn parse(&self, text: &str) -> Result<Vec<String>> {
        self.note_thread("parse", text.len());
        if text.contains('(') {
            return Err(Refusal::new(Code::SyntaxError, "syntax error at or near \"(\"").at(1));
        }
        Ok(text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn is_transaction_control(parsed: &String) -> bool {
        matches!(parsed.to_lowercase().as_str(), "begin" | "commit" | "rollback" | "start transaction")
    }

    fn deallocates(parsed: &String) -> Option<Deallocate> {
        match parsed.strip_prefix("deallocate ")? {
            "all" => Some(Deallocate::All),
            name => Some(Deallocate::One(name.into())),
        }
    }

    async fn prepare(&mut self, parsed: String, declared: Vec<Option<ValueType>>) -> Result<Prepared> {
        if parsed == "fail" {
            return Err(Refusal::new(Code::UndefinedTable, "relation \"x\" does not exist"));
        }
        let words: Vec<&str> = parsed.split_whitespace().collect();
        let columns = output(&words);
        let parameters = match words.as_slice() {
            ["echo", _] => {
                let inferred = columns.iter().flat_map(|columns| columns.iter()).map(|column| column.value_type);
                inferred
                    .enumerate()
                    .map(|(index, inferred)| declared.get(index).copied().flatten().unwrap_or(inferred))
                    .collect()
            }
            ["wide", count] => vec![ColumnType::Integer.into(); count.parse().unwrap()],
            _ => Vec::new(),
        };
        Ok(Prepared { parameters, columns, text: parsed })
    }

    fn parameters(prepared: &Prepared) -> &[ValueType] {
        &prepared.parameters
    }

    fn columns(prepared: &Prepared) -> Option<&Arc<[Column]>> {
        prepared.columns.as_ref()
    }

    async fn execute(&mut self, prepared: &Prepared, parameters: Vec<Value>) -> Result<BackendReply<Session>> {
        if prepared.text.starts_with("wide") {
            return Ok(BackendReply::Done(CommandTag(format!("WIDE {}", parameters.len()))));
        }
        self.perform(&prepared.text.clone(), parameters).await
    }

    async fn run(&mut self, parsed: &String) -> Result<BackendReply<Session>> {
        self.perform(parsed, Vec::new()).await
    }

    fn begin_implicit(&mut self) {
        self.note("begin implicit");
        self.implicit = true;
    }

    async fn end_implicit(&mut self) -> Result<()> {
        self.note("end implicit");
        self.implicit = false;
        if self.status == TransactionStatus::Failed {
            self.status = TransactionStatus::Idle;
        }
        Ok(())
    }

    fn note_failure(&mut self) {
        self.note("failure");
        if self.status == TransactionStatus::Active || self.implicit {
            self.status = TransactionStatus::Failed;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.note("disconnect");
    }
}

/// What a stream does after its batches.
enum After {
    End,
    Fail,
    /// Waits to be cancelled.
    Hang,
    /// Waits for ever, whatever is asked of it.
    Deaf,
    Endless,
}

pub struct Rows {
    columns: Arc<[Column]>,
    batches: VecDeque<RecordBatch>,
    after: After,
    stop: Arc<Stop>,
    events: Arc<Mutex<Vec<String>>>,
    ended: bool,
}

impl BackendRows for Rows {
    fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.batches.pop_front() {
            return Some(Ok(batch));
        }
        match self.after {
            After::End => {
                self.ended = true;
                None
            }
            After::Fail => Some(Err(Refusal::new(Code::DivisionByZero, "division by zero"))),
            After::Deaf => std::future::pending().await,
            After::Hang => {
                self.stop.wait().await;
                Some(Err(Refusal::new(Code::StatementTimeout, "stopped by the backend")))
            }
            After::Endless => {
                tokio::task::yield_now().await;
                if self.stop.raised.load(Ordering::SeqCst) {
                    return Some(Err(Refusal::new(Code::QueryCanceled, "stopped by the backend")));
                }
                Some(Ok(batch(&self.columns, vec![Arc::new(Int32Array::from_iter_values(0..8192))])))
            }
        }
    }

    fn tag(&self, rows_sent: u64) -> CommandTag {
        CommandTag(format!("SELECT {rows_sent}"))
    }

    fn suspend(&mut self) {
        self.events.lock().push("suspend".into());
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if !self.ended {
            self.events.lock().push("rows dropped".into());
        }
    }
}

pub struct CopyIn {
    columns: Arc<[Column]>,
    options: CopyOptions,
    rows: usize,
    copied: Arc<Mutex<Vec<RecordBatch>>>,
    events: Arc<Mutex<Vec<String>>>,
    patience: Option<Duration>,
}

impl BackendCopyIn for CopyIn {
    type Session = Session;

    fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    fn options(&self) -> &CopyOptions {
        &self.options
    }

    fn relation(&self) -> &str {
        "t"
    }

    async fn interrupted(&mut self) -> Refusal {
        match self.patience {
            Some(patience) => tokio::time::sleep(patience).await,
            None => std::future::pending().await,
        }
        Refusal::new(Code::StatementTimeout, "out of time")
    }

    async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() > 1000 {
            self.events.lock().push(format!("push on {}", std::thread::current().name().unwrap_or_default()));
        }
        self.rows += batch.num_rows();
        self.copied.lock().push(batch);
        Ok(())
    }

    async fn finish(self, session: &mut Session) -> Result<CommandTag> {
        session.note("copy finished");
        Ok(CommandTag(format!("COPY {}", self.rows)))
    }

    async fn fail(self, session: &mut Session, refusal: Refusal) -> Refusal {
        session.note(format!("copy failed: {}", refusal.message()));
        refusal
    }
}
