#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::{
    key::{FactKey, Pattern},
    protocol::{Ack, IfVersion},
};

const DATA: Listener = Listener::Socket(Plane::Data);

fn parse(request: &str, listener: Listener) -> Result<Head, RefusedHead> {
    read(format!("{}\r\n\r\n", request.replace('\n', "\r\n")).as_bytes(), listener)
}

fn asks(request: &str) -> Asks {
    parse(request, DATA).unwrap().asks
}

fn status(request: &str, listener: Listener) -> u16 {
    parse(request, listener).unwrap_err().status
}

#[test]
fn streams() {
    let plain = || Asks::Stream(Stream { after: None, subscribe: None });
    let check = |request: &str, plane: Plane| {
        for listener in [Listener::Socket(plane), Listener::Shared] {
            let head = parse(request, listener).unwrap();
            assert_eq!((head.plane, head.asks, head.is_kept_alive), (plane, plain(), false), "{request}");
        }
    };
    check("GET /data HTTP/1.1\nUpgrade: ipe/1.0", Plane::Data);
    check("GET /eval HTTP/1.1\nHost: ipe\nupgrade: IPE/1.0\nAccept: text/event-stream", Plane::Evaluation);
    check("GET /eval/ HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c, ipe/1.0", Plane::Evaluation);
    check("GET http://ipe/control HTTP/1.1\nUpgrade: ipe/1.0", Plane::Control);
    // RFC-002's handshake of the control plane does not upgrade; a browser's event source cannot.
    check("GET /control HTTP/1.1\nAuthorization: Bearer x", Plane::Control);
    check("GET /data HTTP/1.1\nAccept: text/html, text/event-stream;q=0.9", Plane::Data);
    assert_eq!(asks("GET / HTTP/1.1\nUpgrade: ipe/1.0"), plain());
    assert_eq!(status("GET / HTTP/1.1\nUpgrade: ipe/1.0", Listener::Shared), 404);
    assert_eq!(status("GET /eval HTTP/1.1\nUpgrade: ipe/1.0", DATA), 404);
    assert_eq!(status("GET /data HTTP/1.1\nUpgrade: websocket", DATA), 400);
    assert_eq!(status("GET /data HTTP/1.1", DATA), 404);
    assert_eq!(status("GET / HTTP/1.1", DATA), 404);
}

#[test]
fn streams_go_on_where_they_were() {
    let check = |request: &str, after: Option<&str>, subscribe: Option<(&str, bool, Option<&str>)>| {
        let cursor = |text: &str| Cursor::new(text).unwrap();
        let subscribe = subscribe.map(|(pattern, include_existing, after)| Subscribe {
            pattern: Pattern::new(pattern).unwrap(),
            include_existing,
            after: after.map(cursor),
        });
        assert_eq!(asks(request), Asks::Stream(Stream { after: after.map(cursor), subscribe }), "{request}");
    };
    check("GET /data HTTP/1.1\nUpgrade: ipe/1.0\nLast-Event-ID: c:n1:7", Some("c:n1:7"), None);
    check("GET /data HTTP/1.1\nUpgrade: ipe/1.0\nLast-Event-ID: req-001", None, None);
    let events = "HTTP/1.1\nAccept: text/event-stream";
    check(&format!("GET /data?pattern=approvals.* {events}"), None, Some(("approvals.*", false, None)));
    check(
        &format!("GET /data?pattern=%2A&include_existing=true&after=c:n1:7 {events}"),
        None,
        Some(("*", true, Some("c:n1:7"))),
    );
    check(
        &format!("GET /data?pattern=a.*&after=c:n1:7 {events}\nLast-Event-ID: c:n1:9"),
        Some("c:n1:9"),
        Some(("a.*", false, Some("c:n1:9"))),
    );
    let check = |query: &str| assert_eq!(status(&format!("GET /data?{query} {events}"), DATA), 400, "{query}");
    check("pattern=a");
    check("pattern=a.*&pattern=b.*");
    check("pattern=a.*&include_existing=yes");
    check("pattern=a.*&after=7");
    check("patern=a.*");
}

