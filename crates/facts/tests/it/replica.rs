//! What a replica does, said one thing at a time. The simulation says the rest.

use std::sync::Arc;

use weir_facts::{
    Body, Config, Effect, EventKind, FactKey, JsonText, Memory, Millis, NodeId, Operation, Precondition, Refused,
    Replica, Rules, State, Storage, Strategy, VersionVector, WriteFact,
    message::{Entry, Message, Repair, Status},
};

const NOW: Millis = Millis(1_800_000_000_000);

#[derive(Debug)]
struct Plain(Strategy);

impl Rules for Plain {
    fn strategy(&self, _: &str) -> &Strategy {
        &self.0
    }

    fn may_write(&self, node: &NodeId, namespace: &str) -> bool {
        namespace != "foreign" && (namespace != "private" || node.as_str() == "a")
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn replica(name: &str, storage: Memory, now: Millis) -> Replica<Memory> {
    replica_under(Strategy::Lww, name, storage, now)
}

fn replica_under(strategy: Strategy, name: &str, storage: Memory, now: Millis) -> Replica<Memory> {
    let rules = Arc::new(Plain(strategy));
    let config = Config { grace_ms: 130_000, ..Config::new(node(name)) };
    let members = ["a", "b"].map(node);
    Replica::open(storage, config, rules, members, now.0 ^ u64::from(name.as_bytes()[0]), now).unwrap()
}

fn fact(text: &str, operation: Operation) -> WriteFact {
    WriteFact { key: FactKey::new(text).unwrap(), operation, precondition: None }
}

fn put(key: &str, json: &str) -> WriteFact {
    fact(key, Operation::Put { json: JsonText::new(json).unwrap(), ttl_ms: None })
}

/// What the replica wants sent, after a persist.
fn sent(replica: &mut Replica<Memory>) -> Vec<Message> {
    replica.persist().unwrap();
    let message = |effect| match effect {
        Effect::Send { message, .. } | Effect::Publish(message) => Some(message),
        _ => None,
    };
    replica.effects().filter_map(message).collect()
}

fn exchange(a: &mut Replica<Memory>, b: &mut Replica<Memory>, now: Millis) {
    for _ in 0..8 {
        for message in sent(a) {
            b.receive(now, &node("a"), message).unwrap();
        }
        for message in sent(b) {
            a.receive(now, &node("b"), message).unwrap();
        }
    }
}

/// Time passes, long enough for what is over to be collected.
fn wait(a: &mut Replica<Memory>, b: &mut Replica<Memory>, now: &mut Millis) {
    for _ in 0..60 {
        *now = now.plus(5_000);
        a.tick(*now).unwrap();
        b.tick(*now).unwrap();
        exchange(a, b, *now);
    }
}

fn value(replica: &Replica<Memory>, key: &str, now: Millis) -> Option<String> {
    replica.get(now, &FactKey::new(key).unwrap()).unwrap().map(|found| found.value.to_string())
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    let mut a = replica("a", Memory::new(), NOW);
    a.write(NOW, &[put("k.x", "1")]).unwrap();
    assert_eq!(value(&a, "k.x", NOW).as_deref(), Some("1"));
    assert_eq!(a.effects().count(), 0);
    a.persist().unwrap();
    let told: Vec<Effect> = a.effects().collect();
    assert!(matches!(told.as_slice(), [Effect::Event(_), Effect::Publish(_), Effect::Durable(_)]), "{told:?}");
}

#[test]
fn after_a_failed_persist_nothing_is_told_at_all() {
    let mut a = replica("a", Memory::new(), NOW);
    a.write(NOW, &[put("k.x", "1")]).unwrap();
    let mark = a.begin_persist().unwrap();
    a.persist_failed();
    a.persisted(mark);
    assert_eq!(a.effects().count(), 0);
    assert!(matches!(a.write(NOW, &[put("k.x", "2")]), Err(Refused::Poisoned)));
}

#[test]
fn a_clean_stop_keeps_the_name_and_a_crash_does_not() {
    let mut a = replica("a", Memory::crashable(), NOW);
    a.write(NOW, &[put("k.x", "1")]).unwrap();
    let origin = a.origin().clone();
    let a = replica("a", a.stop().unwrap(), NOW.plus(1));
    assert_eq!(*a.origin(), origin);
    let a = replica("a", a.into_storage(), NOW.plus(2));
    assert_ne!(*a.origin(), origin);
    assert_eq!(a.applied().get(&origin), 1);
}

#[test]
fn several_writes_of_one_key_count_as_one() {
    let mut a = replica("a", Memory::new(), NOW);
    let written =
        a.write(NOW, &[put("k.x", "1"), fact("k.x", Operation::Delete), put("k.x", "3"), put("k.y", "4")]).unwrap();
    assert_eq!(value(&a, "k.x", NOW).as_deref(), Some("3"));
    assert_eq!(written.cursor.get(a.origin()), 2);
}

#[test]
fn a_write_is_refused_as_a_whole() {
    let mut a = replica("a", Memory::new(), NOW);
    let version = a.write(NOW, &[put("k.x", "1")]).unwrap().version;
    let mut check = |second: WriteFact, expected: &str| {
        let error = a.write(NOW, &[put("k.x", "2"), second]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(value(&a, "k.x", NOW).as_deref(), Some("1"));
    };
    assert_eq!(JsonText::new("{").unwrap_err().to_string(), "the value is not JSON");
    check(put("foreign.y", "1"), "may not write");
    check(fact("k.y", Operation::Increment { by: 1, ttl_ms: None }), "does not count");
    check(put("k.y", &format!("\"{}\"", "x".repeat(1 << 20))), "bytes");
    let with = |key: &str, version| WriteFact { precondition: Precondition::if_version(version), ..put(key, "5") };
    check(with("k.x", 0), "not at the one expected");
    check(with("k.y", version.as_u64()), "not at the one expected");
    a.write(NOW, &[with("k.x", version.as_u64()), with("k.y", 0)]).unwrap();
}

#[test]
fn what_is_held_is_written_anew_only_where_this_node_may_write() {
    let (mut a, mut b) = (replica("a", Memory::new(), NOW), replica("b", Memory::new(), NOW));
    let ahead = NOW.plus(600_000);
    a.write(ahead, &[put("private.x", "1")]).unwrap();
    a.write(ahead, &[put("k.x", "2")]).unwrap();
    sent(&mut a).into_iter().for_each(|message| b.receive(NOW, &node("a"), message).unwrap());
    let held: Vec<u64> = b.held().map(|held| held.number).collect();
    assert_eq!(held.len(), 2);
    assert!(matches!(b.restamp(NOW, held[0]), Err(Refused::Namespace(_))));
    assert_eq!(b.held().count(), 2);
    b.restamp(NOW, held[1]).unwrap();
    assert_eq!(value(&b, "k.x", NOW).as_deref(), Some("2"));
}

#[test]
fn a_late_message_does_not_bring_back_what_was_collected() {
    let (mut a, mut b) = (replica("a", Memory::new(), NOW), replica("b", Memory::new(), NOW));
    a.write(NOW, &[put("k.x", "1")]).unwrap();
    let late = sent(&mut a);
    late.iter().for_each(|message| b.receive(NOW, &node("a"), message.clone()).unwrap());
    a.write(NOW.plus(10), &[fact("k.x", Operation::Delete)]).unwrap();
    let mut now = NOW;
    wait(&mut a, &mut b, &mut now);
    for replica in [&a, &b] {
        assert_eq!(replica.counts().collected, 1, "{:?}", replica.counts());
    }
    // By the way of a page, as numbers that were seen are not looked at twice.
    let Some(Message::Write(write)) = late.into_iter().next() else { panic!("no write") };
    let page = weir_facts::message::Page {
        after: 0,
        position: 0,
        last: 1,
        through: Some(1),
        origin: write.origin,
        entries: write.entries,
    };
    b.receive(now, &node("a"), Message::Page(page)).unwrap();
    assert_eq!(value(&b, "k.x", now), None);
    assert_eq!(b.storage().unpersisted(), 0);
}

/// Until what is over is collected at one that has no other member.
fn wait_alone(a: &mut Replica<Memory>, now: &mut Millis, collected: u64) {
    for _ in 0..60 {
        *now = now.plus(5_000);
        a.tick(*now).unwrap();
        a.persist().unwrap();
    }
    assert_eq!(a.counts().collected, collected, "{:?}", a.counts());
}

#[test]
fn what_stood_behind_a_deletion_does_not_show_when_that_is_forgotten() {
    let (mut a, mut b) = (replica("a", Memory::new(), NOW), replica("b", Memory::new(), NOW));
    b.write(NOW, &[put("k.x", "1")]).unwrap();
    sent(&mut b);
    a.write(NOW.plus(10), &[fact("k.x", Operation::Delete)]).unwrap();
    sent(&mut a).into_iter().for_each(|message| b.receive(NOW.plus(20), &node("a"), message).unwrap());
    assert_eq!(value(&b, "k.x", NOW.plus(20)), None);
    let mut now = NOW;
    a.remove_member(&node("b")).unwrap();
    // This it does not hear of, so that it has to fetch everything.
    a.write(NOW.plus(30), &[fact("k.y", Operation::Delete)]).unwrap();
    wait_alone(&mut a, &mut now, 2);
    a.add_member(&node("b")).unwrap();
    wait(&mut a, &mut b, &mut now);
    assert_eq!(b.counts().fetches, 1);
    for replica in [&a, &b] {
        assert_eq!(value(replica, "k.x", now), None);
    }
    assert_eq!(b.lost(&FactKey::new("k.x").unwrap(), 9).unwrap().len(), 1);
}

#[test]
fn what_has_ended_stays_so_when_the_clock_steps_back() {
    let mut a = replica("a", Memory::crashable(), NOW);
    let ttl_ms = std::num::NonZeroU64::new(500);
    a.write(NOW, &[fact("k.x", Operation::Put { json: JsonText::new("1").unwrap(), ttl_ms })]).unwrap();
    a.persist().unwrap();
    drop(a.effects());
    a.tick(NOW.plus(500)).unwrap();
    assert_eq!(value(&a, "k.x", NOW), None);
    let ends = |a: &mut Replica<Memory>| {
        a.effects().filter(|effect| matches!(effect, Effect::Event(event) if event.kind == EventKind::Expire)).count()
    };
    assert_eq!(ends(&mut a), 0, "a crash would take it back");
    a.persist().unwrap();
    assert_eq!(ends(&mut a), 1);
    let mut memory = a.into_storage();
    memory.crash(0);
    let a = replica("a", memory, NOW.plus(1));
    assert_eq!(value(&a, "k.x", NOW.plus(1)), None);
}

#[test]
fn of_held_values_written_anew_those_behind_are_in_the_history() {
    let mut b = replica("b", Memory::new(), NOW);
    let ahead = NOW.plus(600_000);
    for (json, at) in [("1", ahead), ("2", ahead.plus(1))] {
        // Each time with another disk, so that neither write knows of the other.
        let mut a = replica("a", Memory::new(), at);
        a.write(at, &[put("k.x", json)]).unwrap();
        sent(&mut a).into_iter().for_each(|message| b.receive(NOW, &node("a"), message).unwrap());
    }
    let first = b.held().next().unwrap().number;
    b.restamp(NOW, first).unwrap();
    assert_eq!(value(&b, "k.x", NOW).as_deref(), Some("2"));
    let lost = b.lost(&FactKey::new("k.x").unwrap(), 9).unwrap();
    assert!(matches!(&lost[..], [cell] if cell.body == Body::Value("1".into())), "{lost:?}");
}

/// What it counted while it was away has an older time than the deletion that is forgotten.
#[test]
fn what_a_node_counted_while_it_was_away_comes_after_what_was_collected() {
    let (mut a, mut b) = (
        replica_under(Strategy::Counter, "a", Memory::new(), NOW),
        replica_under(Strategy::Counter, "b", Memory::new(), NOW),
    );
    let add = |by| fact("k.x", Operation::Increment { by, ttl_ms: None });
    let mut now = NOW;
    a.remove_member(&node("b")).unwrap();
    // It counts under two names, so that it has two shares.
    b.write(NOW, &[add(3)]).unwrap();
    b.persist().unwrap();
    let mut b = replica_under(Strategy::Counter, "b", b.into_storage(), NOW.plus(1));
    b.write(NOW.plus(1), &[add(4)]).unwrap();
    b.persist().unwrap();
    drop(b.effects());
    a.write(NOW.plus(2), &[add(1)]).unwrap();
    let version = a.write(NOW.plus(10), &[fact("k.x", Operation::Delete)]).unwrap().version;
    wait_alone(&mut a, &mut now, 1);
    a.add_member(&node("b")).unwrap();
    wait(&mut a, &mut b, &mut now);
    for replica in [&a, &b] {
        let found = replica.get(now, &FactKey::new("k.x").unwrap()).unwrap().unwrap();
        assert_eq!(found.value, serde_json::json!(7));
        assert!(found.version > version, "{} after {version}", found.version);
    }
}

#[test]
fn receiving_keeps_up_with_bulk() {
    let entries = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let check = |batch: usize, entries: usize| {
        let (mut a, mut b) = (replica("a", Memory::new(), NOW), replica("b", Memory::new(), NOW));
        let json = format!("{{\"approvers\":[\"{}\"]}}", "x".repeat(150));
        let writes: Vec<WriteFact> = (0..entries).map(|number| put(&format!("k.n{number}"), &json)).collect();
        writes.chunks(batch).for_each(|writes| drop(a.write(NOW, writes).unwrap()));
        let messages = sent(&mut a);
        let begin = std::time::Instant::now();
        messages.into_iter().for_each(|message| b.receive(NOW, &node("a"), message).unwrap());
        let rate = entries as f64 / begin.elapsed().as_secs_f64();
        println!("{batch} keys a message: {rate:.0} entries a second");
        assert_eq!(b.root().1, a.root().1);
    };
    check(1, entries);
    check(100, entries);
}

/// A replica of a storage that was not stopped.
fn reopened(replica: Replica<Memory>, name: &str, now: Millis) -> Replica<Memory> {
    self::replica(name, replica.into_storage(), now)
}

fn seen(replica: &Replica<Memory>, key: &str) -> Vec<u64> {
    let state = replica.storage().state(&FactKey::new(key).unwrap()).unwrap().unwrap();
    state.context().iter().map(|(_, seq)| seq).collect()
}

#[test]
fn contexts_keep_no_origin_that_is_no_more() {
    let mut now = NOW;
    let (mut a, mut b) = (replica("a", Memory::new(), now), replica("b", Memory::new(), now));
    for round in 0..6 {
        a.write(now, &[put("k.x", &round.to_string()), put("k.only", "0")]).unwrap();
        exchange(&mut a, &mut b, now);
        b.write(now, &[put("k.both", &round.to_string())]).unwrap();
        exchange(&mut a, &mut b, now);
        now = now.plus(1_000);
        (a, b) = (reopened(a, "a", now), reopened(b, "b", now));
    }
    assert!(seen(&a, "k.x").len() >= 5, "each start wrote it: {:?}", seen(&a, "k.x"));
    wait(&mut a, &mut b, &mut now);
    for replica in [&a, &b] {
        for key in ["k.x", "k.only", "k.both"] {
            assert_eq!(seen(replica, key).len(), 1, "{key}: its one cell's");
        }
        assert!(replica.counts().pruned >= 2);
        assert_eq!(value(replica, "k.x", now).as_deref(), Some("5"));
    }
    assert_eq!(a.root(), b.root());
    let pruned = a.counts().pruned;
    wait(&mut a, &mut b, &mut now);
    assert_eq!(a.counts().pruned, pruned, "once is enough");
}

#[test]
fn a_late_message_brings_back_nothing_that_was_pruned() {
    let mut now = NOW;
    let (mut a, mut b) = (replica("a", Memory::new(), now), replica("b", Memory::new(), now));
    a.write(now, &[put("k.x", "\"old\"")]).unwrap();
    let late = sent(&mut a);
    late.iter().cloned().for_each(|message| b.receive(now, &node("a"), message).unwrap());
    now = now.plus(1_000);
    a = reopened(a, "a", now);
    b.write(now, &[put("k.x", "\"new\"")]).unwrap();
    exchange(&mut a, &mut b, now);
    assert_eq!(seen(&b, "k.x").len(), 2);
    wait(&mut a, &mut b, &mut now);
    assert_eq!(seen(&b, "k.x").len(), 1);
    let Some(Message::Write(old)) = late.into_iter().find(|message| matches!(message, Message::Write(_))) else {
        panic!("it was sent");
    };
    // As an answer to a repair has it: whatever its number, it is looked at.
    let repair =
        Repair { entries: old.entries, absent: Vec::new(), collected: VersionVector::default(), answer: false };
    b.receive(now, &node("a"), Message::Repair(repair)).unwrap();
    assert_eq!(value(&b, "k.x", now).as_deref(), Some("\"new\""));
    // What it had seen came back with it, and goes again.
    wait(&mut a, &mut b, &mut now);
    assert_eq!(seen(&b, "k.x").len(), 1);
    assert_eq!(a.root(), b.root());
}

#[test]
fn nothing_is_pruned_that_a_member_may_lack() {
    let mut now = NOW;
    let (mut a, mut b) = (replica("a", Memory::new(), now), replica("b", Memory::new(), now));
    a.write(now, &[put("k.x", "1")]).unwrap();
    exchange(&mut a, &mut b, now);
    now = now.plus(1_000);
    a = reopened(a, "a", now);
    a.write(now, &[put("k.x", "2")]).unwrap();
    // The other hears nothing any more.
    for _ in 0..60 {
        now = now.plus(5_000);
        a.tick(now).unwrap();
        drop(sent(&mut a));
    }
    assert_eq!((seen(&a, "k.x").len(), a.counts().pruned), (2, 0));
    wait(&mut a, &mut b, &mut now);
    assert_eq!(seen(&a, "k.x").len(), 1);
}

/// Whoever is on the list hears from those on it, and time passes.
fn live_on(replicas: &mut [(&str, &mut Replica<Memory>)], rounds: usize, now: &mut Millis) {
    for _ in 0..rounds {
        *now = now.plus(1_000);
        let mut messages = Vec::new();
        for (name, replica) in replicas.iter_mut() {
            replica.tick(*now).unwrap();
            replica.persist().unwrap();
            for effect in replica.effects() {
                match effect {
                    Effect::Send { to, message } => messages.push((node(name), Some(to), message)),
                    Effect::Publish(message) => messages.push((node(name), None, message)),
                    _ => {}
                }
            }
        }
        for (from, to, message) in messages {
            let hear = |name: &str| node(name) != from && to.as_ref().is_none_or(|to| *to == node(name));
            for (_, replica) in replicas.iter_mut().filter(|(name, _)| hear(name)) {
                // Of a node that is no member nothing is taken.
                let _ = replica.receive(*now, &from, message.clone());
            }
        }
    }
}

#[test]
fn a_node_that_was_away_lacks_what_replaced_what_was_pruned_and_fetches_everything() {
    for strategy in [Strategy::MultiValue, Strategy::DenyWins, Strategy::Lww] {
        let mut now = NOW;
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| {
            let config = Config { grace_ms: 130_000, ..Config::new(node(name)) };
            let incarnation = now.0 ^ u64::from(name.as_bytes()[0]);
            let rules = Arc::new(Plain(strategy.clone()));
            Replica::open(Memory::new(), config, rules, ["a", "b", "c"].map(node), incarnation, now).unwrap()
        });
        c.write(now, &[put("k.x", "\"old\"")]).unwrap();
        live_on(&mut [("a", &mut a), ("b", &mut b), ("c", &mut c)], 20, &mut now);
        a.remove_member(&node("c")).unwrap();
        b.remove_member(&node("c")).unwrap();
        b.write(now, &[put("k.x", "\"new\"")]).unwrap();
        live_on(&mut [("a", &mut a), ("b", &mut b)], 200, &mut now);
        assert_eq!((seen(&a, "k.x").len(), seen(&b, "k.x").len()), (1, 1), "{strategy:?}");
        a.add_member(&node("c")).unwrap();
        b.add_member(&node("c")).unwrap();
        live_on(&mut [("a", &mut a), ("b", &mut b), ("c", &mut c)], 100, &mut now);
        for replica in [&a, &b, &c] {
            assert_eq!(value(replica, "k.x", now).as_deref(), Some("\"new\""), "{strategy:?}");
            assert_eq!(replica.root(), a.root(), "{strategy:?}");
        }
        assert!(c.counts().fetches > 0, "{strategy:?}");
    }
}

#[test]
fn what_was_pruned_comes_back_with_no_part_of_a_late_message() {
    let mut now = NOW;
    let [mut a, mut b] = ["a", "b"].map(|name| replica_under(Strategy::DenyWins, name, Memory::new(), now));
    // A deletion and a value that do not know of each other, both replaced by a third that has seen them.
    a.write(now, &[put("k.x", "\"old\"")]).unwrap();
    b.write(now, &[fact("k.x", Operation::Delete)]).unwrap();
    exchange(&mut a, &mut b, now);
    let old = a.storage().state(&FactKey::new("k.x").unwrap()).unwrap().unwrap();
    assert_eq!(old.cells().len(), 2);
    now = now.plus(1_000);
    b = replica_under(Strategy::DenyWins, "b", b.into_storage(), now);
    b.write(now, &[put("k.x", "\"new\"")]).unwrap();
    exchange(&mut a, &mut b, now);
    wait(&mut a, &mut b, &mut now);
    assert!(a.counts().pruned > 0);
    let entries = vec![Entry { key: FactKey::new("k.x").unwrap(), state: State::clone(&old) }];
    let repair = Repair { entries, absent: Vec::new(), collected: VersionVector::default(), answer: false };
    a.receive(now, &node("b"), Message::Repair(repair)).unwrap();
    assert_eq!(value(&a, "k.x", now).as_deref(), Some("\"new\""));
    wait(&mut a, &mut b, &mut now);
    assert_eq!((value(&b, "k.x", now).as_deref(), a.root()), (Some("\"new\""), b.root()));
}

#[test]
fn a_status_tells_of_nobody_elses_name() {
    let (mut a, mut b) = (replica("a", Memory::new(), NOW), replica("b", Memory::new(), NOW));
    a.tick(NOW).unwrap();
    let status = sent(&mut a).into_iter().find(|message| matches!(message, Message::Status(_)));
    let Some(Message::Status(status)) = status else { panic!("it was sent") };
    let forged = Message::Status(Status { origin: b.origin().clone(), ..status.clone() });
    assert!(b.receive(NOW, &node("a"), forged).is_err() && b.status_of(&node("a")).is_none());
    b.receive(NOW, &node("a"), Message::Status(status)).unwrap();
    assert!(b.status_of(&node("a")).is_some());
}
