//! This node among others, as the configuration says.

use std::{collections::BTreeSet, path::PathBuf};

use weir_facts::{
    Credentials, GossipConfig, NodeId, PeersConfig, PlaneKey, PlaneName, PubSubConfig, ServerAddress, Start,
};
use weir_model::OrgName;

use crate::{
    config::{Config, PeersMode, PeersStart},
    failure::Failure,
};

/// How a node begins that has nothing yet.
pub(super) fn start(config: &Config) -> Start {
    match (config.facts_peers_mode, config.facts_peers_start) {
        (PeersMode::None, _) | (_, PeersStart::Found) => Start::Founding,
        (_, PeersStart::Join) => Start::Joining,
    }
}

/// None where it is alone.
///
/// # Errors
/// A mistake: a file that is missing or not what it should be, no address of a broker.
pub(super) fn config(config: &Config, org: &OrgName, node: &NodeId) -> Result<Option<PeersConfig>, Failure> {
    let mut peers = match config.facts_peers_mode {
        PeersMode::None => return Ok(None),
        PeersMode::Gossip => PeersConfig::gossip(gossip(config, node)?),
        PeersMode::Pubsub => PeersConfig::pubsub(pubsub(config, org)?),
        PeersMode::Hybrid => PeersConfig::hybrid(gossip(config, node)?, pubsub(config, org)?),
    };
    if let Some(gossip) = &peers.gossip {
        let (own, wanted) = (gossip.credentials.plane(), plane(config, org)?);
        if *own != wanted {
            return Err(Failure::new(format!("the certificate is one of plane `{own}`, and this is plane `{wanted}`"))
                .hint("set `facts.peers.plane`, or make a certificate with `weir facts plane certificate`"));
        }
    }
    let allowed = config.facts_peers_allowed.0.iter();
    let allowed: Result<BTreeSet<NodeId>, _> = allowed.map(|name| NodeId::new(name)).collect();
    let allowed = allowed.map_err(|error| Failure::new(format!("`facts.peers.allowed`: {error}")))?;
    peers.allowed = (!allowed.is_empty()).then_some(allowed);
    Ok(Some(peers))
}

fn plane(config: &Config, org: &OrgName) -> Result<PlaneName, Failure> {
    match &config.facts_peers_plane {
        Some(plane) => Ok(plane.clone()),
        None => PlaneName::new(org.as_str())
            .map_err(|error| Failure::new(error.to_string()).hint("set `facts.peers.plane`")),
    }
}

fn gossip(config: &Config, node: &NodeId) -> Result<GossipConfig, Failure> {
    let file = |given: &Option<PathBuf>, name: String| given.clone().unwrap_or_else(|| folder(config).join(name));
    let credentials = Credentials::read(
        &file(&config.facts_peers_authority_file, "ca.crt".to_owned()),
        &file(&config.facts_peers_cert_file, format!("{node}.crt")),
        &file(&config.facts_peers_key_file, format!("{node}.key")),
    );
    let credentials = credentials.map_err(|error| {
        Failure::new(format!("facts are to be replicated, and there is no certificate to do it with: {error}")).hint(
            "`weir facts plane create` makes an authority, `weir facts plane certificate` each node's certificate",
        )
    })?;
    if credentials.node() != node {
        return Err(Failure::new(format!(
            "the certificate is that of node `{}`, and this is `{node}`",
            credentials.node()
        ))
        .hint("set `facts.node` to the name in the certificate"));
    }
    Ok(GossipConfig {
        credentials,
        listen: config.facts_peers_listen.clone(),
        advertise: config.facts_peers_advertise.clone(),
        seeds: config.facts_peers_seeds.0.clone(),
    })
}

fn pubsub(config: &Config, org: &OrgName) -> Result<PubSubConfig, Failure> {
    let servers = config.facts_nats_servers.0.iter().map(|text| text.parse::<ServerAddress>());
    let servers: Vec<ServerAddress> =
        servers.collect::<Result<_, _>>().map_err(|error| Failure::new(format!("`facts.nats.servers`: {error}")))?;
    if servers.is_empty() {
        return Err(Failure::new("facts are to be replicated over NATS, and `facts.nats.servers` names no server"));
    }
    let path = config.facts_nats_key_file.clone().unwrap_or_else(|| folder(config).join("plane.key"));
    let key = PlaneKey::read(&path).map_err(|error| {
        Failure::new(error.to_string()).hint("`weir facts plane key` makes one; every node of the plane needs the same")
    })?;
    let authority = config.facts_nats_authority_file.clone();
    Ok(PubSubConfig { plane: plane(config, org)?, keys: vec![key], servers, authority })
}

/// Where the plane's files are unless the configuration says otherwise.
fn folder(config: &Config) -> PathBuf {
    config.data.join("keys").join("facts")
}
