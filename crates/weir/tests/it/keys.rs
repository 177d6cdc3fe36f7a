//! Credentials at the door and on running sessions.

use std::time::Duration;

use crate::server::{Server, connect, described, eventually, execute, refusal, run, text, try_connect};

#[tokio::test]
async fn every_wrong_credential_gets_the_same_answer() {
    let (server, url) = Server::plain();
    let key = url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    let other = server.issue("acme", "other", &[]);
    let other_key = other.split(':').nth(2).unwrap().split('@').next().unwrap();
    let mut wrong = key.clone();
    wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
    let check = async |agent: &str, org: &str, password: &str| {
        let error = try_connect(&server.url(org, agent, password)).await.map(drop).unwrap_err();
        let message = error.as_db_error().unwrap().message().to_owned();
        assert_eq!(message, format!("password authentication failed for user \"{agent}\""), "{org} {password}");
        assert_eq!(described(&error).0, "28P01");
    };
    check("boss", "acme", &wrong).await;
    check("boss", "acme", "password").await;
    check("boss", "acme", other_key).await;
    check("admin", "acme", &key).await;
    check("boss", "globex", &key).await;
    check("boss", "nowhere", &key).await;
    connect(&url).await;
}

#[tokio::test]
async fn a_revoked_key_ends_its_sessions_within_a_second() {
    let (server, url) = Server::plain();
    let client = connect(&url).await;
    execute(&client, "SELECT 1").await;
    let id = url.split('_').nth(2).unwrap().to_owned();
    let data = server.data();
    let revoked = run(&["keys", "revoke", "--data", data.to_str().unwrap(), &id]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    eventually(Duration::from_secs(1), async || client.batch_execute("SELECT 1").await.is_err()).await;
    assert_eq!(refusal(&client, "SELECT 1").await.0, "28000");
    assert!(try_connect(&url).await.is_err());
}

#[tokio::test]
async fn a_key_ends_at_its_expiry() {
    let (server, _) = Server::plain();
    let url = server.issue("acme", "brief", &["--role", "admin", "--expires", "2s"]);
    let client = connect(&url).await;
    execute(&client, "SELECT 1").await;
    eventually(Duration::from_secs(4), async || client.batch_execute("SELECT 1").await.is_err()).await;
    assert_eq!(refusal(&client, "SELECT 1").await.0, "28000");
}

#[tokio::test]
async fn a_key_issued_while_the_server_runs_opens_it_at_once() {
    let (server, _) = Server::plain();
    connect(&server.issue("acme", "newcomer", &["--role", "admin"])).await;
}

#[tokio::test]
async fn issuing_says_where_to_connect_and_whether_anybody_can() {
    let (server, _) = Server::plain();
    let data = server.data();
    let issued = |org| run(&["keys", "issue", "--data", data.to_str().unwrap(), "--org", org, "--agent", "x"]).stderr;
    let known = text(&issued("acme"));
    assert!(known.contains(&format!("postgres://x@127.0.0.1:{}/acme", server.sql)), "{known}");
    assert!(!known.contains("Note:"), "{known}");
    let unknown = text(&issued("nowhere"));
    assert!(unknown.contains("is of org nowhere; until one is, nobody can log in there"), "{unknown}");
}
