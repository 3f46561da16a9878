//! The books against the naive model: after every run and settle of generated histories both say
//! the same of every balance, pool, open item and of what is left out.
//!
//! A history that fails is cut down to the steps that matter and printed. `SEED=n` runs one seed,
//! `HISTORIES=n` another number of them.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hq_server::books::{Books, Entry};
use shared::fact::statement::{Stamp, Statement};
use tests::agreement::{Standing, take};
use tests::history::{History, Shape, Step, history};
use tests::model::{Model, Written};
use tests::random::Random;

/// How many histories a run of the tests draws, beside the regressions.
const HISTORIES: u64 = 300;

/// The shape, history and delivery of a seed.
fn drawn(seed: u64) -> (Shape, History, Vec<Step>) {
    let mut random = Random::new(seed ^ 0x5eed);
    let shape = Shape::draw(&mut random);
    let history = history(seed, &shape);
    let delivery = history.delivery(&mut random);
    (shape, history, delivery)
}

/// Compares after every step, or says what differs.
fn compare(history: &History, delivery: &[Step]) -> Result<(), String> {
    let mut books = Books::new();
    let mut known: Vec<Written> = Vec::new();
    for (number, step) in delivery.iter().enumerate() {
        take(&mut books, history, step);
        if let Step::Run { log, facts } = step {
            known.extend(history.part(*log, facts.clone()));
        }
        books.apply(&Entry::Settle);
        books.check().map_err(|broken| format!("step {number}: {broken}"))?;
        let model = Model::of(&known);
        let differences = Standing::of_model(&model).differences(&Standing::of_books(&books));
        if !differences.is_empty() {
            let left_out = (
                model.left_out(),
                books.waiting().map(|(_, group)| &group.why).collect::<Vec<_>>(),
            );
            return Err(format!("step {number} (model and books):\n{differences}{left_out:?}\n"));
        }
    }
    Ok(())
}

/// As `compare`, also where something panics.
fn attempt(history: &History, delivery: &[Step]) -> Result<(), String> {
    let caught = catch_unwind(AssertUnwindSafe(|| compare(history, delivery)));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(text.unwrap_or_default())
    })
}

/// Cuts a failing delivery down to steps of single groups that all matter.
fn shrunk(history: &History, delivery: &[Step]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, step) in delivery.iter().enumerate() {
        match step {
            Step::Settle => steps.push(Step::Settle),
            // Settings that come before everything else stay so.
            Step::Run { .. } if number == 0 && history.settings > 0 => steps.push(step.clone()),
            Step::Run { log, facts } => {
                let groups = history.logs[*log].groups().into_iter();
                let groups =
                    groups.filter(|group| facts.start <= group.start && group.end <= facts.end);
                steps.extend(groups.map(|facts| Step::Run { log: *log, facts }));
            }
        }
    }
    if attempt(history, &steps).is_ok() {
        return delivery.to_vec();
    }
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut start = usize::from(history.settings > 0);
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + size).min(steps.len()));
            if attempt(history, &fewer).is_err() {
                steps = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    steps
}

/// The facts of a delivery in words.
fn told(history: &History, steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let Step::Run { log, facts } = step else {
            text += "settle\n";
            continue;
        };
        if *log == 0 && facts.end == history.settings {
            text += "all settings\n";
            continue;
        }
        for written in history.part(*log, facts.clone()) {
            let what = match (Stamp::parse(&written.fact), Statement::parse(&written.fact)) {
                (Ok(stamp), Ok(statement)) => {
                    let (capture, at) = (stamp.capture, stamp.occurred_at);
                    format!(
                        "{capture} at {at} recorded {} left {}: {statement:?}",
                        stamp.recorded_at, stamp.group_left
                    )
                }
                _ => "unreadable".to_owned(),
            };
            let place = format!("site {} seq {}", written.site, written.seq);
            writeln!(text, "{place} {}", brief(&what)).expect("a text can be written to");
        }
    }
    text
}

/// Without the fields that say nothing.
fn brief(what: &str) -> String {
    let mut text = what.replace("figure: Scaled ", "");
    for noise in [
        ", lot: None",
        ", serial: None",
        ", expiry: None",
        ", tax_code: None",
        ", status: None",
        ", order: None",
        ", document: None",
        ", reason: None",
        ", other_site: None",
        ", cost: None",
        ", price: None",
        ", refers_to: None",
        ", partner: None",
        ", invoice_later: false",
        ", category: None",
        ", movement: None",
        ", site: None",
        ", document_date: None",
        ", due_date: None",
    ] {
        text = text.replace(noise, "");
    }
    text
}

fn kept() -> Vec<u64> {
    include_str!("regressions/books.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

#[test]
fn agree_with_the_model_on_generated_histories() {
    let drawn_seeds = 1..=asked("HISTORIES").unwrap_or(HISTORIES);
    let seeds: Vec<u64> = match asked("SEED") {
        Some(seed) => vec![seed],
        None => kept().into_iter().chain(drawn_seeds).collect(),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let (shape, history, delivery) = drawn(seed);
        if let Err(why) = attempt(&history, &delivery) {
            let steps = shrunk(&history, &delivery);
            let why = attempt(&history, &steps).err().unwrap_or(why);
            println!("SEED={seed} {shape:?}: {why}\n{}", told(&history, &steps));
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "histories differ, run again with SEED=n: {failed:?}");
}
