//! From a statement to a record of the books: numbers looked up, quantities in smallest units,
//! money in minor units, accounts found. Changes nothing: a group is prepared whole or waits whole.

mod costs;
mod foreign;

use shared::fact::Kind;
use shared::fact::effective::{EffectiveKey, LogRank, OwnPlace};
use shared::fact::statement::{
    Allocation, CostScope, Direction, InvoiceLine, Movement, Payment, Role, Stamp, Statement,
    Unreadable,
};
use shared::ids::{AccountNo, Capture, CompanyNo, ItemNo, PartnerNo, ReasonNo, Seq, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::{Quantity, Scaled, ShortText, Unit};
use shared::time::{Day, Timestamp};

use super::exchange::Foreign;
use super::fact_table::{Accounts, FactRecord, FactTable, PoolStep, TakenOver, Target, moved_at};
use super::periods::Periods;
use super::posting::{self, Situation};
use super::rules::BETWEEN_COMPANIES;
use super::settings::{Item, Lookup, MeasureError, Settings, smallest_units};
use super::valuation::{FactId, UnitCost};
pub(super) use costs::discount_goods;
pub(super) use foreign::{convert, rate_between, rate_of};

/// Amounts and quantities of one fact stay below this.
const FACT_LIMIT: i64 = shared::varint::LIMIT.cast_signed();

/// Why a group has no effect yet. Ordered: the first that applies is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waits {
    /// A later version may read it.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// The books do not follow the rules that understand it yet.
    #[error("it is understood from rules {0} on: they begin when this program serves HQ")]
    NewerRules(i64),
    /// A site states only what happens at the site.
    #[error("a site's log can't state a {0}: only HQ can")]
    NotForASite(Kind),
    /// HQ has no shelves.
    #[error("HQ's log can't state a {0}: only a site can")]
    NotForHq(Kind),
    /// Nobody knows when it happened.
    #[error(
        "the clock was in doubt when it was recorded, so it has a quantity and no value: say when it \
         happened with 'hq-server retime'"
    )]
    TimeInDoubt,
    /// Nobody knows when what it refers to happened.
    #[error(
        "it refers to {0}, which was recorded by a clock in doubt: say when that happened with \
         'hq-server retime'"
    )]
    ReferenceInDoubt(Capture),
    /// Some captures of the group are in the books, some are not.
    #[error("only part of this group is new: have a person rule on it")]
    PartlyKnown,
    /// HQ has not stated the site.
    #[error("site {0} is not known at that time: add it at HQ")]
    NoSite(SiteNo),
    /// Each site is a pool of its own.
    #[error("each site costs its own goods: name the site of the {0}")]
    NoPoolSite(Kind),
    /// HQ has not stated the company.
    #[error("company {0} is not known at that time: add it at HQ")]
    NoCompany(CompanyNo),
    /// HQ has not stated the item.
    #[error("item {0} is not known at that time: add it at HQ")]
    NoItem(ItemNo),
    /// A service has no stock.
    #[error("item {0} is a service: only a service sale can name it")]
    IsService(ItemNo),
    /// HQ has not stated the unit.
    #[error("item {item} has no unit {unit}: add the unit at HQ", unit = unit.as_str())]
    NoUnit {
        /// The item.
        item: ItemNo,
        /// The unit.
        unit: Unit,
    },
    /// Not a whole number of smallest units, or too large.
    #[error("the quantity of item {item} {why}")]
    Quantity {
        /// The item.
        item: ItemNo,
        /// What is wrong with it.
        why: MeasureError,
    },
    /// Money beyond 2^53 minor units.
    #[error("price x quantity is too large")]
    TooMuchMoney,
    /// More decimals than the currency has.
    #[error("an amount has more decimals than {0} has")]
    TooManyDecimals(Currency),
    /// Nobody says what the other currency costs on that day.
    #[error(
        "there is no rate of {currency} for {day}: 'hq-server rate set {currency} RATE --from {day}'"
    )]
    NoRate {
        /// The currency.
        currency: Currency,
        /// The day.
        day: Day,
    },
    /// What is sold, paid or restated is stated in the currency of the books.
    #[error(
        "the price is in {0} and the company's books are in another currency: enter it in the books' currency"
    )]
    ForeignCurrency(Currency),
    /// HQ has not stated the partner.
    #[error("partner {0} is not known at that time: add it at HQ")]
    NoPartner(PartnerNo),
    /// HQ has not stated the reason.
    #[error("reason {0} is not known at that time: add it at HQ")]
    NoReason(ReasonNo),
    /// What it refers to has not arrived, or waits too.
    #[error("it refers to {0}, which is not in the books yet")]
    NoReference(Capture),
    /// What it refers to is of another kind or item.
    #[error("it refers to {0}, which is no {1} of the same item")]
    WrongReference(Capture, &'static str),
    /// What a company does answers what the same company did.
    #[error("it refers to {0}, which is of another company")]
    OtherCompany(Capture),
    /// Goods that another company was to get.
    #[error("it refers to {0}, whose goods go to a site of another company: reverse that first")]
    NotGoingHere(Capture),
    /// Between companies goods have a price.
    #[error(
        "site {0} is of another company, and the ship states no price: record it again with one \
         (--price)"
    )]
    NoPriceBetween(SiteNo),
    /// Within a company goods go at what they cost.
    #[error(
        "site {0} is of the same company, and the ship states a price: record it again without one"
    )]
    PriceWithin(SiteNo),
    /// A payment goes through a bank or cash account.
    #[error("account {0} can't take a payment: name a bank or cash account")]
    NotABank(AccountNo),
    /// No mapping.
    #[error("no account is mapped to {role} for a {kind}: add a mapping at HQ", role = role.word())]
    NoAccount {
        /// The role.
        role: Role,
        /// The kind of fact.
        kind: Kind,
    },
    /// What goes out and what comes in of a repack stand in one group, at one time.
    #[error(
        "a repack needs both sides in one group and at one time: record what went out and what it \
         became together"
    )]
    OneSidedRepack,
    /// HQ's own master data contradict each other.
    #[error("{0}")]
    Settings(#[from] super::settings::Refused),
}

