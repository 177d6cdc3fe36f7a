//! A real NATS server, which can be killed and come back.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_facts::{PeersConfig, PlaneKey, PubSubConfig, ServerAddress};

use crate::peers_support::{Member, Plane};

pub struct Broker {
    folder: TempDir,
    address: SocketAddr,
    server: Option<Child>,
}

/// Debian keeps it where only root's shell looks.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    let found = folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file());
    found.expect("these tests need nats-server: `apt-get install nats-server`")
}

impl Broker {
    pub fn start() -> Broker {
        Broker::with("")
    }

    /// With more lines in its configuration. They may name files in the folder that is given.
    pub fn with(lines: &str) -> Broker {
        Broker::in_folder(tempfile::tempdir().unwrap(), lines)
    }

    pub fn in_folder(folder: TempDir, lines: &str) -> Broker {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::fs::write(folder.path().join("server.conf"), format!("listen: \"{address}\"\n{lines}\n")).unwrap();
        let mut broker = Broker { folder, address, server: None };
        broker.restart();
        broker
    }

    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("server.log")).unwrap();
        let server = Command::new(program())
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As `STOP` and `CONT`.
    pub fn signal(&self, signal: &str) {
        let pid = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{signal}")).arg(pid).status().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// `login`: as `alice:secret@`.
    pub fn server(&self, scheme: &str, login: &str) -> ServerAddress {
        format!("{scheme}://{login}{}", self.address).parse().unwrap()
    }

    pub fn config(&self, plane: &Plane) -> PubSubConfig {
        PubSubConfig {
            plane: plane.name.clone(),
            keys: vec![plane_key(plane.folder.path())],
            servers: vec![self.server("nats", "")],
            authority: None,
        }
    }

    pub async fn member(&self, plane: &Plane, node: &str) -> Member {
        Member::start(plane.node_config(node), PeersConfig::pubsub(self.config(plane))).await
    }

    /// Somebody else who uses the broker.
    pub fn stranger(&self) -> Stranger {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut stranger = Stranger { reader: BufReader::new(stream.try_clone().unwrap()), stream };
        let mut greeting = String::new();
        stranger.reader.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("INFO"), "{greeting}");
        stranger.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
        stranger
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn plane_key(folder: &Path) -> PlaneKey {
    let path = folder.join("plane.key");
    PlaneKey::read(&path).or_else(|_| PlaneKey::create(&path)).unwrap()
}

pub struct Stranger {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Stranger {
    pub fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.say(&format!("PUB {subject} {}\r\n", payload.len()));
        self.stream.write_all(payload).unwrap();
        self.say("\r\n");
    }

    /// The next message: its subject and what is in it.
    pub fn hear(&mut self) -> (String, Vec<u8>) {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if words.first() == Some(&"MSG") {
                let mut payload = vec![0; words.last().unwrap().parse().unwrap()];
                self.reader.read_exact(&mut payload).unwrap();
                return (words[1].to_owned(), payload);
            }
            assert!(!line.is_empty(), "the broker is gone");
        }
    }
}
