//! A month as it would be, had everything that is known now been known before it was closed, beside
//! what stands in the ledger. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{AccountNo, CompanyNo};
use shared::time::Month;

use super::posting::{Posting, Postings, lines_between};
use super::{Books, Target, Turnover};

/// One account in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonthLine {
    /// As it stands in the ledger.
    pub posted: Turnover,
    /// By the months in which things happened, as they are known now.
    pub happened: Turnover,
}

impl Books {
    /// A company's month by account, both ways. What is not settled yet stands in neither.
    pub fn month(&self, company: CompanyNo, month: Month) -> BTreeMap<AccountNo, MonthLine> {
        let mut accounts: BTreeMap<AccountNo, MonthLine> = BTreeMap::new();
        let known = self.settings.accounts().filter(|(_, account)| account.company == company);
        let own: BTreeSet<AccountNo> = known.map(|(number, _)| number).collect();
        let rows = self.ledger.rows().filter(|(_, held, _, _)| *held == month);
        for (account, _, _, turnover) in rows.filter(|(account, ..)| own.contains(account)) {
            let line = accounts.entry(account).or_default();
            line.posted.debit += turnover.debit;
            line.posted.credit += turnover.credit;
        }
        let happened = self.facts.iter();
        let happened =
            happened.filter(|(_, record)| (record.company, record.month) == (company, month));
        let (nothing, mut postings) = (Target::default(), Postings::new());
        for (id, record) in happened {
            lines_between(id, record, (&nothing, &record.posted), false, &mut postings);
            self.posted_transit(id, &mut postings);
            for Posting { line, .. } in postings.drain(..) {
                accounts.entry(line.account).or_default().happened.add(&line);
            }
        }
        accounts.retain(|_, line| *line != MonthLine::default());
        accounts
    }
}
