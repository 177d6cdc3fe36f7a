//! What the protocol needs from the data plane, mirroring it one to one.
//!
//! The connection loop is generic over [`Backend`], so that conversations can be tested against a scripted one. The
//! traits carry no logic of their own and cost nothing: every method is a direct call after monomorphisation.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use arrow::record_batch::RecordBatch;
use weir_model::{Claims, ClientAddress, Identity, Refusal, Result, Value, ValueType};
use weir_pipeline::{Column, CommandTag, CopyOptions, TransactionStatus};

/// The data plane: opens one session for each authenticated connection.
pub trait Backend: Send + Sync + 'static {
    type Session: BackendSession;

    /// # Errors
    ///
    /// Refuses when the data plane is not ready or the org may not connect; the client reads it as FATAL.
    fn connect(
        self: &Arc<Self>,
        identity: Identity,
        claims: Claims,
        client: ClientAddress,
    ) -> impl Future<Output = Result<Self::Session>> + Send;
}

/// Stops the statement that a session runs now, its row stream included; does nothing when it is idle.
pub trait Canceller: Clone + Send + Sync + 'static {
    fn cancel(&self);
}

/// One session. Dropping it rolls back what is open.
pub trait BackendSession: Sized + Send + 'static {
    type Canceller: Canceller;
    type Parsed: Clone + Send + Sync + 'static;
    type Prepared: Clone + Send + Sync + 'static;
    type Rows: BackendRows;
    type CopyIn: BackendCopyIn<Session = Self>;

    /// What BackendKeyData says; no other session of the process has it.
    fn process_id(&self) -> i32;
    fn transaction_status(&self) -> TransactionStatus;
    fn canceller(&self) -> Self::Canceller;
    /// Name of the session's time zone in the IANA database.
    fn time_zone(&self) -> &str;
    fn idle_in_transaction_timeout(&self) -> Option<Duration>;
    /// Whether no other session is being answered just now: worth a short wait for the client's next message.
    fn is_alone(&self) -> bool {
        false
    }
    /// Whether it keeps something by a name in SQL that takes long to run or to free.
    fn holds_large(&self) -> bool {
        false
    }
    /// The ParameterStatus set at start-up.
    fn reported_parameters(&self) -> Vec<(&'static str, String)>;
    /// Reported parameters that changed since the last call.
    fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)>;
    /// The columns of a cursor that DECLARE opened: clients describe it like a portal.
    fn cursor_columns(&self, _name: &str) -> Option<Arc<[Column]>> {
        None
    }
    /// Applies a setting that the client gave at start-up, as SET would.
    fn configure(&mut self, name: &str, value: &str) -> impl Future<Output = Result<()>> + Send;

    /// Splits and parses a simple query's text; empty for an empty one.
    fn parse(&self, text: &str) -> impl Future<Output = Result<Vec<Self::Parsed>>> + Send;
    fn is_transaction_control(parsed: &Self::Parsed) -> bool;
    /// Which protocol-level prepared statements a statement drops when it succeeds.
    fn deallocates(_parsed: &Self::Parsed) -> Option<Deallocate> {
        None
    }
    /// Resolves parameter types and output columns, and authorises. A type is `None` where the client named none.
    fn prepare(
        &mut self,
        parsed: Self::Parsed,
        parameter_types: Vec<Option<ValueType>>,
    ) -> impl Future<Output = Result<Self::Prepared>> + Send;
    fn parameters(prepared: &Self::Prepared) -> &[ValueType];
    /// `None` for a statement that returns no rows.
    fn columns(prepared: &Self::Prepared) -> Option<&Arc<[Column]>>;
    fn execute(
        &mut self,
        prepared: &Self::Prepared,
        parameters: Vec<Value>,
    ) -> impl Future<Output = Result<BackendReply<Self>>> + Send;
    fn run(&mut self, parsed: &Self::Parsed) -> impl Future<Output = Result<BackendReply<Self>>> + Send;

    fn begin_implicit(&mut self);
    fn end_implicit(&mut self) -> impl Future<Output = Result<()>> + Send;
    /// Told of every error sent to the client: an open transaction becomes failed.
    fn note_failure(&mut self);
}

/// Prepared statements that a `DEALLOCATE` or `DISCARD ALL` in SQL drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deallocate {
    All,
    One(String),
}

/// A running result: governed, metered and under the statement's timeout. Dropping it before its end cancels it.
pub trait BackendRows: Send + 'static {
    fn columns(&self) -> &Arc<[Column]>;
    /// `None` once exhausted.
    fn next(&mut self) -> impl Future<Output = Option<Result<RecordBatch>>> + Send;
    fn tag(&self, rows_sent: u64) -> CommandTag;
    /// The client has what it asked for, and may take its time to ask for more.
    fn suspend(&mut self);
}

/// A COPY FROM STDIN that waits for its rows.
pub trait BackendCopyIn: Sized + Send + 'static {
    type Session: BackendSession;

    fn columns(&self) -> &Arc<[Column]>;
    fn options(&self) -> &CopyOptions;
    /// The table's name for error contexts.
    fn relation(&self) -> &str;
    /// Ends with the reason once the statement must not wait for its client any longer.
    fn interrupted(&mut self) -> impl Future<Output = Refusal> + Send;
    fn push(&mut self, batch: RecordBatch) -> impl Future<Output = Result<()>> + Send;
    fn finish(self, session: &mut Self::Session) -> impl Future<Output = Result<CommandTag>> + Send;
    /// Gives up because of `refusal`: the client said so, its data is broken, or a push failed. What the client reads
    /// comes back, which is another refusal only when this one could not be recorded.
    fn fail(self, session: &mut Self::Session, refusal: Refusal) -> impl Future<Output = Refusal> + Send;
}

/// What a statement answers with.
pub enum BackendReply<S: BackendSession> {
    Rows(Box<S::Rows>),
    Done(CommandTag),
    CopyIn(S::CopyIn),
    CopyOut { options: CopyOptions, rows: Box<S::Rows> },
}

impl<S: BackendSession> fmt::Debug for BackendReply<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendReply::Rows(_) => "Rows",
            BackendReply::Done(_) => "Done",
            BackendReply::CopyIn(_) => "CopyIn",
            BackendReply::CopyOut { .. } => "CopyOut",
        })
    }
}
