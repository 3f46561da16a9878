//! One cost pool under moving average: a quantity, a value, and what left before it was there.
//! Knows no facts, sites or accounts. Holds always: a negative quantity is the sum of the open
//! shortfalls and its value the sum of their provisional costs; zero quantity has zero value.

use num_traits::{Signed, Zero};
use shared::ids::Capture;

use super::figure::{Figure, rounded, share};

/// Goods that left although they were not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The movement that took them.
    pub movement: Capture,
    /// How much is still uncovered.
    pub quantity: Figure,
    /// The cost it left at, until an inflow says otherwise.
    pub provisional: Figure,
}

/// The cost of an earlier movement changes by an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repriced {
    /// That movement.
    pub movement: Capture,
    /// By how much.
    pub difference: Figure,
}

/// A pool of one item.
#[derive(Clone, Debug)]
pub struct Pool {
    /// In smallest units.
    pub quantity: Figure,
    /// In minor units.
    pub value: Figure,
    /// Value of one smallest unit when the pool last had stock; never rounded.
    pub last_cost: Figure,
    /// Oldest first.
    pub shortfalls: Vec<Shortfall>,
}

impl Pool {
    /// A pool to which nothing has happened yet.
    pub fn new(initial_cost: Figure) -> Self {
        Self {
            quantity: Figure::zero(),
            value: Figure::zero(),
            last_cost: initial_cost,
            shortfalls: Vec::new(),
        }
    }

    /// Goods come in at a value: shortfalls are covered first, oldest first, and re-priced.
    pub fn put(&mut self, quantity: &Figure, value: &Figure) -> Vec<Repriced> {
        let mut repriced = Vec::new();
        let (mut quantity_left, mut value_left) = (quantity.clone(), value.clone());
        while quantity_left.is_positive() && !self.shortfalls.is_empty() {
            let oldest = &mut self.shortfalls[0];
            let covered = oldest.quantity.clone().min(quantity_left.clone());
            let cost = share(&value_left, &covered, &quantity_left);
            let released = share(&oldest.provisional, &covered, &oldest.quantity);
            quantity_left -= &covered;
            value_left -= &cost;
            oldest.quantity -= &covered;
            oldest.provisional -= &released;
            self.value += &released;
            repriced.push(Repriced { movement: oldest.movement, difference: cost - released });
            if oldest.quantity.is_zero() {
                self.shortfalls.remove(0);
            }
        }
        self.quantity += quantity;
        self.value += value_left;
        self.remember_cost();
        repriced
    }

    /// Goods go out: what is there leaves at its share of the value, the missing quantity at the
    /// last known cost until an inflow covers it. Gives the cost.
    pub fn take(&mut self, quantity: &Figure, movement: Capture) -> Figure {
        let there = self.quantity.clone().max(Figure::zero());
        let part = quantity.clone().min(there.clone());
        let missing = quantity - &part;
        let mut cost = Figure::zero();
        if part.is_positive() {
            cost = share(&self.value, &part, &there);
            if part == there {
                self.last_cost = &self.value / &there;
            }
            self.quantity -= &part;
            self.value -= &cost;
        }
        if missing.is_positive() {
            let provisional = rounded(&(&missing * &self.last_cost));
            cost += &provisional;
            self.quantity -= &missing;
            self.value -= &provisional;
            self.shortfalls.push(Shortfall { movement, quantity: missing, provisional });
        }
        self.remember_cost();
        cost
    }

    /// Goods that are there go out at a stated cost. Gives what remains at zero quantity: the
    /// pool is worth nothing then.
    pub fn take_at(&mut self, quantity: &Figure, cost: &Figure) -> Figure {
        assert!(self.quantity >= *quantity, "asked for by whoever knows that they are there");
        self.quantity -= quantity;
        self.value -= cost;
        if !self.quantity.is_zero() {
            self.remember_cost();
            return Figure::zero();
        }
        self.last_cost = cost / quantity;
        std::mem::replace(&mut self.value, Figure::zero())
    }

    /// The balance becomes a quantity at a cost of one unit. Gives the change in value. Open
    /// shortfalls end: their provisional cost is final.
    pub fn restate(&mut self, quantity: &Figure, unit_cost: &Figure) -> Figure {
        let value = rounded(&(quantity * unit_cost));
        let change = &value - &self.value;
        self.quantity = quantity.clone();
        self.value = value;
        self.shortfalls.clear();
        self.last_cost = unit_cost.clone();
        self.remember_cost();
        change
    }

    /// What one unit costs now: its value where there is stock, else what it last was.
    pub fn current_cost(&self) -> Figure {
        if self.quantity.is_positive() {
            &self.value / &self.quantity
        } else {
            self.last_cost.clone()
        }
    }

    fn remember_cost(&mut self) {
        if self.quantity.is_positive() {
            self.last_cost = &self.value / &self.quantity;
        }
        self.check();
    }

    fn check(&self) {
        if self.quantity.is_zero() {
            assert!(self.value.is_zero(), "zero quantity is worth {}", self.value);
        }
        let open: Figure = self.shortfalls.iter().map(|each| &each.quantity).sum();
        assert_eq!(open, (-&self.quantity).max(Figure::zero()), "shortfalls are what is missing");
        if self.quantity.is_negative() {
            let worth: Figure = self.shortfalls.iter().map(|each| &each.provisional).sum();
            assert_eq!(self.value, -worth, "a negative pool is worth what it owes");
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::DeviceNo;

    use super::super::figure::{integer, whole};
    use super::*;

    fn movement(counter: u64) -> Capture {
        Capture { device: DeviceNo(1), counter }
    }

    fn stands(pool: &Pool) -> (i128, i128) {
        (integer(&pool.quantity), integer(&pool.value))
    }

    #[test]
    fn the_last_unit_takes_the_residue() {
        let mut pool = Pool::new(whole(0));
        pool.put(&whole(10), &whole(3_330));
        pool.put(&whole(20), &whole(6_800));
        let costs = [7, 7, 16].map(|quantity| integer(&pool.take(&whole(quantity), movement(1))));
        assert_eq!(costs, [2_364, 2_364, 5_402]);
        assert_eq!(stands(&pool), (0, 0));
    }

    #[test]
    fn a_shortfall_is_repriced_to_what_covers_it() {
        let mut pool = Pool::new(whole(100));
        assert_eq!(pool.take(&whole(10), movement(1)), whole(1_000));
        assert_eq!(stands(&pool), (-10, -1_000));
        let repriced = pool.put(&whole(4), &whole(600));
        assert_eq!(repriced, [Repriced { movement: movement(1), difference: whole(200) }]);
        assert_eq!(stands(&pool), (-6, -600));
        pool.put(&whole(8), &whole(1_200));
        assert_eq!(stands(&pool), (2, 300));
        assert_eq!(pool.last_cost, whole(150));
    }

    #[test]
    fn a_return_at_another_cost_leaves_a_residue() {
        let mut pool = Pool::new(whole(0));
        pool.put(&whole(1), &whole(1_500));
        assert_eq!(pool.take_at(&whole(1), &whole(1_000)), whole(500));
        assert_eq!(stands(&pool), (0, 0));
        assert_eq!(pool.last_cost, whole(1_000));
    }

    #[test]
    fn a_count_with_a_cost_ends_shortfalls() {
        let mut pool = Pool::new(whole(70));
        pool.take(&whole(5), movement(1));
        assert_eq!(pool.restate(&whole(50), &whole(100)), whole(5_350));
        assert_eq!(stands(&pool), (50, 5_000));
        assert!(pool.put(&whole(1), &whole(100)).is_empty());
    }
}
