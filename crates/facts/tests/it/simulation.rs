//! Years of bad luck in seconds: replicas under partitions, loss, repeats, reordering, wrong clocks, crashes that lose
//! the end of the log, full and failing disks, slow peers, members that leave, return and lose their disks.
//!
//! Virtual time, one seeded source of chance, no thread: a seed always gives the same run. `FACTS_STEPS` sets how many
//! steps are run in all. `FACTS_SEED` replays one world, `FACTS_STEPS` then sets its length, and `FACTS_KEY` tells what
//! happens to a key.
//!
//! What is asserted:
//! - I1, replicas come to agree: `World::rest`, and `World::judge` on what each of them shows.
//! - I2, no acknowledged write is lost: `Ledger::judge`.
//! - I3, what is deleted stays so: `World::check_read`, `World::check_event` and `World::judge`, on dead keys.
//! - I4, nothing shows past its end: `World::check_read` by the node's clock, `World::judge` by the true one.
//! - I5, a key's versions grow: `World::check_read`.
//! - I6, subscribers know the end of the story: `World::judge_subscribers`.
//! - I7, nobody writes where it may not: `World::write` on clients, `World::check_event` and `World::judge_namespaces`
//!   on what replicas took of each other.

mod checks;
mod disk;
mod faults;
mod ledger;
mod load;
mod network;
mod node;
mod random;
mod rules;
mod subscribers;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

/// Steps of one world, at least.
const WORLD_STEPS: u64 = 50_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

#[test]
fn the_seven_invariants_hold_whatever_happens() {
    // A debug build is some ten times slower.
    let steps = number("FACTS_STEPS").unwrap_or(if cfg!(debug_assertions) { 100_000 } else { 1_000_000 });
    if let Some(seed) = number("FACTS_SEED") {
        let world = run(seed, number("FACTS_STEPS").unwrap_or(WORLD_STEPS));
        println!("{}", world.summary());
        return;
    }
    let (mut done, mut seed, mut total) = (0, 1, world::Seen::default());
    while done < steps {
        match catch_unwind(AssertUnwindSafe(|| run(seed, WORLD_STEPS))) {
            Ok(world) => {
                done += world.steps;
                total.add(&world.seen());
            }
            Err(panic) => {
                println!("replay with FACTS_SEED={seed}");
                resume_unwind(panic);
            }
        }
        seed += 1;
    }
    println!("{done} steps in {} worlds: {total:?}", seed - 1);
    // A simulation in which nothing happens proves nothing.
    total.assert_everything_happened();
}

fn run(seed: u64, steps: u64) -> World {
    let mut world = World::new(seed);
    while world.steps < steps {
        world.round();
    }
    world
}
