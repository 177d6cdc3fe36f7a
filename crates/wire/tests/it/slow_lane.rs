//! What takes long by its size is done beside the lanes, and keeps nobody on them waiting.

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use weir_wire::ServerOptions;

use crate::{
    client::{Client, bind, copy_data, copy_done, execute, parse, query, sync},
    fake::{Running, options, start},
};

/// One thread for each, so that whoever keeps one keeps the lane.
struct Lanes(Vec<Runtime>);

impl Drop for Lanes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Runtime::shutdown_background);
    }
}

async fn running() -> (Lanes, Running) {
    let runtime = |name: &str| Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
    let (lane, slow) = (runtime("lane").unwrap(), runtime("slow").unwrap());
    let options =
        ServerOptions { lanes: vec![lane.handle().clone()], slow_lane: Some(slow.handle().clone()), ..options() };
    let running = start(options).await;
    (Lanes(vec![lane, slow]), running)
}

fn places(running: &Running) -> Vec<String> {
    let mut events = running.fake.events.lock();
    let places = events.iter().filter(|event| event.contains(" on ")).cloned().collect();
    events.clear();
    places
}

#[tokio::test]
async fn large_messages_are_handled_on_the_slow_lane() {
    let (_lanes, running) = running().await;
    let mut client = Client::open(running.address).await;
    let padded = |text: &str, bytes: usize| format!("{text}{}", " ".repeat(bytes));
    // A simple query's text is parsed and run there.
    assert_eq!(client.ask(&[query(&padded("insert", 20_000))]).await, ["C INSERT 0 1", "Z Idle"]);
    assert_eq!(places(&running), ["parse on slow"]);
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);
    // So is a prepared one's, and what it runs afterwards, as long as it is held.
    let answers = client.ask(&[parse("large", &padded("insert", 100_000), &[]), sync()]).await;
    assert_eq!(answers, ["ParseComplete", "Z Idle"]);
    assert_eq!(places(&running), ["parse on slow"]);
    let value = vec![b'x'; 50_000];
    let echo = [parse("", "echo text", &[]), bind("", "", &[Some(&value)], &[], &[]), execute("", 0), sync()];
    let answers = client.ask(&echo).await;
    assert_eq!(answers[2], format!("D {}", "x".repeat(50_000)));
    assert_eq!(places(&running), ["perform on slow"]);
}

#[tokio::test]
async fn blocks_of_copy_data_are_taken_in_on_the_slow_lane() {
    let (_lanes, running) = running().await;
    let mut client = Client::open(running.address).await;
    let rows: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    client.send(&[query("copy from integer text"), copy_data(&rows), copy_data("1\n"), copy_done()]).await;
    assert_eq!(client.until_ready().await, ["G 1", "C COPY 20001", "Z Idle"]);
    assert_eq!(places(&running), ["push on slow"]);
}

#[tokio::test]
async fn nobody_on_the_lane_waits_for_the_slow_one() {
    let (_lanes, running) = running().await;
    let mut large = Client::open(running.address).await;
    let mut small = Client::open(running.address).await;
    // Keeps its thread.
    large.send(&[query(&format!("block 2000{}", " ".repeat(20_000)))]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    for _ in 0..10 {
        assert_eq!(small.ask(&[query("select 1")]).await.len(), 4);
    }
    assert!(started.elapsed() < Duration::from_millis(1000), "{:?}", started.elapsed());
    assert_eq!(large.until_ready().await, ["C BLOCK", "Z Idle"]);
}

#[tokio::test]
async fn large_rows_arrive_whole_and_in_order() {
    let (_lanes, running) = running().await;
    let mut client = Client::open(running.address).await;
    let value = "é".repeat(3_000_000);
    for results in [0, 1] {
        let echo = [
            parse("", "echo text|integer|text", &[]),
            bind("", "", &[Some(value.as_bytes()), Some(b"7"), Some(b"end")], &[], &[results, 0, 0]),
            execute("", 0),
            sync(),
        ];
        let answers = client.ask(&echo).await;
        assert_eq!(answers[2], format!("D {value}|7|end"));
        assert_eq!(answers.len(), 5);
    }
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);
}
