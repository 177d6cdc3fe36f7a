//! One authenticated connection: its identity, settings, transaction, prepared statements and cursors.

mod bundle;
mod cursor;
mod definition;
mod named;
mod reply;
mod run;
mod settings;
mod show;
mod transaction;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use weir_audit::SessionChain;
use weir_engine::{EngineSession, SessionIdentity};
use weir_meter::Account;
use weir_model::{Claims, ClientAddress, Identity, Result, SessionId, Value, ValueType};

pub(crate) use self::{bundle::SessionPolicy, cursor::CursorRows, transaction::Transactions};
pub use self::{
    reply::{CommandTag, Parsed, Prepared, Reply},
    settings::Settings,
    transaction::TransactionStatus,
};
use crate::{
    cancel::Canceller,
    gates::{audit, policy::Verdict},
    options::CredentialStatus,
    org::Org,
    plane::DataPlane,
    session::bundle::SessionPolicies,
    traffic::Traffic,
};

/// What of a session never changes. Gates read it; running rows outlive the borrow of the session through it.
pub(crate) struct SessionFacts {
    pub id: SessionId,
    pub org: Arc<Org>,
    pub identity: Identity,
    pub claims: Claims,
    pub client: ClientAddress,
    pub chain: SessionChain,
    pub credentials: Arc<dyn CredentialStatus>,
    pub account: Arc<Account>,
    policies: SessionPolicies,
    pub admin_role: Arc<str>,
    /// How long statements take, refused ones too.
    pub durations: metrics::Histogram,
    process_id: i32,
    traffic: Arc<Traffic>,
    /// Whether other sessions answered at the same time, the last time this one did.
    in_company: AtomicBool,
}

impl fmt::Debug for SessionFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFacts").field("id", &self.id).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl SessionFacts {
    /// The org's bundle as it is now, as this session meets it; None before the first one.
    pub(crate) fn policy(&self) -> Option<Arc<SessionPolicy>> {
        self.policies.current(&self.org, &self.identity)
    }

    /// Notes that a statement is answered.
    pub(crate) fn answers(&self, now: Instant) {
        self.in_company.store(self.traffic.is_shared(self.process_id, now), Ordering::Relaxed);
    }

    pub(crate) fn is_in_company(&self) -> bool {
        self.in_company.load(Ordering::Relaxed)
    }
}

impl SessionFacts {
    /// Waits until what the session's records say may be seen: at once, unless the journal is strict.
    pub(crate) async fn durable(&self) -> Result<()> {
        self.chain.durable().await.inspect_err(audit::count)
    }
}

/// Texts of statements and cursors together from which a session is better served beside the others.
const LARGE_TEXTS_BYTES: usize = 256 * 1024;

/// One authenticated connection to one org. Dropping it rolls back and ends its chain in the journal.
#[derive(Debug)]
pub struct Session {
    plane: Arc<DataPlane>,
    facts: Arc<SessionFacts>,
    process_id: i32,
    engine: EngineSession,
    settings: Settings,
    transactions: Transactions,
    named: named::NamedStatements,
    cursors: cursor::Cursors,
    canceller: Canceller,
}

impl Session {
    pub(crate) fn open(
        plane: Arc<DataPlane>,
        org: Arc<Org>,
        credentials: Arc<dyn CredentialStatus>,
        identity: Identity,
        claims: Claims,
        client: ClientAddress,
    ) -> Result<Session> {
        let id = SessionId::fresh();
        let chain = plane.journal.session(id, &identity, &client, &claims)?;
        let settings = Settings::new(claims.application_name.clone().unwrap_or_default(), &plane.options);
        let process_id = plane.next_process_id();
        let engine = plane.engine.session(SessionIdentity {
            user: identity.agent.clone(),
            database: identity.org.as_str().into(),
            backend_pid: process_id,
            session_id: id.to_string(),
        });
        org.session_opened();
        metrics::gauge!("weir_sessions").increment(1.0);
        let admin_role = org.admin_role().clone();
        let account = plane.meter.account(org.name());
        let facts = SessionFacts {
            id,
            org,
            identity,
            claims,
            client,
            chain,
            credentials,
            account,
            policies: SessionPolicies::new(plane.journal.clone(), plane.meter.clone()),
            admin_role,
            durations: metrics::histogram!("weir_statement_duration_seconds"),
            process_id,
            traffic: plane.traffic.clone(),
            in_company: AtomicBool::new(false),
        };
        let session = Session {
            plane,
            facts: Arc::new(facts),
            process_id,
            engine,
            settings,
            transactions: Transactions::default(),
            named: named::NamedStatements::default(),
            cursors: cursor::Cursors::default(),
            canceller: Canceller::default(),
        };
        session.tell_engine();
        Ok(session)
    }

