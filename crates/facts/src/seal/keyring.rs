//! The keys of a store, and the file that holds them wrapped.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    key::KEY_BYTES_MAX,
    seal::{
        DataKeyId, KeyFile, NAME_BYTES, SealError,
        cipher::{Cipher, NONCE_BYTES, Nonces},
        key_file::{Secret, random_secret, sync_folder_of},
    },
};

const FILE: &str = "keys";
const VERSION: u32 = 1;

/// As it is in the file: wrapped keys in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Wrapped {
    version: u32,
    /// Tells a wrong key from a damaged file.
    key_check: String,
    name_key: String,
    data_keys: BTreeMap<u32, String>,
}

struct DataKey {
    secret: Secret,
    cipher: Cipher,
}

/// See the module.
pub(crate) struct Keyring {
    path: PathBuf,
    key_file: KeyFile,
    name_key: Secret,
    data_keys: BTreeMap<DataKeyId, DataKey>,
    newest: DataKeyId,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.data_keys.keys().collect();
        f.debug_struct("Keyring").field("path", &self.path).field("data_keys", &ids).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Whether a store has wrapped keys.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    pub(crate) fn create(folder: &Path, key_file: KeyFile) -> Result<Keyring, SealError> {
        let mut keyring = Keyring {
            path: folder.join(FILE),
            key_file,
            name_key: random_secret()?,
            data_keys: BTreeMap::new(),
            newest: DataKeyId(0),
        };
        keyring.rotate()?;
        Ok(keyring)
    }

    pub(crate) fn open(folder: &Path, key_file: KeyFile) -> Result<Keyring, SealError> {
        let path = folder.join(FILE);
        let text = fs::read(&path).map_err(|source| SealError::Keys { path: path.clone(), source })?;
        let damaged = || SealError::KeysDamaged { path: path.clone() };
        let wrapped: Wrapped = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if wrapped.version != VERSION {
            return Err(damaged());
        }
        if wrapped.key_check != key_check(&key_file.key) {
            return Err(SealError::WrongKey { folder: folder.to_owned(), path: key_file.path });
        }
        let name_key = unwrap(&key_file.key, None, &wrapped.name_key).ok_or_else(damaged)?;
        let mut data_keys = BTreeMap::new();
        for (id, text) in &wrapped.data_keys {
            let secret = unwrap(&key_file.key, Some(DataKeyId(*id)), text).ok_or_else(damaged)?;
            let cipher = Cipher::new(&secret);
            data_keys.insert(DataKeyId(*id), DataKey { secret, cipher });
        }
        let newest = data_keys.keys().next_back().copied().ok_or_else(damaged)?;
        Ok(Keyring { path, key_file, name_key, data_keys, newest })
    }

    /// The key that records are sealed with now.
    pub(crate) fn newest(&self) -> DataKeyId {
        self.newest
    }

    pub(crate) fn data_keys(&self) -> usize {
        self.data_keys.len()
    }

    /// A new data key; what was sealed before stays readable.
    pub(crate) fn rotate(&mut self) -> Result<DataKeyId, SealError> {
        let secret = random_secret()?;
        let id = DataKeyId(self.newest.0.saturating_add(1));
        self.data_keys.insert(id, DataKey { cipher: Cipher::new(&secret), secret });
        // Nothing may be sealed with a key that is not kept.
        if let Err(error) = self.save(&self.key_file) {
            self.data_keys.remove(&id);
            return Err(error);
        }
        self.newest = id;
        Ok(id)
    }

    /// Forgets every data key but the newest: nothing that is still needed is sealed with them.
    pub(crate) fn retire(&mut self) -> Result<(), SealError> {
        let newest = self.newest;
        self.data_keys.retain(|id, _| *id == newest);
        self.save(&self.key_file)
    }

    /// Wraps the keys with another key-encryption key.
    pub(crate) fn rewrap(&mut self, key_file: KeyFile) -> Result<(), SealError> {
        self.save(&key_file)?;
        self.key_file = key_file;
        Ok(())
    }

