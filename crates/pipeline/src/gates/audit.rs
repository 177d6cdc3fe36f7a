use std::{sync::Arc, time::Instant};

use weir_audit::{Decision, IntentFields, IntentReceipt, MaskApplied, Outcome, OutcomeFields};
use weir_meter::{CostInputs, Credits, Reservation, Settled};
use weir_model::{Code, Principal, Refusal, Result, StatementId};
use weir_sql::Statement;

use crate::{
    gates::{admission::Slots, metering, policy::Verdict, row_filter::Governed},
    memory::Objects,
    options::PipelineOptions,
    session::SessionFacts,
};

/// Gate 22, first half: the intent is in the journal, so the statement may take effect. It holds what the statement
/// must give back, and must end in [`Ticket::finish`]; dropped instead, it records the statement as cancelled and
/// releases the reservation.
#[derive(Debug)]
pub(crate) struct Ticket {
    facts: Arc<SessionFacts>,
    options: Arc<PipelineOptions>,
    receipt: Option<IntentReceipt>,
    reservation: Option<Reservation>,
    inputs: CostInputs,
    masks: Vec<MaskApplied>,
    started: Instant,
    kind: &'static str,
    places: Option<(Slots, crate::gates::governor::Share)>,
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
    pub policy: Arc<weir_policy::Policy>,
}

/// Writes the intent. Refuses with `audit_unavailable`: no record, no answer. Costs one write to the page cache; an
/// fsync more when the journal is strict.
pub(crate) fn intent(
    governed: Governed,
    facts: &Arc<SessionFacts>,
    options: &Arc<PipelineOptions>,
    started: Instant,
) -> Result<Cleared> {
    let Governed { pinned, governance, planned } = governed;
    let crate::gates::snapshot::Pinned { reserved, snapshot } = pinned;
    let crate::gates::quota::Reserved { costed, reservation } = reserved;
    let crate::gates::cost::Costed { authorized, inputs, estimate, .. } = costed;
    let crate::gates::policy::Authorized { stated, principal, rules, .. } = authorized;
    let crate::gates::statement::Stated { admitted, statement, objects, tables, .. } = stated;
    let crate::gates::admission::Admitted { paced, slots } = admitted;
    let crate::gates::governor::Paced { standing, share } = paced;
    let awake = standing.0;
    let executed = planned.as_ref().map(weir_engine::Planned::canonical_text);
    let fingerprint = statement.fingerprint().to_string();
    let receipt = facts.chain.intent(&IntentFields {
        statement: StatementId::fresh(),
        claims: &facts.claims,
        roles: &principal.roles,
        sql: statement.text(),
        executed: executed.as_deref(),
        fingerprint: Some(&fingerprint),
        kind: statement.kind().label(),
        tables: &tables,
        confidence: 1.0,
        decision: Some(Decision {
            allowed: true,
            rules: &rules,
            attributes: &principal.attributes,
            bundle_version: awake.ready.policy.version(),
        }),
        credits_estimated: (estimate != Credits::ZERO).then_some(estimate.0),
    })?;
    let ticket = Ticket {
        facts: facts.clone(),
        options: options.clone(),
        receipt: Some(receipt),
        reservation,
        inputs,
        masks: planned.as_ref().map(masks_of).unwrap_or_default(),
        started,
        kind: statement.kind().label(),
        places: Some((slots, share)),
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
        if let Err(refusal) = outcome {
            count(refusal);
        }
        self.end(outcome.map_err(outcome_of).err().unwrap_or(Outcome::Ok), rows).inspect_err(count)
    }

    /// The statement waits for its client: its slots go to others.
    pub(crate) fn release_slots(&mut self) {
        self.places = None;
    }

    /// The statement is given up after so many rows.
    pub(crate) fn abandon(&mut self, rows: u64) {
        if let Err(refusal) = self.end(Outcome::Cancelled(Code::QueryCanceled), rows) {
            tracing::error!(%refusal, "a cancelled statement's outcome is not recorded");
        }
    }

    fn end(&mut self, outcome: Outcome, rows: u64) -> Result<()> {
        let Some(receipt) = self.receipt.take() else { return Ok(()) };
        let reservation = self.reservation.take();
        let estimated = reservation.as_ref().map_or(Credits::ZERO, Reservation::estimate);
        // Rows that were handed out are paid for, however the statement ends.
        let settled = if outcome == Outcome::Ok || rows > 0 {
            metering::settle(reservation, &self.inputs, &self.options.weights, rows)
        } else {
            drop(reservation);
            Settled { estimated, charged: Credits::ZERO, uncollected: Credits::ZERO }
        };
        let elapsed = self.started.elapsed();
        observe(outcome, self.kind, elapsed);
        self.facts.chain.outcome(
            receipt,
            &OutcomeFields {
                outcome,
                rows,
                elapsed,
                masks: &self.masks,
                credits_estimated: settled.estimated.0,
                credits_settled: settled.charged.0,
                credits_uncollected: settled.uncollected.0,
                heal_attempts: 0,
            },
        )
    }
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
    observe(outcome, statement.map_or("unparsed", |statement| statement.kind().label()), started.elapsed());
    let attributes = weir_model::Attributes::new();
    let written = facts.chain.whole(
        &IntentFields {
            statement: StatementId::fresh(),
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

fn observe(outcome: Outcome, kind: &'static str, elapsed: std::time::Duration) {
    let label = match outcome {
        Outcome::Ok => "ok",
        Outcome::Refused(_) => "refused",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled(_) => "cancelled",
    };
    metrics::counter!("weir_statements_total", "outcome" => label, "kind" => kind).increment(1);
    metrics::histogram!("weir_statement_duration_seconds").record(elapsed.as_secs_f64());
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
