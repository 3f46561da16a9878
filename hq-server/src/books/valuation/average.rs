//! A moving-average pool: one quantity and one value.
//!
//! What is on hand leaves at its share of the value, the last unit out takes what is left. What is
//! missing leaves at the last known cost, provisionally; the next inflow covers open shortfalls,
//! oldest first, and re-prices them to itself. Invariant: at zero quantity the value is zero, and
//! below zero it is minus the sum of the open provisional costs.

use super::cost::KeptCost;
use super::shortfall::{Covered, Shortfall, Shortfalls};
use super::{FactId, OutOfRange, UnitCost, in_range, share};

/// The state of a pool at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AveragePool {
    quantity: i64,
    value: i64,
    /// What the last units left at, or the cost before anything is known.
    last_known: KeptCost,
    shortfalls: Shortfalls,
}

impl AveragePool {
    /// An empty pool; `initial` is the cost assumed before any inflow.
    pub fn new(initial: UnitCost) -> Self {
        Self {
            quantity: 0,
            value: 0,
            last_known: initial.into(),
            shortfalls: Shortfalls::default(),
        }
    }

    /// A pool that holds this.
    pub(super) fn holding(
        quantity: i64,
        value: i64,
        last_known: UnitCost,
        shortfalls: Shortfalls,
    ) -> Self {
        let pool = Self { quantity, value, last_known: last_known.into(), shortfalls };
        pool.check();
        pool
    }

    /// What left before it was there.
    pub(super) const fn shortfalls(&self) -> &Shortfalls {
        &self.shortfalls
    }

    /// Units on hand; below zero when more left than came in.
    pub const fn quantity(&self) -> i64 {
        self.quantity
    }

    /// What they are worth.
    pub const fn value(&self) -> i64 {
        self.value
    }

    /// Whether some movement waits for its cost.
    pub fn is_short(&self) -> bool {
        !self.shortfalls.is_empty()
    }

    /// Value / quantity where there is stock, else the last known cost.
    pub fn current_cost(&self) -> UnitCost {
        if self.quantity > 0 {
            UnitCost::of(self.value, self.quantity)
        } else {
            self.last_known.get()
        }
    }

    /// Takes `quantity` > 0 out and returns its cost; what is missing leaves provisionally.
    pub fn take_out(&mut self, fact: FactId, quantity: i64) -> Result<i64, OutOfRange> {
        debug_assert!(quantity > 0);
        let on_hand = self.quantity.max(0).min(quantity);
        let missing = quantity - on_hand;
        let held = if on_hand > 0 { share(self.value, on_hand, self.quantity) } else { 0 };
        let empties = on_hand > 0 && on_hand == self.quantity;
        let last_known = if empties { self.current_cost().into() } else { self.last_known.clone() };
        let provisional = if missing > 0 { last_known.get().times(missing)? } else { 0 };
        let quantity_after = in_range(i128::from(self.quantity) - i128::from(quantity))?;
        let value_after =
            in_range(i128::from(self.value) - i128::from(held) - i128::from(provisional))?;
        let cost = in_range(i128::from(held) + i128::from(provisional))?;
        self.last_known = last_known;
        self.quantity = quantity_after;
        self.value = value_after;
        if missing > 0 {
            self.shortfalls.push(Shortfall { fact, missing, provisional, cost });
        }
        self.check();
        Ok(cost)
    }

    /// Takes `quantity` out at a cost that is not the pool's own, where that many are on hand.
    /// Returns what remains in value at zero quantity; it is no longer in the pool.
    pub fn take_out_at(&mut self, quantity: i64, cost: i64) -> Result<i64, OutOfRange> {
        debug_assert!(quantity > 0 && quantity <= self.quantity);
        let value_after = in_range(i128::from(self.value) - i128::from(cost))?;
        if quantity < self.quantity {
            self.quantity -= quantity;
            self.value = value_after;
            return Ok(0);
        }
        self.last_known = UnitCost::of(cost, quantity).into();
        self.quantity = 0;
        self.value = 0;
        Ok(value_after)
    }

    /// Brings `quantity` > 0 in at `value`; covers open shortfalls first, oldest first.
    pub fn bring_in(
        &mut self,
        quantity: i64,
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        debug_assert!(quantity > 0);
        in_range(value.into())?;
        let quantity_after = in_range(i128::from(self.quantity) + i128::from(quantity))?;
        let rest = self.shortfalls.cover(quantity, value, covered)?;
        let value_after = i128::from(self.value) + i128::from(rest.released + rest.value);
        self.value = in_range(value_after)?;
        self.quantity = quantity_after;
        self.shortfalls.apply(&rest);
        self.check();
        Ok(())
    }

