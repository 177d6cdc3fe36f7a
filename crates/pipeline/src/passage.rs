//! The passage of one statement through the gates, top to bottom.

use std::{sync::Arc, time::Instant};

use weir_engine::Control;
use weir_model::{Refusal, Result, ValueType};
use weir_sql::Statement;
use weir_store::{Database, Version};

use crate::{
    gates::{
        audit::{self, Cleared},
        cost, governor, isolation, ledger, org_status, policy, quota, resume,
        row_filter::{self, Governed},
        snapshot, startup, statement, tier,
    },
    memory::StatementMemory,
    plan_cache::PlanSource,
    plane::DataPlane,
    session::SessionFacts,
};

/// What a statement brings to the gates.
pub(crate) struct Traveller<'a> {
    pub plane: &'a DataPlane,
    pub facts: &'a Arc<SessionFacts>,
    pub statement: &'a Statement,
    /// The open transaction's version; the newest one outside a transaction.
    pub version: Option<Arc<Version>>,
    pub search_path: &'a Arc<[String]>,
    /// Of a prepared statement.
    pub memory: Option<&'a StatementMemory>,
    pub plans: &'a dyn PlanSource,
    pub parameter_types: &'a [Option<ValueType>],
    pub control: &'a Control,
    pub started: Instant,
}

/// Gates 1 to 14. A refusal is counted and journalled once, whichever gate said it.
pub(crate) async fn govern(traveller: &Traveller<'_>) -> Result<Governed> {
    let mut verdict = policy::Verdict::default();
    let mut passed = pass_gates(traveller, &mut verdict).await;
    for _ in 0..POLICY_CHANGES_MAX {
        match &passed {
            Ok(governed) if !is_current(governed, traveller) => {
                drop(passed);
                verdict = policy::Verdict::default();
                passed = pass_gates(traveller, &mut verdict).await;
            }
            _ => break,
        }
    }
    if let Err(refusal) = &passed {
        let statement = traveller.statement;
        audit::refused(traveller.facts, Some(statement), statement.text(), &verdict, refusal, traveller.started)?;
    }
    passed
}

/// A statement that waited meets the bundle of the moment it goes on, so often at most.
const POLICY_CHANGES_MAX: usize = 4;

/// Whether the bundle that governed it is still the org's.
fn is_current(governed: &Governed, traveller: &Traveller<'_>) -> bool {
    let standing = &governed.pinned.reserved.costed.authorized.stated.admitted.paced.standing.0;
    let current = traveller.facts.policy();
    current.is_some_and(|current| Arc::ptr_eq(&current, &standing.ready.policy))
}

async fn pass_gates(traveller: &Traveller<'_>, verdict: &mut policy::Verdict) -> Result<Governed> {
    let Traveller { plane, facts, statement, control, memory, .. } = *traveller;
    let options = &plane.options;
    let mut clock = GateClock::start(options.measure_gates);
    plane.open_for_statements()?;

    let ready = clock.lap("1 startup", startup::pass(facts.clone(), options).await)?;
    let awake = clock.lap("2 resume", resume::pass(ready, options).await)?;
    let standing = clock.lap("3 org status", org_status::pass(awake))?;
    let paced = clock.lap("4 resource governor", governor::pass(standing, options.resource_governor))?;
    let priority = paced.standing.0.ready.policy.priority;
    let admitted = clock.lap("5 admission", plane.admission.pass(paced, priority, control).await)?;

    let newest = |database: &Arc<Database>| traveller.version.clone().unwrap_or_else(|| database.version());
    let version = newest(&admitted.paced.standing.0.database);
    let stated = clock
        .lap("6 statement", statement::pass(admitted, statement, version, facts, traveller.search_path, memory))?;
    let appending = clock.lap("7 append only", ledger::pass(stated))?;
    let included = clock.lap("8 tier", tier::pass(appending, options.tier_gate))?;
    let isolated = clock.lap("9 isolation", isolation::pass(included))?;
    let authorized = clock.lap("10 policy", policy::pass(isolated, facts, memory, verdict))?;
    let mut costed = clock.lap("11 cost", Ok(cost::pass(authorized, &options.weights)))?;
    if costed.large_scan {
        // Gate 5's second semaphore: only now is it known that the statement scans.
        let slots = costed.authorized.stated.admitted.slots;
        costed.authorized.stated.admitted.slots = plane.admission.pass_scan(slots, priority, control).await?;
        clock.skip();
    }
    let reserved = clock.lap("12 quota", quota::pass(costed, &facts.account))?;

    let standing = &reserved.costed.authorized.stated.admitted.paced.standing.0;
    let (version, virtuals) = (newest(&standing.database), Arc::clone(&standing.ready.policy.virtuals));
    let path = Arc::clone(traveller.search_path);
    let pinned = clock.lap("13 snapshot", Ok(snapshot::pass(reserved, version, virtuals, path)))?;
    let plans = traveller.plans;
    clock.lap("14 row filter", row_filter::pass(pinned, plans, traveller.parameter_types))
}

/// Times the gates when the operator wants to know; otherwise it is one branch a gate.
struct GateClock(Option<Instant>);

impl GateClock {
    fn start(on: bool) -> GateClock {
        GateClock(on.then(Instant::now))
    }

    // Inlined, so that what passed is not copied on its way.
    #[inline(always)]
    fn lap<T>(&mut self, gate: &'static str, passed: Result<T>) -> Result<T> {
        if let Some(since) = &mut self.0 {
            record(since, gate);
        }
        passed
    }

    fn skip(&mut self) {
        if let Some(since) = &mut self.0 {
            *since = Instant::now();
        }
    }
}

#[cold]
fn record(since: &mut Instant, gate: &'static str) {
    let now = Instant::now();
    metrics::histogram!("weir_gate_duration_seconds", "gate" => gate).record((now - *since).as_secs_f64());
    *since = now;
}

/// All gates up to the intent in the journal: the statement may now take effect.
pub(crate) async fn clear(traveller: &Traveller<'_>) -> Result<Cleared, Refusal> {
    let options = &traveller.plane.options;
    let whole = options.measure_gates.then(Instant::now);
    let governed = govern(traveller).await?;
    let mut clock = GateClock::start(options.measure_gates);
    let recorded = match audit::intent(governed, traveller.facts, options, traveller.started) {
        Ok(cleared) => traveller.facts.chain.durable().await.map(|()| cleared),
        Err(refusal) => Err(refusal),
    };
    let cleared = clock.lap("22 audit, intent", recorded).inspect_err(audit::count);
    GateClock(whole).lap("all", cleared)
}
