//! First in, first out as one would do it with paper: sort the rows, keep a queue, take from its
//! front. Uses nothing of the product and nothing of the naive model, so that it can be wrong only in
//! its own way.

use std::collections::{BTreeMap, VecDeque};

/// A row of a product's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The product.
    pub product: u32,
    /// Its day, such that texts sort as days do.
    pub day: String,
    /// Rows of a day in this order.
    pub number: u64,
    /// Bought, else sold.
    pub bought: bool,
    /// How many.
    pub units: i64,
    /// Of one, in ten-thousandths: what it was bought for, or sold for.
    pub price: i64,
}

/// What is left of a purchase: units and cents.
pub type Left = (i64, i64);

/// A product's card when all rows are entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// What is left of each purchase, the oldest first.
    pub left: VecDeque<Left>,
    /// What each sale cost, in cents.
    pub sold_at: BTreeMap<u64, i64>,
    /// What was bought, in cents.
    pub bought_for: i64,
    /// Sold beyond what was there; the card has no answer for that.
    pub short: bool,
}

/// The card of every product. What is bought is worth units x price, in whole cents; a part of it is
/// worth its share, in whole cents, and what leaves last takes what is left. Half a cent is a cent.
pub fn cards(rows: &[Row]) -> BTreeMap<u32, Card> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|one, other| (&one.day, one.number).cmp(&(&other.day, other.number)));
    let mut cards: BTreeMap<u32, Card> = BTreeMap::new();
    for row in rows {
        let card = cards.entry(row.product).or_default();
        if row.bought {
            let cents = half_up(row.units * row.price, 100);
            card.left.push_back((row.units, cents));
            card.bought_for += cents;
            continue;
        }
        let (mut wanted, mut cost) = (row.units, 0);
        while wanted > 0 {
            let Some((units, cents)) = card.left.pop_front() else {
                card.short = true;
                break;
            };
            if units <= wanted {
                wanted -= units;
                cost += cents;
                continue;
            }
            let part = half_up(cents * wanted, units);
            card.left.push_front((units - wanted, cents - part));
            cost += part;
            wanted = 0;
        }
        card.sold_at.insert(row.number, cost);
    }
    cards
}

/// A quotient of what is not negative, to the nearest whole number.
fn half_up(dividend: i64, divisor: i64) -> i64 {
    (2 * dividend + divisor) / (2 * divisor)
}
