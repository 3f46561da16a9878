//! Histories of a company as its sites and HQ would have written them: one log per site, one of
//! HQ's own, from a seed. Knows what facts may say, and nothing of what they lead to.
//!
//! Everything ugly is in here on purpose: clocks that are off, movements dated back, goods that
//! are not there, invoices before their goods, references across sites, facts that nobody can
//! take.

mod costs;
mod documents;
mod doubts;
mod exchange;
mod master;
mod movements;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, Direction, MasterData, Measure, Stamp, Statement,
};
use shared::fact::{Fact, Kind, field};
use shared::ids::{
    AccountNo, Capture, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{OffsetMinutes, Timestamp};

use crate::arrival::Arrival;
use crate::random::Random;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 2026-01-12T06:00Z: far enough from the month's end that back-dating crosses it.
const START: i64 = 1_768_197_600_000;

/// What a history is to contain.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each switches one kind of trouble on or off")]
pub struct Shape {
    /// Warehouses.
    pub sites: u32,
    /// Items, the last of them a service.
    pub items: u32,
    /// How many things happen.
    pub steps: usize,
    /// Cost pools per site or per company.
    pub scope: CostScope,
    /// How many of a thousand facts can't be taken.
    pub bad_per_mille: u64,
    /// Master data that arrives late and holds from before.
    pub late_settings: bool,
    /// Facts that undo others.
    pub reversals: bool,
    /// Ships may take more than there is.
    pub short_ships: bool,
    /// Goods become other goods.
    pub repacks: bool,
    /// Roles have more than one account.
    pub special_accounts: bool,
    /// Items share one number of decimals.
    pub plain_units: bool,
    /// The last site is of a second company.
    pub second_company: bool,
    /// The last but one is of a third, where there are that many.
    pub third_company: bool,
    /// Goods go from company to company all the time.
    pub trade: bool,
    /// The second company keeps its books in another currency.
    pub second_abroad: bool,
    /// Facts of one group happened at different times, or in an odd order.
    pub odd_groups: bool,
    /// Settings change, also from a time that is past.
    pub changing_settings: bool,
    /// Quantities and prices up to the largest that facts can state. The model has no such limits.
    pub extreme: bool,
    /// How the first company costs its goods. Specific lots are stated from the beginning alone.
    pub method: CostMethod,
    /// Categories are costed in their own way.
    pub mixed_methods: bool,
    /// The way of costing is stated anew, also from a time that is past.
    pub changing_methods: bool,
    /// HQ states landed cost, credit notes, revaluations and standard costs.
    pub costs: bool,
    /// Months pass, and HQ takes their averages.
    pub months: bool,
    /// HQ closes and reopens months.
    pub closes: bool,
    /// The first open month bears what is late. The model knows no closes, and so not what is.
    pub forward: bool,
    /// Some of it is stated in another currency.
    pub foreign: bool,
    /// Goods carry what they cost beyond their standard.
    pub allocates: bool,
    /// Clocks are in doubt, and HQ says when things happened, more than once or before it has them.
    pub doubts: bool,
}

impl Shape {
    /// A shape drawn by chance; everything ugly is on.
    pub fn draw(random: &mut Random) -> Self {
        let trade = random.chance(1, 5);
        let mut shape = Self {
            sites: if trade { 2 + random.number(3) } else { 1 + random.number(4) },
            items: if trade { 2 } else { 2 + random.number(4) },
            steps: 5 + random.index(60),
            scope: if random.chance(1, 3) { CostScope::Company } else { CostScope::Site },
            bad_per_mille: 30,
            late_settings: random.chance(1, 3),
            reversals: random.chance(2, 3),
            short_ships: random.chance(1, 3),
            repacks: random.chance(2, 3),
            special_accounts: random.chance(1, 2),
            plain_units: random.chance(1, 4),
            second_company: trade || random.chance(1, 4),
            third_company: random.chance(1, 2),
            trade,
            second_abroad: random.chance(1, 3),
            odd_groups: random.chance(1, 4),
            changing_settings: random.chance(1, 4),
            extreme: false,
            method: match random.below(10) {
                0..2 => CostMethod::MovingAverage,
                2..4 => CostMethod::Fifo,
                4 => CostMethod::Lifo,
                5 => CostMethod::Specific,
                6 => CostMethod::Standard,
                _ => CostMethod::MonthEndAverage,
            },
            mixed_methods: random.chance(1, 3),
            changing_methods: random.chance(1, 4),
            costs: random.chance(3, 4),
            months: random.chance(1, 2),
            closes: random.chance(1, 4),
            forward: false,
            foreign: random.chance(1, 3),
            allocates: random.chance(1, 3),
            // Draws nothing, so that a seed stays the history that it is.
            doubts: random.clone().chance(1, 3),
        };
        if shape.allocates && random.chance(1, 2) {
            shape.method = CostMethod::Standard;
        }
        shape
    }
}

/// The facts of one writer.
#[derive(Clone, Debug)]
pub struct Log {
    /// The site; 0 is HQ.
    pub site: SiteNo,
    /// Ranks it among logs.
    pub rank: LogRank,
    /// In the order written.
    pub facts: Vec<Fact>,
}

impl Log {
    /// Where each group starts and ends.
    pub fn groups(&self) -> Vec<Range<usize>> {
        let mut groups = Vec::new();
        let mut start = 0;
        for (index, fact) in self.facts.iter().enumerate() {
            if field::GROUP_LEFT.of(fact).unwrap_or(0) == 0 {
                groups.push(start..index + 1);
                start = index + 1;
            }
        }
        groups
    }
}

/// All logs; HQ's is the first.
#[derive(Clone, Debug)]
pub struct History {
    /// How many facts at the front of HQ's log arrive before anything else.
    pub settings: usize,
    /// HQ's log, then the sites'.
    pub logs: Vec<Log>,
}

impl History {
    fn run(&self, log: usize, facts: Range<usize>) -> Arrival {
        let held = &self.logs[log];
        Arrival::Run {
            site: held.site,
            rank: held.rank,
            first: Seq(facts.start as u64 + 1),
            facts: held.facts[facts].to_vec(),
        }
    }

    /// One order of arrival: each log in its own order, cut into runs at group boundaries, with
    /// settles between, and some runs twice.
    pub fn delivery(&self, random: &mut Random) -> Vec<Arrival> {
        let mut left: Vec<VecDeque<Range<usize>>> =
            self.logs.iter().map(|log| log.groups().into()).collect();
        let (run_max, settle_of, twice_of) =
            (1 + random.index(20), 1 + random.below(6), 4 + random.below(30));
        let mut steps = Vec::new();
        let mut sent: Vec<Arrival> = Vec::new();
        if self.settings > 0 {
            left[0].retain(|group| group.start >= self.settings);
            sent.push(self.run(0, 0..self.settings));
            steps.push(sent[0].clone());
        }
        loop {
            let open: Vec<usize> = (0..left.len()).filter(|log| !left[*log].is_empty()).collect();
            if open.is_empty() {
                steps.push(Arrival::Settle);
                return steps;
            }
            let log = *random.pick(&open);
            let groups = 1 + random.index(run_max);
            let mut run: Option<Range<usize>> = None;
            let groups = groups.min(left[log].len());
            for group in left[log].drain(..groups) {
                run = Some(run.map_or(group.clone(), |run| run.start..group.end));
            }
            if let Some(facts) = run {
                let step = self.run(log, facts);
                sent.push(step.clone());
                steps.push(step);
            }
            if random.chance(1, settle_of) {
                steps.push(Arrival::Settle);
            }
            if !sent.is_empty() && random.chance(1, twice_of) {
                steps.push(random.pick(&sent).clone());
            }
        }
    }
}

/// A fact as the generator remembers it, to refer to it.
#[derive(Clone, Debug)]
struct Made {
    capture: Capture,
    kind: Kind,
    site: SiteNo,
    item: ItemNo,
    quantity: Scaled,
    unit: &'static str,
    other_site: Option<SiteNo>,
    partner: Option<PartnerNo>,
    priced: bool,
    invoice_later: bool,
    direction: Option<Direction>,
    company: Option<CompanyNo>,
    lot: Option<ShortText>,
}

/// An item as the generator knows it.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    decimals: u8,
    unit: &'static str,
    other_unit: Option<(&'static str, u64, u64)>,
}

const ITEMS: [Kinds; 5] = [
    Kinds { decimals: 0, unit: "EA", other_unit: Some(("BOX", 12, 1)) },
    Kinds { decimals: 3, unit: "KG", other_unit: Some(("LB", 454, 1_000)) },
    Kinds { decimals: 0, unit: "EA", other_unit: None },
    Kinds { decimals: 2, unit: "M", other_unit: Some(("ROLL", 25, 2)) },
    Kinds { decimals: 0, unit: "EA", other_unit: Some(("THIRD", 1, 3)) },
];

/// Reasons 1 to 3 are known, and this one is not.
const UNKNOWN_REASON: ReasonNo = ReasonNo(77);

/// The company of the last site, where there are two.
const SECOND: CompanyNo = CompanyNo(2);

/// That of the one before it, where there are three.
const THIRD: CompanyNo = CompanyNo(3);

/// An account that no role is mapped to.
const PETTY_CASH: AccountNo = AccountNo(900);

/// A history from a seed.
pub fn history(seed: u64, shape: &Shape) -> History {
    let mut writer = Writer::new(seed, shape.clone());
    writer.master_data();
    let settings = if shape.late_settings { 0 } else { writer.logs[0].facts.len() };
    for _ in 0..shape.steps {
        writer.step();
    }
    History { settings, logs: writer.logs }
}

struct Writer {
    random: Random,
    shape: Shape,
    logs: Vec<Log>,
    /// By log: the last recorded-at, the clock's error, the next counter.
    clocks: Vec<(i64, i64, u64)>,
    now: i64,
    made: Vec<Made>,
    currency: Currency,
    late: Vec<(Option<Timestamp>, MasterData)>,
    /// Roughly on hand, as if everything had happened when it was written.
    held: BTreeMap<(SiteNo, ItemNo), i64>,
    /// Receipts that an invoice named.
    invoiced: BTreeSet<Capture>,
    /// Groups in doubt: log, first and last place.
    doubted: Vec<(usize, u64, u64)>,
}

/// What is to be written: one group.
type Group = Vec<Statement>;

impl Writer {
    fn new(seed: u64, shape: Shape) -> Self {
        let mut random = Random::new(seed);
        let mut logs = Vec::new();
        let mut clocks = Vec::new();
        for site in 0..=shape.sites {
            // A few bits: equal ranks never happen, neighbouring ones do.
            let rank = LogRank(random.below(1 << 20) << 8 | u64::from(site));
            logs.push(Log { site: SiteNo(site), rank, facts: Vec::new() });
            let error = match random.below(4) {
                0 => random.between(-3 * HOUR, 3 * HOUR),
                1 => random.between(-2, 2) * MINUTE,
                _ => 0,
            };
            clocks.push((START - 40 * DAY, error, 1));
        }
        let currency = *random.pick(&["CNY", "USD", "JPY"]);
        Self {
            random,
            shape,
            logs,
            clocks,
            now: START,
            made: Vec::new(),
            currency: currency.parse().expect("a currency code"),
            late: Vec::new(),
            held: BTreeMap::new(),
            invoiced: BTreeSet::new(),
            doubted: Vec::new(),
        }
    }

    fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.random.chance(part, whole)
    }

    /// Appends a group to a log. Most of the time all of it happened at one time.
    fn write(&mut self, log: usize, statements: &[Statement], back: i64) -> Vec<Capture> {
        self.write_for(None, log, statements, back)
    }

    fn write_for(
        &mut self,
        company: Option<CompanyNo>,
        log: usize,
        statements: &[Statement],
        back: i64,
    ) -> Vec<Capture> {
        let (last, error, _) = self.clocks[log];
        let recorded = (self.now + error).max(last);
        self.clocks[log].0 = recorded;
        let (off, doubt) = self.doubt(log, statements.len() as u64);
        let recorded = recorded + off;
        let mut captures = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            let counter = self.clocks[log].2;
            self.clocks[log].2 += 1;
            let capture = Capture { device: DeviceNo(self.logs[log].site.0 + 1), counter };
            let apart = self.shape.odd_groups && statements.len() > 1 && self.chance(1, 3);
            let back = if apart { self.back() } else { back };
            let stamp = Stamp {
                capture,
                recorded_at: Timestamp(recorded),
                occurred_at: Timestamp(recorded - back),
                utc_offset: OffsetMinutes(480),
                group_left: u16::try_from(statements.len() - 1 - index).expect("small groups"),
                person: None,
                time_in_doubt: doubt,
                company,
            };
            let fact = statement.to_fact(&stamp).expect("short texts only");
            self.logs[log].facts.push(fact);
            captures.push(capture);
        }
        captures
    }

    /// One thing happens somewhere.
    fn step(&mut self) {
        // Often two things at the same minute: ties are where orders go wrong.
        if !self.chance(1, 5) {
            let minutes = if self.chance(1, 4) { 60 * 48 } else { 300 };
            self.now += self.random.between(1, minutes) * MINUTE;
        }
        if self.shape.months && self.chance(1, 3) {
            self.now += self.random.between(1, 12) * DAY;
        }
        if (self.shape.months || self.shape.closes) && self.chance(1, 8) {
            return self.period_step();
        }
        if self.shape.doubts && self.chance(1, 6) {
            return self.retime();
        }
        if !self.late.is_empty() && self.chance(1, 6) {
            let (valid_from, data) = self.late.remove(0);
            self.write(0, &[Statement::MasterData { valid_from, data }], 0);
            return;
        }
        if self.random.chance(self.shape.bad_per_mille, 1_000) {
            return self.bad();
        }
        if self.shape.changing_settings && self.chance(1, 8) {
            return self.change_a_setting();
        }
        if self.shape.changing_methods && self.chance(1, 12) {
            return self.change_a_method();
        }
        if self.shape.allocates && self.shape.changing_settings && self.chance(1, 12) {
            return self.change_who_bears_variances();
        }
        if self.shape.foreign && self.chance(1, 10) {
            return self.change_a_rate();
        }
        let of_hq = if self.shape.costs { 3 } else { 4 };
        if self.chance(1, of_hq) { self.hq_step() } else { self.site_step() }
    }

    fn back(&mut self) -> i64 {
        match self.random.below(10) {
            0 => self.random.between(1, 40) * DAY,
            1 | 2 => self.random.between(1, 72) * HOUR,
            3 => self.random.between(1, 30) * MINUTE,
            _ => 0,
        }
    }

    /// Near a power of two, up to the largest.
    fn extreme(&mut self) -> i64 {
        let magnitude = if self.chance(1, 2) { 52 } else { self.random.between(1, 52) };
        (1 << magnitude) + self.random.between(0, (1 << magnitude) - 1)
    }

    fn price(&mut self) -> Price {
        if self.shape.extreme && self.chance(1, 2) {
            let exponent = if self.chance(1, 2) { 0 } else { self.random.between(-12, 2) };
            let exponent = i8::try_from(exponent).expect("from a small range");
            return Price { figure: scaled(self.extreme(), exponent), currency: self.currency };
        }
        let (digits, exponent) = match self.random.below(5) {
            0 => (self.random.between(0, 99_999), -4),
            1 => (self.random.between(0, 9), 0),
            2 => (self.random.between(1, 30) * 1_000, -3),
            _ => (self.random.between(1, 2_500), -2),
        };
        Price { figure: scaled(digits, exponent), currency: self.currency }
    }

    fn maybe_price(&mut self, part: u64, whole: u64) -> Option<Price> {
        self.chance(part, whole).then(|| self.price())
    }

    fn partner(&mut self) -> PartnerNo {
        PartnerNo(1 + self.random.number(3))
    }

    fn reason(&mut self) -> ReasonNo {
        ReasonNo(1 + self.random.number(3))
    }

    /// A fact of some kind to refer to, rather a late one than an early one.
    fn find(&mut self, wanted: impl Fn(&Made) -> bool) -> Option<Made> {
        let fitting: Vec<Made> = self.made.iter().filter(|made| wanted(made)).cloned().collect();
        if fitting.is_empty() {
            return None;
        }
        let last = fitting.len();
        let from = if self.chance(2, 3) { last.saturating_sub(4) } else { 0 };
        Some(fitting[from + self.random.index(last - from)].clone())
    }

    /// A part of a quantity, all of it, or more than all of it.
    fn part_of(&mut self, quantity: Scaled) -> Scaled {
        let digits = quantity.mantissa();
        let part = match self.random.below(8) {
            0..4 => digits,
            4..7 => self.random.between(1, digits.max(1)),
            _ => (digits + self.random.between(1, 5)).min((1 << 53) - 1),
        };
        scaled(part, quantity.exponent())
    }
}

fn account(company: CompanyNo, account: AccountNo, name: &str) -> MasterData {
    let (code, name, account_type) = (account.to_string(), name.to_owned(), AccountType::Asset);
    MasterData::Account { account, company, code, name, account_type }
}

impl Made {
    fn bare(capture: Capture, site: SiteNo, kind: Kind) -> Self {
        Self {
            capture,
            kind,
            site,
            item: ItemNo(0),
            quantity: scaled(1, 0),
            unit: "EA",
            other_site: None,
            partner: None,
            priced: false,
            invoice_later: false,
            direction: None,
            company: None,
            lot: None,
        }
    }
}

fn kinds(item: ItemNo) -> Kinds {
    ITEMS[item.0 as usize % ITEMS.len()]
}

fn unit(text: &str) -> Unit {
    Unit::from_bytes(text.as_bytes()).expect("a unit")
}

fn scaled(digits: i64, exponent: i8) -> Scaled {
    Scaled::new(digits, exponent).expect("small figures")
}

fn measure(digits: i64, exponent: i8, text: &str) -> Measure {
    Measure { figure: scaled(digits, exponent), unit: unit(text) }
}
