//! What a fact says, with types: parsed once, so that a fact without an item or with a quantity of
//! no unit can't be written down further on. Knows no master data: numbers are not looked up here.

use super::by_number::ByNumber;
use super::field::{self, Bytes, Field, Signed, Unsigned};
use super::kind::Kind;
use super::record::{Fact, Malformed};
use crate::ids::{
    AccountNo, Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, LogId, PartnerNo, PersonNo,
    ReasonNo, Seq, SiteNo,
};
use crate::money::{Currency, Price};
use crate::quantity::{Scaled, ShortText, Unit};
use crate::time::{Day, Month, OffsetMinutes, Timestamp};

/// Who, when, where: what every fact carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What was done, for ever.
    pub capture: Capture,
    /// By the node's own clock.
    pub recorded_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The recorder's zone.
    pub utc_offset: OffsetMinutes,
    /// How many facts of the same group follow.
    pub group_left: u16,
    /// Who recorded it.
    pub person: Option<PersonNo>,
    /// Bits as in the field `TIME_IN_DOUBT`; 0 when the clock is trusted.
    pub time_in_doubt: u8,
    /// The company, where the fact names one.
    pub company: Option<CompanyNo>,
}

/// The largest group: the lines of one receipt, both sides of a repack.
pub const GROUP_MAX: usize = 256;

/// A quantity as the keeper saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The figure.
    pub figure: Scaled,
    /// Its unit.
    pub unit: Unit,
}

/// An amount of money as somebody stated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The figure.
    pub figure: Scaled,
    /// Its currency.
    pub currency: Currency,
}

/// A movement of an item. `kind` decides the direction; see [`Movement::parse`] for what each
/// kind must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// A movement kind other than reversal.
    pub kind: Kind,
    /// What moved.
    pub item: ItemNo,
    /// How much: positive, but signed for an adjustment and for a service (negative is a credit), and
    /// zero or more for a count.
    pub quantity: Measure,
    /// Cost of one unit for what comes in, selling price for what is sold or brought back.
    pub price: Option<Price>,
    /// Cost of one unit where `price` is a selling price: a return of unknown origin.
    pub cost: Option<Price>,
    /// Customer or supplier.
    pub partner: Option<PartnerNo>,
    /// Why.
    pub reason: Option<ReasonNo>,
    /// The movement it answers: the ship of a receive, the sale of a return.
    pub refers_to: Option<Capture>,
    /// The order it fulfils.
    pub order: Option<Capture>,
    /// The other site of a transfer.
    pub other_site: Option<SiteNo>,
    /// Lot or batch.
    pub lot: Option<ShortText>,
    /// Serial number.
    pub serial: Option<ShortText>,
    /// Last day of use.
    pub expiry: Option<Day>,
    /// An outside document's number.
    pub document: Option<ShortText>,
    /// The tax code.
    pub tax_code: Option<u64>,
    /// The customer is invoiced later.
    pub invoice_later: bool,
    /// 1 in use, 2 held, 3 blocked: a status change.
    pub status: Option<u64>,
}

/// One line of an invoice, either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    /// Supplier or customer.
    pub partner: PartnerNo,
    /// The receipt or the shipment it invoices.
    pub refers_to: Capture,
    /// How much is invoiced, positive.
    pub quantity: Measure,
    /// The invoice's price of one unit, without tax.
    pub price: Price,
    /// The invoice's number.
    pub document: Option<ShortText>,
    /// The invoice's own date: decides payable, tax and ageing.
    pub document_date: Option<Day>,
    /// When it is due.
    pub due_date: Option<Day>,
    /// The tax code.
    pub tax_code: Option<u64>,
}

/// Which way money goes, or which side of a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Money in from a customer; debit.
    In = 1,
    /// Money out to a supplier; credit.
    Out = 2,
}

/// Money in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Customer or supplier.
    pub partner: PartnerNo,
    /// In from a customer, out to a supplier.
    pub direction: Direction,
    /// How much, positive.
    pub amount: Money,
    /// The bank or cash account; the mapping decides where absent.
    pub account: Option<AccountNo>,
    /// The bank statement's number.
    pub document: Option<ShortText>,
    /// The bank's date.
    pub document_date: Option<Day>,
}

/// A payment settles part of an open item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The first fact of the group that opened the item: an invoice, a priced sale.
    pub open_item: Capture,
    /// The payment.
    pub payment: Capture,
    /// How much, positive.
    pub amount: Money,
}

/// What an account is in the statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AccountType {
    /// Normal balance debit.
    Asset = 1,
    /// Normal balance credit.
    Liability = 2,
    /// Normal balance credit.
    Equity = 3,
    /// Normal balance credit.
    Income = 4,
    /// Normal balance debit.
    Expense = 5,
}

impl AccountType {
    /// The type with this number.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Asset),
            2 => Some(Self::Liability),
            3 => Some(Self::Equity),
            4 => Some(Self::Income),
            5 => Some(Self::Expense),
            _ => None,
        }
    }

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Liability => "liability",
            Self::Equity => "equity",
            Self::Income => "income",
            Self::Expense => "expense",
        }
    }
}

/// Whether goods of one item share a cost over all sites of a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CostScope {
    /// 分仓核算: each site is a pool.
    Site = 1,
    /// 总仓核算: one pool in the company.
    Company = 2,
}

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $number:literal $variant:ident $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $number,)*
        }

        impl $name {
            /// Every one, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one with this number; numbers are signed for ever.
            pub const fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The word of command line and reports.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.word() == word)
            }
        }
    };
}

mod costs;
mod periods;
mod policy;
mod retime;

pub use costs::{
    CashDiscount, LandedCost, PoolName, Revaluation, SharedBy, StandardCost, WriteDown,
};
pub use periods::{PeriodAction, PeriodStep};
pub use policy::{
    DoubtfulTime, LateCost, Permission, PurchaseCashDiscount, ReceiptFx, StandardVariance,
};
pub use retime::Retime;

coded! {
    /// What an account is for. Charts map roles to accounts; code never names an account.
    Role {
        /// Goods on hand.
        1 Inventory "inventory";
        /// 暂估应付: received, not invoiced, at the best known price.
        2 ReceivedNotInvoiced "received_not_invoiced";
        /// 在途物资: invoiced, not yet received.
        3 BoughtInTransit "bought_in_transit";
        /// 调拨在途: shipped to another site of the company, not yet received.
        4 InterSiteTransit "inter_site_transit";
        /// Cost of goods sold.
        5 CostOfSales "cost_of_sales";
        /// Sales.
        6 Revenue "revenue";
        /// Sales brought back.
        7 SalesReturns "sales_returns";
        /// Owed by customers.
        8 Receivable "receivable";
        /// Shipped, to be invoiced later.
        9 UnbilledReceivable "unbilled_receivable";
        /// Owed to suppliers.
        10 Payable "payable";
        /// Bank and cash.
        11 Bank "bank";
        /// Paid to suppliers ahead of an allocation.
        12 SupplierPrepayment "supplier_prepayment";
        /// Received from customers ahead of an allocation.
        13 CustomerAdvance "customer_advance";
        /// Count differences and corrections.
        14 StockAdjustment "stock_adjustment";
        /// 待处理财产损溢: count differences until approved.
        15 CountWaiting "count_waiting";
        /// Thrown away.
        16 Scrap "scrap";
        /// Own use and projects.
        17 OwnUse "own_use";
        /// Work in progress: materials in, goods out.
        18 WorkInProgress "work_in_progress";
        /// What remains when a pool reaches zero quantity; standard cost differences.
        19 PriceVariance "price_variance";
        /// A supplier return that left at another cost than its price.
        20 ReturnDifference "return_difference";
        /// More or less arrived than was shipped.
        21 TransferDifference "transfer_difference";
        /// Cents that rounding makes.
        22 Rounding "rounding";
        /// Balances an installation starts with.
        23 OpeningBalance "opening_balance";
        /// VAT on purchases.
        24 InputTax "input_tax";
        /// VAT on sales.
        25 OutputTax "output_tax";
        /// Freight waiting for its receipts.
        26 LandedCostClearing "landed_cost_clearing";
        /// 发出商品: shipped, control not passed.
        27 GoodsShipped "goods_shipped";
        /// Write-down to market, expense.
        28 WriteDown "write_down";
        /// Write-down to market, allowance.
        29 Allowance "allowance";
        /// Revaluation of stock.
        30 Revaluation "revaluation";
        /// Exchange gain and loss.
        31 ExchangeDifference "exchange_difference";
        /// 内部应收: owed by another company of the group for goods shipped to it.
        32 InterCompanyReceivable "inter_company_receivable";
        /// 内部应付: owed to another company of the group for goods received from it.
        33 InterCompanyPayable "inter_company_payable";
        /// Sales to other companies of the group.
        34 InterCompanyRevenue "inter_company_revenue";
        /// Cost of what was sold to other companies of the group.
        35 InterCompanyCost "inter_company_cost";
        /// 材料成本差异: what goods on hand cost beyond their standard, shared with those that leave.
        36 StockVariance "stock_variance";
        /// 现金折扣: what suppliers let a company off for early payment, as finance income.
        37 CashDiscount "cash_discount";
    }
}

