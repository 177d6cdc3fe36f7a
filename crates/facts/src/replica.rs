//! One node's copy of all facts: what writes, messages and time do to it.
//!
//! A replica reads no clock and sends nothing: it is told the time and what came, and gives out [`Effect`]s.
//!
//! Invariants:
//! - What is durable is told; nothing is told that a crash may take back. Acknowledgements, messages with local writes
//!   and events wait, in the order of their commits, for a persist that began after the commit.
//! - `applied` covers a write only if its effect on its key is in the storage or was collected there.
//! - What is collected was applied by every member, after all that any member wrote without knowing of it.
//! - A replica that missed collected deletions neither answers readers nor peers until it has fetched everything.
//! - A state from a peer brings back nothing that was collected here.

mod collect;
mod config;
mod digest;
mod effect;
mod members;
mod merge;
mod open;
mod progress;
mod prune;
mod pull;
mod quarantine;
pub(crate) mod read;
mod receive;
pub(crate) mod record;
mod repair;
mod subscribe;
mod sync;
mod validate;
mod write;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use self::pull::size_of;
use self::{
    collect::Sweep, digest::Digest, effect::Outbox, members::Members, progress::Progress, prune::Pruning,
    pull::Pulling, quarantine::Quarantine, sync::Standing,
};
pub use self::{
    config::{Config, Limits, Rules, Start},
    effect::{Alarm, CommitNumber, Counts, Effect, Event, EventKind, EventNumber, PersistMark},
    open::OpenError,
    quarantine::HeldFact,
    read::{Fact, Facts, ReadError},
    receive::ReceiveError,
    subscribe::{CatchUp, Caught, Cursor},
    validate::Malformed,
    write::{Operation, Precondition, Refused, WriteFact, Written},
};
use crate::{
    causality::{NodeId, Origin, VersionVector},
    clock::{Clock, Hlc, Millis},
    storage::{Commit, Storage},
};

/// See the module.
#[derive(Debug)]
pub struct Replica<S> {
    storage: S,
    config: Config,
    rules: Arc<dyn Rules>,
    origin: Origin,
    /// The number of this origin's last write.
    seq: u64,
    clock: Clock,
    progress: Progress,
    /// Whether `progress` is further than the records in the storage tell.
    progress_moved: bool,
    /// The clock's time in the same record. After a crash the clock goes on from there, and what had ended stays ended.
    recorded_hlc: Hlc,
    /// As of the last persist.
    durable: VersionVector,
    /// Of each origin, the last write some key had seen that no longer remembers it here. All up to it was seen.
    collected: VersionVector,
    members: Members,
    digest: Digest,
    quarantine: Quarantine,
    standing: Standing,
    sweep: Sweep,
    pruning: Pruning,
    pulls: BTreeMap<NodeId, Pulling>,
    outbox: Outbox,
    /// Whether events are made.
    is_heard: bool,
    /// The cursor of subscribers who were told all so far.
    told: Arc<Cursor>,
    /// When the last write came.
    changed_at: Millis,
    counts: Counts,
}

/// Why an entry point did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError<E> {
    #[error("the storage failed: {0}")]
    Storage(#[source] E),
    /// What was said before may be lost, and nothing more may be said.
    #[error("an earlier write to the disk failed, so that nothing more can be acknowledged: start anew")]
    Poisoned,
}

impl<E> From<E> for ReplicaError<E> {
    fn from(error: E) -> Self {
        ReplicaError::Storage(error)
    }
}

impl<S: Storage> Replica<S> {
    /// Under what name this replica's writes go.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    #[must_use]
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// For what belongs to the storage alone, such as its statistics. What is committed past the replica breaks it.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Of each origin the writes up to which all have been applied.
    #[must_use]
    pub fn applied(&self) -> &VersionVector {
        self.progress.applied()
    }

    /// The same, as far as no crash takes it back.
    #[must_use]
    pub fn durable(&self) -> &VersionVector {
        &self.durable
    }

    /// What is no longer remembered, of keys that were over or in their contexts: of each origin the greatest number.
    #[must_use]
    pub fn collected(&self) -> &VersionVector {
        &self.collected
    }

