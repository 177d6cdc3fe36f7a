use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use ed25519_dalek::{SigningKey, VerifyingKey};
use parking_lot::Mutex;
use weir_model::{Claims, ClientAddress, Identity, Refusal, SessionId};

use crate::{
    AuditError, Checkpoint, EventFields, EventKind, Hash,
    chain::Who,
    core::Core,
    keeper, keys,
    layout::Layout,
    log::Log,
    merkle,
    note::NoteSigner,
    recovery::{self, Recovered},
    session::{Opening, SessionChain},
};

/// When a record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Written before the answer, fsynced at most 10 ms later.
    #[default]
    Group,
    /// Fsynced before the answer; one fsync serves everyone who waits.
    Strict,
}

/// How a journal is opened.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    pub durability: Durability,
    /// The key that signs checkpoints. Without one, `<data>/keys/audit.ed25519`, made at the first start.
    pub key: Option<SigningKey>,
    /// Names a new journal in its checkpoints, `weir.example.com/audit`. A journal keeps the name it began with.
    pub origin: String,
    /// A log file that has reached this length is followed by another.
    pub file_bytes_max: u64,
}

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions {
            durability: Durability::Group,
            key: None,
            origin: "weir.local/audit".into(),
            file_bytes_max: 64 << 20,
        }
    }
}

/// The audit journal of one data folder. Closing or dropping it makes it durable and signs it.
pub struct Journal {
    core: Arc<Core>,
    /// Events of no client's session.
    system: SessionChain,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the journal is open.
    lock: Mutex<Option<File>>,
}

/// Shows that a record is in the journal: with `leaf`, `index` and `path` anyone can compute the root that the
/// checkpoint signed ([`merkle::verify_inclusion`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    pub index: u64,
    pub leaf: Hash,
    pub path: Vec<Hash>,
    pub checkpoint: Checkpoint,
    /// The checkpoint as a signed note.
    pub note: String,
}

impl Journal {
    /// Opens the journal of a data folder, `<data>/audit`, and makes it at the first start.
    ///
    /// A torn last record, as a process leaves that died while writing, is cut, and an event says so. Sessions that the
    /// process left open are ended by an event each.
    ///
    /// # Errors
    /// [`AuditError::Corrupt`] when the files are damaged otherwise, [`AuditError::Locked`] when another process has
    /// the journal, [`AuditError::Key`] when the key is missing or another.
    pub fn open(data: &Path, options: JournalOptions) -> Result<Arc<Journal>, AuditError> {
        let layout = Layout::new(data);
        for folder in [layout.audit(), layout.keys()] {
            make_folder(&folder)?;
        }
        let lock = lock(&layout)?;
        let signer = signer(&layout, &options)?;
        let Recovered { standing, books, cut, read_whole } = recovery::recover(&layout, signer.verifier())?;
        let left: Vec<_> = standing.chains.open().iter().map(|(session, chain)| (*session, chain.clone())).collect();
        let log = Log::open(layout.clone(), standing, options.file_bytes_max)?;
        let core = Arc::new(Core::new(layout, signer, options.durability, log, books));
        let system = SessionChain::open(Arc::clone(&core), system_opening())?;
        if let Some(cut) = &cut {
            let (offset, bytes) = (cut.offset.to_string(), cut.bytes.to_string());
            let detail = [("file", cut.file.as_str()), ("offset", &offset), ("bytes", &bytes)];
            tracing::warn!(file = cut.file, offset, bytes, "cut a torn record from the end of the audit journal");
            system.named_event("torn_record_cut", &EventFields { detail: &detail, ..plain() })?;
        }
        if let Some(why) = read_whole {
            tracing::warn!(why, "read the whole audit journal to open it");
            system.named_event("journal_read_whole", &EventFields { detail: &[("why", why)], ..plain() })?;
        }
        for (session, chain) in left {
            SessionChain::interrupt(&core, session, chain)?;
        }
        core.checkpoint(true)?;
        let keeper = keeper::start(Arc::clone(&core))?;
        Ok(Arc::new(Journal { core, system, keeper: Mutex::new(Some(keeper)), lock: Mutex::new(Some(lock)) }))
    }

    /// Opens a session's chain and records its beginning.
    ///
    /// # Errors
    /// `audit_unavailable`: the session must not be served.
    pub fn session(
        &self,
        session: SessionId,
        identity: &Identity,
        client: &ClientAddress,
        claims: &Claims,
    ) -> Result<SessionChain, Refusal> {
        let kind = format!("{:?}", identity.kind).to_lowercase();
        let detail = [("credential", identity.credential.0.as_str()), ("kind", &kind)];
        let opening = Opening::of_client(session, identity, client, claims, &detail);
        SessionChain::open(Arc::clone(&self.core), opening).map_err(|error| error.refusal())
    }

