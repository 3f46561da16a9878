//! What `AdventureWorks` buys and sells and does not make, under FIFO: 28 products, 18,952 rows. The
//! books alone take the two files in either order; every sale's cost and every layer that is left
//! must be what a card by hand says.

use std::collections::BTreeMap;
use std::path::Path;

use hq_server::books::Books;
use shared::fact::Kind;
use shared::fact::statement::{CostMethod, Measure, Movement, Role, Statement};
use shared::ids::{Capture, CompanyNo, ItemNo, SiteNo};
use shared::money::Amount;
use shared::quantity::Scaled;
use shared::time::{Day, Month, Timestamp};

use super::books_alone::{BooksAlone, Log, PARTNER, ZONE, price, unit};
use super::csv_error;
use super::fifo_by_hand::{Card, Row, cards};
use super::online_retail_lines::figure;
use crate::processes::ProcessError;

/// Older rows, newer rows.
const FILES: [&str; 2] =
    ["Production.TransactionHistoryArchive.csv.gz", "Production.TransactionHistory.csv.gz"];
/// As many as are bought, sold and not made; counted in the set.
const PRODUCTS: usize = 28;
const ROWS: usize = 18_952;
const SITE: SiteNo = SiteNo(1);

/// Folds the set in either order, prints what came of it and returns what is wrong.
pub fn run(folder: &Path) -> Result<Vec<String>, ProcessError> {
    let [older, newer] = resale(FILES.map(|file| read(&folder.join(file))))?;
    let all = [&older[..], &newer[..]].concat();
    let cards = cards(&all);
    print(&cards, &all);
    let mut wrong = Vec::new();
    if (cards.len(), all.len()) != (PRODUCTS, ROWS) {
        wrong.push(format!("{} products with {} rows", cards.len(), all.len()));
    }
    if cards.values().any(|card| card.short) {
        wrong.push("a card is short: by hand there is no answer".to_owned());
    }
    let products: Vec<u32> = cards.keys().copied().collect();
    let in_order = [(1, &older), (2, &newer)];
    let newer_first = [(2, &newer), (1, &older)];
    for (arrival, parts) in [("in order", in_order), ("newer first", newer_first)] {
        let before = wrong.len();
        let taken = take(&products, &parts, &mut wrong)?;
        compare(&taken, &cards, &all, arrival, &mut wrong);
        let verdict = if wrong.len() == before { "all equal" } else { "DIFFERS" };
        println!("books, {arrival}: {verdict}");
    }
    Ok(wrong)
}

fn print(cards: &BTreeMap<u32, Card>, rows: &[Row]) {
    let sum = |of: fn(&Card) -> i64| Amount(cards.values().map(of).sum()).display(2);
    let sales = rows.iter().filter(|row| !row.bought).count();
    let layers: usize = cards.values().map(|card| card.left.len()).sum();
    println!("{} products, {} purchases, {sales} sales", cards.len(), rows.len() - sales);
    println!("bought for     {:>18}", sum(|card| card.bought_for));
    println!("cost of sales  {:>18}", sum(|card| card.sold_at.values().sum()));
    println!("left           {:>18} in {layers} layers", sum(value));
}

fn value(card: &Card) -> i64 {
    card.left.iter().map(|(_, cents)| cents).sum()
}

/// The rows of a file, and whether each is of something that is made.
fn read(file: &Path) -> Result<Vec<(Row, bool)>, ProcessError> {
    let unpacked = flate2::read::GzDecoder::new(std::fs::File::open(file)?);
    let mut reader = csv::Reader::from_reader(unpacked);
    let mut rows = Vec::new();
    for row in reader.deserialize::<BTreeMap<String, String>>() {
        let row = row.map_err(csv_error)?;
        let cell = |name: &str| row.get(name).map_or("", String::as_str);
        let whole = |name: &str| figure(cell(name), 0);
        let kind = cell("TransactionType");
        let read = Row {
            product: u32::try_from(whole("ProductID")?).unwrap_or(0),
            day: cell("TransactionDate").chars().take(10).collect(),
            number: whole("TransactionID")?.unsigned_abs(),
            bought: kind == "P",
            units: whole("Quantity")?,
            price: figure(cell("ActualCost"), 4)?,
        };
        rows.push((read, kind == "W"));
    }
    Ok(rows)
}

/// Only what is both bought and sold, and nowhere made.
fn resale(
    files: [Result<Vec<(Row, bool)>, ProcessError>; 2],
) -> Result<[Vec<Row>; 2], ProcessError> {
    let [older, newer] = files;
    let (older, newer) = (older?, newer?);
    let mut kinds: BTreeMap<u32, [bool; 3]> = BTreeMap::new();
    for (row, made) in older.iter().chain(&newer) {
        let [is_bought, is_sold, is_made] = kinds.entry(row.product).or_default();
        *is_bought |= row.bought;
        *is_sold |= !row.bought && !made;
        *is_made |= made;
    }
    let keep = |rows: Vec<(Row, bool)>| {
        let rows = rows.into_iter().map(|(row, _)| row);
        rows.filter(|row| kinds[&row.product] == [true, true, false]).collect()
    };
    Ok([keep(older), keep(newer)])
}

/// The books that took the parts, each a log of its own, and the capture of each row.
struct Taken {
    books: Books,
    captures: BTreeMap<u64, Capture>,
    products: BTreeMap<u32, ItemNo>,
}

