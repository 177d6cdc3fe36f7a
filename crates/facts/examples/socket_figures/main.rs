//! Figures of a node behind its sockets on this machine.
//!
//! ```text
//! socket_figures serve <folder>                            a sealed node in the folder; serves until its input ends
//! socket_figures load <socket> <token> <what> [clients] [seconds] [keys]
//! socket_figures all <folder>                              serves in another process and tries everything
//! ```
//! `load` works against any server of the data plane, with a token that may write `approvals.*`, and against
//! `redis:<socket>` and `nats:<address>`. It does `what` from one thread and prints one line of JSON: `put` (each client
//! waits for its durable answer), `pipelined` (each has 256 puts on their way), `batched` (requests of 1,000 puts, four on
//! their way), `get`, `evaluate` and `evaluate-pipelined` (against the evaluation plane, with an app's token: the policy
//! `prod.deployment.approval` about one of the keys), `fill` (each key once, in batches), or `subscribe` (64 subscriptions to a connection, held while
//! its input is open).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a program to be watched")]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_facts::{
    Authority, Config, Grants, Holder, NamespaceRule, Node, NodeConfig, NodeId, Pattern, Rights, ServeConfig, Server,
    Settings, Sockets, Tokens, Unwitnessed, protocol::Plane,
};

use crate::peer::{Client, Peer};

mod peer;
mod unix;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKEN: &str = "ipe_service_bench_0123456789abcdef";
const BATCH: u64 = 1_000;
/// Requests of a pipeline on their way.
const DEPTH: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let number = |at: usize, otherwise: u64| arguments.get(at).map_or(otherwise, |text| text.parse().unwrap());
    match argument(0) {
        "serve" => serve(Path::new(argument(1))),
        "load" => {
            let load = Load {
                peer: Peer::of(argument(1), argument(2)),
                clients: number(4, 1),
                time: Duration::from_secs(number(5, 3)),
                keys: number(6, 100_000),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            println!("{}", runtime.block_on(load.run(argument(3))));
        }
        "all" => all(Path::new(argument(1))),
        other => panic!("serve, load or all, not {other:?}"),
    }
}

fn serve(folder: &Path) {
    let store = Settings { key_file: Some(folder.join("key")), ..Settings::new(folder.join("facts")) };
    let node = Node::open(NodeConfig::new(store, Config::new(NodeId::new("n1").unwrap()))).unwrap();
    let mut tokens = Tokens::default();
    tokens.set(Holder::service("bench").unwrap(), TOKEN).unwrap();
    let names = || std::iter::once("bench".to_owned()).collect();
    let pattern = Pattern::new("approvals.*").unwrap();
    let rule = NamespaceRule { pattern, writers: names(), readers: names() };
    let rights = Rights { tokens, grants: Grants { rules: vec![rule], ..Grants::default() } };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let authority = Arc::new(Authority::new(rights));
    let server = Server::start(node.clone(), ServeConfig::default(), authority, Arc::new(Unwitnessed), None).unwrap();
    let here = runtime.enter();
    server.listen(&Sockets::new(folder.join("sockets"))).unwrap();
    println!("{}", Sockets::new(folder.join("sockets")).path(Plane::Data).display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(here);
    runtime.block_on(server.stop());
    node.stop().unwrap();
}

/// Pseudo-random, so that runs are alike.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Load {
    peer: Peer,
    clients: u64,
    time: Duration,
    keys: u64,
}

/// What came of it: requests a second, and how long each took.
#[derive(Default)]
struct Figures {
    facts: u64,
    times: Vec<Duration>,
}

impl Figures {
    fn line(mut self, took: Duration) -> String {
        self.times.sort_unstable();
        let at = |part: f64| match self.times.len() {
            0 => 0.0,
            count => self.times[((count - 1) as f64 * part) as usize].as_nanos() as f64 / 1_000.0,
        };
        format!(
            "{{\"rate\":{:.0},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1}}}",
            self.facts as f64 / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999)
        )
    }
}

impl Load {
    async fn run(self, what: &str) -> String {
        let load = Arc::new(self);
        if what == "subscribe" {
            return load.subscribe().await;
        }
        let (began, mut tasks) = (Instant::now(), Vec::new());
        let tasks_count = if what == "fill" { 1 } else { load.clients };
        for client in 0..tasks_count {
            let (load, what) = (Arc::clone(&load), what.to_owned());
            let local = async move {
                let dice = Dice(client + 1);
                match what.as_str() {
                    "put" => {
                        load.one_by_one(dice, |load, inbox, out, id, key| load.peer.put(inbox, out, id, key)).await
                    }
                    "get" => load.one_by_one(dice, |load, _, out, id, key| load.peer.get(out, id, key)).await,
                    "evaluate" => load.one_by_one(dice, |_, _, out, id, key| Peer::evaluate(out, id, key)).await,
                    "pipelined" => {
                        load.pipelined(dice, |load, inbox, out, id, key| load.peer.put(inbox, out, id, key)).await
                    }
                    "evaluate-pipelined" => {
                        load.pipelined(dice, |_, _, out, id, key| Peer::evaluate(out, id, key)).await
                    }
                    "batched" => load.batched(dice).await,
                    "fill" => load.fill().await,
                    other => panic!("no load {other:?}"),
                }
            };
            tasks.push(tokio::spawn(local));
        }
        let mut all = Figures::default();
        for task in tasks {
            let Figures { facts, times } = task.await.unwrap();
            all.facts += facts;
            all.times.extend(times);
        }
        all.line(began.elapsed())
    }