/// Where a group comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The site whose log it is.
    pub site: SiteNo,
    /// The log's rank.
    pub log: LogRank,
    /// The place of the group's first fact.
    pub first: Seq,
}

/// Prepares the facts of one group.
pub(super) struct Preparation<'a> {
    /// Master data.
    pub settings: &'a Settings,
    /// The facts so far.
    pub facts: &'a FactTable,
    /// Which months are closed.
    pub periods: &'a Periods,
    /// Where the group comes from.
    pub source: Source,
    /// The group's stamps, in order.
    pub stamps: &'a [Stamp],
    /// Records of the group prepared so far.
    pub prepared: Vec<FactRecord>,
}

/// What a fact concerns, before it becomes a record.
struct Draft<'a> {
    stamp: &'a Stamp,
    index: usize,
    kind: Kind,
    site: SiteNo,
    company_no: CompanyNo,
    company: &'a super::settings::Company,
    key: EffectiveKey,
    seq: Seq,
    stated_by: SiteNo,
    origin: Option<FactId>,
    forwarded: bool,
}

impl Draft<'_> {
    /// When it happened, also where it takes effect later.
    fn happened_at(&self) -> Timestamp {
        moved_at(self.key, self.forwarded).effective_at()
    }
}

impl<'a> Preparation<'a> {
    /// Prepares every fact of the group.
    pub(super) fn group(mut self, statements: &[Statement]) -> Result<Vec<FactRecord>, Waits> {
        for (index, statement) in statements.iter().enumerate() {
            let stamp = &self.stamps[index];
            let record = match statement {
                Statement::Movement(movement) => self.movement(stamp, index, movement)?,
                Statement::Reversal { refers_to, reason } => {
                    self.reversal(stamp, index, *refers_to, *reason)?
                }
                Statement::SameAs { dropped, kept } => {
                    self.same_as(stamp, index, *dropped, *kept)?
                }
                Statement::SupplierInvoice(line) | Statement::CreditNote(line) => {
                    self.supplier_invoice(stamp, index, statement.kind(), line)?
                }
                Statement::LandedCost(landed) => self.landed_cost(stamp, index, landed)?,
                Statement::CashDiscount(stated) => self.cash_discount(stamp, index, stated)?,
                Statement::Revaluation(stated) => self.revaluation(stamp, index, stated)?,
                Statement::StandardCost(stated) => self.standard_cost(stamp, index, stated)?,
                Statement::WriteDown(stated) => self.write_down(stamp, index, stated)?,
                Statement::CustomerInvoice(line) => self.customer_invoice(stamp, index, line)?,
                Statement::Payment(payment) => self.payment(stamp, index, payment)?,
                Statement::Allocation(allocation) => self.allocation(stamp, index, allocation)?,
                // These stand in groups of their own.
                Statement::MasterData { .. }
                | Statement::PeriodAction(_)
                | Statement::Retime(_) => {
                    let kind = statement.kind().number();
                    return Err(Waits::Unreadable(Unreadable::UnknownKind(kind.0)));
                }
            };
            self.prepared.push(record);
        }
        self.order_repack()?;
        Ok(self.prepared)
    }

    /// Goods become other goods at one time, and what they become comes after what they were.
    fn order_repack(&mut self) -> Result<(), Waits> {
        let of_kind = |kind| self.prepared.iter().filter(move |record| record.kind == kind);
        let outs = of_kind(Kind::RepackOut).map(|record| record.key);
        let ins = of_kind(Kind::RepackIn).map(|record| record.key);
        let (Some(last), Some(_)) = (outs.clone().max(), ins.clone().max()) else {
            let none = outs.chain(ins).next().is_none();
            return if none { Ok(()) } else { Err(Waits::OneSidedRepack) };
        };
        let times = |key: EffectiveKey| (key.effective_at(), key.own_place().occurred_at);
        if outs.chain(ins).any(|key| times(key) != times(last)) {
            return Err(Waits::OneSidedRepack);
        }
        for record in &mut self.prepared {
            if record.kind == Kind::RepackIn {
                record.key = record.key.after(last);
            }
        }
        Ok(())
    }

