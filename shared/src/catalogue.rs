//! Master data as a site sees it: folded from HQ's facts, looked up by number and by code. Knows no
//! clock, no store and no accounts' meaning. Invariant: the newest statement of a key holds, and a
//! setting with a valid-from holds from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::fact::field;
use crate::fact::statement::{AccountType, CostScope, MasterData, Measure, PolicyKind, Statement};
use crate::fact::{Fact, Kind, KindNo, Malformed};
use crate::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, LogId, PartnerNo, ReasonNo, SiteNo,
};
use crate::money::{Currency, Price};
use crate::quantity::{Quantity, ScaleError, Scaled, ShortText, Unit};
use crate::time::{OffsetMinutes, Timestamp};
use crate::varint;

/// A company as its newest statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    /// Its number.
    pub company: CompanyNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its functional currency.
    pub currency: Currency,
    /// Its zone, which decides ledger months.
    pub zone: OffsetMinutes,
    /// Its cost pools.
    pub scope: CostScope,
}

/// A warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub site: SiteNo,
    /// Its company.
    pub company: CompanyNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// An item category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its number.
    pub category: CategoryNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub item: ItemNo,
    /// Its category.
    pub category: CategoryNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its base unit.
    pub unit: Unit,
    /// Decimals of its smallest unit.
    pub decimals: u8,
    /// A service is sold and never stocked.
    pub service: bool,
    /// Cost before anything else is known.
    pub fallback_cost: Option<Price>,
}

/// A customer or supplier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its number.
    pub partner: PartnerNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// May be sold to.
    pub customer: bool,
    /// May be bought from.
    pub supplier: bool,
}

/// Why adjustments, issues and scraps happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its number.
    pub reason: ReasonNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The only movement kind it is for.
    pub movement: Option<Kind>,
}

/// A ledger account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub account: AccountNo,
    /// Its company.
    pub company: CompanyNo,
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// What it is in the statements.
    pub account_type: AccountType,
}

/// Who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLog {
    /// The site.
    pub site: SiteNo,
    /// The installation.
    pub device: DeviceNo,
    /// The key that signs its seals.
    pub public_key: [u8; 32],
    /// HQ has revoked the installation.
    pub revoked: bool,
}

/// Keyed state: goods on their way to a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransfer {
    /// The ship movement; what a receive refers to.
    pub ship: Capture,
    /// The site they left.
    pub from: SiteNo,
    /// The site they go to.
    pub to: SiteNo,
    /// The item.
    pub item: ItemNo,
    /// How much is still on its way.
    pub quantity: Measure,
    /// Lot or batch.
    pub lot: Option<ShortText>,
    /// An outside document's number.
    pub document: Option<ShortText>,
    /// When they left.
    pub shipped_at: Timestamp,
    /// False once all has arrived: the transfer leaves the catalogue.
    pub open: bool,
}

/// Keyed state: one line of an order that a site may work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// The order's fact; what a receipt or a sale names as its order.
    pub order: Capture,
    /// Receipt for a purchase order, sale issue for a sales order.
    pub movement: Kind,
    /// Supplier or customer.
    pub partner: PartnerNo,
    /// The item.
    pub item: ItemNo,
    /// How much is still to be moved.
    pub quantity: Measure,
    /// The price of one unit.
    pub price: Option<Price>,
    /// An outside document's number.
    pub document: Option<ShortText>,
    /// False once it is fulfilled: the order leaves the catalogue.
    pub open: bool,
}

/// The highest number that is ever left out: far above what is given one after the other.
const NUMBERS_MAX: u64 = 1 << 23;

const STATE_OPEN: u64 = 1;
const STATE_CLOSED: u64 = 2;

fn number<T>(field: field::Field<field::Unsigned>, fact: &Fact, make: fn(u32) -> T) -> Option<T> {
    field.of(fact).and_then(|value| u32::try_from(value).ok()).map(make)
}

fn figure(
    fact: &Fact,
    mantissa: field::Field<field::Signed>,
    exponent: field::Field<field::Signed>,
) -> Option<Scaled> {
    let exponent = i8::try_from(exponent.of(fact).unwrap_or(0)).ok()?;
    Scaled::new(mantissa.of(fact)?, exponent).ok()
}

fn measure(fact: &Fact) -> Option<Measure> {
    Some(Measure {
        figure: figure(fact, field::QUANTITY, field::QUANTITY_EXPONENT)?,
        unit: Unit::from_bytes(field::UNIT.of(fact)?).ok()?,
    })
}

