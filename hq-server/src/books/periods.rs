//! Which months of a company are closed, how far, and which have had their averages taken. Knows
//! no facts and no amounts.
//!
//! A month is locked by areas, in the order in which finance closes them: receipts and sales, then
//! stock, then open items, then the ledger. Invariant: what is closed of an area is closed of every
//! earlier area and of every earlier month; averages are taken of every month whose stock is
//! closed, and stay taken when it is reopened.

use std::collections::BTreeMap;

use shared::fact::Kind;
use shared::fact::statement::{LateCost, PeriodAction, PeriodStep};
use shared::ids::CompanyNo;
use shared::time::{Month, Timestamp};

use super::settings::Settings;

/// What can be closed of a month, in the order of closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Receipts, sales and their documents.
    Trade,
    /// Every other movement, and what goods cost.
    Stock,
    /// Payments, allocations, cash discounts.
    OpenItems,
    /// Whatever else is in the ledger.
    Ledger,
}

impl Area {
    /// All, in the order of closing.
    pub const ALL: [Self; 4] = [Self::Trade, Self::Stock, Self::OpenItems, Self::Ledger];

    /// The area that a fact's own voucher belongs to.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Receipt
            | Kind::SaleIssue
            | Kind::CustomerReturn
            | Kind::SupplierReturn
            | Kind::ServiceSale
            | Kind::SupplierInvoice
            | Kind::CustomerInvoice
            | Kind::CreditNote
            | Kind::LandedCost => Self::Trade,
            Kind::Payment | Kind::Allocation | Kind::CashDiscount => Self::OpenItems,
            _ => Self::Stock,
        }
    }

    /// The word for reports: how far a month is closed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Stock => "stock",
            Self::OpenItems => "open_items",
            Self::Ledger => "ledger",
        }
    }
}

/// How far one company's months are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// By area: the last closed month.
    through: [Option<Month>; 4],
    /// The last month whose averages are taken.
    averaged: Option<Month>,
}

impl Closed {
    /// The last month that is closed in an area.
    pub const fn through(&self, area: Area) -> Option<Month> {
        self.through[area as usize]
    }

    /// The last month whose month-end averages are taken.
    pub const fn averaged(&self) -> Option<Month> {
        self.averaged
    }

    /// The first month, not before its own, in which an area is open.
    pub fn open_month(&self, month: Month, area: Area) -> Month {
        self.through(area).map_or(month, |closed| month.max(closed.next()))
    }

    /// The last area that is closed in a month.
    pub fn of_month(&self, month: Month) -> Option<Area> {
        let closed = |area: &&Area| self.through(**area).is_some_and(|last| last >= month);
        Area::ALL.iter().rev().find(closed).copied()
    }

    /// Takes the averages that a step asks for; whether any were.
    fn average(&mut self, month: Month, step: PeriodStep) -> bool {
        let asks = match change(step) {
            Change::Average => true,
            Change::Close(area) => area >= Area::Stock,
            Change::Reopen(_) => false,
        };
        let more = asks && self.averaged < Some(month);
        if more {
            self.averaged = Some(month);
        }
        more
    }

    /// Closes or reopens what a step names.
    fn lock(&mut self, month: Month, step: PeriodStep) {
        match change(step) {
            Change::Average => {}
            Change::Close(area) => {
                for earlier in &mut self.through[..=area as usize] {
                    *earlier = (*earlier).max(Some(month));
                }
            }
            Change::Reopen(area) => {
                let before = Some(month.before());
                for later in &mut self.through[area as usize..] {
                    *later = (*later).min(before);
                }
            }
        }
    }
}

enum Change {
    Average,
    Close(Area),
    Reopen(Area),
}

