//! Goods on their way to another pool when their standard changes: where stock carries its variances
//! they are restated with those that are there, transit against revaluation, ship by ship. Knows
//! units and standards, and nothing of what else goods cost.
//!
//! Invariant: what is posted of a ship is an open item of the ship, on the account that it opened.

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::Kind;
use shared::fact::effective::EffectiveKey;
use shared::fact::statement::{CostMethod, Role};
use shared::ids::AccountNo;
use shared::money::Amount;

use super::Books;
use super::fact_table::{FactRecord, PoolStep};
use super::posting::{Posting, Postings};
use super::redo::Change;
use super::valuation::{FactId, UnitCost, in_range};
use super::voucher::{Cause, Line, Side};

/// What a statement of a new standard adds to what a ship took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Restated {
    /// The accounts of transit and of revaluation.
    accounts: (AccountNo, AccountNo),
    amount: i64,
}

/// What new standards add to goods on their way, by the statement and the ship.
#[derive(Clone, Debug, Default)]
pub(super) struct InTransit {
    wanted: BTreeMap<(FactId, FactId), i64>,
    posted: BTreeMap<(FactId, FactId), Restated>,
    /// The statements that a ship's goods were on their way at.
    of_ship: BTreeMap<FactId, BTreeSet<FactId>>,
}

impl InTransit {
    fn ships(&self, statement: FactId) -> Vec<FactId> {
        let all = (statement, FactId(0))..=(statement, FactId(u32::MAX));
        self.wanted.range(all).map(|((_, ship), _)| *ship).collect()
    }

    /// Every statement and ship with what is posted of them, where that is anything.
    pub(super) fn posted(&self) -> impl Iterator<Item = (FactId, FactId, i64)> {
        let posted = self.posted.iter().filter(|(_, restated)| restated.amount != 0);
        posted.map(|((statement, ship), restated)| (*statement, *ship, restated.amount))
    }

    /// A ship is taken out of the books: nothing of it is posted any more.
    pub(super) fn forget(&mut self, ship: FactId) {
        for statement in self.of_ship.remove(&ship).unwrap_or_default() {
            self.wanted.remove(&(statement, ship));
            let posted = self.posted.remove(&(statement, ship));
            assert!(
                posted.is_none_or(|restated| restated.amount == 0),
                "what is taken out of the books has nothing posted"
            );
        }
    }

    /// A statement of which something is not posted.
    pub(super) fn unposted(&self) -> Option<FactId> {
        let held = |key| self.posted.get(key).map_or(0, |restated| restated.amount);
        let found = self.wanted.iter().find(|(key, amount)| held(key) != **amount);
        found.map(|((statement, _), _)| *statement)
    }
}

impl Books {
    /// Restates what is on its way from a statement's pool by what a unit costs more now; nothing
    /// where the statement did not happen.
    pub(super) fn restate_in_transit(&mut self, statement: FactId, old: Option<UnitCost>) {
        for ship in self.in_transit.ships(statement) {
            self.in_transit.wanted.insert((statement, ship), 0);
        }
        let record = &self.facts[statement];
        let (Some(old), Some(new), Some(pool)) = (old, record.unit_cost, record.pool) else {
            return;
        };
        let added: Vec<(FactId, i64)> = self.pools[pool.index()]
            .history
            .iter()
            .take_while(|id| self.facts[**id].key < record.key)
            .filter_map(|ship| {
                let units = self.on_its_way(*ship, record.key)?;
                let worth = |cost: UnitCost| cost.times(units).map(i128::from);
                let more = worth(new).and_then(|new| in_range(new - worth(old)?)).unwrap_or(0);
                Some((*ship, more))
            })
            .collect();
        for (ship, more) in added {
            self.in_transit.wanted.insert((statement, ship), more);
            self.in_transit.of_ship.entry(ship).or_default().insert(statement);
        }
    }

    /// Units of a ship that had not arrived at a place in the order.
    fn on_its_way(&self, ship: FactId, at: EffectiveKey) -> Option<i64> {
        let record = &self.facts[ship];
        // What is sold to another company has its price.
        let in_transit = record.roles.counter == Some(Role::InterSiteTransit);
        let counts = record.kind == Kind::TransferShip && in_transit && record.is_active();
        if !counts || self.method_of(record) != Some(CostMethod::Standard) {
            return None;
        }
        let receives = self.facts.dependents(ship).iter().map(|id| &self.facts[*id]);
        let arrived = receives.filter(|receive| {
            receive.kind == Kind::TransferReceive && !receive.reversed && receive.key < at
        });
        let arrived: i128 = arrived.map(|receive| i128::from(receive.quantity.0)).sum();
        let left = i128::from(record.quantity.0) - arrived;
        i64::try_from(left).ok().filter(|left| *left > 0)
    }

