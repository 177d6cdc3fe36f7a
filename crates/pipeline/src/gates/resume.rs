use std::sync::Arc;

use weir_model::{Code, Refusal, Result};
use weir_store::Database;

use crate::{gates::startup::Ready, options::PipelineOptions};

/// The org's tables are open.
#[derive(Debug)]
pub(crate) struct Awake {
    pub ready: Ready,
    pub database: Arc<Database>,
}

/// Gate 2. Opens the org's tables when they are not (recovery replays the log), and waits for that within a hard
/// limit. Refuses with `engine_unavailable`. Costs one atomic load when the tables are open.
pub(crate) async fn pass(ready: Ready, options: &PipelineOptions) -> Result<Awake> {
    if let Some(database) = ready.org.database() {
        return Ok(Awake { ready, database });
    }
    match tokio::time::timeout(options.resume_timeout, ready.org.open_database()).await {
        Ok(Ok(database)) => Ok(Awake { ready, database }),
        Ok(Err(why)) => Err(Refusal::new(Code::EngineUnavailable, "the organisation's tables cannot be opened")
            .detail(why)
            .hint("the operator finds the cause in the server's log")),
        Err(_) => Err(Refusal::new(Code::EngineUnavailable, "the organisation's tables are still being opened")
            .detail(format!("waited_seconds={}", options.resume_timeout.as_secs()))
            .hint("retry shortly")),
    }
}
