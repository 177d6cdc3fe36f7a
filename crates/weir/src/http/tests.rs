#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Condition for Told {
    fn unready(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn status(&self) -> String {
        "fine\n".into()
    }

    fn measure(&self) {}
}

async fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn probes_tell_alive_from_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let condition = Arc::new(Told::default());
    let recorder = PrometheusBuilder::new().build_recorder();
    let until = CancellationToken::new();
    let server = tokio::spawn(serve(listener, condition.clone(), recorder.handle(), until.clone()));

    assert_eq!(get(port, "/readyz").await.0, "HTTP/1.1 200 OK");
    condition.0.lock().push("the journal cannot be written".into());
    let (line, body) = get(port, "/readyz").await;
    assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains("the journal cannot be written"), "{body}");
    for path in ["/healthz", "/livez", "/metrics", "/status"] {
        assert_eq!(get(port, path).await.0, "HTTP/1.1 200 OK", "{path}");
    }
    assert_eq!(get(port, "/").await.0, "HTTP/1.1 404 Not Found");

    until.cancel();
    server.await.unwrap().unwrap();
}

#[test]
fn a_foreign_name_is_not_this_machine() {
    let check = |host: &str, expected: bool| assert_eq!(is_this_machine(host), expected, "{host}");
    check("localhost", true);
    check("LocalHost:5480", true);
    check("127.0.0.1:5480", true);
    check("127.8.9.10", true);
    check("[::1]:5480", true);
    check("", false);
    check("weir.example.com", false);
    check("localhost.example.com:5480", false);
    check("10.0.0.1:5480", false);
    check("127.0.0.1.example.com", false);
}
