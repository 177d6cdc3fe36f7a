//! Opens the node, as the configuration says.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_audit::Journal;
use weir_facts::{
    Authority, Config as ReplicaConfig, Node, NodeConfig, NodeOpenError, ServeConfig, Server, Settings, StoreError,
};
use weir_model::OrgName;

use super::{
    judge::Judge,
    namespaces, naming, peers,
    plane::{Listening, OpenPlane},
    reading::NodeFacts,
    rights::RightsFiles,
    tokens::{TokenFolder, operator_token},
    witness::JournalWitness,
};
use crate::{config::Config, failure::Failure, private_file};

/// Why the facts are not open.
pub(super) enum NotOpen {
    /// The start ends with it.
    Mistake(Failure),
    /// SQL is served without them.
    Failed(String),
}

impl From<Failure> for NotOpen {
    fn from(failure: Failure) -> NotOpen {
        NotOpen::Mistake(failure)
    }
}

pub(super) fn open(config: &Config, org: OrgName, journal: &Arc<Journal>) -> Result<OpenPlane, NotOpen> {
    let folder = config.data.join("facts");
    private_file::create_folder(&folder)
        .map_err(|error| NotOpen::Failed(format!("cannot make the folder {}: {error}", folder.display())))?;
    let node_name = naming::node(config, &folder)?;
    let path = config.facts_namespaces_file.clone().unwrap_or_else(|| folder.join("namespaces.toml"));
    if config.facts_namespaces_file.is_none() {
        namespaces::lay_out(&path, config.demo)
            .map_err(|error| NotOpen::Failed(format!("cannot write {}: {error}", path.display())))?;
    }
    let declared = namespaces::read(&path)?;
    let store = Settings {
        key_file: Some(config.data.join("keys").join("facts.key")),
        state_cache_bytes: config.facts_cache.0,
        room_kept: config.facts_room_kept.0,
        accept_loss: config.facts_accept_loss,
        ..Settings::new(folder.join("store"))
    };
    let node_config = NodeConfig {
        namespaces: declared.namespaces(),
        request_timeout: request_timeout(config),
        ..NodeConfig::new(store, ReplicaConfig { start: peers::start(config), ..ReplicaConfig::new(node_name.clone()) })
    };
    let peers = peers::config(config, &org, &node_name)?;
    let node = Node::open(node_config).map_err(not_open)?;
    let tokens = TokenFolder::in_data(&config.data);
    let authority = Arc::new(Authority::default());
    let facts = Arc::new(NodeFacts::new(node.clone(), declared.names()));
    let judge = Arc::new(Judge::new(org.clone(), Arc::clone(&facts)));
    let mut files = RightsFiles::new(path, tokens.clone(), declared);
    operator_token(&config.data, &tokens)?;
    files.refresh(&authority);
    let witness = JournalWitness::start(Arc::clone(journal), org.clone())
        .map_err(|error| NotOpen::Failed(format!("no thread for the journal: {error}")))?;
    let witness = Arc::new(witness);
    let server =
        Server::start(node.clone(), serve_config(config), Arc::clone(&authority), witness.clone(), Some(judge.clone()))
            .map_err(|error| NotOpen::Failed(format!("no threads for the facts' clients: {error}")))?;
    Ok(OpenPlane {
        org,
        node_name,
        node,
        facts,
        judge,
        server,
        authority,
        files: Mutex::new(files),
        tokens,
        witness,
        listening: Mutex::new(Listening::default()),
        joining: Mutex::new(peers),
        peers: OnceLock::new(),
        others: Arc::default(),
        stopping: CancellationToken::new(),
    })
}

/// Keys that do not fit are a mistake: facts must neither be left in the clear nor be begun anew beside what is there.
fn not_open(error: NodeOpenError) -> NotOpen {
    match error {
        NodeOpenError::Store(StoreError::Seal(error)) => NotOpen::Mistake(Failure::new(error)),
        error => NotOpen::Failed(error.to_string()),
    }
}

fn request_timeout(config: &Config) -> std::time::Duration {
    config.facts_request_timeout.0.max(std::time::Duration::from_secs(1))
}

fn serve_config(config: &Config) -> ServeConfig {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ServeConfig {
        connections_max: config.facts_connections_max.clamp(1, 1_000_000),
        subscriptions_max: config.facts_subscriptions_max,
        app_requests_per_minute: count(config.facts_app_requests),
        request_timeout: request_timeout(config),
        users: config.facts_users.as_ref().map(|users| users.0.clone()),
        witness_writes_every: count(config.facts_audit_writes_every),
        server_version: env!("WEIR_VERSION").to_owned(),
        ..ServeConfig::default()
    }
}

/// The groups that the configuration names and this machine has not.
pub(super) fn missing_groups(config: &Config) -> Vec<String> {
    let named: BTreeSet<&String> =
        [&config.facts_data_group, &config.facts_control_group].into_iter().flatten().collect();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let there: BTreeSet<&str> = groups.lines().filter_map(|line| line.split(':').next()).collect();
    named.into_iter().filter(|name| !there.contains(name.as_str())).cloned().collect()
}

/// Certificate chain and key that SQL is served with.
pub(super) fn certificate(config: &Config) -> (PathBuf, PathBuf) {
    let own = config.data.join("keys");
    let or_own = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| own.join(name));
    (or_own(&config.tls_cert_file, "tls.crt"), or_own(&config.tls_key_file, "tls.key"))
}
