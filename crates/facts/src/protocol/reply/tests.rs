#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::{ChangeKind, ChangeNotice, HANDSHAKE, Notification, write_refused, write_shorthand};

fn key() -> FactKey {
    FactKey::new("a.b").unwrap()
}

fn version() -> Hlc {
    Hlc::from_u64(42).unwrap()
}

const NOW: Millis = Millis(1_698_765_432_999);

fn entry() -> Entry {
    Entry {
        key: key(),
        value: Json::Value(json!({"b": 1, "a": 2})),
        version: version(),
        updated_at: NOW,
        expires_at: None,
        conflicted: false,
    }
}

#[test]
fn results_have_their_shapes() {
    let check = |reply: Reply, expected: &str| assert_eq!(json_of(&reply), expected);
    let cursor = || Cursor::new("c:n1:7").ok();
    let written = Written { key: key(), version: version(), updated_at: NOW, cursor: cursor() };
    check(Reply::Written(written), r#"{"key":"a.b","version":42,"updated_at":1698765432,"cursor":"c:n1:7"}"#);
    check(Reply::Entry(entry()), r#"{"key":"a.b","value":{"b":1,"a":2},"version":42,"updated_at":1698765432}"#);
    let full = Entry {
        value: Json::of_text("[1,2]".to_owned()).unwrap(),
        expires_at: Some(NOW.plus(3_600_000)),
        conflicted: true,
        ..entry()
    };
    let json =
        r#"{"key":"a.b","value":[1,2],"version":42,"updated_at":1698765432,"expires_at":1698769032,"conflicted":true}"#;
    check(Reply::Entry(full), json);
    check(
        Reply::Page { results: vec![entry()], next: Some(key()) },
        r#"{"results":[{"key":"a.b","value":{"b":1,"a":2},"version":42,"updated_at":1698765432}],"next":"a.b"}"#,
    );
    check(Reply::Page { results: Vec::new(), next: None }, r#"{"results":[]}"#);
    let missing = Reply::Entries { results: vec![Lookup::missing(key())] };
    check(missing, r#"{"results":[{"key":"a.b","value":null,"found":false}]}"#);
    let error = ProtocolError::VersionConflict { key: "a.b".to_owned(), expected: 0, version: 42 };
    check(
        Reply::Batch { results: vec![Outcome::Failed { key: key(), error }], applied: 0, failed: 1 },
        r#"{"results":[{"key":"a.b","error":{"code":-32005,"message":"Version conflict","data":{"key":"a.b","expected":0,"version":42}}}],"applied":0,"failed":1}"#,
    );
    check(
        Reply::Count(Count { key: key(), value: -3, version: version(), updated_at: NOW }),
        r#"{"key":"a.b","value":-3,"version":42,"updated_at":1698765432}"#,
    );
    check(Reply::Unsubscribed { subscription: "s1".to_owned() }, r#"{"subscription":"s1"}"#);
    let decision = Decision {
        decision: Effect::Allow,
        reason: "ok".to_owned(),
        evaluation_time_us: 9,
        cursor: cursor(),
        policy_root: Some("ab".to_owned()),
        staleness_ms: Some(3),
    };
    check(
        Reply::Decision(decision),
        r#"{"decision":"allow","reason":"ok","evaluation_time_us":9,"cursor":"c:n1:7","policy_root":"ab","staleness_ms":3}"#,
    );
}

#[test]
fn values_are_one_line_of_json() {
    for wrong in ["{\n}", "[1,\r2]", "{", "", "1 2"] {
        assert!(Json::of_text(wrong.to_owned()).is_err(), "{wrong:?}");
    }
}

#[test]
fn notifications_have_their_shapes() {
    let check = |notification: Notification, expected: &str| {
        let mut out = Vec::new();
        notification.write_frame(&mut out, Encoding::Json).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    let change = |kind| ChangeNotice {
        kind,
        key: Some(key()),
        value: None,
        version: Some(version()),
        timestamp: NOW,
        cursor: None,
        source_instance: None,
        expires_at: None,
        subscription: None,
    };
    for (kind, name) in
        [(ChangeKind::Delete, "delete"), (ChangeKind::Expire, "expire"), (ChangeKind::Conflict, "conflict")]
    {
        check(
            Notification::Change(change(kind)),
            &format!(
                "event: data-changed\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notification\",\"params\":{{\"type\":\"{name}\",\"key\":\"a.b\",\"version\":42,\"timestamp\":1698765432}}}}\n\n"
            ),
        );
    }
    let full = ChangeNotice {
        value: Some(Json::Value(json!(1))),
        cursor: Cursor::new("c:n1:8").ok(),
        source_instance: Some("n2".into()),
        expires_at: Some(NOW),
        subscription: Some("s1".into()),
        ..change(ChangeKind::Update)
    };
    check(
        Notification::Change(full),
        "event: data-changed\nid: c:n1:8\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notification\",\"params\":{\"type\":\"update\",\"key\":\"a.b\",\"value\":1,\"version\":42,\"timestamp\":1698765432,\"cursor\":\"c:n1:8\",\"source_instance\":\"n2\",\"expires_at\":1698765432,\"subscription\":\"s1\"}}\n\n",
    );
    let reset = ChangeNotice { key: None, version: None, ..change(ChangeKind::Reset) };
    check(
        Notification::Change(reset),
        "event: data-changed\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notification\",\"params\":{\"type\":\"reset\",\"timestamp\":1698765432}}\n\n",
    );
    check(
        Notification::PolicyUpdated { policy: "prod.approval".to_owned(), version: "abc".to_owned() },
        "event: policy-updated\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notification\",\"params\":{\"policy\":\"prod.approval\",\"version\":\"abc\"}}\n\n",
    );
}

#[test]
fn http_answers_have_their_shapes() {
    assert_eq!(HANDSHAKE, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    let mut out = Vec::new();
    write_refused(&mut out, &ProtocolError::RateLimited { retry_after_ms: 1_500 }.into());
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 107\r\nRetry-After: 2\r\nConnection: close\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32007,\"message\":\"Rate limited\",\"data\":{\"retry_after_ms\":1500}}}"
    );
    let mut out = Vec::new();
    let answer = Answer { id: Id::Null, outcome: Ok(Reply::Pong { pong: true }) };
    write_shorthand(&mut out, answer, Encoding::Json, true).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"pong\":true}}"
    );
}

proptest! {
    #[test]
    fn what_is_written_without_a_serializer_is_what_it_would_write(
        id in prop_oneof![
            Just(Id::Null),
            any::<u64>().prop_map(|id| Id::Number(id.into())),
            "[a-z0-9 \\n\"\\\\ü\u{7f}]{0,6}".prop_map(Id::Text),
        ],
        all in prop::collection::vec((any::<u32>(), any::<u64>(), prop::option::of("c:[ -~]{1,9}"), any::<bool>()), 0..4),
        failed in any::<usize>(),
    ) {
        let results: Vec<Outcome> = all.into_iter().map(|(version, at, cursor, is_written)| {
            let (version, updated_at) = (Hlc::from_u64(u64::from(version) + 1).unwrap(), Millis(at));
            let cursor = cursor.and_then(|cursor| Cursor::new(&cursor).ok());
            if is_written {
                return Outcome::Written(Written { key: key(), version, updated_at, cursor });
            }
            Outcome::Deleted(Deleted { key: key(), version, tombstone: true, deleted_at: updated_at, cursor })
        }).collect();
        let one = results.iter().find_map(|outcome| if let Outcome::Written(one) = outcome { Some(one.clone()) } else { None });
        let replies = one.map(Reply::Written).into_iter().chain([Reply::Batch { results, applied: failed / 2, failed }]);
        for reply in replies {
            let answer = Answer { id: id.clone(), outcome: Ok(reply) };
            let expected = json_of(&answer);
            let answers = Answers::One(answer);
            let mut out = Vec::new();
            if plain::write(&mut out, &answers).is_some() {
                prop_assert_eq!(String::from_utf8(out).unwrap(), expected.clone());
            }
            prop_assert_eq!(answers.to_json(), expected);
        }
    }
}

#[test]
fn most_answers_to_writes_need_no_serializer() {
    let written = Written { key: key(), version: version(), updated_at: NOW, cursor: Cursor::new("c:n1:7").ok() };
    let check = |id: Id, reply: Reply, expected: bool| {
        let answers = Answers::One(Answer { id, outcome: Ok(reply) });
        assert_eq!(plain::write(&mut Vec::new(), &answers).is_some(), expected, "{answers:?}");
    };
    check(Id::Text("a-1".to_owned()), Reply::Written(written.clone()), true);
    check(Id::Number(7.into()), Reply::Written(written.clone()), true);
    check(Id::Text("\"".to_owned()), Reply::Written(written.clone()), false);
    let batch = vec![Outcome::Written(written.clone()), Outcome::Written(written)];
    check(Id::Null, Reply::Batch { results: batch, applied: 2, failed: 0 }, true);
    check(Id::Null, Reply::Pong { pong: true }, false);
}
