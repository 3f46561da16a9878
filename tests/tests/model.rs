//! The naive model against the published costing cases, where they are at hand: what the model
//! says must be what the cases say. Reads figures, never copies them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use shared::fact::Kind;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, CostMethod, CostScope, InvoiceLine, MasterData, Measure, Movement, Role, Stamp,
    Statement,
};
use shared::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{Day, OffsetMinutes, Timestamp};
use tests::model::{Model, Written};

/// Items of the cases are counted in thousandths.
const DECIMALS: u8 = 3;

/// Kinds whose events are not told as facts here; `costing.rs` has the books compute them.
const NOT_YET: [&str; 3] = ["landed_cost", "revaluation", "standard_cost_change"];

#[test]
fn agrees_with_the_published_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases/costing");
    let folder = std::env::var("WAREBOOK_CASES").map_or(folder, Into::into);
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there is no folder {}", folder.display());
        return;
    };
    let (mut agreed, mut skipped, mut figures) = (0, 0, 0);
    for file in files {
        let path = file.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let cases: Value = serde_json::from_str(&text).expect("an array of cases");
        for case in cases.as_array().expect("an array of cases") {
            if !is_stated_by_facts(case) {
                skipped += 1;
                continue;
            }
            figures += Case::new(case).compare();
            agreed += 1;
        }
    }
    println!(
        "{agreed} cases agree in {figures} figures, {skipped} have events that are not told here"
    );
    assert!(agreed > 0 && figures > 0, "the folder holds cases of plain movements");
}

fn is_stated_by_facts(case: &Value) -> bool {
    events(case).iter().all(|event| {
        let kind = text(&event["kind"]);
        let credit_note = kind == "supplier_invoice" && text(&event["qty"]).starts_with('-');
        !NOT_YET.contains(&kind) && !credit_note && references(event).len() <= 1
    })
}

fn events(case: &Value) -> &[Value] {
    case["events"].as_array().expect("events")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn references(event: &Value) -> Vec<u64> {
    match &event["ref"] {
        Value::Null => Vec::new(),
        Value::Array(several) => several.iter().map(number).collect(),
        one => vec![number(one)],
    }
}

/// A decimal in minor units or thousandths.
fn scaled(figure: &str, decimals: u8) -> i128 {
    let figure = shared::decimal::parse(figure).expect("a decimal");
    figure.units(decimals).expect("no more decimals than that").into()
}

/// A case, and the facts that state its events.
struct Case<'a> {
    story: &'a Value,
    currency: Currency,
    names: Vec<&'a str>,
    items: Vec<&'a str>,
    refused: BTreeSet<u64>,
}

impl<'a> Case<'a> {
    fn new(case: &'a Value) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut items: Vec<&str> = Vec::new();
        for event in events(case) {
            for site in ["site", "to_site"].iter().filter_map(|field| event[field].as_str()) {
                names.push(site);
            }
            items.push(text(&event["item"]));
        }
        for list in [&mut names, &mut items] {
            list.sort_unstable();
            list.dedup();
        }
        let currency = case["functional_currency"].as_str().unwrap_or("USD");
        let currency = currency.parse().expect("a currency code");
        let mut new = Self { story: case, currency, names, items, refused: BTreeSet::new() };
        new.refuse();
        new
    }

    /// Tries each arriving event and leaves out what would take more than there is.
    fn refuse(&mut self) {
        if self.story["allow_negative"] != false {
            return;
        }
        for event in arriving(self.story) {
            let refused = references(event).iter().any(|n| self.refused.contains(n));
            if refused || self.model(|other| arrives(other) <= arrives(event)).short().count() > 0 {
                self.refused.insert(number(&event["n"]));
            }
        }
    }

    fn site(&self, name: &str) -> SiteNo {
        let index = self.names.iter().position(|held| *held == name).expect("a site of the case");
        SiteNo(u32::try_from(index + 1).expect("a small case"))
    }

    fn item(&self, name: &str) -> ItemNo {
        let index = self.items.iter().position(|held| *held == name).expect("an item of the case");
        ItemNo(u32::try_from(index + 1).expect("a small case"))
    }

    fn capture(&self, n: u64) -> Capture {
        let event = events(self.story).iter().find(|event| event["n"] == n).expect("an event");
        Capture { device: device(self.log(event)), counter: n }
    }