coded! {
    /// What goods cost that leave. The numbers are those of the field `METHOD`.
    CostMethod {
        /// 移动加权平均: at the average of what is there.
        1 MovingAverage "moving_average";
        /// 先进先出: what came first leaves first.
        2 Fifo "fifo";
        /// 全月一次加权平均: at one average of the whole month.
        3 MonthEndAverage "month_end_average";
        /// 标准成本: at the standard of the moment; what it cost otherwise is a variance.
        4 Standard "standard";
        /// 个别计价: each lot at its own average.
        5 Specific "specific";
        /// 后进先出: what came last leaves first. For comparison: IFRS and Chinese standards bar it.
        6 Lifo "lifo";
    }
}

coded! {
    /// What a policy fact sets.
    PolicyKind {
        /// How many days back a keeper may date a movement.
        1 BackdatingDays "backdating_days";
        /// 1: stock may go below zero, 0: it may not.
        2 NegativeStock "negative_stock";
        /// How many days back an import may date a movement.
        3 ImportBackdatingDays "import_backdating_days";
        /// Of a company: [`ReceiptFx`].
        4 ReceiptFx "receipt_fx";
        /// Of a company: [`StandardVariance`].
        5 StandardVariance "standard_variance";
        /// Of a company: [`LateCost`].
        6 LateCost "late_cost";
        /// Of a company: whether goods may be costed last in, first out.
        7 Lifo "lifo";
        /// Of a company: whether a write-down may be taken back.
        8 WriteDownReversal "write_down_reversal";
        /// 1: a site is told only the items that it handles, 0: all.
        9 HandledOnly "handled_only";
        /// Of a company: [`DoubtfulTime`].
        10 DoubtfulTime "doubtful_time";
        /// Of a company: [`PurchaseCashDiscount`].
        11 PurchaseCashDiscount "purchase_cash_discount";
    }
}

/// A statement of HQ about its things: the newest one per key and valid-from holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterData {
    /// A company.
    Company {
        /// Its number.
        company: CompanyNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// Its functional currency.
        currency: Currency,
        /// Its zone, which decides ledger months.
        zone: OffsetMinutes,
        /// Its cost pools.
        scope: CostScope,
    },
    /// A warehouse.
    Site {
        /// Its number.
        site: SiteNo,
        /// Its company.
        company: CompanyNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
    },
    /// An item category.
    Category {
        /// Its number.
        category: CategoryNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
    },
    /// An item.
    Item {
        /// Its number.
        item: ItemNo,
        /// Its category.
        category: CategoryNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// Its base unit.
        unit: Unit,
        /// Decimals of its smallest unit.
        decimals: u8,
        /// A service is sold and never stocked.
        service: bool,
        /// Cost before anything else is known.
        fallback_cost: Option<Price>,
    },
    /// One of `unit` is numerator / denominator base units.
    UnitConversion {
        /// The item.
        item: ItemNo,
        /// Its other unit.
        unit: Unit,
        /// Not zero.
        numerator: u64,
        /// Not zero.
        denominator: u64,
    },
    /// A customer or supplier.
    Partner {
        /// Its number.
        partner: PartnerNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// May be sold to.
        customer: bool,
        /// May be bought from.
        supplier: bool,
    },
    /// A reason.
    Reason {
        /// Its number.
        reason: ReasonNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// The only movement kind it is for.
        movement: Option<Kind>,
    },
    /// A ledger account.
    Account {
        /// Its number.
        account: AccountNo,
        /// Its company.
        company: CompanyNo,
        /// Its code.
        code: String,
        /// Its name.
        name: String,
        /// What it is in the statements.
        account_type: AccountType,
    },
    /// Which account takes a role.
    Mapping {
        /// The company.
        company: CompanyNo,
        /// The role.
        role: Role,
        /// The account.
        account: AccountNo,
        /// Only for this category.
        category: Option<CategoryNo>,
        /// Only at this site.
        site: Option<SiteNo>,
        /// Only for this movement kind.
        movement: Option<Kind>,
        /// Only for this reason.
        reason: Option<ReasonNo>,
    },
    /// How goods are costed.
    Costing {
        /// The company.
        company: CompanyNo,
        /// Only for this category.
        category: Option<CategoryNo>,
        /// The method of pools that begin from then on.
        method: CostMethod,
    },
    /// A policy.
    Policy {
        /// The company, for a policy that a company chooses.
        company: Option<CompanyNo>,
        /// Only at this site.
        site: Option<SiteNo>,
        /// What it sets.
        policy: PolicyKind,
        /// The value.
        setting: i64,
    },
    /// What a company's books take one unit of another currency for. Of the rates that hold at a
    /// time the one that began last counts; where none holds, there is no rate.
    Rate {
        /// The company.
        company: CompanyNo,
        /// The other currency.
        currency: Currency,
        /// Units of the company's currency for one of the other; more than zero.
        rate: Scaled,
        /// From then on it does not hold.
        until: Timestamp,
    },
    /// What one base unit of an item weighs and takes up.
    ItemMeasure {
        /// The item.
        item: ItemNo,
        /// Kilograms, more than zero; `None` where that is not stated here.
        weight: Option<Scaled>,
        /// Litres.
        volume: Option<Scaled>,
    },
    /// A site handles an item, although nothing of it ever moved there.
    HandledItem {
        /// The site.
        site: SiteNo,
        /// The item.
        item: ItemNo,
    },
    /// A log belongs to a site and signs with this key.
    SiteLog {
        /// The site; 0 is HQ.
        site: SiteNo,
        /// The installation.
        device: DeviceNo,
        /// The log.
        log: LogId,
        /// The key that signs its seals.
        public_key: [u8; 32],
        /// HQ has revoked the installation.
        revoked: bool,
    },
    /// A site may carry another one's data to HQ, and HQ's answers back, or no longer.
    Carrier {
        /// Whose data.
        site: SiteNo,
        /// Who carries it.
        carrier: SiteNo,
        /// Whether it may.
        allowed: bool,
    },
    /// The books follow these rules from here on.
    Rules {
        /// The number.
        number: i64,
    },
    /// HQ was restored from a backup, or learnt how much of its own log was lost by that. Numbers
    /// that were given meanwhile are not given again: those of companies, categories, items,
    /// partners, reasons and accounts go on above what is known, and `skipped` more.
    Restored {
        /// HQ's log that goes no further.
        log: LogId,
        /// Its last fact that is not lost.
        after: Seq,
        /// How many numbers are left out.
        skipped: u32,
        /// The newest fact among the lost ones that a node knows of; `None` as long as none told.
        lost: Option<Capture>,
    },
    /// A history of HQ that is lost gave voucher numbers of a month up to `last`: none of them is
    /// given again.
    VoucherGap {
        /// The company.
        company: CompanyNo,
        /// The ledger month.
        month: Month,
        /// The last number that is left out.
        last: u32,
    },
    /// A person has compared a branch with the log that it leaves: up to `upto` nothing of it is in
    /// doubt any more.
    Ruling {
        /// The branch.
        log: LogId,
        /// The last fact that was looked at.
        upto: Seq,
    },
}

