//! What a pool holds, costed by the method of its item's category. Knows that there are methods;
//! each has a file of its own.

use shared::fact::statement::CostMethod;

use super::shortfall::{Shortfall, Shortfalls};
use super::{
    AveragePool, Covered, FactId, Layer, LayerPool, Leaving, MonthlyPool, OutOfRange, StandardPool,
    UnitCost,
};

/// The state of a pool's goods at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stock {
    /// Moving average, also of one lot.
    Average(AveragePool),
    /// FIFO or LIFO.
    Layers(LayerPool),
    /// Standard cost.
    Standard(StandardPool),
    /// Month-end average; by itself, for it is larger than the others and there may be millions.
    Monthly(Box<MonthlyPool>),
}

impl Stock {
    /// The word of the method; specific lots are averages of their own.
    pub const fn method_word(&self) -> &'static str {
        match self {
            Self::Average(_) => CostMethod::MovingAverage.word(),
            Self::Layers(pool) => match pool.leaving() {
                Leaving::Oldest => CostMethod::Fifo.word(),
                Leaving::Newest => CostMethod::Lifo.word(),
            },
            Self::Standard(_) => CostMethod::Standard.word(),
            Self::Monthly(_) => CostMethod::MonthEndAverage.word(),
        }
    }

    /// Units on hand; below zero when more left than came in.
    pub const fn quantity(&self) -> i64 {
        match self {
            Self::Average(pool) => pool.quantity(),
            Self::Layers(pool) => pool.quantity(),
            Self::Standard(pool) => pool.quantity(),
            Self::Monthly(pool) => pool.quantity(),
        }
    }

    /// What they are worth.
    pub const fn value(&self) -> i64 {
        match self {
            Self::Average(pool) => pool.value(),
            Self::Layers(pool) => pool.value(),
            Self::Standard(pool) => pool.value(),
            Self::Monthly(pool) => pool.value(),
        }
    }

    /// What they cost beyond that, where a standard-cost pool carries it.
    pub fn beyond(&self) -> i64 {
        match self {
            Self::Standard(pool) => pool.variance().map_or(0, MonthlyPool::value),
            _ => 0,
        }
    }

    /// What is shared of that with a unit of value at standard, where the month's rate is taken.
    pub fn rate_beyond(&self) -> Option<UnitCost> {
        match self {
            Self::Standard(pool) => pool.variance().and_then(MonthlyPool::rate),
            _ => None,
        }
    }

    /// Both: what they are worth in the books.
    pub fn worth(&self) -> i64 {
        self.value() + self.beyond()
    }

    /// Whether what goods cost beyond a standard is carried.
    pub fn carries(&self) -> bool {
        matches!(self, Self::Standard(pool) if pool.variance().is_some())
    }

    /// What is costed month by month: the goods at month-end average, or what they cost beyond their
    /// standard, for which a unit is one of value at standard.
    pub fn by_month(&self) -> Option<&MonthlyPool> {
        match self {
            Self::Monthly(pool) => Some(pool),
            Self::Standard(pool) => pool.variance(),
            Self::Average(_) | Self::Layers(_) => None,
        }
    }

    /// See [`Self::by_month`].
    pub fn by_month_mut(&mut self) -> Option<&mut MonthlyPool> {
        match self {
            Self::Monthly(pool) => Some(pool),
            Self::Standard(pool) => pool.variance_mut(),
            Self::Average(_) | Self::Layers(_) => None,
        }
    }

    /// Lets what is carried beyond the standard follow a fact that has moved the goods: by `own`
    /// where the fact says what it is, else at the rate of the month. Returns its change.
    pub fn carry(
        &mut self,
        fact: FactId,
        own: Option<i64>,
        around: bool,
    ) -> Result<i64, OutOfRange> {
        match self {
            Self::Standard(pool) => pool.carry(fact, own, around),
            _ => Ok(0),
        }
    }

    /// Value / quantity where there is stock, else the last known cost; the standard where there is
    /// one.
    pub fn current_cost(&self) -> UnitCost {
        match self {
            Self::Average(pool) => pool.current_cost(),
            Self::Layers(pool) => pool.current_cost(),
            Self::Standard(pool) => pool.standard(),
            Self::Monthly(pool) => pool.current_cost(),
        }
    }

    /// What goods without a cost of their own are received at.
    pub fn last_cost(&self) -> UnitCost {
        match self {
            Self::Monthly(pool) => pool.earlier_cost(),
            _ => self.current_cost(),
        }
    }

    /// How many layers there are.
    pub fn layer_count(&self) -> usize {
        match self {
            Self::Layers(pool) => pool.layer_count(),
            _ => 0,
        }
    }

    /// The layers, the oldest first; none where the method has none.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let layers = match self {
            Self::Average(_) | Self::Standard(_) | Self::Monthly(_) => None,
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
            Self::Standard(pool) => pool.take_out(quantity),
            Self::Monthly(pool) => pool.take_out(fact, quantity),
        }
    }

    /// Brings `quantity` > 0 in at `value`; covers open shortfalls first, oldest first. Returns
    /// what it is worth here: `value`, or what it is at standard.
    pub fn bring_in(
        &mut self,
        fact: FactId,
        quantity: i64,
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.bring_in(quantity, value, covered).map(|()| value),
            Self::Layers(pool) => pool.bring_in(fact, quantity, value, covered).map(|()| value),
            Self::Standard(pool) => pool.bring_in(quantity),
            Self::Monthly(pool) => pool.bring_in(fact, quantity, value),
        }
    }

    /// Brings in goods that kept their layers on their way, worth `value` in all; as
    /// [`Self::bring_in`].
    pub fn bring_in_layers(
        &mut self,
        fact: FactId,
        layers: &[Layer],
        value: i64,
        covered: &mut Vec<Covered>,
    ) -> Result<i64, OutOfRange> {
        let units = || layers.iter().map(|layer| layer.units).sum();
        match self {
            Self::Average(pool) => pool.bring_in(units(), value, covered).map(|()| value),
            Self::Layers(pool) => pool.bring_in_layers(layers, covered).map(|()| value),
            Self::Standard(pool) => pool.bring_in(units()),
            Self::Monthly(pool) => pool.bring_in(fact, units(), value),
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
            Self::Standard(pool) => pool.count(counted),
            Self::Monthly(pool) => pool.count(fact, counted),
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
            Self::Standard(pool) => pool.count_at(counted, cost),
            Self::Monthly(pool) => pool.count_at(counted, cost),
        }
    }

    /// Adds an amount to what is on hand, which is more than nothing: to the goods of some inflows
    /// where the method tells them apart and any are named. Returns the change in value.
    pub fn revalue(&mut self, amount: i64, inflows: &[FactId]) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.revalue(amount).map(|()| amount),
            Self::Layers(pool) => pool.revalue(amount, inflows).map(|rest| amount - rest),
            Self::Standard(pool) => pool.revalue(amount).map(|()| amount),
            Self::Monthly(pool) => pool.revalue(amount).map(|()| amount),
        }
    }

    /// A new standard cost: what is on hand is restated to it, but layers keep what they cost.
    /// Returns the change in value.
    pub fn restate(&mut self, cost: UnitCost) -> Result<i64, OutOfRange> {
        match self {
            Self::Average(pool) => pool.restate(cost),
            Self::Layers(pool) => {
                pool.know_cost(cost);
                Ok(0)
            }
            Self::Standard(pool) => pool.restate(cost),
            Self::Monthly(pool) => pool.restate(cost),
        }
    }
}

