use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weir_audit::Journal;
use weir_facts::{Authority, Holder, Node, NodeId, Peers, PeersConfig, Server, Sockets};
use weir_model::OrgName;
use weir_pipeline::{DataPlane, OrgFacts};

use super::{
    judge::Judge, listener, naming, opening, opening::NotOpen, others, reading::NodeFacts, report, rights::RightsFiles,
    tokens::TokenFolder, witness::JournalWitness,
};
use crate::{config::Config, failure::Failure};

/// Longest path of a Unix socket (`sun_path` of Linux, without its terminating zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The facts of this process, or why there are none.
#[derive(Debug)]
pub(crate) struct FactsPlane(Standing);

#[derive(Debug)]
enum Standing {
    /// As configured.
    Off {
        why: String,
    },
    Failed {
        why: String,
    },
    Open(Box<OpenPlane>),
}

/// What is open.
#[derive(Debug)]
pub(super) struct OpenPlane {
    pub(super) org: OrgName,
    pub(super) node_name: NodeId,
    pub(super) node: Node,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) judge: Arc<Judge>,
    pub(super) server: Server,
    pub(super) authority: Arc<Authority>,
    pub(super) files: Mutex<RightsFiles>,
    pub(super) tokens: TokenFolder,
    pub(super) witness: Arc<JournalWitness>,
    pub(super) listening: Mutex<Listening>,
    pub(super) stopping: CancellationToken,
    /// How it is to take part among other nodes, until it does.
    pub(super) joining: Mutex<Option<PeersConfig>>,
    pub(super) peers: OnceLock<Arc<Peers>>,
    pub(super) others: others::Latest,
}

/// Where clients come in.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) sockets: Option<PathBuf>,
    pub(super) tls: Option<SocketAddr>,
    /// What was to be served and is not.
    pub(super) failures: Vec<String>,
}

impl FactsPlane {
    /// Opens the node. Nobody is served yet.
    ///
    /// # Errors
    /// A mistake of configuration, or a key that does not open the facts. What else keeps them closed is told by
    /// [`unready`](FactsPlane::unready), and by the log.
    pub fn open(config: &Config, journal: &Arc<Journal>) -> Result<FactsPlane, Failure> {
        if !config.facts {
            return Ok(FactsPlane(Standing::Off { why: "`facts.enabled` is false".to_owned() }));
        }
        let org = match naming::org(config) {
            Ok(org) => org,
            Err(why) => {
                warn!(why, "facts are off");
                return Ok(FactsPlane(Standing::Off { why }));
            }
        };
        match opening::open(config, org, journal) {
            Ok(open) => {
                info!(org = %open.org, node = %open.node_name, "facts are open");
                Ok(FactsPlane(Standing::Open(Box::new(open))))
            }
            Err(NotOpen::Mistake(failure)) => Err(failure),
            Err(NotOpen::Failed(why)) => {
                error!(why, "facts are not served");
                Ok(FactsPlane(Standing::Failed { why }))
            }
        }
    }

    #[cfg(test)]
    pub fn off() -> FactsPlane {
        FactsPlane(Standing::Off { why: "a test has none".to_owned() })
    }

    /// None of what is off or failed.
    fn opened(&self) -> Option<&OpenPlane> {
        if let Standing::Open(open) = &self.0 { Some(open) } else { None }
    }

    /// What an org's sessions read; none for orgs whose facts are not here.
    pub fn of_org(&self, org: &OrgName) -> Option<Arc<dyn OrgFacts>> {
        let open = self.opened().filter(|open| open.org == *org)?;
        Some(Arc::clone(&open.facts) as Arc<dyn OrgFacts>)
    }

    /// By whose policies applications' questions are answered. Until then they are not.
    pub fn judge_by(&self, plane: &Arc<DataPlane>) {
        if let Some(open) = self.opened() {
            open.judge.judge_by(Arc::clone(plane));
        }
    }

    /// Takes changed tokens, grants and policies: call it several times a second.
    pub fn refresh(&self) {
        if let Some(open) = self.opened() {
            let changes = open.files.lock().refresh(&open.authority);
            changes.iter().for_each(|change| open.witness.token(change));
            open.judge.look();
        }
    }

    /// The token if it is the holder's and holds, else a new one that holds for ever; none where no facts are.
    ///
    /// # Errors
    /// The token's file cannot be read or written.
    pub fn keep_token(&self, holder: &Holder, token: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(open) = self.opened() else { return Ok(None) };
        if let Some(token) = token
            && open.tokens.holds(holder, token)?
        {
            return Ok(Some(token.to_owned()));
        }
        Ok(Some(open.tokens.issue(holder, None)?.secret))
    }

