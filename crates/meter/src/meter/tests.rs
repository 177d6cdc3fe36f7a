#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
    thread,
};

use proptest::prelude::*;
use weir_model::Code;

use super::*;
use crate::Settled;
use crate::{QuotaLimits, Reservation};

const NOVEMBER: i64 = 1_795_000_000; // 2026-11-18
const NEXT_MONTH: i64 = 1_796_100_000; // 2026-12-01

fn org() -> OrgName {
    OrgName::new("acme").unwrap()
}

fn meter_at(time: i64) -> (Meter, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(time));
    let hand = Arc::clone(&clock);
    (Meter::with_clock(move || hand.load(Ordering::SeqCst)), clock)
}

fn limits(agent: u64, org: u64) -> QuotaLimits {
    QuotaLimits { agent: Some(Credits(agent)), org: Some(Credits(org)) }
}

fn org_row(meter: &Meter) -> UsageRow {
    meter.usage(&org(), None, |_| None).swap_remove(0)
}

#[test]
fn a_refusal_says_what_it_would_cost_and_what_is_left() {
    let (meter, _) = meter_at(NOVEMBER);
    let agent: Arc<str> = "analyst".into();
    let held = meter.account(&org()).reserve(&agent, Credits(3_000), limits(5_000, 100_000)).unwrap();
    let refused = meter.account(&org()).reserve(&agent, Credits(2_500), limits(5_000, 100_000)).unwrap_err();
    assert_eq!(refused.code(), Code::QuotaExceeded);
    assert_eq!(refused.detail_line(), "code=quota_exceeded; estimate=2.5; balance=2.0; scope=agent; resets=2026-12-01");
    assert!(refused.hint_line().is_some());
    let refused = meter.account(&org()).reserve(&"other".into(), Credits(2_500), limits(5_000, 5_000)).unwrap_err();
    assert!(refused.detail_line().contains("balance=2.0; scope=org"), "{}", refused.detail_line());
    drop(held);
    assert_eq!(org_row(&meter).reserved, Credits::ZERO);
}

#[test]
fn what_is_not_settled_is_released() {
    let (meter, _) = meter_at(NOVEMBER);
    let agent: Arc<str> = "analyst".into();
    for _ in 0..100 {
        drop(meter.account(&org()).reserve(&agent, Credits(1_000), limits(1_000, 1_000)).unwrap());
    }
    let settled =
        meter.account(&org()).reserve(&agent, Credits(1_000), limits(1_000, 1_000)).unwrap().settle(Credits(400), 7);
    assert_eq!(settled, Settled { estimated: Credits(1_000), charged: Credits(400), uncollected: Credits::ZERO });
    let row = org_row(&meter);
    assert_eq!((row.settled, row.reserved, row.statements, row.rows), (Credits(400), Credits::ZERO, 1, 7));
}

#[test]
fn an_excess_is_charged_as_far_as_the_balances_bear_it() {
    let (meter, _) = meter_at(NOVEMBER);
    let agent: Arc<str> = "analyst".into();
    let first = meter.account(&org()).reserve(&agent, Credits(1_000), limits(5_000, 4_000)).unwrap();
    let second = meter.account(&org()).reserve(&agent, Credits(1_000), limits(5_000, 4_000)).unwrap();
    // The second reservation is held; of the org's 4.0 the first may take 3.0.
    let settled = first.settle(Credits(9_000), 1);
    assert_eq!((settled.charged, settled.uncollected), (Credits(3_000), Credits(6_000)));
    let settled = second.settle(Credits(1_000), 1);
    assert_eq!((settled.charged, settled.uncollected), (Credits(1_000), Credits::ZERO));
    assert_eq!(org_row(&meter).settled, Credits(4_000));
}

#[test]
fn a_new_month_renews_the_credits_and_keeps_what_is_held() {
    let (meter, clock) = meter_at(NOVEMBER);
    let agent: Arc<str> = "analyst".into();
    let _ =
        meter.account(&org()).reserve(&agent, Credits(1_000), limits(2_000, 2_000)).unwrap().settle(Credits(1_000), 1);
    let held = meter.account(&org()).reserve(&agent, Credits(1_000), limits(2_000, 2_000)).unwrap();
    assert!(meter.account(&org()).reserve(&agent, Credits(1), limits(2_000, 2_000)).is_err());
    clock.store(NEXT_MONTH, Ordering::SeqCst);
    let other = meter.account(&org()).reserve(&agent, Credits(1_000), limits(2_000, 2_000)).unwrap();
    assert!(meter.account(&org()).reserve(&agent, Credits(1), limits(2_000, 2_000)).is_err());
    drop(other);
    let _ = held.settle(Credits(500), 1);
    let row = org_row(&meter);
    assert_eq!((row.settled, row.period.to_string().as_str()), (Credits(500), "2026-12-01"));
    // A clock that is set back neither renews nor forgets.
    clock.store(NOVEMBER, Ordering::SeqCst);
    assert_eq!(org_row(&meter).settled, Credits(500));
}

