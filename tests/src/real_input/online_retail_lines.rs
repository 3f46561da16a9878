//! The lines of Online Retail: what kind of movement each is, the file of each country's lines, and
//! what the books must say of them. Knows no books; the same rules stand in the import map, and the
//! run and a test compare the two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use shared::decimal;
use shared::fact::Kind;
use shared::money::round_div;
use shared::time::Day;

use crate::processes::ProcessError;

/// What decides the kind of a line, and what it is worth.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// C... cancels, A... adjusts bad debt.
    pub invoice: &'a str,
    /// Five digits and letters, or the name of a service.
    pub code: &'a str,
    /// Signed.
    pub quantity: i64,
    /// Of one, in thousandths.
    pub price: i64,
    /// The line names a customer.
    pub has_customer: bool,
}

/// Five digits and any letters: goods. All other codes are services.
pub fn is_stock_code(code: &str) -> bool {
    let digits = code.bytes().take_while(u8::is_ascii_digit).count();
    digits == 5 && code.bytes().skip(5).all(|byte| byte.is_ascii_alphabetic())
}

impl Line<'_> {
    /// The movement that the line is.
    pub fn kind(&self) -> Kind {
        if !is_stock_code(self.code) {
            return Kind::ServiceSale;
        }
        match (self.invoice.starts_with('C'), self.quantity, self.price, self.has_customer) {
            (true, ..) => Kind::CustomerReturn,
            (_, i64::MIN..0, ..) | (_, _, 0, false) => Kind::Adjustment,
            (_, _, 0, true) => Kind::Issue,
            _ => Kind::SaleIssue,
        }
    }

    /// By how much it changes what is on hand.
    pub fn stock_change(&self) -> i64 {
        match self.kind() {
            Kind::ServiceSale => 0,
            Kind::Adjustment => self.quantity,
            _ => -self.quantity,
        }
    }
}

/// One country.
#[derive(Debug)]
pub struct Site {
    /// Its code at HQ.
    pub code: String,
    /// The country.
    pub country: String,
    /// Its lines, in the order of the set.
    pub file: PathBuf,
    /// How many there are of each kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// By stock code: when something moved, and how much came or went.
    pools: BTreeMap<String, Vec<(String, i64)>>,
}

impl Site {
    /// All its lines.
    pub fn rows(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// How many stock codes moved there.
    pub fn pools(&self) -> usize {
        self.pools.len()
    }

    /// By stock code: what must have been there before the first line, so that nothing ever leaves
    /// that is not there. Codes that need nothing are left out.
    pub fn openings(&self) -> BTreeMap<&str, i64> {
        let needed = |moves: &Vec<(String, i64)>| {
            let mut moves: Vec<_> = moves.iter().collect();
            moves.sort_by_key(|(time, _)| time);
            let balances = moves.iter().scan(0, |balance, (_, change)| {
                *balance += change;
                Some(*balance)
            });
            -balances.min().unwrap_or(0).min(0)
        };
        let pools = self.pools.iter().map(|(code, moves)| (code.as_str(), needed(moves)));
        pools.filter(|(_, units)| *units > 0).collect()
    }
}

/// What the set says of an item.
#[derive(Debug, Default)]
pub struct Item {
    /// The first description.
    pub name: String,
    /// The first price above zero, in thousandths.
    pub price: Option<i64>,
}

/// Quantity x price of the lines of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySum {
    /// How many lines.
    pub lines: u64,
    /// Exact, in thousandths.
    pub exact: i64,
    /// Each line rounded, in cents.
    pub rounded: i64,
}

/// The whole set.
#[derive(Debug, Default)]
pub struct Input {
    /// By country.
    pub sites: Vec<Site>,
    /// By code; upper and lower case are two.
    pub items: BTreeMap<String, Item>,
    /// The numbers of customers.
    pub customers: BTreeSet<String>,
    /// By day.
    pub days: BTreeMap<Day, DaySum>,
}

