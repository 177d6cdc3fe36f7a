//! Rotation of keys, and bringing what older keys sealed under the newest.

use std::path::Path;

use crate::{
    seal::{KeyFile, SealError},
    storage::Storage,
    store::{
        FactStore, StoreError,
        block::{self, Packer},
        cleaning,
        engine::{Rows, Space},
        record::{Check, NAMED},
    },
};

/// How far the present pass is: what comes after this row is still to be looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    spaces_done: usize,
    after: Vec<u8>,
}

/// What a step of re-encryption did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// Records looked at.
    pub seen: usize,
    /// Of these, sealed anew.
    pub sealed: usize,
    /// Everything is under the newest key now, durably, and older keys are forgotten.
    pub done: bool,
}

impl FactStore {
    /// Seals from now on with a new data key. What is sealed stays readable; [`rewrite_some`](FactStore::rewrite_some)
    /// seals it anew.
    ///
    /// # Errors
    /// [`SealError::NotEncrypted`], or the wrapped keys cannot be written; the old key is then used further.
    pub fn rotate_data_key(&mut self) -> Result<(), StoreError> {
        self.syncer.is_sound()?;
        self.keyring(|keyring| keyring.rotate().map(|_| ()))?;
        self.rewriting = Place::default();
        Ok(())
    }

    /// Wraps the store's keys with the key of another file, which is made if it is not there. The store is opened with
    /// that file from now on, and with the old one no longer.
    ///
    /// # Errors
    /// As [`rotate_data_key`](FactStore::rotate_data_key), and all that can be wrong with a key file.
    pub fn change_key_file(&mut self, path: &Path) -> Result<(), StoreError> {
        self.keyring(|keyring| keyring.rewrap(KeyFile::read(path)?.map_or_else(|| KeyFile::create(path), Ok)?))?;
        self.settings.key_file = Some(path.to_owned());
        Ok(())
    }

    fn keyring(&self, work: impl FnOnce(&mut crate::seal::Keyring) -> Result<(), SealError>) -> Result<(), StoreError> {
        match &self.shared.records.keyring {
            Some(keyring) => Ok(work(&mut keyring.write())?),
            None => Err(SealError::NotEncrypted { folder: self.settings.folder.clone() }.into()),
        }
    }

    /// Data keys that records may be sealed with: one, unless a rotation is not finished.
    #[must_use]
    pub fn data_keys(&self) -> usize {
        self.shared.records.keyring.as_ref().map_or(0, |keyring| keyring.read().data_keys())
    }

    /// Looks at up to `limit` records and seals with the newest key those that an older one sealed, as one commit. To be
    /// called between other commits until it is done; it begins anew after a restart.
    ///
    /// # Errors
    /// [`StoreError`], as of a commit and of a persist.
    pub fn rewrite_some(&mut self, limit: usize) -> Result<Rewritten, StoreError> {
        self.syncer.is_sound()?;
        if self.data_keys() < 2 {
            return Ok(Rewritten { seen: 0, sealed: 0, done: true });
        }
        let Some(space) = Space::ALL.get(self.rewriting.spaces_done).copied() else {
            return self.finish_rewriting();
        };
        if space == Space::Live {
            return self.rewrite_blocks(limit.max(1));
        }
        let page = self.shared.with_engine(|engine| engine.page(space, &self.rewriting.after, limit.max(1)))?;
        let mut step = Rewritten { seen: page.len(), sealed: 0, done: false };
        let mut place = self.rewriting.clone();
        match page.last() {
            Some((row, _)) => place.after = row.clone(),
            None => place = Place { spaces_done: place.spaces_done + 1, after: Vec::new() },
        }
        let (mut rows, mut tally): (Rows, _) = (Vec::new(), self.tally);
        for (row, record) in page {
            if space == Space::Metadata && row.first() != Some(&NAMED) {
                continue;
            }
            let records = &self.shared.records;
            let Some(new) = records.renewed(space, &row, &record, &mut self.nonces)? else { continue };
            tally.of(space).remove(Check::of(&record));
            tally.of(space).add(Check::of(&new));
            rows.push((space, row, Some(new)));
        }
        step.sealed = rows.len();
        if !rows.is_empty() {
            self.write_rows(rows, tally)?;
        }
        self.rewriting = place;
        Ok(step)
    }

    /// Moves what is live in the first blocks to the end of the log, until it begins with a block of the newest key: keys
    /// of blocks that come later are never older.
    fn rewrite_blocks(&mut self, limit: usize) -> Result<Rewritten, StoreError> {
        let shared = self.shared.clone();
        let index = shared.index.read();
        let mut step = Rewritten { seen: 0, sealed: 0, done: false };
        let mut prepared = self.prepared(self.tally);
        prepared.pass(index.blocks());
        let mut packer = Packer::new(&shared.records, &mut self.nonces, prepared.tally.block);
        let first = index.blocks().iter().next();
        let live = index.blocks().iter().filter(|(_, block)| block.live > 0).take(limit);
        let mut has_older = false;
        for (number, block) in first.into_iter().chain(live) {
            let row = block::row_of(number);
            let record = shared.with_engine(|engine| engine.get(Space::Live, &row))?;
            let record = record.ok_or_else(|| shared.records.damaged(Space::Live, &row))?;
            if shared.records.is_of_newest_key(&record) {
                break;
            }
            // Of the first it is enough to know that: what is not live goes with this commit or the next.
            if has_older {
                let payload = shared.records.open_block(&row, &record)?;
                cleaning::carry(&index, (number, block), &payload, &mut packer, &mut prepared.live.moved)?;
                (step.seen, step.sealed) = (step.seen + 1, step.sealed + 1);
            }
            has_older = true;
        }
        prepared.add(packer)?;
        drop(index);
        if has_older {
            self.write(prepared.with_tally(), &[])?;
        } else {
            self.rewriting = Place { spaces_done: self.rewriting.spaces_done + 1, after: Vec::new() };
        }
        Ok(step)
    }

    fn finish_rewriting(&mut self) -> Result<Rewritten, StoreError> {
        // Until then a crash may bring back records of before.
        self.persist()?;
        self.keyring(|keyring| keyring.retire())?;
        self.rewriting = Place::default();
        Ok(Rewritten { seen: 0, sealed: 0, done: true })
    }
}
