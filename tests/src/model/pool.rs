//! One cost pool: a quantity, a value, and what left before it was there. How goods come and go is
//! in a file for each method. Knows no facts, sites or accounts. Holds always: a negative quantity
//! is the sum of the open shortfalls and its value the sum of their provisional costs, but under
//! standard cost; zero quantity has zero value; layers are what is there.

use num_traits::{Signed, Zero};
use shared::fact::statement::CostMethod;
use shared::ids::Capture;

use super::figure::{Figure, rounded, share};
use super::monthly::Span;
use super::variance::Variance;

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

/// Goods with one cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// In smallest units.
    pub quantity: Figure,
    /// In minor units.
    pub value: Figure,
    /// What first brought them in, where they come from a layer: they stay its goods wherever they
    /// go.
    pub came_with: Option<Capture>,
}

/// Goods that came in together and are still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What brought them in.
    pub inflow: Capture,
    /// What is left of them.
    pub part: Part,
}

/// A pool of one item.
#[derive(Clone, Debug)]
pub struct Pool {
    /// How it costs what leaves.
    pub method: CostMethod,
    /// In smallest units.
    pub quantity: Figure,
    /// In minor units.
    pub value: Figure,
    /// Value of one smallest unit when it was last known; never rounded. The standard, where there
    /// is one.
    pub last_cost: Figure,
    /// Oldest first.
    pub shortfalls: Vec<Shortfall>,
    /// Under first in, first out and its opposite: oldest first.
    pub layers: Vec<Layer>,
    /// At month-end average: the month at hand.
    pub span: Option<Span>,
    /// The average of the last month that has one.
    pub average: Option<Figure>,
    /// What the goods cost beyond their standard, where that goes with them.
    pub variance: Option<Variance>,
}

impl Part {
    /// So much at so much.
    pub const fn new(quantity: Figure, value: Figure) -> Self {
        Self { quantity, value, came_with: None }
    }

    /// Takes out a part, at its share of the value.
    #[must_use]
    pub fn split(&mut self, quantity: &Figure) -> Self {
        let value = share(&self.value, quantity, &self.quantity);
        self.quantity -= quantity;
        self.value -= &value;
        Self { quantity: quantity.clone(), value, came_with: self.came_with }
    }

    /// All of them together.
    pub fn sum(parts: &[Self]) -> Self {
        let quantity = parts.iter().map(|part| &part.quantity).sum();
        Self::new(quantity, parts.iter().map(|part| &part.value).sum())
    }
}

impl Pool {
    /// A pool to which nothing has happened yet.
    pub fn new(method: CostMethod, initial_cost: Figure) -> Self {
        Self {
            method,
            quantity: Figure::zero(),
            value: Figure::zero(),
            last_cost: initial_cost,
            shortfalls: Vec::new(),
            layers: Vec::new(),
            span: None,
            average: None,
            variance: None,
        }
    }

    /// Whether what came in together stays together.
    pub const fn has_layers(&self) -> bool {
        matches!(self.method, CostMethod::Fifo | CostMethod::Lifo)
    }

    /// Whether a returned receipt leaves at the receipt's own cost if it is there.
    pub const fn is_average(&self) -> bool {
        matches!(self.method, CostMethod::MovingAverage | CostMethod::Specific)
    }

    /// Goes on by a method with what there is, at its value. What was missing stays so, but under
    /// standard cost nothing waits for its cost; what becomes one layer, and what was missing at
    /// standard, is `by`'s. Gives what went with the goods beyond their standard: it is value now.
    pub fn go_on_by(&mut self, method: CostMethod, by: Capture) -> Figure {
        let was = self.method;
        let (had_layers, was_standard) = (self.has_layers(), was == CostMethod::Standard);
        let was_average = self.is_average();
        self.method = method;
        let was_monthly = was == CostMethod::MonthEndAverage;
        let same = (had_layers && self.has_layers()) || (was_average && self.is_average());
        if same || was == method {
            return Figure::zero();
        }
        let joined = self.variance.take().map_or_else(Figure::zero, |variance| variance.amount);
        self.value += &joined;
        if self.quantity.is_positive() && !was_standard {
            self.last_cost = &self.value / &self.quantity;
        }
        self.layers.clear();
        if self.quantity.is_positive() && self.has_layers() {
            let part = Part::new(self.quantity.clone(), self.value.clone());
            self.layers.push(Layer { inflow: by, part });
        }
        (self.span, self.average) = (None, None);
        if matches!(method, CostMethod::Standard | CostMethod::MonthEndAverage) {
            self.shortfalls.clear();
        } else if (was_standard || was_monthly) && self.quantity.is_negative() {
            let (quantity, provisional) = (-&self.quantity, -&self.value);
            self.shortfalls.push(Shortfall { movement: by, quantity, provisional });
        }
        joined
    }

