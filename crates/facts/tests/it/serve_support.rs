//! A node that serves real sockets, and clients that say what they like.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use weir_facts::{
    Authority, Config, Evaluator, Namespaces, Node, NodeConfig, NodeId, Peer, Rights, ServeConfig, Server, Settings,
    Sockets, Strategy, Witness, WitnessedRefusal, WitnessedRequest, protocol::Plane,
};

use crate::protocol_executor::{grants, tokens};

pub const DEPLOY: &str = "ipe_service_deploy_0123456789abcdef";
pub const IDENTITY: &str = "ipe_service_identity_0123456789abcdef";
pub const GATEWAY: &str = "ipe_service_gateway_0123456789abcdef";
pub const PREDICATE: &str = "ipe_service_predicate_0123456789abcdef";
pub const ADMIN: &str = "ipe_admin_0123456789abcdef";
pub const APP: &str = "ipe_app_web_0123456789abcdef";

/// Remembers what it saw.
#[derive(Debug, Default)]
pub struct Notes(pub Mutex<Vec<String>>);

impl Witness for Notes {
    fn refused(&self, refusal: &WitnessedRefusal<'_>) {
        let method = refusal.method.map_or("connect", |method| method.name());
        let user = refusal.peer.map(|peer| match peer {
            Peer::Process { user, .. } => user.to_string(),
            Peer::Address(address) => address.to_string(),
        });
        self.0.lock().push(format!(
            "refused {method} {:?} {:?} {}",
            refusal.key.map(ToString::to_string),
            user,
            refusal.error.code()
        ));
    }

    fn controlled(&self, request: &WitnessedRequest<'_>) {
        self.0.lock().push(format!("controlled {}", request.method));
    }

    fn wrote(&self, request: &WitnessedRequest<'_>) {
        self.0.lock().push(format!("wrote {} {}", request.method, request.keys));
    }
}

pub fn node_config(folder: &Path) -> NodeConfig {
    let store = Settings { room_kept: 0, ..Settings::new(folder.join("facts")) };
    let mut config = NodeConfig::new(store, Config::new(NodeId::new("n1").unwrap()));
    let strategies = [("rate_limits".to_owned(), Strategy::Counter)].into();
    config.namespaces = Namespaces { strategies, otherwise: Strategy::Lww, ..Namespaces::default() };
    config
}

pub struct Running {
    pub node: Node,
    pub server: Server,
    pub authority: Arc<Authority>,
    pub notes: Arc<Notes>,
    pub sockets: Sockets,
    runtime: Option<tokio::runtime::Runtime>,
}

pub fn rights() -> Rights {
    Rights { tokens: tokens(), grants: grants() }
}

pub fn start(folder: &Path) -> Running {
    start_with(node_config(folder), ServeConfig::default(), folder)
}

pub fn start_with(node: NodeConfig, serve: ServeConfig, folder: &Path) -> Running {
    start_evaluating(node, serve, folder, |_| None)
}

pub fn start_evaluating(
    node: NodeConfig,
    serve: ServeConfig,
    folder: &Path,
    evaluator: impl FnOnce(&Node) -> Option<Arc<dyn Evaluator>>,
) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let node = Node::open(node).unwrap();
    let evaluator = evaluator(&node);
    let (authority, notes) = (Arc::new(Authority::new(rights())), Arc::new(Notes::default()));
    let server = Server::start(node.clone(), serve, Arc::clone(&authority), notes.clone(), evaluator).unwrap();
    let sockets = Sockets::new(folder.join("sockets"));
    {
        let _here = runtime.enter();
        server.listen(&sockets).unwrap();
    }
    Running { node, server, authority, notes, sockets, runtime: Some(runtime) }
}

impl Running {
    pub fn path(&self, plane: Plane) -> PathBuf {
        self.sockets.path(plane)
    }

    pub fn client(&self, token: &str) -> Client {
        Client::connect(&self.path(Plane::Data), "/data", token)
    }

    pub fn post(&self, token: &str, body: &Value) -> (u16, Value) {
        post(&self.path(Plane::Data), token, body)
    }

    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        self.runtime.as_ref().unwrap()
    }

    pub fn stop(mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(self.server.stop());
        self.node.stop().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
            let _ = self.node.stop();
        }
    }
}

#[derive(Debug, Clone)]
pub struct Frame {
    pub event: String,
    pub id: String,
    pub data: Value,
}

impl Frame {
    pub fn params(&self) -> &Value {
        &self.data["params"]
    }

    pub fn code(&self) -> i64 {
        self.data["error"]["code"].as_i64().unwrap_or(0)
    }
}

pub struct Client {
    pub stream: UnixStream,
    pub reader: BufReader<UnixStream>,
    pub hello: Value,
}

pub fn raw(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

impl Client {
    pub fn connect(path: &Path, target: &str, token: &str) -> Client {
        let mut stream = raw(path);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: ipe\r\nUpgrade: ipe/1.0\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        let mut client = Client { stream, reader, hello: Value::Null };
        let hello = client.frame();
        assert_eq!(hello.event, "hello");
        client.hello = hello.data;
        client
    }

    pub fn send(&mut self, id: &str, method: &str, params: &Value) {
        let data = json!({ "method": method, "params": params });
        self.stream.write_all(format!("event: {method}\nid: {id}\ndata: {data}\n\n").as_bytes()).unwrap();
    }

    pub fn ask(&mut self, method: &str, params: &Value) -> Frame {
        self.send("ask", method, params);
        loop {
            let frame = self.frame();
            if frame.id == "ask" {
                return frame;
            }
        }
    }

    pub fn try_frame(&mut self) -> Option<Frame> {
        let (mut event, mut id, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            if line.is_empty() && !event.is_empty() {
                return Some(Frame { event, id, data: serde_json::from_str(&data).unwrap() });
            }
            match line.split_once(": ") {
                Some(("event", text)) => event = text.to_owned(),
                Some(("id", text)) => id = text.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                _ => {}
            }
        }
    }

    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("the connection ended")
    }

    /// The next change.
    pub fn change(&mut self) -> Frame {
        loop {
            let frame = self.frame();
            if frame.event == "data-changed" {
                return frame;
            }
        }
    }
}

/// Sends one HTTP request on a connection of its own.
pub fn http(path: &Path, request: &str) -> (u16, Value) {
    let mut stream = raw(path);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
}

pub fn post(path: &Path, token: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: ipe\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http(path, &head)
}

pub fn rest(path: &Path, method: &str, target: &str, token: &str, body: &str) -> (u16, Value) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    http(
        path,
        &format!(
            "{method} {target} HTTP/1.1\r\nHost: ipe\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{length}\r\n{body}"
        ),
    )
}
