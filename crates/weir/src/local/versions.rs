use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use weir_model::OrgName;

use crate::private_file;

/// The version each org's policy has, kept across restarts: it grows with every change and never goes back, so that an
/// older bundle can be told from a newer one for as long as the installation lives.
#[derive(Debug)]
pub(crate) struct Versions {
    path: PathBuf,
    held: BTreeMap<OrgName, Held>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    version: u64,
    content_hash: String,
}

impl Versions {
    /// # Errors
    /// A file that cannot be read or is broken.
    pub fn open(data: &Path) -> io::Result<Versions> {
        let path = data.join("keys").join("bundle_versions.json");
        let held = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| io::Error::other(format!("{} is broken: {error}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Versions { path, held })
    }

    /// The version of this content: the held one if it is the held content, else one more, which is durable before it
    /// is returned.
    ///
    /// # Errors
    /// The file cannot be written; then no version was given out.
    pub fn of(&mut self, org: &OrgName, content_hash: &str) -> io::Result<u64> {
        let held = self.held.get(org);
        if let Some(held) = held.filter(|held| held.content_hash == content_hash) {
            return Ok(held.version);
        }
        let version = held.map_or(1, |held| held.version.saturating_add(1));
        let mut changed = self.held.clone();
        changed.insert(org.clone(), Held { version, content_hash: content_hash.to_owned() });
        if let Some(folder) = self.path.parent() {
            private_file::create_folder(folder)?;
        }
        private_file::replace(&self.path, &serde_json::to_vec_pretty(&changed)?)?;
        self.held = changed;
        Ok(version)
    }
}
