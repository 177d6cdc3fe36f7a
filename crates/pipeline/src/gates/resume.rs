use std::sync::Arc;

use weir_model::{Code, Refusal, Result};
use weir_store::Database;

use crate::{gates::startup::Ready, options::PipelineOptions, org::Org};

/// The org's tables are open.
#[derive(Debug)]
pub(crate) struct Awake {
    pub ready: Ready,
    pub database: Arc<Database>,
}

/// Gate 2. Opens the org's tables when they are not (recovery replays the log), and waits for that within a hard
/// limit. Refuses with `engine_unavailable`. Costs one atomic load when the tables are open.
pub(crate) async fn pass(ready: Ready, options: &PipelineOptions) -> Result<Awake> {
    let database = open(ready.org(), options).await?;
    Ok(Awake { ready, database })
}

async fn open(org: &Arc<Org>, options: &PipelineOptions) -> Result<Arc<Database>> {
    if let Some(database) = org.database() {
        return Ok(database);
    }
    match tokio::time::timeout(options.resume_timeout, org.open_database()).await {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(why)) => Err(Refusal::new(Code::EngineUnavailable, "the organisation's tables cannot be opened")
            .detail(why)
            .hint("the operator finds the cause in the server's log")),
        Err(_) => Err(Refusal::new(Code::EngineUnavailable, "the organisation's tables are still being opened")
            .detail(format!("waited_seconds={}", options.resume_timeout.as_secs()))
            .hint("retry shortly")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use super::*;
    use crate::org::testing;

    #[tokio::test]
    async fn tables_that_do_not_open_in_time_or_at_all_refuse() {
        let slow = || {
            std::thread::sleep(Duration::from_millis(300));
            testing::no_tables()
        };
        let check = async |org: Arc<Org>, detail: &str| {
            let options = PipelineOptions { resume_timeout: Duration::from_millis(50), ..PipelineOptions::default() };
            let refusal = open(&org, &options).await.unwrap_err();
            assert_eq!((refusal.code(), refusal.sqlstate().0), (Code::EngineUnavailable, "57P03"));
            assert_eq!(refusal.detail_line(), format!("code=engine_unavailable; {detail}"));
            assert!(refusal.hint_line().is_some());
        };
        check(testing::org(slow), "waited_seconds=0").await;
        check(testing::org(testing::no_tables), "cause=storage").await;
    }
}
