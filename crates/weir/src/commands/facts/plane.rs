use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use weir_facts::{NodeId, PlaneKey, PlaneName, create_plane_authority, issue_certificate};

use super::{lifetime, table};
use crate::failure::Failure;

/// Make what nodes prove themselves to each other with.
#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Plane {
    /// Make a plane's authority: ca.crt, which every node needs, and ca.key, which belongs on none
    Create(Create),
    /// Make a node's certificate and key
    Certificate(Certificate),
    /// Make the key that nodes seal with what a NATS broker carries; every node needs the same
    Key(Key),
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Create {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// The plane's name; nodes take it to be their org's unless `facts.peers.plane` says otherwise
    #[arg(long, value_name = "NAME", value_parser = plane)]
    plane: PlaneName,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Certificate {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// The plane's name
    #[arg(long, value_name = "NAME", value_parser = plane)]
    plane: PlaneName,
    /// The node's name, which `facts.node` says on it
    #[arg(long, value_name = "NAME", value_parser = node)]
    node: NodeId,
    /// Folder for <node>.crt and <node>.key, such as keys/facts in the node's data folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Time until it ends: 90s, 45m, 12h, 30d
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime)]
    ttl: i64,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Key {
    /// The new file, such as keys/facts/plane.key in a node's data folder
    file: PathBuf,
}

fn plane(text: &str) -> Result<PlaneName, String> {
    PlaneName::new(text).map_err(|error| error.to_string())
}

pub(super) fn node(text: &str) -> Result<NodeId, String> {
    NodeId::new(text).map_err(|error| error.to_string())
}

impl Plane {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Plane::Create(Create { authority, plane }) => {
                let (certificate, key) = create_plane_authority(&authority, &plane).map_err(Failure::new)?;
                table::print(&format!("{}\n{}\n", certificate.display(), key.display()))
            }
            Plane::Certificate(Certificate { authority, plane, node, out, ttl }) => {
                let valid = Duration::from_secs(ttl.unsigned_abs());
                let made = issue_certificate(&authority, &plane, &node, SystemTime::now(), valid, &out);
                let (certificate, key) = made.map_err(Failure::new)?;
                table::print(&format!("{}\n{}\n", certificate.display(), key.display()))
            }
            Plane::Key(Key { file }) => {
                PlaneKey::create(&file).map_err(Failure::new)?;
                table::print(&format!("{}\n", file.display()))
            }
        }
    }
}