    /// A fact by capture: in the books, or earlier in this group.
    fn find(&self, capture: Capture) -> Option<FactId> {
        let mut earlier = (self.facts.next().0..).zip(&self.stamps[..self.prepared.len()]);
        let in_group = earlier.find(|(_, stamp)| stamp.capture == capture);
        in_group.map(|(id, _)| FactId(id)).or_else(|| self.facts.find(capture))
    }

    fn need(&self, capture: Capture) -> Result<FactId, Waits> {
        self.find(capture).ok_or(Waits::NoReference(capture))
    }

    fn record(&self, id: FactId) -> &FactRecord {
        let base = self.facts.next();
        if id >= base { &self.prepared[(id.0 - base.0) as usize] } else { &self.facts[id] }
    }

    fn draft(
        &self,
        stamp: &'a Stamp,
        index: usize,
        kind: Kind,
        site: SiteNo,
        origin: Option<FactId>,
    ) -> Result<Draft<'a>, Waits> {
        let place = OwnPlace {
            occurred_at: stamp.occurred_at,
            recorded_at: stamp.recorded_at,
            log: self.source.log,
            seq: Seq(self.source.first.0 + index as u64),
        };
        let mut key = EffectiveKey::own(place);
        if let Some(origin) = origin {
            key = key.after(self.record(origin).key);
        }
        let settings: &'a Settings = self.settings;
        let time = key.effective_at();
        let company_no = if site == SiteNo::HQ {
            stamp.company.unwrap_or(CompanyNo::FIRST)
        } else {
            settings.site(site, time).ok_or(Waits::NoSite(site))?.company
        };
        let company = settings.company(company_no, time).ok_or(Waits::NoCompany(company_no))?;
        let (seq, stated_by) = (place.seq, self.source.site);
        let bears = |at| self.periods.bears_from(settings, company_no, at);
        let opens = moves_a_pool(kind).then(|| bears(key.effective_at())).flatten();
        let forwarded = opens.is_some();
        let key = opens.map_or(key, |opens| key.not_before(opens));
        Ok(Draft {
            stamp,
            index,
            kind,
            site,
            company_no,
            company,
            key,
            seq,
            stated_by,
            origin,
            forwarded,
        })
    }

    fn movement(
        &self,
        stamp: &'a Stamp,
        index: usize,
        movement: &Movement,
    ) -> Result<FactRecord, Waits> {
        if self.source.site == SiteNo::HQ {
            return Err(Waits::NotForHq(movement.kind));
        }
        let origin = movement.refers_to.map(|capture| self.need(capture)).transpose()?;
        let draft = self.draft(stamp, index, movement.kind, self.source.site, origin)?;
        if let (Some(origin), Some(capture)) = (origin, movement.refers_to) {
            self.check_origin(movement, origin, capture, draft.company_no)?;
        }
        let time = draft.key.effective_at();
        let between = self.is_between(movement, origin, &draft)?;
        let item = self.settings.item(movement.item, time).ok_or(Waits::NoItem(movement.item))?;
        if item.service != (movement.kind == Kind::ServiceSale) {
            return Err(Waits::IsService(movement.item));
        }
        let factor = self.settings.unit_factor(movement.item, &movement.quantity.unit, time);
        let factor = factor.ok_or_else(|| Waits::NoUnit {
            item: movement.item,
            unit: movement.quantity.unit.clone(),
        })?;
        let units = smallest_units(movement.quantity.figure, factor, item.decimals)
            .map_err(|why| Waits::Quantity { item: movement.item, why })?;
        let decimals = draft.company.currency.decimals();
        let worth = |price: &Price| {
            let amount = price.extend(movement.quantity.figure, decimals);
            in_limit(amount.map_err(|_| Waits::TooMuchMoney)?.0)
        };
        let sells =
            matches!(movement.kind, Kind::SaleIssue | Kind::CustomerReturn | Kind::ServiceSale);
        let cost_price = if sells { movement.cost } else { movement.price };
        let own = draft.company.currency;
        let foreign = cost_price.filter(|price| price.currency != own);
        for price in [movement.price, movement.cost].into_iter().flatten() {
            let is_cost = foreign.is_some() && !(sells && movement.price.is_some());
            if price.currency != own && !is_cost {
                return Err(Waits::ForeignCurrency(price.currency));
            }
        }
        let happened = draft.happened_at();
        let rate = foreign.map(|price| self.rate(&draft, price.currency, happened)).transpose()?;
        let bought = origin.filter(|_| between && movement.kind == Kind::TransferReceive);
        let bought = bought.map(|ship| self.bought_abroad(&draft, ship, happened)).transpose()?;
        self.check_named(movement.partner, movement.reason, time)?;
        let selling = movement.price.filter(|_| sells).as_ref().map(worth).transpose()?;
        let cost_price = cost_price.filter(|_| foreign.is_none());
        let stated = cost_price.as_ref().map(worth).transpose()?;
        let one_pool = draft.company.scope == CostScope::Company;
        let situation = Situation {
            priced: selling.is_some(),
            invoice_later: movement.invoice_later,
            one_pool,
            inward: true,
            between,
            ..Situation::PLAIN
        };
        let sign = if movement.kind == Kind::CustomerReturn { -1 } else { 1 };
        let sale = selling.unwrap_or(0) * sign;
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.roles = posting::roles(movement.kind, situation);
        record.item = Some(movement.item);
        record.category = Some(item.category);
        record.partner = movement.partner;
        record.reason = movement.reason;
        record.other_site = movement.other_site;
        record.lot = self.lot(movement, origin);
        record.document.clone_from(&movement.document);
        record.quantity = Quantity(units);
        record.stated = stated;
        record.unit_cost = match &cost_price {
            Some(price) => Some(unit_cost(price, factor, decimals, item.decimals)?),
            None => None,
        };
        if let (Some(price), Some(rate)) = (foreign, rate) {
            let (quantity, unit) = (movement.quantity.figure, Some((factor, item.decimals)));
            record.foreign = Some(Box::new(Foreign { price, quantity, unit }));
            convert(&mut record, rate);
        }
        record.between = between;
        record.step = pool_step(movement.kind, units, one_pool && !between);
        record.document_target = (sale, -sale);
        if between && movement.kind == Kind::TransferShip {
            let price = stated.unwrap_or(0);
            record.document_target = (price, -price);
            // What the other company owes is open ship by ship.
            record.main_item = record.against_item;
        }
        record.foreign = record.foreign.or_else(|| bought.flatten().map(Box::new));
        record.one_pool = one_pool;
        record.invoice_later = movement.kind == Kind::SaleIssue && movement.invoice_later;
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    /// Whether goods go from one company to another. Older rules did not ask whose a site is.
    fn is_between(
        &self,
        movement: &Movement,
        origin: Option<FactId>,
        draft: &Draft<'_>,
    ) -> Result<bool, Waits> {
        match (movement.kind, movement.other_site) {
            (Kind::TransferReceive, _) => Ok(origin.is_some_and(|ship| self.record(ship).between)),
            (Kind::TransferShip, Some(to)) if self.settings.rules() >= BETWEEN_COMPANIES => {
                let site = self.settings.site(to, draft.key.effective_at());
                let company = site.ok_or(Waits::NoSite(to))?.company;
                let own = draft.company.currency;
                match (company == draft.company_no, movement.price) {
                    (true, Some(_)) => Err(Waits::PriceWithin(to)),
                    (true, None) => Ok(false),
                    (false, None) => Err(Waits::NoPriceBetween(to)),
                    (false, Some(price)) if price.currency != own => {
                        Err(Waits::ForeignCurrency(price.currency))
                    }
                    (false, Some(_)) => Ok(true),
                }
            }
            _ => Ok(false),
        }
    }

    /// What was sold by a company that keeps its books in another currency needs the rate of the time
    /// when it came.
    fn bought_abroad(
        &self,
        draft: &Draft<'_>,
        ship: FactId,
        at: Timestamp,
    ) -> Result<Option<Foreign>, Waits> {
        let named = self.record(ship);
        let sender = self.settings.company(named.company, named.key.effective_at());
        let sender = sender.ok_or(Waits::NoCompany(named.company))?.currency;
        if sender == draft.company.currency {
            return Ok(None);
        }
        self.rate(draft, sender, at)?;
        let decimals = sender.decimals().cast_signed();
        let figure = Scaled::new(named.stated.unwrap_or(0), -decimals);
        let figure = figure.map_err(|_| Waits::TooMuchMoney)?;
        let quantity = Scaled::new(1, 0).expect("one is a figure");
        Ok(Some(Foreign { price: Price { figure, currency: sender }, quantity, unit: None }))
    }

    /// The company that goods go to.
    fn goes_to(&self, ship: &FactRecord) -> Option<CompanyNo> {
        let site = self.settings.site(ship.other_site?, ship.key.effective_at());
        site.map(|site| site.company)
    }

    /// Goods that arrive or go back are of the lot of what they answer, where they name no other.
    fn lot(&self, movement: &Movement, origin: Option<FactId>) -> Option<ShortText> {
        let answers = matches!(
            movement.kind,
            Kind::TransferReceive | Kind::CustomerReturn | Kind::SupplierReturn | Kind::Receipt
        );
        let of_origin = || self.record(origin.filter(|_| answers)?).lot.clone();
        movement.lot.clone().or_else(of_origin)
    }

    /// A return names a movement out, a receive names a ship, of the same item and company. What
    /// takes no cost from there may name anything: it only comes after it.
    fn check_origin(
        &self,
        movement: &Movement,
        origin: FactId,
        capture: Capture,
        company: CompanyNo,
    ) -> Result<(), Waits> {
        let named = self.record(origin);
        let (kinds, what): (&[Kind], _) = match movement.kind {
            Kind::CustomerReturn => (&[Kind::SaleIssue, Kind::Issue], "sale issue"),
            Kind::SupplierReturn => (&[Kind::Receipt], "receipt"),
            Kind::TransferReceive => (&[Kind::TransferShip], "transfer ship"),
            Kind::Receipt => (&[Kind::SupplierReturn], "supplier return"),
            _ => return Ok(()),
        };
        if !kinds.contains(&named.kind) || named.item != Some(movement.item) {
            Err(Waits::WrongReference(capture, what))
        } else if named.between && self.goes_to(named) != Some(company) {
            Err(Waits::NotGoingHere(capture))
        } else if named.company != company && !named.between {
            Err(Waits::OtherCompany(capture))
        } else {
            Ok(())
        }
    }

    fn check_named(
        &self,
        partner: Option<PartnerNo>,
        reason: Option<ReasonNo>,
        time: Timestamp,
    ) -> Result<(), Waits> {
        match (partner, reason) {
            (Some(partner), _) if self.settings.partner(partner, time).is_none() => {
                Err(Waits::NoPartner(partner))
            }
            (_, Some(reason)) if self.settings.reason(reason, time).is_none() => {
                Err(Waits::NoReason(reason))
            }
            _ => Ok(()),
        }
    }

    fn reversal(
        &self,
        stamp: &'a Stamp,
        index: usize,
        refers_to: Capture,
        reason: Option<ReasonNo>,
    ) -> Result<FactRecord, Waits> {
        let origin = self.need(refers_to)?;
        let named = self.record(origin);
        if self.source.site != SiteNo::HQ && named.stated_by != self.source.site {
            return Err(Waits::WrongReference(refers_to, "fact of the same site"));
        }
        let draft = self.draft(stamp, index, Kind::Reversal, named.site, Some(origin))?;
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.item = named.item;
        record.category = named.category;
        record.partner = named.partner;
        record.reason = reason;
        Ok(record)
    }

    /// Of two facts that are one event, `dropped` is as if it had never happened.
    fn same_as(
        &self,
        stamp: &'a Stamp,
        index: usize,
        dropped: Capture,
        kept: Capture,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::SameAs)?;
        let (one, other) = (self.need(dropped)?, self.need(kept)?);
        let about = |id: FactId| {
            let record = self.record(id);
            (record.kind, record.site, record.item)
        };
        if one == other || about(one) != about(other) {
            return Err(Waits::WrongReference(kept, "other fact of the same kind, site and item"));
        }
        self.reversal(stamp, index, dropped, None)
    }

    /// An invoice or a credit note has no place in a pool: its key is its own, its receipt's key carries the price.
    /// One that names no known receipt, or in a unit that its item has not, is goods on the way.
    fn supplier_invoice(
        &self,
        stamp: &'a Stamp,
        index: usize,
        kind: Kind,
        line: &InvoiceLine,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(kind)?;
        let draft = self.draft(stamp, index, kind, SiteNo::HQ, None)?;
        let currency = draft.company.currency;
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.document_day = line.document_date.unwrap_or(record.document_day);
        let is_foreign = line.price.currency != currency;
        let day = record.document_day.start(draft.company.zone);
        let rate = is_foreign.then(|| self.rate(&draft, line.price.currency, day)).transpose()?;
        let amount = if is_foreign {
            0
        } else {
            let amount = line.price.extend(line.quantity.figure, currency.decimals());
            in_limit(amount.map_err(|_| Waits::TooMuchMoney)?.0)?
        };
        self.check_named(Some(line.partner), None, draft.key.effective_at())?;
        record.roles = posting::roles(kind, Situation { foreign: is_foreign, ..Situation::PLAIN });
        record.partner = Some(line.partner);
        record.document.clone_from(&line.document);
        record.due_day = line.due_date;
        record.stated = Some(amount);
        record.document_target = if kind == Kind::CreditNote { (amount, 0) } else { (-amount, 0) };
        if let Some(rate) = rate {
            let (price, quantity) = (line.price, line.quantity.figure);
            record.foreign = Some(Box::new(Foreign { price, quantity, unit: None }));
            convert(&mut record, rate);
        }
        if let Some(receipt) = self.find(line.refers_to) {
            let named = self.record(receipt);
            link_invoice(self.settings, &mut record, line, receipt, named);
        }
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    fn customer_invoice(
        &self,
        stamp: &'a Stamp,
        index: usize,
        line: &InvoiceLine,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::CustomerInvoice)?;
        let sale = self.need(line.refers_to)?;
        let named = self.record(sale);
        let (true, Some(item_no)) = (named.invoice_later, named.item) else {
            return Err(Waits::WrongReference(line.refers_to, "sale to be invoiced later"));
        };
        let mut draft = self.draft(stamp, index, Kind::CustomerInvoice, SiteNo::HQ, None)?;
        if named.company != draft.company_no {
            return Err(Waits::OtherCompany(line.refers_to));
        }
        draft.site = named.site;
        draft.origin = Some(sale);
        let time = draft.key.effective_at();
        let item = self.settings.item(item_no, time).ok_or(Waits::NoItem(item_no))?;
        let (factor, units) = measured(self.settings, time, line, item_no, item)?;
        let found = invoiced(draft.company.currency, line, factor, units, item)?;
        self.check_named(Some(line.partner), None, time)?;
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        let situation = Situation { invoice_later: true, inward: true, ..Situation::PLAIN };
        record.roles = posting::roles(Kind::CustomerInvoice, situation);
        record.item = Some(item_no);
        record.category = Some(item.category);
        record.partner = Some(line.partner);
        record.document.clone_from(&line.document);
        record.document_day = line.document_date.unwrap_or(record.document_day);
        record.due_day = line.due_date;
        record.quantity = Quantity(units);
        record.stated = Some(found.amount);
        record.unit_cost = Some(found.cost);
        record.document_target = (found.amount, 0);
        record.against_item = named.main_item;
        self.find_accounts(&mut record)?;
        Ok(record)
    }

    fn payment(
        &self,
        stamp: &'a Stamp,
        index: usize,
        payment: &Payment,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::Payment)?;
        let draft = self.draft(stamp, index, Kind::Payment, SiteNo::HQ, None)?;
        let time = draft.key.effective_at();
        self.check_named(Some(payment.partner), None, time)?;
        let amount = money(&draft, payment.amount)?;
        let inward = payment.direction == Direction::In;
        let situation = Situation { inward, ..Situation::PLAIN };
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.partner = Some(payment.partner);
        record.document.clone_from(&payment.document);
        record.document_day = payment.document_date.unwrap_or(record.document_day);
        record.stated = Some(amount);
        record.roles = posting::roles(Kind::Payment, situation);
        if let Some(account) = payment.account {
            let known = self
                .settings
                .accounts()
                .any(|(number, held)| number == account && held.company == draft.company_no);
            if !known || self.settings.role_of(account).is_some_and(super::is_control) {
                return Err(Waits::NotABank(account));
            }
            record.roles.main = None;
            record.accounts.main = account;
        }
        self.find_accounts(&mut record)?;
        let signed = if inward { amount } else { -amount };
        record.document_target = (signed, -signed);
        Ok(record)
    }

    fn allocation(
        &self,
        stamp: &'a Stamp,
        index: usize,
        allocation: &Allocation,
    ) -> Result<FactRecord, Waits> {
        self.only_hq(Kind::Allocation)?;
        let payment = self.need(allocation.payment)?;
        let open = self.need(allocation.open_item)?;
        let paid = self.record(payment);
        if paid.kind != Kind::Payment {
            return Err(Waits::WrongReference(allocation.payment, "payment"));
        }
        let inward = paid.document_target.0 >= 0;
        let named = self.record(open);
        let fits = match named.kind {
            Kind::SaleIssue | Kind::ServiceSale | Kind::CustomerInvoice | Kind::CustomerReturn => {
                inward
            }
            Kind::SupplierInvoice => !inward,
            // What is accrued is owed to nobody yet.
            Kind::LandedCost => !inward && named.partner.is_some(),
            _ => false,
        };
        if !fits {
            return Err(Waits::WrongReference(allocation.open_item, "open item on that side"));
        }
        let mut draft = self.draft(stamp, index, Kind::Allocation, SiteNo::HQ, Some(payment))?;
        for (capture, other) in [(allocation.payment, paid), (allocation.open_item, named)] {
            if other.company != draft.company_no {
                return Err(Waits::OtherCompany(capture));
            }
        }
        draft.key = draft.key.after(named.key);
        let amount = money(&draft, allocation.amount)?;
        let situation = Situation { inward, ..Situation::PLAIN };
        let mut record = blank(&draft, self.facts.next(), self.stamps.len());
        record.partner = named.partner;
        record.stated = Some(amount);
        record.second = Some(open);
        record.roles = posting::roles(Kind::Allocation, situation);
        self.find_accounts(&mut record)?;
        let signed = if inward { -amount } else { amount };
        record.document_target = (signed, -signed);
        record.main_item = named.main_item;
        record.main_site = named.main_site;
        record.against_item = paid.against_item;
        Ok(record)
    }

    fn only_hq(&self, kind: Kind) -> Result<(), Waits> {
        if self.source.site == SiteNo::HQ { Ok(()) } else { Err(Waits::NotForASite(kind)) }
    }

    fn find_accounts(&self, record: &mut FactRecord) -> Result<(), Waits> {
        find_accounts(self.settings, record)?;
        inherit_accounts(record, |id| &self.record(id).accounts);
        Ok(())
    }
}