impl Stock {
    /// Goes on by a method with what there is: quantity and value stay, and a standard begins as
    /// what the goods cost. What becomes one layer is `by`'s, and so is what was missing at
    /// standard or at month-end. Returns what was carried beyond a standard that holds no more: it
    /// is part of the value now.
    pub fn go_on_by(&mut self, method: CostMethod, by: FactId) -> i64 {
        let leaving = match method {
            CostMethod::Fifo => Some(Leaving::Oldest),
            CostMethod::Lifo => Some(Leaving::Newest),
            _ => None,
        };
        let is_standard = method == CostMethod::Standard;
        let is_monthly = method == CostMethod::MonthEndAverage;
        let joins = if is_standard { 0 } else { self.beyond() };
        // Both are in range; what is beyond it is found when the next fact moves the pool.
        let (units, value) = (self.quantity(), self.value() + joins);
        let cost = match self {
            Self::Monthly(pool) => pool.moving_cost(),
            _ => self.current_cost(),
        };
        match (&mut *self, leaving) {
            (Self::Standard(_), None) if is_standard => {}
            (Self::Monthly(_), None) if is_monthly => {}
            (Self::Average(_), None) if !is_standard && !is_monthly => {}
            (Self::Layers(pool), Some(leaving)) => pool.leave_by(leaving),
            (_, None) if is_standard => {
                *self = Self::Standard(StandardPool::holding(units, value, cost));
            }
            (_, None) if is_monthly => {
                *self = Self::Monthly(Box::new(MonthlyPool::holding(units, value, cost)));
            }
            (_, None) => {
                let missing = self.missing(value, by);
                *self = Self::Average(AveragePool::holding(units, value, cost, missing));
            }
            (_, Some(leaving)) => {
                let missing = self.missing(value, by);
                let layer = Layer { inflow: by, units, value };
                *self = Self::Layers(LayerPool::holding(leaving, layer, cost, missing));
            }
        }
        joins
    }