    fn save(&self, key_file: &KeyFile) -> Result<(), SealError> {
        let mut nonces = Nonces::new();
        let mut wrap = |id, secret| {
            wrap(&key_file.key, id, secret, &mut nonces).ok_or(SealError::Random(getrandom::Error::UNEXPECTED))
        };
        let mut data_keys = BTreeMap::new();
        for (id, key) in &self.data_keys {
            data_keys.insert(id.0, wrap(Some(*id), &key.secret)?);
        }
        let name_key = wrap(None, &self.name_key)?;
        let wrapped = Wrapped { version: VERSION, key_check: key_check(&key_file.key), name_key, data_keys };
        let failed = |source| SealError::Keys { path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(&wrapped).map_err(|error| failed(error.into()))?;
        let beside = self.path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&beside, &self.path).and_then(|()| sync_folder_of(&self.path)).map_err(failed)
    }

    /// What a name is called in the store. `kind` keeps names of different things apart.
    pub(crate) fn hash_name(&self, kind: u8, name: &str) -> [u8; NAME_BYTES] {
        let mut named = [0; 1 + KEY_BYTES_MAX];
        let hash = match named.get_mut(..=name.len()) {
            // At once, which is faster than piece by piece.
            Some(named) => {
                named.iter_mut().zip([kind].iter().chain(name.as_bytes())).for_each(|(to, from)| *to = *from);
                blake3::keyed_hash(&self.name_key, named)
            }
            None => blake3::Hasher::new_keyed(&self.name_key).update(&[kind]).update(name.as_bytes()).finalize(),
        };
        let mut short = [0; NAME_BYTES];
        short.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        short
    }

    /// Seals with the newest key what is in `out` behind the [`SEALED_HEAD`](crate::seal::SEALED_HEAD) bytes at `start`, which become the head.
    /// `place` is what the record is bound to.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, start: usize, place: Place<'_>, nonces: &mut Nonces) -> Option<()> {
        let id = self.newest.0.to_le_bytes();
        *out.get_mut(start..)?.first_chunk_mut::<4>()? = id;
        self.data_keys.get(&self.newest)?.cipher.seal(out, start + id.len(), &place.under(id), nonces)
    }

    /// `None`: it was not sealed for this place by a key that is known, or has been changed since.
    pub(crate) fn open_record(&self, sealed: &[u8], place: Place<'_>) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<4>()?;
        let key = self.data_keys.get(&DataKeyId(u32::from_le_bytes(*id)))?;
        key.cipher.open(rest, &place.under(*id))
    }
}

/// Where a record is, so that it opens nowhere else: its format and space, and its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a>(pub(crate) [u8; 2], pub(crate) &'a [u8]);

impl Place<'_> {
    fn under(self, id: [u8; 4]) -> Vec<u8> {
        let Place(format_and_space, row) = self;
        let mut bytes = Vec::with_capacity(id.len() + format_and_space.len() + row.len());
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&format_and_space);
        bytes.extend_from_slice(row);
        bytes
    }
}

fn key_check(key: &Secret) -> String {
    let hash = blake3::keyed_hash(key, b"weir facts: check of a key-encryption key");
    hash.to_hex().chars().take(16).collect()
}

/// `None` as id: the key of names.
fn purpose(id: Option<DataKeyId>) -> Vec<u8> {
    match id {
        None => b"weir facts: key of names".to_vec(),
        Some(id) => [b"weir facts: data key ".as_slice(), &id.0.to_le_bytes()].concat(),
    }
}

fn wrap(key: &Secret, id: Option<DataKeyId>, secret: &Secret, nonces: &mut Nonces) -> Option<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    bytes.extend_from_slice(&[0; NONCE_BYTES]);
    bytes.extend_from_slice(&**secret);
    Cipher::new(key).seal(&mut bytes, 0, &purpose(id), nonces)?;
    Some(hex::encode(&*bytes))
}

