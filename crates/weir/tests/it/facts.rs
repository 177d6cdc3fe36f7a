//! Facts beside SQL: what is acknowledged stays, and a folder's owner finds the way in. `tests/facts` has the rest.

use std::fs;

use serde_json::Value;

use crate::server::{Server, connect, one, run, text, weir};

/// A server of org `main` whose namespace `approvals` the service `deploy` writes and reads; with its token.
fn started() -> (Server, String) {
    let server = Server::new();
    let facts = server.data().join("facts");
    fs::create_dir_all(&facts).unwrap();
    let declared = "[[namespace]]\nname = \"approvals\"\nwriters = [\"deploy\"]\nreaders = [\"deploy\"]\n";
    fs::write(facts.join("namespaces.toml"), declared).unwrap();
    let data = server.data();
    let issued =
        run(&["facts", "token", "issue", "--data", data.to_str().unwrap(), "--kind", "service", "--name", "deploy"]);
    assert!(issued.status.success(), "{}", text(&issued.stderr));
    (server.start(), text(&issued.stdout).trim().to_owned())
}

/// Exit code, stdout and stderr of `weir facts …`.
fn facts(server: &Server, token: Option<&str>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = weir();
    command.arg("facts").args(arguments).arg("--data").arg(server.data());
    command.envs(token.map(|token| ("WEIR_FACTS_TOKEN", token)));
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_after_a_stop() {
    let (mut server, token) = started();
    let mut version = 0;
    for value in ["1", "2", "3"] {
        let (code, put, said) = facts(&server, Some(&token), &["put", "approvals.deploy-1", value]);
        assert_eq!(code, Some(0), "{said}");
        let put: Value = serde_json::from_str(&put).unwrap();
        assert!(put["version"].as_u64().unwrap() > version, "{put}");
        version = put["version"].as_u64().unwrap();
        if value == "3" {
            server.stop()
        } else {
            server.kill()
        }
        server = server.start();
        assert_eq!(facts(&server, None, &["get", "approvals.deploy-1"]).1, format!("{value}\n"));
    }
    let boss = connect(&server.issue("main", "boss", &["--role", "admin"])).await;
    assert_eq!(one(&boss, "SELECT 1").await, "1");
    server.stop();
}

#[test]
fn the_owner_of_the_folder_reads_and_does_not_write() {
    let (server, token) = started();
    assert_eq!(facts(&server, Some(&token), &["put", "approvals.x", "\"yes\""]).0, Some(0));
    assert_eq!(facts(&server, None, &["get", "approvals.x"]).1, "\"yes\"\n");
    let (code, out, said) = facts(&server, None, &["put", "approvals.x", "\"no\""]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(said.contains("-32003") && said.contains("hint: facts are written with a service's token"), "{said}");
    let (code, page, said) = facts(&server, None, &["status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(page.contains("serving") && page.contains("approvals"), "{page}");
    let (_, status) = server.get("/status").unwrap();
    assert!(status.contains("\nFacts\n  org main, node "), "{status}");
}

#[test]
fn tokens_are_shown_once_and_kept_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let token = |more: &[&str]| run(&[&["facts", "token"], more, &["--data", data]].concat());
    let issued = token(&["issue", "--kind", "app", "--name", "web"]);
    let secret = text(&issued.stdout).trim().to_owned();
    assert!(secret.starts_with("ipe_app_web_"), "{secret}");
    assert!(text(&issued.stderr).contains("shown this once"));
    let kept = fs::read_to_string(folder.path().join("facts/tokens/app.web.token")).unwrap();
    assert!(!kept.contains(secret.rsplit('_').next().unwrap()) && kept.contains("expires="), "{kept}");
    let listed = text(&token(&["list"]).stdout);
    assert!(listed.contains("app web") && listed.contains("holds"), "{listed}");
    let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(token(&["revoke", &id]).status.success());
    assert_eq!(token(&["revoke", &id]).status.code(), Some(1));
    assert_eq!(text(&token(&["list"]).stdout).lines().count(), 1);
    assert_eq!(token(&["issue", "--kind", "admin", "--name", "x"]).status.code(), Some(2));
    assert_eq!(token(&["issue", "--kind", "service", "--name", "not ok"]).status.code(), Some(2));
}
