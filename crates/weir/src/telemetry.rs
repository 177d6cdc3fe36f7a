//! Logs on stderr, and the recorder that `/metrics` reads.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, LogFormat},
    failure::Failure,
};

/// Upper bounds of what `…_seconds` histograms count, from 50 µs to a minute.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// Upper bounds for one gate's time: from 50 ns, each a quarter above the one before, to about 3 ms.
fn gate_seconds() -> Vec<f64> {
    std::iter::successors(Some(50e-9), |bound| Some(bound * 1.25)).take(50).collect()
}

/// Rooms of libraries that tell of every file they open; a filter that names them says otherwise.
const QUIET: &str = "fjall=warn,lsm_tree=warn";

/// # Errors
/// A filter that cannot be read.
pub(crate) fn start_logs(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log_level))
        .map_err(|error| Failure::new(format!("`log.level` is `{}`: {error}", config.log_level)))?;
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_env_filter(filter)
        // It would be told on stderr, and what cannot be written there, as on a full disk, would end the process.
        .log_internal_errors(false);
    let started = match config.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(Failure::new)
}

/// # Errors
/// There is a recorder already.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full("weir_gate_duration_seconds".to_owned()), &gate_seconds())?
        .install_recorder()?;
    metrics::describe_counter!("weir_policy_rejected_total", "Changes of policy directories that were refused");
    metrics::describe_gauge!("weir_build_info", "Always 1; its label names the version");
    metrics::gauge!("weir_build_info", "version" => env!("WEIR_VERSION")).set(1.0);
    Ok(handle)
}
