//! Bytes of any kind, in any pieces. `FACTS_FUZZ_SECONDS` says for how long (3 by default), `FACTS_FUZZ_SEED` where to
//! begin.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_facts::{
    Holder, Tokens,
    protocol::{
        Bearer, Call, Encoding, FRAME_BYTES_MAX, Frame, FrameEncoding, FrameParser, HANDSHAKE, Listener, Message,
        Plane, ProtocolError, Request, read_body, write_frame,
    },
};

use crate::protocol_executor::{NOW, Session, surface};

/// All frames of the pieces, and whether the parser refused to go on.
fn frames<'a>(bytes_max: usize, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut parser = FrameParser::new(bytes_max);
    let mut found = Vec::new();
    let mut is_refused = false;
    for mut piece in pieces {
        loop {
            assert!(parser.buffered() <= 4 * bytes_max + 4096, "{} bytes", parser.buffered());
            match parser.next(&mut piece) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error, ProtocolError::TooLarge { .. }));
                    is_refused = true;
                    break;
                }
            }
            assert!(!is_refused, "a frame after an error");
        }
    }
    match parser.finish() {
        Ok(last) => found.extend(last),
        Err(_) => is_refused = true,
    }
    (found, is_refused)
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let ending = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
    let text = prop_oneof![
        4 => Just(String::new()),
        4 => "data: ?[a-z{}\":]{0,12}",
        1 => "id: ?[a-z0-9]{0,8}",
        1 => "event: ?[a-z]{0,8}",
        1 => ":[a-z ]{0,40}",
        1 => "[a-z{}\":/ ]{0,12}",
        1 => Just("data-encoding: msgpack".to_owned()),
    ];
    let noise = proptest::collection::vec(any::<u8>(), 0..8);
    prop_oneof![
        12 => (text, ending).prop_map(|(text, ending)| [text.as_bytes(), ending.as_bytes()].concat()),
        1 => noise,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn pieces_make_no_difference(
        lines in proptest::collection::vec(line(), 0..30),
        cuts in proptest::collection::vec(1..20_usize, 1..60),
        bytes_max in prop_oneof![Just(24_usize), Just(64), Just(FRAME_BYTES_MAX)],
    ) {
        let stream = lines.concat();
        let mut rest = stream.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let whole = frames(bytes_max, [stream.as_slice()].into_iter());
        prop_assert_eq!(&whole, &frames(bytes_max, pieces.into_iter()));
        prop_assert_eq!(&whole, &frames(bytes_max, stream.chunks(1)));
    }

    #[test]
    fn what_is_written_is_read(
        id in proptest::option::of("[a-zA-Z0-9:~-]{1,20}"),
        text in any::<String>(),
        packed in any::<bool>(),
    ) {
        let encoding = if packed { Encoding::MessagePack } else { Encoding::Json };
        let json = serde_json::to_string(&serde_json::json!({ "text": text })).unwrap();
        let mut out = Vec::new();
        write_frame(&mut out, "result", id.as_deref(), encoding, &json).unwrap();
        let (found, _) = frames(FRAME_BYTES_MAX, out.chunks(5));
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].id, &id);
        prop_assert_eq!(encoding.frame_to_json(&found[0].data).unwrap(), json);
    }
}

#[test]
fn a_large_frame_costs_as_much_in_small_pieces() {
    let mut stream = b"data: \"".to_vec();
    stream.resize(FRAME_BYTES_MAX - 16, b'x');
    stream.extend_from_slice(b"\"\n\n");
    let begin = Instant::now();
    let (found, is_refused) = frames(FRAME_BYTES_MAX, stream.chunks(1));
    assert_eq!((found.len(), is_refused), (1, false));
    // A cost that grows with the square would be minutes.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_frame_that_is_too_large_ends_the_stream() {
    let mut session = Session::new(Listener::Socket(Plane::Data));
    let head =
        "GET /data HTTP/1.1\r\nUpgrade: ipe/1.0\r\nAuthorization: Bearer ipe_service_deploy_0123456789abcdef\r\n\r\n";
    session.receive(head.as_bytes());
    let mut answer = Vec::new();
    for _ in 0..300 {
        answer.extend_from_slice(&session.receive(&[b'x'; 4096]));
        assert!(session.buffered() <= 4 * FRAME_BYTES_MAX);
    }
    let expected = "event: error\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32006,\
                    \"message\":\"Payload too large\",\"data\":{\"what\":\"frame\",\"max\":1048576}}}\n\n";
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    assert!(session.is_ended);
    assert_eq!(session.receive(b"\n\ndata: {\"method\":\"ping\"}\n\n"), b"");
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const TOKENS: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    ":",
    "data:",
    "data: {",
    "id: ",
    "event: ",
    "data-encoding: msgpack\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "//",
    "\\ud800",
    "null",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "\"key\":",
    "\"approvals.x\"",
    "\"relationships.x\"",
    "\"*\"",
    "\u{feff}",
    "\0",
    "\u{85}",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Upgrade: ipe/1.0\r\n",
    "Accept: text/event-stream\r\n",
    "Content-Type: text/event-stream\r\n",
    "Content-Type: application/msgpack\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "TTL: 5\r\n",
    "?ttl=5",
    "%2",
    "/data/",
    "gaFhAQ==",
    "\"ttl\":",
    "\"method\":\"put\"",
];