    /// The balance becomes what was counted, at the pool's own cost. Returns the change in value.
    pub fn count(
        &mut self,
        fact: FactId,
        counted: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<i64, OutOfRange> {
        let found = i128::from(counted) - i128::from(self.quantity);
        let found = in_range(found)?;
        match found {
            0 => Ok(0),
            1.. => {
                let value = self.current_cost().times(found)?;
                self.bring_in(found, value, covered)?;
                Ok(value)
            }
            _ => Ok(-self.take_out(fact, -found)?),
        }
    }

    /// The balance becomes `counted` units, zero or more, at `cost`. Open shortfalls keep their
    /// provisional cost as final. Returns the change in value.
    pub fn count_at(&mut self, counted: i64, cost: UnitCost) -> Result<i64, OutOfRange> {
        debug_assert!(counted >= 0);
        in_range(counted.into())?;
        let value = cost.times(counted)?;
        let change = in_range(i128::from(value) - i128::from(self.value))?;
        self.shortfalls.end();
        self.quantity = counted;
        self.value = value;
        self.last_known = cost.into();
        self.check();
        Ok(change)
    }

    /// What is on hand is restated to a cost; where nothing is, only the last known cost changes.
    /// Returns the change in value.
    pub fn restate(&mut self, cost: UnitCost) -> Result<i64, OutOfRange> {
        if self.quantity > 0 {
            return self.count_at(self.quantity, cost);
        }
        self.last_known = cost.into();
        Ok(0)
    }

    /// Adds an amount to what is on hand.
    pub fn revalue(&mut self, amount: i64) -> Result<(), OutOfRange> {
        debug_assert!(self.quantity > 0);
        self.value = in_range(i128::from(self.value) + i128::from(amount))?;
        Ok(())
    }

    fn check(&self) {
        if self.quantity <= 0 {
            assert!(
                self.value == -self.shortfalls.provisional()
                    && self.quantity == -self.shortfalls.missing(),
                "a pool without stock is worth minus its open provisional costs"
            );
        } else {
            assert!(self.shortfalls.is_empty(), "a pool with stock has no open shortfall");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACT: FactId = FactId(1);

    fn filled(quantity: i64, value: i64) -> AveragePool {
        let mut pool = AveragePool::new(UnitCost::ZERO);
        pool.bring_in(quantity, value, &mut Vec::new()).expect("in range");
        pool
    }

    #[test]
    fn the_last_unit_out_takes_the_residue() {
        let mut pool = filled(30, 10_130);
        let costs = [7, 7, 16].map(|quantity| pool.take_out(FACT, quantity).expect("in range"));
        assert_eq!(costs, [2_364, 2_364, 5_402]);
        assert_eq!((pool.quantity(), pool.value()), (0, 0));
    }

    #[test]
    fn an_inflow_re_prices_what_was_missing() {
        let mut pool = filled(2, 20);
        assert_eq!(pool.take_out(FactId(7), 5), Ok(20 + 30));
        assert_eq!((pool.quantity(), pool.value()), (-3, -30));
        let mut covered = Vec::new();
        pool.bring_in(2, 24, &mut covered).expect("in range");
        assert_eq!(covered, [Covered { fact: FactId(7), change: 4 }]);
        assert_eq!((pool.quantity(), pool.value()), (-1, -10));
        pool.bring_in(4, 60, &mut covered).expect("in range");
        assert_eq!(covered[1], Covered { fact: FactId(7), change: 5 });
        assert_eq!((pool.quantity(), pool.value()), (3, 45));
    }

    #[test]
    fn a_count_is_a_fixed_point() {
        let mut pool = filled(10, 105);
        assert_eq!(pool.count(FACT, 12, &mut Vec::new()), Ok(21));
        assert_eq!(pool.count(FACT, 5, &mut Vec::new()), Ok(-74));
        assert_eq!((pool.quantity(), pool.value()), (5, 52));
        assert_eq!(pool.count_at(4, UnitCost::of(80, 4)), Ok(28));
        assert_eq!((pool.quantity(), pool.value()), (4, 80));
        assert_eq!(pool.count_at(0, UnitCost::of(7, 1)), Ok(-80));
        assert_eq!(pool.take_out(FACT, 2), Ok(14));
    }

    #[test]
    fn restated_is_what_is_there() {
        let mut pool = filled(10, 105);
        assert_eq!(pool.restate(UnitCost::of(12, 1)), Ok(15));
        assert_eq!(pool.revalue(-20), Ok(()));
        assert_eq!(pool.take_out(FACT, 10), Ok(100));
        assert_eq!(pool.restate(UnitCost::of(7, 1)), Ok(0));
        assert_eq!(pool.take_out(FACT, 2), Ok(14));
    }

    #[test]
    fn a_return_at_another_cost_leaves_its_residue_outside() {
        let mut pool = filled(10, 100);
        assert_eq!(pool.take_out_at(4, 50), Ok(0));
        assert_eq!((pool.quantity(), pool.value()), (6, 50));
        assert_eq!(pool.take_out_at(6, 72), Ok(-22));
        assert_eq!((pool.quantity(), pool.value()), (0, 0));
    }

    #[test]
    fn beyond_the_range_nothing_changes() {
        let mut pool = filled(1, (1 << 60) - 1);
        let before = pool.clone();
        assert_eq!(pool.bring_in(1, 1, &mut Vec::new()), Err(OutOfRange));
        assert_eq!(pool.bring_in(i64::MAX, 1, &mut Vec::new()), Err(OutOfRange));
        assert_eq!(pool.take_out(FACT, 1 << 61), Err(OutOfRange));
        assert_eq!(pool, before);
    }
}
