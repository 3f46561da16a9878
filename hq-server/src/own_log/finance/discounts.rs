//! Cash discounts before they are recorded: each line of a bill bears its share of what the supplier
//! lets the company off, and each says whose that is by the policy of the day. Pure.
//!
//! Invariant: the shares of a discount sum to the discount, and no discount is more than is owed.

use shared::fact::Kind;
use shared::fact::statement::{CashDiscount, Money, PurchaseCashDiscount, Role, Statement};
use shared::ids::{Capture, PartnerNo};
use shared::time::{Day, Timestamp};

use super::costs::of_minor;
use super::{AllocationDraft, Desk, FinanceError, Group, short};
use crate::books::FactRecord;
use crate::books::valuation::FactId;

/// What a supplier lets the company off.
#[derive(Clone, Debug, Default)]
pub struct DiscountDraft {
    /// The bill, by a capture id of one of its lines, and how much less is owed for it.
    pub of: AllocationDraft,
    /// The number of the supplier's note.
    pub document: Option<String>,
    /// Its date.
    pub date: Option<Day>,
}

impl Desk<'_> {
    /// A discount on a bill that is paid another time: one group.
    pub fn cash_discount(&self, draft: &DiscountDraft) -> Result<Group, FinanceError> {
        let document = draft.document.as_deref();
        let statements = self.discounted(&draft.of, None, &[], (document, draft.date))?;
        self.group(draft.date, statements)
    }

    /// The lines of a discount on a bill, of `partner` where one pays it and with what that pays.
    pub(super) fn discounted(
        &self,
        draft: &AllocationDraft,
        partner: Option<PartnerNo>,
        paid: &[Statement],
        (document, date): (Option<&str>, Option<Day>),
    ) -> Result<Vec<Statement>, FinanceError> {
        let capture = draft.of.parse::<Capture>()?;
        let amount = self.amount("a discount", &draft.amount)?;
        let bill = self.lines_of_bill(capture, partner)?;
        let minor = amount.figure.units(self.currency.decimals());
        let minor = minor.map_err(|_| FinanceError::TooLarge)?;
        self.check_owed(capture, minor, paid)?;
        let weights: Vec<i128> = bill.iter().map(|line| worth(line).into()).collect();
        let shares = shared::money::share_out(minor, &weights).ok_or(FinanceError::TooLarge)?;
        let of = self.whose(date);
        let parts = bill.iter().zip(shares).filter(|(_, share)| *share != 0);
        let statement = |(line, share): (&&FactRecord, i64)| {
            Statement::CashDiscount(CashDiscount {
                refers_to: line.capture,
                amount: of_minor(share, self.currency),
                of,
                document: document.map(short),
                document_date: date,
            })
        };
        Ok(parts.map(statement).collect())
    }

    /// The lines of a bill that something is owed for; a discount is on all of them.
    fn lines_of_bill(
        &self,
        capture: Capture,
        partner: Option<PartnerNo>,
    ) -> Result<Vec<&FactRecord>, FinanceError> {
        let named = self.record(capture)?;
        let kind = named.kind;
        if !matches!(kind, Kind::SupplierInvoice | Kind::LandedCost) || named.partner.is_none() {
            let needed = "supplier's bill";
            return Err(FinanceError::WrongKind { capture, found: kind, needed });
        }
        if partner.is_some_and(|partner| named.partner != Some(partner)) {
            return Err(FinanceError::OtherPartner(capture));
        }
        if named.reversed {
            return Err(FinanceError::Void(capture));
        }
        let facts = self.books.facts();
        let members = (named.group.0..).take(usize::from(named.group_len)).map(FactId);
        let lines = members.map(|member| &facts[member]);
        let lines = lines.filter(|line| line.kind == kind && !line.reversed && worth(line) > 0);
        Ok(lines.collect())
    }

    /// Nobody is let off more than is open once what is being paid is paid.
    fn check_owed(
        &self,
        bill: Capture,
        discount: i64,
        paid: &[Statement],
    ) -> Result<(), FinanceError> {
        let item = self.record(bill)?.main_item;
        let settled = paid.iter().filter_map(|statement| {
            let (of, amount) = match statement {
                Statement::Allocation(it) => (it.open_item, it.amount),
                Statement::CashDiscount(it) => (it.refers_to, it.amount),
                _ => return None,
            };
            self.record(of).is_ok_and(|record| record.main_item == item).then_some(amount)
        });
        let minor = |money: Money| money.figure.units(self.currency.decimals()).unwrap_or(0);
        let settled: i128 = settled.map(|amount| i128::from(minor(amount))).sum();
        let owed = -self.books.open_items().of(Role::Payable, item) - settled;
        if owed >= i128::from(discount) {
            return Ok(());
        }
        Err(FinanceError::MoreThanOwed { bill, owed: self.shown(owed) })
    }

    /// Whose a discount of a day is; of today where no day is named.
    fn whose(&self, date: Option<Day>) -> PurchaseCashDiscount {
        let at = date.map_or(self.now, |day| Timestamp(day.start(self.zone).0 + super::NOON_MS));
        self.books.settings().purchase_cash_discount(self.company, at.min(self.now))
    }
}

/// What a line of a bill says is owed for it.
fn worth(line: &FactRecord) -> i64 {
    line.stated.unwrap_or(0)
}
