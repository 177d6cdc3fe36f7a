use arrow::array::{ArrayRef, Date32Array, Int16Array, Int32Array, Int64Array};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};

use super::*;

fn held(set: &KeySet, keys: &[i64]) -> Vec<bool> {
    let column = Int64Array::from(keys.to_vec());
    set.may_hold(&column).unwrap().iter().map(|held| held.unwrap()).collect()
}

fn unbounded() -> Arc<dyn MemoryPool> {
    Arc::new(UnboundedMemoryPool::default())
}

/// Numbers that look random and are the same each time.
fn scattered(count: i64) -> Vec<i64> {
    (1..=count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed())).collect()
}

/// The one thing that must never happen: a key that is in the set is said not to be.
#[test]
fn a_set_holds_its_keys() {
    for keys in [
        Vec::new(),
        vec![0],
        vec![i64::MIN, i64::MAX],
        vec![i64::MAX - 1, i64::MAX],
        (-70..70).collect(),
        (0..5000).map(|n| n * 1_000_003).collect(),
        scattered(10_000),
    ] {
        assert!(held(&KeySet::of(&keys), &keys).into_iter().all(|held| held), "{} keys", keys.len());
    }
}

#[test]
fn keys_near_each_other_are_held_exactly() {
    for keys in [vec![7], vec![-500, 500], (0..100).map(|n| n * n % 97 - 40).collect::<Vec<i64>>()] {
        let asked: Vec<i64> = (-600..600).chain([i64::MIN / 2, i64::MAX / 2]).collect();
        let expected: Vec<bool> = asked.iter().map(|key| keys.contains(key)).collect();
        assert_eq!(held(&KeySet::of(&keys), &asked), expected);
    }
    assert_eq!(held(&KeySet::of(&[]), &[0, 1, -1]), [false; 3]);
}

#[test]
fn keys_far_apart_leave_most_others_out() {
    let keys = scattered(10_000);
    let set = KeySet::of(&keys);
    assert!(matches!(set, KeySet::Hashed { .. }));
    assert!(held(&set, &keys).into_iter().all(|held| held));
    let others: Vec<i64> = (0..10_000).map(|n| i64::MAX / 3 + n * 7919).collect();
    let wrongly = held(&set, &others).into_iter().filter(|held| *held).count();
    assert!(wrongly < 500, "{wrongly} of 10000");
}

#[test]
fn types_share_their_integers_and_null_is_none() {
    let mut keys = Vec::new();
    let column = Int32Array::from(vec![Some(7), None, Some(-3)]);
    assert!(set::append_keys(&column, &mut keys));
    assert_eq!(keys, [7, -3]);
    let set = KeySet::of(&keys);
    let ask =
        |column: ArrayRef| -> Vec<bool> { set.may_hold(&column).unwrap().iter().map(|held| held.unwrap()).collect() };
    assert_eq!(ask(Arc::new(Int16Array::from(vec![Some(7), None, Some(0)]))), [true, false, false]);
    assert_eq!(ask(Arc::new(Date32Array::from(vec![-3, 3]))), [true, false]);
    assert!(set.may_hold(&arrow::array::StringViewArray::from(vec!["7"])).is_none());
}

#[test]
fn a_set_is_there_after_the_last_partition() {
    let keys = JoinKeys::new(2);
    keys.begin(0);
    keys.finish(&[1, 2], &unbounded());
    keys.begin(1);
    assert!(keys.set().is_none());
    keys.finish(&[5], &unbounded());
    assert_eq!(held(keys.set().unwrap(), &[1, 2, 3, 5]), [true, true, false, true]);
}

#[test]
fn no_set_comes_of_what_was_not_read_once_and_whole() {
    let twice = JoinKeys::new(2);
    twice.begin(0);
    twice.begin(0);
    twice.finish(&[1], &unbounded());
    twice.finish(&[1], &unbounded());
    assert!(twice.set().is_none());

    let many = JoinKeys::new(1);
    many.begin(0);
    many.finish(&vec![1; KEYS_MAX + 1], &unbounded());
    assert!(many.set().is_none());

    let poor = JoinKeys::new(1);
    poor.begin(0);
    poor.finish(&[1; 100], &(Arc::new(GreedyMemoryPool::new(100)) as Arc<dyn MemoryPool>));
    assert!(poor.set().is_none());
}