/// Two agents race for an org's last credits with 1,000 statements each.
#[test]
fn racing_reservations_spend_the_balance_and_not_a_milli_credit_more() {
    let (meter, _) = meter_at(NOVEMBER);
    let meter = Arc::new(meter);
    let quota = limits(700_123, 1_000_777);
    let granted: u64 = thread::scope(|scope| {
        let racers: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| {
                let meter = Arc::clone(&meter);
                scope.spawn(move || {
                    let agent: Arc<str> = name.into();
                    let mut charged = 0;
                    for turn in 0..1_000_u64 {
                        let Ok(held) = meter.account(&org()).reserve(&agent, Credits(1_001), quota) else { continue };
                        if turn % 7 == 0 {
                            drop(held);
                        } else {
                            charged += held.settle(Credits(900 + turn), turn).charged.milli();
                        }
                        assert!(org_row(&meter).settled <= Credits(1_000_777));
                    }
                    charged
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    let rows = meter.usage(&org(), quota.org, |_| quota.agent);
    assert_eq!(rows[0].settled, Credits(granted));
    assert_eq!(rows[0].reserved, Credits::ZERO);
    assert!(granted <= 1_000_777 && granted > 999_000, "{granted}");
    assert!(rows[1..].iter().all(|row| row.settled <= Credits(700_123)));
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { agent: u8, estimate: u64, limits: QuotaLimits },
    Settle { which: usize, actual: u64, rows: u64 },
    Drop { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limit = || proptest::option::of((0..20_000_u64).prop_map(Credits));
    let step = prop_oneof![
        3 => (0..3_u8, 0..6_000_u64, limit(), limit())
            .prop_map(|(agent, estimate, agent_limit, org)| Step::Reserve { agent, estimate, limits: QuotaLimits { agent: agent_limit, org } }),
        2 => (any::<usize>(), 0..9_000_u64, 0..100_u64).prop_map(|(which, actual, rows)| Step::Settle { which, actual, rows }),
        1 => any::<usize>().prop_map(|which| Step::Drop { which }),
    ];
    proptest::collection::vec(step, 0..80)
}

/// The sequential model: four plain maps and the rules as sentences.
#[derive(Debug, Default)]
struct Model {
    settled: BTreeMap<u8, u64>,
    reserved: BTreeMap<u8, u64>,
}

impl Model {
    fn left(&self, agent: u8, limits: QuotaLimits) -> u64 {
        let used = |agent: u8| {
            self.settled.get(&agent).copied().unwrap_or(0) + self.reserved.get(&agent).copied().unwrap_or(0)
        };
        let own = limits.agent.map_or(u64::MAX, |limit| limit.milli().saturating_sub(used(agent)));
        let all = limits.org.map_or(u64::MAX, |limit| limit.milli().saturating_sub((0..3).map(used).sum()));
        own.min(all)
    }
}

proptest! {
    #[test]
    fn the_meter_is_its_model(steps in steps()) {
        let (meter, _) = meter_at(NOVEMBER);
        let names: Vec<Arc<str>> = vec!["a".into(), "b".into(), "c".into()];
        let mut model = Model::default();
        let mut held: Vec<(u8, u64, QuotaLimits, Reservation)> = Vec::new();
        let mut journal = Vec::new();
        for step in steps {
            match step {
                Step::Reserve { agent, estimate, limits } => {
                    let affordable = estimate <= model.left(agent, limits);
                    let result = meter.account(&org()).reserve(&names[usize::from(agent)], Credits(estimate), limits);
                    prop_assert_eq!(result.is_ok(), affordable);
                    if let Ok(reservation) = result {
                        *model.reserved.entry(agent).or_default() += estimate;
                        held.push((agent, estimate, limits, reservation));
                    }
                }
                Step::Settle { which, actual, rows } if !held.is_empty() => {
                    let (agent, estimate, limits, reservation) = held.swap_remove(which % held.len());
                    *model.reserved.entry(agent).or_default() -= estimate;
                    let charge = actual.min(model.left(agent, limits));
                    let settled = reservation.settle(Credits(actual), rows);
                    prop_assert_eq!(settled.charged, Credits(charge));
                    prop_assert_eq!(settled.uncollected, Credits(actual - charge));
                    *model.settled.entry(agent).or_default() += charge;
                    journal.push(SettledEntry {
                        org: org(),
                        agent: Arc::clone(&names[usize::from(agent)]),
                        unix_seconds: NOVEMBER,
                        credits: settled.charged,
                        rows,
                    });
                }
                Step::Drop { which } if !held.is_empty() => {
                    let (agent, estimate, _, reservation) = held.swap_remove(which % held.len());
                    *model.reserved.entry(agent).or_default() -= estimate;
                    drop(reservation);
                }
                Step::Settle { .. } | Step::Drop { .. } => {}
            }
            let row = org_row(&meter);
            prop_assert_eq!(row.settled.milli(), model.settled.values().sum::<u64>());
            prop_assert_eq!(row.reserved.milli(), model.reserved.values().sum::<u64>());
        }
        held.clear();

        // A restart folds the journal to the same balances, and passes over other months.
        let (restored, _) = meter_at(NOVEMBER);
        let old = journal.iter().map(|entry| SettledEntry { unix_seconds: NOVEMBER - 40 * 86_400, ..entry.clone() });
        restored.restore(old.chain(journal.iter().cloned()));
        let usage = |meter: &Meter| -> Vec<UsageRow> {
            meter.usage(&org(), Some(Credits(50_000)), |_| None).into_iter().filter(|row| row.statements > 0).collect()
        };
        prop_assert_eq!(usage(&meter), usage(&restored));
    }
}