    /// The places in the order where a ship's goods were restated, and by how much.
    pub(super) fn restated_on_the_way(&self, ship: FactId) -> Vec<(EffectiveKey, i64)> {
        let statements = self.in_transit.of_ship.get(&ship).into_iter().flatten();
        let mut restated: Vec<_> = statements
            .map(|id| (self.facts[*id].key, self.in_transit.wanted[&(*id, ship)]))
            .collect();
        restated.sort_unstable();
        restated
    }

    /// Shares out what a statement restated; whether anything changed.
    pub(super) fn share_restated(
        &mut self,
        statement: FactId,
        before: &mut super::follow::Before,
    ) -> bool {
        let ships = self.in_transit.ships(statement);
        ships.into_iter().fold(false, |changed, ship| self.share_ship(ship, before) | changed)
    }

    /// What arrives, or did not after all, was not on its way at later statements.
    pub(super) fn restate_after(&mut self, receive: FactId) {
        let record = &self.facts[receive];
        let ship = record.origin.filter(|_| record.kind == Kind::TransferReceive);
        let Some(ship) = ship.filter(|_| self.settings.carries(record.company)) else { return };
        let Some(pool) = self.facts[ship].pool else { return };
        let key = record.key;
        let history = self.pools[pool.index()].history.iter().rev().map(|id| &self.facts[*id]);
        let later = history.take_while(|other| other.key > key);
        if { later }.any(|other| other.step == PoolStep::Restate) {
            self.mark_dirty(pool, Cause::Followed, Change::At(key));
        }
    }

    /// Whether what a statement restates is posted.
    pub(super) fn has_unposted_transit(&self, statement: FactId) -> bool {
        self.transit_differences(statement).next().is_some()
    }

    /// The statements whose postings follow a ship's account.
    pub(super) fn touch_statements_of(&mut self, ship: FactId) {
        let statements: Vec<FactId> =
            self.in_transit.of_ship.get(&ship).into_iter().flatten().copied().collect();
        for statement in statements {
            self.touched.note(statement, Cause::Settings);
        }
    }

    fn transit_differences(
        &self,
        statement: FactId,
    ) -> impl Iterator<Item = (FactId, Restated, Restated)> {
        let all = (statement, FactId(0))..=(statement, FactId(u32::MAX));
        let entries = self.in_transit.wanted.range(all);
        entries.filter_map(move |((_, ship), amount)| {
            let (transit, against) = (&self.facts[*ship].accounts, &self.facts[statement].accounts);
            let accounts = (transit.counter, against.counter);
            let wanted = Restated { accounts, amount: *amount };
            let held = self.in_transit.posted.get(&(statement, *ship)).copied();
            let held = held.unwrap_or_default();
            let moved = held.accounts != accounts && held.amount != 0;
            (moved || held.amount != wanted.amount).then_some((*ship, held, wanted))
        })
    }

    /// Appends what is not posted yet of what a statement restates, and notes it as posted.
    pub(super) fn post_transit(&mut self, statement: FactId, with_fact: bool, out: &mut Postings) {
        if self.facts[statement].step != PoolStep::Restate {
            return;
        }
        let differences: Vec<_> = self.transit_differences(statement).collect();
        for (ship, held, wanted) in differences {
            let back = Restated { amount: -held.amount, ..held };
            for restated in [back, wanted] {
                self.transit_lines(statement, ship, restated, with_fact, out);
            }
            self.in_transit.posted.insert((statement, ship), wanted);
        }
    }

    /// What is posted of a statement.
    pub(super) fn posted_transit(&self, statement: FactId, out: &mut Postings) {
        let all = (statement, FactId(0))..=(statement, FactId(u32::MAX));
        for ((_, ship), restated) in self.in_transit.posted.range(all) {
            self.transit_lines(statement, *ship, *restated, false, out);
        }
    }

    fn transit_lines(
        &self,
        statement: FactId,
        ship: FactId,
        restated: Restated,
        with_fact: bool,
        out: &mut Postings,
    ) {
        if restated.amount == 0 {
            return;
        }
        let stated = &self.facts[statement];
        let (transit, against) = restated.accounts;
        let line = |account, side, record: &FactRecord| Line {
            account,
            side,
            amount: Amount(restated.amount),
            site: record.site,
            item: record.item,
            partner: None,
            fact: with_fact.then_some(stated.capture),
        };
        let debit = line(transit, Side::Debit, &self.facts[ship]);
        out.push(Posting { line: debit, open_item: ship });
        out.push(Posting { line: line(against, Side::Credit, stated), open_item: statement });
    }
}
