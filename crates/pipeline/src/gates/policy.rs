use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use weir_model::{Action, Code, ObjectName, Principal, Refusal, Result};
use weir_policy::{FactSource, Policy, Request, RequestContext, RuleId};

use crate::{
    gates::{isolation::Isolated, statement::Stated, statement::exists},
    memory::{Allowed, StatementMemory},
    session::SessionFacts,
};

/// The principal may do what the statement does, object by object.
#[derive(Debug)]
pub(crate) struct Authorized {
    pub stated: Stated,
    pub principal: Arc<Principal>,
    /// Rules that decided.
    pub rules: Arc<[Arc<str>]>,
    /// What a prepared statement keeps of this, when no rule asked about the moment.
    pub known: Option<Arc<Allowed>>,
}

/// What the policy gate found, also when it refused: the journal keeps it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub rules: Vec<Arc<str>>,
    pub bundle_version: u64,
}

/// Gate 10. RBAC and ABAC by the bundle's rules, per object and action. An object that does not exist and one that the
/// principal may not know of are the same `undefined_table`; what it may know of but not use is `permission_denied`;
/// what a mask does not fit, so that it would show everything, is `ungoverned_plan`.
/// Costs a cached look-up per object when no rule asks about the moment, a few microseconds when one does.
pub(crate) fn pass(
    isolated: Isolated,
    facts: &SessionFacts,
    memory: Option<&StatementMemory>,
    verdict: &mut Verdict,
) -> Result<Authorized> {
    let stated = isolated.0.0.0;
    let ready = &stated.admitted.paced.standing.0.ready;
    let policy = &ready.policy;
    verdict.bundle_version = policy.version();
    let principal = Arc::clone(policy.principal()?);
    if let Some(known) = memory.and_then(|memory| memory.allowed(policy, &principal, &stated.objects)) {
        return Ok(Authorized { principal, rules: Arc::clone(&known.rules), stated, known: Some(known) });
    }
    let context = RequestContext {
        now_unix_ms: unix_milliseconds(),
        client: &facts.client,
        purpose: match principal.attributes.get("purpose") {
            Some(weir_model::AttributeValue::Text(purpose)) => Some(purpose),
            _ => None,
        },
        statement_kind: stated.statement.kind().label(),
        facts: policy.virtuals.facts().map(|facts| facts as &dyn FactSource),
    };
    let mut settled = true;
    for (object, action) in stated.objects.iter() {
        let found = exists(&stated.version, object) || object.name() == "*";
        if *action != Action::Create && (!found || !policy.may_know(&principal, object)) {
            return Err(if is_named(&stated, object) { undefined(object) } else { behind_a_view() });
        }
        let masks = policy.masks(&principal, object);
        let shaped = policy.has_row_security(object) || !masks.is_empty();
        if shaped && *action != Action::Drop && stated.version.view(object).is_some() {
            return Err(
                Refusal::unsupported("a row filter or mask on a view").hint("put it on the tables that the view reads")
            );
        }
        let decision = policy.decide(&principal, &Request { action: *action, object, context: &context });
        settled &= !decision.volatile;
        verdict.rules.extend(decision.rules.iter().map(rule_name));
        if !decision.allowed {
            return Err(if is_named(&stated, object) {
                denied(&principal, object, *action, &decision.rules)
            } else {
                behind_a_view()
            });
        }
    }
    check_masks(&stated, policy, &principal)?;
    verdict.rules.sort();
    verdict.rules.dedup();
    let rules: Arc<[Arc<str>]> = verdict.rules.as_slice().into();
    let known = memory.filter(|_| settled).map(|memory| {
        let allowed = Arc::new(Allowed {
            policy: Arc::clone(policy),
            principal: Arc::clone(&principal),
            rules: Arc::clone(&rules),
            governance: OnceLock::new(),
            recorded: Mutex::default(),
        });
        memory.keep_allowed(&stated.objects, &allowed);
        allowed
    });
    Ok(Authorized { principal, rules, stated, known })
}

/// A mask on a column that its table lacks would hide nothing and show everything, so nothing is shown.
fn check_masks(stated: &Stated, policy: &Policy, principal: &Principal) -> Result<()> {
    for (object, action) in stated.objects.iter() {
        if !matches!(action, Action::Select | Action::Update | Action::Delete) {
            continue;
        }
        let Some(table) = stated.version.table(object) else { continue };
        if policy.masks(principal, object).iter().any(|mask| table.schema().column_index(&mask.column).is_none()) {
            if !is_named(stated, object) {
                return Err(behind_a_view());
            }
            let message =
                format!("\"{}\" cannot be read: the policy masks a column that it does not have", object.name());
            return Err(Refusal::new(Code::UngovernedPlan, message)
                .detail(format!("object={object}"))
                .hint("an administrator finds the mask and the column in the server's log and status"));
        }
    }
    Ok(())
}

/// Whether the statement's own text names the object, or only a view that it reads.
fn is_named(stated: &Stated, object: &ObjectName) -> bool {
    object.name() == "*" || stated.statement.uses().iter().any(|used| used.name.name == object.name())
}

fn behind_a_view() -> Refusal {
    Refusal::new(Code::PermissionDenied, "permission denied for what a view reads")
        .hint("a view runs with the rights of who asks; ask for the right to read its tables")
}

fn rule_name(rule: &RuleId) -> Arc<str> {
    rule.to_string().into()
}

pub(crate) fn undefined(object: &ObjectName) -> Refusal {
    if object.name() == "*" {
        return Refusal::new(Code::UndefinedSchema, format!("schema \"{}\" does not exist", object.schema()))
            .hint("list the schemas you may use with \\dn, or SELECT * FROM information_schema.schemata");
    }
    Refusal::new(Code::UndefinedTable, format!("relation \"{}\" does not exist", object.name()))
        .detail(format!("schema={}", object.schema()))
        .hint("list what you may use with \\dt, or SELECT * FROM information_schema.tables")
}

fn denied(principal: &Principal, object: &ObjectName, action: Action, rules: &[RuleId]) -> Refusal {
    let kind = if object.name() == "*" { "schema" } else { "table" };
    let name = if object.name() == "*" { object.schema() } else { object.name() };
    let refusal = Refusal::new(Code::PermissionDenied, format!("permission denied for {kind} {name}"))
        .detail(format!("action={action}; object={object}; roles={}", principal.roles.join(",")));
    if rules.is_empty() {
        return refusal.detail("rule=none").hint(format!("no rule of the policy permits {action} here; ask for one"));
    }
    let names: Vec<String> = rules.iter().map(ToString::to_string).collect();
    refusal
        .detail(format!("rule={}", names.join(",")))
        .hint("a rule of the policy forbids it under these circumstances")
}

fn unix_milliseconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
