use std::{fmt, time::Duration};

use weir_meter::Weights;
use weir_model::Identity;

/// Limits of the gates. Defaults are those a single machine wants.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    pub max_concurrent_statements: usize,
    pub max_full_scans: usize,
    /// How long a statement waits for a slot; none waits as long as its own timeout lets it.
    pub admission_wait: Option<Duration>,
    /// For sessions that set none of their own, and where the org's policy sets none.
    pub statement_timeout: Option<Duration>,
    /// How long a client may be silent inside a transaction, for sessions that set nothing themselves.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long a statement waits for the org's first bundle.
    pub policy_startup_timeout: Duration,
    /// How long a bundle may go unconfirmed before statements are refused.
    pub policy_grace: Duration,
    /// How long a statement waits for an org's tables to open.
    pub resume_timeout: Duration,
    pub resource_governor: bool,
    pub tier_gate: bool,
    /// Whether `weir_gate_duration_seconds` is kept: two clock readings a gate.
    pub measure_gates: bool,
    pub weights: Weights,
}

impl Default for PipelineOptions {
    fn default() -> PipelineOptions {
        PipelineOptions {
            max_concurrent_statements: 100,
            max_full_scans: 8,
            admission_wait: None,
            statement_timeout: None,
            idle_in_transaction_timeout: None,
            policy_startup_timeout: Duration::from_secs(30),
            policy_grace: Duration::from_secs(300),
            resume_timeout: Duration::from_secs(30),
            resource_governor: true,
            tier_gate: true,
            measure_gates: false,
            weights: Weights::default(),
        }
    }
}

/// Whether a credential that opened a session still holds. Asked at every statement, so it must be cheap.
pub trait CredentialStatus: Send + Sync + fmt::Debug {
    fn holds(&self, identity: &Identity) -> bool;
}
