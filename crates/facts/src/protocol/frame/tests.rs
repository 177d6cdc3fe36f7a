#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn frames(input: &[u8]) -> Vec<Frame> {
    let (mut parser, mut rest) = (FrameParser::default(), input);
    let mut found = Vec::new();
    while let Some(frame) = parser.next(&mut rest).unwrap() {
        found.push(frame);
    }
    assert_eq!(frames_quickly(input), found);
    found
}

/// Those that are whole by themselves, the others as they come.
fn frames_quickly(mut input: &[u8]) -> Vec<Frame> {
    let mut parser = FrameParser::default();
    let mut found = Vec::new();
    loop {
        let before = input;
        if let Some(view) = parser.next_whole(&mut input) {
            let text = before.get(..before.len() - input.len()).unwrap();
            let whole = FrameParser::default().next(&mut &*text).unwrap().unwrap();
            assert_eq!(whole.view(), view);
            found.push(whole);
            continue;
        }
        match parser.next(&mut input).unwrap() {
            Some(frame) => found.push(frame),
            None => return found,
        }
    }
}

#[test]
fn most_frames_need_no_copy() {
    let check = |input: &str, expected: bool| {
        assert_eq!(FrameParser::default().next_whole(&mut input.as_bytes()).is_some(), expected, "{input:?}");
        frames(input.as_bytes());
    };
    check("event: put\nid: 1\ndata: {}\n\n", true);
    check("data: {}\n\nid: 2\n", true);
    for input in [
        "",
        "data: {}\n",
        "id: 1\n\n",
        "data: a\ndata: b\n\n",
        "id: 1\nid: 2\ndata: a\n\n",
        "id: 1\0\ndata: a\n\n",
        "data: a\r\n\r\n",
        "data: a\n\r\n",
        ": x\ndata: a\n\n",
        "data: a\n{\n\n",
        "\u{feff}data: a\n\n",
        "data-encoding: msgpack\ndata: a\n\n",
    ] {
        check(input, false);
    }
    let large = format!("data: {}\n\n", "x".repeat(20));
    let quick = |bytes_max: usize| FrameParser::new(bytes_max).next_whole(&mut large.as_bytes()).is_some();
    assert!(
        (27..40).all(|bytes_max| !quick(bytes_max) || FrameParser::new(bytes_max).next(&mut large.as_bytes()).is_ok())
    );
    assert!(!quick(26) && quick(28));
}

fn frame(event: &str, id: &str, data: &str) -> Frame {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Frame { event: text(event), id: text(id), data: data.into(), ..Frame::default() }
}

#[test]
fn frames_as_the_standard_has_them() {
    let check = |input: &str, expected: &[Frame]| assert_eq!(frames(input.as_bytes()), expected, "{input:?}");
    check("event: put\nid: 1\ndata: {}\n\n", &[frame("put", "1", "{}")]);
    check("event: put\r\nid: 1\r\ndata: {}\r\n\r\n", &[frame("put", "1", "{}")]);
    check("event: put\rid: 1\rdata: {}\r\r", &[frame("put", "1", "{}")]);
    check("data:a\n\ndata:b\r\rdata:c\r\n\r\n", &[frame("", "", "a"), frame("", "", "b"), frame("", "", "c")]);
    check("data:  a\n\n", &[frame("", "", " a")]);
    check("data: a\ndata\ndata: b\n\n", &[frame("", "", "a\n\nb")]);
    check("data\n\n", &[frame("", "", "")]);
    check(": hello\ndata: a\n: between\ndata: b\n\n", &[frame("", "", "a\nb")]);
    check("\u{feff}data: a\n\n", &[frame("", "", "a")]);
    check("retry: 10\nunknown: 1\nnothing\ndata: a\n\n", &[frame("", "", "a")]);
    // Without data there is no message, and an id is of one message only.
    check("event: put\nid: 1\n\ndata: a\n\n", &[frame("", "", "a")]);
    check("id: 1\nid: 2\ndata: a\n\n", &[frame("", "2", "a")]);
    check("id: a\0b\ndata: a\n\n", &[frame("", "", "a")]);
    check("data: unfinished\n", &[]);
    check("data: a\nid: 1: 2\n\n", &[frame("", "1: 2", "a")]);
}