/// Finds the accounts of a fact's roles at its effective time.
pub(super) fn find_accounts(settings: &Settings, record: &mut FactRecord) -> Result<(), Waits> {
    let roles = record.roles;
    let carries = settings.carries(record.company);
    let time = record.key.effective_at();
    let find_for = |role: Option<Role>, site, category| {
        let Some(role) = role else { return Ok(AccountNo(0)) };
        let lookup = Lookup {
            company: record.company,
            role,
            category,
            site,
            movement: record.kind,
            reason: record.reason,
        };
        let account = settings.account(&lookup, time);
        account.ok_or(Waits::NoAccount { role, kind: record.kind })
    };
    let find = |role, site| find_for(role, site, record.category);
    let site = record.site;
    // One pool for all sites: its account can't depend on the site.
    let stock_site = if record.one_pool { SiteNo::HQ } else { site };
    let main = match roles.main {
        None => record.accounts.main,
        // What is owed stays on its account when it becomes known where the goods are.
        Some(Role::Payable) => find_for(roles.main, SiteNo::HQ, None)?,
        role => find(role, site)?,
    };
    record.accounts = Accounts {
        stock: find(roles.stock, stock_site)?,
        counter: find(roles.counter, site)?,
        difference: find(roles.difference, site)?,
        variance: find(roles.variance, site)?,
        beyond: find(roles.beyond.filter(|_| carries), stock_site)?,
        main,
        against: find(roles.against, site)?,
        rest: find(roles.rest, site)?,
    };
    Ok(())
}

