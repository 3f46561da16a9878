//! The trade of a company that uses everything: four ways of costing, prices and partners, goods that
//! go from centres to shops, returns both ways, counts, what HQ bills, and movements that happened
//! earlier than they were recorded. Knows no store.
//!
//! Of a hundred movements about 24 are receipts, 38 sales, 9 issues, scrap and adjustments, 4
//! counts, 5 returns, 20 transfers; 5 happened up to two days before. Goods seldom leave that are
//! not there. HQ invoices two receipts of five and every sale that is to be invoiced, and puts
//! freight on one receipt of twelve.

use std::collections::VecDeque;

use hq_server::own_log::Group;
use shared::fact::statement::{
    CostMethod, InvoiceLine, LandedCost, MasterData, Measure, Money, Movement, SharedBy, Stamp,
    Statement,
};
use shared::fact::{Fact, Kind};
use shared::ids::{Capture, CategoryNo, CompanyNo, DeviceNo, ItemNo, PartnerNo, PersonNo, SiteNo};
use shared::money::Price;
use shared::quantity::{Scaled, ShortText};
use shared::time::Timestamp;

use super::mix::{self, DAMAGED, FOUND, ITEMS, LOTS, START, SUPPLIERS, ZONE};
use crate::random::Random;

/// Sites with these numbers or lower are centres: they send goods, and shops get them.
const CENTRES: u32 = 8;
/// The way of costing of each category.
const METHODS: [CostMethod; 4] =
    [CostMethod::MovingAverage, CostMethod::Fifo, CostMethod::Standard, CostMethod::Specific];
const HOUR_MS: i64 = 3_600_000;
/// What can be returned, or billed, of each site: the newest.
const REMEMBERED: usize = 256;

/// Items of four categories, each with its way of costing.
pub fn master_data() -> Vec<MasterData> {
    let categories = (1..).map(CategoryNo).zip(METHODS).flat_map(|(category, method)| {
        let code = format!("C-{}", method.word());
        let company = CompanyNo::FIRST;
        [
            MasterData::Category { category, name: code.clone(), code },
            MasterData::Costing { company, category: Some(category), method },
        ]
    });
    let of_category = |mut data: MasterData| {
        if let MasterData::Item { item, category, .. } = &mut data {
            *category = self::category(*item);
        }
        data
    };
    categories.chain(mix::master_data().into_iter().map(of_category)).collect()
}

fn category(item: ItemNo) -> CategoryNo {
    CategoryNo(1 + item.0 % 4)
}

/// Something that moved and may be answered.
#[derive(Clone, Debug)]
struct Moved {
    capture: Capture,
    item: ItemNo,
    lot: usize,
    units: i64,
    partner: PartnerNo,
    /// Of one, minor units.
    price: i64,
    invoice_later: bool,
}

/// One site and its log as far as it is written.
#[derive(Debug)]
struct Place {
    random: Random,
    counter: u64,
    now: Timestamp,
    /// By item and lot.
    held: Vec<i64>,
    receipts: VecDeque<Moved>,
    sales: VecDeque<Moved>,
    /// On their way here: when they may arrive.
    coming: VecDeque<(Timestamp, Moved)>,
}

/// All sites of the company.
#[derive(Debug)]
pub struct Trade {
    places: Vec<Place>,
    numbers: Vec<u32>,
    /// Sums of 1 / rank, scaled.
    weights: Vec<u64>,
    /// What HQ has to bill.
    billed: Random,
    bills: Vec<Statement>,
}

impl Trade {
    /// Sites 1 to `sites`, their logs empty. A site begins up to `apart_hours` after the first.
    pub fn new(sites: u32, apart_hours: i64) -> Self {
        let (numbers, weights) = mix::ranks(false);
        let place = |site: u32| {
            let mut random = Random::new(1_000 + u64::from(site));
            let later = random.between(0, apart_hours * HOUR_MS);
            Place {
                random,
                counter: 0,
                now: Timestamp(START.0 + 2 * 24 * HOUR_MS + later),
                held: vec![0; (ITEMS as usize + 1) * LOTS.len()],
                receipts: VecDeque::new(),
                sales: VecDeque::new(),
                coming: VecDeque::new(),
            }
        };
        let places = (1..=sites).map(place).collect();
        Self { places, numbers, weights, billed: Random::new(9), bills: Vec::new() }
    }

