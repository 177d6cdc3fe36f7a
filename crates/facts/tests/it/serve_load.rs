//! Many clients at once, subscribers among them, and a node that is killed under load.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use weir_facts::{NodeConfig, ServeConfig, protocol::Plane};

use crate::serve_support::{Client, DEPLOY, PREDICATE, node_config, start, start_with};

const CHILD: &str = "WEIR_FACTS_SERVE_CHILD";

#[test]
fn sixty_four_clients_write_and_read_what_they_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    std::thread::scope(|scope| {
        for client in 0..64 {
            let running = &running;
            scope.spawn(move || {
                let mut stream = running.client(DEPLOY);
                for number in 0..20 {
                    let key = format!("approvals.c{client}-{number}");
                    assert_eq!(stream.ask("put", &json!({ "key": key, "value": number })).code(), 0);
                    assert_eq!(stream.ask("get", &json!({ "key": key })).data["result"]["value"], number);
                }
            });
        }
    });
    running.stop();
}

/// On the same lane, and with a writer that looks for work by itself every hour only.
#[test]
fn a_client_that_takes_no_answers_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let node = NodeConfig { tick: Duration::from_secs(3_600), ..node_config(folder.path()) };
    let running = start_with(node, ServeConfig { lanes: 1, ..ServeConfig::default() }, folder.path());
    let (mut other, mut lazy) = (running.client(DEPLOY), running.client(DEPLOY));
    let large = json!({ "key": "approvals.large", "value": "x".repeat(60_000) });
    assert_eq!(other.ask("put", &large).code(), 0);
    for number in 0..60 {
        lazy.send(&number.to_string(), "get", &json!({ "key": "approvals.large" }));
    }
    for number in 0..50 {
        assert_eq!(other.ask("put", &json!({ "key": "approvals.a", "value": number })).code(), 0);
    }
    assert_eq!(lazy.frame().data["result"]["key"], "approvals.large");
    running.stop();
}

#[test]
fn a_thousand_puts_are_pipelined_and_applied_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = running.client(DEPLOY);
    for number in 0..1_000 {
        let key = format!("approvals.k{}", number % 10);
        client.send(&number.to_string(), "put", &json!({ "key": key, "value": number }));
    }
    let mut answered: Vec<u32> = (0..1_000)
        .map(|_| client.frame())
        .map(|frame| {
            assert_eq!(frame.event, "result", "{frame:?}");
            frame.id.parse().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..1_000).collect::<Vec<_>>());
    for key in 0..10 {
        let got = client.ask("get", &json!({ "key": format!("approvals.k{key}") }));
        assert_eq!(got.data["result"]["value"], 990 + key);
    }
    running.stop();
}

/// What a subscriber has been told, by key.
#[derive(Default)]
struct Mirror {
    facts: BTreeMap<String, Value>,
    cursor: Option<String>,
    resets: usize,
}

impl Mirror {
    fn hear(&mut self, change: &Value) {
        let key = || change["key"].as_str().unwrap().to_owned();
        match change["type"].as_str().unwrap() {
            "update" => drop(self.facts.insert(key(), change["value"].clone())),
            "delete" | "expire" => drop(self.facts.remove(&key())),
            "reset" => self.resets += 1,
            other => panic!("{other}"),
        }
        if let Some(cursor) = change["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
    }

    /// Until it is told the mark, which is written last, and is the last of what exists.
    fn follow(&mut self, client: &mut Client, mark: &Value) {
        while self.facts.get("approvals.z-mark") != Some(mark) {
            self.hear(client.change().params());
        }
    }
}

fn all_facts(client: &mut Client) -> BTreeMap<String, Value> {
    let (mut facts, mut after) = (BTreeMap::new(), Value::Null);
    loop {
        let mut params = json!({ "pattern": "approvals.*", "limit": 1_000 });
        if after != Value::Null {
            params["after"] = after;
        }
        let page = client.ask("query", &params).data["result"].clone();
        for entry in page["results"].as_array().unwrap() {
            facts.insert(entry["key"].as_str().unwrap().to_owned(), entry["value"].clone());
        }
        after = page["next"].clone();
        if after == Value::Null {
            return facts;
        }
    }
}

/// Writes, overwrites and deletes, `rounds` of 50.
fn churn(client: &mut Client, writer: usize, rounds: usize) {
    for round in 0..rounds {
        for number in 0..50 {
            let key = format!("approvals.w{writer}-{}", (round * 31 + number) % 200);
            let id = format!("{round}-{number}");
            if number % 7 == 0 {
                client.send(&id, "delete", &json!({ "key": key }));
            } else {
                client.send(&id, "put", &json!({ "key": key, "value": { "round": round, "number": number } }));
            }
        }
        (0..50).for_each(|_| drop(client.frame()));
    }
}

#[test]
fn a_subscriber_to_what_exists_misses_nothing_under_writers() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    churn(&mut running.client(DEPLOY), 0, 10);
    std::thread::scope(|scope| {
        let running = &running;
        let writers: Vec<_> =
            (0..3).map(|writer| scope.spawn(move || churn(&mut running.client(DEPLOY), writer, 20))).collect();
        let subscribers: Vec<_> = (0..4_u64)
            .map(|number| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(number * 40));
                    let mut client = running.client(PREDICATE);
                    client.send("s", "subscribe", &json!({ "pattern": "approvals.*", "include_existing": true }));
                    let mut mirror = Mirror::default();
                    mirror.follow(&mut client, &json!("end"));
                    mirror
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut client = running.client(DEPLOY);
        client.ask("put", &json!({ "key": "approvals.z-mark", "value": "end" }));
        let facts = all_facts(&mut client);
        let mirrors: Vec<Mirror> = subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect();
        for mirror in &mirrors {
            assert_eq!(mirror.facts, facts);
        }
        // One comes back with its cursor and is told what it missed, and no more.
        let mut mirror = mirrors.into_iter().next().unwrap();
        client.ask("put", &json!({ "key": "approvals.late", "value": 1 }));
        client.ask("put", &json!({ "key": "approvals.z-mark", "value": "again" }));
        let mut back = running.client(PREDICATE);
        back.send("s", "subscribe", &json!({ "pattern": "approvals.*", "after": mirror.cursor }));
        let mut told = 0;
        while mirror.facts["approvals.z-mark"] != "again" {
            mirror.hear(back.change().params());
            told += 1;
        }
        assert!(told <= 3, "{told} events");
        assert_eq!(mirror.facts, all_facts(&mut client));
        assert_eq!(back.ask("unsubscribe", &json!({ "subscription": "s1" })).code(), 0);
    });
    running.stop();
}

