//! Cost pools and what one fact does to its pool. Knows figures, and nothing of accounts.
//! Invariant: the quantities of a pool's sites and of what is on its way sum to the pool's quantity.

use shared::fact::Kind;
use shared::fact::effective::EffectiveKey;
use shared::ids::{CompanyNo, ItemNo, SiteNo};
use shared::quantity::ShortText;

use super::fact_table::{FactRecord, PoolStep};
use super::history::History;
use super::kept::KeptStates;
use super::valuation::{
    AveragePool, Covered, FactId, Layer, OutOfRange, Stock, UnitCost, in_range,
};
use super::voucher::Cause;

/// Units of a receipt that an invoice priced, and what they cost by it; both negative where a
/// credit note takes that back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Smallest units.
    pub units: i64,
    /// Minor units.
    pub amount: i64,
}

/// The state of a pool at a place in effective order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Quantity and value.
    pub stock: Stock,
    /// Units per site, by site.
    pub sites: Vec<(SiteNo, i64)>,
    /// Units between two sites of the pool.
    pub on_the_way: i64,
}

impl Default for PoolState {
    /// Before anything is known of the pool.
    fn default() -> Self {
        Self::new(Stock::Average(AveragePool::new(UnitCost::ZERO)))
    }
}

impl PoolState {
    /// Nothing on hand.
    pub const fn new(stock: Stock) -> Self {
        Self { stock, sites: Vec::new(), on_the_way: 0 }
    }

    /// Units on hand at a site.
    pub fn on_hand(&self, site: SiteNo) -> i64 {
        self.place_of(site).map_or(0, |at| self.sites[at].1)
    }

    fn place_of(&self, site: SiteNo) -> Result<usize, usize> {
        self.sites.binary_search_by_key(&site, |(held, _)| *held)
    }

    /// Whether no movement waits for its cost, nor for the cost of its month.
    pub(super) fn waits_for_nothing(&self) -> bool {
        self.stock.quantity() >= 0 && self.stock.by_month().is_none()
    }

    /// How many sites and layers it is made of.
    pub(super) fn weight(&self) -> usize {
        self.sites.len() + self.stock.layer_count()
    }

    /// What a site holds after `units` more; an error where that is out of range.
    fn with_units(&self, site: SiteNo, units: i64) -> Result<i64, OutOfRange> {
        in_range(i128::from(self.on_hand(site)) + i128::from(units))
    }

    pub(super) fn set_units(&mut self, site: SiteNo, units: i64) {
        match self.place_of(site) {
            Ok(at) => self.sites[at].1 = units,
            Err(at) => self.sites.insert(at, (site, units)),
        }
    }
}

/// A cost pool: an item at a site, or in the whole company; of one lot where each lot is costed.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The company.
    pub company: CompanyNo,
    /// The site; `None` where the company has one pool for all.
    pub site: Option<SiteNo>,
    /// The item.
    pub item: ItemNo,
    /// The lot, where each lot is a pool.
    pub lot: Option<ShortText>,
    /// The state after its last fact.
    pub state: PoolState,
    /// Its facts in effective order.
    pub history: History,
    /// The key of its last fact.
    pub last: EffectiveKey,
    /// It must be folded again.
    pub dirty: bool,
    /// Why.
    pub cause: Cause,
    /// Its costs chase each other around a circle of pools and never come to rest: they stand as
    /// the last round left them.
    pub restless: bool,
    /// What decides how it is folded again.
    pub(super) folding: Folding,
    /// States along its history.
    pub(super) kept: KeptStates,
}

/// What decides how a pool is folded again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folding {
    /// No fact in it changes what an earlier one costs, but what waits for its cost.
    pub in_one_pass: bool,
    /// Some fact in it is costed by months.
    pub by_month: bool,
}

/// What a fact does to the three stock figures of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StockTarget {
    /// On the inventory account.
    pub stock: i64,
    /// Against it.
    pub counter: i64,
    /// What remained at zero quantity.
    pub residue: i64,
    /// On the account of what stock costs beyond its standard.
    pub beyond: i64,
}

impl StockTarget {
    const fn against(stock: i64) -> Self {
        Self::both_against(stock, 0)
    }

