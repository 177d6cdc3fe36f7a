//! Running one statement: the gates, then what its kind does.

use std::{sync::Arc, time::Instant};

use weir_engine::Control;
use weir_model::{Code, Refusal, Result, Value, ValueType};
use weir_sql::{CopyDirection, FetchCount, Kind, SetStatement, Statement};
use weir_store::Database;

use crate::{
    copy::CopyIn,
    gates::{
        self,
        audit::{Cleared, Running, Ticket},
        commit,
    },
    memory::StatementMemory,
    passage::{self, Traveller},
    plan_cache::{OwnPlan, PlanSource, PreparedPlans, SharedPlans},
    rows::Rows,
    session::{Prepared, Reply, Session, TransactionStatus, definition, named, reply::PreparedParts, show},
};

/// A single statement outside a transaction may lose to another that commits first; it is then run again on the newer
/// version, so often at most. Nothing of it has been seen by then.
const WRITE_ATTEMPTS_MAX: usize = 256;

impl Session {
    pub(super) async fn run_statement(
        &mut self,
        statement: &Statement,
        prepared: Option<&Prepared>,
        parameters: Vec<Value>,
    ) -> Result<Reply> {
        let started = Instant::now();
        let result = self.dispatch(statement, prepared, parameters, started).await;
        let result = self.facts.durable().await.and(result);
        if result.is_err() {
            self.transactions.fail();
        }
        self.after_transaction();
        result
    }

    async fn dispatch(
        &mut self,
        statement: &Statement,
        prepared: Option<&Prepared>,
        parameters: Vec<Value>,
        started: Instant,
    ) -> Result<Reply> {
        let ends_transaction = matches!(statement.kind(), Kind::Commit | Kind::Rollback);
        if !ends_transaction {
            self.recorded(statement, started, self.check_transaction(statement))?;
        }
        if let Kind::Execute { name, arguments } = statement.kind() {
            let (named, values) = self.recorded(statement, started, self.named_call(name, arguments))?;
            let inner = named.0.statement.clone();
            return Box::pin(self.run_statement(&inner, Some(&named), values)).await;
        }
        if matches!(statement.kind(), Kind::Rollback) {
            self.transactions.roll_back();
        }
        // What these prepare or open passes the gates by itself, before the statement that says so holds any slot.
        match statement.kind() {
            Kind::Prepare(prepare) => {
                let free = self.named.check_free(&prepare.name, statement.text().len());
                self.recorded(statement, started, free)?;
                self.prepare_named(prepare).await?;
            }
            Kind::Declare(declare) => {
                self.recorded(statement, started, self.check_declare(declare))?;
                self.declare(declare).await?;
            }
            _ => {}
        }
        let control = self.begin_statement();
        let cleared = self.clear(statement, prepared, &control, started).await?;
        self.perform(cleared, prepared, parameters, control).await
    }

    fn check_transaction(&self, statement: &Statement) -> Result<()> {
        self.transactions.check_usable()?;
        if !statement.kind().writes() {
            return Ok(());
        }
        // An implicit transaction has no BEGIN that could have said otherwise.
        if self.transactions.status() == TransactionStatus::Idle && self.settings.default_read_only() {
            return Err(Refusal::new(Code::ReadOnlyTransaction, "cannot write in a read-only transaction")
                .hint("SET default_transaction_read_only = off, or BEGIN READ WRITE"));
        }
        self.transactions.check_writable()
    }

    /// Refusals before the gates are journalled like those of the gates.
    fn recorded<T>(&self, statement: &Statement, started: Instant, checked: Result<T>) -> Result<T> {
        checked.or_else(|refusal| {
            let verdict = gates::policy::Verdict::default();
            gates::audit::refused(&self.facts, Some(statement), statement.text(), &verdict, &refusal, started)?;
            Err(refusal)
        })
    }

