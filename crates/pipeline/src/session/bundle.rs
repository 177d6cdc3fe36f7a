use std::{ops::Deref, sync::Arc};

use parking_lot::Mutex;
use weir_audit::Journal;
use weir_meter::Meter;
use weir_model::{Identity, ObjectName, Principal, Refusal};
use weir_policy::{Policy, Priority};

use crate::{
    org::{HeldPolicy, Org},
    virtuals::OrgVirtuals,
};

/// An org's bundle as one session meets it, and what follows from the two alone. Statements of the session share it:
/// counting references to what all sessions share would make their processors wait for each other.
#[derive(Debug)]
pub(crate) struct SessionPolicy {
    held: Arc<HeldPolicy>,
    /// An error for an identity that the bundle no longer knows.
    principal: Result<Arc<Principal>, Refusal>,
    /// At the admission gate; normal where there is no principal, which the policy gate will refuse.
    pub priority: Priority,
    pub virtuals: Arc<OrgVirtuals>,
}

impl Deref for SessionPolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.held.policy
    }
}

impl SessionPolicy {
    pub(crate) fn held(&self) -> &HeldPolicy {
        &self.held
    }

    pub(crate) fn shared(&self) -> &Arc<Policy> {
        &self.held.policy
    }

    pub(crate) fn principal(&self) -> Result<&Arc<Principal>, Refusal> {
        self.principal.as_ref().map_err(Clone::clone)
    }

    /// Whether the principal may know that an object exists; what may not be known is refused as missing, by the policy
    /// gate and no gate before it.
    pub(crate) fn may_be_known(&self, object: &ObjectName) -> bool {
        self.principal.as_ref().is_ok_and(|principal| self.may_know(principal, object))
    }
}

/// Makes a session's view of its org's bundle, anew for each bundle.
#[derive(Debug)]
pub(crate) struct SessionPolicies {
    journal: Arc<Journal>,
    meter: Arc<Meter>,
    newest: Mutex<Option<Arc<SessionPolicy>>>,
}

impl SessionPolicies {
    pub(crate) fn new(journal: Arc<Journal>, meter: Arc<Meter>) -> SessionPolicies {
        SessionPolicies { journal, meter, newest: Mutex::default() }
    }

    /// None before the org's first bundle.
    pub(crate) fn current(&self, org: &Org, identity: &Identity) -> Option<Arc<SessionPolicy>> {
        let current = org.borrow_policy();
        let current = current.as_ref()?;
        let mut newest = self.newest.lock();
        if let Some(known) = newest.as_ref().filter(|known| Arc::ptr_eq(&known.held, current)) {
            return Some(Arc::clone(known));
        }
        let policy = &current.policy;
        let principal = policy.principal(identity).map(Arc::new);
        let virtuals = OrgVirtuals::new(
            org.name().clone(),
            Arc::clone(policy),
            Arc::clone(&self.journal),
            Arc::clone(&self.meter),
            org.facts().cloned(),
        );
        let made = Arc::new(SessionPolicy {
            held: Arc::clone(current),
            priority: principal.as_ref().map_or(Priority::Normal, |principal| policy.priority(principal)),
            principal,
            virtuals: Arc::new(virtuals),
        });
        Some(Arc::clone(newest.insert(made)))
    }
}
