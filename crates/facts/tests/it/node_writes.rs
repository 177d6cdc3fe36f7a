//! A running node: what it acknowledges, refuses and keeps.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use weir_facts::{
    FactKey, Hlc, JsonText, Node, NodeConfig, NodeError, Operation, Pattern, Precondition, Refused, Work, WriteFact,
    protocol::Ack,
};

use crate::{serve_support::node_config, store_support::key};

fn put(name: &str, json: &str) -> WriteFact {
    WriteFact {
        key: key(name),
        operation: Operation::Put { json: JsonText::new(json).unwrap(), ttl_ms: None },
        precondition: None,
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn value(node: &Node, name: &str) -> Option<String> {
    node.get(&key(name)).unwrap().map(|found| found.value.to_string())
}

#[test]
fn what_was_acknowledged_is_there_after_a_clean_stop_and_the_name_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cursor = |node: &Node, json: &str| {
        let work = Work::All(vec![put("approvals.a", json)]);
        block(node.write(work, Ack::Durable)).unwrap().seen.unwrap().cursor.applied.clone()
    };
    let node = Node::open(node_config(folder.path())).unwrap();
    let first = cursor(&node, "1");
    node.stop().unwrap();
    assert!(matches!(block(node.write(Work::All(vec![put("a.b", "1")]), Ack::Durable)), Err(NodeError::Stopped)));
    drop(node);
    let node = Node::open(node_config(folder.path())).unwrap();
    assert_eq!(value(&node, "approvals.a").as_deref(), Some("1"));
    let second = cursor(&node, "2");
    assert!(second.covers_all(&first), "a clean stop keeps the origin: {first:?} {second:?}");
    // The last handle stops it.
    drop(node);
    let opened = Instant::now();
    loop {
        match Node::open(node_config(folder.path())) {
            Ok(node) => return assert_eq!(value(&node, "approvals.a").as_deref(), Some("2")),
            Err(error) => assert!(opened.elapsed() < Duration::from_secs(10), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn entries_of_a_batch_fail_alone_and_those_of_a_transaction_together() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(node_config(folder.path())).unwrap();
    let expecting = |mut write: WriteFact| {
        write.precondition = Some(Precondition::Version(Hlc::from_u64(77).unwrap()));
        write
    };
    let writes = vec![put("approvals.a", "1"), expecting(put("approvals.b", "2")), put("approvals.c", "3")];
    let refused = block(node.write(Work::All(writes.clone()), Ack::Durable)).unwrap_err();
    assert!(matches!(refused, NodeError::Refused(Refused::Conflict { .. })), "{refused}");
    assert_eq!(value(&node, "approvals.a"), None);
    let done = block(node.write(Work::Each(writes), Ack::Applied)).unwrap();
    assert_eq!(done.outcomes.each().map(|outcome| outcome.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(value(&node, "approvals.c").as_deref(), Some("3"));
    let increment = |by| WriteFact {
        key: key("rate_limits.alice"),
        operation: Operation::Increment { by, ttl_ms: None },
        precondition: None,
    };
    assert_eq!(block(node.write(Work::Count(increment(5)), Ack::Durable)).unwrap().count, Some(5));
    assert_eq!(block(node.write(Work::Count(increment(-2)), Ack::Durable)).unwrap().count, Some(3));
    let facts = node.list(&Pattern::new("approvals.*").unwrap(), None, 10, usize::MAX).unwrap();
    assert_eq!(facts.facts.len(), 2);
}

#[test]
fn peers_that_are_not_there_are_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(node_config(folder.path())).unwrap();
    let refused = block(node.write(Work::All(vec![put("a.b", "1")]), Ack::Replicated(2))).unwrap_err();
    assert!(matches!(refused, NodeError::NoPeers { wanted: 2, members: 0 }), "{refused}");
    assert_eq!(value(&node, "a.b"), None);
}

/// The queue holds four, and a writer that is busy with large work takes its time.
#[test]
fn a_full_queue_refuses_and_what_it_took_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig { queue_requests: 4, ..node_config(folder.path()) };
    let node = Node::open(config).unwrap();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (told, answered) = mpsc::channel();
    let batch: Vec<WriteFact> = (0..2_000).map(|number| put(&format!("busy.k{number}"), "1")).collect();
    for number in 0..400 {
        let work = if number % 50 == 0 {
            Work::All(batch.clone())
        } else {
            Work::All(vec![put(&format!("a.k{number}"), "1")])
        };
        let (outcomes, told) = (Arc::clone(&outcomes), told.clone());
        node.submit(
            work,
            Ack::Durable,
            Box::new(move |outcome| {
                outcomes.lock().push((number, outcome.map(|_| ())));
                told.send(()).unwrap();
            }),
        );
    }
    for _ in 0..400 {
        answered.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    let outcomes = outcomes.lock();
    let refused = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Err(NodeError::Overloaded))).count();
    assert!(refused > 0 && refused < 400, "{refused}");
    for (number, outcome) in outcomes.iter().filter(|(number, _)| number % 50 != 0) {
        let is_there = value(&node, &format!("a.k{number}")).is_some();
        assert_eq!(is_there, outcome.is_ok(), "{number}: {outcome:?}");
    }
}

/// A log that cannot be synced: a folder is where its next file would be.
/// What waits together is written together, and yet each request is answered for itself.
#[test]
fn requests_in_a_rush_succeed_and_fail_each_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(node_config(folder.path())).unwrap();
    let (told, outcomes) = mpsc::channel();
    for number in 0..1_000_u32 {
        let mut first = put(&format!("a.k{}", number % 50), &number.to_string());
        first.precondition = Some(Precondition::Absent);
        // One request of several has two keys, and its second only when its first is new.
        let second = put(&format!("a.of{}", number % 50), &number.to_string());
        let writes = if number % 3 == 0 { vec![first, second] } else { vec![first] };
        let told = told.clone();
        let done = Box::new(move |outcome: Result<_, NodeError>| told.send((number, outcome)).unwrap());
        node.submit(Work::All(writes), Ack::Durable, done);
    }
    let mut refused = 0;
    for (number, outcome) in outcomes.iter().take(1_000) {
        match outcome {
            Ok(_) => assert!(number < 50, "{number} found its key absent"),
            Err(NodeError::Refused(Refused::Conflict { .. })) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 950);
    for number in 0..50_u32 {
        assert_eq!(value(&node, &format!("a.k{number}")), Some(number.to_string()));
        let second = (number % 3 == 0).then(|| number.to_string());
        assert_eq!(value(&node, &format!("a.of{number}")), second);
    }
    node.stop().unwrap();
}

#[test]
fn after_a_failed_sync_every_write_is_refused_and_health_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(node_config(folder.path())).unwrap();
    block(node.write(Work::All(vec![put("a.before", "1")]), Ack::Durable)).unwrap();
    assert_eq!(node.health().failure, None);
    for number in 0..32 {
        let _ = std::fs::create_dir(folder.path().join(format!("facts/engine/{number}.jnl")));
    }
    let failed = block(node.write(Work::All(vec![put("a.b", "1")]), Ack::Durable)).unwrap_err();
    assert!(matches!(failed, NodeError::Failed { .. }), "{failed}");
    for ack in [Ack::Durable, Ack::Applied] {
        let failed = block(node.write(Work::All(vec![put("a.c", "1")]), ack)).unwrap_err();
        assert!(matches!(failed, NodeError::Failed { .. }), "{failed}");
    }
    assert!(node.health().failure.is_some());
    assert_eq!(value(&node, "a.before").as_deref(), Some("1"), "readers are still answered");
    assert!(node.stop().is_err());
}

#[test]
fn facts_end_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(node_config(folder.path())).unwrap();
    let short = Operation::Put { json: JsonText::new("1").unwrap(), ttl_ms: std::num::NonZeroU64::new(150) };
    let write = WriteFact { key: FactKey::new("a.short").unwrap(), operation: short, precondition: None };
    block(node.write(Work::All(vec![write]), Ack::Durable)).unwrap();
    assert_eq!(value(&node, "a.short").as_deref(), Some("1"));
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(value(&node, "a.short"), None);
}
