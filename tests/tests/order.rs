//! Arrival leaves no trace: one history in many orders of arrival, cuts of runs and with repeated
//! runs ends in the same books. Compares the books with themselves; `books.rs` compares them with
//! the model.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use data_encoding::HEXLOWER;
use hq_server::books::{Books, Entry, RULES, Voucher};
use shared::fact::effective::LogRank;
use shared::fact::statement::{CostMethod, MasterData, PeriodAction, PeriodStep, Stamp, Statement};
use shared::ids::{Capture, DeviceNo, Seq, SiteNo};
use shared::time::{OffsetMinutes, Timestamp};
use tests::agreement::{ClosedMonths, Standing, deliver, take};
use tests::arrival::{self, Arrival};
use tests::history::{Shape, history};
use tests::random::Random;

/// How many histories a run of the tests draws.
const HISTORIES: u64 = 60;

/// In how many orders each history arrives.
const ORDERS: u64 = 16;

/// Delivers facts in different orders, or says how two of them differ.
fn compare(orders: impl Iterator<Item = Vec<Arrival>>) -> Result<(), String> {
    let mut first: Option<Standing> = None;
    for (number, arrivals) in orders.enumerate() {
        let closes = arrival::closes(&arrivals);
        let books = deliver(&arrivals);
        books.check().map_err(|broken| format!("order {number}: {broken}"))?;
        if deliver(&arrivals).state_hash() != books.state_hash() {
            return Err(format!("order {number}: a rebuild gives other books"));
        }
        let mut standing = Standing::of_books(&books);
        if closes {
            standing = standing.without_months();
        }
        let differences = first.get_or_insert_with(|| standing.clone()).differences(&standing);
        if !differences.is_empty() {
            return Err(format!("orders 0 and {number}:\n{differences}"));
        }
    }
    Ok(())
}

/// As `compare`, also where something panics.
fn attempt(orders: impl Iterator<Item = Vec<Arrival>>) -> Result<(), String> {
    caught(|| compare(orders))
}

fn caught(run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(text.unwrap_or_default())
    })
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

