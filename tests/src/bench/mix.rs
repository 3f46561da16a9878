//! The synthetic mix of movements that bytes and rates are measured with. Knows no store.
//!
//! A movement carries about 35 bits: item 8.1 (Zipf over 2,000, numbered in no order), lot 2,
//! quantity 4.2, kind 2, person 3, time 15.7 (exponential, mean 20 s, in milliseconds). Goods leave
//! only where there are some, so that nothing is re-priced later. Goods come from production, and leave
//! as issues, scrap and adjustments: none of these names a price or a partner. With prices they come
//! from suppliers and go to customers, and name both.

use shared::fact::statement::{MasterData, Measure, Movement, Stamp, Statement};
use shared::fact::{Fact, Kind};
use shared::ids::{
    Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, PersonNo, ReasonNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::time::{OffsetMinutes, Timestamp};

use crate::random::Random;

/// Items of the company.
pub const ITEMS: u32 = 2_000;
/// Partners of the company: suppliers, then customers.
pub const PARTNERS: u32 = SUPPLIERS + CUSTOMERS;
/// When every log begins: 2026-11-02T00:00Z.
pub const START: Timestamp = Timestamp(1_793_577_600_000);
/// The sites' zone.
pub const ZONE: OffsetMinutes = OffsetMinutes(480);

/// "Found" and "damaged" in the generic chart.
pub(super) const FOUND: ReasonNo = ReasonNo(3);
pub(super) const DAMAGED: ReasonNo = ReasonNo(5);
/// The first of each brings goods in, the last goes either way.
const KINDS: [Kind; 4] = [Kind::ProductionIn, Kind::Issue, Kind::Scrap, Kind::Adjustment];
const PRICED_KINDS: [Kind; 4] = [Kind::Receipt, Kind::SaleIssue, Kind::Issue, Kind::Adjustment];
pub(super) const SUPPLIERS: u32 = 20;
pub(super) const CUSTOMERS: u32 = 50;
pub(super) const LOTS: [&[u8]; 4] = [b"A", b"B", b"C", b"D"];
const PERSONS: u32 = 8;
const QUANTITY_MAX: i64 = 18;
const MEAN_MS: u32 = 20_000;

/// What the mix is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Receipts and sales name price and partner.
    pub priced: bool,
    /// Items are numbered by how often they move.
    pub numbered_by_use: bool,
}

/// One movement before it is stamped.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Since the one before.
    pub after_ms: i64,
    /// Who records it.
    pub person: PersonNo,
    /// What it says.
    pub movement: Movement,
}

/// Movements of one site, without an end.
#[derive(Debug)]
pub struct Mix {
    random: Random,
    shape: Shape,
    /// Item numbers by rank.
    numbers: Vec<u32>,
    /// Sums of 1 / rank, scaled.
    weights: Vec<u64>,
    held: Vec<i64>,
    unit: Unit,
}

impl Mix {
    /// The mix of a seed.
    pub fn new(seed: u64, shape: Shape) -> Self {
        let (numbers, weights) = ranks(shape.numbered_by_use);
        let held = vec![0; numbers.len()];
        Self { random: Random::new(seed), shape, numbers, weights, held, unit: unit() }
    }

    /// The next movement.
    pub fn draw(&mut self) -> Drawn {
        let at = self.random.below(*self.weights.last().expect("there are items"));
        let rank = self.weights.partition_point(|sum| *sum <= at);
        let item = ItemNo(self.numbers[rank]);
        let figure = self.random.between(1, QUANTITY_MAX);
        let kinds = if self.shape.priced { PRICED_KINDS } else { KINDS };
        let wanted = *self.random.pick(&kinds);
        let leaves = match wanted {
            Kind::Adjustment => self.random.chance(1, 2),
            wanted => wanted != kinds[0],
        };
        let short = leaves && self.held[rank] < figure;
        let kind = if short { kinds[0] } else { wanted };
        let change = if leaves && !short { -figure } else { figure };
        self.held[rank] += change;
        let stated = if kind == Kind::Adjustment { change } else { figure };
        let quantity = Measure {
            figure: Scaled::new(stated, 0).expect("a small figure"),
            unit: self.unit.clone(),
        };
        let mut movement = Movement::new(kind, item, quantity);
        movement.lot = Some(ShortText::from_slice(LOTS[self.random.index(LOTS.len())]));
        movement.reason = match kind {
            Kind::Adjustment => Some(FOUND),
            Kind::Scrap => Some(DAMAGED),
            _ => None,
        };
        if self.shape.priced {
            self.price(&mut movement);
        }
        Drawn {
            after_ms: exponential_ms(&mut self.random),
            person: PersonNo(1 + self.random.number(PERSONS)),
            movement,
        }
    }