    /// The next facts of a site, each a group of its own.
    pub fn write(&mut self, site: SiteNo, count: usize) -> Vec<Fact> {
        (0..count).map(|_| self.fact(site)).collect()
    }

    /// What HQ has to state about what was written since it was asked last.
    pub fn bills(&mut self) -> Vec<Group> {
        self.bills.drain(..).map(Group::one).collect()
    }

    fn fact(&mut self, site: SiteNo) -> Fact {
        let index = site.0 as usize - 1;
        let place = &mut self.places[index];
        place.now.0 += mix::exponential_ms(&mut place.random);
        place.counter += 1;
        let capture = Capture { device: DeviceNo(site.0 + 1), counter: place.counter };
        let (movement, late) = self.movement(site, capture);
        let place = &mut self.places[index];
        let occurred_at = if late {
            Timestamp(place.now.0 - place.random.between(1, 48 * HOUR_MS))
        } else {
            place.now
        };
        let stamp = Stamp {
            capture,
            recorded_at: place.now,
            occurred_at,
            utc_offset: ZONE,
            group_left: 0,
            person: Some(PersonNo(1 + place.random.number(8))),
            time_in_doubt: 0,
            company: Some(CompanyNo::FIRST),
        };
        Statement::Movement(movement).to_fact(&stamp).expect("short texts only")
    }

    /// What happens next, and whether it happened earlier.
    fn movement(&mut self, site: SiteNo, capture: Capture) -> (Movement, bool) {
        let index = site.0 as usize - 1;
        let place = &mut self.places[index];
        let arrived = place.coming.front().is_some_and(|(at, _)| *at <= place.now);
        if arrived && let Some((_, shipped)) = place.coming.pop_front() {
            place.held[shelf(shipped.item, shipped.lot)] += shipped.units;
            let mut movement = movement(Kind::TransferReceive, shipped.item, shipped.units);
            movement.refers_to = Some(shipped.capture);
            return (movement, false);
        }
        let random = &mut place.random;
        let at = random.below(*self.weights.last().expect("there are items"));
        let item = ItemNo(self.numbers[self.weights.partition_point(|sum| *sum <= at)]);
        let (what, late) = (random.below(100), random.chance(5, 95));
        match what {
            0..3 => self.comes_back(index, Kind::CustomerReturn),
            3..5 => self.comes_back(index, Kind::SupplierReturn),
            _ => None,
        }
        .map_or_else(|| self.goods(site, capture, item, what, late), |movement| (movement, false))
    }

    /// Part of something sold or received comes or goes back.
    fn comes_back(&mut self, index: usize, kind: Kind) -> Option<Movement> {
        let place = &mut self.places[index];
        let from =
            if kind == Kind::CustomerReturn { &mut place.sales } else { &mut place.receipts };
        let moved = from.pop_back()?;
        let held = &mut place.held[shelf(moved.item, moved.lot)];
        let units = moved.units.div_euclid(3).max(1);
        if kind == Kind::SupplierReturn && *held < units {
            return None;
        }
        *held += if kind == Kind::CustomerReturn { units } else { -units };
        let mut movement = movement(kind, moved.item, units);
        movement.refers_to = Some(moved.capture);
        movement.partner = Some(moved.partner);
        movement.price = (kind == Kind::CustomerReturn).then(|| mix::minor(moved.price));
        Some(movement)
    }

