//! What HQ states about the cost of goods beside their invoices: landed cost, cash discounts,
//! revaluations, new standard costs, write-downs. Knows their fields; shares nothing and values nothing.

use super::{
    Capture, CostMethod, Day, Direction, Fact, InvoiceLine, ItemNo, Malformed, Money, PartnerNo,
    Price, PurchaseCashDiscount, Reader, ReasonNo, ShortText, SiteNo, Unreadable, field,
    put_capture, put_money, put_price,
};

coded! {
    /// What landed cost was shared by.
    SharedBy {
        /// The received quantity.
        1 Quantity "quantity";
        /// Quantity x price of the receipt.
        2 Value "value";
        /// The weight of what was received.
        3 Weight "weight";
        /// Its volume.
        4 Volume "volume";
    }
}

/// Freight or other cost that belongs to one receipt. A bill over several receipts is a group of
/// these, shared when it is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandedCost {
    /// The receipt.
    pub refers_to: Capture,
    /// This receipt's share; negative where cost is taken back.
    pub amount: Money,
    /// How the bill was shared, for the reader.
    pub shared_by: Option<SharedBy>,
    /// Whom it is owed to; accrued where absent.
    pub partner: Option<PartnerNo>,
    /// The bill's number.
    pub document: Option<ShortText>,
    /// The bill's own date.
    pub document_date: Option<Day>,
    /// When it is due.
    pub due_date: Option<Day>,
}

/// A supplier lets the company off part of a bill for early payment. A discount on a bill of several
/// lines is a group of these, shared when it is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CashDiscount {
    /// The line of the supplier's invoice, or the landed cost that is owed to somebody.
    pub refers_to: Capture,
    /// By how much less is owed, positive.
    pub amount: Money,
    /// Whose it is, by the company's policy of the day: a later choice does not move it.
    pub of: PurchaseCashDiscount,
    /// The number of the supplier's note about it.
    pub document: Option<ShortText>,
    /// The note's own date.
    pub document_date: Option<Day>,
}

/// Which pool a statement about cost is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolName {
    /// The item.
    pub item: ItemNo,
    /// The site, where each site is a pool.
    pub site: Option<SiteNo>,
    /// The lot, where each lot is a pool.
    pub lot: Option<ShortText>,
}

/// An amount added to the value of what a pool holds. A group of these adds the amount of its
/// first to the goods of all receipts that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revaluation {
    /// The pool.
    pub pool: PoolName,
    /// What is added, not zero; absent on all of a group but the first.
    pub amount: Option<Money>,
    /// Only the goods of this receipt, where the method tells goods apart.
    pub refers_to: Option<Capture>,
    /// Why.
    pub reason: Option<ReasonNo>,
}

/// A new standard cost: what the pool holds is restated to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardCost {
    /// The pool.
    pub pool: PoolName,
    /// The cost of one base unit.
    pub cost: Price,
    /// Why.
    pub reason: Option<ReasonNo>,
}

/// What goods are worth less on the market than they cost. Their pool keeps its cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteDown {
    /// The pool.
    pub pool: PoolName,
    /// By how much, not zero; negative where an earlier write-down is taken back.
    pub amount: Money,
    /// Why.
    pub reason: Option<ReasonNo>,
}

impl LandedCost {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let shared_by = field::SHARED_BY.at(reader.fields).map(|number| {
            SharedBy::from_number(number).ok_or_else(|| reader.bad("SHARED_BY", "is not 1 to 4"))
        });
        Ok(Self {
            refers_to: reader.need("REF_DEVICE", reader.reference()?)?,
            amount: reader.need("AMOUNT", reader.signed_amount()?)?,
            shared_by: shared_by.transpose()?,
            partner: reader.number(field::PARTNER, PartnerNo)?,
            document: reader.short(field::DOCUMENT),
            document_date: reader.day(field::DOCUMENT_DATE)?,
            due_date: reader.day(field::DUE_DATE)?,
        })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        put_money(fact, self.amount)?;
        field::PARTNER.put(fact, self.partner)?;
        field::DOCUMENT.put(fact, self.document.as_deref())?;
        field::DOCUMENT_DATE.put(fact, self.document_date.map(|day| day.0))?;
        field::DUE_DATE.put(fact, self.due_date.map(|day| day.0))?;
        put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, Some(self.refers_to))?;
        field::SHARED_BY.put(fact, self.shared_by.map(|by| by as u8))
    }
}

