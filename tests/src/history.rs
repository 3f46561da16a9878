//! Histories of a company as its sites and HQ would have written them: one log per site, one of
//! HQ's own, from a seed. Knows what facts may say, and nothing of what they lead to.
//!
//! Everything ugly is in here on purpose: clocks that are off, movements dated back, goods that
//! are not there, invoices before their goods, references across sites, facts that nobody can
//! take.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, Allocation, CostMethod, CostScope, Direction, InvoiceLine, MasterData, Measure,
    Money, Movement, Payment, Role, Stamp, Statement,
};
use shared::fact::{Fact, Kind, KindNo, Value, field};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, Unit};
use shared::time::{Day, OffsetMinutes, Timestamp};

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
    /// Facts of one group happened at different times, or in an odd order.
    pub odd_groups: bool,
    /// Settings change, also from a time that is past.
    pub changing_settings: bool,
    /// Quantities and prices up to the largest that facts can state. The model has no such limits.
    pub extreme: bool,
    /// How the first company costs its goods. The model knows moving average alone.
    pub method: CostMethod,
}

impl Shape {
    /// A shape drawn by chance; everything ugly is on.
    pub fn draw(random: &mut Random) -> Self {
        Self {
            sites: 1 + random.number(4),
            items: 2 + random.number(4),
            steps: 5 + random.index(60),
            scope: if random.chance(1, 3) { CostScope::Company } else { CostScope::Site },
            bad_per_mille: 30,
            late_settings: random.chance(1, 3),
            reversals: random.chance(2, 3),
            short_ships: random.chance(1, 3),
            repacks: random.chance(2, 3),
            special_accounts: random.chance(1, 2),
            plain_units: random.chance(1, 4),
            second_company: random.chance(1, 4),
            odd_groups: random.chance(1, 4),
            changing_settings: random.chance(1, 4),
            extreme: false,
            method: CostMethod::MovingAverage,
        }
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
                time_in_doubt: 0,
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
        if self.chance(1, 4) { self.hq_step() } else { self.site_step() }
    }

    fn back(&mut self) -> i64 {
        match self.random.below(10) {
            0 => self.random.between(1, 40) * DAY,
            1 | 2 => self.random.between(1, 72) * HOUR,
            3 => self.random.between(1, 30) * MINUTE,
            _ => 0,
        }
    }

    fn site_step(&mut self) {
        let log = 1 + self.random.number(self.shape.sites) as usize;
        let site = self.logs[log].site;
        let lines = if self.chance(1, 4) { 1 + self.random.index(3) } else { 1 };
        // Goods that are not there and go around: circles of cost.
        let around = self.shape.short_ships && self.chance(1, 4);
        let what = if around { 66 + self.random.below(22) } else { self.random.below(100) };
        let group = match what {
            0..22 => self.goods(Kind::Receipt, lines),
            22..44 => self.goods(Kind::SaleIssue, lines),
            44..48 => self.goods(Kind::Issue, lines),
            48..51 => self.goods(Kind::Scrap, 1),
            51..55 => self.goods(Kind::Adjustment, 1),
            55..60 => self.goods(Kind::Count, lines),
            60..63 => self.goods(Kind::ProductionIn, 1),
            63..66 => self.goods(Kind::ProductionOut, lines),
            66..70 if self.shape.repacks => self.repack(),
            66..70 => self.goods(Kind::ProductionOut, 1),
            70..72 => self.goods(Kind::ServiceSale, 1),
            72..80 => self.ship(site),
            80..88 => self.answer(site, Kind::TransferShip, Kind::TransferReceive),
            88..92 => self.customer_return(site),
            92..95 => self.answer(site, Kind::Receipt, Kind::SupplierReturn),
            95..96 => self.answer(site, Kind::SupplierReturn, Kind::Receipt),
            _ => self.reversal(Some(site)),
        };
        let mut group = group;
        if self.shape.odd_groups && self.chance(1, 6) {
            self.random.shuffle(&mut group);
        }
        if self.shape.odd_groups && self.shape.reversals && self.chance(1, 20) {
            // Takes a companion back at once.
            let (device, counter) = (DeviceNo(site.0 + 1), self.clocks[log].2);
            let counter = counter + self.random.below(group.len() as u64);
            let refers_to = Capture { device, counter };
            group.push(Statement::Reversal { refers_to, reason: None });
        }
        let back = self.back();
        self.write_goods(log, &group, back);
    }

