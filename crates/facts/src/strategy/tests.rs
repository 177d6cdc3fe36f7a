#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::{
    prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as Generator,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    causality::{Dot, NodeId, Origin},
    clock::{Clock, Hlc, Millis},
    head::{Before, Head},
    key::FactKey,
    state::State,
};

const START: Millis = Millis(1_800_000_000_000);

/// One node that holds one key.
#[derive(Debug, Clone)]
struct Node {
    origin: Origin,
    seq: u64,
    clock: Clock,
    state: State,
    strategy: Strategy,
}

impl Node {
    fn new(name: &str, strategy: &Strategy) -> Node {
        let origin = Origin { node: NodeId::new(name).unwrap(), incarnation: 1 };
        let clock = Clock::new(Hlc::default(), u64::MAX);
        Node { origin, seq: 0, clock, state: State::default(), strategy: strategy.clone() }
    }

    fn stamp(&mut self, now: Millis, expires_at: Option<Millis>) -> Stamp {
        self.seq += 1;
        let hlc = self.clock.tick(now, self.state.hlc());
        Stamp { dot: Dot { origin: self.origin.clone(), seq: self.seq }, hlc, now, expires_at }
    }

    fn put(&mut self, value: &Value) {
        let stamp = self.stamp(START, None);
        self.state = self.strategy.put(&self.state, value.to_string().into(), &stamp).unwrap();
    }

    fn delete(&mut self) {
        let stamp = self.stamp(START, None);
        self.state = self.strategy.delete(&self.state, &stamp);
    }

    fn add(&mut self, by: i64) {
        let stamp = self.stamp(START, None);
        self.state = self.strategy.add(&self.state, by, &stamp).unwrap();
    }

    fn hear(&mut self, other: &Node) {
        self.state = self.state.join(&other.state).0;
    }

    fn value(&self) -> Option<Value> {
        self.strategy.view(&self.state, START).map(|found| found.value.to_value())
    }
}

fn two(strategy: &Strategy) -> (Node, Node) {
    (Node::new("a", strategy), Node::new("b", strategy))
}

/// Both hear of each other and see the same.
fn healed(mut a: Node, mut b: Node) -> Option<Value> {
    let before = a.clone();
    a.hear(&b);
    b.hear(&before);
    assert_eq!(a.state, b.state);
    assert_eq!(a.state.digest("k.x", START), b.state.digest("k.x", START));
    assert_eq!(a.value(), b.value());
    a.value()
}

fn people() -> Strategy {
    Strategy::OrSet { path: ["approvers".to_owned()].into(), id: Some("user".into()) }
}

fn approvers(names: &[&str]) -> Value {
    json!({"approvers": names.iter().map(|name| json!({"user": name})).collect::<Vec<_>>()})
}

#[test]
fn of_concurrent_values_the_later_counts() {
    let (mut a, mut b) = two(&Strategy::Lww);
    a.put(&json!(1));
    b.put(&json!(2));
    b.put(&json!(3));
    assert_eq!(healed(a, b), Some(json!(3)));
}

#[test]
fn a_tie_falls_the_same_way_everywhere() {
    let (mut a, mut b) = two(&Strategy::Lww);
    a.put(&json!("a"));
    b.put(&json!("b"));
    assert_eq!(healed(a.clone(), b.clone()), healed(b, a));
}

#[test]
fn a_deletion_wins_over_a_later_value_that_did_not_know_of_it() {
    let (mut a, mut b) = two(&Strategy::DenyWins);
    a.put(&json!(1));
    b.hear(&a);
    a.delete();
    b.put(&json!(2));
    b.put(&json!(3));
    assert_eq!(healed(a.clone(), b.clone()), None);
    a.hear(&b);
    a.put(&json!(4));
    assert_eq!(healed(a, b), Some(json!(4)));
}

#[test]
fn several_values_stand_until_somebody_who_saw_them_writes() {
    let (mut a, mut b) = two(&Strategy::MultiValue);
    a.put(&json!(1));
    b.put(&json!(2));
    assert_eq!(healed(a.clone(), b.clone()), Some(json!([1, 2])));
    a.hear(&b);
    a.put(&json!(3));
    assert_eq!(healed(a, b), Some(json!(3)));
}

#[test]
fn approvals_from_both_sides_are_kept_and_a_revocation_too() {
    let (mut a, mut b) = two(&people());
    a.put(&approvers(&["alice", "bob"]));
    b.hear(&a);
    a.put(&approvers(&["alice", "bob", "carol"]));
    b.put(&approvers(&["alice"]));
    assert_eq!(healed(a, b), Some(approvers(&["alice", "carol"])));
}

