use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use weir_policy::{Diagnostic, Source, directory};

use crate::private_file::Stamp;

/// A file younger than this may change again without its stamp showing it, so it is read again.
const RACY: Duration = Duration::from_secs(2);

/// One policy directory, and what was last seen of it.
#[derive(Debug)]
pub(crate) struct WatchedDirectory {
    path: PathBuf,
    stamps: Vec<Option<Stamp>>,
    racy: bool,
    last: Option<Result<Source, Vec<Diagnostic>>>,
}

impl WatchedDirectory {
    pub fn new(path: &Path) -> WatchedDirectory {
        WatchedDirectory { path: path.to_owned(), stamps: Vec::new(), racy: true, last: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands there, if it differs from what was last told. Costs a `stat` for each file when nothing changed.
    pub fn changed(&mut self) -> Option<&Result<Source, Vec<Diagnostic>>> {
        let files = directory::files(&self.path);
        let stamps: Vec<Option<Stamp>> = files.iter().map(|file| Stamp::of(file).ok().flatten()).collect();
        if stamps == self.stamps && !self.racy {
            return None;
        }
        self.racy = files.iter().any(|file| is_young(file));
        self.stamps = stamps;
        let now = directory::read(&self.path);
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now);
        self.last.as_ref()
    }
}

fn is_young(file: &Path) -> bool {
    let modified = std::fs::metadata(file).and_then(|about| about.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).map_or(true, |age| age < RACY))
}
