//! What HQ states about ledger months: average runs, closes and reopenings. Knows the fields; what
//! a close locks is the books' to say.

use super::{Fact, Malformed, Reader, ReasonNo, Unreadable, field};
use crate::time::Month;

coded! {
    /// What happens to a ledger month. Closes come in this order: each also closes what stands
    /// before it, and every earlier month. A reopening also reopens what stands after it, and every
    /// later month.
    PeriodStep {
        /// The month-end averages of the month, and of those before it, are taken.
        1 RunAverages "run_averages";
        /// Receipts, sales and their documents are closed.
        2 CloseTrade "close_trade";
        /// Every movement and cost is closed; the averages are taken.
        3 CloseStock "close_stock";
        /// Payments and allocations are closed.
        4 CloseOpenItems "close_open_items";
        /// Everything is closed.
        5 CloseLedger "close_ledger";
        /// Everything from receipts and sales on is open again.
        6 ReopenTrade "reopen_trade";
        /// Everything from movements and costs on is open again.
        7 ReopenStock "reopen_stock";
        /// Payments and allocations are open again, and the ledger.
        8 ReopenOpenItems "reopen_open_items";
        /// The ledger is open again.
        9 ReopenLedger "reopen_ledger";
    }
}

/// A step of one company's month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodAction {
    /// The ledger month.
    pub month: Month,
    /// What happens to it.
    pub step: PeriodStep,
    /// Why; a reopening is asked for its reason where it is entered.
    pub reason: Option<ReasonNo>,
}

impl PeriodAction {
    pub(super) fn parse(reader: &Reader<'_>) -> Result<Self, Unreadable> {
        let month = month(reader)?;
        let step = reader.need("STATUS", field::STATUS.at(reader.fields))?;
        let step =
            PeriodStep::from_number(step).ok_or_else(|| reader.bad("STATUS", "is not 1 to 9"))?;
        Ok(Self { month, step, reason: reader.number(field::REASON, ReasonNo)? })
    }

    pub(super) fn put(&self, fact: &mut Fact) -> Result<(), Malformed> {
        field::REASON.put(fact, self.reason)?;
        field::STATUS.put(fact, Some(self.step as u8))?;
        put_month(fact, self.month)
    }
}

/// The ledger month that a fact names.
pub(super) fn month(reader: &Reader<'_>) -> Result<Month, Unreadable> {
    let month = reader.need("PERIOD", field::PERIOD.at(reader.fields))?;
    // The first day of the month after it must be a date too.
    let month = i32::try_from(month).ok().filter(|month| *month < 12 * 100_000);
    month.map(Month).ok_or_else(|| reader.bad("PERIOD", "is no month"))
}

pub(super) fn put_month(fact: &mut Fact, month: Month) -> Result<(), Malformed> {
    field::PERIOD.put(fact, Some(month.0.unsigned_abs()))
}
