//! The control plane of local mode: policy directories compiled, signed with this installation's own key, and offered
//! to the data plane, which verifies them as it would any other. Changes are noticed four times a second.

mod control;
mod directory;
mod signer;
mod starter;
mod versions;
mod watch;

pub(crate) use self::{
    control::{Control, Recipient},
    signer::{load_or_make_key, mask_key},
    starter::{STARTER_ORG, lay_out, lay_out_files},
    watch::Watch,
};

#[cfg(test)]
mod tests;
