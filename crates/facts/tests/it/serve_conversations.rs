//! What clients say and hear over real sockets.

use std::{io::Write as _, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use weir_facts::protocol::Plane;

use crate::serve_support::{ADMIN, APP, Client, DEPLOY, GATEWAY, PREDICATE, post, raw, rest, start};

#[test]
fn the_references_conversation_goes_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = running.client(DEPLOY);
    let hello = client.hello["params"].clone();
    assert_eq!(hello["protocol_version"], "1.0");
    assert_eq!(hello["capabilities"], json!(["put", "get", "delete", "batch-put", "batch-get", "subscribe"]));
    assert_eq!(hello["encodings"], json!(["json", "msgpack"]));

    let value = json!({ "approvers": ["alice", "bob"], "required": 2 });
    client.send("req-001", "put", &json!({ "key": "approvals.deploy-123", "value": value, "ttl": 3_600 }));
    let put = client.frame();
    assert_eq!((put.event.as_str(), put.id.as_str()), ("result", "req-001"));
    assert_eq!((&put.data["jsonrpc"], &put.data["id"]), (&json!("2.0"), &json!("req-001")));
    let result = &put.data["result"];
    assert_eq!(result["key"], "approvals.deploy-123");
    let (version, updated_at) = (result["version"].as_u64().unwrap(), result["updated_at"].as_u64().unwrap());
    assert!(version > 1 << 32 && updated_at > 1_600_000_000, "{result}");

    client.send("req-002", "put", &json!({ "key": "relationships.user-alice", "value": {} }));
    let refused = client.frame();
    assert_eq!((refused.event.as_str(), refused.id.as_str()), ("error", "req-002"));
    let error = json!({ "code": -32003, "message": "Unauthorized", "data": { "reason": "namespace", "namespace": "relationships" } });
    assert_eq!(refused.data["error"], error);

    let got = client.ask("get", &json!({ "key": "approvals.deploy-123" }));
    assert_eq!(got.data["result"]["value"], value);
    assert_eq!(got.data["result"]["version"], version);
    assert_eq!(got.data["result"]["expires_at"], updated_at + 3_600);

    let mut reader = running.client(PREDICATE);
    let subscribed = reader.ask("subscribe", &json!({ "pattern": "approvals.*" }));
    assert_eq!(subscribed.data["result"]["subscription"], "s1");
    assert!(subscribed.data["result"]["cursor"].as_str().unwrap().starts_with("c:"));

    client.send("req-003", "delete", &json!({ "key": "approvals.deploy-123" }));
    let deleted = client.frame();
    assert_eq!(deleted.data["result"]["tombstone"], true);
    assert!(deleted.data["result"]["version"].as_u64().unwrap() > version);
    let change = reader.change();
    assert_eq!(
        (change.params()["type"].as_str(), change.data["method"].as_str()),
        (Some("delete"), Some("notification"))
    );
    client.send("req-004", "put", &json!({ "key": "approvals.deploy-123", "value": value }));
    let written = client.frame();
    let change = reader.change();
    let params = change.params();
    assert_eq!((params["type"].as_str(), &params["value"]), (Some("update"), &value));
    assert_eq!(params["version"], written.data["result"]["version"]);
    assert!(change.id.starts_with("c:"), "{change:?}");
    assert_eq!(client.ask("get", &json!({ "key": "approvals.none" })).code(), -32004);
    running.stop();
}

#[test]
fn a_post_and_the_rest_methods_need_no_stream() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let body = json!({ "method": "put", "params": { "key": "approvals.a", "value": { "by": "alice" } } });
    let (status, answer) = running.post(DEPLOY, &body);
    assert_eq!((status, &answer["id"], &answer["result"]["key"]), (200, &Value::Null, &json!("approvals.a")));
    let path = running.path(Plane::Data);
    let (status, answer) = rest(&path, "PUT", "/data/approvals.b?ttl=60", DEPLOY, r#"{"by":"bob"}"#);
    assert_eq!((status, &answer["result"]["key"]), (200, &json!("approvals.b")));
    let version = answer["result"]["version"].clone();
    let (status, answer) = rest(&path, "GET", "/data/approvals.b", DEPLOY, "");
    assert_eq!((status, &answer["result"]["value"]), (200, &json!({ "by": "bob" })));
    let (status, answer) = rest(&path, "PUT", "/data/approvals.b?if_version=0", DEPLOY, "1");
    assert_eq!((status, &answer["error"]["code"]), (409, &json!(-32005)));
    assert_eq!(answer["error"]["data"], json!({ "key": "approvals.b", "expected": 0, "version": version }));
    assert_eq!(rest(&path, "DELETE", "/data/approvals.b", DEPLOY, "").0, 200);
    assert_eq!(rest(&path, "GET", "/data/approvals.b", DEPLOY, "").0, 404);
    assert_eq!(rest(&path, "PUT", "/data/approvals.c?ack=replicated:1", DEPLOY, "1").0, 400);
    // An array is answered by an array.
    let (_, answer) = running.post(
        DEPLOY,
        &json!([
            { "id": 1, "method": "put", "params": { "key": "approvals.d", "value": 1 } },
            { "id": 2, "method": "get", "params": { "key": "approvals.a" } },
            { "id": 3, "method": "put", "params": { "key": "relationships.x", "value": 1 } },
        ]),
    );
    assert_eq!(answer[0]["result"]["key"], "approvals.d");
    assert_eq!(answer[1]["result"]["value"], json!({ "by": "alice" }));
    assert_eq!(answer[2]["error"]["code"], -32003);
    running.stop();
}

