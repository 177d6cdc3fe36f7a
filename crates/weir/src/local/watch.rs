use std::{
    io,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use tracing::error;

use super::control::{Control, DirectoryReport, Recipient};
use crate::clock::unix_now;

/// Between two looks. A change is in force within this and the time it takes to compile.
const PERIOD: Duration = Duration::from_millis(250);

/// A thread that looks at the policies, and at whatever else must be looked at as often, until it is stopped.
#[derive(Debug)]
pub(crate) struct Watch {
    reports: Arc<Mutex<Vec<DirectoryReport>>>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks once before it returns, so that what can be served is served.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        mut control: Control,
        recipient: Arc<dyn Recipient>,
        also: impl Fn() + Send + 'static,
    ) -> io::Result<Watch> {
        control.look(recipient.as_ref(), unix_now());
        let reports = Arc::new(Mutex::new(control.report()));
        let shared = Arc::clone(&reports);
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("weir-policies".into()).spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                also();
                control.look(recipient.as_ref(), unix_now());
                *shared.lock() = control.report();
            }
        })?;
        Ok(Watch { reports, stop, thread: Some(thread) })
    }

    /// As of the last look.
    pub fn reports(&self) -> Vec<DirectoryReport> {
        self.reports.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.send(());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the policy watch ended by a panic");
        }
    }
}
