//! The invariants of the books. The cheap ones are asserted at every settle, in release builds;
//! the whole list is checked on demand and at checkpoints.

use shared::fact::statement::Role;

use shared::time::Month;

use super::settings::is_control;
use super::valuation::Stock;
use super::{Area, Books};

/// An invariant that does not hold: the books must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Debits are not credits.
    #[error("debits {debit} differ from credits {credit}")]
    Balance {
        /// All debits.
        debit: i128,
        /// All credits.
        credit: i128,
    },
    /// Inventory accounts are not the pools.
    #[error("the inventory accounts hold {ledger}, the pools {pools}")]
    Inventory {
        /// By the ledger.
        ledger: i128,
        /// By the pools.
        pools: i128,
    },
    /// The accounts of variances are not what the pools carry.
    #[error("the accounts of stock_variance hold {ledger}, the pools carry {pools}")]
    Carried {
        /// By the ledger.
        ledger: i128,
        /// By the pools.
        pools: i128,
    },
    /// A control account is not its open items.
    #[error("accounts of {role} hold {ledger}, their open items {items}", role = role.word())]
    Control {
        /// The role.
        role: Role,
        /// By the ledger.
        ledger: i128,
        /// By the open items.
        items: i128,
    },
    /// A fact's target is not posted although nothing is dirty.
    #[error("fact {0} has a target that is not posted")]
    Unposted(shared::ids::Capture),
    /// The sum of pools is not what the running total says.
    #[error("the pools sum to {sum}, the running total is {total}")]
    PoolTotal {
        /// Added up.
        sum: i128,
        /// Kept.
        total: i128,
    },
    /// A pool's sites do not sum to the pool.
    #[error("the sites of the pool of item {item} hold {sites} units, the pool {pool}")]
    OnHand {
        /// The item.
        item: shared::ids::ItemNo,
        /// By site, what is on its way included.
        sites: i128,
        /// By the pool.
        pool: i64,
    },
    /// What is owed for goods of another company is not what they were sold for.
    #[error(
        "the goods of {ship} were sold for {price}: {asked} are asked and {owed} owed for them"
    )]
    Owed {
        /// The ship.
        ship: shared::ids::Capture,
        /// What they were sold for, minor units.
        price: i128,
        /// What the sender asks.
        asked: i128,
        /// What the receiver owes.
        owed: i128,
    },
    /// A pool without goods is worth something.
    #[error("nothing is left in the pool of item {item}, and it is worth {worth}")]
    Worth {
        /// The item.
        item: shared::ids::ItemNo,
        /// At standard and beyond.
        worth: i128,
    },
    /// A pool is out of order.
    #[error("the history of the pool of item {0} is out of effective order")]
    Order(shared::ids::ItemNo),
}

/// Roles whose balance is proved by open items.
const OPEN_ITEM_ROLES: [Role; 10] = [
    Role::ReceivedNotInvoiced,
    Role::BoughtInTransit,
    Role::InterSiteTransit,
    Role::Receivable,
    Role::UnbilledReceivable,
    Role::Payable,
    Role::SupplierPrepayment,
    Role::CustomerAdvance,
    Role::InterCompanyReceivable,
    Role::InterCompanyPayable,
];

impl Books {
    /// The sum of the accounts that are mapped to a role, debits positive.
    pub fn role_balance(&self, role: Role) -> i128 {
        let accounts = self.settings().accounts();
        let accounts = accounts.filter(|(no, _)| self.settings().role_of(*no) == Some(role));
        accounts.map(|(no, _)| self.ledger().balance(no)).sum()
    }

    /// Debits = credits and subledgers = control accounts. Cheap: sums kept as lines are posted.
    pub(super) fn assert_ties(&self) {
        let totals = self.ledger().totals();
        assert!(totals.debit == totals.credit, "debits equal credits in the ledger");
        if self.is_dirty() {
            return;
        }
        let stock = [Role::Inventory, Role::StockVariance].map(|role| self.items().total(role));
        let (inventory, pools) = (stock.iter().sum::<i128>(), self.stock_value());
        assert!(inventory == pools, "inventory accounts {inventory} equal the pools {pools}");
    }