#[test]
fn json_may_be_spread_over_lines() {
    let input =
        "// a comment before\nevent: get\ndata: {\n  \"method\": \"get\",\n  \"params\": {\"key\": \"a.b\"}\n}\n\n";
    let expected =
        Frame { is_spread: true, ..frame("get", "", "{\n  \"method\": \"get\",\n  \"params\": {\"key\": \"a.b\"}\n}") };
    assert_eq!(frames(input.as_bytes()), [expected]);
}

#[test]
fn encodings_are_told() {
    let check = |name: &str, expected: FrameEncoding| {
        let input = format!("data-encoding: {name}\ndata: a\n\n");
        assert_eq!(frames(input.as_bytes()), [Frame { encoding: expected, ..frame("", "", "a") }], "{name}");
    };
    check("msgpack", FrameEncoding::Known(Encoding::MessagePack));
    check("json", FrameEncoding::Known(Encoding::Json));
    check("cbor", FrameEncoding::Unknown);
}

#[test]
fn the_last_empty_line_may_be_missing_at_the_end() {
    let check = |input: &str, expected: Option<Frame>| {
        let mut parser = FrameParser::default();
        assert_eq!(parser.next(&mut input.as_bytes()), Ok(None), "{input:?}");
        assert_eq!(parser.finish(), Ok(expected), "{input:?}");
        assert_eq!(parser.finish(), Ok(None), "{input:?}");
    };
    check("data: a\n", Some(frame("", "", "a")));
    check("data: a", Some(frame("", "", "a")));
    check("event: put", None);
    check("", None);
    check(":", None);
}

#[test]
fn nothing_is_read_after_a_frame_that_is_too_large() {
    let check = |input: &str, bytes_max: usize, fits: bool| {
        for chunk in [1, 7, input.len()] {
            let mut parser = FrameParser::new(bytes_max);
            let mut refused = false;
            for mut piece in input.as_bytes().chunks(chunk) {
                while !piece.is_empty() && !refused {
                    refused = parser.next(&mut piece).is_err();
                }
            }
            assert_eq!(refused, !fits, "{input:?} in pieces of {chunk}");
            assert_eq!(parser.next(&mut &b"data: a\n\n"[..]).is_err(), !fits, "{input:?} in pieces of {chunk}");
            assert_eq!(parser.finish().is_err(), !fits);
        }
    };
    check("data: 0123\n\n", 11, true);
    check("data: 0123\n\n", 10, false);
    check("data: 01\ndata: 3\n\n", 10, false);
    check("data: 1\n\ndata: 2\n\ndata: 3\n\n", 10, true);
    check("data: 12345678", 10, false);
    check("id: 123456789\n\n", 10, false);
    check(": a comment of any length\n: and another\ndata: 1\n\n", 10, true);
    check(": a comment that does not end", 10, true);
}

#[test]
fn frames_are_written_in_lines() {
    let check = |id: Option<&str>, encoding: Encoding, data: &str, expected: &str| {
        let mut out = Vec::new();
        write_frame(&mut out, "result", id, encoding, data).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    check(Some("r1"), Encoding::Json, "{}", "event: result\nid: r1\ndata: {}\n\n");
    check(None, Encoding::Json, "{}", "event: result\ndata: {}\n\n");
    check(Some("r\n1"), Encoding::Json, "{}", "event: result\ndata: {}\n\n");
    check(
        Some("1"),
        Encoding::MessagePack,
        "{\"a\":1}",
        "event: result\nid: 1\ndata-encoding: msgpack\ndata: gaFhAQ==\n\n",
    );
    let mut out = b"before".to_vec();
    assert_eq!(write_frame(&mut out, "result", None, Encoding::Json, "{\n}"), Err(ProtocolError::Internal));
    assert_eq!(out, b"before", "nothing of it");
}