/// Splits the set's file into one of each country below `to`.
pub fn read(file: &Path, to: &Path) -> Result<Input, ProcessError> {
    let mut reader = csv::Reader::from_reader(zstd::Decoder::new(File::open(file)?)?);
    let header = reader.headers().map_err(super::csv_error)?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|each| each == name);
        found.ok_or_else(|| ProcessError::Answer(format!("the set has no column {name}")))
    };
    let names = ["InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID", "Country"];
    let [invoice, code, quantity, price, customer, country] = names.map(column);
    let columns = [invoice?, code?, quantity?, price?, customer?, country?];
    let (time, name) = (column("InvoiceDate")?, column("Description")?);
    let mut split = Split { to, header: &header, input: Input::default(), files: BTreeMap::new() };
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).map_err(super::csv_error)? {
        let [invoice, code, quantity, price, customer, country] = columns.map(|at| &row[at]);
        let (quantity, price) = (figure(quantity, 0)?, figure(price, 3)?);
        let has_customer = !customer.is_empty();
        if let Some((number, _)) = customer.split_once('.') {
            split.input.customers.insert(number.to_owned());
        }
        let line = Line { invoice, code, quantity, price, has_customer };
        split.add(&line, country, &row[time], &row[name])?;
        split.write(country, &row).map_err(super::csv_error)?;
    }
    for mut file in split.files.into_values() {
        file.1.flush()?;
    }
    Ok(split.input)
}

/// A decimal of the set as a whole number of its last digit.
pub fn figure(text: &str, decimals: u8) -> Result<i64, ProcessError> {
    let figure = decimal::parse(text).ok().and_then(|figure| figure.units(decimals).ok());
    figure.ok_or_else(|| ProcessError::Answer(format!("'{text}' is no figure")))
}

struct Split<'a> {
    to: &'a Path,
    header: &'a csv::StringRecord,
    input: Input,
    /// By country: its place among the sites, and its file.
    files: BTreeMap<String, (usize, csv::Writer<File>)>,
}

impl Split<'_> {
    fn add(
        &mut self,
        line: &Line<'_>,
        country: &str,
        time: &str,
        name: &str,
    ) -> Result<(), ProcessError> {
        let no_day = || ProcessError::Answer(format!("'{time}' is no time"));
        let day: Day = time.get(..10).and_then(|day| day.parse().ok()).ok_or_else(no_day)?;
        let sum = self.input.days.entry(day).or_default();
        let exact = line.quantity * line.price;
        let rounded = i64::try_from(round_div(exact.into(), 10));
        sum.lines += 1;
        sum.exact += exact;
        sum.rounded += rounded.expect("a tenth of a 64-bit number");
        let item = self.input.items.entry(line.code.to_owned()).or_default();
        if item.name.is_empty() {
            name.trim().clone_into(&mut item.name);
        }
        if item.price.is_none() && line.price > 0 {
            item.price = Some(line.price);
        }
        let site = self.site(country)?;
        *site.kinds.entry(line.kind()).or_default() += 1;
        if is_stock_code(line.code) {
            let moves = site.pools.entry(line.code.to_owned()).or_default();
            moves.push((time.to_owned(), line.stock_change()));
        }
        Ok(())
    }

    fn site(&mut self, country: &str) -> Result<&mut Site, ProcessError> {
        if !self.files.contains_key(country) {
            let code = country.to_lowercase().replace(' ', "-");
            let file = self.to.join(format!("{code}.csv"));
            let mut writer = csv::Writer::from_path(&file).map_err(super::csv_error)?;
            writer.write_record(self.header).map_err(super::csv_error)?;
            self.files.insert(country.to_owned(), (self.input.sites.len(), writer));
            let country = country.to_owned();
            let (kinds, pools) = (BTreeMap::new(), BTreeMap::new());
            self.input.sites.push(Site { code, country, file, kinds, pools });
        }
        Ok(&mut self.input.sites[self.files[country].0])
    }

    fn write(&mut self, country: &str, row: &csv::StringRecord) -> csv::Result<()> {
        let (_, writer) = self.files.get_mut(country).expect("made with the country's first line");
        writer.write_record(row)
    }
}
