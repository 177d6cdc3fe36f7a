//! What waits for the writer: bounded requests, bounded messages of other nodes, and beside them the little that may not
//! wait behind these.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    job::{Command, NodeError},
    plane::PeerMessage,
};
use crate::{causality::NodeId, node::hub::ListenerId, replica::PersistMark, store::StoreError};

/// Messages of other nodes that are taken at once, so that clients do not wait long behind them.
const MESSAGES_AT_ONCE: usize = 64;
/// So many requests, or bytes of them, are worth a commit while the disk is busy with an earlier one. Fewer wait for it:
/// they are acknowledged no sooner by a commit of their own, and it has its cost.
const GATHERED_REQUESTS: usize = 32;
const GATHERED_BYTES: usize = 16 << 10;
/// What room is counted in.
const ROOM_UNIT: usize = 1 << 10;

/// A message of another node, which keeps its room until the writer has done with it.
pub(super) struct Delivered {
    pub(super) from: NodeId,
    pub(super) message: PeerMessage,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    wake: Condvar,
    requests_max: usize,
    bytes_max: usize,
    /// For messages of other nodes. Those who wait for it get it in turn.
    room: Arc<Semaphore>,
    room_max: usize,
}

#[derive(Default)]
struct Inside {
    commands: VecDeque<(Command, usize)>,
    bytes: usize,
    /// Of the commands, those that wait for no disk.
    hasty: usize,
    /// How many requests are worth a commit.
    enough: usize,
    /// Whether those who asked have no more to ask for at once.
    is_all: bool,
    messages: VecDeque<Delivered>,
    /// Whether the writer is to hear at once that a persist has ended.
    hears: bool,
    persisted: Option<Persisted>,
    /// Subscribers that are gone. As many as there were at most.
    gone: Vec<ListenerId>,
    is_closed: bool,
}

impl Inside {
    /// Whether there is something for the writer.
    fn is_due(&self) -> bool {
        let is_much = self.commands.len() >= GATHERED_REQUESTS || self.bytes >= GATHERED_BYTES;
        let is_awaited = self.is_all && (self.commands.len() >= self.enough || self.hasty > 0);
        let has_commands = !self.commands.is_empty() && (is_awaited || is_much);
        let has_word = self.persisted.as_ref().is_some_and(|(_, outcome)| self.hears || outcome.is_err());
        has_commands || !self.messages.is_empty() || has_word || self.is_closed
    }
}

/// A persist that ended.
pub(super) type Persisted = (PersistMark, Result<(), StoreError>);

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Delivered>,
    pub(super) commands: Vec<Command>,
    pub(super) persisted: Option<Persisted>,
    pub(super) gone: Vec<ListenerId>,
    /// Nothing comes any more but the end of a persist.
    pub(super) is_last: bool,
}

impl Mailbox {
    pub(super) fn new(requests_max: usize, bytes_max: usize, delivered_bytes: usize) -> Mailbox {
        let room_max = (delivered_bytes / ROOM_UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let room = Arc::new(Semaphore::new(room_max));
        Mailbox { inside: Mutex::default(), wake: Condvar::new(), requests_max, bytes_max, room, room_max }
    }

    /// Waits until there is room for a message of another node.
    pub(super) async fn deliver(&self, from: NodeId, message: PeerMessage, bytes: usize) -> Result<(), NodeError> {
        // One message finds room in an empty queue, however large it is.
        let units = (bytes / ROOM_UNIT + 1).min(self.room_max);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_| NodeError::Stopped)?;
        let mut inside = self.inside.lock();
        if inside.is_closed {
            return Err(NodeError::Stopped);
        }
        inside.messages.push_back(Delivered { from, message, _room: room });
        drop(inside);
        self.wake.notify_one();
        Ok(())
    }

    /// Refuses the command when there is no room for it. `is_all`: no other comes from the caller at once; until then the
    /// writer is left to wait for more, unless there is much.
    pub(super) fn push(&self, command: Command, bytes: usize, is_all: bool) {
        let mut inside = self.inside.lock();
        // One request finds room in an empty queue, however large it is.
        let is_full = inside.bytes.saturating_add(bytes) > self.bytes_max && !inside.commands.is_empty();
        let error = if inside.is_closed {
            NodeError::Stopped
        } else if is_full || inside.commands.len() >= self.requests_max {
            NodeError::Overloaded
        } else {
            inside.bytes = inside.bytes.saturating_add(bytes);
            inside.hasty += usize::from(command.is_hasty());
            inside.commands.push_back((command, bytes));
            inside.is_all |= is_all;
            let is_due = inside.is_due();
            drop(inside);
            if is_due {
                self.wake.notify_one();
            }
            return;
        };
        drop(inside);
        command.refuse(error);
    }

    /// From now on so many requests are `enough`.
    pub(super) fn end_persist(&self, persisted: Persisted, enough: usize) {
        let mut inside = self.inside.lock();
        inside.persisted = Some(persisted);
        inside.enough = inside.enough.min(enough);
        let is_due = inside.is_due();
        drop(inside);
        if is_due {
            self.wake.notify_one();
        }
    }

    /// The callers have no more at once.
    pub(super) fn end_burst(&self) {
        let mut inside = self.inside.lock();
        if inside.commands.is_empty() || inside.is_all {
            return;
        }
        inside.is_all = true;
        let is_due = inside.is_due();
        drop(inside);
        if is_due {
            self.wake.notify_one();
        }
    }

    pub(super) fn forget(&self, listener: ListenerId) {
        // The writer need not be woken for it.
        self.inside.lock().gone.push(listener);
    }

