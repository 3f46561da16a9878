//! Exact arithmetic for expressions and totals: every result is the true one, or an error. Division
//! that leaves a rest must say how many decimals it wants.

use shared::money::round_div;
use shared::quantity::{ScaleError, Scaled};

/// Why a result is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Inexact {
    #[error("a result has more than 15 digits or more than 12 decimals")]
    OutOfRange,
    #[error("division by zero")]
    ByZero,
    #[error(
        "the division leaves a rest: use div(a, b, decimals), which rounds half away from zero"
    )]
    Rest,
}

impl From<ScaleError> for Inexact {
    fn from(_: ScaleError) -> Self {
        Self::OutOfRange
    }
}

const POWER_MAX: u32 = 38;

fn power(exponent: u32) -> Result<i128, Inexact> {
    if exponent > POWER_MAX { Err(Inexact::OutOfRange) } else { Ok(10i128.pow(exponent)) }
}

/// A mantissa that may be long, in its shortest form.
fn short(mut mantissa: i128, mut exponent: i32) -> Result<Scaled, Inexact> {
    if mantissa == 0 {
        return Ok(Scaled::new(0, 0)?);
    }
    while mantissa % 10 == 0 && exponent < 0 {
        mantissa /= 10;
        exponent += 1;
    }
    while exponent > i32::from(Scaled::EXPONENT_LIMIT) {
        mantissa = mantissa.checked_mul(10).ok_or(Inexact::OutOfRange)?;
        exponent -= 1;
    }
    let mantissa = i64::try_from(mantissa).map_err(|_| Inexact::OutOfRange)?;
    let exponent = i8::try_from(exponent).map_err(|_| Inexact::OutOfRange)?;
    Ok(Scaled::new(mantissa, exponent)?)
}

/// Both mantissas at the smaller exponent.
fn aligned(one: Scaled, other: Scaled) -> Result<(i128, i128, i32), Inexact> {
    let exponent = one.exponent().min(other.exponent());
    let at = |figure: Scaled| {
        let shift = u32::from((figure.exponent() - exponent).unsigned_abs());
        i128::from(figure.mantissa()).checked_mul(power(shift)?).ok_or(Inexact::OutOfRange)
    };
    Ok((at(one)?, at(other)?, exponent.into()))
}

pub(super) fn add(one: Scaled, other: Scaled) -> Result<Scaled, Inexact> {
    let (left, right, exponent) = aligned(one, other)?;
    short(left + right, exponent)
}

pub(super) fn subtract(one: Scaled, other: Scaled) -> Result<Scaled, Inexact> {
    let (left, right, exponent) = aligned(one, other)?;
    short(left - right, exponent)
}

pub(super) fn multiply(one: Scaled, other: Scaled) -> Result<Scaled, Inexact> {
    let product = i128::from(one.mantissa()) * i128::from(other.mantissa());
    short(product, i32::from(one.exponent()) + i32::from(other.exponent()))
}

/// The quotient with `decimals`, rounded half away from zero.
pub(super) fn divide_rounded(one: Scaled, other: Scaled, decimals: u8) -> Result<Scaled, Inexact> {
    let (numerator, denominator) = fraction(one, other, decimals)?;
    short(round_div(numerator, denominator), -i32::from(decimals))
}

/// The quotient where it is exact in 12 decimals.
pub(super) fn divide(one: Scaled, other: Scaled) -> Result<Scaled, Inexact> {
    let decimals = Scaled::EXPONENT_LIMIT.unsigned_abs();
    let (numerator, denominator) = fraction(one, other, decimals)?;
    if numerator % denominator != 0 {
        return Err(Inexact::Rest);
    }
    short(numerator / denominator, -i32::from(decimals))
}

fn fraction(one: Scaled, other: Scaled, decimals: u8) -> Result<(i128, i128), Inexact> {
    let (left, right, _) = aligned(one, other)?;
    if right == 0 {
        return Err(Inexact::ByZero);
    }
    Ok((left.checked_mul(power(decimals.into())?).ok_or(Inexact::OutOfRange)?, right))
}

