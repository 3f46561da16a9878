//! The events of a case as facts, and the books of those that are known. Refuses where a fact is
//! entered, as the cases ask: the books themselves take whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use hq_server::books::{Books, Entry, Run};
use serde_json::Value;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, InvoiceLine, LandedCost, MasterData, Measure, Money,
    Movement, PoolName, Revaluation, Role, Stamp, StandardCost, Statement,
};
use shared::fact::{Fact, Kind};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price, share_out};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::figures::{MONEY_DECIMALS, QUANTITY_DECIMALS, decimal, product};

/// Why a case can't be computed.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// The method is unknown.
    #[error("the method {0} is not built")]
    Method(String),
}

/// A case, and which of its events are refused.
pub struct Story<'a> {
    /// As it was read.
    pub case: &'a Value,
    currency: Currency,
    method: CostMethod,
    sites: Vec<&'a str>,
    items: Vec<&'a str>,
    refused: BTreeSet<u64>,
}

/// The text of a field that is always there.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().expect("a text where the form of cases has one")
}

/// The number of a field that is always there.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number where the form of cases has one")
}

impl<'a> Story<'a> {
    /// Reads a case and finds what is refused.
    pub fn read(case: &'a Value) -> Result<Self, Untold> {
        let method = text(&case["method"]);
        let method =
            CostMethod::from_word(method).ok_or_else(|| Untold::Method(method.to_owned()))?;
        let (mut sites, mut items) = (BTreeSet::new(), BTreeSet::new());
        for event in events(case) {
            sites.extend(["site", "to_site"].iter().filter_map(|field| event[field].as_str()));
            items.extend(event["item"].as_str());
        }
        let currency = case["functional_currency"].as_str().unwrap_or("USD");
        let mut story = Self {
            case,
            currency: currency.parse().expect("a currency code"),
            method,
            sites: sites.into_iter().collect(),
            items: items.into_iter().collect(),
            refused: BTreeSet::new(),
        };
        story.refuse();
        Ok(story)
    }

    /// The events that are refused.
    pub const fn refused(&self) -> &BTreeSet<u64> {
        &self.refused
    }

    /// Tries each arriving event and leaves out what would take more than there is, and what would
    /// revalue nothing.
    fn refuse(&mut self) {
        let may_take_more = self.case["allow_negative"] != false;
        for event in arriving(self.case) {
            let revalues = text(&event["kind"]) == "revaluation";
            let without = references(event).iter().any(|n| self.refused.contains(n));
            if may_take_more && !revalues && !without {
                continue;
            }
            let books = self.books(|other| arrives(other) <= arrives(event));
            let refused = books.facts().iter().any(|(_, record)| {
                let is_revaluation = record.kind == Kind::Revaluation;
                let is_own = record.capture == self.capture(number(&event["n"]));
                record.short && if is_revaluation { is_own } else { !may_take_more }
            });
            if without || refused {
                self.refused.insert(number(&event["n"]));
            }
        }
    }

    /// Milliseconds of a local time without zone.
    pub fn instant(&self, text: &str) -> Timestamp {
        let (day, time) = text.split_once('T').expect("a date and a time");
        let day: Day = day.parse().expect("a date");
        let parts = time.split(':').map(|part| part.parse::<i64>().expect("a part of a time"));
        let seconds = parts.fold(0, |sum, part| sum * 60 + part);
        Timestamp(day.start(OffsetMinutes(0)).0 + seconds * 1_000)
    }

    /// The books once an event is known, with all that arrived before it.
    pub fn known_at(&self, n: u64) -> Books {
        let arrived = arrives(self.event(n));
        self.books(|event| arrives(event) <= arrived)
    }

