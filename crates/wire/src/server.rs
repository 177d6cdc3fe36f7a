//! The listener: accepts connections within limits, and drains them at shutdown.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    runtime::Handle,
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use weir_model::{ClientAddress, Code, Refusal};

use crate::{
    authenticate::Authenticator,
    backend::Backend,
    budget::InputBudget,
    cancel::CancelRegistry,
    connection::{Connection, Transport},
    messages::{self, Severity},
    meters,
    session::{self, Entry},
    slow_lane::SlowLane,
    tls::Certificate,
};

/// For statements cancelled at the end of the drain to end, and for their clients to be told.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where passwords may travel. They never do in clear text over a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// TLS for every TCP connection, loopback included.
    Required,
    /// TLS is offered to all, and required of all but loopback.
    #[default]
    Prefer,
}

/// How the server listens. Durations are wall time.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub listen: SocketAddr,
    /// Folder for a Unix socket `.s.PGSQL.<port>`.
    pub unix_socket_folder: Option<PathBuf>,
    /// `None`: TLS is not offered, and only loopback (unless [`TlsMode::Required`]) and the Unix socket can log in.
    pub certificate: Option<Certificate>,
    pub tls_mode: TlsMode,
    /// Sessions at one time, and as many clients again that have not logged in yet.
    pub connections_max: usize,
    /// From accept to the end of authentication.
    pub startup_timeout: Duration,
    /// For a client that sends nothing outside a transaction; inside one the session's own setting counts.
    pub idle_timeout: Option<Duration>,
    /// For a client that takes nothing of what is sent to it.
    pub write_timeout: Duration,
    /// How long running statements may go on at shutdown; then they are cancelled.
    pub drain_timeout: Duration,
    /// Longest message of an authenticated client, in bytes.
    pub message_bytes_max: usize,
    /// What all clients together may have in flight of messages longer than 1 MiB, in bytes.
    pub long_messages_bytes_max: usize,
    /// How long after the password an authentication failure is answered.
    pub failure_delay: Duration,
    /// Runtimes that connections are dealt out to in turn; without any, all are served by the current one.
    ///
    /// A runtime waits for all its sockets in one place, so its threads get work from each other and not from the
    /// system; short statements then hardly run at the same time. With a runtime for each processor they do.
    pub lanes: Vec<Handle>,
    /// Where large messages and values are handled, one for each of its threads, which should have a low priority and
    /// large stacks; without it, where the connection is served.
    pub slow_lane: Option<Handle>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 5439)),
            unix_socket_folder: None,
            certificate: None,
            tls_mode: TlsMode::Prefer,
            connections_max: 500,
            startup_timeout: Duration::from_secs(30),
            idle_timeout: None,
            write_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            message_bytes_max: 64 << 20,
            long_messages_bytes_max: 1 << 30,
            failure_delay: Duration::from_millis(250),
            lanes: Vec::new(),
            slow_lane: None,
        }
    }
}

/// A bound listener, not yet accepting.
pub struct Server<B> {
    tcp: TcpListener,
    unix: Option<UnixSocket>,
    shared: Arc<Shared<B>>,
}

impl<B> fmt::Debug for Server<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tcp", &self.tcp).field("unix", &self.unix).finish_non_exhaustive()
    }
}

/// What every connection shares.
pub(crate) struct Shared<B> {
    pub(crate) options: ServerOptions,
    pub(crate) backend: Arc<B>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) cancels: Arc<CancelRegistry>,
    /// Places of authenticated sessions.
    pub(crate) sessions: Arc<Semaphore>,
    /// Places of clients that have not logged in: so many strangers cannot take the sessions' places.
    strangers: Arc<Semaphore>,
    budget: InputBudget,
    /// Raised at shutdown.
    pub(crate) draining: CancellationToken,
}

/// Removes its file when dropped.
#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.path);
    }
}

impl UnixSocket {
    /// Takes over the file of a server that is gone, never that of one that answers.
    fn bind(folder: &Path, port: u16) -> io::Result<UnixSocket> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!(".s.PGSQL.{port}"));
        if path.exists() {
            if std::os::unix::net::UnixStream::connect(&path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{} is in use", path.display())));
            }
            std::fs::remove_file(&path)?;
        }
        Ok(UnixSocket { listener: UnixListener::bind(&path)?, path })
    }
}

impl<B: Backend> Server<B> {
    /// Binds the sockets.
    ///
    /// # Errors
    ///
    /// When an address or the socket's folder cannot be used.
    pub async fn bind(
        options: ServerOptions,
        backend: Arc<B>,
        authenticator: Arc<dyn Authenticator>,
    ) -> io::Result<Server<B>> {
        meters::describe();
        let tcp = TcpListener::bind(options.listen).await?;
        let port = tcp.local_addr()?.port();
        let unix = match &options.unix_socket_folder {
            Some(folder) => Some(UnixSocket::bind(folder, port)?),
            None => None,
        };
        Ok(Server { tcp, unix, shared: Arc::new(Shared::new(options, backend, authenticator)) })
    }

