//! A deliberately naive model of the books: sorts all facts into effective order and folds them
//! from the beginning with exact fractions. Knows nothing of the product's books: no increments,
//! no arrival, no caches. Whatever the product computes from the same facts must be the same.

pub mod admit;
pub mod average;
pub mod documents;
pub mod figure;
pub mod fold;
pub mod layers;
pub mod monthly;
pub mod order;
pub mod pool;
pub mod posting;
pub mod rings;
pub mod settings;
pub mod standard;
pub mod variance;

use std::collections::BTreeMap;

use shared::fact::Fact;
use shared::fact::Kind;
use shared::fact::effective::LogRank;
use shared::fact::statement::{CostScope, Role, Statement};
use shared::ids::{AccountNo, Capture, ItemNo, Seq, SiteNo};
use shared::time::Month;

pub use admit::Why;
use admit::{Admitted, Entry};
use figure::integer;
use fold::{Folded, PoolNo};
use posting::{Posted, Posting, Side, signed};
use settings::Settings;

/// A place in a log.
pub type Spot = (LogRank, Seq);

/// A fact and where it was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The site whose log it stands in; 0 is HQ.
    pub site: SiteNo,
    /// The log.
    pub log: LogRank,
    /// The place in it.
    pub seq: Seq,
    /// What was written.
    pub fact: Fact,
}

impl Written {
    /// Its place.
    pub const fn spot(&self) -> Spot {
        (self.log, self.seq)
    }
}

/// The two columns of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Signed sum of the debit side.
    pub debit: i128,
    /// Signed sum of the credit side.
    pub credit: i128,
}

/// The books of a set of facts.
#[derive(Debug)]
pub struct Model {
    settings: Settings,
    admitted: Admitted,
    folded: Folded,
    /// All companies as one, where goods went between them.
    as_one: Option<Folded>,
    lines: Vec<Posting>,
}

impl Model {
    /// Computes everything from nothing but the set of facts.
    pub fn of(written: &[Written]) -> Self {
        let mut settings = Settings::default();
        let admitted = admit::admit(written, &mut settings);
        let folded = fold::fold(&admitted);
        let as_one = fold_as_one(&admitted);
        let happened = happened(&admitted);
        let by_capture = happened.iter().map(|entry| (entry.capture, *entry)).collect();
        let all = admitted.entries.iter().map(|entry| (entry.capture, entry)).collect();
        let posted =
            Posted { folded: &folded, by_capture: &by_capture, all: &all, settings: &settings };
        // A circle that grew beyond all bounds says nothing of the others either.
        let lost = folded.endless && folded.is_beyond_range();
        let shown = happened.iter().filter(|_| !lost);
        let lines = shown.flat_map(|entry| posted.lines(entry)).collect();
        let model = Self { settings, admitted, folded, as_one, lines };
        if !lost {
            model.check();
        }
        model
    }

    /// Debits equal credits; stock accounts equal pools and goods on their way.
    fn check(&self) {
        assert_eq!(self.lines.iter().map(signed).sum::<i128>(), 0, "debits equal credits");
        let pools: i128 = self.folded.pools.values().map(|pool| integer(&pool.value)).sum();
        assert_eq!(self.balance_of(Role::Inventory), pools, "inventory is the sum of the pools");
        let carried: i128 = self.carried().values().sum();
        assert_eq!(self.balance_of(Role::StockVariance), carried, "what the pools carry");
    }

    /// Debits less credits of all accounts with a role.
    pub fn balance_of(&self, role: Role) -> i128 {
        self.lines.iter().filter(|line| line.role == role).map(signed).sum()
    }

    /// Every account, month and site with turnover on either side.
    pub fn balances(&self) -> BTreeMap<(AccountNo, Month, SiteNo), Turnover> {
        let mut balances: BTreeMap<_, Turnover> = BTreeMap::new();
        for line in &self.lines {
            let turnover = balances.entry((line.account, line.month, line.site)).or_default();
            match line.side {
                Side::Debit => turnover.debit += line.amount,
                Side::Credit => turnover.credit += line.amount,
            }
        }
        balances.retain(|_, turnover| *turnover != Turnover::default());
        balances
    }

    /// Quantity and value of every pool that is not empty.
    pub fn pools(&self) -> BTreeMap<PoolNo, (i128, i128)> {
        let stands = |pool: &pool::Pool| (integer(&pool.quantity), integer(&pool.value));
        let pools = self.folded.pools.iter().map(|(number, pool)| (number.clone(), stands(pool)));
        pools.filter(|(_, stands)| *stands != (0, 0)).collect()
    }

    /// What the goods of every pool cost all companies together, where that is not nothing.
    pub fn group_costs(&self) -> BTreeMap<PoolNo, i128> {
        let folded = self.as_one.as_ref().unwrap_or(&self.folded);
        let worth = |pool: &pool::Pool| {
            integer(&pool.value) + pool.variance.as_ref().map_or(0, |held| integer(&held.amount))
        };
        let pools = folded.pools.iter().map(|(no, pool)| (no.clone(), worth(pool)));
        pools.filter(|(_, value)| *value != 0).collect()
    }