    pub(crate) async fn durable(&self) -> Result<()> {
        self.facts.durable().await
    }

    /// What BackendKeyData and `pg_backend_pid()` say; distinct among the sessions of a process.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    #[must_use]
    pub fn id(&self) -> SessionId {
        self.facts.id
    }

    /// Whether this session alone is being answered just now.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        !self.facts.is_in_company()
    }

    /// Whether what it keeps by PREPARE and DECLARE takes long to run or to free.
    #[must_use]
    pub fn holds_large(&self) -> bool {
        self.named.bytes() + self.cursors.bytes() > LARGE_TEXTS_BYTES
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.facts.identity
    }

    #[must_use]
    pub fn transaction_status(&self) -> TransactionStatus {
        self.transactions.status()
    }

    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The ParameterStatus set that a client is told at start-up.
    #[must_use]
    pub fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        self.settings.reported(&self.facts.identity.agent)
    }

    /// Reported parameters that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        self.settings.take_changes()
    }

    /// The columns of a cursor that DECLARE opened: clients describe it like a portal.
    #[must_use]
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<[weir_engine::Column]>> {
        self.cursors.get(name).ok().map(|(columns, _)| columns)
    }

    /// Applies a setting that the client gave at start-up, as SET would.
    ///
    /// # Errors
    /// As SET: an unknown name, a value out of bounds, a setting that is fixed.
    pub fn configure(&mut self, name: &str, value: &str) -> Result<()> {
        self.settings.set(name, Some(value))?;
        self.tell_engine();
        Ok(())
    }

    /// `current_setting()` answers what SHOW does.
    fn tell_engine(&self) {
        for (name, value) in self.settings.show_all(&self.facts.identity.agent) {
            self.engine.set_setting(name, Some(&value));
        }
    }

    /// Splits and parses a simple query's text, once; empty for an empty one.
    ///
    /// # Errors
    /// `syntax_error` and the like; the refusal is journalled.
    pub async fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        let started = Instant::now();
        match weir_sql::parse(text) {
            Ok(statements) => Ok(statements.into_iter().map(Parsed).collect()),
            Err(refusal) => {
                audit::refused(&self.facts, None, text, &Verdict::default(), &refusal, started)?;
                self.facts.durable().await?;
                Err(refusal)
            }
        }
    }

    /// Resolves parameter types and output columns, and authorises: a statement that may not run cannot be described.
    /// A type is None where the client named none.
    ///
    /// # Errors
    /// As executing it, before any effect.
    pub async fn prepare(&mut self, parsed: Parsed, parameter_types: Vec<Option<ValueType>>) -> Result<Prepared> {
        self.prepare_statement(parsed.0, parameter_types).await
    }

    /// Runs a prepared statement through every gate.
    ///
    /// # Errors
    /// Any gate's refusal.
    pub async fn execute(&mut self, prepared: &Prepared, parameters: Vec<Value>) -> Result<Reply> {
        self.run_statement(&prepared.0.statement, Some(prepared), parameters).await
    }

    /// Runs a parsed statement without parameters through every gate.
    ///
    /// # Errors
    /// Any gate's refusal.
    pub async fn run(&mut self, parsed: &Parsed) -> Result<Reply> {
        self.run_statement(&parsed.0, None, Vec::new()).await
    }

    /// Until [`Session::end_implicit`], statements are one transaction, unless one is open already.
    pub fn begin_implicit(&mut self) {
        self.transactions.begin_implicit();
    }

    /// Commits the implicit transaction, or rolls it back when a statement failed.
    ///
    /// # Errors
    /// What committing says.
    pub async fn end_implicit(&mut self) -> Result<()> {
        let ended = self.transactions.end_implicit().await;
        self.after_transaction();
        ended
    }

    /// Told of every error sent to the client: an open transaction becomes failed.
    pub fn note_failure(&mut self) {
        self.transactions.fail();
    }

    /// Cursors die with their transaction; so do settings made LOCAL.
    fn after_transaction(&mut self) {
        if self.transactions.status() == TransactionStatus::Idle {
            self.cursors.close_all();
            if self.settings.end_transaction() {
                self.tell_engine();
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cursors.close_all();
        self.facts.org.session_closed();
        metrics::gauge!("weir_sessions").decrement(1.0);
        if let Err(refusal) = self.facts.chain.close("disconnected") {
            tracing::error!(%refusal, session = %self.facts.id, "a session's end is not recorded");
        }
    }
}