/// What a fact says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// An item moved, was counted or sold as a service.
    Movement(Movement),
    /// An earlier fact did not happen.
    Reversal {
        /// That fact.
        refers_to: Capture,
        /// Why.
        reason: Option<ReasonNo>,
    },
    /// Two facts are one event that was told twice: one has effect.
    SameAs {
        /// The one without effect.
        dropped: Capture,
        /// The one with effect.
        kept: Capture,
    },
    /// Facts whose time was in doubt happened at the time of this fact.
    Retime(Retime),
    /// One line of a supplier's invoice.
    SupplierInvoice(InvoiceLine),
    /// One line of an invoice to a customer.
    CustomerInvoice(InvoiceLine),
    /// Money in or out.
    Payment(Payment),
    /// A payment settles part of an open item.
    Allocation(Allocation),
    /// One line of a supplier's credit note.
    CreditNote(InvoiceLine),
    /// Cost that belongs to a receipt.
    LandedCost(LandedCost),
    /// A supplier lets the company off part of a bill for early payment.
    CashDiscount(CashDiscount),
    /// An amount added to the value of a pool.
    Revaluation(Revaluation),
    /// A new standard cost.
    StandardCost(StandardCost),
    /// A ledger month is closed, reopened or averaged.
    PeriodAction(PeriodAction),
    /// Goods are worth less than they cost.
    WriteDown(WriteDown),
    /// Master data with its valid-from.
    MasterData {
        /// From when it holds; `None` from the beginning.
        valid_from: Option<Timestamp>,
        /// What it says.
        data: MasterData,
    },
}

/// A well-formed fact that says nothing this version can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A kind of a later version, or one these rules do not cover.
    #[error("a fact of kind {0} is not understood by this version: update the program")]
    UnknownKind(u16),
    /// A field that the kind needs is missing.
    #[error("a {kind} needs {field}")]
    Missing {
        /// The kind.
        kind: Kind,
        /// The field.
        field: &'static str,
    },
    /// A field has a value that its meaning does not allow.
    #[error("the field {field} of a {kind} {why}")]
    BadValue {
        /// The kind.
        kind: Kind,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Reads the fields of one fact.
struct Reader<'a> {
    fields: &'a ByNumber<'a>,
    kind: Kind,
}

#[expect(
    clippy::inline_always,
    reason = "results that go through memory wait for each other: 20 ns a fact"
)]
impl Reader<'_> {
    fn bad(&self, field: &'static str, why: &'static str) -> Unreadable {
        Unreadable::BadValue { kind: self.kind, field, why }
    }

    #[inline(always)]
    fn need<T>(&self, field: &'static str, value: Option<T>) -> Result<T, Unreadable> {
        value.ok_or(Unreadable::Missing { kind: self.kind, field })
    }

    #[inline(always)]
    fn number<T>(
        &self,
        field: Field<Unsigned>,
        make: impl Fn(u32) -> T,
    ) -> Result<Option<T>, Unreadable> {
        field
            .at(self.fields)
            .map(|value| u32::try_from(value).map(&make))
            .transpose()
            .map_err(|_| self.bad(field.name, "is over 32 bits"))
    }

    #[inline(always)]
    fn needed_number<T>(
        &self,
        field: Field<Unsigned>,
        make: impl Fn(u32) -> T,
    ) -> Result<T, Unreadable> {
        self.number(field, make).and_then(|value| self.need(field.name, value))
    }

    #[inline(always)]
    fn scaled(
        &self,
        mantissa: Field<Signed>,
        exponent: Field<Signed>,
    ) -> Result<Option<Scaled>, Unreadable> {
        let Some(digits) = mantissa.at(self.fields) else { return Ok(None) };
        i8::try_from(exponent.at(self.fields).unwrap_or(0))
            .ok()
            .and_then(|exponent| Scaled::new(digits, exponent).ok())
            .map(Some)
            .ok_or_else(|| self.bad(mantissa.name, "is out of range"))
    }

    #[inline(always)]
    fn currency(&self) -> Result<Option<Currency>, Unreadable> {
        field::CURRENCY
            .at(self.fields)
            .map(Currency::from_bytes)
            .transpose()
            .map_err(|_| self.bad(field::CURRENCY.name, "is no currency code"))
    }

    #[inline(always)]
    fn price(
        &self,
        mantissa: Field<Signed>,
        exponent: Field<Signed>,
    ) -> Result<Option<Price>, Unreadable> {
        let Some(figure) = self.scaled(mantissa, exponent)? else { return Ok(None) };
        let currency = self.need(field::CURRENCY.name, self.currency()?)?;
        Ok(Some(Price { figure, currency }))
    }

    fn amount(&self) -> Result<Money, Unreadable> {
        let amount = self.need(field::AMOUNT.name, self.signed_amount()?)?;
        if amount.figure.mantissa() < 0 {
            return Err(self.bad(field::AMOUNT.name, "is not positive"));
        }
        Ok(amount)
    }

    /// An amount that may be negative, never zero.
    fn signed_amount(&self) -> Result<Option<Money>, Unreadable> {
        let Some(figure) = self.scaled(field::AMOUNT, field::AMOUNT_EXPONENT)? else {
            return Ok(None);
        };
        if figure.mantissa() == 0 {
            return Err(self.bad(field::AMOUNT.name, "is zero"));
        }
        let currency = self.need(field::CURRENCY.name, self.currency()?)?;
        Ok(Some(Money { figure, currency }))
    }

    #[inline(always)]
    fn measure(&self) -> Result<Measure, Unreadable> {
        let figure = self.scaled(field::QUANTITY, field::QUANTITY_EXPONENT)?;
        let unit = self.unit()?;
        Ok(Measure { figure: self.need(field::QUANTITY.name, figure)?, unit })
    }

    #[inline(always)]
    fn unit(&self) -> Result<Unit, Unreadable> {
        let bytes = self.need(field::UNIT.name, field::UNIT.at(self.fields))?;
        Unit::from_bytes(bytes).map_err(|_| self.bad(field::UNIT.name, "is no unit"))
    }

    #[inline(always)]
    fn capture(
        &self,
        device: Field<Unsigned>,
        counter: Field<Unsigned>,
    ) -> Result<Option<Capture>, Unreadable> {
        match (self.number(device, DeviceNo)?, counter.at(self.fields)) {
            (Some(device), Some(counter)) => Ok(Some(Capture { device, counter })),
            (None, None) => Ok(None),
            _ => Err(self.bad(device.name, "stands without its other half")),
        }
    }

    #[inline(always)]
    fn reference(&self) -> Result<Option<Capture>, Unreadable> {
        self.capture(field::REF_DEVICE, field::REF_COUNTER)
    }

    #[inline(always)]
    fn basis(&self) -> Result<Option<Capture>, Unreadable> {
        self.capture(field::BASIS_DEVICE, field::BASIS_COUNTER)
    }

    fn text(&self, field: Field<Bytes>) -> Result<String, Unreadable> {
        let text = field.at(self.fields).and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.need(field.name, text).map(str::to_owned)
    }

    #[inline(always)]
    fn short(&self, field: Field<Bytes>) -> Option<ShortText> {
        field.at(self.fields).map(ShortText::from_slice)
    }

    #[inline(always)]
    fn day(&self, field: Field<Signed>) -> Result<Option<Day>, Unreadable> {
        field
            .at(self.fields)
            .map(|days| i32::try_from(days).map(Day))
            .transpose()
            .map_err(|_| self.bad(field.name, "is no day"))
    }

    fn hash(&self, field: Field<Bytes>) -> Result<[u8; 32], Unreadable> {
        let bytes = self.need(field.name, field.at(self.fields))?;
        bytes.try_into().map_err(|_| self.bad(field.name, "is not 32 bytes"))
    }
}

