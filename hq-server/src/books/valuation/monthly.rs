//! A pool at month-end average (全月一次加权平均): one quantity and one value; what leaves in a month
//! leaves at one cost. Which cost that is, is planned for a *span* of facts before they move the
//! pool: a month, or what is left of it after a statement that restates cost. Knows no facts.
//!
//! While the averages of a month are not taken, goods leave at the average of the last month that
//! has one, and before any at what there is (a moving average). Invariant: at the end of a span
//! zero quantity is worth nothing.
//!
//! Source: 企业会计准则第1号 and IAS 2.25-27 (periodic weighted average).

use shared::time::Month;

use super::{FactId, OutOfRange, UnitCost, in_range, share};

/// What goods leave at in a span, and who takes what is left at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The month it lies in.
    pub month: Month,
    /// What one unit costs.
    pub cost: SpanCost,
    /// The movement that takes, and how much more than its cost.
    pub rest: Option<(FactId, i64)>,
}

/// The cost of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanCost {
    /// The average of the span; and what a unit cost before it was known.
    Average {
        /// What goods leave at.
        average: UnitCost,
        /// What they cost before.
        earlier: UnitCost,
    },
    /// Not yet known: that of the last month whose average is taken.
    Earlier(UnitCost),
    /// Not yet known, and no month had one: what there is.
    Moving,
}

/// The state of a pool at a place in the effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthlyPool {
    quantity: i64,
    value: i64,
    span: Option<Span>,
    /// The average of the last month that has one.
    average: Option<UnitCost>,
    /// What the last units left at, or the cost before anything is known.
    last_known: UnitCost,
}

impl MonthlyPool {
    /// A pool that holds this; `last_known` is what a unit costs before anything else is known.
    pub const fn holding(quantity: i64, value: i64, last_known: UnitCost) -> Self {
        Self { quantity, value, span: None, average: None, last_known }
    }

    /// Units on hand; below zero when more left than came in.
    pub const fn quantity(&self) -> i64 {
        self.quantity
    }

    /// What they are worth.
    pub const fn value(&self) -> i64 {
        self.value
    }

    /// The month of the span that is planned.
    pub fn month(&self) -> Option<Month> {
        self.span.map(|span| span.month)
    }

    /// Goes on with a span.
    pub const fn begin(&mut self, span: Span) {
        if let SpanCost::Average { average, .. } = span.cost {
            self.average = Some(average);
        }
        self.span = Some(span);
    }

    /// Ends the span at a place where everything is restated, or the month's cost must be found.
    pub const fn end_span(&mut self) {
        self.span = None;
    }

    /// The cost of a span whose average is not taken yet.
    pub fn provisional(&self) -> SpanCost {
        self.average.map_or(SpanCost::Moving, SpanCost::Earlier)
    }

    /// What a unit costs while the average of its month is not known: that of the last month that
    /// has one, else the last known cost.
    pub fn earlier_cost(&self) -> UnitCost {
        match self.span.map(|span| span.cost) {
            Some(SpanCost::Average { earlier, .. }) => earlier,
            _ => self.average.unwrap_or_else(|| self.moving_cost()),
        }
    }

    /// What a unit costs that leaves now.
    pub fn current_cost(&self) -> UnitCost {
        match self.span.map(|span| span.cost) {
            Some(SpanCost::Average { average: cost, .. } | SpanCost::Earlier(cost)) => cost,
            Some(SpanCost::Moving) => self.moving_cost(),
            None => self.average.unwrap_or_else(|| self.moving_cost()),
        }
    }

    /// Value / quantity where there is stock, else the last known cost.
    pub fn moving_cost(&self) -> UnitCost {
        if self.quantity > 0 { UnitCost::of(self.value, self.quantity) } else { self.last_known }
    }

    const fn has_average(&self) -> bool {
        matches!(self.span, Some(Span { cost: SpanCost::Average { .. }, .. }))
    }

    /// What a movement takes of what is left at the end of its span.
    fn rest_of(&self, fact: FactId) -> i64 {
        match self.span.and_then(|span| span.rest) {
            Some((taker, rest)) if taker == fact => rest,
            _ => 0,
        }
    }

