//! Keys of a node that is written to.

use std::{
    thread,
    time::{Duration, Instant},
};

use weir_facts::{FactKey, JsonText, Node, Operation, Settings, Work, WriteFact, protocol::Ack};

use crate::serve_support::node_config;

const WRITERS: usize = 4;
const WRITES: usize = 400;
const ROTATIONS: usize = 3;

fn key(writer: usize, number: usize) -> FactKey {
    FactKey::new(&format!("approvals.{writer}.{}", number % 100)).unwrap()
}

fn write(node: &Node, writer: usize, number: usize) {
    let operation = Operation::Put { json: JsonText::new(format!("[{writer},{number}]")).unwrap(), ttl_ms: None };
    let write = WriteFact { key: key(writer, number), operation, precondition: None };
    let (told, answer) = std::sync::mpsc::channel();
    node.submit(Work::All(vec![write]), Ack::Durable, Box::new(move |outcome| told.send(outcome.map(drop)).unwrap()));
    answer.recv().unwrap().unwrap();
}

fn check(node: &Node) {
    for writer in 0..WRITERS {
        for number in WRITES - 100..WRITES {
            let found = node.get(&key(writer, number)).unwrap().unwrap();
            assert_eq!(found.value, serde_json::json!([writer, number]));
        }
    }
}

#[test]
fn a_key_is_rotated_while_facts_are_written_and_all_of_them_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = node_config(folder.path());
    config.store = Settings { key_file: Some(folder.path().join("key")), ..config.store };
    let node = Node::open(config.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let node = &node;
            scope.spawn(move || (0..WRITES).for_each(|number| write(node, writer, number)));
        }
        for _ in 0..ROTATIONS {
            runtime.block_on(node.rotate_key()).unwrap();
            assert!(node.data_keys() > 1);
            thread::sleep(Duration::from_millis(150));
        }
    });
    let begun = Instant::now();
    while node.data_keys() != 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} keys are left", node.data_keys());
        thread::sleep(Duration::from_millis(20));
    }
    check(&node);
    node.stop().unwrap();
    drop(node);
    let node = Node::open(config).unwrap();
    check(&node);
    assert_eq!(node.data_keys(), 1);
    node.stop().unwrap();
}
