//! A record: a value as it is stored, with what tells whether it is still the one that was written.
//!
//! ```text
//! plain   1 crc32c(space, row, value) value
//! sealed  2 key-id nonce sealed(value) tag
//! ```
//! The value of a live row is a [`block`], that of history and metadata belongs to one name. In a sealed store
//! rows of names are hashes of them, so those values begin with the name.

use crc32c::{crc32c, crc32c_append};
use parking_lot::RwLock;

use crate::{
    key::FactKey,
    seal::{Keyring, Nonces, Place, SEALED_HEAD, SealError, TAG_BYTES},
    state::Cell,
    store::{
        StoreError,
        block::{self, BLOCK_BYTES, Number},
        encoding::{Bytes, read_cell, write_bytes, write_cell},
        engine::Space,
    },
};

const PLAIN: u8 = 1;
const SEALED: u8 = 2;
const PLAIN_HEAD: usize = 1 + 4;
/// What hashed names are names of.
const KEY_NAME: u8 = 1;
const METADATA_NAME: u8 = 2;

/// The first byte of rows of metadata.
pub(super) const NAMED: u8 = b'm';
/// Stands between a key and a serial number in rows of the history of a plain store: no key has it.
const AFTER_KEY: u8 = 0;

#[derive(Debug)]
pub(super) struct Records {
    /// `None`: a plain store.
    pub(super) keyring: Option<RwLock<Keyring>>,
}

/// A part of a record that no two versions of a row share, but by chance: what a store has is compared by sums of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Check(pub(super) u64);

impl Check {
    /// Without looking whether the record is sound.
    pub(super) fn of(record: &[u8]) -> Check {
        match record.split_first() {
            Some((&SEALED, rest)) => Check(rest.last_chunk().map_or(0, |tag| u64::from_le_bytes(*tag))),
            Some((_, rest)) => Check(rest.first_chunk().map_or(0, |crc| u64::from(u32::from_le_bytes(*crc)))),
            None => Check(0),
        }
    }
}

impl Records {
    /// What rows of the key's history begin with; a serial number of eight bytes follows.
    pub(super) fn history_prefix(&self, key: &FactKey) -> Vec<u8> {
        match &self.keyring {
            None => [key.as_str().as_bytes(), &[AFTER_KEY]].concat(),
            Some(keyring) => keyring.read().hash_name(KEY_NAME, key.as_str()).to_vec(),
        }
    }

    pub(super) fn metadata_row(&self, name: &str) -> Vec<u8> {
        let mut row = vec![NAMED];
        match &self.keyring {
            None => row.extend_from_slice(name.as_bytes()),
            Some(keyring) => row.extend_from_slice(&keyring.read().hash_name(METADATA_NAME, name)),
        }
        row
    }

    /// The room for a record's head.
    pub(super) fn head_bytes(&self) -> usize {
        if self.keyring.is_some() { 1 + SEALED_HEAD } else { PLAIN_HEAD }
    }

    /// A block's record with nothing in it.
    pub(super) fn begun(&self) -> Vec<u8> {
        let head = self.head_bytes();
        let mut out = Vec::with_capacity(head + BLOCK_BYTES + 512 + TAG_BYTES);
        out.resize(head, 0);
        out
    }

    /// Makes a record of a block's facts, which are behind the room for the head.
    pub(super) fn seal_block(&self, block: Number, out: &mut Vec<u8>, nonces: &mut Nonces) -> Result<(), StoreError> {
        self.close(Space::Live, &block::row_of(block), out, nonces)
    }

    /// The facts of a block.
    pub(super) fn open_block(&self, row: &[u8], record: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.open(Space::Live, row, record)
    }

    pub(super) fn lost(
        &self,
        row: &[u8],
        key: &FactKey,
        cell: &Cell,
        nonces: &mut Nonces,
    ) -> Result<Vec<u8>, StoreError> {
        self.record(Space::History, row, key.as_str(), nonces, |out| write_cell(out, cell))
    }

    pub(super) fn metadata(
        &self,
        row: &[u8],
        name: &str,
        value: &[u8],
        nonces: &mut Nonces,
    ) -> Result<Vec<u8>, StoreError> {
        self.record(Space::Metadata, row, name, nonces, |out| out.extend_from_slice(value))
    }

    fn record(
        &self,
        space: Space,
        row: &[u8],
        name: &str,
        nonces: &mut Nonces,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(320);
        out.resize(self.head_bytes(), 0);
        if self.keyring.is_some() {
            write_bytes(&mut out, name.as_bytes());
        }
        write(&mut out);
        self.close(space, row, &mut out, nonces)?;
        Ok(out)
    }