fn put_measure(fact: &mut Fact, measure: &Measure) -> Result<(), Malformed> {
    let exponent = measure.figure.exponent();
    field::QUANTITY.put(fact, Some(measure.figure.mantissa()))?;
    field::QUANTITY_EXPONENT.put(fact, (exponent != 0).then_some(exponent))?;
    field::UNIT.put(fact, Some(measure.unit.as_bytes()))
}

fn reference(fact: &Fact) -> Option<Capture> {
    let device = number(field::REF_DEVICE, fact, DeviceNo)?;
    Some(Capture { device, counter: field::REF_COUNTER.of(fact)? })
}

fn put_reference(fact: &mut Fact, capture: Capture) -> Result<(), Malformed> {
    field::REF_DEVICE.put(fact, Some(capture.device))?;
    field::REF_COUNTER.put(fact, Some(capture.counter))
}

impl OpenTransfer {
    /// The keyed-state fact that says it. Fails only on texts over the size of a field.
    pub fn to_fact(&self) -> Result<Fact, Malformed> {
        let mut fact = Fact::new(Kind::OpenTransfer);
        field::OCCURRED_AT.put(&mut fact, Some(self.shipped_at.0))?;
        field::SITE.put(&mut fact, Some(self.from))?;
        field::ITEM.put(&mut fact, Some(self.item))?;
        put_measure(&mut fact, &self.quantity)?;
        field::LOT.put(&mut fact, self.lot.as_deref())?;
        field::DOCUMENT.put(&mut fact, self.document.as_deref())?;
        put_reference(&mut fact, self.ship)?;
        field::NUMBER.put(&mut fact, Some(self.to))?;
        field::STATUS.put(&mut fact, Some(if self.open { STATE_OPEN } else { STATE_CLOSED }))?;
        Ok(fact)
    }

    /// Reads the keyed-state fact; `None` where a field is missing or of another kind.
    pub fn parse(fact: &Fact) -> Option<Self> {
        (fact.kind() == Some(Kind::OpenTransfer)).then_some(())?;
        Some(Self {
            ship: reference(fact)?,
            from: number(field::SITE, fact, SiteNo)?,
            to: number(field::NUMBER, fact, SiteNo)?,
            item: number(field::ITEM, fact, ItemNo)?,
            quantity: measure(fact)?,
            lot: field::LOT.of(fact).map(ShortText::from_slice),
            document: field::DOCUMENT.of(fact).map(ShortText::from_slice),
            shipped_at: Timestamp(field::OCCURRED_AT.of(fact)?),
            open: field::STATUS.of(fact)? == STATE_OPEN,
        })
    }
}

impl OpenOrder {
    /// The keyed-state fact that says it. Fails only on texts over the size of a field.
    pub fn to_fact(&self) -> Result<Fact, Malformed> {
        let mut fact = Fact::new(Kind::OpenOrder);
        field::ITEM.put(&mut fact, Some(self.item))?;
        put_measure(&mut fact, &self.quantity)?;
        if let Some(price) = self.price {
            let exponent = price.figure.exponent();
            field::PRICE.put(&mut fact, Some(price.figure.mantissa()))?;
            field::PRICE_EXPONENT.put(&mut fact, (exponent != 0).then_some(exponent))?;
            field::CURRENCY.put(&mut fact, Some(price.currency.as_bytes().as_slice()))?;
        }
        field::PARTNER.put(&mut fact, Some(self.partner))?;
        field::DOCUMENT.put(&mut fact, self.document.as_deref())?;
        put_reference(&mut fact, self.order)?;
        field::MOVEMENT.put(&mut fact, Some(u64::from(self.movement.number().0)))?;
        field::STATUS.put(&mut fact, Some(if self.open { STATE_OPEN } else { STATE_CLOSED }))?;
        Ok(fact)
    }

    /// Reads the keyed-state fact; `None` where a field is missing or of another kind.
    pub fn parse(fact: &Fact) -> Option<Self> {
        (fact.kind() == Some(Kind::OpenOrder)).then_some(())?;
        let movement = u16::try_from(field::MOVEMENT.of(fact)?).ok()?;
        let price = figure(fact, field::PRICE, field::PRICE_EXPONENT)
            .zip(field::CURRENCY.of(fact).and_then(|code| Currency::from_bytes(code).ok()))
            .map(|(figure, currency)| Price { figure, currency });
        Some(Self {
            order: reference(fact)?,
            movement: Kind::from_number(KindNo(movement))?,
            partner: number(field::PARTNER, fact, PartnerNo)?,
            item: number(field::ITEM, fact, ItemNo)?,
            quantity: measure(fact)?,
            price,
            document: field::DOCUMENT.of(fact).map(ShortText::from_slice),
            open: field::STATUS.of(fact)? == STATE_OPEN,
        })
    }
}