/// What the clients of the transcripts send.
fn seeds() -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transcripts");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let transcript = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for conversation in transcript.split("@ listener ") {
            let mut bytes = Vec::new();
            for line in conversation.lines().filter(|line| line.starts_with('C')) {
                let text = line.get(3..).unwrap_or_default().replace("\\r", "\r").replace("{length}", "80");
                bytes.extend_from_slice(text.as_bytes());
                if line.starts_with("C>") {
                    bytes.push(b'\n');
                }
            }
            seeds.push(bytes);
        }
    }
    seeds.retain(|seed| !seed.is_empty());
    seeds
}

fn mutate(seed: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..random.below(6) {
        let at = random.below(seed.len() + 1);
        let upto = (at + random.below(40)).min(seed.len());
        match random.below(7) {
            0 => seed.truncate(at),
            1 => drop(seed.drain(at..upto)),
            2 => {
                let again = seed[at..upto].to_vec();
                seed.splice(at..at, again);
            }
            3 => {
                let byte = u8::try_from(random.below(256)).unwrap();
                if let Some(place) = seed.get_mut(at) {
                    *place = byte;
                }
            }
            4 => {
                let other = random.pick(others);
                let begin = random.below(other.len());
                let end = (begin + random.below(200)).min(other.len());
                seed.splice(at..upto, other[begin..end].iter().copied());
            }
            _ => {
                let token = random.pick(TOKENS).bytes();
                seed.splice(at..at, token);
            }
        }
    }
}

/// What comes out is HTTP, and in a stream frames of one line of JSON each.
fn check_output(out: &[u8]) {
    if out.is_empty() {
        return;
    }
    assert!(out.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(out));
    let Some(begin) = out.windows(HANDSHAKE.len()).position(|window| window == HANDSHAKE) else { return };
    let (found, is_refused) = frames(usize::MAX / 8, [&out[begin + HANDSHAKE.len()..]].into_iter());
    assert!(!is_refused && found.first().is_some_and(|frame| frame.event.as_deref() == Some("hello")));
    for frame in found {
        assert!(!frame.is_spread && !frame.data.contains(&b'\n'), "{frame:?}");
        if let FrameEncoding::Known(encoding) = frame.encoding {
            let json = encoding.frame_to_json(&frame.data).unwrap();
            let message: serde_json::Value = serde_json::from_str(&json).unwrap();
            let first = message.get(0).unwrap_or(&message);
            assert_eq!(first["jsonrpc"], "2.0", "{json}");
        }
    }
}

fn converse(listener: Listener, bytes: &[u8], pieces: &mut dyn FnMut() -> usize) -> Vec<u8> {
    let mut session = Session::new(listener);
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
        let was_ended = session.is_ended;
        let said = session.receive(piece);
        assert!(!was_ended || said.is_empty(), "something was said after the end");
        assert!(session.buffered() <= 4 * FRAME_BYTES_MAX + 4096);
        out.extend_from_slice(&said);
        rest = after;
    }
    out
}

/// Tells which round failed, to begin there again.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FACTS_FUZZ_SEED={} fails", self.0);
        }
    }
}