    /// The books of all events that are wanted and not refused.
    pub fn books(&self, wanted: impl Fn(&Value) -> bool) -> Books {
        let mut books = Books::new();
        let mut seqs: BTreeMap<SiteNo, u64> = BTreeMap::new();
        let mut take = |site: SiteNo, facts: &[Fact]| {
            let seq = seqs.entry(site).or_insert(1);
            books.apply(&Entry::Run(Run {
                site,
                log: LogRank(site.0.into()),
                first: Seq(*seq),
                received_at: Timestamp(0),
                facts,
            }));
            *seq += facts.len() as u64;
        };
        for (counter, data) in (1_000_000..).zip(self.master_data()) {
            let capture = Capture { device: device(SiteNo::HQ), counter };
            let statement = Statement::MasterData { valid_from: None, data };
            let fact = statement.to_fact(&stamp(capture, 0, None)).expect("a legal fact");
            take(SiteNo::HQ, &[fact]);
        }
        let mut invoiced = Invoiced::default();
        for event in arriving(self.case) {
            if self.refused.contains(&number(&event["n"])) {
                continue;
            }
            // Documents take their receipts in the order of arrival, asked for or not.
            let statements = self.statements(event, &mut invoiced);
            if wanted(event) {
                take(self.log(event), &self.group(event, &statements));
            }
        }
        books.apply(&Entry::Settle);
        books
    }

    fn site(&self, name: &str) -> SiteNo {
        SiteNo(place(&self.sites, name))
    }

    fn item(&self, name: &str) -> ItemNo {
        ItemNo(place(&self.items, name))
    }

    fn event(&self, n: u64) -> &Value {
        events(self.case).iter().find(|event| event["n"] == n).expect("an event of the case")
    }

    fn capture(&self, n: u64) -> Capture {
        Capture { device: device(self.log(self.event(n))), counter: n }
    }

    /// What HQ states stands in its own log.
    fn log(&self, event: &Value) -> SiteNo {
        match text(&event["kind"]) {
            "supplier_invoice"
            | "customer_invoice"
            | "landed_cost"
            | "revaluation"
            | "standard_cost_change" => SiteNo::HQ,
            _ => self.site(text(&event["site"])),
        }
    }

    /// An event's facts: the first has the event's number.
    fn group(&self, event: &Value, statements: &[Statement]) -> Vec<Fact> {
        let n = number(&event["n"]);
        let at = self.instant(text(&event["at"]));
        (0u64..)
            .zip(statements)
            .map(|(index, statement)| {
                let first = self.capture(n);
                let counter = first.counter + index * FURTHER;
                let mut stamp = stamp(Capture { counter, ..first }, arrives(event), Some(at));
                let left = statements.len() - 1 - usize::try_from(index).expect("a small group");
                stamp.group_left = u16::try_from(left).expect("a small group");
                statement.to_fact(&stamp).expect("a legal fact")
            })
            .collect()
    }

    /// By how much a movement changed the value of stock.
    pub fn change(&self, books: &Books, n: u64) -> i64 {
        let id = books.facts().find(self.capture(n)).expect("a movement that is not refused");
        let record = &books.facts()[id];
        record.target.stock + record.target.residue
    }

    /// Units and value of what a row asks for: of a site, or everywhere with what is on its way.
    pub fn standing(&self, books: &Books, row: &Value) -> (i128, i128) {
        let site = row["site"].as_str().filter(|site| *site != "*").map(|site| self.site(site));
        let item = row["item"].as_str().map(|item| self.item(item));
        let lot = row["lot"].as_str().map(str::as_bytes);
        let of_lot = |held: Option<&[u8]>| lot.is_none() || held == lot;
        let mut sums = (0, 0);
        let mut add = |units: i64, value: i128| {
            sums.0 += i128::from(units);
            sums.1 += value;
        };
        for pool in books.pools() {
            let of_site = site.is_none() || pool.site.is_none() || pool.site == site;
            let of_item = item.is_none_or(|item| pool.item == item);
            if of_site && of_item && of_lot(pool.lot.as_deref()) {
                add(pool.state.stock.quantity(), pool.state.stock.value().into());
            }
        }
        if site.is_none() && text(&self.case["cost_scope"]) == "site" {
            for (ship, value) in books.open_items().of_role(Role::InterSiteTransit) {
                let record = &books.facts()[ship];
                let of_item = item.is_none_or(|item| record.item == Some(item));
                if of_item && of_lot(record.lot.as_deref()) {
                    add(on_the_way(books, ship), value);
                }
            }
        }
        sums
    }

