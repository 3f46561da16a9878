//! A month as it would be, had everything that is known now been known before it was closed, beside
//! what stands in the ledger. Changes nothing.

use std::collections::BTreeMap;

use shared::ids::{AccountNo, CompanyNo};
use shared::time::Month;

use super::posting::difference_lines;
use super::{Books, FactRecord, Target, Turnover};

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
        let of_company = |account: AccountNo| {
            let mut known = self.settings.accounts();
            known.any(|(number, held)| number == account && held.company == company)
        };
        let rows = self.ledger.rows().filter(|(_, held, _, _)| *held == month);
        for (account, _, _, turnover) in rows.filter(|(account, ..)| of_company(*account)) {
            let line = accounts.entry(account).or_default();
            line.posted.debit += turnover.debit;
            line.posted.credit += turnover.credit;
        }
        let happened = self.facts.iter();
        let happened =
            happened.filter(|(_, record)| (record.company, record.month) == (company, month));
        for (id, record) in happened {
            let unposted =
                FactRecord { target: record.posted, posted: Target::default(), ..record.clone() };
            let mut postings = Vec::new();
            difference_lines(id, &unposted, false, &mut postings);
            for posting in postings {
                accounts.entry(posting.line.account).or_default().happened.add(&posting.line);
            }
        }
        accounts.retain(|_, line| *line != MonthLine::default());
        accounts
    }
}
