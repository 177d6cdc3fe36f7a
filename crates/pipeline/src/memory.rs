//! What the gates found for a prepared statement the last time, so that they need not find it again.
//!
//! Names are remembered for one catalog and one search path; the decision and the governance for one bundle on top of
//! that, and only when no rule asked about the moment. Any of these changing makes the gates ask anew: what is
//! remembered is the answer to the very same question.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use weir_engine::Governance;
use weir_model::{Action, ObjectName, Principal};

use crate::{gates::audit::Recorded, session::SessionPolicy};

pub(crate) type Objects = Arc<[(ObjectName, Action)]>;

#[derive(Debug, Default)]
pub(crate) struct StatementMemory(Mutex<Option<Names>>);

#[derive(Debug)]
struct Names {
    catalog: u64,
    search_path: Arc<[String]>,
    objects: Objects,
    tables: Arc<[ObjectName]>,
    allowed: Option<Arc<Allowed>>,
}

/// What a bundle allowed, for as long as it is the bundle, and what follows from that.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub policy: Arc<SessionPolicy>,
    pub principal: Arc<Principal>,
    pub rules: Arc<[Arc<str>]>,
    pub governance: OnceLock<Arc<Governance>>,
    /// How the journal records the statement under the newest of its plans.
    pub recorded: Mutex<Option<Arc<Recorded>>>,
}

impl StatementMemory {
    pub(crate) fn objects(&self, catalog: u64, search_path: &Arc<[String]>) -> Option<(Objects, Arc<[ObjectName]>)> {
        let memory = self.0.lock();
        let names = memory.as_ref()?;
        let same = names.catalog == catalog && *names.search_path == **search_path;
        same.then(|| (Arc::clone(&names.objects), Arc::clone(&names.tables)))
    }

    pub(crate) fn keep_objects(
        &self,
        catalog: u64,
        search_path: &Arc<[String]>,
        objects: &Objects,
        tables: &Arc<[ObjectName]>,
    ) {
        *self.0.lock() = Some(Names {
            catalog,
            search_path: Arc::clone(search_path),
            objects: Arc::clone(objects),
            tables: Arc::clone(tables),
            allowed: None,
        });
    }

    /// What this very bundle allowed this very principal on these very objects.
    pub(crate) fn allowed(
        &self,
        policy: &Arc<SessionPolicy>,
        principal: &Arc<Principal>,
        objects: &Objects,
    ) -> Option<Arc<Allowed>> {
        let memory = self.0.lock();
        let names = memory.as_ref().filter(|names| Arc::ptr_eq(&names.objects, objects))?;
        let allowed = names.allowed.as_ref()?;
        let same = Arc::ptr_eq(&allowed.policy, policy) && Arc::ptr_eq(&allowed.principal, principal);
        same.then(|| Arc::clone(allowed))
    }

    pub(crate) fn keep_allowed(&self, objects: &Objects, allowed: &Arc<Allowed>) {
        if let Some(names) = self.0.lock().as_mut().filter(|names| Arc::ptr_eq(&names.objects, objects)) {
            names.allowed = Some(Arc::clone(allowed));
        }
    }
}
