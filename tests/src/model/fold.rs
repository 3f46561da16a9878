//! What every movement costs: all facts in effective order, folded from the beginning.
//! Knows no accounts.
//!
//! What arrives is worth what left, also where what left was not there and got its cost later.
//! Pools that pass costs around a circle form a ring; rings are folded one after another, each
//! from nothing and again and again, each time with the costs at the end of the time before,
//! until these are the same twice.

use std::collections::{BTreeMap, BTreeSet};

use num_traits::{Signed, Zero};
use shared::fact::Kind;
use shared::fact::statement::{CostMethod, CostScope, Movement, Revaluation, Statement};
use shared::ids::{Capture, CompanyNo, ItemNo, SiteNo};
use shared::quantity::ShortText;
use shared::time::Month;

use super::admit::{Admitted, Entry};
use super::documents::{self, Matched};
use super::figure::{Figure, rounded, share, whole};
use super::monthly;
use super::order::Key;
use super::pool::{Part, Pool, Repriced};
use super::rings::rings;
use super::settings::unit_cost;

/// A pool: of a site, or with site 0 of the whole company; of a lot where each lot is costed.
pub type PoolNo = (CompanyNo, ItemNo, SiteNo, Option<ShortText>);

/// How often a fold is repeated before a circle of transfers is taken for endless.
const PASSES_MAX: usize = 64;

/// Beyond this the books set facts aside; a circle whose costs grow this far is endless.
pub const RANGE: i64 = 1 << 60;

/// What a receipt is worth in the end.
#[derive(Clone, Debug)]
pub struct Received {
    /// At its own price, or that of its documents.
    pub price: Figure,
    /// What belongs to it beside its price.
    pub landed: Figure,
}

/// The outcome of the fold.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// All pools.
    pub pools: BTreeMap<PoolNo, Pool>,
    /// By how much each movement changed the value of its pool in the end; what it left behind at
    /// zero quantity not counted.
    pub change: BTreeMap<Capture, Figure>,
    /// By how much it changed what its pool carries beyond a standard.
    pub beyond: BTreeMap<Capture, Figure>,
    /// What its pool carried, where it is the first by another method: it is value from there on.
    pub joined: BTreeMap<Capture, Figure>,
    /// By ship and statement: what a new standard added to goods that were on their way.
    pub restated: BTreeMap<(Capture, Capture), Figure>,
    /// What of its own variance a supplier return left to nobody.
    pub unshared: BTreeMap<Capture, Figure>,
    /// Both changes together as they were after each change, with the place in the order of what changed it.
    changes: BTreeMap<Capture, Vec<(Key, Figure)>>,
    /// What was left at zero quantity.
    pub residue: BTreeMap<Capture, Figure>,
    /// What arrived with each receive, at what it left with; of goods of another company what is
    /// owed for them.
    pub arrived: BTreeMap<Capture, Figure>,
    /// What each receipt is worth.
    pub receipts: BTreeMap<Capture, Received>,
    /// How documents found what they name.
    pub matched: BTreeMap<Capture, Vec<Matched>>,
    /// All landed cost by receipt.
    landed: BTreeMap<Capture, Figure>,
    /// On hand, of what each pool holds.
    pub on_hand: BTreeMap<(SiteNo, PoolNo), Figure>,
    /// The movements that took out more than was there, at their time.
    pub short: BTreeSet<Capture>,
    /// Costs still changed after the last pass.
    pub endless: bool,
    /// By the first fact of a repack's group: what went in less what came of it.
    pub repack_rest: BTreeMap<Capture, Figure>,
    /// What each ship of the ring at hand, and the goods of each repack, cost when they left.
    left_at: BTreeMap<Capture, Figure>,
    /// The layers that each ship is made of; what it took beyond the stock not counted.
    layers_of: BTreeMap<Capture, Vec<Part>>,
}

impl Folded {
    /// By how much a movement changed what its pool is worth, at standard and beyond.
    pub fn worth(&self, movement: Capture) -> Option<Figure> {
        let change = self.change.get(&movement)?;
        let beyond = self.beyond.get(&movement).cloned();
        Some(change + beyond.unwrap_or_else(Figure::zero))
    }

