use std::{fs, io, path::Path};

use weir_model::OrgName;
use weir_policy::BundleKey;

use crate::{failure::Failure, private_file};

/// The key that signs this installation's bundles: made at the first start, kept in `<data>/keys/bundle.ed25519`.
///
/// # Errors
/// A file that cannot be read or written, that others may read, or that holds no key. A key that is lost is not
/// replaced in silence: only where there is no file at all, one is made.
pub(crate) fn load_or_make_key(data: &Path) -> Result<BundleKey, Failure> {
    let path = data.join("keys").join("bundle.ed25519");
    let pem = secret(&path, || Ok(BundleKey::generate()?.to_pem()?.into_bytes()))?;
    let pem = String::from_utf8(pem).map_err(|_| Failure::new(format!("{}: not a text file", path.display())))?;
    BundleKey::from_pem(&pem).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// The org's key for hash masks: equal values stay equal within the org, and tell nothing outside it.
///
/// # Errors
/// As for [`load_or_make_key`].
pub(crate) fn mask_key(data: &Path, org: &OrgName) -> Result<[u8; 32], Failure> {
    let path = data.join("keys").join("masks").join(format!("{org}.key"));
    let text = secret(&path, || {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(hex::encode(key).into_bytes())
    })?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key)
        .map_err(|_| Failure::new(format!("{}: not a key of 64 hexadecimal digits", path.display())))?;
    Ok(key)
}

/// The file's content; where there is no file, it is made first.
fn secret(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, Failure>) -> Result<Vec<u8>, Failure> {
    let named = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    match fs::read(path) {
        Ok(bytes) => {
            if private_file::is_exposed(path).map_err(named)? {
                let shown = path.display();
                return Err(Failure::new(format!("{shown} can be read by others")).hint(format!("chmod 600 {shown}")));
            }
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                private_file::create_folder(folder).map_err(named)?;
            }
            let bytes = make()?;
            private_file::replace(path, &bytes).map_err(named)?;
            Ok(bytes)
        }
        Err(error) => Err(named(error)),
    }
}