    /// Writes a group and remembers what can be referred to.
    fn write_goods(&mut self, log: usize, group: &Group, back: i64) {
        let captures = self.write(log, group, back);
        let site = self.logs[log].site;
        for (capture, statement) in captures.into_iter().zip(group) {
            match statement {
                Statement::Movement(movement) => self.remember(capture, site, movement),
                Statement::Reversal { .. } => {
                    self.made.push(Made {
                        kind: Kind::Reversal,
                        ..Made::bare(capture, site, statement.kind())
                    });
                }
                _ => {}
            }
        }
    }

    fn remember(&mut self, capture: Capture, site: SiteNo, movement: &Movement) {
        let unit = movement.quantity.unit.as_str();
        let known = ITEMS.iter().flat_map(|kinds| {
            [Some(kinds.unit), kinds.other_unit.map(|other| other.0)].into_iter().flatten()
        });
        let unit = known.into_iter().find(|known| *known == unit).unwrap_or("EA");
        let units = Self::rough_units(movement);
        let held = self.held.entry((site, movement.item)).or_default();
        match movement.kind {
            Kind::Count => *held = units,
            Kind::Receipt
            | Kind::CustomerReturn
            | Kind::TransferReceive
            | Kind::ProductionIn
            | Kind::RepackIn
            | Kind::Adjustment => *held = held.saturating_add(units),
            _ => *held = held.saturating_sub(units),
        }
        self.made.push(Made {
            item: movement.item,
            quantity: movement.quantity.figure,
            unit,
            other_site: movement.other_site,
            partner: movement.partner,
            priced: movement.price.is_some(),
            invoice_later: movement.invoice_later,
            ..Made::bare(capture, site, movement.kind)
        });
    }

    /// Whole base units, roughly.
    fn rough_units(movement: &Movement) -> i64 {
        let figure = movement.quantity.figure;
        let shift = u32::from(figure.exponent().unsigned_abs());
        let base = if figure.exponent() >= 0 {
            figure.mantissa().saturating_mul(10i64.pow(shift))
        } else {
            figure.mantissa() / 10i64.pow(shift)
        };
        let kinds = kinds(movement.item);
        match kinds.other_unit {
            Some((unit, up, down)) if movement.quantity.unit.as_str() == unit => {
                base.saturating_mul(up.cast_signed()) / down.cast_signed()
            }
            _ => base,
        }
    }

    fn stocked(&mut self) -> ItemNo {
        ItemNo(1 + self.random.number(self.shape.items - 1))
    }

    fn service(&self) -> ItemNo {
        ItemNo(self.shape.items)
    }