#[test]
fn a_subscriber_that_does_not_read_is_reset_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig { subscriber_events: 16, ..node_config(folder.path()) };
    let running = start_with(config, ServeConfig::default(), folder.path());
    let mut slow = running.client(PREDICATE);
    slow.send("s", "subscribe", &json!({ "pattern": "approvals.*", "include_existing": true }));
    assert_eq!(slow.frame().event, "result");
    let mut client = running.client(DEPLOY);
    let filler = "x".repeat(2_000);
    for number in 0..2_000 {
        let value = json!({ "number": number, "filler": filler });
        client.send(
            &number.to_string(),
            "put",
            &json!({ "key": format!("approvals.k{}", number % 50), "value": value }),
        );
    }
    (0..2_000).for_each(|_| assert_eq!(client.frame().event, "result"));
    client.ask("put", &json!({ "key": "approvals.z-mark", "value": "end" }));
    let mut mirror = Mirror::default();
    mirror.follow(&mut slow, &json!("end"));
    assert!(mirror.resets > 0);
    assert_eq!(mirror.facts, all_facts(&mut client));
    running.stop();
}

/// Runs in a process of its own, which is killed.
#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let _running = start(Path::new(&folder));
    println!("\nserving");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn every_acknowledged_put_survives_a_kill_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = weir_facts::Sockets::new(folder.path().join("sockets"));
    let mut acknowledged: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); 8];
    for round in 0..3_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve_load::child", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "serving"));
        std::thread::scope(|scope| {
            for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
                let path = sockets.path(Plane::Data);
                scope.spawn(move || {
                    let mut client = Client::connect(&path, "/data", DEPLOY);
                    let _ = write_until_killed(&mut client, writer, round, acknowledged);
                });
            }
            std::thread::sleep(Duration::from_millis(300 + round * 100));
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }
    let running = start(folder.path());
    let facts = all_facts(&mut running.client(DEPLOY));
    let mut puts = 0;
    for (key, number) in acknowledged.iter().flatten() {
        let kept = facts.get(key).and_then(Value::as_u64).unwrap_or_default();
        assert!(kept >= *number, "{key} is {kept}; {number} was acknowledged");
        puts += number % 1_000_000;
    }
    assert!(puts > 100, "{puts} puts only");
    running.stop();
}

/// Eight in flight, each key's numbers growing.
fn write_until_killed(
    client: &mut Client,
    writer: usize,
    round: u64,
    acknowledged: &mut BTreeMap<String, u64>,
) -> std::io::Result<()> {
    let key = |number: u64| format!("approvals.w{writer}-{}", number % 20);
    let send = |client: &mut Client, number: u64| {
        let data = json!({ "method": "put", "params": { "key": key(number), "value": round * 1_000_000 + number } });
        client.stream.write_all(format!("event: put\nid: {number}\ndata: {data}\n\n").as_bytes())
    };
    (1..=8).try_for_each(|number| send(client, number))?;
    for next in 9.. {
        let mut line = String::new();
        let mut done = None;
        while line != "\n" {
            line.clear();
            if client.reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            assert!(!line.starts_with("event: error"));
            done = line.strip_prefix("id: ").and_then(|id| id.trim().parse::<u64>().ok()).or(done);
        }
        if let Some(done) = done {
            acknowledged.insert(key(done), round * 1_000_000 + done);
        }
        send(client, next)?;
    }
    Ok(())
}
