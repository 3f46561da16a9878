//! Arrival leaves no trace: one history in many orders of arrival, cuts of runs and with repeated
//! runs ends in the same books. Compares the books with themselves; `books.rs` compares them with
//! the model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::agreement::{Standing, deliver};
use tests::history::{Shape, history};
use tests::random::Random;

/// How many histories a run of the tests draws, beside the regressions.
const HISTORIES: u64 = 60;

/// In how many orders each history arrives.
const ORDERS: u64 = 16;

/// Delivers a seed's history in different orders, or says how two of them differ.
fn compare(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed ^ 0xdeaf);
    let shape = Shape::draw(&mut random);
    let history = history(seed, &shape);
    let mut first: Option<Standing> = None;
    for order in 0..ORDERS {
        let steps = history.delivery(&mut random);
        let books = deliver(&history, &steps);
        books.check().map_err(|broken| format!("order {order}: {broken}"))?;
        if deliver(&history, &steps).state_hash() != books.state_hash() {
            return Err(format!("order {order}: a rebuild gives other books"));
        }
        let standing = Standing::of_books(&books);
        match &first {
            None => first = Some(standing),
            Some(first) => {
                let differences = first.differences(&standing);
                if !differences.is_empty() {
                    return Err(format!("orders 0 and {order} of {shape:?}:\n{differences}"));
                }
            }
        }
    }
    Ok(())
}

/// As `compare`, also where something panics.
fn attempt(seed: u64) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| compare(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(text.unwrap_or_default())
    })
}

fn kept() -> Vec<u64> {
    include_str!("regressions/order.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

#[test]
fn any_order_of_arrival_ends_in_the_same_books() {
    let drawn = 1..=asked("HISTORIES").unwrap_or(HISTORIES);
    let seeds: Vec<u64> = match asked("SEED") {
        Some(seed) => vec![seed],
        None => kept().into_iter().chain(drawn).collect(),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        if let Err(why) = attempt(seed) {
            println!("SEED={seed}: {why}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "orders differ, run again with SEED=n: {failed:?}");
}
