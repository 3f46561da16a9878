//! Cuts of the power: what was acknowledged is there afterwards, once, and everything agrees with
//! everything. Three cuts of ten are followed by another while the machine starts again.
//!
//! `POWER_CUTS=n` cuts so often instead of 200 times; a failure names the seed, `SEED=n` repeats it.

mod headquarters;
mod journal;

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Builder;
use tests::power_cut::{Disk, Power, Sync};
use tests::random::Random;

/// How often the power goes in a run of the tests.
const CUTS: u64 = 200;

/// What a story of one machine has to do.
trait Machine {
    /// Starts on what the disks hold, proves it, and works until the power goes or for a while.
    /// The text says what is wrong.
    fn live(&mut self, power: &Power, random: &mut Random) -> Result<(), String>;

    /// The power is gone: the disks hold what they hold.
    fn lose_power(&mut self, random: &mut Random);

    /// Ends all work with power that stays, and proves the outcome.
    fn finish(&mut self, random: &mut Random) -> Result<(), String>;
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

/// Lets a machine lose its power again and again, then work to the end.
fn cut(machine: &mut impl Machine, cuts: u64, random: &mut Random) -> Result<(), String> {
    for number in 1..=cuts {
        // Soon after the start the machine is still recovering from the cut before.
        let changes = if random.chance(3, 10) { random.below(25) } else { 25 + random.below(600) };
        let power = Power::cut_after(changes);
        machine.live(&power, random).map_err(|why| format!("before cut {number}: {why}"))?;
        power.cut();
        machine.lose_power(random);
    }
    let steady = Power::steady();
    let ended = machine.live(&steady, random).and_then(|()| machine.finish(random));
    ended.map_err(|why| format!("after the last cut: {why}"))
}

/// Runs stories until there were enough cuts.
fn cut_all<M: Machine>(cuts_each: u64, start: impl Fn(u64, Sync) -> M) {
    let stories = asked("POWER_CUTS").unwrap_or(CUTS).div_ceil(cuts_each);
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..stories + 1,
    };
    for seed in seeds {
        let mut random = Random::new(seed);
        if let Err(why) = cut(&mut start(seed, Sync::Keeps), cuts_each, &mut random) {
            panic!("SEED={seed}: {why}");
        }
    }
}

/// How many of some stories go wrong on disks that lie.
fn caught<M: Machine>(stories: u64, start: impl Fn(u64, Sync) -> M) -> u64 {
    // A store that finds itself broken may also panic.
    let fails = |seed: &u64| {
        let story = || cut(&mut start(*seed, Sync::Lies), 5, &mut Random::new(*seed));
        !matches!(catch_unwind(AssertUnwindSafe(story)), Ok(Ok(())))
    };
    (1..=stories).filter(fails).count() as u64
}

/// A damaged store is no store.
fn check_store(disk: &Disk) -> Result<(), String> {
    let disk = disk.moved_to(&Power::steady());
    let mut database = Builder::new()
        .set_cache_size(1 << 20)
        .create_with_backend(disk)
        .map_err(|error| format!("the store does not open: {error}"))?;
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the store had to be repaired after its recovery".to_owned()),
        Err(error) => Err(format!("the store is damaged: {error}")),
    }
}