#[test]
fn no_bytes_confuse_a_connection() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let until = Instant::now() + Duration::from_secs(number("FACTS_FUZZ_SECONDS").unwrap_or(3));
    let seeds = seeds();
    assert!(seeds.len() > 10);
    let listeners = [Plane::Data, Plane::Evaluation, Plane::Control].map(Listener::Socket);
    let mut round = Round(number("FACTS_FUZZ_SEED").unwrap_or(1));
    let mut answered = 0_usize;
    let begin = round.0;
    while Instant::now() < until {
        let mut random = Random(round.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut bytes = random.pick(&seeds).clone();
        mutate(&mut bytes, &seeds, &mut random);
        let listener = if random.below(4) == 0 { Listener::Shared } else { *random.pick(&listeners) };
        let whole = converse(listener, &bytes, &mut || usize::MAX);
        check_output(&whole);
        let in_pieces = converse(listener, &bytes, &mut || 1 + random.below(30));
        assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&in_pieces), "pieces made a difference");
        answered += usize::from(whole.len() > 500);
        round.0 += 1;
    }
    let rounds = round.0 - begin;
    assert!(answered > 0, "no conversation of {rounds} got anywhere");
    eprintln!("{rounds} conversations, {answered} with long answers");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A value is the same however often it is written, read and written again.
    #[test]
    fn values_stay_what_they_are(
        number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()),
        whole in any::<i64>(),
        text in any::<String>(),
    ) {
        let number = serde_json::json!([number, whole]);
        let value = serde_json::json!({ "number": number, "text": [text, null, { "": true }] });
        let request = serde_json::json!({ "method": "put", "params": { "key": "a.b", "value": value } }).to_string();
        let read = |text: &str| match read_body(&surface(Plane::Data), Encoding::Json, text.as_bytes()) {
            Message::One(Ok(Call { request: Request::Put(put), .. })) => put.value,
            other => panic!("{other:?}"),
        };
        let stored = read(&request);
        prop_assert_eq!(&*stored, value.to_string());
        let again = format!(r#"{{"method":"put","params":{{"key":"a.b","value":{stored}}}}}"#);
        prop_assert_eq!(&stored, &read(&again));
        let packed = Encoding::MessagePack.from_json(&stored).unwrap();
        prop_assert_eq!(&*stored, &*Encoding::MessagePack.to_json(&packed).unwrap());
    }

    #[test]
    fn no_message_pack_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = Encoding::MessagePack.to_json(&bytes) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
        let _ = read_body(&surface(Plane::Data), Encoding::MessagePack, &bytes);
    }

    #[test]
    fn no_token_file_is_too_odd(file in "(ipe_(admin|service|app)_|sha256:|expires=|#|[a-f0-9]{64}|[a-z_ \n-]){0,8}") {
        let mut tokens = Tokens::default();
        let _ = tokens.set(Holder::Admin, &file);
        for line in file.lines() {
            if let Some(holder) = tokens.verify(&Bearer::new(line), NOW) {
                prop_assert_eq!(holder, Holder::Admin);
                prop_assert!(line.starts_with("ipe_admin_"));
            }
        }
    }
}

/// The request in MessagePack that the JSON is.
fn packed(json: &str) -> Vec<u8> {
    Encoding::MessagePack.from_json(json).unwrap().into_owned()
}

#[test]
fn message_pack_is_answered_in_message_pack() {
    let mut session = Session::new(Listener::Socket(Plane::Data));
    session.store.stamps.push_back((42, 1_698_765_432));
    let token = "Authorization: Bearer ipe_service_deploy_0123456789abcdef\r\n";
    let body = packed(r#"{"id":7,"method":"put","params":{"key":"approvals.a","value":{"n":[1,2.5,null]}}}"#);
    let head = format!(
        "POST / HTTP/1.1\r\n{token}Content-Type: application/msgpack\r\nAccept: application/msgpack\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let out = session.receive(&[head.as_bytes(), &body].concat());
    let expected =
        packed(r#"{"jsonrpc":"2.0","id":7,"result":{"key":"approvals.a","version":42,"updated_at":1698765432}}"#);
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: {}\r\n\r\n", expected.len());
    assert_eq!(out, [head.as_bytes(), &expected].concat());

    session.receive(format!("GET /data HTTP/1.1\r\nUpgrade: ipe/1.0\r\n{token}\r\n").as_bytes());
    let mut request = Vec::new();
    let json = r#"{"method":"get","params":{"key":"approvals.a"}}"#;
    write_frame(&mut request, "get", Some("r1"), Encoding::MessagePack, json).unwrap();
    let (answers, _) = frames(FRAME_BYTES_MAX, [session.receive(&request).as_slice()].into_iter());
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((answer.id.as_deref(), answer.encoding), (Some("r1"), FrameEncoding::Known(Encoding::MessagePack)));
    assert_eq!(
        Encoding::MessagePack.frame_to_json(&answer.data).unwrap(),
        r#"{"jsonrpc":"2.0","id":"r1","result":{"key":"approvals.a","value":{"n":[1,2.5,null]},"version":42,"updated_at":1698765432}}"#
    );
}
