//! What people are shown and the books do not keep: stock value by day, the newest vouchers, and
//! the vouchers of what had waited. Follows the effects of every entry; pure, so that a rebuild gives the same.
//!
//! Invariant: the sum of all days is the balance of the stock accounts.

use std::collections::{BTreeMap, VecDeque};

use shared::fact::statement::Role;
use shared::ids::{Capture, CompanyNo};
use shared::time::{Day, Month, Timestamp};

use super::archive::StoredVoucher;
use crate::books::{Books, Cause, Voucher};

/// How many of the newest vouchers are kept at hand.
pub const LATEST: usize = 8;

/// The accounts whose balance is stock value.
pub(crate) const STOCK_ROLES: [Role; 3] =
    [Role::Inventory, Role::StockVariance, Role::InterSiteTransit];

/// Running figures beside the books.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    position: u64,
    days: BTreeMap<(CompanyNo, Day), i128>,
    latest: BTreeMap<CompanyNo, VecDeque<StoredVoucher>>,
    /// Of entries that released what had waited: the facts of those vouchers are in earlier entries.
    released: BTreeMap<Capture, (CompanyNo, Month, u32)>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the entry at `position` led to. `books` have taken it already; groups that had
    /// waited are `released` by it or not.
    pub fn note(
        &mut self,
        books: &Books,
        position: u64,
        at: Timestamp,
        vouchers: &[Voucher],
        released: bool,
    ) {
        self.position = position;
        if released {
            let own = vouchers.iter().filter(|voucher| voucher.cause == Cause::Fact);
            for voucher in own {
                if let Some(fact) = voucher.fact {
                    let place = (voucher.company, voucher.month, voucher.number);
                    // Another one may follow, where the fact has effect anew.
                    self.released.entry(fact).or_insert(place);
                }
            }
        }
        for voucher in vouchers {
            let change = stock_change(books, voucher);
            if change != 0 {
                *self.days.entry((voucher.company, voucher.day)).or_default() += change;
            }
        }
        let newest = &vouchers[vouchers.len().saturating_sub(LATEST)..];
        for voucher in newest {
            let latest = self.latest.entry(voucher.company).or_default();
            latest.truncate(LATEST - 1);
            latest.push_front(StoredVoucher { voucher: voucher.clone(), position, posted_at: at });
        }
    }

    /// The last entry taken.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The newest vouchers, newest first.
    pub fn latest(&self, company: CompanyNo) -> impl Iterator<Item = &StoredVoucher> {
        self.latest.get(&company).into_iter().flatten()
    }

    /// The voucher of a group that had waited, by a fact of it.
    pub fn released(&self, fact: Capture) -> Option<(CompanyNo, Month, u32)> {
        self.released.get(&fact).copied()
    }

    /// Stock value at the end of each of the `count` days up to `last`.
    pub fn days(&self, company: CompanyNo, last: Day, count: u16) -> Vec<(Day, i128)> {
        let first = Day(last.0 - i32::from(count) + 1);
        let before = self.days.range((company, Day(i32::MIN))..(company, first));
        let mut value: i128 = before.map(|(_, change)| change).sum();
        (first.0..=last.0)
            .map(|day| {
                value += self.days.get(&(company, Day(day))).copied().unwrap_or(0);
                (Day(day), value)
            })
            .collect()
    }
}

fn stock_change(books: &Books, voucher: &Voucher) -> i128 {
    let is_stock =
        |account| books.settings().role_of(account).is_some_and(|role| STOCK_ROLES.contains(&role));
    let lines = voucher.lines.iter().filter(|line| is_stock(line.account));
    lines.map(|line| i128::from(line.signed())).sum()
}
