//! Pools at month-end average: what leaves in a month leaves at one cost, found by looking at the
//! whole month first. Knows the months whose averages are taken, and no ledger.

use std::collections::{BTreeMap, BTreeSet};

use num_traits::{Signed, Zero};
use shared::fact::Kind;
use shared::fact::statement::{CostMethod, Movement, PeriodStep, Statement};
use shared::ids::{Capture, CompanyNo};
use shared::time::{Month, Timestamp};

use super::admit::{Admitted, Entry};
use super::figure::{Figure, rounded, whole};
use super::fold::{Facts, Pass, PoolNo, pool_no, stays_in_pool};
use super::pool::Pool;

/// A month of a pool, or what is left of it after its cost was restated.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The month.
    pub month: Month,
    /// Its average is taken.
    pub averaged: bool,
    /// What one unit costs; where nothing says so, what there is.
    pub cost: Option<Figure>,
    /// What it cost before the average was taken.
    pub earlier: Option<Figure>,
    /// Who takes what is left at the end, and how much.
    pub rest: Option<(Capture, Figure)>,
}

/// The last month of each company whose averages are taken.
pub fn averaged(admitted: &Admitted) -> BTreeMap<CompanyNo, Month> {
    let mut averaged = BTreeMap::new();
    for entry in &admitted.entries {
        let Statement::PeriodAction(action) = &entry.statement else { continue };
        let takes = [
            PeriodStep::RunAverages,
            PeriodStep::CloseStock,
            PeriodStep::CloseOpenItems,
            PeriodStep::CloseLedger,
        ];
        if takes.contains(&action.step) {
            let last = averaged.entry(entry.company_no).or_insert(action.month);
            *last = action.month.max(*last);
        }
    }
    averaged
}

/// The ledger month of a fact.
pub fn month_of(entry: &Entry) -> Month {
    Timestamp(entry.time()).day(entry.company.zone).month()
}

/// Whether a fact restates what its pool holds.
pub(super) fn restates(entry: &Entry) -> bool {
    match &entry.statement {
        Statement::Movement(Movement { kind: Kind::Count, price, .. }) => price.is_some(),
        Statement::StandardCost(_) => true,
        _ => false,
    }
}

