//! What waits for the writer: bounded requests, bounded messages of other nodes, and beside them the little that may not
//! wait behind these.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
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
/// So many bytes of requests are the writer's thread's, and whoever has asked goes on meanwhile.
const LARGE_BYTES: usize = 64 << 10;
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
    /// Whether the disk is busy with commits, so that few requests wait for it.
    gathers: bool,
    /// Whether those who asked have no more to ask for at once.
    is_all: bool,
    messages: VecDeque<Delivered>,
    /// Whether the writer is to hear at once that a persist has ended.
    hears: bool,
    persisted: Option<Persisted>,
    /// The writer's thread is to take the next turn, whatever there is.
    is_called: bool,
    /// Until then it takes all turns, as one took long.
    slow_until: Option<Instant>,
    /// Subscribers that are gone. As many as there were at most.
    gone: Vec<ListenerId>,
    is_closed: bool,
}

impl Inside {
    /// Whether there is something for the writer.
    fn is_due(&self) -> bool {
        let is_much = self.commands.len() >= GATHERED_REQUESTS || self.bytes >= GATHERED_BYTES;
        let is_awaited = self.is_all && (!self.gathers || self.hasty > 0);
        let has_commands = !self.commands.is_empty() && (is_awaited || is_much);
        let has_word = self.persisted.as_ref().is_some_and(|(_, outcome)| self.hears || outcome.is_err());
        has_commands || !self.messages.is_empty() || has_word || self.is_closed
    }

    /// Whether what there is may take long, or is no client's durable write.
    fn is_for_thread(&self) -> bool {
        self.hasty > 0
            || self.bytes >= LARGE_BYTES
            || !self.messages.is_empty()
            || self.is_closed
            || self.slow_until.is_some_and(|until| Instant::now() < until)
    }
}

/// A persist that ended.
pub(super) type Persisted = (PersistMark, Result<(), StoreError>);