    /// What a pool is worth changes, at standard and beyond.
    const fn both_against(stock: i64, beyond: i64) -> Self {
        Self { stock, counter: -(stock + beyond), residue: 0, beyond }
    }

    /// By how much it changes what the pool is worth, at standard and beyond.
    pub(super) const fn worth_of_pool(&self) -> i64 {
        self.stock + self.beyond
    }

    /// An error where a figure is beyond what a pool could hold: then no sum of them overflows.
    fn within_range(self) -> Result<Self, OutOfRange> {
        for figure in [self.stock, self.counter, self.residue, self.beyond] {
            in_range(figure.into())?;
        }
        Ok(self)
    }

    /// The same where the pool takes what comes in at another value: the difference is a variance
    /// for what has an account for it, else it stays where the goods come from.
    const fn worth(self, stock: i64, beyond: i64, kind: Kind) -> Self {
        if self.stock == stock && beyond == 0 {
            return self;
        }
        match kind {
            Kind::Receipt | Kind::TransferReceive | Kind::RepackIn => {
                Self { stock, beyond, ..self }
            }
            _ => Self::both_against(stock, beyond),
        }
    }
}

/// The value of a part of a whole; all of it when the part is the whole.
pub(super) fn share(value: i64, part: i64, whole: i64) -> Result<i64, OutOfRange> {
    if part == whole {
        return Ok(value);
    }
    if whole == 0 {
        return Err(OutOfRange);
    }
    let product = i128::from(value) * i128::from(part);
    i64::try_from(shared::money::round_div(product, whole.into())).map_err(|_| OutOfRange)
}

/// As [`share`], for weights up to 2^81 that a value below 2^60 is shared by: the product passes
/// 127 bits, so it is taken in two halves.
pub(super) fn share_by_weight(value: i128, part: i128, whole: i128) -> i128 {
    const HALF: u32 = 30;
    if part == whole {
        return value;
    }
    let size = value.unsigned_abs().cast_signed();
    let (high, low) = (size >> HALF, size & ((1 << HALF) - 1));
    let quotient = high * part / whole;
    let rest = ((high * part % whole) << HALF) + low * part;
    let share = (quotient << HALF) + shared::money::round_div(rest, whole);
    if value < 0 { -share } else { share }
}

/// What a fact answers, where that matters for its cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// What the origin moved, in money.
    pub cost: i64,
    /// What it was bought for, without landed cost.
    pub price: i64,
    /// What it moved in units.
    pub units: i64,
    /// It moved in the same month.
    pub same_month: bool,
}

/// What a fact's cost depends on beside itself and its pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    /// What it answers.
    pub origin: Option<Origin>,
    /// Its invoiced units, for a receipt.
    pub fills: &'a [Fill],
    /// The layers that a transfer brings, where the method has layers.
    pub arriving: &'a [Layer],
    /// The receipts whose goods alone a revaluation is about; all goods where it names none.
    pub inflows: &'a [FactId],
    /// It passes costs around a loop of the month.
    pub looped: bool,
    /// What it costs beyond a standard is carried with the goods, not expensed.
    pub allocates: bool,
    /// What a count of a closed month found at its own time, by all that is known now.
    pub counted_from: Option<i128>,
}

/// What a step does beside its target.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Earlier movements that got another cost.
    pub covered: Vec<Covered>,
    /// The layers that left, where the method has layers.
    pub taken: Vec<Layer>,
    /// As `covered`, of what they cost beyond a standard.
    pub covered_beyond: Vec<Covered>,
    /// More was taken than there was.
    pub short: bool,
}

/// Moves a pool by one fact. An error leaves the pool as it was.
pub(super) fn step(
    state: &mut PoolState,
    id: FactId,
    record: &FactRecord,
    given: &Given<'_>,
    traces: &mut Traces,
) -> Result<StockTarget, OutOfRange> {
    if !state.stock.carries() {
        return step_once(state, id, record, given, traces);
    }
    // What is carried follows the goods: an error there takes them back.
    let before = state.clone();
    let stepped = step_once(state, id, record, given, traces);
    if stepped.is_err() {
        *state = before;
    }
    stepped
}