    /// Invoices stand in HQ's log.
    fn log(&self, event: &Value) -> SiteNo {
        match text(&event["kind"]) {
            "supplier_invoice" | "customer_invoice" => SiteNo::HQ,
            _ => self.site(text(&event["site"])),
        }
    }

    /// The model of all events that are wanted and not refused.
    fn model(&self, wanted: impl Fn(&Value) -> bool) -> Model {
        let mut written = self.master_data();
        let mut seqs: BTreeMap<SiteNo, u64> = BTreeMap::new();
        seqs.insert(SiteNo::HQ, written.len() as u64);
        for event in arriving(self.story) {
            if !wanted(event) || self.refused.contains(&number(&event["n"])) {
                continue;
            }
            let site = self.log(event);
            let seq = seqs.entry(site).or_default();
            *seq += 1;
            let capture = self.capture(number(&event["n"]));
            let stamp = stamp(capture, arrives(event), Some(instant(text(&event["at"]))));
            written.push(write(site, *seq, &self.statement(event), &stamp));
        }
        Model::of(&written)
    }

    fn statement(&self, event: &Value) -> Statement {
        let price = |field: &str| {
            let figure = event[field].as_str()?;
            let mut figure = shared::decimal::parse(figure).expect("a decimal");
            if let Some(rate) = event["fx_rate"].as_str() {
                let rate = shared::decimal::parse(rate).expect("a decimal");
                let digits = figure.mantissa() * rate.mantissa();
                let exponent = figure.exponent() + rate.exponent();
                figure = Scaled::new(digits, exponent).expect("small figures").normalized();
            }
            Some(Price { figure, currency: self.currency })
        };
        let quantity = Measure {
            figure: shared::decimal::parse(text(&event["qty"])).expect("a decimal"),
            unit: Unit::from_bytes(b"EA").expect("a unit"),
        };
        let refers_to = references(event).first().map(|n| self.capture(*n));
        let kind = Kind::from_word(text(&event["kind"])).expect("a known kind");
        if matches!(kind, Kind::SupplierInvoice | Kind::CustomerInvoice) {
            let line = InvoiceLine {
                partner: PartnerNo(1),
                refers_to: refers_to.expect("an invoice names its goods"),
                quantity,
                price: price("unit_cost").expect("an invoice has a price"),
                document: None,
                document_date: None,
                due_date: None,
                tax_code: None,
            };
            return if kind == Kind::SupplierInvoice {
                Statement::SupplierInvoice(line)
            } else {
                Statement::CustomerInvoice(line)
            };
        }
        let mut movement = Movement::new(kind, self.item(text(&event["item"])), quantity);
        movement.price = price("unit_cost");
        movement.partner = Some(PartnerNo(1));
        movement.reason = Some(ReasonNo(1));
        movement.refers_to = refers_to;
        movement.other_site = event["to_site"].as_str().map(|name| self.site(name));
        movement.invoice_later = kind == Kind::SaleIssue;
        movement.lot = event["lot"].as_str().map(|lot| ShortText::from_slice(lot.as_bytes()));
        Statement::Movement(movement)
    }

    fn master_data(&self) -> Vec<Written> {
        let company = CompanyNo::FIRST;
        let unit = Unit::from_bytes(b"EA").expect("a unit");
        let scope = match text(&self.story["cost_scope"]) {
            "company" => CostScope::Company,
            _ => CostScope::Site,
        };
        let named = |name: &str| (name.to_owned(), name.to_owned());
        let (code, name) = named("case");
        let currency = self.currency;
        let zone = OffsetMinutes(0);
        let method = CostMethod::from_word(text(&self.story["method"])).expect("a known method");
        let mut data = vec![
            MasterData::Company { company, code, name, currency, zone, scope },
            MasterData::Costing { company, category: None, method },
        ];
        for site in &self.names {
            let (code, name) = named(site);
            data.push(MasterData::Site { site: self.site(site), company, code, name });
        }
        for item in &self.items {
            let (code, name) = named(item);
            let fallback_cost = self.story["initial_cost"][item].as_str().map(|cost| Price {
                figure: shared::decimal::parse(cost).expect("a decimal"),
                currency,
            });
            data.push(MasterData::Item {
                item: self.item(item),
                category: CategoryNo(1),
                code,
                name,
                unit: unit.clone(),
                decimals: DECIMALS,
                service: false,
                fallback_cost,
            });
        }
        let (code, name) = named("partner");
        data.push(MasterData::Partner {
            partner: PartnerNo(1),
            code,
            name,
            customer: true,
            supplier: true,
        });
        let (code, name) = named("reason");
        data.push(MasterData::Reason { reason: ReasonNo(1), code, name, movement: None });
        for role in Role::ALL.iter().copied() {
            let (code, name) = named(role.word());
            let account = AccountNo(role as u32);
            let account_type = AccountType::Asset;
            data.push(MasterData::Account { account, company, code, name, account_type });
            data.push(MasterData::Mapping {
                company,
                role,
                account,
                category: None,
                site: None,
                movement: None,
                reason: None,
            });
        }
        let state = |(index, data): (usize, MasterData)| {
            let counter = 1_000_000 + index as u64;
            let stamp = stamp(Capture { device: device(SiteNo::HQ), counter }, 0, None);
            let statement = Statement::MasterData { valid_from: None, data };
            write(SiteNo::HQ, index as u64 + 1, &statement, &stamp)
        };
        data.into_iter().enumerate().map(state).collect()
    }

