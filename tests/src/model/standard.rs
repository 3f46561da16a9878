//! A pool under standard cost: everything moves at the standard of the moment.

use num_traits::{Signed, Zero};

use super::figure::{Figure, rounded};
use super::pool::Pool;

impl Pool {
    /// So many units come or, with a minus, go. Gives the change in value. What is left at zero
    /// quantity goes along; beyond zero the pool is worth what the standard says.
    pub(super) fn move_at_standard(&mut self, units: &Figure) -> Figure {
        let quantity = &self.quantity + units;
        let crosses = (&quantity * &self.quantity).is_negative();
        let value = if quantity.is_zero() {
            Figure::zero()
        } else if crosses {
            rounded(&(&quantity * &self.last_cost))
        } else {
            &self.value + rounded(&(units * &self.last_cost))
        };
        let change = &value - &self.value;
        self.quantity = quantity;
        self.value = value;
        change
    }
}
