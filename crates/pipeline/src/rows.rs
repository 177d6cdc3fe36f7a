use std::{collections::VecDeque, fmt, sync::Arc};

use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tokio_util::task::task_tracker::TaskTrackerToken;
use weir_engine::{Column, Control, MaskedRows};
use weir_model::{Code, Refusal, Result};

use crate::{
    cancel::within,
    gates::audit::Ticket,
    plane::DataPlane,
    session::{CommandTag, CursorRows},
};

/// A statement's rows: governed, masked, metered and cancellable. The journal has the statement's outcome before
/// [`Rows::next`] returns None; dropped before that, the statement counts as cancelled.
pub struct Rows {
    columns: Arc<[Column]>,
    source: Source,
    control: Control,
    ticket: Option<Ticket>,
    rows: u64,
    rows_max: Option<u64>,
    verb: &'static str,
    /// Where slots are asked for when a suspended statement goes on.
    plane: Option<Arc<DataPlane>>,
    suspended: bool,
    _running: Option<TaskTrackerToken>,
}

enum Source {
    Stream(MaskedRows),
    Held(VecDeque<RecordBatch>),
    /// Rows of a cursor, so many at most.
    Cursor {
        cursor: Arc<tokio::sync::Mutex<CursorRows>>,
        left: u64,
    },
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("columns", &self.columns).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Rows {
    pub(crate) fn stream(columns: Arc<[Column]>, rows: MaskedRows, control: Control, ticket: Ticket) -> Rows {
        Rows::new(columns, Source::Stream(rows), control, Some(ticket), "SELECT")
    }

    pub(crate) fn held(
        columns: Arc<[Column]>,
        batches: Vec<RecordBatch>,
        control: Control,
        ticket: Ticket,
        verb: &'static str,
    ) -> Rows {
        Rows::new(columns, Source::Held(batches.into()), control, Some(ticket), verb)
    }

    pub(crate) fn cursor(
        columns: Arc<[Column]>,
        cursor: Arc<tokio::sync::Mutex<CursorRows>>,
        left: u64,
        control: Control,
        ticket: Ticket,
    ) -> Rows {
        Rows::new(columns, Source::Cursor { cursor, left }, control, Some(ticket), "FETCH")
    }

    fn new(
        columns: Arc<[Column]>,
        source: Source,
        control: Control,
        ticket: Option<Ticket>,
        verb: &'static str,
    ) -> Rows {
        Rows {
            columns,
            source,
            control,
            ticket,
            rows: 0,
            rows_max: None,
            verb,
            plane: None,
            suspended: false,
            _running: None,
        }
    }

    pub(crate) fn limited(mut self, rows_max: Option<u64>) -> Rows {
        self.rows_max = rows_max;
        self
    }

    pub(crate) fn of(mut self, plane: &Arc<DataPlane>) -> Rows {
        self._running = Some(plane.running.token());
        self.plane = Some(Arc::clone(plane));
        self
    }

    pub(crate) fn without_slots(mut self) -> Rows {
        if let Some(ticket) = &mut self.ticket {
            ticket.release_slots();
        }
        self
    }

    pub(crate) fn with_verb(mut self, verb: &'static str) -> Rows {
        self.verb = verb;
        self
    }

    /// The client may take its time to ask for more: the slots go to others until it does.
    pub fn suspend(&mut self) {
        self.suspended |= self.ticket.as_mut().is_some_and(Ticket::release_slots);
    }

    /// Asks for a slot again, if the statement gave its own up, and whether it may go on: its client may have taken all
    /// day.
    async fn resume(&mut self) -> Result<()> {
        if let (true, Some(plane), Some(ticket)) = (std::mem::take(&mut self.suspended), &self.plane, &mut self.ticket)
        {
            let priority = ticket.may_go_on()?;
            ticket.take_slots(plane.admission.slots(priority, &self.control).await?);
        }
        Ok(())
    }

    #[must_use]
    pub fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The next batch; None when there is no more. An error ends the rows.
    ///
    /// # Errors
    /// Whatever stopped the statement, `query_canceled` and `statement_timeout` among it; `audit_unavailable` when the
    /// outcome cannot be recorded.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.ticket.as_ref()?;
        if let Err(refusal) = self.resume().await {
            return Some(Err(self.end(Err(refusal)).await.err()?));
        }
        let next = match within(&self.control, self.source.next()).await {
            Ok(next) => next,
            Err(refusal) => Some(Err(refusal)),
        };
        match next {
            Some(Ok(batch)) => {
                self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                if let Some(max) = self.rows_max.filter(|max| self.rows > *max) {
                    let refusal = Refusal::new(Code::ProgramLimitExceeded, "the statement returns too many rows")
                        .detail(format!("max_rows={max}"))
                        .hint("narrow the statement, or page with LIMIT");
                    return Some(Err(self.end(Err(refusal)).await.err()?));
                }
                // The last rows leave when the outcome is recorded, all others when the intent is.
                let recorded = match &mut self.ticket {
                    Some(ticket) if !self.source.is_at_end() => ticket.write_through().await,
                    _ => self.end(Ok(())).await,
                };
                Some(recorded.map(|()| batch))
            }
            Some(Err(refusal)) => Some(Err(self.end(Err(refusal)).await.err()?)),
            None => self.end(Ok(())).await.err().map(Err),
        }
    }

    async fn end(&mut self, outcome: Result<()>) -> Result<()> {
        self._running = None;
        let Some(ticket) = self.ticket.take() else { return outcome };
        self.source = Source::Held(VecDeque::new());
        ticket.finish_in_company(outcome.as_ref().copied(), self.rows).await?;
        outcome
    }

    #[must_use]
    pub fn tag(&self, rows_sent: u64) -> CommandTag {
        CommandTag([self.verb, " ", itoa::Buffer::new().format(rows_sent)].concat())
    }
}

/// Given up before the end: what was handed out is recorded and paid for.
impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.abandon(self.rows);
        }
    }
}

impl Source {
    fn is_at_end(&self) -> bool {
        match self {
            Source::Stream(rows) => rows.is_at_end(),
            Source::Held(batches) => batches.is_empty(),
            Source::Cursor { left, .. } => *left == 0,
        }
    }

    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self {
            Source::Stream(rows) => rows.next().await,
            Source::Held(batches) => batches.pop_front().map(Ok),
            // Boxed: a cursor holds rows itself.
            Source::Cursor { cursor, left } => {
                if *left == 0 {
                    return None;
                }
                let batch = Box::pin(async { cursor.lock().await.take(*left).await }).await?;
                if let Ok(batch) = &batch {
                    *left = left.saturating_sub(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX));
                }
                Some(batch)
            }
        }
    }
}