    /// Lets other nodes and clients in, by all ways that can be opened.
    pub async fn listen(&self, config: &Config) {
        let Some(open) = self.opened() else { return };
        open.join().await;
        open.listen_on_sockets(config);
        if let Some(address) = config.facts_listen {
            let (chain, key) = opening::certificate(config);
            match listener::start(address, &chain, &key, open.server.clone(), config, open.stopping.clone()).await {
                Ok(bound) => open.listening.lock().tls = Some(bound),
                Err(why) => open.fails(why),
            }
        }
    }

    /// Where the Unix sockets are, if they are.
    pub fn sockets(&self) -> Option<PathBuf> {
        self.opened()?.listening.lock().sockets.clone()
    }

    /// Closes the sockets and ends the connections.
    pub async fn stop_serving(&self) {
        if let Some(open) = self.opened() {
            open.stopping.cancel();
            open.server.stop().await;
        }
    }

    /// Makes the last writes durable, closes the store and tells the journal the rest. Waits for the disk.
    pub fn close(&self) {
        let Some(open) = self.opened() else { return };
        if let Some(peers) = open.peers.get() {
            peers.stop();
        }
        match open.node.stop() {
            Ok(()) => info!("the facts are closed"),
            Err(error) => error!(%error, "the facts could not be closed cleanly"),
        }
        open.witness.stop();
    }

    /// What keeps facts from being answered that should be.
    pub fn unready(&self) -> Vec<String> {
        match &self.0 {
            Standing::Off { .. } => Vec::new(),
            Standing::Failed { why } => vec![format!("the facts are not served: {why}")],
            Standing::Open(open) => {
                let health = open.node.health();
                let mut reasons: Vec<String> =
                    health.failure.iter().map(|why| format!("the facts take no writes: {why}")).collect();
                if health.failure.is_none() && !health.is_serving {
                    reasons.push("the facts are not complete yet".to_owned());
                }
                reasons.extend(open.listening.lock().failures.iter().cloned());
                reasons
            }
        }
    }

    /// Brings the metrics up to date.
    pub fn measure(&self) {
        if let Some(open) = self.opened() {
            open.witness.meters().measure(&open.node);
        }
    }

    /// For a person.
    pub fn status(&self) -> String {
        match &self.0 {
            Standing::Off { why } => format!("  off: {why}\n"),
            Standing::Failed { why } => format!("  not served: {why}\n"),
            Standing::Open(open) => report::text(open),
        }
    }
}

impl OpenPlane {
    /// Takes part among other nodes, if it is to.
    async fn join(&self) {
        let Some(config) = self.joining.lock().take() else { return };
        match Peers::start(self.node.clone(), config).await {
            Ok(peers) => {
                let peers = Arc::new(peers);
                self.server.show_peers(Arc::clone(&peers));
                tokio::spawn(others::watch(Arc::clone(&peers), Arc::clone(&self.others), self.stopping.clone()));
                let _ = self.peers.set(peers);
            }
            Err(error) => self.fails(format!("the facts are not replicated: {error}")),
        }
    }

    fn listen_on_sockets(&self, config: &Config) {
        let folder = config.socket_dir();
        let missing = opening::missing_groups(config);
        if !missing.is_empty() {
            return self.fails(format!("the facts' sockets are not open: no group {} here", missing.join(", ")));
        }
        if !fits(&folder) {
            if config.socket_dir.is_some() {
                self.fails(format!("`socket.dir` is too long for the facts' sockets: {}", folder.display()));
            } else {
                warn!(folder = %folder.display(), "no sockets for facts: their paths would be too long");
            }
            return;
        }
        let sockets = Sockets {
            data_group: config.facts_data_group.clone(),
            control_group: config.facts_control_group.clone(),
            ..Sockets::new(folder.clone())
        };
        match self.server.listen(&sockets) {
            Ok(()) => self.listening.lock().sockets = Some(folder),
            Err(error) => self.fails(format!("the facts' sockets are not open: {error}")),
        }
    }

    fn fails(&self, why: String) {
        error!(why, "facts are not served everywhere");
        self.listening.lock().failures.push(why);
    }
}

/// Whether sockets can be in the folder, and beside them for a moment where they are made.
fn fits(folder: &Path) -> bool {
    folder.join("control.4194304/s").as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}