/// An open item is settled on the account where it was opened.
pub(super) fn inherit_accounts<'f>(record: &mut FactRecord, of: impl Fn(FactId) -> &'f Accounts) {
    if let (Kind::CashDiscount, Some(bill)) = (record.kind, record.second.map(&of)) {
        record.accounts.main = bill.main;
    }
    let Some(origin) = record.origin.map(&of) else { return };
    match record.kind {
        // What is owed to another company stands on an account of the receiver's own.
        Kind::TransferReceive if record.between => {}
        Kind::TransferReceive | Kind::SupplierReturn
            if !record.one_pool || origin.counter.0 != 0 =>
        {
            record.accounts.counter = origin.counter;
        }
        Kind::SupplierInvoice | Kind::CreditNote => {
            record.accounts.against = origin.counter;
            if record.forwarded {
                record.accounts.counter = origin.counter;
            }
        }
        Kind::CustomerInvoice | Kind::LandedCost | Kind::CashDiscount => {
            record.accounts.against = origin.main;
            if record.forwarded {
                record.accounts.counter = origin.main;
            }
        }
        Kind::Allocation => {
            record.accounts.against = origin.against;
            if let Some(open) = record.second.map(of) {
                record.accounts.main = open.main;
            }
        }
        _ => {}
    }
}

