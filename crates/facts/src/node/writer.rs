//! What owns the replica: it applies what is asked for, and has it made durable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Seen, Shared,
    alarms::AlarmLog,
    disk::NextPersist,
    exchange::{Exchange, Replicating},
    group::{Asking, Group},
    hub::Hub,
    job::{Acknowledge, Applied, Begin, CatchingUp, CaughtUp, Command, Job, NodeError, Outcomes, Work},
    mailbox::{By, Delivered, Persisted},
    now,
    plane::PeerMessage,
    waiting::Tell,
};
use crate::{
    clock::Millis,
    key::FactKey,
    protocol::Ack,
    replica::{CatchUp, Caught, CommitNumber, Cursor, Effect, Refused, Replica, ReplicaError, WriteFact, Written},
    store::{FactStore, StoreError},
};

/// About how many events a subscriber that catches up gets at once, so that it does not keep the writer long.
const CAUGHT_MAX: usize = 128;

/// How long nothing is written before the store rests.
const REST_AFTER: Duration = Duration::from_secs(2);

/// Records that are looked at each tick after a rotation: the writer is kept for about as many milliseconds as there are
/// thousands.
const RESEALED_MAX: usize = 2_048;

/// How long the end waits for a disk that does not answer.
const END_MAX: Duration = Duration::from_secs(30);

pub(super) struct Writer {
    replica: Replica<FactStore>,
    shared: Arc<Shared>,
    next_persist: Arc<NextPersist>,
    /// All commits up to it are durable, or will be with a persist that was asked for.
    asked: CommitNumber,
    /// All commits up to it are durable.
    durable: CommitNumber,
    /// The last commit that readers were let know of.
    published: CommitNumber,
    /// Whether records may be left that an older data key sealed.
    is_resealing: bool,
    hub: Hub,
    exchange: Exchange,
    alarms: AlarmLog,
    tick: Duration,
    next_tick: Instant,
    group_max: usize,
    /// The newest commit at the last look, and since when there has been no other; `None` once the store rests.
    resting: (CommitNumber, Option<Instant>),
}

impl Writer {
    pub(super) fn new(
        replica: Replica<FactStore>,
        shared: Arc<Shared>,
        next_persist: Arc<NextPersist>,
        tick: Duration,
        group_max: usize,
        replicating_max: usize,
    ) -> Writer {
        let is_resealing = replica.storage().data_keys() > 1;
        Writer {
            exchange: Exchange::new(Arc::clone(&shared), replica.durable().clone(), replicating_max),
            replica,
            shared,
            next_persist,
            asked: CommitNumber::default(),
            durable: CommitNumber::default(),
            published: CommitNumber::default(),
            is_resealing,
            hub: Hub::default(),
            alarms: AlarmLog::default(),
            tick,
            next_tick: Instant::now(),
            group_max,
            resting: (CommitNumber::default(), None),
        }
    }

    /// When it is to take a turn at the latest.
    pub(super) fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Whether its next turn would have to wait for the disk.
    pub(super) fn would_wait(&self) -> bool {
        self.replica.storage().would_wait()
    }

    /// Does what there is to do. Whether that was the last of all.
    pub(super) fn turn(&mut self, by: By) -> bool {
        let taken = self.shared.mailbox.take(self.group_max, by);
        self.replica.storage_mut().let_wait(by == By::Thread);
        taken.gone.iter().for_each(|listener| self.hub.remove(listener));
        self.replica.listen(!self.hub.is_empty());
        if let Some(persisted) = taken.persisted {
            self.end_persist(persisted);
            self.follow_effects();
        }
        let now = now();
        for delivered in taken.messages {
            self.receive(now, delivered);
        }
        self.write_all(now, taken.commands);
        if by == By::Thread && Instant::now() >= self.next_tick {
            self.tick(now);
        }
        self.follow_effects();
        // Before anybody is told that it is durable.
        self.let_readers_know();
        self.begin_persist();
        // With nobody who is told by the writer, it is enough to know it with the next work.
        let hears = !self.hub.is_empty() || self.replica.has_members();
        self.shared.mailbox.expect(self.is_persisting(), hears);
        taken.is_last
    }

    fn write_all(&mut self, now: Millis, commands: Vec<Command>) {
        let mut group = Group::of(commands.len());
        for command in commands {
            if let Some(command) = group.take(command) {
                self.write_group(now, std::mem::take(&mut group));
                if let Some(command) = group.take(command) {
                    self.apply(now, command);
                }
            }
        }
        self.write_group(now, group);
    }