impl Pass<'_> {
    /// Plans the month that begins with a fact in its pool.
    pub(super) fn begin_month(&mut self, entry: &Entry) {
        if pool_no(entry).is_none() || self.pool(entry).method != CostMethod::MonthEndAverage {
            return;
        }
        let month = month_of(entry);
        let pool = self.pool(entry);
        if restates(entry) {
            pool.span = None;
            return;
        }
        if pool.span.as_ref().is_some_and(|span| span.month == month) {
            return;
        }
        pool.span = None;
        let average = pool.average.clone();
        let taken = self.facts.averaged.get(&entry.company_no).is_some_and(|last| *last >= month);
        let span = if taken {
            self.plan(entry, month)
        } else {
            Span { month, averaged: false, cost: average, earlier: None, rest: None }
        };
        let pool = self.pool(entry);
        if span.averaged {
            pool.average.clone_from(&span.cost);
        }
        pool.span = Some(span);
    }

    fn plan(&mut self, first: &Entry, month: Month) -> Span {
        let number = pool_no(first).expect("asked for before");
        let mut trial = self.copy();
        let pool = trial.pool(first);
        let earlier = pool.earlier_cost();
        let (mut units, mut value) = (pool.quantity.clone(), pool.value.clone());
        let zero = Some(Figure::zero());
        pool.span = Some(Span {
            month,
            averaged: true,
            cost: zero,
            earlier: Some(earlier.clone()),
            rest: None,
        });
        let (mut own, mut at_cost) = (None, Vec::new());
        for each in self.facts.of_ring.iter().filter(|each| each.key >= first.key) {
            if pool_no(each).as_ref() != Some(&number) {
                continue;
            }
            let moves_only = each.statement.kind() == Kind::TransferShip && stays_in_pool(each);
            let other = each.goods().method != CostMethod::MonthEndAverage && !moves_only;
            if month_of(each) != month || restates(each) || other {
                break;
            }
            let before = trial.stands(&number);
            trial.take_entry(each);
            let after = trial.stands(&number);
            let moved = &after.0 - &before.0;
            if self.has_own_cost(each, month) {
                units += &moved;
                value += &after.1 - &before.1;
                own = (!moved.is_zero()).then(|| (each.capture, moved.is_positive())).or(own);
            } else if !moved.is_zero() {
                at_cost.push((each.capture, moved));
            }
        }
        let is_average = units.is_positive() && !value.is_negative();
        let cost = if is_average { &value / &units } else { earlier.clone() };
        for (_, moved) in &at_cost {
            units += moved;
            value += rounded(&(moved * &cost));
        }
        let last_out = at_cost.iter().rev().find(|(_, moved)| moved.is_negative());
        let last_out = last_out.map(|(capture, _)| *capture);
        let last = at_cost.last().map(|(capture, _)| *capture);
        let last_own = own.map(|(capture, _)| capture);
        let taker = if units.is_zero() && is_average {
            last_out.or(last_own).or(last)
        } else if units.is_zero() {
            last_own.or(last_out).or(last)
        } else {
            own.filter(|(_, came_in)| *came_in && !is_average).map(|(capture, _)| capture)
        };
        let rest = value - rounded(&(units * &cost));
        let rest = taker.map(|taker| (taker, rest));
        Span { month, averaged: true, cost: Some(cost), earlier: Some(earlier), rest }
    }

    fn stands(&self, number: &PoolNo) -> (Figure, Figure) {
        let pool = &self.folded.pools[number];
        (pool.quantity.clone(), pool.value.clone())
    }

    pub(super) fn has_own_cost(&self, entry: &Entry, month: Month) -> bool {
        let Statement::Movement(movement) = &entry.statement else { return true };
        let origin = self.origin(movement);
        match movement.kind {
            Kind::Receipt | Kind::RepackIn => true,
            Kind::TransferReceive => origin.is_some() && !stays_in_pool(entry),
            Kind::CustomerReturn => match origin {
                Some(origin) => month_of(self.facts.by_capture[&origin]) != month,
                None => movement.cost.is_some(),
            },
            Kind::SupplierReturn => origin.is_some(),
            Kind::TransferShip | Kind::RepackOut => self.facts.looped.contains(&entry.capture),
            Kind::ProductionIn => movement.price.is_some(),
            Kind::Adjustment => movement.price.is_some() && entry.goods().quantity.is_positive(),
            _ => false,
        }
    }
}

/// Whether goods are costed at one cost a month, or bear variances at one rate a month.
pub(super) fn is_by_month(entry: &Entry) -> bool {
    let goods = entry.goods();
    goods.method == CostMethod::MonthEndAverage || goods.may_carry
}

/// Whether the pools of a ring pass costs to each other, or to themselves.
pub(super) fn passes_around(facts: Facts<'_>) -> bool {
    let pools: BTreeSet<PoolNo> = facts.of_ring.iter().filter_map(|entry| pool_no(entry)).collect();
    pools.len() > 1
        || facts.of_ring.iter().any(|arrived| {
            let left = left_for(arrived, facts.by_capture).into_iter();
            { left }.any(|each| pool_no(each) == pool_no(arrived))
        })
}

/// What left that a fact brings in.
fn left_for<'a>(arrived: &Entry, by_capture: &BTreeMap<Capture, &'a Entry>) -> Vec<&'a Entry> {
    match arrived.statement.kind() {
        Kind::TransferReceive if arrived.bought.is_some() && arrived.at_price => Vec::new(),
        Kind::TransferReceive if !stays_in_pool(arrived) => {
            let ship = arrived.refers_to().and_then(|ship| by_capture.get(&ship).copied());
            ship.into_iter().collect()
        }
        Kind::RepackIn => {
            let members = by_capture.values().filter(|each| each.group == arrived.group);
            members.filter(|each| each.statement.kind() == Kind::RepackOut).copied().collect()
        }
        _ => Vec::new(),
    }
}