    fn measure(&mut self, item: ItemNo) -> Measure {
        let kinds = if self.shape.plain_units { ITEMS[0] } else { kinds(item) };
        let other = kinds.other_unit.filter(|_| !self.shape.plain_units);
        if let Some((unit, _, down)) = other
            && self.chance(1, 5)
        {
            // Thirds come in threes: quantities are whole smallest units.
            let figure = self.random.between(1, 3) * if down == 3 { 3 } else { 1 };
            return measure(figure, 0, unit);
        }
        let decimals = if self.shape.plain_units { 0 } else { kinds.decimals };
        let unit = kinds.unit;
        if self.shape.extreme && self.chance(1, 2) {
            return measure(self.extreme(), 0, unit);
        }
        if decimals > 0 && self.chance(2, 3) {
            let digits = self.random.between(1, 20_000);
            return measure(digits, -decimals.cast_signed(), unit);
        }
        measure(self.random.between(1, 24), 0, unit)
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

    /// Movements without reference, one partner and kind a group.
    fn goods(&mut self, kind: Kind, lines: usize) -> Group {
        let partner = self.partner();
        let later = self.chance(1, 4);
        let mut group = Vec::new();
        for _ in 0..lines {
            let item = if kind == Kind::ServiceSale { self.service() } else { self.stocked() };
            let quantity = match kind {
                // Less than nothing: a credit.
                Kind::ServiceSale if self.chance(1, 3) => measure(-2, 0, "EA"),
                Kind::ServiceSale => measure(2, 0, "EA"),
                _ => self.measure(item),
            };
            let mut movement = Movement::new(kind, item, quantity);
            match kind {
                Kind::Receipt => {
                    movement.partner = Some(partner);
                    movement.price = self.maybe_price(9, 10);
                }
                Kind::SaleIssue => {
                    movement.partner = Some(partner);
                    movement.price = self.maybe_price(4, 5);
                    movement.invoice_later = later;
                }
                Kind::ServiceSale => {
                    movement.partner = Some(partner);
                    movement.price = Some(self.price());
                }
                Kind::Issue | Kind::Scrap => {
                    movement.reason = Some(self.reason());
                    if self.chance(1, 10) {
                        movement.refers_to = self.find(|_| true).map(|made| made.capture);
                    }
                }
                Kind::Adjustment => {
                    movement.reason = Some(self.reason());
                    movement.price = self.maybe_price(1, 4);
                    if self.chance(1, 2) {
                        let figure = movement.quantity.figure;
                        movement.quantity.figure = scaled(-figure.mantissa(), figure.exponent());
                    }
                }
                Kind::Count => {
                    movement.price = self.maybe_price(1, 5);
                    if self.chance(1, 6) {
                        movement.quantity.figure = scaled(0, 0);
                    }
                }
                Kind::ProductionIn => movement.price = self.maybe_price(3, 4),
                _ => {}
            }
            group.push(Statement::Movement(movement));
        }
        group
    }

    fn repack(&mut self) -> Group {
        let stocked = self.shape.items - 1;
        if stocked < 2 && !self.shape.short_ships {
            return self.goods(Kind::ProductionOut, 1);
        }
        let pivot = 1 + self.random.number((stocked - 1).max(1));
        let mut group = Vec::new();
        for kind in [Kind::RepackOut, Kind::RepackIn] {
            for _ in 0..=self.random.below(2) {
                // A pool that feeds itself is a circle: what leaves is of other items than what
                // comes.
                let item = ItemNo(match kind {
                    _ if self.shape.short_ships => 1 + self.random.number(stocked),
                    Kind::RepackOut => 1 + self.random.number(pivot),
                    _ => pivot + 1 + self.random.number(stocked - pivot),
                });
                let quantity = self.measure(item);
                group.push(Statement::Movement(Movement::new(kind, item, quantity)));
            }
        }
        group
    }

    fn ship(&mut self, site: SiteNo) -> Group {
        let item = self.stocked();
        let mut quantity = self.measure(item);
        if !self.shape.short_ships {
            let held = self.held.get(&(site, item)).copied().unwrap_or(0);
            if held <= 0 {
                return self.goods(Kind::Receipt, 1);
            }
            let unit = if self.shape.plain_units { "EA" } else { kinds(item).unit };
            quantity = measure(self.random.between(1, held.min(40)), 0, unit);
        }
        let mut movement = Movement::new(Kind::TransferShip, item, quantity);
        let to = 1 + self.random.number(self.shape.sites);
        if SiteNo(to) == site {
            return self.goods(Kind::Receipt, 1);
        }
        movement.other_site = Some(SiteNo(to));
        vec![Statement::Movement(movement)]
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

    /// A movement that refers to an earlier one of another kind.
    fn answer(&mut self, site: SiteNo, of: Kind, kind: Kind) -> Group {
        // Goods of one site may go back from another.
        let anywhere = of == Kind::Receipt && self.chance(1, 4);
        let found = self.find(|made| {
            let here = match of {
                Kind::TransferShip => made.other_site == Some(site),
                _ => made.site == site || anywhere,
            };
            made.kind == of && here && made.quantity.mantissa() > 0
        });
        let Some(found) = found else { return self.goods(Kind::Receipt, 1) };
        let figure = self.part_of(found.quantity);
        let quantity = measure(figure.mantissa(), figure.exponent(), found.unit);
        let mut movement = Movement::new(kind, found.item, quantity);
        movement.partner = found.partner.or_else(|| Some(self.partner()));
        movement.refers_to = Some(found.capture);
        if kind == Kind::Receipt {
            movement.price = self.maybe_price(1, 4);
        }
        if kind == Kind::SupplierReturn && self.chance(1, 5) {
            movement.refers_to = None;
        }
        vec![Statement::Movement(movement)]
    }

    /// Also at another site than the sale's.
    fn customer_return(&mut self, site: SiteNo) -> Group {
        let anywhere = self.chance(1, 4);
        let found = self.find(|made| {
            matches!(made.kind, Kind::SaleIssue | Kind::Issue) && (anywhere || made.site == site)
        });
        let Some(found) = found else { return self.goods(Kind::SaleIssue, 1) };
        let figure = self.part_of(found.quantity);
        let quantity = measure(figure.mantissa(), figure.exponent(), found.unit);
        let mut movement = Movement::new(Kind::CustomerReturn, found.item, quantity);
        movement.partner = found.partner.or_else(|| Some(self.partner()));
        movement.price = if found.priced { self.maybe_price(3, 4) } else { None };
        movement.refers_to = Some(found.capture);
        if self.chance(1, 5) {
            movement.refers_to = None;
            movement.cost = self.maybe_price(1, 2);
        }
        vec![Statement::Movement(movement)]
    }

    fn reversal(&mut self, site: Option<SiteNo>) -> Group {
        // HQ takes back what it stated itself rather than what a site did.
        let own = site.is_some() || self.chance(2, 3);
        let site = if own { Some(site.unwrap_or(SiteNo::HQ)) } else { None };
        let found = self.find(|made| site.is_none_or(|site| made.site == site));
        match found {
            Some(found) if self.shape.reversals => {
                vec![Statement::Reversal { refers_to: found.capture, reason: None }]
            }
            _ => self.goods(Kind::SaleIssue, 1),
        }
    }

    fn hq_step(&mut self) {
        let back = if self.chance(1, 3) { self.back() } else { 0 };
        match self.random.below(20) {
            0..9 => self.supplier_invoice(back),
            9..12 => self.customer_invoice(back),
            12..15 => self.payment(back),
            15..18 => self.allocation(back),
            _ => {
                let group = self.reversal(None);
                if matches!(group[0], Statement::Reversal { .. }) {
                    self.write_goods(0, &group, 0);
                }
            }
        }
    }

    /// Sometimes for a receipt that a site has yet to write.
    fn supplier_invoice(&mut self, back: i64) {
        let Some(receipt) = self.find(|made| made.kind == Kind::Receipt) else { return };
        let figure = self.part_of(receipt.quantity);
        let mut refers_to = receipt.capture;
        if self.chance(1, 6) {
            let log = receipt.capture.device.0 as usize - 1;
            refers_to.counter = self.clocks[log].2 + self.random.below(3);
        }
        let line = self.invoice_line(&receipt, refers_to, figure);
        self.write_invoice(Statement::SupplierInvoice(line), &receipt, back);
    }

    /// The company whose documents speak of a site's goods; seldom the wrong one.
    fn company_for(&mut self, site: SiteNo) -> Option<CompanyNo> {
        let wrong = self.chance(1, 20);
        (self.company_of(site) == SECOND && !wrong).then_some(SECOND)
    }

    fn company_of(&self, site: SiteNo) -> CompanyNo {
        let second = self.shape.second_company && site.0 == self.shape.sites;
        if second { SECOND } else { CompanyNo::FIRST }
    }

    fn customer_invoice(&mut self, back: i64) {
        let sale = self.find(|made| made.kind == Kind::SaleIssue && made.invoice_later);
        let Some(sale) = sale else { return };
        let figure = self.part_of(sale.quantity);
        let line = self.invoice_line(&sale, sale.capture, figure);
        self.write_invoice(Statement::CustomerInvoice(line), &sale, back);
    }

    fn invoice_line(&mut self, goods: &Made, refers_to: Capture, figure: Scaled) -> InvoiceLine {
        let dated = self.chance(1, 2);
        let date = Timestamp(self.now - self.random.between(0, 10) * DAY).day(OffsetMinutes(480));
        let mut quantity = measure(figure.mantissa(), figure.exponent(), goods.unit);
        if self.chance(1, 10) {
            // In the item's other unit, or in one that it has not.
            let other = kinds(goods.item).other_unit.map_or("PALLET", |other| other.0);
            quantity = measure(self.random.between(1, 3), 0, other);
        }
        InvoiceLine {
            partner: goods.partner.unwrap_or(PartnerNo(1)),
            refers_to,
            quantity,
            price: self.price(),
            document: None,
            document_date: dated.then_some(date),
            due_date: dated.then_some(Day(date.0 + 30)),
            tax_code: None,
        }
    }

    /// Sometimes with a second line for the same goods.
    fn write_invoice(&mut self, statement: Statement, goods: &Made, back: i64) {
        let kind = statement.kind();
        let company = self.company_for(goods.site);
        let lines = if self.chance(1, 6) { 2 } else { 1 };
        let captures = self.write_for(company, 0, &vec![statement; lines], back);
        for capture in captures {
            let made = Made::bare(capture, SiteNo::HQ, kind);
            self.made.push(Made { partner: goods.partner, company, ..made });
        }
    }

    fn payment(&mut self, back: i64) {
        let direction = if self.chance(1, 2) { Direction::In } else { Direction::Out };
        let account = match self.random.below(20) {
            0 => Some(AccountNo(Role::Inventory as u32 * 10)),
            1 => Some(AccountNo(PETTY_CASH.0 + 1)),
            2..5 => Some(PETTY_CASH),
            _ => None,
        };
        let payment = Payment {
            partner: self.partner(),
            direction,
            amount: self.amount(),
            account,
            document: None,
            document_date: None,
        };
        let second = self.shape.second_company && self.chance(1, 4);
        let company = second.then_some(SECOND);
        let payments = if self.chance(1, 8) { 2 } else { 1 };
        let group = vec![Statement::Payment(payment); payments];
        for capture in self.write_for(company, 0, &group, back) {
            let made = Made::bare(capture, SiteNo::HQ, Kind::Payment);
            self.made.push(Made { direction: Some(direction), company, ..made });
        }
    }

    fn amount(&mut self) -> Money {
        let extreme = self.shape.extreme && self.chance(1, 2);
        let digits = if extreme { self.extreme() } else { self.random.between(1, 90_000) };
        let exponent = -self.currency.decimals().cast_signed();
        Money { figure: scaled(digits, exponent), currency: self.currency }
    }

    fn allocation(&mut self, back: i64) {
        let Some(payment) = self.find(|made| made.kind == Kind::Payment) else { return };
        let inward = payment.direction == Some(Direction::In);
        let open = self.find(|made| match made.kind {
            Kind::SupplierInvoice => !inward,
            Kind::CustomerInvoice | Kind::ServiceSale => inward,
            Kind::SaleIssue => inward && made.priced && !made.invoice_later,
            _ => false,
        });
        let Some(open) = open else { return };
        let allocation =
            Allocation { open_item: open.capture, payment: payment.capture, amount: self.amount() };
        let company = payment.company;
        let captures = self.write_for(company, 0, &[Statement::Allocation(allocation)], back);
        self.made.push(Made::bare(captures[0], SiteNo::HQ, Kind::Allocation));
    }

    /// Something that can't be taken, alone or with good companions.
    fn bad(&mut self) {
        let log = 1 + self.random.number(self.shape.sites) as usize;
        let item = self.stocked();
        let mut movement = Movement::new(Kind::Receipt, item, self.measure(item));
        movement.partner = Some(PartnerNo(1));
        movement.price = Some(self.price());
        let which = self.random.below(12);
        match which {
            0 => movement.item = ItemNo(99),
            1 => movement.quantity.unit = unit("PALLET"),
            2 => movement.quantity = measure(1_234_567, -6, kinds(item).unit),
            3 => {
                let currency = "EUR".parse().expect("a currency code");
                movement.price = movement.price.map(|price| Price { currency, ..price });
            }
            4 => movement.partner = Some(PartnerNo(99)),
            5 => movement.reason = Some(UNKNOWN_REASON),
            6 => movement.item = self.service(),
            7 => {
                movement.refers_to = Some(Capture { device: DeviceNo(1), counter: 1 << 40 });
            }
            8 => movement.quantity = measure(1 << 52, 3, kinds(item).unit),
            _ => {}
        }
        let mut group = vec![Statement::Movement(movement)];
        match which {
            // HQ has no shelves.
            9 => {
                self.write(0, &group, 0);
                return;
            }
            // Only HQ invoices.
            10 => {
                let Some(receipt) = self.find(|made| made.kind == Kind::Receipt) else { return };
                let line = self.invoice_line(&receipt, receipt.capture, receipt.quantity);
                group = vec![Statement::SupplierInvoice(line)];
            }
            11 => {
                let out = self.repack().remove(0);
                group = vec![out];
            }
            _ if self.chance(1, 2) => {
                let companions = self.goods(Kind::SaleIssue, 1);
                group.splice(0..0, companions);
            }
            _ => {}
        }
        self.write(log, &group, 0);
        if self.chance(1, 6) {
            self.of_a_later_version(log);
        }
    }

    /// A kind that this version does not know.
    fn of_a_later_version(&mut self, log: usize) {
        let counter = self.clocks[log].2;
        self.clocks[log].2 += 1;
        let mut fact = Fact::with_number(KindNo(31));
        let mut set = |number, value| fact.set(number, value).expect("a legal field");
        set(field::CAPTURE_DEVICE.number, Value::Unsigned(log as u64 + 1));
        set(field::CAPTURE_COUNTER.number, Value::Unsigned(counter));
        set(field::RECORDED_AT.number, Value::Signed(self.clocks[log].0));
        self.logs[log].facts.push(fact);
    }

    /// What HQ states first; some of it only later.
    fn master_data(&mut self) {
        let company = CompanyNo::FIRST;
        let named = |name: &str| (name.to_owned(), name.to_owned());
        let (code, name) = named("company");
        let zone = OffsetMinutes(480);
        let (currency, scope) = (self.currency, self.shape.scope);
        let mut all = vec![MasterData::Company { company, code, name, currency, zone, scope }];
        if self.shape.method != CostMethod::MovingAverage {
            let method = self.shape.method;
            all.push(MasterData::Costing { company, category: None, method });
        }
        if self.shape.second_company {
            let (code, name) = named("second");
            let (company, zone) = (SECOND, OffsetMinutes(-60));
            all.push(MasterData::Company { company, code, name, currency, zone, scope });
        }
        for site in 1..=self.shape.sites {
            let (code, name) = named(&format!("site{site}"));
            let company = self.company_of(SiteNo(site));
            all.push(MasterData::Site { site: SiteNo(site), company, code, name });
        }
        for number in 1..=self.shape.items {
            self.item(ItemNo(number), &mut all);
        }
        for number in 1..=3 {
            let (code, name) = named(&format!("partner{number}"));
            let partner = PartnerNo(number);
            all.push(MasterData::Partner { partner, code, name, customer: true, supplier: true });
            let (code, name) = named(&format!("reason{number}"));
            all.push(MasterData::Reason { reason: ReasonNo(number), code, name, movement: None });
        }
        self.mappings(&mut all);
        for data in all {
            // What is posted keeps its account: none may be missing for a category that an item
            // comes to later.
            let leads = matches!(data, MasterData::Mapping { .. } | MasterData::Account { .. });
            let needed = leads && self.shape.changing_settings;
            // Goods move in base units before anyone states the others.
            let often = matches!(data, MasterData::UnitConversion { .. });
            let of = if often { 3 } else { 25 };
            if self.shape.late_settings && !needed && self.chance(1, of) {
                self.late.push((None, data));
            } else {
                self.write(0, &[Statement::MasterData { valid_from: None, data }], 0);
            }
        }
    }

    fn item(&mut self, item: ItemNo, all: &mut Vec<MasterData>) {
        let service = item == self.service();
        let plain = service || self.shape.plain_units;
        let kinds = if plain { ITEMS[2] } else { kinds(item) };
        let code = format!("item{item}");
        all.push(MasterData::Item {
            item,
            category: CategoryNo(1 + item.0 % 2),
            name: code.clone(),
            code,
            unit: unit(kinds.unit),
            decimals: kinds.decimals,
            service,
            fallback_cost: self.maybe_price(1, 2),
        });
        if let Some((other, numerator, denominator)) = kinds.other_unit {
            let unit = unit(other);
            all.push(MasterData::UnitConversion { item, unit, numerator, denominator });
        }
    }

    /// Every role has an account, some have others for a category, site, kind or reason.
    fn mappings(&mut self, all: &mut Vec<MasterData>) {
        for role in Role::ALL.iter().copied() {
            let special = if self.shape.special_accounts { self.random.number(4) } else { 0 };
            for variant in 0..=special.saturating_sub(1) {
                self.map(CompanyNo::FIRST, role, variant, all);
            }
            if self.shape.second_company {
                self.map(SECOND, role, 0, all);
            }
        }
        all.push(account(CompanyNo::FIRST, PETTY_CASH, "petty cash"));
    }

    /// An account and the rule that leads to it; variant 0 is for everything.
    fn map(&mut self, company: CompanyNo, role: Role, variant: u32, all: &mut Vec<MasterData>) {
        let number = AccountNo(company.0 * 1_000 - 1_000 + role as u32 * 10 + variant);
        all.push(account(company, number, role.word()));
        let (mut category, mut site, mut movement, mut reason) = (None, None, None, None);
        if variant > 0 {
            match self.random.below(4) {
                0 => category = Some(CategoryNo(1 + self.random.number(2))),
                1 => site = Some(SiteNo(1 + self.random.number(3))),
                2 => {
                    let kinds = [Kind::Receipt, Kind::SaleIssue, Kind::Count, Kind::Issue];
                    movement = Some(*self.random.pick(&kinds));
                }
                _ => reason = Some(self.reason()),
            }
        }
        let account = number;
        all.push(MasterData::Mapping { company, role, account, category, site, movement, reason });
    }

    /// HQ states something anew, from now on or from a time before.
    fn change_a_setting(&mut self) {
        let mut all = Vec::new();
        match self.random.below(6) {
            0..3 => {
                let item = ItemNo(1 + self.random.number(self.shape.items));
                self.item(item, &mut all);
                if let MasterData::Item { category, .. } = &mut all[0] {
                    *category = CategoryNo(1 + self.random.number(2));
                }
                all.truncate(1);
            }
            3..5 => {
                let role = *self.random.pick(Role::ALL);
                let variant = self.random.number(8);
                self.map(CompanyNo::FIRST, role, variant, &mut all);
            }
            _ => {
                // Somebody tries to give an account a second role.
                let role = *self.random.pick(Role::ALL);
                let other = *self.random.pick(Role::ALL);
                self.map(CompanyNo::FIRST, role, 0, &mut all);
                if let Some(MasterData::Mapping { role, .. }) = all.get_mut(1) {
                    *role = other;
                }
            }
        }
        let back = self.back();
        let from = (!self.chance(1, 3)).then_some(Timestamp(self.now - back));
        let stated = |data| Statement::MasterData { valid_from: from, data };
        let group: Group = all.into_iter().map(stated).collect();
        if self.chance(1, 2) {
            self.write(0, &group, 0);
        } else {
            for each in group {
                self.write(0, &[each], 0);
            }
        }
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