    /// What they go by.
    fn let_readers_know(&mut self) {
        self.shared.clock.store(self.replica.time(Millis(0)).0, Ordering::Release);
        self.shared.is_serving.store(self.replica.is_serving(), Ordering::Release);
        let last = self.replica.last_commit();
        if last > self.published {
            *self.shared.seen.write() = Arc::new(Seen::new(self.replica.cursor()));
            self.published = last;
        }
    }

    fn tick(&mut self, now: Millis) {
        self.next_tick = Instant::now() + self.tick;
        self.shared.counts.lock().clone_from(self.replica.counts());
        // What a full disk keeps from being done now is tried again.
        if let Err(ReplicaError::Storage(error)) = self.replica.tick(now) {
            self.notice(&error);
        }
        let at = Instant::now();
        self.rest(at);
        self.reseal();
        self.shared.waiting.tell_late(at);
        self.exchange.give_up(Some(at));
        self.exchange.tell_freshness(&self.replica);
    }

    fn receive(&mut self, now: Millis, delivered: Delivered) {
        if let Err(error) = self.exchange.take(now, &mut self.replica, delivered) {
            self.notice(&error);
        }
        self.answer_replicated();
    }

    fn answer_replicated(&mut self) {
        let durable = self.replica.durable().get(self.replica.origin());
        self.exchange.answer_replicated(durable);
    }

    /// Statuses go out with the next tick, which comes now.
    fn tick_now(&mut self) {
        self.next_tick = Instant::now();
    }

    /// After a rush, takes what it left in buffers out of memory.
    fn rest(&mut self, at: Instant) {
        let (commit, since) = self.resting;
        if commit != self.replica.last_commit() {
            self.resting = (self.replica.last_commit(), Some(at));
        } else if since.is_some_and(|since| at.duration_since(since) >= REST_AFTER) {
            self.resting.1 = None;
            if let Err(error) = self.replica.storage().rest() {
                self.notice(&error);
            }
        }
    }

    fn rotate_key(&mut self) -> Result<(), NodeError> {
        let rotated = self.replica.storage_mut().rotate_data_key();
        if let Err(error) = &rotated {
            self.notice(error);
        }
        rotated?;
        self.is_resealing = true;
        Ok(())
    }

    /// Brings some of what older keys sealed under the newest; it goes on after a restart.
    fn reseal(&mut self) {
        if !self.is_resealing {
            return;
        }
        match self.replica.storage_mut().rewrite_some(RESEALED_MAX) {
            Ok(step) => self.is_resealing = !step.done,
            // A full disk is waited out.
            Err(error) => self.notice(&error),
        }
    }

    fn apply(&mut self, now: Millis, command: Command) {
        match command {
            Command::Write(job) if job.deadline <= Instant::now() => (job.done)(Err(NodeError::TimedOut)),
            Command::Write(job) => self.write(now, job),
            Command::Barrier(reply) => {
                let (commit, cursor) = (self.replica.last_commit(), self.replica.cursor());
                self.when_durable(commit, move |outcome| drop(reply.send(outcome.map(|()| cursor))));
            }
            Command::CatchUp(catching) => self.catch_up(now, *catching),
            Command::Admit(node, answer) => {
                drop(answer.send(self.exchange.admit(&mut self.replica, &node)));
                self.tick_now();
            }
            Command::Remove(node, answer) => drop(answer.send(self.exchange.remove(&mut self.replica, &node))),
            Command::Announce => {
                self.replica.hasten_statuses();
                self.tick_now();
            }
            Command::Repair { restamp, answer } => {
                drop(answer.send(Ok(self.exchange.repair(now, &mut self.replica, restamp))));
                self.tick_now();
            }
            Command::Replication(answer) => drop(answer.send(Ok(self.exchange.replication(&self.replica)))),
            Command::RotateKey(answer) => drop(answer.send(self.rotate_key())),
        }
    }

    /// As one commit if all can be written, and else each as it can be.
    fn write_group(&mut self, now: Millis, group: Group) {
        let Group { writes, asking, .. } = group;
        let together = if asking.len() > 1 { self.replica.write(now, &writes).ok() } else { None };
        let together = together.map(|written| (seen_by(&written), written));
        let mut rest = writes.as_slice();
        for Asking { writes: count, ack, deadline, is_in_burst, done } in asking {
            let Some((writes, others)) = rest.split_at_checked(count) else { return };
            rest = others;
            let outcome = match &together {
                Some((seen, written)) => Ok(applied(written, Arc::clone(seen))),
                None => self.replica.write(now, writes).map(|written| applied(&written, seen_by(&written))),
            };
            self.acknowledge(outcome, ack, deadline, (done, is_in_burst));
        }
    }

