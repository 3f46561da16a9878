//! A pool under moving average: one quantity and one value, a part leaves at its share.

use num_traits::{Signed, Zero};
use shared::fact::statement::CostMethod;

use super::figure::{Figure, share};
use super::pool::{Part, Pool, Repriced};

impl Pool {
    pub(super) fn put_at_average(&mut self, mut inflow: Part) -> Vec<Repriced> {
        let repriced = self.cover(&mut inflow);
        self.quantity += inflow.quantity;
        self.value += inflow.value;
        self.remember_average();
        repriced
    }

    /// A part of what is there leaves.
    pub(super) fn take_average(&mut self, part: &Figure) -> Figure {
        let cost = share(&self.value, part, &self.quantity);
        self.remember_average();
        self.quantity -= part;
        self.value -= &cost;
        self.remember_average();
        cost
    }

    /// Goods that are there go out at a stated cost. Gives what remains at zero quantity: the
    /// pool is worth nothing then.
    pub fn take_at(&mut self, quantity: &Figure, cost: &Figure) -> Figure {
        assert!(self.quantity >= *quantity, "asked for by whoever knows that they are there");
        self.quantity -= quantity;
        self.value -= cost;
        if !self.quantity.is_zero() {
            self.remember_average();
            return Figure::zero();
        }
        self.last_cost = cost / quantity;
        std::mem::replace(&mut self.value, Figure::zero())
    }

    /// The cost of one unit when the pool last had stock.
    pub(super) fn remember_average(&mut self) {
        let remembers = self.is_average() || self.method == CostMethod::MonthEndAverage;
        if remembers && self.quantity.is_positive() {
            self.last_cost = &self.value / &self.quantity;
        }
    }
}