    /// Takes `quantity` > 0 out at the cost of the span and returns what it cost.
    pub fn take_out(&mut self, fact: FactId, quantity: i64) -> Result<i64, OutOfRange> {
        debug_assert!(quantity > 0);
        let cost = if self.has_average() {
            let cost = self.current_cost().times(quantity)?;
            in_range(i128::from(cost) + i128::from(self.rest_of(fact)))?
        } else {
            self.provisional_cost(quantity)?
        };
        self.remember();
        self.change(-i128::from(quantity), -i128::from(cost))?;
        Ok(cost)
    }

    /// While the average is not known the last unit there takes what is left.
    fn provisional_cost(&self, quantity: i64) -> Result<i64, OutOfRange> {
        let cost = self.current_cost();
        if self.quantity <= 0 {
            return cost.times(quantity);
        }
        if quantity < self.quantity {
            let moving = matches!(self.span, Some(Span { cost: SpanCost::Moving, .. }));
            let part = share(self.value, quantity, self.quantity);
            return if moving { Ok(part) } else { cost.times(quantity) };
        }
        let missing = match quantity - self.quantity {
            0 => 0,
            missing => cost.times(missing)?,
        };
        in_range(i128::from(self.value) + i128::from(missing))
    }

    /// Takes `quantity` > 0 out at what a unit cost before the span: within a loop of transfers.
    pub fn take_out_earlier(&mut self, fact: FactId, quantity: i64) -> Result<i64, OutOfRange> {
        let cost = self.earlier_cost().times(quantity)?;
        let cost = in_range(i128::from(cost) + i128::from(self.rest_of(fact)))?;
        self.remember();
        self.change(-i128::from(quantity), -i128::from(cost))?;
        Ok(cost)
    }

    /// Takes `quantity` > 0 out at a cost of its own. Returns what must leave beside it.
    pub fn take_out_at(
        &mut self,
        fact: FactId,
        quantity: i64,
        cost: i64,
    ) -> Result<i64, OutOfRange> {
        let last = !self.has_average() && quantity == self.quantity;
        let residue = if last {
            in_range(i128::from(self.value) - i128::from(cost))?
        } else {
            self.rest_of(fact)
        };
        self.remember();
        self.change(-i128::from(quantity), -i128::from(cost) - i128::from(residue))?;
        Ok(residue)
    }

    /// Brings `quantity` > 0 in at `value` and returns what it is worth here.
    pub fn bring_in(&mut self, fact: FactId, quantity: i64, value: i64) -> Result<i64, OutOfRange> {
        let worth = if !self.has_average() && self.quantity == -quantity {
            -i128::from(self.value)
        } else {
            i128::from(value) - i128::from(self.rest_of(fact))
        };
        let worth = in_range(worth)?;
        self.change(quantity.into(), worth.into())?;
        self.remember();
        Ok(worth)
    }

    /// The balance becomes what was counted, at the cost of the span. Returns the change in value.
    pub fn count(&mut self, fact: FactId, counted: i64) -> Result<i64, OutOfRange> {
        let found = in_range(i128::from(counted) - i128::from(self.quantity))?;
        match found {
            0 => Ok(0),
            1.. => self.bring_in(fact, found, self.current_cost().times(found)?),
            _ => Ok(-self.take_out(fact, -found)?),
        }
    }

    /// The balance becomes `counted` units, zero or more, at `cost`; the span ends. Returns the
    /// change in value.
    pub fn count_at(&mut self, counted: i64, cost: UnitCost) -> Result<i64, OutOfRange> {
        debug_assert!(counted >= 0);
        in_range(counted.into())?;
        let value = cost.times(counted)?;
        let change = in_range(i128::from(value) - i128::from(self.value))?;
        (self.quantity, self.value) = (counted, value);
        (self.last_known, self.average, self.span) = (cost, None, None);
        Ok(change)
    }

    /// What is on hand is restated to a cost; where nothing is, only the last known cost changes.
    /// The span ends. Returns the change in value.
    pub fn restate(&mut self, cost: UnitCost) -> Result<i64, OutOfRange> {
        if self.quantity > 0 {
            return self.count_at(self.quantity, cost);
        }
        (self.last_known, self.average, self.span) = (cost, None, None);
        Ok(0)
    }

