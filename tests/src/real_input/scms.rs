//! The SCMS delivery history: 10,324 lines to 43 countries, each a receipt, and 6,198 freights, each
//! a bill over the receipts that share it. The books alone take them as HQ's desk states them; every
//! line must bear what a clerk's list says.

use std::collections::BTreeMap;
use std::path::Path;

use hq_server::books::FactRecord;
use hq_server::own_log::{Desk, LandedCostDraft, LandedOnDraft};
use serde_json::Value;
use shared::fact::Kind;
use shared::fact::statement::{CostMethod, Measure, Movement, Role, Statement};
use shared::ids::{Capture, CompanyNo, ItemNo, SiteNo};
use shared::money::Amount;
use shared::quantity::Scaled;
use shared::time::{Day, Timestamp};

use super::books_alone::{BooksAlone, Log, PARTNER, ZONE, price, unit};
use super::csv_error;
use super::freight_by_hand::{Freight, Line, Shares, shares};
use super::online_retail_lines::figure;
use crate::processes::ProcessError;

const FILE: &str = "SCMS_Delivery_History_Dataset.csv";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The day on which the bills are entered: after every delivery.
const TODAY: &str = "2016-01-01";
/// Decimals of a pack's price: quantity x price then rounds to the line's value, which the set's
/// own price does not for 719 lines.
const PRICE_DECIMALS: i8 = 9;

/// A delivery.
#[derive(Debug)]
struct Delivery {
    line: Line,
    country: String,
    item: String,
    day: Day,
    packs: i64,
    /// As written.
    freight: String,
}

/// Folds the set, prints what came of it and returns what is wrong.
pub fn run(folder: &Path) -> Result<Vec<String>, ProcessError> {
    let deliveries = read(&folder.join(FILE))?;
    let lines: Vec<Line> = deliveries.iter().map(|delivery| delivery.line).collect();
    let shares = shares(&lines);
    let mut wrong = Vec::new();
    compare_facts(folder, &lines, &shares, &mut wrong)?;
    let taken = take(&deliveries, &shares, &mut wrong)?;
    let before = wrong.len();
    compare(&taken, &deliveries, &shares, &mut wrong);
    let verdict = if wrong.len() == before { "all equal" } else { "DIFFERS" };
    println!("books, every line and every pool: {verdict}");
    Ok(wrong)
}

fn read(file: &Path) -> Result<Vec<Delivery>, ProcessError> {
    let mut reader = csv::Reader::from_path(file).map_err(csv_error)?;
    let mut deliveries = Vec::new();
    for row in reader.deserialize::<BTreeMap<String, String>>() {
        let row = row.map_err(csv_error)?;
        let cell = |name: &str| row.get(name).map_or("", String::as_str);
        let freight = cell("Freight Cost (USD)");
        deliveries.push(Delivery {
            line: Line {
                number: number(cell("ID"))?,
                value: figure(cell("Line Item Value"), 2)?,
                freight: parse_freight(freight)?,
            },
            country: cell("Country").to_owned(),
            item: cell("Item Description").to_owned(),
            day: parse_day(cell("Delivered to Client Date"))?,
            packs: figure(cell("Line Item Quantity"), 0)?,
            freight: freight.to_owned(),
        });
    }
    Ok(deliveries)
}

fn number(text: &str) -> Result<u32, ProcessError> {
    text.parse().map_err(|_| ProcessError::Answer(format!("'{text}' is no line's number")))
}

/// An amount, `See ASN-85 (ID#:93)`, or words.
fn parse_freight(text: &str) -> Result<Freight, ProcessError> {
    if let Some((_, rest)) = text.split_once("(ID#:") {
        return number(rest.trim_end_matches(')')).map(Freight::With);
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return figure(text, 2).map(Freight::Amount);
    }
    Ok(Freight::None)
}

/// `02-Jun-06`; September has four letters.
fn parse_day(text: &str) -> Result<Day, ProcessError> {
    let mut parts = text.split('-');
    let mut part = || parts.next().unwrap_or_default();
    let (day, month, year) = (part().parse().ok(), part(), part().parse::<i32>().ok());
    let month = (1..).zip(MONTHS).find(|(_, name)| month.starts_with(name));
    let day = day.zip(year).zip(month);
    let day = day.and_then(|((day, year), (month, _))| Day::from_civil(2000 + year, month, day));
    day.ok_or_else(|| ProcessError::Answer(format!("'{text}' is no day")))
}