    /// The TCP address, with the port that was chosen when the options said 0.
    ///
    /// # Errors
    ///
    /// When the operating system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `shutdown`, then drains: idle clients are told and closed at once, running statements may finish
    /// within the drain timeout and are cancelled then. Returns when every connection is closed.
    pub async fn serve(self, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        let here = [Handle::current()];
        let lanes = if self.shared.options.lanes.is_empty() { &here } else { self.shared.options.lanes.as_slice() };
        let mut turns = lanes.iter().cycle();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_ended) = connections.join_next() => continue,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((accepted, client)) => {
                    let lane = turns.next().unwrap_or(&here[0]);
                    connections.spawn_on(self.connection(accepted, client), lane);
                }
                Err(error) => {
                    // Out of descriptors, or a client gone before it was accepted: neither must spin or stop the rest.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let shared = Arc::clone(&self.shared);
        // Closes the listening sockets: new clients are refused by the system.
        drop(self);
        shared.draining.cancel();
        if !all_ended(&mut connections, shared.options.drain_timeout).await {
            tracing::warn!(connections = connections.len(), "statements still ran after the drain timeout");
            shared.cancels.cancel_all();
            if !all_ended(&mut connections, FAREWELL).await {
                connections.shutdown().await;
            }
        }
    }

    async fn accept(&self) -> io::Result<(Accepted, ClientAddress)> {
        let unix = async {
            match &self.unix {
                Some(unix) => unix.listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.tcp.accept() => {
                let (stream, address) = accepted?;
                stream.set_nodelay(true)?;
                socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
                Ok((Accepted::Tcp(stream.into_std()?), ClientAddress::Ip(address.ip().to_canonical())))
            }
            accepted = unix => Ok((Accepted::Unix(accepted?.0.into_std()?), ClientAddress::Local)),
        }
    }

    fn connection(&self, accepted: Accepted, client: ClientAddress) -> impl Future<Output = ()> + Send + use<B> {
        let shared = Arc::clone(&self.shared);
        async move {
            match accepted.watched_here() {
                Ok(transport) => shared.handle(transport, client).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        }
    }
}

async fn all_ended(connections: &mut JoinSet<()>, within: Duration) -> bool {
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(within, ended).await.is_ok()
}

/// A connection between runtimes: none of them watches its socket.
#[derive(Debug)]
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// The socket, watched by the current runtime from here on.
    fn watched_here(self) -> io::Result<Box<dyn Transport>> {
        Ok(match self {
            Accepted::Tcp(stream) => Box::new(TcpStream::from_std(stream)?),
            Accepted::Unix(stream) => Box::new(UnixStream::from_std(stream)?),
        })
    }
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(options: ServerOptions, backend: Arc<B>, authenticator: Arc<dyn Authenticator>) -> Shared<B> {
        let places = options.connections_max.min(Semaphore::MAX_PERMITS);
        Shared {
            backend,
            authenticator,
            cancels: Arc::default(),
            sessions: Arc::new(Semaphore::new(places)),
            strangers: Arc::new(Semaphore::new(places)),
            budget: InputBudget::new(options.long_messages_bytes_max),
            draining: CancellationToken::new(),
            options,
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn handle(&self, transport: Box<dyn Transport>, client: ClientAddress) {
        metrics::counter!(meters::CONNECTIONS_TOTAL).increment(1);
        let _open = OpenConnection::new();
        let mut connection = Connection::new(
            transport,
            crate::startup::UNAUTHENTICATED_BYTES_MAX,
            self.options.write_timeout,
            self.budget.share(),
            SlowLane::new(self.options.slow_lane.clone().unwrap_or_else(Handle::current)),
        );
        match Arc::clone(&self.strangers).try_acquire_owned() {
            Ok(place) => session::serve(connection, Entry { shared: self, client, place }).await,
            Err(_full) => {
                metrics::counter!(meters::REFUSED_TOTAL).increment(1);
                let refusal = too_many(self.options.connections_max);
                messages::put_refusal(&mut connection.output, &refusal, Severity::Fatal);
                let farewell = async {
                    let _gone_already = connection.flush().await;
                    connection.shut_down().await;
                };
                let _slow = tokio::time::timeout(Duration::from_secs(1), farewell).await;
            }
        }
    }
}

/// A client whose machine is gone says nothing; the system asks after it, and its session ends some two minutes later.
fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6)
}

pub(crate) fn too_many(limit: usize) -> Refusal {
    Refusal::new(Code::TooManyConnections, "sorry, too many clients already")
        .detail(format!("limit={limit}"))
        .hint("close idle connections, or connect through a pool")
}

/// Counts one open connection while it lives.
#[derive(Debug)]
struct OpenConnection;

impl OpenConnection {
    fn new() -> OpenConnection {
        metrics::gauge!(meters::CONNECTIONS).increment(1.0);
        OpenConnection
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!(meters::CONNECTIONS).decrement(1.0);
    }
}