    /// Shares what is held with `units` that come or, negative, go: at `own` where they have a value
    /// of their own, else at the rate of the span, or at the one before it around a loop. While
    /// none is taken nothing goes along, but for the last unit. Returns the change in value.
    pub fn share_with(
        &mut self,
        fact: FactId,
        units: i64,
        own: Option<i64>,
        around: bool,
    ) -> Result<i64, OutOfRange> {
        let change = if self.has_average() {
            let rate = if around { self.earlier_cost() } else { self.current_cost() };
            let moved = own.map_or_else(|| rate.times(units), Ok)?;
            in_range(i128::from(moved) - i128::from(self.rest_of(fact)))?
        } else if self.quantity == -units {
            -self.value
        } else {
            own.unwrap_or(0)
        };
        self.change(units.into(), change.into())?;
        Ok(change)
    }

    /// The average of the last month that has one.
    pub const fn last_average(&self) -> Option<UnitCost> {
        self.average
    }

    /// What is shared in the span that is planned, for one unit.
    pub fn rate(&self) -> Option<UnitCost> {
        self.has_average().then(|| self.current_cost())
    }

    /// Adds an amount to what is on hand.
    pub fn revalue(&mut self, amount: i64) -> Result<(), OutOfRange> {
        debug_assert!(self.quantity > 0);
        self.change(0, amount.into())
    }

    fn change(&mut self, units: i128, value: i128) -> Result<(), OutOfRange> {
        let quantity = in_range(i128::from(self.quantity) + units)?;
        let value = in_range(i128::from(self.value) + value)?;
        (self.quantity, self.value) = (quantity, value);
        Ok(())
    }

    fn remember(&mut self) {
        self.last_known = self.moving_cost();
    }
}

/// What a span is planned from: how much came in at a cost of its own, and what moved at the cost
/// that is looked for.
#[derive(Debug)]
pub struct Plan {
    /// Opening and what has a cost of its own, in money.
    value: i128,
    /// The same in units.
    units: i128,
    /// What moved at the cost of the span: in, or negative out.
    at_cost: Vec<(FactId, i64)>,
    /// The last that moved at a cost of its own, and whether it came in.
    own: Option<(FactId, bool)>,
    /// What is shared may be a gain: a value below zero, which needs no units to be somebody's.
    is_variance: bool,
}

impl Plan {
    /// A plan from what a pool holds.
    pub fn from_opening(pool: &MonthlyPool) -> Self {
        Self {
            value: pool.value.into(),
            units: pool.quantity.into(),
            at_cost: Vec::new(),
            own: None,
            is_variance: false,
        }
    }

    /// A plan of how a variance is shared.
    pub fn of_variance(pool: &MonthlyPool) -> Self {
        Self { is_variance: true, ..Self::from_opening(pool) }
    }

    /// Something changed quantity and value by amounts of its own.
    pub fn at_own_cost(&mut self, fact: FactId, units: i64, value: i64) {
        self.value += i128::from(value);
        self.units += i128::from(units);
        if units != 0 || (self.is_variance && value != 0) {
            self.own = Some((fact, units > 0 || self.is_variance));
        }
    }

    /// Something moves at the cost of the span: in, or negative out.
    pub fn at_cost_of_span(&mut self, fact: FactId, units: i64) {
        if units != 0 {
            self.at_cost.push((fact, units));
        }
    }

    /// The span. Without units, or with a value below zero, there is no average: then the last
    /// known cost holds and the rest is a variance of what came in last.
    pub fn span(self, month: Month, earlier: UnitCost) -> Span {
        let average = (self.units > 0 && (self.value >= 0 || self.is_variance))
            .then(|| {
                Some(UnitCost::of(i64::try_from(self.value).ok()?, self.units.try_into().ok()?))
            })
            .flatten();
        let cost = average.unwrap_or(earlier);
        let rest = self.rest(cost, average.is_some());
        let rest = rest.filter(|(_, rest)| *rest != 0);
        Span { month, cost: SpanCost::Average { average: cost, earlier }, rest }
    }

