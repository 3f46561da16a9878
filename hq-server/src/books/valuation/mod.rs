//! What goods cost: pools folded in effective order. Knows quantities and amounts, and nothing of
//! accounts, vouchers or arrival.

mod average;
mod cost;
mod layers;
mod monthly;
mod queue;
mod shortfall;
mod standard;
mod stock;

use shared::money::round_div;

pub use average::AveragePool;
pub use cost::UnitCost;
pub(super) use layers::take_from_front;
pub use layers::{Layer, LayerPool, Leaving};
pub use monthly::{MonthlyPool, Plan, Span, SpanCost};
pub use shortfall::{Covered, Shortfall};
pub use standard::StandardPool;
pub use stock::Stock;

/// Quantities and values of a pool stay below this, so that products fit 127 bits.
const RANGE: i64 = 1 << 60;

/// A quantity or value of a pool would pass 2^60 smallest units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quantity or value of the pool would pass 2^60: check quantity and cost")]
pub struct OutOfRange;

/// The number, if it is in range.
pub(super) fn in_range(value: i128) -> Result<i64, OutOfRange> {
    i64::try_from(value).ok().filter(|value| (1 - RANGE..RANGE).contains(value)).ok_or(OutOfRange)
}

/// `value` x `part` / `whole`, rounded; all of it when the part is the whole.
fn share(value: i64, part: i64, whole: i64) -> i64 {
    if part == whole {
        return value;
    }
    let share = round_div(i128::from(value) * i128::from(part), whole.into());
    i64::try_from(share).expect("a part of a value in range is in range")
}

/// The dense number of a fact in the books, in the order they were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(pub u32);

impl FactId {
    /// The index into tables of facts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