    fn begin_statement(&self) -> Control {
        let policy = self.facts.policy();
        let most = policy.and_then(|policy| policy.limits().statement_timeout_ms).map(std::time::Duration::from_millis);
        let own = self.settings.statement_timeout();
        let timeout = match (own, most) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (own, most) => own.or(most),
        };
        self.canceller.begin(timeout, &self.plane.stop)
    }

    async fn clear(
        &mut self,
        statement: &Statement,
        prepared: Option<&Prepared>,
        control: &Control,
        started: Instant,
    ) -> Result<Cleared> {
        self.wake().await;
        let database = self.facts.org.database();
        let version = self.transactions.version(database.as_ref());
        let shared = SharedPlans { cache: &self.plane.plans, engine: &self.engine, org: self.facts.org.name() };
        let own;
        let (plans, types): (&dyn PlanSource, &[Option<ValueType>]) = match prepared {
            Some(prepared) => {
                own = PreparedPlans { own: &prepared.0.plan, shared };
                (&own, &prepared.0.given_types)
            }
            None => (&shared, &[]),
        };
        let traveller = Traveller {
            plane: &self.plane,
            facts: &self.facts,
            statement,
            version,
            search_path: self.settings.search_path(),
            memory: prepared.map(|prepared| &prepared.0.memory),
            plans,
            parameter_types: types,
            control,
            started,
        };
        passage::clear(&traveller).await
    }

    /// Opens the org's tables if they are not: a transaction's version can only be pinned on open tables. The resume
    /// gate is the one that says so when it fails.
    async fn wake(&self) {
        if self.facts.org.database().is_none() {
            let opening = self.facts.org.open_database();
            let _gate_two_reports = tokio::time::timeout(self.plane.options.resume_timeout, opening).await;
        }
    }

    async fn perform(
        &mut self,
        cleared: Cleared,
        prepared: Option<&Prepared>,
        parameters: Vec<Value>,
        control: Control,
    ) -> Result<Reply> {
        let Cleared { ticket, governed } = cleared;
        let statement = governed.statement.clone();
        let checked = match prepared {
            Some(prepared) => named::check_count(parameters.len(), &prepared.0.parameters),
            None => named::check_count(statement.parameters(), &[]).map_err(|_| no_parameters(&statement)),
        };
        if let Err(refusal) = checked {
            return finish(ticket, Err(refusal), 0);
        }
        match statement.kind() {
            Kind::Query | Kind::Explain { .. } => {
                self.query(ticket, &governed, &parameters, control).map(|rows| Reply::Rows(Box::new(rows)))
            }
            Kind::Copy(copy) if !matches!(copy.direction, CopyDirection::In { .. }) => {
                let rows = self.query(ticket, &governed, &parameters, control)?.with_verb("COPY");
                Ok(Reply::CopyOut { options: copy.options.clone(), rows: Box::new(rows) })
            }
            Kind::Copy(copy) => {
                let (transaction, own) = self.transactions.take_work(&governed.database);
                CopyIn::begin(copy, governed, transaction, own, ticket, control, &self.engine)
                    .map(|copy| Reply::CopyIn(Box::new(copy.tracked(self.plane.running.token()))))
            }
            Kind::Insert | Kind::Update | Kind::Delete => {
                let written = self.write(&governed, &parameters, &control).await;
                let tag = written.as_ref().map(|rows| write_tag(statement.kind(), *rows)).unwrap_or_default();
                let rows = written.as_ref().copied().unwrap_or(0);
                finish(ticket, written.map(|_| Reply::done(tag)), rows)
            }
            kind if kind.writes() => {
                let done = self.define(&governed, &control).await;
                let rows = done.as_ref().map_or(0, |(_, rows)| *rows);
                finish(ticket, done.map(|(tag, _)| Reply::done(tag)), rows)
            }
            _ => self.session_statement(ticket, &statement, &governed, control).await,
        }
    }

    fn query(&self, ticket: Ticket, governed: &Running, parameters: &[Value], control: Control) -> Result<Rows> {
        let run = || {
            let planned = governed.planned.as_ref().ok_or_else(no_plan)?;
            let columns = planned.columns().cloned().ok_or_else(no_plan)?;
            let rows = gates::engine::pass(governed, &self.engine, parameters, control.clone())?;
            Ok((columns, gates::masking::pass(rows, planned)))
        };
        match run() {
            Ok((columns, rows)) => Ok(Rows::stream(columns, rows, control, ticket)
                .limited(governed.policy.limits().max_rows)
                .of(&self.plane)),
            Err(refusal) => {
                ticket.finish(Err(&refusal), 0)?;
                Err(refusal)
            }
        }
    }

    /// INSERT, UPDATE, DELETE: a governed SELECT and a commit.
    async fn write(&mut self, governed: &Running, parameters: &[Value], control: &Control) -> Result<u64> {
        let _running = self.plane.running.token();
        let planned = governed.planned.as_ref().ok_or_else(no_plan)?;
        let database = &governed.database;
        for attempt in 1.. {
            let (mut transaction, own) = self.transactions.take_work(database);
            let mut snapshot = governed.snapshot.clone();
            snapshot.version = transaction.version().clone();
            let rows = self
                .engine
                .write(planned, &snapshot, parameters, &mut transaction, &governed.governance, control.clone())
                .await?;
            if !own {
                self.transactions.put_work(database, transaction);
                return Ok(rows);
            }
            match commit::pass(database, transaction).await {
                Ok(()) => return Ok(rows),
                Err(lost) if lost.code() == Code::SerializationFailure && attempt < WRITE_ATTEMPTS_MAX => {
                    metrics::counter!("weir_write_retries_total").increment(1);
                    tokio::task::yield_now().await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::new(Code::Internal, "a write ended without an answer"))
    }

    /// DDL and TRUNCATE.
    async fn define(&mut self, governed: &Running, control: &Control) -> Result<(String, u64)> {
        let _running = self.plane.running.token();
        let (mut transaction, own) = self.transactions.take_work(&governed.database);
        let done =
            definition::apply(governed, &self.engine, &mut transaction, control, self.settings.search_path()).await?;
        self.put_or_commit(&governed.database, transaction, own).await?;
        Ok(done)
    }

    pub(crate) async fn put_or_commit(
        &mut self,
        database: &Arc<Database>,
        transaction: weir_store::Transaction,
        own: bool,
    ) -> Result<()> {
        if own {
            return commit::pass(database, transaction).await;
        }
        self.transactions.put_work(database, transaction);
        Ok(())
    }

    async fn session_statement(
        &mut self,
        ticket: Ticket,
        statement: &Statement,
        governed: &Running,
        control: Control,
    ) -> Result<Reply> {
        let user = self.facts.identity.agent.clone();
        match statement.kind() {
            Kind::Show(name) => {
                let name = name.as_str();
                self.show_transaction_settings();
                match show::show(&self.settings, name, &user) {
                    Ok((columns, batch)) => {
                        let rows = Rows::held(columns, vec![batch], control, ticket, "SHOW");
                        Ok(Reply::Rows(Box::new(rows)))
                    }
                    Err(refusal) => finish(ticket, Err(refusal), 0),
                }
            }
            Kind::Fetch(fetch) => match self.cursors.get_under(&fetch.name, &governed.policy) {
                Ok((columns, cursor)) => {
                    let left = match fetch.count {
                        FetchCount::Rows(rows) => rows,
                        FetchCount::All => u64::MAX,
                    };
                    Ok(Reply::Rows(Box::new(Rows::cursor(columns, cursor, left, control, ticket))))
                }
                Err(refusal) => finish(ticket, Err(refusal), 0),
            },
            Kind::Declare(_) => finish(ticket, Ok(Reply::done("DECLARE CURSOR")), 0),
            Kind::Prepare(_) => finish(ticket, Ok(Reply::done("PREPARE")), 0),
            kind => {
                let done = self.change_session(kind).await;
                finish(ticket, done.map(Reply::done), 0)
            }
        }
    }

    /// BEGIN, COMMIT, SET and the like; returns the command tag.
    async fn change_session(&mut self, kind: &Kind) -> Result<&'static str> {
        Ok(match kind {
            Kind::Begin { read_only } => {
                self.transactions.begin(read_only.unwrap_or_else(|| self.settings.default_read_only()));
                "BEGIN"
            }
            Kind::Commit if self.transactions.commit().await? => "COMMIT",
            // Of a failed transaction, as PostgreSQL says it; without one, COMMIT is harmless.
            Kind::Commit | Kind::Rollback => "ROLLBACK",
            Kind::Set(set) => {
                self.set(set)?;
                "SET"
            }
            Kind::Reset(Some(name)) => {
                self.settings.set(name, None)?;
                self.tell_engine();
                "RESET"
            }
            Kind::Reset(None) => {
                self.settings.reset_all();
                self.tell_engine();
                "RESET"
            }
            Kind::DiscardAll => {
                if self.transactions.is_open() {
                    return Err(Refusal::new(
                        Code::ActiveTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.named.remove(None);
                self.cursors.close_all();
                self.settings.reset_all();
                self.tell_engine();
                "DISCARD ALL"
            }
            Kind::Deallocate(name) => {
                self.named.remove(name.as_deref());
                if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }
            }
            Kind::Close(Some(name)) => {
                self.cursors.close(name)?;
                "CLOSE CURSOR"
            }
            Kind::Close(None) => {
                self.cursors.close_all();
                "CLOSE CURSOR ALL"
            }
            Kind::Unlisten => "UNLISTEN",
            other => return Err(Refusal::unsupported(format!("statement kind {}", other.label()))),
        })
    }

    fn set(&mut self, set: &SetStatement) -> Result<()> {
        if set.name == "transaction_read_only" {
            let read_only = matches!(set.value.as_deref(), Some("on" | "true" | "1" | "yes"));
            return self.transactions.set_read_only(read_only);
        }
        if set.local {
            if self.transactions.status() != TransactionStatus::Idle {
                self.settings.set_local(&set.name, set.value.as_deref())?;
            }
        } else {
            self.settings.set(&set.name, set.value.as_deref())?;
        }
        self.tell_engine();
        Ok(())
    }

    fn show_transaction_settings(&mut self) {
        let read_only = if self.transactions.is_read_only() { "on" } else { "off" };
        // The value is one of the setting's own.
        let _always_valid = self.settings.set("transaction_read_only", Some(read_only));
    }

    fn check_declare(&self, declare: &weir_sql::DeclareCursor) -> Result<()> {
        if declare.hold {
            return Err(Refusal::unsupported("cursors WITH HOLD").hint("fetch within the transaction"));
        }
        if !self.transactions.is_open() {
            return Err(Refusal::new(
                Code::NoActiveTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        self.cursors.check_free(&declare.name)
    }

    async fn declare(&mut self, declare: &weir_sql::DeclareCursor) -> Result<()> {
        let control = self.begin_statement();
        let cleared = self.clear(&declare.statement, None, &control, Instant::now()).await?;
        let Cleared { ticket, governed } = cleared;
        // A cursor waits for its reader, who may take all day: it holds no slot, and each FETCH asks for one.
        let rows = self.query(ticket, &governed, &[], control)?.without_slots();
        self.cursors.open(declare.name.clone(), rows, governed.policy.clone(), declare.statement.text().len());
        Ok(())
    }

    async fn prepare_named(&mut self, prepare: &weir_sql::Prepare) -> Result<()> {
        let types = prepare.types.iter().map(|column_type| Some(*column_type)).collect();
        let prepared = self.prepare_statement(prepare.statement.clone(), types).await?;
        self.named.put(prepare.name.clone(), prepared, prepare.statement.text().len());
        Ok(())
    }

    fn named_call(&self, name: &str, arguments: &[weir_sql::ast::Expr]) -> Result<(Prepared, Vec<Value>)> {
        let prepared = self.named.get(name)?;
        named::check_count(arguments.len(), &prepared.0.parameters)?;
        Ok((prepared, arguments.iter().map(named::argument).collect::<Result<_>>()?))
    }

    pub(super) async fn prepare_statement(
        &mut self,
        statement: Statement,
        given_types: Vec<Option<ValueType>>,
    ) -> Result<Prepared> {
        let result = self.describe(statement, given_types).await;
        let result = self.facts.durable().await.and(result);
        if result.is_err() {
            self.transactions.fail();
        }
        result
    }

    /// The columns of statements that answer from the session itself.
    fn known_columns(&self, statement: &Statement) -> Result<Option<Arc<[weir_engine::Column]>>> {
        Ok(match statement.kind() {
            Kind::Show(name) => Some(show::columns(&self.settings, name, &self.facts.identity.agent)?),
            Kind::Fetch(fetch) => Some(self.cursors.get(&fetch.name)?.0),
            Kind::Execute { name, .. } => self.named.get(name)?.0.columns.clone(),
            _ => None,
        })
    }

    async fn describe(&mut self, statement: Statement, given_types: Vec<Option<ValueType>>) -> Result<Prepared> {
        let started = Instant::now();
        if !matches!(statement.kind(), Kind::Commit | Kind::Rollback) {
            self.recorded(&statement, started, self.transactions.check_usable())?;
        }
        let mut parts = PreparedParts {
            given_types,
            parameters: Vec::new(),
            columns: None,
            plan: OwnPlan::default(),
            memory: StatementMemory::default(),
            statement: statement.clone(),
        };
        parts.columns = self.recorded(&statement, started, self.known_columns(&statement))?;
        match statement.kind() {
            Kind::Query
            | Kind::Explain { .. }
            | Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::CreateTableAs(_) => {
                let control = self.begin_statement();
                self.wake().await;
                let version = self.transactions.version(self.facts.org.database().as_ref());
                let shared = SharedPlans { cache: &self.plane.plans, engine: &self.engine, org: self.facts.org.name() };
                let traveller = Traveller {
                    plane: &self.plane,
                    facts: &self.facts,
                    statement: &statement,
                    version,
                    search_path: self.settings.search_path(),
                    memory: Some(&parts.memory),
                    plans: &PreparedPlans { own: &parts.plan, shared },
                    parameter_types: &parts.given_types,
                    control: &control,
                    started,
                };
                let governed = passage::govern(&traveller).await?;
                if let Some(planned) = &governed.planned {
                    parts.parameters = planned.parameters().to_vec();
                    let returns_rows = matches!(statement.kind(), Kind::Query | Kind::Explain { .. });
                    parts.columns = planned.columns().filter(|_| returns_rows).cloned();
                }
            }
            _ => {}
        }
        Ok(Prepared(Arc::new(parts)))
    }
}

/// Ends a ticket with what became of its statement.
fn finish(ticket: Ticket, result: Result<Reply>, rows: u64) -> Result<Reply> {
    match result {
        Ok(reply) => ticket.finish(Ok(()), rows).map(|()| reply),
        Err(refusal) => {
            ticket.finish(Err(&refusal), rows)?;
            Err(refusal)
        }
    }
}

fn write_tag(kind: &Kind, rows: u64) -> String {
    match kind {
        Kind::Insert => format!("INSERT 0 {rows}"),
        Kind::Update => format!("UPDATE {rows}"),
        _ => format!("DELETE {rows}"),
    }
}

fn no_plan() -> Refusal {
    Refusal::new(Code::Internal, "the statement has no plan to run")
}

fn no_parameters(statement: &Statement) -> Refusal {
    Refusal::new(Code::UndefinedObject, format!("there is no parameter ${}", statement.parameters()))
        .hint("send parameters with the extended protocol, or use EXECUTE")
}