    fn rest(&self, cost: UnitCost, is_average: bool) -> Option<(FactId, i64)> {
        let (mut units, mut value) = (self.units, self.value);
        for (_, moved) in &self.at_cost {
            units += i128::from(*moved);
            value += i128::from(cost.times(*moved).ok()?);
        }
        let last_out = self.at_cost.iter().rev().find(|(_, units)| *units < 0);
        let last_out = last_out.map(|(fact, _)| *fact);
        let last = self.at_cost.last().map(|(fact, _)| *fact);
        // Of what has a cost of its own only the last: nothing takes its cost from there any more.
        let own = self.own.map(|(fact, _)| fact);
        let own_in = self.own.filter(|(_, came_in)| *came_in).map(|(fact, _)| fact);
        let taker = match (is_average, units) {
            (true, 0) => last_out.or(own).or(last),
            (true, _) => None,
            (false, 0) => own.or(last_out).or(last),
            (false, _) => own_in,
        };
        let closing = i64::try_from(units).ok().and_then(|units| cost.times(units).ok())?;
        Some((taker?, i64::try_from(value - i128::from(closing)).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JANUARY: Month = Month(24_312);

    fn at(average: UnitCost) -> SpanCost {
        SpanCost::Average { average, earlier: UnitCost::of(10, 1) }
    }

    fn planned(opening: (i64, i64), own: &[(i64, i64)], at_cost: &[i64]) -> (Span, (i64, i64)) {
        let mut pool = MonthlyPool::holding(opening.0, opening.1, UnitCost::of(10, 1));
        let mut plan = Plan::from_opening(&pool);
        for (number, (units, value)) in (1..).zip(own) {
            plan.at_own_cost(FactId(number), *units, *value);
        }
        for (number, units) in (11..).zip(at_cost) {
            plan.at_cost_of_span(FactId(number), *units);
        }
        let span = plan.span(JANUARY, pool.earlier_cost());
        pool.begin(span);
        for (number, (units, value)) in (1..).map(FactId).zip(own) {
            if *units > 0 {
                pool.bring_in(number, *units, *value).expect("in range");
            } else {
                pool.take_out_at(number, -units, -value).expect("in range");
            }
        }
        for (number, units) in (11..).map(FactId).zip(at_cost) {
            pool.count(number, pool.quantity() + units).expect("in range");
        }
        (span, (pool.quantity(), pool.value()))
    }

    #[test]
    fn a_month_has_one_cost_and_the_closing_takes_the_residue() {
        let (span, closing) = planned((100, 1_000), &[(200, 2_300)], &[-150, -50]);
        let (average, earlier) = (UnitCost::of(3_300, 300), UnitCost::of(1_000, 100));
        assert_eq!(span.cost, SpanCost::Average { average, earlier });
        assert_eq!((span.rest, closing), (None, (100, 1_100)));
        let (_, closing) = planned((0, 0), &[(3, 100)], &[-1, -1]);
        assert_eq!(closing, (1, 34));
    }

    #[test]
    fn at_zero_quantity_the_last_issue_takes_the_residue() {
        let (span, closing) = planned((0, 0), &[(3, 100)], &[-1, -1, -1]);
        assert_eq!((span.rest, closing), (Some((FactId(13), 1)), (0, 0)));
        let (_, closing) = planned((3, 100), &[(-3, -90)], &[]);
        assert_eq!(closing, (0, 0));
    }

    #[test]
    fn without_units_the_last_known_cost_holds_and_the_rest_is_a_variance() {
        let (span, closing) = planned((-3, -30), &[(3, 36)], &[-2]);
        assert_eq!(span.cost, at(UnitCost::of(10, 1)));
        assert_eq!((span.rest, closing), (Some((FactId(1), 6)), (-2, -20)));
        // A cost below zero is none.
        let (span, closing) = planned((-3, -300), &[(4, 48)], &[-1]);
        assert_eq!(span.cost, at(UnitCost::of(10, 1)));
        assert_eq!(closing, (0, 0));
    }

    #[test]
    fn before_the_average_is_taken_goods_leave_at_the_last_one() {
        let mut pool = MonthlyPool::holding(0, 0, UnitCost::of(7, 1));
        let span = |cost| Span { month: JANUARY, cost, rest: None };
        pool.begin(span(pool.provisional()));
        pool.bring_in(FactId(1), 3, 31).expect("in range");
        assert_eq!(pool.take_out(FactId(2), 2), Ok(21));
        pool.begin(span(at(UnitCost::of(12, 1))));
        pool.begin(span(pool.provisional()));
        pool.bring_in(FactId(3), 9, 90).expect("in range");
        assert_eq!(pool.take_out(FactId(4), 2), Ok(24));
        assert_eq!((pool.quantity(), pool.value()), (8, 76));
        assert_eq!(pool.take_out(FactId(5), 10), Ok(76 + 24));
        assert_eq!(pool.bring_in(FactId(6), 2, 30), Ok(24));
        assert_eq!((pool.quantity(), pool.value()), (0, 0));
    }
}
