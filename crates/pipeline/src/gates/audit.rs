use std::{fmt, sync::Arc, time::Instant};

use weir_audit::{
    Decision, IntentFields, IntentForm, IntentReceipt, MaskApplied, Outcome, OutcomeFields, QueuedOutcome, SessionChain,
};
use weir_meter::{CostInputs, Credits, Reservation, Settled};
use weir_model::{Code, Principal, Refusal, Result, StatementId};
use weir_policy::Priority;
use weir_sql::Statement;

use crate::{
    gates::{
        admission::Slots, governor::Share, metering, org_status, policy::Verdict, row_filter::Governed, startup,
        statement,
    },
    memory::Objects,
    options::PipelineOptions,
    session::{SessionFacts, SessionPolicy},
};

/// What of a statement's records is the same each time it runs under one plan.
pub(crate) struct Recorded {
    /// None for statements without a plan.
    plan: Option<weir_engine::Planned>,
    form: Arc<IntentForm>,
    masks: Vec<MaskApplied>,
    /// Counts those that ended well: found by name once, not each time.
    succeeded: metrics::Counter,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("plan", &self.plan).field("form", &self.form).finish_non_exhaustive()
    }
}

/// Gate 22, first half: the statement has its place in the journal. It holds what the statement must give back, and
/// must end in [`Ticket::finish`]; dropped instead, it records the statement as cancelled and releases the reservation.
///
/// INVARIANT: no effect and no row before [`Ticket::write`] or [`Ticket::finish`]. The gate itself writes, except for
/// a key lookup: its one row leaves with its outcome in the journal, and both records are one write. What a strict journal
/// promises is waited for once they are written, before the effect, the row or the answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    facts: Arc<SessionFacts>,
    /// What governed it.
    policy: Arc<SessionPolicy>,
    options: Arc<PipelineOptions>,
    receipt: Option<IntentReceipt>,
    reservation: Option<Reservation>,
    inputs: CostInputs,
    recorded: Arc<Recorded>,
    started: Instant,
    kind: &'static str,
    slots: Option<(Slots, Option<Share>)>,
}

/// What a statement needs to run, apart from what it must give back.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub ticket: Ticket,
    pub governed: Running,
}

/// The part of a governed statement that running it needs.
#[derive(Debug)]
pub(crate) struct Running {
    pub statement: Statement,
    pub objects: Objects,
    pub principal: Arc<Principal>,
    pub governance: Arc<weir_engine::Governance>,
    pub planned: Option<weir_engine::Planned>,
    pub snapshot: weir_engine::Snapshot,
    pub database: Arc<weir_store::Database>,
    pub policy: Arc<SessionPolicy>,
}

/// Queues the intent, and writes it unless the statement is a key lookup. Refuses with `audit_unavailable`: no record,
/// no answer. Costs one write to the page cache.
pub(crate) fn intent(
    governed: Governed,
    facts: &Arc<SessionFacts>,
    options: &Arc<PipelineOptions>,
    started: Instant,
) -> Result<Cleared> {
    let recorded = recorded(&governed, facts)?;
    let Governed { pinned, governance, planned } = governed;
    let crate::gates::snapshot::Pinned { reserved, snapshot } = pinned;
    let crate::gates::quota::Reserved { costed, reservation } = reserved;
    let crate::gates::cost::Costed { authorized, inputs, estimate, .. } = costed;
    let crate::gates::policy::Authorized { stated, principal, .. } = authorized;
    let crate::gates::statement::Stated { admitted, statement, objects, .. } = stated;
    let crate::gates::admission::Admitted { paced, slots } = admitted;
    let crate::gates::governor::Paced { standing, share } = paced;
    let awake = standing.0;
    let estimated = (estimate != Credits::ZERO).then_some(estimate.0);
    let mut receipt = facts.chain.queue(StatementId::fresh(), &recorded.form, estimated)?;
    if !planned.as_ref().is_some_and(weir_engine::Planned::is_key_lookup) {
        receipt.write()?;
    }
    let ticket = Ticket {
        facts: facts.clone(),
        policy: awake.ready.policy.clone(),
        options: options.clone(),
        receipt: Some(receipt),
        reservation,
        inputs,
        recorded,
        started,
        kind: statement.kind().label(),
        slots: Some((slots, Some(share))),
    };
    let governed = Running {
        statement,
        objects,
        principal,
        governance,
        planned,
        snapshot,
        database: awake.database,
        policy: awake.ready.policy,
    };
    Ok(Cleared { ticket, governed })
}

/// From a prepared statement's memory, if it ran under this plan before.
fn recorded(governed: &Governed, facts: &SessionFacts) -> Result<Arc<Recorded>> {
    let plan = governed.planned.as_ref();
    let Some(known) = &governed.pinned.reserved.costed.authorized.known else {
        return record(governed, facts, SessionChain::form).map(Arc::new);
    };
    let mut newest = known.recorded.lock();
    let same = |held: &&Arc<Recorded>| match (&held.plan, plan) {
        (Some(held), Some(plan)) => held.is(plan),
        (held, plan) => held.is_none() && plan.is_none(),
    };
    if let Some(held) = newest.as_ref().filter(same) {
        return Ok(Arc::clone(held));
    }
    let made = Arc::new(record(governed, facts, SessionChain::lasting_form)?);
    *newest = Some(Arc::clone(&made));
    Ok(made)
}