#[test]
fn counters_count_and_queries_go_on_where_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut gateway = running.client(GATEWAY);
    for expected in [1, 2, 3] {
        let count = gateway.ask("incr", &json!({ "key": "rate_limits.alice" }));
        assert_eq!(count.data["result"]["value"], expected);
    }
    let mut client = running.client(DEPLOY);
    let entries: Vec<Value> =
        (0..600).map(|n| json!({ "key": format!("approvals.k{n:03}"), "value": { "odd": n % 2 == 1 } })).collect();
    let batch = client.ask("batch-put", &json!({ "entries": entries, "atomic": true }));
    assert_eq!((&batch.data["result"]["applied"], &batch.data["result"]["failed"]), (&json!(600), &json!(0)));
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut params = json!({ "pattern": "approvals.*", "filter": { "odd": true }, "limit": 70 });
        if after != Value::Null {
            params["after"] = after;
        }
        let page = client.ask("query", &params).data["result"].clone();
        found.extend(page["results"].as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after == Value::Null {
            break;
        }
    }
    let expected: Vec<String> = (0..600).filter(|n| n % 2 == 1).map(|n| format!("approvals.k{n:03}")).collect();
    assert_eq!(found, expected);
    let lookups = client.ask("batch-get", &json!({ "keys": ["approvals.k000", "approvals.none"] }));
    assert_eq!(lookups.data["result"]["results"][0]["value"], json!({ "odd": false }));
    assert_eq!(lookups.data["result"]["results"][1]["found"], false);
    running.stop();
}

/// Sixteen values of 255 KiB are within an answer's 4 MiB; seventeen are not.
#[test]
fn answers_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = running.client(DEPLOY);
    let large = "x".repeat(255 << 10);
    let keys: Vec<String> = (0..17).map(|n| format!("approvals.large-{n:02}")).collect();
    for key in &keys {
        assert_eq!(client.ask("put", &json!({ "key": key, "value": large })).code(), 0);
    }
    let all = client.ask("batch-get", &json!({ "keys": keys }));
    assert_eq!((all.code(), &all.data["error"]["data"]["what"]), (-32006, &json!("answer")));
    assert_eq!(client.ask("batch-get", &json!({ "keys": keys[..16] })).code(), 0);
    let page = client.ask("query", &json!({ "pattern": "approvals.*" }));
    let got = page.data["result"]["results"].as_array().unwrap().len();
    assert!((1..17).contains(&got), "{got}");
    let next = page.data["result"]["next"].clone();
    let rest = client.ask("query", &json!({ "pattern": "approvals.*", "after": next }));
    assert_eq!(rest.data["result"]["results"].as_array().unwrap().len(), 17 - got);
    running.stop();
}

#[test]
fn sockets_have_their_modes_and_only_a_dead_one_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    for (plane, mode) in [(Plane::Data, 0o660), (Plane::Evaluation, 0o666), (Plane::Control, 0o660)] {
        let is = std::fs::metadata(running.path(plane)).unwrap().permissions().mode() & 0o777;
        assert_eq!(is, mode, "{plane:?}");
    }
    {
        let _here = running.runtime().enter();
        let error = running.server.listen(&running.sockets).unwrap_err();
        assert!(error.to_string().contains("another process serves"), "{error}");
    }
    let path = running.path(Plane::Data);
    running.stop();
    assert!(!path.exists(), "a clean stop leaves no socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let running = start(folder.path());
    assert_eq!(running.client(DEPLOY).ask("ping", &json!({})).data["result"]["pong"], true);
    running.stop();
    std::fs::write(&path, "not a socket").unwrap();
    let result = std::panic::catch_unwind(|| start(folder.path()));
    assert!(result.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
}

#[test]
fn the_other_planes_greet_and_say_what_they_cannot_do_yet() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut eval = Client::connect(&running.path(Plane::Evaluation), "/eval", APP);
    assert_eq!(eval.ask("ping", &json!({})).data["result"]["pong"], true);
    assert_eq!(eval.ask("evaluate", &json!({ "policies": ["a"], "context": {} })).code(), -32601);
    assert_eq!(eval.ask("put", &json!({ "key": "a.b", "value": 1 })).code(), -32601);
    let (_, answer) = post(&running.path(Plane::Control), ADMIN, &json!({ "method": "policies" }));
    assert_eq!(answer["error"]["code"], -32601);
    let (_, answer) = post(&running.path(Plane::Control), ADMIN, &json!({ "method": "update-data" }));
    assert_eq!(answer["error"]["code"], -32601);
    running.stop();
}

