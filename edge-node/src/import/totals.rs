//! What an import did, exactly: rows, and per kind quantities and amounts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use shared::decimal;
use shared::money::{Currency, Price};

use super::exact::Sum;
use crate::record::LineInput;

/// Counts and sums.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Rows of the file.
    pub read: u64,
    /// Rows that the filter left out.
    pub filtered: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// Where they went.
    pub rejects: Option<PathBuf>,
    kinds: BTreeMap<String, Kind>,
}

#[derive(Clone, Debug, Default)]
struct Kind {
    recorded: u64,
    already: u64,
    quantity: Sum,
    unrounded: Sum,
    amount: Sum,
}

impl Totals {
    /// Adds a row that is in the log: now, or since an earlier import.
    pub(super) fn add(&mut self, line: &LineInput, again: bool) {
        if !self.kinds.contains_key(&line.kind) {
            self.kinds.insert(line.kind.clone(), Kind::default());
        }
        let kind = self.kinds.get_mut(&line.kind).expect("just put there");
        if again {
            kind.already += 1;
        } else {
            kind.recorded += 1;
        }
        let figure =
            |text: &Option<String>| text.as_deref().and_then(|text| decimal::parse(text).ok());
        let Some(quantity) = figure(&line.quantity) else { return };
        kind.quantity.add(quantity.mantissa().into(), quantity.exponent().into());
        let Some(price) = figure(&line.price) else { return };
        let product = i128::from(quantity.mantissa()) * i128::from(price.mantissa());
        let exponent = i32::from(quantity.exponent()) + i32::from(price.exponent());
        kind.unrounded.add(product, exponent);
        let currency = line.currency.as_deref().and_then(|code| code.parse().ok());
        // Where the row names no currency, its amount is shown in hundredths.
        let hundredths = "XXX".parse::<Currency>().expect("three letters");
        let currency = currency.unwrap_or(hundredths);
        let decimals = currency.decimals();
        if let Ok(amount) = (Price { figure: price, currency }).extend(quantity, decimals) {
            kind.amount.add(amount.0.into(), -i32::from(decimals));
        }
    }

    /// For printing.
    pub fn view(&self) -> TotalsView {
        let kinds: BTreeMap<String, KindTotals> = self
            .kinds
            .iter()
            .map(|(name, kind)| {
                let view = KindTotals {
                    recorded: kind.recorded,
                    already_there: kind.already,
                    quantity: kind.quantity.text(),
                    amount: kind.amount.text(),
                    amount_unrounded: kind.unrounded.text(),
                };
                (name.clone(), view)
            })
            .collect();
        TotalsView {
            read: self.read,
            recorded: kinds.values().map(|kind| kind.recorded).sum(),
            already_there: kinds.values().map(|kind| kind.already_there).sum(),
            filtered: self.filtered,
            rejected: self.rejected,
            rejects: self.rejects.as_ref().map(|file| file.display().to_string()),
            kinds,
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TotalsView {
    /// Rows of the file.
    pub read: u64,
    /// Rows recorded now.
    pub recorded: u64,
    /// Rows recorded by an earlier import.
    pub already_there: u64,
    /// Rows that the filter left out.
    pub filtered: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// The file that has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// By kind of movement.
    pub kinds: BTreeMap<String, KindTotals>,
}

/// What an import did of one kind; sums are over rows recorded now or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindTotals {
    /// Rows recorded now.
    pub recorded: u64,
    /// Rows recorded by an earlier import.
    pub already_there: u64,
    /// Sum of quantities, as stated.
    pub quantity: String,
    /// Sum of quantity x price, each rounded half away from zero to the currency's decimals.
    pub amount: String,
    /// The same without rounding.
    pub amount_unrounded: String,
}

impl fmt::Display for TotalsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rows read      {:>12}", self.read)?;
        writeln!(f, "recorded       {:>12}", self.recorded)?;
        writeln!(f, "already there  {:>12}", self.already_there)?;
        writeln!(f, "filtered       {:>12}", self.filtered)?;
        writeln!(f, "rejected       {:>12}", self.rejected)?;
        if self.kinds.is_empty() {
            return Ok(());
        }
        let header = ("kind", "rows", "quantity", "amount", "unrounded");
        let (kind, rows, quantity, amount, unrounded) = header;
        writeln!(f, "\n{kind:<18}{rows:>10}{quantity:>18}{amount:>20}{unrounded:>24}")?;
        for (name, kind) in &self.kinds {
            let rows = kind.recorded + kind.already_there;
            let KindTotals { quantity, amount, amount_unrounded, .. } = kind;
            writeln!(f, "{name:<18}{rows:>10}{quantity:>18}{amount:>20}{amount_unrounded:>24}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_per_kind() {
        let mut totals = Totals::default();
        for (quantity, price, again) in
            [("4", "50.2600", false), ("3", "45.125", true), ("1", "", false)]
        {
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let line = LineInput {
                kind: "receipt".to_owned(),
                quantity: text(quantity),
                price: text(price),
                currency: text("USD"),
                ..LineInput::default()
            };
            totals.add(&line, again);
        }
        let view = totals.view();
        assert_eq!((view.recorded, view.already_there), (2, 1));
        let kind = &view.kinds["receipt"];
        assert_eq!((kind.quantity.as_str(), kind.amount.as_str()), ("8", "336.42"));
        assert_eq!(kind.amount_unrounded, "336.415");
    }
}
