//! Which facts the books take, and why they do not take the others. Knows no values.
//!
//! A group is taken as a whole or not at all. A reversed fact stays known: what refers to it is
//! taken as if it referred to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use num_traits::Signed;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    CostMethod, CostScope, Direction, Measure, Money, Movement, Payment, PoolName,
    PurchaseCashDiscount, Role, Stamp, Statement,
};
use shared::fact::{Kind, field};
use shared::ids::{Capture, CategoryNo, CompanyNo, ItemNo, ReasonNo, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{Day, Timestamp};
use shared::varint;

use super::figure::{Figure, decimal, power_of_ten, rounded, whole};
use super::fold::is_repack;
use super::order::{self, Key};
use super::posting;
use super::settings::{Company, Item, Settings};
use super::{Spot, Written};

/// Why a fact is not in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Says nothing that this version understands.
    Unreadable,
    /// Nobody says when it happened.
    InDoubt,
    /// The same capture stands at an earlier place.
    Repeated,
    /// Contradicts master data that can't change.
    Refused,
    /// A site states what only HQ may, or the other way round.
    NoAuthority,
    /// References run in a circle.
    Circle,
    /// The site or its company is not known.
    UnknownSite,
    /// The item is not known, or the kind does not fit it.
    UnknownItem,
    /// The unit is not known for the item.
    UnknownUnit,
    /// No whole number of smallest units, or too many.
    BadQuantity,
    /// The partner is not known.
    UnknownPartner,
    /// The reason is not known.
    UnknownReason,
    /// A price within a company, or none between companies.
    PriceOfTransfer,
    /// Money of another currency than the company's, or more decimals than it has.
    BadMoney,
    /// No rate of the other currency holds.
    NoRate,
    /// The account can't take a payment.
    NotABank,
    /// No account is mapped for this role.
    NoAccount(Role),
    /// Refers to a fact of a kind, item or site that does not fit.
    WrongReference,
    /// Refers to a fact that is not known.
    Waits,
    /// The amount of a revaluation does not stand on the first of its group.
    MisplacedAmount,
    /// A statement about cost names no pool.
    NoPool,
    /// Goods that become nothing, goods out of nothing, or at another time than what they were.
    OneSidedRepack,
    /// Another fact of its group is not taken.
    Companion,
}

/// What a movement or an invoice line is about, with its settings looked up.
#[derive(Clone, Debug)]
pub struct Goods {
    /// The item.
    pub item: ItemNo,
    /// Its settings.
    pub settings: Item,
    /// How they are costed, as it is stated for the time.
    pub method: CostMethod,
    /// At standard cost, in a company whose stock may carry what goods cost beyond it.
    pub may_carry: bool,
    /// It does at the time.
    pub carries: bool,
    /// In smallest units.
    pub quantity: Figure,
    /// Smallest units of the unit in which quantity and price are stated.
    pub unit: Figure,
}

/// A fact with everything looked up that it needs.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in its log.
    pub spot: Spot,
    /// Names it.
    pub capture: Capture,
    /// The site whose log it stands in.
    pub site: SiteNo,
    /// The site its lines are of: an invoice's are of the site of what it invoices.
    pub line_site: SiteNo,
    /// When it was recorded.
    pub recorded_at: i64,
    /// Where it stands in the effective order.
    pub key: Key,
    /// The first fact of its group.
    pub group: Capture,
    /// What it says.
    pub statement: Statement,
    /// Whose books.
    pub company_no: CompanyNo,
    /// Their settings.
    pub company: Company,
    /// The goods, where it speaks of any.
    pub goods: Option<Goods>,
    /// Their lot.
    pub lot: Option<ShortText>,
    /// What one unit of its currency costs, at its own time or on its document's day; 1 for the
    /// company's own.
    pub rate: Figure,
    /// For a bill the rate at which its receipt bears it.
    pub rate_to_goods: Figure,
    /// Of a ship at a price: the other company that the goods go to.
    pub sold_to: Option<CompanyNo>,
    /// Of goods that come from another company: what one of its minor units costs in those of the
    /// receiver's.
    pub bought: Option<Figure>,
    /// What another company paid counts; not so where all companies are looked at as one.
    pub at_price: bool,
}

impl Entry {
    /// Goods go to another company, or come from one.
    pub const fn goes_between(&self) -> bool {
        self.sold_to.is_some() || self.bought.is_some()
    }

    /// When it takes effect.
    pub fn time(&self) -> i64 {
        self.key.0.0
    }

    /// The goods of a statement that has some.
    pub fn goods(&self) -> &Goods {
        self.goods.as_ref().expect("looked up for every movement and invoice line")
    }

    /// A price of one stated unit in minor units for one smallest unit.
    pub fn unit_price(&self, price: &Price) -> Figure {
        self.unit_price_at(price, &self.rate)
    }

    /// The same at another rate.
    pub fn unit_price_at(&self, price: &Price, rate: &Figure) -> Figure {
        decimal(price.figure) * rate * self.minor_units() / &self.goods().unit
    }

