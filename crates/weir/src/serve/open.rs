//! Opens the rooms, from the bottom up, as the configuration says.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, info, warn};
use weir_audit::{EventFields, EventKind, Journal, JournalOptions};
use weir_engine::{Engine, EngineOptions};
use weir_meter::{Credits, Meter, Period, SettledEntry};
use weir_model::{Code, OrgName};
use weir_pipeline::{DataPlane, PipelineOptions};
use weir_store::{Database, SegmentCache, StoreOptions};
use weir_wire::{Certificate, ServerOptions};

use super::house::{Holds, House, OpenTables};
use crate::{
    clock::unix_now,
    config::{Config, Durability, TlsMode},
    facts::FactsPlane,
    failure::Failure,
    keys::{CredentialEvent, Credentials, KeyChange, TokenSettings},
    local, private_file,
};

/// Longest path of a Unix socket (`sun_path` of Linux, without its terminating zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Open files beside connections: tables, logs, spills.
const DESCRIPTORS_BESIDE: u64 = 256;

/// Everything below the wire.
pub(super) fn house(config: &Config) -> Result<Arc<House>, Failure> {
    let bundle_key = local::load_or_make_key(&config.data)?;
    let journal = Journal::open(&config.data, journal_options(config))?;
    let meter = Arc::new(Meter::new());
    restore(&meter, &journal)?;
    let engine = Engine::new(engine_options(config)?)?;
    let credentials = Arc::new(Credentials::open(&config.data, tokens(config)?, witness(Arc::clone(&journal)))?);
    let facts = Arc::new(FactsPlane::open(config, &journal)?);
    let holds = Arc::new(Holds(Arc::clone(&credentials)));
    let plane = DataPlane::new(pipeline_options(config), engine, Arc::clone(&journal), meter, holds);
    facts.judge_by(&plane);
    Ok(Arc::new(House {
        data: config.data.clone(),
        plane,
        journal,
        credentials,
        facts,
        bundle_key,
        tables: tables(config),
        closed: Mutex::default(),
        watch: Mutex::default(),
        serving: AtomicBool::new(false),
    }))
}

fn journal_options(config: &Config) -> JournalOptions {
    let durability = match config.audit_durability {
        Durability::Batched => weir_audit::Durability::Group,
        Durability::Strict => weir_audit::Durability::Strict,
    };
    JournalOptions { durability, ..JournalOptions::default() }
}

/// Balances are what the journal says was settled since the period began.
fn restore(meter: &Meter, journal: &Journal) -> Result<(), Failure> {
    let since = Period::of(unix_now()).start();
    let mut entries = Vec::new();
    for settled in journal.settled(since)? {
        let settled = settled?;
        entries.push(SettledEntry {
            org: settled.org,
            agent: settled.agent,
            unix_seconds: settled.unix_seconds,
            credits: Credits(settled.milli_credits),
            rows: settled.rows,
        });
    }
    if !entries.is_empty() {
        info!(statements = entries.len(), "took the period's charges from the journal");
    }
    meter.restore(entries);
    Ok(())
}

fn engine_options(config: &Config) -> Result<EngineOptions, Failure> {
    let spill = config.spill_dir();
    let named = |error: io::Error| Failure::new(format!("cannot use the spill folder {}: {error}", spill.display()));
    private_file::create_folder(&spill).map_err(named)?;
    empty_spill(&spill).map_err(named)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(EngineOptions {
        threads: if config.threads == 0 { cores } else { config.threads },
        memory_bytes: config.memory_limit.0,
        statement_memory_bytes: config.memory_statement_limit.0.min(config.memory_limit.0),
        spill_dir: spill,
        spill_bytes: config.spill_limit.0,
    })
}

