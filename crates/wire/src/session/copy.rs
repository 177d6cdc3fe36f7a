//! COPY FROM STDIN and COPY TO STDOUT.

use bytes::BufMut;
use weir_model::{Code, Refusal};
use weir_pipeline::{CommandTag, CopyOptions};

use crate::{
    backend::{BackendCopyIn, BackendRows as _, BackendSession},
    connection::{End, Frame},
    copy::{decode::CopyDecoder, encode::CopyEncoder},
    frontend::{self, Kind},
    messages,
    session::{
        Conversation, Stop,
        rows::{Flow, cancelled},
    },
    types::batch::{BatchEncoder, Formats},
};

impl<S: BackendSession> Conversation<S> {
    pub(super) async fn copy_out(&mut self, options: &CopyOptions, mut rows: S::Rows) -> Result<CommandTag, Stop> {
        self.refresh_zone();
        let columns = rows.columns().clone();
        messages::put_copy_out(&mut self.connection.output, columns.len());
        let mut encoder = CopyEncoder::new(options, &columns);
        if options.header {
            encoder.put_header(&columns, &mut self.connection.output);
        }
        let mut flow = Flow { connection: &mut self.connection, cancelling: &self.cancelling, zone: &self.zone };
        let mut sent = 0;
        while let Some(batch) = flow.next(&mut rows).await? {
            let fields = BatchEncoder::new(&batch, &columns, &Formats::AllText, flow.zone)?;
            for row in 0..batch.num_rows() {
                encoder.put_row(&fields, row, &mut flow.connection.output)?;
                sent += 1;
                flow.flush_if_full().await?;
            }
        }
        self.connection.output.put_slice(messages::COPY_DONE);
        Ok(rows.tag(sent))
    }

    pub(super) async fn copy_in(&mut self, mut copy: S::CopyIn) -> Result<CommandTag, Stop> {
        self.refresh_zone();
        let decoder = CopyDecoder::new(copy.columns(), copy.options(), copy.relation(), self.zone.clone());
        let mut decoder = match decoder {
            Ok(decoder) => decoder,
            Err(refusal) => return Err(self.give_up(copy, refusal)),
        };
        messages::put_copy_in(&mut self.connection.output, copy.columns().len());
        self.connection.flush().await?;
        loop {
            let frame = match self.copy_frame().await {
                Ok(frame) => frame,
                Err(Stop::Refused(refusal)) => return Err(self.give_up(copy, refusal)),
                Err(end) => return Err(end),
            };
            match frame.kind {
                Kind::CopyData => {
                    decoder.feed(&frame.body);
                    if let Err(refusal) = self.push_full(&mut decoder, &mut copy).await {
                        return Err(self.give_up(copy, refusal));
                    }
                }
                Kind::CopyDone => {
                    decoder.end();
                    if let Err(refusal) = self.push_full(&mut decoder, &mut copy).await {
                        return Err(self.give_up(copy, refusal));
                    }
                    let cancelling = &self.cancelling;
                    let finishing = copy.finish(&mut self.session);
                    return Ok(self.connection.watch(finishing, || cancelling.cancel()).await?);
                }
                Kind::CopyFail => {
                    let reason = frontend::one_text(&frame.body).unwrap_or("no reason given");
                    return Err(self.give_up(copy, weir_pipeline::CopyIn::client_gave_up(reason)));
                }
                // As PostgreSQL: a driver that pipelines may have sent these ahead.
                Kind::Flush | Kind::Sync => {}
                Kind::Terminate => return Err(Stop::End(End::Terminated)),
                other => {
                    let refusal = Refusal::new(
                        Code::ProtocolViolation,
                        format!("unexpected message {other:?} during COPY from stdin"),
                    );
                    return Err(self.give_up(copy, refusal));
                }
            }
        }
    }

    /// The next message of a COPY; waiting for it ends when the statement is cancelled.
    async fn copy_frame(&mut self) -> Result<Frame, Stop> {
        loop {
            if self.cancelling.signal.is_raised() {
                return Err(Stop::Refused(cancelled()));
            }
            if let Some(frame) = self.connection.take_frame()? {
                return Ok(frame);
            }
            self.connection.fill_unless_raised(&self.cancelling.signal).await?;
        }
    }

    /// Decodes what is there, and hands the full batches over.
    async fn push_full(&mut self, decoder: &mut CopyDecoder, copy: &mut S::CopyIn) -> Result<(), Refusal> {
        while let Some(batch) = decoder.next_batch()? {
            let cancelling = &self.cancelling;
            self.connection.watch(copy.push(batch), || cancelling.cancel()).await?;
        }
        Ok(())
    }

    /// Ends a COPY that cannot go on.
    fn give_up(&mut self, copy: S::CopyIn, refusal: Refusal) -> Stop {
        Stop::Refused(copy.fail(&mut self.session, refusal))
    }
}