/// The versions of one setting by valid-from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dated<T>(BTreeMap<i64, T>);

impl<T> Default for Dated<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Dated<T> {
    fn set(&mut self, valid_from: Option<Timestamp>, value: T) {
        self.0.insert(valid_from.map_or(i64::MIN, |from| from.0), value);
    }

    fn at(&self, at: Timestamp) -> Option<&T> {
        self.0.range(..=at.0).next_back().map(|(_, value)| value)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Factor {
    numerator: u64,
    denominator: u64,
}

/// Things of one kind: by number, and by the code that the newest statement gives them.
///
/// Of several statements about one thing the one with the latest valid-from describes it; what
/// depends on a date (policies, conversions) is kept by date instead.
#[derive(Clone, Debug)]
struct Named<K, T> {
    by_number: BTreeMap<K, (i64, T)>,
    by_code: BTreeMap<String, K>,
    /// No number up to this one is given again.
    floor: u64,
}

impl<K, T> Default for Named<K, T> {
    fn default() -> Self {
        Self { by_number: BTreeMap::new(), by_code: BTreeMap::new(), floor: 0 }
    }
}

impl<K: Ord + Copy + Into<u64>, T> Named<K, T> {
    /// The highest number that was given, as far as that is known.
    fn highest(&self) -> u64 {
        self.by_number.last_key_value().map_or(0, |(key, _)| (*key).into()).max(self.floor)
    }

    /// The number that the next new thing gets.
    fn next(&self, number: fn(u32) -> K) -> K {
        let next = u32::try_from(self.highest() + 1);
        number(next.expect("numbers are dense, and what is skipped is bounded"))
    }

    fn skip(&mut self, count: u32) {
        self.floor = (self.highest() + u64::from(count)).min(NUMBERS_MAX);
    }

    fn put(&mut self, key: K, valid_from: Option<Timestamp>, value: T, code: fn(&T) -> &str) {
        let from = valid_from.map_or(i64::MIN, |from| from.0);
        if let Some((newest, old)) = self.by_number.get(&key) {
            if *newest > from {
                return;
            }
            if self.by_code.get(code(old)) == Some(&key) {
                self.by_code.remove(code(old));
            }
        }
        self.by_code.insert(code(&value).to_owned(), key);
        self.by_number.insert(key, (from, value));
    }

    fn get(&self, key: K) -> Option<&T> {
        self.by_number.get(&key).map(|(_, value)| value)
    }

    fn find(&self, code: &str) -> Option<&T> {
        self.by_code.get(code).and_then(|key| self.get(*key))
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_number.values().map(|(_, value)| value)
    }
}

/// Why a quantity in the keeper's unit is no whole number of the item's smallest units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The item has no such unit.
    #[error("item '{item}' has no unit '{unit}': use {known}")]
    UnknownUnit {
        /// The item's code.
        item: String,
        /// The unit that was stated.
        unit: Unit,
        /// The units it has, as a list to read.
        known: String,
    },
    /// Too many decimals, or too large.
    #[error("the quantity {figure} of item '{item}' {why}")]
    Figure {
        /// The item's code.
        item: String,
        /// What was stated.
        figure: Scaled,
        /// What is wrong with it.
        why: ScaleError,
    },
    /// The conversion leaves a fraction of the smallest unit.
    #[error(
        "{figure} {unit} of item '{item}' is no whole number of its smallest unit (10^-{decimals} \
         {base}): state it in {base}"
    )]
    NotWhole {
        /// The item's code.
        item: String,
        /// What was stated.
        figure: Scaled,
        /// The unit that was stated.
        unit: Unit,
        /// The item's base unit.
        base: Unit,
        /// Decimals of the smallest unit.
        decimals: u8,
    },
}

