//! The one door to `rust_decimal`: decimal text in and out. Refuses what it would have to round.
//!
//! `rust_decimal` rounds silently where a figure has too many digits (its `checked_mul` and
//! `checked_add` do), so nothing else in the workspace computes with it.

use rust_decimal::Decimal;

use crate::quantity::{ScaleError, Scaled};

/// Why a text is no decimal figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with at most one point.
    #[error("'{0}' is not a decimal number: write digits with a point, for example 12.50")]
    NotADecimal(String),
    /// Too many digits or decimals.
    #[error("'{text}' {why}")]
    OutOfRange {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: ScaleError,
    },
}

/// Reads a figure exactly as written, without trailing zeros.
pub fn parse(text: &str) -> Result<Scaled, DecimalError> {
    let trimmed = text.trim();
    let plain = !trimmed.is_empty()
        && trimmed.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    let too_large = |why| DecimalError::OutOfRange { text: trimmed.to_owned(), why };
    if !plain {
        return Err(DecimalError::NotADecimal(trimmed.to_owned()));
    }
    match Decimal::from_str_exact(trimmed) {
        Ok(decimal) => from_decimal(decimal).map_err(too_large),
        Err(rust_decimal::Error::Underflow) => Err(too_large(ScaleError::TooManyDecimals {
            allowed: Scaled::EXPONENT_LIMIT.unsigned_abs(),
        })),
        Err(rust_decimal::Error::ExceedsMaximumPossibleValue) => {
            Err(too_large(ScaleError::TooLarge))
        }
        Err(_) if trimmed.len() > 28 => Err(too_large(ScaleError::TooLarge)),
        Err(_) => Err(DecimalError::NotADecimal(trimmed.to_owned())),
    }
}

/// The same figure as integers, without trailing zeros after the point.
pub fn from_decimal(decimal: Decimal) -> Result<Scaled, ScaleError> {
    let decimal = decimal.normalize();
    let exponent = -i8::try_from(decimal.scale()).expect("a scale is at most 28");
    if exponent < -Scaled::EXPONENT_LIMIT {
        // Many decimals make a long mantissa too: what is wrong with 1.00000000000000000001 is not
        // its size.
        let allowed = Scaled::EXPONENT_LIMIT.unsigned_abs();
        return Err(ScaleError::TooManyDecimals { allowed });
    }
    let mantissa = i64::try_from(decimal.mantissa()).map_err(|_| ScaleError::TooLarge)?;
    Scaled::new(mantissa, exponent)
}

/// The same figure as a `Decimal`, for libraries that speak it.
pub fn to_decimal(figure: Scaled) -> Decimal {
    let (mantissa, exponent) = (i128::from(figure.mantissa()), i32::from(figure.exponent()));
    if exponent <= 0 {
        return Decimal::from_i128_with_scale(mantissa, exponent.unsigned_abs());
    }
    let power = 10i128.pow(exponent.unsigned_abs());
    // 2^53 x 10^12 is below 2^96, the largest mantissa of a Decimal.
    Decimal::from_i128_with_scale(mantissa * power, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exactly_or_not_at_all() {
        for (text, mantissa, exponent) in [
            ("12.50", 125, -1),
            ("-0.05", -5, -2),
            (" 7 ", 7, 0),
            ("1000", 1000, 0),
            ("0.00", 0, 0),
        ] {
            let figure = parse(text).expect(text);
            assert_eq!((figure.mantissa(), figure.exponent()), (mantissa, exponent), "{text}");
            assert_eq!(from_decimal(to_decimal(figure)), Ok(figure));
        }
        for text in ["", "x", "1e5", "1,5", "1.2.3", "--1", "."] {
            assert!(matches!(parse(text), Err(DecimalError::NotADecimal(_))), "{text}");
        }
        for text in [
            "1000000000000000000000000000000",
            "0.0000000000001",
            "9007199254740992",
            "1.00000000000000000000000000000000001",
        ] {
            assert!(matches!(parse(text), Err(DecimalError::OutOfRange { .. })), "{text}");
        }
    }
}
