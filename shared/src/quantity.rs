//! Exact decimals as they stand in facts, and stock quantities in an item's smallest unit.
//! Addition is checked; nothing here rounds.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::varint;

/// A decimal as written: mantissa x 10^exponent. Both 12.5 and 12.50 can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scaled {
    /// Magnitude below 2^53.
    mantissa: i64,
    /// -12 to 12.
    exponent: i8,
}

/// Why digits do not make a quantity or a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// More decimals than the unit or currency has.
    #[error("has more decimals than allowed ({allowed})")]
    TooManyDecimals {
        /// How many decimals there may be.
        allowed: u8,
    },
    /// Beyond 2^53 smallest units.
    #[error("is too large: the limit is about 9 x 10^15 smallest units")]
    TooLarge,
}

impl Scaled {
    /// The furthest exponent either way.
    pub const EXPONENT_LIMIT: i8 = 12;

    /// Mantissa below 2^53, exponent within 12 of zero.
    pub fn new(mantissa: i64, exponent: i8) -> Result<Self, ScaleError> {
        if exponent < -Self::EXPONENT_LIMIT {
            return Err(ScaleError::TooManyDecimals { allowed: Self::EXPONENT_LIMIT as u8 });
        }
        if mantissa.unsigned_abs() >= varint::LIMIT || exponent > Self::EXPONENT_LIMIT {
            return Err(ScaleError::TooLarge);
        }
        Ok(Self { mantissa, exponent })
    }

    /// The digits without the decimal point.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The power of ten that the mantissa is multiplied by.
    pub const fn exponent(self) -> i8 {
        self.exponent
    }

    /// How many units of 10^-`decimals` this is; an error when it is no whole number of them.
    pub fn units(self, decimals: u8) -> Result<i64, ScaleError> {
        let shift = i32::from(self.exponent) + i32::from(decimals);
        let mantissa = i128::from(self.mantissa);
        let units = if shift >= 0 {
            power_of_ten(shift.unsigned_abs()).and_then(|power| mantissa.checked_mul(power))
        } else {
            let power = power_of_ten(shift.unsigned_abs()).ok_or(ScaleError::TooLarge)?;
            if mantissa % power != 0 {
                return Err(ScaleError::TooManyDecimals { allowed: decimals });
            }
            Some(mantissa / power)
        };
        units
            .and_then(|units| i64::try_from(units).ok())
            .filter(|units| units.unsigned_abs() < varint::LIMIT)
            .ok_or(ScaleError::TooLarge)
    }

    /// The same value with the shortest mantissa.
    #[must_use]
    pub fn normalized(self) -> Self {
        let Self { mut mantissa, mut exponent } = self;
        if mantissa == 0 {
            return Self { mantissa: 0, exponent: 0 };
        }
        while mantissa % 10 == 0 && exponent < Self::EXPONENT_LIMIT {
            mantissa /= 10;
            exponent += 1;
        }
        Self { mantissa, exponent }
    }
}

/// 10^`exponent`, or `None` beyond what fits.
pub(crate) const fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { self.exponent.unsigned_abs().into() };
            return write!(f, "{sign}{digits}{}", "0".repeat(zeros));
        }
        let decimals = usize::from(self.exponent.unsigned_abs());
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        write!(f, "{sign}{whole}.{part}")
    }
}

/// A stock quantity in the item's smallest unit. The item's decimals say what that is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Quantity(pub i64);

/// A sum of quantities does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum of quantities does not fit 63 bits")]
pub struct QuantityOverflow;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or an error when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, QuantityOverflow> {
        self.0.checked_add(other.0).map(Self).ok_or(QuantityOverflow)
    }

    /// The difference, or an error when it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, QuantityOverflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(QuantityOverflow)
    }

    /// Decimal text, for an item with `decimals`.
    pub fn display(self, decimals: u8) -> String {
        let places = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0.unsigned_abs(), width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        let sign = if self.0 < 0 { "-" } else { "" };
        if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }
}

/// A short text: a unit as the keeper saw it, a currency, a lot, an outside document's number.
pub type ShortText = SmallVec<[u8; 16]>;

/// A unit of measure as the keeper saw it, for example `EA`, `kg` or `box12`: 1 to 16 bytes UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(ShortText);

/// A text that can't be a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unit is 1 to 16 bytes of text without blanks")]
pub struct NotAUnit;

impl Unit {
    /// The text of the unit.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked to be UTF-8 when made")
    }

    /// Checks length and characters.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAUnit> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotAUnit)?;
        let fits = (1..=16).contains(&bytes.len());
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if fits && plain { Ok(Self(ShortText::from_slice(bytes))) } else { Err(NotAUnit) }
    }

    /// The bytes that stand in a fact.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_to_units() {
        let cases = [
            (125, -1, 1, Ok(125)),
            (125, -1, 3, Ok(12_500)),
            (1250, -2, 1, Ok(125)),
            (125, -2, 1, Err(ScaleError::TooManyDecimals { allowed: 1 })),
            (5, 3, 0, Ok(5_000)),
            (-7, 0, 0, Ok(-7)),
            (9_000_000_000_000_000, 0, 0, Ok(9_000_000_000_000_000)),
            (9_000_000_000_000_000, 0, 1, Err(ScaleError::TooLarge)),
            (1, 12, 12, Err(ScaleError::TooLarge)),
        ];
        for (mantissa, exponent, decimals, expected) in cases {
            let scaled = Scaled::new(mantissa, exponent).expect("in range");
            assert_eq!(scaled.units(decimals), expected, "{scaled} to {decimals} decimals");
        }
        assert_eq!(Scaled::new(1 << 53, 0), Err(ScaleError::TooLarge));
    }

    #[test]
    fn texts() {
        let text =
            |mantissa, exponent| Scaled::new(mantissa, exponent).expect("in range").to_string();
        assert_eq!(text(-5, -2), "-0.05");
        assert_eq!(text(1250, -2), "12.50");
        assert_eq!(text(5, 2), "500");
        assert_eq!(text(0, 3), "0");
        assert_eq!(Quantity(-5).display(2), "-0.05");
        assert_eq!(Quantity(1_250).display(3), "1.250");
        assert_eq!(Quantity(7).display(0), "7");
    }
}