/// Master data, folded from facts.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    companies: Named<CompanyNo, Company>,
    sites: Named<SiteNo, Site>,
    categories: Named<CategoryNo, Category>,
    items: Named<ItemNo, Item>,
    partners: Named<PartnerNo, Partner>,
    reasons: Named<ReasonNo, Reason>,
    accounts: Named<AccountNo, Account>,
    conversions: BTreeMap<ItemNo, BTreeMap<Unit, Dated<Factor>>>,
    policies: BTreeMap<(PolicyKind, Option<SiteNo>), Dated<i64>>,
    transfers: BTreeMap<Capture, OpenTransfer>,
    closed_transfers: BTreeSet<Capture>,
    orders: BTreeMap<Capture, OpenOrder>,
    site_logs: BTreeMap<LogId, SiteLog>,
    /// Installations that HQ has revoked, which is for ever.
    revoked: BTreeSet<(SiteNo, DeviceNo)>,
    /// Whose data, who carries it.
    carriers: BTreeSet<(SiteNo, SiteNo)>,
}

impl Catalogue {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a fact states about master data or open work; other facts change nothing.
    ///
    /// Facts of one key are given oldest first.
    pub fn apply(&mut self, fact: &Fact) {
        match fact.kind() {
            Some(Kind::OpenTransfer) => {
                if let Some(transfer) = OpenTransfer::parse(fact) {
                    self.apply_transfer(transfer);
                }
            }
            Some(Kind::OpenOrder) => {
                if let Some(order) = OpenOrder::parse(fact) {
                    self.apply_order(order);
                }
            }
            Some(kind) if kind.is_master_data() => {
                if let Ok(Statement::MasterData { valid_from, data }) = Statement::parse(fact) {
                    self.apply_master_data(valid_from, data);
                }
            }
            _ => {}
        }
    }

    fn apply_transfer(&mut self, transfer: OpenTransfer) {
        if transfer.open {
            self.closed_transfers.remove(&transfer.ship);
            self.transfers.insert(transfer.ship, transfer);
        } else {
            self.transfers.remove(&transfer.ship);
            self.closed_transfers.insert(transfer.ship);
        }
    }

    fn apply_order(&mut self, order: OpenOrder) {
        if order.open {
            self.orders.insert(order.order, order);
        } else {
            self.orders.remove(&order.order);
        }
    }

    /// Takes one statement of HQ.
    pub fn apply_master_data(&mut self, from: Option<Timestamp>, data: MasterData) {
        match data {
            MasterData::Company { company, code, name, currency, zone, scope } => {
                let value = Company { company, code, name, currency, zone, scope };
                self.companies.put(company, from, value, |each| &each.code);
            }
            MasterData::Site { site, company, code, name } => {
                let value = Site { site, company, code, name };
                self.sites.put(site, from, value, |each| &each.code);
            }
            MasterData::Category { category, code, name } => {
                let value = Category { category, code, name };
                self.categories.put(category, from, value, |each| &each.code);
            }
            MasterData::Item {
                item,
                category,
                code,
                name,
                unit,
                decimals,
                service,
                fallback_cost,
            } => {
                let value =
                    Item { item, category, code, name, unit, decimals, service, fallback_cost };
                self.items.put(item, from, value, |each| &each.code);
            }
            MasterData::UnitConversion { item, unit, numerator, denominator } => {
                let factor = Factor { numerator, denominator };
                let units = self.conversions.entry(item).or_default();
                units.entry(unit).or_default().set(from, factor);
            }
            MasterData::Partner { partner, code, name, customer, supplier } => {
                let value = Partner { partner, code, name, customer, supplier };
                self.partners.put(partner, from, value, |each| &each.code);
            }
            MasterData::Reason { reason, code, name, movement } => {
                let value = Reason { reason, code, name, movement };
                self.reasons.put(reason, from, value, |each| &each.code);
            }
            MasterData::Account { account, company, code, name, account_type } => {
                let value = Account { account, company, code, name, account_type };
                self.accounts.put(account, from, value, |each| &each.code);
            }
            MasterData::Policy { company: None, site, policy, setting } => {
                self.policies.entry((policy, site)).or_default().set(from, setting);
            }
            MasterData::SiteLog { site, device, log, public_key, revoked } => {
                if revoked {
                    self.revoked.insert((site, device));
                }
                let revoked = self.is_revoked(site, device);
                self.site_logs.insert(log, SiteLog { site, device, public_key, revoked });
            }
            MasterData::Carrier { site, carrier, allowed: true } => {
                self.carriers.insert((site, carrier));
            }
            MasterData::Carrier { site, carrier, allowed: false } => {
                self.carriers.remove(&(site, carrier));
            }
            // What a company chooses concerns its books.
            MasterData::Policy { company: Some(_), .. }
            | MasterData::Mapping { .. }
            | MasterData::Costing { .. }
            | MasterData::Rate { .. }
            | MasterData::ItemMeasure { .. }
            | MasterData::VoucherGap { .. }
            | MasterData::Ruling { .. }
            | MasterData::HandledItem { .. }
            | MasterData::Rules { .. } => {}
            MasterData::Restored { skipped, .. } => self.skip_numbers(skipped),
        }
    }