    /// What every pool carries beyond its standard, where that is anything.
    pub fn carried(&self) -> BTreeMap<PoolNo, i128> {
        let pools = self.folded.pools.iter().filter_map(|(number, pool)| {
            let amount = integer(&pool.variance.as_ref()?.amount);
            (amount != 0).then(|| (number.clone(), amount))
        });
        pools.collect()
    }

    /// Quantity and value of every layer, the oldest first, of the pools that have any.
    pub fn layers(&self) -> BTreeMap<PoolNo, Vec<(i128, i128)>> {
        let mut layers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, pool) in &self.folded.pools {
            for layer in &pool.layers {
                let stands = (integer(&layer.part.quantity), integer(&layer.part.value));
                layers.entry(number.clone()).or_default().push(stands);
            }
        }
        layers
    }

    /// Smallest units on hand, where there are any or too few.
    pub fn on_hand(&self) -> BTreeMap<(SiteNo, ItemNo), i128> {
        let mut held: BTreeMap<_, i128> = BTreeMap::new();
        for ((site, (_, item, _, _)), units) in &self.folded.on_hand {
            *held.entry((*site, *item)).or_default() += integer(units);
        }
        held.retain(|_, units| *units != 0);
        held
    }

    /// Open items of a role, debits positive: by the first fact of the group that opened them, for
    /// goods received and goods on their way by the fact itself.
    pub fn open_items(&self, role: Role) -> BTreeMap<Capture, i128> {
        let mut open: BTreeMap<Capture, i128> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.role == role) {
            *open.entry(line.item).or_default() += signed(line);
        }
        open.retain(|_, amount| *amount != 0);
        open
    }

    /// By how much each movement changed the value of stock in the end.
    pub fn changes(&self) -> BTreeMap<Capture, i128> {
        self.folded.change.iter().map(|(capture, change)| (*capture, integer(change))).collect()
    }

    /// The facts without effect and why.
    pub fn left_out(&self) -> &BTreeMap<Spot, Why> {
        &self.admitted.left_out
    }

    /// Movements that took out more than was there.
    pub fn short(&self) -> impl Iterator<Item = Capture> {
        self.folded.short.iter().copied()
    }

    /// A circle of transfers kept changing costs.
    pub const fn is_endless(&self) -> bool {
        self.folded.endless
    }

    /// A pool or a movement is worth more than the books hold.
    pub fn is_beyond_range(&self) -> bool {
        let as_one = self.as_one.as_ref().is_some_and(Folded::is_beyond_range);
        as_one || self.folded.is_beyond_range()
    }

    /// All lines.
    pub fn lines(&self) -> &[Posting] {
        &self.lines
    }

    /// All goods of an item, on hand and on their way between sites: quantity and value.
    pub fn stock_of(&self, item: ItemNo) -> (i128, i128) {
        let of_item = self.folded.pools.iter().filter(|((_, held, _, _), _)| *held == item);
        let mut total = (figure::whole(0), figure::whole(0));
        for (_, pool) in of_item {
            total.0 += &pool.quantity;
            total.1 += &pool.value;
        }
        for entry in happened(&self.admitted) {
            let Statement::Movement(movement) = &entry.statement else { continue };
            if movement.item != item || entry.company.scope == CostScope::Company {
                continue;
            }
            let units = &entry.goods().quantity;
            match movement.kind {
                Kind::TransferShip => total.0 += units,
                Kind::TransferReceive => total.0 -= units,
                _ => {}
            }
        }
        let moved = self.lines.iter().filter(|line| line.role == Role::InterSiteTransit);
        let by_capture: BTreeMap<_, _> =
            self.admitted.entries.iter().map(|entry| (entry.capture, entry)).collect();
        for line in moved.filter(|line| by_capture[&line.fact].goods().item == item) {
            total.1 += figure::whole(signed(line));
        }
        (integer(&total.0), integer(&total.1))
    }

    /// Master data.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// As one company would have it: goods go between companies at what they cost.
fn fold_as_one(admitted: &Admitted) -> Option<Folded> {
    if !admitted.entries.iter().any(Entry::goes_between) {
        return None;
    }
    let entries = admitted.entries.iter().cloned();
    let entries = entries.map(|entry| Entry { at_price: false, ..entry }).collect();
    let (reversed, left_out) = (admitted.reversed.clone(), admitted.left_out.clone());
    Some(fold::fold(&Admitted { entries, reversed, left_out }))
}

/// The facts that are taken and not reversed, in effective order.
fn happened(admitted: &Admitted) -> Vec<&Entry> {
    let entries = admitted.entries.iter();
    entries.filter(|entry| !admitted.reversed.contains(&entry.capture)).collect()
}
