//! Sealing and opening of one record.

use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce, Tag, aead::AeadInOut};

use crate::seal::{SealError, key_file::Secret};

/// Bytes of a hashed name. Nobody without the key can look for two names with one hash, and a record says its name.
pub(crate) const NAME_BYTES: usize = 16;
pub(super) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;
/// What stands before a sealed record: the number of its key, and the nonce.
pub(crate) const SEALED_HEAD: usize = 4 + NONCE_BYTES;

/// Numbers grow with each rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DataKeyId(pub(crate) u32);

/// A cipher under one key. Its expanded key is wiped when it is dropped.
pub(super) struct Cipher(Aes256GcmSiv);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    pub(super) fn new(key: &Secret) -> Cipher {
        Cipher(Aes256GcmSiv::new(&(**key).into()))
    }

    /// Seals what is in `out` behind the room for a nonce at `start`; the nonce goes there, and the tag behind it all.
    pub(super) fn seal(&self, out: &mut Vec<u8>, start: usize, bound_to: &[u8], nonces: &mut Nonces) -> Option<()> {
        let nonce = nonces.next().ok()?;
        let (room, text) = out.get_mut(start..)?.split_first_chunk_mut::<NONCE_BYTES>()?;
        *room = nonce;
        let tag = self.0.encrypt_inout_detached(&Nonce::from(nonce), bound_to, text.into()).ok()?;
        out.extend_from_slice(&tag);
        Some(())
    }

    /// `None`: it was not sealed so, or has been changed since.
    pub(super) fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let mut text = text.to_vec();
        self.0
            .decrypt_inout_detached(&Nonce::from(*nonce), bound_to, text.as_mut_slice().into(), &Tag::from(*tag))
            .ok()?;
        Some(text)
    }
}

/// Random nonces, fetched many at once as each fetch is a system call.
pub(crate) struct Nonces {
    pool: Vec<[u8; NONCE_BYTES]>,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

impl Nonces {
    const AT_ONCE: usize = 256;

    pub(crate) fn new() -> Nonces {
        Nonces { pool: Vec::with_capacity(Nonces::AT_ONCE) }
    }

    fn next(&mut self) -> Result<[u8; NONCE_BYTES], SealError> {
        if self.pool.is_empty() {
            let mut bytes = [0; Nonces::AT_ONCE * NONCE_BYTES];
            getrandom::fill(&mut bytes).map_err(SealError::Random)?;
            self.pool.extend(bytes.as_chunks().0);
        }
        self.pool.pop().ok_or(SealError::Random(getrandom::Error::UNEXPECTED))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn sealed(key: u8, text: &[u8], bound_to: &[u8]) -> Vec<u8> {
        let mut out = b"head".to_vec();
        out.extend_from_slice(&[0; NONCE_BYTES]);
        out.extend_from_slice(text);
        Cipher::new(&Secret::new([key; 32])).seal(&mut out, 4, bound_to, &mut Nonces::new()).unwrap();
        assert!(out.starts_with(b"head"));
        out.split_off(4)
    }

    #[test]
    fn what_is_sealed_opens_as_what_it_is() {
        let cipher = Cipher::new(&Secret::new([1; 32]));
        for text in [&b""[..], b"x", &[7; 1_000]] {
            let record = sealed(1, text, b"here");
            assert_eq!(record.len(), text.len() + NONCE_BYTES + TAG_BYTES);
            assert_eq!(cipher.open(&record, b"here").unwrap(), text);
            assert_eq!(cipher.open(&record, b"there"), None);
            assert_eq!(cipher.open(&sealed(2, text, b"here"), b"here"), None);
        }
    }

    #[test]
    fn no_byte_of_a_sealed_record_may_differ() {
        let cipher = Cipher::new(&Secret::new([1; 32]));
        let record = sealed(1, b"approved", b"here");
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 0x10;
            assert_eq!(cipher.open(&changed, b"here"), None, "byte {at}");
            assert_eq!(cipher.open(&record[..at], b"here"), None, "the first {at} bytes");
        }
    }

    #[test]
    fn equal_texts_do_not_look_equal() {
        assert_ne!(sealed(1, b"approved", b"here"), sealed(1, b"approved", b"here"));
    }
}
