use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once.
///
/// # Errors
/// The system refuses to tell of signals.
pub(crate) fn listen() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        info!(signal = name, "stopping: running statements may end; a second signal stops at once");
        token.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        warn!(signal = name, "stopped without waiting");
        // What was acknowledged is durable already: this is what `kill -9` would do, said politely.
        #[allow(clippy::disallowed_methods, reason = "the second signal asks for exactly this")]
        std::process::exit(130);
    });
    Ok(stop)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