    fn statements(&self, event: &Value, invoiced: &mut Invoiced) -> Vec<Statement> {
        match text(&event["kind"]) {
            "supplier_invoice" => self.supplier_invoices(event, invoiced),
            "landed_cost" => self.landed_costs(event),
            "revaluation" => self.revaluations(event),
            "standard_cost_change" => vec![Statement::StandardCost(StandardCost {
                pool: self.pool_name(event),
                cost: self.price(event).expect("a new standard"),
                reason: None,
            })],
            "customer_invoice" => {
                let sale = self.capture(references(event)[0]);
                let quantity = decimal(text(&event["qty"]));
                vec![Statement::CustomerInvoice(self.line(event, sale, quantity))]
            }
            _ => vec![self.movement(event)],
        }
    }

    fn movement(&self, event: &Value) -> Statement {
        let quantity = Measure { figure: decimal(text(&event["qty"])), unit: unit() };
        let kind = Kind::from_word(text(&event["kind"])).expect("a known kind");
        let mut movement = Movement::new(kind, self.item(text(&event["item"])), quantity);
        movement.price = self.price(event);
        movement.partner = Some(PartnerNo(1));
        movement.reason = Some(ReasonNo(1));
        movement.refers_to = references(event).first().map(|n| self.capture(*n));
        movement.other_site = event["to_site"].as_str().map(|name| self.site(name));
        movement.invoice_later = kind == Kind::SaleIssue;
        movement.lot = event["lot"].as_str().map(|lot| ShortText::from_slice(lot.as_bytes()));
        Statement::Movement(movement)
    }

    fn line(&self, event: &Value, refers_to: Capture, quantity: Scaled) -> InvoiceLine {
        InvoiceLine {
            partner: PartnerNo(1),
            refers_to,
            quantity: Measure { figure: quantity, unit: unit() },
            price: self.price(event).expect("an invoice has a price"),
            document: None,
            // All of one day: then the order of arrival decides.
            document_date: Some(Day(0)),
            due_date: None,
            tax_code: None,
        }
    }

    /// One line for each receipt. What finds no room stays on the last one.
    fn supplier_invoices(&self, event: &Value, invoiced: &mut Invoiced) -> Vec<Statement> {
        let receipts = references(event);
        let asked = units(&event["qty"]);
        let mut left = asked.abs();
        let mut parts: Vec<(u64, i64)> = Vec::new();
        let mut take = |receipt: u64, room: i64| {
            let part = left.min(room);
            left -= part;
            parts.push((receipt, part));
        };
        if asked < 0 {
            for receipt in receipts.iter().rev() {
                let held = invoiced.entry(*receipt).or_default();
                take(*receipt, *held);
            }
        } else {
            for receipt in &receipts {
                let held = *invoiced.entry(*receipt).or_default();
                take(*receipt, units(&self.event(*receipt)["qty"]) - held);
            }
        }
        for (receipt, part) in &parts {
            *invoiced.entry(*receipt).or_default() += part * asked.signum();
        }
        if let Some((_, last)) = parts.last_mut() {
            *last += left;
        }
        let exponent = -QUANTITY_DECIMALS.cast_signed();
        let lines = parts.into_iter().filter(|(_, part)| *part > 0).map(|(receipt, part)| {
            let quantity = Scaled::new(part, exponent).expect("a small figure").normalized();
            self.line(event, self.capture(receipt), quantity)
        });
        let statement = if asked < 0 { Statement::CreditNote } else { Statement::SupplierInvoice };
        lines.map(statement).collect()
    }

