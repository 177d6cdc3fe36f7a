use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use weir_model::{Code, Refusal};

use crate::{
    StoreError, TableId, Version,
    commit::{Builder, Change},
    database::Shared,
    flush::Replacement,
    index::PrimaryIndex,
    wal::{AppendError, FrameBuilder, LogWriter},
};

/// What the committer does, in turn.
#[derive(Debug)]
pub(crate) enum Job {
    Commit(CommitJob),
    /// Puts what a flush has written in the place of what it was written from.
    Replace {
        replacements: Vec<Replacement>,
        reply: mpsc::SyncSender<Arc<Version>>,
    },
    /// Gives a table a smaller index.
    Reindex {
        table: TableId,
        old: Arc<PrimaryIndex>,
        new: Arc<PrimaryIndex>,
    },
}

#[derive(Debug)]
pub(crate) struct CommitJob {
    pub base: Arc<Version>,
    pub change: Change,
    /// The change as bytes, encoded by the task that commits.
    pub record: Vec<u8>,
    pub reply: Reply,
}

pub(crate) type Outcome = Result<Arc<Version>, Refusal>;

/// Who waits for a commit: a task or a thread.
#[derive(Debug)]
pub(crate) enum Reply {
    Task(oneshot::Sender<Outcome>),
    Thread(mpsc::SyncSender<Outcome>),
}

impl Reply {
    /// Nobody may be waiting any more; the commit is made all the same.
    fn send(self, outcome: Outcome) {
        match self {
            Reply::Task(sender) => drop(sender.send(outcome)),
            Reply::Thread(sender) => drop(sender.try_send(outcome)),
        }
    }
}

/// Jobs on their way to the committer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: Vec<Job>,
    /// Takes no more commits.
    closed: bool,
    /// Ends the committer once the jobs are done.
    stopping: bool,
}

impl Queue {
    pub fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.stopping || (state.closed && matches!(job, Job::Commit(_))) {
            return Err(StoreError::Closed);
        }
        state.jobs.push(job);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
    }

    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.stopping = true;
        drop(state);
        self.wake.notify_all();
    }

    /// All that waits. None once stopped and empty.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.stopping {
                return None;
            }
            self.wake.wait(&mut state);
        }
        Some(std::mem::take(&mut state.jobs))
    }
}

/// The one thread that makes versions. It takes all commits that wait as a group: checks each against those before it,
/// writes them as one frame, syncs once, publishes one version, and answers all. It never waits for more to come: while
/// it syncs, the next group gathers.
pub(crate) fn run(shared: &Shared, mut log: LogWriter) {
    while let Some(jobs) = shared.queue.take() {
        let worked = catch_unwind(AssertUnwindSafe(|| process(shared, &mut log, jobs)));
        if worked.is_err() {
            // The jobs' senders are gone, which their receivers notice. What the log holds is no longer certain.
            shared.poison("the committer failed");
        }
    }
}

fn process(shared: &Shared, log: &mut LogWriter, jobs: Vec<Job>) {
    let mut commits = Vec::new();
    let mut replacements = Vec::new();
    let mut reindexed = Vec::new();
    for job in jobs {
        match job {
            Job::Commit(commit) => commits.push(commit),
            Job::Replace { replacements: some, reply } => replacements.push((some, reply)),
            Job::Reindex { table, old, new } => reindexed.push((table, old, new)),
        }
    }
    let mut commits = commits.into_iter().peekable();
    while commits.peek().is_some() {
        process_group(shared, log, &mut commits);
    }
    for (some, reply) in replacements {
        let mut builder = Builder::new(shared.version.load_full());
        for replacement in some {
            builder.replace(replacement.table, |table| replacement.apply(table));
        }
        let version = shared.publish(builder.finish());
        let _ = reply.send(version);
    }
    for (id, old, new) in reindexed {
        let mut builder = Builder::new(shared.version.load_full());
        builder.replace(id, |table| {
            // A truncation meanwhile brought an index of its own.
            if Arc::ptr_eq(&table.index, &old) {
                table.index = new;
            }
        });
        shared.publish(builder.finish());
    }
}

/// Commits as many as fit one frame.
fn process_group(
    shared: &Shared,
    log: &mut LogWriter,
    commits: &mut std::iter::Peekable<std::vec::IntoIter<CommitJob>>,
) {
    let base = shared.version.load_full();
    let mut builder = Builder::new(Arc::clone(&base));
    let time = builder.set_time(now());
    let mut frame = FrameBuilder::new(base.lsn + 1, time);
    let mut accepted: Vec<Reply> = Vec::new();
    while let Some(commit) = commits.next_if(|commit| frame.records() == 0 || frame.has_room(&commit.record)) {
        match shared
            .healthy()
            .and_then(|()| add(shared, &mut builder, &mut frame, commit.base, commit.change, &commit.record))
        {
            Ok(()) => accepted.push(commit.reply),
            Err(refusal) => commit.reply.send(Err(refusal)),
        }
    }
    if accepted.is_empty() {
        return;
    }
    let records = frame.records();
    let started = Instant::now();
    let written = frame
        .finish()
        .map_err(|what| AppendError::Broken(StoreError::Misuse(what)))
        .and_then(|bytes| log.append(&bytes, base.lsn + 1));
    if let Err(failed) = written {
        let refusal = match failed {
            AppendError::Full(error) => error.into(),
            AppendError::Broken(error) => {
                shared.poison(&error.to_string());
                shared.healthy().err().unwrap_or_else(closed)
            }
        };
        for reply in accepted {
            reply.send(Err(refusal.clone()));
        }
        return;
    }
    metrics::histogram!("weir_store_commit_write_seconds").record(started.elapsed().as_secs_f64());
    metrics::counter!("weir_store_commits_total").increment(records);
    metrics::counter!("weir_store_commit_groups_total").increment(1);
    shared.note_change();
    let version = shared.publish(builder.finish());
    for reply in accepted {
        reply.send(Ok(Arc::clone(&version)));
    }
}

fn add(
    shared: &Shared,
    builder: &mut Builder,
    frame: &mut FrameBuilder,
    base: Arc<Version>,
    change: Change,
    record: &[u8],
) -> Result<(), Refusal> {
    if !frame.has_room(record) {
        return Err(Refusal::new(
            Code::ProgramLimitExceeded,
            "the transaction's rows are more than one record can hold",
        ));
    }
    builder.check(&change, &base)?;
    let lsn = frame.push(record).map_err(|what| Refusal::new(Code::ProgramLimitExceeded, what))?;
    // From here on the log may name the files: they outlive this process, whatever becomes of the commit.
    shared.files.adopt(&change, lsn);
    builder.apply(change, lsn)
}

/// Microseconds since 1970 UTC.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

fn closed() -> Refusal {
    StoreError::Closed.into()
}
