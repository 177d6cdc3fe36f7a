//! Health, status and metrics over HTTP. Reads only, and holds no data of any org.

mod bounded;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::bounded::{BoundedListener, Peer};

/// What the probes ask.
pub(crate) trait Condition: Send + Sync {
    /// Everything that keeps statements from being answered; empty when they are.
    fn unready(&self) -> Vec<String>;
    /// For a person.
    fn status(&self) -> String;
    /// Brings up to date what is measured and not counted.
    fn measure(&self);
}

#[derive(Clone)]
struct Asked {
    condition: Arc<dyn Condition>,
    metrics: PrometheusHandle,
}

/// Answers until the token is cancelled.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(
    listener: TcpListener,
    condition: Arc<dyn Condition>,
    metrics: PrometheusHandle,
    until: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .route("/status", get(status))
        .with_state(Asked { condition, metrics });
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(BoundedListener::new(listener), service).with_graceful_shutdown(until.cancelled_owned()).await
}

/// The process runs and answers.
async fn alive() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

/// Statements would be answered.
async fn ready(State(asked): State<Asked>) -> Response {
    let unready = asked.condition.unready();
    if unready.is_empty() {
        text(StatusCode::OK, "ready\n".to_owned())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", unready.join("\n")))
    }
}

async fn prometheus(State(asked): State<Asked>) -> Response {
    asked.condition.measure();
    asked.metrics.run_upkeep();
    let rendered = asked.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), NO_STORE], rendered).into_response()
}

/// Names orgs, so only this machine may ask; and by its own name, so that a web page whose name leads here may not.
async fn status(
    State(asked): State<Asked>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    let host = headers.get(header::HOST).map_or(Some("localhost"), |host| host.to_str().ok());
    if peer.ip().to_canonical().is_loopback() && host.is_some_and(is_this_machine) {
        text(StatusCode::OK, asked.condition.status())
    } else {
        text(StatusCode::FORBIDDEN, "the status is told to this machine only\n".to_owned())
    }
}

/// `host` or `host:port`.
fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

fn text(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), NO_STORE], body).into_response()
}

#[cfg(test)]
mod tests;
