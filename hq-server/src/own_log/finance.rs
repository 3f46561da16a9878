//! Invoices and payments before they are recorded: codes become numbers, and what they name must be
//! in the books. Pure.

mod costs;
mod discounts;
mod periods;
mod retimes;

use shared::catalogue::Catalogue;
use shared::decimal::{self, DecimalError};
use shared::fact::Kind;
use shared::fact::statement::{
    Allocation, Direction, InvoiceLine, Measure, Money, Payment, SharedBy, Statement,
};
use shared::ids::{Capture, CompanyNo, NotACapture, PartnerNo, Seq};
use shared::money::{Amount, Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{Day, Month, OffsetMinutes, Timestamp};

use super::Group;
use crate::books::Books;
pub use costs::{
    LandedCostDraft, LandedOnDraft, PoolDraft, RevaluationDraft, StandardCostDraft, WriteDownDraft,
};
pub use discounts::DiscountDraft;
pub use periods::PeriodDraft;
pub use retimes::{LogOfSite, RetimeDraft, known_closely};

/// Noon: a document states a day, and its fact needs a time in it.
const NOON_MS: i64 = 12 * 3_600_000;

/// Why an invoice or payment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinanceError {
    /// There is no company.
    #[error("there is no company yet: run 'hq-server init'")]
    NoCompany,
    /// Not a partner's code.
    #[error("there is no partner '{0}': see 'hq-server partner list'")]
    UnknownPartner(String),
    /// On the wrong side.
    #[error("partner '{partner}' is no {needed}: enter it for another partner, or change this one")]
    WrongSide {
        /// The partner's code.
        partner: String,
        /// What it would have to be.
        needed: &'static str,
    },
    /// Not an account's code.
    #[error("there is no account '{0}': see 'hq-server account list'")]
    UnknownAccount(String),
    /// Not a capture id.
    #[error(transparent)]
    NotACapture(#[from] NotACapture),
    /// What is named is not in the books.
    #[error("{0} is not in the books: wait until its site has sent it, or check the number")]
    NotInBooks(Capture),
    /// What is named is something else.
    #[error("{capture} is a {found}, not a {needed}")]
    WrongKind {
        /// What is named.
        capture: Capture,
        /// What it is.
        found: Kind,
        /// What it should be.
        needed: &'static str,
    },
    /// What is named is of another partner.
    #[error("{0} is of another partner")]
    OtherPartner(Capture),
    /// What is named stands in the books of another company.
    #[error("{what} is of company '{company}': add --company {company}")]
    OtherCompany {
        /// A fact or a site.
        what: String,
        /// The company's code.
        company: String,
    },
    /// It is void already.
    #[error("{0} is void already: see 'hq-server report fact {0}'")]
    Void(Capture),
    /// They can't be one event.
    #[error("{dropped} and {kept} are of another kind, site or item: they can't be one event")]
    NotTheSame {
        /// The one to have no effect.
        dropped: Capture,
        /// The one to have effect.
        kept: Capture,
    },
    /// Not a figure.
    #[error(transparent)]
    BadFigure(#[from] DecimalError),
    /// Not more than nothing.
    #[error("{what} must be more than nothing, not '{written}'")]
    NotPositive {
        /// Which figure.
        what: &'static str,
        /// What was written.
        written: String,
    },
    /// More decimals than the currency has.
    #[error("an amount in {currency} has at most {} decimals, not '{written}'", currency.decimals())]
    TooManyDecimals {
        /// The currency.
        currency: Currency,
        /// What was written.
        written: String,
    },
    /// Not a unit.
    #[error("'{0}' is no unit of the item")]
    BadUnit(String),
    /// Not a currency.
    #[error("'{0}' is no currency: three capital letters, for example USD")]
    BadCurrency(String),
    /// What customers owe is in the company's currency.
    #[error("an invoice to a customer is in {0}, the currency of the books")]
    OwnCurrencyOnly(Currency),
    /// A day that has not come.
    #[error("{0} lies in the future: enter the document on its day")]
    Future(Day),
    /// No line.
    #[error("a document needs at least one line")]
    NoLines,
    /// Not a word of sharing.
    #[error("'{0}' is no way to share a bill: write quantity, value, weight or volume")]
    UnknownBasis(String),
    /// A receipt in one bill twice.
    #[error("{0} is named twice: name each receipt once")]
    Twice(Capture),
    /// By weight without one.
    #[error(
        "a bill shared by {word} needs that of every receipt: say what one unit of item '{item}' has \
         with 'hq-server item set-measure {item} --{word} FIGURE', or write {receipt}=FIGURE for all",
        word = by.word()
    )]
    NoWeight {
        /// The item.
        item: String,
        /// How it is shared.
        by: SharedBy,
        /// The receipt without one.
        receipt: Capture,
    },
    /// Figures beyond what can be shared.
    #[error("the figures are too large to share: use a larger unit")]
    TooLarge,
    /// No amount.
    #[error("an amount of nothing changes nothing: write another one")]
    Nothing,
    /// Not an item's code.
    #[error("there is no item '{0}': see 'hq-server item list'")]
    UnknownItem(String),
    /// Not a site's code.
    #[error("there is no site '{0}': see 'hq-server site list'")]
    UnknownSite(String),
    /// Not a category's code.
    #[error("there is no category '{0}': see 'hq-server category list'")]
    UnknownCategory(String),
    /// Not a reason's code.
    #[error("there is no reason '{0}': see 'hq-server reason list'")]
    UnknownReason(String),
    /// Each site is a pool.
    #[error("each site costs its own goods: say at which one with --site")]
    NameASite,
    /// Nothing to revalue.
    #[error("nothing of item '{0}' is on hand there: there is no value to change")]
    NothingThere(String),
    /// Nothing ever moved.
    #[error("item '{0}' never moved: change the item's cost instead, with 'hq-server item change'")]
    NoPool(String),
    /// Another item's.
    #[error("{0} is a receipt of another item")]
    OtherItem(Capture),
    /// Lots need their pools from their first movement.
    #[error("lots are costed each by itself from their first movement: add --from-the-beginning")]
    LotsFromTheBeginning,
    /// A month that is not over.
    #[error("{0} is not over: close it when it is")]
    NotOver(Month),
    /// A month that is open.
    #[error("{0} is open: see 'hq-server period list'")]
    NotClosed(Month),
    /// A reopening without a reason.
    #[error("say why a closed month is reopened: add --reason CODE")]
    ReopeningNeedsReason,
    /// Something waits.
    #[error(
        "{waiting} groups of facts wait and would be posted after {month}: see 'hq-server report \
         set-aside', or close with --despite-waiting"
    )]
    Waiting {
        /// The month to be closed.
        month: Month,
        /// How many wait.
        waiting: usize,
    },
    /// Something may belong to the month, and nobody knows.
    #[error(
        "nobody knows when {waiting} groups of facts happened, and {month} may be theirs: see \
         'hq-server report in-doubt', say so with 'hq-server retime', or close with \
         --despite-waiting"
    )]
    TimeInDoubt {
        /// The month to be closed.
        month: Month,
        /// How many there are.
        waiting: usize,
    },
    /// The last fact stands before the first.
    #[error("fact {last} stands before fact {first}: name the first one first")]
    BackwardsRange {
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
    /// HQ does not have it.
    #[error(
        "HQ has no fact {seq} of site '{site}': wait until it has sent it, or see 'hq-server report \
         in-doubt'"
    )]
    NotReceived {
        /// The site's code.
        site: String,
        /// The place in its log.
        seq: Seq,
    },
    /// Its time stands.
    #[error(
        "the clock of site '{site}' was not in doubt at fact {seq}: its time stands; see 'hq-server \
         report in-doubt'"
    )]
    NotInDoubt {
        /// The site's code.
        site: String,
        /// The place in its log.
        seq: Seq,
    },
    /// It is not clear which log is meant.
    #[error(
        "more than one installation of site '{site}' has a fact {seq} in doubt: name one with --device"
    )]
    SeveralLogs {
        /// The site's code.
        site: String,
        /// The place in their logs.
        seq: Seq,
    },
    /// What HQ has happened before it came.
    #[error("HQ received fact {seq} at {received}: it can't have happened after that")]
    AfterReceipt {
        /// The place in its log.
        seq: Seq,
        /// When HQ received it.
        received: Timestamp,
    },
    /// Not a time.
    #[error("'{0}' is no time: write YEAR-MONTH-DAYTHOUR:MINUTE, for example 2026-11-24T16:30")]
    NotATime(String),
    /// A log was continued twice.
    #[error(
        "a box of site '{site}' was copied or restored, and both parts of its log are booked: see \
         'hq-server status', void what was told twice, then close {month} with --despite-doubt"
    )]
    Doubtful {
        /// The month to be closed.
        month: Month,
        /// The site's code.
        site: String,
    },
    /// Below nothing.
    #[error("the goods stand at {0} after earlier write-downs: they can't lose more than that")]
    MoreThanCarried(String),
    /// More is taken back than was written down.
    #[error("{0} of earlier write-downs is left: no more can be taken back")]
    MoreThanWrittenDown(String),
    /// Barred by the standards that the company chose.
    #[error(
        "taking back a write-down is barred in this company (policy write_down_reversal): it stands \
         until the goods are gone; where its standards allow it, 'hq-server policy set \
         write_down_reversal allowed'"
    )]
    WriteDownStands,
    /// Barred by the standards that the company chose.
    #[error(
        "last in, first out is barred in this company (policy lifo): choose moving_average, fifo, \
         standard or specific; where its standards allow it, 'hq-server policy set lifo allowed'"
    )]
    LifoBarred,
    /// More is let off than is owed.
    #[error("{owed} would still be owed for {bill} without it: a discount can't be more than that")]
    MoreThanOwed {
        /// The bill.
        bill: Capture,
        /// What is open of it.
        owed: String,
    },
    /// A customer's payment grants nothing to the company.
    #[error("a discount is what a supplier lets the company off: enter it with a payment out")]
    NoDiscountInward,
    /// More is allocated than paid.
    #[error("the allocations are more than the payment of {0}")]
    OverAllocated(String),
}

