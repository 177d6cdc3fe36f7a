//! Result rows to the client, within a bounded buffer, stoppable at any batch.

use std::{fmt, sync::Arc, time::Duration};

use arrow::record_batch::RecordBatch;
use bytes::BytesMut;
use weir_model::{Code, Refusal};

use crate::{
    backend::{BackendRows, Canceller},
    connection::{Connection, End},
    session::{Cancelling, Stop},
    types::{
        batch::{BatchEncoder, Formats},
        zone::Zone,
    },
};

/// How long the backend may take to stop a cancelled stream itself, before it is dropped.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(100);

/// A running result and the part of its last batch that a row limit left.
pub(super) struct RowSource<R> {
    pub(super) rows: Box<R>,
    leftover: Option<(RecordBatch, usize)>,
}

impl<R> fmt::Debug for RowSource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowSource")
    }
}

/// What one Execute sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) rows: u64,
    /// The row limit was reached; there may be more.
    pub(super) suspended: bool,
}

/// Where rows go.
#[derive(Debug)]
pub(super) struct Flow<'a, C> {
    pub(super) connection: &'a mut Connection,
    pub(super) cancelling: &'a Cancelling<C>,
    pub(super) zone: &'a Zone,
}

pub(super) fn cancelled() -> Refusal {
    Refusal::new(Code::QueryCanceled, "canceling statement due to user request")
}

impl<R: BackendRows> RowSource<R> {
    pub(super) fn new(rows: Box<R>) -> RowSource<R> {
        RowSource { rows, leftover: None }
    }
}

impl<C: Canceller> Flow<'_, C> {
    /// The next batch; `None` at the end.
    pub(super) async fn next<R: BackendRows>(&mut self, rows: &mut R) -> Result<Option<RecordBatch>, Stop> {
        let cancelling = self.cancelling;
        let next = self.connection.watch_cancellable(rows.next(), &cancelling.signal, CANCEL_GRACE, || {
            cancelling.cancel();
        });
        match next.await {
            None => Err(Stop::Refused(cancelled())),
            Some(None) => Ok(None),
            Some(Some(batch)) => Ok(Some(batch?)),
        }
    }

    /// Sends what has gathered, if it is enough. A cancel also ends the wait for a client that reads slowly.
    pub(super) async fn flush_if_full(&mut self) -> Result<(), Stop> {
        if !self.connection.wants_flush() {
            return Ok(());
        }
        let signal = &self.cancelling.signal;
        if !self.connection.flush_unless_raised(Some(signal)).await? || signal.is_raised() {
            return Err(Stop::Refused(cancelled()));
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Sends rows as DataRow messages, `limit` at most.
    pub(super) async fn send<R: BackendRows>(
        &mut self,
        source: &mut RowSource<R>,
        formats: &Formats,
        limit: Option<u64>,
    ) -> Result<Sent, Stop> {
        let limit = limit.unwrap_or(u64::MAX);
        let mut sent = 0;
        loop {
            let (batch, mut row) = match source.leftover.take() {
                Some(leftover) => leftover,
                None => match self.next(source.rows.as_mut()).await? {
                    Some(batch) => (batch, 0),
                    None => return Ok(Sent { rows: sent, suspended: false }),
                },
            };
            let zone = self.zone;
            let mut large = false;
            {
                let encoder = BatchEncoder::new(&batch, source.rows.columns(), formats, zone)?;
                while row < batch.num_rows() && sent < limit {
                    if encoder.is_large(row) {
                        large = true;
                        let (row, columns) = (batch.slice(row, 1), Arc::clone(source.rows.columns()));
                        let (formats, zone) = (formats.clone(), zone.clone());
                        self.write_aside(move |output| {
                            BatchEncoder::new(&row, &columns, &formats, &zone)?.put_row(0, output)
                        })
                        .await?;
                    } else {
                        encoder.put_row(row, &mut self.connection.output)?;
                    }
                    row += 1;
                    sent += 1;
                    self.flush_if_full().await?;
                }
            }
            if sent == limit {
                if row < batch.num_rows() {
                    source.leftover = Some((batch, row));
                }
                return Ok(Sent { rows: sent, suspended: true });
            }
            if large {
                let bytes = batch.get_array_memory_size();
                self.connection.slow_lane.free(batch, bytes);
            }
        }
    }

    /// Writes what is so long that copying it would keep the lane.
    pub(super) async fn write_aside<T: Send + 'static>(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Stop> {
        let slow_lane = self.connection.slow_lane.clone();
        let mut output = std::mem::take(&mut self.connection.output);
        let writing = slow_lane.run(async move {
            let written = write(&mut output);
            (output, written)
        });
        let Some((output, written)) = writing.await else { return Err(Stop::End(End::Closed)) };
        self.connection.output = output;
        Ok(written?)
    }
}
