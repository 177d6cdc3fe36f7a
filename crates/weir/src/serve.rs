//! Local mode from start to stop: opens what is needed in order, serves, and closes it in the opposite order.

mod data_lock;
mod gate;
mod house;
mod open;
mod signals;
mod welcome;

use std::{io::Write, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weir_wire::{Server, ServerOptions};

pub(crate) use self::data_lock::last_address;
use self::{data_lock::DataLock, gate::Gate, house::House};
use crate::{
    config::Config,
    demo,
    failure::Failure,
    http,
    local::{self, Control, Watch},
    private_file, telemetry,
};

/// After the wire has drained, what still runs has this long.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Serves until a signal says stop.
///
/// # Errors
/// Anything that keeps Weir from serving as configured: it then does not serve at all.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    telemetry::start_logs(&config)?;
    let metrics = telemetry::start_metrics()?;
    private_file::create_folder(&config.data)
        .map_err(|error| Failure::new(format!("cannot make the data folder {}: {error}", config.data.display())))?;
    let mut locked = DataLock::take(&config.data)?;
    lay_out_policies(&config)?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("weir-main")
        .worker_threads(2)
        .thread_stack_size(WIRE_STACK_BYTES)
        .build()?;
    let (lanes, slow_lane) = (lanes()?, slow_lane()?);
    let handles = lanes.iter().map(|lane| lane.handle().clone()).collect();
    let served = runtime.block_on(serve(&config, &mut locked, metrics, handles, slow_lane.handle().clone()));
    // What a client holds open must not keep the process.
    lanes.into_iter().chain([slow_lane]).for_each(Runtime::shutdown_background);
    runtime.shutdown_timeout(LAST_WAIT);
    served
}

/// A runtime for each processor, for connections. It has one thread, so that waking a session wakes no other thread;
/// where a statement is planned the runtime goes on with another (`pipeline`'s plan cache).
fn lanes() -> std::io::Result<Vec<Runtime>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let lane = |_| {
        Builder::new_multi_thread()
            .enable_all()
            .thread_name("weir-wire")
            .worker_threads(1)
            .thread_stack_size(WIRE_STACK_BYTES)
            .build()
    };
    (0..processors).map(lane).collect()
}

/// Half of the processors at most, and those only while nothing else wants them.
fn slow_lane() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("weir-slow")
        .worker_threads((processors / 2).max(1))
        .thread_stack_size(WIRE_STACK_BYTES)
        .on_thread_start(|| {
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!(%error, "the slow lane keeps its priority");
            }
        })
        .build()
}

/// As the engine's threads have it: beside a lane's thread about a tenth of a processor.
const NICENESS: i32 = 10;

/// A statement's tree is as deep as its longest chain of operators, and is walked and dropped by recursion here.
const WIRE_STACK_BYTES: usize = 16 * 1024 * 1024;

fn lay_out_policies(config: &Config) -> Result<(), Failure> {
    let folder = config.policies_dir();
    let laid_out = if config.demo {
        demo::lay_out(&folder)
    } else if folder.exists() || config.policies.is_some() {
        Ok(())
    } else {
        info!(folder = %folder.display(), "laid out a policy to begin with");
        local::lay_out(&folder)
    };
    laid_out.map_err(|error| Failure::new(format!("cannot write policies to {}: {error}", folder.display())))
}

async fn serve(
    config: &Config,
    locked: &mut DataLock,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    lanes: Vec<Handle>,
    slow_lane: Handle,
) -> Result<(), Failure> {
    let stop = signals::listen()?;
    let http_listener = TcpListener::bind(config.http)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {} for HTTP: {error}", config.http)))?;
    let http_address = http_listener.local_addr()?;

    let house = open::house(config)?;
    let gate = Arc::new(Gate::new(Arc::clone(&house)));
    let options = ServerOptions { lanes, slow_lane: Some(slow_lane), ..open::wire_options(config)? };
    let server = Server::bind(options, house.backend(), gate)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {}: {error}", config.listen)))?;
    let sql_address = server.local_address()?;
    locked.announce(sql_address)?;

    let http_stop = CancellationToken::new();
    let http_task = tokio::spawn(http::serve(http_listener, house.clone(), metrics, http_stop.clone()));
    let served = tokio::select! {
        served = serve_sql(config, &house, server, (sql_address, http_address), &stop) => served,
        // Only before the server serves: serving ends by itself at the same signal.
        () = stop_before_serving(&house, &stop) => Ok(()),
    };

    house.close().await;
    http_stop.cancel();
    match http_task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the HTTP listener failed"),
        Err(error) => error!(%error, "the HTTP listener did not end"),
    }
    served?;
    info!("stopped");
    Ok(())
}

async fn stop_before_serving(house: &House, stop: &CancellationToken) {
    stop.cancelled().await;
    if house.is_serving() {
        std::future::pending::<()>().await;
    }
}

async fn serve_sql(
    config: &Config,
    house: &Arc<House>,
    server: Server<house::Backend>,
    (sql, http): (std::net::SocketAddr, std::net::SocketAddr),
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let control = Control::open(&config.data, &config.policies_dir(), house.bundle_key().clone())?;
    let (credentials, facts) = (house.credentials(), Arc::clone(house.facts()));
    let watch = Watch::start(control, house.clone(), move || {
        credentials.refresh();
        facts.refresh();
    })?;
    house.watched_by(watch);
    house.open_orgs().await;
    if house.serves_nothing() {
        let failure = Failure::new(format!("no policy in {} can be served", config.policies_dir().display()));
        return Err(failure.hint("the log above says why; `weir policy check DIR` explains it too"));
    }

    let env = if config.demo {
        let env = demo::issue_keys(&config.data, sql, house.facts())?;
        Some(env)
    } else {
        None
    };
    // So that tokens that were just made are known.
    house.facts().refresh();
    house.facts().listen(config).await;
    if config.demo {
        demo::load(house.plane(), &config.data, config.demo_scale.0).await?;
    }
    house.now_serving();
    let text = welcome::text(config, sql, http, env.as_ref(), house.facts().sockets().as_deref());
    // Nobody may be reading.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    info!(%sql, %http, "serving");
    let facts = async {
        stop.cancelled().await;
        house.facts().stop_serving().await;
    };
    tokio::join!(server.serve(stop.clone()), facts);
    info!("the listener is closed");
    Ok(())
}