/// An invoice, either side.
#[derive(Clone, Debug, Default)]
pub struct InvoiceDraft {
    /// The partner's code.
    pub partner: String,
    /// The invoice's number.
    pub document: Option<String>,
    /// Its date.
    pub date: Option<Day>,
    /// When it is due.
    pub due: Option<Day>,
    /// The currency of its prices; the company's where absent.
    pub currency: Option<String>,
    /// Its lines.
    pub lines: Vec<InvoiceLineDraft>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Default)]
pub struct InvoiceLineDraft {
    /// The receipt or the shipment it invoices, as a capture id.
    pub of: String,
    /// How much; all of it where absent.
    pub quantity: Option<String>,
    /// The unit of the quantity; the item's base unit where absent.
    pub unit: Option<String>,
    /// The price of one unit, without tax.
    pub price: String,
}

/// A payment.
#[derive(Clone, Debug, Default)]
pub struct PaymentDraft {
    /// The partner's code.
    pub partner: String,
    /// In from a customer; else out to a supplier.
    pub inward: bool,
    /// How much.
    pub amount: String,
    /// The bank or cash account's code.
    pub account: Option<String>,
    /// The bank statement's number.
    pub document: Option<String>,
    /// The bank's date.
    pub date: Option<Day>,
    /// What it settles.
    pub allocations: Vec<AllocationDraft>,
    /// What the supplier lets the company off for it, bill by bill.
    pub discounts: Vec<AllocationDraft>,
}