/// What the set's own facts say of its freight.
fn compare_facts(
    folder: &Path,
    lines: &[Line],
    shares: &BTreeMap<u32, Shares>,
    wrong: &mut Vec<String>,
) -> Result<(), ProcessError> {
    let text = std::fs::read_to_string(folder.join("facts.json"))?;
    let facts: Value =
        serde_json::from_str(&text).map_err(|error| ProcessError::Answer(error.to_string()))?;
    let freight: i64 = shares.values().flatten().map(|(_, share)| share).sum();
    let sharing = shares.values().map(Vec::len).sum::<usize>();
    let several = shares.values().filter(|shares| shares.len() > 1).count();
    println!("{} lines, {} freights over {sharing} of them", lines.len(), shares.len());
    println!("{several} freights are shared by two lines or more");
    let value: i64 = lines.iter().map(|line| line.value).sum();
    println!("value of the lines  {:>18}", Amount(value).display(2));
    println!("freight             {:>18}", Amount(freight).display(2));
    let mut must = |name: &str, found: String| {
        let expected = facts[name].as_str().map_or_else(|| facts[name].to_string(), str::to_owned);
        if found != expected {
            wrong.push(format!("{name} is {found}, not {expected}"));
        }
    };
    must("rows", lines.len().to_string());
    must("sum_line_item_value", plain(value));
    must("sum_freight_allocated", plain(freight));
    must("lines_in_numeric_groups", sharing.to_string());
    must("numeric_groups_with_2+_lines", several.to_string());
    Ok(())
}

