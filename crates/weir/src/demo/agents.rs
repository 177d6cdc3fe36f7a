use std::{net::SocketAddr, path::Path};

use weir_model::{Attributes, CredentialKind, OrgName};

use super::{env_file::EnvFile, fact_tokens};
use crate::{
    clock::unix_now,
    facts::FactsPlane,
    failure::Failure,
    keys::{ApiKey, KeyFile, KeyRecord, KeyRequest},
};

/// One agent of the demo. What it may do stands in the policy under its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DemoAgent {
    /// Its line in `demo.env`: `<NAME>_URL`.
    pub name: &'static str,
    pub org: &'static str,
    pub agent: &'static str,
}

/// The org of the demo's tables and facts.
pub(crate) const DEMO_ORG: &str = "acme";

const fn agent(name: &'static str, org: &'static str, agent: &'static str) -> DemoAgent {
    DemoAgent { name, org, agent }
}

pub(crate) const AGENTS: [DemoAgent; 8] = [
    agent("ANALYST_EU", "acme", "analyst_eu"),
    agent("ANALYST_US", "acme", "analyst_us"),
    agent("SUPPORT", "acme", "support"),
    agent("AUDITOR", "acme", "auditor"),
    agent("OPERATOR", "acme", "operator"),
    agent("ADMIN", "acme", "admin"),
    agent("BROKE", "acme", "broke"),
    agent("GLOBEX", "globex", "admin"),
];

/// Gives each agent a key, and each service a token where there are facts, and writes `<data>/demo.env`. Those that the
/// file has and that still hold are kept, so that a restart, also on another port, changes no credential.
///
/// # Errors
/// The key file, a token's file or `demo.env` cannot be read or written.
pub(crate) fn issue_keys(data: &Path, listen: SocketAddr, facts: &FactsPlane) -> Result<EnvFile, Failure> {
    let old = EnvFile::read(data)?;
    let file = KeyFile::in_data(data);
    let now = unix_now();
    let mut env = file.update(|keys| {
        let mut env = EnvFile::new(data, listen);
        for demo in AGENTS {
            let holds = |key: &ApiKey| keys.iter().any(|record| record.is_of(key) && record.holds(now));
            let kept = old.key(demo.name).filter(holds);
            let key = match kept {
                Some(key) => key,
                None => {
                    let request = KeyRequest {
                        kind: CredentialKind::Agent,
                        org: OrgName::new(demo.org)?,
                        agent: demo.agent.to_owned(),
                        roles: Vec::new(),
                        attributes: Attributes::new(),
                        expires_at: None,
                    };
                    let (key, record) = KeyRecord::issue(request, now)?;
                    keys.push(record);
                    key
                }
            };
            env.add(demo, &key);
        }
        Ok::<_, Failure>(env)
    })?;
    fact_tokens::issue(facts, &old, &mut env)?;
    env.write()?;
    Ok(env)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_restart_on_another_port_keeps_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let first = issue_keys(folder.path(), "127.0.0.1:5439".parse().unwrap(), &FactsPlane::off()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("demo.env")).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("_URL=postgres://")).count(), AGENTS.len(), "{text}");
        assert!(!crate::private_file::is_exposed(&folder.path().join("demo.env")).unwrap());
        let second = issue_keys(folder.path(), "0.0.0.0:6000".parse().unwrap(), &FactsPlane::off()).unwrap();
        let moved = first.url("ADMIN").unwrap().replace("127.0.0.1:5439", "127.0.0.1:6000");
        assert_eq!(second.url("ADMIN").unwrap(), moved);
        assert_eq!(KeyFile::in_data(folder.path()).load().unwrap().len(), AGENTS.len());
    }

    #[test]
    fn a_revoked_key_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let listen: SocketAddr = "127.0.0.1:5439".parse().unwrap();
        let first = issue_keys(folder.path(), listen, &FactsPlane::off()).unwrap();
        let revoke = |keys: &mut Vec<KeyRecord>| {
            keys.iter_mut().for_each(|record| record.revoked_at = Some(1));
            Ok::<_, Failure>(())
        };
        KeyFile::in_data(folder.path()).update(revoke).unwrap();
        let second = issue_keys(folder.path(), listen, &FactsPlane::off()).unwrap();
        assert_ne!(first.url("ADMIN"), second.url("ADMIN"));
    }
}