    /// Records an event of no session.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn event(&self, fields: &EventFields<'_>) -> Result<(), Refusal> {
        self.system.event(fields)
    }

    /// Waits until the events so far are as durable as the journal promises.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub async fn durable(&self) -> Result<(), Refusal> {
        self.system.durable().await
    }

    /// Records written.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.core.size()
    }

    /// Whether records can be written.
    ///
    /// # Errors
    /// [`AuditError::Poisoned`] with the error that stopped the journal; [`AuditError::Full`] until there is room.
    pub fn health(&self) -> Result<(), AuditError> {
        self.core.health()
    }

    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        *self.core.signer().verifier().key()
    }

    /// The newest checkpoint as a signed note, to give to a witness.
    #[must_use]
    pub fn newest_checkpoint(&self) -> Option<String> {
        self.core.newest_checkpoint().map(|(_, note)| note)
    }

    /// Makes everything recorded so far durable, and signs it now.
    ///
    /// # Errors
    /// What the file system says; the journal is stopped then.
    pub fn flush(&self) -> Result<(), AuditError> {
        self.core.checkpoint(true)
    }

    /// Shows that the record at `index` is in the journal. `None` if the newest checkpoint does not cover it.
    /// Reads the leaves of the whole journal, 32 bytes each.
    ///
    /// # Errors
    /// When the `leaves` file cannot be read.
    pub fn prove(&self, index: u64) -> Result<Option<InclusionProof>, AuditError> {
        let Some((checkpoint, note)) = self.core.newest_checkpoint() else { return Ok(None) };
        let path = self.core.layout().leaves();
        let bytes = fs::read(&path).map_err(AuditError::io(&path))?;
        let (leaves, _) = bytes.as_chunks::<32>();
        let size = usize::try_from(checkpoint.size).unwrap_or(usize::MAX);
        let leaves: Vec<Hash> = leaves.iter().take(size).map(|leaf| Hash::from_bytes(*leaf)).collect();
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let proof = leaves.get(at).copied().zip(merkle::inclusion_proof(&leaves, at));
        Ok(proof.map(|(leaf, path)| InclusionProof { index, leaf, path, checkpoint, note }))
    }

    /// Ends the journal: records its end, makes everything durable and signs it. Later appends are refused.
    /// Sessions that are still open are recorded as interrupted when the journal is opened again.
    ///
    /// # Errors
    /// When the end could not be written.
    pub fn close(&self) -> Result<(), AuditError> {
        let Some(keeper) = self.keeper.lock().take() else { return self.core.check() };
        let ended = self.system.try_close("journal closed").and(self.core.shut());
        self.core.alarm.flags.lock().stop = true;
        self.core.alarm.rings.notify_one();
        if keeper.join().is_err() {
            tracing::error!("the audit journal's thread ended in a panic");
        }
        drop(self.lock.lock().take());
        ended.and_then(|()| self.core.check())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the audit journal did not close cleanly");
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("core", &self.core).finish_non_exhaustive()
    }
}

fn make_folder(folder: &Path) -> Result<(), AuditError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(AuditError::io(folder))
}

fn lock(layout: &Layout) -> Result<File, AuditError> {
    let path = layout.lock();
    let file = File::create(&path).map_err(AuditError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(AuditError::io(path)(error)),
    }
}

/// The journal's key under the journal's name.
fn signer(layout: &Layout, options: &JournalOptions) -> Result<NoteSigner, AuditError> {
    let published = layout.public_key().exists().then(|| keys::published(&layout.public_key())).transpose()?;
    let path = layout.secret_key();
    let key = match &options.key {
        Some(key) => key.clone(),
        None => match keys::load(&path)? {
            Some(key) => key,
            None if published.is_some() => return Err(AuditError::Key { path, what: "is missing" }),
            None => keys::create(&path)?,
        },
    };
    let origin = published.as_ref().map_or(options.origin.as_str(), |published| published.name());
    let signer = NoteSigner::new(origin, key)?;
    keys::publish(&layout.public_key(), signer.verifier())?;
    Ok(signer)
}

fn system_opening() -> Opening<'static> {
    static NO_CLAIMS: Claims = Claims { application_name: None, agent_id: None, framework: None, request_id: None };
    Opening {
        session: SessionId::fresh(),
        who: Who { org: None, agent: None },
        client: "local".into(),
        claims: &NO_CLAIMS,
        detail: &[("journal", "opened"), ("program", concat!("weir ", env!("CARGO_PKG_VERSION")))],
    }
}

fn plain() -> EventFields<'static> {
    EventFields::new(EventKind::Notice)
}
