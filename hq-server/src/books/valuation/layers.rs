//! A pool of layers, FIFO or LIFO: every inflow stays by itself until it has left.
//!
//! A part of a layer takes its share of the layer's value, the last unit takes what is left. What
//! is missing leaves at the last known cost, provisionally, and the next inflow re-prices it.
//! Invariant: quantity and value are the sums of the layers, or minus those of the shortfalls.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::cost::KeptCost;
use super::queue::LayerQueue;
use super::shortfall::{Covered, Shortfall, Shortfalls};
use super::{FactId, OutOfRange, UnitCost, in_range, share};

/// Which layer leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// First in, first out.
    Oldest,
    /// Last in, first out.
    Newest,
}

/// Units with what they are worth: what is left of an inflow, or what a movement took of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The movement that brought it in.
    pub inflow: FactId,
    /// Smallest units, more than none.
    pub units: i64,
    /// Minor units.
    pub value: i64,
}

impl Layer {
    fn unit_cost(&self) -> UnitCost {
        UnitCost::of(self.value, self.units)
    }

    /// Its part of at most `units`; all of the value with the last of them.
    fn part(&self, units: i64) -> Self {
        let units = units.min(self.units);
        Self { units, value: share(self.value, units, self.units), ..*self }
    }
}

/// Takes units off the front; fewer where there are fewer.
pub(in crate::books) fn take_from_front(layers: &mut VecDeque<Layer>, units: i64) -> Vec<Layer> {
    let (mut taken, mut left) = (Vec::new(), units);
    while let Some(layer) = layers.front_mut().filter(|_| left > 0) {
        let part = layer.part(left);
        left -= part.units;
        layer.units -= part.units;
        layer.value -= part.value;
        if layer.units == 0 {
            layers.pop_front();
        }
        taken.push(part);
    }
    taken
}

/// Parts of layers, with the places of these.
type Parts = SmallVec<[(usize, Layer); 4]>;

/// The state of a pool at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPool {
    leaving: Leaving,
    quantity: i64,
    value: i64,
    /// In the order in which they came.
    layers: LayerQueue,
    /// The unit cost of the layer that was last put in or taken from.
    last_known: KeptCost,
    shortfalls: Shortfalls,
}

impl LayerPool {
    /// An empty pool; `initial` is the cost assumed before any inflow.
    pub fn new(leaving: Leaving, initial: UnitCost) -> Self {
        Self {
            leaving,
            quantity: 0,
            value: 0,
            layers: LayerQueue::default(),
            last_known: initial.into(),
            shortfalls: Shortfalls::default(),
        }
    }

    /// A pool that holds one layer, or nothing, or less.
    pub(super) fn holding(
        leaving: Leaving,
        layer: Layer,
        last_known: UnitCost,
        shortfalls: Shortfalls,
    ) -> Self {
        let Layer { units: quantity, value, .. } = layer;
        let mut layers = LayerQueue::default();
        if quantity > 0 {
            layers.push(layer);
        }
        let last_known = last_known.into();
        let pool = Self { leaving, quantity, value, layers, last_known, shortfalls };
        pool.check();
        pool
    }

    /// Which layers leave first.
    pub const fn leaving(&self) -> Leaving {
        self.leaving
    }