/// Lets an invoice price the receipt it names, where that is one and has the invoice's unit. One in
/// another currency prices it where the rate of the day is known on which the goods came.
pub(super) fn link_invoice(
    settings: &Settings,
    record: &mut FactRecord,
    line: &InvoiceLine,
    receipt: FactId,
    named: &FactRecord,
) -> bool {
    let at = record.key.effective_at();
    let found = named.item.filter(|_| named.kind == Kind::Receipt).and_then(|item_no| {
        let item = settings.item(item_no, at)?;
        let currency = settings.company(record.company, at)?.currency;
        let (factor, units) = measured(settings, at, line, item_no, item).ok()?;
        let cost = if record.foreign.is_some() {
            settings.rate(named.company, line.price.currency, named.moved_at().effective_at())?;
            None
        } else {
            Some(invoiced(currency, line, factor, units, item).ok()?.cost)
        };
        let unit = (factor, item.decimals);
        (named.company == record.company).then_some((item_no, item.category, units, unit, cost))
    });
    let Some((item, category, units, unit, cost)) = found else { return false };
    // What is owed has no site: an invoice may come before anyone knows where the goods go.
    record.site = named.site;
    record.item = Some(item);
    record.category = Some(category);
    record.quantity = Quantity(units);
    record.unit_cost = cost;
    if let Some(foreign) = &mut record.foreign {
        foreign.unit = Some(unit);
        if let Some(rate) = rate_of(settings, record) {
            convert(record, rate);
        }
    }
    record.origin = Some(receipt);
    record.against_item = receipt;
    true
}

