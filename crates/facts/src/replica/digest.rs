//! A hash of what readers are to see, kept up with every change.
//!
//! Each key that shows at the digest's epoch counts with a 128-bit hash; their sums, by bucket and over all, are equal
//! on nodes where the same shows, in whatever order it came. Expiry counts by epoch and not by each node's clock, and
//! what is over does not count, so that nodes may forget it at different times.

use crate::{
    clock::Millis,
    head::{Before, Head},
    key::{FactKey, Pattern},
    replica::{Replica, Rules},
    state::State,
    storage::{Change, Storage},
    strategy::Strategy,
};

pub(super) const BUCKETS: usize = 4_096;
/// Keys in one listing, and with it in one repair.
pub(super) const KEYS_LISTED_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct Digest {
    epoch: Millis,
    sums: Vec<u128>,
    root: u128,
}

impl Digest {
    /// Looks at everything; `each` is shown every key's state on the way.
    pub(super) fn of<S: Storage>(
        storage: &S,
        rules: &dyn Rules,
        epoch: Millis,
        mut each: impl FnMut(&Before),
    ) -> Result<Digest, S::Error> {
        let mut digest = Digest { epoch, sums: vec![0; BUCKETS], root: 0 };
        let mut after: Option<FactKey> = None;
        loop {
            let keys = storage.keys(&Pattern::Every, after.as_ref(), BUCKETS)?;
            let Some(last) = keys.last().cloned() else { return Ok(digest) };
            for key in keys {
                let before = storage.before(&key)?;
                before.iter().for_each(&mut each);
                let share = share_before(&key, before.as_ref(), rules.strategy(key.namespace()), epoch);
                digest.add(&key, share);
            }
            after = Some(last);
        }
    }

    pub(super) fn epoch(&self) -> Millis {
        self.epoch
    }

    pub(super) fn root(&self) -> u128 {
        self.root
    }

    pub(super) fn sums(&self) -> &[u128] {
        &self.sums
    }

    pub(super) fn change(&mut self, change: &Change, strategy: &Strategy) {
        let after = match change.head() {
            Some(head) => share_of_head(head, self.epoch),
            None => share(&change.key, change.after().map(|state| &**state), strategy, self.epoch),
        };
        let before = share_before(&change.key, change.before.as_ref(), strategy, self.epoch);
        self.add(&change.key, after.wrapping_sub(before));
    }

    fn add(&mut self, key: &FactKey, difference: u128) {
        self.root = self.root.wrapping_add(difference);
        if let Some(sum) = self.sums.get_mut(usize::from(bucket_of(key))) {
            *sum = sum.wrapping_add(difference);
        }
    }
}

/// What a key counts with at an epoch.
fn share(key: &FactKey, state: Option<&State>, strategy: &Strategy, epoch: Millis) -> u128 {
    match state {
        Some(state) if !strategy.is_over(state, epoch) => u128::from_le_bytes(state.digest(key.as_str(), epoch)),
        _ => 0,
    }
}

fn share_of_head(head: &Head, epoch: Millis) -> u128 {
    if head.is_over(epoch) { 0 } else { u128::from_le_bytes(head.hash) }
}

fn share_before(key: &FactKey, before: Option<&Before>, strategy: &Strategy, epoch: Millis) -> u128 {
    match before {
        Some(Before::Head(head)) => share_of_head(head, epoch),
        Some(Before::State(state)) => share(key, Some(state), strategy, epoch),
        None => 0,
    }
}

/// By FNV-1a: peers compare buckets, so all have to put a key into the same.
pub(super) fn bucket_of(key: &FactKey) -> u16 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step);
    // BUCKETS fits.
    ((hash ^ (hash >> 32)) % BUCKETS as u64) as u16
}

impl<S: Storage> Replica<S> {
    /// A digest of what shows at an epoch: the epoch, and a sum that is equal where the same shows.
    #[must_use]
    pub fn root(&self) -> (Millis, u128) {
        (self.digest.epoch, self.digest.root)
    }

    /// Takes what ended since out of the digest.
    pub(super) fn advance_epoch(&mut self, now: Millis) -> Result<(), S::Error> {
        let (old, new) = (self.digest.epoch, self.config.epoch_of(self.time(now)));
        if new <= old {
            return Ok(());
        }
        let mut differences = Vec::new();
        for key in self.ended_between(old, new)? {
            let before = self.storage.before(&key)?;
            let strategy = self.rules.strategy(key.namespace());
            let share_at = |epoch| share_before(&key, before.as_ref(), strategy, epoch);
            let difference = share_at(new).wrapping_sub(share_at(old));
            differences.push((key, difference));
        }
        for (key, difference) in differences {
            self.digest.add(&key, difference);
        }
        self.digest.epoch = new;
        Ok(())
    }

    /// What shows at the digest's epoch in some buckets, by key, with the hashes.
    pub(super) fn listing(&self, buckets: &[u16]) -> Result<Vec<(FactKey, [u8; 16])>, S::Error> {
        let (mut listed, mut after) = (Vec::new(), None::<FactKey>);
        loop {
            let keys = self.storage.keys(&Pattern::Every, after.as_ref(), BUCKETS)?;
            let Some(last) = keys.last().cloned() else { return Ok(listed) };
            for key in keys.into_iter().filter(|key| buckets.contains(&bucket_of(key))) {
                let Some(before) = self.storage.before(&key)? else { continue };
                let strategy = self.rules.strategy(key.namespace());
                let hash = share_before(&key, Some(&before), strategy, self.digest.epoch);
                if hash != 0 {
                    listed.push((key, hash.to_le_bytes()));
                }
            }
            after = Some(last);
        }
    }
}
