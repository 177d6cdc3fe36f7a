#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use serde_json::json;

use super::*;
use crate::{
    Hlc,
    json_text::JsonText,
    key::{FactKey, Pattern},
    protocol::{Ack, BATCH_MAX, Cursor, IfVersion, Incr, Put, Query, Subscribe, VALUE_BYTES_MAX},
};

fn surface(plane: Plane) -> Surface {
    Surface { plane, feature_flags: BTreeMap::new(), server_version: "0.1.0".to_owned() }
}

fn one(plane: Plane, text: &str) -> Result<Call, Refused> {
    match read_body(&surface(plane), Encoding::Json, text.as_bytes()) {
        Message::One(one) => one,
        Message::Many(many) => panic!("{many:?}"),
    }
}

fn data(method: &str, params: &str) -> Result<Request, ProtocolError> {
    let text = format!(r#"{{"method":"{method}","params":{params}}}"#);
    one(Plane::Data, &text).map(|call| call.request).map_err(|refused| refused.error)
}

fn key(text: &str) -> FactKey {
    FactKey::new(text).unwrap()
}

fn put(key_text: &str, value: &str) -> Put {
    Put { key: key(key_text), value: JsonText::new(value).unwrap(), ttl: None, if_version: None, ack: Ack::Durable }
}

#[test]
fn ids_come_from_either_and_json_counts() {
    let check = |member: &str, frame: Option<&str>, expected: Id| {
        let frame = crate::protocol::Frame {
            id: frame.map(str::to_owned),
            data: format!(r#"{{{member}"method":"ping"}}"#).into(),
            ..crate::protocol::Frame::default()
        };
        match read_frame(&surface(Plane::Data), frame.view()) {
            Message::One(Ok(call)) => assert_eq!(call.id, expected, "{member}"),
            other => panic!("{other:?}"),
        }
    };
    let text = |text: &str| Id::Text(text.to_owned());
    check("", None, Id::Null);
    check("", Some("req-001"), text("req-001"));
    check("", Some("42"), text("42"));
    check(r#""id":"a","#, None, text("a"));
    check(r#""id":"a","#, Some("b"), text("a"));
    check(r#""id":7,"#, Some("b"), Id::Number(7.into()));
    check(r#""id":null,"#, Some("b"), text("b"));
    check(r#""id":"a\nb","#, None, text("a\nb"));
}

#[test]
fn what_is_no_request() {
    let check = |text: &str, code: i32| {
        let refused = one(Plane::Data, text).unwrap_err();
        assert_eq!(refused.error.code(), code, "{text}: {}", refused.error);
    };
    check("", -32700);
    check("{", -32700);
    check("hello", -32700);
    check("[1", -32700);
    check(r#"{"method":"ping"} x"#, -32700);
    check(r#"{"method":"put","params":{"key":"a.b","value":nul}}"#, -32700);
    check("7", -32600);
    check("null", -32600);
    check("{}", -32600);
    check("[]", -32600);
    check(r#"{"method":7}"#, -32600);
    check(r#"{"method":"ping","method":"put"}"#, -32600);
    check(r#"{"jsonrpc":"1.0","method":"ping"}"#, -32600);
    check(r#"{"id":[],"method":"ping"}"#, -32600);
    check(r#"{"id":true,"method":"ping"}"#, -32600);
    check(&format!(r#"{{"id":"{}","method":"ping"}}"#, "x".repeat(256)), -32600);
    check(&format!(r#"{{"method":"put","params":{{"key":"a.b","value":{}}}}}"#, "[".repeat(100_000)), -32600);
    check(r#"{"method":"nothing"}"#, -32601);
    check(r#"{"method":"Put"}"#, -32601);
    check(r#"{"method":"put","params":[1]}"#, -32602);
    check(r#"{"method":"put","params":"x"}"#, -32602);
    let bytes = read_body(&surface(Plane::Data), Encoding::Json, b"{\"method\":\"\xff\"}");
    assert!(matches!(bytes, Message::One(Err(Refused { error: ProtocolError::Parse(_), .. }))), "{bytes:?}");
}

#[test]
fn a_refused_request_keeps_its_id() {
    let check = |text: &str, expected: Id| assert_eq!(one(Plane::Data, text).unwrap_err().id, expected, "{text}");
    check(r#"{"id":7,"method":"nothing"}"#, Id::Number(7.into()));
    check(r#"{"id":"a","method":"put"}"#, Id::Text("a".to_owned()));
    check(r#"{"id":"a","method":"#, Id::Null);
}

#[test]
fn arrays_are_several_requests() {
    let text = r#"[{"id":1,"method":"ping"},{"method":"nothing"},7,{"id":2,"method":"ping"}]"#;
    let Message::Many(calls) = read_body(&surface(Plane::Data), Encoding::Json, text.as_bytes()) else { panic!() };
    let codes: Vec<i32> = calls.iter().map(|call| call.as_ref().map_or_else(|r| r.error.code(), |_| 0)).collect();
    assert_eq!(codes, [0, -32601, -32600, 0]);
    let many = format!("[{}]", vec![r#"{"method":"ping"}"#; 1_001].join(","));
    assert_eq!(one(Plane::Data, &many).unwrap_err().error.code(), -32006);
}

#[test]
fn methods_belong_to_planes() {
    let mut seen = 0;
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.name()), Some(method));
        for plane in Plane::ALL {
            let found = surface(plane).method(method.name()).is_ok();
            assert_eq!(found, method.planes().contains(&plane), "{method} {plane:?}");
            seen += usize::from(found);
        }
    }
    assert_eq!(seen, 36);
    let hint = surface(Plane::Control).method("update-data").unwrap_err().data().unwrap();
    assert_eq!(hint, json!({"method": "update-data", "detail": "facts are written with `put` on the data plane"}));
    let off = Surface { feature_flags: [("incr".to_owned(), false)].into(), ..surface(Plane::Data) };
    assert_eq!(off.method("incr").unwrap_err().code(), -32601);
    assert!(off.method("put").is_ok());
    let off = Surface { feature_flags: [("subscribe".to_owned(), false)].into(), ..surface(Plane::Data) };
    let capabilities = super::super::Hello::new(&off).capabilities;
    assert_eq!(capabilities, ["put", "get", "delete", "batch-put", "batch-get"]);
}

#[test]
fn requests_for_facts() {
    let check = |method: &str, params: &str, expected: Request| {
        assert_eq!(data(method, params), Ok(expected), "{method} {params}");
    };
    check("put", r#"{"key":"a.b","value": {"x": [1, 2]}}"#, Request::Put(put("a.b", r#"{"x":[1,2]}"#)));
    check("put", r#"{"key":"a.b","value":null}"#, Request::Put(put("a.b", "null")));
    check("update-data", r#"{"key":"a.b","value":1}"#, Request::Put(put("a.b", "1")));
    let full = Put {
        ttl: Some(3600),
        if_version: Some(IfVersion::Is(Hlc::from_u64(42).unwrap())),
        ack: Ack::Applied,
        ..put("a.b", "1")
    };
    check("put", r#"{"key":"a.b","value":1,"ttl":3600,"if_version":42,"ack":"applied"}"#, Request::Put(full));
    let replicated = Put { ack: Ack::Replicated(2), if_version: Some(IfVersion::Absent), ..put("a.b", "1") };
    check("put", r#"{"key":"a.b","value":1,"if_version":0,"ack":"replicated:2","ttl":null}"#, Request::Put(replicated));
    check("get", r#"{"key":"a.b"}"#, Request::Get { key: key("a.b") });
    check("batch-get", r#"{"keys":["a.b","a.b"]}"#, Request::BatchGet { keys: vec![key("a.b"), key("a.b")] });
    let pattern = Pattern::new("a.*").unwrap();
    let subscribe = Subscribe { pattern: pattern.clone(), include_existing: false, after: None };
    check("subscribe", r#"{"pattern":"a.*"}"#, Request::Subscribe(subscribe.clone()));
    let resumed = Subscribe { include_existing: true, after: Cursor::new("c:n:7").ok(), ..subscribe };
    check("subscribe", r#"{"pattern":"a.*","include_existing":true,"after":"c:n:7"}"#, Request::Subscribe(resumed));
    let query = Query { pattern, filter: serde_json::Map::new(), limit: 100, after: None };
    check("query", r#"{"pattern":"a.*"}"#, Request::Query(query.clone()));
    let filter = json!({"deployment_id": "deploy-123"}).as_object().unwrap().clone();
    let narrow = Query { filter, limit: 7, after: Some(key("a.b")), ..query };
    check(
        "query",
        r#"{"pattern":"a.*","filter":{"deployment_id":"deploy-123"},"limit":7,"after":"a.b"}"#,
        Request::Query(narrow),
    );
    let incr = Incr { key: key("a.b"), by: 1, ttl: None, ack: Ack::Durable };
    check("incr", r#"{"key":"a.b"}"#, Request::Incr(incr.clone()));
    check("incr", r#"{"key":"a.b","by":-5,"ttl":60}"#, Request::Incr(Incr { by: -5, ttl: Some(60), ..incr }));
    check("hello", r#"{"capabilities":["evaluate"]}"#, Request::Hello);
    check("ping", "{}", Request::Ping);
    check("ping", "null", Request::Ping);
}

#[test]
fn parameters_are_right_or_refused() {
    let check = |method: &str, params: &str, field: &str| {
        let error = data(method, params).unwrap_err();
        assert_eq!(error.code(), -32602, "{method} {params}: {error}");
        assert_eq!(error.data().unwrap().get("field").unwrap(), field, "{method} {params}");
    };
    check("put", "{}", "key");
    check("put", r#"{"key":"a.b"}"#, "value");
    check("put", r#"{"key":"a","value":1}"#, "key");
    check("put", r#"{"key":7,"value":1}"#, "key");
    check("put", r#"{"key":"a.b\u0000","value":1}"#, "key");
    check("put", r#"{"key":"_internal.x","value":1}"#, "key");
    check("put", &format!(r#"{{"key":"a.{}","value":1}}"#, "x".repeat(511)), "key");
    for ttl in ["0", "-1", "1.5", "3600.0", "\"3600\"", "true", "99999999999", "18446744073709551616"] {
        check("put", &format!(r#"{{"key":"a.b","value":1,"ttl":{ttl}}}"#), "ttl");
    }
    check("put", r#"{"key":"a.b","value":1,"tll":5}"#, "tll");
    check("put", r#"{"key":"a.b","value":1,"value":2}"#, "value");
    check("put", r#"{"key":"a.b","value":{"x":1,"x":2}}"#, "value");
    check("put", r#"{"key":"a.b","value":1,"if_version":-1}"#, "if_version");
    check("put", r#"{"key":"a.b","value":1,"if_version":9007199254740992}"#, "if_version");
    check("put", r#"{"key":"a.b","value":1,"ack":"maybe"}"#, "ack");
    check("put", r#"{"key":"a.b","value":1,"ack":"replicated:0"}"#, "ack");
    check("get", r#"{"key":null}"#, "key");
    check("batch-put", "{}", "entries");
    check("batch-put", r#"{"entries":[]}"#, "entries");
    check("batch-put", r#"{"entries":{}}"#, "entries");
    check("batch-put", r#"{"entries":[7]}"#, "entries[0]");
    check("batch-put", r#"{"entries":[{"key":"a.b","value":1},{"key":"a","value":1}]}"#, "entries[1].key");
    check("batch-put", r#"{"entries":[{"key":"a.b","value":1,"ttl":0}]}"#, "entries[0].ttl");
    check("batch-put", r#"{"entries":[{"key":"a.b","value":1,"ack":"applied"}]}"#, "entries[0].ack");
    check("batch-put", r#"{"entries":[{"key":"a.b","value":1},{"key":"a.b","value":2}]}"#, "entries[1].key");
    check("batch-put", r#"{"entries":[{"key":"a.b","value":1}],"atomic":"yes"}"#, "atomic");
    check("transaction", r#"{"operations":[{"op":"incr","key":"a.b"}]}"#, "operations[0].op");
    check("transaction", r#"{"operations":[{"key":"a.b"}]}"#, "operations[0].op");
    check("transaction", r#"{"operations":[{"op":"delete","key":"a.b","value":1}]}"#, "operations[0].value");
    check("batch-get", r#"{"keys":["a.b",7]}"#, "keys[1]");
    check("subscribe", r#"{"policies":["*"]}"#, "pattern");
    check("subscribe", r#"{"pattern":"a*"}"#, "pattern");
    check("subscribe", r#"{"pattern":"a.*","after":"7"}"#, "after");
    check("query", r#"{"pattern":"a.*","limit":0}"#, "limit");
    check("query", r#"{"pattern":"a.*","limit":1001}"#, "limit");
    check("query", r#"{"pattern":"a.*","filter":[]}"#, "filter");
    check("incr", r#"{"key":"a.b","by":0}"#, "by");
    check("incr", r#"{"key":"a.b","by":9223372036854775808}"#, "by");
}

#[test]
fn sizes_have_ends() {
    let check = |method: &str, params: &str, expected: Option<Part>| {
        let found = data(method, params).err();
        match (found, expected) {
            (None, None) => {}
            (Some(ProtocolError::TooLarge { what, .. }), Some(expected)) => assert_eq!(what, expected),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    };
    let value = |bytes: usize| format!(r#"{{"key":"a.b","value":"{}"}}"#, "x".repeat(bytes - 2));
    check("put", &value(VALUE_BYTES_MAX), None);
    check("put", &value(VALUE_BYTES_MAX + 1), Some(Part::Value));
    check("put", &format!(r#"{{"key":"a.b","value":[{}1]}}"#, " ".repeat(VALUE_BYTES_MAX)), None);
    let keys = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec![r#""a.b""#; count].join(","));
    check("batch-get", &keys(BATCH_MAX), None);
    check("batch-get", &keys(BATCH_MAX + 1), Some(Part::Batch));
}

#[test]
fn requests_for_decisions() {
    let check = |plane: Plane, method: &str, params: &str, expected: Result<Request, &str>| {
        let text = format!(r#"{{"method":"{method}","params":{params}}}"#);
        let found = one(plane, &text).map(|call| call.request);
        let field = |refused: Refused| refused.error.data().unwrap()["field"].as_str().unwrap().to_owned();
        assert_eq!(found.map_err(field), expected.map_err(str::to_owned), "{method} {params}");
    };
    let evaluate = super::super::Evaluate {
        policies: vec!["prod.deployment.approval".to_owned()],
        context: json!({"action": "deploy"}).as_object().unwrap().clone(),
        min_cursor: None,
        max_staleness_ms: None,
    };
    let eval = Plane::Evaluation;
    let params = r#"{"policies":["prod.deployment.approval"],"context":{"action":"deploy"}}"#;
    check(eval, "evaluate", params, Ok(Request::Evaluate(evaluate.clone())));
    let bounded = super::super::Evaluate {
        min_cursor: Cursor::new("c:n:7").ok(),
        max_staleness_ms: Some(500),
        ..evaluate.clone()
    };
    let params = r#"{"policies":["prod.deployment.approval"],"context":{"action":"deploy"},"min_cursor":"c:n:7","max_staleness_ms":500}"#;
    check(eval, "evaluate", params, Ok(Request::Evaluate(bounded)));
    let params =
        r#"{"evaluations":[{"id":"e1","policies":["prod.deployment.approval"],"context":{"action":"deploy"}}]}"#;
    check(eval, "evaluate-batch", params, Ok(Request::EvaluateBatch(vec![(Id::Text("e1".to_owned()), evaluate)])));
    check(eval, "evaluate", r#"{"policies":["a"]}"#, Err("context"));
    check(eval, "evaluate", r#"{"policies":[],"context":{}}"#, Err("policies"));
    check(eval, "evaluate", r#"{"policies":["a\n"],"context":{}}"#, Err("policies[0]"));
    check(eval, "evaluate", r#"{"policies":["a"],"context":{"x":1,"x":2}}"#, Err("context"));
    check(eval, "evaluate-batch", r#"{"evaluations":[{"policies":["a"]}]}"#, Err("evaluations[0].context"));
    check(
        eval,
        "evaluate-batch",
        r#"{"evaluations":[{"policies":[7],"context":{}}]}"#,
        Err("evaluations[0].policies[0]"),
    );
    check(
        eval,
        "subscribe",
        r#"{"policies":["*"]}"#,
        Ok(Request::SubscribePolicies { policies: vec!["*".to_owned()] }),
    );
    check(eval, "subscribe", r#"{"pattern":"a.*"}"#, Err("policies"));
    check(eval, "get-feature-flags", "{}", Ok(Request::GetFeatureFlags));
    let listed = Request::ListPolicies { prefix: "prod.".to_owned(), depth: Some(2), include_metadata: true };
    let params = r#"{"prefix":"prod.","depth":2,"include_metadata":true}"#;
    check(eval, "list-policies", params, Ok(listed.clone()));
    check(Plane::Control, "list-policies", params, Ok(listed));
    let subtree = Request::GetSubtree { path: "prod.deployment".to_owned() };
    check(Plane::Control, "get-subtree", r#"{"path":"prod.deployment"}"#, Ok(subtree));
    let update = Request::UpdatePolicy {
        path: "prod.deployment.approval".to_owned(),
        version: "abc123".to_owned(),
        source: "policy RequireApproval: ...".to_owned(),
    };
    let params = r#"{"path":"prod.deployment.approval","version":"abc123","source":"policy RequireApproval: ..."}"#;
    check(Plane::Control, "update-policy", params, Ok(update));
    check(Plane::Control, "update-policy", r#"{"path":"a","version":"1"}"#, Err("source"));
    for (method, request) in [
        ("sync", Request::Sync),
        ("list", Request::List { prefix: String::new(), after: None }),
        ("stats", Request::Stats),
        ("metadata", Request::Metadata),
        ("peers", Request::Peers),
        ("rotate-key", Request::RotateKey),
        ("repair", Request::Repair { restamp: false }),
        ("policies", Request::Policies),
    ] {
        check(Plane::Control, method, "{}", Ok(request));
    }
}