    fn price(&mut self, movement: &mut Movement) {
        let cost = cost_of(movement.item);
        match movement.kind {
            Kind::Receipt => {
                // Suppliers change their prices now and then.
                let price = cost * self.random.between(98, 102) / 100;
                movement.price = Some(minor(price));
                movement.partner = Some(PartnerNo(1 + movement.item.0 % SUPPLIERS));
            }
            Kind::SaleIssue => {
                movement.price = Some(minor(cost * 14 / 10));
                movement.partner = Some(PartnerNo(1 + SUPPLIERS + self.random.number(CUSTOMERS)));
            }
            _ => {}
        }
    }
}

/// Item numbers by rank, and the sums of 1 / rank, scaled.
pub(super) fn ranks(numbered_by_use: bool) -> (Vec<u32>, Vec<u64>) {
    let mut numbers: Vec<u32> = (1..=ITEMS).collect();
    if !numbered_by_use {
        // All sites sell the same things well.
        Random::new(0).shuffle(&mut numbers);
    }
    let weights = (1..=ITEMS).scan(0, |sum, rank| {
        *sum += (1 << 40) / u64::from(rank);
        Some(*sum)
    });
    (numbers, weights.collect())
}

/// The books' currency.
pub fn currency() -> Currency {
    "CNY".parse().expect("a currency's code")
}

pub(super) fn unit() -> Unit {
    Unit::from_bytes(b"EA").expect("a unit")
}

pub(super) fn cost_of(item: ItemNo) -> i64 {
    100 + i64::from(item.0) * 7_919 % 49_900
}

pub(super) fn minor(amount: i64) -> Price {
    Price { figure: Scaled::new(amount, -2).expect("a small price"), currency: currency() }
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "chance of synthetic times; no money, no stock"
)]
pub(super) fn exponential_ms(random: &mut Random) -> i64 {
    let uniform = (random.below(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
    (-uniform.ln() * f64::from(MEAN_MS)) as i64
}

/// Items and partners as HQ states them.
pub fn master_data() -> Vec<MasterData> {
    let partners = (1..=PARTNERS).map(|number| MasterData::Partner {
        partner: PartnerNo(number),
        code: format!("P{number:03}"),
        name: format!("Partner {number}"),
        customer: number > SUPPLIERS,
        supplier: number <= SUPPLIERS,
    });
    items(ITEMS).chain(partners).collect()
}

/// So many items.
pub fn items(count: u32) -> impl Iterator<Item = MasterData> {
    (1..=count).map(|number| MasterData::Item {
        item: ItemNo(number),
        category: CategoryNo(1),
        code: format!("A{number:05}"),
        name: format!("Article {number}"),
        unit: unit(),
        decimals: 0,
        service: false,
        fallback_cost: Some(minor(cost_of(ItemNo(number)))),
    })
}

/// Facts of a log as its writer would have stamped them.
#[derive(Debug)]
pub struct Writer {
    mix: Mix,
    device: DeviceNo,
    counter: u64,
    now: Timestamp,
}

impl Writer {
    /// A log at its beginning.
    pub fn new(device: DeviceNo, mix: Mix) -> Self {
        Self { mix, device, counter: 0, now: START }
    }

    /// The next facts, each a group of its own.
    pub fn write(&mut self, count: usize) -> Vec<Fact> {
        (0..count).map(|_| self.fact()).collect()
    }

    fn fact(&mut self) -> Fact {
        let Drawn { after_ms, person, movement } = self.mix.draw();
        self.now.0 += after_ms;
        self.counter += 1;
        let stamp = Stamp {
            capture: Capture { device: self.device, counter: self.counter },
            recorded_at: self.now,
            occurred_at: self.now,
            utc_offset: ZONE,
            group_left: 0,
            person: Some(person),
            time_in_doubt: 0,
            company: Some(CompanyNo::FIRST),
        };
        Statement::Movement(movement).to_fact(&stamp).expect("short texts only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_mix_is_what_it_says() {
        let mut mix = Mix::new(7, Shape::default());
        let drawn: Vec<Drawn> = (0..100_000).map(|_| mix.draw()).collect();
        let mut items: BTreeMap<u32, u64> = BTreeMap::new();
        let mut held: BTreeMap<u32, i64> = BTreeMap::new();
        for Drawn { movement, .. } in &drawn {
            *items.entry(movement.item.0).or_default() += 1;
            let held = held.entry(movement.item.0).or_default();
            let quantity = movement.quantity.figure.mantissa();
            *held += match movement.kind {
                Kind::ProductionIn | Kind::Adjustment => quantity,
                _ => -quantity,
            };
            assert!(*held >= 0, "goods leave only where there are some");
        }
        let mut counts: Vec<u64> = items.into_values().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        // The first of 2,000 under Zipf's law has 1 in 8.18 of all.
        assert!((11_500..13_000).contains(&counts[0]), "{}", counts[0]);
        let elapsed: i64 = drawn.iter().map(|each| each.after_ms).sum();
        assert!((1_970_000_000..2_030_000_000).contains(&elapsed), "{elapsed}");
    }
}
