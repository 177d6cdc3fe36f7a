//! Plans end: within their memory, their deadline, their cancellation.

use std::time::{Duration, Instant};

use weir_engine::Control;
use weir_model::Code;

use crate::world::{World, text};

fn rows(world: &World, count: i64) {
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY, n bigint, word text)");
    world.setup(&format!(
        "INSERT INTO t SELECT generate_series, generate_series % 1000, 'word number ' || generate_series FROM generate_series(1, {count})"
    ));
}

/// A cartesian product that would run for hours.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b, generate_series(1, 1000000) c WHERE a.a + b.b = c.c * 3";

#[test]
fn deadlines_stop_what_runs() {
    let world = World::new();
    rows(&world, 20_000);
    for sql in [
        ENDLESS,
        "SELECT count(*) FROM t a, t b, t c WHERE a.n < b.n + c.n",
        "SELECT a.id, b.id, c.id FROM t a, t b, t c",
    ] {
        let planned = world.plan(sql, &[]).unwrap();
        let started = Instant::now();
        let control = Control { deadline: Some(started + Duration::from_millis(300)), ..Control::default() };
        let refusal = world.execute_within(&planned, &[], control).unwrap_err();
        assert_eq!(refusal.code(), Code::StatementTimeout, "{sql}");
        assert!(started.elapsed() < Duration::from_millis(1500), "{sql}: {:?}", started.elapsed());
    }
}

#[test]
fn cancellation_stops_what_runs() {
    let world = World::new();
    let planned = world.plan(ENDLESS, &[]).unwrap();
    let control = Control::default();
    let cancel = control.cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel();
        Instant::now()
    });
    let refusal = world.execute_within(&planned, &[], control).unwrap_err();
    let ended = Instant::now();
    assert_eq!(refusal.code(), Code::QueryCanceled);
    assert!(ended.duration_since(canceller.join().unwrap()) < Duration::from_millis(200));
}

/// Joins that compare every pair: one without a batch for hours, and one with nothing but batches.
const HOGS: [&str; 2] =
    ["SELECT count(*) FROM t a JOIN t b ON a.n + b.n < -1", "SELECT max(a.n + b.n + c.n) FROM t a, t b, t c"];

#[test]
fn joins_of_every_pair_keep_no_other_statement_from_running_and_leave_when_stopped() {
    let world = World::new();
    rows(&world, 150_000);
    // More of them than the engine has threads.
    let controls: Vec<Control> = (0..6).map(|_| Control::default()).collect();
    std::thread::scope(|scope| {
        let hogs: Vec<_> = controls
            .iter()
            .zip(HOGS.iter().cycle())
            .map(|(control, sql)| {
                let planned = world.plan(sql, &[]).unwrap();
                let world = &world;
                scope.spawn(move || world.execute_within(&planned, &[], control.clone()).unwrap_err().code())
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..3 {
            world.check("SELECT count(*) FROM t a JOIN t b ON a.id = b.id WHERE a.n < 2", &["300"]);
        }
        controls.iter().for_each(|control| control.cancel.cancel());
        hogs.into_iter().for_each(|hog| assert_eq!(hog.join().unwrap(), Code::QueryCanceled));
    });
    let cancelled = Instant::now();
    while world.engine.memory_used() > 0 && cancelled.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.engine.memory_used(), 0, "what was stopped still runs");
}

#[test]
fn memory_is_given_back_and_its_limit_is_an_error() {
    let world = World::with_memory(96 << 20);
    rows(&world, 300_000);
    let refusal = world.refused("SELECT length(string_agg(repeat(word, 50), ',')) FROM t", Code::MemoryExceeded);
    assert!(refusal.hint_line().is_some());
    world.refused("SELECT cardinality(array_agg(repeat(word, 50))) FROM t", Code::MemoryExceeded);
    world.refused("SELECT n, array_agg(repeat(word, 50)) FROM t GROUP BY n", Code::MemoryExceeded);
    // A sort spills.
    world.check("SELECT count(*) FROM (SELECT repeat(word, 40) AS w FROM t ORDER BY w LIMIT 290000) s", &["290000"]);
    // What was aborted gives back as its tasks notice.
    let started = Instant::now();
    while world.engine.memory_used() > 0 && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.engine.memory_used(), 0);
}

/// A hash join's table does not fit. Sorted, both sides do, mostly; what cannot be done ends, and says so.
#[test]
fn joins_that_outgrow_their_memory_are_tried_otherwise() {
    let world = World::with_memory(12 << 20);
    rows(&world, 300_000);
    let planned = world.plan("SELECT count(*), sum(a.n + b.n) FROM t a JOIN t b ON a.id = b.id", &[]).unwrap();
    match world.execute(&planned, &[]) {
        Ok(batches) => assert_eq!(text(&planned, &batches), ["300000|299700000"]),
        Err(refusal) => assert_eq!(refusal.code(), Code::MemoryExceeded),
    }
    world.check("SELECT count(*) FROM t WHERE id < 10", &["9"]);
}

#[test]
fn functions_cannot_make_more_than_their_bound() {
    let world = World::new();
    for sql in ["SELECT length(repeat('x', 1000000000))", "SELECT length(lpad('x', 2000000000))"] {
        world.refused(sql, Code::ProgramLimitExceeded);
    }
    world
        .refused("SELECT length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)))", Code::ProgramLimitExceeded);
    let mut doubled = "SELECT repeat('x', 1000) AS a".to_owned();
    for _ in 0..20 {
        doubled = format!("SELECT a || a AS a FROM ({doubled}) s");
    }
    world.refused(&format!("SELECT length(a) FROM ({doubled}) s"), Code::ProgramLimitExceeded);
    world.check("SELECT 'a' || 1 || NULL, 'a' || 1 || true", &["NULL|a1true"]);
    world.check("SELECT length(repeat('xy', 10))", &["20"]);
    world.check("SELECT count(*) FROM generate_series(1, 5000000)", &["5000000"]);
}

#[test]
fn larger_tables_run_on_all_threads() {
    let world = World::new();
    rows(&world, 250_000);
    world.check("SELECT count(*), sum(n), min(id), max(id) FROM t", &["250000|124875000|1|250000"]);
    world.check("SELECT count(*) FROM t WHERE id BETWEEN 1000 AND 1999 AND n >= 500", &["500"]);
    world.check(
        "SELECT a.n, count(*) FROM t a JOIN t b ON a.id = b.id WHERE b.n < 2 GROUP BY a.n ORDER BY 1",
        &["0|250", "1|250"],
    );
    world.changes("DELETE FROM t WHERE id % 2 = 0 OR id BETWEEN 100000 AND 200000", 175_000);
    world.check("SELECT count(*) FROM t WHERE n >= 0", &["75000"]);
    world.check("SELECT count(*) FROM t WHERE id >= 200000 AND word LIKE 'word%'", &["25000"]);
    world.check("SELECT id FROM t WHERE n = 7 AND id > 249000", &["249007"]);
}