    pub(super) fn close(&self) {
        let mut inside = self.inside.lock();
        inside.is_closed = true;
        // They are asked for again.
        inside.messages.clear();
        drop(inside);
        self.room.close();
        self.wake.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        self.inside.lock().commands.len()
    }

    /// Waits until there is something or `until` comes, and takes up to `max` requests. Fewer than `enough` that wait for the
    /// disk are nothing yet. `hears`: the end of a persist is something.
    pub(super) fn take(&self, until: Instant, max: usize, enough: usize, hears: bool) -> Taken {
        let mut inside = self.inside.lock();
        (inside.enough, inside.hears) = (if inside.persisted.is_none() { enough } else { 1 }, hears);
        while !inside.is_due() {
            if self.wake.wait_until(&mut inside, until).timed_out() {
                break;
            }
        }
        let count = max.min(inside.commands.len());
        inside.is_all &= count < inside.commands.len();
        let taken: Vec<(Command, usize)> = inside.commands.drain(..count).collect();
        let bytes: usize = taken.iter().map(|(_, bytes)| bytes).sum();
        inside.bytes = inside.bytes.saturating_sub(bytes);
        inside.hasty -= taken.iter().filter(|(command, _)| command.is_hasty()).count();
        let messages_count = MESSAGES_AT_ONCE.min(inside.messages.len());
        Taken {
            messages: inside.messages.drain(..messages_count).collect(),
            commands: taken.into_iter().map(|(command, _)| command).collect(),
            persisted: inside.persisted.take(),
            gone: std::mem::take(&mut inside.gone),
            is_last: inside.is_closed && inside.commands.is_empty(),
        }
    }

    /// Waits, after the end, for the persist that is still on its way.
    pub(super) fn take_persisted(&self, until: Instant) -> Option<Persisted> {
        let mut inside = self.inside.lock();
        while inside.persisted.is_none() {
            if self.wake.wait_until(&mut inside, until).timed_out() {
                break;
            }
        }
        inside.persisted.take()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        node::job::{Job, Work},
        protocol::Ack,
    };

    fn write(ack: Ack) -> Command {
        let deadline = Instant::now() + Duration::from_secs(60);
        Command::Write(Job { work: Work::All(Vec::new()), ack, deadline, done: Box::new(|_| {}) })
    }

    #[test]
    fn while_the_disk_is_busy_few_who_wait_for_it_do_not_wake_the_writer() {
        let check = |commands: Vec<Command>, bytes: usize, enough: usize, expected: bool| {
            let mailbox = Mailbox::new(1_000, 1 << 20, 1 << 20);
            mailbox.inside.lock().enough = enough;
            let count = commands.len();
            commands.into_iter().for_each(|command| mailbox.push(command, bytes, true));
            assert_eq!(mailbox.inside.lock().is_due(), expected, "{count} of {bytes} bytes, enough: {enough}");
            assert_eq!(mailbox.take(Instant::now(), usize::MAX, enough, true).commands.len(), count);
            let inside = mailbox.inside.lock();
            assert_eq!((inside.hasty, inside.bytes, inside.is_due()), (0, 0, false));
        };
        let durable = |count: usize| (0..count).map(|_| write(Ack::Durable)).collect::<Vec<_>>();
        let busy = usize::MAX;
        check(durable(1), 100, 1, true);
        check(durable(1), 100, 0, true);
        check(durable(3), 100, 4, false);
        check(durable(4), 100, 4, true);
        check(durable(GATHERED_REQUESTS - 1), 100, busy, false);
        check(durable(GATHERED_REQUESTS), 100, busy, true);
        check(durable(1), GATHERED_BYTES, busy, true);
        check(vec![write(Ack::Replicated(1))], 100, busy, false);
        check(vec![write(Ack::Durable), write(Ack::Applied)], 100, busy, true);
        check(vec![Command::Announce], 0, busy, true);
    }

    #[test]
    fn what_comes_in_a_burst_is_taken_when_it_ends_or_is_much() {
        let mailbox = Mailbox::new(1_000, 1 << 20, 1 << 20);
        let push = |count: usize| (0..count).for_each(|_| mailbox.push(write(Ack::Durable), 100, false));
        let check = |expected: bool| assert_eq!(mailbox.inside.lock().is_due(), expected);
        mailbox.end_burst();
        check(false);
        push(3);
        check(false);
        mailbox.end_burst();
        check(true);
        assert_eq!(mailbox.take(Instant::now(), 2, 1, true).commands.len(), 2);
        check(true);
        assert_eq!(mailbox.take(Instant::now(), 2, 1, true).commands.len(), 1);
        push(GATHERED_REQUESTS - 1);
        check(false);
        push(1);
        check(true);
    }

    #[test]
    fn the_end_of_a_persist_wakes_the_writer_for_what_waited_for_it() {
        let check = |waits: bool, enough: usize, hears: bool, fails: bool, expected: bool| {
            let mailbox = Mailbox::new(1_000, 1 << 20, 1 << 20);
            mailbox.take(Instant::now(), 1, usize::MAX, hears);
            if waits {
                mailbox.push(write(Ack::Durable), 100, true);
            }
            let outcome = if fails { Err(StoreError::Stalled { seconds: 1 }) } else { Ok(()) };
            mailbox.end_persist((PersistMark::default(), outcome), enough);
            assert_eq!(mailbox.inside.lock().is_due(), expected, "{waits} {enough} {hears} {fails}");
            assert!(mailbox.take(Instant::now(), 1, usize::MAX, hears).persisted.is_some());
        };
        check(false, 1, false, false, false);
        check(false, 1, true, false, true);
        check(false, 1, false, true, true);
        check(true, 1, false, false, true);
        check(true, 2, false, false, false);
    }
}
