//! How a node stands among the others, and what a person or a message plane asks of it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Node, NodeError, alarms::Alarms, job::Command, plane::MessagePlane, plane::PeerMessage};
use crate::{
    causality::{NodeId, Origin, VersionVector},
    clock::Millis,
    replica::{Counts, HeldFact},
};

/// Rows of ended facts that are counted for a report.
const ENDED_COUNTED_MAX: usize = 100_000;

/// How a node stands among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Under what name it writes.
    pub origin: Origin,
    pub is_serving: bool,
    /// While it fetches everything.
    pub joining: Option<Joining>,
    /// A digest of what shows at an epoch: equal on nodes where the same shows.
    pub root: (Millis, u128),
    /// What it has on its disk.
    pub applied: VersionVector,
    /// What it no longer remembers the deletion of.
    pub collected: VersionVector,
    /// What some member has applied and it has not.
    pub lag: Vec<Lag>,
    pub members: Vec<MemberStatus>,
    /// Writes from the future, which wait for the clock.
    pub held: Vec<HeldFact>,
    /// Ends of facts that are remembered: deletions, and what is over. Counted up to a bound.
    pub ended: usize,
    pub counts: Counts,
    pub alarms: Alarms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// `None` while it looks for a member that serves.
    pub from: Option<NodeId>,
    pub keys: u64,
}

/// How many of an origin's writes are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub origin: Origin,
    pub numbers: u64,
}

/// What is known of another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    pub node: NodeId,
    /// Milliseconds since its last status.
    pub heard_ms: Option<u64>,
    /// Whether it answers pulls, as it said last.
    pub is_serving: Option<bool>,
    /// What this node has on its disk and it has not, as it said last.
    pub lag: Vec<Lag>,
    pub agreement: Agreement,
}

/// Whether two nodes show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    Same,
    /// They have the same writes and show something else.
    Diverged,
    /// They do not have the same writes just now.
    Unknown,
}

/// What a repair began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Members that were asked to compare.
    pub asked: usize,
    /// Writes from the future that were written anew.
    pub restamped: usize,
    /// Those that were not.
    pub held: usize,
}

impl Node {
    /// Has messages to other nodes carried from now on.
    pub fn set_plane(&self, plane: Arc<dyn MessagePlane>) {
        *self.0.shared.plane.write() = Some(plane);
    }

    /// Has them carried no longer.
    pub fn clear_plane(&self) {
        *self.0.shared.plane.write() = None;
    }

    /// Hands a message of another node to the writer; waits while too much waits for it. `bytes`: what it took on its
    /// way. Who it is from has to be known for sure.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn deliver(&self, from: NodeId, message: PeerMessage, bytes: usize) -> Result<(), NodeError> {
        self.0.shared.mailbox.deliver(from, message, bytes).await
    }

    /// Takes a node in as a member: from then on its messages count, and deletions are remembered until it knows of
    /// them, whether it is there or not. Nothing happens when it is a member.
    ///
    /// # Errors
    /// [`NodeError::Storage`] and those of a node that stops or has too much to do.
    pub async fn admit(&self, node: NodeId) -> Result<(), NodeError> {
        self.ask(|answer| Command::Admit(node, answer)).await
    }

    /// Forgets a member that will not come back, here and on the members that are connected: deletions are no longer
    /// remembered for it. If it comes back after all, it fetches everything before it takes part.
    ///
    /// # Errors
    /// [`NodeError::NoMember`], [`NodeError::StillConnected`], and as [`Node::admit`].
    pub async fn remove_member(&self, node: NodeId) -> Result<(), NodeError> {
        self.ask(|answer| Command::Remove(node, answer)).await
    }

    /// Tells all members at once where this node stands, so that they ask for what they miss.
    pub fn announce(&self) {
        self.0.shared.mailbox.push(Command::Announce, 0, true);
    }

    /// Has digests compared with all members at once, and writes anew what is held as it came from the future.
    ///
    /// # Errors
    /// As [`Node::admit`].
    pub async fn repair(&self, restamp: bool) -> Result<Repaired, NodeError> {
        self.ask(|answer| Command::Repair { restamp, answer }).await
    }

    /// # Errors
    /// As [`Node::admit`].
    pub async fn replication(&self) -> Result<Replication, NodeError> {
        let mut replication = self.ask(Command::Replication).await?;
        replication.ended = self.ended()?;
        Ok(replication)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, NodeError>>) -> Command,
    ) -> Result<T, NodeError> {
        let (told, answer) = oneshot::channel();
        self.0.shared.mailbox.push(command(told), 0, true);
        answer.await.unwrap_or(Err(NodeError::Stopped))
    }

    fn ended(&self) -> Result<usize, NodeError> {
        let reader = &self.0.shared.reader;
        Ok(reader.ending((Millis(0), None), self.time(), ENDED_COUNTED_MAX)?.len())
    }
}

/// Of each origin, how far `behind` is behind `ahead`.
pub(super) fn lag(ahead: &VersionVector, behind: &VersionVector) -> Vec<Lag> {
    let missing = |(origin, seq): (&Origin, u64)| {
        let numbers = seq.saturating_sub(behind.get(origin));
        (numbers > 0).then(|| Lag { origin: origin.clone(), numbers })
    };
    ahead.iter().filter_map(missing).collect()
}
