use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tracing::{error, info, warn};
use weir_audit::{EventFields, EventKind, Journal};
use weir_model::{Identity, OrgName};
use weir_pipeline::{CredentialStatus, DataPlane, OrgSetup};
use weir_policy::BundleKey;

use crate::{
    facts::FactsPlane,
    http::Condition,
    keys::Credentials,
    local::{self, Recipient, Watch},
};

/// What the wire opens sessions on.
pub(crate) type Backend = DataPlane;

/// The role that catalogs show as the owner of an org's objects.
const ADMIN_ROLE: &str = "admin";
/// After the wire's own drain, what still runs has this long.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Opens the tables of an org.
pub(crate) type OpenTables =
    dyn Fn(&OrgName) -> Result<Arc<weir_store::Database>, weir_store::StoreError> + Send + Sync;

/// Everything open in one process.
pub(crate) struct House {
    pub(super) data: PathBuf,
    pub(super) plane: Arc<DataPlane>,
    pub(super) journal: Arc<Journal>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) facts: Arc<FactsPlane>,
    pub(super) bundle_key: BundleKey,
    pub(super) tables: Arc<OpenTables>,
    /// Orgs whose tables could not be opened, and why.
    pub(super) closed: Mutex<BTreeMap<OrgName, String>>,
    pub(super) watch: Mutex<Option<Watch>>,
    pub(super) serving: AtomicBool,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("data", &self.data).finish_non_exhaustive()
    }
}

/// Whether a session's credential still holds, as the pipeline asks it.
#[derive(Debug)]
pub(crate) struct Holds(pub Arc<Credentials>);

impl CredentialStatus for Holds {
    fn holds(&self, identity: &Identity) -> bool {
        self.0.holds(identity)
    }
}

impl House {
    pub fn backend(&self) -> Arc<Backend> {
        Arc::clone(&self.plane)
    }

    pub fn plane(&self) -> &Arc<DataPlane> {
        &self.plane
    }

    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    pub fn facts(&self) -> &Arc<FactsPlane> {
        &self.facts
    }

    pub fn bundle_key(&self) -> &BundleKey {
        &self.bundle_key
    }

    pub fn watched_by(&self, watch: Watch) {
        *self.watch.lock() = Some(watch);
    }

    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    pub fn now_serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Whether no org holds a policy.
    pub fn serves_nothing(&self) -> bool {
        self.plane.status().iter().all(|org| org.bundle_version.is_none())
    }

    /// Recovers the tables of every org that may run statements, so that the first of them does not wait.
    pub async fn open_orgs(&self) {
        for report in self.plane.status() {
            if !report.status.is_some_and(|status| status.may_execute()) {
                continue;
            }
            if let Err(why) = self.plane.open_org(&report.org).await {
                error!(org = %report.org, why, "the org's tables cannot be opened");
                self.closed.lock().insert(report.org, why);
            }
        }
    }

    /// Ends what runs, writes what is in memory, and closes the journal with a checkpoint.
    pub async fn close(&self) {
        // First, so that nothing is offered to a plane that closes.
        let watch = self.watch.lock().take();
        drop(watch);
        self.facts.stop_serving().await;
        if !self.plane.drain(LAST_WAIT).await {
            warn!("statements were cancelled to stop in time");
        }
        // Only now, as statements ask for facts to their end.
        let facts = Arc::clone(&self.facts);
        if tokio::task::spawn_blocking(move || facts.close()).await.is_err() {
            error!("closing the facts ended by a panic");
        }
        match self.journal.close() {
            Ok(()) => info!("the journal is closed"),
            Err(error) => error!(%error, "the journal could not be closed"),
        }
    }

    fn adopt(&self, org: &OrgName) -> Result<(), String> {
        let mask_key = local::mask_key(&self.data, org).map_err(|failure| failure.to_string())?;
        let (tables, name) = (Arc::clone(&self.tables), org.clone());
        self.plane.add_org(OrgSetup {
            name: org.clone(),
            open: Box::new(move || tables(&name)),
            mask_key,
            bundle_key: self.bundle_key.verifying_key(),
            admin_role: ADMIN_ROLE.to_owned(),
            facts: self.facts.of_org(org),
        });
        Ok(())
    }
}

impl Recipient for House {
    fn offer(&self, org: &OrgName, jws: &str) -> Result<u64, String> {
        self.adopt(org)?;
        self.plane.offer_bundle(org, jws).map_err(|error| error.to_string())
    }

    fn confirm(&self, org: &OrgName) {
        self.plane.confirm_bundle(org);
    }

    fn rejected(&self, org: Option<&OrgName>, why: &str) {
        let detail = [("error", why)];
        let fields = EventFields { org, detail: &detail, ..EventFields::new(EventKind::BundleRefused) };
        if let Err(refusal) = self.journal.event(&fields) {
            error!(%refusal, "a refused policy is not recorded");
        }
    }
}

impl Condition for House {
    fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.is_serving() {
            reasons.push("the server is starting".to_owned());
        }
        if let Err(error) = self.journal.health() {
            reasons.push(format!("the journal cannot be written: {error}"));
        }
        reasons.extend(self.closed.lock().keys().map(|org| format!("the tables of org {org} are not open")));
        if let Some(watch) = self.watch.lock().as_ref() {
            let unserved = watch.reports().into_iter().filter(|report| report.serving.is_none());
            reasons.extend(unserved.map(|report| format!("{} gives no policy", report.path.display())));
        }
        reasons.extend(self.facts.unready());
        if reasons.is_empty() && !self.plane.is_ready() {
            reasons.push("an org's policy is older than the grace period, or the server is stopping".to_owned());
        }
        reasons
    }

    fn measure(&self) {
        self.facts.measure();
    }

    fn status(&self) -> String {
        let mut text = format!("weir {}\n\nOrgs\n", env!("WEIR_VERSION"));
        for org in self.plane.status() {
            let status = org.status.map_or("without a policy", |status| status.as_str());
            let version = org.bundle_version.map_or_else(|| "-".to_owned(), |version| version.to_string());
            let age = org.bundle_age.map_or_else(|| "-".to_owned(), |age| format!("{:.1} s", age.as_secs_f64()));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  {}: {status}, policy version {version} confirmed {age} ago, {} sessions, tables {}",
                org.org,
                org.sessions,
                if org.open { "open" } else { "not open" }
            );
            for misfit in org.misfits {
                let _ = writeln!(text, "    {misfit}");
            }
        }
        text.push_str("\nPolicies\n");
        if let Some(watch) = self.watch.lock().as_ref() {
            for report in watch.reports() {
                let _ = writeln!(text, "  {}", report.to_string().replace('\n', "\n  "));
            }
        }
        text.push_str("\nFacts\n");
        text.push_str(&self.facts.status());
        let _ = writeln!(text, "\nJournal\n  {} records", self.journal.size());
        if let Some(checkpoint) = self.journal.newest_checkpoint() {
            let _ = writeln!(text, "  newest checkpoint:\n    {}", checkpoint.trim_end().replace('\n', "\n    "));
        }
        text
    }
}
