//! Figures of the cases: decimals in texts, scaled to integers and back. Knows nothing else.

use serde_json::Value;
use shared::quantity::Scaled;

/// Decimals of quantities in the books of a case.
pub(super) const QUANTITY_DECIMALS: u8 = 4;
/// Decimals of money.
pub(super) const MONEY_DECIMALS: u8 = 2;
/// Decimals shown of a unit cost.
const COST_DECIMALS: u32 = 10;

/// A decimal as it is written; a case that is no decimal there is no case.
pub(super) fn decimal(text: &str) -> Scaled {
    shared::decimal::parse(text).expect("a decimal in a text")
}

/// The product of two decimals, exactly.
pub(super) fn product(left: Scaled, right: Scaled) -> Scaled {
    let digits = left.mantissa().checked_mul(right.mantissa()).expect("small figures");
    Scaled::new(digits, left.exponent() + right.exponent()).expect("small figures").normalized()
}

/// An integer with so many decimals, as text.
pub(super) fn shown(value: i128, decimals: u8) -> Value {
    let power = 10u128.pow(decimals.into());
    let (whole, rest) = (value.unsigned_abs() / power, value.unsigned_abs() % power);
    let sign = if value < 0 { "-" } else { "" };
    let width = usize::from(decimals);
    let text = format!("{sign}{whole}.{rest:0width$}");
    if decimals == QUANTITY_DECIMALS {
        text.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        text.into()
    }
}

/// Value / quantity with more decimals than anybody compares; nothing where there is no quantity.
pub(super) fn unit_cost(value: i128, quantity: i128) -> Value {
    if quantity == 0 {
        return Value::Null;
    }
    let scale = COST_DECIMALS + u32::from(QUANTITY_DECIMALS) - u32::from(MONEY_DECIMALS);
    let scaled = value * 10i128.pow(scale);
    let cost = shared::money::round_div(scaled * quantity.signum(), quantity.abs());
    let power = 10u128.pow(COST_DECIMALS);
    let sign = if cost < 0 { "-" } else { "" };
    let (whole, rest) = (cost.unsigned_abs() / power, cost.unsigned_abs() % power);
    format!("{sign}{whole}.{rest:010}").into()
}
