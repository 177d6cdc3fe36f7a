//! Plans that may be used again.
//!
//! A plan is a template: governed, optimised, its parameters open, bound to a version only when it runs. It may be
//! used again for the same statement under the same catalog, the same bundle and the same policy class; any of those
//! changing makes another key, so a revocation can never meet an older plan.

use std::{collections::VecDeque, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use weir_engine::{EngineSession, Governance, Planned, Snapshot};
use weir_model::{OrgName, Result, ValueType};
use weir_policy::PolicyClass;
use weir_sql::Statement;

/// Where a governed plan comes from.
pub(crate) trait PlanSource: Send + Sync {
    fn plan(
        &self,
        statement: &Statement,
        snapshot: &Snapshot,
        governance: &Arc<Governance>,
        parameter_types: &[Option<ValueType>],
    ) -> Result<Planned>;
}

/// Everything that the meaning of a statement depends on, apart from rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub org: OrgName,
    pub agent: Arc<str>,
    pub text: Arc<str>,
    pub catalog: u64,
    pub bundle: u64,
    pub class: PolicyClass,
    pub search_path: Arc<[String]>,
    pub settings: u64,
    pub parameter_types: Vec<Option<ValueType>>,
}

impl PlanKey {
    pub(crate) fn new(
        org: &OrgName,
        statement: &Statement,
        snapshot: &Snapshot,
        governance: &Governance,
        settings: u64,
        parameter_types: &[Option<ValueType>],
    ) -> PlanKey {
        PlanKey {
            org: org.clone(),
            agent: governance.principal.agent.clone(),
            text: statement.text().into(),
            catalog: snapshot.version.catalog_version(),
            bundle: governance.bundle_version,
            class: governance.class.clone(),
            search_path: snapshot.search_path.clone(),
            settings,
            parameter_types: parameter_types.to_vec(),
        }
    }
}

/// Longest text and most plans that are kept.
const TEXT_BYTES_MAX: usize = 16 * 1024;
const PLANS_MAX: usize = 1_024;

/// Plans of simple statements, shared by the sessions of a process. First in, first out.
#[derive(Debug, Default)]
pub(crate) struct PlanCache(Mutex<Plans>);

#[derive(Debug, Default)]
struct Plans {
    held: std::collections::HashMap<Arc<PlanKey>, Planned>,
    order: VecDeque<Arc<PlanKey>>,
}

impl PlanCache {
    fn get(&self, key: &PlanKey) -> Option<Planned> {
        self.0.lock().held.get(key).cloned()
    }

    fn put(&self, key: PlanKey, planned: Planned) {
        let key = Arc::new(key);
        let mut plans = self.0.lock();
        if plans.held.insert(key.clone(), planned).is_none() {
            plans.order.push_back(key);
        }
        while plans.order.len() > PLANS_MAX {
            if let Some(oldest) = plans.order.pop_front() {
                plans.held.remove(&oldest);
            }
        }
    }
}

/// Plans a statement anew, or takes it from the process's cache. Catalog queries are always planned anew: what they
/// show depends on more than their key.
pub(crate) struct SharedPlans<'a> {
    pub cache: &'a PlanCache,
    pub engine: &'a EngineSession,
    pub org: &'a OrgName,
}

impl PlanSource for SharedPlans<'_> {
    fn plan(
        &self,
        statement: &Statement,
        snapshot: &Snapshot,
        governance: &Arc<Governance>,
        parameter_types: &[Option<ValueType>],
    ) -> Result<Planned> {
        let plan = || aside(|| self.engine.plan(statement, snapshot, governance, parameter_types));
        if statement.is_catalog_query() || statement.text().len() > TEXT_BYTES_MAX {
            return plan();
        }
        let settings = self.engine.settings_key();
        let key = PlanKey::new(self.org, statement, snapshot, governance, settings, parameter_types);
        if let Some(planned) = self.cache.get(&key) {
            return Ok(planned);
        }
        let planned = plan()?;
        self.cache.put(key, planned.clone());
        Ok(planned)
    }
}

/// Runs what may take milliseconds on this thread while the runtime goes on with another, where it can.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The plan of one prepared statement, kept with it.
#[derive(Debug, Default)]
pub(crate) struct OwnPlan(Mutex<Option<(PlanKey, Planned)>>);

pub(crate) struct PreparedPlans<'a> {
    pub own: &'a OwnPlan,
    pub shared: SharedPlans<'a>,
}

impl PlanSource for PreparedPlans<'_> {
    fn plan(
        &self,
        statement: &Statement,
        snapshot: &Snapshot,
        governance: &Arc<Governance>,
        parameter_types: &[Option<ValueType>],
    ) -> Result<Planned> {
        if statement.is_catalog_query() {
            return self.shared.plan(statement, snapshot, governance, parameter_types);
        }
        let settings = self.shared.engine.settings_key();
        let mut own = self.own.0.lock();
        if let Some((key, planned)) = own.as_ref() {
            let current = key.catalog == snapshot.version.catalog_version()
                && key.bundle == governance.bundle_version
                && key.settings == settings
                && key.class == governance.class
                && key.agent == governance.principal.agent
                && key.search_path == snapshot.search_path;
            if current {
                return Ok(planned.clone());
            }
        }
        let planned = self.shared.plan(statement, snapshot, governance, parameter_types)?;
        let key = PlanKey::new(self.shared.org, statement, snapshot, governance, settings, parameter_types);
        *own = Some((key, planned.clone()));
        Ok(planned)
    }
}
