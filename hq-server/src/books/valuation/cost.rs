//! The cost of one smallest unit as an exact fraction. Never rounded, never stored with decimals.

use std::num::NonZeroI64;

use shared::money::{Price, round_div};
use shared::quantity::Scaled;

use super::OutOfRange;

/// `numerator` / `denominator` minor units for one smallest unit; the denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitCost {
    numerator: i128,
    denominator: i128,
}

impl UnitCost {
    /// Nothing is known.
    pub const ZERO: Self = Self { numerator: 0, denominator: 1 };

    /// What a quantity is worth in all; the quantity is positive.
    pub fn of(value: i64, quantity: i64) -> Self {
        assert!(quantity > 0, "a unit cost needs units");
        Self { numerator: value.into(), denominator: quantity.into() }
    }

    /// A price of one base unit, in minor units with `currency_decimals`, for an item whose
    /// smallest unit has `item_decimals`.
    pub fn of_price(price: &Price, currency_decimals: u8, item_decimals: u8) -> Option<Self> {
        let shift = i32::from(price.figure.exponent()) + i32::from(currency_decimals)
            - i32::from(item_decimals);
        let power = 10i128.checked_pow(shift.unsigned_abs())?;
        let mantissa = i128::from(price.figure.mantissa());
        Some(if shift >= 0 {
            Self { numerator: mantissa.checked_mul(power)?, denominator: 1 }
        } else {
            Self { numerator: mantissa, denominator: power }
        })
    }

    /// The cost of one base unit's share, where the price was for numerator / denominator of them.
    pub fn per_factor(self, (numerator, denominator): (u64, u64)) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.checked_mul(denominator.into())?,
            denominator: self.denominator.checked_mul(numerator.into())?,
        })
    }

    /// The same in another currency, one unit of which costs the inverse of `rate`.
    pub fn at_rate(self, rate: Scaled) -> Option<Self> {
        let power = 10i128.checked_pow(rate.exponent().unsigned_abs().into())?;
        let numerator = self.numerator.checked_mul(rate.mantissa().into())?;
        Some(if rate.exponent() >= 0 {
            Self { numerator: numerator.checked_mul(power)?, denominator: self.denominator }
        } else {
            Self { numerator, denominator: self.denominator.checked_mul(power)? }
        })
    }

    /// What `quantity` costs, rounded half away from zero.
    pub fn times(self, quantity: i64) -> Result<i64, OutOfRange> {
        let product = self.numerator.checked_mul(quantity.into()).ok_or(OutOfRange)?;
        super::in_range(round_div(product, self.denominator))
    }

    /// Numerator and denominator, for display.
    pub const fn parts(self) -> (i128, i128) {
        (self.numerator, self.denominator)
    }
}

/// A unit cost as pools keep it, of which there may be millions: in words where both parts fit one,
/// as they nearly always do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptCost(Parts);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    Words(i64, NonZeroI64),
    Wide(Box<UnitCost>),
}

impl KeptCost {
    pub(super) fn get(&self) -> UnitCost {
        match &self.0 {
            Parts::Words(numerator, denominator) => {
                UnitCost { numerator: (*numerator).into(), denominator: denominator.get().into() }
            }
            Parts::Wide(cost) => **cost,
        }
    }
}

impl From<UnitCost> for KeptCost {
    fn from(cost: UnitCost) -> Self {
        let numerator = i64::try_from(cost.numerator).ok();
        let denominator = i64::try_from(cost.denominator).ok().and_then(NonZeroI64::new);
        let words = numerator.zip(denominator);
        Self(words.map_or_else(
            || Parts::Wide(Box::new(cost)),
            |(numerator, denominator)| Parts::Words(numerator, denominator),
        ))
    }
}
