//! Transcripts of conversations, byte for byte. `UPDATE_EXPECT=1` writes what the server said into them.
//!
//! A line of a transcript is one of
//! - `C> …`: the client sends the line and a line feed; a carriage return before it is written `\r`;
//! - `C| …`: the client sends it, without a line feed;
//! - `S> …` and `S| …`: so does the server; `S# closed`: the server reads no more;
//! - `@ listener data`, `@ stamp 42 1698765432` (of the next write), `@ notify update <key> <version> <time>`;
//! - empty or a comment. A client's `{length}` is the number of bytes of its next line.

use std::{fmt::Write as _, path::PathBuf};

use weir_facts::protocol::{ChangeKind, Listener, Plane};

use crate::protocol_executor::Session;

fn listener(name: &str) -> Listener {
    match name {
        "data" => Listener::Socket(Plane::Data),
        "eval" => Listener::Socket(Plane::Evaluation),
        "control" => Listener::Socket(Plane::Control),
        "shared" => Listener::Shared,
        other => panic!("no listener {other}"),
    }
}

fn render(out: &mut String, bytes: &[u8]) {
    for line in std::str::from_utf8(bytes).unwrap().split_inclusive('\n') {
        let (mark, text) = line.strip_suffix('\n').map_or(("S|", line), |text| ("S>", text));
        let text = text.replace('\r', "\\r");
        writeln!(out, "{}", format!("{mark} {text}").trim_end()).unwrap();
    }
}

/// The transcript with what the server says, when the client's bytes come in pieces of this size.
fn play(transcript: &str, piece: usize) -> String {
    let mut played = String::new();
    let mut session = Session::new(Listener::Socket(Plane::Data));
    let mut waiting: Vec<u8> = Vec::new();
    let mut lines = transcript.lines().filter(|line| !line.starts_with('S')).peekable();
    while let Some(line) = lines.next() {
        writeln!(played, "{line}").unwrap();
        let body = |line: &str| line.get(3..).unwrap_or_default().replace("\\r", "\r");
        if line.starts_with('C') {
            let length = lines.clone().find(|line| line.starts_with("C|")).map_or(0, |line| body(line).len());
            waiting.extend_from_slice(body(line).replace("{length}", &length.to_string()).as_bytes());
            if line.starts_with("C>") {
                waiting.push(b'\n');
            }
        }
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["@", "listener", name] => session = Session::new(listener(name)),
            ["@", "stamp", version, seconds] => {
                session.store.stamps.push_back((version.parse().unwrap(), seconds.parse().unwrap()));
            }
            ["@", "notify", kind, key, version, seconds] => {
                let kind = if *kind == "update" { ChangeKind::Update } else { ChangeKind::Delete };
                let out = session.notify(kind, key, version.parse().unwrap(), seconds.parse().unwrap());
                render(&mut played, &out);
            }
            ["@", ..] => panic!("{line}"),
            _ => {}
        }
        if !lines.peek().is_some_and(|next| next.starts_with('C')) && !waiting.is_empty() {
            let was_ended = session.is_ended;
            let mut out = Vec::new();
            for piece in waiting.chunks(piece) {
                out.extend_from_slice(&session.receive(piece));
            }
            waiting.clear();
            render(&mut played, &out);
            if session.is_ended && !was_ended {
                played.push_str("S# closed\n");
            }
        }
    }
    played
}

#[test]
fn conversations_go_as_written() {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transcripts"));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 6, "{paths:?}");
    let is_update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in paths {
        let transcript = std::fs::read_to_string(&path).unwrap();
        let played = play(&transcript, usize::MAX);
        if is_update {
            std::fs::write(&path, &played).unwrap();
        } else {
            pretty_assert(&transcript, &played, &path.display().to_string());
        }
        for piece in [1, 2, 3, 7, 64] {
            pretty_assert(&played, &play(&transcript, piece), &format!("{} in pieces of {piece}", path.display()));
        }
    }
}

fn pretty_assert(expected: &str, found: &str, what: &str) {
    for (number, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(expected, found, "{what}, line {}", number + 1);
    }
    assert_eq!(expected.lines().count(), found.lines().count(), "{what}");
}