    fn missing(&self, value: i64, by: FactId) -> Shortfalls {
        match self {
            Self::Average(pool) => pool.shortfalls().clone(),
            Self::Layers(pool) => pool.shortfalls().clone(),
            Self::Standard(_) | Self::Monthly(_) => {
                let mut shortfalls = Shortfalls::default();
                let (missing, provisional) = (-self.quantity(), -value);
                if missing > 0 {
                    let cost = provisional;
                    shortfalls.push(Shortfall { fact: by, missing, provisional, cost });
                }
                shortfalls
            }
        }
    }
}

impl From<(CostMethod, UnitCost)> for Stock {
    /// An empty pool; the cost is what is assumed before any inflow.
    fn from((method, initial): (CostMethod, UnitCost)) -> Self {
        let layers = |leaving| Self::Layers(LayerPool::new(leaving, initial));
        match method {
            CostMethod::MovingAverage | CostMethod::Specific => {
                Self::Average(AveragePool::new(initial))
            }
            CostMethod::Fifo => layers(Leaving::Oldest),
            CostMethod::Lifo => layers(Leaving::Newest),
            CostMethod::Standard => Self::Standard(StandardPool::new(initial)),
            CostMethod::MonthEndAverage => {
                Self::Monthly(Box::new(MonthlyPool::holding(0, 0, initial)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: FactId = FactId(9);

    fn out(stock: &mut Stock, units: i64) -> i64 {
        stock.take_out(BY, units, &mut Vec::new()).expect("in range")
    }

    fn put(stock: &mut Stock, units: i64, value: i64) -> i64 {
        stock.bring_in(FactId(1), units, value, &mut Vec::new()).expect("in range")
    }

    /// Ten million pools are walked: what they weigh is what valuing in them takes.
    #[test]
    fn a_pool_is_small() {
        assert!(size_of::<Stock>() <= 112, "{} B", size_of::<Stock>());
    }

    #[test]
    fn another_method_goes_on_with_what_there_is() {
        let mut stock = Stock::from((CostMethod::Fifo, UnitCost::ZERO));
        put(&mut stock, 2, 20);
        put(&mut stock, 2, 60);
        stock.go_on_by(CostMethod::Lifo, BY);
        assert_eq!(out(&mut stock, 1), 30);
        stock.go_on_by(CostMethod::MovingAverage, BY);
        assert_eq!((stock.quantity(), stock.value()), (3, 50));
        stock.go_on_by(CostMethod::Standard, BY);
        assert_eq!(put(&mut stock, 3, 90), 50);
        stock.go_on_by(CostMethod::Fifo, BY);
        put(&mut stock, 1, 70);
        assert_eq!((out(&mut stock, 6), out(&mut stock, 1)), (100, 70));
    }

    #[test]
    fn what_was_missing_is_missing_under_another_method_too() {
        let mut stock = Stock::from((CostMethod::MovingAverage, UnitCost::of(5, 1)));
        assert_eq!(out(&mut stock, 2), 10);
        let mut covered = Vec::new();
        stock.go_on_by(CostMethod::Fifo, FactId(8));
        stock.bring_in(FactId(1), 1, 7, &mut covered).expect("in range");
        assert_eq!(covered, [Covered { fact: BY, change: 2 }]);
        stock.go_on_by(CostMethod::Standard, FactId(8));
        assert_eq!((stock.quantity(), stock.value()), (-1, -5));
        stock.go_on_by(CostMethod::MovingAverage, FactId(8));
        stock.bring_in(FactId(1), 2, 20, &mut covered).expect("in range");
        assert_eq!(covered[1], Covered { fact: FactId(8), change: 5 });
        assert_eq!((stock.quantity(), stock.value()), (1, 10));
    }
}