/// Part of a payment that settles an open item.
#[derive(Clone, Debug, Default)]
pub struct AllocationDraft {
    /// The open item, as a capture id.
    pub of: String,
    /// How much.
    pub amount: String,
}

/// What drafts are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    catalogue: &'a Catalogue,
    books: &'a Books,
    now: Timestamp,
    company: CompanyNo,
    currency: Currency,
    zone: OffsetMinutes,
}

impl<'a> Desk<'a> {
    /// A company's desk: what it states is of that company's books, and so is what it names.
    pub fn new(
        catalogue: &'a Catalogue,
        books: &'a Books,
        company: CompanyNo,
        now: Timestamp,
    ) -> Result<Self, FinanceError> {
        let stated = catalogue.company(company).ok_or(FinanceError::NoCompany)?;
        let (currency, zone) = (stated.currency, stated.zone);
        Ok(Self { catalogue, books, now, company, currency, zone })
    }

    /// A supplier's invoice: one group.
    pub fn supplier_invoice(&self, draft: &InvoiceDraft) -> Result<Group, FinanceError> {
        let partner = self.partner(&draft.partner, Side::Supplier)?;
        let lines = self.lines(draft, partner, &[Kind::Receipt], "receipt")?;
        self.group(draft.date, lines.into_iter().map(Statement::SupplierInvoice).collect())
    }