#[test]
fn posts() {
    let check = |request: &str, expected: Post, kept: bool| {
        let head = parse(request, DATA).unwrap();
        assert_eq!((head.asks, head.is_kept_alive), (Asks::Post(expected), kept), "{request}");
    };
    let post = Post { body_bytes: 2, body: Encoding::Json, is_framed: false, answers_framed: false };
    check("POST / HTTP/1.1\nContent-Length: 2\nContent-Type: application/x-www-form-urlencoded", post, true);
    check("POST /rpc HTTP/1.1\nContent-Length: 2\nConnection: close", post, false);
    check("POST /data/anything HTTP/1.0\nContent-Length: 2", post, false);
    check(
        "POST / HTTP/1.1\nContent-Length: 2\nAccept: text/event-stream",
        Post { answers_framed: true, ..post },
        false,
    );
    let framed = Post { is_framed: true, answers_framed: true, ..post };
    check("POST / HTTP/1.1\nContent-Length: 2\nContent-Type: text/event-stream; charset=utf-8", framed, false);
    let packed = Post { body: Encoding::MessagePack, ..post };
    check("POST / HTTP/1.1\nContent-Length: 2\nContent-Type: application/msgpack", packed, true);
    check("POST / HTTP/1.1\nContent-Length: 1048576", Post { body_bytes: 1_048_576, ..post }, true);
    let head =
        parse("POST / HTTP/1.1\nContent-Length: 2\nExpect: 100-continue\nAccept: application/msgpack", DATA).unwrap();
    assert_eq!((head.expects_continue, head.answer), (true, Encoding::MessagePack));
}

#[test]
fn keys_have_a_shorthand() {
    let check = |request: &str, expected: Shorthand| match asks(request) {
        Asks::Shorthand { shorthand, .. } => assert_eq!(shorthand, expected, "{request}"),
        other => panic!("{request}: {other:?}"),
    };
    let key = |text: &str| FactKey::new(text).unwrap();
    let put = |ttl| Shorthand::Put { key: key("rate_limits.user-alice"), ttl, if_version: None, ack: Ack::Durable };
    check("GET /data/approvals.deploy-123 HTTP/1.1", Shorthand::Get(key("approvals.deploy-123")));
    check("GET /data/files.a%2Fb/c%40d+e HTTP/1.1", Shorthand::Get(key("files.a/b/c@d+e")));
    check("PUT /data/rate_limits.user-alice HTTP/1.1\nContent-Length: 2", put(None));
    check("PUT /data/rate_limits.user-alice HTTP/1.1\nContent-Length: 2\nTTL: 3600", put(Some(3600)));
    check("PUT /data/rate_limits.user-alice?ttl=3600 HTTP/1.1\nContent-Length: 2", put(Some(3600)));
    check(
        "PUT /data/a.b?if_version=0&ack=applied HTTP/1.1\nContent-Length: 2",
        Shorthand::Put { key: key("a.b"), ttl: None, if_version: Some(IfVersion::Absent), ack: Ack::Applied },
    );
    check("DELETE /data/a.b HTTP/1.1", Shorthand::Delete { key: key("a.b"), if_version: None, ack: Ack::Durable });
    let check = |request: &str, field: &str| {
        let refused = parse(&format!("{request}\nContent-Length: 2"), DATA).unwrap_err();
        let data = refused.error.data().unwrap();
        assert_eq!((refused.status, refused.error.code()), (400, -32602), "{request}");
        assert_eq!(data.get("field").unwrap(), field, "{request}");
    };
    check("PUT /data/a.b?ttl=0 HTTP/1.1", "ttl");
    check("PUT /data/a.b?ttl=-1 HTTP/1.1", "ttl");
    check("PUT /data/a.b?ttl=+1 HTTP/1.1", "ttl");
    check("PUT /data/a.b?ttl= HTTP/1.1", "ttl");
    check("PUT /data/a.b?ttl=1.5 HTTP/1.1", "ttl");
    check("PUT /data/a.b?ttl=1 HTTP/1.1\nTTL: 1", "ttl");
    check("PUT /data/a.b HTTP/1.1\nTTL: soon", "ttl");
    check("PUT /data/a.b?tll=1 HTTP/1.1", "tll");
    check("PUT /data/a.b?ttl=1&ttl=2 HTTP/1.1", "ttl");
    check("GET /data/a.b?ttl=1 HTTP/1.1", "ttl");
    check("GET /data/approvals HTTP/1.1", "key");
    check("GET /data/a.b%0a HTTP/1.1", "key");
    check("GET /data/a.b%2 HTTP/1.1", "key");
    check("GET /data/a.b%ff HTTP/1.1", "key");
    check("GET /data/a..b HTTP/1.1", "key");
    check("PUT /data/a.b HTTP/1.1\nIf-Match: \"7\"", "if-match");
    assert_eq!(status("PATCH /data/a.b HTTP/1.1", DATA), 405);
    assert_eq!(status("GET /eval/a.b HTTP/1.1", Listener::Socket(Plane::Evaluation)), 404);
    assert_eq!(status("PUT /data/a.b HTTP/1.1", Listener::Socket(Plane::Evaluation)), 404);
    assert_eq!(status("PUT /control/a.b HTTP/1.1", Listener::Shared), 404);
}

