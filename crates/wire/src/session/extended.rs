//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Sync.

use bytes::BufMut;
use weir_model::{Code, Refusal, Value};
use weir_pipeline::TransactionStatus;

use crate::{
    backend::{BackendReply, BackendRows as _, BackendSession},
    connection::End,
    frontend::{self, Target},
    messages,
    session::{
        Conversation, Stop,
        portal::{Portal, State},
        rows::{Flow, RowSource, Sent},
        statement::Statement,
    },
    types::{batch::Formats, oid, parameter},
};

impl<S: BackendSession> Conversation<S> {
    pub(super) async fn parse(&mut self, body: &[u8]) -> Result<(), Stop> {
        let message = frontend::parse(body)?;
        if message.name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains(message.name) {
            return Err(Stop::Refused(Refusal::new(
                Code::DuplicatePreparedStatement,
                format!("prepared statement \"{}\" already exists", message.name),
            )));
        }
        self.statements.check_room(body.len())?;
        let mut parsed = self.session.parse(message.text).await?.into_iter();
        let statement = match (parsed.next(), parsed.next()) {
            (None, _) => Statement::empty(),
            (Some(parsed), None) => {
                let types = message
                    .parameter_oids
                    .iter()
                    .map(|declared| oid::parameter_type(*declared))
                    .collect::<Result<_, Refusal>>()?;
                self.cancelling.signal.lower();
                let cancelling = &self.cancelling;
                let preparing = self.session.prepare(parsed.clone(), types);
                let prepared = self.connection.watch(preparing, || cancelling.cancel()).await?;
                Statement::new(prepared, &message.parameter_oids, &parsed)
            }
            (Some(_), Some(_)) => {
                return Err(Stop::Refused(Refusal::new(
                    Code::SyntaxError,
                    "cannot insert multiple commands into a prepared statement",
                )));
            }
        };
        self.statements.put(message.name, statement, body.len());
        self.connection.output.put_slice(messages::PARSE_COMPLETE);
        Ok(())
    }