    /// An invoice to a customer: one group.
    pub fn customer_invoice(&self, draft: &InvoiceDraft) -> Result<Group, FinanceError> {
        let partner = self.partner(&draft.partner, Side::Customer)?;
        if self.currency_named(draft.currency.as_deref())? != self.currency {
            return Err(FinanceError::OwnCurrencyOnly(self.currency));
        }
        let lines = self.lines(draft, partner, &[Kind::SaleIssue], "sale to be invoiced later")?;
        self.group(draft.date, lines.into_iter().map(Statement::CustomerInvoice).collect())
    }

    /// A payment with its allocations and discounts: one group. `next` is the capture that the payment will have.
    pub fn payment(&self, draft: &PaymentDraft, next: Capture) -> Result<Group, FinanceError> {
        let side = if draft.inward { Side::Customer } else { Side::Supplier };
        let partner = self.partner(&draft.partner, side)?;
        let amount = self.amount("the payment", &draft.amount)?;
        let account = draft.account.as_ref().map(|code| {
            let account =
                self.catalogue.account_by_code(self.company, code).map(|account| account.account);
            account.ok_or_else(|| FinanceError::UnknownAccount(code.clone()))
        });
        let mut statements = vec![Statement::Payment(Payment {
            partner,
            direction: if draft.inward { Direction::In } else { Direction::Out },
            amount,
            account: account.transpose()?,
            document: draft.document.as_deref().map(short),
            document_date: draft.date,
        })];
        let minor = |money: Money| shared::money::exact_minor(money.figure, money.currency);
        let mut left = minor(amount).map_or(0, |amount| amount.0);
        for allocation in &draft.allocations {
            let allocation = self.allocation(allocation, next, partner, draft.inward)?;
            left -= minor(allocation.amount).map_or(0, |amount| amount.0);
            statements.push(Statement::Allocation(allocation));
        }
        if left < 0 {
            return Err(FinanceError::OverAllocated(draft.amount.clone()));
        }
        if draft.inward && !draft.discounts.is_empty() {
            return Err(FinanceError::NoDiscountInward);
        }
        for discount in &draft.discounts {
            let note = (draft.document.as_deref(), draft.date);
            let lines = self.discounted(discount, Some(partner), &statements, note)?;
            statements.extend(lines);
        }
        self.group(draft.date, statements)
    }

    /// An allocation of a payment that is in the books: one group.
    pub fn allocate(&self, payment: &str, draft: &AllocationDraft) -> Result<Group, FinanceError> {
        let capture = payment.parse::<Capture>()?;
        let record = self.record(capture)?;
        if record.kind != Kind::Payment {
            let (found, needed) = (record.kind, "payment");
            return Err(FinanceError::WrongKind { capture, found, needed });
        }
        let partner = record.partner.unwrap_or_default();
        let inward = record.document_target.0 >= 0;
        let allocation = self.allocation(draft, capture, partner, inward)?;
        self.group(None, vec![Statement::Allocation(allocation)])
    }