    /// Seals what is behind the room for the head, or notes what tells whether it is still the same.
    fn close(&self, space: Space, row: &[u8], out: &mut Vec<u8>, nonces: &mut Nonces) -> Result<(), StoreError> {
        match (&self.keyring, out.first_mut()) {
            (Some(keyring), Some(format)) => {
                *format = SEALED;
                out.reserve_exact(TAG_BYTES);
                let sealed = keyring.read().seal(out, 1, place(space, row), nonces);
                sealed.ok_or_else(|| SealError::Random(getrandom::Error::UNEXPECTED).into())
            }
            (None, Some(format)) => {
                *format = PLAIN;
                let crc = plain_check(space, row, out.get(PLAIN_HEAD..).unwrap_or_default());
                out.iter_mut().skip(1).zip(crc.to_le_bytes()).for_each(|(to, from)| *to = from);
                Ok(())
            }
            (_, None) => Err(self.damaged(space, row)),
        }
    }

    pub(super) fn is_of_newest_key(&self, record: &[u8]) -> bool {
        let newest = self.keyring.as_ref().map(|keyring| keyring.read().newest());
        newest.is_none_or(|newest| record.get(1..5) == Some(&newest.0.to_le_bytes()))
    }

    /// The same value in a record of now: sealed with the newest key. `None`: it is so already.
    pub(super) fn renewed(
        &self,
        space: Space,
        row: &[u8],
        record: &[u8],
        nonces: &mut Nonces,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_of_newest_key(record) {
            return Ok(None);
        }
        let mut out = vec![0; self.head_bytes()];
        out.extend_from_slice(&self.open(space, row, record)?);
        self.close(space, row, &mut out, nonces)?;
        Ok(Some(out))
    }

    /// What was written, with the name before it if the store is sealed.
    fn open(&self, space: Space, row: &[u8], record: &[u8]) -> Result<Vec<u8>, StoreError> {
        let opened = match (&self.keyring, record.split_first()) {
            (None, Some((&PLAIN, rest))) => rest.split_first_chunk().and_then(|(crc, value)| {
                (plain_check(space, row, value) == u32::from_le_bytes(*crc)).then(|| value.to_vec())
            }),
            (Some(keyring), Some((&SEALED, rest))) => keyring.read().open_record(rest, place(space, row)),
            _ => None,
        };
        opened.ok_or_else(|| self.damaged(space, row))
    }

    pub(super) fn damaged(&self, space: Space, row: &[u8]) -> StoreError {
        let row = match &self.keyring {
            _ if space == Space::Live => match block::number_of(row) {
                Some(number) => format!("block {number}"),
                None => hex::encode(row),
            },
            None => String::from_utf8_lossy(row).escape_default().to_string(),
            Some(_) => hex::encode(row),
        };
        StoreError::Damaged { keyspace: space.name(), row }
    }

    /// The key and cell of a row.
    pub(super) fn read_lost(&self, row: &[u8], record: &[u8]) -> Result<(FactKey, Cell), StoreError> {
        let value = self.open(Space::History, row, record)?;
        let damaged = || self.damaged(Space::History, row);
        let key_row = row.split_last_chunk::<8>().map(|(before, _)| before);
        let key_row = match &self.keyring {
            None => key_row.and_then(|before| before.strip_suffix(&[AFTER_KEY])),
            Some(_) => key_row,
        };
        let (name, value) = self.split_name(&value, key_row.ok_or_else(damaged)?).ok_or_else(damaged)?;
        let key = FactKey::new(name).map_err(|_| damaged())?;
        Ok((key, read_cell(value).map_err(|_| damaged())?))
    }

    pub(super) fn read_metadata(&self, row: &[u8], record: &[u8]) -> Result<Vec<u8>, StoreError> {
        let value = self.open(Space::Metadata, row, record)?;
        let (_, value) = self.split_name(&value, row).ok_or_else(|| self.damaged(Space::Metadata, row))?;
        Ok(value.to_vec())
    }

    fn split_name<'a>(&self, value: &'a [u8], row: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
        match &self.keyring {
            None => Some((std::str::from_utf8(row).ok()?, value)),
            Some(_) => {
                let mut rest = Bytes(value);
                let name = rest.text()?;
                Some((name, rest.0))
            }
        }
    }
}

fn plain_check(space: Space, row: &[u8], value: &[u8]) -> u32 {
    crc32c_append(crc32c_append(crc32c(&[space.tag()]), row), value)
}

fn place(space: Space, row: &[u8]) -> Place<'_> {
    Place([SEALED, space.tag()], row)
}
