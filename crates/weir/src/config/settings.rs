use std::{net::SocketAddr, path::PathBuf};

use weir_facts::{NodeId, PlaneName};
use weir_model::OrgName;

use super::{
    kinds::{Bytes, Durability, List, LogFormat, Memory, PeersMode, PeersStart, Scale, Seconds, TlsMode, Users},
    layers::{Layers, Mistakes},
};

/// One setting: its name in `weir.toml`; `WEIR_` and the name in capitals with `_` for `.` in the environment.
#[derive(Debug)]
pub(crate) struct Setting {
    pub key: &'static str,
    /// As one would write it; empty when the setting is unset unless given.
    pub default: &'static str,
    pub doc: &'static str,
}

impl Setting {
    pub fn variable(&self) -> String {
        format!("WEIR_{}", self.key.replace('.', "_").to_uppercase())
    }
}

macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $key:literal, $default:literal; )*) => {
        /// Every setting with its value, after all layers.
        #[derive(Debug, Clone)]
        pub(crate) struct Config { $( $(#[doc = $doc])+ pub $field: $kind, )* }

        /// Every setting there is, in the order in which `weir config print` shows them.
        pub(crate) const SETTINGS: &[Setting] =
            &[$( Setting { key: $key, default: $default, doc: concat!($($doc),+) }, )*];

        impl Config {
            /// # Errors
            /// Every mistake in the layers.
            pub fn read(layers: &Layers) -> Result<Config, Mistakes> {
                let mut mistakes = Mistakes::default();
                $( let $field = layers.value::<$kind>($key, &mut mistakes); )*
                match ($($field,)*) {
                    ($(Some($field),)*) if mistakes.is_empty() => Ok(Config { $($field,)* }),
                    _ => Err(mistakes),
                }
            }
        }
    };
}

settings! {
    /// Folder of everything Weir keeps: tables, journal, keys.
    data: PathBuf = "data", "data";
    /// Folder of the policies: one org's policy.toml, or a folder for each org. Unset: policies in the data folder.
    policies: Option<PathBuf> = "policies", "";
    /// Address that Postgres clients connect to.
    listen: SocketAddr = "listen", "127.0.0.1:5439";
    /// Address of health, status and metrics.
    http: SocketAddr = "http", "127.0.0.1:5480";
    /// Load the demo: an org with the TPC-H tables, eight agents and their keys.
    demo: bool = "demo", "false";
    /// TPC-H scale factor of the demo; 1 is about six million line items.
    demo_scale: Scale = "demo_scale", "0.1";

    /// Statements that run at once; more wait their turn.
    max_concurrent_queries: usize = "max_concurrent_queries", "100";
    /// Statements that read a whole table and run at once; more wait their turn.
    max_full_scans: usize = "max_full_scans", "8";
    /// Longest wait for a turn; 0 waits as long as it takes.
    admission_wait: Seconds = "admission.wait_secs", "0";
    /// Longest run of a statement unless the org's policy or the session says less; 0 sets no limit.
    statement_timeout: Seconds = "statement.timeout_secs", "600";
    /// Rate and concurrency limits of each org's policy hold.
    resource_governor: bool = "resource_governor.enabled", "true";
    /// Objects above an org's tier are refused.
    tier_gate: bool = "tier_gate.enabled", "true";

    /// Longest wait of a statement for the first policy after a start.
    policy_startup_timeout: Seconds = "policy.sync_startup_timeout_secs", "30";
    /// Age at which a policy that nobody confirms stops being served.
    policy_grace: Seconds = "policy.grace_secs", "300";

    /// Longest wait of a statement for the org's tables to open.
    resume_timeout: Seconds = "auto_suspend.resume_timeout_secs", "30";

    /// A commit waits for the disk. Without it, a power loss may take acknowledged writes.
    wal_fsync: bool = "wal.fsync", "true";
    /// Rows in memory, in bytes, at which tables are written to segment files.
    flush_bytes: Bytes = "flush.bytes", "64MiB";
    /// Age of rows in memory at which tables are written to segment files.
    flush_interval: Seconds = "flush.interval_secs", "30";
    /// Memory for decoded parts of segment files.
    cache_bytes: Memory = "cache.bytes", "10%";
    /// `batched`: answers wait for the journal, the disk follows within 10 ms. `strict`: they wait for the disk.
    audit_durability: Durability = "audit.durability", "batched";

    /// Memory of all statements together; a percentage is of the machine's (or the control group's) memory.
    memory_limit: Memory = "memory.limit", "50%";
    /// Memory of one statement.
    memory_statement_limit: Memory = "memory.statement_limit", "25%";
    /// Folder for what statements spill. Unset: spill in the data folder. Emptied at start.
    spill_dir: Option<PathBuf> = "spill.dir", "";
    /// Most that all statements together may spill.
    spill_limit: Bytes = "spill.limit", "32GiB";
    /// Threads that run statements; 0 is one for each core.
    threads: usize = "threads", "0";

    /// Connections at once.
    connections_max: usize = "connections.max", "500";
    /// Longest time from connecting to being authenticated.
    connections_startup_timeout: Seconds = "connections.startup_timeout_secs", "30";
    /// Longest silence of a session outside a transaction; 0 sets no limit.
    connections_idle_timeout: Seconds = "connections.idle_timeout_secs", "3600";
    /// Longest silence of a session inside a transaction, unless it sets `idle_in_transaction_session_timeout`; 0 sets no
    /// limit. What its transaction reads is kept as long.
    idle_in_transaction_timeout: Seconds = "transaction.idle_timeout_secs", "3600";
    /// Longest message that an authenticated client may send.
    message_max_bytes: Bytes = "message.max_bytes", "64MiB";
    /// Longest wait for running statements at a shutdown.
    shutdown_drain: Seconds = "shutdown.drain_secs", "30";

    /// Folder of the Unix socket `.s.PGSQL.<port>`. Unset: sockets in the data folder.
    socket_dir: Option<PathBuf> = "socket.dir", "";
    /// `prefer`: TLS is offered to all and required of all but this machine. `required`: of this machine too.
    tls_mode: TlsMode = "tls.mode", "prefer";
    /// Certificate chain, PEM. Unset: a self-signed one made at start.
    tls_cert_file: Option<PathBuf> = "tls.cert_file", "";
    /// Private key of the certificate, PEM.
    tls_key_file: Option<PathBuf> = "tls.key_file", "";

    /// Public keys (a JWKS document) whose tokens are taken as passwords. Unset: no tokens.
    jwt_jwks_file: Option<PathBuf> = "jwt.jwks_file", "";
    /// The `iss` that tokens must have.
    jwt_issuer: Option<String> = "jwt.issuer", "";
    /// The `aud` that tokens must have.
    jwt_audience: Option<String> = "jwt.audience", "";

    /// Facts that policies decide on are kept and served: sockets for services, applications and administrators.
    facts: bool = "facts.enabled", "true";
    /// Org whose facts they are. Unset: `acme` with the demo, else the only org there is.
    facts_org: Option<OrgName> = "facts.org", "";
    /// This node's name. Unset: one made at the first start and kept in the data folder.
    facts_node: Option<NodeId> = "facts.node", "";
    /// File of the namespaces: what concurrent writes come to, who writes, who reads. Unset: facts/namespaces.toml in the
    /// data folder.
    facts_namespaces_file: Option<PathBuf> = "facts.namespaces_file", "";
    /// Address where facts are served over TLS too, with the certificate of SQL. Unset: on Unix sockets only.
    facts_listen: Option<SocketAddr> = "facts.listen", "";
    /// Group that the socket data.sock is given to, such as ipe-services. Unset: this process's own.
    facts_data_group: Option<String> = "facts.data_group", "";
    /// Group that the socket control.sock is given to, such as ipe-admin. Unset: this process's own.
    facts_control_group: Option<String> = "facts.control_group", "";
    /// Users whose processes may connect to the facts' Unix sockets, by their numbers, such as 0,1000. Unset: all whom the
    /// files' modes let.
    facts_users: Option<Users> = "facts.users", "";
    /// Connections to the facts' sockets at once.
    facts_connections_max: usize = "facts.connections.max", "1000";
    /// Subscriptions of one of these connections.
    facts_subscriptions_max: usize = "facts.subscriptions.max", "64";
    /// Requests of one application in a minute.
    facts_app_requests: usize = "facts.app_requests_per_minute", "1000";
    /// Longest time that a request for facts may take.
    facts_request_timeout: Seconds = "facts.request_timeout_secs", "30";
    /// Memory for facts that are read often.
    facts_cache: Bytes = "facts.cache.bytes", "4MiB";
    /// Room on the disk that writes of facts leave free: they are refused before it is touched.
    facts_room_kept: Bytes = "facts.room_kept.bytes", "64MiB";
    /// Of how many writes of facts one is recorded in the journal; 0 records none. Refusals always are.
    facts_audit_writes_every: usize = "facts.audit_writes_every", "100";
    /// Opens facts of which the disk has lost a part. Without it they stay closed, and SQL is served without them.
    facts_accept_loss: bool = "facts.accept_loss", "false";

    /// How facts reach other nodes: `none`, `gossip` (links between nodes), `pubsub` (a NATS broker) or `hybrid` (the broker
    /// to who is there, links to the others).
    facts_peers_mode: PeersMode = "facts.peers.mode", "none";
    /// Name of the plane that the nodes make together, as in their certificates. Unset: the org's.
    facts_peers_plane: Option<PlaneName> = "facts.peers.plane", "";
    /// `join`: a node without facts fetches all of them before it answers. `found`: it begins with none, as the first has to.
    facts_peers_start: PeersStart = "facts.peers.start", "join";
    /// Host and port where other nodes are listened to.
    facts_peers_listen: String = "facts.peers.listen", "127.0.0.1:5482";
    /// Host and port where other nodes call this one. Unset: where it listens.
    facts_peers_advertise: Option<String> = "facts.peers.advertise", "";
    /// Hosts and ports, with commas between them, where to ask for other nodes. This node may be among them.
    facts_peers_seeds: List = "facts.peers.seeds", "";
    /// Names of the nodes that may take part, with commas between them. Unset: all that have a certificate of the plane.
    facts_peers_allowed: List = "facts.peers.allowed", "";
    /// Certificate of the plane's authority, PEM. Unset: keys/facts/ca.crt in the data folder.
    facts_peers_authority_file: Option<PathBuf> = "facts.peers.authority_file", "";
    /// This node's certificate, PEM. Unset: keys/facts/<node>.crt in the data folder.
    facts_peers_cert_file: Option<PathBuf> = "facts.peers.cert_file", "";
    /// Private key of the certificate, PEM. Unset: keys/facts/<node>.key in the data folder.
    facts_peers_key_file: Option<PathBuf> = "facts.peers.key_file", "";
    /// NATS servers, as nats://host:4222 or tls://user:password@host, with commas between them.
    facts_nats_servers: List = "facts.nats.servers", "";
    /// Key that all nodes seal with what NATS carries. Unset: keys/facts/plane.key in the data folder.
    facts_nats_key_file: Option<PathBuf> = "facts.nats.key_file", "";
    /// Authorities by which a NATS server's certificate is judged, PEM. Unset: no TLS to NATS.
    facts_nats_authority_file: Option<PathBuf> = "facts.nats.authority_file", "";
    /// `text` or `json`, on stderr.
    log_format: LogFormat = "log.format", "text";
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,weir_wire=debug`.
    log_level: String = "log.level", "info";
    /// The time that each gate takes of each statement, in the metrics. Costs a clock reading a gate.
    metrics_gates: bool = "metrics.gates", "false";
}

impl Config {
    pub fn policies_dir(&self) -> PathBuf {
        self.policies.clone().unwrap_or_else(|| self.data.join("policies"))
    }

    pub fn socket_dir(&self) -> PathBuf {
        self.socket_dir.clone().unwrap_or_else(|| self.data.join("sockets"))
    }

    pub fn spill_dir(&self) -> PathBuf {
        self.spill_dir.clone().unwrap_or_else(|| self.data.join("spill"))
    }
}