/// Quantity of an invoice line against an item: the factor of its unit, and smallest units.
fn measured(
    settings: &Settings,
    time: Timestamp,
    line: &InvoiceLine,
    item_no: ItemNo,
    item: &Item,
) -> Result<((u64, u64), i64), Waits> {
    let factor = settings.unit_factor(item_no, &line.quantity.unit, time);
    let factor =
        factor.ok_or_else(|| Waits::NoUnit { item: item_no, unit: line.quantity.unit.clone() })?;
    let units = smallest_units(line.quantity.figure, factor, item.decimals)
        .map_err(|why| Waits::Quantity { item: item_no, why })?;
    Ok((factor, units))
}

/// What an invoice line says about its item.
struct Invoiced {
    /// Quantity x price, minor units.
    amount: i64,
    /// Price of one smallest unit.
    cost: UnitCost,
}

/// The price of an invoice line in the company's currency.
fn invoiced(
    currency: Currency,
    line: &InvoiceLine,
    factor: (u64, u64),
    units: i64,
    item: &Item,
) -> Result<Invoiced, Waits> {
    if line.price.currency != currency {
        return Err(Waits::ForeignCurrency(line.price.currency));
    }
    let decimals = currency.decimals();
    let amount = line.price.extend(line.quantity.figure, decimals);
    let amount = in_limit(amount.map_err(|_| Waits::TooMuchMoney)?.0)?;
    let cost = unit_cost(&line.price, factor, decimals, item.decimals)?;
    cost.times(units).map_err(|_| Waits::TooMuchMoney)?;
    Ok(Invoiced { amount, cost })
}