    fn write(&mut self, now: Millis, job: Job) {
        let Job { work, ack, deadline, is_in_burst, done } = job;
        if let Ack::Replicated(wanted) = ack
            && let Err(error) = self.exchange.check_wanted(&self.replica, wanted)
        {
            return done(Err(error));
        }
        let outcome = match &work {
            Work::All(writes) => self.replica.write(now, writes).map(|written| applied(&written, seen_by(&written))),
            Work::Each(writes) => self.write_each(now, writes),
            Work::Count(write) => self.count(now, write),
        };
        self.acknowledge(outcome, ack, deadline, (done, is_in_burst));
    }

    fn acknowledge(
        &mut self,
        outcome: Result<(Applied, CommitNumber), Refused<StoreError>>,
        ack: Ack,
        deadline: Instant,
        (done, is_in_burst): (Acknowledge, bool),
    ) {
        match outcome {
            Ok((applied, commit)) if ack == Ack::Durable => {
                self.when_durable_until(commit, deadline, Tell::Write(applied, done, is_in_burst));
            }
            Ok((applied, _)) => {
                let seq = applied.seen.as_ref().map(|seen| seen.cursor.applied.get(self.replica.origin()));
                match (ack, seq) {
                    (Ack::Replicated(wanted), Some(seq)) => {
                        self.exchange.await_members(wanted, Replicating { seq, deadline, applied, done });
                    }
                    _ => done(Ok(applied)),
                }
            }
            Err(refused) => done(Err(self.refusal(refused))),
        }
    }

    /// All at once, when all can be.
    fn write_each(
        &mut self,
        now: Millis,
        writes: &[WriteFact],
    ) -> Result<(Applied, CommitNumber), Refused<StoreError>> {
        match self.replica.write(now, writes) {
            Ok(written) => return Ok(applied(&written, seen_by(&written))),
            Err(
                refused @ (Refused::TooMany { .. } | Refused::Incomplete | Refused::Storage(_) | Refused::Poisoned),
            ) => return Err(refused),
            Err(_) => {}
        }
        let (mut outcomes, mut seen) = (Vec::with_capacity(writes.len()), None);
        for write in writes {
            let outcome = self.replica.write(now, std::slice::from_ref(write));
            outcomes.push(outcome.map(|written| {
                seen = Some(seen_by(&written));
                written.version
            }));
        }
        Ok((Applied { outcomes: Outcomes::Each(outcomes), seen, count: None }, self.replica.last_commit()))
    }

    fn count(&mut self, now: Millis, write: &WriteFact) -> Result<(Applied, CommitNumber), Refused<StoreError>> {
        let written = self.replica.write(now, std::slice::from_ref(write))?;
        let (mut applied, commit) = applied(&written, seen_by(&written));
        // It was written: what it came to is read where it was cached a moment ago.
        applied.count = self.value(now, &write.key);
        Ok((applied, commit))
    }

    fn value(&self, now: Millis, key: &FactKey) -> Option<i64> {
        self.replica.get(now, key).ok().flatten().and_then(|found| found.value.to_value().as_i64())
    }

    fn refusal(&self, refused: Refused<StoreError>) -> NodeError {
        match refused {
            Refused::Poisoned => NodeError::Failed { reason: self.reason() },
            Refused::Incomplete => NodeError::Incomplete,
            Refused::Storage(error) => {
                self.notice(&error);
                NodeError::Storage(error)
            }
            other => NodeError::Refused(other),
        }
    }

    fn reason(&self) -> String {
        self.shared.failure.lock().clone().unwrap_or_else(|| "an earlier write to the disk failed".to_owned())
    }

    /// A failure that nothing but a new start mends is what the node's health tells of.
    fn notice(&self, error: &StoreError) {
        if let StoreError::Failed { reason } = error {
            self.shared.fail(reason);
        }
    }

