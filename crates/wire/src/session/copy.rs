//! COPY FROM STDIN and COPY TO STDOUT.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
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
        silent,
    },
    types::batch::{BatchEncoder, Formats},
};

/// A COPY that takes rows, and the decoder that makes them.
struct Intake<C> {
    decoder: CopyDecoder,
    copy: C,
}

impl<C: BackendCopyIn> Intake<C> {
    async fn take_in(&mut self, block: Option<Bytes>) -> Result<(), Refusal> {
        match block {
            Some(block) => self.decoder.feed(&block),
            None => self.decoder.end(),
        }
        while let Some(batch) = self.decoder.next_batch()? {
            self.copy.push(batch).await?;
        }
        Ok(())
    }
}

impl<S: BackendSession> Conversation<S> {
    pub(super) async fn copy_out(&mut self, options: &CopyOptions, mut rows: Box<S::Rows>) -> Result<CommandTag, Stop> {
        self.refresh_zone();
        let columns = rows.columns().clone();
        messages::put_copy_out(&mut self.connection.output, columns.len());
        let mut encoder = CopyEncoder::new(options, &columns);
        if options.header {
            encoder.put_header(&columns, &mut self.connection.output);
        }
        let mut flow = Flow { connection: &mut self.connection, cancelling: &self.cancelling, zone: &self.zone };
        let mut sent = 0;
        while let Some(batch) = flow.next(rows.as_mut()).await? {
            let fields = BatchEncoder::new(&batch, &columns, &Formats::AllText, flow.zone)?;
            for row in 0..batch.num_rows() {
                if fields.is_large(row) {
                    let (row, columns, zone) = (batch.slice(row, 1), Arc::clone(&columns), flow.zone.clone());
                    encoder = flow
                        .write_aside(move |output| {
                            let fields = BatchEncoder::new(&row, &columns, &Formats::AllText, &zone)?;
                            encoder.put_row(&fields, 0, output).map(|()| encoder)
                        })
                        .await?;
                } else {
                    encoder.put_row(&fields, row, &mut flow.connection.output)?;
                }
                sent += 1;
                flow.flush_if_full().await?;
            }
        }
        self.connection.output.put_slice(messages::COPY_DONE);
        Ok(rows.tag(sent))
    }

    pub(super) async fn copy_in(&mut self, copy: S::CopyIn) -> Result<CommandTag, Stop> {
        self.refresh_zone();
        let decoder = CopyDecoder::new(copy.columns(), copy.options(), copy.relation(), self.zone.clone());
        let decoder = match decoder {
            Ok(decoder) => decoder,
            Err(refusal) => return Err(self.give_up(copy, refusal).await),
        };
        messages::put_copy_in(&mut self.connection.output, copy.columns().len());
        self.connection.flush().await?;
        let mut intake = Intake { decoder, copy };
        loop {
            let frame = match self.copy_frame(&mut intake.copy).await {
                Ok(frame) => frame,
                Err(Stop::Refused(refusal)) => return Err(self.give_up(intake.copy, refusal).await),
                Err(end) => return Err(end),
            };
            match frame.kind {
                Kind::CopyData if !intake.decoder.is_worthwhile(frame.body.len()) => intake.decoder.feed(&frame.body),
                Kind::CopyData => intake = self.take_in(intake, Some(frame.body)).await?,
                Kind::CopyDone => {
                    intake = self.take_in(intake, None).await?;
                    let cancelling = &self.cancelling;
                    let finishing = intake.copy.finish(&mut self.session);
                    return Ok(self.connection.watch(finishing, || cancelling.cancel()).await?);
                }
                Kind::CopyFail => {
                    let reason = frontend::one_text(&frame.body).unwrap_or("no reason given");
                    return Err(self.give_up(intake.copy, weir_pipeline::CopyIn::client_gave_up(reason)).await);
                }
                // As PostgreSQL: a driver that pipelines may have sent these ahead.
                Kind::Flush | Kind::Sync => {}
                Kind::Terminate => return Err(Stop::End(End::Terminated)),
                other => {
                    let refusal = Refusal::new(
                        Code::ProtocolViolation,
                        format!("unexpected message {other:?} during COPY from stdin"),
                    );
                    return Err(self.give_up(intake.copy, refusal).await);
                }
            }
        }
    }

    /// The next message of a COPY. Waiting for it ends when the statement is cancelled or out of time, or the client is
    /// silent for too long.
    async fn copy_frame(&mut self, copy: &mut S::CopyIn) -> Result<Frame, Stop> {
        loop {
            if self.cancelling.signal.is_raised() {
                return Err(Stop::Refused(cancelled()));
            }
            if let Some(frame) = self.connection.take_frame()? {
                return Ok(frame);
            }
            let (limit, refusal) = self.silence_limit();
            tokio::select! {
                biased;
                filled = self.connection.fill_unless_raised(&self.cancelling.signal) => {
                    filled?;
                }
                refusal = copy.interrupted() => return Err(Stop::Refused(refusal)),
                refusal = silent(&mut self.silence, limit, refusal) => return Err(Stop::End(End::Fatal(refusal))),
            }
        }
    }

    /// Decodes a block, or what is left at the end, and hands the full batches over; on the slow lane, as both take
    /// milliseconds.
    async fn take_in(
        &mut self,
        mut intake: Intake<S::CopyIn>,
        block: Option<Bytes>,
    ) -> Result<Intake<S::CopyIn>, Stop> {
        let slow_lane = self.connection.slow_lane.clone();
        let taking = slow_lane.run(async move {
            let taken = intake.take_in(block).await;
            (intake, taken)
        });
        let cancelling = &self.cancelling;
        match self.connection.watch(taking, || cancelling.cancel()).await {
            Some((intake, Ok(()))) => Ok(intake),
            Some((intake, Err(refusal))) => Err(self.give_up(intake.copy, refusal).await),
            None => Err(Stop::End(End::Closed)),
        }
    }

    /// Ends a COPY that cannot go on.
    async fn give_up(&mut self, copy: S::CopyIn, refusal: Refusal) -> Stop {
        Stop::Refused(copy.fail(&mut self.session, refusal).await)
    }
}