    /// Checks everything that can be checked without the facts' bytes.
    pub fn check(&self) -> Result<(), Broken> {
        let totals = self.ledger().totals();
        if totals.debit != totals.credit {
            return Err(Broken::Balance { debit: totals.debit, credit: totals.credit });
        }
        let total = self.stock_value();
        let of_pools = |figure: fn(&Stock) -> i64| -> i128 {
            self.pools().iter().map(|pool| i128::from(figure(&pool.state.stock))).sum()
        };
        let (stock, carried) = (of_pools(Stock::value), of_pools(Stock::beyond));
        let sum = stock + carried;
        if sum != total {
            return Err(Broken::PoolTotal { sum, total });
        }
        for pool in self.pools() {
            let sites: i128 = pool.state.sites.iter().map(|(_, units)| i128::from(*units)).sum();
            let sites = sites + i128::from(pool.state.on_the_way);
            let average = &pool.state.stock;
            if sites != i128::from(average.quantity()) {
                return Err(Broken::OnHand { item: pool.item, sites, pool: average.quantity() });
            }
            let worth = i128::from(average.value()) + i128::from(average.beyond());
            if average.quantity() == 0 && worth != 0 {
                return Err(Broken::Worth { item: pool.item, worth });
            }
            let keys = pool.history.iter().map(|id| self.facts()[*id].key);
            if !keys.is_sorted() {
                return Err(Broken::Order(pool.item));
            }
        }
        if self.is_dirty() {
            return Ok(());
        }
        let unposted = self.facts().iter().find(|(_, record)| record.target != record.posted);
        if let Some((_, record)) = unposted {
            return Err(Broken::Unposted(record.capture));
        }
        if let Some(statement) = self.in_transit.unposted() {
            return Err(Broken::Unposted(self.facts()[statement].capture));
        }
        let ledger = self.role_balance(Role::Inventory);
        if ledger != stock {
            return Err(Broken::Inventory { ledger, pools: stock });
        }
        let ledger = self.role_balance(Role::StockVariance);
        if ledger != carried {
            return Err(Broken::Carried { ledger, pools: carried });
        }
        for role in OPEN_ITEM_ROLES {
            debug_assert!(is_control(role));
            let (ledger, items) = (self.role_balance(role), self.items().total(role));
            if ledger != items {
                return Err(Broken::Control { role, ledger, items });
            }
        }
        self.check_owed()
    }

    /// What goods were sold for is asked of the other company, which owes it once they arrived. What
    /// is owed in another currency is a matter of its rates.
    fn check_owed(&self) -> Result<(), Broken> {
        let items = self.items();
        for (id, ship) in self.sales_between() {
            let price = i128::from(if ship.reversed { 0 } else { ship.stated.unwrap_or(0) });
            let asked = items.of(Role::InterCompanyReceivable, id);
            let answers = self.facts().dependents(id).iter().map(|id| &self.facts()[*id]);
            let mut receives =
                answers.filter(|record| record.between && !record.reversed).peekable();
            let arrived = receives.peek().is_some();
            let known = receives.all(|record| record.foreign.is_none() && !record.out_of_range);
            let owed = -items.of(Role::InterCompanyPayable, id);
            if asked != price || (known && owed != if arrived { price } else { 0 }) {
                return Err(Broken::Owed { ship: ship.capture, price, asked, owed });
            }
        }
        Ok(())
    }

    /// A hash of the books' tables in canonical order: equal for equal sequences.
    pub fn state_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("warebook 2026-11 books state");
        let mut row = |tag: u8, numbers: &[i128]| {
            hasher.update(&[tag]);
            for number in numbers {
                hasher.update(&number.to_le_bytes());
            }
        };
        for (account, month, site, turnover) in self.ledger().rows() {
            let key = [i128::from(account.0), i128::from(month.0), i128::from(site.0)];
            row(1, &key);
            row(1, &[turnover.debit, turnover.credit]);
        }
        for (role, item, amount) in self.items().all() {
            row(2, &[role as i128, i128::from(item.0), amount]);
        }
        for pool in self.pools() {
            let site = pool.site.map_or(-1, |site| i128::from(site.0));
            let average = &pool.state.stock;
            let figures = [i128::from(average.quantity()), i128::from(average.value())];
            row(3, &[i128::from(pool.company.0), site, i128::from(pool.item.0)]);
            row(3, &figures);
            if average.beyond() != 0 {
                row(8, &[average.beyond().into()]);
            }
        }
        for (_, record) in self.facts().iter() {
            let target = &record.target;
            let figures =
                [target.stock, target.counter, target.residue, target.main, target.against];
            row(4, &[i128::from(record.capture.device.0), i128::from(record.capture.counter)]);
            row(4, &figures.map(i128::from));
            if target.beyond != 0 {
                row(8, &[target.beyond.into()]);
            }
        }
        for (statement, ship, amount) in self.in_transit.posted() {
            row(9, &[i128::from(statement.0), i128::from(ship.0), amount.into()]);
        }
        for (company, month, count) in self.voucher_counts() {
            row(5, &[i128::from(company.0), i128::from(month.0), i128::from(count)]);
        }
        for (company, closed) in self.all_closed() {
            let month = |month: Option<Month>| month.map_or(-1, |month| i128::from(month.0));
            let months = Area::ALL.map(|area| month(closed.through(area)));
            row(7, &[&[i128::from(company.0), month(closed.averaged())][..], &months].concat());
        }
        for (number, group) in self.waiting() {
            row(6, &[i128::from(number), i128::from(group.site.0), i128::from(group.first.0)]);
        }
        for (log, first, last, at) in self.placements() {
            let (first, last) = (i128::from(first.0), i128::from(last.0));
            row(10, &[i128::from(log.0), first, last, i128::from(at.0)]);
        }
        *hasher.finalize().as_bytes()
    }
}
