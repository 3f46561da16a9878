//! The events of a case as facts, and the books of those that are known. Refuses where a fact is
//! entered, as the cases ask: the books themselves take whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use hq_server::books::{Books, Entry, Run};
use serde_json::Value;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, InvoiceLine, MasterData, Measure, Movement, Role, Stamp,
    Statement,
};
use shared::fact::{Fact, Kind};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::Unit;
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::figures::{QUANTITY_DECIMALS, decimal, product};

/// Kinds of events that no fact states yet.
const NOT_YET: [&str; 3] = ["landed_cost", "revaluation", "standard_cost_change"];

/// Why a case can't be computed.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// The method is unknown.
    #[error("the method {0} is not built")]
    Method(String),
    /// No fact states such an event.
    #[error("no fact states a {0} yet")]
    Event(String),
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
        if !BUILT.contains(&method) {
            return Err(Untold::Method(method.word().to_owned()));
        }
        let (mut sites, mut items) = (BTreeSet::new(), BTreeSet::new());
        for event in events(case) {
            let kind = text(&event["kind"]);
            let negative = event["qty"].as_str().is_some_and(|qty| qty.starts_with('-'));
            if NOT_YET.contains(&kind) || negative || references(event).len() > 1 {
                return Err(Untold::Event(kind.to_owned()));
            }
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

    /// Tries each arriving event and leaves out what would take more than there is.
    fn refuse(&mut self) {
        if self.case["allow_negative"] != false {
            return;
        }
        for event in arriving(self.case) {
            let without = references(event).iter().any(|n| self.refused.contains(n));
            let known = |other: &Value| arrives(other) <= arrives(event);
            if without || self.books(known).facts().iter().any(|(_, record)| record.short) {
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
        let mut take = |site: SiteNo, statement: &Statement, stamp: &Stamp| {
            let seq = seqs.entry(site).or_default();
            *seq += 1;
            let fact: Fact = statement.to_fact(stamp).expect("a legal fact");
            books.apply(&Entry::Run(Run {
                site,
                log: LogRank(site.0.into()),
                first: Seq(*seq),
                received_at: Timestamp(0),
                facts: &[fact],
            }));
        };
        for (counter, data) in (1_000_000..).zip(self.master_data()) {
            let capture = Capture { device: device(SiteNo::HQ), counter };
            let statement = Statement::MasterData { valid_from: None, data };
            take(SiteNo::HQ, &statement, &stamp(capture, 0, None));
        }
        for event in arriving(self.case) {
            if wanted(event) && !self.refused.contains(&number(&event["n"])) {
                let capture = self.capture(number(&event["n"]));
                let at = self.instant(text(&event["at"]));
                let stamp = stamp(capture, arrives(event), Some(at));
                take(self.log(event), &self.statement(event), &stamp);
            }
        }
        books.apply(&Entry::Settle);
        let waiting: Vec<_> = books.waiting().map(|(_, group)| group.why.to_string()).collect();
        let partly = waiting.is_empty() || self.case["expect"]["as_of"].is_array();
        assert!(partly, "facts wait: {waiting:?}");
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

    /// Documents stand in HQ's log.
    fn log(&self, event: &Value) -> SiteNo {
        match text(&event["kind"]) {
            "supplier_invoice" | "customer_invoice" => SiteNo::HQ,
            _ => self.site(text(&event["site"])),
        }
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
        let mut sums = (0, 0);
        let mut add = |units: i64, value: i128| {
            sums.0 += i128::from(units);
            sums.1 += value;
        };
        for pool in books.pools() {
            let of_site = site.is_none() || pool.site.is_none() || pool.site == site;
            if of_site && item.is_none_or(|item| pool.item == item) {
                add(pool.state.stock.quantity(), pool.state.stock.value().into());
            }
        }
        if site.is_none() && text(&self.case["cost_scope"]) == "site" {
            for (ship, value) in books.open_items().of_role(Role::InterSiteTransit) {
                if item.is_none_or(|item| books.facts()[ship].item == Some(item)) {
                    add(on_the_way(books, ship), value);
                }
            }
        }
        sums
    }

    fn statement(&self, event: &Value) -> Statement {
        let quantity = Measure { figure: decimal(text(&event["qty"])), unit: unit() };
        let refers_to = references(event).first().map(|n| self.capture(*n));
        let kind = Kind::from_word(text(&event["kind"])).expect("a known kind");
        if matches!(kind, Kind::SupplierInvoice | Kind::CustomerInvoice) {
            let line = InvoiceLine {
                partner: PartnerNo(1),
                refers_to: refers_to.expect("an invoice names its goods"),
                quantity,
                price: self.price(event).expect("an invoice has a price"),
                document: None,
                document_date: None,
                due_date: None,
                tax_code: None,
            };
            return match kind {
                Kind::SupplierInvoice => Statement::SupplierInvoice(line),
                _ => Statement::CustomerInvoice(line),
            };
        }
        let mut movement = Movement::new(kind, self.item(text(&event["item"])), quantity);
        movement.price = self.price(event);
        movement.partner = Some(PartnerNo(1));
        movement.reason = Some(ReasonNo(1));
        movement.refers_to = refers_to;
        movement.other_site = event["to_site"].as_str().map(|name| self.site(name));
        movement.invoice_later = kind == Kind::SaleIssue;
        Statement::Movement(movement)
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

/// The methods that the books know.
const BUILT: [CostMethod; 3] = [CostMethod::MovingAverage, CostMethod::Fifo, CostMethod::Lifo];

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
