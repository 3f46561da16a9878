//! What goods cost: pools folded in effective order. Knows quantities and amounts, and nothing of
//! accounts, vouchers or arrival.

mod average;
mod cost;

pub use average::{AveragePool, Covered, OutOfRange, Shortfall};
pub use cost::UnitCost;

pub(super) use average::in_range;

/// The dense number of a fact in the books, in the order they were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(pub u32);

impl FactId {
    /// The index into tables of facts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