fn step_once(
    state: &mut PoolState,
    id: FactId,
    record: &FactRecord,
    given: &Given<'_>,
    traces: &mut Traces,
) -> Result<StockTarget, OutOfRange> {
    let units = record.quantity.0;
    let covered = &mut traces.covered;
    match record.step {
        PoolStep::None => Ok(StockTarget::default()),
        PoolStep::In => {
            let held = state.with_units(record.site, units)?;
            let pool = &mut state.stock;
            let target = incoming(pool, record, given)?;
            let worth = if given.arriving.is_empty() {
                pool.bring_in(id, units, target.stock, covered)?
            } else {
                pool.bring_in_layers(id, given.arriving, target.stock, covered)?
            };
            state.set_units(record.site, held);
            let beyond = || in_range(i128::from(target.stock) - i128::from(worth));
            let own = has_own_cost(record, given);
            let own = own.then(|| if given.allocates { beyond() } else { Ok(0) }).transpose()?;
            let beyond = state.stock.carry(id, own, false)?;
            target.worth(worth, beyond, record.kind).within_range()
        }
        PoolStep::Out => {
            let units = units.abs();
            let held = state.with_units(record.site, -units)?;
            traces.short = units > state.stock.quantity();
            let target = outgoing(&mut state.stock, id, record, units, given, &mut traces.taken)?;
            state.set_units(record.site, held);
            Ok(target)
        }
        PoolStep::Count => {
            let held = i128::from(state.on_hand(record.site));
            let change = i128::from(units) - given.counted_from.unwrap_or(held);
            let after = in_range(held + change)?;
            let counted = in_range(i128::from(state.stock.quantity()) + change)?;
            traces.short = counted < 0 && change < 0;
            let (stock, own) = match record.unit_cost {
                // With one pool for all sites the count restates the whole pool's cost.
                Some(cost) if counted >= 0 => {
                    let beyond = state.stock.beyond();
                    (state.stock.count_at(id, counted, cost)?, Some(-beyond))
                }
                _ => (state.stock.count(id, counted, covered)?, None),
            };
            state.set_units(record.site, after);
            let beyond = state.stock.carry(id, own, false)?;
            StockTarget::both_against(stock, beyond).within_range()
        }
        PoolStep::MoveOut => {
            let held = state.with_units(record.site, -units)?;
            state.on_the_way = in_range(i128::from(state.on_the_way) + i128::from(units))?;
            state.set_units(record.site, held);
            Ok(StockTarget::default())
        }
        PoolStep::MoveIn => {
            let held = state.with_units(record.site, units)?;
            let excess = units - record.taken_over.units;
            let stock = if excess > 0 {
                let value = state.stock.current_cost().times(excess)?;
                state.stock.bring_in(id, excess, value, covered)?
            } else {
                0
            };
            state.set_units(record.site, held);
            state.on_the_way -= record.taken_over.units;
            let beyond = state.stock.carry(id, None, false)?;
            StockTarget::both_against(stock, beyond).within_range()
        }
        PoolStep::Revalue => {
            traces.short = state.stock.quantity() <= 0;
            if traces.short {
                return Ok(StockTarget::default());
            }
            let amount = record.stated.unwrap_or(0);
            let stock = state.stock.revalue(amount, given.inflows)?;
            let beyond = state.stock.carry(id, Some(0), false)?;
            StockTarget::both_against(stock, beyond).within_range()
        }
        PoolStep::AddLate => {
            let amount = record.taken_over.cost.unwrap_or(0);
            let is_standard = matches!(state.stock, Stock::Standard(_));
            // A standard does not move; what is no longer there is a variance too.
            let holds = state.stock.quantity() > 0 && !is_standard;
            let stock = if holds { state.stock.revalue(amount, given.inflows)? } else { 0 };
            let carried = given.allocates && is_standard && state.stock.value() > 0;
            let own = if carried { amount } else { 0 };
            let beyond = state.stock.carry(id, Some(own), false)?;
            StockTarget { stock, counter: -amount, residue: 0, beyond }.within_range()
        }
        PoolStep::Restate => {
            let cost = record.unit_cost.ok_or(OutOfRange)?;
            let stock = state.stock.restate(cost)?;
            let beyond = state.stock.carry(id, Some(0), false)?;
            StockTarget::both_against(stock, beyond).within_range()
        }
    }
}

