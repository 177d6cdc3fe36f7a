//! Policy directories under running sessions.

use std::{fs, time::Duration};

use crate::server::{ADMIN_ACCESS, OPEN_POLICY, Server, connect, eventually, execute, one};

const SECOND: Duration = Duration::from_secs(1);

const READER_ACCESS: &str = "@id(\"admin\")\npermit (principal in Role::\"admin\", action, resource);\n\
    @id(\"readers\")\npermit (principal in Role::\"reader\", action == Action::\"select\", resource);\n";

fn filters(condition: &str) -> String {
    format!(
        "CREATE POLICY some ON t FOR SELECT TO reader USING ({condition});\n\
         CREATE POLICY every ON t TO admin USING (true);\n"
    )
}

async fn server() -> (Server, tokio_postgres::Client) {
    let (server, admin) = Server::plain();
    let admin = connect(&admin).await;
    execute(&admin, "CREATE TABLE t (id integer PRIMARY KEY)").await;
    execute(&admin, "INSERT INTO t VALUES (1), (2), (3), (4)").await;
    let reader = connect(&server.issue("acme", "reader", &["--role", "reader"])).await;
    (server, reader)
}

#[tokio::test]
async fn a_change_reaches_running_sessions_and_prepared_statements_within_a_second() {
    let (server, reader) = server().await;
    assert!(reader.batch_execute("SELECT * FROM t").await.is_err());
    server.write_policy(OPEN_POLICY, READER_ACCESS, &filters("id <= 3"));
    eventually(SECOND, async || reader.batch_execute("SELECT * FROM t").await.is_ok()).await;
    let prepared = reader.prepare("SELECT count(*) FROM t WHERE id > $1").await.unwrap();
    let count = async || reader.query_one(&prepared, &[&0_i32]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 3);
    server.write_policy(OPEN_POLICY, READER_ACCESS, &filters("id = 1"));
    eventually(SECOND, async || count().await == 1).await;
    server.write_policy(OPEN_POLICY, ADMIN_ACCESS, "-- none\n");
    eventually(SECOND, async || reader.query_one(&prepared, &[&0_i32]).await.is_err()).await;
}

#[tokio::test]
async fn a_broken_change_is_named_with_file_and_line_and_the_old_policy_stays() {
    let (server, reader) = server().await;
    server.write_policy(OPEN_POLICY, READER_ACCESS, &filters("id <= 3"));
    eventually(SECOND, async || reader.batch_execute("SELECT * FROM t").await.is_ok()).await;
    fs::write(server.policies().join("row_filters.sql"), "\n\nCREATE POLICY some ON t USING (id = );\n").unwrap();
    eventually(2 * SECOND, async || server.log().contains("row_filters.sql:3:")).await;
    assert_eq!(one(&reader, "SELECT count(*) FROM t").await, "3");
    let (_, status) = server.get("/status").unwrap();
    assert!(status.contains("what stands there now is refused") && status.contains("row_filters.sql:3:"), "{status}");
    let (_, metrics) = server.get("/metrics").unwrap();
    assert!(metrics.contains("weir_policy_rejected_total 1"), "{metrics}");
    assert_eq!(server.get("/readyz").unwrap().0, 200);
    server.write_policy(OPEN_POLICY, READER_ACCESS, &filters("id = 4"));
    eventually(SECOND, async || one(&reader, "SELECT count(*) FROM t").await == "1").await;
}

#[tokio::test]
async fn a_suspended_org_is_refused_and_comes_back() {
    let (server, reader) = server().await;
    server.write_policy(&format!("status = \"suspended\"\n{OPEN_POLICY}"), READER_ACCESS, "");
    let refused = async || reader.batch_execute("SELECT 1").await.map_err(|error| crate::server::described(&error));
    eventually(SECOND, async || refused().await.is_err_and(|(_, detail)| detail.contains("code=org_access_denied")))
        .await;
    server.write_policy(OPEN_POLICY, READER_ACCESS, "");
    eventually(SECOND, async || reader.batch_execute("SELECT 1").await.is_ok()).await;
}

#[tokio::test]
async fn a_policy_nobody_confirms_stops_being_served() {
    let server =
        Server::new().setting("WEIR_POLICY_GRACE_SECS", "1").setting("WEIR_POLICY_SYNC_STARTUP_TIMEOUT_SECS", "1");
    server.write_policy(OPEN_POLICY, ADMIN_ACCESS, "");
    let server = server.start();
    let client = connect(&server.issue("acme", "boss", &["--role", "admin"])).await;
    execute(&client, "SELECT 1").await;
    fs::rename(server.policies(), server.data().join("gone")).unwrap();
    eventually(4 * SECOND, async || client.batch_execute("SELECT 1").await.is_err()).await;
    let (sqlstate, detail) = crate::server::refusal(&client, "SELECT 1").await;
    assert_eq!(sqlstate, "57P03");
    assert!(detail.contains("code=proxy_not_ready"), "{detail}");
    assert_eq!(server.get("/readyz").unwrap().0, 503);
    fs::rename(server.data().join("gone"), server.policies()).unwrap();
    eventually(2 * SECOND, async || client.batch_execute("SELECT 1").await.is_ok()).await;
}