type MakeForm = fn(&SessionChain, &IntentFields<'_>) -> Result<IntentForm>;

fn record(governed: &Governed, facts: &SessionFacts, make: MakeForm) -> Result<Recorded> {
    let Governed { pinned, planned, .. } = governed;
    let authorized = &pinned.reserved.costed.authorized;
    let stated = &authorized.stated;
    let statement = &stated.statement;
    let executed = planned.as_ref().map(weir_engine::Planned::canonical_text);
    let fingerprint = statement.fingerprint().to_string();
    let fields = IntentFields {
        claims: &facts.claims,
        roles: &authorized.principal.roles,
        sql: statement.text(),
        executed: executed.as_deref(),
        fingerprint: Some(&fingerprint),
        kind: statement.kind().label(),
        tables: &stated.tables,
        confidence: 1.0,
        decision: Some(Decision {
            allowed: true,
            rules: &authorized.rules,
            attributes: &authorized.principal.attributes,
            bundle_version: stated.admitted.paced.standing.0.ready.policy.version(),
        }),
        credits_estimated: None,
    };
    let form = Arc::new(make(&facts.chain, &fields)?);
    let masks = planned.as_ref().map(masks_of).unwrap_or_default();
    let succeeded = statements(Outcome::Ok, statement.kind().label());
    Ok(Recorded { plan: planned.clone(), form, masks, succeeded })
}

fn masks_of(planned: &weir_engine::Planned) -> Vec<MaskApplied> {
    let described = planned.masks().describe();
    let split = |text: String| match text.rsplit_once(':') {
        Some((column, mask)) => MaskApplied { column: column.to_owned(), mask: mask.to_owned() },
        None => MaskApplied { column: text, mask: String::new() },
    };
    described.into_iter().map(split).collect()
}

impl Ticket {
    /// Gates 21 and 22, second half: settles and records how the statement ended.
    ///
    /// # Errors
    /// `audit_unavailable`: the answer must not be given.
    pub(crate) fn finish(mut self, outcome: Result<(), &Refusal>, rows: u64) -> Result<()> {
        Ticket::written(self.queue(outcome, rows))
    }

    /// As [`Ticket::finish`]. When other sessions answer just now, they get to queue their outcomes first, so that one
    /// write serves all.
    pub(crate) async fn finish_in_company(mut self, outcome: Result<(), &Refusal>, rows: u64) -> Result<()> {
        let queued = self.queue(outcome, rows);
        if self.facts.is_in_company() {
            tokio::task::yield_now().await;
            if let Ok(Some(queued)) = &queued {
                wait_for_writer(queued).await?;
            }
        }
        Ticket::written(queued)?;
        self.facts.durable().await
    }

    fn queue(&mut self, outcome: Result<(), &Refusal>, rows: u64) -> Result<Option<QueuedOutcome>> {
        if let Err(refusal) = outcome {
            count(refusal);
        }
        self.end(outcome.map_err(outcome_of).err().unwrap_or(Outcome::Ok), rows)
    }

    fn written(queued: Result<Option<QueuedOutcome>>) -> Result<()> {
        queued.and_then(|queued| queued.map_or(Ok(()), QueuedOutcome::write)).inspect_err(count)
    }

    /// The intent is in the journal: the statement may be seen and take effect.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.receipt.as_mut().map_or(Ok(()), IntentReceipt::write).inspect_err(count)
    }

    /// As [`Ticket::write`], and as durable as the journal promises.
    pub(crate) async fn write_through(&mut self) -> Result<()> {
        self.write()?;
        self.facts.durable().await
    }

    /// The statement waits for its client: its slots go to others. Whether it held any.
    pub(crate) fn release_slots(&mut self) -> bool {
        self.slots.take().is_some()
    }

    /// It goes on with other slots.
    pub(crate) fn take_slots(&mut self, slots: Slots) {
        self.slots = Some((slots, None));
    }

    /// Whether a statement that waited for its client may go on: as a new one of the session could begin, and under the
    /// bundle that governed it.
    pub(crate) fn may_go_on(&self) -> Result<Priority> {
        statement::check_credential(&self.facts)?;
        if let Some(current) = self.facts.policy() {
            org_status::check(&self.facts.org, &current)?;
            startup::check(current.held(), &self.options)?;
            if Arc::ptr_eq(&current, &self.policy) {
                return Ok(current.priority);
            }
        }
        Err(Refusal::new(Code::PermissionDenied, "the statement's rows are of an earlier policy")
            .hint("the policy changed since it began; run it again"))
    }

    /// The statement is given up after so many rows.
    pub(crate) fn abandon(&mut self, rows: u64) {
        let ended = self.end(Outcome::Cancelled(Code::QueryCanceled), rows);
        if let Err(refusal) = ended.and_then(|queued| queued.map_or(Ok(()), QueuedOutcome::write)) {
            tracing::error!(%refusal, "a cancelled statement's outcome is not recorded");
        }
    }

    fn end(&mut self, outcome: Outcome, rows: u64) -> Result<Option<QueuedOutcome>> {
        let Some(receipt) = self.receipt.take() else { return Ok(None) };
        let reservation = self.reservation.take();
        let estimated = reservation.as_ref().map_or(Credits::ZERO, Reservation::estimate);
        // Rows that were handed out are paid for, however the statement ends.
        let settled = if outcome == Outcome::Ok || rows > 0 {
            metering::settle(reservation, &self.inputs, &self.options.weights, rows)
        } else {
            drop(reservation);
            Settled { estimated, charged: Credits::ZERO, uncollected: Credits::ZERO }
        };
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.started);
        self.facts.answers(now);
        match outcome {
            Outcome::Ok => self.recorded.succeeded.increment(1),
            other => statements(other, self.kind).increment(1),
        }
        self.facts.durations.record(elapsed.as_secs_f64());
        let queued = self.facts.chain.queue_outcome(
            receipt,
            &OutcomeFields {
                outcome,
                rows,
                elapsed,
                masks: &self.recorded.masks,
                credits_estimated: settled.estimated.0,
                credits_settled: settled.charged.0,
                credits_uncollected: settled.uncollected.0,
                heal_attempts: 0,
            },
        )?;
        Ok(Some(queued))
    }
}

