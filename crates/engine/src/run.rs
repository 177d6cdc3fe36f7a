//! Running a bound plan: on the engine's threads, or in place when it is tiny; within memory, deadline and cancellation.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use datafusion::{
    common::DataFusionError, execution::SendableRecordBatchStream, logical_expr::LogicalPlan,
    physical_plan::execute_stream,
};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::DropGuard;
use weir_model::{Code, Refusal, Result};

use crate::{
    engine::{Engine, Strategy},
    error::{Values, refusal},
    governance::{Control, Snapshot},
    long_joins::{Stop, stoppable},
    memory::StatementPool,
    physical::StatementSession,
};

/// Batches that wait for a slow client; the engine stops until they are taken.
const BATCHES_AHEAD: usize = 2;

/// A plan with its values in place, and what it runs within.
pub(crate) struct Run {
    pub engine: Arc<Engine>,
    pub snapshot: Snapshot,
    pub plan: LogicalPlan,
    pub partitions: usize,
    pub values: Values,
    pub control: Control,
}

impl Run {
    async fn start(
        &self,
        hash_joins: bool,
        pool: &Arc<StatementPool>,
        stop: &Stop,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        // The planner makes sort-merge joins of divided inputs only; two parts hold least at a time.
        let partitions = if hash_joins { self.partitions } else { 2 };
        let strategy = Strategy { partitions, hash_joins, sort_reservation: self.engine.sort_reservation() };
        let config = self.engine.config(strategy);
        let runtime = self.engine.statement_runtime(Arc::clone(pool));
        let session = StatementSession::new(&self.engine, self.snapshot.clone(), config, runtime);
        let plan = stoppable(session.plan(&self.plan).await?, stop)?;
        execute_stream(plan, session.task())
    }

    fn refused(&self, error: &DataFusionError) -> Refusal {
        refusal(error, self.values)
    }

    /// Runs on the thread that asks for the rows.
    pub(crate) fn inline(self) -> BoxStream<'static, Result<RecordBatch>> {
        let control = self.control.clone();
        let values = self.values;
        let stop = Stop { cancelled: control.cancel.clone(), deadline: control.deadline };
        let start = async move { self.start(true, &self.engine.statement_pool(), &stop).await };
        let guarded = AssertUnwindSafe(start).catch_unwind();
        let rows = futures::stream::once(guarded).flat_map(move |started| match started {
            Ok(Ok(stream)) => stream.map(move |batch| batch.map_err(|error| refusal(&error, values))).boxed(),
            Ok(Err(error)) => one(Err(refusal(&error, values))),
            Err(_) => one(Err(panicked())),
        });
        let rows = AssertUnwindSafe(rows).catch_unwind().map(|caught| caught.unwrap_or_else(|_| Err(panicked())));
        raced(Feed::Inline(rows.boxed()), control)
    }

    /// Runs on the engine's threads; the stream returned only waits.
    pub(crate) fn spawned(self) -> BoxStream<'static, Result<RecordBatch>> {
        let control = self.control.clone();
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let Some(handle) = self.engine.handle().cloned() else {
            return one(Err(Refusal::new(Code::ShuttingDown, "the engine is shutting down")));
        };
        let stop = Stop { cancelled: control.cancel.child_token(), deadline: control.deadline };
        let given_up = stop.cancelled.clone().drop_guard();
        let task = handle.spawn(async move { self.drive(&sender, &stop).await });
        raced(Feed::Spawned { receiver, task: AbortOnDrop(task), _given_up: given_up }, control)
    }

    /// Hash joins that outgrow the statement's memory are tried again as sort-merge joins, which spill, as long as no
    /// row has left.
    async fn drive(&self, sender: &mpsc::Sender<Result<RecordBatch>>, stop: &Stop) {
        for hash_joins in [true, false] {
            let mut emitted = false;
            let pool = self.engine.statement_pool();
            let error = match self.start(hash_joins, &pool, stop).await {
                Err(error) => error,
                Ok(mut stream) => loop {
                    let item = if hash_joins { stream.next().await } else { unless_stalled(&mut stream, &pool).await };
                    match item {
                        None => return,
                        Some(Err(error)) => break error,
                        Some(Ok(batch)) if batch.num_rows() == 0 => {}
                        Some(Ok(batch)) => {
                            emitted = true;
                            if sender.send(Ok(batch)).await.is_err() {
                                return;
                            }
                        }
                    }
                },
            };
            let retry = hash_joins && !emitted && is_exhausted(&error);
            if !retry {
                let _ = sender.send(Err(self.refused(&error))).await;
                return;
            }
            tracing::debug!("a statement outgrew its memory; trying joins that spill");
        }
    }
}

/// How long a second attempt may go without a row or a request for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plans that divide, sort and merge with hardly any memory can come to wait for each other; that is an end, too.
async fn unless_stalled(
    stream: &mut SendableRecordBatchStream,
    pool: &StatementPool,
) -> Option<Result<RecordBatch, DataFusionError>> {
    let mut before = pool.requests();
    loop {
        match tokio::time::timeout(PATIENCE, stream.next()).await {
            Ok(item) => return item,
            Err(_) if pool.requests() == before => {
                let why = "the statement came to a stop for want of memory".to_owned();
                return Some(Err(DataFusionError::ResourcesExhausted(why)));
            }
            Err(_) => before = pool.requests(),
        }
    }
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

fn panicked() -> Refusal {
    tracing::error!("a plan panicked");
    Refusal::new(Code::Internal, "internal error while running the statement")
        .hint("report this statement: it is a bug")
}

fn one(item: Result<RecordBatch>) -> BoxStream<'static, Result<RecordBatch>> {
    futures::stream::iter([item]).boxed()
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Feed {
    Inline(BoxStream<'static, Result<RecordBatch>>),
    Spawned { receiver: mpsc::Receiver<Result<RecordBatch>>, task: AbortOnDrop, _given_up: DropGuard },
}

impl Feed {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self {
            Feed::Inline(stream) => stream.next().await,
            Feed::Spawned { receiver, task, .. } => match receiver.recv().await {
                Some(item) => Some(item),
                // The task ended; only a panic ends it without a word.
                None => match (&mut task.0).await {
                    Err(error) if error.is_panic() => Some(Err(panicked())),
                    _ => None,
                },
            },
        }
    }
}

/// Races every batch against cancellation and the deadline. After an error nothing follows, and what ran is stopped.
fn raced(feed: Feed, control: Control) -> BoxStream<'static, Result<RecordBatch>> {
    let state = Some((feed, control));
    futures::stream::unfold(state, |state| async move {
        let (mut feed, control) = state?;
        let item = tokio::select! {
            biased;
            () = control.cancel.cancelled() => Some(Err(canceled())),
            () = until(control.deadline) => Some(Err(timed_out())),
            item = feed.next() => item,
        }?;
        let next = item.is_ok().then_some((feed, control));
        Some((item, next))
    })
    .boxed()
}

pub(crate) fn canceled() -> Refusal {
    Refusal::new(Code::QueryCanceled, "canceling statement due to user request")
}

pub(crate) fn timed_out() -> Refusal {
    Refusal::new(Code::StatementTimeout, "canceling statement due to statement timeout")
        .hint("filter or aggregate earlier, or raise statement_timeout where the policy allows it")
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