    /// From now on these layers leave first.
    pub(super) const fn leave_by(&mut self, leaving: Leaving) {
        self.leaving = leaving;
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

    /// The layers, the oldest first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }

    /// How many there are.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Value / quantity where there is stock, else the last known cost.
    pub fn current_cost(&self) -> UnitCost {
        if self.quantity > 0 {
            UnitCost::of(self.value, self.quantity)
        } else {
            self.last_known.get()
        }
    }

    /// Takes `quantity` > 0 out and returns its cost; what is missing leaves provisionally. `taken`
    /// gets what left, in the order in which it came, what was missing as one layer at the end.
    pub fn take_out(
        &mut self,
        fact: FactId,
        quantity: i64,
        taken: &mut Vec<Layer>,
    ) -> Result<i64, OutOfRange> {
        self.take(fact, quantity, None, taken)
    }

    /// As [`Self::take_out`], from the layers of one inflow first.
    pub fn take_out_of(
        &mut self,
        fact: FactId,
        quantity: i64,
        inflow: FactId,
        taken: &mut Vec<Layer>,
    ) -> Result<i64, OutOfRange> {
        self.take(fact, quantity, Some(inflow), taken)
    }

    fn take(
        &mut self,
        fact: FactId,
        quantity: i64,
        first: Option<FactId>,
        taken: &mut Vec<Layer>,
    ) -> Result<i64, OutOfRange> {
        debug_assert!(quantity > 0);
        let (parts, missing) = self.parts(quantity, first);
        let last_known = parts
            .last()
            .map_or_else(|| self.last_known.get(), |(at, _)| self.layers[*at].unit_cost());
        let held: i128 = parts.iter().map(|(_, part)| i128::from(part.value)).sum();
        let provisional = if missing > 0 { last_known.times(missing)? } else { 0 };
        let cost = in_range(held + i128::from(provisional))?;
        let quantity_after = in_range(i128::from(self.quantity) - i128::from(quantity))?;
        self.value = in_range(i128::from(self.value) - i128::from(cost))?;
        (self.quantity, self.last_known) = (quantity_after, last_known.into());
        self.take_off(&parts, first.is_some());
        taken.extend(parts.iter().map(|(_, part)| *part));
        if self.leaving == Leaving::Newest {
            // The newest was taken first; what arrives elsewhere keeps the order it had.
            taken.reverse();
        }
        if missing > 0 {
            self.shortfalls.push(Shortfall { fact, missing, provisional, cost });
            taken.push(Layer { inflow: fact, units: missing, value: provisional });
        }
        self.check();
        Ok(cost)
    }

    /// What leaves of which layers, by the method, those of one inflow first; and what is missing.
    fn parts(&self, quantity: i64, first: Option<FactId>) -> (Parts, i64) {
        let (mut parts, mut left) = (Parts::new(), quantity);
        let count = self.layers.len();
        let rounds: &[bool] = if first.is_some() { &[true, false] } else { &[false] };
        for named in rounds {
            for index in 0..count {
                if left == 0 {
                    return (parts, 0);
                }
                let at = if self.leaving == Leaving::Oldest { index } else { count - 1 - index };
                let layer = &self.layers[at];
                if (first == Some(layer.inflow)) == *named {
                    let part = layer.part(left);
                    left -= part.units;
                    parts.push((at, part));
                }
            }
        }
        (parts, left)
    }

    fn take_off(&mut self, parts: &Parts, anywhere: bool) {
        for (at, part) in parts {
            let layer = &mut self.layers[*at];
            layer.units -= part.units;
            layer.value -= part.value;
        }
        if anywhere {
            self.layers.take_out_empty();
        } else {
            self.layers.take_off_ends();
        }
    }

    /// Brings `quantity` > 0 in at `value` as one layer; covers open shortfalls first.
    pub fn bring_in(
        &mut self,
        fact: FactId,
        quantity: i64,
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        self.bring_in_layers(&[Layer { inflow: fact, units: quantity, value }], covered)
    }

    /// Brings layers in, in their order; each covers open shortfalls first.
    pub fn bring_in_layers(
        &mut self,
        layers: &[Layer],
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        // One layer comes in whole or not at all; of several, the first may fit alone.
        let before = (layers.len() > 1).then(|| self.clone());
        let outcome = layers.iter().try_for_each(|layer| self.bring_in_one(layer, covered));
        if let (Err(_), Some(before)) = (&outcome, before) {
            *self = before;
        }
        self.check();
        outcome
    }

    fn bring_in_one(
        &mut self,
        layer: &Layer,
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        in_range(layer.value.into())?;
        let quantity = in_range(i128::from(self.quantity) + i128::from(layer.units))?;
        let rest = self.shortfalls.cover(layer.units, layer.value, covered)?;
        let value = i128::from(self.value) + i128::from(rest.released + rest.value);
        self.value = in_range(value)?;
        self.quantity = quantity;
        self.shortfalls.apply(&rest);
        // Also what covers shortfalls and nothing else was put in.
        self.last_known = layer.unit_cost().into();
        if rest.units > 0 {
            let layer = Layer { units: rest.units, value: rest.value, ..*layer };
            self.last_known = layer.unit_cost().into();
            self.layers.push(layer);
        }
        Ok(())
    }

    /// The balance becomes what was counted: what is found comes in at the current cost, what is
    /// missing leaves by the method. Returns the change in value.
    pub fn count(
        &mut self,
        fact: FactId,
        counted: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<i64, OutOfRange> {
        let found = in_range(i128::from(counted) - i128::from(self.quantity))?;
        match found {
            0 => Ok(0),
            1.. => {
                let value = self.current_cost().times(found)?;
                self.bring_in(fact, found, value, covered)?;
                Ok(value)
            }
            _ => Ok(-self.take_out(fact, -found, &mut Vec::new())?),
        }
    }

    /// The balance becomes `counted` units, zero or more, at `cost`, as one layer. Open shortfalls
    /// keep their provisional cost as final. Returns the change in value.
    pub fn count_at(
        &mut self,
        fact: FactId,
        counted: i64,
        cost: UnitCost,
    ) -> Result<i64, OutOfRange> {
        debug_assert!(counted >= 0);
        in_range(counted.into())?;
        let value = cost.times(counted)?;
        let change = in_range(i128::from(value) - i128::from(self.value))?;
        self.shortfalls.end();
        self.layers.clear();
        if counted > 0 {
            self.layers.push(Layer { inflow: fact, units: counted, value });
        }
        (self.quantity, self.value, self.last_known) = (counted, value, cost.into());
        self.check();
        Ok(change)
    }

    /// Adds `amount` to the layers of some inflows, or to all where none is named, by quantity;
    /// the oldest first, the last takes the rest. Returns what found no layer.
    pub fn revalue(&mut self, amount: i64, inflows: &[FactId]) -> Result<i64, OutOfRange> {
        let named = |layer: &&Layer| inflows.is_empty() || inflows.contains(&layer.inflow);
        let units: i64 = self.layers.iter().filter(named).map(|layer| layer.units).sum();
        if units == 0 {
            return Ok(amount);
        }
        let value = in_range(i128::from(self.value) + i128::from(amount))?;
        let (mut layers, mut after, mut left) = (self.layers.clone(), units, amount);
        for layer in layers.iter_mut().filter(|layer| named(&&**layer)) {
            after -= layer.units;
            let part = if after == 0 { left } else { share(amount, layer.units, units) };
            layer.value = in_range(i128::from(layer.value) + i128::from(part))?;
            left -= part;
        }
        (self.layers, self.value) = (layers, value);
        self.check();
        Ok(0)
    }

    /// A new cost is known; nothing on hand changes.
    pub fn know_cost(&mut self, cost: UnitCost) {
        self.last_known = cost.into();
    }

    fn check(&self) {
        if self.quantity <= 0 {
            assert!(
                self.layers.is_empty()
                    && self.value == -self.shortfalls.provisional()
                    && self.quantity == -self.shortfalls.missing(),
                "a pool without stock is worth minus its open provisional costs"
            );
        } else {
            assert!(self.shortfalls.is_empty(), "a pool with stock has no open shortfall");
        }
        debug_assert!(
            self.quantity <= 0
                || (self.layers.iter().map(|layer| layer.units).sum::<i64>() == self.quantity
                    && self.layers.iter().map(|layer| layer.value).sum::<i64>() == self.value),
            "a pool is the sum of its layers"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(leaving: Leaving, layers: &[(i64, i64)]) -> LayerPool {
        let mut pool = LayerPool::new(leaving, UnitCost::of(7, 1));
        for (number, (units, value)) in (1..).zip(layers) {
            pool.bring_in(FactId(number), *units, *value, &mut Vec::new()).expect("in range");
        }
        pool
    }

    fn left(pool: &LayerPool) -> Vec<(i64, i64)> {
        pool.layers().map(|layer| (layer.units, layer.value)).collect()
    }

    fn out(pool: &mut LayerPool, units: i64) -> i64 {
        pool.take_out(FactId(9), units, &mut Vec::new()).expect("in range")
    }

    #[test]
    fn the_method_says_which_layer_leaves() {
        let mut fifo = filled(Leaving::Oldest, &[(3, 100), (5, 500)]);
        assert_eq!((out(&mut fifo, 2), left(&fifo)), (67, vec![(1, 33), (5, 500)]));
        assert_eq!((out(&mut fifo, 2), left(&fifo)), (133, vec![(4, 400)]));
        let mut lifo = filled(Leaving::Newest, &[(3, 100), (5, 500)]);
        assert_eq!((out(&mut lifo, 6), left(&lifo)), (533, vec![(2, 67)]));
        assert_eq!((out(&mut lifo, 2), lifo.value()), (67, 0));
    }

    #[test]
    fn what_is_missing_costs_what_was_last_known_until_goods_come() {
        let mut pool = filled(Leaving::Oldest, &[(2, 20)]);
        let mut taken = Vec::new();
        assert_eq!(pool.take_out(FactId(9), 5, &mut taken), Ok(20 + 30));
        let parts: Vec<_> = taken.iter().map(|part| (part.inflow.0, part.units)).collect();
        assert_eq!(parts, [(1, 2), (9, 3)]);
        let mut covered = Vec::new();
        pool.bring_in(FactId(3), 4, 48, &mut covered).expect("in range");
        assert_eq!(covered, [Covered { fact: FactId(9), change: 6 }]);
        assert_eq!((left(&pool), pool.value()), (vec![(1, 12)], 12));
        assert_eq!(out(&mut filled(Leaving::Oldest, &[]), 3), 21, "nothing known but the initial");
    }

    #[test]
    fn goods_sent_back_leave_from_their_own_layer_first() {
        let mut pool = filled(Leaving::Oldest, &[(2, 20), (3, 60), (2, 80)]);
        let mut taken = Vec::new();
        assert_eq!(pool.take_out_of(FactId(9), 4, FactId(2), &mut taken), Ok(60 + 10));
        assert_eq!(left(&pool), [(1, 10), (2, 80)]);
    }

    #[test]
    fn counts_and_revaluations_keep_the_sum() {
        let mut pool = filled(Leaving::Oldest, &[(2, 20), (1, 40)]);
        assert_eq!(pool.count(FactId(8), 5, &mut Vec::new()), Ok(40));
        assert_eq!(left(&pool), [(2, 20), (1, 40), (2, 40)]);
        assert_eq!(pool.revalue(-7, &[]), Ok(0));
        assert_eq!(left(&pool), [(2, 17), (1, 39), (2, 37)]);
        assert_eq!(pool.revalue(5, &[FactId(2)]), Ok(0));
        assert_eq!(pool.revalue(5, &[FactId(4)]), Ok(5), "its goods are gone");
        assert_eq!(
            (pool.value(), pool.count(FactId(8), 1, &mut Vec::new())),
            (98, Ok(-17 - 44 - 19))
        );
        assert_eq!(pool.count_at(FactId(8), 4, UnitCost::of(5, 2)), Ok(10 - 18));
        assert_eq!(left(&pool), [(4, 10)]);
    }

    #[test]
    fn beyond_the_range_nothing_changes() {
        let mut pool = filled(Leaving::Oldest, &[(1, 10), (2, (1 << 60) - 20)]);
        let before = pool.clone();
        assert_eq!(pool.bring_in(FactId(5), 1, 20, &mut Vec::new()), Err(OutOfRange));
        assert_eq!(pool.take_out(FactId(5), 1 << 61, &mut Vec::new()), Err(OutOfRange));
        assert_eq!(pool, before);
    }
}