impl CashDiscount {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let of = reader.need("STATUS", field::STATUS.at(reader.fields))?;
        let of = PurchaseCashDiscount::from_number(of)
            .ok_or_else(|| reader.bad("STATUS", "is neither 1 (cost) nor 2 (finance)"))?;
        Ok(Self {
            refers_to: reader.need("REF_DEVICE", reader.reference()?)?,
            amount: reader.amount()?,
            of,
            document: reader.short(field::DOCUMENT),
            document_date: reader.day(field::DOCUMENT_DATE)?,
        })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        put_money(fact, self.amount)?;
        field::DOCUMENT.put(fact, self.document.as_deref())?;
        field::DOCUMENT_DATE.put(fact, self.document_date.map(|day| day.0))?;
        put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, Some(self.refers_to))?;
        field::STATUS.put(fact, Some(self.of as u8))
    }
}

impl PoolName {
    fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            item: reader.needed_number(field::ITEM, ItemNo)?,
            site: reader.number(field::SITE, SiteNo)?,
            lot: reader.short(field::LOT),
        })
    }

    fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        field::SITE.put(fact, self.site)?;
        field::ITEM.put(fact, Some(self.item))?;
        field::LOT.put(fact, self.lot.as_deref())
    }
}

impl Revaluation {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            pool: PoolName::parse(reader)?,
            amount: reader.signed_amount()?,
            refers_to: reader.reference()?,
            reason: reader.number(field::REASON, ReasonNo)?,
        })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        self.pool.put(fact)?;
        if let Some(amount) = self.amount {
            put_money(fact, amount)?;
        }
        field::REASON.put(fact, self.reason)?;
        put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, self.refers_to)
    }
}

impl WriteDown {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            pool: PoolName::parse(reader)?,
            amount: reader.need("AMOUNT", reader.signed_amount()?)?,
            reason: reader.number(field::REASON, ReasonNo)?,
        })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        self.pool.put(fact)?;
        put_money(fact, self.amount)?;
        field::REASON.put(fact, self.reason)
    }
}

impl StandardCost {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let cost = reader.price(field::COST, field::COST_EXPONENT)?;
        let cost = reader.need("COST", cost)?;
        if cost.figure.mantissa() < 0 {
            return Err(reader.bad("COST", "is negative"));
        }
        let reason = reader.number(field::REASON, ReasonNo)?;
        Ok(Self { pool: PoolName::parse(reader)?, cost, reason })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        self.pool.put(fact)?;
        put_price(fact, field::COST, field::COST_EXPONENT, Some(self.cost))?;
        field::REASON.put(fact, self.reason)
    }
}

/// One line of a credit note names its side.
pub(super) fn parse_credit(reader: &Reader<'_>) -> Result<InvoiceLine, Unreadable> {
    match field::DIRECTION.at(reader.fields) {
        Some(2) => InvoiceLine::parse(reader),
        Some(_) => Err(reader.bad("DIRECTION", "is not 2 (a supplier's)")),
        None => reader.need("DIRECTION", None),
    }
}

/// See [`parse_credit`].
pub(super) fn put_credit(line: &InvoiceLine, fact: &mut Fact) -> Result<(), Malformed> {
    line.put(fact)?;
    field::DIRECTION.put(fact, Some(Direction::Out as u8))
}

impl CostMethod {
    /// Whether each lot is a pool.
    pub const fn by_lot(self) -> bool {
        matches!(self, Self::Specific)
    }
}
