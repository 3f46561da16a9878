//! The general ledger's balances and the open items, as sums of posted lines. Knows no facts.
//! Invariant: all debits equal all credits, and each control account equals its open items.

use std::collections::BTreeMap;

use shared::fact::statement::Role;
use shared::ids::{AccountNo, SiteNo};
use shared::time::Month;

use super::valuation::FactId;
use super::voucher::{Line, Side};

/// What was posted to an account, by side, with sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Debits, minor units.
    pub debit: i128,
    /// Credits, minor units.
    pub credit: i128,
}

impl Turnover {
    /// Debits less credits.
    pub const fn net(&self) -> i128 {
        self.debit - self.credit
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &Line) {
        match line.side {
            Side::Debit => self.debit += i128::from(line.amount.0),
            Side::Credit => self.credit += i128::from(line.amount.0),
        }
    }
}

/// The months of one account, ascending, each with its sites.
type AccountMonths = Vec<(Month, BTreeMap<SiteNo, Turnover>)>;

/// Balances by account, month and site.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: Vec<AccountMonths>,
    totals: Turnover,
}

impl Ledger {
    /// Adds a line to a month.
    pub fn post(&mut self, month: Month, line: &Line) {
        let index = line.account.0 as usize;
        if index >= self.accounts.len() {
            self.accounts.resize_with(index + 1, Vec::new);
        }
        let months = &mut self.accounts[index];
        // Most lines are of the newest month: look from the end.
        let at = match months.iter().rposition(|(held, _)| *held <= month) {
            Some(at) if months[at].0 == month => at,
            before => {
                let at = before.map_or(0, |before| before + 1);
                months.insert(at, (month, BTreeMap::new()));
                at
            }
        };
        months[at].1.entry(line.site).or_default().add(line);
        self.totals.add(line);
    }

    /// All debits and all credits.
    pub const fn totals(&self) -> Turnover {
        self.totals
    }

    /// Every account, month and site with turnover, ascending.
    pub fn rows(&self) -> impl Iterator<Item = (AccountNo, Month, SiteNo, Turnover)> {
        (0..).map(AccountNo).zip(&self.accounts).flat_map(|(account, months)| {
            months.iter().flat_map(move |(month, sites)| {
                sites.iter().map(move |(site, turnover)| (account, *month, *site, *turnover))
            })
        })
    }

    /// Debits less credits of an account over all months and sites.
    pub fn balance(&self, account: AccountNo) -> i128 {
        let months = self.accounts.get(account.0 as usize);
        months.into_iter().flatten().flat_map(|(_, sites)| sites.values()).map(Turnover::net).sum()
    }

    /// Debits less credits of an account at a site.
    pub fn balance_at(&self, account: AccountNo, site: SiteNo) -> i128 {
        let months = self.accounts.get(account.0 as usize);
        let turnovers = months.into_iter().flatten().filter_map(|(_, sites)| sites.get(&site));
        turnovers.map(Turnover::net).sum()
    }
}

/// What is open per item and control role. The item is the first fact of the group that opened it.
#[derive(Clone, Debug, Default)]
pub struct OpenItems {
    open: BTreeMap<(Role, FactId), i128>,
    totals: BTreeMap<Role, i128>,
}

impl OpenItems {
    /// Adds a signed amount (debits positive) to an open item.
    pub fn add(&mut self, role: Role, item: FactId, amount: i64) {
        let key = (role, item);
        let open = self.open.entry(key).or_default();
        *open += i128::from(amount);
        if *open == 0 {
            self.open.remove(&key);
        }
        *self.totals.entry(role).or_default() += i128::from(amount);
    }

    /// The sum over all items of a role.
    pub fn total(&self, role: Role) -> i128 {
        self.totals.get(&role).copied().unwrap_or(0)
    }

    /// What is open of an item, debits positive.
    pub fn of(&self, role: Role, item: FactId) -> i128 {
        self.open.get(&(role, item)).copied().unwrap_or(0)
    }

    /// The open items of a role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (FactId, i128)> {
        let range = self.open.range((role, FactId(0))..=(role, FactId(u32::MAX)));
        range.map(|((_, item), amount)| (*item, *amount))
    }

    /// Every open item.
    pub fn all(&self) -> impl Iterator<Item = (Role, FactId, i128)> {
        self.open.iter().map(|((role, item), amount)| (*role, *item, *amount))
    }
}