/// Dollars and cents without marks between thousands.
fn plain(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The books, and what each line is in them.
struct Taken {
    alone: BooksAlone,
    captures: BTreeMap<u32, Capture>,
    countries: BTreeMap<String, SiteNo>,
    items: BTreeMap<String, ItemNo>,
}

fn take(
    deliveries: &[Delivery],
    shares: &BTreeMap<u32, Shares>,
    wrong: &mut Vec<String>,
) -> Result<Taken, ProcessError> {
    let numbered = |name: fn(&Delivery) -> &String| -> BTreeMap<String, u32> {
        let names: std::collections::BTreeSet<&String> = deliveries.iter().map(name).collect();
        names.into_iter().cloned().zip(1..).collect()
    };
    let countries = numbered(|delivery| &delivery.country);
    let items = numbered(|delivery| &delivery.item);
    let codes = |names: &BTreeMap<String, u32>| names.keys().cloned().collect::<Vec<_>>();
    let (sites, goods) = (codes(&countries), codes(&items));
    let (sites, goods) = (sites.iter().map(String::as_str), goods.iter().map(String::as_str));
    let mut taken = Taken {
        alone: BooksAlone::new(CostMethod::MovingAverage, sites, goods)?,
        captures: BTreeMap::new(),
        countries: countries.into_iter().map(|(name, site)| (name, SiteNo(site))).collect(),
        items: items.into_iter().map(|(name, item)| (name, ItemNo(item))).collect(),
    };
    for delivery in deliveries {
        taken.receive(delivery)?;
    }
    taken.alone.settle(wrong);
    let freights: BTreeMap<u32, &str> = deliveries
        .iter()
        .map(|delivery| (delivery.line.number, delivery.freight.as_str()))
        .collect();
    for (number, shares) in shares {
        taken.bill(freights[number], shares)?;
    }
    taken.alone.settle(wrong);
    Ok(taken)
}

impl Taken {
    fn receive(&mut self, delivery: &Delivery) -> Result<(), ProcessError> {
        let site = self.countries[&delivery.country];
        let figure = Scaled::new(delivery.packs, 0).expect("a quantity of the set");
        let measure = Measure { figure, unit: unit() };
        let mut movement = Movement::new(Kind::Receipt, self.items[&delivery.item], measure);
        movement.price = Some(price(price_of(delivery), -PRICE_DECIMALS)?);
        movement.partner = Some(PARTNER.0);
        let at = delivery.day.start(ZONE);
        let log = Log { site, number: 1 + site.0 };
        let capture = self.alone.state(log, (at, at), &[Statement::Movement(movement)])?;
        self.captures.insert(delivery.line.number, capture);
        Ok(())
    }

    /// A bill as a person enters it at HQ: an amount, the receipts, by value.
    fn bill(&mut self, amount: &str, sharing: &Shares) -> Result<(), ProcessError> {
        let on = |(number, _): &(u32, i64)| LandedOnDraft {
            of: self.captures[number].to_string(),
            weight: None,
        };
        let draft = LandedCostDraft {
            amount: amount.to_owned(),
            by: Some("value".to_owned()),
            receipts: sharing.iter().map(on).collect(),
            partner: Some(PARTNER.1.to_owned()),
            ..LandedCostDraft::default()
        };
        let now = TODAY.parse::<Day>().expect("a day").start(ZONE);
        let BooksAlone { books, catalogue, .. } = &self.alone;
        let group = Desk::new(catalogue, books, CompanyNo::FIRST, now)
            .and_then(|desk| desk.landed_cost(&draft));
        let group = group.map_err(|error| ProcessError::Answer(error.to_string()))?;
        let times: (Timestamp, Timestamp) = (now, now);
        self.alone.state_at_hq(times, &group.statements)?;
        Ok(())
    }
}

/// Of one pack, rounded; never negative.
fn price_of(delivery: &Delivery) -> i64 {
    let packs = i128::from(delivery.packs);
    let value = i128::from(delivery.line.value) * 10i128.pow(7);
    i64::try_from((2 * value + packs) / (2 * packs)).unwrap_or(i64::MAX)
}

fn compare(
    taken: &Taken,
    deliveries: &[Delivery],
    shares: &BTreeMap<u32, Shares>,
    wrong: &mut Vec<String>,
) {
    let books = &taken.alone.books;
    let mut must = |what: String, found: i128, expected: i128| {
        if found != expected {
            wrong.push(format!("{what} is {found}, not {expected}"));
        }
    };
    let borne: BTreeMap<u32, i64> = shares.values().flatten().copied().collect();
    let mut pools: BTreeMap<(&str, &str), (i128, i128)> = BTreeMap::new();
    for Delivery { line, country, item, packs, .. } in deliveries {
        let share = borne.get(&line.number).copied().unwrap_or(0);
        let record = books.facts().find(taken.captures[&line.number]).map(|id| &books.facts()[id]);
        let landed = record.map_or(-1, FactRecord::landed);
        must(format!("freight of line {}", line.number), landed.into(), share.into());
        let stock = record.map_or(-1, |record| record.target.stock);
        must(format!("cost of line {}", line.number), stock.into(), (line.value + share).into());
        let (units, value) = pools.entry((country, item)).or_default();
        *units += i128::from(*packs);
        *value += i128::from(line.value + share);
    }
    for ((country, item), (units, value)) in &pools {
        let (site, number) = (taken.countries[*country], taken.items[*item]);
        let stock = books.pool(CompanyNo::FIRST, site, number).map(|pool| &pool.state.stock);
        let (held, worth) = stock.map_or((0, 0), |stock| (stock.quantity(), stock.value()));
        must(format!("packs of {item} in {country}"), held.into(), *units);
        must(format!("value of {item} in {country}"), worth.into(), *value);
    }
    let freight: i128 = borne.values().map(|share| i128::from(*share)).sum();
    let value: i128 = deliveries.iter().map(|delivery| i128::from(delivery.line.value)).sum();
    must("inventory".to_owned(), books.role_balance(Role::Inventory), value + freight);
    must("owed for freight".to_owned(), -books.role_balance(Role::Payable), freight);
    must("clearing".to_owned(), books.role_balance(Role::LandedCostClearing), 0);
    let not_invoiced = -books.role_balance(Role::ReceivedNotInvoiced);
    must("received, not invoiced".to_owned(), not_invoiced, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real_input::data_set;

    #[test]
    fn every_line_bears_what_a_clerk_says() {
        let Some(folder) = data_set("scms") else { return };
        assert_eq!(run(&folder).expect("a readable set"), Vec::<String>::new());
    }

    #[test]
    fn the_last_line_takes_what_is_left() {
        let line = |number, value, freight| Line { number, value, freight };
        let lines = [
            line(3, 100, Freight::With(7)),
            line(5, 900, Freight::None),
            line(7, 100, Freight::Amount(1_000)),
            line(9, 100, Freight::With(7)),
            line(11, 0, Freight::Amount(5)),
        ];
        let expected =
            BTreeMap::from([(7, vec![(3, 333), (7, 333), (9, 334)]), (11, vec![(11, 5)])]);
        assert_eq!(shares(&lines), expected);
    }

    #[test]
    fn cells_are_read_as_the_set_writes_them() {
        assert_eq!(parse_freight("See ASN-85 (ID#:93)").expect("reads"), Freight::With(93));
        assert_eq!(parse_freight("780.34").expect("reads"), Freight::Amount(78_034));
        assert_eq!(parse_freight("Invoiced Separately").expect("reads"), Freight::None);
        assert_eq!(parse_day("01-Sept-06").expect("reads").to_string(), "2006-09-01");
    }
}
