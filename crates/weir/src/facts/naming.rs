//! Whose facts they are, and how this node is called.

use std::{fs, io, path::Path};

use weir_facts::NodeId;
use weir_model::OrgName;
use weir_policy::{Validity, compile, directory};

use crate::{config::Config, demo::DEMO_ORG, failure::Failure, private_file};

/// The one org whose facts this process keeps.
///
/// # Errors
/// Why there is none.
pub(super) fn org(config: &Config) -> Result<OrgName, String> {
    if let Some(org) = &config.facts_org {
        return Ok(org.clone());
    }
    if config.demo {
        return OrgName::new(DEMO_ORG).map_err(|error| error.to_string());
    }
    let policies = config.policies_dir();
    let folders = directory::find(&policies).map_err(|diagnostic| diagnostic.to_string())?;
    let [folder] = folders.as_slice() else {
        let count = folders.len();
        return Err(format!("{count} orgs have policies, and `facts.org` does not say whose facts to keep"));
    };
    let validity = Validity { version: 1, issued_at: 0, not_after: i64::MAX };
    let compiled = directory::read(folder).and_then(|source| compile(&source, validity));
    let unread = |_| {
        format!("the policy in {} cannot be read, and `facts.org` does not say whose facts to keep", folder.display())
    };
    compiled.map(|bundle| bundle.org).map_err(unread)
}

/// The configured name, or the one that the first start made: writes are known by it.
pub(super) fn node(config: &Config, folder: &Path) -> Result<NodeId, Failure> {
    if let Some(node) = &config.facts_node {
        return Ok(node.clone());
    }
    let path = folder.join("node");
    match fs::read_to_string(&path) {
        Ok(text) => NodeId::new(text.trim()).map_err(|error| Failure::new(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 4];
            getrandom::fill(&mut random)?;
            let node = NodeId::new(&format!("node-{}", hex::encode(random)))?;
            private_file::replace(&path, format!("{node}\n").as_bytes())
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            Ok(node)
        }
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}