    fn goods(
        &mut self,
        site: SiteNo,
        capture: Capture,
        item: ItemNo,
        what: u64,
        late: bool,
    ) -> (Movement, bool) {
        let sites = u32::try_from(self.places.len()).expect("a few sites");
        let place = &mut self.places[site.0 as usize - 1];
        let random = &mut place.random;
        // A count is of a lot only where each lot is a pool.
        let by_lot = METHODS[(category(item).0 - 1) as usize].by_lot();
        let lot = if by_lot { random.index(LOTS.len()) } else { 0 };
        let (on_shelf, units) = (shelf(item, lot), random.between(1, 18));
        let held = place.held[on_shelf];
        let wanted = match what {
            0..30 => Kind::Receipt,
            30..72 => Kind::SaleIssue,
            72..75 => Kind::Issue,
            75..78 => Kind::Scrap,
            78..82 => Kind::Adjustment,
            82..86 => Kind::Count,
            _ if site.0 <= CENTRES && sites > CENTRES => Kind::TransferShip,
            _ => Kind::SaleIssue,
        };
        let leaves = !matches!(wanted, Kind::Receipt | Kind::Adjustment | Kind::Count);
        let kind = if leaves && held < units { Kind::Receipt } else { wanted };
        // A count finds one unit more or less, or all there.
        let counted = (held + random.between(-1, 1)).max(0);
        let units = if kind == Kind::Receipt { units * 4 } else { units };
        let mut movement = movement(kind, item, if kind == Kind::Count { counted } else { units });
        movement.lot = Some(ShortText::from_slice(LOTS[lot]));
        place.held[on_shelf] = match kind {
            Kind::Count => counted,
            Kind::Receipt | Kind::Adjustment => held + units,
            _ => held - units,
        };
        let late = late && !matches!(kind, Kind::Count | Kind::TransferShip);
        let (partner, cost) = (PartnerNo(1 + item.0 % SUPPLIERS), mix::cost_of(item));
        let mut moved =
            Moved { capture, item, lot, units, partner, price: cost, invoice_later: false };
        match kind {
            Kind::Receipt => {
                moved.price = cost * random.between(98, 102) / 100;
                movement.partner = Some(partner);
                movement.price = Some(mix::minor(moved.price));
                remember(&mut place.receipts, moved.clone());
                self.bill_receipt(&moved);
            }
            Kind::SaleIssue => {
                moved.partner = PartnerNo(1 + SUPPLIERS + random.number(mix::CUSTOMERS));
                moved.price = cost * 14 / 10;
                moved.invoice_later = random.chance(1, 5);
                movement.partner = Some(moved.partner);
                movement.price = Some(mix::minor(moved.price));
                movement.invoice_later = moved.invoice_later;
                remember(&mut place.sales, moved.clone());
                self.bill_sale(&moved);
            }
            Kind::Scrap => movement.reason = Some(DAMAGED),
            Kind::Adjustment => movement.reason = Some(FOUND),
            Kind::TransferShip => {
                let to = CENTRES + 1 + random.number(sites - CENTRES);
                movement.other_site = Some(SiteNo(to));
                let arrives = Timestamp(place.now.0 + random.between(HOUR_MS, 6 * HOUR_MS));
                self.places[to as usize - 1].coming.push_back((arrives, moved));
            }
            _ => {}
        }
        (movement, late)
    }

    fn bill_receipt(&mut self, receipt: &Moved) {
        if self.billed.chance(2, 5) {
            let price = receipt.price * self.billed.between(97, 104) / 100;
            self.bills.push(Statement::SupplierInvoice(invoice(receipt, receipt.units, price)));
        }
        if self.billed.chance(1, 40) {
            let part = (receipt.units / 4).max(1);
            self.bills.push(Statement::CreditNote(invoice(receipt, part, receipt.price)));
        }
        if self.billed.chance(1, 12) {
            self.bills.push(Statement::LandedCost(LandedCost {
                refers_to: receipt.capture,
                amount: Money {
                    figure: mix::minor(receipt.units * receipt.price / 20 + 1).figure,
                    currency: mix::currency(),
                },
                shared_by: Some(SharedBy::Value),
                partner: Some(PartnerNo(1)),
                document: None,
                document_date: None,
                due_date: None,
            }));
        }
    }

    fn bill_sale(&mut self, sale: &Moved) {
        if sale.invoice_later {
            self.bills.push(Statement::CustomerInvoice(invoice(sale, sale.units, sale.price)));
        }
    }
}

/// The place of an item's lot among all.
fn shelf(item: ItemNo, lot: usize) -> usize {
    item.0 as usize * LOTS.len() + lot
}

fn remember(moved: &mut VecDeque<Moved>, newest: Moved) {
    if moved.len() == REMEMBERED {
        moved.pop_front();
    }
    moved.push_back(newest);
}

fn measure(units: i64) -> Measure {
    Measure { figure: Scaled::new(units, 0).expect("a small figure"), unit: mix::unit() }
}

fn movement(kind: Kind, item: ItemNo, units: i64) -> Movement {
    Movement::new(kind, item, measure(units))
}

fn invoice(of: &Moved, units: i64, price: i64) -> InvoiceLine {
    let price: Price = mix::minor(price);
    InvoiceLine {
        partner: of.partner,
        refers_to: of.capture,
        quantity: measure(units),
        price,
        document: None,
        document_date: None,
        due_date: None,
        tax_code: None,
    }
}
