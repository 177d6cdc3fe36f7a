use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use weir_facts::message::Message;

use super::random::Random;

/// What may happen to a message.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Of a thousand.
    pub lost: u64,
    pub repeated: u64,
    /// Of a thousand, those that are delayed for minutes.
    pub strayed: u64,
    /// Milliseconds.
    pub delay_max: u64,
}

/// Messages under way, by the time they arrive.
#[derive(Debug, Default)]
pub struct Network {
    pub weather: Weather,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    messages: BTreeMap<u64, (usize, usize, Message)>,
    last: u64,
    /// Pairs that do not hear of each other, in one direction.
    pub cut: BTreeSet<(usize, usize)>,
    /// Nodes whose messages take seconds.
    pub slow: BTreeSet<usize>,
    pub lost: u64,
    pub repeated: u64,
    pub strayed: u64,
    /// Those that a slow peer delayed.
    pub slowed: u64,
    /// Those that were overtaken on their way.
    pub reordered: u64,
    /// The last one that came, of each pair.
    arrived: BTreeMap<(usize, usize), u64>,
}

impl Network {
    pub fn send(&mut self, now: u64, from: usize, to: usize, message: &Message, random: &mut Random) {
        if self.cut.contains(&(from, to)) || random.per_mille(self.weather.lost) {
            self.lost += 1;
            return;
        }
        let times = if random.per_mille(self.weather.repeated) { 2 } else { 1 };
        self.repeated += times - 1;
        for _ in 0..times {
            let mut delay = random.between(1, self.weather.delay_max.max(1));
            if self.slow.contains(&from) || self.slow.contains(&to) {
                self.slowed += 1;
                delay += random.between(500, 5_000);
            }
            if random.per_mille(self.weather.strayed) {
                self.strayed += 1;
                delay += random.between(30_000, 400_000);
            }
            self.last += 1;
            self.queue.push(Reverse((now + delay, self.last)));
            self.messages.insert(self.last, (from, to, message.clone()));
        }
    }

    pub fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    pub fn pop(&mut self) -> Option<(usize, usize, Message)> {
        let Reverse((_, number)) = self.queue.pop()?;
        let (from, to, message) = self.messages.remove(&number)?;
        let last = self.arrived.entry((from, to)).or_default();
        self.reordered += u64::from(number < *last);
        *last = number.max(*last);
        Some((from, to, message))
    }
}
