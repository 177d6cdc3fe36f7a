//! Who writes. The replica has one owner, the [`Writer`], and whoever finds it free takes a turn with it: as a rule the lane
//! whose clients have asked, so that no thread has to be woken for them; and a thread of its own whatever may take long, what
//! other nodes sent, and what time brings.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Shared, disk::NextPersist, job::NodeError, mailbox::By, writer::Writer};

/// A turn of a lane that takes longer leaves all turns to the thread for [`SLOW`]: the lane has other clients.
const LONG: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_secs(1);

/// Turns that a lane takes one after the other, when others go on asking.
const TURNS_MAX: usize = 4;

/// Nobody there: not opened yet, at its end, or a turn has panicked, of which nobody may go on with what is left.
#[derive(Default)]
pub(super) struct Turns(Mutex<Option<Box<Writer>>>);

impl Turns {
    pub(super) fn begin_with(&self, writer: Writer) {
        *self.0.lock() = Some(Box::new(writer));
    }

    /// For a lane that has ended a burst: writes what was asked for, unless somebody else does, who then looks for more.
    pub(super) fn take_some(&self, shared: &Shared) {
        for _ in 0..TURNS_MAX {
            if !shared.mailbox.end_burst() {
                return;
            }
            match self.take_if_free(shared) {
                Tried::Took => {}
                Tried::Met => return,
                Tried::Leaves => break,
            }
        }
        shared.mailbox.call_thread();
    }

    fn take_if_free(&self, shared: &Shared) -> Tried {
        let Some(mut place) = self.0.try_lock() else { return Tried::Met };
        let Some(writer) = place.take_if(|writer| !writer.would_wait()) else { return Tried::Leaves };
        let began = Instant::now();
        // The lane has other things to do than to end with it.
        let Ok((writer, _)) = catch_unwind(AssertUnwindSafe(move || turn(writer, By::Lane))) else {
            return Tried::Leaves;
        };
        *place = Some(writer);
        drop(place);
        let ended = Instant::now();
        if ended.duration_since(began) > LONG {
            shared.mailbox.be_slow_until(ended + SLOW);
        }
        Tried::Took
    }

    /// The thread's. Gives the writer when this was the last turn, or `None` when there is none.
    fn take(&self) -> Option<Result<Instant, Box<Writer>>> {
        let mut place = self.0.lock();
        let (writer, is_last) = turn(place.take()?, By::Thread);
        if is_last {
            return Some(Err(writer));
        }
        let next_tick = writer.next_tick();
        *place = Some(writer);
        Some(Ok(next_tick))
    }
}

/// What became of a lane's turn.
enum Tried {
    Took,
    /// Somebody else has it.
    Met,
    /// It is the thread's, to which belongs also to see that there is no writer.
    Leaves,
}

fn turn(mut writer: Box<Writer>, by: By) -> (Box<Writer>, bool) {
    let is_last = writer.turn(by);
    (writer, is_last)
}

/// However the thread ends, nobody waits for it afterwards.
struct Closing(Arc<Shared>, Arc<NextPersist>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
        self.1.end();
        let left = self.0.mailbox.take(usize::MAX, By::Thread).commands;
        left.into_iter().for_each(|command| command.refuse(NodeError::Stopped));
        self.0.waiting.refuse(|| NodeError::Stopped);
    }
}

/// Of the writer's thread.
pub(super) fn run(shared: Arc<Shared>, next_persist: Arc<NextPersist>) {
    let closing = Closing(shared, next_persist);
    let shared = &closing.0;
    let mut next_tick = Instant::now();
    loop {
        shared.mailbox.wait(next_tick);
        match shared.turns.take() {
            Some(Ok(next)) => next_tick = next,
            Some(Err(writer)) => return writer.end(),
            None => {
                shared.fail("a thread of the node ended unexpectedly");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{
        Config, FactKey, JsonText, Node, NodeConfig, NodeId, Operation, Outcomes, Work, WriteFact, protocol::Ack,
        store::Settings,
    };

    const SOON: Duration = Duration::from_secs(20);

    fn put(key: &str, length: usize) -> Work {
        let json = JsonText::new(format!("\"{}\"", "v".repeat(length))).unwrap();
        let operation = Operation::Put { json, ttl_ms: None };
        Work::All(vec![WriteFact { key: FactKey::new(key).unwrap(), operation, precondition: None }])
    }

    /// Asks in a burst, and ends it. Whether it was written when the burst had ended; it is acknowledged in any case.
    fn is_written_at_once(node: &Node, key: &str, length: usize) -> bool {
        let (told, outcome) = mpsc::channel();
        let done = Box::new(move |outcome| drop(told.send(outcome)));
        node.submit_in_burst(put(key, length), Ack::Durable, done);
        let is_there = || node.get(&FactKey::new(key).unwrap()).unwrap().is_some();
        node.end_burst();
        let is_written = is_there();
        let applied = outcome.recv_timeout(SOON).unwrap().unwrap();
        assert!(matches!(applied.outcomes, Outcomes::All(_)) && is_there());
        is_written
    }

    #[test]
    fn who_ends_a_burst_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new(folder.path().join("facts"));
        let node = Node::open(NodeConfig::new(settings, Config::new(NodeId::new("n1").unwrap()))).unwrap();
        let until = Instant::now() + SOON;
        // Not the first, which looks at the engine; nor where the thread just has its tick, or a turn was slow.
        let mut number = 0;
        while !is_written_at_once(&node, &format!("a.{number}"), 10) {
            number += 1;
            assert!(Instant::now() < until, "{number}");
            thread::sleep(Duration::from_millis(20));
        }
        // By whomever.
        is_written_at_once(&node, "a.large", 70 << 10);
        node.stop().unwrap();
    }
}
