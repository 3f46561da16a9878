//! What facts and pools weigh in the books: resident memory of this process before and after a million
//! facts, once over few pools and once a pool each. The books alone. Invariant: nothing else is
//! allocated between the two looks, and what was there before is not given back.

use shared::fact::Kind;

use super::figure::{Figure, each};
use super::late::{Story, empty_books};
use super::machine::resident_bytes;
use super::mix::ITEMS;
use super::{Outcome, Settings};

/// Times the mix's items: a million pools.
const SITES: u32 = 500;
const FACTS: u64 = 1_000_000;
const FEW_POOLS: u64 = 1_000;

/// Looks at the books of a million facts twice.
pub fn run(settings: &Settings) -> Outcome {
    let empty = empty_books(settings, SITES)?;
    settings.say("memory: a million facts over a thousand pools");
    let mut few = Story::new(&empty, SITES);
    let of_few = grown(&mut few, FEW_POOLS)?;
    settings.say("memory: a million facts, a pool each");
    // The first story stays: what it gave back would hide what the second one takes.
    let mut many = Story::new(&empty, SITES);
    let of_many = grown(&mut many, FACTS)?;
    drop((few, many));
    Ok(vec![
        Figure::new("a fact, among a thousand pools", each(of_few, FACTS), "B"),
        Figure::new("a pool, with its first fact", each(of_many, FACTS), "B"),
        Figure::new("a pool alone", each(of_many.saturating_sub(of_few), FACTS), "B"),
    ])
}

/// By how much the process grew while goods came in, the pools in turn.
fn grown(story: &mut Story, pools: u64) -> Result<u64, super::BenchError> {
    debug_assert!(pools <= u64::from(SITES * ITEMS));
    // Whatever the first fact needs once.
    story.take(0, (Kind::ProductionIn, 9, Some(1_000)))?;
    let before = resident_bytes()?;
    for number in 0..FACTS {
        story.take(number % pools, (Kind::ProductionIn, 9, Some(1_000)))?;
    }
    Ok(resident_bytes()?.saturating_sub(before))
}