impl Stamp {
    /// Reads what every fact carries.
    pub fn parse(fact: &Fact) -> Result<Self, Unreadable> {
        let kind = known_kind(fact)?;
        Self::read(&Reader { fields: &fact.by_number(), kind })
    }

    fn read(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let fields = reader.fields;
        let capture = reader.capture(field::CAPTURE_DEVICE, field::CAPTURE_COUNTER)?;
        let recorded_at = reader.need(field::RECORDED_AT.name, field::RECORDED_AT.at(fields))?;
        let occurred_at = field::OCCURRED_AT.at(fields).unwrap_or(recorded_at);
        let offset = reader.need(field::UTC_OFFSET.name, field::UTC_OFFSET.at(fields))?;
        let offset = i16::try_from(offset)
            .map_err(|_| reader.bad(field::UTC_OFFSET.name, "is over a day"))?;
        let group_left = field::GROUP_LEFT.at(fields).unwrap_or(0);
        let group_left = u16::try_from(group_left)
            .ok()
            .filter(|left| usize::from(*left) < GROUP_MAX)
            .ok_or_else(|| reader.bad(field::GROUP_LEFT.name, "is over the largest group"))?;
        Ok(Self {
            capture: reader.need(field::CAPTURE_DEVICE.name, capture)?,
            recorded_at: Timestamp(recorded_at),
            occurred_at: Timestamp(occurred_at),
            utc_offset: OffsetMinutes(offset),
            group_left,
            person: reader.number(field::PERSON, PersonNo)?,
            time_in_doubt: u8::try_from(field::TIME_IN_DOUBT.at(fields).unwrap_or(0))
                .unwrap_or(u8::MAX),
            company: reader.number(field::COMPANY, CompanyNo)?,
        })
    }

    /// Writes the stamp's fields into a fact.
    pub fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        let group_left = (self.group_left > 0).then_some(u64::from(self.group_left));
        let doubt = (self.time_in_doubt > 0).then_some(u64::from(self.time_in_doubt));
        let occurred = (self.occurred_at != self.recorded_at).then_some(self.occurred_at.0);
        field::CAPTURE_DEVICE.put(fact, Some(self.capture.device))?;
        field::CAPTURE_COUNTER.put(fact, Some(self.capture.counter))?;
        field::RECORDED_AT.put(fact, Some(self.recorded_at.0))?;
        field::OCCURRED_AT.put(fact, occurred)?;
        field::UTC_OFFSET.put(fact, Some(self.utc_offset.0))?;
        field::GROUP_LEFT.put(fact, group_left)?;
        field::PERSON.put(fact, self.person)?;
        field::TIME_IN_DOUBT.put(fact, doubt)?;
        field::COMPANY.put(fact, self.company)
    }
}

impl Movement {
    /// A movement with only what every kind has.
    pub fn new(kind: Kind, item: ItemNo, quantity: Measure) -> Self {
        Self {
            kind,
            item,
            quantity,
            price: None,
            cost: None,
            partner: None,
            reason: None,
            refers_to: None,
            order: None,
            other_site: None,
            lot: None,
            serial: None,
            expiry: None,
            document: None,
            tax_code: None,
            invoice_later: false,
            status: None,
        }
    }

    #[inline]
    fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let fields = reader.fields;
        let movement = Self {
            kind: reader.kind,
            item: reader.needed_number(field::ITEM, ItemNo)?,
            quantity: reader.measure()?,
            price: reader.price(field::PRICE, field::PRICE_EXPONENT)?,
            cost: reader.price(field::COST, field::COST_EXPONENT)?,
            partner: reader.number(field::PARTNER, PartnerNo)?,
            reason: reader.number(field::REASON, ReasonNo)?,
            refers_to: reader.reference()?,
            order: reader.basis()?,
            other_site: reader.number(field::SITE, SiteNo)?,
            lot: reader.short(field::LOT),
            serial: reader.short(field::SERIAL),
            expiry: reader.day(field::EXPIRY)?,
            document: reader.short(field::DOCUMENT),
            tax_code: field::TAX_CODE.at(fields),
            invoice_later: field::INVOICE_LATER.at(fields) == Some(1),
            status: field::STATUS.at(fields),
        };
        movement.check()?;
        Ok(movement)
    }

    /// What a movement of this kind must and must not have. The first failed rule wins.
    pub fn check(&self) -> Result<(), Unreadable> {
        let kind = self.kind;
        let bad = |field, why| Err(Unreadable::BadValue { kind, field, why });
        let mantissa = self.quantity.figure.mantissa();
        match kind {
            Kind::Adjustment | Kind::ServiceSale if mantissa == 0 => {
                return bad("QUANTITY", "is zero");
            }
            Kind::Count if mantissa < 0 => return bad("QUANTITY", "is negative"),
            Kind::Adjustment | Kind::ServiceSale | Kind::Count => {}
            _ if mantissa <= 0 => return bad("QUANTITY", "is not positive"),
            _ => {}
        }
        if self.price.is_some_and(|price| price.figure.mantissa() < 0) {
            return bad("PRICE", "is negative");
        }
        if self.cost.is_some_and(|cost| cost.figure.mantissa() < 0) {
            return bad("COST", "is negative");
        }
        let need = |field, present: bool| {
            if present { Ok(()) } else { Err(Unreadable::Missing { kind, field }) }
        };
        match kind {
            Kind::Receipt | Kind::SaleIssue | Kind::CustomerReturn | Kind::SupplierReturn => {
                need("PARTNER", self.partner.is_some())
            }
            Kind::ServiceSale => need("PARTNER", self.partner.is_some())
                .and_then(|()| need("PRICE", self.price.is_some())),
            Kind::TransferShip => need("SITE", self.other_site.is_some()),
            Kind::TransferReceive => need("REF_DEVICE", self.refers_to.is_some()),
            Kind::Adjustment | Kind::Scrap => need("REASON", self.reason.is_some()),
            Kind::StatusChange => need("STATUS", self.status.is_some()),
            _ => Ok(()),
        }
    }

    fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        // Ascending: whatever stands between others must be moved in.
        field::SITE.put(fact, self.other_site)?;
        field::ITEM.put(fact, Some(self.item))?;
        put_measure(fact, &self.quantity)?;
        put_price(fact, field::PRICE, field::PRICE_EXPONENT, self.price)?;
        put_price(fact, field::COST, field::COST_EXPONENT, self.cost)?;
        field::TAX_CODE.put(fact, self.tax_code)?;
        field::PARTNER.put(fact, self.partner)?;
        field::LOT.put(fact, self.lot.as_deref())?;
        field::SERIAL.put(fact, self.serial.as_deref())?;
        field::EXPIRY.put(fact, self.expiry.map(|day| day.0))?;
        field::REASON.put(fact, self.reason)?;
        field::DOCUMENT.put(fact, self.document.as_deref())?;
        put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, self.refers_to)?;
        put_capture(fact, field::BASIS_DEVICE, field::BASIS_COUNTER, self.order)?;
        field::INVOICE_LATER.put(fact, self.invoice_later.then_some(1u64))?;
        field::STATUS.put(fact, self.status)
    }
}

fn put_measures(
    fact: &mut Fact,
    item: ItemNo,
    weight: Option<Scaled>,
    volume: Option<Scaled>,
) -> Result<(), Malformed> {
    field::ITEM.put(fact, Some(item))?;
    if let Some(weight) = weight {
        put_scaled(fact, field::WEIGHT, field::WEIGHT_EXPONENT, weight)?;
    }
    volume.map_or(Ok(()), |volume| put_scaled(fact, field::VOLUME, field::VOLUME_EXPONENT, volume))
}

