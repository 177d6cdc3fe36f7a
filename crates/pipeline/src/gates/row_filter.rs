use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use weir_engine::{Governance, ObjectGovernance, Planned};
use weir_model::{Action, ObjectName, Principal, Result, ValueType};
use weir_policy::{Policy, RowCommand};
use weir_sql::Kind;

use crate::{gates::snapshot::Pinned, plan_cache::PlanSource, session::SessionFacts};

/// The statement is bound to its version, and every scan in it carries its filters.
#[derive(Debug)]
pub(crate) struct Governed {
    pub pinned: Pinned,
    pub governance: Arc<Governance>,
    /// None for statements without a plan (DDL, TRUNCATE, session statements).
    pub planned: Option<Planned>,
}

/// Gate 14. Binds the tree that was authorised to the pinned version, over tables that exist only as governed ones,
/// or takes a plan of the same statement that was governed under the same catalog, bundle and policy class. Refuses
/// with `masked_predicate`, name and type errors, and `ungoverned_plan` should any scan lack its filter. Costs nothing
/// noticeable for a cached plan, a planning otherwise.
pub(crate) fn pass(pinned: Pinned, source: &dyn PlanSource, parameter_types: &[Option<ValueType>]) -> Result<Governed> {
    let stated = &pinned.reserved.costed.authorized.stated;
    let ready = &stated.admitted.paced.standing.0.ready;
    let principal = &pinned.reserved.costed.authorized.principal;
    let known = pinned.reserved.costed.authorized.known.as_ref();
    let governance = match known.and_then(|known| known.governance.get()) {
        Some(governance) => Arc::clone(governance),
        None => {
            let made = Arc::new(govern(ready.policy.shared(), principal, &stated.objects, &ready.facts)?);
            known.map_or(Arc::clone(&made), |known| Arc::clone(known.governance.get_or_init(|| made)))
        }
    };
    let planned = if has_plan(stated.statement.kind()) {
        Some(source.plan(&stated.statement, &pinned.snapshot, &governance, parameter_types)?)
    } else {
        None
    };
    Ok(Governed { pinned, governance, planned })
}

fn has_plan(kind: &Kind) -> bool {
    match kind {
        Kind::Query | Kind::Insert | Kind::Update | Kind::Delete | Kind::CreateTableAs(_) | Kind::CreateView(_) => true,
        Kind::Explain { .. } => true,
        Kind::Copy(copy) => !matches!(copy.direction, weir_sql::CopyDirection::In { .. }),
        _ => false,
    }
}

fn govern(
    policy: &Arc<Policy>,
    principal: &Arc<Principal>,
    objects: &[(ObjectName, Action)],
    facts: &SessionFacts,
) -> Result<Governance> {
    let mut actions: BTreeMap<&ObjectName, Vec<Action>> = BTreeMap::new();
    for (object, action) in objects {
        actions.entry(object).or_default().push(*action);
    }
    let mut governed = HashMap::with_capacity(actions.len());
    for (object, actions) in actions {
        governed.insert(
            object.clone(),
            ObjectGovernance {
                select: policy.row_filter(principal, object, RowCommand::Select)?,
                insert: policy.row_filter(principal, object, RowCommand::Insert)?,
                update: policy.row_filter(principal, object, RowCommand::Update)?,
                delete: policy.row_filter(principal, object, RowCommand::Delete)?,
                masks: policy.masks(principal, object),
                actions,
            },
        );
    }
    let (known_policy, known_principal) = (policy.clone(), principal.clone());
    Ok(Governance {
        principal: principal.clone(),
        bundle_version: policy.version(),
        class: policy.policy_class(principal),
        mask_key: facts.org.mask_key().clone(),
        objects: governed,
        visible: Arc::new(move |object: &ObjectName| known_policy.may_know(&known_principal, object)),
        admin_role: facts.admin_role.clone(),
    })
}