/// Who takes a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The writer's.
    Thread,
    Lane,
}

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
        self.call(inside);
        Ok(())
    }

    /// Refuses the command when there is no room for it. `is_all`: no other comes from the caller at once; otherwise it is
    /// going to [end its burst](Mailbox::end_burst).
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
            if is_all && inside.is_due() || inside.bytes >= LARGE_BYTES {
                self.call(inside);
            }
            return;
        };
        drop(inside);
        command.refuse(error);
    }

    /// A persist has ended, of which nobody was told yet.
    pub(super) fn end_persist(&self, persisted: Persisted) {
        let mut inside = self.inside.lock();
        inside.persisted = Some(persisted);
        inside.gathers = false;
    }

    /// Those were told who waited for a persist. `is_followed`: one of them comes to end a burst.
    pub(super) fn have_told(&self, is_followed: bool) {
        let inside = self.inside.lock();
        let is_news =
            inside.hears || inside.is_closed || inside.persisted.as_ref().is_some_and(|(_, end)| end.is_err());
        if is_news || !is_followed && inside.is_due() {
            self.call(inside);
        }
    }

    /// The caller has no more at once. Whether it is to take the writer's turn.
    pub(super) fn end_burst(&self) -> bool {
        let mut inside = self.inside.lock();
        if inside.commands.is_empty() {
            return false;
        }
        inside.is_all = true;
        if !inside.is_due() {
            return false;
        }
        let is_for_thread = inside.is_for_thread();
        if is_for_thread {
            self.call(inside);
        }
        !is_for_thread
    }

    /// Has the writer's thread take the next turn.
    pub(super) fn call_thread(&self) {
        self.call(self.inside.lock());
    }

    fn call(&self, mut inside: MutexGuard<'_, Inside>) {
        inside.is_called = true;
        drop(inside);
        self.wake.notify_one();
    }

    /// A turn took long: until then all are the thread's.
    pub(super) fn be_slow_until(&self, until: Instant) {
        self.inside.lock().slow_until = Some(until);
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
        self.call(inside);
        self.room.close();
    }

    pub(super) fn len(&self) -> usize {
        self.inside.lock().commands.len()
    }

    /// For the writer's thread: waits until there is something for it, or `until` comes.
    pub(super) fn wait(&self, until: Instant) {
        let mut inside = self.inside.lock();
        while !inside.is_called && !inside.is_due() {
            if self.wake.wait_until(&mut inside, until).timed_out() {
                break;
            }
        }
        inside.is_called = false;
    }

    /// What the last turn found: whether the disk is busy with commits, and whether its end is something.
    pub(super) fn expect(&self, gathers: bool, hears: bool) {
        let mut inside = self.inside.lock();
        (inside.gathers, inside.hears) = (gathers && inside.persisted.is_none(), hears);
    }

    /// Up to `max` requests, and whatever else there is; for a lane, what does not take long.
    pub(super) fn take(&self, max: usize, by: By) -> Taken {
        let mut inside = self.inside.lock();
        if by == By::Lane && inside.is_for_thread() {
            // It came just now.
            self.call(inside);
            return Taken::default();
        }
        let count = max.min(inside.commands.len());
        inside.is_all &= count < inside.commands.len();
        let taken: Vec<(Command, usize)> = inside.commands.drain(..count).collect();
        let bytes: usize = taken.iter().map(|(_, bytes)| bytes).sum();
        inside.bytes = inside.bytes.saturating_sub(bytes);
        inside.hasty -= taken.iter().filter(|(command, _)| command.is_hasty()).count();
        let messages_count = MESSAGES_AT_ONCE.min(inside.messages.len());
        let is_heard = by == By::Thread || !inside.hears;
        Taken {
            messages: inside.messages.drain(..messages_count).collect(),
            commands: taken.into_iter().map(|(command, _)| command).collect(),
            persisted: if is_heard { inside.persisted.take() } else { None },
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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;
    use crate::{
        node::job::{Job, Work},
        protocol::Ack,
    };

    fn write(ack: Ack) -> Command {
        let deadline = Instant::now() + Duration::from_secs(60);
        let work = Work::All(Vec::new());
        Command::Write(Job { work, ack, deadline, is_in_burst: true, done: Box::new(|_| {}) })
    }

    fn mailbox() -> Mailbox {
        Mailbox::new(1_000, 1 << 20, 1 << 20)
    }

    fn is_called(mailbox: &Mailbox) -> bool {
        std::mem::take(&mut mailbox.inside.lock().is_called)
    }

    #[test]
    fn while_the_disk_is_busy_few_who_wait_for_it_wait_for_each_other() {
        let check = |commands: Vec<Command>, bytes: usize, gathers: bool, expected: bool| {
            let mailbox = mailbox();
            mailbox.expect(gathers, true);
            let count = commands.len();
            commands.into_iter().for_each(|command| mailbox.push(command, bytes, true));
            assert_eq!(is_called(&mailbox), expected, "{count} of {bytes} bytes, {gathers}");
            assert_eq!(mailbox.take(usize::MAX, By::Thread).commands.len(), count);
            let inside = mailbox.inside.lock();
            assert_eq!((inside.hasty, inside.bytes, inside.is_due()), (0, 0, false));
        };
        let durable = |count: usize| (0..count).map(|_| write(Ack::Durable)).collect::<Vec<_>>();
        check(durable(1), 100, false, true);
        check(durable(GATHERED_REQUESTS - 1), 100, true, false);
        check(durable(GATHERED_REQUESTS), 100, true, true);
        check(durable(1), GATHERED_BYTES, true, true);
        check(vec![write(Ack::Replicated(1))], 100, true, false);
        check(vec![write(Ack::Durable), write(Ack::Applied)], 100, true, true);
        check(vec![Command::Announce], 0, true, true);
    }

    #[test]
    fn who_ends_a_burst_takes_the_turn_unless_it_may_be_long() {
        let check = |commands: Vec<Command>, bytes: usize, slow: bool, expected: bool| {
            let mailbox = mailbox();
            assert!(!mailbox.end_burst(), "there is nothing");
            commands.into_iter().for_each(|command| mailbox.push(command, bytes, false));
            if slow {
                mailbox.be_slow_until(Instant::now() + Duration::from_secs(1_000));
            }
            assert_eq!((mailbox.end_burst(), is_called(&mailbox)), (expected, !expected), "{bytes} {slow}");
        };
        check(vec![write(Ack::Durable)], 100, false, true);
        check(vec![write(Ack::Durable)], 100, true, false);
        check(vec![write(Ack::Durable)], LARGE_BYTES, false, false);
        check(vec![write(Ack::Durable), write(Ack::Applied)], 100, false, false);
    }

    #[test]
    fn a_lane_takes_nothing_that_came_meanwhile_and_may_be_long() {
        let mailbox = mailbox();
        mailbox.push(write(Ack::Durable), 100, false);
        assert!(mailbox.end_burst());
        mailbox.push(write(Ack::Applied), 100, false);
        assert!(mailbox.take(9, By::Lane).commands.is_empty() && is_called(&mailbox));
        assert_eq!(mailbox.take(9, By::Thread).commands.len(), 2);
    }

    #[test]
    fn who_is_told_of_a_persist_finds_the_disk_free() {
        let mailbox = mailbox();
        mailbox.expect(true, false);
        mailbox.push(write(Ack::Durable), 100, false);
        assert!(!mailbox.end_burst());
        mailbox.end_persist((PersistMark::default(), Ok(())));
        assert!(mailbox.end_burst());
    }

    #[test]
    fn what_comes_in_a_burst_is_due_when_it_ends_or_is_much() {
        let mailbox = mailbox();
        let push =
            |count: usize, bytes: usize| (0..count).for_each(|_| mailbox.push(write(Ack::Durable), bytes, false));
        push(3, 100);
        assert!(!is_called(&mailbox) && !mailbox.inside.lock().is_due());
        assert!(mailbox.end_burst());
        assert_eq!(mailbox.take(2, By::Lane).commands.len(), 2);
        assert!(mailbox.end_burst(), "one is left");
        assert_eq!(mailbox.take(2, By::Lane).commands.len(), 1);
        push(1, LARGE_BYTES);
        assert!(is_called(&mailbox), "the thread begins with it");
    }

    #[test]
    fn the_end_of_a_persist_calls_the_thread_where_nobody_else_comes() {
        let check = |waits: bool, is_followed: bool, hears: bool, fails: bool, expected: bool| {
            let mailbox = mailbox();
            mailbox.expect(true, hears);
            if waits {
                mailbox.push(write(Ack::Durable), 100, false);
                assert!(!mailbox.end_burst() && !is_called(&mailbox), "the disk is busy");
            }
            let outcome = if fails { Err(StoreError::Stalled { seconds: 1 }) } else { Ok(()) };
            mailbox.end_persist((PersistMark::default(), outcome));
            assert!(!is_called(&mailbox), "not before somebody was told");
            mailbox.have_told(is_followed);
            assert_eq!(is_called(&mailbox), expected, "{waits} {is_followed} {hears} {fails}");
            assert_eq!(mailbox.end_burst(), waits);
            mailbox.expect(true, hears);
            assert_eq!(mailbox.end_burst(), waits, "it ended before that was expected");
            assert_eq!(mailbox.take(0, By::Lane).persisted.is_none(), hears, "whom it is told may be many");
            assert_eq!(mailbox.take(1, By::Thread).persisted.is_some(), hears);
        };
        check(false, false, false, false, false);
        check(false, true, true, false, true);
        check(false, true, false, true, true);
        check(true, false, false, false, true);
        check(true, true, false, false, false);
    }
}