#[test]
fn any_order_of_arrival_ends_in_the_same_books() {
    let from = asked("FROM").unwrap_or(1);
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + asked("HISTORIES").unwrap_or(HISTORIES),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let mut random = Random::new(seed ^ 0xdeaf);
        let shape = Shape::draw(&mut random);
        let history = history(seed, &shape);
        if let Err(why) = attempt((0..ORDERS).map(|_| history.delivery(&mut random))) {
            println!("SEED={seed} {shape:?}: {why}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "orders differ, run again with SEED=n: {failed:?}");
}

#[test]
fn any_order_of_arrival_ends_in_the_same_layers() {
    let from = asked("FROM").unwrap_or(1);
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + asked("HISTORIES").unwrap_or(HISTORIES),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let mut random = Random::new(seed ^ 0x1a7e);
        let mut shape = Shape::draw(&mut random);
        shape.method = if random.chance(2, 3) { CostMethod::Fifo } else { CostMethod::Lifo };
        let history = history(seed, &shape);
        if let Err(why) = attempt((0..ORDERS).map(|_| history.delivery(&mut random))) {
            println!("SEED={seed} {shape:?}: {why}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "orders differ, run again with SEED=n: {failed:?}");
}

#[test]
fn what_is_beyond_the_books_is_set_aside() {
    let from = asked("FROM").unwrap_or(1);
    for seed in from..from + asked("HISTORIES").unwrap_or(HISTORIES) {
        let mut random = Random::new(seed ^ 0xb16);
        let mut shape = Shape::draw(&mut random);
        (shape.extreme, shape.short_ships) = (true, random.chance(2, 3));
        let history = history(seed, &shape);
        if let Err(why) = attempt((0..4).map(|_| history.delivery(&mut random))) {
            panic!("SEED={seed} {shape:?}: {why}");
        }
    }
}

/// The model does not know what is late; the books hold their own invariants, and closed months.
#[test]
fn closed_months_stay_as_they_are_whichever_month_bears_what_is_late() {
    let from = asked("FROM").unwrap_or(1);
    for seed in from..from + asked("HISTORIES").unwrap_or(HISTORIES) {
        let mut random = Random::new(seed ^ 0xf0d);
        let mut shape = Shape::draw(&mut random);
        (shape.months, shape.closes, shape.forward) = (true, true, random.chance(3, 4));
        let arrivals = history(seed, &shape).delivery(&mut random);
        if let Err(why) = caught(|| keeps_closed_months(&arrivals)) {
            panic!("SEED={seed} {shape:?}: {why}");
        }
    }
}

fn keeps_closed_months(arrivals: &[Arrival]) -> Result<(), String> {
    let (mut books, mut closed) = (Books::keeping_states_every(1), ClosedMonths::default());
    for (number, arrival) in arrivals.iter().enumerate() {
        let effects = take(&mut books, arrival);
        books.apply(&Entry::Settle);
        books.check().map_err(|broken| format!("step {number}: {broken}"))?;
        closed.look(&books, arrival, &effects).map_err(|why| format!("step {number}: {why}"))?;
    }
    Ok(())
}

/// HQ's rules, in a log of their own.
fn rules(number: i64, counter: u64) -> Arrival {
    let data = MasterData::Rules { number };
    by_hq(&Statement::MasterData { valid_from: None, data }, counter)
}

fn by_hq(statement: &Statement, counter: u64) -> Arrival {
    let at = Timestamp(1_772_000_000_000);
    let stamp = Stamp {
        capture: Capture { device: DeviceNo(77), counter },
        recorded_at: at,
        occurred_at: at,
        utc_offset: OffsetMinutes(0),
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    };
    let facts = vec![statement.to_fact(&stamp).expect("a legal fact")];
    Arrival::Run { site: SiteNo::HQ, rank: LogRank(7), first: Seq(counter), facts }
}

/// Every kept history under rules 1, newer rules from its middle on, and a month closed before.
fn across_rules(arrivals: &[Arrival], number: i64) -> Vec<Arrival> {
    let middle = arrivals.len() / 2;
    let month = Timestamp(1_768_197_600_000).day(OffsetMinutes(480)).month();
    let close = PeriodAction { month, step: PeriodStep::CloseStock, reason: None };
    let close = by_hq(&Statement::PeriodAction(close), 2);
    [&[rules(1, 1)][..], &arrivals[..middle], &[close, rules(number, 3)], &arrivals[middle..]]
        .concat()
}

/// The same sequence gives the same books and the same journal, to the byte, also across a change
/// of rules: what earlier programs wrote stays what it is. `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn kept_histories_give_the_golden_books_across_a_change_of_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rules.txt");
    let mut text = String::from("kept history | rules from its middle on | state | journal\n");
    let mut released = 0;
    let kept = arrival::kept();
    let across = kept.iter().flat_map(|history| (2..=RULES).map(move |number| (history, number)));
    for ((name, arrivals), number) in across {
        let sequence = across_rules(arrivals, number);
        let hashes = |released: &mut usize| {
            let (mut books, mut journal) = (Books::new(), blake3::Hasher::new());
            for arrival in sequence.iter().chain([&Arrival::Settle]) {
                let effects = take(&mut books, arrival);
                *released += effects.released.len();
                effects.vouchers.iter().for_each(|voucher| note(&mut journal, voucher));
            }
            let journal = journal.finalize();
            (HEXLOWER.encode(&books.state_hash()), HEXLOWER.encode(journal.as_bytes()))
        };
        let (state, journal) = hashes(&mut released);
        assert_eq!(hashes(&mut 0), (state.clone(), journal.clone()), "{name}: a rebuild differs");
        writeln!(text, "{name} | {number} | {state} | {journal}")
            .expect("a text can be written to");
    }
    assert!(released > 0, "no close waited for its rules");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(text, golden);
}

/// Every figure of a voucher, in order.
fn note(journal: &mut blake3::Hasher, voucher: &Voucher) {
    let capture = |fact: Option<Capture>| {
        fact.map_or([-1, -1], |fact| [i128::from(fact.device.0), i128::from(fact.counter)])
    };
    let mut figures = vec![
        i128::from(voucher.company.0),
        i128::from(voucher.month.0),
        i128::from(voucher.number),
        i128::from(voucher.day.0),
        voucher.cause as i128,
    ];
    figures.extend(capture(voucher.fact));
    for line in &voucher.lines {
        let (item, partner) = (line.item.map(|item| item.0), line.partner.map(|partner| partner.0));
        let number = |number: Option<u32>| number.map_or(-1, i128::from);
        figures.extend([i128::from(line.account.0), line.side as i128, line.amount.0.into()]);
        figures.extend([i128::from(line.site.0), number(item), number(partner)]);
        figures.extend(capture(line.fact));
    }
    for figure in figures {
        journal.update(&figure.to_le_bytes());
    }
}

#[test]
fn any_order_of_kept_arrivals_ends_in_the_same_books() {
    for (name, arrivals) in arrival::kept() {
        let mut random = Random::new(1);
        let orders = (0..ORDERS).map(|_| arrival::shuffled(&arrivals, &mut random));
        if let Err(why) = attempt(orders) {
            panic!("{name}: {why}");
        }
    }
}