    /// A fact never happened, or was told twice: one group. What stands in its group and can't be
    /// without it goes with it. Voiding what voids something brings that back.
    pub fn void(&self, of: &str, reason: Option<&str>) -> Result<Group, FinanceError> {
        let capture = of.parse::<Capture>()?;
        if self.record(capture)?.reversed {
            return Err(FinanceError::Void(capture));
        }
        let reason = self.reason(reason)?;
        self.group(None, vec![Statement::Reversal { refers_to: capture, reason }])
    }

    /// Two facts are one event: one group. `dropped` has no effect any more.
    pub fn same_as(&self, dropped: &str, kept: &str) -> Result<Group, FinanceError> {
        let (dropped, kept) = (dropped.parse::<Capture>()?, kept.parse::<Capture>()?);
        let about = |capture| -> Result<_, FinanceError> {
            let record = self.record(capture)?;
            if record.reversed {
                return Err(FinanceError::Void(capture));
            }
            Ok((record.kind, record.site, record.item))
        };
        if dropped == kept || about(dropped)? != about(kept)? {
            return Err(FinanceError::NotTheSame { dropped, kept });
        }
        self.group(None, vec![Statement::SameAs { dropped, kept }])
    }

    fn allocation(
        &self,
        draft: &AllocationDraft,
        payment: Capture,
        partner: PartnerNo,
        inward: bool,
    ) -> Result<Allocation, FinanceError> {
        let open_item = draft.of.parse::<Capture>()?;
        let record = self.record(open_item)?;
        let (kinds, needed): (&[Kind], _) = if inward {
            (
                &[Kind::SaleIssue, Kind::ServiceSale, Kind::CustomerInvoice],
                "sale or customer invoice",
            )
        } else {
            (&[Kind::SupplierInvoice, Kind::LandedCost], "supplier's bill")
        };
        if !kinds.contains(&record.kind) {
            let found = record.kind;
            return Err(FinanceError::WrongKind { capture: open_item, found, needed });
        }
        if record.partner != Some(partner) {
            return Err(FinanceError::OtherPartner(open_item));
        }
        Ok(Allocation { open_item, payment, amount: self.amount("an allocation", &draft.amount)? })
    }

    fn lines(
        &self,
        draft: &InvoiceDraft,
        partner: PartnerNo,
        kinds: &[Kind],
        needed: &'static str,
    ) -> Result<Vec<InvoiceLine>, FinanceError> {
        if draft.lines.is_empty() {
            return Err(FinanceError::NoLines);
        }
        let currency = self.currency_named(draft.currency.as_deref())?;
        let line = |line: &InvoiceLineDraft| {
            let refers_to = line.of.parse::<Capture>()?;
            let record = self.record(refers_to)?;
            if !kinds.contains(&record.kind) {
                let found = record.kind;
                return Err(FinanceError::WrongKind { capture: refers_to, found, needed });
            }
            if record.partner != Some(partner) {
                return Err(FinanceError::OtherPartner(refers_to));
            }
            Ok(InvoiceLine {
                partner,
                refers_to,
                quantity: self.measure(line, record)?,
                price: Price { currency, ..self.price(&line.price)? },
                document: draft.document.as_deref().map(short),
                document_date: draft.date,
                due_date: draft.due,
                tax_code: None,
            })
        };
        draft.lines.iter().map(line).collect()
    }