#[test]
fn an_app_that_asks_too_often_is_told_when_to_retry() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut eval = Client::connect(&running.path(Plane::Evaluation), "/eval", APP);
    for number in 0..1_001 {
        eval.send(&number.to_string(), "ping", &json!({}));
    }
    let refused = (0..1_001).map(|_| eval.frame()).filter(|frame| frame.code() == -32007).count();
    assert!((0..=1).contains(&refused), "{refused}");
    for number in 0..200 {
        eval.send(&number.to_string(), "ping", &json!({}));
    }
    let refused: Vec<_> = (0..200).map(|_| eval.frame()).filter(|frame| frame.code() == -32007).collect();
    assert!(refused.len() > 100, "{}", refused.len());
    assert!(refused[0].data["error"]["data"]["retry_after_ms"].as_u64().unwrap() > 0);
    running.stop();
}

#[test]
fn an_idle_stream_hears_that_the_node_is_there() {
    use std::io::BufRead;
    let folder = tempfile::tempdir().unwrap();
    let serve = weir_facts::ServeConfig {
        keep_alive: std::time::Duration::from_millis(50),
        handshake_timeout: std::time::Duration::from_millis(200),
        ..weir_facts::ServeConfig::default()
    };
    let running =
        crate::serve_support::start_with(crate::serve_support::node_config(folder.path()), serve, folder.path());
    let mut client = running.client(DEPLOY);
    let mut line = String::new();
    client.reader.read_line(&mut line).unwrap();
    assert_eq!(line, ": ping\n");
    // Who says nothing is not waited for.
    let mut silent = raw(&running.path(Plane::Data));
    silent.write_all(b"GET /da").unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(std::io::Read::read(&mut silent, &mut [0; 16]).unwrap(), 0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    running.stop();
}

#[test]
fn administrators_ask_how_much_there_is_and_see_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let put = |key: &str| {
        let (_, answer) = running.post(DEPLOY, &json!({ "method": "put", "params": { "key": key, "value": "v" } }));
        assert!(answer["error"].is_null(), "{answer}");
    };
    ["approvals.a.1", "approvals.a.2", "approvals.b.1"].into_iter().for_each(put);
    let (_, answer) = running.post(DEPLOY, &json!({ "method": "delete", "params": { "key": "approvals.a.2" } }));
    assert!(answer["error"].is_null(), "{answer}");
    let ask = |method: &str, params: Value| {
        let (_, answer) = post(&running.path(Plane::Control), ADMIN, &json!({ "method": method, "params": params }));
        answer["result"].clone()
    };
    let stats = ask("stats", json!({}));
    assert_eq!(stats["namespaces"], json!({ "approvals": { "facts": 2, "tombstones": 1 } }));
    assert_eq!((&stats["is_serving"], &stats["failure"]), (&json!(true), &Value::Null));
    assert!(stats["store_bytes"].as_u64().unwrap() > 0, "{stats}");
    let metadata = ask("metadata", json!({}));
    assert_eq!(metadata["node"], "n1");
    assert_eq!(metadata["namespaces"]["rate_limits"]["strategy"], "counter");
    assert!(ask("sync", json!({}))["cursor"].as_str().unwrap().starts_with("c:"));
    let keys = |params: Value| ask("list", params)["keys"].clone();
    assert_eq!(keys(json!({})), json!(["approvals.a.1", "approvals.b.1"]));
    assert_eq!(keys(json!({ "prefix": "app" })), json!(["approvals.a.1", "approvals.b.1"]));
    assert_eq!(keys(json!({ "prefix": "approvals.b" })), json!(["approvals.b.1"]));
    assert_eq!(keys(json!({ "prefix": "approvals.a.", "after": "approvals.a.1" })), json!([]));
    assert_eq!(keys(json!({ "prefix": "other" })), json!([]));
    let told = running.notes.0.lock().iter().filter(|note| note.starts_with("controlled")).count();
    assert_eq!(told, 8);
    running.stop();
}

#[test]
fn long_lists_are_told_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let entries: Vec<Value> =
        (0..2_500).map(|at| json!({ "key": format!("approvals.{at:04}"), "value": at })).collect();
    let (_, answer) = running.post(DEPLOY, &json!({ "method": "batch-put", "params": { "entries": entries } }));
    assert_eq!(answer["result"]["applied"], 2_500, "{answer}");
    let (mut seen, mut params) = (Vec::new(), json!({}));
    loop {
        let (_, answer) = post(&running.path(Plane::Control), ADMIN, &json!({ "method": "list", "params": params }));
        seen.extend(answer["result"]["keys"].as_array().unwrap().iter().cloned());
        match answer["result"]["next"].as_str() {
            Some(next) => params = json!({ "after": next }),
            None => break,
        }
    }
    let expected: Vec<Value> = (0..2_500).map(|at| json!(format!("approvals.{at:04}"))).collect();
    assert_eq!(seen, expected);
    running.stop();
}