    pub(super) fn bind(&mut self, body: &[u8]) -> Result<(), Stop> {
        let message = frontend::bind(body)?;
        self.refresh_zone();
        if message.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains(message.portal) {
            return Err(Stop::Refused(Refusal::new(
                Code::DuplicateCursor,
                format!("cursor \"{}\" already exists", message.portal),
            )));
        }
        self.portals.check_room(body.len())?;
        let statement = self.statements.get(message.statement).ok_or_else(|| no_statement(message.statement))?;
        let types = statement.parameters();
        if message.parameter_count != types.len() {
            return Err(Stop::Refused(Refusal::new(
                Code::ProtocolViolation,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                    message.parameter_count,
                    message.statement,
                    types.len()
                ),
            )));
        }
        let mut values = Vec::with_capacity(types.len());
        for (index, (parameter, value_type)) in message.parameters().zip(types).enumerate() {
            let (format, bytes) = parameter?;
            values.push(match bytes {
                None => Value::Null(value_type.scalar()),
                Some(bytes) => {
                    let declared = statement.declared(index);
                    parameter::read(index + 1, *value_type, declared, format, bytes, &self.zone)?
                }
            });
        }
        let formats = message.result_formats(statement.columns().map_or(0, |columns| columns.len()))?;
        let portal = Portal { statement: statement.clone(), formats, state: State::Bound(values) };
        self.portals.put(message.portal, portal, body.len());
        self.connection.output.put_slice(messages::BIND_COMPLETE);
        Ok(())
    }

    pub(super) fn describe(&mut self, body: &[u8]) -> Result<(), Stop> {
        let output = &mut self.connection.output;
        let (target, name) = frontend::target(body)?;
        let cursor;
        let (columns, formats) = match target {
            Target::Statement => {
                let statement = self.statements.get(name).ok_or_else(|| no_statement(name))?;
                messages::put_parameter_description(output, &statement.parameter_oids());
                (statement.columns(), &Formats::AllText)
            }
            Target::Portal => {
                if let Some(portal) = self.portals.get(name) {
                    (portal.statement.columns(), &portal.formats)
                } else {
                    cursor = Some(self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?);
                    (cursor.as_ref(), &Formats::AllText)
                }
            }
        };
        match columns {
            Some(columns) => messages::put_row_description(output, columns, formats),
            None => output.put_slice(messages::NO_DATA),
        }
        Ok(())
    }

    pub(super) fn close(&mut self, body: &[u8]) -> Result<(), Stop> {
        match frontend::target(body)? {
            (Target::Statement, name) => drop(self.statements.remove(name)),
            (Target::Portal, name) => drop(self.portals.remove(name)),
        }
        self.connection.output.put_slice(messages::CLOSE_COMPLETE);
        Ok(())
    }

    pub(super) async fn sync(&mut self, body: &[u8]) -> Result<(), End> {
        self.skip_to_sync = false;
        if let Err(refusal) = frontend::empty(body) {
            self.report(&refusal);
        }
        if let Err(refusal) = self.end_implicit().await {
            self.report(&refusal);
        }
        self.ready().await
    }

    pub(super) async fn execute(&mut self, body: &[u8]) -> Result<(), Stop> {
        let (name, limit) = frontend::execute(body)?;
        // Taken out while it runs; a portal that fails is gone.
        let (mut portal, bytes) = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let was_in_transaction = self.session.transaction_status() != TransactionStatus::Idle;
        self.run_portal(&mut portal, name, limit).await?;
        if was_in_transaction && !self.implicit && self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        } else {
            self.portals.put(name, portal, bytes);
        }
        Ok(())
    }

    async fn run_portal(&mut self, portal: &mut Portal<S>, name: &str, limit: Option<u64>) -> Result<(), Stop> {
        let mut source = match std::mem::replace(&mut portal.state, State::Done) {
            State::Suspended(source) => source,
            State::Exhausted => {
                portal.state = State::Exhausted;
                messages::put_command_complete(&mut self.connection.output, "SELECT 0");
                return Ok(());
            }
            State::Done => {
                return Err(Stop::Refused(Refusal::new(
                    Code::InvalidCursorName,
                    format!("portal \"{name}\" cannot be run again"),
                )));
            }
            State::Bound(values) => match self.start(&portal.statement, values).await? {
                Some(source) => source,
                None => return Ok(()),
            },
        };
        self.refresh_zone();
        let mut flow = Flow { connection: &mut self.connection, cancelling: &self.cancelling, zone: &self.zone };
        let Sent { rows, suspended } = flow.send(&mut source, &portal.formats, limit).await?;
        if suspended {
            source.rows.suspend();
            self.connection.output.put_slice(messages::PORTAL_SUSPENDED);
            portal.state = State::Suspended(source);
        } else {
            messages::put_command_complete(&mut self.connection.output, &source.rows.tag(rows).0);
            portal.state = State::Exhausted;
        }
        Ok(())
    }

    /// Executes a bound statement; `Some` when it returns rows that are still to be sent.
    async fn start(
        &mut self,
        statement: &Statement<S>,
        values: Vec<Value>,
    ) -> Result<Option<RowSource<S::Rows>>, Stop> {
        let Some(prepared) = &statement.prepared else {
            self.connection.output.put_slice(messages::EMPTY_QUERY_RESPONSE);
            return Ok(None);
        };
        // A statement alone before its Sync commits by itself; others before the same Sync share one transaction.
        if !statement.is_transaction_control && !self.connection.sync_follows() {
            self.begin_implicit();
        }
        self.cancelling.signal.lower();
        let cancelling = &self.cancelling;
        let executing = self.session.execute(prepared, values);
        let tag = match self.connection.watch(executing, || cancelling.cancel()).await? {
            BackendReply::Rows(rows) => {
                statement.check_announced(rows.columns())?;
                return Ok(Some(RowSource::new(rows)));
            }
            BackendReply::Done(tag) => tag,
            BackendReply::CopyIn(copy) => self.copy_in(copy).await?,
            BackendReply::CopyOut { options, rows } => self.copy_out(&options, rows).await?,
        };
        self.after_control(statement.is_transaction_control);
        self.deallocate(statement.deallocates.as_ref());
        messages::put_command_complete(&mut self.connection.output, &tag.0);
        Ok(None)
    }
}

fn no_statement(name: &str) -> Refusal {
    Refusal::new(Code::InvalidStatementName, format!("prepared statement \"{name}\" does not exist"))
}

fn no_portal(name: &str) -> Refusal {
    Refusal::new(Code::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}
