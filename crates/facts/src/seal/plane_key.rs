//! The key that nodes of a plane share, with which they seal what a broker carries for them.

use std::{fmt, io, path::Path};

use parking_lot::Mutex;

use crate::seal::{
    Nonces, SealError,
    cipher::{Cipher, NONCE_BYTES},
    key_file::{KeyFile, Secret},
};

/// Whoever has it may speak in the name of any node of the plane.
pub struct PlaneKey {
    cipher: Cipher,
    nonces: Mutex<Nonces>,
}

impl fmt::Debug for PlaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaneKey").finish_non_exhaustive()
    }
}

impl PlaneKey {
    /// From a file with 32 bytes in hexadecimal or base64, which nobody but its owner may read.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn read(path: &Path) -> Result<PlaneKey, SealError> {
        let missing = || SealError::KeyFile { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
        KeyFile::read(path)?.map(|file| PlaneKey::of(&file)).ok_or_else(missing)
    }

    /// A new one in a new file, which every node of the plane then needs.
    ///
    /// # Errors
    /// [`SealError`], also when there is such a file.
    pub fn create(path: &Path) -> Result<PlaneKey, SealError> {
        KeyFile::create(path).map(|file| PlaneKey::of(&file))
    }

    fn of(file: &KeyFile) -> PlaneKey {
        // The file may serve other ends too; what is sealed for one is nothing to another.
        let key = Secret::new(blake3::derive_key("weir facts: what a broker carries", &*file.key));
        PlaneKey { cipher: Cipher::new(&key), nonces: Mutex::new(Nonces::new()) }
    }

    /// Seals what is in `out` after `start`. `None`: the system gave no random number.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, start: usize, bound_to: &[u8]) -> Option<()> {
        out.splice(start..start, [0; NONCE_BYTES]);
        self.cipher.seal(out, start, bound_to, &mut self.nonces.lock())
    }

    /// `None`: it was not sealed so, or has been changed since.
    pub(crate) fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
        self.cipher.open(sealed, bound_to)
    }
}
