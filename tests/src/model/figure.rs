//! Exact fractions and the one rounding of the model. Knows nothing of stock or accounts.

use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::{Signed, ToPrimitive, Zero};
use shared::quantity::Scaled;

/// An exact figure: money in minor units or a quantity in an item's smallest units.
pub type Figure = Ratio<BigInt>;

/// A whole number.
pub fn whole(number: impl Into<BigInt>) -> Figure {
    Figure::from_integer(number.into())
}

/// A decimal as a fact states it.
pub fn decimal(figure: Scaled) -> Figure {
    whole(figure.mantissa()) * power_of_ten(figure.exponent())
}

/// 10 to the power of `exponent`.
pub fn power_of_ten(exponent: i8) -> Figure {
    num_traits::pow::Pow::pow(&whole(10), i32::from(exponent))
}

/// The nearest whole number, a half goes away from zero.
pub fn rounded(figure: &Figure) -> Figure {
    let half = Figure::new(1.into(), 2.into());
    if figure.is_negative() { (figure - half).ceil() } else { (figure + half).floor() }
}

/// A figure that is a whole number by construction, as an integer.
pub fn integer(figure: &Figure) -> i128 {
    assert!(figure.is_integer(), "{figure} was never rounded");
    figure.to_integer().to_i128().expect("sums of facts below 2^53 fit 127 bits")
}

/// `amount` x `part` / `all`, rounded; all of it where the part is everything.
pub fn share(amount: &Figure, part: &Figure, all: &Figure) -> Figure {
    assert!(!all.is_zero(), "a share of nothing is asked for");
    rounded(&(amount * part / all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        for (numerator, denominator, expected) in
            [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (-4, 3, -1), (1, 2, 1), (-1, 2, -1), (1, 3, 0)]
        {
            let figure = Figure::new(BigInt::from(numerator), BigInt::from(denominator));
            assert_eq!(integer(&rounded(&figure)), expected, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn decimals_keep_their_exponent() {
        let figure = decimal(Scaled::new(1_005, -3).expect("in range"));
        assert_eq!(figure, Figure::new(BigInt::from(1_005), BigInt::from(1_000)));
        assert_eq!(decimal(Scaled::new(7, 2).expect("in range")), whole(700));
    }
}