fn put_scaled(
    fact: &mut Fact,
    mantissa: Field<Signed>,
    exponent: Field<Signed>,
    figure: Scaled,
) -> Result<(), Malformed> {
    mantissa.put(fact, Some(figure.mantissa()))?;
    exponent.put(fact, (figure.exponent() != 0).then_some(figure.exponent()))
}

fn put_measure(fact: &mut Fact, measure: &Measure) -> Result<(), Malformed> {
    put_scaled(fact, field::QUANTITY, field::QUANTITY_EXPONENT, measure.figure)?;
    field::UNIT.put(fact, Some(measure.unit.as_bytes()))
}

fn put_price(
    fact: &mut Fact,
    mantissa: Field<Signed>,
    exponent: Field<Signed>,
    price: Option<Price>,
) -> Result<(), Malformed> {
    let Some(price) = price else { return Ok(()) };
    put_scaled(fact, mantissa, exponent, price.figure)?;
    field::CURRENCY.put(fact, Some(price.currency.as_bytes().as_slice()))
}

fn put_money(fact: &mut Fact, money: Money) -> Result<(), Malformed> {
    put_scaled(fact, field::AMOUNT, field::AMOUNT_EXPONENT, money.figure)?;
    field::CURRENCY.put(fact, Some(money.currency.as_bytes().as_slice()))
}

fn put_capture(
    fact: &mut Fact,
    device: Field<Unsigned>,
    counter: Field<Unsigned>,
    capture: Option<Capture>,
) -> Result<(), Malformed> {
    device.put(fact, capture.map(|capture| capture.device))?;
    counter.put(fact, capture.map(|capture| capture.counter))
}

impl InvoiceLine {
    fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let quantity = reader.measure()?;
        if quantity.figure.mantissa() <= 0 {
            return Err(reader.bad("QUANTITY", "is not positive"));
        }
        let price = reader.price(field::PRICE, field::PRICE_EXPONENT)?;
        let price = reader.need("PRICE", price)?;
        if price.figure.mantissa() < 0 {
            return Err(reader.bad("PRICE", "is negative"));
        }
        Ok(Self {
            partner: reader.needed_number(field::PARTNER, PartnerNo)?,
            refers_to: reader.need("REF_DEVICE", reader.reference()?)?,
            quantity,
            price,
            document: reader.short(field::DOCUMENT),
            document_date: reader.day(field::DOCUMENT_DATE)?,
            due_date: reader.day(field::DUE_DATE)?,
            tax_code: field::TAX_CODE.at(reader.fields),
        })
    }

    fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        put_measure(fact, &self.quantity)?;
        put_price(fact, field::PRICE, field::PRICE_EXPONENT, Some(self.price))?;
        field::TAX_CODE.put(fact, self.tax_code)?;
        field::PARTNER.put(fact, Some(self.partner))?;
        field::DOCUMENT.put(fact, self.document.as_deref())?;
        field::DOCUMENT_DATE.put(fact, self.document_date.map(|day| day.0))?;
        field::DUE_DATE.put(fact, self.due_date.map(|day| day.0))?;
        put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, Some(self.refers_to))
    }
}

impl Payment {
    fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let direction = match field::DIRECTION.at(reader.fields) {
            Some(1) => Direction::In,
            Some(2) => Direction::Out,
            Some(_) => return Err(reader.bad("DIRECTION", "is neither 1 (in) nor 2 (out)")),
            None => return reader.need("DIRECTION", None),
        };
        Ok(Self {
            partner: reader.needed_number(field::PARTNER, PartnerNo)?,
            direction,
            amount: reader.amount()?,
            account: reader.number(field::ACCOUNT, AccountNo)?,
            document: reader.short(field::DOCUMENT),
            document_date: reader.day(field::DOCUMENT_DATE)?,
        })
    }

    fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        put_money(fact, self.amount)?;
        field::PARTNER.put(fact, Some(self.partner))?;
        field::DOCUMENT.put(fact, self.document.as_deref())?;
        field::DOCUMENT_DATE.put(fact, self.document_date.map(|day| day.0))?;
        field::DIRECTION.put(fact, Some(self.direction as u8))?;
        field::ACCOUNT.put(fact, self.account)
    }
}