    /// Goods come in at a value, in parts that keep their costs where the method keeps any. What
    /// is missing is covered first. Gives by how much the movement changes the value of stock.
    pub fn put(&mut self, inflow: Capture, parts: &[Part]) -> (Figure, Vec<Repriced>) {
        let all = Part::sum(parts);
        let mut repriced = Vec::new();
        let change = match self.method {
            CostMethod::Standard => self.move_at_standard(&all.quantity),
            CostMethod::Fifo | CostMethod::Lifo => {
                for part in parts {
                    repriced.extend(self.put_layer(inflow, part.clone()));
                }
                all.value
            }
            CostMethod::MonthEndAverage => self.put_in_month(inflow, &all.quantity, &all.value),
            CostMethod::MovingAverage | CostMethod::Specific => {
                repriced = self.put_at_average(all.clone());
                all.value
            }
        };
        self.check();
        (change, repriced)
    }

    /// Goods go out: what is there by the method, the missing quantity at the last known cost
    /// until an inflow covers it. Gives the cost, and the layers it is made of.
    pub fn take(
        &mut self,
        quantity: &Figure,
        movement: Capture,
        came_with: Option<Capture>,
    ) -> (Figure, Vec<Part>) {
        let (mut cost, mut parts) = (Figure::zero(), Vec::new());
        if self.method == CostMethod::Standard {
            cost = -self.move_at_standard(&-quantity);
        } else if self.method == CostMethod::MonthEndAverage {
            cost = self.take_in_month(quantity, movement);
        } else {
            let there = quantity.clone().min(self.quantity.clone().max(Figure::zero()));
            if there.is_positive() && self.has_layers() {
                parts = self.take_layers(&there, came_with);
                cost = Part::sum(&parts).value;
            } else if there.is_positive() {
                cost = self.take_average(&there);
            }
            cost += self.take_missing(&(quantity - there), movement);
        }
        self.check();
        (cost, parts)
    }

    fn take_missing(&mut self, missing: &Figure, movement: Capture) -> Figure {
        if missing.is_zero() {
            return Figure::zero();
        }
        let provisional = rounded(&(missing * &self.last_cost));
        self.quantity -= missing;
        self.value -= &provisional;
        let (quantity, cost) = (missing.clone(), provisional.clone());
        self.shortfalls.push(Shortfall { movement, quantity, provisional });
        cost
    }

    /// Covers shortfalls, oldest first, and takes off what that needs.
    pub(super) fn cover(&mut self, inflow: &mut Part) -> Vec<Repriced> {
        let mut repriced = Vec::new();
        while inflow.quantity.is_positive() && !self.shortfalls.is_empty() {
            let oldest = &mut self.shortfalls[0];
            let covered = oldest.quantity.clone().min(inflow.quantity.clone());
            let cost = inflow.split(&covered).value;
            let released = share(&oldest.provisional, &covered, &oldest.quantity);
            oldest.quantity -= &covered;
            oldest.provisional -= &released;
            self.quantity += &covered;
            self.value += &released;
            repriced.push(Repriced { movement: oldest.movement, difference: cost - released });
            if oldest.quantity.is_zero() {
                self.shortfalls.remove(0);
            }
        }
        repriced
    }

    /// The balance becomes a quantity at a cost of one unit. Gives the change in value. Open
    /// shortfalls end: their provisional cost is final.
    pub fn restate(&mut self, count: Capture, quantity: &Figure, unit_cost: &Figure) -> Figure {
        (self.span, self.average) = (None, None);
        let value = rounded(&(quantity * unit_cost));
        let change = &value - &self.value;
        self.quantity = quantity.clone();
        self.value = value.clone();
        self.shortfalls.clear();
        self.layers.clear();
        self.last_cost = unit_cost.clone();
        if self.has_layers() && quantity.is_positive() {
            self.layers.push(Layer { inflow: count, part: Part::new(quantity.clone(), value) });
        }
        self.remember_average();
        self.check();
        change
    }

    /// An amount is added to what is there, under layers to those that came with `receipts`, if
    /// any are named. Gives what was added.
    pub fn revalue(&mut self, amount: &Figure, receipts: &[Capture]) -> Figure {
        if !self.quantity.is_positive() {
            return Figure::zero();
        }
        let added =
            if self.has_layers() { self.revalue_layers(amount, receipts) } else { amount.clone() };
        self.value += &added;
        self.remember_average();
        self.check();
        added
    }

