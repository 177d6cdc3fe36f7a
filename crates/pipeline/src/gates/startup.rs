use std::sync::Arc;

use weir_model::{Code, Refusal, Result};
use weir_policy::Policy;

use crate::{options::PipelineOptions, org::Org};

/// A verified bundle is held, and it is not older than the grace period.
#[derive(Debug)]
pub(crate) struct Ready {
    pub org: Arc<Org>,
    pub policy: Arc<Policy>,
}

/// Gate 1. Lets through once the org holds a verified bundle; waits for the first one as long as start-up may take;
/// closes again when the bundle was not confirmed within the grace period or is past its validity. Refuses with
/// `proxy_not_ready`. Costs two atomic loads.
pub(crate) async fn pass(org: Arc<Org>, options: &PipelineOptions) -> Result<Ready> {
    let held = match org.policy() {
        Some(held) => held,
        None => match tokio::time::timeout(options.policy_startup_timeout, org.first_policy()).await {
            Ok(held) => held,
            Err(_) => return Err(not_ready("no policy bundle has arrived yet")),
        },
    };
    if held.confirmed_ago() > options.policy_grace {
        return Err(not_ready("the policy bundle was not confirmed within the grace period").detail(format!(
            "bundle_version={}; grace_seconds={}",
            held.policy.version(),
            options.policy_grace.as_secs()
        )));
    }
    if held.policy.not_after() <= unix_seconds() {
        return Err(not_ready("the policy bundle is past its validity").detail(format!(
            "bundle_version={}; not_after={}",
            held.policy.version(),
            held.policy.not_after()
        )));
    }
    Ok(Ready { policy: held.policy.clone(), org })
}

fn not_ready(why: &str) -> Refusal {
    Refusal::new(Code::ProxyNotReady, format!("statements are not served: {why}"))
        .hint("check the connection to the control plane, or the policy directory in local mode; then retry")
}

fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
