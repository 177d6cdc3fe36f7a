//! The journal from outside.

use std::fs;

use crate::server::{Server, connect, execute, files, run, text};

#[tokio::test]
async fn the_journal_verifies_exports_and_shows_a_forged_byte() {
    let (mut server, url) = Server::plain();
    let client = connect(&url).await;
    execute(&client, "CREATE TABLE t (id integer PRIMARY KEY)").await;
    execute(&client, "INSERT INTO t VALUES (1)").await;
    assert!(client.batch_execute("SELECT * FROM absent").await.is_err());
    drop(client);
    server.stop();
    let data = server.data();
    let place = data.to_str().unwrap();

    let verified = run(&["audit", "verify", place]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));

    let exported = run(&["audit", "export", place, "--format", "jsonl", "--org", "acme"]);
    let lines = text(&exported.stdout);
    assert!(lines.lines().count() >= 6, "{lines}");
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
    assert!(lines.contains("INSERT INTO t VALUES (1)"), "{lines}");
    assert_eq!(text(&run(&["audit", "export", place, "--format", "jsonl", "--org", "globex"]).stdout), "");
    let parquet = data.join("audit.parquet");
    let written = run(&["audit", "export", place, "--format", "parquet", "--output", parquet.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert!(fs::read(&parquet).unwrap().starts_with(b"PAR1"));

    let log = files(&data.join("audit")).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let forged = run(&["audit", "verify", place]);
    assert_eq!(forged.status.code(), Some(1));
    assert!(text(&forged.stderr).contains("the journal is not whole"), "{}", text(&forged.stderr));
}

#[tokio::test]
async fn logins_keys_and_policies_leave_records() {
    let (mut server, url) = Server::plain();
    assert!(crate::server::try_connect(&server.url("acme", "boss", "guess")).await.is_err());
    let id = url.split('_').nth(2).unwrap().to_owned();
    let data = server.data();
    let place = data.to_str().unwrap();
    assert!(run(&["keys", "revoke", "--data", place, &id]).status.success());
    assert!(crate::server::try_connect(&url).await.is_err());
    server.stop();
    let lines = text(&run(&["audit", "export", place, "--format", "jsonl"]).stdout);
    for event in ["authentication_refused", "key_issued", "key_revoked", "bundle_accepted"] {
        assert!(lines.contains(event), "{event}: {lines}");
    }
    assert!(!lines.contains("guess"), "a password is in the journal");
}
