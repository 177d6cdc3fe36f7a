//! Whether a policy fits the tables: what its row filters and masks name is there.
//!
//! A change that brings a new mistake is refused when it is offered, and the policy before stays. A mistake that comes
//! by itself, since a table was made anew without a column or since a start knows the tables only later, cannot be
//! refused: it is told, and the statements it concerns are refused.

use std::sync::Arc;

use parking_lot::Mutex;
use weir_model::ObjectName;
use weir_policy::{Misfit, Policy, Relation};
use weir_store::Version;

use crate::{org::Org, virtuals};

/// The newest comparison of an org's policy with its tables.
#[derive(Debug, Default)]
pub(crate) struct Fit(Mutex<Option<Compared>>);

#[derive(Debug)]
struct Compared {
    bundle: u64,
    catalog: u64,
    misfits: Arc<[Misfit]>,
}

impl Fit {
    pub(crate) fn misfits(&self) -> Arc<[Misfit]> {
        self.0.lock().as_ref().map_or_else(|| Arc::from([]), |compared| compared.misfits.clone())
    }

    /// Compares anew when policy or catalog changed, and tells what was not so before.
    pub(crate) fn watch(&self, org: &Org) {
        let (Some(held), Some(database)) = (org.policy(), org.database()) else { return };
        let version = database.version();
        let (bundle, catalog) = (held.policy.version(), version.catalog_version());
        let mut newest = self.0.lock();
        if newest.as_ref().is_some_and(|compared| (compared.bundle, compared.catalog) == (bundle, catalog)) {
            return;
        }
        let found: Arc<[Misfit]> = misfits(&held.policy, &version).into();
        let before = newest.replace(Compared { bundle, catalog, misfits: found.clone() });
        drop(newest);
        let told =
            |misfit: &Misfit| before.as_ref().is_some_and(|before| before.misfits.iter().any(|known| known.is(misfit)));
        for misfit in found.iter().filter(|misfit| !told(misfit)) {
            if misfit.is_mistake() {
                tracing::error!(org = %org.name(), %misfit, "the policy does not fit the tables: what it concerns is refused");
            } else {
                tracing::debug!(org = %org.name(), %misfit, "the policy names a table that is not there");
            }
        }
        for (kind, is_mistake) in [("mistake", true), ("absent_table", false)] {
            let count = found.iter().filter(|misfit| misfit.is_mistake() == is_mistake).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            metrics::gauge!("weir_policy_misfits", "org" => org.name().to_string(), "kind" => kind).set(count);
        }
    }
}

fn misfits(policy: &Policy, version: &Version) -> Vec<Misfit> {
    policy.misfits(|object| relation(version, object))
}

fn relation(version: &Version, object: &ObjectName) -> Relation {
    if let Some(table) = version.table(object) {
        return Relation::Table {
            columns: table.schema().columns().iter().map(|column| column.name.clone()).collect(),
        };
    }
    if let Some(schema) = virtuals::schema(object) {
        return Relation::Table { columns: schema.fields().iter().map(|field| field.name().clone()).collect() };
    }
    if version.view(object).is_some() { Relation::View } else { Relation::Absent }
}

/// The mistakes that a policy would bring and that the one before does not have. None of them can be told while the
/// tables are not open. The first policy has none to stay in its place.
pub(crate) fn new_mistakes(org: &Org, offered: &Policy) -> Vec<Misfit> {
    let (Some(held), Some(database)) = (org.policy(), org.database()) else { return Vec::new() };
    let version = database.version();
    let before = misfits(&held.policy, &version);
    let mut found = misfits(offered, &version);
    found.retain(|misfit| misfit.is_mistake() && !before.iter().any(|known| known.is(misfit)));
    found
}
