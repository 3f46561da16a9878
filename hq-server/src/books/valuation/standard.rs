//! A standard-cost pool: everything moves at the standard of the moment. What goods cost otherwise
//! is a variance: expensed, or carried beside the value (材料成本差异) and shared month by month with
//! what leaves, by value at standard, as a month-end average shares a value by units.
//!
//! Invariants: at zero quantity the value is zero: what brings the quantity there takes what is
//! left. Nothing that leaves early waits for a cost, so there are no shortfalls. The units of what
//! is carried are the value at standard.

use super::{FactId, MonthlyPool, OutOfRange, UnitCost, in_range};

/// The state of a pool at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardPool {
    quantity: i64,
    value: i64,
    standard: UnitCost,
    /// What is carried; by itself, for few pools carry any.
    variance: Option<Box<MonthlyPool>>,
}

impl StandardPool {
    /// An empty pool; `standard` is the cost to begin with.
    pub const fn new(standard: UnitCost) -> Self {
        Self { quantity: 0, value: 0, standard, variance: None }
    }

    /// A pool that holds this, at the cost of it or at `standard` where it holds nothing.
    pub(super) fn holding(quantity: i64, value: i64, standard: UnitCost) -> Self {
        Self { quantity, value, standard, variance: None }
    }

    /// From here on variances are carried.
    pub fn begin_to_carry(&mut self) {
        let value = self.value;
        let none = || Box::new(MonthlyPool::holding(value, 0, UnitCost::ZERO));
        self.variance.get_or_insert_with(none);
    }

    /// What is carried: its units are the value at standard.
    pub fn variance(&self) -> Option<&MonthlyPool> {
        self.variance.as_deref()
    }

    /// See [`Self::variance`].
    pub(super) fn variance_mut(&mut self) -> Option<&mut MonthlyPool> {
        self.variance.as_deref_mut()
    }

    /// Lets the variance follow a fact that changed the value at standard. Returns its change.
    pub(super) fn carry(
        &mut self,
        fact: FactId,
        own: Option<i64>,
        around: bool,
    ) -> Result<i64, OutOfRange> {
        let Some(variance) = &mut self.variance else { return Ok(0) };
        let units = in_range(i128::from(self.value) - i128::from(variance.quantity()))?;
        variance.share_with(fact, units, own, around)
    }

    /// Units on hand; below zero when more left than came in.
    pub const fn quantity(&self) -> i64 {
        self.quantity
    }

    /// What they are worth.
    pub const fn value(&self) -> i64 {
        self.value
    }

    /// The standard.
    pub const fn standard(&self) -> UnitCost {
        self.standard
    }

    /// Takes `quantity` > 0 out and returns its cost.
    pub fn take_out(&mut self, quantity: i64) -> Result<i64, OutOfRange> {
        self.change(-i128::from(quantity)).map(|change| -change)
    }

    /// Brings `quantity` > 0 in and returns what it is worth here.
    pub fn bring_in(&mut self, quantity: i64) -> Result<i64, OutOfRange> {
        self.change(quantity.into())
    }

    /// The balance becomes what was counted. Returns the change in value.
    pub fn count(&mut self, counted: i64) -> Result<i64, OutOfRange> {
        self.change(i128::from(counted) - i128::from(self.quantity))
    }

    /// The balance becomes `counted` units, zero or more, at a new standard. Returns the change in
    /// value.
    pub fn count_at(&mut self, counted: i64, cost: UnitCost) -> Result<i64, OutOfRange> {
        debug_assert!(counted >= 0);
        in_range(counted.into())?;
        self.become_worth(counted, cost)
    }

    /// What is on hand, or short, is restated to a new standard. Returns the change in value.
    pub fn restate(&mut self, standard: UnitCost) -> Result<i64, OutOfRange> {
        self.become_worth(self.quantity, standard)
    }

    /// Adds an amount to what is on hand.
    pub fn revalue(&mut self, amount: i64) -> Result<(), OutOfRange> {
        debug_assert!(self.quantity > 0);
        self.value = in_range(i128::from(self.value) + i128::from(amount))?;
        Ok(())
    }

    fn become_worth(&mut self, quantity: i64, standard: UnitCost) -> Result<i64, OutOfRange> {
        let value = standard.times(quantity)?;
        let change = in_range(i128::from(value) - i128::from(self.value))?;
        (self.quantity, self.value, self.standard) = (quantity, value, standard);
        Ok(change)
    }

    fn change(&mut self, units: i128) -> Result<i64, OutOfRange> {
        let units = in_range(units)?;
        let after = in_range(i128::from(self.quantity) + i128::from(units))?;
        let value_after = if after == 0 {
            0
        } else if self.quantity.signum() * after.signum() < 0 {
            // Through zero: what was there is gone to the last cent.
            self.standard.times(after)?
        } else {
            in_range(i128::from(self.value) + i128::from(self.standard.times(units)?))?
        };
        let change = in_range(i128::from(value_after) - i128::from(self.value))?;
        (self.quantity, self.value) = (after, value_after);
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_moves_at_the_standard_and_the_last_unit_takes_the_rest() {
        let mut pool = StandardPool::new(UnitCost::of(10, 3));
        assert_eq!([1, 1, 1].map(|units| pool.bring_in(units)), [Ok(3); 3]);
        assert_eq!((pool.quantity(), pool.value()), (3, 9));
        assert_eq!(pool.take_out(2), Ok(7));
        assert_eq!(pool.take_out(1), Ok(2));
        assert_eq!((pool.quantity(), pool.value()), (0, 0));
        assert_eq!(pool.take_out(2), Ok(7));
        assert_eq!(pool.bring_in(3), Ok(10));
        assert_eq!((pool.quantity(), pool.value()), (1, 3));
    }

    #[test]
    fn a_new_standard_restates_what_is_there_or_short() {
        let mut pool = StandardPool::new(UnitCost::of(10, 1));
        assert_eq!(pool.bring_in(5), Ok(50));
        assert_eq!(pool.restate(UnitCost::of(12, 1)), Ok(10));
        assert_eq!(pool.take_out(7), Ok(60 + 24));
        assert_eq!(pool.restate(UnitCost::of(10, 1)), Ok(4));
        assert_eq!((pool.quantity(), pool.value()), (-2, -20));
        assert_eq!(pool.count_at(3, UnitCost::of(5, 1)), Ok(35));
        assert_eq!(pool.count(1), Ok(-10));
        assert_eq!((pool.quantity(), pool.value()), (1, 5));
    }

    #[test]
    fn beyond_the_range_nothing_changes() {
        let mut pool = StandardPool::new(UnitCost::of(1 << 40, 1));
        assert_eq!(pool.bring_in(1 << 10), Ok(1 << 50));
        let before = pool.clone();
        assert_eq!(pool.bring_in(1 << 30), Err(OutOfRange));
        assert_eq!(pool.restate(UnitCost::of(1 << 55, 1)), Err(OutOfRange));
        assert_eq!(pool, before);
    }
}
