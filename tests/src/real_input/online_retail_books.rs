//! What HQ's books must say of Online Retail: the day file's sums, every line once, nothing below
//! zero, and what the naive model says. Reads HQ's own files once it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hq_server::books::Books;
use serde_json::Value;
use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::AccountNo;
use shared::money::Amount;
use shared::time::{Day, Month};

use super::online_retail::Openings;
use super::online_retail_lines::{DaySum, Input, Site, figure};
use super::{check_books, csv_error, open, written};
use crate::demo::stage::Headquarters;
use crate::processes::ProcessError;

/// What the set is known to be.
const LINES: u64 = 541_909;
const SITES: usize = 38;
const POOLS: usize = 19_761;
const OPENING_RECEIPTS: u64 = 19_681;
const OPENING_UNITS: i64 = 5_655_734;
/// Days with a price in thousandths whose lines, rounded, do not sum to the day.
const ROUNDED_DAYS: usize = 4;

/// Ends HQ, opens its files and compares.
pub(super) fn check(
    hq: Headquarters,
    folder: &Path,
    input: &Input,
    openings: Openings,
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let hq = open(hq)?;
    let written = written(&hq)?;
    let ledgers = hq.published().ledgers();
    let books = &ledgers.books;
    let stated = stated_days(&folder.join("per-day.csv"))?;
    let mut must = Must { wrong };
    check_counts(books, input, openings, &mut must);
    check_countries(folder, input, must.wrong)?;
    check_kinds(books, input, must.wrong);
    check_sums(books, &mut must);
    check_accounts(books, &mut must);
    check_days(books, input, &stated, must.wrong);
    check_books(books, &written, wrong);
    Ok(())
}

/// Prints a figure and notes where it is not as expected.
struct Must<'a> {
    wrong: &'a mut Vec<String>,
}

impl Must<'_> {
    fn count(&mut self, name: &str, found: impl Into<i128>, expected: impl Into<i128>) {
        let (found, expected) = (found.into(), expected.into());
        println!("{name:<46}{found:>16}");
        self.equal(name, found, expected);
    }

    fn amount(&mut self, name: &str, found: i128, expected: i128) {
        println!("{name:<46}{:>16}", money(found));
        self.equal(name, found, expected);
    }

    fn equal(&mut self, name: &str, found: i128, expected: i128) {
        if found != expected {
            self.wrong.push(format!("{name}: {found}, not {expected}"));
        }
    }
}

fn money(minor: i128) -> String {
    Amount(i64::try_from(minor).unwrap_or(i64::MAX)).display(2)
}

fn count(number: usize) -> i128 {
    number as i128
}

/// Every line and every opening receipt of every site is in the books once, as its own kind.
fn check_counts(books: &Books, input: &Input, openings: Openings, must: &mut Must<'_>) {
    println!();
    must.count("sites", count(input.sites.len()), count(SITES));
    let lines: u64 = input.sites.iter().map(Site::rows).sum();
    must.count("lines", lines, LINES);
    must.count("opening receipts", openings.receipts, OPENING_RECEIPTS);
    must.count("units in them", openings.units, OPENING_UNITS);
    let movements = || books.facts().iter().filter(|(_, record)| record.kind.is_movement());
    must.count("movements in the books", count(movements().count()), LINES + OPENING_RECEIPTS);
    let captures: BTreeSet<_> = movements().map(|(_, record)| record.capture).collect();
    must.count("of them different", count(captures.len()), LINES + OPENING_RECEIPTS);
    must.count("movements that wait", count(books.waiting().count()), 0);
    let unposted = movements().filter(|(_, record)| record.target != record.posted);
    must.count("movements not posted to the full", count(unposted.count()), 0);
    for kind in Kind::ALL {
        let of_kind = || movements().filter(|(_, record)| record.kind == *kind);
        let units: i64 = of_kind().map(|(_, record)| record.quantity.0).sum();
        if of_kind().count() > 0 {
            println!("  {:<44}{:>16} rows, {units} units", kind.word(), of_kind().count());
        }
    }
}

/// The set's own facts count the same lines in each country.
fn check_countries(
    folder: &Path,
    input: &Input,
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    let text = std::fs::read_to_string(folder.join("facts.json"))?;
    let facts: Value =
        serde_json::from_str(&text).map_err(|error| ProcessError::Answer(error.to_string()))?;
    for site in &input.sites {
        let stated = &facts["per_country"][&site.country]["lines"];
        if stated.as_u64() != Some(site.rows()) {
            wrong.push(format!("{} has {} lines, not {stated}", site.country, site.rows()));
        }
    }
    Ok(())
}

/// Every site has as many movements of each kind as the set has lines of it.
fn check_kinds(books: &Books, input: &Input, wrong: &mut Vec<String>) {
    let mut found: BTreeMap<(&str, Kind), u64> = BTreeMap::new();
    let sites: BTreeMap<_, _> = books.settings().sites().collect();
    for (_, record) in books.facts().iter().filter(|(_, record)| record.kind.is_movement()) {
        *found.entry((sites[&record.site].code.as_str(), record.kind)).or_default() += 1;
    }
    let mut expected: BTreeMap<(&str, Kind), u64> = BTreeMap::new();
    for site in &input.sites {
        let kinds = site.kinds.iter().map(|(kind, rows)| ((site.code.as_str(), *kind), *rows));
        expected.extend(kinds);
        expected.insert((site.code.as_str(), Kind::Receipt), site.openings().len() as u64);
    }
    expected.retain(|_, rows| *rows > 0);
    if found != expected {
        wrong.push(format!("movements by site and kind: {found:?}, not {expected:?}"));
    }
}