/// Removes what statements of an earlier process left: the engine's folders, whose names begin as it names them, and
/// nothing else, should somebody have pointed the setting at a folder of theirs.
fn empty_spill(spill: &Path) -> io::Result<()> {
    for entry in fs::read_dir(spill)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("datafusion-") && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn pipeline_options(config: &Config) -> PipelineOptions {
    PipelineOptions {
        max_concurrent_statements: config.max_concurrent_queries,
        max_full_scans: config.max_full_scans,
        admission_wait: config.admission_wait.limit(),
        statement_timeout: config.statement_timeout.limit(),
        idle_in_transaction_timeout: config.idle_in_transaction_timeout.limit(),
        policy_startup_timeout: config.policy_startup_timeout.0,
        policy_grace: config.policy_grace.0,
        resume_timeout: config.resume_timeout.0,
        resource_governor: config.resource_governor,
        measure_gates: config.metrics_gates,
        tier_gate: config.tier_gate,
        ..PipelineOptions::default()
    }
}

fn tables(config: &Config) -> Arc<OpenTables> {
    let options = StoreOptions {
        fsync: config.wal_fsync,
        flush_bytes: usize::try_from(config.flush_bytes.0).unwrap_or(usize::MAX),
        flush_age: config.flush_interval.0,
        ..StoreOptions::default()
    };
    if !options.fsync {
        warn!("wal.fsync is off: a power loss may take commits that were acknowledged");
    }
    let cache = SegmentCache::new(usize::try_from(config.cache_bytes.0).unwrap_or(usize::MAX));
    let data = config.data.clone();
    Arc::new(move |org: &OrgName| Database::open(&data, org, options.clone(), Arc::clone(&cache)))
}

fn tokens(config: &Config) -> Result<Option<TokenSettings>, Failure> {
    match (&config.jwt_jwks_file, &config.jwt_issuer, &config.jwt_audience) {
        (None, None, None) => Ok(None),
        (Some(jwks_file), Some(issuer), Some(audience)) => {
            Ok(Some(TokenSettings { jwks_file: jwks_file.clone(), issuer: issuer.clone(), audience: audience.clone() }))
        }
        _ => Err(Failure::new("tokens need all of `jwt.jwks_file`, `jwt.issuer` and `jwt.audience`")
            .hint("without the issuer and the audience, a token made for another service would be taken")),
    }
}

/// Journals what becomes of keys and of logins that did not fit.
fn witness(journal: Arc<Journal>) -> Box<dyn Fn(CredentialEvent<'_>) + Send + Sync> {
    Box::new(move |event| {
        let recorded = match event {
            CredentialEvent::Refused { user, database, client, why } => journal.event(&EventFields {
                agent: Some(user),
                client: Some(client),
                code: Some(Code::AuthenticationFailed),
                detail: &[("database", database), ("why", why)],
                ..EventFields::new(EventKind::AuthenticationRefused)
            }),
            CredentialEvent::Key(change) => {
                let (kind, key) = match &change {
                    KeyChange::Issued(key) => (EventKind::KeyIssued, key),
                    KeyChange::Revoked(key) => (EventKind::KeyRevoked, key),
                };
                journal.event(&EventFields {
                    org: Some(&key.org),
                    agent: Some(&key.agent),
                    detail: &[("key", &key.id)],
                    ..EventFields::new(kind)
                })
            }
        };
        if let Err(refusal) = recorded {
            error!(%refusal, "what became of a credential is not recorded");
        }
    })
}

/// How the wire listens. A certificate that cannot be used stops the start.
pub(super) fn wire_options(config: &Config) -> Result<ServerOptions, Failure> {
    let certificate = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(chain), Some(key)) => Certificate::from_pem_files(chain, key)?,
        (None, None) => Certificate::self_signed(&config.data.join("keys"))?,
        _ => return Err(Failure::new("TLS needs both `tls.cert_file` and `tls.key_file`, or neither")),
    };
    raise_descriptors(config.connections_max, if config.facts { config.facts_connections_max } else { 0 });
    Ok(ServerOptions {
        listen: config.listen,
        unix_socket_folder: socket_folder(config)?,
        certificate: Some(certificate),
        tls_mode: match config.tls_mode {
            TlsMode::Prefer => weir_wire::TlsMode::Prefer,
            TlsMode::Required => weir_wire::TlsMode::Required,
        },
        connections_max: config.connections_max,
        startup_timeout: config.connections_startup_timeout.0,
        idle_timeout: config.connections_idle_timeout.limit(),
        drain_timeout: config.shutdown_drain.0,
        message_bytes_max: usize::try_from(config.message_max_bytes.0).unwrap_or(usize::MAX),
        ..ServerOptions::default()
    })
}

/// Every session has a descriptor, and so may as many clients that log in; clients of facts, tables and the journal need
/// theirs too.
fn raise_descriptors(connections: usize, of_facts: usize) {
    let beside = DESCRIPTORS_BESIDE.saturating_add(of_facts as u64);
    let needed = (connections as u64).saturating_mul(2).saturating_add(beside);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        warn!(%error, "the limit of open files stays as it is");
    }
    // No limit is none to warn of.
    if let Some(held) = getrlimit(Resource::Nofile).current.filter(|held| *held < needed) {
        warn!(held, needed, "too few open files for `connections.max`: raise the hard limit (`ulimit -Hn {needed}`)");
    }
}

/// The Unix socket's folder; none where its path would be longer than the system takes.
fn socket_folder(config: &Config) -> Result<Option<std::path::PathBuf>, Failure> {
    let folder = config.socket_dir();
    let longest = folder.join(".s.PGSQL.65535");
    if longest.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        if config.socket_dir.is_some() {
            return Err(Failure::new(format!("`socket.dir` is too long for a Unix socket: {}", folder.display())));
        }
        warn!(folder = %folder.display(), "no Unix socket: its path would be too long");
        return Ok(None);
    }
    private_file::create_folder(&folder)
        .map_err(|error| Failure::new(format!("cannot make the socket folder {}: {error}", folder.display())))?;
    Ok(Some(folder))
}