fn incoming(
    pool: &Stock,
    record: &FactRecord,
    given: &Given<'_>,
) -> Result<StockTarget, OutOfRange> {
    let (units, origin) = (record.quantity.0, given.origin);
    let of_origin = |origin: Origin| share(origin.cost, units, origin.units);
    let otherwise = || match (record.stated, record.kind) {
        (Some(value), _) => Ok(value),
        (None, Kind::Receipt) => pool.last_cost().times(units),
        (None, _) => pool.current_cost().times(units),
    };
    let target = match (record.kind, origin) {
        (Kind::Receipt, origin) => {
            let base = match (record.stated, origin) {
                (None, Some(origin)) => of_origin(origin)?,
                _ => otherwise()?,
            };
            let own = invoiced_value(record, base, given.fills)?;
            let stock = in_range(i128::from(own) + i128::from(record.landed()))?;
            StockTarget { stock, counter: -own, residue: 0, beyond: 0 }
        }
        // What was sold in the month comes back at the month's cost.
        (Kind::CustomerReturn, Some(origin)) if matches!(pool, Stock::Monthly(_)) => {
            let month = || pool.current_cost().times(units);
            let cost = if origin.same_month { month()? } else { of_origin(origin)? };
            StockTarget::against(cost)
        }
        (Kind::CustomerReturn, Some(origin)) => StockTarget::against(of_origin(origin)?),
        // Its ship never happened: everything that arrived is more than was shipped.
        (Kind::TransferReceive, None) => {
            let stock = pool.current_cost().times(units)?;
            StockTarget { stock, ..StockTarget::default() }
        }
        (Kind::TransferReceive, Some(_)) => {
            let arrived = record.taken_over.cost.unwrap_or(0);
            let excess = record.taken_over.excess;
            if record.between && excess < 0 {
                let owed = arrived.checked_sub(excess).ok_or(OutOfRange)?;
                let target = StockTarget { stock: arrived, counter: -owed, residue: 0, beyond: 0 };
                return target.within_range();
            }
            let stock = arrived.checked_add(excess).ok_or(OutOfRange)?;
            StockTarget { stock, counter: -arrived, residue: 0, beyond: 0 }
        }
        (Kind::RepackIn, _) => {
            let stock = record.taken_over.cost.unwrap_or(0);
            StockTarget { stock, ..StockTarget::default() }
        }
        _ => StockTarget::against(otherwise()?),
    };
    target.within_range()
}

/// A receipt's value: invoiced units at the invoice's price, the rest at its own.
fn invoiced_value(record: &FactRecord, base: i64, fills: &[Fill]) -> Result<i64, OutOfRange> {
    let units = record.quantity.0;
    let mut value = i128::from(base);
    for fill in fills {
        let own = match record.unit_cost {
            Some(cost) => cost.times(fill.units)?,
            None => share(base, fill.units, units)?,
        };
        value += i128::from(fill.amount) - i128::from(own);
    }
    i64::try_from(value).map_err(|_| OutOfRange)
}

