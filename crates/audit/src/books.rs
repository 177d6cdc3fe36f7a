use std::{fs::File, io::Write as _, path::PathBuf};

use crate::{
    AuditError, Checkpoint, Hash,
    checkpoint::SEPARATOR,
    error::AppendError,
    layout::{self, Layout},
};

/// The files that checkpoints are written to.
#[derive(Debug)]
pub(crate) struct Books {
    pub leaves: File,
    pub checkpoints: File,
    /// The newest checkpoint, and its note.
    pub newest: Option<(Checkpoint, String)>,
}

impl Books {
    /// Appends a checkpoint with the leaves it vouches for, and puts it at the head. On a full disk, none of that.
    pub fn append(&mut self, layout: &Layout, leaves: &[Hash], note: &str) -> Result<(), AppendError> {
        let length = |file: &File, path: PathBuf| {
            let metadata = file.metadata().map_err(AuditError::io(path)).map_err(AppendError::Broken)?;
            Ok::<u64, AppendError>(metadata.len())
        };
        let before = (length(&self.leaves, layout.leaves())?, length(&self.checkpoints, layout.checkpoints())?);
        let mut path = layout.leaves();
        let mut append = || {
            self.append_leaves(leaves)?;
            path = layout.checkpoints();
            self.append_checkpoint(note)?;
            path = layout.head();
            layout::replace(&path, note.as_bytes(), true)
        };
        let appended = append();
        appended.map_err(|error| {
            AppendError::of(path, error, || {
                self.checkpoints.set_len(before.1)?;
                self.leaves.set_len(before.0)
            })
        })
    }

    fn append_leaves(&mut self, leaves: &[Hash]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(leaves.len() * 32);
        leaves.iter().for_each(|leaf| bytes.extend_from_slice(leaf.as_bytes()));
        self.leaves.write_all(&bytes)?;
        self.leaves.sync_data()
    }

    fn append_checkpoint(&mut self, note: &str) -> std::io::Result<()> {
        self.checkpoints.write_all(format!("{note}{SEPARATOR}").as_bytes())?;
        self.checkpoints.sync_data()
    }
}
