//! What clients may not, and what becomes of what no client should send.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use weir_facts::{Rights, ServeConfig, protocol::Plane};

use crate::serve_support::{
    ADMIN, APP, Client, DEPLOY, IDENTITY, http, node_config, post, raw, rest, rights, start, start_with,
};

const WRONG: &str = "ipe_service_deploy_fedcba9876543210";

#[test]
fn a_wrong_token_is_nobody_and_a_wrong_kind_does_not_serve() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let body = json!({ "method": "ping" });
    for (plane, token, status) in [
        (Plane::Data, WRONG, 401),
        (Plane::Data, "nonsense", 401),
        (Plane::Data, APP, 403),
        (Plane::Evaluation, DEPLOY, 403),
        (Plane::Evaluation, ADMIN, 403),
        (Plane::Control, DEPLOY, 403),
        (Plane::Control, APP, 403),
        (Plane::Control, ADMIN, 200),
    ] {
        let (found, answer) = post(&running.path(plane), token, &body);
        assert_eq!(found, status, "{plane:?} {token} {answer}");
        let handshake = format!("GET / HTTP/1.1\r\nUpgrade: ipe/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
        if status != 200 {
            assert_eq!(http(&running.path(plane), &handshake).0, status);
        }
    }
    assert_eq!(http(&running.path(Plane::Data), "GET / HTTP/1.1\r\nUpgrade: ipe/1.0\r\n\r\n").0, 401);
    let notes = running.notes.0.lock().clone();
    assert_eq!(notes.iter().filter(|note| note.starts_with("refused connect")).count(), 15, "{notes:?}");
    assert!(notes[0].contains("Some("), "the peer's user is told: {notes:?}");
    drop(notes);
    running.stop();
}

#[test]
fn a_foreign_namespace_is_refused_by_every_path_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = running.client(DEPLOY);
    let foreign = json!({ "key": "relationships.alice", "value": 1 });
    let own = json!({ "key": "approvals.own", "value": 1 });
    let with_op = |fact: &Value| {
        let mut operation = fact.clone();
        operation["op"] = json!("put");
        operation
    };
    for (method, params) in [
        ("put", foreign.clone()),
        ("update-data", foreign.clone()),
        ("delete", json!({ "key": "relationships.alice" })),
        ("incr", json!({ "key": "rate_limits.alice" })),
        ("batch-put", json!({ "entries": [own, foreign] })),
        ("batch-put", json!({ "entries": [own, foreign], "atomic": true })),
        ("transaction", json!({ "operations": [with_op(&own), with_op(&foreign)] })),
        ("transaction", json!({ "operations": [with_op(&own), { "op": "delete", "key": "relationships.alice" }] })),
        ("get", json!({ "key": "relationships.alice" })),
        ("batch-get", json!({ "keys": ["approvals.own", "relationships.alice"] })),
        ("query", json!({ "pattern": "*" })),
        ("query", json!({ "pattern": "relationships.*" })),
        ("subscribe", json!({ "pattern": "relationships.alice" })),
        ("subscribe", json!({ "pattern": "*" })),
    ] {
        assert_eq!(client.ask(method, &params).code(), -32003, "{method} {params}");
        let (status, answer) = running.post(DEPLOY, &json!({ "method": method, "params": params }));
        assert_eq!((status, &answer["error"]["code"]), (200, &json!(-32003)), "{method}");
        let (_, answer) = running.post(DEPLOY, &json!([{ "method": method, "params": params }]));
        assert_eq!(answer[0]["error"]["code"], -32003, "{method}");
    }
    let path = running.path(Plane::Data);
    assert_eq!(rest(&path, "PUT", "/data/relationships.alice", DEPLOY, "1").0, 403);
    assert_eq!(rest(&path, "DELETE", "/data/relationships.alice", DEPLOY, "").0, 403);
    assert_eq!(rest(&path, "GET", "/data/relationships.alice", DEPLOY, "").0, 403);
    // An administrator reads and does not write.
    let (_, answer) = running.post(ADMIN, &json!({ "method": "query", "params": { "pattern": "*" } }));
    assert_eq!(answer["result"]["results"], json!([]), "nothing was written: {answer}");
    let (_, answer) = running.post(ADMIN, &json!({ "method": "put", "params": { "key": "approvals.a", "value": 1 } }));
    assert_eq!(answer["error"]["code"], -32003);
    let notes = running.notes.0.lock().clone();
    assert!(notes.iter().all(|note| note.starts_with("refused")), "{notes:?}");
    assert!(notes.len() > 14 * 3, "{}", notes.len());
    running.stop();
}