#[test]
fn an_element_added_again_survives_a_removal_that_did_not_see_it() {
    let (mut a, mut b) = two(&people());
    a.put(&approvers(&["alice"]));
    b.hear(&a);
    a.put(&approvers(&[]));
    a.put(&approvers(&["alice"]));
    b.put(&approvers(&[]));
    assert_eq!(healed(a, b), Some(approvers(&["alice"])));
}

#[test]
fn a_set_wants_its_array() {
    let check = |value: Value, expected: &str| {
        let mut node = Node::new("a", &people());
        let stamp = node.stamp(START, None);
        let error = node.strategy.put(&node.state, value.to_string().into(), &stamp).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(json!(1), "needs an array at `approvers`");
    check(json!({"approvers": {}}), "needs an array at `approvers`");
    check(json!({"approvers": [{"name": "x"}]}), "whose elements have a member `user`");
}

#[test]
fn what_all_nodes_added_counts() {
    let (mut a, mut b) = two(&Strategy::Counter);
    a.add(5);
    b.add(7);
    a.hear(&b);
    a.add(-2);
    b.add(1);
    assert_eq!(healed(a.clone(), b.clone()), Some(json!(11)));
    a.hear(&b);
    a.delete();
    assert_eq!(healed(a.clone(), b.clone()), None);
    a.add(1);
    assert_eq!(healed(a, b), Some(json!(1)));
}

#[test]
fn a_counter_refuses_what_it_cannot_hold() {
    let (mut a, _) = two(&Strategy::Counter);
    a.add(i64::MAX);
    let stamp = a.stamp(START, None);
    assert_eq!(a.strategy.add(&a.state, 1, &stamp), Err(WriteError::CountOverflow));
    assert_eq!(a.strategy.put(&a.state, "1".into(), &stamp), Err(WriteError::IsCounter));
    assert_eq!(Strategy::Lww.add(&a.state, 1, &stamp), Err(WriteError::IsNoCounter));
}

#[test]
fn an_older_value_does_not_come_back_when_a_shorter_one_is_over() {
    let (mut a, _) = two(&Strategy::Lww);
    a.put(&json!("long"));
    let stamp = a.stamp(START, Some(START.plus(1_000)));
    let old = a.clone();
    a.state = a.strategy.put(&a.state, "\"short\"".into(), &stamp).unwrap();
    a.hear(&old);
    assert_eq!(a.value(), Some(json!("short")));
    assert_eq!(a.strategy.view(&a.state, START.plus(1_000)), None);
}

#[test]
fn a_number_used_twice_is_told_and_settled_the_same_way() {
    let (mut a, _) = two(&Strategy::Lww);
    let mut copy = a.clone();
    a.put(&json!(1));
    copy.put(&json!(2));
    let (one, told) = a.state.join(&copy.state);
    let (other, _) = copy.state.join(&a.state);
    assert_eq!(told.len(), 1);
    assert_eq!(one, other);
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Delete(usize),
    Add(usize, i8),
    Hear(usize, usize),
    /// Hears of a state as it was some steps ago.
    HearLate(usize, usize),
}

const NODES: usize = 4;

fn step() -> impl Generator<Value = Step> {
    prop_oneof![
        3 => (0..NODES, 0..8u8).prop_map(|(node, value)| Step::Put(node, value)),
        1 => (0..NODES).prop_map(Step::Delete),
        2 => (0..NODES, any::<i8>()).prop_map(|(node, by)| Step::Add(node, by)),
        3 => (0..NODES, 0..NODES).prop_map(|(to, from)| Step::Hear(to, from)),
        2 => (0..NODES, 0..1000usize).prop_map(|(to, at)| Step::HearLate(to, at)),
    ]
}

/// Runs the steps; returns the nodes and every state that was ever sent.
fn run(strategy: &Strategy, steps: &[Step]) -> (Vec<Node>, Vec<State>) {
    let mut nodes: Vec<Node> = (0..NODES).map(|node| Node::new(&format!("n{node}"), strategy)).collect();
    let mut states = vec![State::default()];
    for step in steps {
        let counts = *strategy == Strategy::Counter;
        let before: Vec<Hlc> = nodes.iter().map(|node| node.state.hlc()).collect();
        match *step {
            Step::Put(node, value) if !counts => {
                let members: Vec<u8> = (0..3).filter(|bit| value & (1 << bit) != 0).collect();
                let value =
                    if matches!(strategy, Strategy::OrSet { .. }) { json!({"set": members}) } else { json!(value) };
                nodes[node].put(&value);
            }
            Step::Add(node, by) if counts => nodes[node].add(by.into()),
            Step::Delete(node) => nodes[node].delete(),
            Step::Hear(to, from) => {
                let from = nodes[from].clone();
                nodes[to].hear(&from);
            }
            Step::HearLate(to, at) => {
                let late = states[at % states.len()].clone();
                nodes[to].state = nodes[to].state.join(&late).0;
            }
            Step::Put(..) | Step::Add(..) => continue,
        }
        assert!(nodes.iter().zip(before).all(|(node, before)| node.state.hlc() >= before), "a version went back");
        states.extend(nodes.iter().map(|node| node.state.clone()));
        states.dedup();
    }
    (nodes, states)
}

fn strategies() -> impl Generator<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Lww),
        Just(Strategy::DenyWins),
        Just(Strategy::MultiValue),
        Just(Strategy::OrSet { path: ["set".to_owned()].into(), id: None }),
        Just(Strategy::Counter),
    ]
}

