//! Closing and reopening months before it is recorded: whether it may be done now. Pure.

use shared::fact::statement::{PeriodAction, PeriodStep, Stamp, Statement};
use shared::ids::{CompanyNo, SiteNo};
use shared::time::{Month, Timestamp};

use super::{Desk, FinanceError};
use crate::books::{Area, Doubtful, Waiting};
use crate::own_log::Group;

/// A step of a ledger month.
#[derive(Clone, Debug)]
pub struct PeriodDraft {
    /// The month.
    pub month: Month,
    /// What is done.
    pub step: PeriodStep,
    /// A reason's code; a reopening needs one.
    pub reason: Option<String>,
    /// Close although something waits.
    pub despite_waiting: bool,
    /// Warehouses whose log was continued twice, and until when; see [`Self::despite_doubt`].
    pub doubtful: Vec<(SiteNo, Timestamp)>,
    /// Close although something may have been told twice.
    pub despite_doubt: bool,
}

impl Desk<'_> {
    /// A step of a month that is over: one group. Stock and ledger don't close while facts wait,
    /// unless told so.
    pub fn period(&self, draft: &PeriodDraft) -> Result<Group, FinanceError> {
        let PeriodDraft { month, step, .. } = *draft;
        let reopens = step >= PeriodStep::ReopenTrade;
        if !reopens && month >= self.now.day(self.zone).month() {
            return Err(FinanceError::NotOver(month));
        }
        if reopens {
            let closed = self.books.closed(self.company).of_month(month);
            closed.ok_or(FinanceError::NotClosed(month))?;
            if draft.reason.is_none() {
                return Err(FinanceError::ReopeningNeedsReason);
            }
        }
        let locks_stock = !reopens && step >= PeriodStep::CloseStock;
        if locks_stock && !draft.despite_waiting {
            self.must_not_wait(month)?;
        }
        if locks_stock && !draft.despite_doubt {
            self.must_be_certain(draft)?;
        }
        let reason = self.reason(draft.reason.as_deref())?;
        let action = PeriodAction { month, step, reason };
        self.group(None, vec![Statement::PeriodAction(action)])
    }

    /// What waits would be posted after the month. Facts in doubt are known to be later, or may be of it.
    fn must_not_wait(&self, month: Month) -> Result<(), FinanceError> {
        let concerned = self.books.waiting().filter(|(_, group)| self.concerns(group));
        let may_be_of_it = |doubt: &Doubtful<'_>| {
            doubt.since.is_none_or(|since| since.day(self.zone).month() <= month)
        };
        let (mut waiting, mut in_doubt) = (0, 0);
        for (_, group) in concerned {
            match self.books.doubt_of(group) {
                None => waiting += 1,
                Some(doubt) => in_doubt += usize::from(may_be_of_it(&doubt)),
            }
        }
        if in_doubt > 0 {
            return Err(FinanceError::TimeInDoubt { month, waiting: in_doubt });
        }
        if waiting > 0 { Err(FinanceError::Waiting { month, waiting }) } else { Ok(()) }
    }

    /// A branch that went on after the last stock close may have told something twice in months that
    /// are closed now.
    fn must_be_certain(&self, draft: &PeriodDraft) -> Result<(), FinanceError> {
        let closed = self.books.closed(self.company).through(Area::Stock);
        let concerned = |(site, until): &&(SiteNo, Timestamp)| {
            let stated = self.catalogue.site(*site);
            let is_own = stated.is_some_and(|stated| stated.company == self.company);
            is_own && closed.is_none_or(|closed| until.day(self.zone).month() > closed)
        };
        let Some((site, _)) = draft.doubtful.iter().find(concerned) else { return Ok(()) };
        let code = self.catalogue.site(*site).map_or_else(String::new, |site| site.code.clone());
        Err(FinanceError::Doubtful { month: draft.month, site: code })
    }

    /// Whether what waits would be posted in the company's books. Of a site that nobody knows yet
    /// it can't be said, so it might.
    fn concerns(&self, waiting: &Waiting) -> bool {
        let company = if waiting.site == SiteNo::HQ {
            let stamp = waiting.facts.first().and_then(|fact| Stamp::parse(fact).ok());
            stamp.map(|stamp| stamp.company.unwrap_or(CompanyNo::FIRST))
        } else {
            self.catalogue.site(waiting.site).map(|site| site.company)
        };
        company.is_none_or(|company| company == self.company)
    }
}
