//! Goods valued in order on one core: pools alone, without accounts, vouchers or facts. Beside it the
//! time of a walk over the same pools in the same order that only adds, which is what memory allows.

use std::time::{Duration, Instant};

use hq_server::books::valuation::{FactId, Stock, UnitCost};
use shared::fact::statement::CostMethod;

use super::figure::{Figure, nanoseconds_each, per_second};
use super::{Outcome, Settings, Within};
use crate::random::Random;

const ITEMS: u32 = 10_000;
const SITES: [u32; 2] = [50, 1_000];
const METHODS: [CostMethod; 3] =
    [CostMethod::MovingAverage, CostMethod::Fifo, CostMethod::Standard];
/// Facts of a piece between two looks at the clock.
const PIECE: usize = 100_000;
const AIM: f64 = 3_000_000.0;

/// A fact as a pool sees it: positive comes in.
#[derive(Clone, Copy)]
struct Step {
    pool: u32,
    units: i64,
    value: i64,
}

/// Folds what movements of ten thousand items do to their pools.
pub fn run(settings: &Settings) -> Outcome {
    let mut figures = Vec::new();
    for sites in SITES {
        let mut random = Random::new(u64::from(sites));
        let steps: Vec<Step> = (0..PIECE * 40).map(|_| step(&mut random, sites)).collect();
        let pools = (sites * ITEMS) as usize;
        let (elapsed, facts) = walk(settings.measure, &steps, pools);
        let nanoseconds = nanoseconds_each(elapsed, facts);
        figures.push(Figure::new(
            format!("{sites} sites: a walk that adds"),
            nanoseconds,
            "ns/fact",
        ));
        for method in METHODS {
            settings.say(&format!("valuation: {} over {sites} sites", method.word()));
            let (elapsed, facts) = fold(settings.measure, method, &steps, pools)?;
            let what = format!("{sites} sites: {}", method.word());
            figures.push(Figure::new(
                format!("{what}, a fact"),
                nanoseconds_each(elapsed, facts),
                "ns/fact",
            ));
            figures.push(Figure::new(what, per_second(facts, elapsed), "facts/s").at_least(AIM));
        }
    }
    figures.push(Figure::count("a pool without layers", size_of::<Stock>() as u64, "B"));
    Ok(figures)
}

/// Goods come in larger lots than they leave.
fn step(random: &mut Random, sites: u32) -> Step {
    let pool = random.number(sites * ITEMS);
    if random.chance(1, 4) {
        let units = random.between(10, 100);
        Step { pool, units, value: units * random.between(900, 1_100) }
    } else {
        Step { pool, units: -random.between(1, 20), value: 0 }
    }
}

fn walk(measure: Duration, steps: &[Step], pools: usize) -> (Duration, u64) {
    let mut sums = vec![(0i64, 0i64); pools];
    let (started, mut facts) = (Instant::now(), 0u64);
    for piece in steps.chunks(PIECE).cycle() {
        for step in piece {
            let sum = &mut sums[step.pool as usize];
            *sum = (sum.0.wrapping_add(step.units), sum.1.wrapping_add(step.value));
        }
        facts += piece.len() as u64;
        if started.elapsed() >= measure {
            break;
        }
    }
    std::hint::black_box(&sums);
    (started.elapsed(), facts)
}

fn fold(
    measure: Duration,
    method: CostMethod,
    steps: &[Step],
    pools: usize,
) -> Result<(Duration, u64), super::BenchError> {
    let mut stocks = vec![Stock::from((method, UnitCost::of(1_000, 1))); pools];
    let (mut taken, mut covered) = (Vec::new(), Vec::new());
    let (started, mut facts) = (Instant::now(), 0u64);
    for piece in steps.chunks(PIECE).cycle() {
        for (number, step) in (0u32..).zip(piece) {
            let (stock, fact) = (&mut stocks[step.pool as usize], FactId(number));
            if step.units > 0 {
                stock
                    .bring_in(fact, step.units, step.value, &mut covered)
                    .within("bringing goods in")?;
                covered.clear();
            } else {
                stock.take_out(fact, -step.units, &mut taken).within("taking goods out")?;
                taken.clear();
            }
        }
        facts += piece.len() as u64;
        if started.elapsed() >= measure {
            break;
        }
    }
    std::hint::black_box(&stocks);
    Ok((started.elapsed(), facts))
}
