//! Those who are told when a commit is durable. The thread that made it so tells them, so that nobody waits for the writer
//! as well.

use std::{collections::VecDeque, time::Instant};

use parking_lot::Mutex;

use super::job::{Acknowledge, Applied, NodeError};
use crate::replica::CommitNumber;

/// Who waits.
pub(super) enum Tell {
    /// A client, with what came of its request; whether it ends a burst when it was told.
    Write(Applied, Acknowledge, bool),
    Other(Box<dyn FnOnce(Result<(), NodeError>) + Send>),
}

impl Tell {
    pub(super) fn tell(self, outcome: Result<(), NodeError>) {
        match self {
            Tell::Write(applied, done, _) => done(outcome.map(|()| applied)),
            Tell::Other(tell) => tell(outcome),
        }
    }
}

struct Waiting {
    commit: CommitNumber,
    deadline: Instant,
    tell: Tell,
}

/// See the module.
#[derive(Default)]
pub(super) struct WaitingRoom(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// All commits up to it are.
    durable: CommitNumber,
    /// In the order of commits.
    waiting: VecDeque<Waiting>,
}

impl WaitingRoom {
    /// Tells once the commit is durable, or at `deadline` that it was not in time.
    pub(super) fn enter(&self, commit: CommitNumber, deadline: Instant, tell: Tell) {
        let mut inside = self.0.lock();
        if commit > inside.durable {
            return inside.waiting.push_back(Waiting { commit, deadline, tell });
        }
        drop(inside);
        tell.tell(Ok(()));
    }

    /// All commits up to this one are durable. Whether somebody was told who ends a burst after it.
    pub(super) fn tell_durable(&self, commit: CommitNumber) -> bool {
        let mut inside = self.0.lock();
        inside.durable = inside.durable.max(commit);
        let count = inside.waiting.partition_point(|waiting| waiting.commit <= commit);
        let told: Vec<Waiting> = inside.waiting.drain(..count).collect();
        drop(inside);
        let is_followed = told.iter().any(|waiting| matches!(waiting.tell, Tell::Write(_, _, true)));
        told.into_iter().for_each(|waiting| waiting.tell.tell(Ok(())));
        is_followed
    }

    /// Tells those whose time is over.
    pub(super) fn tell_late(&self, at: Instant) {
        let mut inside = self.0.lock();
        let count = inside.waiting.iter().take_while(|waiting| waiting.deadline <= at).count();
        let told: Vec<Waiting> = inside.waiting.drain(..count).collect();
        drop(inside);
        told.into_iter().for_each(|waiting| waiting.tell.tell(Err(NodeError::TimedOut)));
    }

    /// Tells all who are left.
    pub(super) fn refuse(&self, error: impl Fn() -> NodeError) {
        let told = std::mem::take(&mut self.0.lock().waiting);
        told.into_iter().for_each(|waiting| waiting.tell.tell(Err(error())));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn who_waits_is_told_once_and_in_order_when_all_before_is_durable() {
        let (room, (told, answers)) = (WaitingRoom::default(), mpsc::channel());
        let now = Instant::now();
        let enter = |commit: u64, seconds: u64| {
            let told = told.clone();
            let tell = move |outcome: Result<(), NodeError>| {
                let _ = told.send((commit, outcome.map_err(|error| error.to_string())));
            };
            room.enter(CommitNumber(commit), now + Duration::from_secs(seconds), Tell::Other(Box::new(tell)));
        };
        let check = |expected: &[(u64, Result<(), NodeError>)]| {
            let said = |(commit, outcome): &(u64, Result<(), NodeError>)| {
                (*commit, outcome.as_ref().copied().map_err(ToString::to_string))
            };
            assert!(answers.try_iter().eq(expected.iter().map(said)));
        };
        enter(1, 1);
        enter(2, 9);
        enter(2, 9);
        enter(4, 1);
        room.tell_durable(CommitNumber(2));
        check(&[(1, Ok(())), (2, Ok(())), (2, Ok(()))]);
        enter(2, 0);
        check(&[(2, Ok(()))]);
        enter(5, 9);
        room.tell_durable(CommitNumber(1));
        room.tell_late(now + Duration::from_secs(5));
        check(&[(4, Err(NodeError::TimedOut))]);
        room.refuse(|| NodeError::Stopped);
        check(&[(5, Err(NodeError::Stopped))]);
        room.tell_durable(CommitNumber(9));
        check(&[]);
    }
}