    /// Price x quantity as stated, in minor units, rounded once.
    pub fn worth(&self, price: &Price, quantity: &Measure) -> Figure {
        let worth = decimal(price.figure) * decimal(quantity.figure) * &self.rate;
        rounded(&(worth * self.minor_units()))
    }

    /// An amount in minor units.
    pub fn minor(&self, money: Money) -> Figure {
        rounded(&(decimal(money.figure) * &self.rate * self.minor_units()))
    }

    fn minor_units(&self) -> Figure {
        power_of_ten(self.company.currency.decimals().cast_signed())
    }

    /// The movement, where it is one.
    pub fn movement(&self) -> Option<&Movement> {
        match &self.statement {
            Statement::Movement(movement) => Some(movement),
            _ => None,
        }
    }

    /// The fact it refers to.
    pub fn refers_to(&self) -> Option<Capture> {
        refers_to(&self.statement)
    }

    /// Why it happened.
    pub fn reason(&self) -> Option<ReasonNo> {
        match &self.statement {
            Statement::Movement(movement) => movement.reason,
            Statement::Revaluation(stated) => stated.reason,
            Statement::StandardCost(stated) => stated.reason,
            Statement::WriteDown(stated) => stated.reason,
            _ => None,
        }
    }

    /// The category of its item.
    pub fn category(&self) -> Option<CategoryNo> {
        self.goods.as_ref().map(|goods| goods.settings.category)
    }
}

fn refers_to(statement: &Statement) -> Option<Capture> {
    match statement {
        Statement::Movement(movement) => movement.refers_to,
        Statement::Reversal { refers_to, .. } | Statement::SameAs { dropped: refers_to, .. } => {
            Some(*refers_to)
        }
        Statement::SupplierInvoice(line)
        | Statement::CustomerInvoice(line)
        | Statement::CreditNote(line) => Some(line.refers_to),
        Statement::Allocation(allocation) => Some(allocation.open_item),
        Statement::LandedCost(landed) => Some(landed.refers_to),
        Statement::CashDiscount(discount) => Some(discount.refers_to),
        Statement::Revaluation(stated) => stated.refers_to,
        Statement::Retime(_)
        | Statement::StandardCost(_)
        | Statement::PeriodAction(_)
        | Statement::WriteDown(_)
        | Statement::Payment(_)
        | Statement::MasterData { .. } => None,
    }
}

/// The references that move a fact in the effective order. An invoice has no place in a pool: its
/// own date decides.
fn references(statement: &Statement) -> Vec<Capture> {
    match statement {
        Statement::Movement(movement) => movement.refers_to.into_iter().collect(),
        Statement::Reversal { refers_to, .. } => vec![*refers_to],
        Statement::Revaluation(stated) => stated.refers_to.into_iter().collect(),
        Statement::Allocation(allocation) => vec![allocation.open_item, allocation.payment],
        _ => Vec::new(),
    }
}

/// The facts that the books take, and why not the others.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Taken, in effective order.
    pub entries: Vec<Entry>,
    /// Taken and reversed: without effect.
    pub reversed: BTreeSet<Capture>,
    /// Not taken.
    pub left_out: BTreeMap<Spot, Why>,
}

/// One readable fact that is no master data.
struct Readable<'a> {
    written: &'a Written,
    stamp: Stamp,
    statement: Statement,
}

/// Looks at all facts together.
pub fn admit(written: &[Written], settings: &mut Settings) -> Admitted {
    let mut by_spot: BTreeMap<Spot, &Written> = BTreeMap::new();
    for each in written {
        by_spot.entry(each.spot()).or_insert(each);
    }
    let groups = groups(&by_spot);
    let mut left_out = BTreeMap::new();
    let mut readable: BTreeMap<Capture, Readable<'_>> = BTreeMap::new();
    let retimes = retimes(&by_spot);
    for group in &groups {
        let members: Vec<&Written> = group.iter().map(|spot| by_spot[spot]).collect();
        let read = read_group(&members, settings, &mut left_out);
        for each in in_their_time(read, &retimes, &mut left_out) {
            if let std::collections::btree_map::Entry::Vacant(e) =
                readable.entry(each.stamp.capture)
            {
                e.insert(each);
            } else {
                left_out.insert(each.written.spot(), Why::Repeated);
            }
        }
    }
    let firsts = firsts(&groups, &by_spot);
    let places = readable.iter().map(|(capture, each)| {
        let (stamp, spot) = (&each.stamp, each.written.spot());
        let own = (stamp.occurred_at.0, stamp.recorded_at.0, spot.0.0, spot.1.0);
        let mut references = references(&each.statement);
        if each.statement.kind() == Kind::RepackIn {
            // What goods become comes after what they were.
            let outs = readable.values().filter(|out| {
                out.statement.kind() == Kind::RepackOut
                    && firsts[&out.written.spot()] == firsts[&spot]
            });
            references.extend(outs.map(|out| out.stamp.capture));
        }
        (*capture, (own, references))
    });
    let keys = order::keys(&places.collect());
    let mut entries = BTreeMap::new();
    for (capture, each) in &readable {
        let spot = each.written.spot();
        let looked_up = keys
            .get(capture)
            .ok_or(Why::Circle)
            .and_then(|key| look_up(each, &readable, *key, firsts[&spot], settings));
        match looked_up {
            Ok(entry) => {
                entries.insert(*capture, entry);
            }
            Err(why) => {
                left_out.insert(spot, why);
            }
        }
    }
    let entries = settle(&entries, &mut left_out, &groups, settings);
    let reversed = reversed(&entries);
    let mut entries: Vec<_> = entries.into_values().collect();
    entries.sort_by_key(|entry| entry.key);
    Admitted { entries, reversed, left_out }
}