    fn known_at(&self, n: u64) -> Model {
        let arrived = arrives(self.event(n));
        self.model(|event| arrives(event) <= arrived)
    }

    fn event(&self, n: u64) -> &Value {
        events(self.story).iter().find(|event| event["n"] == n).expect("an event")
    }

    fn id(&self) -> &str {
        text(&self.story["id"])
    }

    /// Compares all figures; gives how many.
    fn compare(&self) -> usize {
        let expect = &self.story["expect"];
        let complete = self.model(|_| true);
        let mut compared = Compared { id: self.id(), figures: 0 };
        let refused: BTreeSet<u64> = rows(&expect["rejected"]).iter().map(number).collect();
        assert_eq!(self.refused, refused, "{}: refused", self.id());
        for row in rows(&expect["after_each"]) {
            self.balance(&self.known_at(number(&row["n"])), row, &mut compared);
        }
        for row in rows(&expect["as_of"]) {
            let at = instant(text(&row["at"]));
            let model = self.model(|event| instant(text(&event["at"])) <= at);
            self.balance(&model, row, &mut compared);
        }
        for row in rows(&expect["issue_costs"]) {
            compared.money(&row["amount"], self.change(&complete, row).abs(), "cost", row);
        }
        for row in rows(&expect["issue_costs_on_arrival"]) {
            let model = self.known_at(number(&row["n"]));
            compared.money(&row["amount"], self.change(&model, row).abs(), "first cost", row);
        }
        for row in rows(&expect["value_changes"]) {
            compared.money(&row["amount"], self.change(&complete, row), "change", row);
        }
        for row in rows(&expect["value_changes_on_arrival"]) {
            let model = self.known_at(number(&row["n"]));
            compared.money(&row["amount"], self.change(&model, row), "first change", row);
        }
        for row in rows(&expect["adjustments"]) {
            let model = self.known_at(number(&row["n"]));
            let corrected = self.change(&complete, row).abs() - self.change(&model, row).abs();
            compared.money(&row["amount"], corrected, "adjustment", row);
        }
        let last = &expect["final"];
        for row in rows(&last["stock"]) {
            self.balance(&complete, row, &mut compared);
        }
        if last["cogs"].is_string() {
            let cogs = complete.balance_of(Role::CostOfSales);
            compared.money(&last["cogs"], cogs, "cost of sales", last);
        }
        let layers: Vec<_> = complete.layers().into_values().flatten().collect();
        if !rows(&last["layers"]).is_empty() {
            assert_eq!(layers.len(), rows(&last["layers"]).len(), "{}: layers", self.id());
        }
        for (row, (units, worth)) in rows(&last["layers"]).iter().zip(layers) {
            compared.figure(&row["qty"], units, DECIMALS, "quantity of a layer", row);
            compared.money(&row["value"], worth, "value of a layer", row);
        }
        self.compare_ledger(&complete, &mut compared);
        compared.figures
    }

    fn change(&self, model: &Model, row: &Value) -> i128 {
        model.changes()[&self.capture(number(&row["n"]))]
    }