    /// Who writes a log; a site knows those of the sites that carry for each other.
    pub fn site_log(&self, log: &LogId) -> Option<&SiteLog> {
        self.site_logs.get(log)
    }

    /// Every log that is known, with who writes it.
    pub fn site_logs(&self) -> impl Iterator<Item = (&LogId, &SiteLog)> {
        self.site_logs.iter()
    }

    /// Whether HQ has revoked an installation, as far as it said so here.
    pub fn is_revoked(&self, site: SiteNo, device: DeviceNo) -> bool {
        self.revoked.contains(&(site, device))
    }

    /// Whether a site may carry another one's data.
    pub fn may_carry(&self, carrier: SiteNo, of: SiteNo) -> bool {
        self.carriers.contains(&(of, carrier))
    }

    /// Who may carry for whom: whose data, who carries it.
    pub fn carriers(&self) -> impl Iterator<Item = (SiteNo, SiteNo)> {
        self.carriers.iter().copied()
    }

    /// Numbers that a lost history may have given are left out.
    fn skip_numbers(&mut self, count: u32) {
        self.companies.skip(count);
        self.categories.skip(count);
        self.items.skip(count);
        self.partners.skip(count);
        self.reasons.skip(count);
        self.accounts.skip(count);
    }

    /// The number of the next new company.
    pub fn next_company(&self) -> CompanyNo {
        self.companies.next(CompanyNo)
    }

    /// The number of the next new category.
    pub fn next_category(&self) -> CategoryNo {
        self.categories.next(CategoryNo)
    }

    /// The number of the next new item.
    pub fn next_item(&self) -> ItemNo {
        self.items.next(ItemNo)
    }

    /// The number of the next new partner.
    pub fn next_partner(&self) -> PartnerNo {
        self.partners.next(PartnerNo)
    }

    /// The number of the next new reason.
    pub fn next_reason(&self) -> ReasonNo {
        self.reasons.next(ReasonNo)
    }

    /// The number of the next new account.
    pub fn next_account(&self) -> AccountNo {
        self.accounts.next(AccountNo)
    }

    /// The company with this number.
    pub fn company(&self, company: CompanyNo) -> Option<&Company> {
        self.companies.get(company)
    }

    /// The company with this code.
    pub fn company_by_code(&self, code: &str) -> Option<&Company> {
        self.companies.find(code)
    }

    /// All companies, by number.
    pub fn companies(&self) -> impl Iterator<Item = &Company> {
        self.companies.iter()
    }

    /// The site with this number.
    pub fn site(&self, site: SiteNo) -> Option<&Site> {
        self.sites.get(site)
    }

    /// The site with this code.
    pub fn site_by_code(&self, code: &str) -> Option<&Site> {
        self.sites.find(code)
    }

    /// All sites, by number.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }

    /// The category with this number.
    pub fn category(&self, category: CategoryNo) -> Option<&Category> {
        self.categories.get(category)
    }

    /// The category with this code.
    pub fn category_by_code(&self, code: &str) -> Option<&Category> {
        self.categories.find(code)
    }

    /// All categories, by number.
    pub fn categories(&self) -> impl Iterator<Item = &Category> {
        self.categories.iter()
    }

    /// The item with this number.
    pub fn item(&self, item: ItemNo) -> Option<&Item> {
        self.items.get(item)
    }

    /// The item with this code.
    pub fn item_by_code(&self, code: &str) -> Option<&Item> {
        self.items.find(code)
    }

    /// All items, by number.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// The partner with this number.
    pub fn partner(&self, partner: PartnerNo) -> Option<&Partner> {
        self.partners.get(partner)
    }

    /// The partner with this code.
    pub fn partner_by_code(&self, code: &str) -> Option<&Partner> {
        self.partners.find(code)
    }

    /// All partners, by number.
    pub fn partners(&self) -> impl Iterator<Item = &Partner> {
        self.partners.iter()
    }

    /// The reason with this number.
    pub fn reason(&self, reason: ReasonNo) -> Option<&Reason> {
        self.reasons.get(reason)
    }