impl MasterData {
    /// The kind of fact that carries it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Company { .. } => Kind::Company,
            Self::Site { .. } => Kind::Site,
            Self::Category { .. } => Kind::Category,
            Self::Item { .. } => Kind::Item,
            Self::UnitConversion { .. } => Kind::UnitConversion,
            Self::Partner { .. } => Kind::Partner,
            Self::Reason { .. } => Kind::Reason,
            Self::Account { .. } => Kind::Account,
            Self::Mapping { .. } => Kind::Mapping,
            Self::Costing { .. } => Kind::Costing,
            Self::Policy { .. } => Kind::Policy,
            Self::Rate { .. } => Kind::Rate,
            Self::ItemMeasure { .. } => Kind::ItemMeasure,
            Self::HandledItem { .. } => Kind::HandledItem,
            Self::SiteLog { .. } => Kind::SiteLog,
            Self::Carrier { .. } => Kind::Carrier,
            Self::Rules { .. } => Kind::Rules,
            Self::Restored { .. } => Kind::Restored,
            Self::VoucherGap { .. } => Kind::VoucherGap,
            Self::Ruling { .. } => Kind::Ruling,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm per kind, each a list of its fields")]
    #[inline(never)] // else movements, which are far more, take a tenth longer to read
    fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let fields = reader.fields;
        let code = || reader.text(field::CODE);
        let name = || reader.text(field::NAME);
        let movement = || {
            let kind = |number| {
                u16::try_from(number)
                    .ok()
                    .and_then(|number| Kind::from_number(super::KindNo(number)))
            };
            field::MOVEMENT
                .at(fields)
                .map(|number| {
                    kind(number).ok_or_else(|| reader.bad("MOVEMENT", "is no known kind"))
                })
                .transpose()
        };
        Ok(match reader.kind {
            Kind::Company => {
                let zone = field::ZONE_OFFSET.at(fields).unwrap_or(0);
                let zone =
                    i16::try_from(zone).map_err(|_| reader.bad("ZONE_OFFSET", "is over a day"))?;
                Self::Company {
                    company: reader.needed_number(field::COMPANY, CompanyNo)?,
                    code: code()?,
                    name: name()?,
                    currency: reader.need("CURRENCY", reader.currency()?)?,
                    zone: OffsetMinutes(zone),
                    scope: match field::SCOPE.at(fields) {
                        None | Some(1) => CostScope::Site,
                        Some(2) => CostScope::Company,
                        Some(_) => return Err(reader.bad("SCOPE", "is neither 1 nor 2")),
                    },
                }
            }
            Kind::Site => Self::Site {
                site: reader.needed_number(field::SITE, SiteNo)?,
                company: reader.needed_number(field::COMPANY, CompanyNo)?,
                code: code()?,
                name: name()?,
            },
            Kind::Category => Self::Category {
                category: reader.needed_number(field::CATEGORY, CategoryNo)?,
                code: code()?,
                name: name()?,
            },
            Kind::Item => {
                let decimals = u8::try_from(field::DECIMALS.at(fields).unwrap_or(0))
                    .ok()
                    .filter(|decimals| *decimals <= 6)
                    .ok_or_else(|| reader.bad("DECIMALS", "is over 6"))?;
                Self::Item {
                    item: reader.needed_number(field::ITEM, ItemNo)?,
                    category: reader.needed_number(field::CATEGORY, CategoryNo)?,
                    code: code()?,
                    name: name()?,
                    unit: reader.unit()?,
                    decimals,
                    service: field::SERVICE.at(fields) == Some(1),
                    fallback_cost: reader.price(field::COST, field::COST_EXPONENT)?,
                }
            }
            Kind::UnitConversion => {
                let factor = |field: Field<Unsigned>| match field.at(fields) {
                    Some(value) if value > 0 && u32::try_from(value).is_ok() => Ok(value),
                    _ => Err(reader.bad(field.name, "is not between 1 and 4,294,967,295")),
                };
                Self::UnitConversion {
                    item: reader.needed_number(field::ITEM, ItemNo)?,
                    unit: reader.unit()?,
                    numerator: factor(field::FACTOR_NUMERATOR)?,
                    denominator: factor(field::FACTOR_DENOMINATOR)?,
                }
            }
            Kind::Partner => {
                let role = reader.need("PARTNER_ROLE", field::PARTNER_ROLE.at(fields))?;
                Self::Partner {
                    partner: reader.needed_number(field::PARTNER, PartnerNo)?,
                    code: code()?,
                    name: name()?,
                    customer: role & 1 == 1,
                    supplier: role & 2 == 2,
                }
            }
            Kind::Reason => Self::Reason {
                reason: reader.needed_number(field::REASON, ReasonNo)?,
                code: code()?,
                name: name()?,
                movement: movement()?,
            },
            Kind::Account => {
                let number = reader.need("ACCOUNT_TYPE", field::ACCOUNT_TYPE.at(fields))?;
                Self::Account {
                    account: reader.needed_number(field::ACCOUNT, AccountNo)?,
                    company: reader.needed_number(field::COMPANY, CompanyNo)?,
                    code: code()?,
                    name: name()?,
                    account_type: AccountType::from_number(number)
                        .ok_or_else(|| reader.bad("ACCOUNT_TYPE", "is not 1 to 5"))?,
                }
            }
            Kind::Mapping => {
                let role = reader.need("ROLE", field::ROLE.at(fields))?;
                Self::Mapping {
                    company: reader.needed_number(field::COMPANY, CompanyNo)?,
                    role: Role::from_number(role)
                        .ok_or_else(|| reader.bad("ROLE", "is no known role"))?,
                    account: reader.needed_number(field::ACCOUNT, AccountNo)?,
                    category: reader.number(field::CATEGORY, CategoryNo)?,
                    site: reader.number(field::SITE, SiteNo)?,
                    movement: movement()?,
                    reason: reader.number(field::REASON, ReasonNo)?,
                }
            }
            Kind::Costing => {
                let method = reader.need("METHOD", field::METHOD.at(fields))?;
                Self::Costing {
                    company: reader.needed_number(field::COMPANY, CompanyNo)?,
                    category: reader.number(field::CATEGORY, CategoryNo)?,
                    method: CostMethod::from_number(method)
                        .ok_or_else(|| reader.bad("METHOD", "is no known costing method"))?,
                }
            }
            Kind::Policy => {
                let policy = reader.need("POLICY", field::POLICY.at(fields))?;
                let policy = PolicyKind::from_number(policy)
                    .ok_or_else(|| reader.bad("POLICY", "is no known policy"))?;
                let setting = reader.need("SETTING", field::SETTING.at(fields))?;
                let site = reader.number(field::SITE, SiteNo)?;
                if !policy.is_of_company() {
                    return Ok(Self::Policy { company: None, site, policy, setting });
                }
                if site.is_some() {
                    return Err(reader.bad("SITE", "stands in a policy of a whole company"));
                }
                if policy.word_of(setting).is_none() {
                    return Err(reader.bad("SETTING", "is no choice of that policy"));
                }
                let company = Some(reader.needed_number(field::COMPANY, CompanyNo)?);
                Self::Policy { company, site, policy, setting }
            }
            Kind::Rate => {
                let rate = reader.scaled(field::RATE, field::RATE_EXPONENT)?;
                let rate = reader.need("RATE", rate)?;
                if rate.mantissa() <= 0 {
                    return Err(reader.bad("RATE", "is not positive"));
                }
                let until = field::VALID_UNTIL.at(fields);
                Self::Rate {
                    company: reader.needed_number(field::COMPANY, CompanyNo)?,
                    currency: reader.need("CURRENCY", reader.currency()?)?,
                    rate,
                    until: Timestamp(reader.need("VALID_UNTIL", until)?),
                }
            }
            Kind::ItemMeasure => {
                let measure =
                    |digits: Field<Signed>, exponent| match reader.scaled(digits, exponent)? {
                        Some(figure) if figure.mantissa() <= 0 => {
                            Err(reader.bad(digits.name, "is not positive"))
                        }
                        figure => Ok(figure),
                    };
                let weight = measure(field::WEIGHT, field::WEIGHT_EXPONENT)?;
                let volume = measure(field::VOLUME, field::VOLUME_EXPONENT)?;
                if volume.is_none() {
                    reader.need("WEIGHT", weight)?;
                }
                let item = reader.needed_number(field::ITEM, ItemNo)?;
                Self::ItemMeasure { item, weight, volume }
            }
            Kind::HandledItem => Self::HandledItem {
                site: reader.needed_number(field::SITE, SiteNo)?,
                item: reader.needed_number(field::ITEM, ItemNo)?,
            },
            Kind::SiteLog => Self::SiteLog {
                site: reader.needed_number(field::SITE, SiteNo)?,
                device: reader.needed_number(field::NUMBER, DeviceNo)?,
                log: LogId(reader.hash(field::LOG)?),
                public_key: reader.hash(field::PUBLIC_KEY)?,
                revoked: match field::STATUS.at(fields) {
                    None => false,
                    Some(LOG_REVOKED) => true,
                    Some(_) => return Err(reader.bad("STATUS", "is not 2")),
                },
            },
            Kind::Carrier => Self::Carrier {
                site: reader.needed_number(field::SITE, SiteNo)?,
                carrier: reader.needed_number(field::NUMBER, SiteNo)?,
                allowed: match reader.need("STATUS", field::STATUS.at(fields))? {
                    CARRIER_MAY => true,
                    CARRIER_MAY_NOT => false,
                    _ => return Err(reader.bad("STATUS", "is not 1 or 2")),
                },
            },
            Kind::Rules => {
                Self::Rules { number: reader.need("SETTING", field::SETTING.at(fields))? }
            }
            Kind::Restored => Self::Restored {
                log: LogId(reader.hash(field::LOG)?),
                after: Seq(reader.need("LOG_SEQ", field::LOG_SEQ.at(fields))?),
                skipped: reader.needed_number(field::NUMBER, std::convert::identity)?,
                lost: reader.capture(field::REF_DEVICE, field::REF_COUNTER)?,
            },
            Kind::Ruling => Self::Ruling {
                log: LogId(reader.hash(field::LOG)?),
                upto: Seq(reader.need("LOG_SEQ", field::LOG_SEQ.at(fields))?),
            },
            Kind::VoucherGap => Self::VoucherGap {
                company: reader.needed_number(field::COMPANY, CompanyNo)?,
                month: periods::month(reader)?,
                last: reader.needed_number(field::NUMBER, std::convert::identity)?,
            },
            other => return Err(Unreadable::UnknownKind(other.number().0)),
        })
    }

    #[expect(clippy::too_many_lines, reason = "one arm per kind, each a list of its fields")]
    fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        let put_named = |fact: &mut Fact, code: &str, name: &str| {
            field::CODE.put(fact, Some(code.as_bytes()))?;
            field::NAME.put(fact, Some(name.as_bytes()))
        };
        match self {
            Self::Company { company, code, name, currency, zone, scope } => {
                field::COMPANY.put(fact, Some(*company))?;
                put_named(fact, code, name)?;
                field::CURRENCY.put(fact, Some(currency.as_bytes().as_slice()))?;
                field::ZONE_OFFSET.put(fact, Some(zone.0))?;
                field::SCOPE.put(fact, Some(*scope as u8))
            }
            Self::Site { site, company, code, name } => {
                field::SITE.put(fact, Some(*site))?;
                field::COMPANY.put(fact, Some(*company))?;
                put_named(fact, code, name)
            }
            Self::Category { category, code, name } => {
                field::CATEGORY.put(fact, Some(*category))?;
                put_named(fact, code, name)
            }
            Self::Item { item, category, code, name, unit, decimals, service, fallback_cost } => {
                field::ITEM.put(fact, Some(*item))?;
                field::CATEGORY.put(fact, Some(*category))?;
                put_named(fact, code, name)?;
                field::UNIT.put(fact, Some(unit.as_bytes()))?;
                field::DECIMALS.put(fact, Some(*decimals))?;
                field::SERVICE.put(fact, service.then_some(1u64))?;
                put_price(fact, field::COST, field::COST_EXPONENT, *fallback_cost)
            }
            Self::UnitConversion { item, unit, numerator, denominator } => {
                field::ITEM.put(fact, Some(*item))?;
                field::UNIT.put(fact, Some(unit.as_bytes()))?;
                field::FACTOR_NUMERATOR.put(fact, Some(*numerator))?;
                field::FACTOR_DENOMINATOR.put(fact, Some(*denominator))
            }
            Self::Partner { partner, code, name, customer, supplier } => {
                field::PARTNER.put(fact, Some(*partner))?;
                put_named(fact, code, name)?;
                field::PARTNER_ROLE
                    .put(fact, Some(u64::from(*customer) | u64::from(*supplier) << 1))
            }
            Self::Reason { reason, code, name, movement } => {
                field::REASON.put(fact, Some(*reason))?;
                put_named(fact, code, name)?;
                field::MOVEMENT.put(fact, movement.map(|kind| u64::from(kind.number().0)))
            }
            Self::Account { account, company, code, name, account_type } => {
                field::ACCOUNT.put(fact, Some(*account))?;
                field::COMPANY.put(fact, Some(*company))?;
                put_named(fact, code, name)?;
                field::ACCOUNT_TYPE.put(fact, Some(*account_type as u8))
            }
            Self::Mapping { company, role, account, category, site, movement, reason } => {
                field::COMPANY.put(fact, Some(*company))?;
                field::ROLE.put(fact, Some(*role as u8))?;
                field::ACCOUNT.put(fact, Some(*account))?;
                field::CATEGORY.put(fact, *category)?;
                field::SITE.put(fact, *site)?;
                field::MOVEMENT.put(fact, movement.map(|kind| u64::from(kind.number().0)))?;
                field::REASON.put(fact, *reason)
            }
            Self::Costing { company, category, method } => {
                field::COMPANY.put(fact, Some(*company))?;
                field::CATEGORY.put(fact, *category)?;
                field::METHOD.put(fact, Some(*method as u8))
            }
            Self::Policy { company, site, policy, setting } => {
                if company.is_some() {
                    field::COMPANY.put(fact, *company)?;
                }
                field::SITE.put(fact, *site)?;
                field::POLICY.put(fact, Some(*policy as u8))?;
                field::SETTING.put(fact, Some(*setting))
            }
            Self::Rate { company, currency, rate, until } => {
                field::COMPANY.put(fact, Some(*company))?;
                field::CURRENCY.put(fact, Some(currency.as_bytes().as_slice()))?;
                put_scaled(fact, field::RATE, field::RATE_EXPONENT, *rate)?;
                field::VALID_UNTIL.put(fact, Some(until.0))
            }
            Self::ItemMeasure { item, weight, volume } => {
                put_measures(fact, *item, *weight, *volume)
            }
            Self::HandledItem { site, item } => {
                field::SITE.put(fact, Some(*site))?;
                field::ITEM.put(fact, Some(*item))
            }
            Self::SiteLog { site, device, log, public_key, revoked } => {
                field::SITE.put(fact, Some(*site))?;
                field::NUMBER.put(fact, Some(*device))?;
                field::STATUS.put(fact, revoked.then_some(LOG_REVOKED))?;
                field::LOG.put(fact, Some(log.0.as_slice()))?;
                field::PUBLIC_KEY.put(fact, Some(public_key.as_slice()))
            }
            Self::Carrier { site, carrier, allowed } => {
                field::SITE.put(fact, Some(*site))?;
                field::NUMBER.put(fact, Some(*carrier))?;
                field::STATUS.put(fact, Some(if *allowed { CARRIER_MAY } else { CARRIER_MAY_NOT }))
            }
            Self::Rules { number } => field::SETTING.put(fact, Some(*number)),
            Self::Restored { log, after, skipped, lost } => {
                put_capture(fact, field::REF_DEVICE, field::REF_COUNTER, *lost)?;
                field::LOG.put(fact, Some(log.0.as_slice()))?;
                field::LOG_SEQ.put(fact, Some(*after))?;
                field::NUMBER.put(fact, Some(*skipped))
            }
            Self::Ruling { log, upto } => {
                field::LOG.put(fact, Some(log.0.as_slice()))?;
                field::LOG_SEQ.put(fact, Some(*upto))
            }
            Self::VoucherGap { company, month, last } => {
                field::COMPANY.put(fact, Some(*company))?;
                periods::put_month(fact, *month)?;
                field::NUMBER.put(fact, Some(*last))
            }
        }
    }
}