/// What HQ says of facts in doubt: log, range, time; the last word first.
fn retimes(by_spot: &BTreeMap<Spot, &Written>) -> Vec<(LogRank, RangeInclusive<u64>, Timestamp)> {
    let stated = by_spot.values().filter(|written| written.site == SiteNo::HQ);
    let stated = stated.filter_map(|written| match Statement::parse(&written.fact) {
        Ok(Statement::Retime(retime)) => {
            let stamp = Stamp::parse(&written.fact).ok()?;
            let range = retime.first.0..=retime.last.0;
            let what = (LogRank::of(&retime.log), range, stamp.occurred_at);
            Some(((stamp.recorded_at, written.spot()), what))
        }
        _ => None,
    });
    let mut stated: Vec<_> = stated.collect();
    stated.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    stated.into_iter().map(|(_, what)| what).collect()
}

/// What was in doubt happened when HQ says so. Where HQ says nothing the group is left out.
fn in_their_time<'a>(
    mut group: Vec<Readable<'a>>,
    retimes: &[(LogRank, RangeInclusive<u64>, Timestamp)],
    left_out: &mut BTreeMap<Spot, Why>,
) -> Vec<Readable<'a>> {
    let mut unknown = false;
    for each in &mut group {
        let (log, seq) = each.written.spot();
        if each.written.site == SiteNo::HQ || each.stamp.time_in_doubt == 0 {
            continue;
        }
        let stated = retimes.iter().find(|(of, range, _)| *of == log && range.contains(&seq.0));
        match stated {
            Some((_, _, at)) => each.stamp.occurred_at = *at,
            None => unknown = true,
        }
    }
    if unknown {
        left_out.extend(group.iter().map(|each| (each.written.spot(), Why::InDoubt)));
        group.clear();
    }
    group
}

/// The spots of each group, groups in order.
fn groups(by_spot: &BTreeMap<Spot, &Written>) -> Vec<Vec<Spot>> {
    let mut groups: Vec<Vec<Spot>> = Vec::new();
    let mut open: Option<Spot> = None;
    for (spot, written) in by_spot {
        match (open, groups.last_mut()) {
            (Some(last), Some(group)) if last.0 == spot.0 => group.push(*spot),
            _ => groups.push(vec![*spot]),
        }
        let more = field::GROUP_LEFT.of(&written.fact).is_some_and(|left| left > 0);
        open = more.then_some(*spot);
    }
    groups
}

/// The capture of the first fact of each spot's group.
fn firsts(
    groups: &[Vec<Spot>],
    by_spot: &BTreeMap<Spot, &Written>,
) -> BTreeMap<Spot, Option<Capture>> {
    let mut firsts = BTreeMap::new();
    for group in groups {
        let first = Stamp::parse(&by_spot[&group[0]].fact).ok().map(|stamp| stamp.capture);
        firsts.extend(group.iter().map(|spot| (*spot, first)));
    }
    firsts
}

/// Reads the facts of a group; takes master data at once, in the order of HQ's log.
fn read_group<'a>(
    members: &[&'a Written],
    settings: &mut Settings,
    left_out: &mut BTreeMap<Spot, Why>,
) -> Vec<Readable<'a>> {
    let mut readable = Vec::new();
    for written in members {
        match (Stamp::parse(&written.fact), Statement::parse(&written.fact)) {
            (Ok(stamp), Ok(statement)) => readable.push(Readable { written, stamp, statement }),
            _ => {
                left_out.insert(written.spot(), Why::Unreadable);
            }
        }
    }
    let master = |each: &Readable<'_>| matches!(each.statement, Statement::MasterData { .. });
    if readable.len() == members.len() && readable.iter().all(master) {
        if let Err(why) = take_master_data(&readable, settings) {
            left_out.extend(members.iter().map(|written| (written.spot(), why)));
        }
        return Vec::new();
    }
    for each in &readable {
        let spot = each.written.spot();
        if readable.len() < members.len() || master(each) {
            left_out.insert(spot, Why::Companion);
        } else if let Err(why) = check_authority(each) {
            left_out.insert(spot, why);
        }
    }
    if left_out.keys().any(|spot| members.iter().any(|written| written.spot() == *spot)) {
        for written in members {
            left_out.entry(written.spot()).or_insert(Why::Companion);
        }
        return Vec::new();
    }
    let retimes = |each: &Readable<'_>| matches!(each.statement, Statement::Retime(_));
    if readable.iter().all(retimes) {
        return Vec::new();
    }
    if readable.iter().any(retimes) {
        left_out.extend(members.iter().map(|written| (written.spot(), Why::Unreadable)));
        return Vec::new();
    }
    for each in &readable {
        if let Statement::Payment(Payment { account: Some(account), .. }) = &each.statement {
            settings.claim(*account, Role::Bank);
        }
    }
    readable
}

