//! What the writer is asked for.

use std::{fmt, sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::{
    Seen,
    hub::Listening,
    replication::{Repaired, Replication},
};
use crate::{
    causality::NodeId,
    clock::Hlc,
    key::Pattern,
    protocol::Ack,
    replica::{CatchUp, Caught, Cursor, Operation, Refused, WriteFact},
    store::StoreError,
};

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// All or nothing.
    All(Vec<WriteFact>),
    /// Each that can be. Together when all can, so that readers see them at once.
    Each(Vec<WriteFact>),
    /// One, whose value afterwards is wanted.
    Count(WriteFact),
}

impl Work {
    /// That it takes while it waits, about.
    pub(crate) fn bytes(&self) -> usize {
        let one = |write: &WriteFact| {
            let value = if let Operation::Put { json, .. } = &write.operation { json.len() } else { 0 };
            value + write.key.as_str().len() + 128
        };
        match self {
            Work::All(writes) | Work::Each(writes) => writes.iter().map(one).sum(),
            Work::Count(write) => one(write),
        }
    }
}

/// What came of the entries of work.
#[derive(Debug)]
pub enum Outcomes {
    /// All were written, as this version.
    All(Hlc),
    /// The new versions, or why an entry was not written, in the order of the work.
    Each(Vec<Result<Hlc, Refused<StoreError>>>),
}

impl Outcomes {
    /// In the order of the work; without end where all were written, so that the work's entries say how many.
    pub fn each(self) -> impl Iterator<Item = Result<Hlc, Refused<StoreError>>> {
        let (all, each) = match self {
            Outcomes::All(version) => (Some(version), Vec::new()),
            Outcomes::Each(each) => (None, each),
        };
        each.into_iter().chain(all.into_iter().flat_map(|version| std::iter::repeat_with(move || Ok(version))))
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Applied {
    pub outcomes: Outcomes,
    /// By readers after whom all that was written shows; `None` when nothing was. Requests of one commit share it.
    pub seen: Option<Arc<Seen>>,
    /// Of [`Work::Count`], the number afterwards.
    pub count: Option<i64>,
}

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    #[error("too many requests wait for the writer: retry in a moment")]
    Overloaded,
    #[error("the node is stopping: retry at another or later")]
    Stopped,
    #[error("not done in time")]
    TimedOut,
    #[error("this node is not complete yet: it is fetching all facts")]
    Incomplete,
    /// Nothing was written.
    #[error("`replicated:{wanted}` needs {wanted} other nodes and this one has {members}: ask for less, or `durable`")]
    NoPeers { wanted: u8, members: usize },
    /// It is written, durable here, and on its way.
    #[error("durable on this node and on {have} of the {wanted} others asked for, which did not confirm in time")]
    NotReplicated { wanted: u8, have: usize },
    /// A node that is there would be taken in again at once.
    #[error("node `{0}` is connected: stop it before it is removed")]
    StillConnected(NodeId),
    #[error("node `{0}` is no member")]
    NoMember(NodeId),
    #[error(transparent)]
    Refused(Refused<StoreError>),
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// Until the node is started anew.
    #[error("the node takes no writes since a failure: {reason}")]
    Failed { reason: String },
}

/// Called once with what came of a request.
pub type Acknowledge = Box<dyn FnOnce(Result<Applied, NodeError>) + Send>;

/// A request to write.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) ack: Ack,
    pub(super) deadline: Instant,
    /// Who asked ends a burst, and another when it was told.
    pub(super) is_in_burst: bool,
    pub(super) done: Acknowledge,
}

pub(super) enum Command {
    Write(Job),
    /// Answered once all that readers saw when it was read is durable, with the cursor of then.
    Barrier(oneshot::Sender<Result<Cursor, NodeError>>),
    CatchUp(Box<CatchingUp>),
    /// Takes a node in, so that its messages count.
    Admit(NodeId, Answer<()>),
    Remove(NodeId, Answer<()>),
    /// Tells all members at once where this node stands.
    Announce,
    /// Has statuses exchanged; writes anew, if that is wanted, what is held.
    Repair {
        restamp: bool,
        answer: Answer<Repaired>,
    },
    Replication(Answer<Replication>),
    /// Seals with a new data key from now on, and what is there bit by bit.
    RotateKey(Answer<()>),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, NodeError>>;

/// A subscriber that wants the next of what it missed; when that was all, it is told live events from there.
pub(super) struct CatchingUp {
    pub(super) begin: Begin,
    pub(super) listening: Listening,
    pub(super) reply: oneshot::Sender<Result<CaughtUp, NodeError>>,
}

pub(super) enum Begin {
    Now(Pattern),
    Since(CatchUp),
}

pub(super) struct CaughtUp {
    pub(super) caught: Caught,
    /// To go on with, unless it was all.
    pub(super) catching: CatchUp,
}

impl Command {
    /// Whether it may be answered before the disk has done anything.
    pub(super) fn is_hasty(&self) -> bool {
        !matches!(self, Command::Write(Job { ack: Ack::Durable | Ack::Replicated(_), .. }))
    }

    pub(super) fn refuse(self, error: NodeError) {
        match self {
            Command::Write(job) => (job.done)(Err(error)),
            Command::Barrier(reply) => drop(reply.send(Err(error))),
            Command::CatchUp(catching) => drop(catching.reply.send(Err(error))),
            Command::Admit(_, answer) | Command::Remove(_, answer) | Command::RotateKey(answer) => {
                drop(answer.send(Err(error)));
            }
            Command::Announce => {}
            Command::Repair { answer, .. } => drop(answer.send(Err(error))),
            Command::Replication(answer) => drop(answer.send(Err(error))),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Command::Write(_) => "Write",
            Command::Barrier(_) => "Barrier",
            Command::CatchUp(_) => "CatchUp",
            Command::Admit(..) => "Admit",
            Command::Remove(..) => "Remove",
            Command::Announce => "Announce",
            Command::Repair { .. } => "Repair",
            Command::Replication(_) => "Replication",
            Command::RotateKey(_) => "RotateKey",
        })
    }
}