    async fn one_by_one(&self, mut dice: Dice, request: impl Fn(&Load, u64, &mut String, u64, u64)) -> Figures {
        let mut client = Client::connect(&self.peer).await;
        let (began, mut figures, mut text) = (Instant::now(), Figures::default(), String::new());
        while began.elapsed() < self.time {
            text.clear();
            request(self, client.inbox, &mut text, figures.facts, dice.below(self.keys));
            let asked = Instant::now();
            client.send(&text).await;
            while client.answers().await == 0 {}
            figures.times.push(asked.elapsed());
            figures.facts += 1;
        }
        figures
    }

    async fn pipelined(&self, mut dice: Dice, request: impl Fn(&Load, u64, &mut String, u64, u64)) -> Figures {
        let mut client = Client::connect(&self.peer).await;
        let (began, mut figures, mut number) = (Instant::now(), Figures::default(), 0);
        let (mut asked, mut text): (VecDeque<Instant>, _) = (VecDeque::new(), String::new());
        loop {
            let is_over = began.elapsed() >= self.time;
            if is_over && asked.is_empty() {
                return figures;
            }
            text.clear();
            while !is_over && asked.len() < DEPTH {
                request(self, client.inbox, &mut text, number, dice.below(self.keys));
                number += 1;
                asked.push_back(Instant::now());
            }
            client.send(&text).await;
            for _ in 0..client.answers().await {
                figures.times.extend(asked.pop_front().map(|asked| asked.elapsed()));
                figures.facts += 1;
            }
        }
    }

    /// The requests are made before, as the machine is the server's.
    async fn batched(&self, mut dice: Dice) -> Figures {
        let requests: Vec<String> = (0..100)
            .map(|number| {
                let (from, mut text) = (dice.below(self.keys), String::new());
                // Each key once.
                self.peer.batch(&mut text, number, (0..BATCH).map(|place| (from + place * 7_919) % self.keys));
                text
            })
            .collect();
        let mut client = Client::connect(&self.peer).await;
        let (began, mut figures, mut number) = (Instant::now(), Figures::default(), 0);
        let mut asked: VecDeque<Instant> = VecDeque::new();
        loop {
            let is_over = began.elapsed() >= self.time;
            if is_over && asked.is_empty() {
                return figures;
            }
            while !is_over && asked.len() < 4 {
                client.send(&requests[number % requests.len()]).await;
                number += 1;
                asked.push_back(Instant::now());
            }
            for _ in 0..client.answers().await {
                figures.times.extend(asked.pop_front().map(|asked| asked.elapsed()));
                figures.facts += BATCH;
            }
        }
    }

    async fn fill(&self) -> Figures {
        let mut client = Client::connect(&self.peer).await;
        let mut figures = Figures::default();
        for from in (0..self.keys).step_by(BATCH as usize) {
            let keys = from..(from + BATCH).min(self.keys);
            figures.facts += keys.end - keys.start;
            let mut text = String::new();
            self.peer.batch(&mut text, from, keys);
            let asked = Instant::now();
            client.send(&text).await;
            while client.answers().await == 0 {}
            figures.times.push(asked.elapsed());
        }
        figures
    }

    async fn subscribe(&self) -> String {
        const TO_A_CONNECTION: u64 = 64;
        let (began, mut clients) = (Instant::now(), Vec::new());
        for from in (0..self.clients).step_by(TO_A_CONNECTION as usize) {
            let mut client = Client::connect(&self.peer).await;
            let count = TO_A_CONNECTION.min(self.clients - from);
            for number in from..from + count {
                let mut text = String::new();
                Peer::subscribe(&mut text, number);
                client.send(&text).await;
            }
            let mut answered = 0;
            while answered < count {
                answered += client.answers().await;
            }
            clients.push(client);
        }
        println!("{}", Figures { facts: self.clients, times: Vec::new() }.line(began.elapsed()));
        std::io::stdout().flush().unwrap();
        // What they are told is read, as it would be.
        for mut client in clients {
            tokio::spawn(async move {
                loop {
                    client.answers().await;
                }
            });
        }
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        String::new()
    }
}

fn this() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn start(command: &mut Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn stop(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn say(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<44} {figure}");
}

fn resident(child: &Child) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    format!("{:.1} MB, of it {:.1} MB of the program's file", of("VmRSS"), of("RssFile"))
}

fn all(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let (server, socket) = start(this().arg("serve").arg(folder));
    say("resident at the start", resident(&server));
    let load = |what: &str, clients: u64, seconds: u64| {
        let done = this()
            .args(["load", &socket, TOKEN, what, &clients.to_string(), &seconds.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(done.status.success());
        say(&format!("{what}, {clients} clients"), String::from_utf8(done.stdout).unwrap().trim());
    };
    load("fill", 1, 0);
    say("resident after filling", resident(&server));
    std::thread::sleep(Duration::from_secs(4));
    say("resident 4 s later", resident(&server));
    load("get", 1, 3);
    load("get", 64, 3);
    load("put", 1, 3);
    load("put", 64, 3);
    load("pipelined", 1, 3);
    load("batched", 1, 3);
    load("batched", 2, 3);
    std::thread::sleep(Duration::from_secs(4));
    say("resident after all that", resident(&server));
    let (subscribers, line) = start(this().args(["load", &socket, TOKEN, "subscribe", "10000"]));
    say("10,000 subscriptions", line);
    say("resident with them", resident(&server));
    load("put", 64, 3);
    stop(subscribers);
    stop(server);
}
