use std::sync::Arc;

use weir_model::{Code, Refusal, Result};

use crate::{
    options::PipelineOptions,
    org::{HeldPolicy, Org},
    session::{SessionFacts, SessionPolicy},
};

/// A verified bundle is held, and it is not older than the grace period.
#[derive(Debug)]
pub(crate) struct Ready {
    pub facts: Arc<SessionFacts>,
    pub policy: Arc<SessionPolicy>,
}

impl Ready {
    pub(crate) fn org(&self) -> &Arc<Org> {
        &self.facts.org
    }
}

/// Gate 1. Lets through once the org holds a verified bundle; waits for the first one as long as start-up may take;
/// closes again when the bundle was not confirmed within the grace period or is past its validity. Refuses with
/// `proxy_not_ready`. Costs two atomic loads.
pub(crate) async fn pass(facts: Arc<SessionFacts>, options: &PipelineOptions) -> Result<Ready> {
    loop {
        if let Some(policy) = facts.policy() {
            check(policy.held(), options)?;
            return Ok(Ready { facts, policy });
        }
        first(&facts.org, options).await?;
    }
}

/// The same question at connect, before there is a session.
pub(crate) async fn held(org: &Org, options: &PipelineOptions) -> Result<Arc<HeldPolicy>> {
    let held = match org.policy() {
        Some(held) => held,
        None => first(org, options).await?,
    };
    check(&held, options)?;
    Ok(held)
}

async fn first(org: &Org, options: &PipelineOptions) -> Result<Arc<HeldPolicy>> {
    let arrived = tokio::time::timeout(options.policy_startup_timeout, org.first_policy()).await;
    arrived.map_err(|_elapsed| without_a_bundle())
}

pub(crate) fn without_a_bundle() -> Refusal {
    not_ready("no policy bundle has arrived yet")
}

/// Whether a bundle may still be gone by.
pub(crate) fn check(held: &HeldPolicy, options: &PipelineOptions) -> Result<()> {
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
    Ok(())
}

fn not_ready(why: &str) -> Refusal {
    Refusal::new(Code::ProxyNotReady, format!("statements are not served: {why}"))
        .hint("check the connection to the control plane, or the policy directory in local mode; then retry")
}

fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use weir_model::Code;

    use super::*;
    use crate::org::testing;

    async fn refused(org: Arc<Org>) -> Refusal {
        let options =
            PipelineOptions { policy_startup_timeout: Duration::from_millis(20), ..PipelineOptions::default() };
        held(&org, &options).await.unwrap_err()
    }

    #[tokio::test]
    async fn without_a_bundle_or_past_its_validity_nothing_passes() {
        let org = testing::org(testing::no_tables);
        let none = refused(org.clone()).await;
        assert_eq!((none.code(), none.sqlstate().0), (Code::ProxyNotReady, "57P03"));
        assert!(none.message().contains("no policy bundle"), "{none}");

        org.hold(testing::policy(unix_seconds() + 60));
        assert!(held(&org, &PipelineOptions::default()).await.is_ok());

        let ended = unix_seconds() - 1;
        org.hold(testing::policy(ended));
        let past = refused(org).await;
        assert_eq!(past.detail_line(), format!("code=proxy_not_ready; bundle_version=7; not_after={ended}"));
        assert!(past.hint_line().is_some());
    }

    #[tokio::test]
    async fn a_statement_that_waits_for_the_first_bundle_passes_with_it() {
        let org = testing::org(testing::no_tables);
        let (arriving, options) = (org.clone(), PipelineOptions::default());
        let waiting = tokio::spawn(async move { held(&org, &options).await });
        tokio::task::yield_now().await;
        arriving.hold(testing::policy(unix_seconds() + 60));
        assert_eq!(waiting.await.unwrap().unwrap().policy.version(), 7);
    }
}
