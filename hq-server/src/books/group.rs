//! What goods cost the group of companies: the books folded once more with goods between companies
//! as what they are to the group, transfers at what they cost. Changes nothing, and keeps nothing:
//! it is for whoever asks. Knows no accounts.
//!
//! Invariant: a pool that no goods of another company can reach is worth what its books say.

use std::collections::BTreeSet;

use shared::fact::Kind;
use shared::fact::statement::Role;
use shared::ids::CompanyNo;

use super::Books;
use super::differences::Differences;
use super::fact_table::{FactRecord, PoolId};
use super::follow::Before;
use super::kept::KeptEvery;
use super::valuation::FactId;
use super::voucher::Cause;

/// The books beside what their goods cost the group.
#[derive(Debug)]
pub struct Group<'a> {
    books: &'a Books,
    /// Folded again; none where no goods ever went between companies.
    folded: Option<Box<Books>>,
    reached: BTreeSet<PoolId>,
}

/// Goods that one company sold to another: one ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sold {
    /// The ship.
    pub ship: FactId,
    /// The sender's company.
    pub from: CompanyNo,
    /// The receiver's.
    pub to: CompanyNo,
    /// What it was sold for, minor units of the sender's.
    pub revenue: i64,
    /// What it cost the sender.
    pub cost: i64,
    /// What the receiver still owes by the sender's books, minor units of the sender's.
    pub receivable: i128,
    /// What the receiver still owes by its own books, minor units of the receiver's.
    pub payable: i128,
    /// Nothing of it arrived yet: its price is on the way, at what it cost the group.
    pub on_the_way: Option<OnTheWay>,
}

/// Goods that left a company and came to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnTheWay {
    /// Smallest units.
    pub units: i64,
    /// Minor units of the sender's currency.
    pub price: i64,
    /// What they cost the group, minor units of the sender's currency.
    pub group_cost: i64,
}

impl Books {
    /// What goods cost the group. Copies the facts once, where any went between companies.
    pub fn group(&self) -> Group<'_> {
        if self.between.is_empty() {
            return Group { books: self, folded: None, reached: BTreeSet::new() };
        }
        let mut folded = self.copied_to_fold();
        let reached = folded.fold_as_one(&self.between);
        Group { books: self, folded: Some(Box::new(folded)), reached }
    }

    /// Every ship that went from one company to another.
    pub(super) fn sales_between(&self) -> impl Iterator<Item = (FactId, &FactRecord)> {
        let facts = self.between.iter().map(|id| (*id, &self.facts[*id]));
        facts.filter(|(_, record)| record.kind == Kind::TransferShip)
    }

    /// What folding pools again reads.
    fn copied_to_fold(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            facts: self.facts.copied_to_fold(),
            pools: self.pools.clone(),
            pool_value: self.pool_value,
            layers_out: self.layers_out.clone(),
            layers_in: self.layers_in.clone(),
            fills: self.fills.clone(),
            periods: self.periods.clone(),
            flows: self.flows.clone(),
            in_transit: self.in_transit.clone(),
            looped: self.looped.clone(),
            dirty: self.dirty.clone(),
            kept_every: KeptEvery(usize::MAX),
            ..Self::default()
        }
    }

    /// Folds again with goods between companies as transfers at cost; which pools they can reach.
    fn fold_as_one(&mut self, between: &[FactId]) -> BTreeSet<PoolId> {
        for id in between {
            self.facts[*id].between = false;
        }
        self.place_what_came_late();
        let mut came_to = Vec::new();
        for id in between {
            self.note_flows(*id);
            self.share_out(*id, &mut Before::new());
            if self.facts[*id].kind == Kind::TransferReceive {
                self.mark_own_pool(*id, Cause::Followed);
                came_to.extend(self.facts[*id].pool);
            }
        }
        self.fold_dirty(&mut Differences::default());
        self.flows.rings(&came_to).into_iter().flatten().collect()
    }
}

impl Group<'_> {
    /// What the goods of a pool cost the group, minor units of its company's currency.
    pub fn cost(&self, pool: PoolId) -> i64 {
        let folded = self.folded.as_deref().unwrap_or(self.books);
        folded.pools[pool.index()].state.stock.worth()
    }

    /// The pools that goods of another company can have come to, however far.
    pub const fn reached(&self) -> &BTreeSet<PoolId> {
        &self.reached
    }

    /// What was sold between companies and not reversed, in the order of the facts.
    pub fn sold(&self) -> Vec<Sold> {
        let ships = self.books.sales_between().filter(|(_, record)| !record.reversed);
        ships.filter_map(|(ship, record)| self.sold_by(ship, record)).collect()
    }

    fn sold_by(&self, ship: FactId, record: &FactRecord) -> Option<Sold> {
        let (facts, items) = (&self.books.facts, self.books.open_items());
        let at = record.key.effective_at();
        let to = self.books.settings.site(record.other_site?, at)?.company;
        let arrived = facts.dependents(ship).iter().any(|id| {
            let answer = &facts[*id];
            answer.kind == Kind::TransferReceive && !answer.reversed
        });
        let price = record.stated.unwrap_or(0);
        let folded = self.folded.as_deref().unwrap_or(self.books);
        let group_cost = folded.facts[ship].cost();
        let on_the_way = OnTheWay { units: record.quantity.0, price, group_cost };
        Some(Sold {
            ship,
            from: record.company,
            to,
            revenue: price,
            cost: record.cost(),
            receivable: items.of(Role::InterCompanyReceivable, ship),
            payable: -items.of(Role::InterCompanyPayable, ship),
            on_the_way: (!arrived).then_some(on_the_way),
        })
    }
}