    fn catch_up(&mut self, now: Millis, catching_up: CatchingUp) {
        let CatchingUp { begin, listening, reply } = catching_up;
        let mut catching = match begin {
            Begin::Since(catching) => catching,
            Begin::Now(pattern) => CatchUp::since(pattern, self.replica.cursor()),
        };
        let (caught, commit) = match self.replica.catch_up_ahead(now, &mut catching, CAUGHT_MAX) {
            Ok(caught) => caught,
            Err(ReplicaError::Poisoned) => {
                return drop(reply.send(Err(NodeError::Failed { reason: self.reason() })));
            }
            Err(ReplicaError::Storage(error)) => {
                self.notice(&error);
                return drop(reply.send(Err(NodeError::Storage(error))));
            }
        };
        if let Caught::All { after, .. } = &caught {
            // Events before it wait for the disk, and are among what was given.
            self.hub.add(*after, listening);
            self.replica.listen(true);
        }
        let caught = CaughtUp { caught, catching };
        self.when_durable(commit, move |outcome| drop(reply.send(outcome.map(|()| caught))));
    }

    fn when_durable(&mut self, commit: CommitNumber, tell: impl FnOnce(Result<(), NodeError>) + Send + 'static) {
        self.when_durable_until(commit, Instant::now() + self.shared.request_timeout, Tell::Other(Box::new(tell)));
    }

    fn when_durable_until(&mut self, commit: CommitNumber, deadline: Instant, tell: Tell) {
        if self.replica.is_poisoned() {
            return tell.tell(Err(NodeError::Failed { reason: self.reason() }));
        }
        self.shared.waiting.enter(commit, deadline, tell);
    }

    /// Whether the disk is busy with commits.
    fn is_persisting(&self) -> bool {
        self.asked > self.durable
    }

    fn begin_persist(&mut self) {
        let is_asked = self.is_persisting() && self.asked == self.replica.last_commit();
        if is_asked || self.replica.is_poisoned() || !self.replica.needs_persist() {
            return;
        }
        let mark = match self.next_persist.take_back() {
            Some(mut mark) => {
                self.replica.extend(&mut mark);
                mark
            }
            None => match self.replica.begin_persist() {
                Ok(mark) => mark,
                Err(_) => return,
            },
        };
        self.asked = mark.commit();
        self.next_persist.put(mark);
    }

    fn end_persist(&mut self, (mark, outcome): Persisted) {
        match outcome {
            Ok(()) => {
                self.replica.persisted(mark);
                self.exchange.tell_durable(&self.replica);
                self.answer_replicated();
            }
            Err(error) => {
                self.shared.fail(&error);
                self.replica.persist_failed();
                self.exchange.fail(&error.to_string());
                self.shared.waiting.refuse(|| NodeError::Failed { reason: error.to_string() });
            }
        }
    }

    fn follow_effects(&mut self) {
        for effect in self.replica.effects() {
            match effect {
                Effect::Durable(commit) => {
                    self.durable = self.durable.max(commit);
                    self.shared.waiting.tell_durable(commit);
                }
                Effect::Event(event) => self.hub.tell(event),
                Effect::Alarm(alarm) => self.alarms.take(&self.shared.alarms, &alarm),
                Effect::Send { to, message } => self.exchange.send(&to, PeerMessage::Replica(message)),
                Effect::Publish(message) => self.exchange.publish(PeerMessage::Replica(message)),
            }
        }
    }

    /// What was applied is made durable and acknowledged, and the clean stop is marked.
    pub(super) fn end(mut self: Box<Writer>) {
        let until = Instant::now() + END_MAX;
        while self.is_persisting() && !self.replica.is_poisoned() {
            let Some(persisted) = self.shared.mailbox.take_persisted(until) else {
                self.shared.fail("the disk did not answer at the end");
                break;
            };
            self.end_persist(persisted);
            self.follow_effects();
        }
        if !self.replica.is_poisoned()
            && let Err(error) = self.replica.persist()
        {
            self.shared.fail(error);
        }
        self.follow_effects();
        self.shared.waiting.refuse(|| NodeError::Stopped);
        self.exchange.give_up(None);
        if self.replica.is_poisoned() {
            return;
        }
        if let Err(error) = self.replica.stop() {
            self.shared.fail(error);
        }
    }
}

fn applied(written: &Written, seen: Arc<Seen>) -> (Applied, CommitNumber) {
    (Applied { outcomes: Outcomes::All(written.version), seen: Some(seen), count: None }, written.commit)
}

/// By readers who are told of the write.
fn seen_by(written: &Written) -> Arc<Seen> {
    Arc::new(Seen::new(Cursor { applied: written.cursor.clone(), swept: Millis(0) }))
}