#[test]
fn what_http_servers_disagree_on_is_refused() {
    let check = |request: &str, expected: u16| assert_eq!(status(request, DATA), expected, "{request}");
    check("POST / HTTP/1.1", 411);
    check("POST / HTTP/1.1\nTransfer-Encoding: chunked", 411);
    check("POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 2", 400);
    check("POST / HTTP/1.1\nContent-Length: 2\nContent-Length: 2", 400);
    check("POST / HTTP/1.1\nContent-Length: 2, 2", 400);
    check("POST / HTTP/1.1\nContent-Length: +2", 400);
    check("POST / HTTP/1.1\nContent-Length: ", 400);
    check("POST / HTTP/1.1\nContent-Length: 1048577", 413);
    check("POST / HTTP/1.1\nContent-Length: 99999999999999999999999", 413);
    check("POST / HTTP/1.1\nContent-Length: 2\nContent-Encoding: gzip", 415);
    check("POST / HTTP/1.1\nContent-Length : 2", 400);
    check("POST / HTTP/1.1\nContent-Length: 2\nA: b\n c", 400);
    check("POST / HTTP/2.0\nContent-Length: 2", 400);
    check("OPTIONS / HTTP/1.1", 405);
    check("event: put\ndata: {}", 400);
    check(&format!("GET / HTTP/1.1{}", "\nA: b".repeat(65)), 431);
}

#[test]
fn tokens_are_bearers() {
    let bearer =
        |value: &str| parse(&format!("GET /data HTTP/1.1\nUpgrade: ipe/1.0\n{value}"), DATA).map(|head| head.bearer);
    assert_eq!(bearer("Authorization: Bearer ipe_admin_x"), Ok(Some(Bearer::new("ipe_admin_x"))));
    assert_eq!(bearer("authorization: bearer  ipe_admin_x "), Ok(Some(Bearer::new("ipe_admin_x"))));
    assert_eq!(bearer("X: y"), Ok(None));
    for wrong in ["Basic dTpw", "Bearer", "Bearer "] {
        assert_eq!(bearer(&format!("Authorization: {wrong}")).unwrap_err().status, 401, "{wrong}");
    }
    assert_eq!(bearer("Authorization: Bearer a\nAuthorization: Bearer b").unwrap_err().status, 400);
}

#[test]
fn heads_end() {
    let check = |bytes: &str, seen: usize, expected: Option<usize>| {
        assert_eq!(find_end(bytes.as_bytes(), seen), Ok(expected), "{bytes:?}");
    };
    check("GET / HTTP/1.1\r\n\r\nrest", 0, Some(18));
    check("GET / HTTP/1.1\r\n\r\nrest", 17, Some(18));
    check("GET / HTTP/1.1\n\nrest", 0, Some(16));
    check("GET / HTTP/1.1\r\nA: b\r\n", 0, None);
    assert!(find_end(&[b'a'; HEAD_BYTES_MAX], 0).is_ok());
    assert_eq!(find_end(&[b'a'; HEAD_BYTES_MAX + 1], 0).unwrap_err().status, 431);
}