fn unwrap(key: &Secret, id: Option<DataKeyId>, text: &str) -> Option<Secret> {
    let opened = Zeroizing::new(Cipher::new(key).open(&hex::decode(text).ok()?, &purpose(id))?);
    let mut secret = Secret::default();
    secret.copy_from_slice(opened.get(..32).filter(|_| opened.len() == 32)?);
    Some(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::seal::SEALED_HEAD;

    const HERE: Place<'_> = Place([2, 1], b"row");

    fn key_file(folder: &Path, name: &str) -> KeyFile {
        let path = folder.join(name);
        KeyFile::read(&path).unwrap().unwrap_or_else(|| KeyFile::create(&path).unwrap())
    }

    fn sealed(keyring: &Keyring, text: &[u8]) -> Vec<u8> {
        let mut out = vec![0; SEALED_HEAD];
        out.extend_from_slice(text);
        keyring.seal(&mut out, 0, HERE, &mut Nonces::new()).unwrap();
        out
    }

    #[test]
    fn records_outlive_rotations_and_retired_keys_do_not_open_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::create(folder.path(), key_file(folder.path(), "a.key")).unwrap();
        let old = sealed(&keyring, b"text");
        keyring.rotate().unwrap();
        let new = sealed(&keyring, b"text");
        let mut again = Keyring::open(folder.path(), key_file(folder.path(), "a.key")).unwrap();
        assert_eq!((again.newest(), again.data_keys()), (DataKeyId(2), 2));
        for record in [&old, &new] {
            assert_eq!(again.open_record(record, HERE).unwrap(), b"text");
            for elsewhere in [Place([2, 1], b"other row"), Place([2, 2], b"row")] {
                assert_eq!(again.open_record(record, elsewhere), None);
            }
        }
        assert_eq!(again.hash_name(0, "a.b"), keyring.hash_name(0, "a.b"));
        assert_ne!(again.hash_name(0, "a.b"), keyring.hash_name(1, "a.b"));
        // Names of any length have the hash that they always had.
        for length in [0, KEY_BYTES_MAX, KEY_BYTES_MAX + 1] {
            let name = "n".repeat(length);
            let whole = blake3::keyed_hash(&keyring.name_key, format!("\u{1}{name}").as_bytes());
            assert_eq!(keyring.hash_name(1, &name), whole.as_bytes()[..NAME_BYTES]);
        }
        again.retire().unwrap();
        assert_eq!(again.open_record(&old, HERE), None);
        assert_eq!(again.open_record(&new, HERE).unwrap(), b"text");
    }

    #[test]
    fn another_key_wraps_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::create(folder.path(), key_file(folder.path(), "a.key")).unwrap();
        let record = sealed(&keyring, b"text");
        let wrong = Keyring::open(folder.path(), key_file(folder.path(), "b.key")).unwrap_err();
        assert!(matches!(wrong, SealError::WrongKey { .. }), "{wrong}");
        keyring.rewrap(key_file(folder.path(), "b.key")).unwrap();
        let again = Keyring::open(folder.path(), key_file(folder.path(), "b.key")).unwrap();
        assert_eq!(again.open_record(&record, HERE).unwrap(), b"text");
        let late = Keyring::open(folder.path(), key_file(folder.path(), "a.key")).unwrap_err();
        assert!(matches!(late, SealError::WrongKey { .. }), "{late}");
    }

    #[test]
    fn damage_to_the_wrapped_keys_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::create(folder.path(), key_file(folder.path(), "a.key")).unwrap();
        let text = fs::read_to_string(&keyring.path).unwrap();
        let name_key = text.lines().find(|line| line.contains("name_key")).unwrap();
        let swapped = name_key.replace("\": \"", "\": \"00");
        for damaged in ["", "{}", &text.replace(name_key, &swapped), &text.replace("\"1\": ", "\"2\": ")] {
            fs::write(&keyring.path, damaged).unwrap();
            let error = Keyring::open(folder.path(), key_file(folder.path(), "a.key")).unwrap_err();
            assert!(matches!(error, SealError::KeysDamaged { .. }), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::create(folder.path(), key_file(folder.path(), "a.key")).unwrap();
        let shown = format!("{keyring:?} {}", fs::read_to_string(&keyring.path).unwrap());
        let secrets = [&keyring.name_key, &keyring.data_keys[&DataKeyId(1)].secret, &keyring.key_file.key];
        assert!(secrets.iter().all(|secret| !shown.contains(&hex::encode(***secret))));
    }
}