/// How often others go first while another thread writes: longer than that a thread does not hold the journal, unless the
/// system took its processor away.
const TURNS_MAX: usize = 16;

/// Lets others go on while another thread writes the journal, instead of putting this thread to sleep.
async fn wait_for_writer(queued: &QueuedOutcome) -> Result<()> {
    for _ in 0..TURNS_MAX {
        if queued.try_write().inspect_err(count)? {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.abandon(0);
    }
}

/// Counts what a client is told, whichever gate said it.
pub(crate) fn count(refusal: &Refusal) {
    metrics::counter!("weir_gate_refusals_total", "code" => refusal.code().as_str()).increment(1);
}

/// Counts and records a statement that a gate refused. When it was the policy that refused, the journal keeps the fingerprint and
/// not the text.
pub(crate) fn refused(
    facts: &SessionFacts,
    statement: Option<&Statement>,
    text: &str,
    verdict: &Verdict,
    refusal: &Refusal,
    started: Instant,
) -> Result<()> {
    count(refusal);
    let asked = verdict.bundle_version > 0;
    let by_policy = matches!(
        refusal.code(),
        Code::PermissionDenied | Code::UndefinedTable | Code::MaskedPredicate | Code::UngovernedPlan
    );
    let fingerprint = statement.map(|statement| statement.fingerprint().to_string());
    let outcome = outcome_of(refusal);
    statements(outcome, statement.map_or("unparsed", |statement| statement.kind().label())).increment(1);
    facts.durations.record(started.elapsed().as_secs_f64());
    let attributes = weir_model::Attributes::new();
    let written = facts.chain.whole(
        StatementId::fresh(),
        &IntentFields {
            claims: &facts.claims,
            roles: &[],
            sql: text,
            executed: None,
            fingerprint: fingerprint.as_deref(),
            kind: statement.map_or("unparsed", |statement| statement.kind().label()),
            tables: &[],
            confidence: 1.0,
            decision: asked.then_some(Decision {
                allowed: !by_policy,
                rules: &verdict.rules,
                attributes: &attributes,
                bundle_version: verdict.bundle_version,
            }),
            credits_estimated: None,
        },
        &OutcomeFields {
            outcome,
            rows: 0,
            elapsed: started.elapsed(),
            masks: &[],
            credits_estimated: 0,
            credits_settled: 0,
            credits_uncollected: 0,
            heal_attempts: 0,
        },
    );
    written.inspect_err(count)
}

fn statements(outcome: Outcome, kind: &'static str) -> metrics::Counter {
    let label = match outcome {
        Outcome::Ok => "ok",
        Outcome::Refused(_) => "refused",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled(_) => "cancelled",
    };
    metrics::counter!("weir_statements_total", "outcome" => label, "kind" => kind)
}

/// Whether a gate said no, the statement failed, or it was stopped.
fn outcome_of(refusal: &Refusal) -> Outcome {
    let code = refusal.code();
    match code {
        Code::QueryCanceled | Code::StatementTimeout | Code::ShuttingDown => Outcome::Cancelled(code),
        Code::ProxyNotReady
        | Code::EngineUnavailable
        | Code::OrgAccessDenied
        | Code::RateLimitExceeded
        | Code::AdmissionTimeout
        | Code::SyntaxError
        | Code::Unsupported
        | Code::LedgerViolation
        | Code::TierRequired
        | Code::SchemaViolation
        | Code::PermissionDenied
        | Code::MaskedPredicate
        | Code::RowCheckViolation
        | Code::QuotaExceeded
        | Code::UngovernedPlan
        | Code::CredentialExpired
        | Code::AuditUnavailable => Outcome::Refused(code),
        _ => Outcome::Failed(code),
    }
}