fn take(
    products: &[u32],
    parts: &[(u32, &Vec<Row>)],
    wrong: &mut Vec<String>,
) -> Result<Taken, ProcessError> {
    let codes: Vec<String> = products.iter().map(u32::to_string).collect();
    let mut alone = BooksAlone::new(CostMethod::Fifo, ["SITE"], codes.iter().map(String::as_str))?;
    let products: BTreeMap<u32, ItemNo> = products.iter().copied().zip((1..).map(ItemNo)).collect();
    let mut captures = BTreeMap::new();
    for (number, rows) in parts {
        for row in *rows {
            let statement = [movement(row, products[&row.product])?];
            // Devices 2 and 3: the first is HQ's.
            let log = Log { site: SITE, number: 1 + number };
            let capture = alone.state(log, times(row)?, &statement)?;
            captures.insert(row.number, capture);
        }
        alone.settle(wrong);
    }
    Ok(Taken { books: alone.books, captures, products })
}

fn movement(row: &Row, item: ItemNo) -> Result<Statement, ProcessError> {
    let figure = Scaled::new(row.units, 0).expect("a quantity of the set");
    let kind = if row.bought { Kind::Receipt } else { Kind::SaleIssue };
    let mut movement = Movement::new(kind, item, Measure { figure, unit: unit() });
    movement.price = Some(price(row.price, -4)?);
    movement.partner = Some(PARTNER.0);
    Ok(Statement::Movement(movement))
}

/// Rows of a day are in the order of their numbers: so they were recorded.
fn times(row: &Row) -> Result<(Timestamp, Timestamp), ProcessError> {
    let occurred_at = day(row)?.start(ZONE);
    let recorded_at = Timestamp(occurred_at.0 + row.number.cast_signed());
    Ok((occurred_at, recorded_at))
}

fn day(row: &Row) -> Result<Day, ProcessError> {
    row.day.parse().map_err(|_| ProcessError::Answer(format!("'{}' is no day", row.day)))
}

fn compare(
    taken: &Taken,
    cards: &BTreeMap<u32, Card>,
    rows: &[Row],
    arrival: &str,
    wrong: &mut Vec<String>,
) {
    let Taken { books, captures, products } = taken;
    let mut must = |what: String, found: i128, expected: i128| {
        if found != expected {
            wrong.push(format!("{arrival}: {what} is {found}, not {expected}"));
        }
    };
    for (product, card) in cards {
        let pool = books.pool(CompanyNo::FIRST, SITE, products[product]);
        let layers: Vec<(i64, i64)> = pool
            .into_iter()
            .flat_map(|pool| pool.state.stock.layers())
            .map(|layer| (layer.units, layer.value))
            .collect();
        must(format!("{product}: layers"), layers.len() as i128, card.left.len() as i128);
        for (at, (found, expected)) in layers.iter().zip(&card.left).enumerate() {
            must(format!("{product}: units of layer {at}"), found.0.into(), expected.0.into());
            must(format!("{product}: value of layer {at}"), found.1.into(), expected.1.into());
        }
        let stock = pool.map_or(0, |pool| pool.state.stock.value());
        must(format!("{product}: value"), stock.into(), value(card).into());
        for (number, cost) in &card.sold_at {
            let found = books.facts().find(captures[number]).map(|id| books.facts()[id].cost());
            must(
                format!("{product}: cost of sale {number}"),
                found.unwrap_or(-1).into(),
                (*cost).into(),
            );
        }
    }
    let left: i128 = cards.values().map(|card| i128::from(value(card))).sum();
    must("inventory".to_owned(), books.role_balance(Role::Inventory), left);
    let bought: i128 = cards.values().map(|card| i128::from(card.bought_for)).sum();
    let not_invoiced = -books.role_balance(Role::ReceivedNotInvoiced);
    must("received, not invoiced".to_owned(), not_invoiced, bought);
    let (found, expected) = (cost_of_sales(books), cost_by_month(cards, rows));
    for month in found.keys().chain(expected.keys()) {
        let of = |sums: &BTreeMap<Month, i128>| sums.get(month).copied().unwrap_or(0);
        must(format!("cost of sales of {month}"), of(&found), of(&expected));
    }
}

fn cost_of_sales(books: &Books) -> BTreeMap<Month, i128> {
    let mut sums = BTreeMap::new();
    for (account, month, _, turnover) in books.ledger().rows() {
        if books.settings().role_of(account) == Some(Role::CostOfSales) {
            *sums.entry(month).or_default() += turnover.net();
        }
    }
    sums
}

fn cost_by_month(cards: &BTreeMap<u32, Card>, rows: &[Row]) -> BTreeMap<Month, i128> {
    let mut sums = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.bought) {
        let cost = cards[&row.product].sold_at[&row.number];
        let month: Month = row.day[..7].parse().expect("the row's day was read");
        *sums.entry(month).or_default() += i128::from(cost);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real_input::data_set;

    #[test]
    fn the_books_say_what_a_card_by_hand_says() {
        let Some(folder) = data_set("adventureworks") else { return };
        assert_eq!(run(&folder).expect("a readable set"), Vec::<String>::new());
    }

    #[test]
    fn a_card_takes_from_its_oldest_purchase() {
        let row = |number, bought, units, price| Row {
            product: 1,
            day: "2026-11-01".to_owned(),
            number,
            bought,
            units,
            price,
        };
        // 3 for 10.00, 2 for 8.00; then 1, 3 and 2 are sold.
        let rows = [
            row(3, false, 1, 0),
            row(1, true, 3, 33_333),
            row(2, true, 2, 40_000),
            row(4, false, 3, 0),
            row(5, false, 2, 0),
        ];
        let card = &cards(&rows)[&1];
        assert_eq!(card.sold_at, BTreeMap::from([(3, 333), (4, 667 + 400), (5, 400)]));
        assert!(card.left.is_empty() && card.short);
    }
}