    fn balance(&self, model: &Model, row: &Value, compared: &mut Compared<'_>) {
        let site = row["site"].as_str().filter(|site| *site != "*").map(|site| self.site(site));
        let items: Vec<ItemNo> = match row["item"].as_str() {
            Some(item) => vec![self.item(item)],
            None => self.items.iter().map(|item| self.item(item)).collect(),
        };
        let lot = row["lot"].as_str().map(str::as_bytes);
        let (mut quantity, mut value) = (0, 0);
        for item in items {
            // Under one pool for the company a site's value is no figure of the books, and all
            // cases of that kind have one site.
            let by_site = text(&self.story["cost_scope"]) == "site";
            let site = site.filter(|_| by_site);
            if site.is_none() && lot.is_none() {
                let (units, worth) = model.stock_of(item);
                (quantity, value) = (quantity + units, value + worth);
                continue;
            }
            for ((_, held, at, of_lot), (units, worth)) in model.pools() {
                let wanted_lot = lot.is_none() || lot == of_lot.as_deref();
                if held == item && site.is_none_or(|site| site == at) && wanted_lot {
                    (quantity, value) = (quantity + units, value + worth);
                }
            }
        }
        compared.figure(&row["qty"], quantity, DECIMALS, "quantity", row);
        compared.money(&row["value"], value, "value", row);
    }

    fn compare_ledger(&self, model: &Model, compared: &mut Compared<'_>) {
        let ledger = &self.story["expect"]["final"]["gl"];
        let mut listed: BTreeMap<&str, i128> = BTreeMap::new();
        for row in rows(ledger) {
            let net = scaled(text(&row["debit"]), 2) - scaled(text(&row["credit"]), 2);
            *listed.entry(text(&row["account_role"])).or_default() += net;
        }
        let mut complete = 0;
        for (word, net) in &listed {
            let held: i128 = roles(word).iter().map(|role| model.balance_of(*role)).sum();
            assert_eq!(held, *net, "{}: {word}", self.id());
            complete += held;
            compared.figures += 1;
        }
        if self.story["expect"]["final"]["gl_complete"] == true {
            assert_eq!(complete, 0, "{}: no other role has a balance", self.id());
        }
    }
}

/// What a role of the cases is here.
fn roles(word: &str) -> &'static [Role] {
    match word {
        "inventory" => &[Role::Inventory, Role::InterSiteTransit],
        "grni" => &[Role::ReceivedNotInvoiced, Role::BoughtInTransit],
        "ap" => &[Role::Payable],
        "ar" => &[Role::Receivable, Role::UnbilledReceivable],
        "revenue" => &[Role::Revenue],
        "cogs" => &[Role::CostOfSales],
        "exchange_difference" => &[Role::ExchangeDifference],
        "price_difference" => &[Role::ReturnDifference, Role::PriceVariance],
        other => panic!("the role {other} is new here"),
    }
}

/// Counts what was compared.
struct Compared<'a> {
    id: &'a str,
    figures: usize,
}

impl Compared<'_> {
    fn money(&mut self, expected: &Value, found: i128, what: &str, row: &Value) {
        self.figure(expected, found, 2, what, row);
    }

    fn figure(&mut self, expected: &Value, found: i128, decimals: u8, what: &str, row: &Value) {
        if let Some(expected) = expected.as_str() {
            assert_eq!(found, scaled(expected, decimals), "{}: {what} in {row}", self.id);
            self.figures += 1;
        }
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn arrives(event: &Value) -> u64 {
    number(&event["arrives"])
}

fn arriving(case: &Value) -> Vec<&Value> {
    let mut events: Vec<_> = events(case).iter().collect();
    events.sort_by_key(|event| arrives(event));
    events
}

fn device(site: SiteNo) -> DeviceNo {
    DeviceNo(site.0 + 1)
}

/// Milliseconds of a local time without zone.
fn instant(text: &str) -> Timestamp {
    let (day, time) = text.split_once('T').expect("a date and a time");
    let day: Day = day.parse().expect("a date");
    let parts: Vec<i64> =
        time.split(':').map(|part| part.parse().expect("a part of a time")).collect();
    let ms = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000;
    Timestamp(day.start(OffsetMinutes(0)).0 + ms)
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

fn write(site: SiteNo, seq: u64, statement: &Statement, stamp: &Stamp) -> Written {
    let fact = statement.to_fact(stamp).expect("a legal fact");
    Written { site, log: LogRank(site.0.into()), seq: Seq(seq), fact }
}
