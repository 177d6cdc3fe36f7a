//! What two nodes do that have applied the same writes and do not show the same: find the keys, and join their states.
//!
//! It should not happen. When it does, a disk or a node was copied or damaged, or rules differ.

use std::collections::BTreeMap;

use crate::{
    causality::NodeId,
    clock::Millis,
    key::FactKey,
    message::{Entry, Listing, Message, Repair, Status},
    replica::{
        Alarm, Effect, Replica,
        digest::{BUCKETS, KEYS_LISTED_MAX},
        merge::Merged,
        pull::{Pulling, by_commit, size_of},
    },
    storage::Storage,
};

/// How many statuses a gap stays open before roots are compared in spite of it.
const SETTLED_AFTER_STATUSES: u64 = 5;
/// Buckets listed at a time; of those only as many as fit.
const BUCKETS_LISTED_MAX: usize = 64;

impl<S: Storage> Replica<S> {
    /// Whether what is there is just what the vector says. Also when nothing has come for a while that would close a
    /// gap: then nobody may have it, and what came beyond it has to reach the others all the same.
    pub(super) fn is_settled(&self, now: Millis) -> bool {
        let is_quiet = now >= self.changed_at.plus(SETTLED_AFTER_STATUSES * self.config.status_every_ms);
        self.outbox.is_all_persisted() && !self.progress.is_capped() && (self.progress.is_whole() || is_quiet)
    }

    pub(super) fn compare_roots(&mut self, now: Millis, from: &NodeId, status: &Status) {
        let Some(root) = status.root else { return };
        let may_compare = self.is_settled(now)
            && root.epoch == self.digest.epoch()
            && status.applied == *self.progress.applied()
            && !self.is_pulling(now, from);
        if !may_compare || root.sum == self.digest.root() {
            return;
        }
        self.counts.divergences += 1;
        self.outbox.at_once(Effect::Alarm(Alarm::Diverged { from: from.clone() }));
        self.pulls.insert(from.clone(), Pulling::other(now.plus(self.config.patience_ms)));
        let message = Message::Buckets { epoch: root.epoch, sums: self.digest.sums().to_vec() };
        self.outbox.at_once(Effect::Send { to: from.clone(), message });
    }

    pub(super) fn serve_buckets(&mut self, to: &NodeId, epoch: Millis, sums: &[u128]) -> Result<(), S::Error> {
        if epoch != self.digest.epoch() || sums.len() != BUCKETS {
            return Ok(());
        }
        let both = (0_u16..).zip(self.digest.sums().iter().zip(sums));
        let differing = both.filter(|(_, (own, theirs))| own != theirs).map(|(bucket, _)| bucket);
        let mut buckets: Vec<u16> = differing.take(BUCKETS_LISTED_MAX).collect();
        let mut keys = self.listing(&buckets)?;
        while keys.len() > KEYS_LISTED_MAX && buckets.len() > 1 {
            buckets.truncate(buckets.len() / 2);
            keys.retain(|(key, _)| buckets.contains(&super::digest::bucket_of(key)));
        }
        keys.truncate(KEYS_LISTED_MAX);
        if !buckets.is_empty() {
            let message = Message::Listing(Listing { epoch, buckets, keys });
            self.outbox.at_once(Effect::Send { to: to.clone(), message });
        }
        Ok(())
    }

    pub(super) fn take_listing(&mut self, from: &NodeId, listing: &Listing) -> Result<(), S::Error> {
        if listing.epoch != self.digest.epoch() {
            return Ok(());
        }
        let own: BTreeMap<FactKey, [u8; 16]> = self.listing(&listing.buckets)?.into_iter().collect();
        let mut theirs: BTreeMap<&FactKey, &[u8; 16]> = listing.keys.iter().map(|(key, hash)| (key, hash)).collect();
        let mut differing: Vec<FactKey> = Vec::new();
        for (key, hash) in &own {
            if theirs.remove(key) != Some(hash) {
                differing.push(key.clone());
            }
        }
        differing.extend(theirs.into_keys().cloned());
        self.send_repair(from, differing, true)
    }

    /// Sends what there is of the keys, as many as fit.
    fn send_repair(&mut self, to: &NodeId, keys: Vec<FactKey>, answer: bool) -> Result<(), S::Error> {
        let mut repair = Repair { entries: Vec::new(), absent: Vec::new(), collected: self.collected.clone(), answer };
        let mut bytes = 0;
        for key in keys.into_iter().take(KEYS_LISTED_MAX) {
            if bytes >= self.config.limits.page_bytes {
                break;
            }
            match self.storage.state(&key)? {
                Some(state) => {
                    bytes += size_of(&key, &state);
                    repair.entries.push(Entry { key, state: state.as_ref().clone() });
                }
                None => repair.absent.push(key),
            }
        }
        if !repair.entries.is_empty() || !repair.absent.is_empty() {
            self.outbox.after_commits(Effect::Send { to: to.clone(), message: Message::Repair(repair) });
        }
        Ok(())
    }

    pub(super) fn take_repair(&mut self, now: Millis, from: &NodeId, repair: Repair) -> Result<(), S::Error> {
        let Repair { entries, absent, collected: theirs, answer } = repair;
        let keys: Vec<FactKey> = entries.iter().map(|entry| &entry.key).chain(&absent).cloned().collect();
        let (ahead, entries): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| self.is_ahead(now, std::slice::from_ref(entry)));
        let held = self.to_hold(from, by_commit(ahead));
        self.observe(now, &entries);
        let merged = self.merge(now, entries, None)?;
        self.counts.repaired += merged.changes.len() as u64;
        self.apply(now, merged, self.records_with(&held), None)?;
        self.note_held(held);
        self.drop_absent(now, &absent, &theirs)?;
        if answer { self.send_repair(from, keys, false) } else { Ok(()) }
    }

    /// Of keys that the peer collected, what was written up to then is gone here too.
    fn drop_absent(&mut self, now: Millis, absent: &[FactKey], theirs: &crate::VersionVector) -> Result<(), S::Error> {
        // Only of what was applied here may be said that it is gone.
        let floor = theirs.meet(self.progress.applied());
        let mut merged = Merged::default();
        let mut collected = self.collected.clone();
        for key in absent {
            let Some((before, change)) = self.without_known(now, key, &floor)? else { continue };
            for cell in before.cells() {
                if floor.covers(&cell.dot) {
                    collected.advance(&cell.dot.origin, cell.dot.seq);
                }
            }
            merged.changes.push(change);
        }
        if merged.changes.is_empty() {
            return Ok(());
        }
        self.counts.repaired += merged.changes.len() as u64;
        self.forget(now, merged, collected)
    }
}