    /// One unit costs so much from here on. Gives the change in value.
    pub fn set_cost(&mut self, unit_cost: &Figure) -> Figure {
        let restated = match self.method {
            CostMethod::Standard => true,
            CostMethod::Fifo | CostMethod::Lifo => false,
            CostMethod::MovingAverage | CostMethod::Specific | CostMethod::MonthEndAverage => {
                self.quantity.is_positive()
            }
        };
        (self.span, self.average) = (None, None);
        self.last_cost = unit_cost.clone();
        if !restated {
            return Figure::zero();
        }
        let value = rounded(&(&self.quantity * unit_cost));
        let change = &value - &self.value;
        self.value = value;
        self.remember_average();
        self.check();
        change
    }

    /// What one unit costs now: its value where there is stock, else what it last was.
    pub fn current_cost(&self) -> Figure {
        if self.method == CostMethod::MonthEndAverage {
            self.month_cost()
        } else if self.quantity.is_positive() && self.method != CostMethod::Standard {
            &self.value / &self.quantity
        } else {
            self.last_cost.clone()
        }
    }

    fn check(&self) {
        if self.method == CostMethod::MonthEndAverage {
            // Within a month that is averaged the rest is taken last.
            return;
        }
        if self.quantity.is_zero() {
            assert!(self.value.is_zero(), "zero quantity is worth {}", self.value);
        }
        if self.method == CostMethod::Standard {
            return;
        }
        let there = self.quantity.clone().max(Figure::zero());
        let open: Figure = self.shortfalls.iter().map(|each| &each.quantity).sum();
        assert_eq!(&there - open, self.quantity, "shortfalls are what is missing");
        if self.quantity.is_negative() {
            let worth: Figure = self.shortfalls.iter().map(|each| &each.provisional).sum();
            assert_eq!(self.value, -worth, "a negative pool is worth what it owes");
        }
        if self.has_layers() {
            let parts: Vec<_> = self.layers.iter().map(|layer| layer.part.clone()).collect();
            let held = Part::sum(&parts);
            assert_eq!(held.quantity, there, "layers are what is there");
            assert!(there.is_zero() || held.value == self.value, "layers are worth what is there");
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

    fn average(cost: Figure) -> Pool {
        Pool::new(CostMethod::MovingAverage, cost)
    }

    fn part(quantity: i64, value: i64) -> [Part; 1] {
        [Part::new(whole(quantity), whole(value))]
    }

    fn stands(pool: &Pool) -> (i128, i128) {
        (integer(&pool.quantity), integer(&pool.value))
    }

    #[test]
    fn the_last_unit_takes_the_residue() {
        let mut pool = average(whole(0));
        pool.put(movement(9), &part(10, 3_330));
        pool.put(movement(9), &part(20, 6_800));
        let costs =
            [7, 7, 16].map(|quantity| integer(&pool.take(&whole(quantity), movement(1), None).0));
        assert_eq!(costs, [2_364, 2_364, 5_402]);
        assert_eq!(stands(&pool), (0, 0));
    }

    #[test]
    fn a_shortfall_is_repriced_to_what_covers_it() {
        let mut pool = average(whole(100));
        assert_eq!(pool.take(&whole(10), movement(1), None).0, whole(1_000));
        assert_eq!(stands(&pool), (-10, -1_000));
        let (_, repriced) = pool.put(movement(9), &part(4, 600));
        assert_eq!(repriced, [Repriced { movement: movement(1), difference: whole(200) }]);
        assert_eq!(stands(&pool), (-6, -600));
        pool.put(movement(9), &part(8, 1_200));
        assert_eq!(stands(&pool), (2, 300));
        assert_eq!(pool.last_cost, whole(150));
    }

    #[test]
    fn a_return_at_another_cost_leaves_a_residue() {
        let mut pool = average(whole(0));
        pool.put(movement(9), &part(1, 1_500));
        assert_eq!(pool.take_at(&whole(1), &whole(1_000)), whole(500));
        assert_eq!(stands(&pool), (0, 0));
        assert_eq!(pool.last_cost, whole(1_000));
    }

    #[test]
    fn a_count_with_a_cost_ends_shortfalls() {
        let mut pool = average(whole(70));
        pool.take(&whole(5), movement(1), None);
        assert_eq!(pool.restate(movement(8), &whole(50), &whole(100)), whole(5_350));
        assert_eq!(stands(&pool), (50, 5_000));
        assert!(pool.put(movement(9), &part(1, 100)).1.is_empty());
    }
}
