//! From start to stop.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::server::{ADMIN_ACCESS, OPEN_POLICY, Server, connect, execute, one, rows, run, text, try_connect, weir};

#[test]
fn a_first_start_lays_out_a_policy_and_says_what_to_do() {
    let mut server = Server::new().start();
    let printed = server.printed();
    assert!(printed.contains("weir keys issue --data"), "{printed}");
    assert!(server.policies().join("main/policy.toml").exists());
    let policies = server.policies();
    let tested = run(&["policy", "test", policies.to_str().unwrap()]);
    assert!(tested.status.success(), "{}", text(&tested.stderr));
    server.stop();
}

#[tokio::test]
async fn the_starter_policy_serves_who_gets_a_key() {
    let server = Server::new().start();
    let admin = connect(&server.issue("main", "me", &["--role", "admin"])).await;
    execute(&admin, "CREATE TABLE notes (id integer PRIMARY KEY, note text NOT NULL)").await;
    execute(&admin, "INSERT INTO notes VALUES (1, 'a'), (2, 'b')").await;
    let reader = connect(&server.issue("main", "you", &["--role", "reader"])).await;
    assert_eq!(one(&reader, "SELECT count(*) FROM notes").await, "2");
    assert!(reader.batch_execute("INSERT INTO notes VALUES (3, 'c')").await.is_err());
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_stop() {
    let (mut server, url) = Server::plain();
    let client = connect(&url).await;
    execute(&client, "CREATE TABLE t (id integer PRIMARY KEY, v text)").await;
    execute(&client, "INSERT INTO t VALUES (1, 'one'), (2, NULL)").await;
    server.stop();
    let server = server.start();
    let client = connect(&url).await;
    assert_eq!(rows(&client, "SELECT id, v FROM t ORDER BY id").await, [["1", "one"], ["2", "NULL"]]);
    drop(server);
}

/// A session with a table whose self-join takes a while.
async fn busy() -> (Server, String, tokio_postgres::Client) {
    let (server, url) = Server::plain();
    fill(server, url).await
}

async fn fill(server: Server, url: String) -> (Server, String, tokio_postgres::Client) {
    let client = connect(&url).await;
    execute(&client, "CREATE TABLE t (id integer PRIMARY KEY)").await;
    let values: Vec<String> = (1..=3000).map(|id| format!("({id})")).collect();
    execute(&client, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    (server, url, client)
}

/// Nine million pairs: running when the signal comes, done long before the drain ends.
const SLOW: &str = "SELECT count(*) FROM t a, t b WHERE (a.id * b.id) % 7 = 3";

/// Twenty-seven billion: never done within a drain.
const ENDLESS: &str = "SELECT count(*) FROM t a, t b, t c WHERE (a.id * b.id + c.id) % 7 = 3";

#[tokio::test]
async fn a_stop_lets_running_statements_end() {
    let (mut server, url, client) = busy().await;
    let slow = tokio::spawn(async move { one(&client, SLOW).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.signal("TERM");
    assert!(slow.await.unwrap().parse::<u64>().unwrap() > 0);
    assert!(server.wait(Duration::from_secs(30)).success());
    assert!(try_connect(&url).await.is_err());
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let (mut server, url, client) = busy().await;
    let endless = tokio::spawn(async move { client.batch_execute(ENDLESS).await.is_err() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("INT");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(130));
    assert!(endless.await.unwrap());
    let server = server.start();
    assert_eq!(one(&connect(&url).await, "SELECT count(*) FROM t").await, "3000");
    drop(server);
}

#[tokio::test]
async fn a_stop_cancels_what_outlasts_the_drain() {
    let server = Server::new().setting("WEIR_SHUTDOWN_DRAIN_SECS", "1");
    server.write_policy(OPEN_POLICY, ADMIN_ACCESS, "");
    let server = server.start();
    let url = server.issue("acme", "boss", &["--role", "admin"]);
    let (mut server, _, client) = fill(server, url).await;
    let endless = tokio::spawn(async move { client.batch_execute(ENDLESS).await.unwrap_err() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    let error = endless.await.unwrap();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
    let data = server.data();
    let verified = run(&["audit", "verify", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
}

#[tokio::test]
async fn the_unix_socket_takes_the_same_keys() {
    let (server, url) = Server::plain();
    let key = url.split(':').nth(2).unwrap().split('@').next().unwrap();
    let folder = server.data().join("sockets");
    let mut config = tokio_postgres::Config::new();
    config.host_path(&folder).port(server.sql).user("boss").dbname("acme").password(key);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(one(&client, "SELECT 1 + 1").await, "2");
    assert!(config.password("guess").connect(tokio_postgres::NoTls).await.is_err());
}

#[tokio::test]
async fn an_idle_session_does_not_hold_the_stop() {
    let (mut server, url) = Server::plain();
    let client = connect(&url).await;
    execute(&client, "SELECT 1").await;
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(client.batch_execute("SELECT 1").await.is_err());
}

#[test]
fn a_data_folder_has_one_server() {
    let server = Server::new().start();
    let data = server.data();
    let second = run(&["up", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another weir serves the data folder"), "{}", text(&second.stderr));
}

#[test]
fn what_cannot_be_served_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), "not a certificate").unwrap();
    std::fs::write(path("key.pem"), "not a key").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    let check = |more: &[&str], expected: &str| {
        let mut command = weir();
        command.args(["up", "--data", &path("data"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let output = command.args(more).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {said}");
        assert!(said.contains(expected), "{more:?}: {said}");
    };
    check(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")], "cert.pem");
    check(&["--policies", &path("empty")], "can be served");
    check(&["--policies", &path("nowhere")], "can be served");
}
