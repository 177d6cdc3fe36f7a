use std::{fs, io, path::Path};

use crate::private_file;

/// The org of the policy that a first start lays out.
pub(crate) const STARTER_ORG: &str = "main";

const FILES: [(&str, &str); 4] = [
    ("policy.toml", include_str!("starter/policy.toml")),
    ("access.cedar", include_str!("starter/access.cedar")),
    ("row_filters.sql", include_str!("starter/row_filters.sql")),
    ("tests.toml", include_str!("starter/tests.toml")),
];

/// Lays out a small policy to begin with, in a folder of its org. It lets nobody in: there is no key yet.
///
/// # Errors
/// The file system's. An interrupted layout leaves no `policy.toml`, so that it is no policy and the next start
/// completes it.
pub(crate) fn lay_out(root: &Path) -> io::Result<()> {
    lay_out_files(&root.join(STARTER_ORG), &FILES)
}

/// Writes a policy directory, `policy.toml` last: until it is there, the folder is no policy.
pub(crate) fn lay_out_files(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == "policy.toml");
    for (name, text) in first.iter().chain(&last) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            private_file::create_folder(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