/// What remains of a whole division, with the sign of `one`.
pub(super) fn remainder(one: Scaled, other: Scaled) -> Result<Scaled, Inexact> {
    let (left, right, exponent) = aligned(one, other)?;
    if right == 0 { Err(Inexact::ByZero) } else { short(left % right, exponent) }
}

/// How the two compare.
pub(super) fn compare(one: Scaled, other: Scaled) -> Result<std::cmp::Ordering, Inexact> {
    let (left, right, _) = aligned(one, other)?;
    Ok(left.cmp(&right))
}

/// The figure with at most `decimals`, rounded half away from zero.
pub(super) fn round(figure: Scaled, decimals: u8) -> Result<Scaled, Inexact> {
    divide_rounded(figure, Scaled::new(1, 0)?, decimals)
}

/// A sum of any length, as digits and decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    mantissa: i128,
    decimals: u32,
}

impl Sum {
    /// Adds mantissa x 10^exponent.
    pub(super) fn add(&mut self, mantissa: i128, exponent: i32) {
        let decimals = (-exponent).max(0).unsigned_abs();
        let wider = decimals.max(self.decimals);
        let up = |mantissa: i128, by: u32| mantissa * 10i128.pow(by);
        // Up to 24 decimals and 10^13 rows of figures below 2^53 fit 127 bits.
        let addend = up(mantissa, exponent.max(0).unsigned_abs() + wider - decimals);
        self.mantissa = up(self.mantissa, wider - self.decimals) + addend;
        self.decimals = wider;
    }

    /// Digits with a point, trailing zeros of the decimals left out.
    pub(super) fn text(&self) -> String {
        let (mut mantissa, mut decimals) = (self.mantissa, self.decimals as usize);
        while decimals > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            decimals -= 1;
        }
        let sign = if mantissa < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str) -> Scaled {
        shared::decimal::parse(text).expect("a figure")
    }

    #[test]
    fn results_are_true_or_refused() {
        type Operation = fn(Scaled, Scaled) -> Result<Scaled, Inexact>;
        let cases: &[(Operation, &str, &str, Result<&str, Inexact>)] = &[
            (add, "0.1", "0.2", Ok("0.3")),
            (add, "9007199254740991", "0.1", Err(Inexact::OutOfRange)),
            (subtract, "1", "1.000000000001", Ok("-0.000000000001")),
            (multiply, "12.50", "8", Ok("100")),
            (multiply, "0.000001", "0.0000001", Err(Inexact::OutOfRange)),
            (divide, "1", "8", Ok("0.125")),
            (divide, "1", "3", Err(Inexact::Rest)),
            (divide, "1", "0", Err(Inexact::ByZero)),
            (remainder, "784", "3", Ok("1")),
            (remainder, "-7.5", "2", Ok("-1.5")),
            (|one, other| divide_rounded(one, other, 2), "2", "3", Ok("0.67")),
            (|one, other| divide_rounded(one, other, 0), "-5", "2", Ok("-3")),
        ];
        for (operation, one, other, expected) in cases {
            let found = operation(figure(one), figure(other)).map(|found| found.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{one}, {other}");
        }
        assert_eq!(round(figure("2.345"), 2), Ok(figure("2.35")));
        assert!(compare(figure("0.30"), figure("0.3")).is_ok_and(std::cmp::Ordering::is_eq));
    }

    #[test]
    fn sums_are_exact() {
        let mut sum = Sum::default();
        for (mantissa, exponent) in [(45_12, -2), (3, 2), (-1, -4), (1, -4)] {
            sum.add(mantissa, exponent);
        }
        assert_eq!(sum.text(), "345.12");
        sum.add(-34_513, -2);
        assert_eq!(sum.text(), "-0.01");
    }
}