    /// The bill is shared when it is entered.
    fn landed_costs(&self, event: &Value) -> Vec<Statement> {
        let receipts = references(event);
        let by_value = event["basis"] == "value";
        let weight = |n: &u64| {
            let receipt = self.event(*n);
            match self.price(receipt).filter(|_| by_value) {
                Some(price) => {
                    let price = price.figure.normalized();
                    let power = 10i128.pow(u32::try_from(price.exponent() + 12).expect("small"));
                    i128::from(units(&receipt["qty"])) * i128::from(price.mantissa()) * power
                }
                None => units(&receipt["qty"]).into(),
            }
        };
        let weights: Vec<i128> = receipts.iter().map(weight).collect();
        let shares = share_out(self.minor(event), &weights).expect("small figures");
        let owed = event["credit_role"] == "ap";
        let lines = receipts.iter().zip(shares).filter(|(_, share)| *share != 0);
        lines
            .map(|(receipt, share)| {
                Statement::LandedCost(LandedCost {
                    refers_to: self.capture(*receipt),
                    amount: self.money(share),
                    shared_by: None,
                    partner: owed.then_some(PartnerNo(1)),
                    document: None,
                    document_date: None,
                    due_date: None,
                })
            })
            .collect()
    }

    fn revaluations(&self, event: &Value) -> Vec<Statement> {
        let mut receipts: Vec<_> =
            references(event).into_iter().map(|n| Some(self.capture(n))).collect();
        if receipts.is_empty() {
            receipts.push(None);
        }
        let amount = self.money(self.minor(event));
        let amounts = std::iter::once(Some(amount)).chain(std::iter::repeat(None));
        let stated = receipts.into_iter().zip(amounts);
        let pool = self.pool_name(event);
        stated
            .map(|(refers_to, amount)| {
                let pool = pool.clone();
                Statement::Revaluation(Revaluation { pool, amount, refers_to, reason: None })
            })
            .collect()
    }

    fn pool_name(&self, event: &Value) -> PoolName {
        let by_site = text(&self.case["cost_scope"]) == "site";
        PoolName {
            item: self.item(text(&event["item"])),
            site: event["site"].as_str().filter(|_| by_site).map(|site| self.site(site)),
            lot: event["lot"].as_str().map(|lot| ShortText::from_slice(lot.as_bytes())),
        }
    }

    /// An amount in the functional currency, rounded.
    fn minor(&self, event: &Value) -> i64 {
        let amount = decimal(text(&event["amount"]));
        let figure = match event["fx_rate"].as_str() {
            Some(rate) => product(amount, decimal(rate)),
            None => amount,
        };
        let price = Price { figure, currency: self.currency };
        let one = Scaled::new(1, 0).expect("one");
        price.extend(one, MONEY_DECIMALS).expect("a small figure").0
    }

    fn money(&self, minor: i64) -> Money {
        let exponent = -MONEY_DECIMALS.cast_signed();
        let figure = Scaled::new(minor, exponent).expect("a small figure");
        Money { figure, currency: self.currency }
    }

    /// What one unit costs in the functional currency.
    fn price(&self, event: &Value) -> Option<Price> {
        let cost = decimal(event["unit_cost"].as_str()?);
        let figure = match event["fx_rate"].as_str() {
            Some(rate) => product(cost, decimal(rate)),
            None => cost,
        };
        Some(Price { figure, currency: self.currency })
    }