fn outgoing(
    pool: &mut Stock,
    id: FactId,
    record: &FactRecord,
    units: i64,
    given: &Given<'_>,
    taken: &mut Vec<Layer>,
) -> Result<StockTarget, OutOfRange> {
    if let (Kind::SupplierReturn, Some(origin)) = (record.kind, given.origin) {
        let price = in_range(share(origin.price, units, origin.units)?.into())?;
        let cost = match (pool, record.origin) {
            (Stock::Average(pool), _) if units <= pool.quantity() => {
                let cost = share(origin.cost, units, origin.units)?;
                let residue = pool.take_out_at(units, cost)?;
                let stock = -cost - residue;
                return Ok(StockTarget { stock, counter: price, residue, beyond: 0 });
            }
            (Stock::Monthly(pool), _) => {
                let cost = share(origin.cost, units, origin.units)?;
                let residue = pool.take_out_at(id, units, cost)?;
                let stock = -cost - residue;
                return Ok(StockTarget { stock, counter: price, residue, beyond: 0 });
            }
            (pool, _) if pool.carries() => {
                let stock = -pool.take_out(id, units, taken)?;
                let cost = share(origin.cost, units, origin.units)?;
                let own = in_range(-i128::from(cost) - i128::from(stock))?;
                let own = if given.allocates { own } else { 0 };
                let beyond = pool.carry(id, Some(own), false)?;
                let residue = own - beyond;
                return Ok(StockTarget { stock, counter: price, residue, beyond });
            }
            (Stock::Layers(pool), Some(receipt)) => pool.take_out_of(id, units, receipt, taken)?,
            (pool, _) => pool.take_out(id, units, taken)?,
        };
        return Ok(StockTarget { stock: -cost, counter: price, residue: 0, beyond: 0 });
    }
    let stock = match &mut *pool {
        Stock::Monthly(pool) if given.looped => -pool.take_out_earlier(id, units)?,
        pool => -pool.take_out(id, units, taken)?,
    };
    let beyond = pool.carry(id, None, given.looped)?;
    if record.kind == Kind::RepackOut {
        return Ok(StockTarget { stock, beyond, ..StockTarget::default() });
    }
    StockTarget::both_against(stock, beyond).within_range()
}

/// Whether a fact moves its pool at a cost of its own, not at that of the pool's month.
pub(super) fn has_own_cost(record: &FactRecord, given: &Given<'_>) -> bool {
    match (record.kind, given.origin) {
        (Kind::Receipt | Kind::RepackIn, _) | (Kind::TransferReceive, Some(_)) => {
            record.step == PoolStep::In
        }
        (Kind::TransferReceive, None) => false,
        (Kind::CustomerReturn, Some(origin)) => !origin.same_month,
        (Kind::SupplierReturn, Some(_)) => true,
        (Kind::TransferShip | Kind::RepackOut, _) => given.looped,
        _ => match record.step {
            PoolStep::In => record.stated.is_some(),
            PoolStep::Revalue | PoolStep::AddLate => true,
            _ => false,
        },
    }
}

/// Whether a fact restates what its pool holds: the month's cost is looked for anew after it.
pub(super) fn restates(record: &FactRecord) -> bool {
    match record.step {
        PoolStep::Restate => true,
        PoolStep::Count => record.unit_cost.is_some(),
        _ => false,
    }
}

/// The best guess before the pool is folded again: what is stated or named, else current cost.
pub(super) fn provisional(
    state: &PoolState,
    record: &FactRecord,
    given: &Given<'_>,
) -> StockTarget {
    let current = state.stock.current_cost();
    let target = match record.step {
        PoolStep::In => incoming(&state.stock, record, given),
        PoolStep::Out => {
            let kind = (record.kind, given.origin);
            current.times(record.quantity.0.abs()).and_then(|cost| match kind {
                (Kind::RepackOut, _) => Ok(StockTarget { stock: -cost, ..StockTarget::default() }),
                (Kind::SupplierReturn, Some(origin)) => {
                    let cost = share(origin.cost, record.quantity.0, origin.units)?;
                    let counter = share(origin.price, record.quantity.0, origin.units)?;
                    Ok(StockTarget { stock: -cost, counter, residue: 0, beyond: 0 })
                }
                _ => Ok(StockTarget::against(-cost)),
            })
        }
        _ => Ok(StockTarget::default()),
    };
    target.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_weight_are_shares() {
        let cases =
            [(100, 1, 3), (-100, 2, 3), (5, 1, 2), (-5, 1, 2), (7, 3, 3), ((1 << 59) + 11, 6, 7)];
        for (value, part, whole) in cases {
            let plain = i128::from(share(value, part, whole).expect("in range"));
            assert_eq!(share_by_weight(value.into(), part.into(), whole.into()), plain);
        }
        let (value, weight) = ((1i128 << 60) - 1, 1i128 << 73);
        assert_eq!(share_by_weight(value, weight, 4 * weight), (1 << 58));
        assert_eq!(share_by_weight(-value, weight * 3, 4 * weight), -(3 * (1i128 << 58) - 1));
    }
}
