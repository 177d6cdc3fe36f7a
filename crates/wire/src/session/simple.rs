//! The simple query protocol.

use weir_pipeline::CommandTag;

use crate::{
    backend::{BackendReply, BackendRows as _, BackendSession, Deallocate},
    connection::End,
    frontend, messages,
    session::{
        Conversation, Stop,
        rows::{Flow, RowSource},
    },
    types::batch::Formats,
};

impl<S: BackendSession> Conversation<S> {
    /// Runs the statements of a Query message in order. An error ends the rest.
    pub(super) async fn simple_query(&mut self, body: &[u8]) -> Result<(), End> {
        self.statements.remove("");
        self.portals.remove("");
        match self.run_text(body).await {
            Ok(()) => {}
            Err(Stop::End(end)) => return Err(end),
            Err(Stop::Refused(refusal)) => {
                self.report(&refusal);
                if let Err(refusal) = self.end_implicit().await {
                    self.report(&refusal);
                }
            }
        }
        self.ready().await
    }

    async fn run_text(&mut self, body: &[u8]) -> Result<(), Stop> {
        let text = frontend::query(body)?;
        let statements = self.session.parse(text).await?;
        if statements.is_empty() {
            self.end_implicit().await?;
            self.connection.output.extend_from_slice(messages::EMPTY_QUERY_RESPONSE);
            return Ok(());
        }
        let last = statements.len() - 1;
        for (index, statement) in statements.iter().enumerate() {
            // Several statements are one transaction; what they say themselves of where one ends is heeded.
            if last > 0 && !S::is_transaction_control(statement) {
                self.begin_implicit();
            }
            let tag = self.run_statement(statement).await?;
            self.after_control(S::is_transaction_control(statement));
            self.deallocate(S::deallocates(statement).as_ref());
            if index == last {
                // The last statement is complete once it is committed.
                self.end_implicit().await?;
            }
            messages::put_command_complete(&mut self.connection.output, &tag.0);
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &S::Parsed) -> Result<CommandTag, Stop> {
        self.cancelling.signal.lower();
        let cancelling = &self.cancelling;
        let reply = self.connection.watch(self.session.run(statement), || cancelling.cancel()).await?;
        self.refresh_zone();
        match reply {
            BackendReply::Done(tag) => Ok(tag),
            BackendReply::CopyIn(copy) => self.copy_in(copy).await,
            BackendReply::CopyOut { options, rows } => self.copy_out(&options, rows).await,
            BackendReply::Rows(rows) => {
                let formats = Formats::AllText;
                messages::put_row_description(&mut self.connection.output, rows.columns(), &formats);
                let mut source = RowSource::new(rows);
                let mut flow =
                    Flow { connection: &mut self.connection, cancelling: &self.cancelling, zone: &self.zone };
                let sent = flow.send(&mut source, &formats, None).await?;
                Ok(source.rows.tag(sent.rows))
            }
        }
    }

    /// Drops protocol-level prepared statements that a statement in SQL named: both share their names.
    pub(super) fn deallocate(&mut self, what: Option<&Deallocate>) {
        match what {
            None => {}
            Some(Deallocate::All) => self.statements.clear(),
            Some(Deallocate::One(name)) => {
                self.statements.remove(name);
            }
        }
    }
}