/// What passes costs around a loop of one month.
pub fn looped(of_ring: &[&Entry], by_capture: &BTreeMap<Capture, &Entry>) -> BTreeSet<Capture> {
    let mut links: Vec<(Month, Capture, PoolNo, PoolNo)> = Vec::new();
    for arrived in of_ring {
        for each in left_for(arrived, by_capture) {
            let monthly = is_by_month(each);
            if let (true, Some(from), Some(to)) = (monthly, pool_no(each), pool_no(arrived))
                && month_of(each) == month_of(arrived)
            {
                links.push((month_of(each), each.capture, from, to));
            }
        }
    }
    let reaches = |month: Month, from: &PoolNo, wanted: &PoolNo| {
        let mut known = BTreeSet::from([from.clone()]);
        loop {
            let further =
                links.iter().filter(|(of, _, from, _)| *of == month && known.contains(from));
            let further: Vec<PoolNo> = further.map(|(_, _, _, to)| to.clone()).collect();
            let before = known.len();
            known.extend(further);
            if known.len() == before {
                return known.contains(wanted);
            }
        }
    };
    let around = links.iter().filter(|(month, _, from, to)| reaches(*month, to, from));
    around.map(|(_, capture, _, _)| *capture).collect()
}

impl Pool {
    /// What one unit costs now.
    pub(super) fn month_cost(&self) -> Figure {
        let fixed = match &self.span {
            Some(span) => span.cost.clone(),
            None => self.average.clone(),
        };
        fixed.unwrap_or_else(|| self.moving_cost())
    }

    /// What one unit cost before the month's average was known.
    pub(super) fn earlier_cost(&self) -> Figure {
        let earlier = self.span.as_ref().and_then(|span| span.earlier.clone());
        earlier.or_else(|| self.average.clone()).unwrap_or_else(|| self.moving_cost())
    }

    fn moving_cost(&self) -> Figure {
        if self.quantity.is_positive() {
            &self.value / &self.quantity
        } else {
            self.last_cost.clone()
        }
    }

    fn is_averaged(&self) -> bool {
        self.span.as_ref().is_some_and(|span| span.averaged)
    }

    fn rest_of(&self, movement: Capture) -> Figure {
        let rest = self.span.as_ref().and_then(|span| span.rest.as_ref());
        rest.filter(|(taker, _)| *taker == movement).map_or(whole(0), |(_, rest)| rest.clone())
    }

    /// Goods come in. Gives what they are worth here.
    pub(super) fn put_in_month(
        &mut self,
        inflow: Capture,
        units: &Figure,
        value: &Figure,
    ) -> Figure {
        let empties = (&self.quantity + units).is_zero();
        let worth = if !self.is_averaged() && empties {
            -self.value.clone()
        } else {
            value - self.rest_of(inflow)
        };
        self.quantity += units;
        self.value += &worth;
        self.remember_average();
        worth
    }

    /// Goods go out. Gives their cost.
    pub(super) fn take_in_month(&mut self, units: &Figure, movement: Capture) -> Figure {
        let unit = self.month_cost();
        let cost = if self.is_averaged() {
            rounded(&(units * &unit)) + self.rest_of(movement)
        } else if !self.quantity.is_positive() || *units < self.quantity {
            rounded(&(units * &unit))
        } else {
            &self.value + rounded(&((units - &self.quantity) * &unit))
        };
        self.leave(units, &cost);
        cost
    }

    /// Goods go out around a loop, at what a unit cost before the month. Gives their cost.
    pub(super) fn take_around(&mut self, units: &Figure, movement: Capture) -> Figure {
        let cost = rounded(&(units * self.earlier_cost())) + self.rest_of(movement);
        self.leave(units, &cost);
        cost
    }

    /// Goods go out at a cost of their own. Gives what must leave beside it.
    pub(super) fn take_own(&mut self, units: &Figure, cost: &Figure, movement: Capture) -> Figure {
        let residue = if !self.is_averaged() && *units == self.quantity {
            &self.value - cost
        } else {
            self.rest_of(movement)
        };
        self.leave(units, &(cost + &residue));
        residue
    }

    fn leave(&mut self, units: &Figure, cost: &Figure) {
        self.remember_average();
        self.quantity -= units;
        self.value -= cost;
        self.remember_average();
    }
}