    fn master_data(&self) -> Vec<MasterData> {
        let company = CompanyNo::FIRST;
        let scope = match text(&self.case["cost_scope"]) {
            "company" => CostScope::Company,
            _ => CostScope::Site,
        };
        let named = |name: &str| (name.to_owned(), name.to_owned());
        let (code, name) = named("case");
        let (currency, zone) = (self.currency, OffsetMinutes(0));
        let mut data = vec![
            MasterData::Company { company, code, name, currency, zone, scope },
            MasterData::Costing { company, category: None, method: self.method },
        ];
        for site in &self.sites {
            let (code, name) = named(site);
            data.push(MasterData::Site { site: self.site(site), company, code, name });
        }
        for item in &self.items {
            let (code, name) = named(item);
            let fallback = self.case["initial_cost"][item].as_str();
            data.push(MasterData::Item {
                item: self.item(item),
                category: CategoryNo(1),
                code,
                name,
                unit: unit(),
                decimals: QUANTITY_DECIMALS,
                service: false,
                fallback_cost: fallback.map(|cost| Price { figure: decimal(cost), currency }),
            });
        }
        let (code, name) = named("partner");
        let (partner, customer, supplier) = (PartnerNo(1), true, true);
        data.push(MasterData::Partner { partner, code, name, customer, supplier });
        let (code, name) = named("reason");
        data.push(MasterData::Reason { reason: ReasonNo(1), code, name, movement: None });
        data.extend(Role::ALL.iter().flat_map(|role| account(company, *role)));
        data
    }
}

/// What is invoiced of each receipt, in smallest units.
type Invoiced = BTreeMap<u64, i64>;

/// How far apart the captures of one event's facts are.
const FURTHER: u64 = 10_000;

/// A quantity in smallest units.
fn units(quantity: &Value) -> i64 {
    decimal(text(quantity)).units(QUANTITY_DECIMALS).expect("a quantity of the case")
}

/// Every role has an account of its number.
fn account(company: CompanyNo, role: Role) -> [MasterData; 2] {
    let account = AccountNo(role as u32);
    let (code, name) = (role.word().to_owned(), role.word().to_owned());
    [
        MasterData::Account { account, company, code, name, account_type: AccountType::Asset },
        MasterData::Mapping {
            company,
            role,
            account,
            category: None,
            site: None,
            movement: None,
            reason: None,
        },
    ]
}

/// Units of a ship that have not arrived.
fn on_the_way(books: &Books, ship: hq_server::books::valuation::FactId) -> i64 {
    let facts = books.facts();
    let receives = facts.dependents(ship).iter().map(|id| &facts[*id]);
    let receives = receives.filter(|record| record.kind == Kind::TransferReceive);
    facts[ship].quantity.0 - receives.map(|record| record.taken_over.units).sum::<i64>()
}

fn unit() -> Unit {
    Unit::from_bytes(b"EA").expect("a unit")
}

fn place(names: &[&str], name: &str) -> u32 {
    let index = names.iter().position(|held| *held == name).expect("a name of the case");
    u32::try_from(index + 1).expect("a small case")
}

fn events(case: &Value) -> &[Value] {
    case["events"].as_array().map_or(&[], Vec::as_slice)
}

fn references(event: &Value) -> Vec<u64> {
    match &event["ref"] {
        Value::Null => Vec::new(),
        Value::Array(several) => several.iter().map(number).collect(),
        one => vec![number(one)],
    }
}

fn arrives(event: &Value) -> u64 {
    number(&event["arrives"])
}

fn arriving(case: &Value) -> Vec<&Value> {
    let mut events: Vec<_> = events(case).iter().collect();
    events.sort_by_key(|event| arrives(event));
    events
}

const fn device(site: SiteNo) -> DeviceNo {
    DeviceNo(site.0 + 1)
}

/// The writer's own order is the order of arrival in a story with one writer.
fn stamp(capture: Capture, arrives: u64, at: Option<Timestamp>) -> Stamp {
    let recorded_at = Timestamp(4_000_000_000_000 + arrives.cast_signed());
    Stamp {
        capture,
        recorded_at,
        occurred_at: at.unwrap_or(recorded_at),
        utc_offset: OffsetMinutes(0),
        group_left: 0,
        person: None,
        time_in_doubt: 0,
        company: None,
    }
}