/// Stock, its account, and both sides of the ledger.
fn check_sums(books: &Books, must: &mut Must<'_>) {
    let moved: usize = books.pools().len();
    must.count("pools", count(moved), count(POOLS));
    let below = books.pools().iter().filter(|pool| pool.state.stock.quantity() < 0);
    must.count("pools below zero", count(below.count()), 0);
    let short = books.facts().iter().filter(|(_, record)| record.short);
    must.count("movements of what was not there", count(short.count()), 0);
    let inventory = books.role_balance(Role::Inventory);
    must.amount("inventory accounts = stock value", inventory, books.stock_value());
    let totals = books.ledger().totals();
    must.amount("trial balance, debit = credit", totals.debit, totals.credit);
    for (name, role) in [
        ("received, not invoiced", Role::ReceivedNotInvoiced),
        ("cost of sales", Role::CostOfSales),
        ("corrections of stock", Role::StockAdjustment),
        ("receivable", Role::Receivable),
    ] {
        println!("{name:<46}{:>16}", money(books.role_balance(role)));
    }
    // Their account takes scrap too.
    let gifts = books.facts().iter().filter(|(_, record)| record.kind == Kind::Issue);
    let gifts: i128 = gifts.map(|(_, record)| i128::from(record.posted.counter)).sum();
    println!("{:<46}{:>16}", "gifts to customers", money(gifts));
}

const fn is_sold(kind: Kind) -> bool {
    matches!(kind, Kind::SaleIssue | Kind::ServiceSale | Kind::CustomerReturn)
}

/// What is posted against customers by account and month, fact by fact, is what the ledger holds.
fn check_accounts(books: &Books, must: &mut Must<'_>) {
    let mut by_fact: BTreeMap<(AccountNo, Month), i128> = BTreeMap::new();
    for (_, record) in books.facts().iter().filter(|(_, record)| is_sold(record.kind)) {
        let key = (record.accounts.against, record.month);
        *by_fact.entry(key).or_default() += i128::from(record.posted.against);
    }
    let accounts: BTreeSet<AccountNo> = by_fact.keys().map(|(account, _)| *account).collect();
    let mut held: BTreeMap<(AccountNo, Month), i128> = BTreeMap::new();
    let rows = books.ledger().rows().filter(|(account, ..)| accounts.contains(account));
    for (account, month, _, turnover) in rows {
        *held.entry((account, month)).or_default() += turnover.net();
    }
    if by_fact != held {
        must.wrong.push("the ledger's months differ from the facts on an account".to_owned());
    }
    for (number, account) in books.settings().accounts().filter(|(no, _)| accounts.contains(no)) {
        let name = format!("  {} {}", account.code, account.name);
        println!("{name:<46}{:>16}", money(-books.ledger().balance(number)));
    }
}

/// The day file: lines, and the exact value in thousandths.
fn stated_days(file: &Path) -> Result<BTreeMap<Day, (u64, i64)>, ProcessError> {
    let mut days = BTreeMap::new();
    for row in csv::Reader::from_path(file).map_err(csv_error)?.records() {
        let row = row.map_err(csv_error)?;
        let no_day = || ProcessError::Answer(format!("'{}' is no day", &row[0]));
        let day: Day = row[0].parse().map_err(|_| no_day())?;
        let lines = row[1].parse().map_err(|_| no_day())?;
        days.insert(day, (lines, figure(&row[3], 3)?));
    }
    Ok(days)
}

/// Sales, returns and services of a day sum to the day file's value, but for the days whose lines
/// do not sum to it once each is rounded.
fn check_days(
    books: &Books,
    input: &Input,
    stated: &BTreeMap<Day, (u64, i64)>,
    wrong: &mut Vec<String>,
) {
    let mut posted: BTreeMap<Day, i64> = BTreeMap::new();
    for (_, record) in books.facts().iter().filter(|(_, record)| is_sold(record.kind)) {
        *posted.entry(record.document_day).or_default() -= record.posted.against;
    }
    let total: i64 = posted.values().sum();
    println!("\n{:<46}{:>16}", "sales less returns, with services", money(total.into()));
    let days: BTreeSet<_> = input.days.keys().chain(stated.keys()).chain(posted.keys()).collect();
    let mut rounded_days = 0;
    for day in &days {
        let own = input.days.get(day).copied().unwrap_or_default();
        let (lines, exact) = stated.get(day).copied().unwrap_or_default();
        let posted = posted.get(day).copied().unwrap_or_default();
        if (own.lines, own.exact) != (lines, exact) || own.rounded != posted {
            wrong.push(format!("{day}: {posted} cents posted, the day file says {exact}/10"));
        }
        if is_rounded(own) {
            let (file, difference) = (thousandths(exact), posted * 10 - exact);
            rounded_days += 1;
            println!(
                "  {day}: posted {}, day file {file}, difference {}: each line is rounded",
                money(posted.into()),
                thousandths(difference)
            );
        }
    }
    println!("{} days equal the day file to the cent", days.len() - rounded_days);
    if rounded_days != ROUNDED_DAYS {
        wrong.push(format!("{rounded_days} days differ by rounding, not {ROUNDED_DAYS}"));
    }
}

/// Whether the day's lines, each rounded, do not sum to the day.
const fn is_rounded(day: DaySum) -> bool {
    day.rounded * 10 != day.exact
}

fn thousandths(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let digits = amount.unsigned_abs();
    format!("{sign}{}.{:03}", digits / 1_000, digits % 1_000)
}