    /// By how much a movement's change in value moved after it was made.
    pub fn repriced(&self, movement: Capture) -> Figure {
        let changes = self.changes.get(&movement).map_or(&[][..], Vec::as_slice);
        match (changes.first(), changes.last()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => Figure::zero(),
        }
    }

    /// Whether a value is more than the books hold.
    pub fn is_beyond_range(&self) -> bool {
        let mut values = self.pools.values().map(|pool| &pool.value).chain(self.change.values());
        values.any(|value| value.abs() >= whole(RANGE))
    }
}

/// Folds all facts that happened.
pub fn fold(admitted: &Admitted) -> Folded {
    let happened: Vec<&Entry> = admitted
        .entries
        .iter()
        .filter(|entry| !admitted.reversed.contains(&entry.capture))
        .collect();
    let by_capture = happened.iter().map(|entry| (entry.capture, *entry)).collect();
    let averaged = monthly::averaged(admitted);
    let matched = documents::matched(&happened, &by_capture);
    let landed = documents::landed(&happened, &by_capture);
    let mut folded = Folded { matched, landed, ..Folded::default() };
    let mut of_pools: BTreeMap<PoolNo, Vec<&Entry>> = BTreeMap::new();
    for entry in &happened {
        if let Some(pool) = pool_no(entry) {
            of_pools.entry(pool).or_default().push(entry);
        }
    }
    for ring in rings(&admitted.entries) {
        let of_ring = ring.iter().flat_map(|pool| of_pools.get(pool).into_iter().flatten());
        let mut of_ring: Vec<&Entry> = of_ring.copied().collect();
        of_ring.sort_by_key(|entry| entry.key);
        let looped = monthly::looped(&of_ring, &by_capture);
        let facts = Facts {
            happened: &happened,
            of_ring: &of_ring,
            by_capture: &by_capture,
            averaged: &averaged,
            looped: &looped,
        };
        folded = fold_ring(facts, folded);
    }
    for entry in happened.iter().filter(|entry| is_repack(entry.statement.kind())) {
        let change = folded.worth(entry.capture).expect("both sides move goods");
        *folded.repack_rest.entry(entry.group).or_insert_with(Figure::zero) -= change;
    }
    folded
}

/// The facts that a fold of a ring reads, in effective order.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    /// All that happened.
    happened: &'a [&'a Entry],
    /// Those that move the ring's pools.
    pub of_ring: &'a [&'a Entry],
    /// All that happened, by name.
    pub by_capture: &'a BTreeMap<Capture, &'a Entry>,
    /// The last month of each company whose averages are taken.
    pub averaged: &'a BTreeMap<CompanyNo, Month>,
    /// What passes costs around a loop of one month.
    pub looped: &'a BTreeSet<Capture>,
}

/// Folds the facts of a ring until their costs come to rest.
fn fold_ring(facts: Facts<'_>, so_far: Folded) -> Folded {
    let so_far = Folded { left_at: BTreeMap::new(), ..so_far };
    let now = Key::default();
    // Only what arrives, or what goods become, asks for costs at the end of the pass before.
    let arrives = [Kind::TransferReceive, Kind::RepackIn];
    let by_month = |entry: &&Entry| monthly::is_by_month(entry);
    if facts.of_ring.iter().any(by_month) && monthly::passes_around(facts) {
        // A month is looked at before its goods move, what goes back to a supplier included.
        return fold_months(facts, &so_far);
    }
    if !facts.of_ring.iter().any(|entry| arrives.contains(&entry.statement.kind())) {
        return Pass { facts, before: None, folded: so_far, now }.run();
    }
    fold_until_rest(facts, &so_far, None)
}

/// Folds the months of a ring one after the other: each comes to rest on what the one before it
/// closed with.
fn fold_months(facts: Facts<'_>, so_far: &Folded) -> Folded {
    let months: BTreeSet<Month> =
        facts.of_ring.iter().map(|entry| monthly::month_of(entry)).collect();
    let mut before = None;
    for month in months {
        let known = facts.of_ring.iter().filter(|entry| monthly::month_of(entry) <= month);
        let known: Vec<&Entry> = known.copied().collect();
        before = Some(fold_until_rest(Facts { of_ring: &known, ..facts }, so_far, before));
    }
    before.expect("a ring has facts")
}

