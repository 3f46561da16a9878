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
    roles: BTreeMap<Role, OfRole>,
}

/// The open items of a role. Facts are dense, and most of a role's stand near each other.
#[derive(Clone, Debug, Default)]
struct OfRole {
    total: i128,
    pages: Vec<Option<Box<Page>>>,
}

/// How many items share a page.
const PAGE: usize = 64;

#[derive(Clone, Debug)]
struct Page {
    /// How many of them are not zero.
    open: usize,
    amounts: [i128; PAGE],
}

impl OfRole {
    fn add(&mut self, item: FactId, amount: i128) {
        self.total += amount;
        let (page, at) = (item.index() / PAGE, item.index() % PAGE);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let slot = &mut self.pages[page];
        let held = slot.get_or_insert_with(|| Box::new(Page { open: 0, amounts: [0; PAGE] }));
        let open = &mut held.amounts[at];
        held.open -= usize::from(*open != 0);
        *open += amount;
        held.open += usize::from(*open != 0);
        if held.open == 0 {
            *slot = None;
        }
    }

    fn of(&self, item: FactId) -> i128 {
        let page = self.pages.get(item.index() / PAGE).and_then(Option::as_ref);
        page.map_or(0, |page| page.amounts[item.index() % PAGE])
    }

    fn all(&self) -> impl Iterator<Item = (FactId, i128)> {
        let pages = (0u32..).step_by(PAGE).zip(&self.pages);
        let amounts = pages.flat_map(|(first, page)| {
            let amounts = page.as_ref().map_or(&[][..], |page| &page.amounts);
            (first..).map(FactId).zip(amounts.iter().copied())
        });
        amounts.filter(|(_, amount)| *amount != 0)
    }
}

impl OpenItems {
    /// Adds a signed amount (debits positive) to an open item. Of inventory and what it carries
    /// beyond its standard, which cost pools prove, only the sum is kept.
    pub fn add(&mut self, role: Role, item: FactId, amount: i128) {
        let held = self.roles.entry(role).or_default();
        if matches!(role, Role::Inventory | Role::StockVariance) {
            held.total += amount;
        } else {
            held.add(item, amount);
        }
    }

    /// The sum over all items of a role.
    pub fn total(&self, role: Role) -> i128 {
        self.roles.get(&role).map_or(0, |held| held.total)
    }

    /// What is open of an item, debits positive.
    pub fn of(&self, role: Role, item: FactId) -> i128 {
        self.roles.get(&role).map_or(0, |held| held.of(item))
    }

    /// The open items of a role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (FactId, i128)> {
        self.roles.get(&role).into_iter().flat_map(OfRole::all)
    }

    /// Every open item.
    pub fn all(&self) -> impl Iterator<Item = (Role, FactId, i128)> {
        self.roles.iter().flat_map(|(role, held)| held.all().map(|(item, sum)| (*role, item, sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_no_open_item() {
        let mut items = OpenItems::default();
        let added = [(70, 5), (3, -2), (70, -5), (200, 9), (3, 4), (69, 1), (69, -1)];
        for (item, amount) in added {
            items.add(Role::Payable, FactId(item), amount);
        }
        items.add(Role::Receivable, FactId(3), 7);
        let of_role: Vec<_> = items.of_role(Role::Payable).collect();
        assert_eq!(of_role, [(FactId(3), 2), (FactId(200), 9)]);
        assert_eq!(items.all().count(), 3);
        assert_eq!((items.total(Role::Payable), items.of(Role::Payable, FactId(70))), (11, 0));
        assert!(items.roles[&Role::Payable].pages[1].is_none(), "an empty page goes");
    }
}