/// What the field `STATUS` says of a carrier.
const CARRIER_MAY: u64 = 1;
const CARRIER_MAY_NOT: u64 = 2;

/// What the field `STATUS` says of a site's log whose installation HQ has revoked.
const LOG_REVOKED: u64 = 2;

/// Reads what a fact carries and what it says, for the price of one: the same as [`Stamp::parse`]
/// and [`Statement::parse`].
pub fn parse_fact(fact: &Fact) -> (Result<Stamp, Unreadable>, Result<Statement, Unreadable>) {
    match known_kind(fact) {
        Ok(kind) => {
            let reader = Reader { fields: &fact.by_number(), kind };
            (Stamp::read(&reader), Statement::read(&reader))
        }
        Err(unknown) => (Err(unknown.clone()), Err(unknown)),
    }
}

fn known_kind(fact: &Fact) -> Result<Kind, Unreadable> {
    fact.kind().ok_or(Unreadable::UnknownKind(fact.kind_no().0))
}

impl Statement {
    /// Reads what a fact says.
    pub fn parse(fact: &Fact) -> Result<Self, Unreadable> {
        let kind = known_kind(fact)?;
        Self::read(&Reader { fields: &fact.by_number(), kind })
    }

    fn read(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let kind = reader.kind;
        Ok(match kind {
            Kind::Reversal => Self::Reversal {
                refers_to: reader.need("REF_DEVICE", reader.reference()?)?,
                reason: reader.number(field::REASON, ReasonNo)?,
            },
            Kind::SameAs => Self::SameAs {
                dropped: reader.need("REF_DEVICE", reader.reference()?)?,
                kept: reader.need("BASIS_DEVICE", reader.basis()?)?,
            },
            Kind::Retime => Self::Retime(Retime::parse(reader)?),
            Kind::SupplierInvoice => Self::SupplierInvoice(InvoiceLine::parse(reader)?),
            Kind::CustomerInvoice => Self::CustomerInvoice(InvoiceLine::parse(reader)?),
            Kind::CreditNote => Self::CreditNote(costs::parse_credit(reader)?),
            Kind::LandedCost => Self::LandedCost(LandedCost::parse(reader)?),
            Kind::CashDiscount => Self::CashDiscount(CashDiscount::parse(reader)?),
            Kind::Revaluation => Self::Revaluation(Revaluation::parse(reader)?),
            Kind::StandardCost => Self::StandardCost(StandardCost::parse(reader)?),
            Kind::PeriodAction => Self::PeriodAction(PeriodAction::parse(reader)?),
            Kind::WriteDown => Self::WriteDown(WriteDown::parse(reader)?),
            Kind::Payment => Self::Payment(Payment::parse(reader)?),
            Kind::Allocation => Self::Allocation(Allocation {
                open_item: reader.need("REF_DEVICE", reader.reference()?)?,
                payment: reader.need("BASIS_DEVICE", reader.basis()?)?,
                amount: reader.amount()?,
            }),
            _ if kind.is_movement() => Self::Movement(Movement::parse(reader)?),
            _ if kind.is_master_data() => Self::MasterData {
                valid_from: field::VALID_FROM.at(reader.fields).map(Timestamp),
                data: MasterData::parse(reader)?,
            },
            other => return Err(Unreadable::UnknownKind(other.number().0)),
        })
    }

