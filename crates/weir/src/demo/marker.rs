use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{failure::Failure, private_file};

/// `<data>/demo.json`: which tables are loaded. It is there before the first table is made, so that what lies in a
/// table not named here is known to be an interrupted load of ours, and never somebody's data.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    #[serde(skip)]
    path: PathBuf,
    pub scale: f64,
    loaded: Vec<String>,
}

impl Marker {
    /// None when no load ever began.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(data: &Path) -> Result<Option<Marker>, Failure> {
        let path = data.join("demo.json");
        let broken = |error: String| Failure::new(format!("{}: {error}", path.display()));
        match fs::read(&path) {
            Ok(bytes) => {
                let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
                Ok(Some(Marker { path, ..marker }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// # Errors
    /// The file system's.
    pub fn begin(data: &Path, scale: f64) -> Result<Marker, Failure> {
        let marker = Marker { path: data.join("demo.json"), scale, loaded: Vec::new() };
        marker.write()?;
        Ok(marker)
    }

    pub fn has(&self, table: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded == table)
    }

    /// # Errors
    /// The file system's.
    pub fn add(&mut self, table: &str) -> Result<(), Failure> {
        self.loaded.push(table.to_owned());
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        private_file::replace(&self.path, &serde_json::to_vec_pretty(self)?)
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }
}