    /// The reason with this code.
    pub fn reason_by_code(&self, code: &str) -> Option<&Reason> {
        self.reasons.find(code)
    }

    /// All reasons, by number.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter()
    }

    /// The account with this number.
    pub fn account(&self, account: AccountNo) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// The account with this code in a company's chart.
    pub fn account_by_code(&self, company: CompanyNo, code: &str) -> Option<&Account> {
        self.accounts().find(|account| account.company == company && account.code == code)
    }

    /// All accounts, by number.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter()
    }

    /// The transfer that this ship movement opened, while something of it is on its way.
    pub fn open_transfer(&self, ship: Capture) -> Option<&OpenTransfer> {
        self.transfers.get(&ship)
    }

    /// Whether HQ has told of the transfer of this ship movement, open or closed.
    pub fn knows_transfer(&self, ship: Capture) -> bool {
        self.transfers.contains_key(&ship) || self.closed_transfers.contains(&ship)
    }

    /// All transfers on their way, by ship movement.
    pub fn open_transfers(&self) -> impl Iterator<Item = &OpenTransfer> {
        self.transfers.values()
    }

    /// The order line of this fact, while something of it is open.
    pub fn open_order(&self, order: Capture) -> Option<&OpenOrder> {
        self.orders.get(&order)
    }

    /// All open order lines, by the order's fact.
    pub fn open_orders(&self) -> impl Iterator<Item = &OpenOrder> {
        self.orders.values()
    }

    /// A policy's value at a time: the site's own, else the one for all sites.
    pub fn policy(&self, policy: PolicyKind, site: SiteNo, at: Timestamp) -> Option<i64> {
        let value = |site| self.policies.get(&(policy, site)).and_then(|dated| dated.at(at));
        value(Some(site)).or_else(|| value(None)).copied()
    }

    /// Every unit that the item can be counted in at a time, the base unit first.
    pub fn units(&self, item: &Item, at: Timestamp) -> Vec<Unit> {
        let others = self.conversions.get(&item.item).into_iter().flatten();
        let others = others
            .filter(|(unit, dated)| **unit != item.unit && dated.at(at).is_some())
            .map(|(unit, _)| unit.clone());
        std::iter::once(item.unit.clone()).chain(others).collect()
    }

    /// The measure as a whole number of the item's smallest units, exactly.
    pub fn to_smallest(
        &self,
        item: &Item,
        measure: &Measure,
        at: Timestamp,
    ) -> Result<Quantity, UnitError> {
        let figure = measure.figure;
        let wrong = |why| UnitError::Figure { item: item.code.clone(), figure, why };
        if measure.unit == item.unit {
            return figure.units(item.decimals).map(Quantity).map_err(wrong);
        }
        let units = self.conversions.get(&item.item);
        let dated = units.and_then(|units| units.get(&measure.unit));
        let Some(factor) = dated.and_then(|dated| dated.at(at)) else {
            return Err(UnitError::UnknownUnit {
                item: item.code.clone(),
                unit: measure.unit.clone(),
                known: list(&self.units(item, at)),
            });
        };
        convert(figure, *factor, item.decimals).map(Quantity).map_err(|why| match why {
            Inexact::Fraction => UnitError::NotWhole {
                item: item.code.clone(),
                figure,
                unit: measure.unit.clone(),
                base: item.unit.clone(),
                decimals: item.decimals,
            },
            Inexact::TooLarge => wrong(ScaleError::TooLarge),
        })
    }
}

fn list(units: &[Unit]) -> String {
    let quoted: Vec<String> = units.iter().map(|unit| format!("'{unit}'")).collect();
    quoted.join(" or ")
}

enum Inexact {
    Fraction,
    TooLarge,
}

fn convert(figure: Scaled, factor: Factor, decimals: u8) -> Result<i64, Inexact> {
    let shift = i32::from(figure.exponent()) + i32::from(decimals);
    let power = crate::quantity::power_of_ten(shift.unsigned_abs()).ok_or(Inexact::TooLarge)?;
    // 2^53 x 2^32 fits; the power of ten is checked.
    let product = i128::from(figure.mantissa()) * i128::from(factor.numerator);
    let (numerator, denominator) = if shift >= 0 {
        (product.checked_mul(power).ok_or(Inexact::TooLarge)?, i128::from(factor.denominator))
    } else {
        let denominator = power.checked_mul(factor.denominator.into()).ok_or(Inexact::TooLarge)?;
        (product, denominator)
    };
    if numerator % denominator != 0 {
        return Err(Inexact::Fraction);
    }
    i64::try_from(numerator / denominator)
        .ok()
        .filter(|units| units.unsigned_abs() < varint::LIMIT)
        .ok_or(Inexact::TooLarge)
}