    /// The ship that it receives goods of.
    pub fn received_ship(&self) -> Option<Capture> {
        match self {
            Self::Movement(movement) if movement.kind == Kind::TransferReceive => {
                movement.refers_to
            }
            _ => None,
        }
    }

    /// The kind of fact that says it.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Movement(movement) => movement.kind,
            Self::Reversal { .. } => Kind::Reversal,
            Self::SameAs { .. } => Kind::SameAs,
            Self::Retime(_) => Kind::Retime,
            Self::SupplierInvoice(_) => Kind::SupplierInvoice,
            Self::CustomerInvoice(_) => Kind::CustomerInvoice,
            Self::Payment(_) => Kind::Payment,
            Self::Allocation(_) => Kind::Allocation,
            Self::CreditNote(_) => Kind::CreditNote,
            Self::LandedCost(_) => Kind::LandedCost,
            Self::CashDiscount(_) => Kind::CashDiscount,
            Self::Revaluation(_) => Kind::Revaluation,
            Self::StandardCost(_) => Kind::StandardCost,
            Self::PeriodAction(_) => Kind::PeriodAction,
            Self::WriteDown(_) => Kind::WriteDown,
            Self::MasterData { data, .. } => data.kind(),
        }
    }

    /// The fact that says it. Fails only on texts over the size of a field.
    pub fn to_fact(&self, stamp: &Stamp) -> Result<Fact, Malformed> {
        let mut fact = Fact::new(self.kind());
        stamp.put(&mut fact)?;
        match self {
            Self::Movement(movement) => movement.put(&mut fact)?,
            Self::SameAs { dropped, kept } => {
                put_capture(&mut fact, field::REF_DEVICE, field::REF_COUNTER, Some(*dropped))?;
                put_capture(&mut fact, field::BASIS_DEVICE, field::BASIS_COUNTER, Some(*kept))?;
            }
            Self::Reversal { refers_to, reason } => {
                put_capture(&mut fact, field::REF_DEVICE, field::REF_COUNTER, Some(*refers_to))?;
                field::REASON.put(&mut fact, *reason)?;
            }
            Self::Retime(retime) => retime.put(&mut fact)?,
            Self::SupplierInvoice(line) | Self::CustomerInvoice(line) => line.put(&mut fact)?,
            Self::CreditNote(line) => costs::put_credit(line, &mut fact)?,
            Self::LandedCost(landed) => landed.put(&mut fact)?,
            Self::CashDiscount(discount) => discount.put(&mut fact)?,
            Self::Revaluation(revaluation) => revaluation.put(&mut fact)?,
            Self::StandardCost(standard) => standard.put(&mut fact)?,
            Self::PeriodAction(action) => action.put(&mut fact)?,
            Self::WriteDown(write_down) => write_down.put(&mut fact)?,
            Self::Payment(payment) => payment.put(&mut fact)?,
            Self::Allocation(allocation) => {
                let Allocation { open_item, payment, amount } = allocation;
                put_capture(&mut fact, field::REF_DEVICE, field::REF_COUNTER, Some(*open_item))?;
                put_capture(&mut fact, field::BASIS_DEVICE, field::BASIS_COUNTER, Some(*payment))?;
                put_money(&mut fact, *amount)?;
            }
            Self::MasterData { valid_from, data } => {
                field::VALID_FROM.put(&mut fact, valid_from.map(|from| from.0))?;
                data.put(&mut fact)?;
            }
        }
        Ok(fact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::generated::{self, Chance};

    /// A stamp by one look-up for each field; `None` where something is missing or out of range.
    fn stamp_by_look_ups(fact: &Fact) -> Option<Stamp> {
        let number = |field: Field<Unsigned>| match field.of(fact).map(u32::try_from) {
            None => Some(None),
            Some(Ok(number)) => Some(Some(number)),
            Some(Err(_)) => None,
        };
        let recorded_at = field::RECORDED_AT.of(fact)?;
        Some(Stamp {
            capture: Capture {
                device: DeviceNo(number(field::CAPTURE_DEVICE)??),
                counter: field::CAPTURE_COUNTER.of(fact)?,
            },
            recorded_at: Timestamp(recorded_at),
            occurred_at: Timestamp(field::OCCURRED_AT.of(fact).unwrap_or(recorded_at)),
            utc_offset: OffsetMinutes(field::UTC_OFFSET.of(fact)?.try_into().ok()?),
            group_left: field::GROUP_LEFT.of(fact).unwrap_or(0).try_into().ok()?,
            person: number(field::PERSON)?.map(PersonNo),
            time_in_doubt: field::TIME_IN_DOUBT.of(fact).unwrap_or(0).try_into().unwrap_or(255),
            company: number(field::COMPANY)?.map(CompanyNo),
        })
        .filter(|stamp| usize::from(stamp.group_left) < GROUP_MAX)
    }

    #[test]
    fn both_at_once_are_as_each_alone_and_as_single_look_ups() {
        let mut counts = [0u32; 3];
        for seed in 0..20_000 {
            let mut fact = generated::fact(seed);
            let mut chance = Chance::new(seed);
            for (field, limit) in [
                (field::CAPTURE_DEVICE, 1 << 33),
                (field::CAPTURE_COUNTER, 1 << 40),
                (field::GROUP_LEFT, 300),
                (field::PERSON, 1 << 33),
                (field::ITEM, 1 << 20),
            ] {
                let value = (chance.below(8) > 0).then(|| chance.below(limit));
                let _ = field.put(&mut fact, value);
            }
            for (field, limit) in [(field::RECORDED_AT, 1 << 42), (field::UTC_OFFSET, 1 << 16)] {
                let value = (chance.below(8) > 0).then(|| chance.below(limit).cast_signed());
                let _ = field.put(&mut fact, value);
            }
            let _ = field::QUANTITY.put(&mut fact, Some(7));
            let _ = field::UNIT.put(&mut fact, Some(b"EA".as_slice()));
            let _ = field::CURRENCY.put(&mut fact, Some(b"CNY".as_slice()));
            let (stamp, statement) = parse_fact(&fact);
            assert_eq!(stamp, Stamp::parse(&fact), "seed {seed}");
            assert_eq!(statement, Statement::parse(&fact), "seed {seed}");
            if fact.kind().is_some() {
                assert_eq!(stamp.clone().ok(), stamp_by_look_ups(&fact), "seed {seed}: {fact:?}");
            } else {
                assert_eq!(stamp, Err(Unreadable::UnknownKind(fact.kind_no().0)));
                counts[0] += 1;
            }
            counts[1] += u32::from(stamp.is_ok());
            if let Ok(Statement::Movement(movement)) = statement {
                let item = field::ITEM.of(&fact).and_then(|item| item.try_into().ok());
                assert_eq!(Some(movement.item), item.map(ItemNo));
                assert_eq!(movement.lot.as_deref(), field::LOT.of(&fact));
                assert_eq!(movement.document.as_deref(), field::DOCUMENT.of(&fact));
                assert_eq!(movement.tax_code, field::TAX_CODE.of(&fact));
                assert_eq!(movement.status, field::STATUS.of(&fact));
                counts[2] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }
}
