//! Money in integer minor units, prices as decimals, and the one rounding rule: half away from
//! zero. Every rounding in the system happens in [`round_div`] or [`Price::extend`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::{ScaleError, Scaled, power_of_ten};

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// A text that is no currency code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, for example CNY")]
pub struct NotACurrency;

impl Currency {
    /// Three capital letters.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotACurrency> {
        let code: [u8; 3] = bytes.try_into().map_err(|_| NotACurrency)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACurrency) }
    }

    /// The code's bytes, as they stand in a fact.
    pub const fn as_bytes(&self) -> &[u8; 3] {
        &self.0
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("capital letters are UTF-8")
    }

    /// Decimals of the minor unit, by ISO 4217 table A.1 (2 where not listed here).
    pub const fn decimals(self) -> u8 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG"
            | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        Self::from_bytes(text.as_bytes())
    }
}

/// An amount of money in minor units of a currency that the context names.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(pub i64);

/// A sum or product of money does not fit 63 bits of minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount of money does not fit 63 bits of minor units")]
pub struct MoneyOverflow;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or an error when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyOverflow> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyOverflow)
    }

    /// The difference, or an error when it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyOverflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyOverflow)
    }

    /// The same amount on the other side.
    pub fn negated(self) -> Result<Self, MoneyOverflow> {
        self.0.checked_neg().map(Self).ok_or(MoneyOverflow)
    }

    /// This amount x `part` / `whole`, rounded half away from zero. `whole` is not zero.
    pub fn share(self, part: i64, whole: i64) -> Result<Self, MoneyOverflow> {
        let product = i128::from(self.0) * i128::from(part);
        i64::try_from(round_div(product, whole.into())).map(Self).map_err(|_| MoneyOverflow)
    }

    /// Decimal text with the currency's decimals, for example `-12.50`.
    pub fn display(self, decimals: u8) -> String {
        crate::quantity::Quantity(self.0).display(decimals)
    }
}

/// `numerator` / `denominator`, rounded half away from zero.
///
/// The denominator is not zero: whoever divides has asked before.
pub fn round_div(numerator: i128, denominator: i128) -> i128 {
    // Nearly always both fit a word, and words are divided several times as fast.
    if let (Ok(numerator), Ok(denominator)) = (i64::try_from(numerator), i64::try_from(denominator))
        && let Some(quotient) = numerator.checked_div(denominator)
    {
        let rest = (numerator - quotient * denominator).unsigned_abs();
        let is_nearer_next = rest >= denominator.unsigned_abs() - rest;
        let away = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
        return i128::from(quotient) + if is_nearer_next { away } else { 0 };
    }
    let quotient = numerator / denominator;
    let rest = numerator % denominator;
    if rest.unsigned_abs() >= denominator.unsigned_abs() - rest.unsigned_abs() {
        quotient + if (numerator < 0) == (denominator < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

/// Shares an amount by weights, none of them negative: each share rounded, the last one takes the
/// rest; without any weight the last one takes all. `None` where a product passes 127 bits.
pub fn share_out(amount: i64, weights: &[i128]) -> Option<Vec<i64>> {
    let whole = weights.iter().try_fold(0i128, |sum, weight| sum.checked_add(*weight))?;
    let mut left = i128::from(amount);
    let mut shares = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let share = if index + 1 == weights.len() {
            left
        } else if whole == 0 {
            0
        } else {
            round_div(i128::from(amount).checked_mul(*weight)?, whole)
        };
        left -= share;
        shares.push(i64::try_from(share).ok()?);
    }
    Some(shares)
}

/// A price or cost of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    /// The figure as written.
    pub figure: Scaled,
    /// Its currency.
    pub currency: Currency,
}

/// Why a price x quantity is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("price x quantity does not fit 63 bits of minor units")]
pub struct ExtendError;

impl Price {
    /// price x quantity in minor units with `decimals`, rounded half away from zero once.
    pub fn extend(&self, quantity: Scaled, decimals: u8) -> Result<Amount, ExtendError> {
        let product = i128::from(self.figure.mantissa()) * i128::from(quantity.mantissa());
        let shift = i32::from(self.figure.exponent())
            + i32::from(quantity.exponent())
            + i32::from(decimals);
        let power = power_of_ten(shift.unsigned_abs()).ok_or(ExtendError)?;
        let minor = if shift >= 0 {
            product.checked_mul(power).ok_or(ExtendError)?
        } else {
            round_div(product, power)
        };
        i64::try_from(minor).map(Amount).map_err(|_| ExtendError)
    }
}

/// A figure in minor units must not need rounding: for amounts that people state.
pub fn exact_minor(figure: Scaled, currency: Currency) -> Result<Amount, ScaleError> {
    figure.units(currency.decimals()).map(Amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_share_takes_the_rest() {
        assert_eq!(share_out(100, &[1, 1, 1]), Some(vec![33, 33, 34]));
        assert_eq!(share_out(-7, &[2, 1, 2]), Some(vec![-3, -1, -3]));
        assert_eq!(share_out(9, &[0, 0]), Some(vec![0, 9]));
        assert_eq!(share_out(9, &[]), Some(Vec::new()));
        assert_eq!(share_out(i64::MAX, &[i128::MAX, 1]), None);
    }

    #[test]
    fn rounds_half_away_from_zero() {
        let cases = [
            (5, 2, 3),
            (-5, 2, -3),
            (5, -2, -3),
            (-5, -2, 3),
            (4, 3, 1),
            (-4, 3, -1),
            (7, 3, 2),
            (0, 9, 0),
            (1, 2, 1),
            (-1, 2, -1),
            (1, 3, 0),
        ];
        for (numerator, denominator, expected) in cases {
            assert_eq!(round_div(numerator, denominator), expected, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn price_times_quantity() {
        let currency: Currency = "USD".parse().expect("a code");
        let price = |mantissa, exponent| Price {
            figure: Scaled::new(mantissa, exponent).expect("in range"),
            currency,
        };
        let quantity = |mantissa, exponent| Scaled::new(mantissa, exponent).expect("in range");
        assert_eq!(price(1_005, -3).extend(quantity(1, 0), 2), Ok(Amount(101)));
        assert_eq!(price(-1_005, -3).extend(quantity(1, 0), 2), Ok(Amount(-101)));
        assert_eq!(price(451, -1).extend(quantity(3, 0), 2), Ok(Amount(13_530)));
        assert_eq!(price(2, 12).extend(quantity(3, 12), 2), Err(ExtendError));
        assert_eq!(price(1, -12).extend(quantity(1, -12), 0), Ok(Amount(0)));
    }

    #[test]
    fn currencies() {
        assert_eq!("JPY".parse::<Currency>().map(Currency::decimals), Ok(0));
        assert_eq!("CNY".parse::<Currency>().map(Currency::decimals), Ok(2));
        assert_eq!("cny".parse::<Currency>(), Err(NotACurrency));
        assert_eq!("CN".parse::<Currency>(), Err(NotACurrency));
    }
}
