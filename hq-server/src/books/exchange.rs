//! What is stated in another currency, in the currency of a company's books: at a rate, rounded once,
//! half away from zero. Knows no facts and no table of rates.
//!
//! Invariant: what a rate makes of a figure depends on the two alone. What is beyond what one fact
//! may state counts as nothing, whatever came first, as with landed cost.

use shared::money::{Currency, Price, round_div};
use shared::quantity::Scaled;

use super::valuation::{OutOfRange, UnitCost, in_range};

/// Amounts of one fact stay below this.
const LIMIT: u64 = shared::varint::LIMIT;

/// One unit of another currency, in the company's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The company's currency for one of the other.
    pub figure: Scaled,
    /// The company's currency.
    pub currency: Currency,
}

impl Rate {
    /// An amount in minor units of the other currency, which has so many decimals, in minor units of
    /// the company's. An error where that is more than a pool could hold.
    pub fn of_minor(self, amount: i64, decimals: u8) -> Result<i64, OutOfRange> {
        let figure = self.figure.normalized();
        let product = i128::from(amount) * i128::from(figure.mantissa());
        let shift = i32::from(figure.exponent()) + i32::from(self.currency.decimals());
        shifted(product, shift - i32::from(decimals)).ok_or(OutOfRange).and_then(in_range)
    }
}

/// What a fact states in another currency than its company's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The price of one unit, or an amount.
    pub price: Price,
    /// How many units; one for an amount.
    pub quantity: Scaled,
    /// What the unit is in base units, and the decimals of the smallest unit: where the goods are
    /// known.
    pub unit: Option<((u64, u64), u8)>,
}

impl Foreign {
    /// Price x quantity in minor units of the company's currency.
    pub fn worth(&self, rate: Rate) -> i64 {
        let figures = [self.price.figure, self.quantity, rate.figure];
        let figures = figures.map(Scaled::normalized);
        let product = figures
            .iter()
            .try_fold(1i128, |product, figure| product.checked_mul(figure.mantissa().into()));
        let exponents: i32 = figures.iter().map(|figure| i32::from(figure.exponent())).sum();
        let shift = exponents + i32::from(rate.currency.decimals());
        let minor = product.and_then(|product| shifted(product, shift));
        minor
            .and_then(|minor| i64::try_from(minor).ok())
            .filter(|amount| is_in_limit(*amount))
            .unwrap_or(0)
    }

    /// The price of one smallest unit; nothing where the goods are not known.
    pub fn unit_cost(&self, rate: Rate) -> UnitCost {
        let cost = self.unit.and_then(|(factor, decimals)| {
            let price = Price { figure: self.price.figure.normalized(), ..self.price };
            UnitCost::of_price(&price, rate.currency.decimals(), decimals)?
                .per_factor(factor)?
                .at_rate(rate.figure.normalized())
        });
        cost.unwrap_or(UnitCost::ZERO)
    }

    /// What some of its units cost: all of them as stated, a part at the unit's cost.
    pub fn worth_of(&self, units: i64, all: i64, rate: Rate) -> i64 {
        if units == all {
            return self.worth(rate);
        }
        self.unit_cost(rate).times(units).ok().filter(|amount| is_in_limit(*amount)).unwrap_or(0)
    }
}

const fn is_in_limit(amount: i64) -> bool {
    amount.unsigned_abs() < LIMIT
}

/// A figure x 10^`shift`, rounded.
fn shifted(figure: i128, shift: i32) -> Option<i128> {
    let power = 10i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { figure.checked_mul(power) } else { Some(round_div(figure, power)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &str) -> Scaled {
        shared::decimal::parse(text).expect("a figure")
    }

    #[test]
    fn foreign_money_is_rounded_once() {
        let cases = [
            ("10", "3", "7.12", "CNY", 21_360),
            // 0.005 rounds away from zero once: price x quantity is never rounded by itself.
            ("0.001", "1", "5", "CNY", 1),
            ("-0.001", "1", "5", "CNY", -1),
            ("0.0049", "1", "1.02", "CNY", 0),
            ("12.34", "1", "151.2", "JPY", 1_866),
            ("1", "1", "1000000000000000", "CNY", 0),
            ("9007199254740991", "9007199254740991", "9007199254740991", "CNY", 0),
        ];
        for (price, quantity, rate, currency, expected) in cases {
            let usd = "USD".parse().expect("a code");
            let price = Price { figure: scaled(price), currency: usd };
            let foreign = Foreign { price, quantity: scaled(quantity), unit: None };
            let currency = currency.parse().expect("a code");
            let found = foreign.worth(Rate { figure: scaled(rate), currency });
            assert_eq!(found, expected, "{price:?} x {quantity} at {rate}");
        }
    }

    #[test]
    fn a_part_costs_its_units() {
        let usd = "USD".parse().expect("a code");
        let price = Price { figure: scaled("10.01"), currency: usd };
        // A box of 12 pieces.
        let unit = Some(((12, 1), 0));
        let foreign = Foreign { price, quantity: scaled("2"), unit };
        let rate = Rate { figure: scaled("7.123"), currency: "CNY".parse().expect("a code") };
        assert_eq!(foreign.worth_of(24, 24, rate), 14_260);
        // 10.01 x 7.123 / 12 x 5 = 29.7087...
        assert_eq!(foreign.worth_of(5, 24, rate), 2_971);
    }
}