const fn change(step: PeriodStep) -> Change {
    match step {
        PeriodStep::RunAverages => Change::Average,
        PeriodStep::CloseTrade => Change::Close(Area::Trade),
        PeriodStep::CloseStock => Change::Close(Area::Stock),
        PeriodStep::CloseOpenItems => Change::Close(Area::OpenItems),
        PeriodStep::CloseLedger => Change::Close(Area::Ledger),
        PeriodStep::ReopenTrade => Change::Reopen(Area::Trade),
        PeriodStep::ReopenStock => Change::Reopen(Area::Stock),
        PeriodStep::ReopenOpenItems => Change::Reopen(Area::OpenItems),
        PeriodStep::ReopenLedger => Change::Reopen(Area::Ledger),
    }
}

/// The closed months of every company.
#[derive(Clone, Debug, Default)]
pub(super) struct Periods(BTreeMap<CompanyNo, Closed>);

impl Periods {
    /// Takes the averages that a step asks for; whether any were.
    pub(super) fn average(&mut self, company: CompanyNo, action: &PeriodAction) -> bool {
        self.0.entry(company).or_default().average(action.month, action.step)
    }

    /// Closes or reopens what a step names.
    pub(super) fn lock(&mut self, company: CompanyNo, action: &PeriodAction) {
        self.0.entry(company).or_default().lock(action.month, action.step);
    }

    /// The first instant of the month that bears what happened at a time and becomes known now, where
    /// the stock of its own month is closed and the company lets the first open one bear it.
    pub(super) fn bears_from(
        &self,
        settings: &Settings,
        company: CompanyNo,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let closed = self.of(company).through(Area::Stock)?;
        let zone = settings.company(company, at)?.zone;
        let late = at.day(zone).month() <= closed;
        let bears = late && settings.late_cost(company, at) == LateCost::Forward;
        closed.next().first_day().filter(|_| bears).map(|day| day.start(zone))
    }

    /// How far a company's months are closed.
    pub(super) fn of(&self, company: CompanyNo) -> Closed {
        self.0.get(&company).copied().unwrap_or_default()
    }

    /// Every company with a closed or averaged month.
    pub(super) fn all(&self) -> impl Iterator<Item = (CompanyNo, Closed)> {
        self.0.iter().map(|(company, closed)| (*company, *closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_closes_what_stands_before_it_and_a_reopening_opens_what_stands_after() {
        let mut closed = Closed::default();
        let january = Month(24_312);
        let stands = |closed: &Closed| {
            (Area::ALL.map(|area| closed.through(area).map(|month| month.0 - january.0)), {
                closed.averaged().map(|month| month.0 - january.0)
            })
        };
        let next = |months: i32| Month(january.0 + months);
        let steps = [
            (0, PeriodStep::RunAverages, ([None; 4], Some(0))),
            (1, PeriodStep::CloseTrade, ([Some(1), None, None, None], Some(0))),
            (1, PeriodStep::CloseStock, ([Some(1), Some(1), None, None], Some(1))),
            (0, PeriodStep::CloseLedger, ([Some(1), Some(1), Some(0), Some(0)], Some(1))),
            (2, PeriodStep::CloseTrade, ([Some(2), Some(1), Some(0), Some(0)], Some(1))),
            (1, PeriodStep::ReopenStock, ([Some(2), Some(0), Some(0), Some(0)], Some(1))),
            (0, PeriodStep::ReopenOpenItems, ([Some(2), Some(0), Some(-1), Some(-1)], Some(1))),
            (0, PeriodStep::ReopenTrade, ([Some(-1); 4], Some(1))),
        ];
        for (month, step, expected) in steps {
            closed.average(next(month), step);
            closed.lock(next(month), step);
            assert_eq!(stands(&closed), expected, "{step:?}");
        }
    }

    #[test]
    fn a_voucher_goes_into_the_first_open_month_not_before_its_own() {
        let mut closed = Closed::default();
        closed.lock(Month(10), PeriodStep::CloseStock);
        let open = |month, area| closed.open_month(Month(month), area).0;
        assert_eq!([9, 10, 11].map(|month| open(month, Area::Stock)), [11, 11, 11]);
        assert_eq!((open(12, Area::Stock), open(3, Area::OpenItems)), (12, 3));
        assert_eq!(closed.of_month(Month(10)), Some(Area::Stock));
        assert_eq!(closed.of_month(Month(11)), None);
    }
}
