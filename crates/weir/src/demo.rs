//! The demo: an org with the TPC-H tables, loaded once through the ordinary write path by an ordinary session, and
//! keys for its agents.

mod agents;
mod env_file;
mod fact_tokens;
mod load;
mod marker;
mod policies;
mod progress;
mod tables;

pub(crate) use self::{
    agents::{DEMO_ORG, issue_keys},
    env_file::EnvFile,
    load::load,
    policies::lay_out,
};
