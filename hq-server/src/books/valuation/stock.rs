//! What a pool holds, costed by the method of its item's category. Knows that there are methods;
//! each has a file of its own.

use super::{AveragePool, Covered, FactId, Layer, LayerPool, Leaving, OutOfRange, UnitCost};

/// The state of a pool's goods at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stock {
    /// Moving average.
    Average(AveragePool),
    /// FIFO or LIFO.
    Layers(LayerPool),
}

impl Stock {
    /// Units on hand; below zero when more left than came in.
    pub const fn quantity(&self) -> i64 {
        match self {
            Self::Average(pool) => pool.quantity(),
            Self::Layers(pool) => pool.quantity(),
        }
    }

    /// What they are worth.
    pub const fn value(&self) -> i64 {
        match self {
            Self::Average(pool) => pool.value(),
            Self::Layers(pool) => pool.value(),
        }
    }

    /// Value / quantity where there is stock, else the last known cost.
    pub fn current_cost(&self) -> UnitCost {
        match self {
            Self::Average(pool) => pool.current_cost(),
            Self::Layers(pool) => pool.current_cost(),
        }
    }

    /// The layers, the oldest first; none where the method has none.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let layers = match self {
            Self::Average(_) => None,
            Self::Layers(pool) => Some(pool.layers()),
        };
        layers.into_iter().flatten()
    }

    /// Takes `quantity` > 0 out and returns its cost; what is missing leaves provisionally. `taken`
    /// gets the layers that left, where the method has layers.
    pub fn take_out(
        &mut self,
        fact: FactId,
        quantity: i64,
        taken: &mut Vec<Layer>,
    ) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.take_out(fact, quantity),
            Self::Layers(pool) => pool.take_out(fact, quantity, taken),
        }
    }

    /// Brings `quantity` > 0 in at `value`; covers open shortfalls first, oldest first.
    pub fn bring_in(
        &mut self,
        fact: FactId,
        quantity: i64,
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        match self {
            Self::Average(pool) => pool.bring_in(quantity, value, covered),
            Self::Layers(pool) => pool.bring_in(fact, quantity, value, covered),
        }
    }

    /// Brings in goods that kept their layers on their way, worth `value` in all.
    pub fn bring_in_layers(
        &mut self,
        layers: &[Layer],
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<(), OutOfRange> {
        match self {
            Self::Average(pool) => {
                let units = layers.iter().map(|layer| layer.units).sum();
                pool.bring_in(units, value, covered)
            }
            Self::Layers(pool) => pool.bring_in_layers(layers, covered),
        }
    }

    /// The balance becomes what was counted, at the pool's own cost. Returns the change in value.
    pub fn count(
        &mut self,
        fact: FactId,
        counted: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.count(fact, counted, covered),
            Self::Layers(pool) => pool.count(fact, counted, covered),
        }
    }

    /// The balance becomes `counted` units, zero or more, at `cost`. Open shortfalls keep their
    /// provisional cost as final. Returns the change in value.
    pub fn count_at(
        &mut self,
        fact: FactId,
        counted: i64,
        cost: UnitCost,
    ) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.count_at(counted, cost),
            Self::Layers(pool) => pool.count_at(fact, counted, cost),
        }
    }
}

impl From<(shared::fact::statement::CostMethod, UnitCost)> for Stock {
    /// An empty pool; the cost is what is assumed before any inflow.
    fn from((method, initial): (shared::fact::statement::CostMethod, UnitCost)) -> Self {
        use shared::fact::statement::CostMethod;
        let layers = |leaving| Self::Layers(LayerPool::new(leaving, initial));
        match method {
            CostMethod::MovingAverage => Self::Average(AveragePool::new(initial)),
            CostMethod::Fifo => layers(Leaving::Oldest),
            CostMethod::Lifo => layers(Leaving::Newest),
        }
    }
}
