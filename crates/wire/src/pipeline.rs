//! The data plane as the wire's backend: every method is the pipeline's own.

use std::{sync::Arc, time::Duration};

use arrow::record_batch::RecordBatch;
use weir_model::{Claims, ClientAddress, Identity, Refusal, Result, Value, ValueType};
use weir_pipeline::{
    Canceller, Column, CommandTag, CopyIn, CopyOptions, DataPlane, Parsed, Prepared, Reply, Rows, Session,
    TransactionStatus,
};

use crate::backend::{self, Backend, BackendCopyIn, BackendReply, BackendRows, BackendSession, Deallocate};

impl Backend for DataPlane {
    type Session = Session;

    async fn connect(self: &Arc<Self>, identity: Identity, claims: Claims, client: ClientAddress) -> Result<Session> {
        DataPlane::connect(self, identity, claims, client).await
    }
}

impl backend::Canceller for Canceller {
    fn cancel(&self) {
        Canceller::cancel(self);
    }
}

fn reply(reply: Reply) -> BackendReply<Session> {
    match reply {
        Reply::Rows(rows) => BackendReply::Rows(rows),
        Reply::Done(tag) => BackendReply::Done(tag),
        Reply::CopyIn(copy) => BackendReply::CopyIn(*copy),
        Reply::CopyOut { options, rows } => BackendReply::CopyOut { options, rows },
    }
}

impl BackendSession for Session {
    type Canceller = Canceller;
    type Parsed = Parsed;
    type Prepared = Prepared;
    type Rows = Rows;
    type CopyIn = CopyIn;

    fn process_id(&self) -> i32 {
        Session::process_id(self)
    }

    fn transaction_status(&self) -> TransactionStatus {
        Session::transaction_status(self)
    }

    fn canceller(&self) -> Canceller {
        Session::canceller(self)
    }

    fn time_zone(&self) -> &str {
        self.settings().time_zone()
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.settings().idle_in_transaction_timeout()
    }

    fn is_alone(&self) -> bool {
        Session::is_alone(self)
    }

    fn holds_large(&self) -> bool {
        Session::holds_large(self)
    }

    fn reported_parameters(&self) -> Vec<(&'static str, String)> {
        Session::reported_parameters(self)
    }

    fn cursor_columns(&self, name: &str) -> Option<Arc<[Column]>> {
        Session::cursor_columns(self, name)
    }

    fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        Session::take_parameter_changes(self)
    }

    async fn configure(&mut self, name: &str, value: &str) -> Result<()> {
        Session::configure(self, name, value)
    }

    async fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        Session::parse(self, text).await
    }

    fn is_transaction_control(parsed: &Parsed) -> bool {
        parsed.is_transaction_control()
    }

    fn deallocates(parsed: &Parsed) -> Option<Deallocate> {
        let what = parsed.deallocates()?;
        Some(what.map_or(Deallocate::All, |name| Deallocate::One(name.to_owned())))
    }

    async fn prepare(&mut self, parsed: Parsed, parameter_types: Vec<Option<ValueType>>) -> Result<Prepared> {
        Session::prepare(self, parsed, parameter_types).await
    }

    fn parameters(prepared: &Prepared) -> &[ValueType] {
        prepared.parameters()
    }

    fn columns(prepared: &Prepared) -> Option<&Arc<[Column]>> {
        prepared.columns()
    }

    async fn execute(&mut self, prepared: &Prepared, parameters: Vec<Value>) -> Result<BackendReply<Session>> {
        Session::execute(self, prepared, parameters).await.map(reply)
    }

    async fn run(&mut self, parsed: &Parsed) -> Result<BackendReply<Session>> {
        Session::run(self, parsed).await.map(reply)
    }

    fn begin_implicit(&mut self) {
        Session::begin_implicit(self);
    }

    async fn end_implicit(&mut self) -> Result<()> {
        Session::end_implicit(self).await
    }

    fn note_failure(&mut self) {
        Session::note_failure(self);
    }
}

impl BackendRows for Rows {
    fn columns(&self) -> &Arc<[Column]> {
        Rows::columns(self)
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        Rows::next(self).await
    }

    fn tag(&self, rows_sent: u64) -> CommandTag {
        Rows::tag(self, rows_sent)
    }

    fn suspend(&mut self) {
        Rows::suspend(self);
    }
}

impl BackendCopyIn for CopyIn {
    type Session = Session;

    fn columns(&self) -> &Arc<[Column]> {
        CopyIn::columns(self)
    }

    fn options(&self) -> &CopyOptions {
        CopyIn::options(self)
    }

    fn relation(&self) -> &str {
        CopyIn::relation(self)
    }

    async fn interrupted(&mut self) -> Refusal {
        CopyIn::interrupted(self).await
    }

    async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        CopyIn::push(self, batch).await
    }

    async fn finish(self, session: &mut Session) -> Result<CommandTag> {
        CopyIn::finish(self, session).await
    }

    async fn fail(self, session: &mut Session, refusal: Refusal) -> Refusal {
        CopyIn::fail(self, session, refusal).await
    }
}
