use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};

/// What runs for as long as the peers do. It ends with them.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.0.lock();
        // Those that ended are let go of.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    pub(super) fn end(&self) {
        self.0.lock().abort_all();
    }
}