#[test]
fn malformed_input_disturbs_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut other = running.client(IDENTITY);
    let put = |name: usize| json!({ "key": format!("relationships.user-{name}"), "value": { "n": name } });
    let mut client = running.client(DEPLOY);
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (number, (data, code)) in [
        ("{", -32700),
        ("[]", -32600),
        (r#"{"method":5}"#, -32600),
        (r#"{"method":"nonsense"}"#, -32601),
        (r#"{"method":"put","params":[]}"#, -32602),
        (r#"{"method":"put","params":{"key":"approvals.\u0000","value":1}}"#, -32602),
        (r#"{"method":"put","params":{"key":"approvals.a","value":1,"ttl":0}}"#, -32602),
        (r#"{"method":"put","params":{"key":"approvals.a","value":1,"ttl":-5}}"#, -32602),
        (r#"{"method":"put","params":{"key":"approvals.a","value":1,"ack":"replicated:3"}}"#, -32602),
        (r#"{"method":"put","params":{"key":"_internal.a","value":1}}"#, -32602),
        (r#"{"method":"incr","params":{"key":"approvals.a"}}"#, -32602),
        (r#"{"method":"subscribe","params":{"pattern":"approvals.*","after":"c:nonsense"}}"#, -32602),
        (r#"{"method":"unsubscribe","params":{"subscription":"s9"}}"#, -32602),
    ]
    .into_iter()
    .enumerate()
    {
        client.stream.write_all(format!("event: x\nid: bad\ndata: {data}\n\n").as_bytes()).unwrap();
        assert_eq!(client.frame().code(), code, "{data}");
        assert_eq!(other.ask("put", &put(number)).code(), 0);
    }
    let data = format!(r#"{{"method":"put","params":{{"key":"approvals.a","value":{deep}}}}}"#);
    client.stream.write_all(format!("event: x\nid: bad\ndata: {data}\n\n").as_bytes()).unwrap();
    assert!(client.frame().code() < 0);
    let value = "x".repeat(300 << 10);
    assert_eq!(client.ask("put", &json!({ "key": "approvals.a", "value": value })).code(), -32006);
    assert_eq!(client.ask("put", &json!({ "key": "approvals.a", "value": 1 })).code(), 0, "it goes on");
    // What is too long to be read on from ends the connection.
    let flood = [b'y'; 64 << 10];
    let _ = client.stream.write_all(b"data: ");
    for _ in 0..20 {
        if client.stream.write_all(&flood).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert!(String::from_utf8_lossy(&rest).contains("-32006"), "{}", String::from_utf8_lossy(&rest));
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
    {
        let mut stream = raw(&running.path(Plane::Data));
        stream.write_all(garbage).unwrap();
        drop(stream);
    }
    assert_eq!(other.ask("put", &put(99)).code(), 0);
    running.stop();
}

#[test]
fn a_rotated_token_takes_effect_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = running.client(DEPLOY);
    let mut listening = running.client(DEPLOY);
    assert_eq!(listening.ask("subscribe", &json!({ "pattern": "approvals.*" })).code(), 0);
    let put = json!({ "key": "approvals.a", "value": 1 });
    assert_eq!(client.ask("put", &put).code(), 0);
    let mut next = rights();
    let deploy = weir_facts::Holder::service("deploy").unwrap();
    next.tokens.set(deploy, "ipe_service_deploy_aaaaaaaaaaaaaaaa").unwrap();
    running.authority.replace(next);
    assert_eq!(client.ask("put", &put).code(), -32003);
    assert_eq!(running.client("ipe_service_deploy_aaaaaaaaaaaaaaaa").ask("put", &put).code(), 0);
    let ends = std::iter::from_fn(|| listening.try_frame()).count();
    assert!(ends <= 2, "the stream of who lost the token ends");
    running.authority.replace(Rights::default());
    assert_eq!(running.post("ipe_service_deploy_aaaaaaaaaaaaaaaa", &json!({ "method": "ping" })).0, 401);
    running.stop();
}

#[test]
fn only_users_who_are_let_in_are_served_and_not_more_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let serve = ServeConfig { users: Some([4_294_967_000].into()), ..ServeConfig::default() };
    let running = start_with(node_config(folder.path()), serve, folder.path());
    let (status, answer) = running.post(DEPLOY, &json!({ "method": "ping" }));
    assert_eq!((status, &answer["error"]["data"]["reason"]), (403, &json!("user")));
    running.stop();
    let serve = ServeConfig { connections_max: 2, ..ServeConfig::default() };
    let running = start_with(node_config(folder.path()), serve, folder.path());
    let _there: Vec<Client> = (0..2).map(|_| running.client(DEPLOY)).collect();
    let mut answer = String::new();
    raw(&running.path(Plane::Data)).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    running.stop();
}