proptest! {
    #[test]
    fn states_form_a_semilattice(
        strategy in strategies(),
        steps in prop::collection::vec(step(), 1..60),
        picks in prop::collection::vec((0..10_000usize, 0..10_000usize, 0..10_000usize), 20),
    ) {
        let (_, states) = run(&strategy, &steps);
        for (a, b, c) in picks {
            let [a, b, c] = [a, b, c].map(|pick| &states[pick % states.len()]);
            let join = |a: &State, b: &State| {
                let (joined, reused) = a.join(b);
                assert!(reused.is_empty());
                joined
            };
            prop_assert_eq!(join(a, b), join(b, a));
            prop_assert_eq!(join(&join(a, b), c), join(a, &join(b, c)));
            prop_assert_eq!(&join(a, a), a);
            let joined = join(a, b);
            prop_assert_eq!(&join(&joined, a), &joined);
            prop_assert_eq!(strategy.view(&joined, START), strategy.view(&join(b, a), START));
        }
    }

    #[test]
    fn since_when_a_value_shows_is_told_as_a_reader_sees_it(
        strategy in strategies(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (nodes, _) = run(&strategy, &steps);
        for node in &nodes {
            for now in [START, START.plus(1_000_000_000)] {
                let seen = strategy.view(&node.state, now).map(|found| found.created_at);
                prop_assert_eq!(strategy.shown_since(&node.state, now), seen);
            }
        }
    }

    #[test]
    fn no_write_is_forgotten(strategy in strategies(), steps in prop::collection::vec(step(), 1..60)) {
        let (nodes, _) = run(&strategy, &steps);
        let all = nodes.iter().fold(State::default(), |all, node| all.join(&node.state).0);
        for node in &nodes {
            prop_assert_eq!(all.context().get(&node.origin), node.seq);
        }
    }

    /// A write over a head is what it is over the state, as is all that is told of one.
    #[test]
    fn a_head_stands_for_its_state(
        strategy in strategies(),
        steps in prop::collection::vec(step(), 1..40),
        ends_in in prop::option::of(0..20u64),
        is_delete in any::<bool>(),
    ) {
        let key = FactKey::new("a.b").unwrap();
        let (nodes, _) = run(&strategy, &steps);
        for mut node in nodes {
            if let Some(ends_in) = ends_in.filter(|_| strategy.replaces_all()) {
                let stamp = node.stamp(START, Some(START.plus(ends_in)));
                node.state = strategy.put(&node.state, "7".into(), &stamp).unwrap();
            }
            let Some(head) = Head::of(&key, &node.state) else { continue };
            let (by_head, by_state) = (Before::Head(head.clone()), Before::State(node.state.clone().into()));
            prop_assert!(by_head.seen().eq(by_state.seen()) && by_head.ends().eq(by_state.ends()));
            prop_assert_eq!((by_head.hlc(), by_head.seen_of(&node.origin)), (by_state.hlc(), by_state.seen_of(&node.origin)));
            for now in [START, START.plus(10), START.plus(30)] {
                prop_assert_eq!(by_head.is_over(&strategy, now), by_state.is_over(&strategy, now));
                if !head.is_over(now) {
                    prop_assert_eq!(head.hash, node.state.digest(key.as_str(), now));
                }
                if !strategy.replaces_all() {
                    continue;
                }
                let stamp = node.clone().stamp(now, None);
                let (over_head, over_state) = if is_delete {
                    (strategy.delete_over(&head, &stamp), strategy.delete(&node.state, &stamp))
                } else {
                    (strategy.put_over(&head, "8".into(), &stamp).unwrap(), strategy.put(&node.state, "8".into(), &stamp).unwrap())
                };
                prop_assert_eq!(&over_head, &over_state);
                prop_assert!(!by_head.has_cells_of(&over_state));
            }
            prop_assert!(by_head.has_cells_of(&node.state));
        }
    }
}