fn blank(draft: &Draft<'_>, group: FactId, group_len: usize) -> FactRecord {
    let at = draft.key.effective_at();
    let day: Day = at.day(draft.company.zone);
    // What is owed has no site.
    let is_owed = matches!(draft.kind, Kind::SupplierInvoice | Kind::CreditNote | Kind::LandedCost);
    FactRecord {
        capture: draft.stamp.capture,
        second: None,
        stated_by: draft.stated_by,
        roles: posting::Roles::default(),
        key: draft.key,
        kind: draft.kind,
        site: draft.site,
        main_site: if is_owed { SiteNo::HQ } else { draft.site },
        seq: draft.seq,
        company: draft.company_no,
        month: day.month(),
        item: None,
        category: None,
        partner: None,
        reason: None,
        other_site: None,
        lot: None,
        document: None,
        document_day: day,
        due_day: None,
        recorded_at: draft.stamp.recorded_at,
        quantity: Quantity::ZERO,
        stated: None,
        unit_cost: None,
        foreign: None,
        pool: None,
        step: PoolStep::None,
        origin: draft.origin,
        group,
        group_len: u16::try_from(group_len).expect("a run's group is at most 65,536 facts"),
        taken_over: TakenOver::default(),
        one_pool: false,
        invoice_later: false,
        between: false,
        document_target: (0, 0),
        accounts: Accounts::default(),
        main_item: group,
        against_item: FactId(group.0 + u32::try_from(draft.index).expect("as above")),
        answers: None,
        forwarded: draft.forwarded,
        reversed: false,
        short: false,
        out_of_range: false,
        target: Target::default(),
        posted: Target::default(),
    }
}

/// Whether a fact of this kind has a place in a pool by itself.
const fn moves_a_pool(kind: Kind) -> bool {
    match kind {
        Kind::Reversal | Kind::ServiceSale | Kind::StatusChange => false,
        Kind::Revaluation | Kind::StandardCost => true,
        _ => kind.is_movement(),
    }
}

pub(super) fn pool_step(kind: Kind, units: i64, one_pool: bool) -> PoolStep {
    match kind {
        Kind::TransferReceive if one_pool => PoolStep::MoveIn,
        Kind::Receipt
        | Kind::CustomerReturn
        | Kind::ProductionIn
        | Kind::RepackIn
        | Kind::TransferReceive => PoolStep::In,
        Kind::TransferShip if one_pool => PoolStep::MoveOut,
        Kind::Adjustment if units > 0 => PoolStep::In,
        Kind::Count => PoolStep::Count,
        Kind::ServiceSale | Kind::StatusChange => PoolStep::None,
        _ => PoolStep::Out,
    }
}

fn in_limit(amount: i64) -> Result<i64, Waits> {
    if amount.abs() < FACT_LIMIT { Ok(amount) } else { Err(Waits::TooMuchMoney) }
}

fn money(draft: &Draft<'_>, money: shared::fact::statement::Money) -> Result<i64, Waits> {
    let currency = draft.company.currency;
    if money.currency != currency {
        return Err(Waits::ForeignCurrency(money.currency));
    }
    match shared::money::exact_minor(money.figure, currency) {
        Ok(amount) => in_limit(amount.0),
        Err(shared::quantity::ScaleError::TooManyDecimals { .. }) => {
            Err(Waits::TooManyDecimals(currency))
        }
        Err(shared::quantity::ScaleError::TooLarge) => Err(Waits::TooMuchMoney),
    }
}

/// The price of one smallest unit, where the price is for one of a unit with this factor.
fn unit_cost(
    price: &Price,
    factor: (u64, u64),
    currency_decimals: u8,
    item_decimals: u8,
) -> Result<UnitCost, Waits> {
    UnitCost::of_price(price, currency_decimals, item_decimals)
        .and_then(|cost| cost.per_factor(factor))
        .ok_or(Waits::TooMuchMoney)
}