    /// Whether it answers readers, takes writes and serves peers. It does not while it fetches everything.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.standing, Standing::Serving)
    }

    /// The time readers go by: this node's clock, or that of a faster one it heard of. What is granted for a while then
    /// ends early rather than late.
    #[must_use]
    pub fn time(&self, now: Millis) -> Millis {
        now.max(self.clock.last().millis())
    }

    /// Whether anybody is to be told of events: as long as nobody is, none are made. Whoever has caught up has to be
    /// heard of here before anything else is written.
    pub fn listen(&mut self, is_heard: bool) {
        if is_heard && !self.is_heard {
            self.told = Arc::new(self.cursor());
        }
        self.is_heard = is_heard;
    }

    /// What there is to do, in order. To be asked after each call.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.outbox.drain()
    }

    /// What time brings: statuses, ends of facts, retries, collection. To be called several times a second.
    ///
    /// # Errors
    /// Of the storage; what was begun is then tried again at the next call.
    pub fn tick(&mut self, now: Millis) -> Result<(), ReplicaError<S::Error>> {
        self.check_poison()?;
        self.clock.reach(now);
        self.release_held(now)?;
        self.sweep_ends(now)?;
        self.advance_epoch(now)?;
        self.collect(now)?;
        self.continue_fetching(now);
        self.send_statuses(now);
        self.prune(now)?;
        Ok(())
    }

    /// Begins a persist: what is committed now, the storage's [`persist`](Storage::persist) has to make durable before
    /// [`persisted`](Replica::persisted) is called with the mark. For callers that persist beside the replica.
    ///
    /// # Errors
    /// [`ReplicaError::Poisoned`].
    pub fn begin_persist(&mut self) -> Result<PersistMark, ReplicaError<S::Error>> {
        self.check_poison()?;
        // Without room for the record the writes themselves still become durable; the record is for peers.
        let recorded = !self.is_record_due() || self.record_progress().is_ok();
        let applied = if recorded { self.progress.applied().clone() } else { self.durable.clone() };
        Ok(PersistMark { commit: self.outbox.commits(), applied })
    }

    /// Has a persist that is not begun cover what was committed since it was asked for.
    pub fn extend(&self, mark: &mut PersistMark) {
        mark.commit = self.outbox.commits();
        // What others wrote needs a record of it, which the next persist makes.
        mark.applied.advance(&self.origin, self.seq);
    }

    /// Ends a persist that succeeded: what waited for it is among the effects.
    pub fn persisted(&mut self, mark: PersistMark) {
        if !self.outbox.is_poisoned() {
            self.durable.join(&mark.applied);
            self.outbox.release(mark.commit);
        }
    }

    /// Ends a persist that failed: nothing is acknowledged from now on.
    pub fn persist_failed(&mut self) {
        self.outbox.poison();
    }

    /// Makes all that was committed durable.
    ///
    /// # Errors
    /// Of the storage; the replica is then poisoned.
    pub fn persist(&mut self) -> Result<(), ReplicaError<S::Error>> {
        let mark = self.begin_persist()?;
        if let Err(error) = self.storage.persist() {
            self.persist_failed();
            return Err(error.into());
        }
        self.persisted(mark);
        Ok(())
    }

    /// Ends the replica's life without a mark, as a crash does: it goes on under another name.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Ends the replica's life cleanly: it may go on later under the same name.
    ///
    /// # Errors
    /// Of the storage; the replica then has to begin anew under another name.
    pub fn stop(mut self) -> Result<S, ReplicaError<S::Error>> {
        self.check_poison()?;
        self.record_progress()?;
        let mark = (record::CLEAN.to_owned(), Some(record::encode(&self.origin)));
        self.storage.commit(&Commit { metadata: vec![mark], ..Commit::default() })?;
        self.storage.persist()?;
        Ok(self.storage)
    }

    /// The newest commit: once it is durable, so is all that readers see now.
    #[must_use]
    pub fn last_commit(&self) -> CommitNumber {
        CommitNumber(self.outbox.commits())
    }

    /// Whether a persist would do anything.
    #[must_use]
    pub fn needs_persist(&self) -> bool {
        self.is_record_due() || !self.outbox.is_all_persisted()
    }

    /// Whether a persist failed, so that the replica has to be opened anew.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.outbox.is_poisoned()
    }

    fn check_poison(&self) -> Result<(), ReplicaError<S::Error>> {
        if self.outbox.is_poisoned() { Err(ReplicaError::Poisoned) } else { Ok(()) }
    }

    fn is_record_due(&self) -> bool {
        let next = self.recorded_hlc.millis().plus(self.config.status_every_ms);
        self.progress_moved || self.clock.last().millis() >= next
    }

    fn record_progress(&mut self) -> Result<(), ReplicaError<S::Error>> {
        let commit = Commit { metadata: vec![self.progress_record()], ..Commit::default() };
        self.storage.commit(&commit)?;
        self.outbox.count_commit();
        self.progress_moved = false;
        self.recorded_hlc = self.clock.last();
        Ok(())
    }

    /// Has to be committed after what it tells of.
    fn progress_record(&self) -> record::Record {
        let record = record::Progress { seen: self.progress.seen().clone(), hlc: self.clock.last() };
        (record::PROGRESS.to_owned(), Some(record::encode(&record)))
    }

    fn own_record(&self, seq: u64, hlc: Hlc) -> record::Record {
        (record::OWN.to_owned(), Some(record::encode(&record::Own { origin: self.origin.clone(), seq, hlc })))
    }
}