    fn measure(
        &self,
        line: &InvoiceLineDraft,
        record: &crate::books::FactRecord,
    ) -> Result<Measure, FinanceError> {
        let item = record.item.and_then(|item| self.catalogue.item(item));
        let item = item.ok_or(FinanceError::NotInBooks(record.capture))?;
        let unit = match &line.unit {
            None => item.unit.clone(),
            Some(written) => Unit::from_bytes(written.as_bytes())
                .ok()
                .filter(|unit| self.catalogue.units(item, self.now).contains(unit))
                .ok_or_else(|| FinanceError::BadUnit(written.clone()))?,
        };
        let figure = if let Some(written) = &line.quantity {
            positive("a quantity", written)?
        } else {
            let exponent = -i8::try_from(item.decimals).unwrap_or(0);
            Scaled::new(record.quantity.0, exponent).map_err(|why| DecimalError::OutOfRange {
                text: record.quantity.0.to_string(),
                why,
            })?
        };
        Ok(Measure { figure, unit })
    }

    fn price(&self, written: &str) -> Result<Price, FinanceError> {
        let figure = decimal::parse(written)?;
        if figure.mantissa() < 0 {
            return Err(FinanceError::NotPositive { what: "a price", written: written.to_owned() });
        }
        Ok(Price { figure, currency: self.currency })
    }

    fn currency_named(&self, written: Option<&str>) -> Result<Currency, FinanceError> {
        written.map_or(Ok(self.currency), |written| {
            written.parse().map_err(|_| FinanceError::BadCurrency(written.to_owned()))
        })
    }

    fn amount(&self, what: &'static str, written: &str) -> Result<Money, FinanceError> {
        money(positive(what, written)?, self.currency, written)
    }

    fn partner(&self, code: &str, side: Side) -> Result<PartnerNo, FinanceError> {
        let partner = self.catalogue.partner_by_code(code);
        let partner = partner.ok_or_else(|| FinanceError::UnknownPartner(code.to_owned()))?;
        let (fits, needed) = match side {
            Side::Customer => (partner.customer, "customer"),
            Side::Supplier => (partner.supplier, "supplier"),
        };
        if fits {
            Ok(partner.partner)
        } else {
            Err(FinanceError::WrongSide { partner: code.to_owned(), needed })
        }
    }

    fn record(&self, capture: Capture) -> Result<&'a crate::books::FactRecord, FinanceError> {
        let facts = self.books.facts();
        let found = facts.find(capture).map(|id| &facts[id]);
        let record = found.ok_or(FinanceError::NotInBooks(capture))?;
        if record.company != self.company {
            let company = self.code_of(record.company);
            return Err(FinanceError::OtherCompany { what: capture.to_string(), company });
        }
        Ok(record)
    }

    fn code_of(&self, company: CompanyNo) -> String {
        let stated = self.catalogue.company(company);
        stated.map_or_else(|| company.to_string(), |stated| stated.code.clone())
    }

    /// An amount as people write it, with the currency.
    fn shown(&self, amount: i128) -> String {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        format!("{} {}", Amount(amount).display(self.currency.decimals()), self.currency)
    }

    fn group(&self, date: Option<Day>, statements: Vec<Statement>) -> Result<Group, FinanceError> {
        let today = self.now.day(self.zone);
        let occurred_at = match date {
            Some(day) if day > today => return Err(FinanceError::Future(day)),
            Some(day) if day < today => Some(Timestamp(day.start(self.zone).0 + NOON_MS)),
            _ => None,
        };
        Ok(Group { occurred_at, company: Some(self.company), statements })
    }
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Customer,
    Supplier,
}

/// A figure as an amount, where the currency has as many decimals.
fn money(figure: Scaled, currency: Currency, written: &str) -> Result<Money, FinanceError> {
    match shared::money::exact_minor(figure, currency) {
        Ok(_) => Ok(Money { figure, currency }),
        Err(_) => Err(FinanceError::TooManyDecimals { currency, written: written.to_owned() }),
    }
}

fn short(text: &str) -> ShortText {
    ShortText::from_slice(text.as_bytes())
}

fn positive(what: &'static str, written: &str) -> Result<Scaled, FinanceError> {
    let figure = decimal::parse(written)?;
    if figure.mantissa() <= 0 {
        return Err(FinanceError::NotPositive { what, written: written.to_owned() });
    }
    Ok(figure)
}
