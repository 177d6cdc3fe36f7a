use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use weir_engine::MaskKey;
use weir_model::OrgName;
use weir_policy::{OrgStatus, Policy, VerifyingKey};
use weir_store::{Database, StoreError};

use crate::{facts::OrgFacts, fit::Fit, gates::governor::Governor};

/// Opens an org's tables; called off the runtime's threads, at most once at a time.
pub type OpenDatabase = Box<dyn Fn() -> Result<Arc<Database>, StoreError> + Send + Sync>;

/// What a data plane needs to serve an org.
pub struct OrgSetup {
    pub name: OrgName,
    pub open: OpenDatabase,
    /// Keys the hashes of masked values; equal values stay equal within the org alone.
    pub mask_key: [u8; 32],
    /// Verifies the org's bundles.
    pub bundle_key: VerifyingKey,
    /// The role that catalogs show as owner of the org's objects.
    pub admin_role: String,
    /// What its policy decides on and its sessions read, where there is a facts plane.
    pub facts: Option<Arc<dyn OrgFacts>>,
}

impl fmt::Debug for OrgSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgSetup").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One org's state, for operators.
#[derive(Debug, Clone)]
pub struct OrgStatusReport {
    pub org: OrgName,
    /// None before the first bundle.
    pub status: Option<OrgStatus>,
    pub bundle_version: Option<u64>,
    /// Since the bundle was last confirmed.
    pub bundle_age: Option<Duration>,
    pub sessions: usize,
    pub open: bool,
    /// What the policy names that the tables do not have, by rule.
    pub misfits: Vec<String>,
}

/// A verified bundle and when it was last known to be current.
#[derive(Debug)]
pub(crate) struct HeldPolicy {
    pub policy: Arc<Policy>,
    confirmed: Mutex<Instant>,
}

impl HeldPolicy {
    pub(crate) fn confirmed_ago(&self) -> Duration {
        self.confirmed.lock().elapsed()
    }

    pub(crate) fn confirm(&self) {
        *self.confirmed.lock() = Instant::now();
    }
}

/// One org of the data plane.
pub(crate) struct Org {
    name: OrgName,
    open: OpenDatabase,
    database: ArcSwapOption<Database>,
    opening: tokio::sync::Mutex<()>,
    policy: ArcSwapOption<HeldPolicy>,
    arrived: watch::Sender<bool>,
    mask_key: MaskKey,
    bundle_key: VerifyingKey,
    admin_role: Arc<str>,
    facts: Option<Arc<dyn OrgFacts>>,
    governor: Governor,
    fit: Fit,
    sessions: AtomicUsize,
}

impl fmt::Debug for Org {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Org").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Org {
    pub(crate) fn new(setup: OrgSetup) -> Org {
        Org {
            name: setup.name,
            open: setup.open,
            database: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::new(()),
            policy: ArcSwapOption::empty(),
            arrived: watch::Sender::new(false),
            mask_key: MaskKey::new(setup.mask_key),
            bundle_key: setup.bundle_key,
            admin_role: setup.admin_role.into(),
            facts: setup.facts,
            governor: Governor::default(),
            fit: Fit::default(),
            sessions: AtomicUsize::new(0),
        }
    }

    pub(crate) fn name(&self) -> &OrgName {
        &self.name
    }

    pub(crate) fn mask_key(&self) -> &MaskKey {
        &self.mask_key
    }

    pub(crate) fn bundle_key(&self) -> &VerifyingKey {
        &self.bundle_key
    }

    pub(crate) fn admin_role(&self) -> &Arc<str> {
        &self.admin_role
    }

    pub(crate) fn facts(&self) -> Option<&Arc<dyn OrgFacts>> {
        self.facts.as_ref()
    }

    pub(crate) fn governor(&self) -> &Governor {
        &self.governor
    }

    pub(crate) fn fit(&self) -> &Fit {
        &self.fit
    }

    pub(crate) fn policy(&self) -> Option<Arc<HeldPolicy>> {
        self.policy.load_full()
    }

    /// As [`Org::policy`], without counting a reference.
    pub(crate) fn borrow_policy(&self) -> arc_swap::Guard<Option<Arc<HeldPolicy>>> {
        self.policy.load()
    }

    /// Takes a bundle that was verified for this org and is not older than the one held.
    pub(crate) fn hold(&self, policy: Arc<Policy>) {
        self.policy.store(Some(Arc::new(HeldPolicy { policy, confirmed: Mutex::new(Instant::now()) })));
        self.arrived.send_replace(true);
    }

    /// Waits for the first bundle.
    pub(crate) async fn first_policy(&self) -> Arc<HeldPolicy> {
        let mut arrived = self.arrived.subscribe();
        loop {
            if let Some(held) = self.policy() {
                return held;
            }
            if arrived.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.database.load_full()
    }

    /// Opens the tables, or waits for another that opens them. The error is a text for operators' eyes and names no
    /// object of the org.
    pub(crate) async fn open_database(self: &Arc<Org>) -> Result<Arc<Database>, String> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(database) = self.database() {
            return Ok(database);
        }
        let org = self.clone();
        let opened = tokio::task::spawn_blocking(move || (org.open)()).await;
        match opened {
            Ok(Ok(database)) => {
                self.database.store(Some(database.clone()));
                Ok(database)
            }
            Ok(Err(error)) => {
                tracing::error!(org = %self.name, %error, "the organisation's tables cannot be opened");
                Err("cause=storage".into())
            }
            Err(error) => {
                tracing::error!(org = %self.name, %error, "opening the organisation's tables did not end");
                Err("cause=internal".into())
            }
        }
    }

    pub(crate) fn take_database(&self) -> Option<Arc<Database>> {
        self.database.swap(None)
    }

    pub(crate) fn session_opened(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn session_closed(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> OrgStatusReport {
        let held = self.policy();
        OrgStatusReport {
            org: self.name.clone(),
            status: held.as_ref().map(|held| held.policy.status()),
            bundle_version: held.as_ref().map(|held| held.policy.version()),
            bundle_age: held.as_ref().map(|held| held.confirmed_ago()),
            sessions: self.sessions.load(Ordering::Relaxed),
            open: self.database().is_some(),
            misfits: self.fit.misfits().iter().map(ToString::to_string).collect(),
        }
    }
}

/// Orgs and policies for the gates' own tests.
#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_policy::{BundleKey, Source, Validity, compile};

    use super::*;

    pub(crate) fn no_tables() -> Result<Arc<Database>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(crate) fn org(open: impl Fn() -> Result<Arc<Database>, StoreError> + Send + Sync + 'static) -> Arc<Org> {
        Arc::new(Org::new(OrgSetup {
            name: OrgName::new("acme").unwrap(),
            open: Box::new(open),
            mask_key: [7; 32],
            bundle_key: BundleKey::generate().unwrap().verifying_key(),
            admin_role: "admin".into(),
            facts: None,
        }))
    }

    pub(crate) fn policy(not_after: i64) -> Arc<Policy> {
        let source = Source::from_text("acme", "org = \"acme\"\n", "", "");
        let body = compile(&source, Validity { version: 7, issued_at: 0, not_after }).unwrap();
        Arc::new(Policy::new(body).unwrap())
    }
}
