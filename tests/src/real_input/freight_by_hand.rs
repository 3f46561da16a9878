//! The freight of shipments shared as a clerk would: each line by its value, to the cent, and the
//! last line what is left. Uses nothing of the product, so that it can be wrong only in its own way.

use std::collections::BTreeMap;

/// What a line says of its freight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freight {
    /// Cents, for the line and all that share with it.
    Amount(i64),
    /// It shares in that of the line with this number.
    With(u32),
    /// There is none, or nobody knows how much.
    None,
}

/// A line of a shipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub number: u32,
    /// Cents.
    pub value: i64,
    /// Its freight.
    pub freight: Freight,
}

/// The lines that share one freight, in the order of the list, with what each bears.
pub type Shares = Vec<(u32, i64)>;

/// By the line that states the freight.
pub fn shares(lines: &[Line]) -> BTreeMap<u32, Shares> {
    let mut shares = BTreeMap::new();
    for stated in lines {
        let Freight::Amount(freight) = stated.freight else { continue };
        let sharing = |line: &&Line| {
            line.number == stated.number || line.freight == Freight::With(stated.number)
        };
        let sharing: Vec<&Line> = lines.iter().filter(sharing).collect();
        let all: i64 = sharing.iter().map(|line| line.value).sum();
        let mut left = freight;
        let mut of_lines = Vec::new();
        for (at, line) in sharing.iter().enumerate() {
            let is_last = at + 1 == sharing.len();
            let share = match (is_last, all) {
                (true, _) => left,
                (false, 0) => 0,
                (false, all) => half_up(freight, line.value, all),
            };
            left -= share;
            of_lines.push((line.number, share));
        }
        shares.insert(stated.number, of_lines);
    }
    shares
}

/// amount x part / whole of what is not negative, to the nearest whole number.
fn half_up(amount: i64, part: i64, whole: i64) -> i64 {
    let (amount, part, whole) = (i128::from(amount), i128::from(part), i128::from(whole));
    i64::try_from((2 * amount * part + whole) / (2 * whole)).expect("a part of a 64-bit amount")
}