/// What a keyed-state fact is about: a newer fact with the same key replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(Vec<u8>);

impl StateKey {
    /// The key of a fact: its kind and the fields that say what it is about.
    ///
    /// A fact of a kind that this version doesn't know is its own key: it is kept and replaces
    /// nothing.
    pub fn of(fact: &Fact) -> Self {
        let Some(about) = fact.kind().and_then(identifying_fields) else {
            return Self(fact.to_bytes());
        };
        let mut key = Fact::with_number(fact.kind_no());
        for (tag, value) in fact.fields() {
            if about.contains(&tag.number) {
                key.push(tag.number, value).expect("fields of a fact ascend");
            }
        }
        Self(key.to_bytes())
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn identifying_fields(kind: Kind) -> Option<&'static [u16]> {
    const VALID_FROM: u16 = field::VALID_FROM.number;
    Some(match kind {
        Kind::Company => &[field::COMPANY.number, VALID_FROM],
        Kind::Site => &[field::SITE.number, VALID_FROM],
        Kind::Category => &[field::CATEGORY.number, VALID_FROM],
        Kind::Item => &[field::ITEM.number, VALID_FROM],
        Kind::UnitConversion => &[field::ITEM.number, field::UNIT.number, VALID_FROM],
        Kind::Partner => &[field::PARTNER.number, VALID_FROM],
        Kind::Reason => &[field::REASON.number, VALID_FROM],
        Kind::Account => &[field::ACCOUNT.number, VALID_FROM],
        Kind::Mapping => &[
            field::COMPANY.number,
            field::SITE.number,
            field::REASON.number,
            field::ROLE.number,
            field::MOVEMENT.number,
            field::CATEGORY.number,
            VALID_FROM,
        ],
        Kind::Policy => {
            &[field::COMPANY.number, field::SITE.number, field::POLICY.number, VALID_FROM]
        }
        Kind::Rate => &[field::COMPANY.number, field::CURRENCY.number, VALID_FROM],
        Kind::Costing => &[field::COMPANY.number, field::CATEGORY.number, VALID_FROM],
        Kind::SiteLog => &[field::LOG.number],
        Kind::Carrier => &[field::SITE.number, field::NUMBER.number],
        Kind::Rules => &[VALID_FROM],
        Kind::OpenTransfer | Kind::OpenOrder => {
            &[field::REF_DEVICE.number, field::REF_COUNTER.number]
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(decimals: u8) -> MasterData {
        MasterData::Item {
            item: ItemNo(7),
            category: CategoryNo(1),
            code: "PEN".to_owned(),
            name: "Pen".to_owned(),
            unit: unit("EA"),
            decimals,
            service: false,
            fallback_cost: None,
        }
    }

    fn unit(text: &str) -> Unit {
        Unit::from_bytes(text.as_bytes()).expect("a unit")
    }

    fn measure(text: &str, of: &str) -> Measure {
        Measure { figure: crate::decimal::parse(text).expect("a figure"), unit: unit(of) }
    }

    fn with_box_of_12(decimals: u8) -> Catalogue {
        let mut catalogue = Catalogue::new();
        catalogue.apply_master_data(None, item(decimals));
        let conversion = |unit, numerator, denominator| MasterData::UnitConversion {
            item: ItemNo(7),
            unit,
            numerator,
            denominator,
        };
        catalogue.apply_master_data(None, conversion(unit("box"), 12, 1));
        catalogue.apply_master_data(None, conversion(unit("third"), 1, 3));
        catalogue.apply_master_data(Some(Timestamp(1_000)), conversion(unit("box"), 10, 1));
        catalogue
    }

    #[test]
    fn quantities_become_smallest_units_exactly_or_not_at_all() {
        type Case = (&'static str, &'static str, u8, i64, Result<i64, &'static str>);
        let cases: &[Case] = &[
            ("3", "EA", 0, 0, Ok(3)),
            ("1.5", "EA", 1, 0, Ok(15)),
            ("2", "box", 0, 999, Ok(24)),
            ("2", "box", 0, 1_000, Ok(20)),
            ("0.5", "box", 0, 0, Ok(6)),
            ("-6", "third", 0, 0, Ok(-2)),
            ("1.5", "EA", 0, 0, Err("has more decimals than allowed (0)")),
            ("1", "third", 2, 0, Err("is no whole number of its smallest unit (10^-2 EA)")),
            ("1", "kg", 0, 0, Err("has no unit 'kg': use 'EA' or 'box' or 'third'")),
            ("900000000000000", "box", 0, 0, Err("is too large")),
        ];
        for (text, of, decimals, at, expected) in cases {
            let catalogue = with_box_of_12(*decimals);
            let item = catalogue.item_by_code("PEN").expect("known");
            let found = catalogue.to_smallest(item, &measure(text, of), Timestamp(*at));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.0, *expected, "{text} {of}"),
                (Err(found), Err(expected)) => {
                    assert!(found.to_string().contains(expected), "{found}");
                }
                (found, _) => panic!("{text} {of}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn the_newest_statement_names_a_thing() {
        let mut catalogue = with_box_of_12(0);
        let renamed = |code: &str| MasterData::Partner {
            partner: PartnerNo(1),
            code: code.to_owned(),
            name: code.to_owned(),
            customer: true,
            supplier: false,
        };
        catalogue.apply_master_data(None, renamed("OLD"));
        catalogue.apply_master_data(None, renamed("NEW"));
        assert!(catalogue.partner_by_code("OLD").is_none());
        assert_eq!(catalogue.partner_by_code("NEW").map(|each| each.partner), Some(PartnerNo(1)));
        catalogue.apply_master_data(Some(Timestamp(5)), renamed("LATER"));
        catalogue.apply_master_data(Some(Timestamp(4)), renamed("BETWEEN"));
        assert_eq!(catalogue.partner(PartnerNo(1)).map(|each| each.code.as_str()), Some("LATER"));
        assert!(catalogue.partner_by_code("BETWEEN").is_none());
    }

    #[test]
    fn a_sites_own_policy_goes_first_and_holds_from_its_date() {
        let mut catalogue = Catalogue::new();
        let policy = |site, setting| MasterData::Policy {
            company: None,
            site,
            policy: PolicyKind::BackdatingDays,
            setting,
        };
        catalogue.apply_master_data(None, policy(None, 30));
        catalogue.apply_master_data(Some(Timestamp(100)), policy(Some(SiteNo(2)), 3));
        let at = |site, at| catalogue.policy(PolicyKind::BackdatingDays, site, Timestamp(at));
        assert_eq!(at(SiteNo(1), 100), Some(30));
        assert_eq!(at(SiteNo(2), 99), Some(30));
        assert_eq!(at(SiteNo(2), 100), Some(3));
        assert_eq!(catalogue.policy(PolicyKind::NegativeStock, SiteNo(2), Timestamp(0)), None);
    }

    #[test]
    fn open_work_reads_back_and_closes() {
        let ship = Capture { device: DeviceNo(3), counter: 9 };
        let mut transfer = OpenTransfer {
            ship,
            from: SiteNo(1),
            to: SiteNo(2),
            item: ItemNo(7),
            quantity: measure("1.5", "kg"),
            lot: Some(ShortText::from_slice(b"L1")),
            document: None,
            shipped_at: Timestamp(77),
            open: true,
        };
        let mut catalogue = Catalogue::new();
        let fact = transfer.to_fact().expect("short");
        assert_eq!(OpenTransfer::parse(&fact).as_ref(), Some(&transfer));
        catalogue.apply(&fact);
        assert_eq!(catalogue.open_transfer(ship), Some(&transfer));
        transfer.open = false;
        let closed = transfer.to_fact().expect("short");
        assert_eq!(StateKey::of(&closed), StateKey::of(&fact));
        catalogue.apply(&closed);
        assert_eq!(catalogue.open_transfers().count(), 0);

        let order = OpenOrder {
            order: ship,
            movement: Kind::Receipt,
            partner: PartnerNo(4),
            item: ItemNo(7),
            quantity: measure("3", "EA"),
            price: Some(Price {
                figure: crate::decimal::parse("1.25").expect("a figure"),
                currency: "CNY".parse().expect("a code"),
            }),
            document: Some(ShortText::from_slice(b"PO-1")),
            open: true,
        };
        let fact = order.to_fact().expect("short");
        assert_eq!(OpenOrder::parse(&fact).as_ref(), Some(&order));
        catalogue.apply(&fact);
        assert_eq!(catalogue.open_order(ship), Some(&order));
    }
}
