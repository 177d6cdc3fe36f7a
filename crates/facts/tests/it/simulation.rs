//! Years of bad luck in seconds: replicas under partitions, loss, repeats, reordering, wrong clocks, crashes that lose
//! the end of the log, full and failing disks, slow peers, members that leave, return and lose their disks.
//!
//! Virtual time, one seeded source of chance, no thread: a seed always gives the same run. `FACTS_SEED` replays one,
//! `FACTS_KEY` then tells what happens to a key, and `FACTS_STEPS` sets how many steps are run in all.

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

/// Steps of one world, about.
const WORLD_STEPS: u64 = 50_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

#[test]
fn the_seven_invariants_hold_whatever_happens() {
    // A debug build is some ten times slower.
    let steps = number("FACTS_STEPS").unwrap_or(if cfg!(debug_assertions) { 100_000 } else { 1_000_000 });
    if let Some(seed) = number("FACTS_SEED") {
        let world = run(seed);
        println!("{}", world.summary());
        return;
    }
    let (mut done, mut seed, mut total) = (0, 1, world::Seen::default());
    while done < steps {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
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

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    while world.steps < WORLD_STEPS {
        world.round();
    }
    world
}