fn fold_until_rest(facts: Facts<'_>, so_far: &Folded, start: Option<Folded>) -> Folded {
    let now = Key::default();
    let mut before = start;
    for _ in 0..PASSES_MAX {
        let pass = Pass { facts, before: before.as_ref(), folded: so_far.clone(), now };
        let folded = pass.run();
        let rests = |before: &Folded| {
            (&before.change, &before.beyond, &before.layers_of)
                == (&folded.change, &folded.beyond, &folded.layers_of)
        };
        if before.as_ref().is_some_and(rests) {
            return folded;
        }
        let grows = before.is_some() && folded.is_beyond_range();
        before = Some(folded);
        if grows {
            break;
        }
    }
    let mut folded = before.expect("there is at least one pass");
    folded.endless = true;
    folded
}

/// One fold over a ring.
pub(super) struct Pass<'a> {
    pub(super) facts: Facts<'a>,
    before: Option<&'a Folded>,
    pub(super) folded: Folded,
    /// The movement at hand.
    now: Key,
}

impl Pass<'_> {
    fn run(mut self) -> Folded {
        for entry in self.facts.of_ring {
            self.now = entry.key;
            self.begin_month(entry);
            self.begin_sharing(entry);
            self.take_entry(entry);
        }
        self.folded
    }

    /// A copy to try something on.
    pub(super) fn copy(&self) -> Self {
        Self { facts: self.facts, before: self.before, folded: self.folded.clone(), now: self.now }
    }

    pub(super) fn take_entry(&mut self, entry: &Entry) {
        self.now = entry.key;
        match &entry.statement {
            Statement::Movement(movement) => self.movement(entry, movement),
            Statement::Revaluation(stated) => self.revaluation(entry, stated),
            Statement::StandardCost(stated) => {
                let cost = unit_cost(&stated.cost, &entry.goods().settings);
                self.restate_on_the_way(entry, &cost);
                let change = self.pool(entry).set_cost(&cost);
                self.change(entry.capture, &change);
                self.carry(entry, &change, Some(&Figure::zero()));
            }
            _ => {}
        }
    }

    fn movement(&mut self, entry: &Entry, movement: &Movement) {
        self.pool(entry);
        let quantity = &entry.goods().quantity;
        match movement.kind {
            Kind::Receipt => self.receipt(entry, movement),
            Kind::SaleIssue | Kind::Issue | Kind::Scrap | Kind::ProductionOut => {
                self.take(entry, quantity);
            }
            Kind::ProductionIn => self.put_at_price(entry, movement, quantity),
            Kind::Adjustment if quantity.is_positive() => {
                self.put_at_price(entry, movement, quantity);
            }
            Kind::Adjustment => self.take(entry, &-quantity),
            Kind::CustomerReturn => self.customer_return(entry, movement),
            Kind::SupplierReturn => self.supplier_return(entry, movement),
            Kind::TransferShip if stays_in_pool(entry) => self.on_hand(entry, &-quantity),
            Kind::TransferReceive if stays_in_pool(entry) => self.receive_in_pool(entry, movement),
            Kind::TransferShip => {
                self.take(entry, quantity);
                let worth = self.folded.worth(entry.capture).expect("taken above");
                self.folded.left_at.insert(entry.capture, -worth);
            }
            Kind::RepackOut => {
                self.take(entry, quantity);
                let cost = went_into(entry.group, self.facts.happened, &self.folded);
                self.folded.left_at.insert(entry.group, cost);
            }
            Kind::RepackIn => self.become_other(entry),
            Kind::TransferReceive if entry.bought.is_some() && entry.at_price => {
                self.buy(entry, movement);
            }
            Kind::TransferReceive => self.receive(entry, movement),
            Kind::Count => self.count(entry, movement),
            _ => {}
        }
    }

    pub(super) fn pool(&mut self, entry: &Entry) -> &mut Pool {
        let goods = entry.goods();
        let number = pool_no(entry).expect("only movements of stock have a pool");
        let pool = self.folded.pools.entry(number).or_insert_with(|| {
            let fallback = goods.settings.fallback_cost.as_ref();
            let fallback = fallback.filter(|price| price.currency == entry.company.currency);
            let cost = fallback.map_or(Figure::zero(), |price| unit_cost(price, &goods.settings));
            Pool::new(goods.method, cost)
        });
        // What leaves for another site of the pool costs nothing by any method.
        if entry.statement.kind() != Kind::TransferShip || !stays_in_pool(entry) {
            let joined = pool.go_on_by(goods.method, entry.capture);
            if !joined.is_zero() {
                self.folded.joined.insert(entry.capture, joined);
            }
            if goods.carries {
                pool.variance.get_or_insert_default();
            }
        }
        pool
    }

    /// What goods cost beyond a standard, where that stays with them: nothing where it is expensed.
    fn own_beyond(&self, entry: &Entry, value: &Figure, change: &Figure) -> Option<Figure> {
        let own = self.has_own_cost(entry, monthly::month_of(entry));
        let carries = entry.goods().carries;
        own.then(|| if carries { value - change } else { Figure::zero() })
    }

    pub(super) fn change_beyond(&mut self, capture: Capture, amount: &Figure) {
        *self.folded.beyond.entry(capture).or_insert_with(Figure::zero) += amount;
        if let Some((_, worth)) =
            self.folded.changes.get_mut(&capture).and_then(|changes| changes.last_mut())
        {
            *worth += amount;
        }
    }

    fn on_hand(&mut self, entry: &Entry, quantity: &Figure) {
        let pool = pool_no(entry).expect("only movements of stock have a pool");
        let held = self.folded.on_hand.entry((entry.site, pool));
        *held.or_insert_with(Figure::zero) += quantity;
    }

    fn change(&mut self, capture: Capture, amount: &Figure) {
        let change = self.folded.change.entry(capture).or_insert_with(Figure::zero);
        *change += amount;
        self.folded.changes.entry(capture).or_default().push((self.now, change.clone()));
    }

    fn reprice(&mut self, repriced: Vec<Repriced>) {
        for each in repriced {
            self.change(each.movement, &-each.difference);
        }
    }

    fn put(&mut self, entry: &Entry, quantity: &Figure, value: &Figure) {
        self.put_parts(entry, &[Part::new(quantity.clone(), value.clone())]);
    }

    fn put_parts(&mut self, entry: &Entry, parts: &[Part]) {
        let (change, repriced) = self.pool(entry).put(entry.capture, parts);
        self.reprice(repriced);
        self.change(entry.capture, &change);
        let all = Part::sum(parts);
        let own = self.own_beyond(entry, &all.value, &change);
        self.carry(entry, &change, own.as_ref());
        self.on_hand(entry, &all.quantity);
    }

    fn take(&mut self, entry: &Entry, quantity: &Figure) {
        self.take_what_came_with(None, entry, quantity);
    }

    fn take_what_came_with(&mut self, inflow: Option<Capture>, entry: &Entry, quantity: &Figure) {
        let pool = self.pool(entry);
        if pool.quantity < *quantity {
            self.folded.short.insert(entry.capture);
        }
        let around = self.facts.looped.contains(&entry.capture);
        let pool = self.pool(entry);
        let (cost, layers) = if around && pool.method == CostMethod::MonthEndAverage {
            (pool.take_around(quantity, entry.capture), Vec::new())
        } else {
            pool.take(quantity, entry.capture, inflow)
        };
        self.change(entry.capture, &-&cost);
        match inflow.filter(|_| self.pool(entry).variance.is_some()) {
            Some(receipt) => self.give_back(entry, receipt, &-cost),
            None => {
                self.carry(entry, &-cost, None);
            }
        }
        self.folded.layers_of.insert(entry.capture, layers);
        self.on_hand(entry, &-quantity);
    }

    /// Goods go back to a supplier with what their receipt cost beyond the standard.
    fn give_back(&mut self, entry: &Entry, receipt: Capture, change: &Figure) {
        let received = &self.facts.by_capture[&receipt].goods().quantity;
        let known = self.folded.worth(receipt);
        let known = known.or_else(|| self.before?.worth(receipt)).unwrap_or_else(Figure::zero);
        let cost = share(&known, &entry.goods().quantity, received);
        let own = if entry.goods().carries { -cost - change } else { Figure::zero() };
        let moved = self.carry(entry, change, Some(&own));
        self.folded.unshared.insert(entry.capture, own - moved);
    }

    /// At the stated price, else at the current cost.
    fn put_at_price(&mut self, entry: &Entry, movement: &Movement, quantity: &Figure) {
        let unit = match &movement.price {
            Some(price) => entry.unit_price(price),
            None => self.pool(entry).current_cost(),
        };
        self.put(entry, quantity, &rounded(&(quantity * unit)));
    }

    /// At its price, or at what the goods left with that come back, or at the last known cost;
    /// its invoices add what they differ by.
    fn receipt(&mut self, entry: &Entry, movement: &Movement) {
        let goods = entry.goods();
        let quantity = &goods.quantity;
        let stated = movement.price.as_ref().map(|price| entry.unit_price(price));
        let own = match (&stated, self.origin(movement)) {
            (Some(unit), _) => rounded(&(quantity * unit)),
            (None, Some(origin)) => self.share_of_origin(origin, quantity),
            (None, None) => {
                let pool = self.pool(entry);
                let monthly = pool.method == CostMethod::MonthEndAverage;
                let unit = if monthly { pool.earlier_cost() } else { pool.current_cost() };
                rounded(&(quantity * unit))
            }
        };
        let mut price = own.clone();
        for part in self.folded.matched.get(&entry.capture).into_iter().flatten() {
            price += rounded(&(&part.quantity * &part.price));
            price -= match &stated {
                Some(unit) => rounded(&(&part.quantity * unit)),
                None => share(&own, &part.quantity, quantity),
            };
        }
        let landed = self.folded.landed.get(&entry.capture).cloned();
        let landed = landed.unwrap_or_else(Figure::zero);
        let value = &price + &landed;
        self.folded.receipts.insert(entry.capture, Received { price, landed });
        self.put(entry, quantity, &value);
    }

    /// What a movement refers to, where that happened.
    pub(super) fn origin(&self, movement: &Movement) -> Option<Capture> {
        movement.refers_to.filter(|origin| self.facts.by_capture.contains_key(origin))
    }

    /// What the origin cost at this point of the order, for a part of its quantity.
    fn share_of_origin(&self, origin: Capture, quantity: &Figure) -> Figure {
        let changes = self.folded.changes[&origin].iter();
        let known = { changes }.rfind(|(by, _)| *by < self.now);
        let cost = known.map_or_else(Figure::zero, |(_, change)| -change);
        share(&cost, quantity, &self.facts.by_capture[&origin].goods().quantity)
    }

    fn customer_return(&mut self, entry: &Entry, movement: &Movement) {
        let quantity = entry.goods().quantity.clone();
        let monthly = self.pool(entry).method == CostMethod::MonthEndAverage;
        let value = match (self.origin(movement), &movement.cost) {
            (Some(origin), _)
                if monthly
                    && monthly::month_of(self.facts.by_capture[&origin])
                        == monthly::month_of(entry) =>
            {
                rounded(&(self.pool(entry).current_cost() * &quantity))
            }
            (Some(origin), _) => self.share_of_origin(origin, &quantity),
            (None, Some(cost)) => rounded(&(entry.unit_price(cost) * &quantity)),
            (None, None) => rounded(&(self.pool(entry).current_cost() * &quantity)),
        };
        self.put(entry, &quantity, &value);
    }

    fn supplier_return(&mut self, entry: &Entry, movement: &Movement) {
        let quantity = entry.goods().quantity.clone();
        let receipt = self.origin(movement);
        let pool = self.pool(entry);
        let monthly = pool.method == CostMethod::MonthEndAverage;
        let at_average = monthly || (pool.is_average() && pool.quantity >= quantity);
        let Some(receipt) = receipt.filter(|_| at_average) else {
            return self.take_what_came_with(receipt, entry, &quantity);
        };
        let received = &self.facts.by_capture[&receipt].goods().quantity;
        // What it came in at: under a standard that is not what it was bought for.
        // While a month is planned, what another pool gets in it costs what it did before.
        let known = self.folded.worth(receipt);
        let known = known.or_else(|| self.before?.worth(receipt));
        let cost = share(&known.unwrap_or_else(Figure::zero), &quantity, received);
        let pool = self.pool(entry);
        let residue = if monthly {
            pool.take_own(&quantity, &cost, entry.capture)
        } else {
            pool.take_at(&quantity, &cost)
        };
        self.change(entry.capture, &-cost);
        self.folded.residue.insert(entry.capture, residue);
        self.on_hand(entry, &-quantity);
    }

    /// What goods cost that are on their way: in the end of the pass before, in the first pass
    /// when they left. Those of an earlier ring cost what they cost.
    fn cost_of(&self, left: Capture, in_the_end: impl Fn(&Folded) -> Figure) -> Figure {
        match (self.before, self.folded.left_at.get(&left)) {
            (Some(before), _) if before.left_at.contains_key(&left) => in_the_end(before),
            (_, Some(cost)) => cost.clone(),
            (_, None) => in_the_end(&self.folded),
        }
    }

    fn cost_of_ship(&self, ship: Capture) -> Figure {
        self.cost_of(ship, |folded| -folded.worth(ship).unwrap_or_else(Figure::zero))
    }

    /// What a ship is made of: the layers it took, and the rest as one.
    fn parts_of_ship(&self, ship: Capture) -> Vec<Part> {
        let before = self.before.filter(|before| before.left_at.contains_key(&ship));
        let folded = before.unwrap_or(&self.folded);
        let mut parts = folded.layers_of.get(&ship).cloned().unwrap_or_default();
        let layers = Part::sum(&parts);
        let quantity = &self.facts.by_capture[&ship].goods().quantity - layers.quantity;
        if quantity.is_positive() {
            parts.push(Part::new(quantity, self.cost_of_ship(ship) - layers.value));
        }
        parts
    }

    /// A new standard holds for goods, too, that left at one and have not arrived.
    fn restate_on_the_way(&mut self, entry: &Entry, cost: &Figure) {
        if !entry.goods().carries {
            return;
        }
        let old = self.pool(entry).last_cost.clone();
        for ship in self.facts.happened.iter().filter(|ship| ship.key < entry.key) {
            let leaves = ship.statement.kind() == Kind::TransferShip && !stays_in_pool(ship);
            if !leaves || ship.sold_to.is_some() || pool_no(ship) != pool_no(entry) {
                continue;
            }
            if ship.goods().method != CostMethod::Standard {
                continue;
            }
            let arrived = self.facts.happened.iter().filter(|each| {
                each.statement.kind() == Kind::TransferReceive
                    && each.refers_to() == Some(ship.capture)
                    && each.key < entry.key
            });
            let arrived: Figure = arrived.map(|each| &each.goods().quantity).sum();
            let left = &ship.goods().quantity - arrived;
            if left.is_positive() {
                let more = rounded(&(&left * cost)) - rounded(&(&left * &old));
                self.folded.restated.insert((ship.capture, entry.capture), more);
            }
        }
    }

    /// What a receive gets of what was shipped, and how many units more it states: whoever
    /// received earlier takes first.
    fn arrive(&self, ship: Capture, receive: Capture) -> (Vec<Part>, Figure) {
        let mut under_way = self.parts_of_ship(ship);
        let of_ship = self.facts.happened.iter().filter(|each| {
            each.statement.kind() == Kind::TransferReceive && each.refers_to() == Some(ship)
        });
        let mut restated: Vec<(Key, &Figure)> = (self.folded.restated.iter())
            .filter(|((of, _), _)| *of == ship)
            .map(|((_, by), more)| (self.facts.by_capture[by].key, more))
            .collect();
        for each in of_ship {
            restated.retain(|(at, more)| {
                let later = *at > each.key;
                if let Some(part) = under_way.last_mut().filter(|_| !later) {
                    part.value += *more;
                }
                later
            });
            let mut wanted = each.goods().quantity.clone();
            let mut arrived = Vec::new();
            for part in &mut under_way {
                let units = wanted.clone().min(part.quantity.clone());
                if units.is_positive() {
                    wanted -= &units;
                    arrived.push(part.split(&units));
                }
            }
            if each.capture == receive {
                return (arrived, wanted);
            }
        }
        (Vec::new(), whole(0))
    }

    /// What arrives takes its share of what is on its way; what was never shipped comes at the
    /// ship's unit cost, or at the current cost where there was no ship.
    fn receive(&mut self, entry: &Entry, movement: &Movement) {
        let quantity = entry.goods().quantity.clone();
        let (mut parts, excess, cost) = if let Some(ship) = self.origin(movement) {
            let (parts, excess) = self.arrive(ship, entry.capture);
            let shipped = &self.facts.by_capture[&ship].goods().quantity;
            let cost = share(&self.cost_of_ship(ship), &excess, shipped);
            let ship = self.facts.by_capture[&ship];
            match &entry.bought {
                // In another currency what arrives is one part.
                Some(rate) if ship.company.currency != entry.company.currency => {
                    let sum = Part::sum(&parts);
                    let part = Part::new(sum.quantity, rounded(&(sum.value * rate)));
                    let some = part.quantity.is_positive();
                    let parts = if some { vec![part] } else { Vec::new() };
                    (parts, excess, rounded(&(cost * rate)))
                }
                _ => (parts, excess, cost),
            }
        } else {
            let cost = rounded(&(self.pool(entry).current_cost() * &quantity));
            (Vec::new(), quantity, cost)
        };
        let worth = Part::sum(&parts).value;
        if excess.is_positive() {
            parts.push(Part::new(excess, cost));
        }
        self.put_parts(entry, &parts);
        self.folded.arrived.insert(entry.capture, worth);
    }

    /// Goods of another company come at what it sold them for: each receive gets its part of the
    /// price, the last one owes what is left of it, whether the goods came or not.
    fn buy(&mut self, entry: &Entry, movement: &Movement) {
        let Some(ship) = self.origin(movement) else { return self.receive(entry, movement) };
        let rate = entry.bought.clone().expect("asked for before");
        let ship = self.facts.by_capture[&ship];
        let sold = ship.movement().and_then(|movement| movement.price);
        let sold = sold.expect("sold at a price");
        let shipped = &ship.goods().quantity;
        let mut units = shipped.clone();
        let price = ship.worth(&sold, &ship.movement().expect("a ship").quantity);
        let mut left = price.clone();
        let receives = self.facts.happened.iter().filter(|each| {
            each.statement.kind() == Kind::TransferReceive && each.refers_to() == Some(ship.capture)
        });
        let receives: Vec<&Entry> = receives.copied().collect();
        for (place, each) in receives.iter().enumerate() {
            let wanted = &each.goods().quantity;
            let came = units.clone().min(wanted.clone());
            let worth = if units.is_zero() { whole(0) } else { share(&left, &came, &units) };
            units -= &came;
            left -= &worth;
            if each.capture != entry.capture {
                continue;
            }
            let more = wanted - &came;
            let mut parts = Vec::new();
            let in_own = |amount: &Figure| rounded(&(amount * &rate));
            if came.is_positive() {
                parts.push(Part::new(came, in_own(&worth)));
            }
            if more.is_positive() {
                parts.push(Part::new(more.clone(), in_own(&share(&price, &more, shipped))));
            }
            let is_last = place + 1 == receives.len();
            let lost = if is_last { in_own(&left) } else { whole(0) };
            self.put_parts(entry, &parts);
            self.folded.arrived.insert(entry.capture, in_own(&worth) + lost);
            return;
        }
    }

    /// Within one pool goods only change their site; what was never shipped comes in at the
    /// current cost.
    fn receive_in_pool(&mut self, entry: &Entry, movement: &Movement) {
        let quantity = entry.goods().quantity.clone();
        let excess = match self.origin(movement) {
            Some(ship) => self.arrive(ship, entry.capture).1,
            None => quantity.clone(),
        };
        self.on_hand(entry, &(&quantity - &excess));
        if excess.is_positive() {
            let value = rounded(&(self.pool(entry).current_cost() * &excess));
            self.put(entry, &excess, &value);
        }
    }

    /// The balance of the site is what was counted.
    fn count(&mut self, entry: &Entry, movement: &Movement) {
        let goods = entry.goods();
        let pool = pool_no(entry).expect("only movements of stock have a pool");
        let held = self.folded.on_hand.get(&(entry.site, pool)).cloned();
        let found = &goods.quantity - held.unwrap_or_else(Figure::zero);
        if let Some(price) = &movement.price {
            let unit = entry.unit_price(price);
            let pool = self.pool(entry);
            let quantity = &pool.quantity + &found;
            if !quantity.is_negative() {
                let carried = pool.variance.as_ref().map(|variance| -&variance.amount);
                let change = pool.restate(entry.capture, &quantity, &unit);
                self.change(entry.capture, &change);
                self.carry(entry, &change, carried.as_ref());
                return self.on_hand(entry, &found);
            }
        }
        if found.is_positive() {
            let value = rounded(&(self.pool(entry).current_cost() * &found));
            self.put(entry, &found, &value);
        } else if found.is_negative() {
            self.take(entry, &-found);
        } else {
            self.change(entry.capture, &whole(0));
            self.carry(entry, &whole(0), None);
        }
    }

    /// The first of a group states the amount, all of them the receipts.
    fn revaluation(&mut self, entry: &Entry, stated: &Revaluation) {
        let Some(amount) = stated.amount else { return };
        let members = self.facts.happened.iter().filter(|each| each.group == entry.group);
        let receipts: Vec<Capture> = members
            .filter_map(|each| match &each.statement {
                Statement::Revaluation(member) => member.refers_to,
                _ => None,
            })
            .collect();
        if !self.pool(entry).quantity.is_positive() {
            return self.change(entry.capture, &whole(0));
        }
        let added = self.pool(entry).revalue(&entry.minor(amount), &receipts);
        self.change(entry.capture, &added);
        self.carry(entry, &added, Some(&whole(0)));
    }

    /// Goods that are what others became: what leaves is what arrives, shared by quantity.
    fn become_other(&mut self, entry: &Entry) {
        let members = self.facts.happened.iter().filter(|each| each.group == entry.group);
        let ins: Vec<_> = members.filter(|each| each.statement.kind() == Kind::RepackIn).collect();
        let mut units: Figure = ins.iter().map(|each| base_units(each)).sum();
        let mut value =
            self.cost_of(entry.group, |folded| went_into(entry.group, self.facts.happened, folded));
        for each in ins {
            let worth = share(&value, &base_units(each), &units);
            if each.capture == entry.capture {
                return self.put(entry, &entry.goods().quantity, &worth);
            }
            units -= base_units(each);
            value -= worth;
        }
    }
}

