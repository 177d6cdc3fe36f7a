//! Who is there: SWIM, as `foca` has it, over the same links that messages go by.
//!
//! It finds nodes that seeds know of and tells whether they live. What it says has no part in what is replicated: a
//! member that is down stays a member, until an operator removes it. A node is known by its name; its address and the
//! number that tells its lives apart go with it.
//!
//! Partitions heal: seeds, members and nodes that are thought dead are called again for as long as this node runs.

mod codec;
mod identity;
mod timers;

use std::{
    num::{NonZeroU8, NonZeroUsize},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, OwnedNotification, PeriodicParams};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

pub(super) use self::identity::Identity;
use self::{codec::Codec, timers::Timers};
use super::roster::Roster;
use crate::causality::NodeId;

/// What waits for the membership, at most; what is beyond is lost, as packets may be.
const QUEUE: usize = 1_024;
const PACKET_BYTES_MAX: usize = 8 << 10;
/// With nothing else to do.
const IDLE: Duration = Duration::from_secs(60);

/// What happens to the membership.
#[derive(Debug)]
pub(super) enum Input {
    /// A packet, and whose certificate the one had that sent it.
    Packet { from: NodeId, packet: Bytes },
    /// A link to this node is up.
    Connected(Identity),
}

type Inputs = mpsc::Receiver<Input>;

pub(super) fn channel() -> (mpsc::Sender<Input>, Inputs) {
    mpsc::channel(QUEUE)
}

/// Runs until the roster is gone.
pub(super) async fn run(own: Identity, seed: u64, roster: Weak<Roster>, mut inputs: Inputs) {
    let mut membership = Membership {
        foca: Foca::new(own, config(), StdRng::seed_from_u64(seed), Codec),
        runtime: AccumulatingRuntime::new(),
        timers: Timers::default(),
        roster,
    };
    loop {
        let next = membership.timers.next().unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => membership.take(input),
                None => return,
            },
            () = sleep_until(next) => membership.time(),
        }
        if membership.follow().is_none() {
            return;
        }
    }
}

struct Membership {
    foca: Foca<Identity, Codec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
    timers: Timers,
    roster: Weak<Roster>,
}

impl Membership {
    fn take(&mut self, input: Input) {
        let taken = match input {
            Input::Packet { from, packet } => match codec::sender_of(&packet) {
                // Nobody speaks in another's name.
                Some(sender) if *sender.node() == from => self.foca.handle_data(&packet, &mut self.runtime),
                _ => return tracing::debug!(%from, "a packet of the membership in another's name"),
            },
            Input::Connected(identity) => self.foca.announce(identity, &mut self.runtime),
        };
        note(taken);
    }

    fn time(&mut self) {
        while let Some(timer) = self.timers.pop(Instant::now()) {
            note(self.foca.handle_timer(timer, &mut self.runtime));
        }
    }

    /// Does what it wants done; `None` when nobody is there to do it for.
    fn follow(&mut self) -> Option<()> {
        let roster: Arc<Roster> = self.roster.upgrade()?;
        while let Some((to, packet)) = self.runtime.to_send() {
            if let Some(peer) = roster.learn(to.node(), Some(to.address())) {
                peer.queue.push_membership(packet);
            }
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers.add(Instant::now() + after, timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(identity) => {
                    if let Some(peer) = roster.learn(identity.node(), Some(identity.address())) {
                        peer.set_alive(true);
                    }
                }
                OwnedNotification::Rename(_, identity) => {
                    roster.learn(identity.node(), Some(identity.address()));
                }
                OwnedNotification::MemberDown(identity) => {
                    if let Some(peer) = roster.get(identity.node()) {
                        peer.set_alive(false);
                    }
                }
                // Identities renew themselves.
                _ => {}
            }
        }
        Some(())
    }
}

fn note(outcome: Result<(), foca::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the membership left something aside");
    }
}

fn config() -> foca::Config {
    let count = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let every = |frequency, members| Some(PeriodicParams { frequency, num_members: count(members) });
    foca::Config {
        probe_period: Duration::from_secs(1),
        probe_rtt: Duration::from_millis(500),
        num_indirect_probes: count(3),
        max_transmissions: NonZeroU8::new(10).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_secs(3),
        remove_down_after: Some(Duration::from_secs(24 * 3_600)),
        max_packet_size: count(PACKET_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: every(Duration::from_secs(10), 2),
        periodic_announce_to_down_members: every(Duration::from_secs(5), 2),
        periodic_gossip: every(Duration::from_millis(500), 3),
    }
}
