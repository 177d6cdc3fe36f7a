use std::{io, path::Path};

use crate::local::lay_out_files;

macro_rules! policy {
    ($org:literal, $($more:literal),*) => {
        ($org, policy!(@files $org, "policy.toml", "access.cedar", "row_filters.sql", "tests.toml", $($more),*))
    };
    (@files $org:literal, $($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../policies/demo/", $org, "/", $file)))),*]
    };
}

type Folder = (&'static str, &'static [(&'static str, &'static str)]);

/// `policies/demo` of the source, as it was built.
const FOLDERS: [Folder; 2] = [
    policy!(
        "acme",
        "decisions/api.rate-limit.cedar",
        "decisions/api.rate-limit-counted.cedar",
        "decisions/prod.access.senior-engineers.cedar",
        "decisions/prod.deployment.approval.cedar"
    ),
    policy!("globex",),
];

/// Copies the demo's policies to where their owner may edit them. An org's folder that has a policy already is left as
/// it is.
///
/// # Errors
/// The file system's.
pub(crate) fn lay_out(root: &Path) -> io::Result<()> {
    for (org, files) in FOLDERS {
        let folder = root.join(org);
        if !folder.join("policy.toml").exists() {
            lay_out_files(&folder, files)?;
        }
    }
    Ok(())
}