/// What all the goods cost that a repack took.
fn went_into(group: Capture, happened: &[&Entry], folded: &Folded) -> Figure {
    let members = happened.iter().filter(|entry| entry.group == group);
    let outs = members.filter(|entry| entry.statement.kind() == Kind::RepackOut);
    outs.filter_map(|entry| folded.worth(entry.capture)).map(|worth| -worth).sum()
}

/// Whether a kind turns goods into other goods.
pub const fn is_repack(kind: Kind) -> bool {
    matches!(kind, Kind::RepackOut | Kind::RepackIn)
}

/// The quantity in whole base units, comparable between items.
fn base_units(entry: &Entry) -> Figure {
    let goods = entry.goods();
    &goods.quantity / super::figure::power_of_ten(goods.settings.decimals.cast_signed())
}

/// The pool that a fact moves or restates.
pub fn pool_no(entry: &Entry) -> Option<PoolNo> {
    let site = match &entry.statement {
        Statement::Movement(movement)
            if matches!(movement.kind, Kind::ServiceSale | Kind::StatusChange) =>
        {
            return None;
        }
        // The others of a group only name receipts.
        Statement::Revaluation(Revaluation { amount: None, .. }) => return None,
        Statement::Movement(_) => entry.site,
        Statement::Revaluation(_) | Statement::StandardCost(_) => entry.line_site,
        _ => return None,
    };
    let site = if one_pool(entry) { SiteNo::HQ } else { site };
    let goods = entry.goods();
    let lot = entry.lot.clone().filter(|_| goods.method.by_lot());
    Some((entry.company_no, goods.item, site, lot))
}

fn one_pool(entry: &Entry) -> bool {
    entry.company.scope == CostScope::Company
}

/// Goods that go from one site to another of a company that has one pool for all.
pub(super) fn stays_in_pool(entry: &Entry) -> bool {
    one_pool(entry) && !entry.goes_between()
}
