//! One server of a test's own: the real program on free ports in a temporary folder.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const PROGRAM: &str = env!("CARGO_BIN_EXE_weir");
/// A debug build that loads the demo on a busy machine needs this long.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// The program with nothing of this shell's settings.
pub fn weir() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    weir().args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub struct Server {
    folder: TempDir,
    pub sql: u16,
    pub http: u16,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// Not started yet.
    pub fn new() -> Server {
        let (sql, http) = (free_port(), free_port());
        Server {
            folder: tempfile::tempdir().unwrap(),
            sql,
            http,
            arguments: Vec::new(),
            settings: Vec::new(),
            child: None,
        }
    }

    pub fn demo() -> Server {
        Server::new().argument("--demo").argument("--scale").argument("0.001").start()
    }

    /// A server of one org, `acme`, whose role `admin` may everything; with a key for its agent.
    pub fn plain() -> (Server, String) {
        let server = Server::new();
        server.write_policy(OPEN_POLICY, ADMIN_ACCESS, "");
        let server = server.start();
        let url = server.issue("acme", "boss", &["--role", "admin"]);
        (server, url)
    }

    pub fn argument(mut self, argument: &str) -> Server {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn setting(mut self, variable: &str, value: &str) -> Server {
        self.settings.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn policies(&self) -> PathBuf {
        self.data().join("policies")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What the program printed for a person.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    pub fn write_policy(&self, policy: &str, access: &str, row_filters: &str) {
        let folder = self.policies();
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [("access.cedar", access), ("row_filters.sql", row_filters), ("policy.toml", policy)] {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    /// Starts, or starts again on the same folder and ports; returns when the server is ready.
    pub fn start(mut self) -> Server {
        self.launch();
        self.wait_until_ready();
        self
    }

    pub fn launch(&mut self) {
        let file = |name: &str| {
            let path = self.folder.path().join(name);
            fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
        };
        let child = weir()
            .arg("up")
            .arg("--data")
            .arg(self.data())
            .args(["--listen", &format!("127.0.0.1:{}", self.sql), "--http", &format!("127.0.0.1:{}", self.http)])
            .args(&self.arguments)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdout(file("out"))
            .stderr(file("log"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub fn wait_until_ready(&mut self) {
        let end = Instant::now() + READY_WITHIN;
        while self.get("/readyz").is_none_or(|(status, _)| status != 200) {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "weir ended with {ended:?}:\n{}", self.log());
            assert!(Instant::now() < end, "weir is not ready:\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let end = Instant::now() + within;
        let child = self.child.as_mut().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < end, "weir does not end:\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait(Duration::from_secs(60));
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Status and body of an HTTP GET; none while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// A connection string with a new key.
    pub fn issue(&self, org: &str, agent: &str, more: &[&str]) -> String {
        let data = self.data();
        let flags = ["keys", "issue", "--data", data.to_str().unwrap(), "--org", org, "--agent", agent];
        let issued = run(&[&flags, more].concat());
        assert!(issued.status.success(), "{}", text(&issued.stderr));
        self.url(org, agent, text(&issued.stdout).trim())
    }

    pub fn url(&self, org: &str, agent: &str, password: &str) -> String {
        format!("postgres://{agent}:{password}@127.0.0.1:{}/{org}", self.sql)
    }

    /// The demo's connection string of an agent.
    pub fn demo_url(&self, name: &str) -> String {
        let env = fs::read_to_string(self.data().join("demo.env")).unwrap();
        let prefix = format!("{name}_URL=");
        env.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

pub const OPEN_POLICY: &str = "org = \"acme\"\n\n[roles.admin]\n\n[roles.reader]\n";
pub const ADMIN_ACCESS: &str = "@id(\"admin\")\npermit (principal in Role::\"admin\", action, resource);\n";

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Connects, or gives the server's error.
pub async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap()
}

/// The rows of the last statement that returned any, as text.
pub async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let cells = |row: tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect()
    };
    let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(cells(row)) } else { None };
    messages.into_iter().filter_map(row).collect()
}

pub async fn one(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql).await;
    assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "{sql}: {rows:?}");
    rows[0][0].clone()
}

pub async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// SQLSTATE and DETAIL of a refusal.
pub async fn refusal(client: &Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    described(&error)
}

pub fn described(error: &tokio_postgres::Error) -> (String, String) {
    let Some(error) = error.as_db_error() else { panic!("{error:?}") };
    (error.code().code().to_owned(), error.detail().unwrap_or_default().to_owned())
}

/// Asks until the answer fits, or fails after a while.
pub async fn eventually<F: AsyncFnMut() -> bool>(within: Duration, mut fits: F) -> Duration {
    let start = Instant::now();
    while !fits().await {
        assert!(start.elapsed() < within, "not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

/// The files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
