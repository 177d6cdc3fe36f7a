use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir_audit::{EventFields, EventKind, Journal};
use weir_engine::Engine;
use weir_meter::Meter;
use weir_model::{Claims, ClientAddress, Code, Identity, OrgName, Refusal, Result};
use weir_policy::{BundleError, Misfit, Policy};

use crate::{
    fit,
    gates::{admission::Admission, audit, org_status, startup},
    options::{CredentialStatus, PipelineOptions},
    org::{Org, OrgSetup, OrgStatusReport},
    plan_cache::PlanCache,
    session::Session,
    traffic::Traffic,
};

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    #[error("organisation `{0}` is not served here")]
    UnknownOrg(OrgName),
    #[error(transparent)]
    Refused(#[from] BundleError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Misfit(Vec<Misfit>),
}

/// The orgs of a process and what their sessions share. Orgs meet in the gates' semaphores and the engine's limits,
/// nowhere else.
#[derive(Debug)]
pub struct DataPlane {
    pub(crate) options: Arc<PipelineOptions>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) admission: Admission,
    pub(crate) plans: PlanCache,
    credentials: Arc<dyn CredentialStatus>,
    orgs: RwLock<HashMap<OrgName, Arc<Org>>>,
    draining: AtomicBool,
    process_ids: AtomicI32,
    pub(crate) traffic: Arc<Traffic>,
    /// Statements that run, so that draining can wait for them; cancelled when the wait is over.
    pub(crate) running: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl DataPlane {
    #[must_use]
    pub fn new(
        options: PipelineOptions,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        meter: Arc<Meter>,
        credentials: Arc<dyn CredentialStatus>,
    ) -> Arc<DataPlane> {
        let admission =
            Admission::new(options.max_concurrent_statements, options.max_full_scans, options.admission_wait);
        Arc::new(DataPlane {
            options: Arc::new(options),
            engine,
            journal,
            meter,
            admission,
            plans: PlanCache::default(),
            credentials,
            orgs: RwLock::default(),
            draining: AtomicBool::new(false),
            process_ids: AtomicI32::new(1),
            traffic: Arc::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Serves one more org. An org that is already served stays as it is.
    pub fn add_org(&self, setup: OrgSetup) {
        self.orgs.write().entry(setup.name.clone()).or_insert_with(|| Arc::new(Org::new(setup)));
    }

    fn org(&self, name: &OrgName) -> Option<Arc<Org>> {
        self.orgs.read().get(name).cloned()
    }

    /// Opens an org's tables now instead of at its first statement.
    ///
    /// # Errors
    /// A text for operators when they cannot be opened or the org is unknown.
    pub async fn open_org(&self, name: &OrgName) -> std::result::Result<(), String> {
        let org = self.org(name).ok_or_else(|| format!("organisation `{name}` is not served here"))?;
        org.open_database().await.map(drop)
    }

    /// Verifies a bundle and, when it is newer than the one held, swaps it in: sessions meet it at their next
    /// statement. The bundle that is held already counts as confirmed anew.
    ///
    /// # Errors
    /// [`OfferError`]; the held bundle stays. Both outcomes are journalled.
    pub fn offer_bundle(&self, name: &OrgName, jws: &str) -> std::result::Result<u64, OfferError> {
        let org = self.org(name).ok_or_else(|| OfferError::UnknownOrg(name.clone()))?;
        let held = org.policy();
        let held_version = held.as_ref().map(|held| held.policy.version());
        let verified = weir_policy::verify(jws, org.bundle_key(), name, unix_seconds(), held_version)
            .map_err(OfferError::from)
            .and_then(|policy| fitting(&org, policy));
        let (event, detail) = match &verified {
            Ok(policy) => (EventKind::BundleAccepted, policy.version().to_string()),
            Err(error) => (EventKind::BundleRefused, error.to_string()),
        };
        let label = if verified.is_ok() { "bundle_version" } else { "error" };
        let recorded = self.journal.event(&EventFields {
            org: Some(name),
            detail: &[(label, detail.as_str())],
            ..EventFields::new(event)
        });
        if let Err(refusal) = recorded {
            tracing::error!(%refusal, "a bundle's arrival is not recorded");
        }
        let policy = verified?;
        let version = policy.version();
        match held.filter(|held| held.policy.content_hash() == policy.content_hash() && held_version == Some(version)) {
            Some(held) if held.policy.not_after() >= policy.not_after() => held.confirm(),
            _ => org.hold(policy),
        }
        org.fit().watch(&org);
        metrics::gauge!("weir_bundle_version", "org" => name.to_string()).set(version_number(version));
        Ok(version)
    }

    /// The control side says that the held bundle is still the current one. Tables may have changed since, so whether
    /// it still fits them is looked at too.
    pub fn confirm_bundle(&self, name: &OrgName) {
        let Some(org) = self.org(name) else { return };
        if let Some(held) = org.policy() {
            held.confirm();
        }
        org.fit().watch(&org);
    }

    /// The policy that decisions outside of sessions go by, under the conditions of gates 1 and 3, without waiting.
    ///
    /// # Errors
    /// `unknown_database`, `proxy_not_ready`, `org_access_denied`, `shutting_down`.
    pub fn policy_in_force(&self, name: &OrgName) -> Result<Arc<Policy>> {
        self.open_for_statements()?;
        let org = self.org(name).ok_or_else(|| {
            Refusal::new(Code::UnknownDatabase, format!("organisation \"{name}\" is not served here"))
        })?;
        let held = org.policy().ok_or_else(startup::without_a_bundle)?;
        startup::check(&held, &self.options)?;
        org_status::check(&org, &held.policy)?;
        Ok(Arc::clone(&held.policy))
    }

    /// Whether every org holds a verified bundle within the grace period, and nothing drains.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let orgs = self.orgs.read();
        let bundled =
            orgs.values().all(|org| org.policy().is_some_and(|held| held.confirmed_ago() <= self.options.policy_grace));
        bundled && !self.draining.load(Ordering::Acquire) && self.journal.health().is_ok()
    }

    #[must_use]
    pub fn status(&self) -> Vec<OrgStatusReport> {
        let mut reports: Vec<OrgStatusReport> = self.orgs.read().values().map(|org| org.report()).collect();
        reports.sort_by(|a, b| a.org.cmp(&b.org));
        reports
    }

    /// Opens a session for a credential that was proven.
    ///
    /// # Errors
    /// `unknown_database`, `proxy_not_ready`, `org_access_denied`, `permission_denied` (the policy does not know the
    /// agent), `audit_unavailable`, `shutting_down`.
    pub async fn connect(
        self: &Arc<DataPlane>,
        identity: Identity,
        claims: Claims,
        client: ClientAddress,
    ) -> Result<Session> {
        self.open_for_statements()?;
        let (name, agent) = (identity.org.clone(), identity.agent.clone());
        let opened = self.open_session(identity, claims, client.clone()).await;
        if let Err(refusal) = &opened {
            audit::count(refusal);
            let recorded = self.journal.event(&EventFields {
                org: Some(&name),
                agent: Some(&agent),
                client: Some(&client),
                code: Some(refusal.code()),
                ..EventFields::new(EventKind::ConnectionRefused)
            });
            if let Err(unrecorded) = recorded {
                tracing::error!(%unrecorded, "a refused connection is not recorded");
            }
            self.journal.durable().await?;
        }
        opened
    }

    async fn open_session(
        self: &Arc<DataPlane>,
        identity: Identity,
        claims: Claims,
        client: ClientAddress,
    ) -> Result<Session> {
        let unknown = || {
            Refusal::new(Code::UnknownDatabase, format!("database \"{}\" does not exist", identity.org))
                .hint("the database is the organisation that the key was issued for")
        };
        let org = self.org(&identity.org).ok_or_else(unknown)?;
        let held = startup::held(&org, &self.options).await?;
        org_status::check(&org, &held.policy)?;
        held.policy.principal(&identity)?;
        let session = Session::open(self.clone(), org, self.credentials.clone(), identity, claims, client)?;
        session.durable().await?;
        Ok(session)
    }

    /// No statement is taken any more once draining began.
    pub(crate) fn open_for_statements(&self) -> Result<()> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Refusal::new(Code::ShuttingDown, "the server is shutting down").hint("connect again shortly"));
        }
        Ok(())
    }

    /// Takes no new statements, waits for the running ones and, when the wait is over, cancels them; then closes the
    /// orgs' tables. Returns whether everything ended in time.
    pub async fn drain(&self, wait: Duration) -> bool {
        self.draining.store(true, Ordering::Release);
        self.running.close();
        let in_time = tokio::time::timeout(wait, self.running.wait()).await.is_ok();
        if !in_time {
            self.stop.cancel();
            let _ended = tokio::time::timeout(Duration::from_secs(2), self.running.wait()).await;
        }
        let orgs: Vec<Arc<Org>> = self.orgs.read().values().cloned().collect();
        for org in orgs {
            let Some(database) = org.take_database() else { continue };
            let closed = tokio::task::spawn_blocking(move || database.close()).await;
            match closed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(org = %org.name(), %error, "closing the tables failed"),
                Err(error) => tracing::error!(org = %org.name(), %error, "closing the tables did not end"),
            }
        }
        in_time
    }

    /// Positive; starts over after two thousand million sessions.
    pub(crate) fn next_process_id(&self) -> i32 {
        self.process_ids.fetch_add(1, Ordering::Relaxed) & i32::MAX
    }
}

fn fitting(org: &Org, policy: Arc<Policy>) -> std::result::Result<Arc<Policy>, OfferError> {
    let mistakes = fit::new_mistakes(org, &policy);
    if mistakes.is_empty() { Ok(policy) } else { Err(OfferError::Misfit(mistakes)) }
}

fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "a gauge; versions stay far below 2^53")]
fn version_number(version: u64) -> f64 {
    version as f64
}