/// All of a group or nothing.
fn take_master_data(group: &[Readable<'_>], settings: &mut Settings) -> Result<(), Why> {
    // One statement alone can't leave a group half taken; a mapping's claim stays even if refused.
    let alone = matches!(group, [each] if each.statement.kind() != Kind::Mapping);
    let mut taken = if alone { std::mem::take(settings) } else { settings.clone() };
    let outcome = take_each(group, &mut taken);
    if alone || outcome.is_ok() {
        *settings = taken;
    }
    outcome
}

fn take_each(group: &[Readable<'_>], taken: &mut Settings) -> Result<(), Why> {
    for each in group {
        let Statement::MasterData { valid_from, data } = &each.statement else { continue };
        if each.written.site != SiteNo::HQ {
            return Err(Why::NoAuthority);
        }
        if !taken.take(valid_from.map(|from| from.0), data) {
            return Err(Why::Refused);
        }
    }
    Ok(())
}

/// A site states what happens at the site, HQ everything else.
fn check_authority(each: &Readable<'_>) -> Result<(), Why> {
    let of_site = matches!(each.statement, Statement::Movement(_));
    let by_hq = each.written.site == SiteNo::HQ;
    let of_both = matches!(each.statement, Statement::Reversal { .. });
    if of_both || of_site != by_hq { Ok(()) } else { Err(Why::NoAuthority) }
}

/// The site whose company a fact concerns: a reversal concerns that of what it takes back.
fn stated_at(each: &Readable<'_>, readable: &BTreeMap<Capture, Readable<'_>>) -> SiteNo {
    let mut concerned = each;
    while let Statement::Reversal { refers_to, .. } = &concerned.statement {
        match readable.get(refers_to) {
            Some(named) => concerned = named,
            None => break,
        }
    }
    pool_named(&concerned.statement)
        .map_or(concerned.written.site, |pool| pool.site.unwrap_or(SiteNo::HQ))
}

/// The pool of a statement about cost.
fn pool_named(statement: &Statement) -> Option<&PoolName> {
    match statement {
        Statement::Revaluation(stated) => Some(&stated.pool),
        Statement::StandardCost(stated) => Some(&stated.pool),
        Statement::WriteDown(stated) => Some(&stated.pool),
        _ => None,
    }
}

/// Looks up what a fact names. The first failed rule wins.
fn look_up(
    each: &Readable<'_>,
    readable: &BTreeMap<Capture, Readable<'_>>,
    key: Key,
    group: Option<Capture>,
    settings: &Settings,
) -> Result<Entry, Why> {
    let (site, time) = (each.written.site, key.0.0);
    let company_no = match stated_at(each, readable) {
        SiteNo::HQ => each.stamp.company.unwrap_or(CompanyNo::FIRST),
        concerned => settings.company_of(concerned, time).ok_or(Why::UnknownSite)?,
    };
    let company = settings.company(company_no, time).ok_or(Why::UnknownSite)?;
    let mut entry = Entry {
        spot: each.written.spot(),
        capture: each.stamp.capture,
        site,
        line_site: site,
        recorded_at: each.stamp.recorded_at.0,
        key,
        group: group.unwrap_or(each.stamp.capture),
        statement: each.statement.clone(),
        company_no,
        company,
        goods: None,
        lot: None,
        rate: whole(1),
        rate_to_goods: whole(1),
        sold_to: None,
        bought: None,
        at_price: true,
    };
    match &each.statement {
        Statement::Movement(movement) => {
            let goods = goods(movement.item, &movement.quantity, &entry, settings)?;
            if goods.settings.service != (movement.kind == Kind::ServiceSale) {
                return Err(Why::UnknownItem);
            }
            entry.goods = Some(goods);
            entry.lot.clone_from(&movement.lot);
            check_movement(movement, &mut entry, settings)?;
        }
        Statement::SupplierInvoice(line)
        | Statement::CustomerInvoice(line)
        | Statement::CreditNote(line) => {
            if !settings.knows_partner(line.partner, time) {
                return Err(Why::UnknownPartner);
            }
            if each.statement.kind() == Kind::CustomerInvoice {
                own_currency(line.price.currency, &entry)?;
            }
            let day = document_start(line.document_date, &entry);
            entry.rate = rate(line.price.currency, day, &entry, settings)?;
            entry.rate_to_goods = entry.rate.clone();
            check_worth(&line.price, &line.quantity, &entry)?;
        }
        Statement::Payment(payment) => {
            if !settings.knows_partner(payment.partner, time) {
                return Err(Why::UnknownPartner);
            }
            check_money(payment.amount, &entry)?;
            check_bank(payment, company_no, settings)?;
        }
        Statement::Allocation(allocation) => check_money(allocation.amount, &entry)?,
        Statement::CashDiscount(discount) => check_money(discount.amount, &entry)?,
        Statement::LandedCost(landed) => {
            if landed.partner.is_some_and(|partner| !settings.knows_partner(partner, time)) {
                return Err(Why::UnknownPartner);
            }
            let day = document_start(landed.document_date, &entry);
            entry.rate = rate(landed.amount.currency, day, &entry, settings)?;
            exact(landed.amount)?;
        }
        Statement::Revaluation(stated) => {
            check_pool(&stated.pool, stated.reason, &mut entry, settings)?;
            if let Some(amount) = stated.amount {
                check_money(amount, &entry)?;
            }
        }
        Statement::WriteDown(stated) => {
            check_pool(&stated.pool, stated.reason, &mut entry, settings)?;
            check_money(stated.amount, &entry)?;
        }
        Statement::StandardCost(stated) => {
            check_pool(&stated.pool, stated.reason, &mut entry, settings)?;
            own_currency(stated.cost.currency, &entry)?;
        }
        Statement::Reversal { .. }
        | Statement::SameAs { .. }
        | Statement::Retime(_)
        | Statement::PeriodAction(_)
        | Statement::MasterData { .. } => {}
    }
    Ok(entry)
}

/// A statement about cost names an item that has stock, and a site where each is a pool.
fn check_pool(
    pool: &PoolName,
    reason: Option<ReasonNo>,
    entry: &mut Entry,
    settings: &Settings,
) -> Result<(), Why> {
    let (site, time) = (pool.site.unwrap_or(SiteNo::HQ), entry.time());
    if site == SiteNo::HQ && entry.company.scope == CostScope::Site {
        return Err(Why::NoPool);
    }
    let item = settings.item(pool.item, time).ok_or(Why::UnknownItem)?;
    if item.service {
        return Err(Why::UnknownItem);
    }
    if reason.is_some_and(|reason| !settings.knows_reason(reason, time)) {
        return Err(Why::UnknownReason);
    }
    let none = Scaled::new(0, 0).expect("zero is in range");
    let none = Measure { figure: none, unit: item.unit };
    entry.goods = Some(goods(pool.item, &none, entry, settings)?);
    entry.line_site = site;
    entry.lot.clone_from(&pool.lot);
    Ok(())
}

fn check_movement(movement: &Movement, entry: &mut Entry, settings: &Settings) -> Result<(), Why> {
    let time = entry.time();
    if movement.partner.is_some_and(|partner| !settings.knows_partner(partner, time)) {
        return Err(Why::UnknownPartner);
    }
    if movement.reason.is_some_and(|reason| !settings.knows_reason(reason, time)) {
        return Err(Why::UnknownReason);
    }
    entry.sold_to = sold_to(movement, entry, settings)?;
    for price in [movement.price, movement.cost].into_iter().flatten() {
        if price.currency != entry.company.currency {
            // Only what goods cost may be in another currency.
            let sells =
                matches!(movement.kind, Kind::SaleIssue | Kind::CustomerReturn | Kind::ServiceSale);
            if sells == movement.price.is_some() {
                return Err(Why::BadMoney);
            }
            entry.rate = rate(price.currency, time, entry, settings)?;
        }
        check_worth(&price, &movement.quantity, entry)?;
    }
    Ok(())
}

/// Goods go to another company at a price in the sender's currency, and within one at none.
fn sold_to(
    movement: &Movement,
    entry: &Entry,
    settings: &Settings,
) -> Result<Option<CompanyNo>, Why> {
    let Some(to) = movement.other_site.filter(|_| movement.kind == Kind::TransferShip) else {
        return Ok(None);
    };
    let company = settings.company_of(to, entry.time()).ok_or(Why::UnknownSite)?;
    let crosses = company != entry.company_no;
    match movement.price {
        Some(price) if crosses => own_currency(price.currency, entry)?,
        None if !crosses => {}
        _ => return Err(Why::PriceOfTransfer),
    }
    Ok(crosses.then_some(company))
}

/// What one minor unit of a sender's currency costs a receiver, in minor units.
fn minor_rate(ship: &Entry, receive: &Entry, settings: &Settings) -> Result<Figure, Why> {
    let rate = rate(ship.company.currency, receive.time(), receive, settings)?;
    Ok(rate * receive.minor_units() / ship.minor_units())
}

/// When the day of a document begins.
fn document_start(date: Option<Day>, entry: &Entry) -> i64 {
    let day = date.unwrap_or_else(|| Timestamp(entry.time()).day(entry.company.zone));
    day.start(entry.company.zone).0
}

/// What one unit of a currency costs.
fn rate(currency: Currency, at: i64, entry: &Entry, settings: &Settings) -> Result<Figure, Why> {
    if currency == entry.company.currency {
        return Ok(whole(1));
    }
    settings.rate(entry.company_no, currency, at).ok_or(Why::NoRate)
}

/// What somebody states stays below 2^53 minor units.
fn check_worth(price: &Price, quantity: &Measure, entry: &Entry) -> Result<(), Why> {
    let worth = entry.worth(price, quantity);
    if worth.abs() < whole(varint::LIMIT) { Ok(()) } else { Err(Why::BadMoney) }
}

/// An amount that people state needs no rounding.
fn check_money(money: Money, entry: &Entry) -> Result<(), Why> {
    own_currency(money.currency, entry)?;
    exact(money)
}

/// No more decimals than its currency has.
fn exact(money: Money) -> Result<(), Why> {
    let minor = money.figure.units(money.currency.decimals());
    minor.map(|_| ()).map_err(|_| Why::BadMoney)
}

/// A payment goes through a bank or cash account of its company.
fn check_bank(payment: &Payment, company: CompanyNo, settings: &Settings) -> Result<(), Why> {
    let fits = payment.account.is_none_or(|account| settings.can_take_payments(account, company));
    if fits { Ok(()) } else { Err(Why::NotABank) }
}

fn own_currency(currency: Currency, entry: &Entry) -> Result<(), Why> {
    if currency == entry.company.currency { Ok(()) } else { Err(Why::BadMoney) }
}

/// A stated quantity in smallest units.
fn goods(
    item: ItemNo,
    measure: &Measure,
    entry: &Entry,
    settings: &Settings,
) -> Result<Goods, Why> {
    let time = entry.time();
    let held = settings.item(item, time).ok_or(Why::UnknownItem)?;
    let unit: &Unit = &measure.unit;
    let smallest = settings.smallest_units(item, unit, time).ok_or(Why::UnknownUnit)?;
    let quantity = decimal(measure.figure) * &smallest;
    if !quantity.is_integer() || quantity.abs() >= whole(varint::LIMIT) {
        return Err(Why::BadQuantity);
    }
    let method = settings.method(entry.company_no, held.category, time);
    let company = entry.company_no;
    let may_carry = method == CostMethod::Standard && settings.may_carry(company);
    let carries = may_carry && settings.allocates(company, time);
    Ok(Goods { item, settings: held, method, may_carry, carries, quantity, unit: smallest })
}

/// Takes facts in the order in which they can refer to each other. Leaves out what refers to
/// something that is not taken, what has no account, and the companions of both.
fn settle(
    looked_up: &BTreeMap<Capture, Entry>,
    left_out: &mut BTreeMap<Spot, Why>,
    groups: &[Vec<Spot>],
    settings: &Settings,
) -> BTreeMap<Capture, Entry> {
    // Groups that have to go are found by trying: each time one is found all is tried again.
    let mut gone: BTreeSet<Spot> = BTreeSet::new();
    loop {
        let mut entries = BTreeMap::new();
        let mut why_not = left_out.clone();
        for movements in [true, false] {
            take(movements, looked_up, &gone, settings, &mut entries, &mut why_not);
        }
        let mut more: Vec<Spot> = Vec::new();
        for group in groups {
            let why = group.iter().find_map(|spot| why_not.get(spot));
            if why.is_some() && !group.iter().all(|spot| why_not.contains_key(spot)) {
                more.extend(group.iter().filter(|spot| !why_not.contains_key(spot)).copied());
            }
        }
        if more.is_empty() {
            *left_out = why_not;
            return entries;
        }
        gone.extend(more);
    }
}

/// Takes what can be taken, again and again until nothing more can: first movements alone, since a
/// supplier's invoice takes what it can get and never waits, then everything.
fn take(
    movements: bool,
    looked_up: &BTreeMap<Capture, Entry>,
    gone: &BTreeSet<Spot>,
    settings: &Settings,
    entries: &mut BTreeMap<Capture, Entry>,
    why_not: &mut BTreeMap<Spot, Why>,
) {
    let mut open: Vec<&Entry> = looked_up.values().collect();
    open.retain(|entry| !movements || entry.movement().is_some());
    open.sort_by_key(|entry| entry.key);
    if movements {
        leave_out_one_sided(&open, why_not);
    } else {
        leave_out_misplaced_amounts(&open, why_not);
    }
    for entry in open.iter().filter(|entry| gone.contains(&entry.spot)) {
        why_not.insert(entry.spot, Why::Companion);
    }
    loop {
        let before = entries.len();
        for entry in &open {
            let waits = why_not.get(&entry.spot).is_none_or(|why| *why == Why::Waits);
            if entries.contains_key(&entry.capture) || !waits {
                continue;
            }
            let complete = check_reference(entry, entries)
                .and_then(|()| complete(entry, entries, settings))
                .and_then(|entry| posting::accounts(&entry, entries, settings).map(|_| entry));
            match complete {
                Ok(complete) => {
                    why_not.remove(&entry.spot);
                    entries.insert(entry.capture, complete);
                }
                Err(why) => {
                    why_not.insert(entry.spot, why);
                }
            }
        }
        if entries.len() == before {
            return;
        }
    }
}

/// A repack has goods on both sides, at one time.
fn leave_out_one_sided(movements: &[&Entry], why_not: &mut BTreeMap<Spot, Why>) {
    for entry in movements.iter().filter(|entry| is_repack(entry.statement.kind())) {
        let members = movements.iter().filter(|each| each.group == entry.group);
        let members: Vec<_> = members.filter(|each| is_repack(each.statement.kind())).collect();
        let has = |kind| members.iter().any(|each| each.statement.kind() == kind);
        let both = has(Kind::RepackOut) && has(Kind::RepackIn);
        let times = |each: &Entry| (each.time(), each.key.2.0);
        if !both || members.iter().any(|each| times(each) != times(entry)) {
            why_not.entry(entry.spot).or_insert(Why::OneSidedRepack);
        }
    }
}

/// The first of a group of revaluations states the amount, the others none.
fn leave_out_misplaced_amounts(open: &[&Entry], why_not: &mut BTreeMap<Spot, Why>) {
    let stated = open.iter().filter_map(|entry| match &entry.statement {
        Statement::Revaluation(stated) => Some((entry, stated)),
        _ => None,
    });
    let stated: Vec<_> = stated.collect();
    for (entry, revaluation) in &stated {
        let members = stated.iter().filter(|(other, _)| other.group == entry.group);
        let first = members.map(|(other, _)| other.spot).min();
        if (first == Some(entry.spot)) != revaluation.amount.is_some() {
            why_not.entry(entry.spot).or_insert(Why::MisplacedAmount);
        }
    }
}

/// An invoice line's goods and site are those of what it invoices, where that is there.
fn complete(
    entry: &Entry,
    entries: &BTreeMap<Capture, Entry>,
    settings: &Settings,
) -> Result<Entry, Why> {
    let mut entry = entry.clone();
    let named = entry.refers_to().and_then(|named| entries.get(&named));
    let own_company = |named: &&Entry| {
        let bought = named.sold_to.filter(|_| entry.statement.kind() == Kind::TransferReceive);
        bought.unwrap_or(named.company_no) == entry.company_no
    };
    let named = named.filter(own_company);
    if let Some(ship) = named.filter(|named| named.sold_to == Some(entry.company_no))
        && entry.statement.kind() == Kind::TransferReceive
    {
        entry.bought = Some(minor_rate(ship, &entry, settings)?);
    }
    let line = match &entry.statement {
        Statement::SupplierInvoice(line)
        | Statement::CustomerInvoice(line)
        | Statement::CreditNote(line) => line,
        Statement::LandedCost(_) => {
            let receipt = named.ok_or(Why::WrongReference)?;
            (entry.goods, entry.line_site) = (receipt.goods.clone(), receipt.site);
            return Ok(entry);
        }
        // On a bill whose goods nobody knows yet it is about no goods either, and income never is.
        Statement::CashDiscount(discount) => {
            let bill = named.ok_or(Why::WrongReference)?;
            let about_goods = complete(bill, entries, settings)?.goods.is_some();
            if about_goods && discount.of == PurchaseCashDiscount::Cost {
                let receipt = bill.refers_to().and_then(|receipt| entries.get(&receipt));
                let receipt = receipt.ok_or(Why::WrongReference)?;
                (entry.goods, entry.line_site) = (receipt.goods.clone(), receipt.site);
            }
            return Ok(entry);
        }
        Statement::Movement(movement) if movement.lot.is_none() && answers(movement.kind) => {
            entry.lot = named.and_then(|named| named.lot.clone());
            return Ok(entry);
        }
        _ => return Ok(entry),
    };
    let goods_of =
        |invoiced: &Entry| goods(invoiced.goods().item, &line.quantity, &entry, settings);
    let found = match (&entry.statement, named) {
        (Statement::CustomerInvoice(_), Some(sale)) => Some((goods_of(sale)?, sale.site)),
        (Statement::CustomerInvoice(_), None) => return Err(Why::WrongReference),
        // One in another currency prices its receipt where the rate of that day is known.
        (_, Some(receipt)) if receipt.statement.kind() == Kind::Receipt => {
            let rate = rate(line.price.currency, receipt.time(), &entry, settings);
            goods_of(receipt).ok().filter(|_| rate.is_ok()).map(|goods| (goods, receipt.site))
        }
        _ => None,
    };
    if let Some(receipt) = named.filter(|_| found.is_some())
        && !settings.goods_bear_rates(entry.company_no, receipt.time())
    {
        entry.rate_to_goods = rate(line.price.currency, receipt.time(), &entry, settings)?;
    }
    (entry.goods, entry.line_site) = match found {
        Some((goods, site)) => (Some(goods), site),
        None => (None, SiteNo::HQ),
    };
    Ok(entry)
}

/// Movements of goods that another movement moved before.
const fn answers(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TransferReceive | Kind::CustomerReturn | Kind::SupplierReturn | Kind::Receipt
    )
}

/// The facts that did not happen: named by a reversal that did.
fn reversed(entries: &BTreeMap<Capture, Entry>) -> BTreeSet<Capture> {
    // A reversal stands after what it names, so from the last to the first each is decided
    // before what it names.
    let mut reversals: Vec<_> = entries
        .values()
        .filter(|entry| matches!(entry.statement, Statement::Reversal { .. }))
        .collect();
    reversals.sort_by_key(|entry| std::cmp::Reverse(entry.key));
    let mut reversed = BTreeSet::new();
    for reversal in reversals {
        if !reversed.contains(&reversal.capture)
            && let Some(named) = reversal.refers_to()
        {
            reversed.extend(one_effect(named, entries));
        }
    }
    reversed
}

/// The facts that happen together or not at all: both sides of a repack, a revaluation's receipts,
/// else the fact alone.
fn one_effect(fact: Capture, entries: &BTreeMap<Capture, Entry>) -> Vec<Capture> {
    let revalues = |entry: &Entry| entry.statement.kind() == Kind::Revaluation;
    let repacks = |entry: &Entry| is_repack(entry.statement.kind());
    let named = &entries[&fact];
    let alike =
        |entry: &&Entry| (revalues(named) && revalues(entry)) || (repacks(named) && repacks(entry));
    let members = entries.values().filter(|entry| entry.group == named.group).filter(alike);
    let members: Vec<_> = members.map(|entry| entry.capture).collect();
    if members.is_empty() { vec![fact] } else { members }
}

/// Whether a fact may refer to what it refers to, and whether that is known.
fn check_reference(entry: &Entry, entries: &BTreeMap<Capture, Entry>) -> Result<(), Why> {
    let Some(reference) = entry.refers_to() else { return Ok(()) };
    let known = entries.get(&reference);
    match &entry.statement {
        Statement::CustomerInvoice(_) => {
            let sale = known.ok_or(Why::Waits)?.movement();
            let fits = sale.is_some_and(|sale| sale.kind == Kind::SaleIssue && sale.invoice_later);
            if fits { Ok(()) } else { Err(Why::WrongReference) }
        }
        Statement::Movement(movement) => {
            check_movement_reference(movement, entry, known.ok_or(Why::Waits)?)
        }
        Statement::Reversal { .. } | Statement::SameAs { .. } => {
            let own = entry.site == known.ok_or(Why::Waits)?.site || entry.site == SiteNo::HQ;
            if own { Ok(()) } else { Err(Why::WrongReference) }
        }
        Statement::Allocation(allocation) => {
            let payment = entries.get(&allocation.payment);
            check_allocation(entry, known.ok_or(Why::Waits)?, payment.ok_or(Why::Waits)?)
        }
        Statement::LandedCost(_) => {
            let receipt = known.ok_or(Why::Waits)?;
            let fits =
                receipt.statement.kind() == Kind::Receipt && receipt.company_no == entry.company_no;
            if fits { Ok(()) } else { Err(Why::WrongReference) }
        }
        Statement::CashDiscount(_) => {
            let bill = known.ok_or(Why::Waits)?;
            if is_bill(bill) && bill.company_no == entry.company_no {
                Ok(())
            } else {
                Err(Why::WrongReference)
            }
        }
        Statement::Revaluation(stated) => {
            let receipt = known.ok_or(Why::Waits)?.movement();
            let fits = receipt.is_some_and(|receipt| {
                receipt.kind == Kind::Receipt && receipt.item == stated.pool.item
            });
            if fits { Ok(()) } else { Err(Why::WrongReference) }
        }
        // An invoice that fits no receipt is goods on their way: it never waits.
        Statement::CreditNote(_)
        | Statement::Retime(_)
        | Statement::StandardCost(_)
        | Statement::PeriodAction(_)
        | Statement::WriteDown(_)
        | Statement::SupplierInvoice(_)
        | Statement::Payment(_)
        | Statement::MasterData { .. } => Ok(()),
    }
}

fn check_movement_reference(movement: &Movement, entry: &Entry, there: &Entry) -> Result<(), Why> {
    let kinds: &[Kind] = match movement.kind {
        Kind::CustomerReturn => &[Kind::SaleIssue, Kind::Issue],
        Kind::SupplierReturn => &[Kind::Receipt],
        Kind::TransferReceive => &[Kind::TransferShip],
        Kind::Receipt => &[Kind::SupplierReturn],
        _ => return Ok(()),
    };
    let arrives = movement.kind == Kind::TransferReceive;
    let company = there.sold_to.filter(|_| arrives).unwrap_or(there.company_no);
    let fits = there.movement().is_some_and(|other| {
        kinds.contains(&other.kind) && other.item == movement.item && company == entry.company_no
    });
    if fits { Ok(()) } else { Err(Why::WrongReference) }
}

/// Money in settles what customers owe, money out what is owed to suppliers.
fn check_allocation(entry: &Entry, open_item: &Entry, payment: &Entry) -> Result<(), Why> {
    if [open_item, payment].iter().any(|named| named.company_no != entry.company_no) {
        return Err(Why::WrongReference);
    }
    let Statement::Payment(payment) = &payment.statement else { return Err(Why::WrongReference) };
    let fits = match payment.direction {
        Direction::In => matches!(
            open_item.statement.kind(),
            Kind::SaleIssue | Kind::ServiceSale | Kind::CustomerInvoice | Kind::CustomerReturn
        ),
        Direction::Out => is_bill(open_item),
    };
    if fits { Ok(()) } else { Err(Why::WrongReference) }
}

/// Whether it says that something is owed to a supplier.
fn is_bill(entry: &Entry) -> bool {
    match &entry.statement {
        Statement::SupplierInvoice(_) => true,
        // What is accrued is owed to nobody.
        Statement::LandedCost(landed) => landed.partner.is_some(),
        _ => false,
    }
}
